//! Schema changes that are put off to the end of the client's transaction: tried once where that harms nobody, and run
//! in order when its COMMIT comes, or before something that would notice.

use std::time::Duration;

use super::super::{Ending, applicant, facts, limits, within};
use crate::catalog::{FactRequest, Facts, SessionFacts};
use crate::error;
use crate::exec::acquire::is_about_locks;
use crate::exec::places::Key;
use crate::exec::registry::PlanInfo;
use crate::exec::runner::{self, Setup};
use crate::exec::session::{Command, RunError, Session as _};
use crate::exec::wanted;
use crate::pg::introspect::FactsError;
use crate::plan::{Check, Limits, Notices, Plan, Step};
use crate::proxy::server_session::ServerSession;
use crate::proxy::transaction::as_one;
use crate::sql::name::Name;
use crate::sql::redact::redacted;

/// Tries a schema change, behind those that are put off already, under a savepoint that is rolled back: what the server
/// refuses is refused now. Where somebody is in the way, the try is left out.
///
/// # Errors
/// The server's; [`RunError::Gone`].
pub(super) async fn rehearse(
    server: &mut ServerSession<'_>,
    steps: &[Step],
    facts: &Facts,
    limits: Limits,
) -> Result<(), RunError> {
    let before = steps_put_off(server);
    let Some(one) = as_one(before.iter().chain(steps)) else {
        return Ok(());
    };
    let notices = if before.is_empty() {
        one.notices
    } else {
        Notices::None
    };
    let one = Step {
        check: Check::Nothing,
        notices,
        ..one
    };
    let limits = Limits {
        deadline: Duration::ZERO,
        ..limits
    };
    server.rehearses(true);
    let tried = run(server, one, &facts.session, limits).await;
    server.rehearses(false);
    match tried {
        Err(RunError::Sql(fields)) if is_about_locks(&fields.sqlstate) => Ok(()),
        tried => tried.map(drop),
    }
}

/// Runs what is put off, for something comes that could notice that it hasn't run.
///
/// # Errors
/// How the message ends in its place.
pub(super) async fn run_now(server: &mut ServerSession<'_>) -> Result<(), Ending> {
    match run_all(server).await {
        Ok(()) => Ok(()),
        Err(RunError::Sql(fields)) => Err(Ending::Failed(fields)),
        Err(RunError::Stale) => Err(Ending::Failed(Box::new(error::stale()))),
        Err(RunError::Gone) => Err(Ending::Gone),
    }
}

/// Runs what is put off, for the transaction's COMMIT has come, and follows at once. When it fails, the transaction is
/// rolled back.
///
/// # Errors
/// How the COMMIT ends in its place.
pub(super) async fn run_at_commit(server: &mut ServerSession<'_>) -> Result<(), Ending> {
    let fields = match run_all(server).await {
        Ok(()) => return Ok(()),
        Err(RunError::Sql(fields)) => fields,
        Err(RunError::Stale) => Box::new(error::stale()),
        Err(RunError::Gone) => return Err(Ending::Gone),
    };
    server.leave();
    match runner::roll_back(server).await {
        Ok(()) => {}
        Err(RunError::Gone | RunError::Sql(_) | RunError::Stale) => return Err(Ending::Gone),
    }
    server.session().inspector.rolled_back();
    Err(Ending::Failed(Box::new(error::at_commit(*fields))))
}

fn steps_put_off(server: &mut ServerSession<'_>) -> Vec<Step> {
    let late = server.session().inspector.transaction.late().iter();
    late.flat_map(|late| late.steps.clone()).collect()
}

