//! Plans that were taken over and wait for a session of their role's, and sessions that lend themselves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::exec::runner::Outcome;
use crate::journal::record::Record;
use crate::journal::store::Entry;
use crate::plan::course::{Course, Fate};

/// A plan that is lent to a session, to be brought to its end there.
#[derive(Debug)]
pub struct Lease {
    /// The plan in the journal.
    pub entry: Entry,
    /// What the journal has of it.
    pub record: Record,
    /// How far it is.
    pub course: Course,
    /// What became of the transaction that was under way.
    pub fate: Fate,
    /// For what is left of it.
    pub back: oneshot::Sender<Returned>,
}

/// What comes back from a session.
#[derive(Debug)]
pub struct Returned {
    /// The plan in the journal.
    pub entry: Entry,
    /// How far it is.
    pub course: Course,
    /// How it went.
    pub outcome: Outcome,
}

/// The plans that wait; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Orphans {
    waiting: Arc<Mutex<Vec<Lease>>>,
}

impl Orphans {
    fn waiting(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A plan waits for a session.
    pub fn offer(&self, lease: Lease) {
        self.waiting().push(lease);
    }

    /// Takes a plan back that nobody has taken: by its number.
    pub fn withdraw(&self, id: i64) -> Option<Lease> {
        let mut waiting = self.waiting();
        let at = waiting.iter().position(|lease| lease.entry.id() == id)?;
        Some(waiting.swap_remove(at))
    }

    /// The next plan of a role's in a database, for a session of its.
    pub fn take(&self, database: &str, role: &str) -> Option<Lease> {
        let mut waiting = self.waiting();
        let is_its =
            |lease: &Lease| lease.record.who.database == database && lease.record.role == role;
        let at = waiting.iter().position(is_its)?;
        Some(waiting.swap_remove(at))
    }
}
