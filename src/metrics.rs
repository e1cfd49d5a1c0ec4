//! What is counted, under which names. Handles for the hot path are made once for each worker.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::sql::cache::Source;
use crate::sql::classify::Class;

/// Handles of the counters that a session touches.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Client connections open now.
    pub connections: Gauge,
    /// Client connections accepted.
    pub accepted: Counter,
    /// Bytes from clients.
    pub client_bytes: Counter,
    /// Messages from clients.
    pub client_messages: Counter,
    /// Bytes from the server.
    pub server_bytes: Counter,
    /// Messages from the server.
    pub server_messages: Counter,
    /// Time to classify a text that was parsed.
    pub classify_seconds: Histogram,
    /// Schema changes that the server reports and the classifier didn't see.
    pub unannounced: Counter,
    classes: [Counter; Class::ALL.len()],
    sources: [Counter; 3],
}

impl Metrics {
    /// Makes the handles; the recorder must be installed before.
    pub fn new() -> Metrics {
        Metrics {
            connections: metrics::gauge!("lockkeeper_connections"),
            accepted: counter!("lockkeeper_connections_accepted_total"),
            client_bytes: counter!("lockkeeper_bytes_total", "from" => "client"),
            client_messages: counter!("lockkeeper_messages_total", "from" => "client"),
            server_bytes: counter!("lockkeeper_bytes_total", "from" => "server"),
            server_messages: counter!("lockkeeper_messages_total", "from" => "server"),
            classify_seconds: metrics::histogram!("lockkeeper_classification_seconds"),
            unannounced: counter!("lockkeeper_unannounced_schema_changes_total"),
            classes: Class::ALL
                .map(|class| counter!("lockkeeper_statements_total", "class" => class.as_str())),
            sources: ["glance", "cache", "parser"]
                .map(|by| counter!("lockkeeper_classifications_total", "by" => by)),
        }
    }

    /// Counts a text.
    pub fn classified(&self, class: Class, source: Option<Source>) {
        if let Some(counter) = self.classes.get(class as usize) {
            counter.increment(1);
        }
        let Some(source) = source else { return };
        if let Some(counter) = self.sources.get(source as usize) {
            counter.increment(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
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
    describe_counter!(
        "lockkeeper_audit_events_lost_total",
        "Audit events that could not be written"
    );
    describe_counter!(
        "lockkeeper_unannounced_schema_changes_total",
        "Schema changes that the server reported and the classifier did not see"
    );
}
