//! How locks are had: by looking first, in turn, and without stopping anybody for longer than the budget.

use std::time::Duration;

use bytesize::ByteSize;
use lockkeeper::config::{CancelBlockers, Config};
use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{
    Proxy, database, eventually, limited, place, shared, start_server, until_it_has_waited,
};
use crate::program::Program;
use crate::wire::{Frame, Wire, column, commands, q, sqlstate};

/// A proxy for which no table is small, so that indexes are built concurrently.
fn proxy_with(change: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(shared(), |config, _| {
        config.guard.small_table = ByteSize::b(0);
        change(config);
    })
}

fn proxy() -> Proxy {
    proxy_with(|_| {})
}

/// A session directly at the shared server.
fn direct(database: &str) -> Wire {
    Wire::session(&place(shared()), database)
}

/// A database with some small tables.
fn with_tables() -> String {
    let database = database();
    let mut wire = direct(&database);
    for table in ["t", "u", "v"] {
        wire.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY, a int)"));
        wire.run(&format!(
            "INSERT INTO {table} SELECT g, g FROM generate_series(1, 100) g"
        ));
    }
    database
}

/// A session in a transaction that has done something.
fn in_transaction(database: &str, sql: &str) -> Wire {
    let mut wire = direct(database);
    wire.run("BEGIN");
    wire.run(sql);
    wire
}

fn writer(database: &str, table: &str) -> Wire {
    let sql = format!("INSERT INTO {table} VALUES (1000, 0)");
    in_transaction(database, &sql)
}

fn reader(database: &str, table: &str) -> Wire {
    in_transaction(database, &format!("SELECT FROM {table} LIMIT 1"))
}

fn builds_in(database: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_progress_create_index b WHERE b.datname = '{database}'
         AND b.command LIKE '%CONCURRENTLY'"
    )
}

fn until_it_builds(database: &str) {
    let (mut admin, sql) = (direct(database), builds_in(database));
    eventually("the build is under way", || admin.value(&sql) == "1");
}

/// Waits until a session waits in PostgreSQL's queue for a lock on a relation.
fn until_it_queues(database: &str, pid: u32) {
    let mut admin = direct(database);
    let sql = format!("SELECT count(*) > 0 FROM pg_locks WHERE pid = {pid} AND NOT granted");
    eventually("it queues", || admin.value(&sql) == "t");
}

fn error(frames: &[Frame]) -> &Frame {
    let found = frames.iter().find(|frame| frame.tag == b'E');
    found.unwrap_or_else(|| panic!("no error: {frames:?}"))
}

const INDEXES: &str = "SELECT coalesce(string_agg(indexrelid::regclass || ' ' || indisvalid, ', '
     ORDER BY indexrelid::regclass::text), '') FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
     WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisprimary";

/// What makes the queue of lockkeeper's own necessary: whoever waits in PostgreSQL behind a concurrent build has a
/// snapshot that the build waits for.
#[test]
fn queueing_behind_a_build_in_postgresql_deadlocks() {
    limited(|| {
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut build = direct(&database);
        build.send(&q("CREATE INDEX CONCURRENTLY t_a ON t (a)"));
        until_it_builds(&database);
        let mut alter = direct(&database);
        alter.send(&q("ALTER TABLE t ADD COLUMN b int"));
        until_it_queues(&database, alter.pid());
        writer.run("COMMIT");
        let ends = [build.until_ready(), alter.until_ready()].map(|frames| sqlstate(&frames));
        assert!(ends.contains(&"40P01".to_owned()), "{ends:?}");
    });
}

#[test]
fn nobody_deadlocks_with_a_build_that_was_started_elsewhere() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut build = direct(&database);
        build.send(&q("CREATE INDEX CONCURRENTLY t_a ON t (a)"));
        until_it_builds(&database);
        let mut alter = proxy.session(&database);
        alter.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = alter.until_told("waiting for a lock");
        let builder = format!("process {}", build.pid());
        assert!(told.field(b'D').contains(&builder), "{told:?}");
        let mut index = proxy.session(&database);
        index.send(&q("CREATE INDEX t_id_a ON t (id, a)"));
        writer.run("COMMIT");
        assert_eq!(sqlstate(&build.until_ready()), "");
        assert_eq!(commands(&alter.until_ready()), ["ALTER TABLE"]);
        assert_eq!(commands(&index.until_ready()), ["CREATE INDEX"]);
        assert_eq!(direct(&database).value(INDEXES), "t_a true, t_id_a true");
    });
}

