//! Brings to their end the plans that nobody works on any more: a lockkeeper was killed, or a session
//! has gone. Each is taken over first, so that two don't do the same, and only touched once the server
//! process that worked on it has ended.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::orphans::{Lease, Returned};
use super::side::{self, Ground};
use crate::audit::event::{ErrorEntry, Event};
use crate::audit::log;
use crate::catalog::SessionFacts;
use crate::error;
use crate::exec::registry::{PlanHandle, PlanInfo};
use crate::exec::resume::resume;
use crate::exec::runner::{self, Setup as RunSetup};
use crate::exec::session::{RunError, Stage};
use crate::journal::record::{Outcome, Record};
use crate::journal::statements;
use crate::journal::store::{Claimed, Entry, Journal, NoRecord, State};
use crate::metrics;
use crate::plan::course::{Course, Fate, Rest};
use crate::plan::{Limits, LookAge};
use crate::proxy::worker::{Phase, Shared};
use crate::wire::backend::ErrorFields;

/// How often it is looked whether a server process has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often it is looked whether a client's transaction has ended.
const LOOK_SELDOM: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// Plans that are brought to their end at once.
const AT_ONCE: usize = 8;
/// SQLSTATE `invalid_parameter_value`: a transaction in the future, of another timeline.
const IN_THE_FUTURE: &str = "22023";

/// Looks for such plans for as long as the program runs.
pub async fn serve(shared: Shared) {
    let busy: Arc<Mutex<BTreeSet<i64>>> = Arc::default();
    let permits = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    if shared.journal.started(Duration::MAX).await == State::Off {
        return;
    }
    loop {
        let takeover = shared.setup.borrow().config.journal.takeover;
        let found = shared.journal.orphans(takeover).await.unwrap_or_default();
        for (id, claim) in found {
            let mut set = busy.lock().unwrap_or_else(PoisonError::into_inner);
            if !set.insert(id) {
                continue;
            }
            drop(set);
            let (shared, busy, permits) = (shared.clone(), Arc::clone(&busy), Arc::clone(&permits));
            tokio::spawn(async move {
                let permit = permits.acquire_owned().await.ok(); // never closed
                if *shared.phase.borrow() != Phase::Closing {
                    take_over(&shared, id, claim, permit).await;
                }
                let mut set = busy.lock().unwrap_or_else(PoisonError::into_inner);
                set.remove(&id);
            });
        }
        let _ = tokio::time::timeout(takeover / 4, shared.journal.released()).await; // either way one looks
    }
}

/// One plan.
struct Orphan<'a> {
    shared: &'a Shared,
    entry: Entry,
    record: Record,
    event: Event,
    plan: PlanHandle,
    stop: Arc<AtomicBool>,
}

async fn take_over(shared: &Shared, id: i64, claim: i64, permit: Option<OwnedSemaphorePermit>) {
    let claimed = match shared.journal.claim(id, claim).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return, // somebody else was first, or it has ended
        Err(why) => {
            tracing::error!(
                plan = id,
                "a plan that nobody works on can't be taken over: {why}"
            );
            return;
        }
    };
    let Claimed {
        entry,
        record,
        event,
    } = claimed;
    tracing::warn!(
        plan = id,
        tag = record.tag,
        user = record.who.user,
        database = record.who.database,
        "nobody works on a schema change that was begun: taking it over"
    );
    let stop = Arc::new(AtomicBool::new(false));
    let info = PlanInfo {
        who: record.who.clone(),
        tag: record.tag.clone(),
        sql: record.sql.clone(),
        verdict: "",
        rule: None,
        relations: event.relations.iter().map(|one| one.name.clone()).collect(),
    };
    let asked = Arc::clone(&stop);
    let plan = shared
        .plans
        .begin(info, Arc::new(move || asked.store(true, Ordering::Release)));
    let orphan = Orphan {
        shared,
        entry,
        record,
        event,
        plan,
        stop,
    };
    let ended = if let Course::Client { .. } = orphan.record.course {
        drop(permit); // a prepared transaction may stay for days
        orphan.learn_its_end().await
    } else {
        orphan.bring_to_its_end().await
    };
    if let Err(why) = ended {
        tracing::error!(
            plan = id,
            "a plan that was taken over is let go again: {why}"
        );
    }
}

/// What is known when it has ended.
struct Ending {
    outcome: &'static str,
    error: Option<ErrorFields>,
    progress: runner::Progress,
}

