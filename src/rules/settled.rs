//! Sub-commands of `ALTER TABLE` whose end is known from the catalog: those that change nothing, and
//! those that the server refuses before it reads or builds anything.

use super::alter_effects::Target;
use super::alter_type;
use super::decide::{Finding, Way};
use crate::catalog::{ColumnUser, Constraint, ConstraintKind, Relation, RelationKind};
use crate::sql::alter_table::{
    ActionKind, ColumnDefinition, ConstraintDefinition, ConstraintDefinitionKind, TypeName,
};

/// What the catalog already says; PostgreSQL's own NOTICEs
/// (`src/backend/commands/tablecmds.c`).
pub(super) fn settled(kind: &ActionKind, target: &Target) -> Option<Finding> {
    let is_ours = target.relation.kind == RelationKind::Table && !target.relation.is_system();
    // A longer name is cut, and the server says so.
    const LONGEST_NAME: usize = 60;
    let is_long = kind.name().is_some_and(|name| name.len() >= LONGEST_NAME);
    let facts = target.known.facts;
    if facts.assumed || facts.session.read_only || !is_ours || is_long {
        return None;
    }
    let notices = notices(kind, target)?;
    Some(Finding {
        rule: None,
        way: Way::Nothing(notices),
    })
}

/// What the server would say about a sub-command that changes nothing; `None` for one that does.
fn notices(kind: &ActionKind, target: &Target) -> Option<Vec<(&'static str, String)>> {
    let details = &target.relation.details;
    let table = &target.relation.name;
    Some(match kind {
        ActionKind::AddColumn {
            column,
            if_not_exists: true,
        } if details.column(&column.name).is_some()
            && !details.is_partition
            && !details.is_typed =>
        {
            vec![(
                "42701",
                format!(
                    "column \"{}\" of relation \"{table}\" already exists, skipping",
                    column.name
                ),
            )]
        }
        ActionKind::DropColumn {
            column,
            if_exists: true,
            ..
        } if details.column(column).is_none() && !is_system_column(column) && !details.is_typed => {
            vec![(
                "00000",
                format!("column \"{column}\" of relation \"{table}\" does not exist, skipping"),
            )]
        }
        ActionKind::DropConstraint {
            name,
            if_exists: true,
            ..
        } if details.constraint(name).is_none() => vec![(
            "00000",
            format!("constraint \"{name}\" of relation \"{table}\" does not exist, skipping"),
        )],
        ActionKind::SetNotNull { column }
            if details.column(column).is_some_and(|found| found.not_null)
                && details.descendants.is_empty() =>
        {
            Vec::new()
        }
        ActionKind::SetType {
            column,
            to,
            using: None,
            ..
        } if is_built_in(to, target)
            && alter_type::change(kind, target) == alter_type::TypeChange::Same
            && is_alone(column, target) =>
        {
            Vec::new()
        }
        ActionKind::ValidateConstraint { name }
            if details
                .constraint(name)
                .is_some_and(|found| found.validated && can_be_validated(found.kind)) =>
        {
            Vec::new()
        }
        _ => return None,
    })
}

/// Nothing that the server looks at when a column's type is set: it would refuse, or has more to do.
fn is_alone(column: &String, target: &Target) -> bool {
    let details = &target.relation.details;
    let uses = |user: &ColumnUser| user.columns.contains(column);
    details.views.is_empty()
        && details.descendants.is_empty()
        && !details.is_partition
        && !details.is_typed
        && !details.column_users.iter().any(uses)
}

fn can_be_validated(kind: ConstraintKind) -> bool {
    matches!(
        kind,
        ConstraintKind::Check | ConstraintKind::ForeignKey | ConstraintKind::NotNull
    )
}

/// Columns that every table has and none can lose (`SysAtt` of `src/backend/catalog/heap.c`).
fn is_system_column(name: &str) -> bool {
    ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"].contains(&name)
}

/// A type of PostgreSQL's own: everybody may use it (`FirstNormalObjectId` of
/// `src/include/access/transam.h`).
fn is_built_in(to: &TypeName, target: &Target) -> bool {
    const FIRST_NORMAL_OID: u32 = 16_384;
    target
        .known
        .type_of(&to.sql)
        .is_some_and(|of_type| of_type.oid < FIRST_NORMAL_OID)
}

