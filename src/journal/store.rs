//! Writes to and reads from lockkeeper's own database. One task answers on one connection; whoever
//! asks waits for its turn.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use super::record::{Outcome, Record};
use super::statements::{self, Audit, json};
use crate::audit::event::{Event, search_names};
use crate::exec::places::{Applicant, Key};
use crate::exec::session::{Command, Reply, says_true};
use crate::metrics;
use crate::plan::Step;
use crate::plan::course::Course;

/// Questions that wait.
const MAX_QUESTIONS: usize = 4096;
/// How long somebody may be about to enter the queue, or to take a slot, before one asks again.
const ENTER_AGAIN: Duration = Duration::from_millis(2);
/// How often it is looked whether a transaction has a number.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is looked whether somebody waits for the outcome of a plan that has lost its client.
const HEIR_INTERVAL: Duration = Duration::from_secs(1);
/// How often that is asked for.
const MAX_ENTRIES: u32 = 2000;

/// Whether the journal can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none, and there shall be none.
    Off,
    /// Nobody has asked yet.
    NotYet,
    /// The operator can't log in, and never could: there is none. Why.
    NoLogin(String),
    /// It can.
    Ready,
    /// It can't be written; why.
    Failed(String),
}

/// Why something isn't written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRecord {
    /// It can't be; why.
    #[error("{0}")]
    Failed(String),
    /// Another lockkeeper has taken the plan over.
    #[error("another lockkeeper has taken the plan over")]
    TakenOver,
}

/// What is asked of the database.
#[derive(Debug)]
pub struct Question {
    /// The command.
    pub command: Command,
    /// It must not be lost: it is asked again until it is answered.
    pub insists: bool,
    /// For the answer.
    pub answer: Option<oneshot::Sender<Result<Vec<Reply>, String>>>,
}

/// The journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    questions: mpsc::Sender<Question>,
    state: watch::Receiver<State>,
    system: Arc<OnceLock<String>>,
    held: Arc<Mutex<BTreeSet<i64>>>,
    /// Told when a plan has been let go.
    released: Arc<tokio::sync::Notify>,
}

/// What whoever answers needs.
#[derive(Debug)]
pub struct Serving {
    /// What is asked.
    pub questions: mpsc::Receiver<Question>,
    /// Where it says how it is.
    pub told: watch::Sender<State>,
    /// `system_identifier` of the server.
    pub system: Arc<OnceLock<String>>,
    /// The plans whose heart beats.
    pub held: Held,
}

/// The plans that this process works on.
#[derive(Debug, Clone)]
pub struct Held(Arc<Mutex<BTreeSet<i64>>>);

impl Held {
    /// Their numbers.
    pub fn numbers(&self) -> Vec<i64> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().copied().collect()
    }
}

/// A plan that was taken over.
#[derive(Debug)]
pub struct Claimed {
    /// The plan, now ours.
    pub entry: Entry,
    /// What the journal has of it.
    pub record: Record,
    /// Its audit event, as begun.
    pub event: Event,
}

impl Journal {
    /// A journal, and what whoever answers needs.
    pub fn new() -> (Journal, Serving) {
        let (questions, receiver) = mpsc::channel(MAX_QUESTIONS);
        let (told, state) = watch::channel(State::NotYet);
        let journal = Journal {
            questions,
            state,
            system: Arc::default(),
            held: Arc::default(),
            released: Arc::default(),
        };
        let serving = Serving {
            questions: receiver,
            told,
            system: Arc::clone(&journal.system),
            held: Held(Arc::clone(&journal.held)),
        };
        (journal, serving)
    }

