//! `DROP` loses data, breaks clients, and locks more than it names: the tables that foreign keys
//! refer to, the parent of a partition, with CASCADE whatever depends.
//!
//! Recipes: the foreign keys of a table first, each alone; a partition is detached concurrently
//! before it is dropped. CASCADE shows what would go.
//! <https://www.postgresql.org/docs/current/sql-droptable.html>

use super::alter_effects::{Target, index_of};
use super::decide::{Case, Finding, Way, as_sent};
use super::known::{Known, family};
use super::{Action, Judgement, Rule, foreign_key, partition};
use crate::catalog::{
    Depth, Details, FactRequest, ObjectClass, ObjectRequest, Relation, RelationKind,
};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Check, Step, Undo};
use crate::sql::name::Name;
use crate::sql::statement::{DropKind, DropObjects, Scope};

/// Data is lost and clients fail.
pub const LOSES_DATA: Rule = Rule {
    name: "drop-table-loses-data",
    hazard: "The table and its data are gone, and clients that still use it fail.",
    remedy: "It runs under a short lock_timeout, and the client is told.",
    manual: "https://www.postgresql.org/docs/current/sql-droptable.html",
    action: Action::Notice,
    versions: "alike",
    example: "DROP TABLE users",
};

/// More goes than what is named.
pub const TAKES_MORE: Rule = Rule {
    name: "cascade-drops-more",
    hazard: "CASCADE drops foreign keys of other tables, which then take any value.",
    remedy: "It runs under a short lock_timeout, and the client is told which.",
    manual: "https://www.postgresql.org/docs/current/ddl-depend.html",
    action: Action::Notice,
    versions: "alike",
    example: "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE",
};

/// Clients fail.
pub const BREAKS_CLIENTS: Rule = Rule {
    name: "drop-breaks-clients",
    hazard: "Clients that still use it fail from that moment on.",
    remedy: "It runs under a short lock_timeout.",
    manual: "https://www.postgresql.org/docs/current/sql-dropview.html",
    action: Action::Allow,
    versions: "alike",
    example: "DROP VIEW active_users",
};

/// Other tables are locked against everybody.
pub const LOCKS_OTHERS: Rule = Rule {
    name: "drop-table-locks-others",
    hazard: "DROP TABLE locks every table that its foreign keys refer to, and the parent of a partition, exclusively.",
    remedy: "Foreign keys go first, one at a time; a partition is detached concurrently; then the table is dropped.",
    manual: "https://www.postgresql.org/docs/current/sql-droptable.html",
    action: Action::Rewrite,
    versions: "A partition is detached CONCURRENTLY from 14, and not while there is a default partition.",
    example: "DROP TABLE order_items",
};

/// What depends goes too.
pub const CASCADES: Rule = Rule {
    name: "drop-cascade",
    hazard: "CASCADE drops whatever depends on it, tables and columns included, and locks all of it exclusively.",
    remedy: "It is refused while that is more than a small table: drop what depends on it one by one.",
    manual: "https://www.postgresql.org/docs/current/ddl-depend.html",
    action: Action::Reject,
    versions: "alike",
    example: "DROP TYPE mood CASCADE",
};

/// The relations; for other objects what depends on them.
pub(super) fn facts_needed(drop: &DropObjects) -> FactRequest {
    let class = match drop.kind {
        DropKind::Table
        | DropKind::ForeignTable
        | DropKind::View
        | DropKind::MaterializedView
        | DropKind::Sequence => {
            return FactRequest {
                relations: drop.names.clone(),
                depth: Depth::Full,
                objects: owned_by_tables(drop),
                ..FactRequest::default()
            };
        }
        DropKind::Schema => ObjectClass::Schema,
        DropKind::Type | DropKind::Domain => ObjectClass::Type,
        DropKind::Function => ObjectClass::Function,
        DropKind::Extension => ObjectClass::Extension,
        DropKind::Statistics => ObjectClass::Statistics,
        DropKind::Server => ObjectClass::Server,
        DropKind::Other => return FactRequest::default(),
    };
    if !drop.cascade && drop.kind != DropKind::Statistics {
        return FactRequest::default(); // RESTRICT: nothing depends on it, or the server refuses
    }
    FactRequest {
        objects: drop
            .names
            .iter()
            .map(|name| ObjectRequest {
                kind: class,
                name: name.clone(),
            })
            .collect(),
        ..FactRequest::default()
    }
}

