//! What the statements about indexes do to what exists.
//!
//! Sources: `DefineIndex`, `ReindexIndex` of `src/backend/commands/indexcmds.c`,
//! `RemoveRelations` of `src/backend/commands/tablecmds.c`; measured by `tests/judged.rs`.

use super::adopt;
use super::alter_effects::index_of;
use super::known::{Known, family, leaves};
use crate::catalog::{Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::sql::statement::{CreateIndex, DropIndex, Reindex, ReindexKind};

/// `CREATE INDEX`.
pub(super) fn create(create: &CreateIndex, known: Known) -> Effects {
    let Some(table) = known.relation(&create.table) else {
        return Effects::none();
    };
    let mode = if create.concurrently {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::Share
    };
    let exists = create.if_not_exists && !known.facts.taken.is_empty() && create.name.is_some();
    let members = family(
        table,
        create.only || table.kind != RelationKind::PartitionedTable,
    );
    let mut effects = Effects::none();
    for member in &members {
        effects.add_lock(member.qualified(), mode);
    }
    if exists {
        return Effects::lock(table.qualified(), mode);
    }
    for member in leaves(&members).filter(|leaf| !adopt::has_index(leaf, create)) {
        effects.add_build(member.qualified());
    }
    effects
}

/// `DROP INDEX`.
pub(super) fn drop(drop: &DropIndex, known: Known) -> Effects {
    let mode = if drop.concurrently {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::AccessExclusive
    };
    let mut effects = Effects::none();
    for index in drop.indexes.iter().filter_map(|name| known.relation(name)) {
        effects.add_lock(index.qualified(), mode);
        if let Some(table) = &index.table {
            effects.add_lock(table.qualified(), mode);
        }
        for member in &index.details.descendants {
            effects.add_lock(member.qualified(), mode);
            if let Some(table) = &member.table {
                effects.add_lock(table.clone(), mode);
            }
        }
    }
    effects
}

/// `REINDEX INDEX` and `REINDEX TABLE`.
pub(super) fn reindex(reindex: &Reindex, known: Known) -> Effects {
    let Some(relation) = known.relation(&reindex.name) else {
        return Effects::none();
    };
    let (on_table, on_index) = if reindex.concurrently {
        (
            LockMode::ShareUpdateExclusive,
            LockMode::ShareUpdateExclusive,
        )
    } else {
        (LockMode::Share, LockMode::AccessExclusive)
    };
    let mut effects = Effects::none();
    match reindex.kind {
        ReindexKind::Index => {
            effects.add_lock(relation.qualified(), on_index);
            if let Some(table) = &relation.table {
                effects.add_lock(table.qualified(), on_table);
                if relation.kind != RelationKind::PartitionedIndex {
                    effects.add_build(table.qualified());
                }
            }
            for member in &relation.details.descendants {
                effects.add_lock(member.qualified(), on_index);
                if let Some(table) = &member.table {
                    effects.add_lock(table.clone(), LockMode::Share);
                    if member.is_leaf() {
                        effects.add_build(table.clone());
                    }
                }
            }
        }
        ReindexKind::Table => of_table(relation, on_table, on_index, &mut effects),
    }
    effects
}

fn of_table(relation: &Relation, on_table: LockMode, on_index: LockMode, effects: &mut Effects) {
    for member in family(relation, false) {
        effects.add_lock(member.qualified(), on_table);
        if relation.kind == RelationKind::PartitionedTable {
            // CONCURRENTLY too locks all of them so at first (`ReindexPartitions`).
            effects.add_lock(member.qualified(), LockMode::Share);
        }
        if relation.assumed {
            effects.add_build(member.qualified()); // it has indexes, for all that is known
        }
        for index in &member.indexes {
            effects.add_lock(index_of(&member, index), on_index);
            if member.is_leaf() {
                effects.add_build(member.qualified());
            }
        }
    }
}
