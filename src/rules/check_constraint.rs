//! `ADD CONSTRAINT … CHECK` reads the whole table under ACCESS EXCLUSIVE.
//!
//! Recipe: NOT VALID, which checks new rows only, then VALIDATE, which stops no query. On 13 to 18
//! alike. <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES>

use super::alter_effects::Target;
use super::{Action, Rule, names, steps};
use crate::plan::Step;
use crate::sql::alter_table::ConstraintDefinition;

/// Every row is checked while nobody may use the table.
pub const SCANS: Rule = Rule {
    name: "add-check-scan",
    hazard: "A CHECK is checked against every row under an ACCESS EXCLUSIVE lock: every query waits until it is done.",
    remedy: "It is added NOT VALID, which checks new rows only, and validated without blocking anybody.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users ADD CONSTRAINT users_age_check CHECK (age >= 0)",
};

/// The column of an expression that names one column only, be it often.
pub(super) fn only_one(columns: &[String]) -> Option<&str> {
    let first = columns.first()?;
    columns
        .iter()
        .all(|name| name == first)
        .then_some(first.as_str())
}

/// The steps in its place.
pub(super) fn recipe(constraint: &ConstraintDefinition, target: &Target) -> Vec<Step> {
    steps::add_and_validate(target, &names::of(constraint, target), &constraint.body)
}
