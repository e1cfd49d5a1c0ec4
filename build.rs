//! What `lockkeeper --version` says beside the version: the commit, and the SQL parser's version.
//!
//! A package that is built without `.git` names the commit itself: `LOCKKEEPER_COMMIT="abcdef123 2026-01-31"`.

use std::path::Path;
use std::process::Command;

/// The SQL parser's crate.
const PARSER: &str = "pg_query";
/// Names the commit where there is no `.git`.
const COMMIT_VARIABLE: &str = "LOCKKEEPER_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-env-changed={COMMIT_VARIABLE}");
    let parser = locked_version(PARSER).unwrap_or_else(|| "unknown".to_owned());
    let grammar = parser.split('.').next().unwrap_or_default();
    let commit = named_commit()
        .or_else(checked_out_commit)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=LOCKKEEPER_BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=LOCKKEEPER_BUILD_PARSER={parser}");
    println!("cargo::rustc-env=LOCKKEEPER_BUILD_GRAMMAR={grammar}");
}

/// The version of a dependency in `Cargo.lock`.
fn locked_version(name: &str) -> Option<String> {
    let lock = std::fs::read_to_string("Cargo.lock").ok()?;
    let entry = lock.split("[[package]]").find(|entry| {
        entry
            .lines()
            .any(|line| line == format!("name = \"{name}\""))
    })?;
    let version = entry
        .lines()
        .find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}

fn named_commit() -> Option<String> {
    let named = std::env::var(COMMIT_VARIABLE).ok()?;
    let named = named.trim().replace('\n', " ");
    (!named.is_empty()).then_some(named)
}

/// The commit of this directory's own checkout, and its day; not that of a repository that this is merely
/// unpacked in.
fn checked_out_commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    watch_head();
    let shown = git(&["log", "-1", "--abbrev=9", "--format=%h, %cs"])?;
    Some(shown)
}

/// Has Cargo run this again when another commit is checked out. In a worktree HEAD and its log lie in another
/// directory than the branches; a file that doesn't exist must not be named: it would count as changed each time.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let names = ["HEAD", "logs/HEAD", "packed-refs"].map(str::to_owned);
    for name in names.into_iter().chain(branch) {
        if let Some(path) = git(&["rev-parse", "--git-path", &name])
            && Path::new(&path).is_file()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
