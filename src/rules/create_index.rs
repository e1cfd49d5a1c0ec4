//! `CREATE INDEX` takes SHARE on the table until it is built: every INSERT, UPDATE and DELETE
//! waits, for minutes on a large table.
//!
//! Recipe: `CREATE INDEX CONCURRENTLY` with a name of its own, outside a transaction block, without
//! timeouts; then see that it is valid; if it failed, drop what it left. On 13 to 18 alike.
//! <https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY>

use super::{Action, Judgement, Policy, Refusal, Rule, Verdict, adopt};
use crate::catalog::{
    Depth, FactRequest, Facts, Index, Member, Relation, RelationKind, Taken, human_bytes,
};
use crate::lock::LockMode;
use crate::plan::{Check, Context, Leftovers, Plan, Step, StepLock, Undo};
use crate::sql::lexer::{Lexer, LexicalMode, Token, TokenKind};
use crate::sql::name::{MAX_IDENTIFIER_BYTES, make_object_name, quote_identifier};
use crate::sql::statement::CreateIndex;

/// The table's writers wait while the index is built.
pub const BLOCKS_WRITES: Rule = Rule {
    name: "create-index-blocks-writes",
    hazard: "CREATE INDEX holds a SHARE lock for as long as the build takes: every INSERT, UPDATE and DELETE waits.",
    remedy: "It is built by CREATE INDEX CONCURRENTLY, which stops no query; a failed build is cleaned up.",
    manual: "https://www.postgresql.org/docs/current/sql-createindex.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "CREATE INDEX users_email_idx ON users (email)",
};

/// The same on a partitioned table, where CONCURRENTLY can't be had in one statement.
pub const PARTITIONED: Rule = Rule {
    name: "create-index-partitioned",
    hazard: "CREATE INDEX on a partitioned table locks every partition against writes until the last one is built.",
    remedy: "Each partition's index is built concurrently; the parent's then takes them over, and builds nothing.",
    manual: "https://www.postgresql.org/docs/current/ddl-partitioning.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "CREATE INDEX events_user_id_idx ON events (user_id)",
};

/// `IF NOT EXISTS` meets an index that no query can use.
pub const INVALID: Rule = Rule {
    name: "create-index-meets-invalid",
    hazard: "IF NOT EXISTS takes an INVALID index, left by a failed build, for the one that is asked for.",
    remedy: "The INVALID index is dropped concurrently and built anew.",
    manual: "https://www.postgresql.org/docs/current/sql-createindex.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "CREATE INDEX IF NOT EXISTS users_email_idx ON users (email)",
};

/// Since then `EXTRACT` is a function of that name; before it was `date_part`.
const EXTRACT_VERSION: u32 = 140_000;

fn has_extract(create: &CreateIndex) -> bool {
    create
        .columns
        .iter()
        .flatten()
        .any(|name| name == "extract")
}

/// How many names are tried for an unnamed index.
const CANDIDATES: usize = 64;

/// The table; and the names that the index may get.
pub fn facts_needed(create: &CreateIndex) -> FactRequest {
    let candidates = match &create.name {
        Some(name) => vec![name.clone()],
        None => {
            let of =
                |version| (0..CANDIDATES).map(move |number| candidate(create, number, version));
            let mut names: Vec<String> = of(EXTRACT_VERSION).collect();
            if has_extract(create) {
                names.extend(of(0));
            }
            names
        }
    };
    FactRequest {
        relations: vec![create.table.clone()],
        candidates,
        depth: Depth::Structure,
        ..FactRequest::default()
    }
}

/// The name that PostgreSQL gives an unnamed index when `number` names before it are taken:
/// `ChooseIndexName` and `ChooseRelationName` of `src/backend/commands/indexcmds.c`.
fn candidate(create: &CreateIndex, number: usize, version: u32) -> String {
    let label = if number == 0 {
        "idx".to_owned()
    } else {
        format!("idx{number}")
    };
    let mut columns = create.columns.clone();
    if version < EXTRACT_VERSION {
        let extracts = columns
            .iter_mut()
            .flatten()
            .filter(|name| *name == "extract");
        extracts.for_each(|name| "date_part".clone_into(name));
    }
    make_object_name(&create.table.name, &column_names(&columns), &label)
}

