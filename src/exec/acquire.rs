//! Taking a lock: ask with a short timeout, never queue for long; after a try that failed sleep at
//! least ten times what it took, so that the queue drains and ordinary traffic is held up for less
//! than a tenth of the time.

use std::time::Duration;

use super::look::{LockSet, Sight};
use super::operator::Operator;
use super::runner::Progress;
use super::session::{Command, RunError, Session, Stage};
use super::wait::Wait;
use crate::plan::Limits;
use crate::plan::words::seconds;
use crate::sql::name::Name;
use crate::wire::backend::ErrorFields;

/// SQLSTATE `lock_not_available`.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
/// SQLSTATE `deadlock_detected`.
pub const DEADLOCK_DETECTED: &str = "40P01";
/// SQLSTATE `query_canceled`.
pub const QUERY_CANCELED: &str = "57014";

/// The shortest sleep between two tries.
const MIN_SLEEP: Duration = Duration::from_millis(100);
/// The sleep between two looks for the same lock.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Those in the way who are named.
const MAX_BLOCKERS: usize = 5;
/// Sleep after a try, in multiples of the time that it took.
const SLEEP_FACTOR: u32 = 10;

/// Tries of one step until it has its lock, or the deadline.
#[derive(Debug)]
pub struct Tries<'a> {
    relations: &'a [Name],
    limits: Limits,
    /// From the first look or try on.
    wait: Option<Wait>,
    /// Looks in vain since the last try.
    looks: u32,
    /// Who was in the way at the last look, oldest transaction first.
    blockers: Vec<String>,
    evicted: Vec<(u32, i64)>,
}

