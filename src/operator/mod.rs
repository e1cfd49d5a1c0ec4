//! lockkeeper's own login: it looks at who holds which locks, which build has come how far, and it
//! can cancel. One connection, one task; whoever asks waits for its turn.
//!
//! Without it everything runs but the look: locks are then only asked for.

pub mod ages;
mod login;
pub mod progress;
mod reserve;
pub mod snapshot;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::exec::session::{Command, Pressure, Reply, Session};
use crate::pg::login::Login;
use crate::proxy::setup::Setup;
use ages::Ages;
pub use login::{DEFAULT_DATABASE, DEFAULT_USER, checked_url, connect, upstream};
use progress::Build;
pub use reserve::Reserve;
use snapshot::Snapshot;

/// The least time between two looks, whoever asks: `pg_locks` takes every partition of the lock table.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long an answer may take; then the connection is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// After a login that failed none is tried for so long.
const RETRY: Duration = Duration::from_secs(5);
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

#[derive(Debug)]
struct Question {
    command: Command,
    /// A look at the locks: not too often.
    is_look: bool,
    answer: oneshot::Sender<Vec<Reply>>,
}

impl Operator {
    /// An operator that logs in as the settings say, and the task that serves it.
    pub fn new(setup: watch::Receiver<Arc<Setup>>) -> (Operator, impl Future<Output = ()> + Send) {
        let (questions, receiver) = mpsc::channel(MAX_QUESTIONS);
        let (told, state) = watch::channel(State::NotYet);
        let task = serve(setup, receiver, told);
        let operator = Operator {
            questions,
            state,
            ages: Arc::default(),
        };
        (operator, task)
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

    /// How far the concurrent build of a backend is; `None` when it runs none.
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

    /// Cancels what a backend does, or ends it, if its transaction is still the one that began then.
    pub async fn evict(&self, pid: u32, began_ms: i64, terminate: bool) -> bool {
        let sql = if terminate {
            progress::TERMINATE_SQL
        } else {
            progress::CANCEL_SQL
        };
        let command = Command::with(sql, vec![pid.to_string(), began_ms.to_string()]);
        let replies = self.ask(command, false).await;
        replies.is_some_and(|replies| crate::exec::session::says_true(&replies))
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

/// Answers questions one by one, logging in when there is a question and no login.
async fn serve(
    setup: watch::Receiver<Arc<Setup>>,
    mut questions: mpsc::Receiver<Question>,
    told: watch::Sender<State>,
) {
    let mut connection = Connection {
        login: None,
        setup,
        told,
        not_before: None,
    };
    connection.ensure().await;
    let mut last_look: Option<Instant> = None;
    while let Some(question) = questions.recv().await {
        if question.answer.is_closed() {
            continue;
        }
        if question.is_look {
            if let Some(last) = last_look {
                tokio::time::sleep_until(last + LOOK_INTERVAL).await;
            }
            last_look = Some(Instant::now());
        }
        if let Some(replies) = connection.run(&question.command).await {
            let _ = question.answer.send(replies); // whoever asked may be gone
        }
    }
}

/// The operator's connection, while there is one.
struct Connection {
    login: Option<Login>,
    setup: watch::Receiver<Arc<Setup>>,
    told: watch::Sender<State>,
    not_before: Option<Instant>,
}

impl Connection {
    /// Runs one command; once more on a new connection when the old one turns out to be dead.
    async fn run(&mut self, command: &Command) -> Option<Vec<Reply>> {
        for _ in 0..2 {
            self.ensure().await;
            let login = self.login.as_mut()?;
            let running = login.run(std::slice::from_ref(command));
            match tokio::time::timeout(ANSWER_LIMIT, running).await {
                Ok(Ok(replies)) => return Some(replies),
                Ok(Err(crate::exec::session::RunError::Sql(fields))) => {
                    tracing::warn!(sqlstate = fields.sqlstate, "operator: {}", fields.message);
                    return None;
                }
                Ok(Err(_)) => self.login = None,
                Err(_) => {
                    tracing::warn!("operator: no answer in {ANSWER_LIMIT:?}");
                    self.login = None;
                    return None;
                }
            }
        }
        None
    }

    /// Logs in where that hasn't just failed.
    async fn ensure(&mut self) {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        if setup.config.operator.url.as_deref() == Some("") {
            self.login = None;
            self.told.send_replace(State::Off);
            return;
        }
        if self.login.is_some() || self.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        match login::log_in(&setup).await {
            Ok((login, lacks)) => {
                self.login = Some(login);
                self.not_before = None;
                self.told.send_replace(State::Ready { lacks });
            }
            Err(why) => {
                let state = State::Failed(why);
                if *self.told.borrow() != state {
                    self.told.send_replace(state);
                }
                self.not_before = Some(Instant::now() + RETRY);
            }
        }
    }
}
