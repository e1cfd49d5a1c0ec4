//! Schema changes in the shapes in which drivers send them: one statement spread over messages, in pipelines, behind
//! COPY, cut anywhere. What the client sees is what the server would have said.

use crate::harness::{Proxy, database, limited, place, shared, value};
use crate::traps::{spring, trap};
use crate::wire::{
    Frame, Wire, b, c, commands, copy_data, copy_done, d, e, h, p, pbe, q, s, sqlstate, tags,
};

const DDL: &str = "CREATE TABLE t(a int)";
const DONE: &str = "CREATE TABLE done";
const IN_PIPELINE: &str = "CREATE TABLE committed: in a pipeline";

#[test]
fn one_statement_as_drivers_send_it() {
    limited(|| {
        spring(&[
            trap(
                "libpq, node-postgres, Npgsql",
                vec![(
                    [p("", DDL), b("", "", &[]), d(b'P', ""), e("", 0), s()].concat(),
                    1,
                )],
                &[DONE],
            ),
            trap(
                "tokio-postgres: prepare, execute, drop",
                vec![
                    ([p("s0", DDL), d(b'S', "s0"), s()].concat(), 1),
                    ([b("", "s0", &[]), e("", 0), s()].concat(), 1),
                    ([c(b'S', "s0"), s()].concat(), 1),
                ],
                &[DONE],
            ),
            trap(
                "asyncpg: Parse, Describe, Flush; then the rest",
                vec![
                    ([p("a", DDL), d(b'S', "a"), h()].concat(), 0),
                    ([b("", "a", &[]), e("", 0), s()].concat(), 1),
                ],
                &[DONE],
            ),
            trap(
                "sqlx: the portal is closed in the same batch",
                vec![
                    ([p("x", DDL), d(b'S', "x"), s()].concat(), 1),
                    ([b("", "x", &[]), e("", 0), c(b'P', ""), s()].concat(), 1),
                ],
                &[DONE],
            ),
            trap(
                "a named portal, and a row limit",
                vec![([p("", DDL), b("z", "", &[]), e("z", 1), s()].concat(), 1)],
                &[DONE],
            ),
        ]);
    });
}

#[test]
fn one_statement_in_company() {
    limited(|| {
        spring(&[
            trap(
                "Flush in place of Sync",
                vec![([pbe(DDL), h()].concat(), 0), (s(), 1)],
                &[IN_PIPELINE],
            ),
            trap(
                "JDBC: BEGIN in the same batch",
                vec![
                    ([pbe("BEGIN"), pbe(DDL), s()].concat(), 1),
                    ([pbe("COMMIT"), s()].concat(), 1),
                ],
                &["CREATE TABLE committed: in a transaction"],
            ),
            trap(
                "Query behind Query in one segment",
                vec![(
                    [
                        q("SELECT 1"),
                        q(DDL),
                        q("SELECT count(*) FROM t"),
                        q("SELECT 2"),
                    ]
                    .concat(),
                    4,
                )],
                &[DONE],
            ),
            trap(
                "batch behind batch in one segment",
                vec![(
                    [
                        pbe("SELECT 1"),
                        s(),
                        pbe(DDL),
                        s(),
                        pbe("SELECT count(*) FROM t"),
                        s(),
                    ]
                    .concat(),
                    3,
                )],
                &[DONE],
            ),
        ]);
    });
}

