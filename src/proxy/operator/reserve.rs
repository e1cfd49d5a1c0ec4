//! One server connection that is kept open and idle. It is given up when the server has no place
//! left and somebody wants to log in on the console, and opened again later.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::login;
use crate::pg::login::Login;
use crate::proxy::setup::Setup;

/// How long after the start the connection is opened: others have more need of the server then.
const FIRST: Duration = Duration::from_secs(2);
/// How often one looks whether the connection is still open, and opens it again.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long opening it may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// Requests that wait.
const MAX_REQUESTS: usize = 16;

/// Gives the connection up; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reserve {
    requests: mpsc::Sender<oneshot::Sender<bool>>,
}

impl Reserve {
    /// A reserve, and the task that keeps it.
    pub fn new(setup: watch::Receiver<Arc<Setup>>) -> (Reserve, impl Future<Output = ()> + Send) {
        let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
        (Reserve { requests }, keep(setup, receiver))
    }

    /// Closes the connection; `false` when there was none. Its place at the server is free a moment
    /// later.
    pub async fn give_up(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests.send(answer).await.is_ok() && answered.await.unwrap_or(false)
    }
}

async fn keep(
    setup: watch::Receiver<Arc<Setup>>,
    mut requests: mpsc::Receiver<oneshot::Sender<bool>>,
) {
    let mut login: Option<Login> = None;
    let mut next_look = Instant::now() + FIRST;
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(answer) = request else { return };
                let had_one = login.take().is_some_and(|login| !login.is_closed());
                next_look = Instant::now() + LOOK_INTERVAL;
                let _ = answer.send(had_one); // who asked may be gone
            }
            () = tokio::time::sleep_until(next_look) => {
                let setup = Arc::clone(&setup.borrow());
                if setup.config.operator.is_off() {
                    login = None;
                } else if login.as_ref().is_none_or(Login::is_closed) {
                    login = open(&setup).await;
                }
                next_look = Instant::now() + LOOK_INTERVAL;
            }
        }
    }
}

async fn open(setup: &Setup) -> Option<Login> {
    let opening = login::open(&setup.config, "lockkeeper reserve", None);
    match tokio::time::timeout(LOGIN_LIMIT, opening).await {
        Ok(Ok(login)) => Some(login),
        Ok(Err(why)) => {
            tracing::debug!(why = why.why, "no server connection is kept in reserve");
            None
        }
        Err(_) => None,
    }
}
