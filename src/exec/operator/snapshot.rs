//! What the operator sees of the locks on some relations: plain data.

use std::time::Duration;

use crate::lock::LockMode;
use crate::sql::parse::without_constants;

/// The query: PostgreSQL 13 to 18.
const SQL: &str = include_str!("snapshot.sql");

/// Who holds or wants locks on some relations, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The server's clock, in milliseconds since 1970.
    pub at_ms: i64,
    /// A line for each lock.
    pub locks: Vec<HeldLock>,
}

/// A lock that is held or waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// The backend's process id; 0 for a prepared transaction.
    pub pid: u32,
    /// OID of the database; 0 for what all share.
    pub database: u32,
    /// OID of the relation.
    pub relation: u32,
    /// The mode.
    pub mode: LockMode,
    /// Held, not only waited for.
    pub granted: bool,
    /// `pg_stat_activity.backend_type`, or `prepared transaction …`.
    pub kind: String,
    /// The role; empty when it is unknown.
    pub user: String,
    /// `application_name`.
    pub application: String,
    /// The client's address; empty for a local one.
    pub address: String,
    /// `pg_stat_activity.state`.
    pub state: String,
    /// When its transaction began; `None` when the operator may not see it.
    pub began_ms: Option<i64>,
    /// When the statement began that it runs now.
    pub statement_began_ms: Option<i64>,
    /// The statement's first thousand characters.
    pub query: String,
    /// It builds an index CONCURRENTLY.
    pub builds_concurrently: bool,
    /// Its transaction has written something.
    pub writes: bool,
}

/// What kind of holder it is, as far as it matters to one who wants the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A client's session.
    Client,
    /// An autovacuum that gives way to a lock request after `deadlock_timeout`.
    Autovacuum,
    /// An autovacuum against wraparound: it never gives way, and must not be disturbed.
    WraparoundVacuum,
    /// A prepared transaction: it stays until somebody ends it by name.
    Prepared,
    /// `CREATE`, `DROP INDEX`, `REINDEX` or `DETACH … CONCURRENTLY`: whoever queues behind it
    /// deadlocks with it.
    Concurrent,
}

impl HeldLock {
    /// What kind of holder it is.
    pub fn holder(&self) -> Kind {
        if self.kind.starts_with("prepared transaction") {
            return Kind::Prepared;
        }
        if self.kind == "autovacuum worker" {
            return if self.query.contains("to prevent wraparound") {
                Kind::WraparoundVacuum
            } else {
                Kind::Autovacuum
            };
        }
        let says_so = || self.query.to_ascii_lowercase().contains("concurrently");
        let is_session_lock = self.mode == LockMode::ShareUpdateExclusive && self.state == "active";
        if self.builds_concurrently || (is_session_lock && says_so()) {
            return Kind::Concurrent;
        }
        Kind::Client
    }

    /// How long its transaction has lasted; `None` when that can't be seen: it counts as old.
    pub fn age(&self, at_ms: i64) -> Option<Duration> {
        let began = match self.holder() {
            // Each phase is a transaction of its own.
            Kind::Concurrent => self.statement_began_ms.or(self.began_ms),
            Kind::Client | Kind::Autovacuum | Kind::WraparoundVacuum | Kind::Prepared => {
                self.began_ms
            }
        };
        let age = at_ms.saturating_sub(began?).max(0);
        Some(Duration::from_millis(
            u64::try_from(age).unwrap_or_default(),
        ))
    }

    /// A line about it, for people.
    pub fn line(&self, at_ms: i64, relation: &str) -> String {
        let since = self.age(at_ms).map_or_else(
            || "for unknown time".to_owned(),
            |age| format!("for {}", crate::plan::words::seconds(age)),
        );
        let verb = if self.granted { "holds" } else { "waits for" };
        if self.pid == 0 {
            return format!(
                "{} ({}) {verb} {} on {relation}; prepared {since}: COMMIT PREPARED or ROLLBACK PREPARED ends it",
                self.kind,
                self.user,
                self.mode.as_pg()
            );
        }
        let mut who: Vec<&str> = Vec::new();
        for part in [&self.user, &self.application, &self.address] {
            if !part.is_empty() {
                who.push(part);
            }
        }
        if self.kind != "client backend" {
            who.push(&self.kind);
        }
        let state = if self.state.is_empty() {
            String::new()
        } else {
            format!("; {}", self.state)
        };
        let query = match without_constants(&self.query) {
            query if query.is_empty() => query,
            query => format!("; {query}"),
        };
        format!(
            "process {} ({}) {verb} {} on {relation}; transaction open {since}{state}{query}",
            self.pid,
            who.join(", "),
            self.mode.as_pg()
        )
    }
}

/// The query about these relations.
pub(super) fn query(relations: &[u32]) -> String {
    let list: Vec<String> = relations.iter().map(u32::to_string).collect();
    SQL.replace("{relations}", &format!("{{{}}}", list.join(",")))
}

/// Its answer; `None` when it isn't one.
pub(super) fn read(rows: &[Vec<Option<String>>]) -> Option<Snapshot> {
    let mut snapshot = Snapshot::default();
    for row in rows {
        let text = |at: usize| row.get(at).and_then(Option::as_deref);
        let number = |at: usize| text(at).and_then(|value| value.parse::<i64>().ok());
        let oid = |at: usize| text(at).and_then(|value| value.parse::<u32>().ok());
        let owned = |at: usize| text(at).unwrap_or_default().to_owned();
        snapshot.at_ms = number(12)?;
        snapshot.locks.push(HeldLock {
            pid: oid(0)?,
            database: oid(1)?,
            relation: oid(2)?,
            mode: LockMode::from_pg(text(3)?)?,
            granted: text(4)? == "1",
            kind: owned(5),
            user: owned(6),
            application: owned(7),
            address: owned(8),
            state: owned(9),
            began_ms: number(10),
            statement_began_ms: number(11),
            query: owned(13),
            builds_concurrently: text(14)? == "1",
            writes: text(15)? != "0",
        });
    }
    Some(snapshot)
}
