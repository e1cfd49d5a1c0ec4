//! The settings: `config/lockkeeper.toml` is their manual. File, then environment, then flags; what
//! is unknown is refused with the nearest valid name.

pub mod backfill;
pub mod changes;
pub mod console;
pub mod journal;
pub mod locks;
pub mod policy;
pub mod queue;
pub mod window;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

pub use backfill::Backfill;
pub use console::{ConsoleSettings, Rights};
pub use journal::{Audit, JournalSettings, OnFailure, PlanSettings};
pub use locks::{Builds, CancelBlockers, Locks, OperatorSettings};
pub use policy::PolicySettings;
pub use queue::QueueSettings;

use crate::rules::Policy;

/// All settings, with their defaults.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The PostgreSQL server.
    pub upstream: Upstream,
    /// What is done about schema changes.
    pub guard: Guard,
    /// lockkeeper's own login.
    pub operator: OperatorSettings,
    /// How locks are taken.
    pub locks: Locks,
    /// How indexes are built.
    pub builds: Builds,
    /// How rows are filled in batches.
    pub backfill: Backfill,
    /// What is done about each rule.
    pub policy: PolicySettings,
    /// Waiting for a window of the policy.
    pub queue: QueueSettings,
    /// Plans that have lost their client.
    pub plan: PlanSettings,
    /// What is known of plans when lockkeeper isn't there.
    pub journal: JournalSettings,
    /// The record of schema changes.
    pub audit: Audit,
    /// Where operators ask and act.
    pub console: ConsoleSettings,
    /// Metrics and health.
    pub http: Http,
    /// Limits on clients.
    pub limits: Limits,
    /// Authentication.
    pub auth: Auth,
    /// Shutting down.
    pub shutdown: Shutdown,
    /// The program's own log.
    pub log: Log,
    /// Threads.
    pub runtime: Runtime,
}

/// Every key, dotted: what isn't here is refused.
const KEYS: &[&str] = &[
    "listen.address",
    "listen.tls",
    "listen.certificate",
    "listen.key",
    "listen.client_ca",
    "listen.client_certificate",
    "listen.reuse_port",
    "listen.proxy_protocol_from",
    "upstream.address",
    "upstream.tls",
    "upstream.ca",
    "upstream.connect_timeout",
    "upstream.client_in_application_name",
    "guard.mode",
    "guard.max_text",
    "guard.small_table",
    "guard.scan_rate",
    "guard.notices",
    "guard.cache",
    "operator.url",
    "operator.database",
    "operator.logins",
    "locks.budget",
    "locks.look_age",
    "locks.deadline",
    "locks.max_hold",
    "locks.cancel_blockers",
    "locks.cancel_after",
    "builds.look_age",
    "builds.wait",
    "builds.deadline",
    "backfill.max_lag",
    "backfill.duty",
    "policy.rules",
    "policy.overrides",
    "policy.may_override",
    "policy.windows",
    "queue.max_wait",
    "plan.orphan_ttl",
    "journal.takeover",
    "journal.keep",
    "audit.file",
    "audit.keep",
    "audit.on_failure",
    "console.database",
    "console.login_database",
    "console.admins",
    "console.readers",
    "http.address",
    "limits.connections",
    "limits.startup_time",
    "auth.allow_trust",
    "shutdown.grace",
    "log.format",
    "log.level",
    "log.connections",
    "runtime.threads",
];

/// Whether there is such a key.
pub fn is_key(key: &str) -> bool {
    KEYS.contains(&key)
}

/// All keys, dotted.
pub fn keys() -> &'static [&'static str] {
    KEYS
}

/// The keys that a running program can't take.
pub const NEED_RESTART: &[&str] = &[
    "listen.address",
    "listen.reuse_port",
    "guard.cache",
    "audit.file",
    "http.address",
    "log.format",
    "runtime.threads",
];

/// `listen`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Listen {
    /// Addresses `host:port`, or `/directory` for the Unix socket `.s.PGSQL.6432` in it.
    #[serde(deserialize_with = "one_or_many")]
    pub address: Vec<String>,
    /// TLS towards clients.
    pub tls: ClientTls,
    /// PEM file of the certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub key: Option<PathBuf>,
    /// PEM file of the authorities that sign clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate, once there is `client_ca`.
    pub client_certificate: ClientCertificate,
    /// Another lockkeeper may listen on the same addresses at the same time (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Networks of load balancers that must send a header of the PROXY protocol.
    #[serde(deserialize_with = "networks")]
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Listen {
    /// Whether a connection from this address must begin with a header of the PROXY protocol.
    pub fn trusts_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxy_protocol_from
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// What is asked of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// One that is shown must be valid, as with PostgreSQL's `ssl_ca_file`.
    #[default]
    Optional,
    /// There must be one, as with `clientcert=verify-ca` in `pg_hba.conf`.
    Required,
}

/// TLS towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientTls {
    /// Refused: SSLRequest is answered `N`.
    #[default]
    Disable,
    /// Offered.
    Allow,
    /// Demanded.
    Require,
}

