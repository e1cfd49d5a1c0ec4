//! `REINDEX` holds SHARE on the table and ACCESS EXCLUSIVE on the index: writes wait, and so does
//! every SELECT that is planned on the table, by another index too (measured).
//!
//! Recipe: `REINDEX … CONCURRENTLY` without timeouts. `REINDEX TABLE CONCURRENTLY` skips INVALID
//! indexes and those of exclusion constraints with a WARNING: they are handled by name, the latter
//! in the plain form, for there is no other. On 13 to 18; of partitioned tables and indexes since
//! 14. <https://www.postgresql.org/docs/current/sql-reindex.html#SQL-REINDEX-CONCURRENTLY>

use super::{Action, Judgement, Policy, Rule, Verdict};
use crate::catalog::{Facts, Index, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::{Check, Context, Leftovers, Notices, Plan, Step, StepLock, Undo};
use crate::sql::name::{Name, quote_identifier};
use crate::sql::statement::{Reindex, ReindexKind};

/// Writers wait, and readers too.
pub const BLOCKS_READS: Rule = Rule {
    name: "reindex-blocks-reads",
    hazard: "REINDEX locks the index exclusively while it is rebuilt: writes wait, and queries planned on the table.",
    remedy: "It is rebuilt by REINDEX CONCURRENTLY, which stops no query; what a failed rebuild leaves is dropped.",
    manual: "https://www.postgresql.org/docs/current/sql-reindex.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "REINDEX TABLE users",
};

/// Judges `REINDEX INDEX` and `REINDEX TABLE`.
pub fn judge(reindex: &Reindex, source: &str, facts: &Facts, policy: &Policy) -> Judgement {
    let Some(relation) = facts.relations.first().and_then(Option::as_ref) else {
        return Judgement::untouched();
    };
    if !relation.owned || relation.created_here {
        return Judgement::untouched();
    }
    let is_partitioned = matches!(
        relation.kind,
        RelationKind::PartitionedTable | RelationKind::PartitionedIndex
    );
    if relation.temporary
        || relation.is_system()
        || relation.extension.is_some()
        || (is_partitioned && facts.session.version < 140_000)
    {
        return Judgement::by(
            &BLOCKS_READS,
            Verdict::Pass(plain(reindex, source, relation)),
        );
    }
    let steps = match (reindex.kind, relation.kind) {
        (ReindexKind::Index, RelationKind::Index | RelationKind::PartitionedIndex) => {
            index_steps(reindex, relation)
        }
        (ReindexKind::Table, RelationKind::Table | RelationKind::MaterializedView) => {
            table_steps(reindex, relation)
        }
        (ReindexKind::Table, RelationKind::PartitionedTable) => {
            vec![concurrently(reindex, relation)]
        }
        _ => return Judgement::untouched(), // refused by the server
    };
    let bytes = relation
        .table
        .as_ref()
        .map_or(relation.bytes, |table| table.bytes);
    // A table may be small and its TOAST table large; without any index there is nothing to build.
    let is_quick = match reindex.kind {
        ReindexKind::Index => bytes <= policy.small_table_bytes,
        ReindexKind::Table => relation.indexes.is_empty() && !relation.assumed,
    } && !reindex.concurrently
        && !is_partitioned;
    Judgement::by(
        &BLOCKS_READS,
        with_steps(reindex, source, relation, steps, is_quick),
    )
}

fn with_steps(
    reindex: &Reindex,
    source: &str,
    relation: &Relation,
    steps: Vec<Step>,
    is_quick: bool,
) -> Verdict {
    if is_quick {
        let context = Context::Brief { otherwise: steps };
        return Verdict::Pass(Plan::as_sent(Step {
            context,
            ..plain_step(reindex, source, relation)
        }));
    }
    if steps
        .iter()
        .all(|step| step.context == Context::Transaction)
    {
        return Verdict::Pass(Plan {
            notice: String::new(),
            steps,
        });
    }
    let notice = if reindex.concurrently && steps.len() == 1 {
        String::new()
    } else {
        format!(
            "rebuilding {} concurrently: reads and writes go on",
            relation.qualified()
        )
    };
    Verdict::Rewrite(Plan { notice, steps })
}

fn index_steps(reindex: &Reindex, relation: &Relation) -> Vec<Step> {
    match &relation.index {
        Some(index) if index.exclusion && !reindex.concurrently => {
            vec![plain_index(reindex, index, table_name(relation))]
        }
        _ => vec![concurrently(reindex, relation)],
    }
}

/// The concurrent form, then by name what it skips; the plain form of exclusion constraints'
/// indexes last.
fn table_steps(reindex: &Reindex, table: &Relation) -> Vec<Step> {
    let mut steps = vec![concurrently(reindex, table)];
    if reindex.concurrently {
        return steps; // the client's own choice, with the server's own WARNINGs
    }
    let is_skipped = |index: &Index| index.exclusion || !index.valid;
    if table.indexes.iter().any(is_skipped) {
        steps[0].notices = Notices::AllButWarnings;
    }
    let left = |index: &&Index| !index.building;
    for index in table
        .indexes
        .iter()
        .filter(left)
        .filter(|index| !index.valid && !index.exclusion)
    {
        if is_reindex_copy(&index.name) {
            continue; // the rubbish of an earlier failure: not an index that anybody asked for
        }
        steps.push(Step {
            title: format!("rebuild the INVALID index {} concurrently", index.name),
            sql: reindex_sql(reindex, "INDEX CONCURRENTLY", &index.qualified()),
            check: Check::IndexIsValid {
                table_oid: table.oid,
                name: index.name.clone(),
            },
            ..concurrently(reindex, table)
        });
    }
    for index in table
        .indexes
        .iter()
        .filter(left)
        .filter(|index| index.exclusion)
    {
        steps.push(plain_index(reindex, index, table.qualified()));
    }
    steps
}

/// Whether a name is one that REINDEX CONCURRENTLY gives its copies
/// (`src/backend/commands/indexcmds.c`).
pub fn is_reindex_copy(name: &str) -> bool {
    let stem = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    stem.ends_with("_ccnew") || stem.ends_with("_ccold")
}

fn table_name(relation: &Relation) -> Name {
    relation
        .table
        .as_ref()
        .map_or_else(|| relation.qualified(), |table| table.qualified())
}

fn concurrently(reindex: &Reindex, relation: &Relation) -> Step {
    let what = match reindex.kind {
        ReindexKind::Index => "INDEX CONCURRENTLY",
        ReindexKind::Table => "TABLE CONCURRENTLY",
    };
    let table = table_name(relation);
    let table_oid = relation
        .table
        .as_ref()
        .map_or(relation.oid, |table| table.oid);
    let oids = |test: fn(&Index) -> bool| -> Vec<u32> {
        relation
            .indexes
            .iter()
            .filter(|index| test(index))
            .map(|index| index.oid)
            .collect()
    };
    // Only copies of an earlier failure were there before: an index in use becomes a copy itself.
    let copies = oids(|index| is_reindex_copy(&index.name));
    let invalid = oids(|index| !index.valid);
    let kind = relation
        .table
        .as_ref()
        .map_or(relation.kind, |table| table.kind);
    Step {
        locks: vec![StepLock {
            relation: table.clone(),
            mode: LockMode::ShareUpdateExclusive,
        }],
        context: Context::Concurrent {
            clear: (kind == RelationKind::Table).then_some(table),
        },
        undo: Undo::DropInvalidIndexes(Leftovers {
            table_oid,
            before: copies,
            name: None,
            reindex_copies: true,
        }),
        check: Check::NoInvalidIndexes {
            table_oid,
            except: invalid,
        },
        ..Step::brief(
            format!("rebuild {} concurrently", relation.name),
            reindex_sql(reindex, what, &relation.qualified()),
        )
    }
}

fn reindex_sql(reindex: &Reindex, what: &str, name: &Name) -> String {
    let mut options = Vec::new();
    if reindex.verbose {
        options.push("VERBOSE".to_owned());
    }
    if let Some(tablespace) = &reindex.tablespace {
        options.push(format!("TABLESPACE {}", quote_identifier(tablespace)));
    }
    let options = if options.is_empty() {
        String::new()
    } else {
        format!("({}) ", options.join(", "))
    };
    format!("REINDEX {options}{what} {name}")
}

/// The plain form of one index, under a lock timeout.
fn plain_index(reindex: &Reindex, index: &Index, table: Name) -> Step {
    let title = format!(
        "rebuild {}, which can't be rebuilt concurrently",
        index.name
    );
    let sql = reindex_sql(reindex, "INDEX", &index.qualified());
    Step {
        locks: vec![
            StepLock {
                relation: table,
                mode: LockMode::Share,
            },
            StepLock {
                relation: index.qualified(),
                mode: LockMode::AccessExclusive,
            },
        ],
        takes_long: true,
        ..Step::brief(title, sql)
    }
}

fn plain_step(reindex: &Reindex, source: &str, relation: &Relation) -> Step {
    let context = if reindex.concurrently {
        Context::Concurrent { clear: None }
    } else {
        Context::Transaction
    };
    Step {
        locks: vec![
            StepLock {
                relation: table_name(relation),
                mode: LockMode::Share,
            },
            StepLock {
                relation: relation.qualified(),
                mode: LockMode::AccessExclusive,
            },
        ],
        context,
        takes_long: true,
        ..Step::brief("reindex as written", source)
    }
}

fn plain(reindex: &Reindex, source: &str, relation: &Relation) -> Plan {
    Plan::as_sent(plain_step(reindex, source, relation))
}
