//! Pipelines: which requests are answered with ReadyForQuery, what a failure throws away, and statements that want a
//! transaction of their own.

use super::{spring, trap};
use crate::harness::limited;
use crate::wire::{b, c, e, h, p, pbe, q, s};

const DDL: &str = "CREATE TABLE t(a int)";
const DONE: &str = "CREATE TABLE done";
const IN_PIPELINE: &str = "CREATE TABLE committed: in a pipeline";

#[test]
fn what_the_server_throws_away() {
    limited(|| {
        spring(&[
            trap(
                "a Query behind a failed batch, before its Sync",
                vec![(
                    [pbe("SELECT 1/0"), q(DDL), q("SELECT 2"), s(), q("SELECT 3")].concat(),
                    2,
                )],
                &["CREATE TABLE failed: in a pipeline"],
            ),
            trap(
                "a batch behind a failed batch, before its Sync",
                vec![
                    ([pbe("SELECT 1/0"), h()].concat(), 0),
                    ([pbe(DDL), c(b'P', ""), h(), s(), q("SELECT 3")].concat(), 2),
                ],
                &["CREATE TABLE failed: in a pipeline"],
            ),
            trap(
                "a failed Query throws nothing away",
                vec![(
                    [q("SELECT 1/0"), q(DDL), q("SELECT count(*) FROM t")].concat(),
                    3,
                )],
                &[DONE],
            ),
            trap(
                "Sync alone, and again",
                vec![([s(), s(), pbe(DDL), s(), s()].concat(), 4)],
                &[DONE],
            ),
            trap(
                "what comes before a failure is rolled back with it",
                vec![
                    (
                        [
                            pbe("INSERT INTO base VALUES (7)"),
                            pbe(DDL),
                            pbe("SELECT 1/0"),
                            s(),
                        ]
                        .concat(),
                        1,
                    ),
                    (q("SELECT count(*) FROM base"), 1),
                ],
                &["CREATE TABLE rolled back: in a pipeline"],
            ),
        ]);
    });
}

#[test]
fn queries_in_unsynced_batches() {
    limited(|| {
        spring(&[
            trap(
                "JDBC's autosave: SAVEPOINT by Query between the messages of a batch",
                vec![
                    ([pbe("BEGIN"), s()].concat(), 1),
                    (
                        [
                            p("", "SELECT 1"),
                            q("SAVEPOINT j"),
                            pbe("INSERT INTO base VALUES (7)"),
                            s(),
                        ]
                        .concat(),
                        2,
                    ),
                    (
                        [pbe("SELECT 1/0"), s(), q("ROLLBACK TO SAVEPOINT j")].concat(),
                        2,
                    ),
                    (q("COMMIT"), 1),
                ],
                &[],
            ),
            trap(
                "a Query behind an Execute that isn't synced",
                vec![(
                    [
                        pbe("INSERT INTO base VALUES (7)"),
                        q("SELECT 1"),
                        pbe("SELECT 1/0"),
                        s(),
                    ]
                    .concat(),
                    2,
                )],
                &[],
            ),
            trap(
                "a schema change there, and then a failure",
                vec![(
                    [
                        pbe("INSERT INTO base VALUES (7)"),
                        q(DDL),
                        pbe("SELECT 1/0"),
                        s(),
                    ]
                    .concat(),
                    2,
                )],
                &[IN_PIPELINE],
            ),
            trap(
                "a Query between Bind and Execute",
                vec![(
                    [
                        p("", "SELECT 1"),
                        b("", "", &[]),
                        q("SELECT 2"),
                        e("", 0),
                        s(),
                    ]
                    .concat(),
                    2,
                )],
                &[],
            ),
        ]);
    });
}

#[test]
fn statements_that_want_a_transaction_of_their_own() {
    limited(|| {
        const INDEX: &str = "CREATE INDEX CONCURRENTLY i ON base(a)";
        const PASSED: &str = "CREATE INDEX committed: in a pipeline";
        spring(&[
            trap(
                "the first of a batch, which fails later",
                vec![([pbe(INDEX), pbe("SELECT 1/0"), s()].concat(), 1)],
                &[PASSED],
            ),
            trap(
                "in the middle of a batch",
                vec![(
                    [pbe("SELECT 1"), pbe(INDEX), s(), q("SELECT 2")].concat(),
                    2,
                )],
                &["CREATE INDEX failed: in a pipeline"],
            ),
            trap(
                "VACUUM in the middle of a batch",
                vec![(
                    [
                        pbe("SELECT 1"),
                        pbe("VACUUM base"),
                        s(),
                        pbe("VACUUM base"),
                        s(),
                    ]
                    .concat(),
                    2,
                )],
                &[],
            ),
            trap(
                "in a transaction block",
                vec![(q("BEGIN"), 1), (q(INDEX), 1), (q("COMMIT"), 1)],
                &["CREATE INDEX failed: in a transaction"],
            ),
            trap(
                "among several statements",
                vec![
                    (q("SELECT 1; VACUUM base"), 1),
                    (q("CREATE INDEX CONCURRENTLY i ON base(a); SELECT 1"), 1),
                ],
                &["CREATE INDEX failed: several statements in one query"],
            ),
        ]);
    });
}

#[test]
fn a_failed_block_and_its_end() {
    limited(|| {
        spring(&[
            trap(
                "COMMIT answered ROLLBACK",
                vec![
                    (q("BEGIN"), 1),
                    (q("CREATE TABLE base(a int)"), 1),
                    (q(DDL), 1),
                    ([pbe(DDL), s()].concat(), 1),
                    (q("COMMIT"), 1),
                    (q(DDL), 1),
                ],
                &[
                    "CREATE TABLE failed: in a transaction",
                    "CREATE TABLE failed: in a transaction",
                    "CREATE TABLE failed: in a transaction",
                    DONE,
                ],
            ),
            trap(
                "nothing at all between schema changes",
                vec![
                    ([q(DDL), q(""), q("; -- x"), q("DROP TABLE t")].concat(), 4),
                    (
                        [pbe(""), s(), pbe(DDL), s(), pbe("/* x */"), s()].concat(),
                        3,
                    ),
                ],
                &[DONE, "DROP TABLE done", DONE],
            ),
        ]);
    });
}
