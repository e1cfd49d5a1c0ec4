//! Partitions: `ATTACH PARTITION` reads the table, and the default partition under ACCESS EXCLUSIVE;
//! `DETACH PARTITION` and `CREATE TABLE … PARTITION OF` lock the whole tree against everybody.
//!
//! Recipes: a CHECK equal to the bound, validated first, saves the reading; DETACH CONCURRENTLY;
//! a table like the parent that is then attached.
//! <https://www.postgresql.org/docs/current/ddl-partitioning.html>

use super::alter_effects::{Target, index_of};
use super::decide::{Finding, Way};
use super::known::{Known, family, leaves};
use super::{Action, Refusal, Rule, other, steps};
use crate::catalog::{Constraint, Member, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Check, Context, Step, Undo, Violation};
use crate::sql::alter_table::{
    ActionKind, AlterTable, PartitionBound, PartitionBoundKind, RangeEnd,
};
use crate::sql::name::{Name, quote_identifier};
use crate::sql::parse;

/// The new partition, and the default one, are read under ACCESS EXCLUSIVE.
pub const ATTACH_SCANS: Rule = Rule {
    name: "attach-partition-scan",
    hazard: "ATTACH PARTITION reads the new partition, and the default partition under ACCESS EXCLUSIVE.",
    remedy: "CHECK constraints that prove the bound are added NOT VALID and validated first; then nothing is read.",
    manual: "https://www.postgresql.org/docs/current/ddl-partitioning.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE events ATTACH PARTITION events_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
};

/// The whole tree is locked against everybody.
pub const DETACH_BLOCKS: Rule = Rule {
    name: "detach-partition-blocks",
    hazard: "DETACH PARTITION locks the partitioned table exclusively: every query of every partition waits.",
    remedy: "It is detached CONCURRENTLY, which waits for others and blocks nobody.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "CONCURRENTLY from 14, and not while there is a default partition; under a short lock_timeout otherwise.",
    example: "ALTER TABLE events DETACH PARTITION events_2023",
};

/// A new partition locks the parent against everybody.
pub const CREATE_BLOCKS: Rule = Rule {
    name: "create-partition-blocks",
    hazard: "CREATE TABLE … PARTITION OF locks the parent exclusively, and reads the default partition meanwhile.",
    remedy: "The table is made like the parent, and attached: that stops no query of the parent.",
    manual: "https://www.postgresql.org/docs/current/ddl-partitioning.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
};

/// A change that passes a partition by.
pub const DETACH_PENDING: Rule = Rule {
    name: "partition-detach-pending",
    hazard: "A partition is half detached, for DETACH CONCURRENTLY was interrupted: a change of its parent passes it \
             by, and it may then not be detached to the end.",
    remedy: "It is refused: finish first, by DETACH PARTITION … FINALIZE.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "From 14.",
    example: "ALTER TABLE events ADD COLUMN note text",
};

/// Since then `DETACH PARTITION … CONCURRENTLY`.
const DETACH_CONCURRENTLY_VERSION: u32 = 140_000;

/// Since then a foreign key that is NOT VALID is taken for the parent's too, and checked.
const ADOPTS_INVALID: u32 = 180_000;

/// What a sub-command about partitions does.
pub(super) fn effects(kind: &ActionKind, target: &Target) -> Effects {
    let parent = target.relation.qualified();
    match kind {
        ActionKind::AttachPartition { partition, bound } => {
            attach_effects(partition, bound, target)
        }
        ActionKind::DetachPartition {
            partition,
            concurrently,
        } => {
            let mut effects = Effects::none();
            let mode = if *concurrently {
                LockMode::ShareUpdateExclusive
            } else {
                LockMode::AccessExclusive
            };
            effects.add_lock(parent, mode);
            effects.add(detached(partition, target));
            if !*concurrently && target.known.version() < DETACH_CONCURRENTLY_VERSION {
                effects.locks.insert(
                    target.known.qualified(partition),
                    LockMode::ShareUpdateExclusive,
                );
            }
            if !*concurrently && let Some(default) = &target.relation.details.default_partition {
                effects.add_lock(default.qualified(), LockMode::AccessExclusive);
            }
            effects
        }
        ActionKind::FinalizeDetach { partition } => {
            let mut effects = Effects::lock(parent, LockMode::ShareUpdateExclusive);
            effects.add(detached(partition, target));
            effects
        }
        ActionKind::AttachIndex { index } => {
            let mut effects = Effects::lock(parent, LockMode::ShareUpdateExclusive);
            effects.add_lock(target.known.qualified(index), LockMode::AccessExclusive);
            for name in [Some(target.relation), target.known.relation(index)] {
                if let Some(table) = name.and_then(|relation| relation.table.as_ref()) {
                    effects.add_lock(table.qualified(), LockMode::AccessShare);
                }
            }
            effects
        }
        _ => Effects::none(),
    }
}

