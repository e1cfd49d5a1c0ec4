//! `ADD FOREIGN KEY` reads both tables while nobody may write to either.
//!
//! Recipe: NOT VALID, then VALIDATE, which blocks no writer. The locks are taken parent first, as
//! cascading deletes take them: the other way round they deadlock. On a partitioned table NOT VALID
//! can't be had before PostgreSQL 18: there leaf by leaf, then on the parent, which takes those of
//! the leaves for its own.
//! <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES>

use super::alter_effects::Target;
use super::known::{family, leaves};
use super::{Action, Rule, names, steps};
use crate::catalog::{Constraint, Details, Member, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::{Check, Step, StepLock};
use crate::sql::alter_table::{ConstraintDefinition, ConstraintDefinitionKind};
use crate::sql::name::{Name, quote_identifier};

/// Both tables are read while nobody may write.
pub const SCANS: Rule = Rule {
    name: "add-foreign-key-scan",
    hazard: "A foreign key is checked against every row of both tables, which nobody may write to until it is done.",
    remedy: "It is added NOT VALID, both tables locked in the order of cascades, and validated without blocking \
             anybody.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "On a partitioned table leaf by leaf to 17; from 18 as on any other.",
    example: "ALTER TABLE orders ADD CONSTRAINT orders_user_fk FOREIGN KEY (user_id) REFERENCES users (id)",
};

/// Since then a foreign key of a partitioned table may be NOT VALID.
const PARTITIONED_VERSION: u32 = 180_000;

/// The locks of a foreign key, parent first.
pub(super) fn locks(referenced: &Name, target: &Target) -> Vec<StepLock> {
    let mode = LockMode::ShareRowExclusive;
    let own = target.relation.qualified();
    let mut locks = vec![StepLock {
        relation: target.known.qualified(referenced),
        mode,
    }];
    if locks.iter().all(|lock| lock.relation != own) {
        locks.push(StepLock {
            relation: own,
            mode,
        });
    }
    locks
}

fn add(constraint: &ConstraintDefinition, name: &str, tail: &str, target: &Target) -> Step {
    let ConstraintDefinitionKind::ForeignKey { referenced, .. } = &constraint.kind else {
        return steps::add_not_valid(target, name, &constraint.body);
    };
    let quoted = quote_identifier(name);
    let locks = locks(referenced, target);
    let sql = format!(
        "ADD CONSTRAINT {quoted} {}{tail}",
        qualified_body(constraint, target)
    );
    Step {
        locks: locks.clone(),
        lock_first: locks,
        ..Step::brief(
            format!("add foreign key {name}"),
            steps::alter_sql(target, &sql),
        )
    }
    .undone_by(steps::alter_sql(
        target,
        &format!("DROP CONSTRAINT IF EXISTS {quoted}"),
    ))
    .checked_by(Check::ConstraintExists {
        table: target.relation.qualified(),
        name: name.to_owned(),
    })
}

fn validate(constraint: &ConstraintDefinition, name: &str, target: &Target) -> Step {
    let step = steps::validate(target, name);
    match &constraint.kind {
        ConstraintDefinitionKind::ForeignKey { referenced, .. } => {
            step.locking(&target.known.qualified(referenced), LockMode::RowShare)
        }
        ConstraintDefinitionKind::Check { .. }
        | ConstraintDefinitionKind::NotNull { .. }
        | ConstraintDefinitionKind::Unique { .. }
        | ConstraintDefinitionKind::UsingIndex { .. }
        | ConstraintDefinitionKind::Exclude => step,
    }
}

/// The step that takes a foreign key off, both tables locked parent first; it can be put back NOT
/// VALID.
pub(super) fn drop(key: &Constraint, target: &Target) -> Step {
    let back = format!(
        "ADD CONSTRAINT {} {} NOT VALID",
        quote_identifier(&key.name),
        key.definition.trim_end_matches(" NOT VALID")
    );
    let referenced = key.references.iter().map(Member::qualified);
    let locks: Vec<StepLock> = referenced
        .chain([target.relation.qualified()])
        .map(|relation| StepLock {
            relation,
            mode: LockMode::AccessExclusive,
        })
        .collect();
    Step {
        lock_first: locks.clone(),
        locks,
        ..steps::drop_constraint(target, &key.name)
    }
    .undone_by(steps::alter_sql(target, &back))
}

/// The constraint with the referenced table's schema, wherever it is run.
fn qualified_body(constraint: &ConstraintDefinition, target: &Target) -> String {
    let ConstraintDefinitionKind::ForeignKey { referenced, .. } = &constraint.kind else {
        return constraint.body.clone();
    };
    let full = target.known.qualified(referenced);
    constraint.body.replacen(
        &format!("REFERENCES {referenced}"),
        &format!("REFERENCES {full}"),
        1,
    )
}

/// The steps in its place.
pub(super) fn recipe(constraint: &ConstraintDefinition, target: &Target) -> Vec<Step> {
    let name = names::of(constraint, target);
    let is_partitioned = target.relation.kind == RelationKind::PartitionedTable;
    if !is_partitioned || target.known.version() >= PARTITIONED_VERSION {
        return vec![
            add(constraint, &name, " NOT VALID", target),
            validate(constraint, &name, target),
        ];
    }
    let mut all = Vec::new();
    for member in leaves(&family(target.relation, false)) {
        let relation = as_relation(member);
        let leaf = Target {
            known: target.known,
            relation: &relation,
            only: false,
        };
        all.push(add(constraint, &name, " NOT VALID", &leaf));
        all.push(validate(constraint, &name, &leaf));
    }
    all.push(add(constraint, &name, "", target));
    all
}

/// A member of a tree as a table of its own.
pub(super) fn as_relation(member: &Member) -> Relation {
    Relation {
        oid: member.oid,
        schema: member.schema.clone(),
        name: member.name.clone(),
        kind: member.kind,
        bytes: member.bytes,
        owned: true,
        details: Details::default(),
        ..Relation::default()
    }
}
