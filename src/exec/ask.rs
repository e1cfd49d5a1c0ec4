//! Asking for a lock: a step in a transaction of its own, under timeouts, tried until it has its
//! lock.

use std::time::Duration;

use super::acquire::{QUERY_CANCELED, Tries, array_literal};
use super::look::{LockSet, Wanted};
use super::runner::{ACTIVE_SQL_TRANSACTION, INSUFFICIENT_PRIVILEGE, Progress, Setup};
use super::runner::{in_autocommit, roll_back, set_timeout, work};
use super::session::{Command, Reply, RunError, Session};
use super::wanted;
use crate::lock::LockMode;
use crate::plan::course::Course;
use crate::plan::{Step, StepLock};

/// SQLSTATE `invalid_text_representation`: what the question under the lock ends in.
const INVALID_TEXT: &str = "22P02";

/// How long a step's statement may run, waiting included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementTime {
    /// As the session says.
    AsSet,
    /// `locks.max_hold`.
    Held,
    /// So long.
    Within(Duration),
    /// Without limit.
    Unlimited,
}

/// What is to be asked for, and how.
struct Ask<'a> {
    step: &'a Step,
    setup: Setup<'a>,
    time: StatementTime,
    /// The relations.
    set: LockSet,
    /// It can be seen whether a concurrent build runs, behind which a patient request would deadlock.
    is_seen: bool,
    /// Locks are taken by `LOCK TABLE` first.
    locks_first: bool,
}

/// A try that failed.
struct Failed {
    error: RunError,
    /// For how long others may have waited behind it.
    spent: Duration,
}

/// A step in a transaction of its own, tried until it has its lock.
pub(super) async fn in_transaction<S: Session>(
    session: &mut S,
    step: &Step,
    setup: Setup<'_>,
    time: StatementTime,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let mut tries = Tries::new(setup.relations, setup.limits);
    let mut ask = Ask {
        step,
        setup,
        time,
        set: LockSet::default(),
        is_seen: session.operator().is_some(),
        locks_first: true,
    };
    loop {
        ask.set = look(session, &[step], &mut tries, progress).await?;
        progress.is_synchronous |= ask.set.is_synchronous;
        progress.attempts += 1;
        let Failed { error, spent } = match ask.once(session, progress.course).await? {
            Ok(tag) => {
                progress.held = progress.held.max(session.lock_hold());
                return Ok(tag);
            }
            Err(failed) => failed,
        };
        if error.sqlstate() == ACTIVE_SQL_TRANSACTION {
            session.note(progress.course).await?;
            return in_autocommit(session, step, setup, progress).await;
        }
        if error.sqlstate() == INSUFFICIENT_PRIVILEGE && ask.locks_any() {
            // Who may refer to a table, or change it, may not always lock it.
            ask.locks_first = false;
            continue;
        }
        tries.again(session, error, spent, progress).await?;
    }
}

/// Waits until the way is clear for some steps, where that can be seen; what they lock.
///
/// # Errors
/// As [`Tries::until_clear`]; the server's own; [`RunError::Stale`] when nothing has run and it would
/// be judged in another way now.
pub async fn look<S: Session>(
    session: &mut S,
    steps: &[&Step],
    tries: &mut Tries<'_>,
    progress: &mut Progress,
) -> Result<LockSet, RunError> {
    let set = wanted::resolve(session, steps).await?;
    tries.until_clear(session, &set, progress).await?;
    if progress.executed.is_empty() && !session.is_as_judged().await {
        return Err(RunError::Stale);
    }
    Ok(set)
}