/// The columns' names, joined: `ChooseIndexColumnNames` and `ChooseIndexNameAddition`.
fn column_names(columns: &[Option<String>]) -> String {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let original = column.as_deref().unwrap_or("expr");
        let mut name = original.to_owned();
        let mut number = 0;
        while names.contains(&name) {
            number += 1;
            name = format!("{original}{number}");
        }
        names.push(name);
    }
    let mut joined = String::new();
    for name in &names {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(name);
        if joined.len() > MAX_IDENTIFIER_BYTES {
            break;
        }
    }
    joined
}

/// Judges `CREATE INDEX`.
pub fn judge(create: &CreateIndex, source: &str, facts: &Facts, policy: &Policy) -> Judgement {
    let Some(table) = facts.relations.first().and_then(Option::as_ref) else {
        return Judgement::untouched(); // the server says that there is no such table
    };
    let is_table = matches!(
        table.kind,
        RelationKind::Table | RelationKind::PartitionedTable | RelationKind::MaterializedView
    );
    if !table.owned || !is_table || table.created_here {
        return Judgement::untouched(); // refused by the server, or nobody's traffic
    }
    if let Some(half) = table.details.detach_pending.first() {
        let refusal = super::partition::unfinished(table, half);
        return Judgement::by(&super::partition::DETACH_PENDING, Verdict::Reject(refusal));
    }
    let taken = create
        .name
        .as_ref()
        .and_then(|name| facts.taken.iter().find(|taken| taken.name == *name));
    if let Some(taken) = taken
        && let Some(judgement) = name_is_taken(create, source, table, taken)
    {
        return judgement;
    }
    let invalid = taken.and_then(|taken| taken.index.as_ref());
    let Some(name) = index_name(create, facts) else {
        return Judgement::by(&BLOCKS_WRITES, Verdict::Pass(plain(create, source, table)));
    };
    let verdict =
        // Without the partition key the server refuses it at once.
        if table.temporary
            || (create.only && table.kind == RelationKind::PartitionedTable)
            || lacks_partition_key(create, table)
        {
            Verdict::Pass(plain(create, source, table))
        } else if table.kind == RelationKind::PartitionedTable {
            return partitioned(create, source, table, facts, policy);
        } else if table.extension.is_some() {
            Verdict::Pass(plain(create, source, table))
        } else {
            let plan = concurrently(create, source, table, &name, invalid, policy);
            let is_as_sent = matches!(
                plan.steps[..],
                [Step {
                    context: Context::Brief { .. },
                    ..
                }]
            );
            if is_as_sent {
                Verdict::Pass(plan)
            } else {
                Verdict::Rewrite(plan)
            }
        };
    let rule = if invalid.is_some() {
        &INVALID
    } else {
        &BLOCKS_WRITES
    };
    Judgement::by(rule, verdict)
}

/// A unique index of a partitioned table must have all columns of the key (`DefineIndex` of
/// `src/backend/commands/indexcmds.c`).
fn lacks_partition_key(create: &CreateIndex, table: &Relation) -> bool {
    let has = |key: &String| create.columns.iter().flatten().any(|column| column == key);
    create.unique && !table.details.partition_columns.iter().all(has)
}

/// The name is taken already: by what, decides. `None` goes on to rebuild an INVALID index.
fn name_is_taken(
    create: &CreateIndex,
    source: &str,
    table: &Relation,
    taken: &Taken,
) -> Option<Judgement> {
    if !create.if_not_exists {
        // 42P07 from the server, but only after it has waited for its lock.
        return Some(Judgement::by(
            &BLOCKS_WRITES,
            Verdict::Pass(plain(create, source, table)),
        ));
    }
    match &taken.index {
        Some(index) if index.building => Some(Judgement::by(&INVALID, Verdict::Reject(Refusal {
                sqlstate: "55006",
                message: format!("index {} is being built by another session", index.qualified()),
                detail: "It exists, but no query can use it before that build has finished.".to_owned(),
                hint: "Send the statement again when the build is done (pg_stat_progress_create_index).".to_owned(),
            }))),
        Some(index) if !index.valid && taken.kind == RelationKind::Index && belongs(table, index) => None,
        // Valid, or not ours to touch: the server answers with its own NOTICE, after waiting for its lock.
        _ => Some(Judgement::by(&BLOCKS_WRITES, Verdict::Pass(plain(create, source, table)))),
    }
}