#[test]
fn schema_changes_in_pipelines() {
    limited(|| {
        spring(&[
            trap(
                "the last of a batch",
                vec![([pbe("SELECT 1"), pbe(DDL), s()].concat(), 1)],
                &[IN_PIPELINE],
            ),
            trap(
                "the first of a batch",
                vec![([pbe(DDL), pbe("SELECT count(*) FROM t"), s()].concat(), 1)],
                &[IN_PIPELINE],
            ),
            trap(
                "two in one batch",
                vec![([pbe(DDL), pbe("CREATE TABLE u(a int)"), s()].concat(), 1)],
                &[IN_PIPELINE, IN_PIPELINE],
            ),
            trap(
                "behind an error in the same batch",
                vec![
                    ([pbe("SELECT 1/0"), pbe(DDL), s()].concat(), 1),
                    (q("SELECT 1"), 1),
                ],
                &["CREATE TABLE failed: in a pipeline"],
            ),
            trap(
                "in front of an error in the same batch",
                vec![([pbe(DDL), pbe("SELECT 1/0"), s()].concat(), 1)],
                &["CREATE TABLE rolled back: in a pipeline"],
            ),
            trap(
                "twice from one portal",
                vec![(
                    [p("", DDL), b("", "", &[]), e("", 0), e("", 0), s()].concat(),
                    1,
                )],
                &[
                    "CREATE TABLE rolled back: in a pipeline",
                    "CREATE TABLE failed: in a pipeline",
                ],
            ),
            trap(
                "a Query in a batch that isn't synced",
                vec![(
                    [p("", "SELECT 1"), b("", "", &[]), e("", 0), q(DDL), s()].concat(),
                    2,
                )],
                &[IN_PIPELINE],
            ),
            trap(
                "behind a failed batch in the same segment",
                vec![(
                    [
                        pbe("SELECT 1/0"),
                        s(),
                        pbe(DDL),
                        s(),
                        q("SELECT count(*) FROM t"),
                    ]
                    .concat(),
                    3,
                )],
                &[DONE],
            ),
        ]);
    });
}

#[test]
fn failures_in_each_message() {
    limited(|| {
        spring(&[
            trap(
                "in Execute",
                vec![(
                    [pbe("CREATE TABLE base(a int)"), s(), q("SELECT 1")].concat(),
                    2,
                )],
                &["CREATE TABLE failed"],
            ),
            trap(
                "in Execute, with Close behind it",
                vec![(
                    [
                        pbe("CREATE TABLE base(a int)"),
                        c(b'P', ""),
                        s(),
                        q("SELECT 1"),
                    ]
                    .concat(),
                    2,
                )],
                &["CREATE TABLE failed"],
            ),
            trap(
                "in Bind",
                vec![(
                    [p("", DDL), b("", "", &["1"]), e("", 0), s(), q("SELECT 1")].concat(),
                    2,
                )],
                &[],
            ),
            trap(
                "in Parse, and the name is still what it was",
                vec![
                    ([p("n", "SELECT 1"), s()].concat(), 1),
                    ([p("n", DDL), s()].concat(), 1),
                    ([b("", "n", &[]), e("", 0), s()].concat(), 1),
                ],
                &[],
            ),
            trap(
                "in a transaction block, and everything after it",
                vec![
                    (q("BEGIN"), 1),
                    (q("SAVEPOINT a"), 1),
                    (q("CREATE TABLE base(a int)"), 1),
                    (q(DDL), 1),
                    (q("ROLLBACK TO a"), 1),
                    (q(DDL), 1),
                    (q("COMMIT"), 1),
                ],
                &[
                    "CREATE TABLE failed: in a transaction",
                    "CREATE TABLE failed: in a transaction",
                    "CREATE TABLE committed: in a transaction",
                ],
            ),
            trap(
                "an unknown portal",
                vec![([p("n", DDL), e("nowhere", 0), s()].concat(), 1)],
                &[],
            ),
        ]);
    });
}

