//! `/metrics`, `/live`, `/ready`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::exec::operator::{Operator, State as OperatorState};
use crate::journal::store::{Journal, State as JournalState};
use crate::metrics::AllMetrics;
use crate::proxy::setup::Setup;
use crate::proxy::worker::Phase;

/// How long the server may take to accept a connection before it counts as unreachable.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// How often histograms are tidied.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the pages show.
#[derive(Debug, Clone)]
pub struct State {
    metrics: Option<PrometheusHandle>,
    counted: AllMetrics,
    setup: watch::Receiver<Arc<Setup>>,
    phase: watch::Receiver<Phase>,
    operator: Operator,
    journal: Journal,
}

impl State {
    /// What the pages show.
    pub fn new(
        metrics: Option<PrometheusHandle>,
        counted: AllMetrics,
        setup: watch::Receiver<Arc<Setup>>,
        phase: watch::Receiver<Phase>,
        (operator, journal): (Operator, Journal),
    ) -> State {
        State {
            metrics,
            counted,
            setup,
            phase,
            operator,
            journal,
        }
    }
}

/// Serves the pages.
pub async fn serve(listener: TcpListener, state: State) {
    let upkeep = state.metrics.clone();
    let app = Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state);
    let tidy = async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            if let Some(handle) = &upkeep {
                handle.run_upkeep();
            }
        }
    };
    tokio::select! {
        result = axum::serve(listener, app) => {
            if let Err(error) = result {
                tracing::error!(%error, "the HTTP server has ended");
            }
        }
        () = tidy => {}
    }
}

async fn metrics(Extract(state): Extract<State>) -> (StatusCode, String) {
    match &state.metrics {
        Some(handle) => {
            state.counted.publish();
            (StatusCode::OK, handle.render())
        }
        None => (
            StatusCode::NOT_FOUND,
            "no metrics in this process\n".to_owned(),
        ),
    }
}

async fn ready(Extract(state): Extract<State>) -> (StatusCode, String) {
    if *state.phase.borrow() != Phase::Running {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting down\n".to_owned(),
        );
    }
    let setup = Arc::clone(&state.setup.borrow());
    let connecting = setup.upstream.connect(READY_TIMEOUT);
    match tokio::time::timeout(READY_TIMEOUT, connecting).await {
        Ok(Ok(_)) => {
            let operator = words(&state.operator.state());
            let journal = words_of_journal(&state.journal.state());
            let body = format!("ready\noperator: {operator}\njournal: {journal}\n");
            (StatusCode::OK, body)
        }
        Ok(Err(error)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the server at {} can't be reached: {error}\n",
                setup.upstream
            ),
        ),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the server at {} doesn't answer\n", setup.upstream),
        ),
    }
}

/// Whether lockkeeper's own login is there; traffic is served without one too.
fn words(state: &OperatorState) -> String {
    match state {
        OperatorState::Off => "none (operator.url is empty)".to_owned(),
        OperatorState::NotYet => "not logged in yet".to_owned(),
        OperatorState::Ready { lacks } if lacks.is_empty() => "logged in".to_owned(),
        OperatorState::Ready { lacks } => format!("logged in, lacks rights: {}", lacks.join("; ")),
        OperatorState::Failed(why) => format!("can't log in: {why}"),
    }
}

/// Whether what is done is written down; traffic is served even where it can't be.
fn words_of_journal(state: &JournalState) -> String {
    match state {
        JournalState::Off => "none (operator.url or operator.database is empty)".to_owned(),
        JournalState::NotYet => "not open yet".to_owned(),
        JournalState::NoLogin(why) => format!("none: {why}"),
        JournalState::Ready => "open".to_owned(),
        JournalState::Failed(why) => format!("can't be written: {why}"),
    }
}
