//! Runs one plan: step by step, each checked before the next, what fails taken back, settings put
//! back as found.

use std::time::Duration;

use super::acquire::{DEADLOCK_DETECTED, QUERY_CANCELED, Tries, interrupted};
use super::ask::{StatementTime, in_transaction, look};
use super::backfill::{self, BackfillCursor, Place};
use super::check::{self, verify};
use super::places::{Applicant, Key, Places};
use super::session::{Command, Moment, Point, Reply, RunError, Session, Stage, says_true};
use super::undo::{clean_up, finish, is_half_done, take_back};
use super::wait::Wait;
use super::wanted;
use crate::catalog::{SessionFacts, Setting};
use crate::plan::backfill::Pace;
use crate::plan::course::Course;
use crate::plan::{Context, Limits, Plan, Step, Undo};
use crate::sql::name::Name;

/// SQLSTATE `active_sql_transaction`: the statement refuses a transaction block.
pub(super) const ACTIVE_SQL_TRANSACTION: &str = "25001";
/// SQLSTATE `check_violation`.
const CHECK_VIOLATION: &str = "23514";
/// SQLSTATE `insufficient_privilege`.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// How often it is looked whether an old snapshot is gone.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Tries of a command of ours that cleans up, should a late cancel request hit it.
const CLEANUP_TRIES: u32 = 3;

/// What happened so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Tries to get a lock, over all steps.
    pub attempts: u32,
    /// Time spent in tries that failed, and in waiting for the way to be clear.
    pub waited: Duration,
    /// Steps that ran, done or failed.
    pub steps: usize,
    /// A step was committed that standbys may not have yet.
    pub is_synchronous: bool,
    /// SQL of the steps that were done.
    pub executed: Vec<String>,
    /// What was taken back, for people.
    pub undone: Vec<String>,
    /// SQL of the step that ran last, done or failed.
    pub last_sql: String,
    /// How far the rows are that a step fills: handed in, it goes on from there.
    pub cursor: BackfillCursor,
    /// The value of a filled row was NULL.
    pub filled_empty: bool,
    /// When the client is told next how far it is, in time since its statement came.
    pub next_report: Option<Duration>,
    /// A step was interrupted and finished all the same; no further step runs.
    pub stopped_by: Option<RunError>,
    /// How far the plan is, as the journal has it.
    pub course: Course,
    /// Something that was done could not be taken back, or finished, for others' locks: there is
    /// something left to do.
    pub owes: bool,
    /// The longest that a strong lock was held.
    pub held: Duration,
    /// Who was in the way, a line each.
    pub blockers: Vec<String>,
}

/// Those in the way that are remembered.
const MAX_BLOCKERS: usize = 10;

impl Progress {
    /// Somebody is in the way.
    pub(super) fn met(&mut self, blockers: &[String]) {
        for line in blockers {
            if self.blockers.len() < MAX_BLOCKERS && !self.blockers.contains(line) {
                self.blockers.push(line.clone());
            }
        }
    }
}

/// A plan's end.
#[derive(Debug)]
pub struct Outcome {
    /// The command tag of the last step, or why the plan failed.
    pub result: Result<String, RunError>,
    /// What happened.
    pub progress: Progress,
}

/// What a plan runs with.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The session's settings, to be put back.
    pub settings: &'a SessionFacts,
    /// Budget and deadline.
    pub limits: Limits,
    /// Relations whose lock holders are named to the client.
    pub relations: &'a [Name],
    /// Where builds queue, and as whom; `None` where nobody else builds.
    pub places: Option<(&'a Places, &'a Applicant)>,
    /// How fills spare the server.
    pub pace: Pace,
}

/// Runs a plan to its end.
pub async fn run<S: Session>(session: &mut S, plan: &Plan, setup: Setup<'_>) -> Outcome {
    go_on(session, plan, setup, Progress::default()).await
}

/// The same from what happened before: a fill goes on from its cursor.
pub async fn go_on<S: Session>(
    session: &mut S,
    plan: &Plan,
    setup: Setup<'_>,
    mut progress: Progress,
) -> Outcome {
    let mut result = run_steps(session, &plan.steps, setup, &mut progress).await;
    if result.is_ok() && progress.is_synchronous {
        result = wait_for_standbys(session).await.and(result);
    }
    Outcome { result, progress }
}

/// Standbys that a commit waits for have what was committed without waiting for them.
async fn wait_for_standbys<S: Session>(session: &mut S) -> Result<(), RunError> {
    const SQL: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'lockkeeper', '')";
    match session.run(&[Command::own(SQL)]).await {
        Err(RunError::Gone) => Err(RunError::Gone),
        // What was done is done; a cancel request ends only the wait, as it does in PostgreSQL.
        Ok(_) | Err(_) => Ok(()),
    }
}