    /// Whether it can be written.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until that is known, for so long at most.
    pub async fn started(&self, limit: Duration) -> State {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| *state != State::NotYet);
        let _ = tokio::time::timeout(limit, known).await; // what is known now is told
        self.state()
    }

    /// Waits until a plan has been let go.
    pub async fn released(&self) {
        self.released.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a plan behind all others, and the beginning of its audit event.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn begin(
        &self,
        keys: &[Key],
        record: &mut Record,
        event: &Event,
    ) -> Result<Entry, NoRecord> {
        record.system = self.system.get().cloned().unwrap_or_default();
        let relations = relations(event);
        let command = statements::begin(keys, record, &relations, &json(event));
        for _ in 0..MAX_ENTRIES {
            let replies = self.ask(command.clone()).await?;
            let numbers = [0, 1, 2].map(|at| number(&replies, at));
            if let [Some(id), Some(audit), Some(claim)] = numbers {
                self.held().insert(id);
                return Ok(Entry {
                    journal: self.clone(),
                    id,
                    claim,
                    audit,
                    steps: record.steps.clone(),
                    steps_changed: false,
                    is_open: true,
                });
            }
            tokio::time::sleep(ENTER_AGAIN).await;
        }
        Err(NoRecord::Failed("too many enter the queue".to_owned()))
    }

    /// Writes an event whose beginning was not written. It isn't lost when that can't be done now.
    pub fn record(&self, event: &Event) {
        let (relations, event_json) = (relations(event), json(event));
        let audit = Audit {
            outcome: &event.outcome,
            relations: &relations,
            event: &event_json,
        };
        self.insist(statements::event(&audit));
    }

    /// Writes down a schema change in a client's own transaction, and which transaction that is; `None` when there is
    /// nowhere to.
    pub fn follow_client(&self, mut record: Record, event: &Event) -> Option<ClientEntry> {
        if *self.state.borrow() != State::Ready {
            return None;
        }
        let (tell, mut told) = oneshot::channel::<Box<Event>>();
        let (journal, begun) = (self.clone(), event.clone());
        tokio::spawn(async move {
            let pid = record.backend.pid;
            let Ok(entry) = journal.begin(&[], &mut record, &begun).await else {
                if let Ok(event) = told.await {
                    journal.record(&event);
                }
                return;
            };
            let event = tokio::select! {
                event = &mut told => event,
                () = entry.follow(pid) => told.await,
            };
            if let Ok(event) = event {
                let outcome = Outcome {
                    tag: None,
                    error: event.error.clone(),
                    interrupted: true,
                };
                entry.end(&outcome, &event);
            }
        });
        Some(ClientEntry(tell))
    }

    /// How a plan ended; `None` while it hasn't, or when that is forgotten.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn outcome(&self, id: i64) -> Result<Option<Outcome>, NoRecord> {
        let replies = self.ask(statements::outcome(id)).await?;
        let text = replies
            .first()
            .and_then(|reply| reply.rows.first()?.first()?.as_deref());
        Ok(text.and_then(|text| serde_json::from_str(text).ok()))
    }

    /// The plans that nobody works on: number and claim.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn orphans(&self, silent: Duration) -> Result<Vec<(i64, i64)>, NoRecord> {
        let system = self.system.get().cloned().unwrap_or_default();
        let replies = self
            .ask(statements::orphans(&system, silent.as_millis()))
            .await?;
        let rows = replies.into_iter().flat_map(|reply| reply.rows);
        let number = |row: &[Option<String>], at: usize| row.get(at)?.as_deref()?.parse().ok();
        Ok(rows
            .filter_map(|row| Some((number(&row, 0)?, number(&row, 1)?)))
            .collect())
    }

    /// Takes a plan over; `None` when somebody else has.
    ///
    /// # Errors
    /// [`NoRecord::Failed`], also when the value can't be read.
    pub async fn claim(&self, id: i64, claim: i64) -> Result<Option<Claimed>, NoRecord> {
        let replies = self.ask(statements::claim(id, claim)).await?;
        let Some(row) = replies.first().and_then(|reply| reply.rows.first()) else {
            return Ok(None);
        };
        let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        let unreadable = |error: serde_json::Error| {
            NoRecord::Failed(format!("plan {id} can't be read: {error}"))
        };
        let record: Record = serde_json::from_str(text(1)).map_err(unreadable)?;
        let entry = Entry {
            journal: self.clone(),
            id,
            claim: text(0).parse().unwrap_or(claim + 1),
            audit: text(2).parse().unwrap_or(0),
            steps: record.steps.clone(),
            steps_changed: false,
            is_open: true,
        };
        self.held().insert(id);
        Ok(Some(Claimed {
            entry,
            record,
            event: serde_json::from_str(text(3)).unwrap_or_default(),
        }))
    }

    /// Asks for one value.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn value(&self, command: Command) -> Result<Option<String>, NoRecord> {
        let replies = self.ask(command).await?;
        let row = replies.first().and_then(|reply| reply.rows.first());
        Ok(row.and_then(|row| row.first()?.clone()))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn ask(&self, command: Command) -> Result<Vec<Reply>, NoRecord> {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            command,
            insists: false,
            answer: Some(answer),
        };
        let ended = || NoRecord::Failed("lockkeeper is ending".to_owned());
        self.questions.send(question).await.map_err(|_| ended())?;
        answered
            .await
            .map_err(|_| ended())?
            .map_err(NoRecord::Failed)
    }

    /// Says something that must not be lost, and doesn't wait.
    fn insist(&self, command: Command) {
        if matches!(*self.state.borrow(), State::Off | State::NoLogin(_)) {
            return;
        }
        let question = Question {
            command,
            insists: true,
            answer: None,
        };
        if self.questions.try_send(question).is_err() {
            metrics::audit_event_lost();
            tracing::error!(
                "an audit event was lost: the operator's database can't be written fast enough"
            );
        }
    }

    /// Waits until what was said so far is written, for so long at most.
    pub async fn flush(&self, limit: Duration) {
        if *self.state.borrow() == State::Ready {
            let asking = self.ask(Command::own("SELECT 1"));
            let _ = tokio::time::timeout(limit, asking).await; // whoever ends can't wait longer
        }
    }
}