/// The columns whose default is a sequence that goes with CASCADE.
fn owned_by_tables(drop: &DropObjects) -> Vec<ObjectRequest> {
    let names = drop.names.iter();
    let names = names.filter(|_| drop.cascade && drop.kind == DropKind::Sequence);
    let request = |name: &Name| ObjectRequest {
        kind: ObjectClass::Relation,
        name: name.clone(),
    };
    names.map(request).collect()
}

/// Judges `DROP`.
pub(super) fn judge(drop: &DropObjects, source: &str, known: Known) -> Judgement {
    match drop.kind {
        DropKind::Table
        | DropKind::ForeignTable
        | DropKind::View
        | DropKind::MaterializedView
        | DropKind::Sequence => judge_relations(drop, source, known),
        DropKind::Schema
        | DropKind::Type
        | DropKind::Domain
        | DropKind::Function
        | DropKind::Extension
        | DropKind::Statistics
        | DropKind::Server
        | DropKind::Other => judge_objects(drop, source, known),
    }
}

fn judge_relations(drop: &DropObjects, source: &str, known: Known) -> Judgement {
    let found: Vec<&Relation> = drop
        .names
        .iter()
        .filter_map(|name| known.relation(name))
        .collect();
    if found.is_empty() || found.iter().any(|relation| !relation.owned) {
        // The server says so, without a lock.
        return super::other::judge(drop.tag, Scope::Transactional, source);
    }
    let mut effects = Effects::none();
    for relation in &found {
        effects.add(of_relation(relation, drop.cascade));
    }
    for table in known.facts.objects.iter().flatten() {
        effects.add_lock(table.qualified(), LockMode::AccessExclusive);
    }
    known.forget_own(&mut effects);
    let is_own = effects.locks.is_empty();
    let mut findings = vec![Finding::as_sent(&LOSES_DATA)];
    if let [relation] = found.as_slice()
        && relation.extension.is_none()
        && let Some(steps) = recipe(relation, source, known)
    {
        findings = vec![Finding::of(&LOCKS_OTHERS, Way::Steps(steps))];
    }
    let are_small = found.iter().all(|relation| known.is_small(relation));
    if is_own {
        findings = vec![Finding::harmless()];
    } else if matches!(drop.kind, DropKind::View | DropKind::Sequence) {
        findings = vec![Finding::as_sent(&BREAKS_CLIENTS)];
    } else if are_small {
        findings = vec![Finding::harmless()];
    }
    let case = Case {
        known,
        tag: drop.tag,
        note: if drop.cascade {
            what_goes(&found)
        } else {
            String::new()
        },
        as_sent: as_sent(drop.tag, source, &effects),
        effects,
        findings,
    };
    case.decide(super::only_steps)
}

/// What CASCADE takes with the relations, in words.
fn what_goes(found: &[&Relation]) -> String {
    if found.iter().any(|relation| relation.assumed) {
        return "What depends on it, and goes with CASCADE, isn't known here.".to_owned();
    }
    let all = found
        .iter()
        .flat_map(|relation| that_use(&relation.details, None, None));
    in_words(all.collect())
}

/// The views and foreign keys that use a relation: all, those that use a column, or those that rest
/// on an index of it.
pub(super) fn that_use(
    details: &Details,
    column: Option<&String>,
    index: Option<&str>,
) -> Vec<String> {
    let views = details.views.iter().filter(|view| match (column, index) {
        (Some(column), _) => view.columns.is_empty() || view.columns.contains(column),
        (None, Some(_)) => false,
        (None, None) => true,
    });
    let keys = details.referenced_by.iter().filter(|key| !key.is_share);
    let keys = keys.filter(|key| match (column, index) {
        (Some(column), _) => key.referenced_columns.contains(column),
        (None, Some(index)) => key.index.as_deref() == Some(index),
        (None, None) => true,
    });
    let views = views.map(|view| {
        let what = match view.kind {
            RelationKind::MaterializedView => "materialized view",
            _ => "view",
        };
        format!("{what} {}", view.qualified())
    });
    let keys = keys.map(|key| {
        let name = crate::sql::name::quote_identifier(&key.name);
        format!("foreign key {name} of {}", key.table.qualified())
    });
    views.chain(keys).collect()
}

