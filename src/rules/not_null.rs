//! `SET NOT NULL` reads the whole table under ACCESS EXCLUSIVE, unless a validated CHECK proves it.
//!
//! Recipe to 17: a CHECK that isn't valid yet, validated without blocking anybody, proves it; then
//! the CHECK goes, in a statement of its own (in one ALTER TABLE the drop would run first). From 18:
//! the NOT NULL constraint itself can be added NOT VALID and validated.
//! <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-SET-DROP-NOT-NULL>

use super::alter_effects::Target;
use super::{Action, Rule, steps};
use crate::catalog::{ConstraintKind, Relation};
use crate::plan::{Check, Step, Undo, Violation};
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
    let found = relation.details.column(column);
    // Of a row IS NOT NULL says more, and proves nothing.
    let is_row = found.is_some_and(|found| found.of_type.composite);
    !is_row
        && relation.details.constraints.iter().any(|constraint| {
            constraint.kind == ConstraintKind::Check
                && constraint.validated
                && constraint
                    .expression
                    .as_deref()
                    .is_some_and(|condition| parse::implies_not_null(condition, column))
        })
}

/// Whether such a CHECK is one that partitions and children have too.
pub(super) fn is_proven_for_heirs(relation: &Relation, column: &str) -> bool {
    let mut inheritable = relation.clone();
    let constraints = &mut inheritable.details.constraints;
    constraints.retain(|constraint| !constraint.definition.ends_with(" NO INHERIT"));
    is_proven(&inheritable, column)
}

/// The steps in the place of `SET NOT NULL`, or why there are none.
pub(super) fn way(column: &str, target: &Target) -> Result<Vec<Step>, String> {
    let found = target.relation.details.column(column);
    let is_row = found.is_some_and(|found| found.of_type.composite);
    if is_row && target.known.version() < NAMED_VERSION {
        return Err(format!(
            "{} is of a composite type, and no CHECK proves that it isn't NULL: do it in a window, or keep a CHECK.",
            quote_identifier(column)
        ));
    }
    Ok(recipe(column, None, target))
}

/// The steps in the place of `SET NOT NULL`; `name` is that of a constraint written by the client
/// (PostgreSQL 18).
pub(super) fn recipe(column: &str, name: Option<&str>, target: &Target) -> Vec<Step> {
    recipe_of(column, name, "", target)
}

/// The same for a constraint that says more behind its column: ` NO INHERIT`.
pub(super) fn recipe_of(
    column: &str,
    name: Option<&str>,
    behind: &str,
    target: &Target,
) -> Vec<Step> {
    let table = target.relation.qualified();
    let quoted = quote_identifier(column);
    let mut set = steps::alter(target, &format!("ALTER COLUMN {quoted} SET NOT NULL"))
        .undone_by(steps::alter_sql(
            target,
            &format!("ALTER COLUMN {quoted} DROP NOT NULL"),
        ))
        .checked_by(Check::ColumnIsNotNull {
            table: table.clone(),
            column: column.to_owned(),
        });
    let found = target.relation.details.column(column);
    if found.is_some_and(|found| found.not_null) {
        set.undo = Undo::Irreversible {
            why: "it was NOT NULL before, though its children weren't".to_owned(),
        };
        set.check = Check::Nothing; // only the children show it
    }
    let has_heirs = !target.only && !target.relation.details.descendants.is_empty();
    let is_proven_for_all = if has_heirs {
        is_proven_for_heirs(target.relation, column)
    } else {
        is_proven(target.relation, column)
    };
    if is_proven_for_all {
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
    // What a parent has alone.
    let alone = if target.only && !target.relation.details.descendants.is_empty() {
        " NO INHERIT"
    } else {
        ""
    };
    if target.known.version() >= NAMED_VERSION {
        let behind = if behind.is_empty() { alone } else { behind };
        let body = format!("NOT NULL {quoted}{behind}");
        return steps::add_and_validate(target, &name, &body);
    }
    let body = format!("CHECK ({quoted} IS NOT NULL){alone}");
    let column = column.to_owned();
    let violation = Violation::NullValues { column };
    let mut all = steps::add_and_prove(target, &name, &body, violation);
    all.push(set);
    all.push(steps::drop_constraint(target, &name));
    all
}
