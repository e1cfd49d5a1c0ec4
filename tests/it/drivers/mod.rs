//! Real clients through the proxy. Each does its ordinary work three times: directly, through a proxy that observes,
//! and through one that enforces. It prints what it sees, and must see the same each time.
//!
//! A client's own program stands beside its test. It masks what differs from run to run, such as process ids, and may
//! print NOTICEs of lockkeeper's, a line each.

mod asyncpg;
mod dump;
mod jdbc;
mod libpq;
mod node;
mod pgbench;
mod psql;
mod psycopg;
mod replication;
mod tokio_postgres;

use std::path::Path;
use std::process::Command;

use bytesize::ByteSize;
use lockkeeper::config::Mode;
use lockkeeper::config::policy::RuleActions;
use tempfile::TempDir;

use crate::harness::{Proxy, clean_command, database, installed, place, run, shared};
use crate::wire::Place;

/// Every NOTICE of lockkeeper's begins with it.
const OWN_NOTICE: &str = "lockkeeper: ";

/// Where a client connects to.
struct Target {
    place: Place,
    database: String,
    files: TempDir,
}

impl Target {
    /// A new database of the shared server.
    fn new(place: &Place) -> Target {
        Target {
            place: place.clone(),
            database: database(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    /// The program, told by libpq's variables where to connect, in a directory of its own.
    fn command(&self, mut program: Command) -> Command {
        program
            .env("PGHOST", self.place.host())
            .env("PGPORT", self.place.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", &self.database)
            .env("PGCONNECT_TIMEOUT", "30")
            .current_dir(self.files.path());
        program
    }
}

/// Lets a client do its work each way, and compares what it prints. Small tables are guarded like large ones. Returns
/// the events of the proxy that enforces.
#[track_caller]
fn each_way(client: impl Fn(&Target) -> String) -> Vec<String> {
    each_way_guarding(ByteSize::b(0), client)
}

/// What is refused on all but small tables runs as sent; statements about indexes are rewritten.
fn as_sent() -> RuleActions {
    let mut rules = serde_json::json!({"*": "allow"});
    for name in [
        "create-index-blocks-writes",
        "create-index-partitioned",
        "create-index-meets-invalid",
        "drop-index-blocks-reads",
        "reindex-blocks-reads",
    ] {
        rules[name] = "rewrite".into();
    }
    serde_json::from_value(rules).unwrap()
}

/// The same with a limit for what is a small table.
#[track_caller]
fn each_way_guarding(small_table: ByteSize, client: impl Fn(&Target) -> String) -> Vec<String> {
    let direct = client(&Target::new(&place(shared())));
    let through = |mode: Mode| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.mode = mode;
            config.guard.small_table = small_table;
            config.policy.rules = as_sent();
        });
        let out = client(&Target::new(proxy.place()));
        (out, proxy.event_words())
    };
    let (out, observed) = through(Mode::Observe);
    assert_same(&direct, &out, "observe");
    let done = observed.iter().find(|words| words.ends_with(" done"));
    assert_eq!(done, None, "observe leaves everything to the server");
    let (out, enforced) = through(Mode::Enforce);
    assert_same(&direct, &without_notices(&out), "enforce");
    enforced
}

/// What the server alone would have said: no NOTICE of lockkeeper's, with its DETAIL.
fn without_notices(out: &str) -> String {
    let mut of_notice = false;
    let mut is_servers = |line: &&str| {
        of_notice = line.contains(OWN_NOTICE) || of_notice && line.starts_with("DETAIL:  ");
        !of_notice
    };
    let kept = out.lines().filter(|line| is_servers(line));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// The text with the digits behind each `marker` as one `N`.
fn masked(text: &str, marker: &str) -> String {
    let mut parts = text.split(marker);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = if rest.len() < part.len() { "N" } else { "" };
        masked += &[marker, number, rest].concat();
    }
    masked
}

/// Of each kind at least so many schema changes were guarded to their end.
#[track_caller]
fn assert_guarded(events: &[String], least: &[(&str, usize)]) {
    for (tag, least) in least {
        let done = format!("{tag} done");
        let count = events.iter().filter(|words| **words == done).count();
        assert!(count >= *least, "{count} times {done}: {events:#?}");
    }
}

/// Compares two outputs by lines: the first that differs is told.
#[track_caller]
fn assert_same(direct: &str, proxied: &str, mode: &str) {
    let (mut direct, mut proxied) = (direct.lines(), proxied.lines());
    let mut before = "";
    for number in 1.. {
        let (one, other) = (direct.next(), proxied.next());
        assert_eq!(one, other, "{mode}, line {number}, after {before:?}");
        match one {
            Some(line) => before = line,
            None => break,
        }
    }
}

/// A client's program, beside its test.
fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/drivers")
        .join(name)
}

/// Runs a Python script.
fn python(target: &Target, name: &str) -> String {
    let python = installed("LOCKKEEPER_TEST_PYTHON", "target/venv/bin/python");
    let mut command = target.command(clean_command(python));
    // Isolated: the directory of the script, which is named after what it imports, is none of modules.
    printed(command.arg("-I").arg(script(name)))
}

/// Runs a client's program to its end, which must be a good one: what it printed.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let said = run(command, "");
    let remedy = "`make test` installs the clients that are missing";
    assert!(
        said.status.success(),
        "{}\n{}\n{remedy}",
        said.out,
        said.err
    );
    said.out
}
