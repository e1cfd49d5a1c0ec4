//! The statements of `tests/statements`, and the rows of the table of statement kinds that they stand for.
//!
//! A file holds paragraphs. The first line of one says which rows it is about, on which versions, and `alone` for a
//! statement that refuses a transaction block: `-- D5 14.. alone`. Lines that follow may say
//!
//! * `-- given: SQL`: committed before, on a copy of the database of its own;
//! * `-- half: SQL`: the same, but cancelled while it waits for `blocked by`;
//! * `-- set: NAME = VALUE`: a setting of its session;
//! * `-- inside: SQL`: run before it in the same transaction, and not measured;
//! * `-- blocked by: SQL`: what another session has done in an open transaction when it begins; of use with `alone`;
//! * `-- error: SQLSTATE`: it fails so.
//!
//! The rest is the statement; `%database` stands for the database's name.

use std::ops::RangeInclusive;

/// The versions of PostgreSQL that lockkeeper knows.
const VERSIONS: RangeInclusive<u32> = 13..=18;

/// A statement and how to run it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The rows that it stands for.
    pub(crate) rows: Vec<&'static str>,
    /// The versions that have it.
    pub(crate) versions: RangeInclusive<u32>,
    /// It refuses a transaction block.
    pub(crate) alone: bool,
    /// What is committed before.
    pub(crate) given: Vec<&'static str>,
    /// What is cancelled half done before.
    pub(crate) half: Option<&'static str>,
    /// Settings of its session.
    pub(crate) set: Vec<&'static str>,
    /// What runs before it in its transaction.
    pub(crate) inside: Vec<&'static str>,
    /// What another session holds.
    pub(crate) blocked_by: Option<&'static str>,
    /// The SQLSTATE that it fails with; empty for success.
    pub(crate) error: &'static str,
    /// The statement.
    pub(crate) sql: String,
}

const FILES: &[(&str, &str)] = &[
    ("a.sql", include_str!("../statements/a.sql")),
    ("b.sql", include_str!("../statements/b.sql")),
    ("c.sql", include_str!("../statements/c.sql")),
    ("d.sql", include_str!("../statements/d.sql")),
    ("e.sql", include_str!("../statements/e.sql")),
    ("f.sql", include_str!("../statements/f.sql")),
    ("ghij.sql", include_str!("../statements/ghij.sql")),
    ("kl.sql", include_str!("../statements/kl.sql")),
];

/// The families of rows and how many rows each has.
const FAMILIES: &[(char, u32)] = &[
    ('A', 37),
    ('B', 23),
    ('C', 20),
    ('D', 12),
    ('E', 13),
    ('F', 11),
    ('G', 6),
    ('H', 6),
    ('I', 4),
    ('J', 9),
    ('K', 15),
    ('L', 12),
];

/// Rows that older versions don't have, and the first that does.
const SINCE: &[(&str, u32)] = &[
    ("A9", 18),
    ("A33", 14),
    ("A35", 17),
    ("B2", 18),
    ("B5", 18),
    ("B20", 18),
    ("B21", 18),
    ("B23", 18),
    ("C7", 15),
    ("D5", 14),
    ("D6", 14),
    ("D11", 14),
];

/// How many statements a row has at least, on every version that has it.
const LEAST: usize = 2;

/// Rows that a version can't be asked about so often, and why.
const EXEMPT: &[(&str, RangeInclusive<u32>, &str)] = &[];

/// `LOCKKEEPER_TEST_CELLS` is `all`.
pub(crate) fn is_all() -> bool {
    std::env::var("LOCKKEEPER_TEST_CELLS").is_ok_and(|cells| cells == "all")
}

/// A number by which some of the statements are chosen.
pub(crate) fn number(sql: &str) -> u32 {
    sql.bytes().map(u32::from).sum()
}

/// All statements.
pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (file, text) in FILES {
        for paragraph in text.split("\n\n").filter(|text| !text.trim().is_empty()) {
            entries
                .push(entry(paragraph).unwrap_or_else(|why| panic!("{file}: {why}:\n{paragraph}")));
        }
    }
    entries
}

fn entry(paragraph: &'static str) -> Result<Entry, String> {
    let mut lines = paragraph.trim().lines();
    let head = lines
        .next()
        .and_then(|line| line.strip_prefix("-- "))
        .ok_or("no head")?;
    let mut entry = Entry {
        rows: Vec::new(),
        versions: VERSIONS,
        alone: false,
        given: Vec::new(),
        half: None,
        set: Vec::new(),
        inside: Vec::new(),
        blocked_by: None,
        error: "",
        sql: String::new(),
    };
    for word in head.split(' ') {
        if word == "alone" {
            entry.alone = true;
        } else if let Some((from, to)) = word.split_once("..") {
            let bound = |text: &str, open: u32| {
                if text.is_empty() {
                    Some(open)
                } else {
                    text.parse().ok()
                }
            };
            let from = bound(from, *VERSIONS.start()).ok_or("no version")?;
            entry.versions = from..=bound(to, *VERSIONS.end()).ok_or("no version")?;
        } else if rows().any(|row| row == word) {
            entry.rows.push(word);
        } else {
            return Err(format!("no row {word}"));
        }
    }
    for line in lines {
        match line
            .strip_prefix("-- ")
            .and_then(|line| line.split_once(": "))
        {
            Some(("given", sql)) => entry.given.push(sql),
            Some(("half", sql)) => entry.half = Some(sql),
            Some(("set", setting)) => entry.set.push(setting),
            Some(("inside", sql)) => entry.inside.push(sql),
            Some(("blocked by", sql)) => entry.blocked_by = Some(sql),
            Some(("error", sqlstate)) => entry.error = sqlstate,
            Some((word, _)) => return Err(format!("what is {word}?")),
            None => {
                entry.sql.push_str(line);
                entry.sql.push('\n');
            }
        }
    }
    entry.sql.truncate(entry.sql.trim_end().len());
    if entry.sql.is_empty() || entry.rows.is_empty() || entry.sql.starts_with("--") {
        return Err("no row or no statement".to_owned());
    }
    Ok(entry)
}

/// Every row: `A1`, `A2` …
fn rows() -> impl Iterator<Item = String> {
    FAMILIES
        .iter()
        .flat_map(|(family, count)| (1..=*count).map(move |number| format!("{family}{number}")))
}

/// What is missing: rows with too few statements on a version, and exemptions that nothing needs.
pub(crate) fn gaps() -> Vec<String> {
    let entries = entries();
    let mut gaps = Vec::new();
    for row in rows() {
        let since = SINCE
            .iter()
            .find(|(name, _)| *name == row)
            .map_or(*VERSIONS.start(), |(_, since)| *since);
        for version in since..=*VERSIONS.end() {
            let is_about = |entry: &&Entry| {
                entry.rows.contains(&row.as_str()) && entry.versions.contains(&version)
            };
            let enough = entries.iter().filter(is_about).count() >= LEAST;
            let exempt = EXEMPT
                .iter()
                .any(|(name, versions, _)| *name == row && versions.contains(&version));
            if enough == exempt {
                gaps.push(format!(
                    "{row} on PostgreSQL {version}: enough is {enough}, exempt is {exempt}"
                ));
            }
        }
    }
    gaps
}
