//! A read-only login for facts.

use std::str::FromStr;

use tokio_postgres::NoTls;
use tokio_postgres::config::{Host, SslMode};

use crate::config::{Config, ServerTls, Upstream};
use crate::pg::login::Login;
use crate::proxy::address::Address;
use crate::proxy::startup;
use crate::proxy::tls::ServerConnector;

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// Who logs in, and where: the policy may speak of them.
#[derive(Debug, Default)]
pub(super) struct Who {
    pub(super) user: String,
    pub(super) database: String,
}

/// Logs in. No message of it repeats the URL, which may hold a password.
pub(super) async fn log_in(url: &str, config: &Config) -> Result<(Login, Who), String> {
    let mut login = tokio_postgres::Config::from_str(url).map_err(|_| {
        "--database-url isn't a PostgreSQL URL, such as postgres://user@host:5432/database"
            .to_owned()
    })?;
    if login.get_password().is_none()
        && let Some(password) = std::env::var_os("PGPASSWORD")
    {
        login.password(password.to_string_lossy().as_ref());
    }
    if login.get_user().is_none() {
        let user = std::env::var("PGUSER").or_else(|_| std::env::var("USER"));
        login.user(user.unwrap_or_else(|_| "postgres".to_owned()));
    }
    let own = login.get_options().unwrap_or_default();
    login.options(format!("{own} -c default_transaction_read_only=on"));
    login.application_name("lockkeeper check");
    let upstream = upstream(&login, config)?;
    let address = Address::parse(&upstream.address, PORT);
    let failed = |why: String| format!("{address}: {why}");
    let connector = ServerConnector::new(&upstream, address.host())
        .map_err(|error| failed(error.to_string()))?;
    let stream = startup::connect_to(&address, connector.as_ref(), &upstream)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let connecting = login.connect_raw(stream, NoTls);
    let (client, connection) = tokio::time::timeout(config.limits.startup_time, connecting)
        .await
        .map_err(|_| failed("the server doesn't answer".to_owned()))?
        .map_err(|error| {
            failed(match error.as_db_error() {
                Some(told) => format!("{} ({})", told.message(), told.code().code()),
                None => error.to_string(),
            })
        })?;
    tokio::spawn(connection);
    let user = login.get_user().unwrap_or_default().to_owned();
    let who = Who {
        database: login.get_dbname().unwrap_or(&user).to_owned(),
        user,
    };
    Ok((Login::new(client), who))
}

/// Where the URL leads, and whether by TLS.
fn upstream(login: &tokio_postgres::Config, config: &Config) -> Result<Upstream, String> {
    let port = login.get_ports().first().copied().unwrap_or(PORT);
    let address = match login.get_hosts().first() {
        Some(Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{port}"),
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        Some(Host::Unix(directory)) => format!("{}:{port}", directory.display()),
        None => return Err("--database-url names no host".to_owned()),
    };
    Ok(Upstream {
        address,
        tls: match login.get_ssl_mode() {
            SslMode::Disable => ServerTls::Disable,
            SslMode::Prefer => ServerTls::Prefer,
            _ => ServerTls::Require,
        },
        ..config.upstream.clone()
    })
}