/// Whether the server is known to refuse a sub-command before it reads or builds anything: then its
/// own error is what the client should see.
pub(super) fn is_refused(kind: &ActionKind, target: &Target) -> bool {
    let details = &target.relation.details;
    let is_table = matches!(
        target.relation.kind,
        RelationKind::Table | RelationKind::PartitionedTable | RelationKind::ForeignTable
    );
    if target.relation.assumed || target.known.facts.assumed {
        return false;
    }
    let is_missing = |column: &String| details.column(column).is_none();
    match kind {
        ActionKind::SetNotNull { column } | ActionKind::SetType { column, .. } => {
            is_table && is_missing(column)
        }
        ActionKind::AddColumn {
            column,
            if_not_exists,
        } => (!if_not_exists && !is_missing(&column.name)) || column_is_refused(column, target),
        ActionKind::AddConstraint(constraint) => {
            !is_table || constraint_is_refused(constraint, None, target)
        }
        _ => false,
    }
}

/// A column that would have its value from two sources, or be NULL and NOT NULL (`transformColumnDefinition` of
/// `src/backend/parser/parse_utilcmd.c`), an identity column of a table whose children would have it too
/// (`ATExecAddColumn` of `src/backend/commands/tablecmds.c`), or one with a constraint that is refused.
fn column_is_refused(column: &ColumnDefinition, target: &Target) -> bool {
    let sources = [
        column.identity.is_some(),
        column.default.is_some(),
        column.generated.is_some(),
        column.type_name.serial.is_some(),
    ];
    let is_shared = !target.only && !target.relation.details.descendants.is_empty();
    let partitions_may =
        target.known.version() >= 170_000 && target.relation.kind == RelationKind::PartitionedTable;
    let is_not_null =
        column.not_null || column.identity.is_some() || column.type_name.serial.is_some();
    let is_refused = |constraint: &ConstraintDefinition| {
        constraint_is_refused(constraint, Some(&column.name), target)
    };
    let builds = |constraint: &&ConstraintDefinition| {
        matches!(constraint.kind, ConstraintDefinitionKind::Unique { .. })
    };
    // Indexes are built first (`AT_PASS_ADD_INDEX`).
    let has_refused = match column.constraints.iter().find(builds) {
        Some(first) => is_refused(first),
        None => column.constraints.iter().any(is_refused),
    };
    sources.iter().filter(|has| **has).count() > 1
        || (column.null && is_not_null)
        || (column.identity.is_some() && is_shared && !partitions_may)
        || has_refused
}

/// `new` is the column that comes with it.
fn constraint_is_refused(
    constraint: &ConstraintDefinition,
    new: Option<&str>,
    target: &Target,
) -> bool {
    let details = &target.relation.details;
    let is_missing =
        |column: &String| new != Some(column.as_str()) && details.column(column).is_none();
    let is_taken = |name: &String| details.constraint(name).is_some();
    if constraint.name.as_ref().is_some_and(is_taken) {
        return true;
    }
    match &constraint.kind {
        ConstraintDefinitionKind::Unique {
            primary,
            columns,
            include,
            ..
        } => {
            let lacks_key = |key: &String| !columns.contains(key);
            let has_primary = |own: &Constraint| own.kind == ConstraintKind::PrimaryKey;
            columns.iter().chain(include).any(is_missing)
                || details.partition_columns.iter().any(lacks_key)
                || (*primary && details.constraints.iter().any(has_primary))
        }
        ConstraintDefinitionKind::ForeignKey {
            columns,
            referenced,
            ..
        } => {
            let is_table = |relation: &Relation| {
                matches!(
                    relation.kind,
                    RelationKind::Table | RelationKind::PartitionedTable
                )
            };
            columns.iter().any(is_missing)
                || !target.known.relation(referenced).is_some_and(is_table)
        }
        ConstraintDefinitionKind::NotNull { column } => is_missing(column),
        ConstraintDefinitionKind::Check { .. }
        | ConstraintDefinitionKind::UsingIndex { .. }
        | ConstraintDefinitionKind::Exclude => false,
    }
}