/// A build from elsewhere has queued behind ours, which the server then ends: what that leaves is dropped when the
/// other build is over, not in the queue behind it.
#[test]
fn what_a_deadlock_leaves_is_not_dropped_into_the_next() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut ours = proxy.session(&database);
        ours.send(&q("CREATE INDEX t_a ON t (a)"));
        until_it_builds(&database);
        let mut theirs = direct(&database);
        theirs.run(
            "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN n; END $$",
        );
        theirs.run("SET deadlock_timeout = '5min'"); // it is ours that the server ends
        theirs.send(&q("CREATE INDEX CONCURRENTLY t_slow ON t (slow(a))"));
        until_it_queues(&database, theirs.pid());
        writer.run("COMMIT");
        ours.until_told("dropping the index public.t_a that is left INVALID");
        assert_eq!(sqlstate(&theirs.until_ready()), "");
        assert_eq!(commands(&ours.until_ready()), ["CREATE INDEX"]);
        assert_eq!(direct(&database).value(INDEXES), "t_a true, t_slow true");
    });
}

#[test]
fn nobody_deadlocks_with_a_build_of_ours() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut build = proxy.session(&database);
        build.send(&q("CREATE INDEX t_a ON t (a)"));
        until_it_builds(&database);
        let mut alter = proxy.session(&database);
        alter.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = alter.until_told("waiting in the queue behind 1 schema change");
        assert!(told.field(b'D').contains("t_a"), "{told:?}");
        writer.run("COMMIT");
        assert_eq!(commands(&build.until_ready()), ["CREATE INDEX"]);
        assert_eq!(commands(&alter.until_ready()), ["ALTER TABLE"]);
        assert_eq!(direct(&database).value(INDEXES), "t_a true");
    });
}

#[test]
fn one_build_at_a_time_in_a_database_and_others_pass() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut first = proxy.session(&database);
        first.send(&q("CREATE INDEX t_a ON t (a)"));
        until_it_builds(&database);
        let mut second = proxy.session(&database);
        second.send(&q("CREATE INDEX u_a ON u (a)"));
        second.until_told("waiting in the queue behind 1 schema change");
        let mut admin = direct(&database);
        assert_eq!(admin.value(&builds_in(&database)), "1");
        // What changes only the catalog of another table waits for no build.
        let mut other = proxy.session(&database);
        assert_eq!(
            commands(&other.query("ALTER TABLE v ADD COLUMN b int")),
            ["ALTER TABLE"]
        );
        assert_eq!(admin.value(&builds_in(&database)), "1");
        writer.run("COMMIT");
        assert_eq!(commands(&first.until_ready()), ["CREATE INDEX"]);
        assert_eq!(commands(&second.until_ready()), ["CREATE INDEX"]);
        assert_eq!(admin.value(INDEXES), "t_a true, u_a true");
    });
}

/// While somebody is in the way, no request stands in PostgreSQL's queue, behind which others would wait.
#[test]
fn first_come_first_served_and_nothing_is_asked_for_meanwhile() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut reader = reader(&database, "t");
        let mut first = proxy.session(&database);
        first.send(&q("ALTER TABLE t ADD COLUMN one int"));
        first.until_told_that_it_waits();
        let mut second = proxy.session(&database);
        second.send(&q("ALTER TABLE t ADD COLUMN two int"));
        second.until_told("waiting in the queue behind 1 schema change");
        let mut admin = direct(&database);
        let queued = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted";
        for _ in 0..200 {
            assert_eq!(admin.value(queued), "0");
        }
        let mut query = proxy.session(&database);
        query.run("SELECT FROM t");
        reader.run("COMMIT");
        assert_eq!(commands(&first.until_ready()), ["ALTER TABLE"]);
        assert_eq!(commands(&second.until_ready()), ["ALTER TABLE"]);
        let order = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = 't'::regclass AND attnum > 2";
        assert_eq!(admin.value(order), "one two");
        for event in proxy.events() {
            assert_eq!(event["attempts"], 1, "{event}");
        }
    });
}

