//! Statements that write a table anew, or read it, under a lock that stops everybody, and for which
//! no safe way is known: `SET LOGGED`, `SET TABLESPACE`, `SET ACCESS METHOD`, `SET EXPRESSION`,
//! `VACUUM FULL`, `CLUSTER`, enforcing a constraint.
//!
//! They are refused with what people can do instead.
//! <https://www.postgresql.org/docs/current/sql-altertable.html>

use super::decide::{Finding, Way};
use super::{Action, Rule};
use crate::sql::alter_table::ActionKind;

/// A table is written anew.
pub const REWRITES: Rule = Rule {
    name: "table-rewrite",
    hazard: "The table is written anew under an ACCESS EXCLUSIVE lock: every query waits until it is done.",
    remedy: "It is refused: do it in a window, or into a new table.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "SET ACCESS METHOD from 15, SET EXPRESSION from 17.",
    example: "ALTER TABLE users SET UNLOGGED",
};

/// `VACUUM FULL`, `CLUSTER`.
pub const REPACKS: Rule = Rule {
    name: "vacuum-full",
    hazard: "VACUUM FULL and CLUSTER write the table and its indexes anew under an ACCESS EXCLUSIVE lock.",
    remedy: "It is refused: plain VACUUM makes space usable again; pg_repack or pg_squeeze give it back without \
             the lock.",
    manual: "https://www.postgresql.org/docs/current/sql-vacuum.html",
    action: Action::Reject,
    versions: "alike",
    example: "VACUUM FULL users",
};

/// A constraint is enforced and so checked.
pub const ENFORCES: Rule = Rule {
    name: "enforce-constraint-scan",
    hazard: "ALTER CONSTRAINT … ENFORCED checks every row under an ACCESS EXCLUSIVE lock.",
    remedy: "It is refused: drop the constraint, add it again NOT VALID, and validate it.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "from 18",
    example: "ALTER TABLE orders ALTER CONSTRAINT orders_user_fk ENFORCED",
};

/// What is said about a costly sub-command without a family of its own.
pub(super) fn finding(kind: &ActionKind) -> Finding {
    let (rule, advice) = match kind {
        ActionKind::AlterConstraint { .. } => (&ENFORCES, ENFORCES.remedy),
        ActionKind::SetTablespace { .. } => (
            &REWRITES,
            "Indexes can move by REINDEX (TABLESPACE …, CONCURRENTLY) from PostgreSQL 14; a table by pg_repack, or in \
             a window.",
        ),
        ActionKind::SetExpression { .. } => (
            &REWRITES,
            "Add a new column with the new expression filled by a trigger and in batches, then swap; or do it \
            in a window.",
        ),
        _ => (&REWRITES, REWRITES.remedy),
    };
    Finding::of(rule, Way::Impossible(advice.to_owned()))
}
