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
        let said = if self.kind == "autovacuum worker" {
            self.query.clone() // its own words, such as that it is to prevent wraparound
        } else {
            without_constants(&self.query)
        };
        let query = match crate::sql::name::one_line(&said) {
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

#[cfg(test)]
pub(in crate::exec) mod tests {
    use super::*;

    /// When everything here is seen.
    pub(in crate::exec) const NOW: i64 = 1_000_000;

    /// A client that has read a table for a second, and runs its statement for a fifth of one.
    pub(in crate::exec) fn reader() -> HeldLock {
        HeldLock {
            pid: 4711,
            database: 5,
            relation: 7,
            mode: LockMode::AccessShare,
            granted: true,
            kind: "client backend".to_owned(),
            user: "app".to_owned(),
            application: "report".to_owned(),
            address: "10.0.0.1".to_owned(),
            state: "active".to_owned(),
            began_ms: Some(NOW - 1000),
            statement_began_ms: Some(NOW - 200),
            query: "SELECT a FROM t WHERE a = 1".to_owned(),
            builds_concurrently: false,
            writes: false,
        }
    }

    /// A client's command that holds the lock of vacuums and builds.
    pub(in crate::exec) fn command(query: &str) -> HeldLock {
        HeldLock {
            mode: LockMode::ShareUpdateExclusive,
            query: query.to_owned(),
            ..reader()
        }
    }

    /// An autovacuum, as it says what it does.
    pub(in crate::exec) fn autovacuum(query: &str) -> HeldLock {
        HeldLock {
            kind: "autovacuum worker".to_owned(),
            user: String::new(),
            application: String::new(),
            address: String::new(),
            ..command(query)
        }
    }

    /// A prepared transaction that has read the table.
    pub(in crate::exec) fn prepared() -> HeldLock {
        HeldLock {
            pid: 0,
            kind: "prepared transaction left behind".to_owned(),
            application: String::new(),
            address: String::new(),
            state: String::new(),
            statement_began_ms: None,
            query: String::new(),
            writes: true,
            ..reader()
        }
    }

    #[test]
    fn autovacuums_are_told_apart_by_what_they_say() {
        for (query, expected) in [
            ("autovacuum: VACUUM public.t", Kind::Autovacuum),
            ("autovacuum: ANALYZE public.t", Kind::Autovacuum),
            (
                "autovacuum: VACUUM public.t (to prevent wraparound)",
                Kind::WraparoundVacuum,
            ),
            (
                "autovacuum: VACUUM ANALYZE public.t (to prevent wraparound)",
                Kind::WraparoundVacuum,
            ),
        ] {
            let held = autovacuum(query);
            assert_eq!(held.holder(), expected, "{query}");
            let line = held.line(NOW, "t");
            let named = "process 4711 (autovacuum worker) holds ShareUpdateExclusiveLock on t; ";
            assert!(line.starts_with(named), "{line}");
            // A client that says so is none.
            assert_eq!(command(query).holder(), Kind::Client, "{query}");
        }
        assert_eq!(command("VACUUM t").holder(), Kind::Client);
    }

    #[test]
    fn a_prepared_transaction_is_known_by_its_kind() {
        assert_eq!(prepared().holder(), Kind::Prepared);
        assert_eq!(
            prepared().line(NOW, "t"),
            "prepared transaction left behind (app) holds AccessShareLock on t; prepared for 1.0 s: \
             COMMIT PREPARED or ROLLBACK PREPARED ends it"
        );
    }

    #[test]
    fn a_concurrent_build_is_known_by_its_progress() {
        for state in ["active", "idle"] {
            let held = HeldLock {
                builds_concurrently: true,
                state: state.to_owned(),
                ..reader()
            };
            assert_eq!(held.holder(), Kind::Concurrent, "{state}");
        }
    }

    #[test]
    fn a_concurrent_command_is_known_by_its_text_while_it_runs() {
        for query in [
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "create unique index concurrently i on t (a)",
            "DROP INDEX CONCURRENTLY i",
            "REINDEX TABLE CONCURRENTLY t",
            "REINDEX (CONCURRENTLY) TABLE t",
            "ALTER TABLE p DETACH PARTITION t CONCURRENTLY",
        ] {
            assert_eq!(command(query).holder(), Kind::Concurrent, "{query}");
            let idle = HeldLock {
                state: "idle in transaction".to_owned(),
                ..command(query)
            };
            assert_eq!(idle.holder(), Kind::Client, "{query}");
            let other = HeldLock {
                mode: LockMode::RowExclusive,
                ..command(query)
            };
            assert_eq!(other.holder(), Kind::Client, "{query}");
        }
        assert_eq!(
            command("CREATE INDEX i ON t (a)").holder(),
            Kind::Client,
            "not concurrently"
        );
    }

    #[test]
    fn an_age_is_that_of_the_transaction_and_of_a_build_that_of_its_statement() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let build = command("CREATE INDEX CONCURRENTLY i ON t (a)");
        for held in [reader(), autovacuum("autovacuum: VACUUM t"), prepared()] {
            assert_eq!(held.age(NOW), ms(1000), "{held:?}");
        }
        assert_eq!(build.age(NOW), ms(200));
        let unseen = HeldLock {
            statement_began_ms: None,
            ..build
        };
        assert_eq!(unseen.age(NOW), ms(1000));
        // Of two readings of a clock the later one may be the earlier.
        assert_eq!(reader().age(NOW - 2000), ms(0));
        let unseen = HeldLock {
            began_ms: None,
            ..reader()
        };
        assert_eq!(unseen.age(NOW), None);
        let line = unseen.line(NOW, "t");
        assert!(line.contains("transaction open for unknown time"), "{line}");
    }

    #[test]
    fn a_line_names_the_session_and_withholds_constants() {
        assert_eq!(
            reader().line(NOW, "public.t"),
            "process 4711 (app, report, 10.0.0.1) holds AccessShareLock on public.t; \
             transaction open for 1.0 s; active; SELECT a FROM t WHERE a = $1"
        );
        let waits = HeldLock {
            granted: false,
            ..reader()
        };
        let line = waits.line(NOW, "t");
        assert!(line.contains(") waits for AccessShareLock on t"), "{line}");
    }

    /// The columns of the query, as they come for [`reader`].
    const ROW: [&str; 16] = [
        "4711",
        "5",
        "7",
        "AccessShareLock",
        "1",
        "client backend",
        "app",
        "report",
        "10.0.0.1",
        "active",
        "999000",
        "999800",
        "1000000",
        "SELECT a FROM t WHERE a = 1",
        "0",
        "0",
    ];

    fn row(change: impl Fn(usize, &str) -> Option<String>) -> Vec<Option<String>> {
        let columns = ROW.iter().enumerate();
        columns.map(|(at, value)| change(at, value)).collect()
    }

    #[test]
    fn the_answer_is_read() {
        let as_it_came = row(|_, value| Some(value.to_owned()));
        let expected = Snapshot {
            at_ms: NOW,
            locks: vec![reader()],
        };
        assert_eq!(read(&[as_it_came]), Some(expected));
        assert_eq!(read(&[]), Some(Snapshot::default()));
        // What may be NULL: whatever the operator may not see.
        let unseen = row(|at, value| (!(5..=11).contains(&at)).then(|| value.to_owned()));
        let found = read(&[unseen]).unwrap().locks.remove(0);
        assert_eq!((found.began_ms, found.statement_began_ms), (None, None));
        assert_eq!((found.user.as_str(), found.state.as_str()), ("", ""));
        // What isn't an answer.
        for missing in [0, 1, 2, 3, 4, 12, 14, 15] {
            let broken = row(|at, value| (at != missing).then(|| value.to_owned()));
            assert_eq!(read(&[broken]), None, "{missing}");
        }
        let unknown = row(|at, value| {
            let value = if at == 3 { "SIReadLock" } else { value };
            Some(value.to_owned())
        });
        assert_eq!(read(&[unknown]), None);
    }

    #[test]
    fn the_query_is_about_the_relations() {
        let sql = query(&[7, 16385]);
        assert!(sql.contains("'{7,16385}'"), "{sql}");
        assert!(!sql.contains("{relations}"), "{sql}");
    }
}
