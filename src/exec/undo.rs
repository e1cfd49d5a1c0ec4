//! Taking back what a plan did when it can't go on, and finishing what can't be taken back. Whatever
//! has interrupted the plan is honoured by that: only a new cancel request ends it.

use std::time::Duration;

use super::acquire::{DEADLOCK_DETECTED, QUERY_CANCELED, Tries, interrupted, is_about_locks};
use super::ask::{StatementTime, in_transaction};
use super::check::oid_array;
use super::runner::{
    Progress, Setup, put_timeouts_back, run_own, set_no_timeouts, set_timeout, still_invalid,
};
use super::session::{Command, Moment, Point, Reply, RunError, Session, Stage, says_true};
use super::wanted;
use crate::error::Interrupt;
use crate::plan::course::Course;
use crate::plan::{Check, Leftovers, Notices, Step, Undo};

/// SQLSTATE `admin_shutdown`: what lockkeeper's own end is called.
const ADMIN_SHUTDOWN: &str = "57P01";
/// Tries of what cleans up, should others keep cancelling it.
const CLEANUP_TRIES: u32 = 3;
/// How long cleaning up may take when lockkeeper is ending.
const CLEANUP_AT_SHUTDOWN: Duration = Duration::from_secs(3);

/// Takes back the steps that were done before one failed, last first; what can't be taken back is
/// named. `before` steps of the plan ran before these.
pub(super) async fn take_back<S: Session>(
    session: &mut S,
    done: &[Step],
    before: usize,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    if !done.is_empty() {
        session.stage(Stage::TakesBack);
    }
    for (at, step) in done.iter().enumerate().rev() {
        progress.course = Course::Undo {
            step: before + at + 1,
            xid: None,
        };
        let sql = match &step.undo {
            Undo::Sql(sql) => sql,
            Undo::DropInvalidIndexes(_) => {
                reached(session, before + at).await;
                drop_built(session, step, setup, progress).await?;
                continue;
            }
            Undo::Finish(finishing) => {
                finish_rest(session, finishing, setup, progress).await?;
                continue;
            }
            Undo::NothingToUndo | Undo::Irreversible { .. } => continue,
        };
        reached(session, before + at).await;
        let undo = Step {
            sql: sql.clone(),
            also: Vec::new(),
            undo: Undo::NothingToUndo,
            check: Check::Nothing,
            notices: Notices::None,
            ..step.clone()
        };
        match insist_on_step(session, &undo, setup, progress).await {
            Ok(_) => progress
                .undone
                .push(format!("{sql} was run: {} is taken back.", step.title)),
            Err(RunError::Gone) => return Err(RunError::Gone),
            Err(error) => {
                progress.owes |= is_for_later(session, &error);
                progress.undone.push(format!(
                    "{} is left ({error}): run {sql} when you can.",
                    step.title
                ));
            }
        }
    }
    Ok(())
}

/// What comes after a step that can't be taken back, and belongs to it.
async fn finish_rest<S: Session>(
    session: &mut S,
    finishing: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    let Some((first, others)) = finishing.also.split_first() else {
        return Ok(());
    };
    let rest = Step {
        sql: first.clone(),
        also: others.to_vec(),
        notices: Notices::None,
        ..finishing.clone()
    };
    match insist_on_step(session, &rest, setup, progress).await {
        Ok(_) => Ok(()),
        Err(RunError::Gone) => Err(RunError::Gone),
        Err(error) => {
            progress.owes |= is_for_later(session, &error);
            let left = format!("Not done ({error}): run {first} when you can.");
            progress.undone.push(left);
            Ok(())
        }
    }
}

/// Whether what failed for this is to be tried again later, by whoever takes the plan over: it was for
/// others' locks, or lockkeeper ends. Who cancels it wants it left.
fn is_for_later<S: Session>(session: &S, error: &RunError) -> bool {
    is_about_locks(error.sqlstate())
        || error.sqlstate() == ADMIN_SHUTDOWN
        || session.honoured() == Some(Interrupt::Shutdown)
}

async fn reached<S: Session>(session: &mut S, at: usize) {
    let point = Point {
        step: at + 1,
        moment: Moment::Undoing,
    };
    session.reached(point).await;
}

/// Runs a step that cleans up, again when what interrupts it doesn't speak of it.
async fn insist_on_step<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let mut cancelled = 0;
    loop {
        session.forgive();
        let setup = patient(session, setup);
        let result = in_transaction(session, step, setup, StatementTime::Unlimited, progress).await;
        match result {
            Err(error) if is_final(session, &error, &mut cancelled) => return Err(error),
            Err(_) => {}
            Ok(tag) => return Ok(tag),
        }
    }
}