pub(super) async fn run_steps<S: Session>(
    session: &mut S,
    steps: &[Step],
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let mut tag = String::new();
    let before = progress.steps;
    for (at, step) in steps.iter().enumerate() {
        if let Some(error) = progress.stopped_by.take() {
            return if is_finished_to_the_end(session, steps, at).await? {
                Ok(tag)
            } else {
                Err(error)
            };
        }
        progress.last_sql.clone_from(&step.sql);
        progress.steps += 1;
        let number = progress.steps;
        progress.course = Course::Step {
            step: number,
            xid: None,
        };
        let place = Place {
            step: number,
            of: steps.len(),
            title: &step.title,
        };
        session.stage(Stage::Runs {
            step: number,
            of: steps.len(),
            title: step.title.clone(),
            progress: String::new(),
        });
        session.reached(point(number, Moment::Before)).await;
        match run_step(session, step, place, setup, progress).await {
            Ok(done) => {
                session.reached(point(number, Moment::After)).await;
                tag = done;
            }
            Err(RunError::Gone) => return Err(RunError::Gone),
            Err(error) => {
                let error = in_clients_words(step, error);
                take_back(session, &steps[..at], before, setup, progress).await?;
                return if is_finished_to_the_end(session, steps, at).await? {
                    Ok(tag)
                } else {
                    Err(error)
                };
            }
        }
        progress.executed.push(step.sql.clone());
    }
    Ok(tag)
}

/// A violated CHECK of lockkeeper's own is what the client's statement would have failed for.
fn in_clients_words(step: &Step, error: RunError) -> RunError {
    match (&step.violation, error) {
        (Some(violation), RunError::Sql(fields)) if fields.sqlstate == CHECK_VIOLATION => {
            RunError::Sql(Box::new(crate::error::violated(violation, *fields)))
        }
        (_, error) => error,
    }
}

