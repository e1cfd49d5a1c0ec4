//! Texts that hide a schema change from a careless reader: what the server does with each through the proxy is what it
//! does directly, and the audit log has the events that it should, no more and no fewer.

use super::{query, spring, trap};
use crate::harness::{Proxy, database, limited, place, shared, value};
use crate::wire::{Wire, b, d, e, function_call, p, pbe, q, q_bytes, s, tags};

#[test]
fn comments_blanks_and_case() {
    limited(|| {
        spring(&[
            query("-- x\rCREATE TABLE t(a int)", &["CREATE TABLE done"]),
            query("/* /* */ */ create table t(a int)", &["CREATE TABLE done"]),
            query("/* /* */ create table t(a int) */", &[]),
            query("-- create table t(a int)", &[]),
            query("; ;create table t(a int)", &["CREATE TABLE done"]),
            query("\x0c\t\r\ncreate table t(a int);;", &["CREATE TABLE done"]),
            query("create/**/table t(a int)", &["CREATE TABLE done"]),
            query("CrEaTe--\nTaBlE t(a int)", &["CREATE TABLE done"]),
            query(
                "SELECT 1 /* ; */; CREATE TABLE t(a int) --;",
                &["CREATE TABLE done"],
            ),
            query("SELECT '; create table t(a int)'", &[]),
            query("SELECT $x$ ; create table t(a int) $$ $x$", &[]),
            query(
                "SELECT \"; create table t\" FROM (SELECT 1) x(\"; create table t\")",
                &[],
            ),
            query("SELECT E'\\'; create table t(a int); --'", &[]),
            query(
                "SELECT 'a\\'; CREATE TABLE t(a int); --'",
                &["CREATE TABLE done"],
            ),
            query("SELECT U&'\\0061' UESCAPE '\\'; SELECT 1", &[]),
            query(
                "create table t(a int) -- no end of line",
                &["CREATE TABLE done"],
            ),
            query("\u{feff}CREATE TABLE t(a int)", &[]),
            query("\u{a0}CREATE TABLE t(a int)", &[]),
            query(
                "create schema s create table s.t(a int)",
                &["CREATE SCHEMA done"],
            ),
        ]);
    });
}

#[test]
fn several_statements_in_one_query() {
    limited(|| {
        const SEVERAL: &str = "CREATE TABLE committed: several statements in one query";
        const DONE: &str = "CREATE TABLE done";
        const FAILED: &str = "CREATE TABLE failed";
        spring(&[
            query(
                "CREATE TABLE t(a int); CREATE TABLE u(a int)",
                &[DONE, DONE],
            ),
            query(
                "CREATE TABLE t(a int); SELECT 1/0; CREATE TABLE u(a int)",
                &[FAILED, FAILED],
            ),
            query("BEGIN; CREATE TABLE t(a int); COMMIT", &[SEVERAL]),
            query(
                "BEGIN; CREATE TABLE t(a int); ROLLBACK",
                &["CREATE TABLE rolled back: several statements in one query"],
            ),
            trap(
                "a syntax error behind a schema change",
                vec![(q("CREATE TABLE t(a int); SELEC"), 1)],
                // Nothing runs; but it was attempted, as far as can be read.
                &["CREATE TABLE failed: several statements in one query"],
            ),
            trap(
                "in a transaction block",
                vec![
                    (q("BEGIN"), 1),
                    (q("CREATE TABLE t(a int)"), 1),
                    (q("COMMIT"), 1),
                ],
                &["CREATE TABLE committed: in a transaction"],
            ),
            trap(
                "behind COPY in one text",
                vec![(
                    [
                        q("COPY base FROM STDIN; CREATE TABLE t(a int)"),
                        crate::wire::copy_data(b"7\n"),
                        crate::wire::copy_done(),
                    ]
                    .concat(),
                    1,
                )],
                &[SEVERAL],
            ),
            query("CREATE TABLE base(a int)", &["CREATE TABLE failed"]),
            query("DROP TABLE missing", &["DROP TABLE failed"]),
            query("DROP TABLE IF EXISTS missing", &["DROP TABLE done"]),
        ]);
    });
}