/// `upstream`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Upstream {
    /// `host:port`, or `/directory` or `/directory:port` for a Unix socket.
    pub address: String,
    /// TLS towards the server.
    pub tls: ServerTls,
    /// PEM file of the authorities that sign the server's certificate; the system's own when
    /// missing.
    pub ca: Option<PathBuf>,
    /// How long resolving the name, each of its addresses, and TLS may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The client's address is added to the `application_name` of its start-up message.
    pub client_in_application_name: bool,
}

/// TLS towards the server, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerTls {
    /// Never.
    #[default]
    Disable,
    /// If the server offers it; its certificate isn't checked.
    Prefer,
    /// Demanded; the certificate isn't checked.
    Require,
    /// Demanded; the certificate's signature is checked.
    VerifyCa,
    /// Demanded; signature and name are checked.
    VerifyFull,
}

/// `guard`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Guard {
    /// What is done.
    pub mode: Mode,
    /// Longer texts are looked at by a streaming lexer only, and never held.
    pub max_text: ByteSize,
    /// Up to this size a table's plain form is tried first.
    pub small_table: ByteSize,
    /// What a scan, a build or a rewrite gets through in a second, for estimates.
    pub scan_rate: ByteSize,
    /// NOTICEs to clients.
    pub notices: bool,
    /// Memory for classified texts.
    pub cache: ByteSize,
}

/// What is done about schema changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are guarded.
    #[default]
    Enforce,
    /// They pass; log, metrics and audit say what would have happened.
    Observe,
    /// They pass.
    Off,
}

impl Mode {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Observe => "observe",
            Mode::Off => "off",
        }
    }
}

/// `http`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Http {
    /// Address of `/metrics`, `/live`, `/ready`; empty turns it off.
    pub address: String,
}

/// `limits`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// From accept to the end of authentication.
    #[serde(with = "humantime_serde")]
    pub startup_time: Duration,
}

/// `auth`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Auth {
    /// Let clients from other machines in though the server asked them for nothing.
    pub allow_trust: bool,
}

/// `shutdown`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Shutdown {
    /// How long sessions may finish their work after SIGTERM.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

/// `log`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Level, or a filter such as `info,lockkeeper=debug`.
    pub level: String,
    /// A line for each session that begins, ends or is refused.
    pub connections: bool,
}

/// Shape of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// `runtime`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Runtime {
    /// Relay threads; 0 means one for each two cores.
    pub threads: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Listen {
            address: vec!["127.0.0.1:6432".to_owned()],
            tls: ClientTls::Disable,
            certificate: None,
            key: None,
            client_ca: None,
            client_certificate: ClientCertificate::Optional,
            reuse_port: false,
            proxy_protocol_from: Vec::new(),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            address: "127.0.0.1:5432".to_owned(),
            tls: ServerTls::Disable,
            ca: None,
            connect_timeout: Duration::from_secs(5),
            client_in_application_name: false,
        }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Guard {
            mode: Mode::Enforce,
            max_text: ByteSize::mib(8),
            small_table: ByteSize::mib(1),
            scan_rate: ByteSize::mib(100),
            notices: true,
            cache: ByteSize::mib(16),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http {
            address: "127.0.0.1:6433".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            startup_time: Duration::from_secs(60),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            grace: Duration::from_secs(30),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log {
            format: LogFormat::Text,
            level: "info".to_owned(),
            connections: true,
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => one
            .split(',')
            .map(|address| address.trim().to_owned())
            .filter(|address| !address.is_empty())
            .collect(),
        OneOrMany::Many(many) => many,
    })
}

/// Networks such as `10.0.0.0/8`; an address alone is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = one_or_many(deserializer)?;
    texts
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| {
                    serde::de::Error::custom(format!(
                        "{text:?} is no network; write addresses such as 10.0.0.7 or 10.0.0.0/8"
                    ))
                })
        })
        .collect()
}

/// Settings that can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file or the environment can't be read as settings.
    #[error("{0}")]
    Unreadable(String),
    /// A key that doesn't exist.
    #[error("unknown setting `{key}`; the nearest valid one is `{nearest}`")]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// The valid key most like it.
        nearest: String,
    },
    /// A value that can't be.
    #[error("{0}")]
    BadValue(String),
}

impl Config {
    /// What the rules read, for the sessions of a role in a database.
    pub fn policy_for(&self, database: &str, user: &str) -> Policy {
        Policy {
            small_table_bytes: self.guard.small_table.as_u64(),
            scan_bytes_per_second: self.guard.scan_rate.as_u64(),
            overrides: self.policy.overrides(database, user),
        }
    }

