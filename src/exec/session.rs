//! What a plan needs of a server session.

use std::time::Duration;

use thiserror::Error;

use super::operator::Operator;
use crate::error::Interrupt;
use crate::plan::course::Course;
use crate::plan::{Limits, Notices, Step};
use crate::wire::backend::ErrorFields;

/// One command of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The SQL: one statement.
    pub sql: String,
    /// Text parameters.
    pub parameters: Vec<String>,
    /// Which of the server's NOTICEs about it are the client's.
    pub notices: Notices,
}

impl Command {
    /// A command of lockkeeper's own.
    pub fn own(sql: impl Into<String>) -> Command {
        Command {
            sql: sql.into(),
            parameters: Vec::new(),
            notices: Notices::None,
        }
    }

    /// A command of lockkeeper's own with text parameters.
    pub fn with(sql: impl Into<String>, parameters: Vec<String>) -> Command {
        Command {
            sql: sql.into(),
            parameters,
            notices: Notices::None,
        }
    }

    /// A command that does the client's work.
    pub fn clients(sql: impl Into<String>) -> Command {
        Command {
            sql: sql.into(),
            parameters: Vec::new(),
            notices: Notices::All,
        }
    }
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// The command tag.
    pub tag: String,
    /// Rows, in text.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Whether the first row of the first answer begins with true.
pub fn says_true(replies: &[Reply]) -> bool {
    let first = replies
        .first()
        .and_then(|reply| reply.rows.first()?.first()?.as_deref());
    first == Some("t")
}

/// Why a batch gave no answers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// The server refused a command; those before it in the batch have run.
    #[error("{}: {}", .0.sqlstate, .0.message)]
    Sql(Box<ErrorFields>),
    /// The server is gone.
    #[error("the server closed the connection")]
    Gone,
    /// The plan rests on facts that are no longer true; nothing was done.
    #[error("the catalog has changed meanwhile")]
    Stale,
}

impl RunError {
    /// The SQLSTATE; empty when the server is gone.
    pub fn sqlstate(&self) -> &str {
        match self {
            RunError::Sql(fields) => &fields.sqlstate,
            RunError::Gone | RunError::Stale => "",
        }
    }
}

/// A server session that a plan runs on.
pub trait Session {
    /// Runs commands in order in one round trip; the first that fails ends the batch.
    fn run(&mut self, batch: &[Command]) -> impl Future<Output = Result<Vec<Reply>, RunError>>;
    /// Sleeps; ends early when interrupted.
    fn sleep(&mut self, duration: Duration) -> impl Future<Output = ()>;
    /// Forgets what has interrupted the plan: it is being honoured, and only another one would be
    /// new. The client's own time no longer counts.
    fn forgive(&mut self);
    /// What was forgotten so, if anything.
    fn honoured(&self) -> Option<Interrupt> {
        None
    }
    /// What has interrupted the plan, if anything.
    fn interrupt(&self) -> Option<Interrupt>;
    /// Tells the client something.
    fn notice(&mut self, message: &str, detail: &str);
    /// Time since the statement came, without that spent waiting for a window.
    fn elapsed(&self) -> Duration;
    /// lockkeeper's own login, if there is one.
    fn operator(&self) -> Option<Operator> {
        None
    }
    /// Whether the plan that hasn't begun would be the same if it were made now.
    fn is_as_judged(&mut self) -> impl Future<Output = bool> {
        async { true }
    }
    /// As [`Session::run`]; when fewer than `locks` of the commands have been answered once the
    /// budget is spent, it is cancelled, and fails with 55P03.
    fn run_within(
        &mut self,
        batch: &[Command],
        _locks: usize,
        _budget: Duration,
    ) -> impl Future<Output = Result<Vec<Reply>, RunError>> {
        self.run(batch)
    }
    /// As [`Session::run`], for a command that takes long: the client is told how it goes. When
    /// `limit` is spent (zero is none), it is cancelled.
    fn run_watched(
        &mut self,
        batch: &[Command],
        _pid: u32,
        _limit: Duration,
    ) -> impl Future<Output = Result<Vec<Reply>, RunError>> {
        self.run(batch)
    }
    /// What this session's work does to others; `None` where it can't be seen.
    fn pressure(&mut self) -> impl Future<Output = Option<Pressure>> {
        async { None }
    }
    /// For how long the last transaction had its strong locks.
    fn lock_hold(&mut self) -> Duration {
        Duration::ZERO
    }
    /// Whether what is about to be done is written down first.
    fn is_journalled(&self) -> bool {
        false
    }
    /// Writes down how far the plan is. Nothing goes on before that.
    fn note(&mut self, _course: Course) -> impl Future<Output = Result<(), RunError>> {
        async { Ok(()) }
    }
    /// Waits until no other lockkeeper builds in this database; how long that took.
    fn enter_slot(&mut self, _limits: Limits) -> impl Future<Output = Result<Duration, RunError>> {
        async { Ok(Duration::ZERO) }
    }
    /// The build is over.
    fn leave_slot(&mut self) {}
    /// Behind the step of that number, which has failed and left nothing, these are run.
    fn unfolded(&mut self, _step: usize, _otherwise: &[Step]) {}
    /// Tells those who look from outside where the plan stands.
    fn stage(&mut self, _stage: Stage) {}
    /// The plan has come to a point at which tests can hold it.
    fn reached(&mut self, _point: Point) -> impl Future<Output = ()> {
        async {}
    }
}

/// What a session's work does to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// How far the slowest standby is behind; `None` without one.
    pub replication_lag: Option<Duration>,
    /// Sessions that wait for a lock of this one's.
    pub waiting_for_us: u32,
}

/// Where a plan stands, for those who look from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Facts are taken, the statement is judged.
    Judging,
    /// It waits in lockkeeper's queue behind plans of these numbers.
    Queued {
        /// Numbers of plans.
        behind: Vec<u64>,
    },
    /// It waits for a window of time, or for an approval.
    AwaitsWindow {
        /// What for, for people.
        until: String,
    },
    /// It waits for a lock.
    AwaitsLock {
        /// Who holds it, a line each, for people.
        blockers: Vec<String>,
    },
    /// A step runs.
    Runs {
        /// Its number, from 1.
        step: usize,
        /// How many there are.
        of: usize,
        /// The step's title.
        title: String,
        /// How far it is, for people; empty when nobody knows.
        progress: String,
    },
    /// What was done is taken back.
    TakesBack,
    /// It waits for a session in which what was begun can be brought to its end.
    AwaitsSession {
        /// What for, for people.
        why: String,
    },
}

/// A point in a plan's course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point {
    /// The step's number, from 1, counted over the whole plan; steps that are taken back have that
    /// of the step.
    pub step: usize,
    /// The moment.
    pub moment: Moment,
}

/// A moment of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Before it.
    Before,
    /// Its statements are about to be sent, under the locks that it takes to begin with.
    During,
    /// It is done and checked.
    After,
    /// What it did is about to be taken back.
    Undoing,
}
