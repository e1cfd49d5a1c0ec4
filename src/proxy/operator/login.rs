//! A login by URL: the operator's, and that of `lockkeeper check`.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::NoTls;
use tokio_postgres::config::{Host, SslMode};

use crate::config::locks::DEFAULT_DATABASE;
use crate::config::{CancelBlockers, Config, ServerTls, Upstream};
use crate::exec::session::{Command, Session};
use crate::pg::login::Login;
use crate::proxy::address::Address;
use crate::proxy::setup::{DEFAULT_UPSTREAM_PORT, Setup};
use crate::proxy::startup;
use crate::proxy::tls::ServerConnector;

/// The role when `operator.url` is missing.
pub const DEFAULT_USER: &str = "postgres";

/// What it costs to have no operator.
pub const NO_LOOK: &str =
    "locks are asked for without looking first, and concurrent builds aren't watched";

/// What the operator's sessions run with: nothing that a role's defaults say can hold it up.
const OPTIONS: &str = "-c statement_timeout=0 -c lock_timeout=0 \
                       -c default_transaction_read_only=off -c jit=off -c search_path=pg_catalog";

/// The same for what came with version 14: before, whoever names it isn't let in.
const NEWER_OPTIONS_SQL: &str = "
SELECT pg_catalog.set_config(s.name, '0', false) FROM pg_catalog.pg_settings s
WHERE s.name = 'idle_session_timeout'";

/// A URL that is one.
///
/// # Errors
/// What is wrong with it. It is never repeated, for it may hold a password.
pub fn checked_url(key: &str, url: &str) -> Result<tokio_postgres::Config, String> {
    let login = tokio_postgres::Config::from_str(url).map_err(|_| {
        format!("{key} isn't a PostgreSQL URL, such as postgres://user@host:5432/database")
    })?;
    if login.get_hosts().is_empty() {
        return Err(format!("{key} names no host"));
    }
    Ok(login)
}

/// Logs the operator in; the rights that it lacks.
///
/// # Errors
/// Why it can't; without a URL, which may hold a password.
pub async fn log_in(setup: &Setup) -> Result<(Login, Vec<String>), String> {
    let mut login = open(&setup.config, "lockkeeper", None).await?;
    let cancels = setup.config.locks.cancel_blockers != CancelBlockers::Off;
    let lacks = lacks(&mut login, cancels).await?;
    Ok((login, lacks))
}

/// A connection of the operator's, with an `application_name`, in a database; `None`: in that of
/// `operator.url`.
///
/// # Errors
/// Why there is none; without a URL, which may hold a password.
pub async fn open(
    config: &Config,
    application: &str,
    database: Option<&str>,
) -> Result<Login, Unopened> {
    let (mut login, upstream) = match &config.operator.url {
        Some(url) => {
            let login = checked_url("operator.url", url).map_err(Unopened::other)?;
            let upstream = upstream(&login, &config.upstream).map_err(Unopened::other)?;
            (login, upstream)
        }
        None => {
            let mut login = tokio_postgres::Config::new();
            login.user(DEFAULT_USER).dbname(DEFAULT_DATABASE);
            (login, config.upstream.clone())
        }
    };
    if login.get_user().is_none() {
        login.user(DEFAULT_USER);
    }
    match database {
        Some(database) => drop(login.dbname(database)),
        None if login.get_dbname().is_none() => drop(login.dbname(DEFAULT_DATABASE)),
        None => {}
    }
    if login.get_password().is_none()
        && let Some(password) = std::env::var_os("LOCKKEEPER_OPERATOR_PASSWORD")
    {
        login.password(password.to_string_lossy().as_ref());
    }
    let own = login.get_options().unwrap_or_default();
    login.options(format!("{own} {OPTIONS}"));
    login.application_name(application);
    undisturbed(connect_as(&login, &upstream, config.limits.startup_time).await?).await
}