    /// Reads the file, when there is one, and the environment (`LOCKKEEPER__SECTION__KEY`).
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and the remedy.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix("LOCKKEEPER")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true);
        let merged = builder
            .add_source(environment)
            .build()
            .map_err(|error| ConfigError::Unreadable(error.to_string()))?;
        let tree: serde_json::Value = merged
            .try_deserialize()
            .map_err(|error| ConfigError::Unreadable(error.to_string()))?;
        refuse_unknown_keys(&tree, "")?;
        let config: Config = serde_path_to_error::deserialize(tree)
            .map_err(|error| bad_value(&error.path().to_string(), &error.inner().to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Every key that has a value, and the value.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let Ok(tree) = serde_json::to_value(self) else {
            return Vec::new(); // no map of it has keys that aren't text
        };
        let value = |key: &str| tree.pointer(&format!("/{}", key.replace('.', "/")));
        let entries = KEYS.iter().filter_map(|key| Some((*key, value(key)?)));
        entries
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, value.to_string()))
            .collect()
    }

    /// These settings as far as a running program can take them: the others stay as they were.
    /// Which those are is found in [`NEED_RESTART`].
    #[must_use]
    pub fn reloaded_over(mut self, before: &Config) -> Config {
        self.listen.address.clone_from(&before.listen.address);
        self.listen.reuse_port = before.listen.reuse_port;
        self.guard.cache = before.guard.cache;
        self.audit.file.clone_from(&before.audit.file);
        self.http.address.clone_from(&before.http.address);
        self.log.format = before.log.format;
        self.runtime.threads = before.runtime.threads;
        self
    }

    /// Refuses settings that contradict each other; called again after the flags have been applied.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let bad = |text: &str| Err(ConfigError::BadValue(text.to_owned()));
        if self.listen.address.is_empty() {
            return bad(
                "`listen.address` is empty: name at least one address, such as 127.0.0.1:6432",
            );
        }
        for address in self.listen.address.iter().chain([&self.upstream.address]) {
            let port = address.rsplit_once(':').map(|(_, port)| port);
            let is_host_port = !address.starts_with('/') && address.matches(':').count() == 1;
            if is_host_port && port.is_some_and(|port| port.parse::<u16>().is_err()) {
                return Err(ConfigError::BadValue(format!(
                    "`{address}`: the port isn't a number from 0 to 65535"
                )));
            }
        }
        if self.listen.tls != ClientTls::Disable
            && (self.listen.certificate.is_none() || self.listen.key.is_none())
        {
            return bad("`listen.tls` needs `listen.certificate` and `listen.key` (PEM files)");
        }
        let demands = self.listen.client_certificate == ClientCertificate::Required;
        if demands && (self.listen.client_ca.is_none() || self.listen.tls != ClientTls::Require) {
            return bad(
                "`listen.client_certificate` = \"required\" needs `listen.client_ca` (a PEM file) and `listen.tls` = \
                 \"require\"",
            );
        }
        if self.locks.budget < Duration::from_millis(1)
            || self.locks.budget > Duration::from_secs(60)
        {
            return bad(
                "`locks.budget` must be between 1ms and 60s: it is how long a query may wait behind a lock request",
            );
        }
        self.backfill.check()?;
        self.journal.check()?;
        self.operator.check()?;
        if self.guard.scan_rate.as_u64() == 0 {
            return bad("`guard.scan_rate` is 0: every estimate would be endless");
        }
        self.policy.check()?;
        self.console.check()?;
        if self.limits.connections == 0 {
            return bad("`limits.connections` is 0: nobody could connect");
        }
        if self.upstream.connect_timeout.is_zero() {
            return bad("`upstream.connect_timeout` is 0: no server could be reached");
        }
        if self.runtime.threads > 1024 {
            return bad("`runtime.threads` is above 1024; 0 means one for each two cores");
        }
        Ok(())
    }
}

fn refuse_unknown_keys(tree: &serde_json::Value, prefix: &str) -> Result<(), ConfigError> {
    let serde_json::Value::Object(map) = tree else {
        return Ok(());
    };
    for (name, value) in map {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        if KEYS.contains(&key.as_str()) {
            continue;
        }
        let is_section = KEYS.iter().any(|known| {
            known
                .strip_prefix(&key)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        if is_section && value.is_object() {
            refuse_unknown_keys(value, &key)?;
            continue;
        }
        let nearest = nearest(&key, KEYS.iter().copied())
            .unwrap_or_default()
            .to_owned();
        return Err(ConfigError::UnknownKey { key, nearest });
    }
    Ok(())
}

/// The candidate most like `word`.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
}

/// Serde's message with the key, and the nearest valid word where it lists them.
fn bad_value(key: &str, message: &str) -> ConfigError {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let hint = match quoted.split_first() {
        Some((wrong, valid)) if message.starts_with("unknown ") && !valid.is_empty() => {
            nearest(wrong, valid.iter().copied())
                .map(|near| format!("; the nearest valid one is `{near}`"))
        }
        _ if message.contains("expected a duration") => {
            Some("; write a number and a unit, such as 100ms, 30s or 10m".to_owned())
        }
        _ => None,
    };
    ConfigError::BadValue(format!("`{key}`: {message}{}", hint.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
