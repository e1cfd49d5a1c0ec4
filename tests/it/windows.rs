//! Statements that the policy queues: they wait for a window of time, the client is told, and all that ends a statement
//! ends their waiting.

use jiff::{Timestamp, ToSpan};
use lockkeeper::config::{Config, Mode};
use serde_json::{Value, json};

use crate::harness::{Proxy, database, eventually, limited, place, shared, value};
use crate::wire::{Frame, Wire, cancel_request, commands, pbe, q, s, sqlstate, tags};

const CREATE_INDEX: &str = "CREATE INDEX i ON t (a)";
const INDEXES: &str = "SELECT count(*) FROM pg_class WHERE relname = 'i'";

/// A window, in UTC, that opens in so many seconds, for an hour.
fn opens_in(seconds: i64) -> String {
    let clock = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
    let mut from = Timestamp::now() + seconds.seconds();
    if clock(from).ends_with(":00") {
        from -= 1.second(); // whole minutes are shown without their seconds
    }
    format!("{}-{} UTC", clock(from), clock(from + 1.hour()))
}

/// One that doesn't open while a test runs.
pub(crate) fn closed() -> String {
    opens_in(6 * 3600)
}

/// Settings under which an index on any table, and a new column, wait for these windows.
pub(crate) fn queue(config: &mut Config, windows: &[&str], max_wait: &str) {
    config.policy = serde_json::from_value(json!({
        "rules": {"create-index-blocks-writes": "queue", "lock-queue": "queue"},
        "windows": windows,
    }))
    .unwrap();
    config.queue = serde_json::from_value(json!({"max_wait": max_wait})).unwrap();
    config.guard.small_table = bytesize::ByteSize::b(0);
}

fn proxy(windows: &[&str], max_wait: &str) -> Proxy {
    Proxy::start(shared(), |config, _| queue(config, windows, max_wait))
}

/// A database with a table `t`.
fn with_table() -> String {
    let name = database();
    Wire::session(&place(shared()), &name).run("CREATE TABLE t AS SELECT 1 AS a");
    name
}

/// Sends a statement that must wait: the first thing that comes back says so.
#[track_caller]
fn send_and_wait(wire: &mut Wire, bytes: &[u8]) -> Frame {
    wire.send(bytes);
    loop {
        let frame = wire.next().unwrap();
        if matches!(frame.tag, b'1' | b'2') {
            continue; // of a Parse and a Bind
        }
        assert!(frame.is_lockkeepers_notice(), "{frame:?}");
        assert!(frame.field(b'M').contains(" waits for "), "{frame:?}");
        return frame;
    }
}

fn error(frames: &[Frame]) -> Frame {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error
        .unwrap_or_else(|| panic!("no error: {frames:?}"))
        .clone()
}

/// The events of schema changes that were queued.
fn queued(proxy: &Proxy) -> Vec<Value> {
    let events = proxy.events().into_iter();
    events.filter(|event| event["verdict"] == "queue").collect()
}

#[test]
fn it_runs_when_the_window_opens_and_is_judged_by_what_it_finds_then() {
    limited(|| {
        // On a busy machine the window may open before the statement comes.
        for lead in [3, 12, 60] {
            let window = opens_in(lead);
            let proxy = proxy(&[&window], "1h");
            let database = with_table();
            let mut wire = proxy.session(&database);
            wire.send(&q(CREATE_INDEX));
            let notice = wire.next().unwrap();
            if !notice.field(b'M').contains(" waits for ") {
                continue;
            }
            value(
                &database,
                "WITH i AS (INSERT INTO t SELECT generate_series(1, 1000) RETURNING 1) SELECT count(*) FROM i",
            );
            let message = notice.field(b'M');
            let day = Timestamp::now().strftime("%Y-").to_string();
            assert!(
                message.starts_with(
                    "lockkeeper: CREATE INDEX waits for a window: the next one opens "
                ) && message.contains(&day)
                    && message.contains(&format!("{} (UTC), in ", &window[..8])),
                "{message}"
            );
            let detail = notice.field(b'D');
            assert!(
                detail.starts_with(&format!(
                    "The policy lets it run in a window only: {window}.\nRule create-index-blocks-writes: "
                )),
                "{detail}"
            );
            assert!(
                detail.contains("(queue.max_wait). Nothing has been changed"),
                "{detail}"
            );
            assert_eq!(commands(&wire.until_ready()), ["CREATE INDEX"]);
            assert_eq!(value(&database, INDEXES), "1");
            let event = &queued(&proxy)[0];
            assert_eq!(event["outcome"], "done", "{event}");
            assert_eq!(event["executed"], json!([CREATE_INDEX]), "{event}");
            assert_eq!(event["window"]["windows"], json!([window]), "{event}");
            assert_eq!(event["window"]["opens"], Value::Null, "{event}");
            assert!(event["window"]["waited_ms"].as_u64() > Some(0), "{event}");
            assert!(
                event["elapsed_ms"].as_u64() >= event["window"]["waited_ms"].as_u64(),
                "{event}"
            );
            let bytes = value(&database, "SELECT pg_relation_size('t')");
            assert_eq!(event["relations"][0]["bytes"].to_string(), bytes, "{event}");
            return;
        }
        panic!("each window was open before the statement came");
    });
}

