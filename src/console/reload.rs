//! Asking the program to read its settings again.

use tokio::sync::{mpsc, oneshot};

use crate::config::changes::Change;

/// Requests that wait.
const MAX_REQUESTS: usize = 4;

/// Asks for a reload; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloads {
    requests: mpsc::Sender<ReloadRequest>,
}

/// A request for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    answer: oneshot::Sender<Result<Vec<Change>, String>>,
}

impl ReloadRequest {
    /// Says what came of it: what has changed, or why nothing has.
    pub fn answer(self, outcome: Result<Vec<Change>, String>) {
        let _ = self.answer.send(outcome); // who asked may be gone
    }
}

impl Reloads {
    /// One end that asks, and one that answers.
    pub fn new() -> (Reloads, mpsc::Receiver<ReloadRequest>) {
        let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
        (Reloads { requests }, receiver)
    }

    /// Reads the settings again, as SIGHUP does.
    ///
    /// # Errors
    /// Why the old ones stay.
    pub async fn ask(&self) -> Result<Vec<Change>, String> {
        let nobody = || "this lockkeeper has no settings to read again".to_owned();
        let (answer, answered) = oneshot::channel();
        let request = ReloadRequest { answer };
        self.requests.send(request).await.map_err(|_| nobody())?;
        answered.await.map_err(|_| nobody())?
    }
}
