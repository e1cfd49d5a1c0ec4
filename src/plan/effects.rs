//! What a statement does to what exists, as the server would carry it out: locks, rewrites, scans,
//! builds. Plain data.

use std::collections::{BTreeMap, BTreeSet};

use crate::lock::LockMode;
use crate::sql::name::Name;

/// What a statement as sent does to what existed before it. Catalogs and TOAST tables are left out,
/// and so is what the statement creates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// The strongest lock on each relation, indexes included.
    pub locks: BTreeMap<Name, LockMode>,
    /// Relations whose rows are written anew.
    pub rewrites: BTreeSet<Name>,
    /// Tables that are read in full while the locks are held.
    pub scans: BTreeSet<Name>,
    /// Tables of which an index is built or built anew.
    pub builds: BTreeSet<Name>,
}

impl Effects {
    /// No effect at all.
    pub fn none() -> Effects {
        Effects::default()
    }

    /// A lock and nothing else.
    pub fn lock(relation: Name, mode: LockMode) -> Effects {
        let mut effects = Effects::default();
        effects.add_lock(relation, mode);
        effects
    }

    /// Adds a lock; the stronger one of a relation's stays.
    pub fn add_lock(&mut self, relation: Name, mode: LockMode) {
        let held = self.locks.entry(relation).or_insert(mode);
        *held = mode.max(*held);
    }

    /// Adds a table that is read in full.
    pub fn add_scan(&mut self, table: Name) {
        self.scans.insert(table);
    }

    /// Adds a table of which an index is built; that reads it in full.
    pub fn add_build(&mut self, table: Name) {
        self.scans.insert(table.clone());
        self.builds.insert(table);
    }

    /// Adds a table that is written anew; that reads it in full.
    pub fn add_rewrite(&mut self, table: Name) {
        self.scans.insert(table.clone());
        self.rewrites.insert(table);
    }

    /// Adds all of another statement's or sub-command's.
    pub fn add(&mut self, other: Effects) {
        for (relation, mode) in other.locks {
            self.add_lock(relation, mode);
        }
        self.rewrites.extend(other.rewrites);
        self.scans.extend(other.scans);
        self.builds.extend(other.builds);
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Effects) -> Effects {
        self.add(other);
        self
    }

    /// The strongest lock of all.
    pub fn strongest(&self) -> Option<LockMode> {
        self.locks.values().copied().max()
    }

    /// Whether it does more than change the catalog: the time under its locks grows with the tables.
    pub fn takes_long(&self) -> bool {
        !(self.rewrites.is_empty() && self.scans.is_empty() && self.builds.is_empty())
    }
}
