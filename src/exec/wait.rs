//! While a plan waits without asking the server for anything, the server is asked now and then whether
//! it is still there; what it has to tell the client comes with the answer.

use std::time::Duration;

use super::session::{Command, RunError, Session};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);
const SQL: &str = "SELECT /* lockkeeper waits for its turn, or for a lock */";

/// When the server was last heard of.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    last: Option<Duration>,
}

impl Pulse {
    /// Feels it, if that is due.
    ///
    /// # Errors
    /// [`RunError::Gone`].
    pub(super) async fn feel<S: Session>(&mut self, session: &mut S) -> Result<(), RunError> {
        let now = session.elapsed();
        let last = *self.last.get_or_insert(now);
        if now.saturating_sub(last) < INTERVAL || session.interrupt().is_some() {
            return Ok(());
        }
        self.last = Some(now);
        match session.run(&[Command::own(SQL)]).await {
            Err(RunError::Gone) => Err(RunError::Gone),
            // A cancel request ended it: whoever waits looks for that next.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
