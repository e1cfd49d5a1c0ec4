//! Who holds a lock that is in a schema change's way: whom lockkeeper ends where that is wanted, whom never, past whom
//! it asks for its lock, and how a console ends a taking back that somebody is in the way of.

use std::time::Duration;

use bytesize::ByteSize;
use lockkeeper::config::{CancelBlockers, Config};
use lockkeeper::plan::LookAge;

use crate::harness::{
    Proxy, database, eventually, limited, place, shared, start_server, until_asleep,
};
use crate::wire::{Frame, Wire, column, commands, q, sqlstate};

const ALTER: &str = "ALTER TABLE t ADD COLUMN b int";
/// What is said of a lock that was only looked at.
const NOT_ASKED: &str = "not asked for yet; the way isn't clear";

/// A proxy in front of the shared server.
fn proxy_with(change: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(shared(), |config, _| change(config))
}

/// Ends readers at once, and gives up soon.
fn ends_readers_and_gives_up(config: &mut Config) {
    config.locks.cancel_blockers = CancelBlockers::Readers;
    config.locks.cancel_after = Duration::from_millis(1);
    config.locks.deadline = Duration::from_secs(1);
}

/// A session directly at the shared server.
fn direct(database: &str) -> Wire {
    Wire::session(&place(shared()), database)
}

/// A database with two tables, too small for an autovacuum.
fn with_tables() -> String {
    let database = database();
    let mut wire = direct(&database);
    for table in ["t", "u"] {
        wire.run(&format!("CREATE TABLE {table} AS SELECT 1 AS a"));
    }
    database
}

/// A session in a transaction that is no longer new.
fn in_transaction(database: &str, sql: &str) -> Wire {
    let mut wire = direct(database);
    wire.run("BEGIN");
    wire.run(sql);
    wire.run("SELECT pg_sleep(0.1)");
    wire
}

/// The same, active: it reads `t`, and won't be done.
fn asleep(database: &str, sql: &str) -> Wire {
    let mut wire = in_transaction(database, sql);
    wire.send(&q("SELECT pg_sleep(600) FROM t LIMIT 1"));
    until_asleep(wire.pid());
    wire
}

/// A session, as it is named to people.
fn process(wire: &Wire) -> String {
    format!("process {} (", wire.pid())
}

fn error(frames: &[Frame]) -> &Frame {
    let found = frames.iter().find(|frame| frame.tag == b'E');
    found.unwrap_or_else(|| panic!("no error: {frames:?}"))
}

/// A schema change gives up without having asked, names who sleeps in its way, and that one sleeps on.
fn is_named_and_sleeps_on(proxy: &Proxy, database: &str, holder: &Wire) {
    let frames = proxy.session(database).query(ALTER);
    assert_eq!(sqlstate(&frames), "55P03", "{frames:?}");
    let report = error(&frames);
    assert!(report.field(b'M').contains(NOT_ASKED), "{report:?}");
    assert!(report.field(b'D').contains(&process(holder)), "{report:?}");
    let ended = |frame: &Frame| frame.field(b'M').contains("for it was in the way");
    assert!(!frames.iter().any(ended), "{frames:?}");
    let pid = holder.pid();
    let event = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}");
    assert_eq!(direct(database).value(&event), "PgSleep");
}

/// When whoever sleeps in its way is gone, the schema change is done.
fn is_done_without(proxy: &Proxy, database: &str, mut holder: Wire) {
    let pid = holder.pid();
    let mut direct = direct(database);
    direct.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(sqlstate(&holder.until_end()), "57P01");
    let frames = proxy.session(database).query(ALTER);
    assert_eq!(commands(&frames), ["ALTER TABLE"], "{frames:?}");
    direct.run("ALTER TABLE t DROP COLUMN b");
}

