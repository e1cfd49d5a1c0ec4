//! What the schema changes without a file of their own do to what exists.
//!
//! Sources: the commands' files in `src/backend/commands`; measured on PostgreSQL 13 to 18 by
//! `tests/judged.rs`.

use super::alter_effects::index_of;
use super::known::{Known, family, leaves};
use super::other::found;
use crate::catalog::{Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::sql::name::Name;
use crate::sql::statement::{DomainChange, ObjectKind, OtherDdl, OtherKind, Statement};

/// What it does to what exists.
pub(super) fn of(other: &OtherDdl, known: Known) -> Effects {
    use LockMode::{AccessShare, Exclusive, ShareUpdateExclusive};
    let all = |mode| on_each(other, known, mode);
    match &other.kind {
        OtherKind::CreateTrigger => create_trigger(other, known),
        OtherKind::DropTrigger => drop_trigger(other, known),
        OtherKind::Rule
        | OtherKind::Policy
        | OtherKind::ReplaceView
        | OtherKind::SetSchema { .. } => exclusive(other, known),
        OtherKind::RefreshMaterializedView {
            concurrently: true, ..
        } => {
            let mut effects = all(Exclusive);
            effects.scans = effects.locks.keys().cloned().collect(); // compared with the new rows
            effects
        }
        OtherKind::RefreshMaterializedView {
            without_data: true, ..
        } => all(LockMode::AccessExclusive),
        OtherKind::RefreshMaterializedView { .. } => repack(other, known),
        OtherKind::AlterSequence | OtherKind::CreateSequence => sequence(other, known),
        OtherKind::Truncate { cascade, restart } => truncate(other, *cascade, *restart, known),
        OtherKind::LockTable { mode, descends } => lock_table(other, *mode, *descends, known),
        OtherKind::Cluster | OtherKind::VacuumFull => {
            repack(other, known).and(of_listed(known, LockMode::AccessExclusive, Work::Rewrite))
        }
        OtherKind::ReindexMany { concurrently, .. } => reindex_many(*concurrently, known),
        OtherKind::MoveAll { object, .. } => move_all(*object, known),
        OtherKind::Vacuum => vacuum(other, known),
        OtherKind::ExtensionMember => all(ShareUpdateExclusive),
        OtherKind::AlterObject => all(LockMode::AccessExclusive), // DEPENDS ON EXTENSION
        OtherKind::SecurityLabel | OtherKind::CommentOnRelation => all(ShareUpdateExclusive),
        OtherKind::CommentOnPart => all(AccessShare),
        OtherKind::GrantOnRelations if known.version() >= 180_000 => all(AccessShare),
        OtherKind::CreateStatistics => all(ShareUpdateExclusive),
        OtherKind::PublicationTables { .. } => {
            all(ShareUpdateExclusive).and(of_listed(known, ShareUpdateExclusive, Work::None))
        }
        OtherKind::AlterDomain {
            change: DomainChange::Constrain | DomainChange::Validate,
            ..
        } => of_domain(known),
        OtherKind::Owned { .. } => of_owner(known),
        OtherKind::CreateSchema(elements) => of_elements(elements, known),
        OtherKind::CreateView
        | OtherKind::CreateTableAs
        | OtherKind::GrantOnRelations
        | OtherKind::PublicationAll
        | OtherKind::AlterDomain { .. }
        | OtherKind::EnumAddValue
        | OtherKind::EnumRenameValue
        | OtherKind::AlterSystem
        | OtherKind::DropDatabase
        | OtherKind::Database
        | OtherKind::EventTrigger
        | OtherKind::PrepareTransaction
        | OtherKind::Script
        | OtherKind::ReplaceFunction { .. }
        | OtherKind::Harmless => Effects::none(),
    }
}

/// ACCESS EXCLUSIVE on what it names; SET SCHEMA moves the sequences of the columns too.
fn exclusive(other: &OtherDdl, known: Known) -> Effects {
    let mut effects = on_each(other, known, LockMode::AccessExclusive);
    if matches!(other.kind, OtherKind::SetSchema { .. }) {
        for relation in found(other, known) {
            for sequence in &relation.details.sequences {
                effects.add_lock(sequence.clone(), LockMode::AccessExclusive);
            }
        }
    }
    effects
}

/// Every table with a column of the domain is read under SHARE (`validateDomainCheckConstraint` of
/// `src/backend/commands/typecmds.c`).
fn of_domain(known: Known) -> Effects {
    let mut effects = Effects::none();
    for table in known.facts.objects.iter().flatten() {
        effects.add_lock(table.qualified(), LockMode::Share);
        if table.kind == RelationKind::Table {
            effects.add_scan(table.qualified());
        }
    }
    effects
}

/// Everything that a role owns.
fn of_owner(known: Known) -> Effects {
    let mut effects = Effects::none();
    for relation in known.facts.objects.iter().flatten() {
        effects.add_lock(relation.qualified(), LockMode::AccessExclusive);
    }
    effects
}

/// The tables that `CREATE SCHEMA` makes may refer to others.
fn of_elements(elements: &[Statement], known: Known) -> Effects {
    let mut effects = Effects::none();
    for element in elements {
        if let Statement::CreateTable(create) = element {
            effects.add(super::create_table::effects(create, known));
        }
    }
    effects
}

/// A lock on each relation that it names and that exists.
fn on_each(other: &OtherDdl, known: Known, mode: LockMode) -> Effects {
    let mut effects = Effects::none();
    for relation in found(other, known) {
        effects.add_lock(relation.qualified(), mode);
    }
    effects
}

/// The sequence; the table behind OWNED BY is only looked at.
fn sequence(other: &OtherDdl, known: Known) -> Effects {
    let mut effects = Effects::none();
    for relation in found(other, known) {
        let mode = if relation.kind == RelationKind::Sequence {
            LockMode::ShareRowExclusive
        } else {
            LockMode::AccessShare
        };
        effects.add_lock(relation.qualified(), mode);
    }
    effects
}

/// A trigger's table, and its partitions, which may have it too.
fn drop_trigger(other: &OtherDdl, known: Known) -> Effects {
    let mut effects = Effects::none();
    for relation in found(other, known) {
        for member in family(relation, relation.kind != RelationKind::PartitionedTable) {
            effects.add_lock(member.qualified(), LockMode::AccessExclusive);
        }
    }
    effects
}

/// A trigger's table and its partitions; the relation behind FROM is only looked at.
fn create_trigger(other: &OtherDdl, known: Known) -> Effects {
    let mut effects = Effects::none();
    for (at, relation) in found(other, known).enumerate() {
        if at > 0 {
            effects.add_lock(relation.qualified(), LockMode::AccessShare);
            continue;
        }
        for member in family(relation, relation.kind != RelationKind::PartitionedTable) {
            effects.add_lock(member.qualified(), LockMode::ShareRowExclusive);
        }
    }
    effects
}

fn truncate(other: &OtherDdl, cascade: bool, restart: bool, known: Known) -> Effects {
    let mode = LockMode::AccessExclusive;
    let mut effects = Effects::none();
    let lock_all = |name: &Name, indexes: &[String], effects: &mut Effects| {
        effects.add_lock(name.clone(), mode);
        for index in indexes {
            let schema = name.schema.clone().unwrap_or_default();
            effects.add_lock(Name::qualified(schema, index.clone()), mode);
        }
    };
    for relation in found(other, known) {
        for member in family(relation, false) {
            lock_all(&member.qualified(), &member.indexes, &mut effects);
        }
        if restart {
            for sequence in &relation.details.sequences {
                effects.add_lock(sequence.clone(), mode);
            }
        }
    }
    if cascade {
        effects.add(of_listed(known, mode, Work::None));
    }
    effects
}

/// What is done with the listed tables besides locking them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    None,
    Rewrite,
    Build,
}

