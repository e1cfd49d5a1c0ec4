//! Several statements in one Query that change a schema: judged as a whole, run as one transaction, answered as the
//! server would.

use std::thread;

use crate::harness::{
    Proxy, database, limited, place, psql, psycopg, shared, until_it_waits_for_its_lock,
};
use crate::wire::{Frame, Wire, cancel_request, commands, q, sqlstate};

/// A proxy that guards small tables, too, and waits for locks for as long as it must.
fn proxy() -> Proxy {
    Proxy::start(shared(), |config, _| {
        config.guard.small_table = bytesize::ByteSize::b(0);
        config.locks.deadline = std::time::Duration::from_secs(60);
    })
}

/// A database with a table `t (a, b)`.
fn with_table() -> (String, Wire) {
    let name = database();
    let mut direct = Wire::session(&place(shared()), &name);
    direct.run("CREATE TABLE t AS SELECT i AS a, i AS b FROM generate_series(1, 1000) i");
    direct.run("CREATE SCHEMA app CREATE TABLE big (a int)");
    direct.run("INSERT INTO app.big SELECT generate_series(1, 1000)");
    direct.run("CREATE SEQUENCE s");
    (name, direct)
}

#[test]
fn strings_run_and_are_recorded() {
    limited(|| {
        let proxy = proxy();
        let (name, mut direct) = with_table();
        let conninfo = proxy.place().conninfo(&name);
        let string = "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ADD COLUMN d int";
        psql(&conninfo, &["-c", string], "").ok();
        let script = "
import psycopg, sys
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    cursor = connection.execute('INSERT INTO t VALUES (0); ALTER TABLE t ADD COLUMN e int; SELECT count(*) FROM t')
    while cursor.nextset(): pass
    print(cursor.fetchone()[0])
    connection.execute('CREATE TABLE v (a int); CREATE INDEX ON v (a); ALTER TABLE v ALTER COLUMN a TYPE bigint')
";
        assert_eq!(psycopg(&conninfo, script), "1001");
        let columns =
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";
        assert_eq!(direct.value(columns), "5");
        let words = proxy.event_words();
        let expected = [
            "ALTER TABLE done",
            "ALTER TABLE done",
            "ALTER TABLE done",
            "CREATE TABLE done",
            "CREATE INDEX done",
            "ALTER TABLE done",
        ];
        assert_eq!(words, expected);
    });
}

/// Each with its SQLSTATE, the number of the statement that is refused, and where that begins.
const REFUSED: &[(&str, &str, u32, u32)] = &[
    (
        "CREATE TABLE u (a int); ALTER TABLE t ALTER COLUMN a TYPE bigint",
        "LK001",
        2,
        25,
    ),
    (
        "CREATE TABLE u (a int);\n CREATE INDEX ON t (a)",
        "LK004",
        2,
        26,
    ),
    (
        "ALTER TABLE t ADD COLUMN é int; CREATE INDEX ON t (a)",
        "LK004",
        2,
        33,
    ),
    // What the earlier ones change counts.
    (
        "CREATE TABLE u (a int); SET search_path = app; ALTER TABLE big ALTER a TYPE text",
        "LK001",
        3,
        48,
    ),
    (
        "ALTER TABLE t RENAME TO u; ALTER TABLE u ALTER COLUMN a TYPE bigint",
        "LK001",
        2,
        28,
    ),
    (
        "CREATE TABLE IF NOT EXISTS t (a int); ALTER TABLE t ALTER a TYPE bigint",
        "LK001",
        2,
        39,
    ),
    (
        "ALTER TABLE t ADD COLUMN u int; ALTER TABLE t ALTER a TYPE bigint",
        "LK001",
        2,
        33,
    ),
];

#[test]
fn a_string_with_one_that_may_not_run_does_nothing() {
    limited(|| {
        let proxy = proxy();
        let (name, mut direct) = with_table();
        for (string, expected, number, position) in REFUSED.iter().copied() {
            let mut wire = proxy.session(&name);
            let frames = wire.query(string);
            assert_eq!(sqlstate(&frames), expected, "{string}: {frames:?}");
            let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
            let detail = error.field(b'D');
            assert!(
                detail.contains(&format!("statement {number} of ")),
                "{detail}"
            );
            assert_eq!(error.field(b'P'), position.to_string(), "{string}");
            assert!(commands(&frames).is_empty(), "{frames:?}");
            assert_eq!(wire.value("SELECT 'goes on'"), "goes on");
            assert_eq!(
                direct.value("SELECT to_regclass('u') IS NULL"),
                "t",
                "{string}"
            );
        }
        // With its own search path.
        let mut wire = proxy.session(&name);
        wire.run("SET search_path = app");
        let string = "ALTER TABLE big ADD COLUMN c int; ALTER TABLE big ALTER COLUMN a TYPE text";
        assert_eq!(sqlstate(&wire.query(string)), "LK001");
        let refused = proxy.event_words();
        assert!(
            refused.iter().all(|words| words.ends_with(" refused")),
            "{refused:?}"
        );
    });
}