/// A connection by a URL of `operator.logins`, in a database.
///
/// # Errors
/// As [`open`].
pub(super) async fn open_as(config: &Config, url: &str, database: &str) -> Result<Login, Unopened> {
    let mut login = checked_url("operator.logins", url).map_err(Unopened::other)?;
    let upstream = upstream(&login, &config.upstream).map_err(Unopened::other)?;
    let own = login.get_options().unwrap_or_default();
    login.options(format!("{own} {OPTIONS}"));
    login.dbname(database);
    login.application_name("lockkeeper");
    undisturbed(connect_as(&login, &upstream, config.limits.startup_time).await?).await
}

async fn undisturbed(mut login: Login) -> Result<Login, Unopened> {
    let asked = login.run(&[Command::own(NEWER_OPTIONS_SQL)]).await;
    asked.map_err(|error| Unopened::other(error.to_string()))?;
    Ok(login)
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened {
    /// For people.
    pub why: String,
    /// The server's SQLSTATE, when it was the server that refused.
    pub sqlstate: Option<String>,
}

impl Unopened {
    fn other(why: String) -> Unopened {
        Unopened {
            why,
            sqlstate: None,
        }
    }
}

impl From<Unopened> for String {
    fn from(unopened: Unopened) -> String {
        unopened.why
    }
}

/// Connects as `login` says to the server at `upstream`. No message repeats a URL.
///
/// # Errors
/// Why it can't.
pub async fn connect(
    login: &tokio_postgres::Config,
    upstream: &Upstream,
    limit: Duration,
) -> Result<Login, String> {
    Ok(connect_as(login, upstream, limit).await?)
}

async fn connect_as(
    login: &tokio_postgres::Config,
    upstream: &Upstream,
    limit: Duration,
) -> Result<Login, Unopened> {
    let address = Address::parse(&upstream.address, DEFAULT_UPSTREAM_PORT);
    let failed = |why: String| Unopened::other(format!("{address}: {why}"));
    let connector = ServerConnector::new(upstream, address.host())
        .map_err(|error| failed(error.to_string()))?;
    let stream = startup::connect_to(&address, connector.as_ref(), upstream)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let connecting = login.connect_raw(stream, NoTls);
    let (client, connection) = tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| failed("the server doesn't answer".to_owned()))?
        .map_err(|error| match error.as_db_error() {
            Some(told) => Unopened {
                sqlstate: Some(told.code().code().to_owned()),
                ..failed(format!("{} ({})", told.message(), told.code().code()))
            },
            None => failed(error.to_string()),
        })?;
    tokio::spawn(connection);
    Ok(Login::new(client))
}

/// Where a URL leads, and whether by TLS.
///
/// # Errors
/// It names no host.
pub fn upstream(login: &tokio_postgres::Config, config: &Upstream) -> Result<Upstream, String> {
    let port = login
        .get_ports()
        .first()
        .copied()
        .unwrap_or(DEFAULT_UPSTREAM_PORT);
    let address = match login.get_hosts().first() {
        Some(Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{port}"),
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        Some(Host::Unix(directory)) => format!("{}:{port}", directory.display()),
        None => return Err("the URL names no host".to_owned()),
    };
    Ok(Upstream {
        address,
        tls: match login.get_ssl_mode() {
            SslMode::Disable => ServerTls::Disable,
            SslMode::Prefer => ServerTls::Prefer,
            _ => ServerTls::Require,
        },
        ..config.clone()
    })
}

/// What the role may not do, for people.
async fn lacks(login: &mut Login, cancels: bool) -> Result<Vec<String>, String> {
    let replies = login
        .run(&[Command::with(LACKS_SQL, vec![cancels.to_string()])])
        .await
        .map_err(|error| error.to_string())?;
    let rows = replies.iter().flat_map(|reply| &reply.rows);
    Ok(rows.filter_map(|row| row.first()?.clone()).collect())
}

const LACKS_SQL: &str = "
SELECT pg_catalog.format('%s isn''t a member of %s: %s', pg_catalog.quote_ident(current_user), r.role, r.lacking)
FROM (VALUES
  ('pg_read_all_stats', 'how long others'' transactions last can''t be seen, so that they all count as old'),
  ('pg_signal_backend', 'locks.cancel_blockers can cancel nobody')) r (role, lacking)
WHERE NOT pg_catalog.pg_has_role(current_user, r.role, 'USAGE')
  AND ($1::pg_catalog.bool OR r.role <> 'pg_signal_backend')";
