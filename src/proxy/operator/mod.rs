//! The operator's side of its login: one connection, questions answered one by one.

pub mod inspect;
pub mod journal;
mod login;
pub mod orphans;
pub mod recovery;
mod reserve;
pub mod side;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::setup::Setup;
use crate::exec::operator::{Question, State};
use crate::exec::session::{Command, Reply, RunError, Session};
use crate::pg::login::Login;
pub use login::{DEFAULT_USER, NO_LOOK, checked_url, connect, log_in, open, upstream};
pub use reserve::Reserve;

/// The least time between two looks, whoever asks: `pg_locks` takes every partition of the lock
/// table.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long an answer may take; then the connection is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// After a login that failed none is tried for so long.
const RETRY: Duration = Duration::from_secs(5);

/// Answers questions one by one, logging in when there is a question and no login.
pub async fn serve(
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
    loop {
        // Nobody asks while there is no login.
        let question = tokio::select! {
            question = questions.recv() => question,
            () = tokio::time::sleep(RETRY), if connection.login.is_none() => {
                connection.ensure().await;
                continue;
            }
        };
        let Some(question) = question else {
            return;
        };
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
                Ok(Err(RunError::Sql(fields))) => {
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
        if setup.config.operator.is_off() {
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