/// A plan in the journal. Dropped, it is let go: somebody will see what is to be done with it.
#[derive(Debug)]
pub struct Entry {
    journal: Journal,
    id: i64,
    claim: i64,
    audit: i64,
    steps: Vec<Step>,
    steps_changed: bool,
    is_open: bool,
}

impl Entry {
    /// Its number.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The number of its audit event.
    pub fn audit(&self) -> i64 {
        self.audit
    }

    /// Says anew what it is, and what it queues for.
    ///
    /// # Errors
    /// [`NoRecord`].
    pub async fn rewrite(&mut self, keys: &[Key], record: &mut Record) -> Result<(), NoRecord> {
        record.system = self.journal.system.get().cloned().unwrap_or_default();
        self.steps.clone_from(&record.steps);
        let command = statements::rewrite(self.id, self.claim, keys, record);
        self.change(command).await.map(drop)
    }

    /// Behind the step of that number, which has failed and left nothing, these are run.
    pub fn unfold(&mut self, step: usize, otherwise: &[Step]) {
        let at = step.min(self.steps.len());
        if let Some(failed) = at.checked_sub(1).and_then(|at| self.steps.get_mut(at)) {
            failed.undo = crate::plan::Undo::NothingToUndo;
            failed.context = crate::plan::Context::Transaction;
        }
        self.steps.splice(at..at, otherwise.iter().cloned());
        self.steps_changed = true;
    }

    /// Says how far it is.
    ///
    /// # Errors
    /// [`NoRecord`].
    pub async fn note(&mut self, course: Course) -> Result<(), NoRecord> {
        let steps = std::mem::take(&mut self.steps_changed).then(|| json(&self.steps));
        let command = statements::note(self.id, self.claim, course, steps.as_deref());
        self.change(command).await.map(drop)
    }

    /// Writes down in which transaction a server process works, as soon as that is seen.
    pub fn follow(&self, pid: u32) -> impl Future<Output = ()> + Send + use<> {
        let (journal, id, claim) = (self.journal.clone(), self.id, self.claim);
        async move {
            loop {
                tokio::time::sleep(FOLLOW_INTERVAL).await;
                let Ok(found) = journal.value(statements::xid_of(pid)).await else {
                    return;
                };
                if let Some(xid) = found.and_then(|text| text.parse().ok()) {
                    let course = Course::Client { xid: Some(xid) };
                    let note = statements::note(id, claim, course, None);
                    let _ = journal.ask(note).await; // what isn't known is unknown
                    return;
                }
            }
        }
    }