fn belongs(table: &Relation, index: &Index) -> bool {
    table.indexes.iter().any(|other| other.oid == index.oid)
}

/// The index's name: as written, or the first free one that PostgreSQL would choose.
fn index_name(create: &CreateIndex, facts: &Facts) -> Option<String> {
    if let Some(name) = &create.name {
        return Some(name.clone());
    }
    (0..CANDIDATES)
        .map(|number| candidate(create, number, facts.session.version))
        .find(|name| facts.taken.iter().all(|taken| taken.name != *name))
}

fn share_lock(table: &Relation) -> Vec<StepLock> {
    vec![StepLock {
        relation: table.qualified(),
        mode: LockMode::Share,
    }]
}

/// The statement as it came, under a lock timeout.
fn plain(create: &CreateIndex, source: &str, table: &Relation) -> Plan {
    let context = if create.concurrently {
        Context::Concurrent { clear: None }
    } else {
        Context::Transaction
    };
    Plan::as_sent(Step {
        locks: share_lock(table),
        context,
        takes_long: true,
        ..Step::brief("create index as written", source)
    })
}

fn concurrently(
    create: &CreateIndex,
    source: &str,
    table: &Relation,
    name: &str,
    invalid: Option<&Index>,
    policy: &Policy,
) -> Plan {
    let mut steps = Vec::new();
    if let Some(index) = invalid {
        let table_name = table.qualified();
        let drop = super::drop_index::drop_concurrently(index, &table_name, table.kind);
        steps.push(Step {
            only_while_invalid: Some(index.oid),
            ..drop
        });
    }
    let build = build_step(create, table, name, invalid);
    let is_small =
        table.bytes <= policy.small_table_bytes && invalid.is_none() && !create.concurrently;
    let is_harmless = create.method == "btree" && !create.has_expressions;
    if is_small && is_harmless {
        steps.push(Step {
            locks: share_lock(table),
            context: Context::Brief {
                otherwise: vec![build],
            },
            ..Step::brief(format!("create index {name} on a small table"), source)
        });
        return Plan {
            notice: String::new(),
            steps,
        };
    }
    steps.push(build);
    let rebuilt = if invalid.is_some() {
        "; the INVALID index of that name is dropped first"
    } else {
        ""
    };
    let notice = if create.concurrently && invalid.is_none() {
        String::new()
    } else {
        format!(
            "building index {} on {} ({}) concurrently: reads and writes go on{rebuilt}",
            quote_identifier(name),
            table.qualified(),
            human_bytes(table.bytes),
        )
    };
    Plan { notice, steps }
}

fn build_step(create: &CreateIndex, table: &Relation, name: &str, dropped: Option<&Index>) -> Step {
    let unique = if create.unique { "UNIQUE " } else { "" };
    let sql = format!(
        "CREATE {unique}INDEX CONCURRENTLY {} {}",
        quote_identifier(name),
        create.tail
    );
    let mut before: Vec<u32> = table.indexes.iter().map(|index| index.oid).collect();
    before.retain(|oid| dropped.is_none_or(|index| index.oid != *oid));
    let is_table = table.kind == RelationKind::Table;
    Step {
        locks: vec![StepLock {
            relation: table.qualified(),
            mode: LockMode::ShareUpdateExclusive,
        }],
        context: Context::Concurrent {
            clear: is_table.then(|| table.qualified()),
        },
        undo: Undo::DropInvalidIndexes(Leftovers {
            table_oid: table.oid,
            before,
            name: Some(name.to_owned()),
            reindex_copies: false,
        }),
        check: Check::IndexIsValid {
            table_oid: table.oid,
            name: name.to_owned(),
        },
        ..Step::brief(format!("create index {name} concurrently"), sql)
    }
}

