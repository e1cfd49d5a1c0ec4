//! PostgreSQL itself as the judge: what lockkeeper makes of a statement against what the server does with it.
//!
//! * *the same end*: a statement sent through lockkeeper leaves the catalog, the reply and the error that it leaves
//!   when it is sent directly, by each protocol, on large tables and on small ones.
//! * *the locks*: while a statement runs, `pg_locks` shows no stronger lock than its plan claims, and traffic goes on.
//! * *failure*: a build that fails, is cancelled or loses its client leaves no INVALID index and the settings as found.
//!
//! Each test runs on the installed server and on those of `LOCKKEEPER_TEST_PG_BINS`; without one it has nothing to say.

#[path = "common/bench.rs"]
mod bench;
#[path = "common/client.rs"]
mod client;
#[path = "common/statements.rs"]
mod statements;

use std::process::Command;
use std::time::{Duration, Instant};

use bench::{Bench, FIXTURE, benches, until};
use client::{Answer, Client, Protocol};
use lockkeeper::lock::LockMode;
use statements::{STATEMENTS, Same, Statement};

/// Indexes, constraints and partitions, as far as a statement about indexes can change them.
const CATALOG: &str = "
SELECT * FROM (
  SELECT 'index ' || c.relname, c.relkind::text, pg_get_indexdef(c.oid), t.relname::text,
    concat(indisunique, indisprimary, indisexclusion, indisvalid, indisready, indislive, indisreplident),
    c.reltablespace::text, coalesce(c.reloptions::text, ''), pg_get_userbyid(c.relowner)::text
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
  WHERE c.relnamespace = 'public'::regnamespace
  UNION ALL
  SELECT 'constraint ' || conname, contype::text, pg_get_constraintdef(oid), conrelid::regclass::text,
    convalidated::text, conindid::regclass::text, '', ''
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL
  SELECT 'parent ' || inhrelid::regclass, inhparent::regclass::text, '', '', '', '', '', '' FROM pg_inherits
) x ORDER BY 1, 2, 3";

fn reset(client: &mut Client) {
    client.ok(FIXTURE);
}

/// The outcome of a statement.
struct End {
    answer: Answer,
    catalog: Vec<Vec<String>>,
    dump: String,
}

fn end_of(bench: &Bench, sql: &str, port: u16, protocol: Protocol, dump: bool) -> End {
    let database = if port == bench.server.port() {
        "a"
    } else {
        "b"
    };
    let mut direct = bench.direct(database);
    reset(&mut direct);
    let mut client = Client::connect(port, database, "postgres");
    let answer = client.run(sql, protocol);
    assert_eq!(answer.status, b'I', "{sql}");
    End {
        answer,
        catalog: direct.ok(CATALOG).rows,
        dump: if dump {
            schema_dump(bench, database)
        } else {
            String::new()
        },
    }
}