#[test]
fn an_active_reader_is_cancelled_and_its_session_goes_on() {
    limited(|| {
        let proxy = proxy_with(|config| {
            config.locks.cancel_blockers = CancelBlockers::Readers;
            config.locks.cancel_after = Duration::from_millis(200);
        });
        let database = with_tables();
        for (sql, tags) in [
            (ALTER, &["ALTER TABLE"][..]),
            (
                "SELECT 1; ALTER TABLE t ADD COLUMN c int",
                &["SELECT 1", "ALTER TABLE"][..],
            ),
        ] {
            let mut reads = asleep(&database, "SELECT FROM u");
            let mut wire = proxy.session(&database);
            wire.send(&q(sql));
            let told = wire.until_told("cancelled, for it was in the way");
            assert!(told.field(b'M').contains(&process(&reads)), "{told:?}");
            let frames = wire.until_ready();
            assert_eq!(commands(&frames), tags, "{frames:?}");
            let frames = reads.until_ready();
            assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
            // Only its transaction has failed.
            assert_eq!(frames.last().unwrap().show(), "Z E");
            reads.run("ROLLBACK");
        }
    });
}

#[test]
fn a_reader_is_left_alone_by_default_and_until_it_is_old_enough() {
    limited(|| {
        let database = with_tables();
        let reads = asleep(&database, "SELECT FROM u");
        for (whose, after) in [
            (CancelBlockers::Off, Duration::from_millis(1)),
            (CancelBlockers::Readers, Duration::from_secs(3600)),
        ] {
            let proxy = proxy_with(|config| {
                ends_readers_and_gives_up(config);
                config.locks.cancel_blockers = whose;
                config.locks.cancel_after = after;
            });
            is_named_and_sleeps_on(&proxy, &database, &reads);
        }
        let proxy = proxy_with(|_| {});
        is_done_without(&proxy, &database, reads);
    });
}

/// Wherever it has written.
#[test]
fn an_active_transaction_that_has_written_is_not_ended() {
    limited(|| {
        let proxy = proxy_with(ends_readers_and_gives_up);
        let database = with_tables();
        for written in ["INSERT INTO u VALUES (2)", "INSERT INTO t VALUES (2)"] {
            let holder = asleep(&database, written);
            is_named_and_sleeps_on(&proxy, &database, &holder);
            is_done_without(&proxy, &database, holder);
        }
    });
}

/// Not even when it has only read.
#[test]
fn a_prepared_transaction_is_not_ended() {
    limited(|| {
        let server = start_server(|options| {
            let setting = ("max_prepared_transactions".to_owned(), "4".to_owned());
            options.settings.push(setting);
        });
        let proxy = Proxy::start(&server, |config, _| ends_readers_and_gives_up(config));
        let mut other = Wire::session(&place(&server), "postgres");
        other.run("CREATE TABLE t (a int)");
        other.run("BEGIN");
        other.run("SELECT FROM t");
        other.run("PREPARE TRANSACTION 'left behind'");
        let mut wire = proxy.session("postgres");
        let frames = wire.query(ALTER);
        assert_eq!(sqlstate(&frames), "55P03", "{frames:?}");
        let report = error(&frames);
        assert!(report.field(b'M').contains(NOT_ASKED), "{report:?}");
        let detail = report.field(b'D');
        for words in [
            "prepared transaction left behind (postgres)",
            "AccessShareLock",
            "ROLLBACK PREPARED",
        ] {
            assert!(detail.contains(words), "{detail}");
        }
        let prepared = "SELECT gid FROM pg_prepared_xacts";
        assert_eq!(other.value(prepared), "left behind");
        other.run("COMMIT PREPARED 'left behind'");
        assert_eq!(commands(&wire.query(ALTER)), ["ALTER TABLE"]);
    });
}

const SHORT: LookAge = LookAge::Fixed(Duration::from_millis(1));
const LONG: LookAge = LookAge::Fixed(Duration::from_secs(3600));

