//! What hurts a proxy that holds statements: errors in the middle of a batch, cancel requests at the worst
//! moment, malformed messages, names of other databases, and texts that are long or deep.

use bytesize::ByteSize;

use crate::harness::{Proxy, database, event_words, eventually, limited, place, shared, value};
use crate::wire::{
    Frame, Wire, b, cancel_request, column, commands, e, h, p, pbe, q, s, sqlstate, tags,
};

/// A proxy for which no table is small.
fn proxy() -> Proxy {
    Proxy::start(shared(), |config, _| {
        config.guard.small_table = ByteSize::b(0);
    })
}

/// A session directly at the server.
fn direct(database: &str) -> Wire {
    Wire::session(&place(shared()), database)
}

/// A database with `t(a, b)` and its index `ix`.
fn with_table() -> String {
    let database = database();
    let mut wire = direct(&database);
    wire.run("CREATE TABLE t(a int PRIMARY KEY, b text); CREATE INDEX ix ON t(b)");
    wire.run("INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g");
    database
}

/// A session in a transaction that has read `t`.
fn reader(database: &str) -> Wire {
    let mut wire = direct(database);
    wire.run("BEGIN");
    wire.run("SELECT FROM t LIMIT 1");
    wire
}

/// Waits until a session's statement waits for a lock, or for somebody's transaction.
fn until_it_waits(pid: u32, statement: &str) {
    let mut admin = direct("postgres");
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'
         AND wait_event_type = 'Lock' AND query ILIKE '{statement}%'"
    );
    eventually(&format!("{statement} waits"), || admin.value(&sql) == "1");
}

fn cancel(proxy: &Proxy, wire: &Wire) {
    let mut cancel = Wire::connect(proxy.place());
    cancel.send(&cancel_request(&wire.key));
    assert_eq!(cancel.until_end(), []);
}

/// Frames up to an error, or to the end of the answer.
fn until_error(wire: &mut Wire) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = wire.next() {
        let is_last = matches!(frame.tag, b'E' | b'Z');
        frames.push(frame);
        if is_last {
            break;
        }
    }
    frames
}

/// Reads up to where lockkeeper says that it finishes a drop.
fn until_half_dropped(wire: &mut Wire) {
    loop {
        let frame = wire.next().unwrap();
        assert!(frame.is_lockkeepers_notice(), "{frame:?}");
        if frame.field(b'M').contains("half dropped") {
            break;
        }
    }
}

/// What a client sees, without what lockkeeper itself says.
fn show(frames: &[Frame]) -> Vec<String> {
    let frames = frames.iter().filter(|frame| !frame.is_lockkeepers_notice());
    frames.map(Frame::show).collect()
}

/// The error among frames.
fn error(frames: &[Frame]) -> &Frame {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.unwrap_or_else(|| panic!("no error: {frames:?}"))
}

/// Runs the same directly and through the proxy, each in a database of its own with `t`.
fn compare<T: PartialEq + std::fmt::Debug>(what: &str, mut play: impl FnMut(&mut Wire) -> T) -> T {
    let proxy = proxy();
    let expected = play(&mut direct(&with_table()));
    let found = play(&mut proxy.session(&with_table()));
    assert_eq!(found, expected, "{what}");
    found
}

const INVALID: &str = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
const INDEX: &str = "CREATE INDEX ON t(b)";
const INDEXES: &str = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass";

#[test]
fn an_error_that_arrives_before_the_rest_of_its_batch() {
    limited(|| {
        let failing = [
            ("Bind", [p("", INDEX), b("", "", &["1"]), h()].concat(), ""),
            (
                "Bind, named",
                [p("n", INDEX), b("", "n", &["1"]), h()].concat(),
                "n",
            ),
            (
                "Parse over it",
                [p("", INDEX), p("", "SELEC 1"), h()].concat(),
                "",
            ),
        ];
        let rests: [&[Vec<u8>]; 3] = [
            &[[e("", 0), s()].concat()],
            &[e("", 0), s()],
            &[b("", "", &[]), [e("", 0), h()].concat(), s()],
        ];
        for (name, first, statement) in &failing {
            for rest in rests {
                let what = format!("{name}, {} messages later", rest.len());
                let seen = compare(&what, |wire| {
                    wire.send(first);
                    let mut seen = show(&until_error(wire));
                    for bytes in rest {
                        wire.send(bytes);
                        std::thread::yield_now();
                    }
                    let ready = wire.until_ready();
                    assert_eq!(tags(&ready), "Z", "{what}: {ready:?}");
                    assert_eq!(wire.value("SELECT 7"), "7");
                    assert_eq!(wire.value(INDEXES), "2");
                    let again = [b("", statement, &[]), e("", 0), s()].concat();
                    seen.extend(show(&wire.ask(&again)));
                    seen.push(wire.value(INDEXES));
                    seen
                });
                assert!(seen.iter().any(|frame| frame.starts_with('E')), "{seen:?}");
            }
        }
    });
}