/// Strings, and questions behind them: all answers are those of a server without lockkeeper.
#[test]
fn answers_are_those_of_the_server() {
    limited(|| {
        let proxy = proxy();
        let ((one, _), (other, _)) = (with_table(), with_table());
        let mut direct = Wire::session(&place(shared()), &one);
        let mut wire = proxy.session(&other);
        let big = "ALTER TABLE t ADD COLUMN w int; SELECT repeat('x', 100000) FROM generate_series(1, 30)";
        for string in [
            "SELECT 1 AS a, 'x'::text; ALTER TABLE t ADD COLUMN c int; INSERT INTO t (a) VALUES (7) RETURNING a + 1",
            ";; ALTER TABLE t ADD COLUMN d int;; SELECT 1 WHERE false; ",
            "SELECT 1; ALTER TABLE t ADD COLUMN c int; SELECT 2",
            "ALTER TABLE t ADD COLUMN q int; SELECT nosuch FROM t",
            "SELECT q FROM t LIMIT 1",
            "DROP TABLE IF EXISTS nothing; ALTER TABLE t ADD COLUMN IF NOT EXISTS c int; DROP TABLE nothing",
            "DROP TABLE IF EXISTS nothing; ALTER TABLE t ADD COLUMN IF NOT EXISTS c int, ADD COLUMN r int",
            "LISTEN n; ALTER TABLE t ADD COLUMN f int; NOTIFY n, 'x'",
            "SET client_encoding = 'LATIN1'; ALTER TABLE t ADD COLUMN g int; SELECT 'caf\u{e9}'",
            "SHOW client_encoding",
            "RESET client_encoding; ALTER TABLE t DROP COLUMN g",
            "SET lock_timeout = '5s'; ALTER TABLE t ADD COLUMN g int",
            "SHOW lock_timeout",
            "SET lock_timeout = '6s'; ALTER TABLE t ADD COLUMN g int",
            "SHOW lock_timeout",
            "SET LOCAL lock_timeout = '7s'; ALTER TABLE t ADD COLUMN h int; SHOW lock_timeout",
            "SHOW lock_timeout",
            "RESET lock_timeout; ALTER TABLE t ADD COLUMN i int",
            "SHOW lock_timeout",
            "SET lock_timeout = '8s'; SELECT 'é'; ALTER TABLE t ADD COLUMN x1 int; SELECT é FROM t",
            "SELECT current_setting('lock_timeout'); SET lock_timeout = 90; CREATE TABLE x2 (a int); SHOW lock_timeout",
            "SHOW lock_timeout",
            "SELECT set_config('lock_timeout', '3s', false); ALTER TABLE t ADD COLUMN x3 int; ALTER TABLE",
            "SELECT set_config('lock_timeout', '3s', false); ALTER TABLE t ADD COLUMN x3 int",
            "SHOW lock_timeout",
            "RESET ALL; CREATE TABLE x4 (a int); ANALYZE t",
            "SHOW lock_timeout",
            "CREATE TABLE x5 (a int); VACUUM t",
            "CREATE DATABASE x6; CREATE TABLE x7 (a int)",
            "ALTER TABLE t ADD COLUMN j int; SET statement_timeout = '9s'; SET search_path = app, public",
            "SHOW search_path",
            "PREPARE pr AS SELECT 5; ALTER TABLE t ADD COLUMN k int",
            "EXECUTE pr",
            "SELECT nextval('s'); ALTER TABLE t ADD COLUMN l int",
            "SELECT currval('s')",
            "CREATE TEMPORARY TABLE mine (a int); ALTER TABLE mine ADD COLUMN b int; ALTER TABLE t ADD COLUMN m int",
            "SELECT count(*) FROM mine",
            "ALTER TABLE t ADD COLUMN n int; SET LOCAL work_mem = '4MB'; SELECT now() = statement_timestamp()",
            "SELECT 1/0; ALTER TABLE t ADD COLUMN o int",
            "ALTER TABLE t ADD COLUMN o int; SELECT 1/0",
            big,
            "SELECT 'the end'",
        ] {
            let shown = |wire: &mut Wire| -> Vec<String> {
                let pid = wire.pid().to_string();
                let frames = wire.query(string).into_iter();
                let theirs = frames.filter(|frame| !frame.is_lockkeepers_notice());
                theirs
                    .map(|frame| frame.show().replace(&pid, "pid"))
                    .collect()
            };
            let (expected, found) = (shown(&mut direct), shown(&mut wire));
            assert_eq!(found, expected, "{string}");
        }
    });
}