#[test]
fn statements_that_hold_others() {
    limited(|| {
        spring(&[
            query(
                "CREATE TABLE t AS SELECT 1 AS a",
                &["CREATE TABLE AS done: it takes no lock on what exists"],
            ),
            query(
                "CREATE MATERIALIZED VIEW t AS SELECT 1 AS a",
                &["CREATE MATERIALIZED VIEW done: it takes no lock on what exists"],
            ),
            query(
                "SELECT 1 AS a INTO t",
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            query(
                "(SELECT 1 AS a INTO t)",
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            query(
                "WITH x AS (SELECT 1 AS a) SELECT a INTO t FROM x",
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            query(
                "SELECT 1 AS a INTO t UNION SELECT 2",
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            query("SELECT 'into'", &[]),
        ]);
    });
}

#[test]
fn statements_that_explain_or_run_others() {
    limited(|| {
        spring(&[
            query("EXPLAIN (COSTS OFF) CREATE TABLE t AS SELECT 1 AS a", &[]),
            query(
                "EXPLAIN (ANALYZE false, COSTS OFF) CREATE TABLE t AS SELECT 1 AS a",
                &[],
            ),
            query(
                "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) CREATE TABLE t AS SELECT 1 AS a",
                &["EXPLAIN done: it takes no lock on what exists"],
            ),
            query(
                "EXPLAIN (ANALYZE 1, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT 1 AS a INTO t",
                &["EXPLAIN done: it takes no lock on what exists"],
            ),
            query(
                "EXPLAIN (ANALYZE, ANALYZE off, COSTS OFF) CREATE TABLE t AS SELECT 1 AS a",
                &[],
            ),
            query("DO $$BEGIN CREATE TABLE t(a int); END$$", &[]),
            query("DO 'BEGIN CREATE TABLE t(a int); END'", &[]),
            trap(
                "CALL",
                vec![
                    (
                        q("CREATE PROCEDURE r() LANGUAGE SQL AS 'CREATE TABLE t(a int)'"),
                        1,
                    ),
                    (q("CALL r()"), 1),
                ],
                &["CREATE PROCEDURE done"],
            ),
            trap(
                "CREATE RULE and a function's body with semicolons",
                vec![
                    (
                        q(
                            "CREATE FUNCTION f() RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT 1; SELECT 2; END",
                        ),
                        1,
                    ),
                    (
                        q("CREATE RULE r AS ON UPDATE TO base DO ALSO (SELECT 1; SELECT 2)"),
                        1,
                    ),
                ],
                &["CREATE FUNCTION done", "CREATE RULE done"],
            ),
        ]);
    });
}

#[test]
fn names_that_stand_for_statements() {
    limited(|| {
        spring(&[
            trap(
                "PREPARE … SELECT INTO, EXECUTE",
                vec![
                    (q("PREPARE n AS SELECT 1 AS a INTO t"), 1),
                    (q("EXECUTE n"), 1),
                ],
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            trap(
                "PREPARE … SELECT INTO, Bind",
                vec![
                    (q("PREPARE n AS SELECT 1 AS a INTO t"), 1),
                    ([b("", "n", &[]), e("", 0), s()].concat(), 1),
                ],
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            trap(
                "PREPARE, CREATE TABLE AS EXECUTE",
                vec![
                    (q("PREPARE n AS SELECT 1 AS a"), 1),
                    (q("CREATE TABLE t AS EXECUTE n"), 1),
                ],
                &["CREATE TABLE AS done: it takes no lock on what exists"],
            ),
            trap(
                "Parse of a name, EXECUTE",
                vec![
                    ([p("n", "CREATE TABLE t(a int)"), s()].concat(), 1),
                    (q("EXECUTE n"), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "Parse of a name that is taken, and what the name still is",
                vec![
                    ([p("n", "CREATE TABLE t(a int)"), s()].concat(), 1),
                    ([p("n", "SELECT 1"), s()].concat(), 1),
                    ([b("", "n", &[]), e("", 0), s()].concat(), 1),
                ],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn names_that_change_their_meaning() {
    limited(|| {
        spring(&[
            trap(
                "a name that is deallocated and taken again",
                vec![
                    ([p("n", "CREATE TABLE t(a int)"), s()].concat(), 1),
                    (q("DEALLOCATE n"), 1),
                    ([p("n", "SELECT 1"), s()].concat(), 1),
                    ([b("", "n", &[]), e("", 0), s()].concat(), 1),
                ],
                &[],
            ),
            trap(
                "DISCARD ALL forgets names",
                vec![
                    ([p("n", "CREATE TABLE t(a int)"), s()].concat(), 1),
                    (q("DISCARD ALL"), 1),
                    (q("EXECUTE n"), 1),
                ],
                &[],
            ),
            trap(
                "EXPLAIN ANALYZE EXECUTE",
                vec![
                    (q("PREPARE n AS SELECT 1 AS a INTO t"), 1),
                    (
                        q("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) EXECUTE n"),
                        1,
                    ),
                ],
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            trap(
                "an unnamed statement survives Sync",
                vec![
                    (
                        [p("", "CREATE TABLE t(a int)"), d(b'S', ""), s()].concat(),
                        1,
                    ),
                    ([b("", "", &[]), e("", 0), s()].concat(), 1),
                ],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn settings_that_change_how_texts_are_read() {
    limited(|| {
        let hidden = r"SELECT 'a\' /* ' ; CREATE TABLE t(a int); -- */";
        let harmless = r"SELECT 'a\'; CREATE TABLE t(a int); --'";
        spring(&[
            trap(
                "standard_conforming_strings=off by SET",
                vec![
                    (q("SET standard_conforming_strings = off"), 1),
                    (q("SET escape_string_warning = off"), 1),
                    (q(hidden), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "standard_conforming_strings=off, and nothing hidden",
                vec![
                    (q("SET standard_conforming_strings = off"), 1),
                    (q("SET escape_string_warning = off"), 1),
                    (q(harmless), 1),
                ],
                &[],
            ),
            trap(
                "standard_conforming_strings=off by a SET in the same segment",
                vec![(
                    [q("SET standard_conforming_strings = off"), q(hidden)].concat(),
                    2,
                )],
                &["CREATE TABLE done"],
            ),
            trap(
                "standard_conforming_strings=off by an Execute in the same segment",
                vec![(
                    [pbe("SET standard_conforming_strings = off"), s(), q(hidden)].concat(),
                    2,
                )],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn settings_that_change_in_other_ways() {
    limited(|| {
        let hidden = r"SELECT 'a\' /* ' ; CREATE TABLE t(a int); -- */";
        spring(&[
            trap(
                "standard_conforming_strings=off by set_config in the same segment",
                vec![(
                    [
                        q("SELECT set_config('standard_conforming_strings', 'off', false)"),
                        q(hidden),
                    ]
                    .concat(),
                    2,
                )],
                &["CREATE TABLE done"],
            ),
            trap(
                "standard_conforming_strings=off by a DO in the same segment",
                vec![(
                    [
                        q("DO $$BEGIN SET standard_conforming_strings = off; END$$"),
                        q(hidden),
                    ]
                    .concat(),
                    2,
                )],
                &["CREATE TABLE done"],
            ),
            trap(
                "standard_conforming_strings=off within a transaction, pipelined past its end",
                vec![
                    (q("BEGIN; SET standard_conforming_strings = on"), 1),
                    (q("ROLLBACK"), 1),
                    (
                        [
                            q("SET standard_conforming_strings = off"),
                            q("BEGIN; SET LOCAL standard_conforming_strings = on"),
                        ]
                        .concat(),
                        2,
                    ),
                    ([q("COMMIT"), q(hidden)].concat(), 2),
                ],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn encodings() {
    limited(|| {
        let hidden = b"SELECT E'\x95\x5c' ; CREATE TABLE t(a int) --'";
        spring(&[
            trap(
                "SJIS by SET",
                vec![(q("SET client_encoding = 'SJIS'"), 1), (q_bytes(hidden), 1)],
                &["CREATE TABLE committed: several statements in one query"],
            ),
            trap(
                "SJIS by a SET in the same segment",
                vec![(
                    [q("SET client_encoding = 'SJIS'"), q_bytes(hidden)].concat(),
                    2,
                )],
                &["CREATE TABLE committed: several statements in one query"],
            ),
            trap(
                "a name in SJIS",
                vec![
                    (q("SET client_encoding = 'SJIS'"), 1),
                    (q_bytes(b"CREATE TABLE t(\"\x95\x5c\" int)"), 1),
                    (q("SET client_encoding = 'UTF8'"), 1),
                ],
                &["CREATE TABLE passed: its text can't be read for certain"],
            ),
            trap(
                "a name in Latin 1",
                vec![
                    (q("SET client_encoding = 'LATIN1'"), 1),
                    (q_bytes(b"CREATE TABLE \"t\xe4\"(a int)"), 1),
                    (q("SET client_encoding = 'UTF8'"), 1),
                ],
                &["CREATE TABLE passed: its text can't be read for certain"],
            ),
            trap(
                "a name in UTF-8",
                vec![(q("CREATE TABLE \"tä→\"(a int)"), 1)],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn unreadable_texts() {
    limited(|| {
        spring(&[
            query("CREATE TABLE", &["CREATE TABLE failed"]),
            query("ALTER TABLE base FROBNICATE", &["ALTER TABLE failed"]),
            query("FROBNICATE base", &[]),
            trap(
                "invalid UTF-8 in a query",
                vec![(q_bytes(b"SELECT '\xff\xfe'"), 1)],
                &[],
            ),
            trap(
                "a NUL in a query",
                vec![(q_bytes(b"SELECT 1\0CREATE TABLE t(a int)"), 1)],
                &[],
            ),
            trap(
                "a syntax error by Parse",
                vec![(
                    [p("", "CREATE TABLE"), b("", "", &[]), e("", 0), s()].concat(),
                    1,
                )],
                &[],
            ),
            trap(
                "two statements by Parse",
                vec![([pbe("SELECT 1; CREATE TABLE t(a int)"), s()].concat(), 1)],
                &["CREATE TABLE failed: several statements in one query"],
            ),
        ]);
    });
}

#[test]
fn invalid_utf8_in_a_schema_change_is_the_servers_to_refuse() {
    limited(|| {
        let direct = place(shared());
        let database = database();
        let text = q_bytes(b"CREATE TABLE \"t\xff\"(a int)");
        let expected = Wire::session(&direct, &database).ask(&text);
        let proxy = Proxy::shared();
        let found = proxy.session(&database).ask(&text);
        assert_eq!(found, expected);
        assert_eq!(crate::wire::sqlstate(&found), "22021");
    });
}

#[test]
fn deeply_nested_texts() {
    limited(|| {
        let joins = " JOIN base ON true".repeat(60).replace("base", "base AS x");
        let mut numbered = String::new();
        for (number, part) in joins.split(" AS x").enumerate() {
            numbered.push_str(part);
            if number < 60 {
                numbered.push_str(&format!(" AS x{number}"));
            }
        }
        let sum = format!("SELECT 1{}", "+1".repeat(300));
        let nested = format!("{}1{}", "(SELECT ".repeat(80), ")".repeat(80));
        let steps = |sql: String| vec![(q(&sql), 1)];
        spring(&[
            trap(
                "60 JOINs",
                steps(format!("SELECT count(*) FROM base{numbered}")),
                &[],
            ),
            trap(
                "60 JOINs in a view",
                steps(format!(
                    "CREATE VIEW t AS SELECT base.a FROM base{numbered}"
                )),
                &["CREATE VIEW done"],
            ),
            trap("300 terms", steps(sum.clone()), &[]),
            trap(
                "300 terms in a table",
                steps(format!("CREATE TABLE t(a int DEFAULT ({}))", &sum[7..])),
                &["CREATE TABLE done"],
            ),
            trap("80 selects", steps(format!("SELECT {nested}")), &[]),
            trap(
                "80 selects in front of a schema change",
                steps(format!("SELECT {nested}; CREATE TABLE t(a int)")),
                &["CREATE TABLE committed: several statements in one query"],
            ),
            trap(
                "parentheses that the parser itself refuses",
                steps(format!(
                    "SELECT {}1{}",
                    "(".repeat(20_000),
                    ")".repeat(20_000)
                )),
                &[],
            ),
        ]);
    });
}

#[test]
fn schema_changes_that_the_server_makes_itself() {
    limited(|| {
        const MAKE: &str =
            "CREATE FUNCTION make() RETURNS int LANGUAGE SQL AS 'CREATE TABLE t(a int); SELECT 1'";
        spring(&[
            trap(
                "SELECT of a function",
                vec![(q(MAKE), 1), (q("SELECT make()"), 1)],
                &["CREATE FUNCTION done"],
            ),
            trap(
                "WITH",
                vec![(q(MAKE), 1), (q("WITH x AS (SELECT make()) TABLE x"), 1)],
                &["CREATE FUNCTION done"],
            ),
            trap(
                "a trigger",
                vec![
                    (
                        q("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                        $$BEGIN CREATE TABLE t(a int); RETURN NEW; END$$"),
                        1,
                    ),
                    (
                        q(
                            "CREATE TRIGGER g BEFORE INSERT ON base FOR EACH ROW EXECUTE FUNCTION f()",
                        ),
                        1,
                    ),
                    (q("INSERT INTO base VALUES (7)"), 1),
                ],
                &["CREATE FUNCTION done", "CREATE TRIGGER done"],
            ),
            query(
                "SELECT query_to_xml('CREATE TABLE t(a int)', true, true, '')",
                &[],
            ),
            trap(
                "CREATE TABLE AS EXECUTE within EXPLAIN ANALYZE",
                vec![
                    (q("PREPARE n AS SELECT 1 AS a"), 1),
                    (
                        q(
                            "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) CREATE TABLE t AS EXECUTE n",
                        ),
                        1,
                    ),
                ],
                &["EXPLAIN done: it takes no lock on what exists"],
            ),
        ]);
    });
}

#[test]
fn a_function_call_that_changes_the_schema() {
    limited(|| {
        let database = database();
        let proxy = Proxy::shared();
        let mut wire = proxy.session(&database);
        wire.run(
            "CREATE FUNCTION make() RETURNS int LANGUAGE SQL AS 'CREATE TABLE t(a int); SELECT 1'",
        );
        let oid = wire.value("SELECT 'make'::regproc::oid").parse().unwrap();
        let frames = wire.ask(&function_call(oid, &[]));
        assert_eq!(tags(&frames), "VZ");
        assert_eq!(wire.value("SELECT count(*) FROM t"), "0");
    });
}

#[test]
fn who_and_where_by_a_set_in_the_same_segment() {
    limited(|| {
        spring(&[
            trap(
                "search_path",
                vec![
                    (q("CREATE SCHEMA s CREATE TABLE base(a int)"), 1),
                    (
                        [
                            q("SET search_path = s"),
                            q("CREATE INDEX i ON base(a)"),
                            q("DROP TABLE base"),
                        ]
                        .concat(),
                        3,
                    ),
                    (q("SELECT count(*) FROM public.base"), 1),
                ],
                &["CREATE SCHEMA done", "CREATE INDEX done", "DROP TABLE done"],
            ),
            trap(
                "search_path by set_config",
                vec![
                    (q("CREATE SCHEMA s CREATE TABLE base(a int)"), 1),
                    (
                        [
                            q("SELECT set_config('search_path', 's', false)"),
                            q("DROP TABLE base"),
                        ]
                        .concat(),
                        2,
                    ),
                    (q("SELECT count(*) FROM public.base"), 1),
                ],
                &["CREATE SCHEMA done", "DROP TABLE done"],
            ),
            trap(
                "a role",
                vec![
                    (
                        [
                            q("SET ROLE pg_monitor"),
                            q("CREATE INDEX i ON base(a)"),
                            q("RESET ROLE"),
                        ]
                        .concat(),
                        3,
                    ),
                    (q("CREATE INDEX i ON base(a)"), 1),
                ],
                &["CREATE INDEX passed", "CREATE INDEX done"],
            ),
        ]);
    });
}

#[test]
fn trail_bytes_that_look_like_ascii() {
    limited(|| {
        const FAILED: &str = "CREATE TABLE failed: several statements in one query";
        const SEVERAL: &str = "CREATE TABLE committed: several statements in one query";
        const DROPPED: &str = "DROP TABLE done";
        let hidden = |encoding: &str, character: &[u8]| {
            let text = [
                &b"SELECT E'"[..],
                character,
                b"' ; CREATE TABLE t(a int) --'",
            ]
            .concat();
            vec![
                (
                    [
                        q(&format!("SET client_encoding = '{encoding}'")),
                        q_bytes(&text),
                    ]
                    .concat(),
                    2,
                ),
                (q_bytes(&text), 1),
                (q("DROP TABLE IF EXISTS t; SET client_encoding = 'UTF8'"), 1),
            ]
        };
        let traps: Vec<_> = [
            ("BIG5", &b"\xa5\x5c"[..]),
            ("GBK", b"\x95\x5c"),
            ("GB18030", b"\x95\x5c"),
            ("SHIFT_JIS_2004", b"\x95\x5c"),
        ]
        .into_iter()
        .map(|(encoding, character)| {
            trap(
                encoding,
                hidden(encoding, character),
                &[SEVERAL, FAILED, DROPPED],
            )
        })
        .collect();
        spring(&traps);
    });
}

#[test]
fn a_vertical_tab_is_a_blank_since_postgresql_16() {
    limited(|| {
        let version: u32 = value("postgres", "SHOW server_version_num")
            .parse()
            .unwrap();
        let events: &[&str] = match version {
            160_000.. => &["CREATE TABLE done"],
            _ => &["CREATE TABLE failed"],
        };
        spring(&[query("\x0bCREATE TABLE t(a int)", events)]);
    });
}
