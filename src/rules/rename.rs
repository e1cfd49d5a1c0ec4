//! `RENAME` changes the catalog only, but clients that still use the old name fail.
//!
//! `ALTER TABLE` of an index locks out every query that is planned on its table; `ALTER INDEX`
//! doesn't. <https://www.postgresql.org/docs/current/sql-alterindex.html>

use super::decide::{Case, Finding, Way, as_sent};
use super::known::{Known, family};
use super::{Action, Judgement, Rule};
use crate::catalog::{Depth, FactRequest, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Check, Step};
use crate::sql::name::{Name, quote_identifier};
use crate::sql::statement::{ObjectKind, Rename, RenameTarget, Scope};

/// Clients that use the old name fail.
pub const BREAKS_CLIENTS: Rule = Rule {
    name: "rename-breaks-clients",
    hazard: "Clients that still use the old name fail from that moment on.",
    remedy: "It runs under a short lock_timeout, and the client is told. A view under the old name keeps old \
             clients alive.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Notice,
    versions: "alike",
    example: "ALTER TABLE users RENAME COLUMN name TO full_name",
};

/// An index renamed by the wrong command.
pub const INDEX_BY_TABLE: Rule = Rule {
    name: "alter-table-renames-index",
    hazard: "ALTER TABLE … RENAME of an index takes ACCESS EXCLUSIVE on it: every query planned on its table waits.",
    remedy: "ALTER INDEX … RENAME does the same, and stops no query.",
    manual: "https://www.postgresql.org/docs/current/sql-alterindex.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users_email_idx RENAME TO users_mail_idx",
};

/// The relation.
pub(super) fn facts_needed(rename: &Rename) -> FactRequest {
    FactRequest {
        relations: rename.relation.iter().cloned().collect(),
        depth: match rename.target {
            RenameTarget::Relation(_) | RenameTarget::Schema | RenameTarget::Other => {
                Depth::Outline
            }
            RenameTarget::Column(_) | RenameTarget::Constraint(_) | RenameTarget::OnTable => {
                Depth::Structure
            }
        },
        ..FactRequest::default()
    }
}

/// What it does.
fn effects(rename: &Rename, relation: &Relation, known: Known) -> Effects {
    let own = relation.qualified();
    let is_index = matches!(
        relation.kind,
        RelationKind::Index | RelationKind::PartitionedIndex
    );
    match &rename.target {
        RenameTarget::Relation(ObjectKind::Index) if is_index => {
            Effects::lock(own, LockMode::ShareUpdateExclusive)
        }
        RenameTarget::Relation(_) | RenameTarget::Schema | RenameTarget::Other => {
            Effects::lock(own, LockMode::AccessExclusive)
        }
        RenameTarget::Column(_) | RenameTarget::Constraint(_) | RenameTarget::OnTable => {
            let mut effects = Effects::none();
            // The triggers of partitions follow since PostgreSQL 15.
            let alone = rename.target == RenameTarget::OnTable && known.version() < 150_000;
            for member in family(relation, rename.only || alone) {
                effects.add_lock(member.qualified(), LockMode::AccessExclusive);
            }
            if let RenameTarget::Constraint(name) = &rename.target
                && let Some(index) = relation
                    .details
                    .constraint(name)
                    .filter(|found| found.references.is_none())
                    .and_then(|found| found.index.as_ref())
            {
                let index = Name::qualified(&relation.schema, index);
                effects.add_lock(index, LockMode::ShareUpdateExclusive);
            }
            effects
        }
    }
}

/// Judges `RENAME`.
pub(super) fn judge(rename: &Rename, source: &str, known: Known) -> Judgement {
    if rename.target == RenameTarget::Schema {
        let finding = Finding::as_sent(&BREAKS_CLIENTS);
        return decided(rename, source, known, Effects::none(), finding);
    }
    let found = rename
        .relation
        .as_ref()
        .and_then(|name| known.relation(name));
    let Some(relation) = found.filter(|relation| relation.owned) else {
        return super::other::judge(rename.tag, Scope::Transactional, source);
    };
    let mut effects = effects(rename, relation, known);
    known.forget_own(&mut effects);
    let is_index = relation.kind == RelationKind::Index;
    let finding = match &rename.target {
        RenameTarget::Relation(ObjectKind::Table) if is_index => Finding::of(
            &INDEX_BY_TABLE,
            Way::Steps(vec![by_index(rename, relation)]),
        ),
        RenameTarget::Relation(_) if is_index || known.is_small(relation) => Finding::harmless(),
        RenameTarget::Column(_) if known.is_small(relation) => Finding::harmless(),
        RenameTarget::Relation(_) | RenameTarget::Column(_) if !effects.locks.is_empty() => {
            Finding::as_sent(&BREAKS_CLIENTS)
        }
        RenameTarget::Relation(_)
        | RenameTarget::Column(_)
        | RenameTarget::Constraint(_)
        | RenameTarget::OnTable
        | RenameTarget::Schema
        | RenameTarget::Other => Finding::harmless(),
    };
    decided(rename, source, known, effects, finding)
}

fn decided(
    rename: &Rename,
    source: &str,
    known: Known,
    effects: Effects,
    finding: Finding,
) -> Judgement {
    let case = Case {
        known,
        tag: rename.tag,
        note: String::new(),
        as_sent: as_sent(rename.tag, source, &effects),
        effects,
        findings: vec![finding],
    };
    case.decide(super::only_steps)
}

fn by_index(rename: &Rename, relation: &Relation) -> Step {
    let index = relation.qualified();
    let sql = format!(
        "ALTER INDEX {index} RENAME TO {}",
        quote_identifier(&rename.new_name)
    );
    let renamed = Name::qualified(&relation.schema, &rename.new_name);
    Step::brief(format!("rename {index}"), sql)
        .locking(&index, LockMode::ShareUpdateExclusive)
        .undone_by(format!(
            "ALTER INDEX {renamed} RENAME TO {}",
            quote_identifier(&relation.name)
        ))
        .checked_by(Check::RelationExists { name: renamed })
}
