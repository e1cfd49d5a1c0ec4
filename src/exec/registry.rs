//! The plans that are being worked on, for those who look from outside and may say yes or stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::session::Stage;
use crate::audit::event::{Event, RelationEntry, Who};
use crate::sql::name::clip;

/// The most of a statement's text that is kept, in bytes.
const MAX_SQL_BYTES: usize = 2 << 10;
/// The most of any other text that is kept, in bytes.
const MAX_LINE_BYTES: usize = 512;
/// The most relations or blockers that are kept of one plan.
const MAX_LINES: usize = 32;

/// What a plan is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanInfo {
    /// Whose statement it is.
    pub who: Who,
    /// The statement's command tag.
    pub tag: String,
    /// The statement as it may be shown: see [`crate::audit::event::recorded_sql`].
    pub sql: String,
    /// The verdict; empty before there is one.
    pub verdict: &'static str,
    /// The rule that the verdict rests on.
    pub rule: Option<&'static str>,
    /// Relations that it is about.
    pub relations: Vec<String>,
}

impl From<Event> for PlanInfo {
    /// What would be recorded of it now, before there is a verdict.
    fn from(event: Event) -> PlanInfo {
        PlanInfo {
            who: event.who,
            tag: event.tag,
            sql: event.sql,
            verdict: "",
            rule: None,
            relations: names(event.relations),
        }
    }
}

fn names(relations: Vec<RelationEntry>) -> Vec<String> {
    relations.into_iter().map(|entry| entry.name).collect()
}

impl PlanInfo {
    fn clipped(mut self) -> PlanInfo {
        shorten(&mut self.sql, MAX_SQL_BYTES);
        shorten_lines(&mut self.relations);
        self
    }
}

/// A plan as it stands.
#[derive(Debug, Clone)]
pub struct PlanView {
    /// Its number, from 1, not used again while the program runs.
    pub number: u64,
    /// What it is about.
    pub info: PlanInfo,
    /// When its statement came.
    pub since: SystemTime,
    /// How long ago that was.
    pub age: Duration,
    /// Where it stands.
    pub stage: Stage,
    /// For how long.
    pub stage_age: Duration,
    /// Somebody has approved it.
    pub is_approved: bool,
}

/// Stops a plan. Called on any thread; must not block.
pub type Cancel = Arc<dyn Fn() + Send + Sync>;

struct Entry {
    info: PlanInfo,
    since: SystemTime,
    began: Instant,
    stage: Stage,
    stage_began: Instant,
    approved: watch::Sender<bool>,
    cancel: Cancel,
    /// Who has asked it to stop.
    cancelled_by: Option<String>,
}

impl Entry {
    fn view(&self, number: u64) -> PlanView {
        PlanView {
            number,
            info: self.info.clone(),
            since: self.since,
            age: self.began.elapsed(),
            stage: self.stage.clone(),
            stage_age: self.stage_began.elapsed(),
            is_approved: *self.approved.borrow(),
        }
    }
}

#[derive(Default)]
struct Plans {
    last: AtomicU64,
    entries: Mutex<BTreeMap<u64, Entry>>,
}

impl Plans {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        // Whoever panicked left whole entries: each change is one assignment.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plans that are being worked on. Cheap to clone; all clones are one registry.
#[derive(Clone, Default)]
pub struct Registry {
    plans: Arc<Plans>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<u64> = self.plans.entries().keys().copied().collect();
        f.debug_tuple("Registry").field(&numbers).finish()
    }
}

impl Registry {
    /// Adds a plan, which is being judged; it is there until its handle is dropped.
    pub fn begin(&self, info: PlanInfo, cancel: Cancel) -> PlanHandle {
        let number = self.plans.last.fetch_add(1, Ordering::AcqRel) + 1;
        let (sender, approved) = watch::channel(false);
        let now = Instant::now();
        let entry = Entry {
            info: info.clipped(),
            since: SystemTime::now(),
            began: now,
            stage: Stage::Judging,
            stage_began: now,
            approved: sender,
            cancel,
            cancelled_by: None,
        };
        self.plans.entries().insert(number, entry);
        PlanHandle {
            plans: Arc::clone(&self.plans),
            number,
            approved,
        }
    }