#[test]
fn statements_that_carry_parameters_or_rows() {
    limited(|| {
        let with = |sql, parameter| {
            let batch = [
                p("", sql),
                b("", "", &[parameter]),
                d(b'P', ""),
                e("", 0),
                s(),
            ];
            vec![(batch.concat(), 1), (q("SELECT sum(a) FROM t"), 1)]
        };
        spring(&[
            trap(
                "CREATE TABLE AS with a parameter",
                with("CREATE TABLE t AS SELECT $1::int AS a", "7"),
                &["CREATE TABLE AS done: it takes no lock on what exists"],
            ),
            trap(
                "SELECT INTO with a parameter",
                with("SELECT $1::int AS a INTO t", "7"),
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            trap(
                "EXPLAIN ANALYZE, whose answer has rows",
                vec![(
                    [
                        p(
                            "",
                            "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) CREATE TABLE t AS SELECT 1 AS a",
                        ),
                        b("", "", &[]),
                        d(b'P', ""),
                        e("", 0),
                        s(),
                    ]
                    .concat(),
                    1,
                )],
                &["EXPLAIN done: it takes no lock on what exists"],
            ),
            trap(
                "EXECUTE with an argument",
                vec![
                    (q("PREPARE n(int) AS SELECT $1 AS a INTO t"), 1),
                    (q("EXECUTE n(7)"), 1),
                    (q("SELECT count(*) FROM t"), 1),
                ],
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
            trap(
                "EXECUTE with an argument, by Parse",
                vec![
                    (q("PREPARE n(int) AS SELECT $1 AS a INTO t"), 1),
                    ([pbe("EXECUTE n(7)"), s()].concat(), 1),
                    (q("SELECT count(*) FROM t"), 1),
                ],
                &["SELECT INTO done: it takes no lock on what exists"],
            ),
        ]);
    });
}

#[test]
fn copies_do_not_confuse_what_follows() {
    limited(|| {
        let copy = [copy_data(b"7\n"), copy_done()].concat();
        spring(&[
            trap(
                "COPY by Query, sent ahead with the schema change",
                vec![(
                    [
                        q("COPY base FROM STDIN"),
                        copy.clone(),
                        q(DDL),
                        q("SELECT count(*) FROM t"),
                    ]
                    .concat(),
                    3,
                )],
                &[DONE],
            ),
            trap(
                "COPY by Query, then the schema change",
                vec![
                    ([q("COPY base FROM STDIN"), copy.clone()].concat(), 1),
                    (q(DDL), 1),
                ],
                &[DONE],
            ),
            trap(
                "COPY by Execute, then the schema change",
                vec![
                    ([pbe("COPY base FROM STDIN"), copy.clone(), s()].concat(), 1),
                    (q(DDL), 1),
                    ([pbe("CREATE TABLE u(a int)"), s()].concat(), 1),
                ],
                &[DONE, DONE],
            ),
            trap(
                "a COPY that fails half-way while the client goes on sending",
                vec![
                    (
                        [
                            q("COPY base FROM STDIN"),
                            copy_data(b"x\n"),
                            copy_data(b"7\n"),
                            copy_done(),
                        ]
                        .concat(),
                        1,
                    ),
                    (q(DDL), 1),
                ],
                &[DONE],
            ),
            trap(
                "what looks like a schema change inside CopyData",
                vec![(
                    [
                        q("COPY base FROM STDIN"),
                        copy_data(&q(DDL)),
                        crate::wire::copy_fail("enough"),
                    ]
                    .concat(),
                    1,
                )],
                &[],
            ),
        ]);
    });
}

#[test]
fn a_schema_change_cut_anywhere() {
    limited(|| {
        let database = database();
        let proxy = Proxy::shared();
        let mut direct = Wire::session(&place(shared()), &database);
        direct.run("CREATE TABLE base(a int)");
        let mut wire = proxy.session(&database);
        let comment = "COMMENT ON TABLE base IS 'x'";
        let streams = [
            q(comment),
            [pbe(comment), s()].concat(),
            [
                p("n", comment),
                d(b'S', "n"),
                s(),
                b("", "n", &[]),
                e("", 0),
                s(),
                c(b'S', "n"),
                s(),
            ]
            .concat(),
        ];
        let readies = [1, 1, 3];
        let mut expected_events = 0;
        for (stream, readies) in streams.iter().zip(readies) {
            let read = |wire: &mut Wire| -> Vec<Frame> {
                (0..readies).flat_map(|_| wire.until_ready()).collect()
            };
            direct.send(stream);
            let expected = read(&mut direct);
            for at in 1..stream.len() {
                wire.send(&stream[..at]);
                std::thread::yield_now();
                wire.send(&stream[at..]);
                assert_eq!(read(&mut wire), expected, "cut at {at}");
                expected_events += 1;
            }
        }
        let events = proxy.event_words();
        assert!(events.iter().all(|event| event == "COMMENT done"));
        assert_eq!(events.len(), expected_events);
    });
}

#[test]
fn a_rewritten_statement_is_told_and_recorded() {
    limited(|| {
        let database = database();
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = bytesize::ByteSize::b(0);
        });
        let mut wire = proxy.session(&database);
        wire.run("CREATE TABLE t(a int); INSERT INTO t SELECT generate_series(1, 1000)");
        wire.run("SET statement_timeout = '59s'");
        wire.run("SET lock_timeout = '58s'");
        let frames = wire.query("CREATE INDEX i ON t(a)");
        assert_eq!(commands(&frames), ["CREATE INDEX"]);
        assert!(
            frames.iter().any(Frame::is_lockkeepers_notice),
            "{frames:?}"
        );
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass";
        assert_eq!(value(&database, valid), "t");
        assert_eq!(wire.value("SHOW statement_timeout"), "59s");
        assert_eq!(wire.value("SHOW lock_timeout"), "58s");
        let frames = wire.ask(&[pbe("DROP INDEX i"), s()].concat());
        assert_eq!(commands(&frames), ["DROP INDEX"]);
        assert_eq!(tags(&frames).replace('N', ""), "12CZ");
        let frames = wire.query("CREATE INDEX i ON t((1/(a-5)))");
        assert_eq!(sqlstate(&frames), "22012", "{frames:?}");
        assert_eq!(
            value(
                &database,
                "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
            ),
            "0"
        );
        assert_eq!(wire.value("SHOW statement_timeout"), "59s");
        let events = proxy.events().split_off(1);
        let words: Vec<String> = events
            .iter()
            .map(|event| {
                format!("{} {} {}", event["tag"], event["verdict"], event["outcome"])
                    .replace('"', "")
            })
            .collect();
        assert_eq!(
            words,
            [
                "CREATE INDEX rewrite done",
                "DROP INDEX rewrite done",
                "CREATE INDEX rewrite failed"
            ]
        );
        let executed = events[0]["executed"].to_string();
        assert!(executed.contains("CONCURRENTLY"), "{executed}");
        assert_eq!(events[0]["database"], database);
        assert_eq!(events[0]["user"], "postgres");
    });
}