#[test]
fn a_cancelled_drop_is_finished_and_said() {
    limited(|| {
        let proxy = proxy();
        let database = with_table();
        let there = "SELECT count(*) FROM pg_class WHERE relname = 'ix'";
        let mut wire = proxy.session(&database);
        let mut outcomes = Vec::new();
        for is_seen in [true, false] {
            let holder = reader(&database);
            wire.send(&q("DROP INDEX ix"));
            until_it_waits(wire.pid(), "DROP INDEX CONCURRENTLY");
            cancel(&proxy, &wire);
            if is_seen {
                until_half_dropped(&mut wire);
            }
            drop(holder);
            let frames = wire.until_ready();
            assert_eq!(commands(&frames), ["DROP INDEX"], "{frames:?}");
            assert_eq!(sqlstate(&frames), "", "{frames:?}");
            assert_eq!(value(&database, there), "0");
            assert_eq!(value(&database, INVALID), "0");
            assert_eq!(wire.value("SELECT 7"), "7");
            wire.run("CREATE INDEX ix ON t(b)");
            outcomes.extend(["DROP INDEX done", "CREATE INDEX done"]);
        }

        let holder = reader(&database);
        wire.send(&q("DROP INDEX ix"));
        until_it_waits(wire.pid(), "DROP INDEX CONCURRENTLY");
        cancel(&proxy, &wire);
        until_half_dropped(&mut wire);
        until_it_waits(wire.pid(), "DROP INDEX CONCURRENTLY");
        cancel(&proxy, &wire);
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        let detail = error(&frames).field(b'D');
        let command = "DROP INDEX CONCURRENTLY public.ix";
        assert!(detail.contains(command), "{detail:?}");
        assert_eq!(value(&database, INVALID), "1");
        drop(holder);
        assert_eq!(commands(&wire.query("DROP INDEX ix")), ["DROP INDEX"]);
        assert_eq!(value(&database, there), "0");
        outcomes.extend(["DROP INDEX failed", "DROP INDEX done"]);
        assert_eq!(proxy.event_words(), outcomes);
    });
}

#[test]
fn a_cancelled_rebuild_leaves_no_copies() {
    limited(|| {
        let proxy = proxy();
        let database = with_table();
        let of_t = "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             JOIN pg_class t ON t.oid = 't'::regclass WHERE i.indrelid IN (t.oid, t.reltoastrelid)";
        let copies = format!("SELECT count(*) {of_t} AND c.relname ~ '_cc(new|old)[0-9]*$'");
        let valid = format!("SELECT count(*) || ' ' || bool_and(indisvalid) {of_t}");
        assert_eq!(value(&database, &valid), "3 true");
        let mut wire = proxy.session(&database);
        let holder = reader(&database);
        wire.send(&q("REINDEX TABLE t"));
        let replaced = format!("SELECT count(*) {of_t} AND c.relname LIKE '%\\_ccold%'");
        let mut admin = direct(&database);
        eventually("the old ones wait to be dropped", || {
            admin.value(&replaced) == "3"
        });
        until_it_waits(wire.pid(), "REINDEX TABLE CONCURRENTLY");
        cancel(&proxy, &wire);
        until_it_waits(wire.pid(), "DROP INDEX CONCURRENTLY");
        drop(holder);
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
        assert_eq!(value(&database, &copies), "0", "{frames:?}");
        assert_eq!(value(&database, &valid), "3 true");
        assert_eq!(wire.value("SELECT 7"), "7");
        assert_eq!(commands(&wire.query("REINDEX TABLE t")), ["REINDEX"]);
        assert_eq!(value(&database, &copies), "0");
    });
}

