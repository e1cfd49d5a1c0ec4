//! How far a plan is: what is written before each step, and what it means when nobody has written
//! on. Plain data.

use serde::{Deserialize, Serialize};

use super::{Context, Step, Undo};

/// How far a plan is. Steps are numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// Nothing has run.
    #[default]
    Waiting,
    /// The steps before this one are done, and this one runs.
    Step {
        /// Its number.
        step: usize,
        /// Its transaction (`pg_current_xact_id()`), where it is one.
        xid: Option<u64>,
    },
    /// The steps behind this one are taken back, and this one is being.
    Undo {
        /// Its number.
        step: usize,
        /// The transaction that takes it back, where it is one.
        xid: Option<u64>,
    },
    /// It runs in a transaction of the client's, with which it stands or falls.
    Client {
        /// That transaction, once it has a number.
        xid: Option<u64>,
    },
}

impl Course {
    /// The same in a transaction.
    #[must_use]
    pub fn under(self, xid: u64) -> Course {
        let xid = Some(xid);
        match self {
            Course::Waiting => Course::Waiting,
            Course::Step { step, .. } => Course::Step { step, xid },
            Course::Undo { step, .. } => Course::Undo { step, xid },
            Course::Client { .. } => Course::Client { xid },
        }
    }

    /// The transaction whose end decides.
    pub fn xid(self) -> Option<u64> {
        match self {
            Course::Waiting => None,
            Course::Step { xid, .. } | Course::Undo { xid, .. } | Course::Client { xid } => xid,
        }
    }
}

/// What became of a transaction, as `pg_xact_status` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is committed.
    Committed,
    /// It is not, or there was none.
    Aborted,
    /// Nobody knows any more: a person must look.
    Unknown,
}

/// What is to be done with a plan that nobody works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: all steps are done.
    Done,
    /// The steps from this number on are to be run: what was done before can't be taken back.
    Forward(usize),
    /// So many steps, the first ones, are to be taken back.
    Back(usize),
    /// Whether a step is done isn't known from here: it doesn't run in a transaction.
    Look(usize),
    /// What became of the transaction isn't known any more.
    Unknown,
}

impl Rest {
    /// What is to be done, by what became of the transaction that was under way.
    pub fn of(steps: &[Step], course: Course, fate: Fate) -> Rest {
        match (course, fate) {
            (Course::Waiting | Course::Client { .. }, _) => Rest::Back(0),
            (Course::Step { step, xid: None }, _) => Rest::Look(step),
            (Course::Step { step, .. }, Fate::Committed) => Rest::after(steps, step),
            (Course::Step { step, .. }, Fate::Aborted) => Rest::after(steps, step - 1),
            (Course::Undo { step, xid: None }, _) => Rest::Back(step),
            (Course::Undo { step, .. }, Fate::Committed) => Rest::Back(step - 1),
            (Course::Undo { step, .. }, Fate::Aborted) => Rest::Back(step),
            (Course::Step { .. } | Course::Undo { .. }, Fate::Unknown) => Rest::Unknown,
        }
    }

    /// What is to be done once so many steps are done, and no other.
    pub fn after(steps: &[Step], done: usize) -> Rest {
        if done >= steps.len() {
            return Rest::Done;
        }
        let cannot_go_back =
            |step: &Step| matches!(step.undo, Undo::Finish(_) | Undo::Irreversible { .. });
        if steps.iter().take(done).any(cannot_go_back) {
            Rest::Forward(done + 1)
        } else {
            Rest::Back(done)
        }
    }
}

impl Step {
    /// Whether it is one transaction, of which the journal has the number before it is committed.
    pub fn is_transaction(&self) -> bool {
        match &self.context {
            Context::Transaction | Context::Long | Context::Brief { .. } => true,
            Context::Batches(_) | Context::Autocommit | Context::Concurrent { .. } => false,
        }
    }

    /// Whether it works for long without standing in anybody's way.
    pub fn is_online(&self) -> bool {
        match &self.context {
            Context::Long | Context::Batches(_) | Context::Concurrent { .. } => true,
            Context::Transaction | Context::Brief { .. } | Context::Autocommit => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Undo;

    fn steps() -> Vec<Step> {
        vec![
            Step::brief("a", "a").undone_by("-a"),
            Step::brief("b", "b").running(Context::Concurrent { clear: None }),
            Step::brief("c", "c").undone_by("-c"),
        ]
    }

    fn at(step: usize, xid: Option<u64>) -> Course {
        Course::Step { step, xid }
    }

    #[test]
    fn the_transaction_s_end_decides() {
        let steps = steps();
        let rest = |course, fate| Rest::of(&steps, course, fate);
        assert_eq!(rest(Course::Waiting, Fate::Aborted), Rest::Back(0));
        assert_eq!(rest(at(1, Some(7)), Fate::Committed), Rest::Back(1));
        assert_eq!(rest(at(1, Some(7)), Fate::Aborted), Rest::Back(0));
        assert_eq!(rest(at(1, Some(7)), Fate::Unknown), Rest::Unknown);
        assert_eq!(rest(at(2, None), Fate::Aborted), Rest::Look(2));
        assert_eq!(rest(at(3, Some(8)), Fate::Committed), Rest::Done);
        assert_eq!(rest(at(3, Some(8)), Fate::Aborted), Rest::Back(2));
        let undo = |xid| Course::Undo { step: 2, xid };
        assert_eq!(rest(undo(Some(9)), Fate::Committed), Rest::Back(1));
        assert_eq!(rest(undo(Some(9)), Fate::Aborted), Rest::Back(2));
        assert_eq!(rest(undo(None), Fate::Aborted), Rest::Back(2));
    }

    #[test]
    fn what_cannot_be_taken_back_is_finished() {
        let mut steps = steps();
        steps[0].undo = Undo::Irreversible {
            why: "it is gone".to_owned(),
        };
        assert_eq!(
            Rest::of(&steps, at(1, Some(7)), Fate::Committed),
            Rest::Forward(2)
        );
        assert_eq!(
            Rest::of(&steps, at(1, Some(7)), Fate::Aborted),
            Rest::Back(0)
        );
        assert_eq!(Rest::after(&steps, 3), Rest::Done);
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let column = crate::plan::backfill::KeyColumn {
            name: "id".to_owned(),
            of_type: crate::plan::backfill::KeyType::of(20).unwrap(),
        };
        let fill = crate::plan::backfill::Backfill {
            table: crate::sql::name::Name::qualified("public", "t"),
            order: crate::plan::backfill::Order::Key(vec![column]),
            set: "c = DEFAULT".to_owned(),
            unfilled: "c IS NULL".to_owned(),
            passes: crate::plan::backfill::Passes::Once,
        };
        let mut steps = steps();
        steps.push(Step::filling("fill", fill));
        steps[1].undo = Undo::Finish(Box::new(Step::brief("d", "d")));
        let written = serde_json::to_string(&steps).unwrap();
        let read: Vec<Step> = serde_json::from_str(&written).unwrap();
        assert_eq!(read, steps);
    }
}
