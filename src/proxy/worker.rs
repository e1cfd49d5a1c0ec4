//! What the sessions of one relay thread share, and what all threads share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::address::Address;
use super::cancel::CancelRegistry;
use super::tls::ServerConnector;
use crate::audit::log::AuditLog;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::sql::cache::ClassCache;

/// Bytes read at once.
pub const SCRATCH_BYTES: usize = 64 << 10;

/// How far the program is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Running,
    /// It takes no more clients; sessions end when they stand idle.
    Draining,
    /// Sessions end now.
    Closing,
}

/// What all threads share.
#[derive(Clone)]
pub struct Shared {
    /// The settings.
    pub config: Arc<Config>,
    /// The server.
    pub upstream: Arc<Address>,
    /// TLS towards clients.
    pub acceptor: Option<TlsAcceptor>,
    /// TLS towards the server.
    pub connector: Option<ServerConnector>,
    /// Sessions by cancel key.
    pub cancels: Arc<CancelRegistry>,
    /// The record of schema changes.
    pub audit: AuditLog,
    /// How far the program is on its way out.
    pub phase: watch::Receiver<Phase>,
    /// Clients now connected.
    pub clients: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

/// What the sessions of one thread share.
#[derive(Debug)]
pub struct Worker {
    /// What all threads share.
    pub shared: Shared,
    /// Bytes just read; only touched within one poll.
    pub scratch: RefCell<Box<[u8]>>,
    /// Classified texts.
    pub cache: RefCell<ClassCache>,
    /// Counters.
    pub metrics: Metrics,
}

impl Worker {
    /// One of `threads` workers.
    pub fn new(shared: Shared, threads: usize) -> Rc<Worker> {
        let cache_bytes = usize::try_from(shared.config.guard.cache.as_u64()).unwrap_or(usize::MAX)
            / threads.max(1);
        Rc::new(Worker {
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            cache: RefCell::new(ClassCache::new(cache_bytes)),
            metrics: Metrics::new(),
            shared,
        })
    }
}

/// A place among the clients; given back when dropped.
#[derive(Debug)]
pub struct Place {
    clients: Arc<AtomicUsize>,
}

impl Place {
    /// Takes a place; `None` when all are taken.
    pub fn take(clients: &Arc<AtomicUsize>, limit: usize) -> Option<Place> {
        let taken = clients.fetch_add(1, Ordering::AcqRel);
        let place = Place {
            clients: Arc::clone(clients),
        };
        (taken < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::AcqRel);
    }
}