/// Whether nothing is left to do at a step: what finished the one before it may have done it too.
async fn is_finished_to_the_end<S: Session>(
    session: &mut S,
    steps: &[Step],
    at: usize,
) -> Result<bool, RunError> {
    let is_finished = |step: &Step| matches!(step.undo, Undo::Finish(_));
    if !steps[..at].iter().any(is_finished) {
        return Ok(false);
    }
    for step in &steps[at..] {
        let Some((question, _)) = check::question(&step.check) else {
            return Ok(false);
        };
        match run_own(session, &[question]).await {
            Ok(replies) if says_true(&replies) => {}
            Err(RunError::Gone) => return Err(RunError::Gone),
            Ok(_) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn point(step: usize, moment: Moment) -> Point {
    Point { step, moment }
}

async fn run_step<S: Session>(
    session: &mut S,
    step: &Step,
    place: Place<'_>,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    if !step.is_online() {
        return run_in_turn(session, step, place, setup, progress).await;
    }
    let slot = slot(session, setup, progress).await?;
    progress.waited += session.enter_slot(setup.limits).await?;
    let done = run_in_turn(session, step, place, setup, progress).await;
    session.leave_slot();
    drop(slot);
    done
}

async fn run_in_turn<S: Session>(
    session: &mut S,
    step: &Step,
    place: Place<'_>,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    interrupted(session)?;
    if !step.is_transaction() {
        session.note(progress.course).await?;
    }
    let done = match &step.context {
        Context::Transaction => {
            let time = if step.takes_long {
                StatementTime::AsSet
            } else {
                StatementTime::Held
            };
            in_transaction(session, step, setup, time, progress).await
        }
        Context::Long => {
            in_transaction(session, step, setup, StatementTime::Unlimited, progress).await
        }
        Context::Batches(rows) => backfill::fill(session, rows, place, setup, progress).await,
        Context::Autocommit => in_autocommit(session, step, setup, progress).await,
        Context::Concurrent { clear } => {
            concurrently(session, step, clear.as_ref(), setup, progress).await
        }
        Context::Brief { otherwise } => {
            let time = StatementTime::Within(setup.limits.budget);
            match in_transaction(session, step, setup, time, progress).await {
                Err(error)
                    if error.sqlstate() == QUERY_CANCELED && session.interrupt().is_none() =>
                {
                    session.unfolded(progress.steps, otherwise);
                    return Box::pin(run_steps(session, otherwise, setup, progress)).await;
                }
                done => done,
            }
        }
    };
    let tag = done?;
    if !matches!(step.context, Context::Concurrent { .. }) {
        verify(session, &step.check).await?;
    }
    Ok(tag)
}

/// The one slot of the database's online builds.
async fn slot<S: Session>(
    session: &mut S,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<Option<super::places::Place>, RunError> {
    let Some((places, applicant)) = setup.places else {
        return Ok(None);
    };
    let database = wanted::resolve(session, &[]).await?.database;
    let place = places.enter(vec![Key::Build(database)], applicant.clone());
    let waited = place
        .turn(session, setup.limits, setup.limits.build_wait)
        .await?;
    progress.waited += waited;
    Ok(Some(place))
}

/// A step outside a transaction block under the session's lock timeout, tried until it has its
/// lock.
pub(super) async fn in_autocommit<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    // Settings that couldn't be read can't be put back: then the statement runs as it is.
    let is_known = setup.settings.is_known();
    if is_known {
        let set = Command::own(set_timeout("lock_timeout", setup.limits.budget));
        run_own(session, &[set]).await?;
    }
    let mut tries = Tries::new(setup.relations, setup.limits);
    let result = loop {
        if let Err(error) = look(session, &[step], &mut tries, progress).await {
            break Err(error);
        }
        let began = session.elapsed();
        progress.attempts += 1;
        match session.run(&[work(step)]).await {
            Ok(replies) => break Ok(tag_of(replies)),
            Err(error) => {
                let spent = session.elapsed().saturating_sub(began);
                if let Err(error) = tries.again(session, error, spent, progress).await {
                    break Err(error);
                }
            }
        }
    };
    if is_known {
        let back = Command::own(put_back("lock_timeout", &setup.settings.lock_timeout));
        clean(session, &back).await?;
    }
    result
}

/// A step that waits for other transactions and blocks nobody: without timeouts, checked, cleaned
/// up when it fails.
async fn concurrently<S: Session>(
    session: &mut S,
    step: &Step,
    clear: Option<&Name>,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let mut tries = Tries::new(setup.relations, setup.limits);
    loop {
        let pid = look(session, &[step], &mut tries, progress).await?.pid;
        until_no_old_snapshot(session, pid, setup, progress).await?;
        if let Some(table) = clear {
            wait_until_clear(session, table, setup, progress).await?;
        }
        interrupted(session)?;
        if let Some(oid) = step.only_while_invalid
            && !still_invalid(session, oid).await?
        {
            return Err(RunError::Stale);
        }
        let began = session.elapsed();
        progress.attempts += 1;
        set_no_timeouts(session, setup.settings).await?;
        let limit = setup.limits.build_deadline;
        let work = [work(step)];
        let mut result = session.run_watched(&work, pid, limit).await.map(tag_of);
        if result.is_ok() {
            result = verify(session, &step.check).await.and(result);
        }
        if let Err(error) = result {
            result = if is_half_done(session, &step.check, &error, progress).await? {
                finish(session, step, setup, progress, error).await
            } else {
                clean_up(session, step, setup, progress).await?;
                Err(error)
            };
        }
        put_timeouts_back(session, setup.settings).await?;
        match result {
            Err(error) if error.sqlstate() == DEADLOCK_DETECTED => {
                let spent = session.elapsed().saturating_sub(began);
                tries.again(session, error, spent, progress).await?;
            }
            result => return result,
        }
    }
}

/// Waits, without queueing, until no build, VACUUM or other schema change holds the table: a build
/// that queues behind another deadlocks with it.
async fn wait_until_clear<S: Session>(
    session: &mut S,
    table: &Name,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    let batch = [
        Command::own("BEGIN"),
        Command::own(set_timeout("LOCAL lock_timeout", setup.limits.budget)),
        Command::own(format!(
            "LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE"
        )),
        Command::own("COMMIT"),
    ];
    let mut tries = Tries::new(setup.relations, setup.limits);
    loop {
        interrupted(session)?;
        let began = session.elapsed();
        let Err(error) = session.run(&batch).await else {
            return Ok(());
        };
        let spent = session.elapsed().saturating_sub(began);
        roll_back(session).await?;
        if error.sqlstate() == INSUFFICIENT_PRIVILEGE {
            return Ok(()); // an owner that has revoked its own rights may build, but not lock
        }
        tries.again(session, error, spent, progress).await?;
    }
}

/// Waits until the database has no snapshot that a build would have to wait for at its end: until
/// then it would keep vacuums and other schema changes out for nothing.
async fn until_no_old_snapshot<S: Session>(
    session: &mut S,
    pid: u32,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<(), RunError> {
    let Some(operator) = session.operator() else {
        return Ok(());
    };
    let Limits {
        deadline,
        build_look_age,
        ..
    } = setup.limits;
    let mut wait = Wait::begin(session);
    loop {
        interrupted(session)?;
        let old = operator.old_snapshots(pid, build_look_age).await;
        let old = old.unwrap_or_default();
        let waited = wait.so_far(session);
        if old.is_empty() {
            progress.waited += waited;
            return Ok(());
        }
        if waited >= deadline {
            let fields = crate::error::snapshot_stays(waited, build_look_age, &old.join("\n"));
            return Err(RunError::Sql(Box::new(fields)));
        }
        if wait.is_to_tell(session) {
            let message =
                "the build waits for old transactions: it would have to wait for them at its end";
            session.notice(message, &old.join("\n"));
        }
        session.stage(Stage::AwaitsLock { blockers: old });
        wait.pass(session, SNAPSHOT_INTERVAL).await?;
    }
}

/// The command that does a step's work.
pub(super) fn work(step: &Step) -> Command {
    Command {
        notices: step.notices,
        ..Command::clients(&step.sql)
    }
}

pub(super) async fn still_invalid<S: Session>(session: &mut S, oid: u32) -> Result<bool, RunError> {
    let query = Command::with(STILL_INVALID_SQL, vec![oid.to_string()]);
    Ok(says_true(&run_own(session, &[query]).await?))
}

fn tag_of(mut replies: Vec<Reply>) -> String {
    replies.pop().map(|reply| reply.tag).unwrap_or_default()
}

/// Runs commands of lockkeeper's own, which a late cancel request doesn't end.
///
/// # Errors
/// As [`Session::run`].
pub async fn run_own<S: Session>(
    session: &mut S,
    batch: &[Command],
) -> Result<Vec<Reply>, RunError> {
    let mut last = session.run(batch).await;
    for _ in 1..CLEANUP_TRIES {
        match last {
            Err(error) if error.sqlstate() == QUERY_CANCELED => last = session.run(batch).await,
            _ => break,
        }
    }
    last
}

/// Runs a command that must not be lost to a late cancel request.
///
/// # Errors
/// As [`Session::run`].
async fn clean<S: Session>(session: &mut S, command: &Command) -> Result<(), RunError> {
    run_own(session, std::slice::from_ref(command))
        .await
        .map(drop)
}

/// Ends a transaction that has failed.
///
/// # Errors
/// As [`Session::run`].
pub async fn roll_back<S: Session>(session: &mut S) -> Result<(), RunError> {
    clean(session, &Command::own("ROLLBACK")).await
}

/// The statement that sets a timeout, of a millisecond at least; the name may have LOCAL before it.
pub fn set_timeout(name: &str, timeout: Duration) -> String {
    format!("SET {name} = {}", timeout.as_millis().max(1))
}

/// The statement that puts a timeout back as it was found.
pub fn put_back(name: &str, setting: &Setting) -> String {
    if setting.in_session {
        format!("SET {name} = {}", setting.ms)
    } else {
        format!("RESET {name}")
    }
}

fn timeouts(settings: &SessionFacts) -> impl Iterator<Item = (&'static str, &Setting)> {
    let always = [
        ("lock_timeout", &settings.lock_timeout),
        ("statement_timeout", &settings.statement_timeout),
    ];
    always.into_iter().chain(
        settings
            .transaction_timeout
            .as_ref()
            .map(|setting| ("transaction_timeout", setting)),
    )
}

pub(super) async fn set_no_timeouts<S: Session>(
    session: &mut S,
    settings: &SessionFacts,
) -> Result<(), RunError> {
    let in_force = timeouts(settings).filter(|(_, setting)| setting.ms > 0);
    let batch: Vec<Command> = in_force
        .map(|(name, _)| Command::own(format!("SET {name} = 0")))
        .collect();
    if batch.is_empty() {
        Ok(())
    } else {
        run_own(session, &batch).await.map(drop)
    }
}

pub(super) async fn put_timeouts_back<S: Session>(
    session: &mut S,
    settings: &SessionFacts,
) -> Result<(), RunError> {
    let in_force = timeouts(settings).filter(|(_, setting)| setting.ms > 0);
    let batch: Vec<Command> = in_force
        .map(|(name, setting)| Command::own(put_back(name, setting)))
        .collect();
    if batch.is_empty() {
        Ok(())
    } else {
        run_own(session, &batch).await.map(drop)
    }
}

const STILL_INVALID_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_index i
               WHERE i.indexrelid = $1::pg_catalog.oid AND NOT i.indisvalid)";
