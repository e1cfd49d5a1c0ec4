//! What the operator sees of work under way: builds, and what they do to others.

use std::time::Duration;

use super::super::session::Pressure;

/// How far a backend's concurrent step is: a build as `pg_stat_progress_create_index` has it; of DROP
/// INDEX and DETACH PARTITION no more than whom it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Build {
    /// The phase, in PostgreSQL's words.
    pub phase: String,
    /// Blocks of the table that were read, and how many there are.
    pub blocks: (u64, u64),
    /// Rows of a sort that were read, and how many there are.
    pub tuples: (u64, u64),
    /// Transactions that it has waited for, and how many there are.
    pub lockers: (u64, u64),
    /// The transaction that it waits for, for people; empty when it waits for none.
    pub waits_for: String,
}

impl Build {
    /// How far it is, in a few words.
    pub fn words(&self) -> String {
        let part = |(done, total): (u64, u64), what: &str| {
            if total == 0 {
                return None;
            }
            let percent = done.saturating_mul(100) / total;
            Some(format!("{done} of {total} {what} ({percent} %)"))
        };
        let phase = &self.phase;
        let how_far = if self.waits_for.is_empty() {
            part(self.blocks, "blocks").or_else(|| part(self.tuples, "rows"))
        } else {
            part(self.lockers, "transactions")
        };
        match how_far {
            Some(how_far) => format!("{phase}: {how_far}"),
            None => phase.clone(),
        }
    }
}

pub(super) const BUILD_SQL: &str = "
SELECT coalesce(b.phase, CASE WHEN w.pid IS NULL THEN 'working' ELSE 'waiting for a transaction to end' END),
  b.blocks_done, b.blocks_total, b.tuples_done, b.tuples_total, b.lockers_done, b.lockers_total,
  coalesce((SELECT pg_catalog.format('process %s (%s%s), transaction open for %s s, %s',
      a.pid, coalesce(a.usename, 'unknown role'),
      CASE WHEN a.application_name <> '' THEN ', ' || a.application_name ELSE '' END,
      coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8::pg_catalog.text,
        'unknown'),
      coalesce(a.state, 'state unknown'))
    FROM pg_catalog.pg_stat_activity a WHERE a.pid = w.pid), '')
FROM (SELECT $1::pg_catalog.int4 AS pid) own
LEFT JOIN pg_catalog.pg_stat_progress_create_index b ON b.pid = own.pid
LEFT JOIN LATERAL (
  SELECT pid FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(own.pid)) pid WHERE pid <> 0 LIMIT 1) w ON true";

pub(super) fn build(row: &[Option<String>]) -> Option<Build> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let number = |at: usize| text(at).and_then(|value| value.parse().ok());
    let pair = |at: usize| {
        let (done, total) = (number(at), number(at + 1));
        (done.unwrap_or_default(), total.unwrap_or_default())
    };
    Some(Build {
        phase: text(0)?.to_owned(),
        blocks: pair(1),
        tuples: pair(3),
        lockers: pair(5),
        waits_for: text(7)?.to_owned(),
    })
}

/// Only snapshots of the backend's own database matter to its build; prepared transactions and
/// VACUUMs don't.
pub(super) const OLD_SNAPSHOTS_SQL: &str = "
SELECT pg_catalog.format('process %s (%s%s), transaction open for %s s, %s',
    a.pid, coalesce(a.usename, 'unknown role'),
    CASE WHEN a.application_name <> '' THEN ', ' || a.application_name ELSE '' END,
    extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8, a.state)
FROM pg_catalog.pg_stat_activity a
JOIN pg_catalog.pg_stat_activity own ON own.pid = $1::pg_catalog.int4 AND own.datid = a.datid
WHERE a.backend_xmin IS NOT NULL AND a.pid <> own.pid AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.backend_type = 'client backend'
  AND a.xact_start < pg_catalog.clock_timestamp() - ($2::pg_catalog.int8 * interval '1 millisecond')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b WHERE b.pid = a.pid)
ORDER BY a.xact_start LIMIT 5";

pub(super) const PRESSURE_SQL: &str = "
SELECT (SELECT (1000 * extract(epoch FROM max(coalesce(r.replay_lag, r.flush_lag, r.write_lag))))::pg_catalog.int8
        FROM pg_catalog.pg_stat_replication r WHERE r.state IN ('streaming', 'catchup')),
  (SELECT count(*) FROM pg_catalog.pg_stat_activity a
   WHERE a.wait_event_type = 'Lock' AND $1::pg_catalog.int4 = ANY (pg_catalog.pg_blocking_pids(a.pid)))";

pub(super) const IS_WAITED_FOR_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
  WHERE a.wait_event_type = 'Lock' AND a.wait_event = 'relation'
  AND $1::pg_catalog.int4 = ANY (pg_catalog.pg_blocking_pids(a.pid)))";

pub(super) fn pressure(row: &[Option<String>]) -> Option<Pressure> {
    let lag = row.first()?.as_deref().and_then(|lag| lag.parse().ok());
    Some(Pressure {
        replication_lag: lag.map(Duration::from_millis),
        waiting_for_us: row.get(1)?.as_deref()?.parse().ok()?,
    })
}

/// What ends a backend's work, if its transaction is still the one that began then, and has still
/// written nothing.
pub(super) fn evict_sql(terminate: bool) -> String {
    let function = if terminate {
        "pg_terminate_backend"
    } else {
        "pg_cancel_backend"
    };
    format!(
        "SELECT coalesce(bool_or(pg_catalog.{function}(a.pid)), false) FROM pg_catalog.pg_stat_activity a
         WHERE a.pid = $1::pg_catalog.int4 AND a.backend_xid IS NULL
         AND (1000 * extract(epoch FROM a.xact_start))::pg_catalog.int8 = $2::pg_catalog.int8"
    )
}