async fn run_all(server: &mut ServerSession<'_>) -> Result<(), RunError> {
    let steps = steps_put_off(server);
    let Some(one) = as_one(&steps) else {
        return Ok(());
    };
    let one = Step {
        title: match steps.len() {
            1 => one.title.clone(),
            count => format!("{count} schema changes of the transaction"),
        },
        check: Check::Nothing,
        notices: Notices::None,
        ..one
    };
    if server.plan().is_none() {
        let info = PlanInfo {
            who: server.session().who.clone(),
            tag: "COMMIT".to_owned(),
            sql: redacted(&one.statements().join("; "), true).into_owned(),
            verdict: "",
            rule: None,
            relations: Vec::new(),
        };
        server.begin_plan(info);
    }
    let (settings, limits) = settings(server).await?;
    let set = wanted::resolve(server, &[&one]).await?;
    let ours = set.wanted.iter().filter(|wanted| wanted.is_ours);
    let keys: Vec<Key> = ours
        .map(|wanted| Key::Relation(set.database, wanted.oid))
        .collect();
    let shown = one.title.clone();
    let applicant = applicant(server, &shown);
    let place = (!keys.is_empty()).then(|| {
        let places = &server.session().worker.shared.places;
        places.enter(keys, applicant)
    });
    if let Some(place) = &place {
        place.turn(server, limits, limits.deadline).await?;
    }
    run(server, one, &settings, limits).await?;
    let transaction = &mut server.session().inspector.transaction;
    transaction.settled();
    transaction.takes_locks();
    Ok(())
}

/// Once locks are held that stop everybody, nothing is waited for: what can't be had at once fails.
pub(super) fn patience(server: &mut ServerSession<'_>, limits: Limits) -> Limits {
    let deadline = if server.session().inspector.transaction.holds_locks() {
        limits.deadline.min(limits.budget)
    } else {
        limits.deadline
    };
    Limits { deadline, ..limits }
}

/// Runs a schema change at once, as it was sent, for which no later place is to be had.
///
/// # Errors
/// As of a plan.
pub(super) async fn run_inside(
    server: &mut ServerSession<'_>,
    step: Step,
    settings: &SessionFacts,
    limits: Limits,
) -> Result<String, RunError> {
    let limits = patience(server, limits);
    server.watch_hold(Some(limits.max_hold));
    let result = run(server, step, settings, limits).await;
    server.watch_hold(None);
    let tag = match result {
        Err(RunError::Sql(_)) if server.was_held_up() => {
            let fields = error::others_waited_for_transaction(limits.max_hold);
            return Err(RunError::Sql(Box::new(fields)));
        }
        result => result?,
    };
    server.session().inspector.transaction.takes_locks();
    Ok(tag)
}

/// The session's settings, and the limits with what the client has set itself.
async fn settings(server: &mut ServerSession<'_>) -> Result<(SessionFacts, Limits), RunError> {
    let setup = server.session().worker.setup();
    let limits = limits(&setup.config);
    let settings = match facts::ask(server, &FactRequest::default(), limits).await {
        Ok(facts) => facts.session,
        Err(FactsError::Run(error)) => return Err(error),
        Err(FactsError::Unexpected(_)) => SessionFacts::default(),
    };
    let limits = within(limits, &settings, server.set_aside_so_far());
    let limits = patience(server, limits);
    server.obey(&settings.client_min_messages);
    Ok((settings, limits))
}

async fn run(
    server: &mut ServerSession<'_>,
    step: Step,
    settings: &SessionFacts,
    limits: Limits,
) -> Result<String, RunError> {
    let relations: Vec<Name> = step
        .locks
        .iter()
        .map(|lock| lock.relation.clone())
        .collect();
    let pace = server.session().worker.setup().config.backfill.pace();
    let setup = Setup {
        settings,
        limits,
        relations: &relations,
        places: None,
        pace,
    };
    let plan = Plan {
        notice: String::new(),
        steps: vec![step],
    };
    runner::run(server, &plan, setup).await.result
}

/// Whether all these are ordinary tables without triggers or rules of the user's: reading and writing them is seen by
/// nobody else.
///
/// # Errors
/// As of the question.
pub(super) async fn are_plain(
    server: &mut ServerSession<'_>,
    names: &[Name],
) -> Result<bool, RunError> {
    const SQL: &str = "
SELECT coalesce(pg_catalog.bool_and(c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)), true)
FROM pg_catalog.unnest($1::pg_catalog.text[]) n (name)
JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n.name)";
    if names.is_empty() {
        return Ok(true);
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let question = Command::with(SQL, vec![crate::exec::acquire::array_literal(&names)]);
    let begin = Command::own("BEGIN READ ONLY");
    let replies = server
        .run(&[begin, question, Command::own("COMMIT")])
        .await?;
    Ok(crate::exec::session::says_true(
        replies.get(1..).unwrap_or_default(),
    ))
}