/// The partition with all that belongs to it, and the tables that it now refers to by itself.
fn detached(partition: &Name, target: &Target) -> Effects {
    let mode = LockMode::AccessExclusive;
    let mut effects = Effects::lock(target.known.qualified(partition), mode);
    if let Some(child) = target.known.relation(partition) {
        for member in family(child, false) {
            effects.add_lock(member.qualified(), mode);
        }
        for index in &child.indexes {
            effects.add_lock(index.qualified(), mode);
        }
    }
    for constraint in &target.relation.details.constraints {
        if let Some(referenced) = &constraint.references {
            effects.add_lock(referenced.qualified(), LockMode::ShareRowExclusive);
        }
    }
    effects
}

fn attach_effects(partition: &Name, bound: &PartitionBound, target: &Target) -> Effects {
    let mut effects = Effects::lock(target.relation.qualified(), LockMode::ShareUpdateExclusive);
    let details = &target.relation.details;
    let Some(child) = target.known.relation(partition) else {
        effects.add_lock(partition.clone(), LockMode::AccessExclusive);
        effects.add_scan(partition.clone());
        return effects;
    };
    let members = family(child, false);
    for member in &members {
        effects.add_lock(member.qualified(), LockMode::AccessExclusive);
        for index in &member.indexes {
            effects.add_lock(index_of(member, index), LockMode::AccessExclusive);
        }
    }
    let is_empty = child.bytes == 0 && !child.assumed;
    if !is_empty && !is_within(child, bound, target) {
        for member in leaves(&members) {
            effects.add_scan(member.qualified());
        }
    }
    if !is_empty && lacks_index(child, target.relation) {
        for member in leaves(&members) {
            effects.add_build(member.qualified());
        }
    }
    if let Some(default) = &details.default_partition
        && bound.kind != PartitionBoundKind::Default
    {
        effects.add_lock(default.qualified(), LockMode::AccessExclusive);
        if !keeps_out(default, bound, target) {
            effects.add_scan(default.qualified());
        }
    }
    for constraint in &details.constraints {
        if let Some(referenced) = &constraint.references {
            let own = own_key(child, constraint);
            let is_adopted =
                own.is_some_and(|own| own.validated || target.known.version() >= ADOPTS_INVALID);
            let mode = if is_adopted {
                LockMode::AccessExclusive
            } else {
                LockMode::ShareRowExclusive
            };
            effects.add_lock(referenced.qualified(), mode);
            if !is_empty && !own.is_some_and(|own| own.validated) {
                effects.add_scan(child.qualified());
                effects.add_scan(referenced.qualified());
            }
        }
    }
    effects
}

/// The child's own foreign key that is like one of the parent's.
fn own_key<'a>(child: &'a Relation, wanted: &Constraint) -> Option<&'a Constraint> {
    let bare = |one: &Constraint| one.definition.trim_end_matches(" NOT VALID").to_owned();
    let mut own = child.details.constraints.iter();
    own.find(|own| own.references.is_some() && bare(own) == bare(wanted))
}

/// Whether the partition lacks an index that the parent has.
fn lacks_index(child: &Relation, parent: &Relation) -> bool {
    parent.indexes.iter().any(|wanted| {
        child.indexes.iter().all(|own| {
            own.columns != wanted.columns
                || own.method != wanted.method
                || (wanted.unique && !own.unique)
                || !own.valid
        })
    })
}

