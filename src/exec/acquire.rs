//! Taking a lock: ask with a short timeout, never queue for long; after a try that failed sleep at
//! least ten times what it took, so that the queue drains and ordinary traffic is held up for less
//! than a tenth of the time.

use std::time::Duration;

use super::runner::Progress;
use super::session::{Command, RunError, Session};
use crate::plan::Limits;
use crate::sql::name::Name;

/// SQLSTATE `lock_not_available`.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
/// SQLSTATE `deadlock_detected`.
pub const DEADLOCK_DETECTED: &str = "40P01";
/// SQLSTATE `query_canceled`.
pub const QUERY_CANCELED: &str = "57014";

/// The shortest sleep between two tries.
const MIN_SLEEP: Duration = Duration::from_millis(100);
/// Sleep after a try, in multiples of the time that it took.
const SLEEP_FACTOR: u32 = 10;
/// When the client is first told that it waits.
const FIRST_NOTICE: Duration = Duration::from_secs(2);
/// The least time between two such NOTICEs.
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// Tries of one step until it has its lock, or the deadline.
#[derive(Debug)]
pub struct Tries<'a> {
    relations: &'a [Name],
    limits: Limits,
    next_notice: Duration,
}

impl<'a> Tries<'a> {
    /// Begins; `relations` are those whose lock holders are named to the client.
    pub fn new(relations: &'a [Name], limits: Limits) -> Tries<'a> {
        Tries {
            relations,
            limits,
            next_notice: FIRST_NOTICE,
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
        if !matches!(error.sqlstate(), LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED) {
            return Err(error);
        }
        progress.waited += spent;
        if let Some(interrupt) = session.interrupt() {
            return Err(RunError::Sql(Box::new(crate::error::interrupted(
                interrupt,
            ))));
        }
        let sleep = (spent * SLEEP_FACTOR).max(MIN_SLEEP);
        let sleep = sleep + jitter(sleep, progress.attempts);
        if let Some(timeout) = self.limits.statement_timeout
            && session.elapsed() + sleep >= timeout
        {
            session
                .sleep(timeout.saturating_sub(session.elapsed()))
                .await;
            return Err(RunError::Sql(Box::new(crate::error::statement_timeout())));
        }
        if session.elapsed() + sleep > self.limits.deadline {
            return Err(self.report(session, error, progress).await);
        }
        if session.elapsed() >= self.next_notice
            || spent + sleep + session.elapsed() >= self.next_notice
        {
            let holders = holders(session, self.relations).await;
            let message = format!(
                "waiting for a lock: {} in {}, the next in {}",
                tries(progress.attempts.max(1)),
                seconds(session.elapsed()),
                seconds(sleep)
            );
            session.notice(&message, &holders);
            self.next_notice = session.elapsed() + NOTICE_INTERVAL;
        }
        session.sleep(sleep).await;
        Ok(())
    }

    async fn report<S: Session>(
        &self,
        session: &mut S,
        error: RunError,
        progress: &Progress,
    ) -> RunError {
        let RunError::Sql(mut fields) = error else {
            return error;
        };
        let holders = holders(session, self.relations).await;
        fields.message = format!(
            "lockkeeper: could not get the lock: {} of at most {} in {}; the deadline is {}",
            tries(progress.attempts),
            seconds(self.limits.budget),
            seconds(session.elapsed()),
            seconds(self.limits.deadline),
        );
        fields.detail = holders;
        fields.hint = "Nothing was changed. End the transactions that hold the lock, or raise locks.deadline (or the \
                       session's lock_timeout, which is the deadline when it is set)."
            .to_owned();
        RunError::Sql(fields)
    }
}

/// Up to a quarter more, so that two sessions don't keep step; no clock and no randomness needed.
fn jitter(sleep: Duration, attempt: u32) -> Duration {
    sleep / 64 * (attempt.wrapping_mul(7) % 17)
}

fn tries(count: u32) -> String {
    if count == 1 {
        "1 try".to_owned()
    } else {
        format!("{count} tries")
    }
}

/// A duration in seconds, for people.
pub fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{} ms", duration.as_millis());
    }
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{:.0} s", duration.as_secs_f64())
    }
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
