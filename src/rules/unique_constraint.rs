//! `ADD UNIQUE`, `ADD PRIMARY KEY` build their index under ACCESS EXCLUSIVE.
//!
//! Recipe: the index concurrently, under the name of the constraint; then the constraint takes it
//! over. A primary key's columns are made NOT NULL first. On a partitioned table each leaf gets a
//! constraint of its own first, which the parent's takes for its own.
//! <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX>

use super::alter_effects::Target;
use super::foreign_key::as_relation;
use super::known::{family, leaves};
use super::{Action, Rule, names, not_null, steps};
use crate::catalog::RelationKind;
use crate::lock::LockMode;
use crate::plan::{Check, Context, Leftovers, Step, Undo};
use crate::sql::alter_table::{ConstraintDefinition, ConstraintDefinitionKind};
use crate::sql::name::quote_identifier;

/// An index is built while nobody may use the table.
pub const BUILDS: Rule = Rule {
    name: "add-unique-build",
    hazard: "UNIQUE and PRIMARY KEY build their index under an ACCESS EXCLUSIVE lock: every query waits until \
             it is done.",
    remedy: "The index is built concurrently; the constraint then takes it over in a moment.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users ADD CONSTRAINT users_email_key UNIQUE (email)",
};

/// A primary key takes over an index, but its columns may still hold NULLs.
pub const USING_INDEX_SCANS: Rule = Rule {
    name: "primary-key-not-null-scan",
    hazard: "PRIMARY KEY USING INDEX reads the whole table under ACCESS EXCLUSIVE when a column isn't NOT NULL yet.",
    remedy: "The columns are made NOT NULL first, without a scan under the lock.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE sessions ADD CONSTRAINT sessions_pkey PRIMARY KEY USING INDEX sessions_id_idx",
};

/// An exclusion constraint can't be had without a lock.
pub const EXCLUDES: Rule = Rule {
    name: "add-exclude-build",
    hazard: "EXCLUDE builds its index under an ACCESS EXCLUSIVE lock: every query waits until it is done.",
    remedy: "It is refused: neither CONCURRENTLY nor USING INDEX nor NOT VALID can be had for it. Do it in a window.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "alike",
    example: "ALTER TABLE bookings ADD CONSTRAINT no_overlap EXCLUDE USING gist (room WITH =, during WITH &&)",
};

/// The columns' names as PostgreSQL joins them for the name of a constraint: those of INCLUDE
/// count (`ChooseIndexColumnNames` of `src/backend/commands/indexcmds.c`).
pub(super) fn joined(columns: &[String], include: &[String]) -> String {
    [columns, include].concat().join("_")
}

/// The steps in its place; `None` where there is no safe way.
pub(super) fn recipe(constraint: &ConstraintDefinition, target: &Target) -> Option<Vec<Step>> {
    let ConstraintDefinitionKind::Unique {
        primary,
        columns,
        include,
        index_tail,
        deferrable,
        without_overlaps: false,
    } = &constraint.kind
    else {
        return None; // WITHOUT OVERLAPS rests on a GiST index, which no constraint can take over
    };
    let name = names::of(constraint, target);
    let mut all = Vec::new();
    if *primary {
        all.extend(not_null_first(columns, target));
    }
    let word = if *primary { "PRIMARY KEY" } else { "UNIQUE" };
    if target.relation.kind != RelationKind::PartitionedTable {
        all.push(build(&name, index_tail, target));
        all.push(take_over(&name, word, deferrable, target));
        return Some(all);
    }
    for member in leaves(&family(target.relation, false)) {
        let relation = as_relation(member);
        let leaf = Target {
            known: target.known,
            relation: &relation,
            only: false,
        };
        let leaf_name = if *primary {
            crate::sql::name::make_object_name(&member.name, "", "pkey")
        } else {
            crate::sql::name::make_object_name(&member.name, &joined(columns, include), "key")
        };
        all.push(build(&leaf_name, index_tail, &leaf));
        all.push(take_over(&leaf_name, word, deferrable, &leaf));
    }
    let quoted = quote_identifier(&name);
    let add = format!("ADD CONSTRAINT {quoted} {}", constraint.body);
    all.push(
        steps::alter(target, &add)
            .undone_by(steps::alter_sql(
                target,
                &format!("DROP CONSTRAINT IF EXISTS {quoted}"),
            ))
            .checked_by(Check::ConstraintIsValid {
                table: target.relation.qualified(),
                name,
            }),
    );
    Some(all)
}

/// `PRIMARY KEY USING INDEX` with its columns made NOT NULL before.
pub(super) fn using_index_recipe(
    constraint: &ConstraintDefinition,
    sql: &str,
    target: &Target,
) -> Vec<Step> {
    let ConstraintDefinitionKind::UsingIndex { index, .. } = &constraint.kind else {
        return Vec::new();
    };
    let found = target
        .relation
        .indexes
        .iter()
        .find(|found| found.name == *index);
    let columns: Vec<String> = found
        .iter()
        .flat_map(|index| index.columns.iter().flatten().cloned())
        .collect();
    let mut all = not_null_first(&columns, target);
    all.push(steps::alter(target, sql));
    all
}

fn not_null_first(columns: &[String], target: &Target) -> Vec<Step> {
    let is_nullable = |column: &&String| {
        target
            .relation
            .details
            .column(column)
            .is_none_or(|found| !found.not_null)
    };
    columns
        .iter()
        .filter(is_nullable)
        .flat_map(|column| not_null::recipe(column, None, target))
        .collect()
}

fn build(name: &str, tail: &str, target: &Target) -> Step {
    let table = target.relation.qualified();
    let sql = format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {} ON {table} {tail}",
        quote_identifier(name)
    );
    Step {
        context: Context::Concurrent {
            clear: Some(table.clone()),
        },
        undo: Undo::DropInvalidIndexes(Leftovers {
            table_oid: target.relation.oid,
            before: target
                .relation
                .indexes
                .iter()
                .map(|index| index.oid)
                .collect(),
            name: Some(name.to_owned()),
            reindex_copies: false,
        }),
        check: Check::IndexIsValid {
            table_oid: target.relation.oid,
            name: name.to_owned(),
        },
        ..Step::brief(format!("create unique index {name} concurrently"), sql)
    }
    .locking(&table, LockMode::ShareUpdateExclusive)
}

fn take_over(name: &str, word: &str, deferrable: &str, target: &Target) -> Step {
    let quoted = quote_identifier(name);
    let add = format!("ADD CONSTRAINT {quoted} {word} USING INDEX {quoted} {deferrable}");
    steps::alter(target, add.trim_end())
        .undone_by(steps::alter_sql(
            target,
            &format!("DROP CONSTRAINT IF EXISTS {quoted}"),
        ))
        .checked_by(Check::ConstraintIsValid {
            table: target.relation.qualified(),
            name: name.to_owned(),
        })
}
