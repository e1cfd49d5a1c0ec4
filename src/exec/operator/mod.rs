//! lockkeeper's own login, as a plan sees it: it tells who holds which locks and how far a build is,
//! and it can cancel. One task answers on one connection; whoever asks waits for its turn.
//!
//! Without it everything runs but the look: locks are then only asked for.

pub mod ages;
pub mod progress;
pub mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use self::ages::Ages;
use self::progress::Build;
use self::snapshot::Snapshot;
use super::session::{Command, Pressure, Reply, says_true};

/// Relations whose transactions are remembered.
const MAX_RELATIONS: usize = 1000;
/// Questions that wait.
const MAX_QUESTIONS: usize = 1024;

/// Whether the operator is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// `operator.url` is empty.
    Off,
    /// Nobody has asked yet.
    NotYet,
    /// Logged in.
    Ready {
        /// Rights that it lacks, and what for; empty when it has all.
        lacks: Vec<String>,
    },
    /// It can't log in; why.
    Failed(String),
}

/// Asks the operator; cheap to clone.
#[derive(Debug, Clone)]
pub struct Operator {
    questions: mpsc::Sender<Question>,
    state: watch::Receiver<State>,
    ages: Arc<Mutex<HashMap<(u32, u32), Ages>>>,
}

/// What somebody asks the operator.
#[derive(Debug)]
pub struct Question {
    /// The command that it runs.
    pub command: Command,
    /// A look at the locks: not too often.
    pub is_look: bool,
    /// For the answer; dropped when there is none.
    pub answer: oneshot::Sender<Vec<Reply>>,
}

impl Operator {
    /// An operator; what it is asked, and where whoever answers says whether it is logged in.
    pub fn new() -> (Operator, mpsc::Receiver<Question>, watch::Sender<State>) {
        let (questions, receiver) = mpsc::channel(MAX_QUESTIONS);
        let (told, state) = watch::channel(State::NotYet);
        let operator = Operator {
            questions,
            state,
            ages: Arc::default(),
        };
        (operator, receiver, told)
    }

    /// Whether it is logged in.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits for the first login, for so long at most.
    pub async fn started(&self, limit: Duration) -> State {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| *state != State::NotYet);
        let _ = tokio::time::timeout(limit, known).await; // what is known now is told
        self.state()
    }

    /// Whether there is somebody to ask.
    pub fn is_on(&self) -> bool {
        !matches!(*self.state.borrow(), State::Off | State::Failed(_))
    }

    /// Who holds locks on relations, now; `None` when it can't be seen.
    pub async fn look(&self, relations: &[u32]) -> Option<Snapshot> {
        let command = Command::own(snapshot::query(relations));
        let replies = self.ask(command, true).await?;
        snapshot::read(&replies.first()?.rows)
    }

    /// What is known of how long a relation's transactions last, by OIDs of database and relation.
    pub fn with_ages<T>(
        &self,
        database: u32,
        relation: u32,
        use_it: impl FnOnce(&mut Ages) -> T,
    ) -> T {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        if ages.len() > MAX_RELATIONS {
            ages.clear();
        }
        use_it(ages.entry((database, relation)).or_default())
    }

    /// How far the concurrent step of a backend is; `None` when the operator can't be asked.
    pub async fn build(&self, pid: u32) -> Option<Build> {
        let command = Command::with(progress::BUILD_SQL, vec![pid.to_string()]);
        let replies = self.ask(command, false).await?;
        progress::build(replies.first()?.rows.first()?)
    }

    /// The snapshots of a database's sessions that have lasted longer than that: a line each, for
    /// people; those of the backend itself aside.
    pub async fn old_snapshots(&self, pid: u32, older: Duration) -> Option<Vec<String>> {
        let parameters = vec![pid.to_string(), older.as_millis().to_string()];
        let command = Command::with(progress::OLD_SNAPSHOTS_SQL, parameters);
        let replies = self.ask(command, false).await?;
        let rows = replies.first()?.rows.iter();
        Some(rows.filter_map(|row| row.first()?.clone()).collect())
    }

    /// What a backend's work does to others.
    pub async fn pressure(&self, pid: u32) -> Option<Pressure> {
        let command = Command::with(progress::PRESSURE_SQL, vec![pid.to_string()]);
        let replies = self.ask(command, false).await?;
        progress::pressure(replies.first()?.rows.first()?)
    }

    /// Whether somebody waits for a lock that a backend has on a relation.
    pub async fn is_waited_for(&self, pid: u32) -> bool {
        let command = Command::with(progress::IS_WAITED_FOR_SQL, vec![pid.to_string()]);
        let replies = self.ask(command, false).await;
        replies.is_some_and(|replies| says_true(&replies))
    }

    /// Cancels what a backend of lockkeeper's own does.
    pub async fn cancel(&self, pid: u32) {
        const SQL: &str = "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)";
        let command = Command::with(SQL, vec![pid.to_string()]);
        let _ = self.ask(command, false).await; // it may have ended by itself
    }

    /// Cancels what a backend does, or ends it, if its transaction is still the one that began then.
    pub async fn evict(&self, pid: u32, began_ms: i64, terminate: bool) -> bool {
        let parameters = vec![pid.to_string(), began_ms.to_string()];
        let command = Command::with(progress::evict_sql(terminate), parameters);
        let replies = self.ask(command, false).await;
        replies.is_some_and(|replies| says_true(&replies))
    }

    /// Whether a role may connect to a database: the server's version if so, `None` if not, or when
    /// that can't be asked.
    pub async fn may_connect(&self, user: &str, database: &str) -> Option<String> {
        const SQL: &str = "SELECT pg_catalog.current_setting('server_version')
            WHERE pg_catalog.has_database_privilege($1::pg_catalog.name, $2::pg_catalog.text,
                'CONNECT'::pg_catalog.text)";
        let command = Command::with(SQL, vec![user.to_owned(), database.to_owned()]);
        let replies = self.ask(command, false).await?;
        replies.first()?.rows.first()?.first()?.clone()
    }

    async fn ask(&self, command: Command, is_look: bool) -> Option<Vec<Reply>> {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            command,
            is_look,
            answer,
        };
        self.questions.send(question).await.ok()?;
        answered.await.ok()
    }
}