/// `pg_dump -s` by the installed pg_dump, for servers that are no newer than it; otherwise empty.
fn schema_dump(bench: &Bench, database: &str) -> String {
    let url = bench.server.url(database);
    let Ok(output) = Command::new("pg_dump").args(["-s", &url]).output() else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines();
    let lines =
        lines.filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What VERBOSE says: about other forms, other things.
fn is_verbose(notice: &str) -> bool {
    notice.contains("was reindexed")
}

/// Where in the text an error is.
fn position(answer: &Answer) -> Option<&str> {
    let others = &answer.error.as_ref()?.others;
    let position = others.iter().find(|(code, _)| *code == b'P');
    position.map(|(_, value)| value.as_str())
}

/// Where the end through lockkeeper isn't that of the statement itself.
fn difference(direct: &End, guarded: &End) -> Option<String> {
    let (own, ours) = (&direct.answer, &guarded.answer);
    if own.sqlstate() != ours.sqlstate() {
        return Some(format!("error {:?}, not {:?}", ours.error, own.error));
    }
    if own.tags != ours.tags {
        return Some(format!("tags {:?}, not {:?}", ours.tags, own.tags));
    }
    let message = |answer: &Answer| answer.error.as_ref().map(|error| error.message.clone());
    if message(own) != message(ours) {
        return Some(format!(
            "message {:?}, not {:?}",
            message(ours),
            message(own)
        ));
    }
    let (theirs, found) = (position(own), position(ours));
    if theirs != found {
        return Some(format!("position {found:?}, not {theirs:?}"));
    }
    let own_notices: Vec<_> = own
        .notices
        .iter()
        .filter(|text| !is_verbose(text))
        .collect();
    let ours_too = ours
        .notices
        .iter()
        .filter(|text| !is_verbose(text) && !text.starts_with("lockkeeper: "));
    let our_notices: Vec<_> = ours_too.collect();
    if own_notices != our_notices {
        return Some(format!("notices {our_notices:?}, not {own_notices:?}"));
    }
    if direct.catalog != guarded.catalog {
        let left = |one: &End, other: &End| {
            let rows = one
                .catalog
                .iter()
                .filter(|row| !other.catalog.contains(row));
            rows.cloned().collect::<Vec<_>>()
        };
        return Some(format!(
            "catalog {:?}, not {:?}",
            left(guarded, direct),
            left(direct, guarded)
        ));
    }
    (!guarded.dump.is_empty() && direct.dump != guarded.dump)
        .then(|| format!("pg_dump\n{}\n{}", guarded.dump, direct.dump))
}

#[test]
fn the_end_is_that_of_the_statement_itself() {
    let mut problems = Vec::new();
    for bench in benches() {
        let began = Instant::now();
        for name in ["a", "b"] {
            Client::connect(bench.server.port(), "postgres", "postgres")
                .ok(&format!("CREATE DATABASE {name}"));
        }
        for statement in STATEMENTS {
            if bench.version < statement.since {
                continue;
            }
            compare(bench, statement, &mut problems);
        }
        eprintln!(
            "{}: {} statements in {:?}",
            bench.version,
            STATEMENTS.len(),
            began.elapsed()
        );
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

fn compare(bench: &Bench, statement: &Statement, problems: &mut Vec<String>) {
    let sql = statement.sql;
    let direct = end_of(
        bench,
        sql,
        bench.server.port(),
        Protocol::Simple,
        bench.version <= 15,
    );
    for (protocol, name, port) in [
        (Protocol::Simple, "large", bench.large),
        (Protocol::Extended, "large", bench.large),
        (Protocol::Prepared, "small", bench.small),
    ] {
        let dump = bench.version <= 15 && protocol == Protocol::Simple;
        let guarded = end_of(bench, sql, port, protocol, dump);
        let where_it_is = format!("{}: {sql} ({protocol:?}, {name})", bench.version);
        let is_refused = match statement.same {
            Same::All => false,
            Same::RefusedWhenLarge => name == "large",
            Same::Refused => true,
        };
        if is_refused {
            if guarded.answer.sqlstate() != "LK001" {
                problems.push(format!(
                    "{where_it_is}: isn't refused: {:?}",
                    guarded.answer
                ));
            }
            continue;
        }
        if let Some(difference) = difference(&direct, &guarded) {
            problems.push(format!("{where_it_is}: {difference}"));
            return; // one is enough
        }
    }
}

/// The strongest lock that a process holds or waits for on a table.
fn strongest(observer: &mut Client, pid: &str, table: &str) -> Option<LockMode> {
    let modes = observer.column(&format!(
        "SELECT mode FROM pg_locks WHERE pid = {pid} AND relation = '{table}'::regclass AND locktype = 'relation'"
    ));
    modes
        .iter()
        .filter_map(|mode| LockMode::from_pg(mode))
        .max()
}

/// Waits until a process waits for another, running a statement that begins so.
#[track_caller]
fn until_waiting(observer: &mut Client, pid: &str, start: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock' AND query LIKE '{start}%'"
    );
    until(&format!("{start} waits"), || observer.value(&sql) == "1");
}

/// What ordinary clients do, none of them willing to wait.
fn traffic(client: &mut Client, table: &str) {
    client.ok("SET lock_timeout = '200ms'");
    client.ok(&format!(
        "INSERT INTO {table} (id) SELECT 1000 + count(*) FROM {table}"
    ));
    client.ok(&format!("UPDATE {table} SET id = id WHERE id = 7"));
    client.ok(&format!("DELETE FROM {table} WHERE id = 999"));
    client.ok(&format!("SELECT count(*) FROM {table}"));
}

/// Statements on a large table, what runs for them, and the table.
const HELD: &[(&str, &str, &str)] = &[
    (
        "CREATE INDEX ON users (email)",
        "CREATE INDEX CONCURRENTLY",
        "users",
    ),
    (
        "CREATE UNIQUE INDEX i ON users (id, a)",
        "CREATE UNIQUE INDEX CONCURRENTLY",
        "users",
    ),
    (
        "CREATE INDEX IF NOT EXISTS bad ON users (b)",
        "DROP INDEX CONCURRENTLY",
        "users",
    ),
    ("DROP INDEX users_a", "DROP INDEX CONCURRENTLY", "users"),
    (
        "REINDEX INDEX users_a",
        "REINDEX INDEX CONCURRENTLY",
        "users",
    ),
    ("REINDEX TABLE users", "REINDEX TABLE CONCURRENTLY", "users"),
    ("REINDEX TABLE rooms", "REINDEX TABLE CONCURRENTLY", "rooms"),
];

/// While a writer holds a build open, the build holds ShareUpdateExclusive and nothing stronger, and nobody waits.
#[test]
fn a_build_holds_no_stronger_lock_than_its_plan_claims_and_stops_nobody() {
    for bench in benches() {
        let database = bench.database();
        for (sql, start, table) in HELD {
            reset(&mut bench.direct(&database));
            let mut writer = bench.direct(&database);
            let (mut observer, mut other) = (bench.direct(&database), bench.direct(&database));
            writer.ok(&format!("BEGIN; INSERT INTO {table} (id) VALUES (-1)"));
            let mut client = bench.guarded(&database);
            let pid = client.value("SELECT pg_backend_pid()");
            client.send(sql);
            until_waiting(&mut observer, &pid, start);
            let strongest = strongest(&mut observer, &pid, table);
            assert_eq!(
                strongest,
                Some(LockMode::ShareUpdateExclusive),
                "{}: {sql}",
                bench.version
            );
            traffic(&mut other, table);
            writer.ok("COMMIT");
            let answer = client.answer();
            assert_eq!(answer.error, None, "{}: {sql}", bench.version);
            assert_eq!(answer.tags.len(), 1, "{}: {sql}", bench.version);
        }
    }
}

/// The last phase of a build waits for old snapshots: still nobody waits for it.
#[test]
fn the_last_phase_of_a_build_stops_nobody() {
    for bench in benches() {
        let database = bench.database();
        let (mut observer, mut other) = (bench.direct(&database), bench.direct(&database));
        let mut reader = bench.direct(&database);
        reader.ok("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders");
        let mut client = bench.guarded(&database);
        let pid = client.value("SELECT pg_backend_pid()");
        client.send("CREATE INDEX ON users (email)");
        until_waiting(&mut observer, &pid, "CREATE INDEX CONCURRENTLY");
        let strongest = strongest(&mut observer, &pid, "users");
        assert_eq!(strongest, Some(LockMode::ShareUpdateExclusive));
        traffic(&mut other, "users");
        reader.ok("COMMIT");
        assert_eq!(client.answer().tags, ["CREATE INDEX"]);
    }
}

/// A plain form tries again and again behind a writer; whoever comes meanwhile waits no longer than the budget.
#[test]
fn a_plain_form_lets_traffic_through_while_it_waits() {
    for bench in benches() {
        let database = bench.database();
        for sql in [
            "CREATE INDEX i ON users (email)",
            "ALTER TABLE users ADD COLUMN c int",
            "REINDEX INDEX users_a",
        ] {
            let (mut writer, mut other) = (bench.direct(&database), bench.direct(&database));
            writer.ok("BEGIN; INSERT INTO users (id) VALUES (-1)");
            let mut client = Client::connect(bench.small, &database, "postgres");
            client.send(sql);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1500) {
                traffic(&mut other, "users");
            }
            writer.ok("ROLLBACK");
            let answer = client.answer();
            assert_eq!(
                (answer.sqlstate(), answer.tags.len()),
                ("", 1),
                "{}: {sql}",
                bench.version
            );
        }
    }
}

fn invalid_indexes(client: &mut Client) -> Vec<String> {
    let sql = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid AND indexrelid <> 'bad'::regclass";
    client.column(sql)
}

fn assert_duplicate(answer: &Answer, detail: &str) {
    let error = answer.error.as_ref().expect("an error");
    assert_eq!(error.sqlstate, "23505", "{error:?}");
    assert!(error.detail.contains(detail), "{error:?}");
    assert!(
        error
            .others
            .iter()
            .any(|(code, name)| *code == b'n' && name == "i"),
        "no constraint name: {error:?}"
    );
}

#[test]
fn a_unique_build_that_meets_duplicates_leaves_nothing() {
    for bench in benches() {
        let database = bench.database();
        let mut direct = bench.direct(&database);
        for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
            for port in [bench.large, bench.small] {
                let mut client = Client::connect(port, &database, "postgres");
                let answer = client.run("CREATE UNIQUE INDEX i ON users (same)", protocol);
                assert_duplicate(&answer, "is duplicated.");
                assert!(invalid_indexes(&mut direct).is_empty());
                client.ok("SELECT 1");
            }
        }
    }
}