/// A lock on what was listed, and on its indexes.
fn of_listed(known: Known, mode: LockMode, work: Work) -> Effects {
    let mut effects = Effects::none();
    for relation in known.facts.objects.iter().flatten() {
        let is_table = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::MaterializedView
        );
        effects.add_lock(relation.qualified(), mode);
        for index in &relation.indexes {
            effects.add_lock(Name::qualified(&relation.schema, index), mode);
        }
        if is_table && work == Work::Rewrite {
            effects.add_rewrite(relation.qualified());
        }
        if is_table && work != Work::None && !relation.indexes.is_empty() {
            effects.add_build(relation.qualified());
        }
    }
    effects
}

/// `ReindexMultipleTables` of `src/backend/commands/indexcmds.c`: one table after the other.
fn reindex_many(concurrently: bool, known: Known) -> Effects {
    if concurrently {
        return of_listed(known, LockMode::ShareUpdateExclusive, Work::Build);
    }
    let mut effects = of_listed(known, LockMode::Share, Work::Build);
    for relation in known.facts.objects.iter().flatten() {
        for index in &relation.indexes {
            let index = Name::qualified(&relation.schema, index);
            effects.add_lock(index, LockMode::AccessExclusive);
        }
    }
    effects
}

/// `AlterTableMoveAll` of `src/backend/commands/tablecmds.c`: those of one kind, and nothing on them.
fn move_all(object: ObjectKind, known: Known) -> Effects {
    let mut effects = Effects::none();
    for relation in known.facts.objects.iter().flatten() {
        let is_meant = match relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable => object == ObjectKind::Table,
            RelationKind::Index | RelationKind::PartitionedIndex => object == ObjectKind::Index,
            RelationKind::MaterializedView => object == ObjectKind::MaterializedView,
            RelationKind::View
            | RelationKind::Sequence
            | RelationKind::ForeignTable
            | RelationKind::Other => false,
        };
        if is_meant {
            effects.add_lock(relation.qualified(), LockMode::AccessExclusive);
            if matches!(
                relation.kind,
                RelationKind::Table | RelationKind::MaterializedView
            ) {
                effects.add_rewrite(relation.qualified());
            }
        }
    }
    effects
}

fn lock_table(other: &OtherDdl, mode: LockMode, descends: bool, known: Known) -> Effects {
    let is_view = |relation: &Relation| relation.kind == RelationKind::View;
    let mut effects = Effects::none();
    if found(other, known).any(is_view) {
        for behind in known.facts.objects.iter().flatten() {
            effects.add_lock(behind.qualified(), mode);
        }
    }
    for relation in found(other, known) {
        for member in family(relation, !descends) {
            effects.add_lock(member.qualified(), mode);
        }
    }
    effects
}

fn repack(other: &OtherDdl, known: Known) -> Effects {
    let mode = LockMode::AccessExclusive;
    let mut effects = Effects::none();
    for relation in found(other, known) {
        let members = family(relation, relation.kind != RelationKind::PartitionedTable);
        for member in &members {
            effects.add_lock(member.qualified(), mode);
        }
        for member in leaves(&members) {
            effects.add_rewrite(member.qualified());
            for index in &member.indexes {
                effects.add_lock(index_of(member, index), mode);
                effects.add_build(member.qualified());
            }
        }
    }
    effects
}

/// The tables and their partitions.
fn vacuum(other: &OtherDdl, known: Known) -> Effects {
    let mut effects = Effects::none();
    for relation in found(other, known) {
        for member in family(relation, relation.kind != RelationKind::PartitionedTable) {
            effects.add_lock(member.qualified(), LockMode::ShareUpdateExclusive);
        }
    }
    effects
}
