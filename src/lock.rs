//! PostgreSQL's table-level locks, in order of strength, and what each stops
//! (PostgreSQL manual, "Explicit Locking", table 13.2; `src/include/storage/lockdefs.h`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table-level lock mode, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// `ACCESS SHARE`: taken by SELECT.
    AccessShare,
    /// `ROW SHARE`: taken by SELECT … FOR UPDATE.
    RowShare,
    /// `ROW EXCLUSIVE`: taken by INSERT, UPDATE, DELETE, MERGE.
    RowExclusive,
    /// `SHARE UPDATE EXCLUSIVE`: taken by VACUUM, ANALYZE, CREATE INDEX CONCURRENTLY.
    ShareUpdateExclusive,
    /// `SHARE`: taken by CREATE INDEX.
    Share,
    /// `SHARE ROW EXCLUSIVE`: taken by CREATE TRIGGER and ADD FOREIGN KEY.
    ShareRowExclusive,
    /// `EXCLUSIVE`: taken by REFRESH MATERIALIZED VIEW CONCURRENTLY.
    Exclusive,
    /// `ACCESS EXCLUSIVE`: taken by most forms of ALTER TABLE, DROP, TRUNCATE.
    AccessExclusive,
}

impl LockMode {
    /// All modes, weakest first.
    pub const ALL: [LockMode; 8] = [
        LockMode::AccessShare,
        LockMode::RowShare,
        LockMode::RowExclusive,
        LockMode::ShareUpdateExclusive,
        LockMode::Share,
        LockMode::ShareRowExclusive,
        LockMode::Exclusive,
        LockMode::AccessExclusive,
    ];

    /// Whether two transactions may not hold these modes on one table at the same time.
    pub fn conflicts_with(self, other: LockMode) -> bool {
        use LockMode::*;
        let (weak, strong) = if self < other {
            (self, other)
        } else {
            (other, self)
        };
        match strong {
            AccessExclusive => true,
            Exclusive => weak >= RowShare,
            ShareRowExclusive => weak >= RowExclusive,
            Share => weak >= RowExclusive && weak != Share,
            ShareUpdateExclusive => weak == ShareUpdateExclusive,
            AccessShare | RowShare | RowExclusive => false,
        }
    }

    /// As `pg_locks.mode` spells it.
    pub fn as_pg(self) -> &'static str {
        match self {
            LockMode::AccessShare => "AccessShareLock",
            LockMode::RowShare => "RowShareLock",
            LockMode::RowExclusive => "RowExclusiveLock",
            LockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            LockMode::Share => "ShareLock",
            LockMode::ShareRowExclusive => "ShareRowExclusiveLock",
            LockMode::Exclusive => "ExclusiveLock",
            LockMode::AccessExclusive => "AccessExclusiveLock",
        }
    }

    /// As SQL spells it: `SHARE ROW EXCLUSIVE`.
    pub fn in_sql(self) -> &'static str {
        match self {
            LockMode::AccessShare => "ACCESS SHARE",
            LockMode::RowShare => "ROW SHARE",
            LockMode::RowExclusive => "ROW EXCLUSIVE",
            LockMode::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            LockMode::Share => "SHARE",
            LockMode::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            LockMode::Exclusive => "EXCLUSIVE",
            LockMode::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// As `pg_locks.mode` spells it, back to the mode.
    pub fn from_pg(name: &str) -> Option<LockMode> {
        LockMode::ALL.into_iter().find(|mode| mode.as_pg() == name)
    }

    /// What ordinary statements wait for this lock, in plain words.
    pub fn stops(self) -> &'static str {
        match self {
            LockMode::AccessShare | LockMode::RowShare => {
                "stops only ACCESS EXCLUSIVE or EXCLUSIVE requests"
            }
            LockMode::RowExclusive | LockMode::ShareUpdateExclusive => "stops no query",
            LockMode::Share | LockMode::ShareRowExclusive => {
                "stops every INSERT, UPDATE and DELETE"
            }
            LockMode::Exclusive => "stops everything but plain SELECT",
            LockMode::AccessExclusive => "stops every query, SELECT included",
        }
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_pg().trim_end_matches("Lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::LockMode;

    /// Table 13.2 of the manual, a row for each mode: `X` conflicts.
    const TABLE: [&str; 8] = [
        ".......X", "......XX", "....XXXX", "...XXXXX", "..XX.XXX", "..XXXXXX", ".XXXXXXX",
        "XXXXXXXX",
    ];

    #[test]
    fn conflicts_are_those_of_the_manual() {
        for (row, left) in TABLE.iter().zip(LockMode::ALL) {
            for (cell, right) in row.chars().zip(LockMode::ALL) {
                assert_eq!(left.conflicts_with(right), cell == 'X', "{left} {right}");
                assert_eq!(LockMode::from_pg(left.as_pg()), Some(left));
            }
        }
    }
}