/// The duplicate is there, but not yet to be seen, when the index is built; it is found by the last phase.
#[test]
fn a_duplicate_that_arrives_during_the_build_leaves_nothing() {
    for bench in benches() {
        let database = bench.database();
        let (mut observer, mut first, mut second) = (
            bench.direct(&database),
            bench.direct(&database),
            bench.direct(&database),
        );
        first.ok("BEGIN; INSERT INTO users (id, email) VALUES (-1, 'x')");
        let mut client = bench.guarded(&database);
        let pid = client.value("SELECT pg_backend_pid()");
        client.send("CREATE UNIQUE INDEX i ON users (email)");
        until_waiting(&mut observer, &pid, "CREATE UNIQUE INDEX CONCURRENTLY");
        second.ok("BEGIN; INSERT INTO users (id, email) VALUES (-2, 'u7')");
        first.ok("COMMIT");
        let ready = "SELECT indisready FROM pg_index WHERE indexrelid = to_regclass('i')";
        until("the index takes inserts", || observer.value(ready) == "t");
        second.ok("COMMIT");
        assert_duplicate(&client.answer(), "(email)=(u7)");
        assert!(invalid_indexes(&mut observer).is_empty());
        assert_eq!(observer.value("SELECT to_regclass('i') IS NULL"), "t");
    }
}

