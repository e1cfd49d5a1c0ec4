//! The names that PostgreSQL gives to constraints that a statement doesn't name: a plan needs them
//! before the server has chosen.

use super::alter_effects::Target;
use super::check_constraint::only_one;
use super::steps;
use super::unique_constraint::joined;
use crate::sql::alter_table::{
    Action, ActionKind, AlterTable, ConstraintDefinition, ConstraintDefinitionKind, Expression,
};

/// The name of a constraint: as written, or the first that the server would find free.
pub(super) fn of(constraint: &ConstraintDefinition, target: &Target) -> String {
    let chosen = || chosen(constraint, target, &Used::default());
    constraint.name.clone().or_else(chosen).unwrap_or_default()
}

/// Names of constraints that one statement gives and takes away.
#[derive(Debug, Default)]
struct Used {
    given: Vec<String>,
    dropped: Vec<String>,
}

/// The statement with a name for each of its constraints but NOT NULL and EXCLUDE, no name twice.
pub(super) fn given(alter: &AlterTable, target: &Target) -> AlterTable {
    let dropped = alter
        .actions
        .iter()
        .filter_map(|action| match &action.kind {
            ActionKind::DropConstraint { name, .. } => Some(name.clone()),
            _ => None,
        });
    let mut used = Used {
        given: Vec::new(),
        dropped: dropped.collect(),
    };
    let mut named = alter.clone();
    for constraint in named.actions.iter_mut().flat_map(constraints) {
        if matches!(constraint.kind, ConstraintDefinitionKind::NotNull { .. }) {
            continue; // one that is there already may be it
        }
        if constraint.name.is_none() {
            constraint.name = chosen(constraint, target, &used);
        }
        used.given.extend(constraint.name.clone());
    }
    named
}

fn constraints(action: &mut Action) -> &mut [ConstraintDefinition] {
    match &mut action.kind {
        ActionKind::AddConstraint(constraint) => std::slice::from_mut(constraint),
        ActionKind::AddColumn { column, .. } => &mut column.constraints,
        _ => &mut [],
    }
}

/// The column that a condition is about, if it is one; a whole row isn't.
fn only_column(expression: &Expression, target: &Target) -> String {
    let details = &target.relation.details;
    let column = only_one(&expression.columns).unwrap_or_default();
    let is_row = column == target.relation.name && details.column(column).is_none();
    if is_row {
        String::new()
    } else {
        column.to_owned()
    }
}

/// `ChooseConstraintName` of `src/backend/catalog/pg_constraint.c`, `ChooseIndexName` of
/// `src/backend/commands/indexcmds.c`.
fn chosen(constraint: &ConstraintDefinition, target: &Target, used: &Used) -> Option<String> {
    let (columns, label) = match &constraint.kind {
        ConstraintDefinitionKind::Check { expression, .. } => {
            (only_column(expression, target), "check")
        }
        ConstraintDefinitionKind::NotNull { column } => (column.clone(), "not_null"),
        ConstraintDefinitionKind::Unique { primary: true, .. } => (String::new(), "pkey"),
        ConstraintDefinitionKind::Unique {
            columns, include, ..
        } => (joined(columns, include), "key"),
        ConstraintDefinitionKind::ForeignKey { columns, .. } => (columns.join("_"), "fkey"),
        ConstraintDefinitionKind::UsingIndex { index, .. } => return Some(index.clone()),
        ConstraintDefinitionKind::Exclude => return None,
    };
    let is_usable = |name: &String| {
        !used.given.contains(name) && (used.dropped.contains(name) || steps::is_free(target, name))
    };
    let names = steps::candidates(&target.relation.name, &columns, label);
    let fallback = names.first().cloned();
    names.into_iter().find(is_usable).or(fallback)
}