    /// All plans, by number.
    pub fn list(&self) -> Vec<PlanView> {
        let entries = self.plans.entries();
        entries
            .iter()
            .map(|(number, entry)| entry.view(*number))
            .collect()
    }

    /// One plan.
    pub fn find(&self, number: u64) -> Option<PlanView> {
        let entries = self.plans.entries();
        entries.get(&number).map(|entry| entry.view(number))
    }

    /// Approves a plan, whatever it waits for now; `false` when there is none of that number.
    pub fn approve(&self, number: u64) -> bool {
        let entries = self.plans.entries();
        let entry = entries.get(&number);
        entry.is_some_and(|entry| {
            entry.approved.send_replace(true);
            true
        })
    }

    /// Asks a plan to stop, on behalf of somebody; `false` when there is none of that number.
    pub fn cancel(&self, number: u64, by: &str) -> bool {
        let cancel = self.plans.entries().get_mut(&number).map(|entry| {
            entry.cancelled_by = Some(by.to_owned());
            Arc::clone(&entry.cancel)
        });
        cancel.is_some_and(|cancel| {
            cancel();
            true
        })
    }
}

/// A plan's own end of the registry; dropped, the plan is forgotten.
pub struct PlanHandle {
    plans: Arc<Plans>,
    number: u64,
    approved: watch::Receiver<bool>,
}

impl std::fmt::Debug for PlanHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PlanHandle").field(&self.number).finish()
    }
}

impl PlanHandle {
    /// The plan's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says where the plan stands.
    pub fn set_stage(&self, mut stage: Stage) {
        clip_stage(&mut stage);
        if let Some(entry) = self.plans.entries().get_mut(&self.number) {
            if !is_same_place(&entry.stage, &stage) {
                entry.stage_began = Instant::now();
            }
            entry.stage = stage;
        }
    }

    /// Says anew what the plan is about.
    pub fn set_info(&self, info: PlanInfo) {
        if let Some(entry) = self.plans.entries().get_mut(&self.number) {
            entry.info = info.clipped();
        }
    }

    /// Says what the verdict is, and which relations are known by now; none leaves those that it
    /// named.
    pub fn judged(
        &self,
        verdict: &'static str,
        rule: Option<&'static str>,
        relations: Vec<RelationEntry>,
    ) {
        let mut relations = names(relations);
        shorten_lines(&mut relations);
        if let Some(entry) = self.plans.entries().get_mut(&self.number) {
            entry.info.verdict = verdict;
            entry.info.rule = rule;
            if !relations.is_empty() {
                entry.info.relations = relations;
            }
        }
    }

    /// Ends when the plan is approved, or has been. It doesn't borrow the handle.
    pub fn approved(&self) -> impl Future<Output = ()> + use<> {
        let mut approved = self.approved.clone();
        async move {
            if approved.wait_for(|approved| *approved).await.is_err() {
                std::future::pending::<()>().await; // the plan is gone: nobody can approve it any more
            }
        }
    }

    /// Who has asked the plan to stop.
    pub fn cancelled_by(&self) -> Option<String> {
        let entries = self.plans.entries();
        entries.get(&self.number)?.cancelled_by.clone()
    }

    /// The plan has been approved.
    pub fn is_approved(&self) -> bool {
        *self.approved.borrow()
    }
}

impl Drop for PlanHandle {
    fn drop(&mut self) {
        self.plans.entries().remove(&self.number);
    }
}

/// Whether a plan that goes from one to the other still does the same thing, and only its news are
/// newer.
fn is_same_place(before: &Stage, now: &Stage) -> bool {
    match (before, now) {
        (Stage::Runs { step: before, .. }, Stage::Runs { step: now, .. }) => before == now,
        _ => std::mem::discriminant(before) == std::mem::discriminant(now),
    }
}

fn clip_stage(stage: &mut Stage) {
    match stage {
        Stage::Judging | Stage::TakesBack => {}
        Stage::Queued { behind } => behind.truncate(MAX_LINES),
        Stage::AwaitsWindow { until } => shorten(until, MAX_LINE_BYTES),
        Stage::AwaitsSession { why } => shorten(why, MAX_LINE_BYTES),
        Stage::AwaitsLock { blockers } => shorten_lines(blockers),
        Stage::Runs {
            title, progress, ..
        } => {
            shorten(title, MAX_LINE_BYTES);
            shorten(progress, MAX_LINE_BYTES);
        }
    }
}

