//! A schema change's place in lockkeeper's own queues.

use super::server_session::ServerSession;
use crate::exec::places::{Applicant, Key, Place};
use crate::exec::session::RunError;
use crate::exec::wanted;
use crate::plan::{Limits, Plan, Step};
use std::time::Duration;

/// After a longer wait it is looked whether all is as it was judged.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(1);

/// What came of waiting for its turn.
pub(super) enum Turn {
    /// It is its turn, for as long as this is kept.
    Come(Option<Place>),
    /// It is, and things may have changed meanwhile.
    Late(Option<Place>),
}

/// Waits until no earlier schema change works on a relation of the plan's. A place that was had
/// before is kept when it is for the same relations.
///
/// # Errors
/// 55P03 when the deadline has passed, 57014 when it was interrupted, the server's own.
pub(super) async fn wait(
    server: &mut ServerSession<'_>,
    plan: &Plan,
    before: Option<Place>,
    applicant: &Applicant,
    limits: Limits,
) -> Result<Turn, RunError> {
    let mut steps: Vec<&Step> = Vec::new();
    for step in &plan.steps {
        steps.push(step);
        steps.extend(step.otherwise());
    }
    let set = wanted::resolve(server, &steps).await?;
    let ours = set.wanted.iter().filter(|wanted| wanted.is_ours);
    let keys: Vec<Key> = ours
        .map(|wanted| Key::Relation(set.database, wanted.oid))
        .collect();
    if keys.is_empty() {
        return Ok(Turn::Come(before));
    }
    let place = match before.filter(|place| place.is_for(&keys)) {
        Some(place) => place,
        None => {
            let places = &server.session().worker.shared.places;
            places.enter(keys, applicant.clone())
        }
    };
    let waited = place.turn(server, limits, limits.deadline).await?;
    Ok(if waited > STALE_AFTER {
        Turn::Late(Some(place))
    } else {
        Turn::Come(Some(place))
    })
}
