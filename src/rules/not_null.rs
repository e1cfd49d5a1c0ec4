//! `SET NOT NULL` reads the whole table under ACCESS EXCLUSIVE, unless a validated CHECK proves it.
//!
//! Recipe to 17: a CHECK that isn't valid yet, validated without blocking anybody, proves it; then
//! the CHECK goes, in a statement of its own (in one ALTER TABLE the drop would run first). From 18:
//! the NOT NULL constraint itself can be added NOT VALID and validated.
//! <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL>

use super::alter_effects::Target;
use super::{Action, Rule, steps};
use crate::catalog::{ConstraintKind, Relation};
use crate::plan::{Check, Step};
use crate::sql::name::quote_identifier;
use crate::sql::parse;

/// Every row is read while nobody may use the table.
pub const SCANS: Rule = Rule {
    name: "set-not-null-scan",
    hazard: "SET NOT NULL reads the whole table under an ACCESS EXCLUSIVE lock: every query waits until it is done.",
    remedy: "A constraint that isn't valid yet is added, validated without blocking anybody, and then proves it.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "To 17 by a CHECK that is dropped at the end; from 18 by a NOT NULL constraint that is added NOT VALID.",
    example: "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
};

/// Since then a NOT NULL is a constraint with a name, and may be NOT VALID.
pub(super) const NAMED_VERSION: u32 = 180_000;

/// Whether a validated CHECK proves that a column holds no NULL (`ConstraintImpliedByRelConstraint`
/// of `src/backend/commands/tablecmds.c`).
pub(super) fn is_proven(relation: &Relation, column: &str) -> bool {
    relation.details.constraints.iter().any(|constraint| {
        constraint.kind == ConstraintKind::Check
            && constraint.validated
            && constraint
                .expression
                .as_deref()
                .is_some_and(|condition| parse::implies_not_null(condition, column))
    })
}

/// The steps in the place of `SET NOT NULL`; `name` is that of a constraint written by the client
/// (PostgreSQL 18).
pub(super) fn recipe(column: &str, name: Option<&str>, target: &Target) -> Vec<Step> {
    let table = target.relation.qualified();
    let quoted = quote_identifier(column);
    let set = steps::alter(target, &format!("ALTER COLUMN {quoted} SET NOT NULL"))
        .undone_by(steps::alter_sql(
            target,
            &format!("ALTER COLUMN {quoted} DROP NOT NULL"),
        ))
        .checked_by(Check::ColumnIsNotNull {
            table: table.clone(),
            column: column.to_owned(),
        });
    if is_proven(target.relation, column) {
        return vec![set];
    }
    let half_done = target.relation.details.constraints.iter().find(|found| {
        found.kind == ConstraintKind::NotNull
            && !found.validated
            && found.columns.iter().any(|name| name == column)
    });
    if name.is_none()
        && let Some(found) = half_done
    {
        return vec![steps::validate(target, &found.name)];
    }
    let chosen = || steps::free_name(target, column, "not_null");
    let name = name.map_or_else(chosen, str::to_owned);
    if target.known.version() >= NAMED_VERSION {
        let body = format!("NOT NULL {quoted}");
        return steps::add_and_validate(target, &name, &body);
    }
    let body = format!("CHECK ({quoted} IS NOT NULL)");
    let mut all = steps::add_and_validate(target, &name, &body);
    all.push(set);
    all.push(steps::drop_constraint(target, &name));
    all
}
