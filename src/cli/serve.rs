//! `lockkeeper serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

use super::demo::ProxyHandle;
use super::{reload, service, unusable};
use crate::config::{Config, ConfigError, Log, LogFormat};
use crate::metrics;
use crate::proxy::operator;
use crate::server::Server;

/// Flags of `lockkeeper serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:6432]; may be repeated; a /directory is a Unix
    /// socket
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<String>,
    /// The PostgreSQL server [default: 127.0.0.1:5432]
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// lockkeeper's own login, without its password [default: postgres, on upstream]; "" for none
    #[arg(long, value_name = "URL")]
    operator_url: Option<String>,
    /// Metrics and health [default: 127.0.0.1:6433]; "" turns them off
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
}

impl Flags {
    /// Those that say where the server is, and who asks it.
    pub(super) fn of_server(
        config: Option<PathBuf>,
        upstream: Option<String>,
        operator_url: Option<String>,
    ) -> Flags {
        Flags {
            config,
            listen: Vec::new(),
            upstream,
            operator_url,
            http: None,
        }
    }
}

/// Serves until told to end: exit 0; 2 when it can't start.
pub fn main(flags: Flags) -> ExitCode {
    let config = match settings(&flags) {
        Ok(config) => config,
        Err(error) => return unusable(error),
    };
    let log = match start_log(&config.log) {
        Ok(log) => log,
        Err(why) => return unusable(why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return unusable(error),
    };
    match runtime.block_on(serve(config, flags, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unusable(format!("{error:#}")),
    }
}

/// The settings that the flags name.
///
/// # Errors
/// What can't be used.
pub(super) fn settings(flags: &Flags) -> Result<Config, ConfigError> {
    if let Some(file) = flags.config.as_deref().filter(|file| !file.is_file()) {
        return Err(ConfigError::Unreadable(format!(
            "no such file: {} (--config)",
            file.display()
        )));
    }
    let mut config = Config::load(flags.config.as_deref())?;
    if !flags.listen.is_empty() {
        config.listen.address.clone_from(&flags.listen);
    }
    if let Some(upstream) = &flags.upstream {
        config.upstream.address.clone_from(upstream);
    }
    if let Some(url) = &flags.operator_url {
        without_password(url)?;
        config.operator.url = Some(url.clone());
    }
    if let Some(http) = &flags.http {
        config.http.address.clone_from(http);
    }
    config.check()?;
    Ok(config)
}

/// Refuses a password where every user of this machine can read it.
fn without_password(url: &str) -> Result<(), ConfigError> {
    if url.is_empty() {
        return Ok(());
    }
    let login = operator::checked_url("--operator-url", url).map_err(ConfigError::BadValue)?;
    if login.get_password().is_none() {
        return Ok(());
    }
    Err(ConfigError::BadValue(
        "--operator-url holds a password, which everybody on this machine can read there: leave it out and set \
         LOCKKEEPER_OPERATOR_PASSWORD, or write the URL into the settings as operator.url"
            .to_owned(),
    ))
}

/// Changes the log's level, or says what is wrong with it.
pub type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send>;

pub(super) fn filter(level: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!("`log.level` = {level:?}: {error}; write error, warn, info, debug or trace")
    })?;
    // It logs each query with its values.
    let quiet = "tokio_postgres=warn".parse();
    Ok(quiet.map_or(filter.clone(), |quiet| filter.add_directive(quiet)))
}

fn start_log(log: &Log) -> Result<SetLevel, String> {
    let level = filter(&log.level)?;
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => {
            let builder = builder
                .with_target(false)
                .with_env_filter(level)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map_err(|error| error.to_string())?;
            Ok(Box::new(move |level| set(&handle, level)))
        }
        LogFormat::Json => {
            let builder = builder
                .json()
                .with_env_filter(level)
                .with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map_err(|error| error.to_string())?;
            Ok(Box::new(move |level| set(&handle, level)))
        }
    }
}

