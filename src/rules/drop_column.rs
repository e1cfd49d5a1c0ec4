//! `DROP COLUMN` takes the column's indexes with it under ACCESS EXCLUSIVE, composite ones too, and
//! of a foreign key locks the referenced table as well; and clients that still name the column fail.
//!
//! Recipe: the foreign keys first, each alone; the indexes concurrently; then the column.
//! <https://www.postgresql.org/docs/current/sql-altertable.html>

use super::alter_effects::{Target, indexes_with};
use super::decide::{Finding, Way};
use super::{Action, Rule, drop_index, foreign_key, steps};
use crate::catalog::{Relation, RelationKind};
use crate::plan::{Check, Step, Undo};
use crate::sql::alter_table::ActionKind;

/// Other tables and many indexes are locked along with it.
pub const LOCKS_MUCH: Rule = Rule {
    name: "drop-column-locks-much",
    hazard: "DROP COLUMN locks its indexes and the tables that its foreign keys refer to, all at once and exclusively.",
    remedy: "Its foreign keys go first, one at a time, then its indexes concurrently, then the column.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE orders DROP COLUMN user_id",
};

/// Clients that still name it fail.
pub const BREAKS_CLIENTS: Rule = Rule {
    name: "drop-column-breaks-clients",
    hazard: "Clients that still name the column fail from that moment on, and its data can't be had back.",
    remedy: "It runs under a short lock_timeout, and the client is told. Deploy clients that don't use it first.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Notice,
    versions: "alike",
    example: "ALTER TABLE users DROP COLUMN nickname",
};

/// Whether the server refuses to drop a column because something depends on it: then nothing that
/// can't be had back may go before that.
pub(super) fn is_refused(kind: &ActionKind, relation: &Relation) -> bool {
    match kind {
        ActionKind::DropColumn {
            column,
            cascade: false,
            ..
        } => is_depended_on(column, relation),
        _ => false,
    }
}

/// Whether something else than what goes with it names the column.
fn is_depended_on(column: &str, relation: &Relation) -> bool {
    let details = &relation.details;
    let names_it = |columns: &[String]| columns.iter().any(|name| name == column);
    let goes_too = |what: &str| matches!(what, "index" | "statistics");
    let mut users = details.column_users.iter();
    details.views.iter().any(|view| names_it(&view.columns))
        || users.any(|user| !goes_too(&user.what) && names_it(&user.columns))
        || details
            .referenced_by
            .iter()
            .any(|key| names_it(&key.referenced_columns))
}

/// What is said of a column that is dropped.
pub(super) fn find(column: &str, sql: &str, target: &Target) -> Finding {
    if target.known.is_small(target.relation) {
        return Finding::harmless();
    }
    match recipe(column, sql, target) {
        Some(steps) => Finding::of(&LOCKS_MUCH, Way::Steps(steps)),
        None => Finding::as_sent(&BREAKS_CLIENTS),
    }
}

/// The steps before the column goes, and the column's own; `None` when there is nothing to take off
/// first.
fn recipe(column: &str, sql: &str, target: &Target) -> Option<Vec<Step>> {
    let relation = target.relation;
    if relation.kind != RelationKind::Table || !relation.details.descendants.is_empty() {
        return None; // neither goes concurrently on a partitioned table
    }
    let keys = relation.details.constraints.iter().filter(|constraint| {
        constraint.references.is_some() && constraint.columns.iter().any(|name| name == column)
    });
    let mut all: Vec<Step> = keys.map(|key| foreign_key::drop(key, target)).collect();
    for index in indexes_with(relation, column) {
        if !index.constraint && index.dependents == 0 {
            let mut step =
                drop_index::drop_concurrently(index, &relation.qualified(), relation.kind);
            step.undo = Undo::Irreversible {
                why: "an index is built anew only by a new build".to_owned(),
            };
            all.push(step);
        }
    }
    if all.is_empty() {
        return None;
    }
    let mut last = steps::alter(target, sql).checked_by(Check::ColumnIsGone {
        table: relation.qualified(),
        column: column.to_owned(),
    });
    last.undo = Undo::Irreversible {
        why: "the column's data is gone".to_owned(),
    };
    all.push(last);
    Some(all)
}