/// What goes with CASCADE, as a sentence; empty where nothing does.
pub(super) fn in_words(mut goes: Vec<String>) -> String {
    const SHOWN: usize = 10;
    goes.sort();
    goes.dedup();
    let more = goes.len().saturating_sub(SHOWN);
    goes.truncate(SHOWN);
    match (goes.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("CASCADE also drops: {}.", goes.join(", ")),
        (false, more) => format!("CASCADE also drops: {} and {more} more.", goes.join(", ")),
    }
}

/// What dropping a relation locks.
fn of_relation(relation: &Relation, cascade: bool) -> Effects {
    let mode = LockMode::AccessExclusive;
    let details = &relation.details;
    let mut effects = Effects::none();
    for member in family(relation, false) {
        for index in &member.indexes {
            effects.add_lock(index_of(&member, index), mode);
        }
        effects.add_lock(member.qualified(), mode);
    }
    for parent in details.parents.iter().filter(|_| details.is_partition) {
        effects.add_lock(parent.qualified(), mode);
    }
    if details.is_partition
        && let Some(default) = &details.parent_default
    {
        effects.add_lock(default.qualified(), mode);
    }
    // The triggers of a partition's share in its parent's key aren't on the other table.
    let keys = details.constraints.iter().filter(|one| !one.inherited);
    for referenced in keys.flat_map(|one| &one.references) {
        effects.add_lock(referenced.qualified(), mode);
    }
    for sequence in &details.sequences {
        effects.add_lock(sequence.clone(), mode);
    }
    if cascade {
        for view in &details.views {
            effects.add_lock(view.qualified(), mode);
        }
        for key in &details.referenced_by {
            effects.add_lock(key.table.qualified(), mode);
        }
    }
    effects
}

/// What goes first, then the table.
fn recipe(relation: &Relation, source: &str, known: Known) -> Option<Vec<Step>> {
    let details = &relation.details;
    let table = relation.qualified();
    let mut all = Vec::new();
    if let [parent] = details.parents.as_slice()
        && details.is_partition
    {
        if details.parent_default.is_some() {
            return None;
        }
        let parent = foreign_key::as_relation(parent);
        let target = Target {
            known,
            relation: &parent,
            only: false,
        };
        all.extend(partition::detach_recipe(&table, &target)?);
    }
    let target = Target {
        known,
        relation,
        only: false,
    };
    let keys = details.constraints.iter().filter(|one| {
        // A share in the parent's key is the partition's own once it is detached.
        (!one.inherited || details.is_partition)
            && one
                .references
                .as_ref()
                .is_some_and(|referenced| referenced.oid != relation.oid)
    });
    all.extend(keys.map(|key| foreign_key::drop(key, &target)));
    if all.is_empty() || relation.kind != RelationKind::Table {
        return None;
    }
    let mut last = Step::brief(format!("drop {table}"), source)
        .locking(&table, LockMode::AccessExclusive)
        .checked_by(Check::RelationIsGone { name: table });
    last.undo = Undo::Irreversible {
        why: "the table's data is gone".to_owned(),
    };
    all.push(last);
    Some(all)
}

fn judge_objects(drop: &DropObjects, source: &str, known: Known) -> Judgement {
    let mode = if drop.kind == DropKind::Statistics {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::AccessExclusive
    };
    let mut effects = Effects::none();
    let mut bytes: u64 = if known.facts.assumed { u64::MAX } else { 0 };
    for relation in known.facts.objects.iter().flatten() {
        effects.add_lock(relation.qualified(), mode);
        bytes = bytes.saturating_add(relation.bytes);
    }
    let finding = if drop.cascade && bytes > known.policy.small_table_bytes {
        let goes: Vec<String> = effects.locks.keys().take(10).map(Name::to_string).collect();
        let advice = if goes.is_empty() {
            format!("What depends on it isn't known here. {}", CASCADES.remedy)
        } else {
            format!(
                "CASCADE would reach {}. {}",
                goes.join(", "),
                CASCADES.remedy
            )
        };
        Finding::of(&CASCADES, Way::Impossible(advice))
    } else {
        Finding::harmless()
    };
    let case = Case {
        known,
        tag: drop.tag,
        note: String::new(),
        as_sent: as_sent(drop.tag, source, &effects),
        effects,
        findings: vec![finding],
    };
    case.decide(super::only_steps)
}