#[test]
fn nothing_waits_while_a_window_is_open() {
    limited(|| {
        let proxy = proxy(&[&closed(), "00:00-24:00"], "1h");
        let database = with_table();
        let mut wire = proxy.session(&database);
        for message in [
            q("ALTER TABLE t ADD COLUMN b int"),
            [pbe("ALTER TABLE t ADD COLUMN c int"), s()].concat(),
        ] {
            let frames = wire.ask(&message);
            assert_eq!(commands(&frames), ["ALTER TABLE"], "{frames:?}");
            let waits = |frame: &Frame| frame.field(b'M').contains(" waits for a window");
            assert!(!frames.iter().any(waits), "{frames:?}");
        }
        for event in queued(&proxy) {
            assert_eq!(event["outcome"], "done");
            assert_eq!(event["rule"], "lock-queue");
            assert_eq!(event["window"]["opens"], Value::Null, "{event}");
        }
    });
}

#[test]
fn waiting_has_an_end() {
    limited(|| {
        let window = closed();
        for (windows, max_wait, told, message, detail, hint) in [
            (
                vec![window.as_str()],
                "2s",
                "waits for a window: the next one opens",
                "CREATE INDEX has waited 2 s for a window of time",
                format!("in a window only: {window}. The next one opens "),
                "raise queue.max_wait (now 2 s)",
            ),
            (
                vec![],
                "2s",
                "CREATE INDEX waits for an approval",
                "for an approval, and none came",
                "after an approval only (policy.windows names no window). (rule create-index-blocks-writes)"
                    .to_owned(),
                "Name windows in policy.windows",
            ),
            (
                vec![window.as_str()],
                "0s",
                "",
                "CREATE INDEX may run in a window of time only, and none is open",
                format!("in a window only: {window}. The next one opens "),
                "Send it again when a window is open",
            ),
            (
                vec![],
                "0s",
                "",
                "CREATE INDEX may run in a window of time only, and policy.windows names none",
                "(policy.windows names no window)".to_owned(),
                "set the rule to another action in policy.rules",
            ),
        ] {
            let proxy = proxy(&windows, max_wait);
            let database = with_table();
            let mut wire = proxy.session(&database);
            for bytes in [q(CREATE_INDEX), [pbe(CREATE_INDEX), s()].concat()] {
                let frames = wire.ask(&bytes);
                assert_eq!(sqlstate(&frames), "LK002", "{frames:?}");
                let notices: Vec<String> = frames
                    .iter()
                    .filter(|frame| frame.is_lockkeepers_notice())
                    .map(|frame| frame.field(b'M'))
                    .collect();
                assert_eq!(notices.len(), usize::from(!told.is_empty()), "{notices:?}");
                assert!(notices.iter().all(|notice| notice.contains(told)), "{notices:?}");
                let error = error(&frames);
                assert!(error.field(b'M').contains(message), "{error:?}");
                assert!(error.field(b'D').contains(&detail), "{error:?}");
                assert!(error.field(b'H').contains(hint), "{error:?}");
            }
            wire.run("SELECT 1");
            assert_eq!(value(&database, INDEXES), "0");
            for event in queued(&proxy) {
                assert_eq!(event["outcome"], "refused", "{event}");
                assert_eq!(event["error"]["sqlstate"], "LK002", "{event}");
                assert_eq!(event["window"]["opens"].is_null(), windows.is_empty(), "{event}");
            }
        }
    });
}

