//! One at a time: schema changes of the same relations wait here, first come, first served, and not
//! in PostgreSQL, where whoever queues behind a concurrent build deadlocks with it. One online build
//! a database at once.
//!
//! A place is had before a slot, and whoever has a slot waits for no place: nobody waits in a ring.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::acquire::{LOCK_NOT_AVAILABLE, interrupted};
use super::session::{RunError, Session, Stage};
use super::wait::Wait;
use crate::plan::Limits;
use crate::plan::words::seconds;

/// How often one looks whether it is one's turn.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What is queued for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A relation, by OIDs of its database and its own.
    Relation(u32, u32),
    /// The one online build of a database, by its OID.
    Build(u32),
}

/// The queues of all relations and of the builds.
#[derive(Debug, Clone, Default)]
pub struct Places {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the tickets so far the last number, and how many there were.
    last: Order,
    tickets: BTreeMap<Order, Ticket>,
}

/// Who comes first: by the number in the journal, where there is one, so that nobody is before another one here and
/// behind it there; then by who came first.
type Order = (u64, u64);

#[derive(Debug)]
struct Ticket {
    keys: Vec<Key>,
    who: Applicant,
}

/// Who has a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applicant {
    /// The number of its plan; 0 when it isn't one of this process.
    pub plan: u64,
    /// The plan in a few words.
    pub what: String,
}

/// A place in the queues of some keys; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    order: Order,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the last place.
    pub fn enter(&self, keys: Vec<Key>, who: Applicant) -> Place {
        let next = self.lock().last.0 + 1;
        self.enter_as(next, keys, who)
    }

    /// Takes the place of that number.
    pub fn enter_as(&self, number: u64, mut keys: Vec<Key>, who: Applicant) -> Place {
        keys.sort_unstable();
        keys.dedup();
        let mut state = self.lock();
        state.last = (state.last.0.max(number), state.last.1 + 1);
        let order = (number, state.last.1);
        state.tickets.insert(order, Ticket { keys, who });
        drop(state);
        Place {
            places: self.clone(),
            order,
        }
    }
}

impl Place {
    /// Those who come first.
    pub fn ahead(&self) -> Vec<Applicant> {
        let state = self.places.lock();
        let Some(own) = state.tickets.get(&self.order) else {
            return Vec::new();
        };
        let earlier = state.tickets.range(..self.order);
        let rivals = earlier.filter(|(_, ticket)| {
            let is_wanted = |key| own.keys.binary_search(key).is_ok();
            ticket.keys.iter().any(is_wanted)
        });
        rivals.map(|(_, ticket)| ticket.who.clone()).collect()
    }

    /// The keys that it is for.
    pub fn is_for(&self, keys: &[Key]) -> bool {
        let state = self.places.lock();
        let own = state.tickets.get(&self.order);
        own.is_some_and(|own| keys.iter().all(|key| own.keys.binary_search(key).is_ok()))
    }

    /// Waits for its turn; how long that took.
    ///
    /// # Errors
    /// 55P03 when the deadline has passed, 57014 when it was interrupted.
    pub async fn turn<S: Session>(
        &self,
        session: &mut S,
        limits: Limits,
        deadline: Duration,
    ) -> Result<Duration, RunError> {
        let mut queue = Queue::begin(session, limits, deadline);
        loop {
            let ahead = self.ahead();
            if ahead.is_empty() {
                return Ok(queue.waited(session));
            }
            queue.pass(session, &ahead).await?;
        }
    }
}

/// A wait behind others.
#[derive(Debug)]
pub struct Queue {
    wait: Wait,
    limits: Limits,
    deadline: Duration,
}

impl Queue {
    /// It begins now.
    pub fn begin<S: Session>(session: &S, limits: Limits, deadline: Duration) -> Queue {
        Queue {
            wait: Wait::begin(session),
            limits,
            deadline,
        }
    }

    /// How long it has been.
    pub fn waited<S: Session>(&self, session: &S) -> Duration {
        self.wait.so_far(session)
    }

    /// Waits a moment behind some, who are named to the client when that is due.
    ///
    /// # Errors
    /// 55P03 when the deadline has passed, 57014 when it was interrupted.
    pub async fn pass<S: Session>(
        &mut self,
        session: &mut S,
        ahead: &[Applicant],
    ) -> Result<(), RunError> {
        let waited = self.waited(session);
        interrupted(session)?;
        session.stage(Stage::Queued {
            behind: ahead.iter().map(|who| who.plan).collect(),
        });
        let limit = self.limits.statement_timeout;
        if limit.is_some_and(|limit| session.elapsed() >= limit) {
            return Err(RunError::Sql(Box::new(crate::error::statement_timeout())));
        }
        let lines: Vec<String> = ahead.iter().map(Applicant::line).collect();
        if waited >= self.deadline {
            let fields = crate::error::turn_did_not_come(LOCK_NOT_AVAILABLE, waited, &lines);
            return Err(RunError::Sql(Box::new(fields)));
        }
        if self.wait.is_to_tell(session) {
            let message = format!(
                "waiting in the queue behind {}, for {} so far",
                plans(ahead.len()),
                seconds(waited)
            );
            session.notice(&message, &lines.join("\n"));
        }
        self.wait.pass(session, LOOK_AGAIN).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().tickets.remove(&self.order);
    }
}

impl Applicant {
    fn line(&self) -> String {
        match self.plan {
            0 => format!("of another lockkeeper: {}", self.what),
            plan => format!("plan {plan}: {}", self.what),
        }
    }
}

fn plans(count: usize) -> String {
    if count == 1 {
        "1 schema change".to_owned()
    } else {
        format!("{count} schema changes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(plan: u64) -> Applicant {
        Applicant {
            plan,
            what: "ALTER TABLE t".to_owned(),
        }
    }

    fn numbers(place: &Place) -> Vec<u64> {
        place.ahead().iter().map(|who| who.plan).collect()
    }

    #[test]
    fn first_come_first_served_for_each_relation() {
        let places = Places::default();
        let t = |oid| Key::Relation(1, oid);
        let first = places.enter(vec![t(1), t(2)], who(1));
        let second = places.enter(vec![t(3)], who(2));
        let third = places.enter(vec![t(3), t(2)], who(3));
        assert_eq!(numbers(&first), [0; 0]);
        assert_eq!(numbers(&second), [0; 0]);
        assert_eq!(numbers(&third), [1, 2]);
        drop(first);
        assert_eq!(numbers(&third), [2]);
        drop(second);
        assert_eq!(numbers(&third), [0; 0]);
        assert!(third.is_for(&[t(2)]) && !third.is_for(&[t(1)]));
    }

    #[test]
    fn the_journal_s_order_is_kept_whoever_comes_first() {
        let places = Places::default();
        let t = |oid| vec![Key::Relation(1, oid)];
        let later = places.enter_as(8, t(1), who(2));
        let earlier = places.enter_as(7, t(1), who(1));
        assert_eq!(numbers(&earlier), [0; 0]);
        assert_eq!(numbers(&later), [1]);
        let last = places.enter(t(1), who(3));
        assert_eq!(numbers(&last), [1, 2]);
    }

    #[test]
    fn a_relation_of_another_database_is_another_one() {
        let places = Places::default();
        let _first = places.enter(vec![Key::Relation(1, 7), Key::Build(1)], who(1));
        let other = places.enter(vec![Key::Relation(2, 7), Key::Build(2)], who(2));
        assert_eq!(numbers(&other), [0; 0]);
    }
}
