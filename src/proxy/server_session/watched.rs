//! The build that a plan runs, followed from outside.

use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{ServerSession, Wake};
use crate::exec::operator::Operator;
use crate::exec::operator::progress::Build;
use crate::exec::session::Stage;
use crate::exec::watchdog::{self, Watchdog};

/// A build that is followed on the operator's login, and ends when its time is over.
pub(super) struct Watched {
    /// `None` when there is no operator, or when it can't be asked just now.
    pub(super) seen: mpsc::Receiver<Option<Build>>,
    pub(super) watchdog: Watchdog,
    pub(super) began: Instant,
    /// Zero is none.
    pub(super) limit: Duration,
}

impl Watched {
    /// Follows the build of a backend until this is dropped.
    pub(super) fn new(operator: Option<Operator>, pid: u32, limit: Duration) -> Watched {
        let (tell, seen) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(watchdog::LOOK_INTERVAL).await;
                let build = match &operator {
                    Some(operator) => operator.build(pid).await,
                    None => None,
                };
                if tell.send(build).await.is_err() {
                    return;
                }
            }
        });
        Watched {
            seen,
            watchdog: Watchdog::default(),
            began: Instant::now(),
            limit,
        }
    }
}

impl ServerSession<'_> {
    /// What the watchdog has to say.
    pub(super) fn poll_watched(&mut self, cx: &mut std::task::Context<'_>) -> Option<Wake> {
        let watched = self.watched.as_mut()?;
        let Poll::Ready(seen) = watched.seen.poll_recv(cx) else {
            return None;
        };
        let Some(seen) = seen else {
            self.watched = None;
            return None;
        };
        let elapsed = watched.began.elapsed();
        let is_over = !watched.limit.is_zero() && elapsed >= watched.limit;
        let mut told = None;
        if let Some(seen) = seen {
            told = watched.watchdog.notice(&seen, elapsed);
            if let Some(Stage::Runs { progress, .. }) = &mut self.stage {
                *progress = seen.words();
            }
            self.publish_stage();
        }
        if is_over {
            self.watched = None;
            return Some(Wake::OutOfTime);
        }
        // The waker is spent: the next poll comes with the next look.
        cx.waker().wake_by_ref();
        told.map(|(message, detail)| Wake::Told(message, detail))
    }
}