impl<'a> Tries<'a> {
    /// Begins; `relations` are those whose lock holders are named to the client.
    pub fn new(relations: &'a [Name], limits: Limits) -> Tries<'a> {
        Tries {
            relations,
            limits,
            wait: None,
            looks: 0,
            blockers: Vec::new(),
            evicted: Vec::new(),
        }
    }

    /// Waits until nobody is in the way who won't be gone soon, as far as that can be seen.
    ///
    /// # Errors
    /// 55P03 with who is in the way when the deadline has passed; 57014 when it was interrupted.
    pub async fn until_clear<S: Session>(
        &mut self,
        session: &mut S,
        set: &LockSet,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        let Some(operator) = session.operator().filter(|_| !set.wanted.is_empty()) else {
            return Ok(());
        };
        let main = set.wanted.iter().max_by_key(|wanted| wanted.mode);
        let main = main.map_or(0, |wanted| wanted.oid);
        loop {
            interrupted(session)?;
            let before = session.elapsed();
            self.wait(session);
            let Some(snapshot) = operator.look(&set.oids()).await else {
                return Ok(()); // it can't be seen: asking with a short timeout must do
            };
            let sight = operator.with_ages(set.database, main, |ages| {
                ages.note(snapshot.at_ms, set.users(&snapshot));
                let Limits {
                    look_age, budget, ..
                } = self.limits;
                set.sight(&snapshot, ages, look_age, budget, self.looks)
            });
            if sight.is_clear {
                self.looks = 0;
                return Ok(());
            }
            self.looks += 1;
            self.evict(session, &operator, &sight).await;
            progress.met(&sight.blockers);
            self.blockers = sight.blockers;
            self.pause(session, LOOK_AGAIN, progress).await?;
            self.wait(session).feel(session).await?;
            progress.waited += session.elapsed().saturating_sub(before);
        }
    }

    /// After a try that ended in `error` and took `spent`: sleeps and returns when another try is
    /// due, or returns the error when there is none.
    ///
    /// # Errors
    /// The error as given, when it isn't about a lock; with a report of who holds the lock when
    /// the deadline has passed.
    pub async fn again<S: Session>(
        &mut self,
        session: &mut S,
        error: RunError,
        spent: Duration,
        progress: &mut Progress,
    ) -> Result<(), RunError> {
        if !is_about_locks(error.sqlstate()) {
            return Err(error);
        }
        progress.waited += spent;
        interrupted(session)?;
        let sleep = (spent * SLEEP_FACTOR).max(MIN_SLEEP);
        let sleep = sleep + jitter(sleep, progress.attempts);
        self.looks = 0;
        match self.pause(session, sleep, progress).await {
            // It is about the lock that the server didn't give.
            Err(RunError::Sql(report)) if report.sqlstate == LOCK_NOT_AVAILABLE => {
                Err(reported(error, *report))
            }
            result => result,
        }
    }

    /// The wait for the lock, from the first look or try on.
    fn wait<S: Session>(&mut self, session: &S) -> &mut Wait {
        self.wait.get_or_insert_with(|| Wait::begin(session))
    }

    /// Sleeps before another look or try; tells the client when that is due.
    async fn pause<S: Session>(
        &mut self,
        session: &mut S,
        sleep: Duration,
        progress: &Progress,
    ) -> Result<(), RunError> {
        let waited = self.wait(session).so_far(session);
        if let Some(timeout) = self.limits.statement_timeout
            && waited + sleep >= timeout
        {
            session.sleep(timeout.saturating_sub(waited)).await;
            return Err(RunError::Sql(Box::new(crate::error::statement_timeout())));
        }
        if waited + sleep > self.limits.deadline {
            let holders = self.holders(session).await;
            let fields = crate::error::lock_not_had(
                LOCK_NOT_AVAILABLE,
                &self.so_far(progress),
                waited,
                self.limits,
                &holders,
            );
            return Err(RunError::Sql(Box::new(fields)));
        }
        session.stage(Stage::AwaitsLock {
            blockers: self.blockers.clone(),
        });
        let mut rest = sleep;
        let until_notice = self.wait(session).until_notice(session);
        if until_notice < sleep {
            session.sleep(until_notice).await;
            interrupted(session)?;
            self.tell(session, progress).await;
            rest = sleep.saturating_sub(until_notice);
        }
        session.sleep(rest).await;
        interrupted(session)
    }

    /// Tells the client how long it has waited, and for whom.
    async fn tell<S: Session>(&mut self, session: &mut S, progress: &Progress) {
        let wait = self.wait(session);
        if wait.is_to_tell(session) {
            let waited = seconds(wait.so_far(session));
            let holders = self.holders(session).await;
            let so_far = self.so_far(progress);
            session.notice(
                &format!("waiting for a lock for {waited}: {so_far}"),
                &holders,
            );
        }
    }

    /// What was tried, for people.
    fn so_far(&self, progress: &Progress) -> String {
        let tries = match progress.attempts {
            0 => "not asked for yet".to_owned(),
            1 => "1 try".to_owned(),
            count => format!("{count} tries"),
        };
        if self.looks > 0 {
            format!("{tries}; the way isn't clear")
        } else {
            tries
        }
    }

    /// Who is in the way, for people.
    async fn holders<S: Session>(&self, session: &mut S) -> String {
        if self.blockers.is_empty() {
            holders(session, self.relations).await
        } else {
            let shown = self.blockers.iter().take(MAX_BLOCKERS);
            shown.cloned().collect::<Vec<_>>().join("\n")
        }
    }

    /// Ends transactions that have written nothing and are in the way for too long, if that is
    /// wanted.
    async fn evict<S: Session>(&mut self, session: &mut S, operator: &Operator, sight: &Sight) {
        let Some(after) = self.limits.cancel_after else {
            return;
        };
        for reader in sight.readers.iter().filter(|reader| reader.age >= after) {
            let key = (reader.pid, reader.began_ms);
            if self.evicted.contains(&key) {
                continue;
            }
            self.evicted.push(key);
            let (pid, began_ms) = key;
            if operator.evict(pid, began_ms, reader.is_idle).await {
                let verb = if reader.is_idle {
                    "terminated"
                } else {
                    "cancelled"
                };
                tracing::warn!(
                    pid,
                    "{verb}, for it was in the way of a schema change: {}",
                    reader.line
                );
                session.notice(
                    &format!("{verb}, for it was in the way: {}", reader.line),
                    "",
                );
            }
        }
    }
}

/// Whether an error is about a lock that others hold.
pub fn is_about_locks(sqlstate: &str) -> bool {
    matches!(sqlstate, LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED)
}

/// The server's error with the report's words.
fn reported(error: RunError, report: ErrorFields) -> RunError {
    let RunError::Sql(mut fields) = error else {
        return error;
    };
    fields.message = report.message;
    fields.detail = report.detail;
    fields.hint = report.hint;
    RunError::Sql(fields)
}

/// 57014, as the server says it, when the plan was interrupted while no statement ran.
pub(super) fn interrupted<S: Session>(session: &S) -> Result<(), RunError> {
    let Some(interrupt) = session.interrupt() else {
        return Ok(());
    };
    let fields = crate::error::interrupted(interrupt);
    Err(RunError::Sql(Box::new(fields)))
}

/// Up to a quarter more, so that two sessions don't keep step; no clock and no randomness needed.
fn jitter(sleep: Duration, attempt: u32) -> Duration {
    sleep / 64 * (attempt.wrapping_mul(7) % 17)
}

/// Who holds locks on the relations, oldest transaction first, for people; empty when it can't be
/// seen.
pub async fn holders<S: Session>(session: &mut S, relations: &[Name]) -> String {
    let names: Vec<String> = relations.iter().map(ToString::to_string).collect();
    if names.is_empty() {
        return String::new();
    }
    let query = Command::with(HOLDERS_SQL, vec![array_literal(&names)]);
    let Ok(replies) = session.run(&[query]).await else {
        return String::new();
    };
    let lines = replies.iter().flat_map(|reply| &reply.rows);
    let lines: Vec<&str> = lines.filter_map(|row| row.first()?.as_deref()).collect();
    lines.join("\n")
}

/// Seen as the client's own role: of other roles' sessions only what PostgreSQL shows it.
const HOLDERS_SQL: &str = "
SELECT pg_catalog.format('process %s (%s%s) holds %s on %s; transaction open for %s; %s',
    a.pid, coalesce(a.usename, 'unknown role'),
    CASE WHEN a.application_name <> '' THEN ', ' || a.application_name ELSE '' END,
    l.mode, l.relation::pg_catalog.regclass,
    coalesce(pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)::text, 'unknown time'),
    coalesce(a.state, 'state not shown to this role'))
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND a.pid <> pg_catalog.pg_backend_pid()
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.relation IN (SELECT pg_catalog.to_regclass(n) FROM pg_catalog.unnest($1::pg_catalog.text[]) n)
ORDER BY a.xact_start NULLS FIRST LIMIT 5";

/// An array of texts as PostgreSQL reads it from a text parameter.
pub fn array_literal(items: &[String]) -> String {
    let quoted: Vec<String> = items
        .iter()
        .map(|item| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_are_quoted() {
        assert_eq!(array_literal(&[]), "{}");
        assert_eq!(
            array_literal(&["a,b".into(), r#""q" \"#.into()]),
            r#"{"a,b","\"q\" \\"}"#
        );
    }

    #[test]
    fn the_sleep_grows_by_at_most_a_quarter() {
        for attempt in 0..100 {
            assert!(jitter(Duration::from_secs(64), attempt) <= Duration::from_secs(16));
        }
    }
}
