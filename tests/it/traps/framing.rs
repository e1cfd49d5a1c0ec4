//! Frames: what a client may send in one, and what comes of one that is made wrong.

use super::{Case, alike};
use crate::harness::{Proxy, limited, place, shared};
use crate::wire::{Frame, Wire, b, c, d, e, frame, h, p, pbe, q, q_bytes, s, sqlstate, tags, x};

/// Each case as it is, and in a session that knows a schema change by name: it looks at Bind, Execute and Close, too.
fn with_and_without_a_name(cases: &[Case]) -> Vec<Case> {
    let named = [p("n", "COMMENT ON TABLE base IS 'x'"), s()].concat();
    let both = |(name, sent): &Case| {
        let after = [named.clone(), sent.clone()].concat();
        [(*name, sent.clone()), (*name, after)]
    };
    cases.iter().flat_map(both).collect()
}

#[test]
fn texts_that_are_made_wrong() {
    limited(|| {
        let ddl = "CREATE TABLE t(a int)";
        let unended = frame(b'Q', ddl.as_bytes());
        let behind_nul = q_bytes(b"SELECT 1\0CREATE TABLE t(a int)");
        let parse_that_lies = frame(b'P', b"\0CREATE TABLE t(a int)\0\0\x07");
        let cases = [
            ("Query without NUL", unended),
            ("Query with more behind its NUL", behind_nul),
            ("Query without a body", frame(b'Q', b"")),
            ("Parse without a body", frame(b'P', b"")),
            ("Parse without a text", frame(b'P', b"n\0")),
            (
                "Parse without a text's NUL",
                frame(b'P', b"n\0CREATE TABLE t(a int)"),
            ),
            (
                "Parse that counts types it hasn't",
                [parse_that_lies, b("", "", &[]), e("", 0)].concat(),
            ),
            (
                "Parse with bytes behind it",
                frame(b'P', b"\0SELECT 1\0\0\0more"),
            ),
        ];
        alike(&with_and_without_a_name(&cases));
    });
}

#[test]
fn messages_that_are_made_wrong() {
    limited(|| {
        let cases = [
            (
                "Bind cut short",
                [p("", "SELECT 1"), frame(b'B', b"\0")].concat(),
            ),
            (
                "Bind without a count",
                [p("", "SELECT 1"), frame(b'B', b"\0\0")].concat(),
            ),
            (
                "Bind with a length beyond the message",
                [
                    p("", "SELECT $1::text"),
                    frame(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xffx\0\0"),
                ]
                .concat(),
            ),
            (
                "Bind with a negative count",
                [p("", "SELECT 1"), frame(b'B', b"\0\0\xff\xff")].concat(),
            ),
            (
                "Execute cut short",
                [p("", "SELECT 1"), b("", "", &[]), frame(b'E', b"\0\0")].concat(),
            ),
            (
                "Execute with bytes behind it",
                [pbe("SELECT 1"), frame(b'E', b"\0\0\0\0\0x")].concat(),
            ),
            ("Describe of nothing", frame(b'D', b"")),
            ("Describe of neither statement nor portal", d(b'X', "n")),
            ("Close of neither statement nor portal", c(b'X', "n")),
            ("Close cut short", frame(b'C', b"S")),
            ("Flush with a body", frame(b'H', b"x")),
            ("Sync with a body", frame(b'S', b"x")),
            ("FunctionCall cut short", frame(b'F', b"\0\0")),
            (
                "CopyData, CopyDone and CopyFail out of place",
                [
                    frame(b'd', b"x"),
                    frame(b'c', b""),
                    frame(b'f', b"x\0"),
                    frame(b'd', b""),
                ]
                .concat(),
            ),
            (
                "what looks like frames inside one",
                q(std::str::from_utf8(&q("SELECT 2")[..5]).unwrap_or("Q")),
            ),
        ];
        alike(&with_and_without_a_name(&cases));
    });
}

#[test]
fn messages_of_types_that_are_none() {
    limited(|| {
        let types = [b'?', b'p', b'R', b'Z', b'q', 0, 0xff];
        let cases: Vec<_> = types
            .iter()
            .map(|tag| ("a type that is none", frame(*tag, b"x")))
            .collect();
        alike(&cases);
    });
}

/// The server hangs up without a word; lockkeeper says why, and hangs up.
#[test]
fn lengths_that_the_server_refuses() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut bystander = proxy.session("postgres");
        let small: Vec<Vec<u8>> = b"XCDEHScf"
            .iter()
            .map(|tag| frame(*tag, &[b'x'; 10_001]))
            .collect();
        let lengths = [0u32, 3, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];
        let bad = lengths.iter().flat_map(|length| {
            b"QPBSEd".iter().map(|tag| {
                let mut bytes = vec![*tag];
                bytes.extend(length.to_be_bytes());
                bytes.extend(b"and more");
                bytes
            })
        });
        for sent in small.into_iter().chain(bad) {
            let what = sent[..5].escape_ascii().to_string();
            let mut direct = Wire::session(&place(shared()), "postgres");
            direct.send(&sent);
            assert_eq!(tags(&direct.until_end()), "", "{what}");
            let mut wire = proxy.session("postgres");
            wire.send(&sent);
            let found = wire.until_end();
            assert!(
                matches!(tags(&found).as_str(), "" | "E"),
                "{what}: {found:?}"
            );
            assert!(
                matches!(sqlstate(&found).as_str(), "" | "08P01" | "57P01"),
                "{what}"
            );
        }
        bystander.run("SELECT 1");
    });
}

#[test]
fn long_messages_of_the_server() {
    limited(|| {
        // Longer than what libpq takes of most types, and than what lockkeeper looks at.
        let notice = "DO $$BEGIN RAISE NOTICE '%', repeat('n', 100000); END$$";
        let error =
            "DO $$BEGIN RAISE EXCEPTION '%', repeat('e', 100000) USING ERRCODE = 'ZZ999'; END$$";
        let name = "x".repeat(70_000);
        alike(&[
            ("a notice", q(notice)),
            ("an error", q(error)),
            (
                "an error in a batch",
                [pbe(error), pbe("SELECT 1"), s()].concat(),
            ),
            ("a setting", q(&format!("SET application_name = '{name}'"))),
            ("a row", q("SELECT repeat('r', 3000000)")),
            (
                "many columns",
                q(&format!("SELECT {}", vec!["1"; 1600].join(","))),
            ),
            (
                "a notification",
                q("LISTEN n; SELECT pg_notify('n', repeat('p', 7999))"),
            ),
        ]);
    });
}

#[test]
fn a_frame_is_read_by_its_length_and_not_by_where_a_read_begins() {
    limited(|| {
        // Each byte of a long message looks like the type of another one.
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        for letter in ["X", "Q", "P", "S", "E", "d"] {
            let long = letter.repeat(300_000);
            let frames = wire.query(&format!("SELECT length('{long}')"));
            assert_eq!(tags(&frames), "TDCZ", "{letter}");
            let batch = [
                p("", "SELECT length($1)"),
                b("", "", &[&long]),
                h(),
                e("", 0),
                s(),
            ];
            assert_eq!(tags(&wire.ask(&batch.concat())), "12DCZ", "{letter}");
        }
        wire.send(&x());
        assert_eq!(wire.until_end(), Vec::<Frame>::new());
    });
}
