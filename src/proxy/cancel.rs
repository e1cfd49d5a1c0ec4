//! Cancel requests: the server's own key goes through unchanged, so a request can be forwarded by
//! anyone; only a session whose statement waits inside lockkeeper, where the server knows of
//! nothing to cancel, must be found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use tokio::sync::Notify;

/// What a cancel request does to a session of ours.
#[derive(Debug, Default)]
pub struct CancelToken {
    requested: AtomicBool,
    notify: Notify,
    server: Option<SocketAddr>,
}

impl CancelToken {
    /// The token of a session whose server is at this address: its name may lead elsewhere by now.
    pub fn of_session_at(server: Option<SocketAddr>) -> CancelToken {
        CancelToken {
            server,
            ..CancelToken::default()
        }
    }

    /// The address of the session's server, over TCP.
    pub fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// A cancel request came.
    pub fn cancel(&self) {
        self.requested.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Whether one came since the last [`CancelToken::reset`].
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Forgets what came before: a new statement begins.
    pub fn reset(&self) {
        self.requested.store(false, Ordering::Release);
    }

    /// Ends when a cancel request comes, or has come.
    pub async fn requested(&self) {
        loop {
            let notified = self.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_requested() {
                return;
            }
            notified.await;
        }
    }
}

/// A session's process id and secret key, as BackendKeyData has them; forgotten with the session.
#[derive(Debug, Default)]
pub struct CancelKey {
    bytes: Box<[u8]>,
    registry: Arc<CancelRegistry>,
}

impl CancelKey {
    /// Registers a session.
    pub fn new(bytes: &[u8], token: Arc<CancelToken>, registry: &Arc<CancelRegistry>) -> CancelKey {
        registry.insert(bytes, token);
        CancelKey {
            bytes: bytes.into(),
            registry: Arc::clone(registry),
        }
    }
}

impl std::ops::Deref for CancelKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.registry.remove(&self.bytes);
        }
    }
}

/// The sessions of this process by process id and secret key, as BackendKeyData has them.
#[derive(Debug, Default)]
pub struct CancelRegistry {
    sessions: DashMap<Box<[u8]>, Arc<CancelToken>>,
}

impl CancelRegistry {
    /// Registers a session.
    fn insert(&self, key: &[u8], token: Arc<CancelToken>) {
        if self.sessions.insert(key.into(), token).is_none() {
            metrics::gauge!("lockkeeper_cancel_keys").increment(1.0);
        }
    }

    /// Forgets a session.
    fn remove(&self, key: &[u8]) {
        if self.sessions.remove(key).is_some() {
            metrics::gauge!("lockkeeper_cancel_keys").decrement(1.0);
        }
    }

    /// Marks the session with that key; the address of its server.
    pub fn cancel(&self, key: &[u8]) -> Option<SocketAddr> {
        let token = self.sessions.get(key)?;
        token.cancel();
        token.server()
    }
}
