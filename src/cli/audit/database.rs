//! The history in lockkeeper's own database.

use serde_json::Value;

use super::show::Recorded;
use crate::config::Config;
use crate::exec::session::{Command, RunError, Session};
use crate::journal::history::{Filter, question};
use crate::proxy::operator;

/// What the server is told at log-in.
const APPLICATION: &str = "lockkeeper audit";
/// Nothing is changed, and no question may burden the server for longer. To compile one takes longer than to answer it.
const SETTINGS: &str =
    "SET statement_timeout = '60s'; SET default_transaction_read_only = on; SET jit = off";

/// The newest events that fit, oldest first.
///
/// # Errors
/// There is no such table, or the server refuses.
pub(super) async fn read(config: &Config, filter: &Filter) -> Result<Vec<Recorded>, String> {
    if config.operator.is_off() {
        return Err(
            "operator.url is empty, so there is no database to ask: --file reads an audit file"
                .to_owned(),
        );
    }
    let database = &config.operator.database;
    let not_yet = || {
        format!(
            "there is no history in database {database:?} (operator.database) yet: lockkeeper makes it at first use; \
             --file reads an audit file"
        )
    };
    let login = operator::open(config, APPLICATION, Some(database)).await;
    let mut login = login.map_err(|why| {
        if why.sqlstate.as_deref() == Some(operator::journal::NO_SUCH_DATABASE) {
            not_yet()
        } else {
            format!("the operator can't log in: {}", why.why)
        }
    })?;
    let batch = [Command::own(SETTINGS), question(filter)];
    let replies = login.run(&batch).await.map_err(|error| match &error {
        // Neither schema nor table.
        RunError::Sql(fields) if matches!(fields.sqlstate.as_str(), "3F000" | "42P01") => not_yet(),
        RunError::Sql(_) | RunError::Gone | RunError::Stale => {
            format!("the history can't be read: {error}")
        }
    })?;
    let rows = replies.into_iter().flat_map(|reply| reply.rows);
    let mut events = Vec::new();
    for row in rows {
        let text = row.into_iter().next().flatten().unwrap_or_default();
        let event: Value = serde_json::from_str(&text)
            .map_err(|error| format!("an event of the database can't be read: {error}"))?;
        events.push(Recorded { text, event });
    }
    events.reverse();
    Ok(events)
}