impl Ask<'_> {
    /// One try; rolled back when it fails.
    ///
    /// # Errors
    /// What ends the plan without another try.
    async fn once<S: Session>(
        &self,
        session: &mut S,
        course: Course,
    ) -> Result<Result<String, Failed>, RunError> {
        let mut front = self.fence().unwrap_or_default();
        let is_fenced = !front.is_empty();
        if session.is_journalled() {
            if front.is_empty() {
                front.push(Command::own("BEGIN"));
            }
            front.push(Command::own(XID_SQL));
        }
        let begun = match front.as_slice() {
            [] => Vec::new(),
            front => match session.run(front).await {
                Ok(replies) => replies,
                Err(error) => {
                    roll_back(session).await?;
                    // Nobody but vacuums, builds and other schema changes waits behind this lock.
                    let spent = Duration::ZERO;
                    return Ok(Err(Failed { error, spent }));
                }
            },
        };
        if session.is_journalled()
            && let Some(xid) = number(&begun)
            && let Err(error) = session.note(course.under(xid)).await
        {
            if error != RunError::Gone {
                roll_back(session).await?;
            }
            return Err(error);
        }
        let (batch, locked, at) = self.batch(!front.is_empty(), is_fenced);
        let began = session.elapsed();
        let result = session
            .run_within(&batch, locked, self.setup.limits.budget)
            .await;
        let spent = session.elapsed().saturating_sub(began);
        let error = match result {
            Ok(replies) => return Ok(Ok(tag(replies, at))),
            Err(error) => error,
        };
        roll_back(session).await?;
        Ok(Err(Failed {
            error: self.explain(session, error),
            spent,
        }))
    }

    /// Whether locks are taken by statements of our own.
    fn locks_any(&self) -> bool {
        self.locks_first && !(self.step.lock_first.is_empty() && self.set.wanted.is_empty())
    }

    /// The transaction's beginning: the lock that stops no query and keeps vacuums, builds and other
    /// schema changes out.
    fn fence(&self) -> Option<Vec<Command>> {
        if !(self.is_seen && self.locks_first) {
            return None;
        }
        let fence = self.set.fence()?;
        Some(vec![
            Command::own("BEGIN"),
            Command::own(set_timeout("LOCAL lock_timeout", self.patience())),
            Command::own("SET LOCAL statement_timeout = 0"),
            Command::own(fence),
        ])
    }

    /// It takes a lock that others wait for, on something that they use.
    fn is_strong(&self) -> bool {
        self.set.strongest() >= Some(LockMode::Share)
    }

    fn patience(&self) -> Duration {
        self.set.patience(self.setup.limits.budget)
    }

    /// The commands of the transaction, which the fence may have begun, how many of them only take
    /// locks, and which does the work.
    fn batch(&self, is_begun: bool, is_fenced: bool) -> (Vec<Command>, usize, usize) {
        let limits = self.setup.limits;
        let mut batch = Vec::new();
        if !is_begun {
            batch.push(Command::own("BEGIN"));
        }
        // Nobody waits behind a weak lock but vacuums, builds and other schema changes.
        let timeout = if self.is_seen && !self.set.wanted.is_empty() && !self.is_strong() {
            self.patience()
        } else {
            limits.budget
        };
        batch.push(Command::own(set_timeout("LOCAL lock_timeout", timeout)));
        if self.is_strong() && self.set.is_synchronous {
            // Standbys are waited for when the lock is free again.
            batch.push(Command::own("SET LOCAL synchronous_commit = local"));
        }
        batch.extend(self.statement_timeout(is_fenced));
        let locks = self.locks();
        let locks_any = !locks.is_empty();
        batch.extend(locks);
        batch.extend(self.same_relations());
        let at = batch.len();
        let locked = if locks_any { at } else { 0 };
        batch.push(work(self.step));
        batch.extend(self.step.also.iter().map(Command::own));
        batch.push(Command::own("COMMIT"));
        (batch, locked, at)
    }

    /// How long the work may take; the fence has taken the session's own limit off.
    fn statement_timeout(&self, is_fenced: bool) -> Option<Command> {
        let own = self.setup.settings.statement_timeout.ms;
        let within = |limit: Duration| {
            let own = (own > 0).then(|| Duration::from_millis(own));
            let limit = own.map_or(limit, |own| own.min(limit));
            Command::own(set_timeout("LOCAL statement_timeout", limit))
        };
        match self.time {
            StatementTime::AsSet if is_fenced => {
                Some(Command::own(format!("SET LOCAL statement_timeout = {own}")))
            }
            StatementTime::AsSet => None,
            StatementTime::Held if !self.is_strong() => None,
            StatementTime::Held => Some(within(self.setup.limits.max_hold)),
            StatementTime::Within(limit) => Some(within(limit)),
            StatementTime::Unlimited => Some(Command::own("SET LOCAL statement_timeout = 0")),
        }
    }

    /// The statements that take the locks, in the order in which they are taken.
    fn locks(&self) -> Vec<Command> {
        if !self.locks_first {
            return Vec::new();
        }
        let first = self.step.lock_first.iter().map(StepLock::statement);
        let mut statements: Vec<String> = first.collect();
        for wanted in self.set.taken_ahead() {
            let is_first =
                |lock: &StepLock| lock.relation == wanted.name && lock.mode >= wanted.mode;
            if !self.step.lock_first.iter().any(is_first) {
                statements.push(format!(
                    "LOCK TABLE {} IN {} MODE",
                    self.set.as_table(wanted),
                    wanted.mode.in_sql()
                ));
            }
        }
        statements.into_iter().map(Command::own).collect()
    }

    /// Under the locks: the names still stand for the same relations.
    fn same_relations(&self) -> Option<Command> {
        if self.set.wanted.is_empty() {
            return None;
        }
        let column = |text: &dyn Fn(&Wanted) -> String| {
            array_literal(&self.set.wanted.iter().map(text).collect::<Vec<_>>())
        };
        let names = column(&|wanted| wanted.name.to_string());
        let oids = column(&|wanted| wanted.oid.to_string());
        Some(Command::with(SAME_SQL, vec![names, oids]))
    }

    /// What an error means for the plan.
    fn explain<S: Session>(&self, session: &S, error: RunError) -> RunError {
        let RunError::Sql(fields) = &error else {
            return error;
        };
        if fields.sqlstate == INVALID_TEXT && fields.message.contains(OTHER_RELATION) {
            return RunError::Stale;
        }
        let own = self.setup.settings.statement_timeout.ms;
        let max_hold = self.setup.limits.max_hold;
        let is_ours = own == 0 || Duration::from_millis(own) > max_hold;
        if fields.sqlstate == QUERY_CANCELED
            && self.time == StatementTime::Held
            && self.is_strong()
            && is_ours
            && session.interrupt().is_none()
        {
            let fields = crate::error::held_too_long(&self.step.title, max_hold);
            return RunError::Sql(Box::new(fields));
        }
        error
    }
}

/// The transaction's own number, which it gets by this question (PostgreSQL manual, "Transaction ID
/// and Snapshot Information Functions").
const XID_SQL: &str = "SELECT pg_catalog.pg_current_xact_id()";

/// What the last answer says, if that is a number.
fn number(replies: &[Reply]) -> Option<u64> {
    let row = replies.last()?.rows.first()?;
    row.first()?.as_deref()?.parse().ok()
}

fn tag(mut replies: Vec<Reply>, at: usize) -> String {
    if at < replies.len() {
        replies.swap_remove(at).tag
    } else {
        String::new()
    }
}

/// What the question under the lock says when the answer is no.
const OTHER_RELATION: &str = "another relation";

/// Fails when a name has come to stand for another relation.
const SAME_SQL: &str = "
SELECT (CASE WHEN pg_catalog.bool_and(pg_catalog.to_regclass(w.name)::pg_catalog.oid
                    IS NOT DISTINCT FROM w.oid::pg_catalog.oid)
        THEN '1' ELSE 'another relation' END)::pg_catalog.int4
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) w (name, oid)";
