//! What a role's sessions began and nobody could finish is brought to its end on the next session of that role's that
//! changes something, before anything else.

use crate::catalog::FactRequest;
use crate::exec::resume::resume;
use crate::exec::runner::{Outcome, Progress, Setup};
use crate::exec::session::{Command, RunError, Session as _};
use crate::pg::introspect;
use crate::plan::Limits;
use crate::proxy::operator::orphans::{Lease, Returned};
use crate::proxy::server_session::ServerSession;

/// Brings such plans to their ends.
///
/// # Errors
/// [`RunError::Gone`].
pub(super) async fn settle(server: &mut ServerSession<'_>, limits: Limits) -> Result<(), RunError> {
    loop {
        let who = server.session().who.clone();
        let orphans = server.session().worker.shared.orphans.clone();
        let Some(lease) = orphans.take(&who.database, &who.user) else {
            return Ok(());
        };
        server.notice(
            &format!(
                "first of all a schema change of {}'s is brought to its end that was interrupted",
                who.user
            ),
            &lease.record.sql,
        );
        let result = bring_to_its_end(server, lease, limits).await;
        if result == Err(RunError::Gone) {
            return Err(RunError::Gone);
        }
    }
}

async fn bring_to_its_end(
    server: &mut ServerSession<'_>,
    lease: Lease,
    limits: Limits,
) -> Result<(), RunError> {
    let Lease {
        entry,
        record,
        course,
        fate,
        back,
    } = lease;
    server.adopt(entry, course);
    let outcome = match run(server, &record, (course, fate), limits).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome {
            result: Err(error),
            progress: Progress {
                owes: true,
                ..Progress::default()
            },
        },
    };
    let is_gone = matches!(outcome.result, Err(RunError::Gone));
    let course = server.course();
    if let Some(entry) = server.take_entry().filter(|_| !is_gone) {
        let returned = Returned {
            entry,
            course,
            outcome,
        };
        drop(back.send(returned)); // whoever lent it has ended: then it is let go
    }
    if is_gone { Err(RunError::Gone) } else { Ok(()) }
}

async fn run(
    server: &mut ServerSession<'_>,
    record: &crate::journal::record::Record,
    at: (crate::plan::course::Course, crate::plan::course::Fate),
    limits: Limits,
) -> Result<Outcome, RunError> {
    const PATH_SQL: &str =
        "SELECT pg_catalog.set_config('search_path', $1::pg_catalog.text, false)";
    const OWN_PATH_SQL: &str = "SELECT pg_catalog.current_setting('search_path')";
    let facts = introspect::facts(server, &FactRequest::default(), limits.budget).await;
    let settings = facts.map(|facts| facts.session).unwrap_or_default();
    let own = server.run(&[Command::own(OWN_PATH_SQL)]).await?;
    let own = own
        .first()
        .and_then(|reply| reply.rows.first()?.first()?.clone());
    let own = own.unwrap_or_default();
    let path = |path: &str| [Command::with(PATH_SQL, vec![path.to_owned()])];
    let is_other = own != record.search_path;
    if is_other {
        server.run(&path(&record.search_path)).await?;
    }
    let setup = Setup {
        settings: &settings,
        limits,
        relations: &[],
        places: None,
        pace: crate::plan::backfill::Pace::default(),
    };
    let outcome = resume(server, &record.steps, at, setup).await;
    if is_other && !matches!(outcome.result, Err(RunError::Gone)) {
        server.run(&path(&own)).await?;
    }
    Ok(outcome)
}