#[test]
fn a_prepared_transaction_in_the_way_is_named() {
    limited(|| {
        let server = start_server(|options| {
            let setting = ("max_prepared_transactions".to_owned(), "4".to_owned());
            options.settings.push(setting);
        });
        let proxy = Proxy::start(&server, |_, _| {});
        let mut other = Wire::session(&place(&server), "postgres");
        other.run("CREATE TABLE t (a int)");
        other.run("BEGIN");
        other.run("INSERT INTO t VALUES (1)");
        other.run("PREPARE TRANSACTION 'left behind'");
        let mut wire = proxy.session("postgres");
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = wire.until_told("waiting for a lock");
        let detail = told.field(b'D');
        assert!(
            detail.contains("left behind") && detail.contains("ROLLBACK PREPARED"),
            "{told:?}"
        );
        other.run("COMMIT PREPARED 'left behind'");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
    });
}

/// A server whose autovacuum is at once at work, and slow.
fn eager_vacuum() -> TemporaryServer {
    start_server(|options| {
        for (name, value) in [
            ("autovacuum_naptime", "1s"),
            ("autovacuum_vacuum_cost_delay", "100ms"),
            ("autovacuum_vacuum_cost_limit", "1"),
            ("autovacuum_vacuum_insert_threshold", "-1"),
            ("autovacuum_vacuum_threshold", "1"),
            ("autovacuum_vacuum_scale_factor", "0"),
        ] {
            options.settings.push((name.to_owned(), value.to_owned()));
        }
    })
}

/// It gives way to the first, patient request, which no query waits behind.
#[test]
fn an_autovacuum_gives_way() {
    limited(|| {
        let server = eager_vacuum();
        let proxy = Proxy::start(&server, |_, _| {});
        let mut other = Wire::session(&place(&server), "postgres");
        other.run(
            "CREATE TABLE t AS SELECT g, repeat('x', 500) AS a FROM generate_series(1, 20000) g",
        );
        other.run("DELETE FROM t WHERE g % 2 = 0");
        let vacuums =
            "SELECT count(*) FROM pg_stat_progress_vacuum v JOIN pg_stat_activity a USING (pid)
             WHERE v.relid = 't'::regclass AND a.backend_type = 'autovacuum worker'";
        let mut wire = proxy.session("postgres");
        // It would take minutes; the deadline doesn't leave as much.
        wire.run("SET lock_timeout = '20s'");
        let behind = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted
             AND mode <> 'ShareUpdateExclusiveLock'";
        for (sql, column) in [
            ("ALTER TABLE t ADD COLUMN b int", "b"),
            ("SELECT 1; ALTER TABLE t ADD COLUMN c int", "c"),
        ] {
            eventually("it is vacuumed", || other.value(vacuums) == "1");
            wire.send(&q(sql));
            let altered = format!(
                "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = '{column}'"
            );
            eventually("it has its lock", || {
                assert_eq!(other.value(behind), "0");
                other.value(&altered) == "1"
            });
            let frames = wire.until_ready();
            assert_eq!(
                commands(&frames).last().map(String::as_str),
                Some("ALTER TABLE")
            );
        }
    });
}

#[test]
fn an_old_snapshot_holds_a_build_back() {
    limited(|| {
        let proxy = proxy_with(|config| config.builds.look_age = Duration::from_millis(100));
        let database = with_tables();
        let mut old = direct(&database);
        old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        old.run("SELECT FROM u");
        std::thread::sleep(Duration::from_millis(200));
        let mut build = proxy.session(&database);
        build.send(&q("CREATE INDEX t_a ON t (a)"));
        let told = build.until_told("the build waits for old transactions");
        let holder = format!("process {}", old.pid());
        assert!(told.field(b'D').contains(&holder), "{told:?}");
        let mut admin = direct(&database);
        assert_eq!(admin.value(&builds_in(&database)), "0");
        assert_eq!(admin.value(INDEXES), "");
        old.run("COMMIT");
        assert_eq!(commands(&build.until_ready()), ["CREATE INDEX"]);
        assert_eq!(admin.value(INDEXES), "t_a true");
    });
}