/// Runs a command that cleans up, again when what interrupts it doesn't speak of it, and when it met
/// others in a deadlock.
async fn insist<S: Session>(session: &mut S, command: &Command) -> Result<(), RunError> {
    let limit = Command::own(set_timeout("statement_timeout", CLEANUP_AT_SHUTDOWN));
    let mut cancelled = 0;
    loop {
        session.forgive();
        if session.honoured() == Some(Interrupt::Shutdown) {
            run_own(session, std::slice::from_ref(&limit)).await?;
            return session.run(std::slice::from_ref(command)).await.map(drop);
        }
        match session.run(std::slice::from_ref(command)).await {
            Err(error)
                if error.sqlstate() == DEADLOCK_DETECTED
                    && session.interrupt().is_none()
                    && cancelled < CLEANUP_TRIES =>
            {
                cancelled += 1;
            }
            Err(error) if is_final(session, &error, &mut cancelled) => return Err(error),
            Err(_) => {}
            Ok(_) => return Ok(()),
        }
    }
}

/// Whether an error ends the cleaning up: all but a late cancel request, a client that has gone and
/// lockkeeper's end.
fn is_final<S: Session>(session: &S, error: &RunError, cancelled: &mut u32) -> bool {
    if !matches!(error.sqlstate(), QUERY_CANCELED | ADMIN_SHUTDOWN) {
        return true;
    }
    match session.interrupt() {
        Some(Interrupt::Cancelled | Interrupt::TimedOut) => true,
        Some(Interrupt::ClientGone | Interrupt::Shutdown) => false,
        None => {
            *cancelled += 1;
            *cancelled >= CLEANUP_TRIES
        }
    }
}

/// The client's own limits don't bound what is its due; lockkeeper's end does.
fn patient<'a, S: Session>(session: &S, setup: Setup<'a>) -> Setup<'a> {
    let mut limits = setup.limits;
    limits.statement_timeout = None;
    limits.deadline = limits.undo_deadline;
    if session.honoured() == Some(Interrupt::Shutdown) {
        limits.deadline = limits.deadline.min(CLEANUP_AT_SHUTDOWN);
    }
    Setup { limits, ..setup }
}

/// Drops the index that a step has built, concurrently.
async fn drop_built<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    let Check::IndexIsValid { table_oid, name } = &step.check else {
        return Ok(());
    };
    let query = Command::with(BUILT_SQL, vec![table_oid.to_string(), name.clone()]);
    let left = format!("Index {name} is left");
    let Some(found) = look_for(session, query, &left, progress).await? else {
        return Ok(());
    };
    set_no_timeouts(session, setup.settings).await?;
    let why = "which a later step has no use for";
    drop_all(session, &found, why, (step, setup), progress).await?;
    put_timeouts_back(session, setup.settings).await
}

/// Looks for what may be left; when that can't be done, it is said.
async fn look_for<S: Session>(
    session: &mut S,
    query: Command,
    left: &str,
    progress: &mut Progress,
) -> Result<Option<Vec<Reply>>, RunError> {
    match run_own(session, &[query]).await {
        Ok(found) => Ok(Some(found)),
        Err(RunError::Gone) => Err(RunError::Gone),
        Err(error) => {
            let told = format!("{left}: it could not be looked for ({error}).");
            progress.undone.push(told);
            Ok(None)
        }
    }
}

/// Whether a concurrent step that failed is half done, so that it can only be finished: an index
/// that no query uses any more, a partition that no query of the parent reaches.
pub(super) async fn is_half_done<S: Session>(
    session: &mut S,
    check: &Check,
    error: &RunError,
    progress: &mut Progress,
) -> Result<bool, RunError> {
    if *error == RunError::Gone {
        return Ok(false);
    }
    let (found, what) = if let Check::IndexIsGone { oid } = check {
        (still_invalid(session, *oid).await, "The index")
    } else if let Check::IsNoPartition { table, parent } = check {
        let names = vec![table.to_string(), parent.to_string()];
        let query = Command::with(DETACH_PENDING_SQL, names);
        let found = run_own(session, &[query]).await;
        (found.map(|replies| says_true(&replies)), "The partition")
    } else {
        return Ok(false);
    };
    match found {
        Err(RunError::Gone) => Err(RunError::Gone),
        Err(failure) => {
            let left =
                format!("{what} may be left half gone: it could not be looked at ({failure}).");
            progress.undone.push(left);
            Ok(false)
        }
        found => found,
    }
}

/// Finishes a concurrent step that was interrupted half-way; what the server calls that.
pub(super) async fn finish<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
    error: RunError,
) -> Result<String, RunError> {
    let (result, sql, left) = if let Undo::Finish(finishing) = &step.undo {
        session.notice(
            "the partition is half detached, which can't be taken back: finishing it",
            "It waits for the transactions that use it. A cancel leaves it half detached.",
        );
        let result = insist_on_step(session, finishing, setup, progress).await;
        let left = "The partition is left half detached";
        (result, &finishing.sql, left)
    } else {
        session.notice(
            "the index is half dropped, which can't be taken back: finishing it",
            "It waits for the transactions that use the table. A cancel leaves it INVALID.",
        );
        let result = insist(session, &Command::own(&step.sql)).await;
        let result = result.map(|()| "DROP INDEX".to_owned());
        (result, &step.sql, "The index is left INVALID")
    };
    match result {
        Ok(tag) => {
            if error.sqlstate() == QUERY_CANCELED {
                progress.stopped_by = Some(error);
            }
            Ok(tag)
        }
        Err(RunError::Gone) => Err(RunError::Gone),
        Err(failure) => {
            progress.owes |= is_for_later(session, &failure);
            progress
                .undone
                .push(format!("{left} ({failure}): run {sql} when you can."));
            Err(error)
        }
    }
}

