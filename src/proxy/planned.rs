//! A guarded statement's entry among the plans that others see, and may stop.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;

use super::cancel::CancelToken;
use crate::exec::registry::{PlanHandle, PlanInfo, Registry};

/// Somebody has asked a plan to stop, and the server is to be told if it works on it.
#[derive(Debug, Default)]
struct Stop {
    is_asked: AtomicBool,
    notify: Notify,
}

impl Stop {
    async fn asked(self: Arc<Stop>) {
        loop {
            self.notify.notified().await;
            if self.is_asked.swap(false, Ordering::AcqRel) {
                return;
            }
        }
    }
}

/// A plan of a session's.
pub(super) struct Planned {
    handle: PlanHandle,
    stop: Arc<Stop>,
    asked: Pin<Box<dyn Future<Output = ()>>>,
}

impl Planned {
    /// Enters a plan; stopping it is a cancel request to its session.
    pub(super) fn begin(plans: &Registry, info: PlanInfo, token: Arc<CancelToken>) -> Planned {
        let stop = Arc::new(Stop::default());
        let by_others = Arc::clone(&stop);
        let cancel = move || {
            token.cancel();
            by_others.is_asked.store(true, Ordering::Release);
            by_others.notify.notify_one();
        };
        Planned {
            handle: plans.begin(info, Arc::new(cancel)),
            asked: Box::pin(Arc::clone(&stop).asked()),
            stop,
        }
    }

    /// The entry.
    pub(super) fn handle(&self) -> &PlanHandle {
        &self.handle
    }

    /// Ready each time that somebody asks the plan to stop while the server works on it.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let poll = self.asked.as_mut().poll(cx);
        if poll.is_ready() {
            self.asked = Box::pin(Arc::clone(&self.stop).asked());
        }
        poll
    }

    /// The server doesn't work on it, so there is nothing to tell it: what comes next isn't what
    /// was to be stopped. The session's token still says that somebody asked.
    pub(super) fn is_between_commands(&self) {
        self.stop.is_asked.store(false, Ordering::Release);
    }
}