#[test]
fn a_build_past_its_deadline_leaves_nothing() {
    limited(|| {
        let proxy = proxy_with(|config| config.builds.deadline = Duration::from_secs(1));
        let database = with_tables();
        let mut writer = writer(&database, "t");
        let mut build = proxy.session(&database);
        build.send(&q("CREATE INDEX t_a ON t (a)"));
        // The half-built index is dropped when those have ended who may use it.
        build.until_told("dropping the index public.t_a");
        writer.run("COMMIT");
        let frames = build.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        let message = error(&frames).field(b'M');
        assert!(
            message.contains("the build was not done after 1.0 s"),
            "{message}"
        );
        assert_eq!(direct(&database).value(INDEXES), "");
        build.run("SELECT FROM t");
    });
}

#[test]
fn readers_in_the_way_are_ended_when_that_is_wanted_and_writers_never() {
    limited(|| {
        let proxy = proxy_with(|config| {
            config.locks.cancel_blockers = CancelBlockers::Readers;
            config.locks.cancel_after = Duration::from_millis(200);
            config.locks.deadline = Duration::from_secs(3);
        });
        let database = with_tables();
        let mut reads = reader(&database, "t");
        let mut writes = writer(&database, "u");
        let mut wire = proxy.session(&database);
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = wire.until_told("terminated, for it was in the way");
        let victim = format!("process {}", reads.pid());
        assert!(told.field(b'M').contains(&victim), "{told:?}");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
        assert_eq!(sqlstate(&reads.until_end()), "57P01");
        let frames = wire.query("ALTER TABLE u ADD COLUMN b int");
        assert_eq!(sqlstate(&frames), "55P03", "{frames:?}");
        let detail = error(&frames).field(b'D');
        assert!(
            detail.contains(&format!("process {}", writes.pid())),
            "{detail}"
        );
        writes.run("COMMIT");
        assert_eq!(
            commands(&wire.query("ALTER TABLE u ADD COLUMN b int")),
            ["ALTER TABLE"]
        );
    });
}

#[test]
fn the_client_is_told_how_a_build_goes_unless_it_wants_no_notices() {
    limited(|| {
        let proxy = proxy();
        let (quiet_one, loud_one) = (with_tables(), with_tables());
        let mut writers = [writer(&quiet_one, "t"), writer(&loud_one, "t")];
        let mut quiet = proxy.session(&quiet_one);
        quiet.run("SET client_min_messages = warning");
        quiet.send(&q("CREATE INDEX t_a ON t (a)"));
        until_it_builds(&quiet_one);
        let mut loud = proxy.session(&loud_one);
        loud.send(&q("CREATE INDEX t_a ON t (a)"));
        let told = loud.until_told("waiting for writers before build");
        let waits_for = format!("It waits for process {}", writers[1].pid());
        assert!(told.field(b'D').contains(&waits_for), "{told:?}");
        for writer in &mut writers {
            writer.run("COMMIT");
        }
        let frames = loud.until_ready();
        assert_eq!(commands(&frames), ["CREATE INDEX"]);
        let frames = quiet.until_ready();
        assert_eq!(commands(&frames), ["CREATE INDEX"]);
        assert!(frames.iter().all(|frame| frame.tag != b'N'), "{frames:?}");
    });
}

#[test]
fn all_works_without_an_operator() {
    limited(|| {
        let proxy = proxy_with(|config| config.operator.url = Some(String::new()));
        let database = with_tables();
        let mut reads = reader(&database, "t");
        let mut wire = proxy.session(&database);
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = wire.until_told("waiting for a lock");
        let holder = format!("process {}", reads.pid());
        assert!(told.field(b'D').contains(&holder), "{told:?}");
        reads.run("COMMIT");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
        for sql in [
            "CREATE INDEX t_a ON t (a)",
            "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
            "ALTER TABLE u ADD COLUMN r float DEFAULT random()",
        ] {
            let frames = wire.query(sql);
            assert_eq!(sqlstate(&frames), "", "{sql}: {frames:?}");
        }
        assert_eq!(direct(&database).value(INDEXES), "t_a true");
    });
}

