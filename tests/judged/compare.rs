//! What the judge foresaw against what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lockkeeper::lock::LockMode;
use lockkeeper::plan::effects::Effects;
use lockkeeper::sql::name::Name;

use crate::observe::Observed;

/// The differences between what was foreseen and what was seen.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// What was seen and not foreseen, or stronger than foreseen.
    pub(crate) weaker: String,
    /// What was foreseen and not seen.
    pub(crate) stronger: String,
}

/// Compares.
pub(crate) fn compare(foreseen: &Effects, observed: &Observed) -> Differences {
    let mut differences = Differences::default();
    if observed.failed {
        return differences;
    }
    let seen = &observed.effects;
    let tables = &observed.tables;
    for (name, mode) in &seen.locks {
        let ours = foreseen.locks.get(name).copied();
        if observed.types.contains(name) {
            continue;
        }
        if ours < Some(*mode) && !is_a_querys(*mode) && !is_behind(tables, name, *mode, foreseen) {
            let _ = write!(
                differences.weaker,
                " {name}={mode}(foreseen {})",
                shown(ours)
            );
        }
    }
    for (name, mode) in &foreseen.locks {
        let theirs = seen.locks.get(name).copied();
        if theirs < Some(*mode) && !is_behind(tables, name, *mode, seen) {
            let _ = write!(
                differences.stronger,
                " {name}={mode}(seen {})",
                shown(theirs)
            );
        }
    }
    let sets = [
        ("rewrites", &foreseen.rewrites, &seen.rewrites),
        ("scans", &foreseen.scans, &seen.scans),
        ("builds", &foreseen.builds, &seen.builds),
    ];
    for (what, foreseen, seen) in sets {
        let unforeseen = seen
            .difference(foreseen)
            .filter(|name| !read_by_a_query(observed, name));
        list(&mut differences.weaker, what, unforeseen.collect());
        list(
            &mut differences.stronger,
            what,
            foreseen.difference(seen).collect(),
        );
    }
    if observed.sampled {
        differences.stronger.clear(); // there may have been more than was seen
    }
    differences
}

/// What a query locks and reads is its own: a view's tables, what REFRESH reads, every index of a table that a foreign
/// key's check looks into. It stops nobody but who wants ACCESS EXCLUSIVE.
fn is_a_querys(mode: LockMode) -> bool {
    mode <= LockMode::RowExclusive
}

/// Whether a table was read, but by a query only.
fn read_by_a_query(observed: &Observed, table: &Name) -> bool {
    let effects = &observed.effects;
    !effects.rewrites.contains(table)
        && !effects.builds.contains(table)
        && effects
            .locks
            .get(table)
            .is_some_and(|mode| is_a_querys(*mode))
}

/// Whether a lock on an index adds nothing to the one on its table: nobody comes to an index but through its table.
fn is_behind(
    tables: &BTreeMap<Name, Name>,
    index: &Name,
    mode: LockMode,
    effects: &Effects,
) -> bool {
    let of_table = tables.get(index).and_then(|table| effects.locks.get(table));
    of_table.is_some_and(|held| *held >= mode)
}

fn shown(mode: Option<LockMode>) -> String {
    mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string())
}

fn list(text: &mut String, what: &str, names: BTreeSet<&Name>) {
    for name in names {
        let _ = write!(text, " {what} {name}");
    }
}