#[test]
fn a_cancel_request_ends_it() {
    limited(|| {
        let proxy = proxy(&[&closed()], "1h");
        let database = with_table();
        let mut wire = proxy.session(&database);
        for bytes in [q(CREATE_INDEX), [pbe(CREATE_INDEX), s()].concat()] {
            send_and_wait(&mut wire, &bytes);
            let mut cancel = Wire::connect(proxy.place());
            cancel.send(&cancel_request(&wire.key));
            assert_eq!(cancel.until_end(), []);
            let frames = wire.until_ready();
            assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
            assert_eq!(
                error(&frames).field(b'M'),
                "canceling statement due to user request"
            );
            wire.run("SELECT 1");
        }
        assert_eq!(value(&database, INDEXES), "0");
        let outcomes: Vec<Value> = queued(&proxy)
            .iter()
            .map(|event| event["outcome"].clone())
            .collect();
        assert_eq!(outcomes, ["failed", "failed"]);
    });
}

#[test]
fn the_clients_own_statement_timeout_ends_it() {
    limited(|| {
        let proxy = proxy(&[&closed()], "1h");
        let mut wire = proxy.session(&with_table());
        wire.run("SET statement_timeout = '1500ms'");
        let notice = send_and_wait(&mut wire, &q(CREATE_INDEX));
        let detail = notice.field(b'D');
        assert!(
            detail.contains("(your statement_timeout), before that window opens."),
            "{detail}"
        );
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        assert_eq!(
            error(&frames).field(b'M'),
            "canceling statement due to statement timeout"
        );
        assert_eq!(wire.value("SHOW statement_timeout"), "1500ms");
    });
}

#[test]
fn a_client_that_leaves_no_longer_waits() {
    limited(|| {
        let proxy = proxy(&[&closed()], "1h");
        let database = with_table();
        let mut wire = proxy.session(&database);
        let pid = wire.pid();
        send_and_wait(&mut wire, &q(CREATE_INDEX));
        drop(wire);
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        eventually("its server session ends", || value("postgres", &sql) == "0");
        assert_eq!(queued(&proxy)[0]["outcome"], "failed");
    });
}

#[test]
fn a_server_session_that_dies_meanwhile_is_noticed() {
    limited(|| {
        let proxy = proxy(&[&closed()], "1h");
        let mut wire = proxy.session(&with_table());
        send_and_wait(&mut wire, &q(CREATE_INDEX));
        value(
            "postgres",
            &format!("SELECT pg_terminate_backend({})", wire.pid()),
        );
        let frames = wire.until_end();
        assert_eq!(sqlstate(&frames), "57P01", "{frames:?}");
        assert_eq!(tags(&frames).matches('E').count(), 1, "{frames:?}");
        assert_eq!(queued(&proxy)[0]["outcome"], "failed");
    });
}

#[test]
fn lockkeeper_that_ends_says_so() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            queue(config, &[&closed()], "1h");
            config.shutdown.grace = std::time::Duration::from_millis(100);
        });
        let mut wire = proxy.session(&with_table());
        send_and_wait(&mut wire, &q(CREATE_INDEX));
        drop(proxy);
        let frames = wire.until_end();
        assert_eq!(tags(&frames), "E", "{frames:?}");
        assert_eq!(sqlstate(&frames), "57P01", "{frames:?}");
    });
}

#[test]
fn observe_says_what_would_be_waited_for() {
    limited(|| {
        let window = closed();
        let proxy = Proxy::start(shared(), |config, _| {
            queue(config, &[&window], "1h");
            config.guard.mode = Mode::Observe;
        });
        let database = with_table();
        let mut wire = proxy.session(&database);
        let frames = wire.query(CREATE_INDEX);
        assert_eq!(tags(&frames), "CZ", "{frames:?}");
        assert_eq!(value(&database, INDEXES), "1");
        let event = &queued(&proxy)[0];
        assert_eq!(event["outcome"], "observed", "{event}");
        assert_eq!(event["window"]["windows"], json!([window]), "{event}");
        let opens = event["window"]["opens"].as_str().unwrap();
        assert!(
            opens.ends_with(&format!("{} (UTC)", &window[..8])),
            "{event}"
        );
        assert_eq!(event["window"]["waited_ms"], 0, "{event}");
    });
}