#[test]
fn observing_changes_nothing() {
    limited(|| {
        let database = database();
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.mode = lockkeeper::config::Mode::Observe;
        });
        let mut wire = proxy.session(&database);
        let frames = wire.query(DDL);
        assert_eq!(tags(&frames), "CZ");
        let frames = wire.ask(&[pbe("CREATE INDEX i ON t(a)"), s()].concat());
        assert_eq!(tags(&frames), "12CZ");
        let frames = wire.ask(&[pbe("CREATE INDEX j ON t(a)"), pbe("SELECT 1"), s()].concat());
        assert_eq!(tags(&frames), "12C12DCZ");
        let events = proxy.events();
        assert!(
            events.iter().all(|event| event["mode"] == "observe"),
            "{events:?}"
        );
        assert_eq!(events.len(), 3, "{events:?}");
    });
}

#[test]
fn switched_off_nothing_is_held() {
    limited(|| {
        let database = database();
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.mode = lockkeeper::config::Mode::Off;
            config.audit.file = None;
        });
        let mut wire = proxy.session(&database);
        assert_eq!(tags(&wire.query(DDL)), "CZ");
        assert_eq!(
            tags(&wire.ask(&[pbe("CREATE INDEX i ON t(a)"), s()].concat())),
            "12CZ"
        );
    });
}