fn partitioned(
    create: &CreateIndex,
    source: &str,
    table: &Relation,
    facts: &Facts,
    policy: &Policy,
) -> Judgement {
    if create.concurrently {
        return Judgement::untouched(); // the server refuses it
    }
    let leaves: Vec<&Member> = table
        .details
        .descendants
        .iter()
        .filter(|leaf| leaf.is_leaf())
        .collect();
    if table.bytes <= policy.small_table_bytes || leaves.is_empty() {
        let plan = plain(create, source, table);
        return Judgement::by(&PARTITIONED, Verdict::Pass(plan));
    }
    if leaves.iter().any(|leaf| leaf.kind != RelationKind::Table) {
        return Judgement::untouched(); // a foreign table among them: the server refuses it
    }
    let lacking = leaves.iter().filter(|leaf| !adopt::has_index(leaf, create));
    let mut steps: Vec<Step> = lacking.map(|leaf| leaf_step(create, leaf)).collect();
    if steps.is_empty() {
        let plan = plain(create, source, table); // nothing is built
        return Judgement::by(&PARTITIONED, Verdict::Pass(plan));
    }
    let name = index_name(create, facts).unwrap_or_default();
    let unique = if create.unique { "UNIQUE " } else { "" };
    let table_name = table.qualified();
    let sql = format!(
        "CREATE {unique}INDEX {} {}",
        quote_identifier(&name),
        tail_with_table(&create.tail, &table_name.to_string())
    );
    let mut locks = share_lock(table);
    locks.extend(leaves.iter().map(|leaf| StepLock {
        relation: leaf.qualified(),
        mode: LockMode::Share,
    }));
    steps.push(Step {
        locks,
        check: Check::IndexIsValid {
            table_oid: table.oid,
            name: name.clone(),
        },
        ..Step::brief(format!("create index {name}, which takes over theirs"), sql)
    });
    let plural = if leaves.len() == 1 { "" } else { "s" };
    let notice = format!(
        "building index {} on {table_name} ({}) partition by partition, concurrently ({} partition{plural}): reads and \
         writes go on",
        quote_identifier(&name),
        human_bytes(table.bytes),
        leaves.len(),
    );
    Judgement::by(&PARTITIONED, Verdict::Rewrite(Plan { notice, steps }))
}

/// The index of one partition, under the name that PostgreSQL would give it.
fn leaf_step(create: &CreateIndex, leaf: &Member) -> Step {
    let as_if = CreateIndex {
        name: None,
        table: leaf.qualified(),
        tail: tail_with_table(&create.tail, &leaf.qualified().to_string()),
        ..create.clone()
    };
    let name = (0..CANDIDATES)
        .map(|number| candidate(&as_if, number, EXTRACT_VERSION))
        .find(|name| !leaf.indexes.contains(name))
        .unwrap_or_default();
    let table = Relation {
        oid: leaf.oid,
        schema: leaf.schema.clone(),
        name: leaf.name.clone(),
        ..Relation::default()
    };
    build_step(&as_if, &table, &name, None)
}

/// The tail of the statement with another table in it; `tail` is `ON [ONLY] name [USING method] (…`.
pub(super) fn tail_with_table(tail: &str, table: &str) -> String {
    let mut rest = None;
    let mut using = None;
    let mut note = |token: Token| {
        let start = usize::try_from(token.start).unwrap_or(usize::MAX);
        match token.kind {
            TokenKind::Word(word) if word.is("using") && using.is_none() => using = Some(start),
            TokenKind::Punctuation(b'(') if rest.is_none() => rest = Some(using.unwrap_or(start)),
            _ => {}
        }
    };
    let mut lexer = Lexer::new(LexicalMode::default());
    lexer.feed(tail.as_bytes(), &mut note);
    lexer.finish(&mut note);
    format!(
        "ON {table} {}",
        rest.and_then(|at| tail.get(at..)).unwrap_or("(…)")
    )
}