/// How the client's timeouts came to be.
const SETTINGS: &[(&str, &str)] = &[
    ("unset", ""),
    (
        "by the client",
        "SET lock_timeout = '25s'; SET statement_timeout = '26s'",
    ),
    (
        "by the role",
        "ALTER ROLE r SET lock_timeout = '27s'; ALTER ROLE r SET statement_timeout = '28s'",
    ),
    (
        "by both",
        "SET lock_timeout = '24s'; ALTER ROLE r SET statement_timeout = '28s'",
    ),
];

const SHOW: &str = "SELECT name || '=' || setting || ' by ' || source FROM pg_settings
    WHERE name IN ('lock_timeout', 'statement_timeout') ORDER BY 1";

/// A session of the role `r`, whose timeouts came to be in that way.
fn session_with(bench: &Bench, database: &str, how: &str) -> Client {
    let mut direct = bench.direct(database);
    direct.ok(
        "DO $$BEGIN IF to_regrole('r') IS NULL THEN CREATE ROLE r SUPERUSER LOGIN; END IF; END$$",
    );
    direct.ok("ALTER ROLE r RESET ALL");
    let (by_role, by_client): (Vec<&str>, Vec<&str>) = how
        .split("; ")
        .filter(|text| !text.is_empty())
        .partition(|sql| sql.starts_with("ALTER"));
    for sql in by_role {
        direct.ok(sql);
    }
    let mut client = Client::connect(bench.large, database, "r");
    for sql in by_client {
        client.ok(sql);
    }
    client
}

#[test]
fn settings_are_as_they_were_after_success_failure_and_cancel() {
    for bench in benches() {
        let database = bench.database();
        let (mut observer, mut writer) = (bench.direct(&database), bench.direct(&database));
        for (name, how) in SETTINGS {
            let mut client = session_with(bench, &database, how);
            let before = client.column(SHOW);
            client.ok("CREATE INDEX i ON users (email)");
            assert_eq!(client.column(SHOW), before, "{name}, after success");
            client.ok("DROP INDEX i");
            let answer = client.run("CREATE UNIQUE INDEX i ON users (same)", Protocol::Simple);
            assert_duplicate(&answer, "is duplicated.");
            assert_eq!(client.column(SHOW), before, "{name}, after a failure");
            let pid = client.value("SELECT pg_backend_pid()");
            writer.ok("BEGIN; INSERT INTO users (id) VALUES (-1)");
            client.send("CREATE INDEX i ON users (email)");
            until_waiting(&mut observer, &pid, "CREATE INDEX CONCURRENTLY");
            client.cancel();
            until_waiting(&mut observer, &pid, "DROP INDEX CONCURRENTLY");
            writer.ok("ROLLBACK");
            let answer = client.answer();
            assert_eq!(answer.sqlstate(), "57014", "{name}: {answer:?}");
            assert!(invalid_indexes(&mut observer).is_empty(), "{name}");
            assert_eq!(client.column(SHOW), before, "{name}, after a cancel");
        }
    }
}