#[test]
fn a_string_waits_for_its_locks_without_stopping_others() {
    limited(|| {
        for url in [None, Some(String::new())] {
            let is_blind = url.is_some();
            let proxy = Proxy::start(shared(), |config, _| {
                config.locks.deadline = std::time::Duration::from_secs(60);
                config.operator.url = url;
            });
            let (name, mut direct) = with_table();
            let mut holder = Wire::session(&place(shared()), &name);
            for string in [
                "SELECT 'first'; ALTER TABLE t ADD COLUMN c int; SELECT 'last'",
                "SET lock_timeout = '50s'; ALTER TABLE t ADD COLUMN d int; SELECT 'last'",
                "RESET lock_timeout; ALTER TABLE t ADD COLUMN e int; SELECT 'last'",
                "DO $$ BEGIN NULL; END $$; ALTER TABLE t ADD COLUMN g int; SELECT 'last'",
                "SELECT set_config('lock_timeout', '0', false); ALTER TABLE t ADD COLUMN f int; SELECT 'last'",
            ] {
                holder.run("BEGIN");
                holder.run("SELECT FROM t LIMIT 1");
                let mut wire = proxy.session(&name);
                let pid = wire.pid();
                wire.send(&q(string));
                if is_blind {
                    until_a_try_has_ended(pid);
                } else {
                    until_it_waits_for_its_lock(pid);
                }
                direct.run("SET statement_timeout = '20s'");
                direct.run("SELECT FROM t LIMIT 1"); // nobody queues before it for long
                holder.run("COMMIT");
                let frames = wire.until_ready();
                assert_eq!(sqlstate(&frames), "", "{string}: {frames:?}");
                assert_eq!(commands(&frames).len(), 3, "{frames:?}");
                let timeout = wire.value("SHOW lock_timeout");
                assert_eq!(
                    timeout,
                    if string.starts_with("SET") {
                        "50s"
                    } else {
                        "0"
                    }
                );
            }
            let tried_again = |event: &serde_json::Value| {
                event["attempts"].as_u64() > Some(1) && event["lock_wait_ms"].as_u64() > Some(0)
            };
            let events = proxy.events();
            assert!(!is_blind || events.iter().all(tried_again), "{events:?}");
        }
    });
}

/// A try has failed, and the next one waits.
fn until_a_try_has_ended(pid: u32) {
    let sql = format!("SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = {pid}");
    crate::harness::eventually("a try has ended", || {
        crate::harness::value("postgres", &sql).starts_with("idle SET LOCAL lock_timeout=")
    });
}

#[test]
fn a_string_that_waits_can_be_cancelled_and_left() {
    limited(|| {
        let proxy = proxy();
        let (name, mut direct) = with_table();
        let mut holder = Wire::session(&place(shared()), &name);
        holder.run("BEGIN; SELECT FROM t LIMIT 1");
        let string = "CREATE TABLE u (a int); ALTER TABLE t ADD COLUMN c int";
        let mut wire = proxy.session(&name);
        wire.send(&q(string));
        until_it_waits_for_its_lock(wire.pid());
        let mut cancel = Wire::connect(proxy.place());
        cancel.send(&cancel_request(&wire.key));
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        assert_eq!(wire.value("SHOW lock_timeout"), "0");
        wire.send(&q(string));
        let pid = wire.pid();
        until_it_waits_for_its_lock(pid);
        drop(wire);
        crate::harness::eventually("the session ends", || {
            direct.value(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"
            )) == "0"
        });
        holder.run("COMMIT");
        assert_eq!(direct.value("SELECT to_regclass('u') IS NULL"), "t");
        assert_eq!(proxy.event_words().len(), 4);
    });
}

/// What was judged harmless may not be so any more when the way is clear.
#[test]
fn a_string_that_has_waited_is_judged_anew() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = bytesize::ByteSize::kib(64);
        });
        let (name, mut direct) = with_table();
        let string = "ALTER TABLE t ALTER COLUMN a SET NOT NULL; ALTER TABLE t ADD COLUMN c int";
        let mut holder = Wire::session(&place(shared()), &name);
        for (grows, expected) in [(false, ""), (true, "LK004")] {
            direct.run("ALTER TABLE t ALTER COLUMN a DROP NOT NULL, DROP COLUMN IF EXISTS c");
            holder.run("BEGIN; SELECT FROM t LIMIT 1");
            let mut wire = proxy.session(&name);
            wire.send(&q(string));
            wire.until_told("waiting for a lock"); // after 2 s
            if grows {
                direct.run("INSERT INTO t SELECT i, i FROM generate_series(1, 10000) i");
            }
            holder.run("COMMIT");
            let frames = wire.until_ready();
            assert_eq!(sqlstate(&frames), expected, "{frames:?}");
        }
        let words = proxy.event_words();
        let (done, refused) = ("ALTER TABLE done", "ALTER TABLE refused");
        assert_eq!(words, [done, done, refused, refused]);
    });
}

