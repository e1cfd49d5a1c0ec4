//! A wait of a plan's: how long it has been, and when its client is told. The server is asked now and
//! then whether it is still there; what it has to tell the client comes with the answer.

use std::time::Duration;

use super::session::{Command, RunError, Session};

/// When a client is first told what its plan waits for, or works at.
pub(super) const FIRST_NOTICE: Duration = Duration::from_secs(2);
/// The least time between two such NOTICEs.
pub(super) const NOTICE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a server is asked that has nothing to do meanwhile.
const PULSE_INTERVAL: Duration = Duration::from_secs(1);
const PULSE_SQL: &str = "SELECT /* lockkeeper waits for its turn, or for a lock */";

/// A wait, in the time of [`Session::elapsed`].
#[derive(Debug, Clone)]
pub(super) struct Wait {
    began: Duration,
    next_notice: Duration,
    heard: Duration,
}

impl Wait {
    /// It begins now. What came before is no part of it, but the client has heard nothing for as long.
    pub(super) fn begin<S: Session>(session: &S) -> Wait {
        let now = session.elapsed();
        Wait {
            began: now,
            next_notice: FIRST_NOTICE.clamp(now, now + FIRST_NOTICE),
            heard: now,
        }
    }

    /// How long it has been.
    pub(super) fn so_far<S: Session>(&self, session: &S) -> Duration {
        session.elapsed().saturating_sub(self.began)
    }

    /// How long until the client is to be told.
    pub(super) fn until_notice<S: Session>(&self, session: &S) -> Duration {
        self.next_notice.saturating_sub(session.elapsed())
    }

    /// Whether the client is to be told now; then it is, and not again for a while.
    pub(super) fn is_to_tell<S: Session>(&mut self, session: &S) -> bool {
        let is_due = self.until_notice(session).is_zero();
        if is_due {
            self.next_notice = session.elapsed() + NOTICE_INTERVAL;
        }
        is_due
    }

    /// Sleeps, and [feels](Self::feel) the pulse.
    ///
    /// # Errors
    /// [`RunError::Gone`].
    pub(super) async fn pass<S: Session>(
        &mut self,
        session: &mut S,
        duration: Duration,
    ) -> Result<(), RunError> {
        session.sleep(duration).await;
        self.feel(session).await
    }

    /// Feels the server's pulse if that is due.
    ///
    /// # Errors
    /// [`RunError::Gone`].
    pub(super) async fn feel<S: Session>(&mut self, session: &mut S) -> Result<(), RunError> {
        let now = session.elapsed();
        if now.saturating_sub(self.heard) < PULSE_INTERVAL || session.interrupt().is_some() {
            return Ok(());
        }
        self.heard = now;
        match session.run(&[Command::own(PULSE_SQL)]).await {
            Err(RunError::Gone) => Err(RunError::Gone),
            // A cancel request ended it: whoever waits looks for that next.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