#[test]
fn a_client_that_vanishes_leaves_neither_index_nor_session() {
    for bench in benches() {
        let database = bench.database();
        let (mut observer, mut writer) = (bench.direct(&database), bench.direct(&database));
        writer.ok("BEGIN; INSERT INTO users (id) VALUES (-1)");
        let mut client = bench.guarded(&database);
        let pid = client.value("SELECT pg_backend_pid()");
        client.send("CREATE INDEX i ON users (email)");
        until_waiting(&mut observer, &pid, "CREATE INDEX CONCURRENTLY");
        client.vanish();
        until_waiting(&mut observer, &pid, "DROP INDEX CONCURRENTLY");
        writer.ok("ROLLBACK");
        let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        until("the session ends", || observer.value(&gone) == "0");
        assert!(invalid_indexes(&mut observer).is_empty());
        assert_eq!(observer.value("SELECT to_regclass('i') IS NULL"), "t");
    }
}

/// IF NOT EXISTS doesn't take an INVALID index for the one that is asked for, on tables as on materialised views.
#[test]
fn if_not_exists_rebuilds_an_invalid_index() {
    for bench in benches() {
        for port in [bench.large, bench.small] {
            let database = bench.database();
            let mut direct = bench.direct(&database);
            direct.ok(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'totals_n'::regclass",
            );
            let mut client = Client::connect(port, &database, "postgres");
            for sql in [
                "CREATE INDEX IF NOT EXISTS bad ON users (b)",
                "CREATE INDEX IF NOT EXISTS totals_n ON totals (n)",
            ] {
                let answer = client.run(sql, Protocol::Simple);
                assert_eq!(answer.error, None, "{}: {sql}", bench.version);
                assert_eq!(answer.tags, ["CREATE INDEX"], "{}: {sql}", bench.version);
            }
            assert_eq!(
                direct.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"),
                "0"
            );
        }
    }
}

/// `REINDEX TABLE` rebuilds every index, INVALID ones and those of exclusion constraints too.
#[test]
fn reindex_table_rebuilds_every_index() {
    for bench in benches() {
        let database = bench.database();
        let mut direct = bench.direct(&database);
        direct.ok("CREATE INDEX worse ON rooms (id)");
        direct.ok("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'worse'::regclass");
        for table in ["users", "rooms", "totals"] {
            let files = format!(
                "SELECT c.relname || ' ' || c.relfilenode FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE i.indrelid = '{table}'::regclass ORDER BY 1"
            );
            let before = direct.column(&files);
            bench
                .guarded(&database)
                .ok(&format!("REINDEX TABLE {table}"));
            let after = direct.column(&files);
            assert_eq!(after.len(), before.len(), "{table}");
            let same: Vec<_> = after.iter().filter(|file| before.contains(file)).collect();
            assert!(same.is_empty(), "{}: not rebuilt: {same:?}", bench.version);
        }
        let invalid =
            direct.column("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid");
        assert!(invalid.is_empty(), "{invalid:?}");
    }
}

/// A build behind another build on the same table doesn't queue, and so doesn't deadlock with it.
#[test]
fn a_build_behind_another_build_waits_and_succeeds() {
    for bench in benches() {
        let database = bench.database();
        for sql in [
            "CREATE INDEX ON users (email)",
            "DROP INDEX users_a",
            "REINDEX TABLE users",
        ] {
            reset(&mut bench.direct(&database));
            let (mut observer, mut writer) = (bench.direct(&database), bench.direct(&database));
            let mut builder = bench.direct(&database);
            let builder_pid = builder.value("SELECT pg_backend_pid()");
            writer.ok("BEGIN; INSERT INTO users (id) VALUES (-1)");
            builder.send("CREATE INDEX CONCURRENTLY other ON users (day)");
            until_waiting(&mut observer, &builder_pid, "CREATE INDEX CONCURRENTLY");
            let mut client = bench.guarded(&database);
            client.send(sql);
            std::thread::sleep(Duration::from_millis(1500)); // longer than deadlock_timeout
            writer.ok("COMMIT");
            assert_eq!(
                builder.answer().error,
                None,
                "{}: the other build",
                bench.version
            );
            assert_eq!(client.answer().error, None, "{}: {sql}", bench.version);
            assert!(invalid_indexes(&mut observer).is_empty());
        }
    }
}

