//! `CREATE TABLE` makes what nobody uses yet, but REFERENCES locks the other table against writers,
//! and PARTITION OF locks the parent against everybody.
//!
//! Recipe: the referenced tables are locked first, in one order for everybody; a partition is made
//! like its parent and attached. <https://www.postgresql.org/docs/current/sql-createtable.html>

use super::alter_effects::Target;
use super::decide::{Case, Finding, Way, as_sent, is_costly};
use super::known::{Known, family};
use super::{Action, Judgement, Rule, partition};
use crate::catalog::{Depth, FactRequest, RelationKind};
use crate::lock::LockMode;
use crate::plan::StepLock;
use crate::plan::effects::Effects;
use crate::sql::alter_table::ConstraintDefinitionKind;
use crate::sql::create_table::CreateTable;
use crate::sql::name::Name;

/// Another table is locked until the transaction ends.
pub const REFERENCES: Rule = Rule {
    name: "create-table-references",
    hazard: "A foreign key in CREATE TABLE stops every writer of the table that it refers to until the \
             transaction ends.",
    remedy: "It runs in a transaction of its own, under a short lock_timeout.",
    manual: "https://www.postgresql.org/docs/current/sql-createtable.html",
    action: Action::Allow,
    versions: "alike",
    example: "CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint REFERENCES users)",
};

/// The tables that it refers to, its parents, the tables that it is like.
pub(super) fn facts_needed(create: &CreateTable) -> FactRequest {
    let parent = create.partition_of.iter().map(|of| of.parent.clone());
    let mut request = FactRequest {
        relations: parent
            .chain(create.inherits.iter().cloned())
            .chain(create.like.iter().cloned())
            .chain(referenced(create))
            .collect(),
        depth: Depth::Structure,
        ..FactRequest::default()
    };
    if create.partition_of.is_some() {
        request.depth = Depth::Full; // the tables that refer to the parent
        let candidates = super::steps::candidates("", "", "attach");
        request.candidates.extend(candidates);
        if create.if_not_exists {
            request.relations.push(create.name.clone());
        }
    }
    request
}

/// The tables that its foreign keys refer to, itself left out.
fn referenced(create: &CreateTable) -> Vec<Name> {
    let of_columns = create.columns.iter().flat_map(|column| &column.constraints);
    let mut names: Vec<Name> = of_columns
        .chain(&create.constraints)
        .filter_map(|constraint| match &constraint.kind {
            ConstraintDefinitionKind::ForeignKey { referenced, .. } => Some(referenced.clone()),
            ConstraintDefinitionKind::Check { .. }
            | ConstraintDefinitionKind::NotNull { .. }
            | ConstraintDefinitionKind::Unique { .. }
            | ConstraintDefinitionKind::UsingIndex { .. }
            | ConstraintDefinitionKind::Exclude => None,
        })
        .filter(|name| *name != create.name)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A partition that is there, which is all that IF NOT EXISTS wants.
fn is_there(create: &CreateTable, known: Known) -> bool {
    create.if_not_exists && create.partition_of.is_some() && known.relation(&create.name).is_some()
}

/// What it does to what exists.
pub(super) fn effects(create: &CreateTable, known: Known) -> Effects {
    let mut effects = Effects::none();
    if is_there(create, known) {
        return effects;
    }
    if let Some(of) = &create.partition_of
        && let Some(parent) = known.relation(&of.parent)
    {
        effects.add(partition::create_effects(parent, &of.bound, known));
    }
    for parent in &create.inherits {
        effects.add_lock(known.qualified(parent), LockMode::ShareUpdateExclusive);
    }
    for like in &create.like {
        effects.add_lock(known.qualified(like), LockMode::AccessShare);
    }
    for name in referenced(create) {
        let Some(relation) = known.relation(&name) else {
            effects.add_lock(name, LockMode::ShareRowExclusive);
            continue;
        };
        for member in family(relation, relation.kind != RelationKind::PartitionedTable) {
            effects.add_lock(member.qualified(), LockMode::ShareRowExclusive);
        }
    }
    known.forget_own(&mut effects);
    effects
}

/// Judges `CREATE TABLE`.
pub(super) fn judge(create: &CreateTable, source: &str, known: Known) -> Judgement {
    let effects = effects(create, known);
    let mut step = as_sent(create.tag, source, &effects);
    let mut finding = Finding::harmless();
    if effects.strongest() == Some(LockMode::ShareRowExclusive) && create.partition_of.is_none() {
        finding = Finding::as_sent(&REFERENCES);
        if !create.if_not_exists {
            step.lock_first = order_of_locks(create, known);
        }
    }
    if let Some(of) = &create.partition_of
        && !is_there(create, known)
        && let Some(parent) = known.relation(&of.parent)
        && (is_costly(&effects, known) || !known.is_small(parent))
    {
        let target = Target {
            known,
            relation: parent,
            only: false,
        };
        let recipe = || partition::create_recipe(&create.name, &of.bound, &of.rest, &target);
        let is_foreign = create.tag == "CREATE FOREIGN TABLE";
        let way = if is_foreign || !create.columns.is_empty() || !create.constraints.is_empty() {
            Way::Impossible(
                "Create the table like its parent, add what is its own, then attach it.".to_owned(),
            )
        } else {
            match recipe() {
                Ok(steps) => Way::Steps(steps),
                Err(advice) => Way::Impossible(advice),
            }
        };
        finding = Finding::of(&partition::CREATE_BLOCKS, way);
    }
    let case = Case {
        known,
        tag: create.tag,
        note: String::new(),
        effects,
        as_sent: step,
        findings: vec![finding],
    };
    case.decide(super::only_steps)
}

/// The referenced tables in one order for everybody.
fn order_of_locks(create: &CreateTable, known: Known) -> Vec<StepLock> {
    let names = referenced(create);
    let mut tables: Vec<Name> = names
        .iter()
        .filter_map(|name| known.relation(name))
        .filter(|relation| !relation.created_here && !relation.temporary)
        .filter(|relation| {
            matches!(
                relation.kind,
                RelationKind::Table | RelationKind::PartitionedTable
            )
        })
        .map(crate::catalog::Relation::qualified)
        .collect();
    tables.sort();
    tables
        .into_iter()
        .map(|relation| StepLock {
            relation,
            mode: LockMode::ShareRowExclusive,
        })
        .collect()
}
