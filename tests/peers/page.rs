//! `docs/peers.md`, as the test reads it: four tables, told apart by their head.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::pattern::Pattern;

const ANSWERED: [&str; 3] = ["squawk's rule", "about", "lockkeeper's rules"];
const EXCEPTIONS: [&str; 3] = ["squawk's rule", "statements", "why not"];
const UNANSWERED: [&str; 2] = ["squawk's rule", "why not"];
const OTHERS: [&str; 2] = ["squawk's other rule", "asks for"];

/// The page.
pub(crate) struct Page {
    /// The version of squawk that it speaks of.
    pub(crate) version: String,
    /// How many rules that has.
    pub(crate) count: usize,
    /// Squawk's rules about locks and clients, and the rules of lockkeeper that say the same.
    pub(crate) answers: BTreeMap<String, Answer>,
    /// Statements that squawk flags by such a rule and lockkeeper doesn't.
    pub(crate) exceptions: Vec<Exception>,
    /// Squawk's rules about locks and clients that lockkeeper has nothing like.
    pub(crate) unanswered: BTreeSet<String>,
    /// Squawk's rules of style and about scripts.
    pub(crate) others: BTreeSet<String>,
}

/// What of lockkeeper's says the same as a rule of squawk's.
pub(crate) enum Answer {
    /// Any rule: what takes a strong lock is guarded, whatever else is said about it.
    AnyRule,
    /// One of these.
    Rules(Vec<String>),
}

/// Statements that lockkeeper doesn't flag, and shouldn't.
pub(crate) struct Exception {
    /// The rules of squawk.
    pub(crate) rules: Vec<String>,
    /// The statements, any of these.
    pub(crate) patterns: Vec<Pattern>,
}

impl Page {
    /// Reads the page.
    pub(crate) fn read() -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/peers.md");
        let text = fs::read_to_string(path).unwrap();
        let (_, behind) = text.split_once("squawk-cli ").expect("a version");
        let mut numbers = behind.split(|c: char| !c.is_ascii_digit() && c != '.');
        let version = numbers.next().unwrap().to_owned();
        let mut counts = numbers.filter_map(|number| number.parse().ok());
        let first = |rows: Vec<Vec<String>>| rows.iter().flat_map(|row| code(&row[0])).collect();
        Page {
            version,
            count: counts.next().expect("a count"),
            answers: rows(&text, &ANSWERED)
                .iter()
                .map(|row| answer(row))
                .collect(),
            exceptions: rows(&text, &EXCEPTIONS)
                .iter()
                .map(|row| exception(row))
                .collect(),
            unanswered: first(rows(&text, &UNANSWERED)),
            others: first(rows(&text, &OTHERS)),
        }
    }

    /// Every rule of squawk's that it lists, and no rule in two tables.
    pub(crate) fn rules(&self) -> BTreeSet<String> {
        let mut rules = BTreeSet::new();
        let lists = self
            .answers
            .keys()
            .chain(&self.unanswered)
            .chain(&self.others);
        for rule in lists {
            assert!(rules.insert(rule.clone()), "{rule} is in two tables");
        }
        rules
    }
}

fn answer(row: &[String]) -> (String, Answer) {
    let [rule] = code(&row[0]).try_into().expect("one rule in a row");
    let answer = if row[2].starts_with("any rule") {
        Answer::AnyRule
    } else {
        let links = row[2].split('[').skip(1);
        Answer::Rules(
            links
                .filter_map(|link| Some(link.split_once("](rules/")?.0.to_owned()))
                .collect(),
        )
    };
    (rule, answer)
}

fn exception(row: &[String]) -> Exception {
    let mut patterns: Vec<Pattern> = Vec::new();
    let pieces: Vec<&str> = row[1].split('`').collect();
    for pair in pieces.chunks_exact(2) {
        let is_excluded = pair[0].trim_end().ends_with("without");
        match patterns.last_mut().filter(|_| is_excluded) {
            Some(last) => last.exclude(pair[1]),
            None => patterns.push(Pattern::new(pair[1])),
        }
    }
    assert!(!patterns.is_empty(), "no pattern: {row:?}");
    Exception {
        rules: code(&row[0]),
        patterns,
    }
}

/// The rows of all tables with this head.
fn rows(text: &str, head: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(
            inside
                .split(" | ")
                .map(|cell| cell.trim().to_owned())
                .collect(),
        )
    };
    let mut rows = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match cells(line) {
            Some(row) if row == head => is_inside = true,
            Some(row) if is_inside && !row[0].starts_with("---") => {
                assert_eq!(row.len(), head.len(), "{line}");
                rows.push(row);
            }
            Some(_) => {}
            None => is_inside = false,
        }
    }
    assert!(!rows.is_empty(), "docs/peers.md has no table {head:?}");
    rows
}

/// What stands in backticks.
fn code(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