/// The condition that a bound makes of a partition key; `None` for hash partitions and keys that
/// aren't plain columns.
pub(super) fn condition(bound: &PartitionBound, key: &str) -> Option<String> {
    let (strategy, columns) = key.split_once(" (")?;
    let columns: Vec<&str> = columns.strip_suffix(')')?.split(", ").collect();
    let is_plain = |column: &&str| !column.contains(['(', ' ']);
    if !columns.iter().all(is_plain) {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    match (&bound.kind, strategy, columns.as_slice()) {
        (PartitionBoundKind::List(values), "LIST", [column]) => {
            let listed: Vec<&str> = values.iter().flatten().map(String::as_str).collect();
            let is_in = format!("{column} = ANY (ARRAY[{}])", listed.join(", "));
            if values.iter().all(Option::is_some) {
                parts.push(format!("{column} IS NOT NULL"));
                parts.push(is_in);
            } else if listed.is_empty() {
                parts.push(format!("{column} IS NULL"));
            } else {
                parts.push(format!("({column} IS NULL OR {is_in})"));
            }
        }
        (PartitionBoundKind::Range { from, to }, "RANGE", [column]) => {
            parts.push(format!("{column} IS NOT NULL"));
            if let [RangeEnd::Value(from)] = from.as_slice() {
                parts.push(format!("{column} >= {from}"));
            }
            if let [RangeEnd::Value(to)] = to.as_slice() {
                parts.push(format!("{column} < {to}"));
            }
        }
        _ => return None,
    }
    Some(parts.join(" AND "))
}

fn is_within(child: &Relation, bound: &PartitionBound, target: &Target) -> bool {
    let Some(condition) = own_condition(bound, target) else {
        return false;
    };
    let is_proof = |expression: &str| parse::same_condition(expression, &condition);
    child.details.constraints.iter().any(|constraint| {
        constraint.validated && constraint.expression.as_deref().is_some_and(is_proof)
    })
}

fn own_condition(bound: &PartitionBound, target: &Target) -> Option<String> {
    condition(bound, target.relation.details.partition_key.as_deref()?)
}

/// Whether the default partition has a CHECK that keeps the bound's rows out.
fn keeps_out(default: &Member, bound: &PartitionBound, target: &Target) -> bool {
    let Some(condition) = own_condition(bound, target) else {
        return false;
    };
    let negated = format!("NOT ({condition})");
    default.constraints.iter().any(|definition| {
        parse::conditions_of(definition)
            .is_some_and(|expression| parse::same_condition(&expression, &negated))
    })
}

/// The steps in the place of `ATTACH PARTITION`, or why there are none.
pub(super) fn attach_recipe(
    partition: &Name,
    bound: &PartitionBound,
    sql: &str,
    target: &Target,
) -> Result<Vec<Step>, String> {
    let Some(child) = target.known.relation(partition) else {
        return Err("The table to attach isn't known.".to_owned());
    };
    if lacks_index(child, target.relation) {
        return Err(format!(
            "{} lacks an index or a constraint that {} has: build it there first, concurrently, then attach.",
            child.qualified(),
            target.relation.qualified()
        ));
    }
    let keys = &target.relation.details.constraints;
    let mut keys = keys.iter().filter(|key| key.references.is_some());
    if let Some(key) = keys.find(|key| !own_key(child, key).is_some_and(|own| own.validated)) {
        return Err(format!(
            "{} lacks the foreign key {}: add it there first, NOT VALID, and validate it, then attach.",
            child.qualified(),
            key.name
        ));
    }
    let Some(condition) = own_condition(bound, target) else {
        return Err(
            "Add a CHECK that proves the bound, NOT VALID, validate it, then attach; of hash partitions there is none."
                .to_owned(),
        );
    };
    let mut before = Vec::new();
    let mut after = Vec::new();
    let new = Target {
        known: target.known,
        relation: child,
        only: false,
    };
    if !is_within(child, bound, target) {
        prove(
            &new,
            &format!("CHECK ({condition})"),
            Violation::PartitionBound,
            &mut before,
            &mut after,
        );
    }
    if let Some(default) = &target.relation.details.default_partition
        && !keeps_out(default, bound, target)
    {
        let relation = super::foreign_key::as_relation(default);
        let kept_out = Target {
            known: target.known,
            relation: &relation,
            only: false,
        };
        let body = format!("CHECK (NOT ({condition}))");
        prove(
            &kept_out,
            &body,
            Violation::DefaultPartition,
            &mut before,
            &mut after,
        );
    }
    let sql = sql.replacen(&partition.to_string(), &child.qualified().to_string(), 1);
    before.push(attach(child, &sql, target));
    before.extend(after);
    Ok(before)
}

fn prove(
    target: &Target,
    body: &str,
    violation: Violation,
    before: &mut Vec<Step>,
    after: &mut Vec<Step>,
) {
    let name = steps::free_name(target, "", "attach");
    before.extend(steps::add_and_prove(target, &name, body, violation));
    after.push(steps::drop_constraint(target, &name));
}

fn attach(child: &Relation, sql: &str, target: &Target) -> Step {
    let parent = target.relation.qualified();
    let table = child.qualified();
    Step::brief(format!("attach {table}"), steps::alter_sql(target, sql))
        .locking(&parent, LockMode::ShareUpdateExclusive)
        .locking(&table, LockMode::AccessExclusive)
        .undone_by(steps::alter_sql(
            target,
            &format!("DETACH PARTITION {table}"),
        ))
        .checked_by(Check::IsPartition { table, parent })
}

/// The step in the place of `DETACH PARTITION`; `None` where it can't go concurrently.
pub(super) fn detach_recipe(partition: &Name, target: &Target) -> Option<Vec<Step>> {
    let details = &target.relation.details;
    if target.known.version() < DETACH_CONCURRENTLY_VERSION || details.default_partition.is_some() {
        return None;
    }
    let parent = target.relation.qualified();
    let table = target.known.qualified(partition);
    let sql = steps::alter_sql(target, &format!("DETACH PARTITION {table} CONCURRENTLY"));
    let step = Step {
        context: Context::Concurrent { clear: None },
        ..Step::brief(format!("detach {table} concurrently"), sql)
    };
    Some(vec![
        finished_if_half_done(step, partition, target)
            .locking(&parent, LockMode::ShareUpdateExclusive)
            .locking(&table, LockMode::AccessExclusive),
    ])
}

/// A step that detaches concurrently: half done, it can only be finished.
pub(super) fn finished_if_half_done(step: Step, partition: &Name, target: &Target) -> Step {
    let parent = target.relation.qualified();
    let table = target.known.qualified(partition);
    let check = Check::IsNoPartition {
        table: table.clone(),
        parent: parent.clone(),
    };
    let finish = steps::alter_sql(target, &format!("DETACH PARTITION {table} FINALIZE"));
    let finish = Step::brief(format!("finish detaching {table}"), finish)
        .locking(&parent, LockMode::ShareUpdateExclusive)
        .locking(&table, LockMode::AccessExclusive)
        .checked_by(check.clone());
    Step {
        undo: Undo::Finish(Box::new(finish)),
        check,
        ..step
    }
}

/// What `CREATE TABLE … PARTITION OF` does to the parent.
pub(super) fn create_effects(parent: &Relation, bound: &PartitionBound, known: Known) -> Effects {
    let mut effects = Effects::lock(parent.qualified(), LockMode::AccessExclusive);
    let target = Target {
        known,
        relation: parent,
        only: false,
    };
    if let Some(default) = &parent.details.default_partition
        && bound.kind != PartitionBoundKind::Default
    {
        effects.add_lock(default.qualified(), LockMode::AccessExclusive);
        if !keeps_out(default, bound, &target) {
            effects.add_scan(default.qualified());
        }
    }
    for constraint in &parent.details.constraints {
        if let Some(referenced) = &constraint.references {
            effects.add_lock(referenced.qualified(), LockMode::ShareRowExclusive);
        }
    }
    for key in &parent.details.referenced_by {
        effects.add_lock(key.table.qualified(), LockMode::ShareRowExclusive);
    }
    effects
}

/// The CHECK that DETACH CONCURRENTLY leaves behind in the partition's bound's place, and the plain
/// form doesn't: `DetachAddConstraintIfNeeded` of `src/backend/commands/tablecmds.c` has the server
/// choose its name.
pub(super) fn drop_left_bound(partition: &Name, target: &Target) -> Option<Step> {
    let child = target.known.relation(partition)?;
    let column = match target.relation.details.partition_columns.as_slice() {
        [column] => column.as_str(),
        _ => "",
    };
    let is_free = |name: &String| child.details.constraint(name).is_none();
    let name = steps::candidates(&child.name, column, "check")
        .into_iter()
        .find(is_free)?;
    let alone = Target {
        known: target.known,
        relation: child,
        only: false,
    };
    let sql = format!("DROP CONSTRAINT IF EXISTS {}", quote_identifier(&name));
    let mut step = steps::alter(&alone, &sql);
    step.title = "drop the CHECK that is left in the bound's place".to_owned();
    let step = step.checked_by(Check::ConstraintIsGone {
        table: child.qualified(),
        name,
    });
    Some(step)
}

/// What an interrupted DETACH CONCURRENTLY leaves must be finished first: measured on PostgreSQL 18,
/// where a column that is added to the parent meanwhile makes FINALIZE fail.
pub(super) fn pending(alter: &AlterTable, relation: &Relation) -> Option<Finding> {
    let finishes = |kind: &ActionKind| {
        matches!(
            kind,
            ActionKind::FinalizeDetach { .. } | ActionKind::DetachPartition { .. }
        )
    };
    let half = relation.details.detach_pending.first()?;
    if alter.actions.iter().any(|action| finishes(&action.kind)) {
        return None;
    }
    let way = Way::Impossible(finish(relation, half));
    Some(Finding::of(&DETACH_PENDING, way))
}

fn finish(relation: &Relation, half: &Member) -> String {
    format!(
        "Finish it first: ALTER TABLE {} DETACH PARTITION {} FINALIZE (or of the partition above it).",
        relation.qualified(),
        half.qualified()
    )
}

/// The refusal of an index on the whole.
pub(super) fn unfinished(relation: &Relation, half: &Member) -> Refusal {
    Refusal {
        sqlstate: other::REFUSED,
        message: DETACH_PENDING.hazard.trim_end_matches('.').to_owned(),
        detail: format!("The partition is {}.", half.qualified()),
        hint: finish(relation, half),
    }
}

/// The steps in the place of `CREATE TABLE … PARTITION OF`, or why there are none.
pub(super) fn create_recipe(
    name: &Name,
    bound: &PartitionBound,
    rest: &str,
    target: &Target,
) -> Result<Vec<Step>, String> {
    let (parent, known) = (target.relation, target.known);
    let current = &known.facts.session.current_schema;
    let table = match &name.schema {
        Some(_) => name.clone(),
        None => Name::qualified(current.as_ref().unwrap_or(&parent.schema), &name.name),
    };
    let like = parent.qualified();
    let mut create = format!("CREATE TABLE {table} (LIKE {like} INCLUDING ALL)");
    if !rest.is_empty() {
        create = format!("{create} {rest}");
    }
    let child = Relation {
        schema: table.schema.clone().unwrap_or_default(),
        name: table.name.clone(),
        kind: RelationKind::Table,
        owned: true,
        created_here: true,
        ..Relation::default()
    };
    let mut all = vec![
        Step::brief(format!("create table {table}"), create)
            .locking(&like, LockMode::AccessShare)
            .undone_by(format!("DROP TABLE {table}"))
            .checked_by(Check::RelationExists {
                name: table.clone(),
            }),
    ];
    let mut after = Vec::new();
    if let Some(default) = &parent.details.default_partition
        && bound.kind != PartitionBoundKind::Default
        && !keeps_out(default, bound, target)
    {
        let condition = own_condition(bound, target).ok_or(
            "The default partition has to be read, and no CHECK can be made of this bound.",
        )?;
        let relation = super::foreign_key::as_relation(default);
        let kept_out = Target {
            known,
            relation: &relation,
            only: false,
        };
        let body = format!("CHECK (NOT ({condition}))");
        prove(
            &kept_out,
            &body,
            Violation::DefaultPartition,
            &mut all,
            &mut after,
        );
    }
    let sql = format!("ATTACH PARTITION {table} {}", bound.sql);
    all.push(attach(&child, &sql, target));
    all.extend(after);
    Ok(all)
}
