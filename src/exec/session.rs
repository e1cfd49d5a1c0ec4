//! What a plan needs of a server session.

use std::time::Duration;

use thiserror::Error;

use crate::error::Interrupt;
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

/// Which of the server's NOTICEs about a command go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notices {
    /// None.
    None,
    /// All.
    All,
    /// All but WARNINGs.
    AllButWarnings,
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
    /// Forgets a cancel request: it is being honoured, and another one would be a new one.
    fn forgive(&mut self);
    /// What has interrupted the plan, if anything.
    fn interrupt(&self) -> Option<Interrupt>;
    /// Tells the client something.
    fn notice(&mut self, message: &str, detail: &str);
    /// Time since the statement came.
    fn elapsed(&self) -> Duration;
}
