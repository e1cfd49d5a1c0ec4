//! The linter squawk (PyPI `squawk-cli`), run over statements.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of statements, a file each: squawk takes a table that the same file creates for nobody's, and says nothing
/// about a file that it can't read all of.
pub(crate) struct Statements {
    folder: TempDir,
    count: usize,
}

impl Statements {
    /// Writes them.
    pub(crate) fn new<'a>(statements: impl IntoIterator<Item = &'a str>) -> Statements {
        let folder = tempfile::tempdir().unwrap();
        let mut count = 0;
        for sql in statements {
            fs::write(folder.path().join(format!("{count}.sql")), sql).unwrap();
            count += 1;
        }
        Statements { folder, count }
    }

    /// The rules by which squawk flags each of them. `rules` names those that it leaves out unless told.
    pub(crate) fn flagged(&self, rules: &str, pg_version: &str) -> Vec<BTreeSet<String>> {
        let arguments = ["--reporter", "json", "--include", rules];
        let version = ["--pg-version", pg_version, "*.sql"];
        let output = run(self.folder.path(), &[&arguments[..], &version].concat());
        let report: Vec<Value> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
        let mut flagged = vec![BTreeSet::new(); self.count];
        for complaint in &report {
            let file = complaint["file"].as_str().unwrap();
            let at: usize = file.trim_end_matches(".sql").parse().unwrap();
            flagged[at].insert(complaint["rule_name"].as_str().unwrap().to_owned());
        }
        flagged
    }
}

/// Its version, as in "2.70.0".
pub(crate) fn version() -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--version"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().trim_start_matches("squawk ").to_owned()
}

/// What it says against a list of rules that it doesn't have all of.
pub(crate) fn refuses(rules: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.sql"), "SELECT 1;").unwrap();
    let output = run(folder.path(), &["--exclude", rules, "one.sql"]);
    (!output.status.success()).then(|| said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The program: where the variable says, or where `.ci/install test` puts it.
fn program() -> PathBuf {
    let named = std::env::var_os("LOCKKEEPER_TEST_SQUAWK").map(PathBuf::from);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/squawk");
    let program = named.unwrap_or(usual);
    assert!(
        program.exists(),
        "{} is missing: `make test` installs it, and LOCKKEEPER_TEST_SQUAWK may name another",
        program.display()
    );
    program
}

/// Runs it in a folder, with nobody's settings.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let settings = folder.join("squawk.toml");
    fs::write(&settings, "").unwrap();
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SQUAWK") {
            command.env_remove(name);
        }
    }
    command.arg("--config").arg(settings).args(arguments);
    command.current_dir(folder).output().unwrap()
}