/// In `observe` it waits where it would without lockkeeper, and nobody is told anything.
#[test]
fn an_observed_string_is_left_alone() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.mode = lockkeeper::config::Mode::Observe;
        });
        let (name, mut direct) = with_table();
        let mut holder = Wire::session(&place(shared()), &name);
        holder.run("BEGIN; LOCK TABLE t");
        let mut wire = proxy.session(&name);
        let pid = wire.pid();
        let string = "/* lockkeeper: allow(nonsense) because */ ALTER TABLE t ALTER COLUMN a SET NOT NULL; SELECT 1";
        wire.send(&q(string));
        let waits = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'
             AND query LIKE '%SET NOT NULL%'"
        );
        crate::harness::eventually("it queues", || direct.value(&waits) == "1");
        holder.run("COMMIT");
        let frames = wire.until_ready();
        assert_eq!(commands(&frames), ["ALTER TABLE", "SELECT 1"], "{frames:?}");
        assert!(!frames.iter().any(|frame| frame.tag == b'N'), "{frames:?}");
        assert_eq!(proxy.event_words(), ["ALTER TABLE observed"]);
    });
}

#[test]
fn what_the_policy_queues_runs_in_its_window() {
    limited(|| {
        for (windows, expected) in [
            (crate::windows::closed(), "LK002"),
            ("00:00-24:00 UTC".into(), ""),
        ] {
            let proxy = Proxy::start(shared(), |config, _| {
                crate::windows::queue(config, &[&windows], "1h");
            });
            let (name, _direct) = with_table();
            let frames = proxy
                .session(&name)
                .query("ALTER TABLE t ADD COLUMN c int; SELECT 1");
            assert_eq!(sqlstate(&frames), expected, "{frames:?}");
            let events = proxy.events();
            assert_eq!(events[0]["verdict"], "queue", "{events:?}");
            assert_eq!(events[0]["window"]["windows"][0], windows.as_str());
        }
    });
}

fn shown(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.show() + "\n").collect()
}

/// What it locks, it may hold for `locks.max_hold` while others wait for it, and for as long as it likes while nobody
/// does.
#[test]
fn a_string_that_holds_others_up_is_rolled_back() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.locks.max_hold = std::time::Duration::from_millis(500);
        });
        let (name, mut direct) = with_table();
        let mut wire = proxy.session(&name);
        let frames = wire.query("ALTER TABLE t ADD COLUMN c int; SELECT pg_sleep(1.5)");
        assert_eq!(commands(&frames), ["ALTER TABLE", "SELECT 1"], "{frames:?}");
        wire.send(&q("ALTER TABLE t ADD COLUMN d int; SELECT pg_sleep(600)"));
        let pid = wire.pid();
        let sleeps = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}");
        crate::harness::eventually("it holds its lock", || direct.value(&sleeps) == "PgSleep");
        direct.run("SELECT FROM t LIMIT 1");
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        let told = shown(&frames);
        assert!(told.contains("others had waited 500 ms"), "{told}");
        let words = proxy.event_words();
        assert_eq!(words, ["ALTER TABLE done", "ALTER TABLE failed"]);
        // The client's own limit counts as it would without lockkeeper.
        wire.run("SET statement_timeout = 300");
        let frames = wire.query("ALTER TABLE t ADD COLUMN d int; SELECT pg_sleep(600)");
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        let told = shown(&frames);
        assert!(told.contains("due to statement timeout"), "{told}");
    });
}

/// The queue of schema changes of one table is one, also for strings.
#[test]
fn strings_have_their_turn() {
    limited(|| {
        let proxy = proxy();
        let (name, _) = with_table();
        let threads: Vec<_> = ["c", "d", "e", "f"]
            .map(|column| {
                let mut wire = proxy.session(&name);
                let string = format!("ALTER TABLE t ADD COLUMN {column} int; SELECT pg_sleep(0.2)");
                thread::spawn(move || sqlstate(&wire.query(&string)))
            })
            .into_iter()
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "");
        }
        let events = proxy.events();
        assert!(
            events.iter().all(|event| event["attempts"] == 1),
            "{events:?}"
        );
    });
}
