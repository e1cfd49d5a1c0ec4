//! A plan: what runs instead of a statement. Inert data with a `Display`; it never runs itself.

pub mod backfill;
pub mod course;
pub mod effects;
pub mod placement;
pub mod words;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::backfill::Backfill;
use crate::lock::LockMode;
use crate::sql::name::Name;
use crate::sql::redact::redacted;

/// Ordered steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the client is told when it starts; empty for a plan that is the statement itself.
    pub notice: String,
    /// The steps. The client's command tag is that of its own statement.
    pub steps: Vec<Step>,
}

/// One statement of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// A few words for people.
    pub title: String,
    /// The SQL.
    pub sql: String,
    /// Locks that are taken first, in this order, in the same transaction.
    pub lock_first: Vec<StepLock>,
    /// Further statements of the same transaction, behind it.
    pub also: Vec<String>,
    /// The strongest lock it takes on each relation that existed before.
    pub locks: Vec<StepLock>,
    /// How it runs.
    pub context: Context,
    /// How to take back what it leaves when it fails, or when a later step fails.
    pub undo: Undo,
    /// How to see that it is done.
    pub check: Check,
    /// It only makes sense while this INVALID index, by OID, is still INVALID; otherwise the facts
    /// are stale.
    pub only_while_invalid: Option<u32>,
    /// It reads, builds or writes a table under its locks: they are held for as long as that takes.
    pub takes_long: bool,
    /// What the server says about it that is for the client: no WARNING of which a later step takes care, nothing
    /// about what is taken back.
    pub notices: Notices,
    /// It validates a CHECK that the client never wrote: what a violation of it means.
    pub violation: Option<Violation>,
}

/// Which of the server's NOTICEs about a command go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notices {
    /// None.
    None,
    /// All.
    All,
    /// All but WARNINGs.
    AllButWarnings,
}

/// What the violation of a CHECK means that a plan adds to prove something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Violation {
    /// A column holds NULLs that shall be NOT NULL.
    NullValues {
        /// The column.
        column: String,
    },
    /// A row lies outside a partition's bound.
    PartitionBound,
    /// A row of the default partition belongs to a new one.
    DefaultPartition,
}

/// A lock that a step takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLock {
    /// The relation.
    pub relation: Name,
    /// The mode.
    pub mode: LockMode,
}

impl StepLock {
    /// The statement that takes it.
    pub fn statement(&self) -> String {
        format!(
            "LOCK TABLE {} IN {} MODE",
            self.relation,
            self.mode.in_sql()
        )
    }
}

/// How a step runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Context {
    /// In a transaction of its own under a lock timeout, tried again.
    Transaction,
    /// Outside a transaction block, without timeouts, under a lock that stops no query, for as long
    /// as it takes: `VALIDATE CONSTRAINT`.
    Long,
    /// In transactions of its own, so many rows at a time.
    Batches(Backfill),
    /// As [`Context::Transaction`] under a statement timeout of the budget; when that is spent, the
    /// other steps take its place.
    Brief {
        /// What runs when the budget was too short.
        otherwise: Vec<Step>,
    },
    /// Outside a transaction block under a lock timeout, tried again.
    Autocommit,
    /// Outside a transaction block, without timeouts: it waits for other transactions and blocks
    /// nobody. It starts only when `clear` can be locked at once, for behind a running build it
    /// would deadlock.
    Concurrent {
        /// The table on which no other build may be running; `None` where that can't be asked for.
        clear: Option<Name>,
    },
}

/// How to take a step back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Undo {
    /// Nothing is left by a failure, or nothing needs to be taken back.
    NothingToUndo,
    /// Drop, concurrently, the INVALID indexes that a failure left on a table.
    DropInvalidIndexes(Leftovers),
    /// One catalog-only statement; it runs when this step was done and a later one failed.
    Sql(String),
    /// Half done it can't be taken back: this catalog-only step finishes it.
    Finish(Box<Step>),
    /// It can't be taken back.
    Irreversible {
        /// Why.
        why: String,
    },
}