/// Takes back what a failed step left; a failure of that is told, and what is left is named.
pub(super) async fn clean_up<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    let leftovers = match &step.undo {
        Undo::DropInvalidIndexes(leftovers) => leftovers,
        Undo::NothingToUndo | Undo::Sql(_) | Undo::Irreversible { .. } | Undo::Finish(_) => {
            return Ok(());
        }
    };
    let query = find_leftovers(leftovers);
    let left = "An INVALID index may be left";
    let Some(found) = look_for(session, query, left, progress).await? else {
        return Ok(());
    };
    let why = "that is left INVALID";
    drop_all(session, &found, why, (step, setup), progress).await
}

/// Drops indexes that a step has left, concurrently; one that can't be dropped is named.
async fn drop_all<S: Session>(
    session: &mut S,
    found: &[Reply],
    why: &str,
    (step, setup): (&Step, Setup<'_>),
    progress: &mut Progress,
) -> Result<(), RunError> {
    for row in found.iter().flat_map(|reply| &reply.rows) {
        let Some(Some(name)) = row.first() else {
            continue;
        };
        session.stage(Stage::TakesBack);
        let drop = Command::own(format!("DROP INDEX CONCURRENTLY {name}"));
        session.notice(
            &format!("dropping the index {name} {why}"),
            "It waits for the transactions that use the table. A cancel leaves it.",
        );
        let clear = until_clear(session, step, setup, progress).await;
        session.stage(Stage::TakesBack); // whatever it has waited for
        let dropped = match clear {
            Ok(()) => insist(session, &drop).await,
            Err(error) => Err(error),
        };
        match dropped {
            Ok(()) => {
                progress
                    .undone
                    .push(format!("The index {name} {why} was dropped."));
            }
            Err(RunError::Gone) => return Err(RunError::Gone),
            Err(error) => {
                progress.owes |= is_for_later(session, &error);
                progress.undone.push(format!(
                    "The index {name} {why} was not dropped ({error}): run {} when you can.",
                    drop.sql
                ));
            }
        }
    }
    Ok(())
}

/// Waits while somebody else builds on the step's table, where that can be seen: who queues behind a
/// concurrent build deadlocks with it.
async fn until_clear<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    if session.operator().is_none() {
        return Ok(());
    }
    let mut cancelled = 0;
    loop {
        session.forgive();
        let mut setup = patient(session, setup);
        if session.honoured() == Some(Interrupt::Shutdown) {
            setup.limits.deadline = Duration::ZERO;
        }
        let mut tries = Tries::new(setup.relations, setup.limits);
        let result = match wanted::resolve(session, &[step]).await {
            Ok(set) => tries.until_clear(session, &set, progress).await,
            Err(error) => Err(error),
        };
        match result.and_then(|()| interrupted(session)) {
            Err(error) if is_final(session, &error, &mut cancelled) => return Err(error),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
    }
}

fn find_leftovers(leftovers: &Leftovers) -> Command {
    let parameters = vec![
        leftovers.table_oid.to_string(),
        oid_array(&leftovers.before),
        leftovers.name.clone().unwrap_or_default(),
        leftovers.reindex_copies.to_string(),
    ];
    Command::with(LEFTOVERS_SQL, parameters)
}

const BUILT_SQL: &str = "
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = $1::pg_catalog.oid AND c.relname = $2::pg_catalog.name";

/// Only what this plan can have left: new, INVALID, of the right name, and not being built by
/// another session.
const LEFTOVERS_SQL: &str = "
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = $1::pg_catalog.oid
WHERE i.indrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(t.oid) p UNION SELECT t.oid
                     UNION SELECT t.reltoastrelid)
  AND NOT i.indisvalid AND c.relkind = 'i'
  AND c.oid <> ALL ($2::pg_catalog.oid[])
  AND ($3::pg_catalog.text = '' OR c.relname::pg_catalog.text = $3::pg_catalog.text)
  AND (NOT $4::pg_catalog.bool OR c.relname::pg_catalog.text ~ '_cc(new|old)[0-9]*$')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b
                  WHERE b.index_relid = c.oid AND b.pid <> pg_catalog.pg_backend_pid())";

/// There since PostgreSQL 14.
const DETACH_PENDING_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i
  WHERE i.inhrelid = pg_catalog.to_regclass($1::pg_catalog.text)
  AND i.inhparent = pg_catalog.to_regclass($2::pg_catalog.text)
  AND coalesce((pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::pg_catalog.bool, false))";