#[test]
fn an_operator_with_fewer_rights_says_so_and_works() {
    limited(|| {
        let server = start_server(|_| {});
        let mut other = Wire::session(&place(&server), "postgres");
        other.run("CREATE ROLE looker LOGIN");
        other.run("CREATE DATABASE lockkeeper OWNER looker");
        other.run("CREATE TABLE t (a int)");
        let url = format!("postgres://looker@127.0.0.1:{}/postgres", server.port());
        let program = Program::start_with(&server, &[("OPERATOR__URL", &url)]);
        eventually("the operator is logged in", || {
            let (_, text) = program.get("/ready");
            text.contains("logged in, lacks rights: looker isn't a member of pg_read_all_stats")
        });
        other.run("BEGIN");
        other.run("SELECT FROM t");
        let mut wire = program.session();
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let told = wire.until_told("waiting for a lock");
        let holder = format!("process {}", other.pid());
        assert!(told.field(b'D').contains(&holder), "{told:?}");
        other.run("COMMIT");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
    });
}

#[test]
fn what_changes_while_a_lock_is_waited_for_is_judged_anew() {
    limited(|| {
        let proxy = proxy();
        let database = with_tables();
        let mut holder = reader(&database, "t");
        let mut wire = proxy.session(&database);
        wire.send(&q("ALTER TABLE t ALTER COLUMN a SET NOT NULL"));
        until_it_has_waited(wire.pid());
        holder.run("ALTER TABLE t RENAME TO former");
        holder.run("CREATE TABLE t (id int, a int NOT NULL)");
        holder.run("COMMIT");
        let frames = wire.until_ready();
        assert_eq!(commands(&frames), ["ALTER TABLE"], "{frames:?}");
        let events = proxy.events();
        assert_eq!(events.len(), 1, "{events:?}");
        let (executed, outcome) = (&events[0]["executed"], &events[0]["outcome"]);
        assert_eq!(outcome, "done", "{events:?}");
        assert!(
            executed.as_array().is_none_or(Vec::is_empty),
            "it is NOT NULL already: {executed}"
        );
    });
}

#[test]
fn the_deadline_names_who_is_in_the_way() {
    limited(|| {
        let proxy = proxy_with(|config| config.locks.deadline = Duration::from_secs(1));
        let database = with_tables();
        let holders = [reader(&database, "t"), writer(&database, "t")];
        let mut wire = proxy.session(&database);
        let frames = wire.query("ALTER TABLE t ADD COLUMN b int");
        assert_eq!(sqlstate(&frames), "55P03", "{frames:?}");
        let detail = error(&frames).field(b'D');
        for holder in &holders {
            let named = format!("process {}", holder.pid());
            assert!(detail.contains(&named), "{detail}");
        }
    });
}

/// The session's settings, all that can differ from one statement to the next.
fn settings(wire: &mut Wire) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', name, setting, source) FROM pg_settings ORDER BY name";
    column(&wire.query(sql))
}

#[test]
fn settings_are_as_they_were_after_each_family() {
    limited(|| {
        let proxy = proxy_with(|config| config.locks.deadline = Duration::from_millis(500));
        let database = with_tables();
        let _holder = reader(&database, "v");
        let mut wire = proxy.session(&database);
        wire.run("SET lock_timeout = '40s'; SET statement_timeout = '5min'; SET search_path = public, pg_temp");
        let mut before = settings(&mut wire);
        for (sql, expected) in [
            ("CREATE INDEX t_a ON t (a)", ""),
            ("CREATE UNIQUE INDEX t_u ON t ((a % 2))", "23505"),
            ("REINDEX INDEX t_a", ""),
            ("ALTER TABLE t ADD CONSTRAINT t_unique UNIQUE (a)", ""),
            ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", ""),
            ("ALTER TABLE t ADD CONSTRAINT t_check CHECK (a > 0)", ""),
            (
                "ALTER TABLE t ADD CONSTRAINT t_false CHECK (a > 50)",
                "23514",
            ),
            (
                "ALTER TABLE u ADD CONSTRAINT u_t FOREIGN KEY (a) REFERENCES t (a)",
                "",
            ),
            ("ALTER TABLE t ADD COLUMN b int", ""),
            ("ALTER TABLE t ADD COLUMN r float DEFAULT random()", ""),
            ("DROP INDEX t_a", ""),
            ("SET lock_timeout = '500ms'", ""),
            ("ALTER TABLE v ADD COLUMN b int", "55P03"),
        ] {
            if sql.starts_with("SET") {
                wire.run(sql);
                before = settings(&mut wire);
                continue;
            }
            let frames = wire.query(sql);
            assert_eq!(sqlstate(&frames), expected, "{sql}: {frames:?}");
            assert_eq!(settings(&mut wire), before, "{sql}");
        }
    });
}