/// INVALID indexes that weren't there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    /// The table's OID.
    pub table_oid: u32,
    /// OIDs of indexes that were there before: never dropped.
    pub before: Vec<u32>,
    /// Only this name …
    pub name: Option<String>,
    /// … or the names that REINDEX CONCURRENTLY gives its copies (`…_ccnew`, `…_ccold`).
    pub reindex_copies: bool,
}

/// How to see that a step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Success says it.
    Nothing,
    /// A valid index of that name stands on the table.
    IndexIsValid {
        /// The table's OID.
        table_oid: u32,
        /// The index's name.
        name: String,
    },
    /// The index is gone.
    IndexIsGone {
        /// The index's OID.
        oid: u32,
    },
    /// A column of that name stands in the table.
    ColumnExists {
        /// The table.
        table: Name,
        /// The column.
        column: String,
    },
    /// The column is gone.
    ColumnIsGone {
        /// The table.
        table: Name,
        /// The column.
        column: String,
    },
    /// The column is NOT NULL, and valid so.
    ColumnIsNotNull {
        /// The table.
        table: Name,
        /// The column.
        column: String,
    },
    /// A constraint of that name stands on the table.
    ConstraintExists {
        /// The table.
        table: Name,
        /// The constraint.
        name: String,
    },
    /// A constraint of that name stands on the table and is validated.
    ConstraintIsValid {
        /// The table.
        table: Name,
        /// The constraint.
        name: String,
    },
    /// The constraint is gone.
    ConstraintIsGone {
        /// The table.
        table: Name,
        /// The constraint.
        name: String,
    },
    /// An index of that name stands attached to its parent.
    IndexIsAttached {
        /// The index of the partition.
        index: Name,
        /// The parent's index.
        parent: Name,
    },
    /// The table is a partition of the parent, and not half detached.
    IsPartition {
        /// The table.
        table: Name,
        /// The parent.
        parent: Name,
    },
    /// The table is no partition of the parent, not even half detached.
    IsNoPartition {
        /// The table.
        table: Name,
        /// The parent.
        parent: Name,
    },
    /// A relation of that name exists.
    RelationExists {
        /// The relation.
        name: Name,
    },
    /// No relation of that name exists.
    RelationIsGone {
        /// The relation.
        name: Name,
    },
    /// No index of the table is INVALID but those.
    NoInvalidIndexes {
        /// The table's OID.
        table_oid: u32,
        /// Those that don't count.
        except: Vec<u32>,
    },
}

/// How old a holder's transaction may be when a lock is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookAge {
    /// By what the table's own transactions last.
    #[default]
    Auto,
    /// So old.
    Fixed(Duration),
}

/// Limits under which plans run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `locks.budget`.
    pub budget: Duration,
    /// `locks.deadline`, or the client's own `lock_timeout`.
    pub deadline: Duration,
    /// `locks.deadline`, also where the client has a `lock_timeout`: for what is taken back.
    pub undo_deadline: Duration,
    /// The client's own `statement_timeout`: the whole statement is to be over by then.
    pub statement_timeout: Option<Duration>,
    /// `locks.look_age`.
    pub look_age: LookAge,
    /// Transactions in the way that are older and have written nothing are ended; `None`: nobody's.
    pub cancel_after: Option<Duration>,
    /// `locks.max_hold`: how long a strong lock may be held for one step.
    pub max_hold: Duration,
    /// `builds.look_age`: no concurrent build starts while there is an older snapshot.
    pub build_look_age: Duration,
    /// How long a build waits for those before it.
    pub build_wait: Duration,
    /// `builds.deadline`; zero is no limit.
    pub build_deadline: Duration,
}

impl Limits {
    /// Limits on asking for locks, and none else.
    pub const fn asking(budget: Duration, deadline: Duration) -> Limits {
        Limits {
            budget,
            deadline,
            undo_deadline: deadline,
            statement_timeout: None,
            look_age: LookAge::Auto,
            cancel_after: None,
            max_hold: Duration::from_secs(2),
            build_look_age: Duration::MAX,
            build_wait: Duration::MAX,
            build_deadline: Duration::ZERO,
        }
    }
}

impl Plan {
    /// A plan that is the statement itself.
    pub fn as_sent(step: Step) -> Plan {
        Plan {
            notice: String::new(),
            steps: vec![step],
        }
    }
}

