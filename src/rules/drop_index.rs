//! `DROP INDEX` takes ACCESS EXCLUSIVE on the index's table: every query on it waits, and while the
//! request itself waits for a long reader, everybody waits behind it.
//!
//! Recipe: `DROP INDEX CONCURRENTLY`, one index a statement, without timeouts. Not for indexes of
//! constraints, partitioned indexes, or with CASCADE where something depends on the index. On 13 to
//! 18 alike. <https://www.postgresql.org/docs/current/sql-dropindex.html>

use super::{Action, Judgement, Rule, Verdict};
use crate::catalog::{Facts, Index, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::{Check, Context, Plan, Step, StepLock, Undo};
use crate::sql::name::Name;
use crate::sql::statement::DropIndex;

/// The table's readers wait too.
pub const BLOCKS_READS: Rule = Rule {
    name: "drop-index-blocks-reads",
    hazard: "DROP INDEX asks for an ACCESS EXCLUSIVE lock on the table: every query waits while it waits.",
    remedy: "It is dropped by DROP INDEX CONCURRENTLY, which stops no query.",
    manual: "https://www.postgresql.org/docs/current/sql-dropindex.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "DROP INDEX users_email_idx",
};

/// Judges `DROP INDEX`.
pub fn judge(drop: &DropIndex, source: &str, facts: &Facts) -> Judgement {
    let found: Vec<&Relation> = facts.relations.iter().flatten().collect();
    let is_missing = found.len() < drop.indexes.len();
    if found.is_empty() {
        return Judgement::untouched(); // the server says so, without a lock
    }
    if drop.concurrently && (drop.indexes.len() > 1 || drop.cascade) {
        return Judgement::untouched(); // refused by the server
    }
    // What the server refuses, it refuses only when it comes to it: with locks on those before.
    let is_refused = is_missing
        || found
            .iter()
            .any(|found| !found.owned || found.index.is_none());
    if is_refused || found.iter().any(|relation| !can_go_concurrently(relation)) {
        return Judgement::by(&BLOCKS_READS, Verdict::Pass(plain(drop, source, &found)));
    }
    let mut steps: Vec<Step> = Vec::new();
    for relation in &found {
        let (Some(index), Some(table)) = (&relation.index, &relation.table) else {
            return Judgement::untouched();
        };
        if steps
            .iter()
            .all(|step| step.check != Check::IndexIsGone { oid: index.oid })
        {
            steps.push(drop_concurrently(index, &table.qualified(), table.kind));
        }
    }
    let names: Vec<String> = found
        .iter()
        .map(|relation| relation.qualified().to_string())
        .collect();
    let notice = if drop.concurrently && steps.len() == 1 {
        String::new()
    } else {
        format!(
            "dropping {} concurrently: reads and writes go on",
            names.join(", ")
        )
    };
    Judgement::by(&BLOCKS_READS, Verdict::Rewrite(Plan { notice, steps }))
}

fn can_go_concurrently(relation: &Relation) -> bool {
    let has_dependents = relation
        .index
        .as_ref()
        .is_some_and(|index| index.dependents > 0 || index.constraint);
    // What something depends on is refused, or CASCADEs: for all of the statement, or for none.
    relation.kind == RelationKind::Index
        && !relation.temporary
        && !relation.created_here
        && relation.extension.is_none()
        && !has_dependents
}

/// The statement as it came, under a lock timeout.
fn plain(drop: &DropIndex, source: &str, found: &[&Relation]) -> Plan {
    let tables = found.iter().filter_map(|relation| relation.table.as_ref());
    let context = if drop.concurrently {
        Context::Concurrent { clear: None }
    } else {
        Context::Transaction
    };
    Plan::as_sent(Step {
        locks: tables
            .map(|table| StepLock {
                relation: table.qualified(),
                mode: LockMode::AccessExclusive,
            })
            .collect(),
        context,
        ..Step::brief("drop index as written", source)
    })
}

/// The step that drops one index concurrently.
pub(super) fn drop_concurrently(index: &Index, table: &Name, kind: RelationKind) -> Step {
    Step {
        locks: vec![StepLock {
            relation: table.clone(),
            mode: LockMode::ShareUpdateExclusive,
        }],
        context: Context::Concurrent {
            clear: (kind == RelationKind::Table).then(|| table.clone()),
        },
        undo: Undo::Irreversible {
            why: "the index would have to be built again".to_owned(),
        },
        check: Check::IndexIsGone { oid: index.oid },
        ..Step::brief(
            format!("drop index {} concurrently", index.name),
            format!("DROP INDEX CONCURRENTLY {}", index.qualified()),
        )
    }
}