#[test]
fn another_databases_name_drops_nothing() {
    limited(|| {
        for (sql, code) in [
            ("DROP INDEX otherdb.public.ix", "0A000"),
            ("DROP INDEX IF EXISTS otherdb.public.ix", "0A000"),
            ("DROP INDEX CONCURRENTLY otherdb.public.ix", "0A000"),
            ("REINDEX INDEX otherdb.public.ix", "0A000"),
            ("REINDEX TABLE otherdb.public.t", "0A000"),
            ("CREATE INDEX ON otherdb.public.t(a)", "0A000"),
        ] {
            for message in [q(sql), [pbe(sql), s()].concat()] {
                compare(sql, |wire| {
                    let frames = wire.ask(&message);
                    assert_eq!(sqlstate(&frames), code, "{sql}: {frames:?}");
                    assert_eq!(wire.value(INDEXES), "2", "{sql}");
                    show(&frames)
                });
            }
        }
    });
}

#[test]
fn reindex_of_catalogs_and_exclusion_constraints() {
    limited(|| {
        let proxy = proxy();
        let database = with_table();
        let mut wire = proxy.session(&database);
        for sql in [
            "REINDEX TABLE pg_class",
            "REINDEX INDEX pg_class_oid_index",
            "REINDEX TABLE pg_catalog.pg_class",
        ] {
            let frames = wire.query(sql);
            assert_eq!(commands(&frames), ["REINDEX"], "{sql}: {frames:?}");
        }
        wire.run("CREATE TABLE ex(c circle, d int UNIQUE, EXCLUDE USING gist(c WITH &&))");
        let nodes = "SELECT string_agg(relfilenode::text, ' ' ORDER BY relname) FROM pg_class
             JOIN pg_index ON indexrelid = oid WHERE indrelid = 'ex'::regclass";
        let before = value(&database, nodes);
        let frames = wire.query("REINDEX TABLE ex");
        assert_eq!(commands(&frames), ["REINDEX"], "{frames:?}");
        let mut notices = frames.iter().filter(|frame| frame.tag == b'N');
        assert!(
            notices.all(|frame| frame.field(b'V') != "WARNING"),
            "{frames:?}"
        );
        let after = value(&database, nodes);
        let pairs: Vec<_> = before.split(' ').zip(after.split(' ')).collect();
        assert_eq!(pairs.len(), 2, "{pairs:?}");
        assert!(pairs.iter().all(|(old, new)| old != new), "{pairs:?}");
        assert_eq!(value(&database, INVALID), "0");
    });
}

#[test]
fn the_clients_own_statement_timeout_bounds_waiting() {
    limited(|| {
        let proxy = proxy();
        let database = with_table();
        let holder = reader(&database);
        let mut wire = proxy.session(&database);
        wire.run("SET statement_timeout = '700ms'");
        let alter = "ALTER TABLE t ADD COLUMN z int";
        for message in [q(alter), [pbe(alter), s()].concat()] {
            let frames = wire.ask(&message);
            assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
            let text = error(&frames).field(b'M');
            assert_eq!(text, "canceling statement due to statement timeout");
            assert_eq!(wire.value("SHOW statement_timeout"), "700ms");
            assert_eq!(wire.value("SHOW lock_timeout"), "0");
        }
        drop(holder);
        assert_eq!(commands(&wire.query(alter)), ["ALTER TABLE"]);
    });
}

#[test]
fn a_cancel_is_answered_with_57014() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize::b(0);
            config.operator.url = Some(String::new()); // it asks without looking
        });
        let database = with_table();
        let holder = reader(&database);
        let mut wire = proxy.session(&database);
        let mut admin = direct("postgres");
        let alter = "ALTER TABLE t ADD COLUMN z int";
        let between = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {} AND query = 'ROLLBACK'",
            wire.pid()
        );
        for _ in 0..5 {
            for inside in [true, false] {
                wire.send(&q(alter));
                if inside {
                    until_it_waits(wire.pid(), "LOCK TABLE");
                } else {
                    eventually("a try has failed", || admin.value(&between) == "1");
                }
                cancel(&proxy, &wire);
                let frames = wire.until_ready();
                assert_eq!(sqlstate(&frames), "57014", "inside {inside}: {frames:?}");
                let text = error(&frames).field(b'M');
                assert_eq!(text, "canceling statement due to user request");
                assert_eq!(wire.value("SHOW lock_timeout"), "0");
            }
        }
        drop(holder);
        assert_eq!(commands(&wire.query(alter)), ["ALTER TABLE"]);
    });
}

