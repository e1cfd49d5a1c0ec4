//! Every statement that the parser accepts is judged, on the oldest and on the newest version, with the worst of facts
//! and with what the statements before it have made: without a panic, and whatever a plan holds reads again.

#![allow(clippy::unwrap_used)]

#[path = "common/corpus.rs"]
mod corpus;

use lockkeeper::catalog::SessionFacts;
use lockkeeper::catalog::shadow::Shadow;
use lockkeeper::plan::{Step, Undo};
use lockkeeper::rules::{self, Policy};
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::parse::{Parsed, parse};

const VERSIONS: [u32; 2] = [130_000, 180_000];

fn shadow(version: u32) -> Shadow {
    Shadow::assuming(SessionFacts {
        version,
        client_min_messages: "notice".to_owned(),
        ..SessionFacts::default()
    })
}

/// Judges a statement, and reads its plan.
fn judge(parsed: &Parsed, sql: &str, shadow: &Shadow) -> Result<(), String> {
    let policy = Policy {
        small_table_bytes: 1 << 20,
        scan_bytes_per_second: 100 << 20,
        overrides: Vec::new(),
    };
    let request = rules::facts_needed(&parsed.statement);
    let facts = shadow.answer_about(&request, &parsed.statement);
    let judgement = rules::judge(parsed, sql, &facts, &policy);
    let shown = judgement.to_string();
    let carried_out = rules::as_carried_out(judgement.clone(), parsed, sql, &facts, &policy);
    assert!(!shown.is_empty() && !carried_out.to_string().is_empty());
    let plan = judgement.verdict.plan().into_iter();
    plan.flat_map(|plan| &plan.steps).try_for_each(read)
}

/// Every statement of a step reads as one statement.
fn read(step: &Step) -> Result<(), String> {
    let undo = match &step.undo {
        Undo::Sql(sql) => Some(sql.clone()),
        Undo::NothingToUndo
        | Undo::DropInvalidIndexes(_)
        | Undo::Finish(_)
        | Undo::Irreversible { .. } => None,
    };
    for sql in step.statements().into_iter().chain(undo) {
        match parse(&sql, LexicalMode::default()) {
            Ok(statements) if statements.len() == 1 => {}
            Ok(statements) => return Err(format!("{sql}: {} statements", statements.len())),
            Err(error) => return Err(format!("{sql}: {error}")),
        }
    }
    step.otherwise().iter().try_for_each(read)
}

#[test]
fn every_statement_is_judged_and_its_plan_reads_again() {
    let mut problems = Vec::new();
    let mut count = 0;
    for path in corpus::files() {
        let mut made = VERSIONS.map(shadow);
        for sql in corpus::statements(&path) {
            let Ok(parsed) = parse(&sql, LexicalMode::default()) else {
                continue;
            };
            let [parsed] = parsed.as_slice() else {
                continue;
            };
            count += 1;
            for (version, made) in VERSIONS.into_iter().zip(&mut made) {
                for facts in [&shadow(version), &*made] {
                    if let Err(problem) = judge(parsed, sql.trim(), facts) {
                        problems.push(format!("{}: {sql}\n    {problem}", path.display()));
                    }
                }
                made.apply(&parsed.statement);
            }
        }
    }
    assert!(count > 500, "only {count} statements");
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
