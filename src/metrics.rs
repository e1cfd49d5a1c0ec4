//! What is counted, under which names.
//!
//! The hot path counts in plain numbers of its relay thread ([`Tally`]); they are summed when
//! somebody asks. What happens rarely goes to the recorder at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{
    Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::sql::cache::Source;
use crate::sql::classify::Class;

/// The labels of [`Source`], in its order.
const SOURCES: [&str; 3] = ["glance", "cache", "parser"];

/// A number that one thread adds to and any thread reads. Adding is a load and a store, without a
/// locked instruction: a second thread that added would lose counts.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds.
    pub fn increment(&self, by: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(by), Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one relay thread counts.
#[derive(Debug)]
pub struct Metrics {
    /// Client connections accepted.
    pub accepted: Tally,
    /// Client connections ended.
    pub ended: Tally,
    /// Bytes from clients.
    pub client_bytes: Tally,
    /// Messages from clients.
    pub client_messages: Tally,
    /// Bytes from the server.
    pub server_bytes: Tally,
    /// Messages from the server.
    pub server_messages: Tally,
    /// Schema changes that the server reports and the classifier didn't see.
    pub unannounced: Tally,
    /// Time to classify a text that was parsed.
    pub classify_seconds: Histogram,
    classes: [Tally; Class::ALL.len()],
    sources: [Tally; SOURCES.len()],
}

impl Metrics {
    /// All zero; the recorder must be installed before.
    pub fn new() -> Metrics {
        Metrics {
            accepted: Tally::default(),
            ended: Tally::default(),
            client_bytes: Tally::default(),
            client_messages: Tally::default(),
            server_bytes: Tally::default(),
            server_messages: Tally::default(),
            unannounced: Tally::default(),
            classify_seconds: metrics::histogram!("lockkeeper_classification_seconds"),
            classes: Default::default(),
            sources: Default::default(),
        }
    }

    /// Counts a text.
    pub fn classified(&self, class: Class, source: Option<Source>) {
        if let Some(tally) = self.classes.get(class as usize) {
            tally.increment(1);
        }
        if let Some(tally) = source.and_then(|source| self.sources.get(source as usize)) {
            tally.increment(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// What all relay threads count.
#[derive(Debug, Clone, Default)]
pub struct AllMetrics(Arc<Mutex<Vec<Arc<Metrics>>>>);

impl AllMetrics {
    /// The numbers of one more thread.
    pub fn register(&self) -> Arc<Metrics> {
        let metrics = Arc::new(Metrics::new());
        self.lock().push(Arc::clone(&metrics));
        metrics
    }

    /// Gives the sums to the recorder.
    pub fn publish(&self) {
        let threads = self.lock();
        let sum = |of: fn(&Metrics) -> &Tally| threads.iter().map(|one| of(one).get()).sum::<u64>();
        let accepted = sum(|one| &one.accepted);
        let open = accepted.saturating_sub(sum(|one| &one.ended));
        // A gauge is a float: exact up to 2^53 connections.
        gauge!("lockkeeper_connections").set(open as f64);
        counter!("lockkeeper_connections_accepted_total").absolute(accepted);
        let by_peer = [
            (
                "client",
                sum(|one| &one.client_bytes),
                sum(|one| &one.client_messages),
            ),
            (
                "server",
                sum(|one| &one.server_bytes),
                sum(|one| &one.server_messages),
            ),
        ];
        for (from, bytes, messages) in by_peer {
            counter!("lockkeeper_bytes_total", "from" => from).absolute(bytes);
            counter!("lockkeeper_messages_total", "from" => from).absolute(messages);
        }
        counter!("lockkeeper_unannounced_schema_changes_total")
            .absolute(sum(|one| &one.unannounced));
        for class in Class::ALL {
            let texts = threads
                .iter()
                .filter_map(|one| one.classes.get(class as usize));
            counter!("lockkeeper_statements_total", "class" => class.as_str())
                .absolute(texts.map(Tally::get).sum());
        }
        for (number, by) in SOURCES.into_iter().enumerate() {
            let texts = threads.iter().filter_map(|one| one.sources.get(number));
            counter!("lockkeeper_classifications_total", "by" => by)
                .absolute(texts.map(Tally::get).sum());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Metrics>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An audit event is nowhere.
pub fn audit_event_lost() {
    counter!("lockkeeper_audit_events_lost_total").increment(1);
}

/// Counts a verdict.
pub fn verdict(rule: &'static str, verdict: &'static str) {
    counter!("lockkeeper_verdicts_total", "rule" => rule, "verdict" => verdict).increment(1);
}

/// Counts the end of a plan.
pub fn plan_ended(outcome: &'static str, elapsed: Duration, waited: Duration, attempts: u32) {
    counter!("lockkeeper_plans_total", "outcome" => outcome).increment(1);
    metrics::histogram!("lockkeeper_plan_seconds").record(elapsed);
    metrics::histogram!("lockkeeper_lock_wait_seconds").record(waited);
    counter!("lockkeeper_lock_tries_total").increment(u64::from(attempts));
}

/// Says whether the journal can be written now.
pub fn journal_ready(is_ready: bool) {
    gauge!("lockkeeper_journal_ready").set(if is_ready { 1.0 } else { 0.0 });
}

/// Counts a plan that nobody worked on any more and that was brought to its end here.
pub fn plan_recovered(outcome: &'static str) {
    counter!("lockkeeper_plans_recovered_total", "outcome" => outcome).increment(1);
}

/// Installs the recorder; `None` when the process has one already.
pub fn install() -> Option<PrometheusHandle> {
    let seconds = [0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
        .ok()?
        .install_recorder()
        .ok()?;
    describe();
    Some(handle)
}

fn describe() {
    describe_gauge!("lockkeeper_connections", "Client connections open now");
    describe_gauge!(
        "lockkeeper_cancel_keys",
        "Sessions that a cancel request can reach"
    );
    describe_counter!(
        "lockkeeper_connections_accepted_total",
        "Client connections accepted"
    );
    describe_counter!("lockkeeper_bytes_total", Unit::Bytes, "Bytes relayed");
    describe_counter!("lockkeeper_messages_total", "Protocol messages relayed");
    describe_counter!("lockkeeper_statements_total", "Query texts by class");
    describe_counter!(
        "lockkeeper_classifications_total",
        "How a text's class was found: glance, cache, parser"
    );
    describe_histogram!(
        "lockkeeper_classification_seconds",
        Unit::Seconds,
        "Time to classify a parsed text"
    );
    describe_counter!(
        "lockkeeper_verdicts_total",
        "Verdicts on schema changes by rule"
    );
    describe_counter!(
        "lockkeeper_plans_total",
        "Plans by outcome: done, failed, interrupted, server_gone"
    );
    describe_histogram!(
        "lockkeeper_plan_seconds",
        Unit::Seconds,
        "Time of a plan, waiting included"
    );
    describe_histogram!(
        "lockkeeper_lock_wait_seconds",
        Unit::Seconds,
        "Time a plan spent in tries that got no lock"
    );
    describe_counter!("lockkeeper_lock_tries_total", "Tries to get a lock");
    describe_gauge!(
        "lockkeeper_journal_ready",
        "1 while the journal in the operator's database can be written, else 0"
    );
    describe_counter!(
        "lockkeeper_plans_recovered_total",
        "Plans that nobody worked on any more and that this lockkeeper ended, by outcome: done, failed, committed, \
         rolled back, unknown"
    );
    describe_counter!(
        "lockkeeper_reloads_total",
        "Reloads by outcome: done, refused"
    );
    describe_counter!(
        "lockkeeper_audit_events_lost_total",
        "Audit events that could not be written"
    );
    describe_counter!(
        "lockkeeper_unannounced_schema_changes_total",
        "Schema changes that the server reported and the classifier did not see"
    );
}