/// A frame that needn't be well-formed.
fn raw(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

#[test]
fn a_malformed_execute_runs_nothing() {
    limited(|| {
        let malformed = [
            ("2 bytes missing", raw(b'E', b"\0\0\0")),
            ("no limit", raw(b'E', b"\0")),
            ("no end of the name", raw(b'E', b"abcd")),
            ("nothing", raw(b'E', b"")),
            ("trailing bytes", raw(b'E', b"\0\0\0\0\0xy")),
            ("a trailing NUL", raw(b'E', b"\0\0\0\0\0\0")),
        ];
        for (name, execute) in malformed {
            let batch = [p("", INDEX), b("", "", &[]), execute, s()].concat();
            compare(name, |wire| {
                let frames = wire.ask(&batch);
                assert_eq!(sqlstate(&frames), "08P01", "{name}: {frames:?}");
                assert_eq!(wire.value(INDEXES), "2", "{name}");
                show(&frames)
            });
        }
    });
}

#[test]
fn a_query_destroys_the_unnamed_statement() {
    limited(|| {
        let again = [b("", "", &[]), e("", 0), s()].concat();
        for (prepared, sql) in [
            ("SELECT 1", "CREATE INDEX fresh ON t(b)"),
            ("SELECT 1", "CREATE INDEX ix ON t(b)"),
            ("SELECT 1", "DROP INDEX ix"),
            ("SELECT 1", "REINDEX TABLE t"),
            ("SELECT 1", "ALTER TABLE t ADD COLUMN z int"),
            ("CREATE INDEX other ON t(b)", "CREATE INDEX fresh ON t(b)"),
            ("CREATE INDEX other ON t(b)", "SELECT 1"),
        ] {
            compare(&format!("{prepared}; {sql}"), |wire| {
                let mut seen = show(&wire.ask(&[p("", prepared), s()].concat()));
                seen.extend(show(&wire.query(sql)));
                let frames = wire.ask(&again);
                assert_eq!(sqlstate(&frames), "26000", "{prepared}; {sql}: {frames:?}");
                seen.extend(show(&frames));
                seen.push(wire.value(INDEXES));
                seen
            });
        }
    });
}

#[test]
fn deeply_nested_comments_delay_nobody() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.runtime.threads = 1;
            config.guard.small_table = ByteSize::b(0);
        });
        let database = database();
        let mut attacker = proxy.session(&database);
        let mut other = proxy.session(&database);
        let (open, close) = ("/*".repeat(7000), "*/".repeat(7000));
        let text = format!("{open}{close} CREATE TABLE x(a int) {open}{close}");
        attacker.send(&q(&text));
        assert_eq!(other.value("SELECT 1"), "1");
        let frames = attacker.until_ready();
        assert_eq!(commands(&frames), ["CREATE TABLE"], "{frames:?}");
        let unclosed = format!("{open} CREATE TABLE y(a int)");
        attacker.send(&q(&unclosed));
        assert_eq!(other.value("SELECT 1"), "1");
        assert_eq!(sqlstate(&attacker.until_ready()), "42601");
        let swallowed = format!("{open} CREATE TABLE y(a int) {close}");
        attacker.send(&[q(&swallowed), [pbe(&swallowed), s()].concat()].concat());
        assert_eq!(other.value("SELECT 1"), "1");
        assert_eq!(tags(&attacker.until_ready()), "IZ");
        assert_eq!(tags(&attacker.until_ready()), "12IZ");
        let events = proxy.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(event_words(&events[0]), "CREATE TABLE done");
    });
}

#[test]
fn a_long_text_passes() {
    const MB: usize = 1 << 20;
    limited(|| {
        let proxy = proxy();
        let mut wire = proxy.session(&database());
        let ask = |wire: &mut Wire, before: &str, length: usize, after: &str| {
            let message = q(&format!("{before}{}{after}", "x".repeat(length)));
            for chunk in message.chunks(MB) {
                wire.send(chunk);
            }
            wire.until_ready()
        };
        let frames = ask(&mut wire, "SELECT length('", 100 * MB, "')");
        assert_eq!(column(&frames), [(100 * MB).to_string()], "{frames:?}");
        let create = "CREATE TABLE t9 AS SELECT length('";
        let frames = ask(&mut wire, create, 20 * MB, "') AS n");
        assert_eq!(commands(&frames), ["SELECT 1"], "{frames:?}");
        assert_eq!(wire.value("SELECT n FROM t9"), (20 * MB).to_string());
        let events = proxy.events();
        assert_eq!(events.len(), 1, "{events:?}");
        let words = "CREATE TABLE done: the text is longer than guard.max_text";
        assert_eq!(event_words(&events[0]), words);
    });
}
