//! A schema change's place in the queues: lockkeeper's own, and behind what other lockkeepers are at.

use std::time::Duration;

use super::server_session::ServerSession;
use crate::audit::event::Event;
use crate::exec::look::LockSet;
use crate::exec::places::{Applicant, Key, Place, Queue};
use crate::exec::session::{RunError, Session as _};
use crate::exec::wanted;
use crate::journal::record::{Backend, Outcome, Record, VERSION, recorded_steps, twin};
use crate::journal::store::{Entry, NoRecord};
use crate::plan::course::Course;
use crate::plan::{Limits, Plan, Step};

/// After a longer wait it is looked whether all is as it was judged.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(1);

/// What came of waiting for its turn.
pub(super) enum Turn {
    /// It is its turn, for as long as this is kept.
    Come(Option<Place>),
    /// It is, and things may have changed meanwhile.
    Late(Option<Place>),
    /// The same statement was at work before, and this came of it.
    Twin(Box<Outcome>),
}

/// Who wants its turn, and what is written down of it.
pub(super) struct Filing<'a> {
    /// The plan.
    pub(super) plan: &'a Plan,
    /// It, for others.
    pub(super) applicant: &'a Applicant,
    /// Its limits.
    pub(super) limits: Limits,
    /// The audit events of its statements, as they begin; one at least.
    pub(super) events: Vec<Event>,
    /// The statement may hold a password.
    pub(super) is_secret: bool,
    /// The server refuses whatever writes.
    pub(super) is_read_only: bool,
    /// It works online, for long, in the statement's place.
    pub(super) is_online: bool,
    /// By what the same statement is known again, where its outcome may be had by who sends it again.
    pub(super) twin: Option<Twin<'a>>,
}

/// By what the same statement is known again.
pub(super) struct Twin<'a> {
    /// The statement.
    pub(super) statement: &'a str,
    /// Its relations.
    pub(super) relations: Vec<Option<u32>>,
    /// The schema of what it makes without naming one.
    pub(super) schema: Option<String>,
}

/// Waits until no earlier schema change works on a relation of the plan's. A place that was had
/// before is kept when it is for the same relations.
///
/// # Errors
/// 55P03 when the deadline has passed, 57014 when it was interrupted, LK003 when it can't be written down, the server's
/// own.
pub(super) async fn wait(
    server: &mut ServerSession<'_>,
    filing: Filing<'_>,
    before: Option<Place>,
) -> Result<Turn, RunError> {
    let mut steps: Vec<&Step> = Vec::new();
    for step in &filing.plan.steps {
        steps.push(step);
        steps.extend(step.otherwise());
    }
    let set = wanted::resolve(server, &steps).await?;
    let ours = set.wanted.iter().filter(|wanted| wanted.is_ours);
    let keys: Vec<Key> = ours
        .map(|wanted| Key::Relation(set.database, wanted.oid))
        .collect();
    if !filing.is_read_only {
        let mut record = record(&filing, &set);
        server.file(&keys, &mut record, &filing.events).await?;
    }
    if keys.is_empty() {
        return Ok(Turn::Come(before));
    }
    let place = match before.filter(|place| place.is_for(&keys)) {
        Some(place) => place,
        None => {
            let number = server.entry().map(Entry::id);
            let places = &server.session().worker.shared.places;
            let who = filing.applicant.clone();
            match number.and_then(|number| u64::try_from(number).ok()) {
                Some(number) => places.enter_as(number, keys, who),
                None => places.enter(keys, who),
            }
        }
    };
    let limits = filing.limits;
    let twin = match server.entry() {
        Some(entry) if filing.twin.is_some() => first_twin(entry).await,
        Some(_) | None => None,
    };
    let deadline = match twin {
        Some(_) => {
            server.notice(
                "the same statement is at work already: waiting for its outcome",
                "",
            );
            Duration::MAX
        }
        None => limits.deadline,
    };
    let mut waited = place.turn(server, limits, deadline).await?;
    waited += behind_others(server, limits, deadline).await?;
    if let Some(twin) = twin
        && let Some(outcome) = server.outcome_of(twin).await
        && !outcome.interrupted
    {
        return Ok(Turn::Twin(Box::new(outcome)));
    }
    Ok(if waited > STALE_AFTER || twin.is_some() {
        Turn::Late(Some(place))
    } else {
        Turn::Come(Some(place))
    })
}

fn record(filing: &Filing<'_>, set: &LockSet) -> Record {
    let (database, role) = (set.database, set.role.clone());
    let twin = filing.twin.as_ref().and_then(|known| {
        let schema = known.schema.as_deref();
        twin((database, &role), &known.relations, schema, known.statement)
    });
    let first = filing.events.first().cloned().unwrap_or_default();
    Record {
        version: VERSION,
        system: String::new(),
        database,
        role,
        search_path: set.search_path.clone(),
        who: first.who,
        tag: first.tag,
        sql: first.sql,
        what: filing.applicant.what.clone(),
        twin,
        online: filing.is_online,
        backend: Backend {
            pid: set.pid,
            start: String::new(),
        },
        steps: recorded_steps(filing.plan, filing.is_secret),
        course: Course::Waiting,
        outcome: None,
    }
}

async fn first_twin(entry: &Entry) -> Option<i64> {
    let ahead = entry.ahead().await.ok()?;
    ahead.iter().find(|one| one.is_twin).map(|one| one.id)
}

/// Waits behind the plans of other lockkeepers; how long that took.
async fn behind_others(
    server: &mut ServerSession<'_>,
    limits: Limits,
    deadline: Duration,
) -> Result<Duration, RunError> {
    let mut queue = Queue::begin(server, limits, deadline);
    loop {
        let Some(entry) = server.entry() else {
            return Ok(Duration::ZERO);
        };
        let ahead = match entry.ahead().await {
            Ok(ahead) => ahead,
            Err(why) => {
                server.unrecorded(&why)?;
                return Ok(queue.waited(server));
            }
        };
        if ahead.is_empty() {
            return Ok(queue.waited(server));
        }
        let ahead: Vec<Applicant> = ahead.into_iter().map(|one| one.who).collect();
        queue.pass(server, &ahead).await?;
    }
}

/// Waits until no other lockkeeper builds in the database; how long that took.
///
/// # Errors
/// As [`wait`].
pub(super) async fn slot(
    server: &mut ServerSession<'_>,
    limits: Limits,
) -> Result<Duration, RunError> {
    let mut queue = Queue::begin(server, limits, limits.build_wait);
    let mut taken: Result<(), NoRecord> = match server.entry() {
        Some(entry) => entry.take_slot().await,
        None => return Ok(Duration::ZERO),
    };
    loop {
        if let Err(why) = taken {
            server.unrecorded(&why)?;
            return Ok(queue.waited(server));
        }
        let Some(entry) = server.entry() else {
            return Ok(queue.waited(server));
        };
        match entry.ahead_of_slot().await {
            Ok(ahead) if ahead.is_empty() => return Ok(queue.waited(server)),
            Ok(ahead) => {
                let ahead: Vec<Applicant> = ahead.into_iter().map(|one| one.who).collect();
                if let Err(error) = queue.pass(server, &ahead).await {
                    server.leave_slot();
                    return Err(error);
                }
            }
            Err(why) => taken = Err(why),
        }
    }
}