fn shorten_lines(lines: &mut Vec<String>) {
    let left_out = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    for line in &mut *lines {
        shorten(line, MAX_LINE_BYTES);
    }
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
}

fn shorten(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        *text = format!("{} …", clip(text, bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn info(sql: &str) -> PlanInfo {
        PlanInfo {
            sql: sql.to_owned(),
            ..PlanInfo::default()
        }
    }

    fn nothing() -> Cancel {
        Arc::new(|| {})
    }

    #[test]
    fn plans_are_numbered_from_one_and_forgotten_with_their_handles() {
        let registry = Registry::default();
        let first = registry.begin(info("a"), nothing());
        let second = registry.clone().begin(info("b"), nothing());
        assert_eq!((first.number(), second.number()), (1, 2));
        drop(first);
        let left = registry.list();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].number, left[0].info.sql.as_str()), (2, "b"));
        assert_eq!(left[0].stage, Stage::Judging);
        let third = registry.begin(info("c"), nothing());
        assert_eq!(third.number(), 3);
        assert!(registry.find(1).is_none() && registry.find(3).is_some());
    }

    #[test]
    fn texts_are_kept_within_bounds() {
        let registry = Registry::default();
        let handle = registry.begin(info(&"é".repeat(1 << 20)), nothing());
        let blockers = vec!["b".repeat(1 << 20); 1000];
        handle.set_stage(Stage::AwaitsLock { blockers });
        let view = registry.find(1).unwrap();
        assert!(view.info.sql.len() <= MAX_SQL_BYTES + 8);
        let Stage::AwaitsLock { blockers } = view.stage else {
            panic!("{:?}", view.stage);
        };
        assert_eq!(blockers.len(), MAX_LINES + 1);
        assert_eq!(blockers.last().unwrap(), "and 968 more");
        assert!(blockers.iter().all(|line| line.len() < MAX_LINE_BYTES + 8));
        handle.set_info(info(&"x".repeat(1 << 20)));
        assert!(registry.find(1).unwrap().info.sql.len() <= MAX_SQL_BYTES + 8);
    }

    #[test]
    fn a_stage_lasts_while_only_its_news_change() {
        let waits = |blocker: &str| Stage::AwaitsLock {
            blockers: vec![blocker.to_owned()],
        };
        let runs = |step, progress: &str| Stage::Runs {
            step,
            of: 2,
            title: String::new(),
            progress: progress.to_owned(),
        };
        assert!(is_same_place(&waits("a"), &waits("b")));
        assert!(is_same_place(&runs(1, "10 %"), &runs(1, "20 %")));
        assert!(!is_same_place(&runs(1, ""), &runs(2, "")));
        assert!(!is_same_place(&waits("a"), &runs(1, "")));
    }

    #[tokio::test]
    async fn an_approval_reaches_who_waits_for_it_and_who_asks_later() {
        let registry = Registry::default();
        let handle = registry.begin(info("a"), nothing());
        let waiting = tokio::spawn(handle.approved());
        assert!(!handle.is_approved() && !registry.approve(2));
        assert!(registry.approve(1));
        waiting.await.unwrap();
        handle.approved().await;
        assert!(handle.is_approved() && registry.find(1).unwrap().is_approved);
    }

    #[test]
    fn only_the_plan_of_that_number_is_cancelled() {
        let registry = Registry::default();
        let counts = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
        let handles = counts.clone().map(|count| {
            let cancel = move || {
                count.fetch_add(1, Ordering::AcqRel);
            };
            registry.begin(info("a"), Arc::new(cancel))
        });
        assert!(registry.cancel(2, "dba") && !registry.cancel(3, "dba"));
        let asked = handles.each_ref().map(PlanHandle::cancelled_by);
        assert_eq!(asked, [None, Some("dba".to_owned())]);
        drop(handles);
        assert!(!registry.cancel(2, "dba"));
        let counted = counts.map(|count| count.load(Ordering::Acquire));
        assert_eq!(counted, [0, 1]);
    }
}
