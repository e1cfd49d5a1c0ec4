//! The whole program, put together: settings in, listeners bound, then run until told to end. Tests
//! bind port 0.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::audit::event::Event;
use crate::audit::log::AuditLog;
use crate::config::{ClientTls, Config, Mode, ServerTls};
use crate::console::{ReloadRequest, Reloads};
use crate::exec::failpoint::Failpoints;
use crate::exec::operator::{Operator, State};
use crate::exec::places::Places;
use crate::exec::registry::Registry;
use crate::http;
use crate::journal::store::Journal;
use crate::metrics::AllMetrics;
use crate::proxy::address::Address;
use crate::proxy::cancel::CancelRegistry;
use crate::proxy::listener::{Listener, Threads, bind_tcp};
use crate::proxy::operator::orphans::Orphans;
use crate::proxy::operator::{self, NO_LOOK, Reserve};
use crate::proxy::setup::{Change, Setup, SetupError};
use crate::proxy::tls::BothLegs;
use crate::proxy::worker::{Phase, Shared};

/// The port that a bare Unix directory among the listeners stands for.
pub const DEFAULT_LISTEN_PORT: u16 = 6432;
/// How long the operator's first login is waited for, before it is said that there is none.
const OPERATOR_START: Duration = Duration::from_secs(10);
/// How long the journal may take to be written at the end.
const JOURNAL_LAST_WORDS: Duration = Duration::from_secs(5);
/// Audit events that wait for the journal.
const MAX_EVENTS: usize = 4096;
/// How long sessions may take to say goodbye after the grace is over.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// Why lockkeeper can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address can't be bound.
    #[error("can't listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Files that the settings name can't be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The audit file can't be opened.
    #[error("can't open audit.file {path}")]
    Audit {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Threads can't be started.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Gives a running server new settings.
#[derive(Debug, Clone)]
pub struct Reloader {
    setup: Arc<watch::Sender<Arc<Setup>>>,
    audit: AuditLog,
}

impl Reloader {
    /// `shutdown.grace`, as it is now.
    pub fn grace(&self) -> Duration {
        self.setup.borrow().config.shutdown.grace
    }

    /// Reads the files that the settings name, takes what a running program can take, and opens the
    /// audit file again; what has changed.
    ///
    /// # Errors
    /// [`SetupError`]: nothing has changed.
    pub fn reload(&self, config: Config) -> Result<Vec<Change>, SetupError> {
        let before = Arc::clone(&self.setup.borrow());
        let (setup, changes) = before.reloaded(config)?;
        self.setup.send_replace(Arc::new(setup));
        self.audit.reopen();
        Ok(changes)
    }
}

/// A server that is bound and not yet serving.
pub struct Server {
    listeners: Vec<Listener>,
    http: Option<TcpListener>,
    shared: Shared,
    setup: Arc<watch::Sender<Arc<Setup>>>,
    phase: watch::Sender<Phase>,
    metrics: Option<PrometheusHandle>,
    reload_requests: Option<mpsc::Receiver<ReloadRequest>>,
    operating: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Binds everything that the settings name.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(
        config: Config,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Server, StartError> {
        let bind = |address: String, source| StartError::Bind { address, source };
        let mut listeners = Vec::new();
        for text in &config.listen.address {
            let address = Address::parse(text, DEFAULT_LISTEN_PORT);
            listeners.push(
                Listener::bind(&address, config.listen.reuse_port)
                    .await
                    .map_err(|error| bind(text.clone(), error))?,
            );
        }
        let http = match config.http.address.as_str() {
            "" => None,
            address => Some(
                bind_tcp(address, config.listen.reuse_port)
                    .await
                    .map_err(|error| bind(address.to_owned(), error))?,
            ),
        };
        let setup = Setup::new(config)?;
        let config = &setup.config;
        let audit = match &config.audit.file {
            None => AuditLog::default(),
            Some(path) => AuditLog::open(path).map_err(|source| StartError::Audit {
                path: path.display().to_string(),
                source,
            })?,
        };
        let (phase, receiver) = watch::channel(Phase::Running);
        let (setup, setups) = watch::channel(Arc::new(setup));
        let (operator, questions, told) = Operator::new();
        let serving = operator::serve(setups.clone(), questions, told);
        let (reserve, keeping) = Reserve::new(setups.clone());
        let (journal, journalling) = Journal::new();
        let (to_journal, events) = mpsc::channel(MAX_EVENTS);
        let audit = audit.and_to(to_journal);
        let recording = record_all(events, journal.clone());
        let journalling = operator::journal::serve(setups.clone(), journalling);
        let (reloads, reload_requests) = Reloads::new();
        let shared = Shared {
            setup: setups,
            operator,
            journal,
            orphans: Orphans::default(),
            reserve,
            places: Places::default(),
            failpoints: Failpoints::default(),
            cancels: Arc::new(CancelRegistry::default()),
            audit,
            metrics: AllMetrics::default(),
            phase: receiver,
            plans: Registry::default(),
            clients: Arc::new(AtomicUsize::new(0)),
            consoles: Arc::new(AtomicUsize::new(0)),
            reloads,
        };
        let recovering = operator::recovery::serve(shared.clone());
        Ok(Server {
            listeners,
            http,
            shared,
            setup: Arc::new(setup),
            phase,
            metrics,
            reload_requests: Some(reload_requests),
            operating: Box::pin(async {
                tokio::join!(serving, keeping, journalling, recording, recovering);
            }),
        })
    }

    /// The first TCP address that clients can connect to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(|listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        })
    }

    /// What gives this server new settings once it runs.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            setup: Arc::clone(&self.setup),
            audit: self.shared.audit.clone(),
        }
    }

    /// The console's requests for a reload, for whoever knows where the settings come from; once.
    pub fn reload_requests(&mut self) -> Option<mpsc::Receiver<ReloadRequest>> {
        self.reload_requests.take()
    }

    /// All addresses that clients can connect to, as bound.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// How many clients are connected.
    pub fn clients(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.shared.clients)
    }

    /// Points at which tests hold a plan.
    pub fn failpoints(&self) -> Failpoints {
        self.shared.failpoints.clone()
    }

    /// The address of `/metrics` and kin.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `drain` ends; then lets sessions finish for `shutdown.grace`, or until `close`
    /// ends.
    ///
    /// # Errors
    /// [`StartError::Io`] when threads can't be started.
    pub async fn run(
        mut self,
        drain: impl Future<Output = ()>,
        close: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        drop(self.reload_requests.take()); // nobody answers them
        self.announce();
        let operating = tokio::spawn(self.operating);
        let operator = self.shared.operator.clone();
        tokio::spawn(announce_operator(operator));
        let config = &self.setup.borrow().config.clone();
        let count = match config.runtime.threads {
            // A few busy threads cost less than many that keep falling asleep, and the server and
            // its clients need cores too (measured: docs/performance.md).
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            count => count,
        };
        let threads = Arc::new(Threads::start(&self.shared, count)?);
        let http = self.http.map(|listener| {
            let state = http::State::new(
                self.metrics,
                self.shared.metrics.clone(),
                self.shared.setup.clone(),
                self.shared.phase.clone(),
                (self.shared.operator.clone(), self.shared.journal.clone()),
            );
            tokio::spawn(http::serve(listener, state))
        });
        let serving: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| {
                let mut phase = self.shared.phase.clone();
                let end = async move {
                    drop(phase.wait_for(|phase| *phase >= Phase::Draining).await);
                };
                tokio::spawn(listener.serve(Arc::clone(&threads), end))
            })
            .collect();
        drain.await;
        let grace = self.setup.borrow().config.shutdown.grace;
        tracing::info!(
            ?grace,
            "draining: no new clients; sessions end when they stand idle"
        );
        self.phase.send_replace(Phase::Draining);
        for task in serving {
            let _ = task.await; // it panicked: then it accepts nobody any more
        }
        if config.listen.reuse_port
            && let Some(http) = &http
        {
            http.abort(); // the successor answers now
        }
        tokio::select! {
            () = no_clients(&self.shared.clients) => {}
            () = tokio::time::sleep(grace) => tracing::warn!("the grace is over: sessions are closed"),
            () = close => tracing::warn!("told again: sessions are closed"),
        }
        self.phase.send_replace(Phase::Closing);
        let _ = tokio::time::timeout(LAST_WORDS, async {
            no_clients(&self.shared.clients).await;
            no_clients(&self.shared.consoles).await;
        })
        .await;
        self.shared.journal.flush(JOURNAL_LAST_WORDS).await;
        self.shared.audit.close();
        if let Some(http) = http {
            http.abort();
        }
        operating.abort();
        tracing::info!("ended");
        Ok(())
    }

    /// Says what was bound, and what won't work.
    fn announce(&self) {
        let setup = self.shared.setup.borrow();
        let config = &setup.config;
        let listening = self.addresses();
        let http = self
            .http_address()
            .map_or_else(|| "off".to_owned(), |address| address.to_string());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            commit = env!("LOCKKEEPER_BUILD_COMMIT"),
            listen = listening.join(", "),
            upstream = %setup.upstream,
            http,
            mode = ?config.guard.mode,
            "lockkeeper serves"
        );
        let server_tls =
            config.upstream.tls != ServerTls::Disable && setup.upstream.host().is_some();
        match BothLegs::of(config.listen.tls != ClientTls::Disable, server_tls) {
            None => {}
            Some(BothLegs::Tls) => tracing::warn!("{}", BothLegs::Tls),
            Some(one) => tracing::info!("{one}"),
        }
        if config.auth.allow_trust {
            tracing::warn!(
                "auth.allow_trust: whoever the server trusts here, it trusts for the whole network"
            );
        }
        if config.guard.mode == Mode::Off {
            tracing::warn!("guard.mode = off: schema changes pass unguarded");
        }
        if config.audit.file.is_none() {
            tracing::info!("no audit.file: schema changes are recorded in this log only");
        }
    }
}

/// Says what lockkeeper's own login can and can't do.
async fn announce_operator(operator: Operator) {
    match operator.started(OPERATOR_START).await {
        State::Off => tracing::warn!("operator.url is empty: {NO_LOOK}"),
        State::Failed(why) => tracing::warn!("the operator can't log in ({why}): {NO_LOOK}"),
        State::NotYet => tracing::warn!("the operator isn't logged in yet: until then {NO_LOOK}"),
        State::Ready { lacks } if lacks.is_empty() => tracing::info!("the operator is logged in"),
        State::Ready { lacks } => tracing::warn!("the operator lacks rights: {}", lacks.join("; ")),
    }
}

/// Writes events into the journal's database as well.
async fn record_all(mut events: mpsc::Receiver<Box<Event>>, journal: Journal) {
    while let Some(event) = events.recv().await {
        journal.record(&event);
    }
}

async fn no_clients(clients: &AtomicUsize) {
    while clients.load(Ordering::Acquire) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
