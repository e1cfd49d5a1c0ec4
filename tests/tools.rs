//! The projects of `tests/tools`, each a migration tool with its own way to a schema: phase by phase on two databases,
//! one reached directly and one through lockkeeper, for which every table is large. What the tool prints, how it ends,
//! its ledger, the schema and all rows are the same.
//!
//! And what may happen to a deployment: two at once, a tool that is killed, a lockkeeper that is killed.
//!
//! * `LOCKKEEPER_TEST_TOOL=rails`: only tools with such a name.
//! * `LOCKKEEPER_TEST_ROWS`: how many rows each table is filled with.
//! * `LOCKKEEPER_TEST_TRAFFIC=1`: while a phase runs, applications work on its tables, and go the same way as the tool;
//!   how long one statement of theirs took at worst is shown with `--nocapture`.
//! * `LOCKKEEPER_TEST_CELLS=all`: what may happen to a deployment happens to all tools, and more often.
//! * `LOCKKEEPER_TEST_SEED`: other moments at which something is killed.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::time::Duration;

#[path = "tools_suite/compared.rs"]
mod compared;
#[path = "tools_suite/difference.rs"]
mod difference;
#[path = "tools_suite/disturbed.rs"]
mod disturbed;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[path = "tools_suite/own.rs"]
mod own;
#[path = "tools_suite/printed.rs"]
mod printed;
#[path = "tools_suite/side.rs"]
mod side;
#[path = "tools_suite/snapshot.rs"]
mod snapshot;
#[path = "tools_suite/traffic.rs"]
mod traffic;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use harness::limited;

/// How long a test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(1200);

/// The tests of each tool.
macro_rules! tools {
    ($($tool:ident)*) => {
        /// All tools, by their folders.
        const TOOLS: &[&str] = &[$(stringify!($tool)),*];

        $(mod $tool {
            use crate::{compared, disturbed, of_tool, own};

            #[test]
            fn is_the_same_through_lockkeeper() {
                of_tool(stringify!($tool), compared::run);
            }

            #[test]
            fn twice_at_once_ends_as_once() {
                of_tool(stringify!($tool), disturbed::two_at_once);
            }

            #[test]
            fn killed_and_run_again_ends_as_undisturbed() {
                of_tool(stringify!($tool), disturbed::killed);
            }

            #[test]
            fn its_lockkeeper_killed_and_run_again_ends_as_undisturbed() {
                of_tool(stringify!($tool), own::killed);
            }
        })*
    };
}

tools! {
    alembic_asyncpg
    alembic_psycopg2
    alembic_psycopg3
    dbmate
    django
    drizzle
    knex
    laravel
    nodepgmigrate
    psql
    rails
    sqlx
    typeorm
    yoyo
}

/// Runs a test of a tool, if that is wanted.
fn of_tool(tool: &'static str, test: fn(&'static str)) {
    let wanted = variable("LOCKKEEPER_TEST_TOOL").unwrap_or_default();
    if tool.contains(&wanted) {
        limited(move || test(tool));
    }
}

/// An environment variable that isn't empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn every_tool_has_its_tests() {
    let folders = std::fs::read_dir(side::projects()).unwrap();
    let with_run = folders.map(|folder| folder.unwrap().path());
    let with_run = with_run.filter(|folder| folder.join("run.sh").exists());
    let names = with_run.map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned());
    let tested = TOOLS.iter().map(|tool| (*tool).to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), tested.collect());
}

/// Not a test: the lockkeeper that is killed. It does nothing unless [`own::Child::start`] runs it.
#[test]
fn a_lockkeeper_of_its_own() {
    own::run();
}
