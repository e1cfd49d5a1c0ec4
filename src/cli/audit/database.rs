//! The history in lockkeeper's own database.

use serde_json::Value;

use super::filter::{Filter, RUNNING};
use super::show::Recorded;
use crate::config::Config;
use crate::exec::session::{Command, RunError, Session};
use crate::proxy::operator;

/// What the server is told at log-in.
const APPLICATION: &str = "lockkeeper audit";
/// Nothing is changed, and no question may burden the server for longer.
const SETTINGS: &str = "SET statement_timeout = '60s'; SET default_transaction_read_only = on";

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
    let (sql, parameters) = question(filter);
    let batch = [Command::own(SETTINGS), Command::with(sql, parameters)];
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

/// The question, newest first, and its parameters. Each form of it follows an index in the order of `at` as far as
/// its limit: on `(at)`, `(relations[1], at)`, `(relations[2], at)`, `(event ->> 'user', at)` or `(outcome, at)`.
/// Events that name a relation, but not as their first one, are found by the GIN index on `relations[3:]`, all of them,
/// for it knows no order. `relations` holds [`crate::audit::event::search_names`].
fn question(filter: &Filter) -> (String, Vec<String>) {
    let mut parameters = Vec::new();
    let mut place = |value: String| {
        parameters.push(value);
        format!("${}", parameters.len())
    };
    let mut conditions = Vec::new();
    if let Some(since) = filter.since {
        conditions.push(format!("at >= {}::timestamptz", place(since.to_string())));
    }
    if let Some(until) = filter.until {
        conditions.push(format!("at < {}::timestamptz", place(until.to_string())));
    }
    if let Some(user) = &filter.user {
        conditions.push(format!("event ->> 'user' = {}::text", place(user.clone())));
    }
    match filter.outcome.as_deref() {
        None => {}
        Some(RUNNING) => conditions.push("outcome IS NULL".to_owned()),
        Some(outcome) => conditions.push(format!("outcome = {}::text", place(outcome.to_owned()))),
    }
    let limit = filter.limit;
    let newest = "ORDER BY at DESC, id DESC LIMIT";
    let fitting = |more: &[String]| {
        let conditions = [&conditions[..], more].concat();
        let conditions = match &conditions[..] {
            [] => String::new(),
            conditions => format!("WHERE {}", conditions.join(" AND ")),
        };
        format!("SELECT id, at, outcome, event FROM lockkeeper.audit_log {conditions}")
    };
    let found = match &filter.table {
        None => format!("{} {newest} {limit}", fitting(&[])),
        Some(table) => {
            let name = place(table.name.clone());
            let at = if table.has_schema { 1 } else { 2 };
            let first = fitting(&[format!("relations[{at}] = {name}::text")]);
            let other = fitting(&[
                format!("relations[3:] @> ARRAY[{name}::text] AND cardinality(relations) > 2"),
                format!("relations[{at}] <> {name}::text"),
            ]);
            // Without OFFSET 0 the planner could walk through all events for a few that it takes for many.
            format!(
                "SELECT * FROM (({first} {newest} {limit})
                   UNION ALL (SELECT * FROM ({other} OFFSET 0) others {newest} {limit})) both_of
                 {newest} {limit}"
            )
        }
    };
    let sql = format!(
        "SELECT (jsonb_build_object('time', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))
                 || event || jsonb_build_object('outcome', outcome))::text
         FROM ({found}) found ORDER BY at DESC, id DESC"
    );
    (sql, parameters)
}
