//! The place of a schema change that comes in a client's transaction: a function of its steps and of what is known of
//! the relations.

use std::time::Duration;

use super::effects::Effects;
use super::{Context, Step};
use crate::catalog::{Facts, Relation};
use crate::sql::name::Name;
use crate::sql::statement::{DropKind, Statement};

/// Where a schema change runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// When the transaction ends, right before its COMMIT.
    Late,
    /// At once, in the transaction.
    Inside,
}

/// The place of steps.
///
/// What nobody else sees yet is nobody's traffic. What only changes the catalog is put off: its lock is then held for
/// milliseconds instead of to the end. What works for long has no place of its own here yet, and runs as it was sent.
pub fn of(statement: &Statement, steps: &[Step], facts: &Facts) -> Placement {
    // Of others it isn't known from their text by what they would be noticed.
    let is_named = match statement {
        Statement::AlterTable(_) | Statement::Rename(_) | Statement::CreateTable(_) => true,
        Statement::Drop(drop) => drop.kind == DropKind::Table && !drop.cascade,
        _ => false,
    };
    if !is_named {
        return Placement::Inside;
    }
    let known: Vec<&Relation> = facts.relations.iter().flatten().collect();
    let is_nobodys = |relation: &&Relation| relation.created_here || relation.temporary;
    if known.is_empty() || known.iter().all(is_nobodys) {
        return Placement::Inside;
    }
    let is_brief = |step: &Step| {
        let context = matches!(step.context, Context::Transaction | Context::Brief { .. });
        context && !step.takes_long
    };
    let locks_any = steps.iter().any(|step| !step.locks.is_empty());
    if locks_any && steps.iter().all(is_brief) {
        Placement::Late
    } else {
        Placement::Inside
    }
}

/// How long a statement works on what it reads, builds or writes under its locks: an estimate, at so many bytes a
/// second.
pub fn time_of(effects: &Effects, facts: &Facts, scan_rate: u64) -> Duration {
    let known = facts.relations.iter().flatten();
    let read = known.filter(|one| effects.scans.contains(&one.qualified()) && !one.created_here);
    let bytes: u64 = read.map(|one| one.bytes).fold(0, u64::saturating_add);
    let milliseconds = u128::from(bytes) * 1000 / u128::from(scan_rate.max(1));
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

/// The names by which others would notice whether a statement has run: what it changes, and what it makes.
pub fn names(statement: &Statement, facts: &Facts) -> Vec<Name> {
    let known = facts.relations.iter().flatten();
    let mut names: Vec<Name> = known.map(Relation::qualified).collect();
    names.extend(statement.relations());
    names.extend(statement.makes());
    names
}