/// One holder, older than a short one and than what is too old for an unknown table, and younger than a long one.
#[test]
fn a_fixed_look_age_says_past_whom_a_lock_is_asked_for() {
    limited(|| {
        let database = with_tables();
        let holder = in_transaction(&database, "SELECT FROM t");
        for (look_age, is_asked_for) in [(LookAge::Auto, false), (SHORT, false), (LONG, true)] {
            let proxy = proxy_with(|config| {
                config.locks.look_age = look_age;
                config.locks.deadline = Duration::from_millis(500);
            });
            let frames = proxy.session(&database).query(ALTER);
            assert_eq!(sqlstate(&frames), "55P03", "{look_age:?}: {frames:?}");
            let report = error(&frames);
            assert!(report.field(b'D').contains(&process(&holder)), "{report:?}");
            let is_looked_at = report.field(b'M').contains(NOT_ASKED);
            assert_eq!(is_looked_at, !is_asked_for, "{look_age:?}: {report:?}");
            let events = proxy.events();
            assert_eq!(events.len(), 1, "{events:?}");
            let attempts = events[0]["attempts"].as_u64();
            assert_eq!(attempts > Some(0), is_asked_for, "{look_age:?}: {events:?}");
        }
    });
}

#[test]
fn a_lock_is_had_when_the_holder_ends_looked_at_or_asked_past() {
    limited(|| {
        let database = with_tables();
        for (look_age, is_asked_for) in [(SHORT, false), (LONG, true)] {
            let proxy = proxy_with(|config| config.locks.look_age = look_age);
            let mut holder = in_transaction(&database, "SELECT FROM t");
            let mut wire = proxy.session(&database);
            wire.send(&q(ALTER));
            let told = wire.until_told("waiting for a lock");
            let is_looked_at = told.field(b'M').contains(NOT_ASKED);
            assert_eq!(is_looked_at, !is_asked_for, "{look_age:?}: {told:?}");
            assert!(told.field(b'D').contains(&process(&holder)), "{told:?}");
            holder.run("COMMIT");
            assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
            let events = proxy.events();
            assert_eq!(events.len(), 1, "{events:?}");
            let attempts = events[0]["attempts"].as_u64();
            assert_eq!(attempts > Some(1), is_asked_for, "{look_age:?}: {events:?}");
            direct(&database).run("ALTER TABLE t DROP COLUMN b");
        }
    });
}

/// Waits until the console shows its one plan in a stage; the plan's number.
fn until_shown(console: &mut Wire, stage: &str) -> String {
    let mut numbers = Vec::new();
    eventually(stage, || {
        let frames = console.query("SHOW PLANS");
        numbers = column(&frames);
        let is_in_it = |frame: &Frame| frame.tag == b'D' && frame.show().contains(stage);
        frames.iter().any(is_in_it)
    });
    numbers.remove(0)
}

/// The reader is in the way of the constraint that takes the index over, not of building that; then of dropping it.
#[test]
fn a_second_cancel_on_the_console_ends_the_taking_back() {
    limited(|| {
        let proxy = proxy_with(|config| {
            config.guard.small_table = ByteSize::b(0);
            config.console.admins = vec!["postgres".to_owned()];
        });
        let database = with_tables();
        let mut reader = in_transaction(&database, "SELECT FROM t");
        let mut admin = direct(&database);
        let mut client = proxy.session(&database);
        client.send(&q("ALTER TABLE t ADD CONSTRAINT t_once UNIQUE (a)"));
        let is_valid = "SELECT coalesce(bool_and(indisvalid), false) FROM pg_index
             WHERE indexrelid = to_regclass('t_once')";
        eventually("the index is built", || admin.value(is_valid) == "t");
        let mut console = proxy.session("console");
        let number = until_shown(&mut console, "awaits lock");
        let cancel = format!("CANCEL {number}");
        console.run(&cancel);
        let pid = client.pid();
        let drops = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}
             AND query LIKE 'DROP INDEX%' AND wait_event_type = 'Lock'"
        );
        eventually("dropping it waits", || admin.value(&drops) == "1");
        assert_eq!(until_shown(&mut console, "takes back"), number);
        console.run(&cancel);
        let frames = client.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        let detail = error(&frames).field(b'D');
        for words in [
            "was not dropped",
            "run DROP INDEX CONCURRENTLY public.t_once when you can",
            "by user \"postgres\"",
        ] {
            assert!(detail.contains(words), "{detail}");
        }
        assert_eq!(admin.value(is_valid), "f"); // it is left
        client.run("SELECT 1");
        reader.run("COMMIT"); // it was not ended
    });
}
