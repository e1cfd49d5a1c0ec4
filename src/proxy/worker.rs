//! What the sessions of one relay thread share, and what all threads share.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use tokio::sync::watch;

use super::cancel::CancelRegistry;
use super::operator::Reserve;
use super::operator::orphans::Orphans;
use super::setup::Setup;
use crate::audit::log::AuditLog;
use crate::config::{Config, OnFailure};
use crate::console::Reloads;
use crate::exec::failpoint::Failpoints;
use crate::exec::operator::Operator;
use crate::exec::places::Places;
use crate::exec::registry::Registry;
use crate::journal::store::{Journal, State};
use crate::metrics::{AllMetrics, Metrics};
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

/// Follows the phase on behalf of one task. While nothing changes a look costs one atomic load, as
/// it is taken with every wake-up of a session.
pub struct PhaseWatch {
    phase: Phase,
    receiver: watch::Receiver<Phase>,
    /// Wakes the task; polled when it is new, and when there is something to learn.
    change: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl PhaseWatch {
    /// A watch that has seen nothing yet.
    pub fn new(receiver: watch::Receiver<Phase>) -> PhaseWatch {
        PhaseWatch {
            phase: Phase::Running,
            receiver,
            change: None,
        }
    }

    /// The phase; the task is woken when it changes. Always to be polled by the same task.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Phase {
        // Only before the first change: a sender tells in several steps, and a late step of one
        // change may wake the future that waits for the next, which must then be polled again.
        if self.phase == Phase::Running
            && self.change.is_some()
            && matches!(self.receiver.has_changed(), Ok(false))
        {
            return self.phase;
        }
        loop {
            let mut receiver = self.receiver.clone();
            let change = self.change.get_or_insert_with(|| {
                Box::pin(async move {
                    let _ = receiver.changed().await; // an error is a change: the program ends
                })
            });
            if change.as_mut().poll(cx).is_pending() {
                return self.phase;
            }
            self.change = None;
            self.phase = match self.receiver.has_changed() {
                Ok(_) => *self.receiver.borrow_and_update(),
                Err(_) => return Phase::Closing,
            };
        }
    }
}

impl std::fmt::Debug for PhaseWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.phase.fmt(f)
    }
}

/// What all threads share.
#[derive(Clone)]
pub struct Shared {
    /// The settings now in force.
    pub setup: watch::Receiver<Arc<Setup>>,
    /// Sessions by cancel key.
    pub cancels: Arc<CancelRegistry>,
    /// The record of schema changes.
    pub audit: AuditLog,
    /// What is counted.
    pub metrics: AllMetrics,
    /// How far the program is on its way out.
    pub phase: watch::Receiver<Phase>,
    /// The plans that are being worked on.
    pub plans: Registry,
    /// Clients now connected.
    pub clients: Arc<AtomicUsize>,
    /// Clients of the console.
    pub consoles: Arc<AtomicUsize>,
    /// Reads the settings again.
    pub reloads: Reloads,
    /// lockkeeper's own login.
    pub operator: Operator,
    /// What is written down of plans.
    pub journal: Journal,
    /// Plans that wait for a session of their role's.
    pub orphans: Orphans,
    /// A server connection that is given up for the console.
    pub reserve: Reserve,
    /// Where schema changes queue.
    pub places: Places,
    /// Points at which tests hold a plan.
    pub failpoints: Failpoints,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("setup", &*self.setup.borrow())
            .finish_non_exhaustive()
    }
}

/// What the sessions of one thread share.
#[derive(Debug)]
pub struct Worker {
    /// What all threads share.
    pub shared: Shared,
    /// The settings now in force; never borrowed across an await.
    pub setup: RefCell<Arc<Setup>>,
    /// Bytes just read; only touched within one poll.
    pub scratch: RefCell<Box<[u8]>>,
    /// Classified texts.
    pub cache: RefCell<ClassCache>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Worker {
    /// One of `threads` workers.
    pub fn new(shared: Shared, threads: usize) -> Rc<Worker> {
        let setup = Arc::clone(&shared.setup.borrow());
        let cache_bytes = usize::try_from(setup.config.guard.cache.as_u64()).unwrap_or(usize::MAX)
            / threads.max(1);
        Rc::new(Worker {
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            cache: RefCell::new(ClassCache::new(cache_bytes)),
            metrics: shared.metrics.register(),
            setup: RefCell::new(setup),
            shared,
        })
    }

    /// The settings now in force, to be kept.
    pub fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.borrow())
    }

    /// Why a schema change can't be recorded now, where it must be.
    pub fn cannot_record(&self, config: &Config) -> Option<String> {
        if config.audit.on_failure == OnFailure::Continue {
            return None;
        }
        match self.shared.journal.state() {
            State::Failed(why) => Some(why),
            State::Off | State::NotYet | State::NoLogin(_) | State::Ready => {
                self.shared.audit.failure()
            }
        }
    }

    /// Takes new settings as they come, for as long as the program runs.
    pub async fn follow_setup(self: Rc<Worker>) {
        let mut setups = self.shared.setup.clone();
        while setups.changed().await.is_ok() {
            let setup = Arc::clone(&setups.borrow_and_update());
            self.setup.replace(setup);
        }
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