impl Step {
    /// A statement in a transaction of its own under a lock timeout, tried again.
    pub fn brief(title: impl Into<String>, sql: impl Into<String>) -> Step {
        Step {
            title: title.into(),
            sql: sql.into(),
            lock_first: Vec::new(),
            also: Vec::new(),
            locks: Vec::new(),
            context: Context::Transaction,
            undo: Undo::NothingToUndo,
            check: Check::Nothing,
            only_while_invalid: None,
            takes_long: false,
            notices: Notices::All,
            violation: None,
        }
    }

    /// Rows that are filled in batches.
    pub fn filling(title: impl Into<String>, backfill: Backfill) -> Step {
        let table = backfill.table.clone();
        Step::brief(title, backfill.sql())
            .locking(&table, LockMode::RowExclusive)
            .running(Context::Batches(backfill))
    }

    /// The same in another context.
    pub fn running(self, context: Context) -> Step {
        Step { context, ..self }
    }

    /// The same with a lock.
    pub fn locking(mut self, relation: &Name, mode: LockMode) -> Step {
        let relation = relation.clone();
        self.locks.push(StepLock { relation, mode });
        self
    }

    /// The same with a way back.
    pub fn undone_by(self, sql: impl Into<String>) -> Step {
        Step {
            undo: Undo::Sql(sql.into()),
            ..self
        }
    }

    /// The same with a way to see that it is done.
    pub fn checked_by(self, check: Check) -> Step {
        Step { check, ..self }
    }

    /// All its statements, in order, as they run in its transaction.
    pub fn statements(&self) -> Vec<String> {
        let locks = self.lock_first.iter().map(StepLock::statement);
        locks
            .chain([self.sql.clone()])
            .chain(self.also.iter().cloned())
            .collect()
    }

    /// The context, in a word or two.
    pub fn context_name(&self) -> &'static str {
        match &self.context {
            Context::Transaction => "transaction",
            Context::Long => "own transaction, no timeout",
            Context::Batches(_) => "batches",
            Context::Brief { .. } => "transaction, brief",
            Context::Autocommit => "autocommit",
            Context::Concurrent { .. } => "autocommit, no timeout",
        }
    }

    /// The steps that run when the budget was too short.
    pub fn otherwise(&self) -> &[Step] {
        match &self.context {
            Context::Brief { otherwise } => otherwise,
            Context::Transaction
            | Context::Long
            | Context::Batches(_)
            | Context::Autocommit
            | Context::Concurrent { .. } => &[],
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undo::NothingToUndo => f.write_str("nothing to undo"),
            Undo::DropInvalidIndexes(_) => f.write_str("drop the INVALID index it leaves"),
            Undo::Sql(sql) => f.write_str(&redacted(sql, false)),
            Undo::Finish(step) => {
                write!(f, "irreversible: half done, it is finished by {}", step.sql)
            }
            Undo::Irreversible { why } => write!(f, "irreversible: {why}"),
        }
    }
}

/// A tree of steps: title, locks, context, undo, SQL.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.steps.len() == 1 { "" } else { "s" };
        writeln!(f, "Plan: {} step{plural}", self.steps.len())?;
        write_steps(f, &self.steps, "")
    }
}

fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step], indent: &str) -> fmt::Result {
    for (at, step) in steps.iter().enumerate() {
        let (branch, trunk) = if at + 1 == steps.len() {
            ("└─", "  ")
        } else {
            ("├─", "│ ")
        };
        let locks: Vec<String> = step
            .locks
            .iter()
            .map(|lock| format!("{} {}", lock.relation, lock.mode))
            .collect();
        let locks = if locks.is_empty() {
            "no lock on what exists".to_owned()
        } else {
            locks.join(", ")
        };
        writeln!(
            f,
            "{indent}{branch} {}  [{locks}; {}]  undo: {}",
            step.title,
            step.context_name(),
            step.undo
        )?;
        for statement in step.statements() {
            writeln!(f, "{indent}{trunk}   {}", redacted(&statement, false))?;
        }
        if !step.otherwise().is_empty() {
            writeln!(f, "{indent}{trunk}   if that takes longer than the budget:")?;
            write_steps(f, step.otherwise(), &format!("{indent}{trunk}   "))?;
        }
    }
    Ok(())
}