/// An index that somebody else builds just now is INVALID too: it is left alone, whatever role builds it.
#[test]
fn if_not_exists_leaves_a_running_build_of_another_role_alone() {
    for bench in benches() {
        let database = bench.database();
        let (mut observer, mut writer) = (bench.direct(&database), bench.direct(&database));
        observer.ok(
            "DO $$BEGIN IF to_regrole('owners') IS NULL THEN
               CREATE ROLE owners; CREATE ROLE one LOGIN IN ROLE owners; CREATE ROLE two LOGIN IN ROLE owners;
             END IF; END$$;
             GRANT ALL ON SCHEMA public TO owners; ALTER TABLE users OWNER TO owners",
        );
        writer.ok("BEGIN; INSERT INTO users (id) VALUES (-1)");
        let mut builder = Client::connect(bench.server.port(), &database, "two");
        let pid = builder.value("SELECT pg_backend_pid()");
        builder.send("CREATE INDEX CONCURRENTLY i ON users (email)");
        until_waiting(&mut observer, &pid, "CREATE INDEX CONCURRENTLY");
        let built = observer.value("SELECT to_regclass('i')::oid");
        let mut client = Client::connect(bench.large, &database, "one");
        client.send("CREATE INDEX IF NOT EXISTS i ON users (email)");
        std::thread::sleep(Duration::from_millis(300));
        writer.ok("COMMIT");
        assert_eq!(builder.answer().error, None);
        let answer = client.answer();
        let stands = observer.value("SELECT to_regclass('i')::oid");
        assert_eq!(
            stands, built,
            "{}: another index stands there; {answer:?}",
            bench.version
        );
    }
}

/// While a plan sleeps between two tries a cancel ends it at once, and the client's own `lock_timeout` is its deadline.
#[test]
fn a_wait_for_a_lock_ends_by_cancel_and_by_deadline() {
    for bench in benches() {
        let database = bench.database();
        let mut holder = bench.direct(&database);
        holder.ok("BEGIN; LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE");
        for sql in [
            "CREATE INDEX i ON users (email)",
            "DROP INDEX users_a",
            "ALTER TABLE users ADD COLUMN c int",
        ] {
            let mut client = bench.guarded(&database);
            client.send(sql);
            std::thread::sleep(Duration::from_millis(500));
            let began = Instant::now();
            client.cancel();
            let answer = client.answer();
            assert_eq!(
                answer.sqlstate(),
                "57014",
                "{}: {sql}: {answer:?}",
                bench.version
            );
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "{sql}: {:?}",
                began.elapsed()
            );
            client.ok("SET lock_timeout = '1500ms'");
            let began = Instant::now();
            let answer = client.run(sql, Protocol::Extended);
            let took = began.elapsed();
            assert_eq!(
                answer.sqlstate(),
                "55P03",
                "{}: {sql}: {answer:?}",
                bench.version
            );
            assert!(took < Duration::from_millis(1900), "{sql}: {took:?}");
            let detail = answer.error.map_or(String::new(), |error| error.detail);
            assert!(
                detail.contains("ShareUpdateExclusiveLock"),
                "who holds the lock? {detail}"
            );
            assert_eq!(client.value("SHOW lock_timeout"), "1500ms");
        }
        assert!(invalid_indexes(&mut holder).is_empty());
    }
}

/// Somebody who owns nothing is refused as the server refuses him, without a lock.
#[test]
fn who_owns_nothing_is_refused_as_ever() {
    for bench in benches() {
        let database = bench.database();
        bench.direct(&database).ok("DO $$BEGIN
               IF to_regrole('nobody') IS NULL THEN CREATE ROLE nobody LOGIN; END IF;
             END$$;
             GRANT USAGE ON SCHEMA public TO nobody");
        for sql in [
            "CREATE INDEX ON users (email)",
            "DROP INDEX users_a",
            "DROP INDEX CONCURRENTLY users_a",
            "REINDEX TABLE users",
            "REINDEX INDEX users_a",
            "ALTER TABLE users ADD COLUMN c int",
        ] {
            for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
                let answer = |port| {
                    Client::connect(port, &database, "nobody")
                        .run(sql, protocol)
                        .error
                };
                let (own, ours) = (answer(bench.server.port()), answer(bench.large));
                let said = |error: &Option<lockkeeper::wire::backend::ErrorFields>| {
                    error
                        .as_ref()
                        .map(|error| (error.sqlstate.clone(), error.message.clone()))
                };
                assert_eq!(said(&ours), said(&own), "{}: {sql}", bench.version);
                assert!(own.is_some());
            }
        }
    }
}
