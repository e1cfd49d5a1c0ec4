//! Clients' byte streams are played to the server directly and through the proxy, cut in two at every offset: the
//! server's bytes are the same. No stream changes a schema; each leaves everything as it was, so that it can be played
//! again.

use std::thread;
use std::time::Duration;

use crate::harness::{Proxy, database, limited, place, shared};
use crate::wire::{
    Frame, Wire, b, c, copy_data, copy_done, copy_fail, d, e, function_call, h, p, pbe, q, q_bytes,
    s, startup,
};

/// Between the two parts, so that they aren't read at once.
const PAUSE: Duration = Duration::from_micros(300);

/// A stream's name, its bytes, and how many ReadyForQuery answer it.
type Stream = (&'static str, Vec<u8>, usize);

/// Plays a stream in two parts.
fn play(wire: &mut Wire, stream: &[u8], cut: usize, readies: usize) -> Vec<String> {
    wire.send(&stream[..cut]);
    thread::sleep(PAUSE);
    wire.send(&stream[cut..]);
    let frames = (0..readies).flat_map(|_| wire.until_ready());
    frames.map(|frame| frame.show()).collect()
}

fn compare(streams: &[Stream]) {
    let database = database();
    let proxy = Proxy::shared();
    let mut admin = Wire::session(&place(shared()), &database);
    admin.run("CREATE TABLE t(a int PRIMARY KEY, b text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 9) g");
    for (name, stream, readies) in streams {
        let mut direct = Wire::session(&place(shared()), &database);
        let expected = play(&mut direct, stream, stream.len(), *readies);
        assert_eq!(
            expected
                .iter()
                .filter(|frame| frame.starts_with('Z'))
                .count(),
            *readies
        );
        let mut wire = proxy.session(&database);
        let step = stream.len().div_ceil(crate::MAX_CUTS);
        for cut in (0..=stream.len()).step_by(step) {
            let found = play(&mut wire, stream, cut, *readies);
            assert_eq!(found, expected, "{name}, cut at {cut}");
        }
        // Nothing more came than was read, and both sessions are where they were.
        for wire in [&mut direct, &mut wire] {
            let frames = wire.query("SELECT 'the end'");
            let shown: Vec<String> = frames.iter().map(Frame::show).collect();
            assert!(
                shown[1].ends_with("the end") && shown[3] == "Z I",
                "{name}: {shown:?}"
            );
        }
    }
    assert_eq!(proxy.event_words(), [""; 0]);
}

#[test]
fn simple_queries() {
    limited(|| {
        compare(&[
            ("one", q("SELECT 1 AS a, 'x'::text, NULL"), 1),
            ("several", q("SELECT 1; SELECT 2 WHERE false; SELECT 3"), 1),
            ("empty", [q(""), q(" ; -- nothing")].concat(), 2),
            ("syntax error", [q("SELEC 1"), q("SELECT 1")].concat(), 2),
            (
                "error in the middle",
                q("SELECT 1; SELECT 1/0; SELECT 3"),
                1,
            ),
            (
                "failed transaction",
                [
                    q("BEGIN"),
                    q("SELECT 1/0"),
                    q("SELECT 1"),
                    q("COMMIT"),
                    q("COMMIT"),
                ]
                .concat(),
                5,
            ),
            (
                "savepoints",
                [
                    q("BEGIN"),
                    q("SAVEPOINT a"),
                    q("SELECT 1/0"),
                    q("ROLLBACK TO a"),
                    q("UPDATE t SET b = 'y'"),
                    q("ROLLBACK"),
                ]
                .concat(),
                6,
            ),
        ]);
    });
}

#[test]
fn session_statements() {
    limited(|| {
        compare(&[
            (
                "settings that are reported",
                [
                    q("SET client_encoding = 'LATIN1'"),
                    q_bytes(b"SELECT 'caf\xe9'"),
                    q("SET standard_conforming_strings = off"),
                    q("SELECT 'a\\'b'"),
                    q("RESET ALL"),
                ]
                .concat(),
                5,
            ),
            (
                "notices",
                q("DO $$BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END$$"),
                1,
            ),
            (
                "notifications to oneself",
                [
                    q("LISTEN n"),
                    q("NOTIFY n, 'x'"),
                    q("SELECT 1"),
                    q("UNLISTEN n"),
                ]
                .concat(),
                4,
            ),
            (
                "PREPARE, EXECUTE, DEALLOCATE",
                [
                    q("PREPARE n AS SELECT 1"),
                    q("EXECUTE n"),
                    q("DEALLOCATE n"),
                    q("EXECUTE n"),
                ]
                .concat(),
                4,
            ),
            (
                "cursors",
                q(
                    "BEGIN; DECLARE n CURSOR FOR TABLE t; FETCH 2 FROM n; MOVE 1 FROM n; CLOSE n; COMMIT",
                ),
                1,
            ),
            (
                "unreadable",
                [
                    q_bytes(b"SELECT '\xff'"),
                    q_bytes(b"SELECT 1\0SELECT 2"),
                    q("SELECT 1"),
                ]
                .concat(),
                3,
            ),
            (
                "function call",
                [function_call(177, &["40", "2"]), function_call(1, &[])].concat(),
                2,
            ),
        ]);
    });
}

#[test]
fn extended_queries() {
    limited(|| {
        let describe = |sql| [p("", sql), b("", "", &[]), d(b'P', ""), e("", 0), s()].concat();
        compare(&[
            ("unnamed", describe("SELECT 1 AS a, 'x'::text, NULL"), 1),
            ("no rows", describe("SELECT 1 WHERE false"), 1),
            ("no result", describe("SET work_mem = '4MB'"), 1),
            ("empty", [describe(""), s(), s()].concat(), 3),
            (
                "names, describe, portals with row limit",
                [
                    p("n", "SELECT a, $1::text FROM t ORDER BY a"),
                    d(b'S', "n"),
                    s(),
                    b("o", "n", &["v"]),
                    d(b'P', "o"),
                    e("o", 2),
                    e("o", 3),
                    h(),
                    e("o", 0),
                    c(b'P', "o"),
                    c(b'S', "n"),
                    c(b'S', "never"),
                    s(),
                ]
                .concat(),
                2,
            ),
        ]);
    });
}

#[test]
fn failures_in_batches() {
    limited(|| {
        compare(&[
            (
                "error inside a pipeline",
                [
                    pbe("SELECT 1"),
                    pbe("SELECT 1/0"),
                    pbe("SELECT 3"),
                    q("SELECT 4"),
                    h(),
                    s(),
                    pbe("SELECT 5"),
                    s(),
                ]
                .concat(),
                2,
            ),
            (
                "errors in Parse, Bind, Describe, Close",
                [
                    p("", "SELEC"),
                    s(),
                    b("", "nowhere", &[]),
                    e("", 0),
                    s(),
                    d(b'S', "nowhere"),
                    s(),
                    d(b'P', "nowhere"),
                    s(),
                    e("nowhere", 0),
                    s(),
                    p("", "SELECT $1::int"),
                    b("", "", &["x"]),
                    e("", 0),
                    s(),
                ]
                .concat(),
                6,
            ),
            (
                "a name twice",
                [
                    p("n", "SELECT 1"),
                    p("n", "SELECT 2"),
                    s(),
                    c(b'S', "n"),
                    s(),
                ]
                .concat(),
                2,
            ),
        ]);
    });
}

#[test]
fn transactions_in_batches() {
    limited(|| {
        compare(&[
            (
                "Query in a batch that isn't synced",
                [pbe("SELECT 1"), q("SELECT 2"), s(), q("SELECT 3")].concat(),
                3,
            ),
            (
                "a failed transaction",
                [
                    pbe("BEGIN"),
                    s(),
                    pbe("SELECT 1/0"),
                    s(),
                    pbe("SELECT 1"),
                    s(),
                    pbe("COMMIT"),
                    s(),
                ]
                .concat(),
                4,
            ),
            (
                "a transaction in a batch",
                [
                    pbe("BEGIN"),
                    pbe("UPDATE t SET b = 'y'"),
                    pbe("ROLLBACK"),
                    s(),
                ]
                .concat(),
                1,
            ),
            ("Flush alone", [h(), h(), s()].concat(), 1),
        ]);
    });
}

#[test]
fn copies() {
    limited(|| {
        let rows = [
            copy_data(b"100\tQ\n101"),
            copy_data(b"\tP\n"),
            copy_data(b""),
        ]
        .concat();
        let begin = || q("BEGIN");
        let rollback = || q("ROLLBACK");
        compare(&[
            (
                "out",
                q("COPY (SELECT a, b FROM t ORDER BY a) TO STDOUT"),
                1,
            ),
            (
                "out, extended",
                [pbe("COPY (SELECT a FROM t ORDER BY a) TO STDOUT"), s()].concat(),
                1,
            ),
            (
                "in",
                [
                    begin(),
                    q("COPY t FROM STDIN"),
                    rows.clone(),
                    copy_done(),
                    q("SELECT count(*) FROM t"),
                    rollback(),
                ]
                .concat(),
                4,
            ),
            (
                "in, extended",
                [
                    begin(),
                    pbe("COPY t FROM STDIN"),
                    rows.clone(),
                    copy_done(),
                    s(),
                    rollback(),
                ]
                .concat(),
                3,
            ),
            (
                "in, extended, with Sync and Flush in the middle",
                [
                    begin(),
                    pbe("COPY t FROM STDIN"),
                    s(),
                    h(),
                    rows.clone(),
                    copy_done(),
                    s(),
                    rollback(),
                ]
                .concat(),
                3,
            ),
        ]);
    });
}

#[test]
fn copies_that_fail() {
    limited(|| {
        let rows = [
            copy_data(b"100\tQ\n101"),
            copy_data(b"\tP\n"),
            copy_data(b""),
        ]
        .concat();
        compare(&[
            (
                "CopyFail",
                [
                    q("COPY t FROM STDIN"),
                    rows.clone(),
                    copy_fail("enough"),
                    q("SELECT 1"),
                ]
                .concat(),
                2,
            ),
            (
                "an error while the client goes on",
                [
                    q("COPY t FROM STDIN"),
                    copy_data(b"x\n"),
                    rows,
                    copy_done(),
                    q("SELECT 1"),
                ]
                .concat(),
                2,
            ),
            (
                "between other statements",
                [
                    q("BEGIN; COPY t FROM STDIN; SELECT count(*) FROM t; ROLLBACK"),
                    copy_data(b"100\tQ\n"),
                    copy_done(),
                ]
                .concat(),
                1,
            ),
        ]);
    });
}

#[test]
fn long_messages() {
    limited(|| {
        let long = "abc'' ;--\n".repeat(20_000);
        compare(&[
            ("a long text", q(&format!("SELECT length('{long}')")), 1),
            (
                "a long parameter",
                [p("", "SELECT $1::text"), b("", "", &[&long]), e("", 0), s()].concat(),
                1,
            ),
            (
                "a long name",
                [
                    p(&"n".repeat(9000), "SELECT 1"),
                    b("", &"n".repeat(9000), &[]),
                    e("", 0),
                    c(b'S', &"n".repeat(9000)),
                    s(),
                ]
                .concat(),
                1,
            ),
            ("many messages", q("SELECT 1").repeat(500), 500),
        ]);
    });
}

#[test]
fn the_start_up_cut_anywhere() {
    limited(|| {
        let database = database();
        let proxy = Proxy::shared();
        let packet = [
            startup(&[
                ("user", "postgres"),
                ("database", &database),
                ("application_name", "cut"),
            ]),
            q("SELECT 1"),
        ]
        .concat();
        let play = |wire: &mut Wire, cut: usize| -> Vec<String> {
            let frames: Vec<Frame> = {
                wire.send(&packet[..cut]);
                thread::sleep(PAUSE);
                wire.send(&packet[cut..]);
                (0..2).flat_map(|_| wire.until_ready()).collect()
            };
            let frames = frames.iter().filter(|frame| frame.tag != b'K');
            frames.map(Frame::show).collect()
        };
        let expected = play(&mut Wire::connect(&place(shared())), packet.len());
        for cut in 1..=packet.len() {
            let found = play(&mut Wire::connect(proxy.place()), cut);
            assert_eq!(found, expected, "cut at {cut}");
        }
    });
}
