//! Golden scripts: files of cases, each facts, SQL and what is expected, read and rewritten.
//!
//! ```text
//! # What the case is about.
//! facts: table users 5GB
//! > CREATE INDEX i ON users (email)
//! ---
//! Verdict: …
//! ```
//!
//! A block of `facts:` lines holds until the next block. With `LOCKKEEPER_UPDATE=1` what is expected is written anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A case of a script.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// File and line, for messages.
    pub(crate) place: String,
    /// The block of facts in force.
    pub(crate) facts: Vec<String>,
    /// The statement.
    pub(crate) sql: String,
    /// Comments and facts above the statement, as written.
    head: String,
    /// What stands below `---`; `None` when there is no such line.
    expected: Option<String>,
}

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    path: PathBuf,
    /// Its cases, in order.
    pub(crate) cases: Vec<Case>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// The scripts of some folders.
pub(crate) fn read(folders: &[&str]) -> Vec<Script> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root().join(folder)).expect(folder);
        paths.extend(entries.flatten().map(|entry| entry.path()));
    }
    paths.sort();
    paths.iter().map(|path| Script::read(path)).collect()
}

/// Folders below `tests/scripts` that hold a file that isn't a script, or that no suite names.
pub(crate) fn orphans(folders: &[&str]) -> Vec<String> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(root()).expect("tests/scripts").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() || !folders.contains(&name.as_str()) {
            orphans.push(name);
            continue;
        }
        for file in fs::read_dir(entry.path()).expect("folder").flatten() {
            let path = file.path();
            if path.is_dir() || path.extension().is_none_or(|ext| ext != "txt") {
                orphans.push(path.display().to_string());
            }
        }
    }
    orphans
}

/// Compares each case's text with what is expected, or writes it.
pub(crate) fn check(folders: &[&str], run: impl Fn(&Case) -> String) {
    let update = std::env::var_os("LOCKKEEPER_UPDATE").is_some();
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for mut script in read(folders) {
        assert!(!script.cases.is_empty(), "{}: no case", script.path.display());
        for case in &mut script.cases {
            if !names.insert((case.facts.clone(), case.sql.clone())) {
                problems.push(format!("{}: the same case twice", case.place));
            }
            let found = run(case).trim_end().to_owned();
            if update {
                case.expected = Some(found);
                continue;
            }
            match &case.expected {
                Some(expected) if *expected == found => {}
                None => problems.push(format!("{}: nothing is expected", case.place)),
                Some(expected) => problems.push(format!(
                    "{}: {}\n--- expected\n{expected}\n--- found\n{found}\n",
                    case.place, case.sql
                )),
            }
        }
        if update {
            fs::write(&script.path, script.text()).expect("script");
        }
    }
    let hint = "LOCKKEEPER_UPDATE=1 writes what is found";
    assert!(problems.is_empty(), "{}\n{hint}", problems.join("\n"));
}

impl Script {
    fn read(path: &Path) -> Script {
        let text = fs::read_to_string(path).expect("script");
        let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
        let mut script = Script {
            path: path.to_owned(),
            cases: Vec::new(),
        };
        let mut facts: Vec<String> = Vec::new();
        let (mut head, mut head_has_facts) = (String::new(), false);
        let mut expecting = false;
        for (at, line) in text.lines().enumerate() {
            let is_new = line.starts_with("facts:") || line.starts_with('#');
            if is_new || (expecting && line.starts_with("> ")) {
                expecting = false;
            }
            if expecting {
                let case = script.cases.last_mut().and_then(|case| case.expected.as_mut());
                if let Some(expected) = case {
                    expected.push_str(line);
                    expected.push('\n');
                }
            } else if is_new {
                if let Some(fact) = line.strip_prefix("facts:") {
                    if !head_has_facts {
                        facts.clear();
                    }
                    head_has_facts = true;
                    facts.push(fact.trim().to_owned());
                }
                head.push_str(line);
                head.push('\n');
            } else if let Some(sql) = line.strip_prefix("> ") {
                let open = script.cases.last_mut().filter(|case| case.expected.is_none());
                if let (Some(case), true) = (open, head.is_empty()) {
                    case.sql.push('\n');
                    case.sql.push_str(sql);
                    continue;
                }
                head_has_facts = false;
                script.cases.push(Case {
                    place: format!("tests/scripts/{name}:{}", at + 1),
                    facts: facts.clone(),
                    sql: sql.to_owned(),
                    head: std::mem::take(&mut head),
                    expected: None,
                });
            } else if line == "---" {
                let case = script.cases.last_mut().expect("`---` before a statement");
                case.expected = Some(String::new());
                expecting = true;
            } else {
                assert!(line.trim().is_empty(), "{name}:{}: what is `{line}`?", at + 1);
            }
        }
        assert!(head.is_empty(), "{name}: facts or a comment without a case at the end");
        for expected in script.cases.iter_mut().filter_map(|case| case.expected.as_mut()) {
            expected.truncate(expected.trim_end().len());
        }
        script
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (at, case) in self.cases.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            text.push_str(&case.head);
            for line in case.sql.lines() {
                text.push_str(&format!("> {line}\n"));
            }
            let expected = case.expected.as_deref().unwrap_or_default();
            text.push_str(&format!("---\n{expected}\n"));
        }
        text
    }
}
