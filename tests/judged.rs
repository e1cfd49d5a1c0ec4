//! The judge on trial: what it says a statement does against what the statement does on real servers of every version.
//!
//! The statements are those of `tests/statements`, at least two for each row of the table of statement kinds. Each runs
//! on the installed server and on those of `LOCKKEEPER_TEST_PG_BINS`; without one there is nothing to say. With
//! `LOCKKEEPER_TEST_SHOW` what was seen is printed.
//!
//! With `LOCKKEEPER_TEST_CELLS=all` all of it is tried. Every day it is a third of the statements on the versions
//! between the oldest, the newest and Debian's, on each another third, and plans are taken back after one of their
//! steps.

#[path = "common/client.rs"]
mod client;
#[path = "judged/compare.rs"]
mod compare;
#[path = "judged/corpus.rs"]
mod corpus;
#[path = "judged/judge.rs"]
mod judge;
#[path = "judged/known.rs"]
mod known;
#[path = "judged/observe.rs"]
mod observe;
#[path = "judged/plans.rs"]
mod plans;
#[path = "judged/servers.rs"]
mod servers;
#[path = "common/session.rs"]
mod session;
#[path = "judged/snapshot.rs"]
mod snapshot;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use corpus::Entry;
use lockkeeper::rules::Verdict;
use observe::Stage;
use plans::Way;
use servers::TestServer;

#[test]
fn every_row_has_statements_on_every_version() {
    let gaps = corpus::gaps();
    assert!(gaps.is_empty(), "{} gaps:\n{}", gaps.len(), gaps.join("\n"));
}

/// Whether a statement is tried on a version.
fn is_tried(version: u32, entry: &Entry) -> bool {
    let share = match version {
        14 => 0,
        16 => 1,
        17 => 2,
        _ => return true,
    };
    corpus::is_all() || corpus::number(&entry.sql) % 3 == share
}

/// Tries the statements that a version has.
fn each(server: &TestServer) -> Vec<String> {
    let mut problems = Vec::new();
    let (entries, began, mut count) = (corpus::entries(), Instant::now(), 0);
    let mut shared: Option<Stage> = None;
    for entry in entries {
        if !entry.versions.contains(&server.version) || !is_tried(server.version, &entry) {
            continue;
        }
        count += 1;
        let own = entry.alone || entry.half.is_some() || !entry.given.is_empty();
        let mut stage = match shared.take_if(|_| !own) {
            Some(stage) => stage,
            None => Stage::new(server, &entry),
        };
        let database = stage.database.clone();
        let tried = AssertUnwindSafe(|| one(server, &mut stage, &entry));
        let found = catch_unwind(tried).unwrap_or_else(Found::panicked);
        let about = format!("{} {}: {}", server.version, entry.rows.join(" "), entry.sql);
        problems.extend(
            found
                .problems
                .into_iter()
                .map(|problem| format!("{about}: {problem}")),
        );
        if own || found.used_up {
            drop(stage);
            server.drop(&database);
        } else {
            shared = Some(stage);
        }
    }
    eprintln!(
        "{}: {count} statements in {:?}",
        server.version,
        began.elapsed()
    );
    problems
}

/// What became of a statement.
#[derive(Default)]
struct Found {
    problems: Vec<String>,
    /// The database isn't what it was.
    used_up: bool,
}

impl Found {
    fn panicked(cause: Box<dyn Any + Send>) -> Found {
        let text = cause.downcast_ref::<String>().cloned();
        Found {
            problems: vec![format!("panics: {}", text.unwrap_or_default())],
            used_up: true,
        }
    }
}

/// Tries a statement.
fn one(server: &TestServer, stage: &mut Stage, entry: &Entry) -> Found {
    let sql = observe::named(&entry.sql, &stage.database);
    stage.set(entry);
    let judged = judge::judge(&mut stage.client, &sql);
    let plan = judged
        .as_ref()
        .ok()
        .and_then(|judged| match &judged.as_ref()?.judgement.verdict {
            Verdict::Rewrite(plan) => Some(plan.clone()),
            _ => None,
        });
    let observed = if entry.alone {
        stage.observe_alone(server, entry, plan.is_some())
    } else {
        stage.observe(entry, plan.is_some())
    };
    let mut found = Found::default();
    let (observed, judged) = match (observed, judged) {
        (Ok(observed), Ok(judged)) => (observed, judged),
        (observed, judged) => {
            found.problems = observed.err().into_iter().chain(judged.err()).collect();
            return found;
        }
    };
    let foreseen = judged
        .as_ref()
        .map(|judged| judge::qualified(&judged.judgement.effects));
    let differences = compare::compare(&foreseen.unwrap_or_default(), &observed);
    for (what, known, difference) in [
        ("TOO WEAK", known::WEAKER, &differences.weaker),
        ("TOO STRONG", known::STRONGER, &differences.stronger),
    ] {
        let unknown = known::unknown(known, &entry.sql, server.version, difference);
        found
            .problems
            .extend(unknown.map(|difference| format!("{what}:{difference}")));
    }
    if std::env::var_os("LOCKKEEPER_TEST_SHOW").is_some() {
        eprintln!(
            "{} {}: {}\n    {observed}",
            server.version,
            entry.rows.join(" "),
            entry.sql
        );
    }
    if let (Some(plan), Some(end)) = (plan, &observed.end) {
        found.used_up = true;
        let mut trials = Vec::new();
        for way in plans::ways(&plan) {
            let anew = entry.alone || way == Way::Long;
            let mut fresh = anew.then(|| Stage::new(server, entry));
            let stage = fresh.as_mut().unwrap_or(&mut *stage);
            let problems = plans::trial(&mut stage.client, &sql, way, end);
            trials.extend(problems);
            if let Some(stage) = fresh {
                server.drop(&stage.database);
            }
        }
        let trials = trials.join("; ");
        found.problems.extend(known::unknown(
            known::PLANS,
            &entry.sql,
            server.version,
            &trials,
        ));
    }
    found
}

#[test]
fn the_judge_foresees_what_happens() {
    let problems = servers::on_each(each).concat();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