impl Ending {
    fn plain(outcome: &'static str, error: Option<ErrorFields>) -> Ending {
        Ending {
            outcome,
            error,
            progress: runner::Progress::default(),
        }
    }
}

impl Orphan<'_> {
    fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// What has become of a schema change in a client's own transaction: nothing is to be done about it.
    async fn learn_its_end(self) -> Result<(), NoRecord> {
        let course = self.record.course;
        let fate = self.fate(course).await?;
        if let Some(ending) = without_session(&self.record, course, fate) {
            self.end(ending);
        }
        Ok(())
    }

    async fn bring_to_its_end(mut self) -> Result<(), NoRecord> {
        self.until_backend_is_gone().await?;
        let mut course = self.record.course;
        loop {
            let fate = self.fate(course).await?;
            if let Some(ending) = without_session(&self.record, course, fate) {
                self.end(ending);
                return Ok(());
            }
            let attempt = match self.attempt(&mut course, fate).await {
                None => {
                    let Some((again, attempt)) = self.lend(&mut course, fate).await else {
                        return Ok(()); // whoever comes next takes it over
                    };
                    self = again;
                    attempt
                }
                attempt => attempt,
            };
            match attempt {
                Some(ending) if !ending.progress.owes => {
                    self.end(ending);
                    return Ok(());
                }
                Some(_) if self.closes_within(TRY_AGAIN).await => return Ok(()),
                Some(_) | None => {}
            }
        }
    }

    async fn closes_within(&self, time: Duration) -> bool {
        let mut phase = self.shared.phase.clone();
        let closing = phase.wait_for(|phase| *phase == Phase::Closing);
        tokio::time::timeout(time, closing).await.is_ok()
    }

    /// Offers the plan to the next session of its role's, for a while; `None` when it is lost, or the program ends.
    async fn lend(self, course: &mut Course, fate: Fate) -> Option<(Self, Option<Ending>)> {
        let (back, returned) = oneshot::channel();
        let id = self.entry.id();
        let (orphans, mut phase) = (self.shared.orphans.clone(), self.shared.phase.clone());
        orphans.offer(Lease {
            entry: self.entry,
            record: self.record.clone(),
            course: *course,
            fate,
            back,
        });
        let closing = async move { drop(phase.wait_for(|phase| *phase == Phase::Closing).await) };
        let mut returned = Box::pin(returned);
        let came = tokio::select! {
            came = &mut returned => Some(came),
            () = tokio::time::sleep(TRY_AGAIN) => None,
            () = closing => None,
        };
        let came = match came {
            Some(came) => came,
            None => match orphans.withdraw(id) {
                Some(lease) => {
                    let again = Orphan {
                        entry: lease.entry,
                        ..self
                    };
                    return (*again.shared.phase.borrow() != Phase::Closing)
                        .then_some((again, None));
                }
                None => returned.await, // somebody is at it
            },
        };
        let Returned {
            entry,
            course: now,
            outcome,
        } = came.ok()?;
        *course = now;
        Some((Orphan { entry, ..self }, ended(outcome)))
    }

    /// A concurrent build goes on when its client is killed, and ends by itself. One that idles has nobody who would
    /// tell it to go on.
    async fn until_backend_is_gone(&mut self) -> Result<(), NoRecord> {
        let backend = self.record.backend.clone();
        if backend.pid == 0 {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            let state = statements::backend_state(backend.pid, &backend.start);
            let state = self.journal().value(state).await?;
            let ttl = self.shared.setup.borrow().config.plan.orphan_ttl;
            match state.as_deref() {
                Some("gone") => return Ok(()),
                Some("idle") => self.terminate(&backend).await,
                _ if began.elapsed() >= ttl && !self.entry.has_heir().await => {
                    self.terminate(&backend).await;
                }
                _ if self.stop.load(Ordering::Acquire) => self.terminate(&backend).await,
                _ => {}
            }
            self.plan.set_stage(Stage::AwaitsSession {
                why: format!("server process {} still works on it", backend.pid),
            });
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn terminate(&self, backend: &crate::journal::record::Backend) {
        let command = statements::terminate(backend.pid, &backend.start);
        if let Err(why) = self.journal().ask(command).await {
            tracing::warn!(
                pid = backend.pid,
                "a server process that nobody is connected to can't be ended: {why}"
            );
        }
    }

    /// What became of the transaction that was under way.
    async fn fate(&self, course: Course) -> Result<Fate, NoRecord> {
        let Some(xid) = course.xid() else {
            return Ok(Fate::Aborted);
        };
        loop {
            match self.journal().value(statements::fate(xid)).await {
                Ok(Some(fate)) if fate == "committed" => return Ok(Fate::Committed),
                Ok(Some(fate)) if fate == "aborted" => return Ok(Fate::Aborted),
                // Still in progress.
                Ok(Some(_)) if matches!(course, Course::Client { .. }) => {
                    tokio::time::sleep(LOOK_SELDOM).await;
                }
                Ok(Some(_)) => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(None) => return Ok(Fate::Unknown),
                Err(NoRecord::Failed(why)) if why.contains(IN_THE_FUTURE) => {
                    return Ok(Fate::Unknown);
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Tries once; `None` when there is no session to do it in.
    async fn attempt(&mut self, course: &mut Course, fate: Fate) -> Option<Ending> {
        let setup = Arc::clone(&self.shared.setup.borrow());
        let ground = Ground {
            setup: &setup,
            operator: self.shared.operator.clone(),
            phase: self.shared.phase.clone(),
            stop: Arc::clone(&self.stop),
        };
        let opened = side::open(&ground, &self.record, &mut self.entry, &self.plan).await;
        let mut session = match opened {
            Ok(session) => session,
            Err(why) => {
                tracing::warn!(
                    plan = self.plan.number(),
                    "a schema change is left half done: {why}"
                );
                self.plan.set_stage(Stage::AwaitsSession { why });
                return None;
            }
        };
        session.course = *course;
        self.plan.set_stage(Stage::TakesBack);
        let config = &setup.config;
        let settings = SessionFacts::default();
        let run = RunSetup {
            settings: &settings,
            limits: Limits {
                look_age: LookAge::Auto,
                max_hold: config.locks.max_hold,
                ..Limits::asking(config.locks.budget, config.locks.deadline)
            },
            relations: &[],
            places: None,
            pace: config.backfill.pace(),
        };
        let outcome = resume(&mut session, &self.record.steps, (*course, fate), run).await;
        *course = session.course;
        ended(outcome)
    }

    fn end(self, ending: Ending) {
        metrics::plan_recovered(ending.outcome);
        let mut event = self.event;
        event.time = log::now();
        event.outcome = ending.outcome.into();
        event.recovered = true;
        event.error = ending.error.map(|fields| ErrorEntry {
            sqlstate: fields.sqlstate,
            message: fields.message,
        });
        event.executed.extend(ending.progress.executed);
        event.undone.extend(ending.progress.undone);
        let outcome = Outcome {
            tag: (ending.outcome == "done").then(|| self.record.tag.clone()),
            error: event.error.clone(),
            // It speaks of nobody else's statement.
            interrupted: event.error.is_some(),
        };
        self.entry.end(&outcome, &event);
        self.shared.audit.record_here(event);
    }
}

/// How a plan ended that was brought to its end; `None` when it wasn't.
fn ended(outcome: runner::Outcome) -> Option<Ending> {
    let (word, error) = match outcome.result {
        Ok(_) => ("done", None),
        Err(RunError::Sql(fields)) => ("failed", Some(*fields)),
        Err(RunError::Gone | RunError::Stale) => return None,
    };
    Some(Ending {
        outcome: word,
        error,
        progress: outcome.progress,
    })
}

/// How a plan ended for which nothing is to be done on the server.
fn without_session(record: &Record, course: Course, fate: Fate) -> Option<Ending> {
    if let Course::Client { xid } = course {
        return Some(match (xid, fate) {
            (Some(_), Fate::Committed) => Ending::plain("committed", None),
            (Some(_), Fate::Aborted) => Ending::plain("rolled back", None),
            (None, _) | (Some(_), Fate::Unknown) => Ending::plain("unknown", None),
        });
    }
    match Rest::of(&record.steps, course, fate) {
        Rest::Done => Some(Ending {
            progress: runner::Progress {
                executed: record.steps.iter().map(|step| step.sql.clone()).collect(),
                ..runner::Progress::default()
            },
            ..Ending::plain("done", None)
        }),
        Rest::Back(0) => Some(Ending::plain("failed", Some(error::orphaned()))),
        Rest::Unknown => Some(Ending::plain("unknown", Some(error::nobody_knows()))),
        Rest::Forward(_) | Rest::Back(_) | Rest::Look(_) => None,
    }
}
