//! Steps that several families have in common.

use super::alter_effects::Target;
use crate::lock::LockMode;
use crate::plan::{Check, Context, Step, Violation};
use crate::sql::name::{make_object_name, quote_identifier};

/// How many names are tried for an object that the statement doesn't name.
pub(super) const CANDIDATES: usize = 8;

/// `ALTER TABLE` of the target with some sub-commands.
pub(super) fn alter_sql(target: &Target, actions: &str) -> String {
    let only = if target.only { "ONLY " } else { "" };
    format!(
        "ALTER TABLE {only}{} {actions}",
        target.relation.qualified()
    )
}

/// The same as a step under ACCESS EXCLUSIVE.
pub(super) fn alter(target: &Target, actions: &str) -> Step {
    let title = clipped(actions);
    Step::brief(title, alter_sql(target, actions))
        .locking(&target.relation.qualified(), LockMode::AccessExclusive)
}

/// The first words of some SQL, for people.
fn clipped(sql: &str) -> String {
    const LONGEST: usize = 60;
    let mut title = crate::sql::name::clip(sql, LONGEST).to_owned();
    if title.len() < sql.len() {
        title.push('…');
    }
    title
}

/// The names that PostgreSQL tries for an object of a table: `ChooseConstraintName` of
/// `src/backend/catalog/pg_constraint.c`, `ChooseRelationName` of
/// `src/backend/commands/indexcmds.c`.
pub(super) fn candidates(table: &str, column: &str, label: &str) -> Vec<String> {
    (0..CANDIDATES)
        .map(|number| {
            let label = match number {
                0 => label.to_owned(),
                number => format!("{label}{number}"),
            };
            make_object_name(table, column, &label)
        })
        .collect()
}

/// The first of them that is free.
pub(super) fn free_name(target: &Target, column: &str, label: &str) -> String {
    let names = candidates(&target.relation.name, column, label);
    let fallback = names.first().cloned().unwrap_or_default();
    let mut names = names.into_iter();
    names.find(|name| is_free(target, name)).unwrap_or(fallback)
}

/// Whether no relation and no constraint has one of the names that were asked for.
pub(super) fn is_free(target: &Target, name: &String) -> bool {
    let facts = target.known.facts;
    !facts.taken_constraints.contains(name) && facts.taken.iter().all(|taken| taken.name != *name)
}

/// A constraint added NOT VALID, then validated.
pub(super) fn add_and_validate(target: &Target, name: &str, body: &str) -> Vec<Step> {
    vec![add_not_valid(target, name, body), validate(target, name)]
}

/// The same of a CHECK that the client never wrote; what its violation means.
pub(super) fn add_and_prove(
    target: &Target,
    name: &str,
    body: &str,
    violation: Violation,
) -> Vec<Step> {
    let proof = Step {
        violation: Some(violation),
        ..validate(target, name)
    };
    vec![add_not_valid(target, name, body), proof]
}

/// `ADD CONSTRAINT … NOT VALID`.
pub(super) fn add_not_valid(target: &Target, name: &str, body: &str) -> Step {
    let quoted = quote_identifier(name);
    alter(target, &format!("ADD CONSTRAINT {quoted} {body} NOT VALID"))
        .undone_by(alter_sql(
            target,
            &format!("DROP CONSTRAINT IF EXISTS {quoted}"),
        ))
        .checked_by(Check::ConstraintExists {
            table: target.relation.qualified(),
            name: name.to_owned(),
        })
}

/// `VALIDATE CONSTRAINT`.
pub(super) fn validate(target: &Target, name: &str) -> Step {
    let table = target.relation.qualified();
    let sql = alter_sql(
        target,
        &format!("VALIDATE CONSTRAINT {}", quote_identifier(name)),
    );
    Step {
        context: Context::Long,
        ..Step::brief(format!("validate constraint {name}"), sql)
    }
    .locking(&table, LockMode::ShareUpdateExclusive)
    .checked_by(Check::ConstraintIsValid {
        table,
        name: name.to_owned(),
    })
}

/// `DROP CONSTRAINT`.
pub(super) fn drop_constraint(target: &Target, name: &str) -> Step {
    alter(
        target,
        &format!("DROP CONSTRAINT {}", quote_identifier(name)),
    )
    .checked_by(Check::ConstraintIsGone {
        table: target.relation.qualified(),
        name: name.to_owned(),
    })
}
