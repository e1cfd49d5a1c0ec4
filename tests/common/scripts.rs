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
    pub(crate) head: String,
    /// What stands below `---`; `None` when there is no such line.
    pub(crate) expected: Option<String>,
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
        assert!(
            !script.cases.is_empty(),
            "{}: no case",
            script.path.display()
        );
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
        let name = path
            .strip_prefix(root())
            .unwrap_or(path)
            .display()
            .to_string();
        let mut reader = Reader::default();
        for (at, line) in text.lines().enumerate() {
            reader.line(line, format!("tests/scripts/{name}:{}", at + 1));
        }
        assert!(
            reader.head.is_empty(),
            "{name}: facts or a comment without a case at the end"
        );
        let mut cases = reader.cases;
        for expected in cases.iter_mut().filter_map(|case| case.expected.as_mut()) {
            expected.truncate(expected.trim_end().len());
        }
        Script {
            path: path.to_owned(),
            cases,
        }
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

/// A script that is being read.
#[derive(Default)]
struct Reader {
    cases: Vec<Case>,
    facts: Vec<String>,
    head: String,
    head_has_facts: bool,
    expecting: bool,
    /// An empty line stood since the last statement's line.
    gap: bool,
}

impl Reader {
    fn line(&mut self, line: &str, place: String) {
        let is_head = line.starts_with("facts:") || line.starts_with('#');
        self.expecting &= !is_head && !line.starts_with("> ");
        if self.expecting {
            let case = self
                .cases
                .last_mut()
                .and_then(|case| case.expected.as_mut());
            case.expect("an expectation is open")
                .push_str(&format!("{line}\n"));
        } else if is_head {
            self.head_line(line);
        } else if let Some(sql) = line.strip_prefix("> ") {
            self.statement(sql, place);
        } else if line == "---" {
            let case = self.cases.last_mut().expect("`---` before a statement");
            case.expected = Some(String::new());
            self.expecting = true;
        } else {
            assert!(line.trim().is_empty(), "{place}: what is `{line}`?");
            self.gap = true;
        }
    }

    fn head_line(&mut self, line: &str) {
        if let Some(fact) = line.strip_prefix("facts:") {
            if !self.head_has_facts {
                self.facts.clear();
            }
            self.head_has_facts = true;
            self.facts.push(fact.trim().to_owned());
        }
        self.head.push_str(&format!("{line}\n"));
    }

    /// A statement's first line, or its next.
    fn statement(&mut self, sql: &str, place: String) {
        let is_next = self.head.is_empty() && !std::mem::take(&mut self.gap);
        if let Some(case) = self
            .cases
            .last_mut()
            .filter(|case| is_next && case.expected.is_none())
        {
            case.sql.push_str(&format!("\n{sql}"));
            return;
        }
        self.head_has_facts = false;
        self.cases.push(Case {
            place,
            facts: self.facts.clone(),
            sql: sql.to_owned(),
            head: std::mem::take(&mut self.head),
            expected: None,
        });
    }
}
