//! What of a plan is written down before it is done.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::ServerSession;
use crate::audit::event::Event;
use crate::config::OnFailure;
use crate::error;
use crate::exec::places::Key;
use crate::exec::session::{RunError, Stage};
use crate::journal::record::{Outcome, Record};
use crate::journal::store::{Entry, NoRecord, State};
use crate::plan::course::Course;
use crate::proxy::guard::Ending;

/// How long the journal's first connection is waited for.
const START_LIMIT: Duration = Duration::from_secs(10);

impl ServerSession<'_> {
    /// The plan's entry in the journal.
    pub(in crate::proxy) fn entry(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// Takes the first of its entries out, to end it: a string has one for each of its schema changes.
    pub(in crate::proxy) fn take_entry(&mut self) -> Option<Entry> {
        let is_empty = self.entries.is_empty();
        (!is_empty).then(|| self.entries.remove(0))
    }

    /// All of them.
    pub(in crate::proxy) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Takes a plan of somebody else's on, to bring it to its end.
    pub(in crate::proxy) fn adopt(&mut self, entry: Entry, course: Course) {
        self.entries = vec![entry];
        self.course = course;
    }

    /// How far the plan is, as written down last.
    pub(in crate::proxy) fn course(&self) -> Course {
        self.course
    }

    /// Enters the plan behind all others, or says anew what it is.
    ///
    /// # Errors
    /// LK003 when it can't be written down, and such must not run.
    pub(in crate::proxy) async fn file(
        &mut self,
        keys: &[Key],
        record: &mut Record,
        events: &[Event],
    ) -> Result<(), RunError> {
        let filed = match self.entries.first_mut() {
            Some(entry) => entry.rewrite(keys, record).await,
            None => self.begin_entries(keys, record, events).await,
        };
        match filed {
            Ok(()) => Ok(()),
            Err(why) => self.unrecorded(&why),
        }
    }

    async fn begin_entries(
        &mut self,
        keys: &[Key],
        record: &mut Record,
        events: &[Event],
    ) -> Result<(), NoRecord> {
        let journal = self.session.worker.shared.journal.clone();
        match journal.started(START_LIMIT).await {
            State::Off | State::NoLogin(_) | State::NotYet => return Ok(()),
            State::Ready | State::Failed(_) => {}
        }
        for (at, event) in events.iter().enumerate() {
            let entry = if at == 0 {
                journal.begin(keys, record, event).await?
            } else {
                // It stands and falls with the first, which has the place.
                let mut record = Record {
                    tag: event.tag.clone(),
                    sql: event.sql.clone(),
                    steps: Vec::new(),
                    ..record.clone()
                };
                journal.begin(&[], &mut record, event).await?
            };
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Whether the audit file can be written, where schema changes are refused without.
    ///
    /// # Errors
    /// LK003.
    pub(in crate::proxy) fn file_is_written(&mut self) -> Result<(), RunError> {
        match self.session.worker.shared.audit.failure() {
            Some(why) => self.unrecorded(&NoRecord::Failed(why)),
            None => Ok(()),
        }
    }

    /// Something can't be written down: whether the plan goes on.
    ///
    /// # Errors
    /// LK003 when it doesn't; [`RunError::Gone`] when it isn't ours any more.
    pub(in crate::proxy) fn unrecorded(&mut self, why: &NoRecord) -> Result<(), RunError> {
        match why {
            NoRecord::TakenOver => {
                tracing::error!(
                    "another lockkeeper has taken a schema change over: this one lets go of it"
                );
                self.is_taken_over = true;
                Err(RunError::Gone)
            }
            NoRecord::Failed(why) => {
                let setup = self.session.worker.setup();
                match setup.config.audit.on_failure {
                    OnFailure::Refuse => Err(RunError::Sql(Box::new(error::no_record(why)))),
                    OnFailure::Continue => Ok(()),
                }
            }
        }
    }

    /// How a plan ends whose server session is gone, or isn't ours any more.
    pub(in crate::proxy) fn ending_of_gone(&self) -> Ending {
        if self.is_taken_over {
            Ending::TakenOver
        } else {
            Ending::Gone
        }
    }

    /// The plan builds online: for so long it goes on without its client, for whoever sends the same statement again.
    pub(in crate::proxy) fn may_outlive_client(&mut self, ttl: Duration) {
        let is_wanted = !ttl.is_zero() && !self.entries.is_empty();
        self.outlives = is_wanted.then_some(ttl);
    }

    /// The client has gone, and its plan goes on.
    pub(super) fn has_lost_client(&self) -> bool {
        self.unwanted.is_some()
    }

    /// The client has gone: whether its plan goes on. One that hasn't begun doesn't.
    pub(super) fn outlives_client(&mut self) -> bool {
        let (Some(ttl), Some(entry)) = (self.outlives, self.entries.first()) else {
            return false;
        };
        let works = matches!(self.stage, Some(Stage::Runs { .. }));
        let has_begun = match self.course {
            Course::Step { step, .. } => step > 1 || works,
            Course::Waiting | Course::Undo { .. } | Course::Client { .. } => false,
        };
        if !has_begun {
            return false;
        }
        tracing::info!(
            plan = entry.id(),
            "the client of an online build has gone: the build goes on for plan.orphan_ttl, for whoever sends the same \
             statement again"
        );
        self.unwanted = Some(Box::pin(entry.unwanted(ttl)));
        true
    }

    /// Ready when a plan that has lost its client has had its time.
    pub(super) fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(unwanted) = &mut self.unwanted else {
            return Poll::Pending;
        };
        unwanted.as_mut().poll(cx).map(|()| {
            self.unwanted = None;
            self.outlives = None;
        })
    }

    /// All time that was set aside.
    pub fn set_aside_so_far(&self) -> Duration {
        self.set_aside
    }

    /// How another plan ended.
    pub(in crate::proxy) async fn outcome_of(&self, id: i64) -> Option<Outcome> {
        let journal = self.session.worker.shared.journal.clone();
        journal.outcome(id).await.ok().flatten()
    }

    /// Writes down how far the plan is.
    pub(super) async fn note_course(&mut self, course: Course) -> Result<(), RunError> {
        let is_undo = matches!(course, Course::Undo { .. });
        let course = if self.is_within() {
            let xid = course.xid();
            Course::Client { xid }
        } else {
            course
        };
        self.course = course;
        let mut noted = Ok(());
        for entry in &mut self.entries {
            noted = noted.and(entry.note(course).await);
        }
        match noted {
            Ok(()) => Ok(()),
            // What is to be taken back is, whether that can be written down or not.
            Err(NoRecord::Failed(_)) if is_undo => Ok(()),
            Err(why) => self.unrecorded(&why),
        }
    }

    /// Writes down in which transaction a server process works, as soon as that is seen, until what is returned is
    /// dropped.
    pub(in crate::proxy) fn follow_transaction(&self, pid: u32) -> Option<Following> {
        let followers: Vec<_> = self.entries.iter().map(|one| one.follow(pid)).collect();
        (!followers.is_empty()).then(|| {
            Following(tokio::spawn(async move {
                for follower in followers {
                    follower.await;
                }
            }))
        })
    }
}

/// Somebody who follows a transaction; dropped, no longer.
#[derive(Debug)]
pub(in crate::proxy) struct Following(JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
