//! The server, as somebody with a login sees it.

use std::str::FromStr;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

use super::Report;
use super::upstream::Server;
use crate::config::Config;

/// The versions that lockkeeper is tested with.
const TESTED: std::ops::RangeInclusive<i32> = 13..=18;
/// Connections that the server has for ordinary users: `reserved_connections` came with version 16.
const PLACES: &str = "SELECT current_setting('max_connections')::int \
     - current_setting('superuser_reserved_connections')::int \
     - coalesce(current_setting('reserved_connections', true), '0')::int";
/// Lines that let in whoever comes from an address, or as an OS user.
const OPEN_LINES: &str = "SELECT coalesce(string_agg(line_number || ' (' || auth_method || ')', ', ' \
     ORDER BY line_number), '') FROM pg_catalog.pg_hba_file_rules \
     WHERE auth_method IN ('trust', 'peer', 'ident')";

/// Logs in, on upstream's own address, and asks.
pub(super) async fn examine(report: &mut Report, config: &Config, server: &Server, url: &str) {
    let client = match log_in(config, server, url).await {
        Ok(client) => client,
        Err(why) => {
            let remedy = "see the user, password and database of --database-url";
            return report.fail("login", format!("no login: {why}"), remedy);
        }
    };
    let asked = async {
        version(report, &client).await?;
        places(report, config, &client).await?;
        open_lines(report, config, &client).await
    };
    if let Err(error) = asked.await {
        report.fail(
            "login",
            format!("a question fails: {error}"),
            "see the server's log",
        );
    }
}

async fn log_in(config: &Config, server: &Server, url: &str) -> Result<Client, String> {
    // The parser's message may repeat the URL, and that holds a password.
    let login = tokio_postgres::Config::from_str(url)
        .map_err(|_| "--database-url isn't a PostgreSQL URL".to_owned())?;
    let stream = server
        .connect(config)
        .await
        .map_err(|error| error.to_string())?;
    let connecting = login.connect_raw(stream, NoTls);
    let limit = config.limits.startup_time;
    let (client, connection) = tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| "the server doesn't answer".to_owned())?
        .map_err(|error| explain(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

fn explain(error: &Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => error.to_string(),
    }
}

async fn number(client: &Client, sql: &str) -> Result<i32, Error> {
    client.query_one(sql, &[]).await?.try_get(0)
}

async fn version(report: &mut Report, client: &Client) -> Result<(), Error> {
    let number = number(client, "SELECT current_setting('server_version_num')::int").await?;
    let (major, minor) = (number / 10_000, number % 10_000);
    if TESTED.contains(&major) {
        report.ok("server", format!("PostgreSQL {major}.{minor}"));
    } else {
        let (first, last) = (TESTED.start(), TESTED.end());
        report.warn(
            "server",
            format!("PostgreSQL {major}.{minor}: lockkeeper is tested with {first} to {last}"),
            "begin with guard.mode = \"observe\"",
        );
    }
    Ok(())
}

async fn places(report: &mut Report, config: &Config, client: &Client) -> Result<(), Error> {
    let places = number(client, PLACES).await?;
    let limit = config.limits.connections;
    if usize::try_from(places).is_ok_and(|places| limit <= places) {
        let message = format!("limits.connections = {limit}, and the server has {places} places");
        report.ok("limits", message);
    } else {
        report.warn(
            "limits",
            format!(
                "limits.connections = {limit}, and the server has {places} places for ordinary users: it refuses more \
                 with 53300 itself"
            ),
            "raise max_connections, lower limits.connections, or put a pooler in front of lockkeeper",
        );
    }
    Ok(())
}

async fn open_lines(report: &mut Report, config: &Config, client: &Client) -> Result<(), Error> {
    let lines: String = match client.query_one(OPEN_LINES, &[]).await {
        Ok(row) => row.try_get(0)?,
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let message = "this user may not read pg_hba_file_rules: only lines that apply from here were seen";
            report.ok("auth", message);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if lines.is_empty() {
        report.ok("auth", "pg_hba.conf has no line with trust, peer or ident");
    } else if config.auth.allow_trust {
        report.fail(
            "auth",
            format!("pg_hba.conf lets in without a password by line {lines}, and auth.allow_trust is on"),
            "none of them may apply to lockkeeper's address or OS user, or set auth.allow_trust = false",
        );
    } else {
        report.warn(
            "auth",
            format!("pg_hba.conf lets in without a password by line {lines}"),
            "none of them should apply to lockkeeper's address or OS user",
        );
    }
    Ok(())
}