    /// Takes the last place among the online builds of its database.
    ///
    /// # Errors
    /// [`NoRecord`].
    pub async fn take_slot(&self) -> Result<(), NoRecord> {
        for _ in 0..MAX_ENTRIES {
            let replies = self
                .journal
                .ask(statements::take_slot(self.id, self.claim))
                .await?;
            if number(&replies, 0).is_some() {
                return Ok(());
            }
            tokio::time::sleep(ENTER_AGAIN).await;
        }
        Err(NoRecord::TakenOver)
    }

    /// Gives it back.
    pub fn leave_slot(&self) {
        self.journal.insist(statements::leave_slot(self.id));
    }

    /// Who is before it in the queues of its relations, and whose statement is the same as its own.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn ahead(&self) -> Result<Vec<Ahead>, NoRecord> {
        self.read_ahead(statements::ahead(self.id)).await
    }

    /// Who is before it among the builds of its database.
    ///
    /// # Errors
    /// [`NoRecord::Failed`].
    pub async fn ahead_of_slot(&self) -> Result<Vec<Ahead>, NoRecord> {
        self.read_ahead(statements::ahead_of_slot(self.id)).await
    }

    async fn read_ahead(&self, command: Command) -> Result<Vec<Ahead>, NoRecord> {
        let replies = self.journal.ask(command).await?;
        let rows = replies.into_iter().flat_map(|reply| reply.rows);
        let ahead = rows.filter_map(|row| {
            let mut row = row.into_iter();
            let id: i64 = row.next()??.parse().ok()?;
            let what = row.next().flatten().unwrap_or_default();
            let is_twin = row.next().flatten().as_deref() == Some("t");
            let who = Applicant { plan: 0, what };
            Some(Ahead { id, who, is_twin })
        });
        Ok(ahead.collect())
    }

    /// Whether somebody waits for the outcome of the same statement.
    pub async fn has_heir(&self) -> bool {
        let replies = self.journal.ask(statements::has_heir(self.id)).await;
        replies.is_ok_and(|replies| says_true(&replies))
    }

    /// Ends when it has had so much time, and nobody waits for its outcome.
    pub fn unwanted(&self, ttl: Duration) -> impl Future<Output = ()> + use<> {
        let (journal, id) = (self.journal.clone(), self.id);
        async move {
            tokio::time::sleep(ttl).await;
            while let Ok(replies) = journal.ask(statements::has_heir(id)).await
                && says_true(&replies)
            {
                tokio::time::sleep(HEIR_INTERVAL).await;
            }
        }
    }

    /// It has ended, with this event.
    pub fn end(mut self, outcome: &Outcome, event: &Event) {
        let (relations, event_json) = (relations(event), json(event));
        let audit = Audit {
            outcome: &event.outcome,
            relations: &relations,
            event: &event_json,
        };
        self.is_open = false;
        self.journal.held().remove(&self.id);
        let command = statements::end(self.id, self.claim, &json(outcome), &audit);
        self.journal.insist(command);
    }

    async fn change(&self, command: Command) -> Result<Vec<Reply>, NoRecord> {
        let replies = self.journal.ask(command).await?;
        if replies.iter().all(|reply| reply.rows.is_empty()) {
            return Err(NoRecord::TakenOver);
        }
        Ok(replies)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_open {
            self.journal.held().remove(&self.id);
            self.journal
                .insist(statements::release(self.id, self.claim));
            self.journal.released.notify_one();
        }
    }
}

/// A schema change in a client's own transaction. Dropped, it is let go: the server will be asked what became of it.
#[derive(Debug)]
pub struct ClientEntry(oneshot::Sender<Box<Event>>);

impl ClientEntry {
    /// What became of it is known.
    pub fn end(self, event: &Event) {
        let _ = self.0.send(Box::new(event.clone())); // it is listened to until then
    }
}

/// Somebody who is before a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The number in the journal.
    pub id: i64,
    /// For people.
    pub who: Applicant,
    /// It is the same statement.
    pub is_twin: bool,
}

fn relations(event: &Event) -> Vec<String> {
    search_names(&event.relations)
}

fn number(replies: &[Reply], at: usize) -> Option<i64> {
    replies
        .first()?
        .rows
        .first()?
        .get(at)?
        .as_deref()?
        .parse()
        .ok()
}
