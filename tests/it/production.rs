//! What lockkeeper is in production: a service that says what it is and what it does, is replaced while it runs, and
//! stands behind and before other machines.

mod connect_log;
mod doctor;
mod failover;
mod journal;
mod load_balancer;
mod operator_page;
mod service;
mod upgrade;

use std::process::Command;

use crate::harness::run;
use crate::program::lockkeeper;

#[test]
fn the_version_names_commit_and_parser() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(lockkeeper(&["-V"]).ok(), format!("lockkeeper {version}"));
    let long = lockkeeper(&["--version"]).ok();
    let lock = include_str!("../../Cargo.lock");
    let (_, entry) = lock
        .split_once("name = \"pg_query\"\nversion = \"")
        .unwrap();
    let (parser, _) = entry.split_once('"').unwrap();
    let (grammar, _) = parser.split_once('.').unwrap();
    let end = format!(", pg_query {parser}, PostgreSQL grammar {grammar})");
    assert!(long.ends_with(&end), "{long}");
    let root = env!("CARGO_MANIFEST_DIR");
    let named = option_env!("LOCKKEEPER_COMMIT").map(str::to_owned);
    let commit = named.filter(|named| !named.is_empty()).unwrap_or_else(|| {
        if !std::path::Path::new(root).join(".git").exists() {
            return "unknown".to_owned();
        }
        let log = ["-C", root, "log", "-1", "--abbrev=9", "--format=%h, %cs"];
        run(Command::new("git").args(log), "").ok()
    });
    let start = format!("lockkeeper {version} (commit {commit},");
    assert!(long.starts_with(&start), "{long}");
}
