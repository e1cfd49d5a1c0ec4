//! The judge on trial: what it says a statement does against what the statement does on real servers of every version.
//!
//! The statements are those of `tests/statements`, at least two for each row of the table of statement kinds. Each runs
//! on the installed server and on those of `LOCKKEEPER_TEST_PG_BINS`; without one there is nothing to say. With
//! `LOCKKEEPER_TEST_SHOW` what was seen is printed.

#[path = "common/client.rs"]
mod client;
#[path = "judged/corpus.rs"]
mod corpus;
#[path = "judged/observe.rs"]
mod observe;
#[path = "judged/servers.rs"]
mod servers;

use std::time::Instant;

use corpus::Entry;
use observe::{Observed, Stage};
use servers::TestServer;

#[test]
fn every_row_has_statements_on_every_version() {
    let gaps = corpus::gaps();
    assert!(gaps.is_empty(), "{} gaps:\n{}", gaps.len(), gaps.join("\n"));
}

/// Runs every statement that a version has and hands what was seen to `judge`, with the stage on which it may be
/// judged: a session that sees the catalog as it was.
fn each(
    server: &TestServer,
    mut judge: impl FnMut(&mut Stage, &Entry) -> Vec<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let entries = corpus::entries();
    let of_version = entries
        .iter()
        .filter(|entry| entry.versions.contains(&server.version));
    let (mut shared, began, mut count) = (None, Instant::now(), 0);
    for entry in of_version {
        count += 1;
        let own = entry.alone || entry.half.is_some() || !entry.given.is_empty();
        let mut stage = match shared.take() {
            Some(stage) if !own => stage,
            kept => {
                if own {
                    shared = kept;
                }
                Stage::new(server, entry)
            }
        };
        let found = judge(&mut stage, entry);
        let about = format!("{} {}: {}", server.version, entry.rows.join(" "), entry.sql);
        problems.extend(
            found
                .into_iter()
                .map(|problem| format!("{about}: {problem}")),
        );
        let database = stage.database.clone();
        if entry.alone {
            note(&about, stage.observe_alone(server, entry), &mut problems);
        } else {
            note(&about, stage.observe(entry), &mut problems);
            if !own {
                shared = Some(stage);
                continue;
            }
        }
        server.drop(&database);
    }
    eprintln!(
        "{}: {count} statements in {:?}",
        server.version,
        began.elapsed()
    );
    problems
}

fn note(about: &str, observed: Result<Observed, String>, problems: &mut Vec<String>) {
    match observed {
        Ok(observed) => {
            if std::env::var_os("LOCKKEEPER_TEST_SHOW").is_some() {
                eprintln!("{about}\n    {observed}");
            }
        }
        Err(problem) => problems.push(format!("{about}: {problem}")),
    }
}

#[test]
fn every_statement_ends_as_it_must() {
    let problems = servers::on_each(|server| each(server, |_, _| Vec::new())).concat();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
