//! The extended query protocol: how long statements and portals live, what may be asked when, and schema changes in odd
//! company.

use super::{alike, spring, trap};
use crate::harness::{Proxy, database, limited, place, shared, value};
use crate::wire::{Wire, b, c, d, e, p, pbe, q, s, sqlstate, tags};

const DDL: &str = "CREATE TABLE t(a int)";
const DONE: &str = "CREATE TABLE done";

#[test]
fn how_long_statements_live() {
    limited(|| {
        alike(&[
            (
                "a Query destroys the unnamed statement",
                [
                    p("", "SELECT 1"),
                    s(),
                    q("SELECT 2"),
                    b("", "", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "Sync doesn't",
                [p("", "SELECT 1"), s(), b("", "", &[]), e("", 0), s()].concat(),
            ),
            (
                "the next Parse replaces it",
                [
                    p("", "SELECT 1"),
                    p("", "SELECT 2"),
                    b("", "", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "a Parse that fails destroys it",
                [
                    p("", "SELECT 1"),
                    s(),
                    p("", "SELEC"),
                    s(),
                    b("", "", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
        ]);
    });
}

#[test]
fn how_long_names_live() {
    limited(|| {
        alike(&[
            (
                "a name survives the rollback of its transaction",
                [
                    q("BEGIN"),
                    p("n", "SELECT 1"),
                    s(),
                    q("ROLLBACK"),
                    b("", "n", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "a name is taken",
                [
                    p("n", "SELECT 1"),
                    s(),
                    p("n", "SELECT 2"),
                    s(),
                    b("", "n", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "Close is thrown away with a failed batch",
                [
                    p("n", "SELECT 1"),
                    s(),
                    pbe("SELECT 1/0"),
                    c(b'S', "n"),
                    s(),
                    b("", "n", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "DEALLOCATE ALL and DISCARD ALL know protocol statements",
                [
                    p("n", "SELECT 1"),
                    s(),
                    q("DEALLOCATE ALL"),
                    b("", "n", &[]),
                    e("", 0),
                    s(),
                    p("n", "SELECT 1"),
                    s(),
                    q("DISCARD ALL"),
                    b("", "n", &[]),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
        ]);
    });
}

#[test]
fn how_long_portals_live() {
    limited(|| {
        let three = "SELECT * FROM generate_series(1, 3)";
        alike(&[
            (
                "to the end of the transaction",
                [
                    p("", "SELECT 1"),
                    b("", "", &[]),
                    b("o", "", &[]),
                    s(),
                    e("", 0),
                    s(),
                    e("o", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "past Sync in a block",
                [
                    q("BEGIN"),
                    p("n", three),
                    b("o", "n", &[]),
                    s(),
                    e("o", 1),
                    s(),
                    e("o", 1),
                    s(),
                    e("o", 0),
                    s(),
                    b("o", "n", &[]),
                    s(),
                    c(b'P', "o"),
                    b("o", "n", &[]),
                    s(),
                    q("COMMIT"),
                    e("o", 0),
                    s(),
                ]
                .concat(),
            ),
            (
                "the unnamed one to the next Bind, or Query",
                [
                    q("BEGIN"),
                    p("", three),
                    b("", "", &[]),
                    e("", 1),
                    b("", "", &[]),
                    e("", 0),
                    q("SELECT 2"),
                    e("", 0),
                    s(),
                ]
                .concat(),
            ),
        ]);
    });
}

#[test]
fn what_may_be_asked_in_a_failed_transaction() {
    limited(|| {
        let fail = || {
            [
                q("BEGIN"),
                p("n", "SET work_mem = '4MB'"),
                p("m", "SELECT 1"),
                s(),
                q("SELECT 1/0"),
            ]
            .concat()
        };
        alike(&[
            (
                "Describe without rows",
                [fail(), d(b'S', "n"), s()].concat(),
            ),
            ("Describe with rows", [fail(), d(b'S', "m"), s()].concat()),
            (
                "Parse",
                [
                    fail(),
                    p("", "SELECT 1"),
                    s(),
                    p("", "SELEC"),
                    s(),
                    p("", DDL),
                    s(),
                    p("", "ROLLBACK"),
                    s(),
                ]
                .concat(),
            ),
            (
                "Bind",
                [fail(), b("", "n", &[]), s(), b("", "m", &[]), s()].concat(),
            ),
            (
                "Close",
                [fail(), c(b'S', "n"), c(b'S', "never"), c(b'P', ""), s()].concat(),
            ),
        ]);
    });
}

#[test]
fn schema_changes_in_odd_company() {
    limited(|| {
        let padded = format!("CREATE TABLE t(a int /* {} */)", "x".repeat(200_000));
        spring(&[
            trap(
                "a Parse that another Parse replaces",
                vec![(
                    [p("", DDL), p("", "SELECT 1"), b("", "", &[]), e("", 0), s()].concat(),
                    1,
                )],
                &[],
            ),
            trap(
                "a Parse that replaces another Parse",
                vec![(
                    [
                        p("", "SELECT 1"),
                        s(),
                        p("", DDL),
                        s(),
                        b("", "", &[]),
                        e("", 0),
                        s(),
                    ]
                    .concat(),
                    3,
                )],
                &[DONE],
            ),
            trap(
                "Describe of the statement and of the portal",
                vec![(
                    [
                        p("", DDL),
                        d(b'S', ""),
                        b("", "", &[]),
                        d(b'P', ""),
                        e("", 0),
                        c(b'P', ""),
                        s(),
                    ]
                    .concat(),
                    1,
                )],
                &[DONE],
            ),
            trap(
                "a syntax error in Parse, and the same name again",
                vec![
                    ([p("n", "CREATE TABLE"), s()].concat(), 1),
                    (
                        [p("n", DDL), s(), b("", "n", &[]), e("", 0), s()].concat(),
                        2,
                    ),
                ],
                &[DONE],
            ),
            trap(
                "longer than what is read at once",
                vec![(q(&padded), 1)],
                &[DONE],
            ),
            trap(
                "longer than what is read at once, by Parse",
                vec![([pbe(&padded), s()].concat(), 1)],
                &[DONE],
            ),
        ]);
    });
}

#[test]
fn a_fatal_error_in_the_middle_of_a_schema_change() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut admin = Wire::session(&place(shared()), &database);
        admin.run("CREATE TABLE t(a int); INSERT INTO t VALUES (1)");
        admin.run(
            "CREATE FUNCTION fatal(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
             $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN a; END$$",
        );
        let sql = "CREATE INDEX i ON t(fatal(a))";
        for message in [q(sql), [pbe(sql), s()].concat()] {
            for small in [0, 1 << 30] {
                let proxy = Proxy::start(shared(), |config, _| {
                    config.guard.small_table = bytesize::ByteSize::b(small);
                });
                let mut wire = proxy.session(&database);
                wire.send(&message);
                let frames = wire.until_end();
                assert_eq!(sqlstate(&frames), "57P01", "{frames:?}");
                assert_eq!(tags(&frames).matches('E').count(), 1, "{frames:?}");
                assert!(!tags(&frames).contains('Z'), "{frames:?}");
                admin.run("DROP INDEX IF EXISTS i");
            }
        }
        proxy.session(&database).run("SELECT 1");
        assert_eq!(
            value(&database, "SELECT count(*) FROM pg_locks WHERE NOT granted"),
            "0"
        );
    });
}