fn set<S>(handle: &Handle<EnvFilter, S>, level: &str) -> Result<(), String> {
    handle
        .reload(filter(level)?)
        .map_err(|error| error.to_string())
}

/// Descriptors of a session: its client's socket and its server's.
const DESCRIPTORS_EACH: u64 = 2;
/// Descriptors of everything else: listeners, runtimes, HTTP, the audit file, cancel requests.
const DESCRIPTORS_BESIDE: u64 = 64;

/// Descriptors for so many clients, and for all else.
pub(super) fn descriptors_needed(connections: usize) -> u64 {
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    connections
        .saturating_mul(DESCRIPTORS_EACH)
        .saturating_add(DESCRIPTORS_BESIDE)
}

/// Raises the limit of open files as far as it may be raised, and says when that is too little for
/// `limits.connections`.
fn raise_descriptor_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        // A service manager may forbid the call, and have set both limits.
        Err(_) if limit.current == limit.maximum => limit.current,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be raised");
            limit.current
        }
    };
    let needed = descriptors_needed(connections);
    if let Some(current) = current.filter(|current| *current < needed) {
        tracing::warn!(
            limit = current,
            needed,
            "limits.connections needs more open files than the system allows: raise the hard limit (ulimit -Hn, \
             LimitNOFILE) or lower limits.connections to {}",
            current.saturating_sub(DESCRIPTORS_BESIDE) / DESCRIPTORS_EACH
        );
    }
}

async fn serve(config: Config, flags: Flags, set_level: SetLevel) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let connections = config.limits.connections;
    let mut server = Server::bind(config, metrics::install()).await?;
    raise_descriptor_limit(connections);
    let load = move || settings(&flags);
    let reloader = server.reloader();
    if let Some(requests) = server.reload_requests() {
        tokio::spawn(reload::follow(
            hangup,
            requests,
            load,
            reloader.clone(),
            set_level,
        ));
    }
    let status = format!("serving on {}", server.addresses().join(", "));
    service::ready(&status);
    let (status, told) = watch::channel(status);
    tokio::spawn(service::keep_telling(told, server.clients()));
    let (first, second) = (oneshot::channel(), oneshot::channel());
    tokio::spawn(async move {
        for told in [first.0, second.0] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _: Result<(), ()> = told.send(()); // the server may have ended already
        }
    });
    let drain = async {
        drop(first.1.await);
        status.send_replace(service::DRAINING.to_owned());
        service::stopping(reloader.grace());
    };
    let close = async { drop(second.1.await) };
    server
        .run(drain, close)
        .await
        .context("the server could not run")
}

/// A lockkeeper in this process, on threads of its own and on free ports, in front of a server: for
/// the demo.
///
/// # Errors
/// What [`Server::bind`] says.
pub async fn in_background(upstream: SocketAddr) -> anyhow::Result<ProxyHandle> {
    let mut config = Config::default();
    config.listen.address = vec!["127.0.0.1:0".to_owned()];
    config.upstream.address = upstream.to_string();
    config.http.address = String::new();
    config.shutdown.grace = std::time::Duration::from_secs(1);
    let (address_sender, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("lockkeeper".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let server = Server::bind(config, None).await?;
                let address = server.address().context("no TCP address")?;
                if address_sender.send(address).is_err() {
                    return Ok(());
                }
                let drain = async { drop(stopped.await) };
                anyhow::Ok(server.run(drain, std::future::pending()).await?)
            })
        })?;
    let Ok(address) = address.await else {
        let why = thread
            .join()
            .map_err(|_| anyhow::anyhow!("lockkeeper panicked"))?;
        return Err(why
            .err()
            .unwrap_or_else(|| anyhow::anyhow!("lockkeeper did not start")));
    };
    Ok(ProxyHandle::new(address, move || {
        let _ = stop.send(()); // it may have ended already
        let _ = thread.join();
    }))
}
