//! Points in a plan's course at which tests can hold it, to see what an interruption there leaves.
//! Unarmed, which they always are but in tests, they cost one load each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::session::Point;

/// The points of a process.
#[derive(Debug, Clone, Default)]
pub struct Failpoints {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    is_armed: AtomicBool,
    listener: Mutex<Option<mpsc::UnboundedSender<Reached>>>,
}

/// A plan that is held at a point until this is dropped.
#[derive(Debug)]
pub struct Reached {
    /// The point.
    pub point: Point,
    _goes_on: oneshot::Sender<()>,
}

impl Failpoints {
    /// Holds every plan at every point from now on, until what is returned is dropped.
    pub fn arm(&self) -> mpsc::UnboundedReceiver<Reached> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listener = self.inner.listener.lock();
        **listener.as_mut().unwrap_or_else(PoisonError::get_mut) = Some(sender);
        self.inner.is_armed.store(true, Ordering::Release);
        receiver
    }

    /// Whether anybody listens.
    pub fn is_armed(&self) -> bool {
        self.inner.is_armed.load(Ordering::Acquire)
    }

    /// A plan has come to a point: ends when it may go on.
    pub async fn reached(&self, point: Point) {
        let (goes_on, held) = oneshot::channel();
        let reached = Reached {
            point,
            _goes_on: goes_on,
        };
        let listener = self.inner.listener.lock();
        let listener = listener.unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener
            && listener.send(reached).is_ok()
        {
            // What is sent while the receiver is dropped may stay in the channel.
            tokio::select! {
                _ = held => {} // dropped: it may go on
                () = listener.closed() => {}
            }
        } else {
            self.inner.is_armed.store(false, Ordering::Release);
        }
    }
}
