//! What is asked of the audit log.

use jiff::Timestamp;

use crate::exec::session::Command;

/// What an outcome is called that an event hasn't got yet.
pub const RUNNING: &str = "running";

/// Which events.
#[derive(Debug, Default)]
pub struct Filter {
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// About this relation.
    pub table: Option<Table>,
    /// Sent by this role.
    pub user: Option<String>,
    /// Ended so; or [`RUNNING`].
    pub outcome: Option<String>,
    /// The newest so many.
    pub limit: u32,
}

/// A relation's name as it is recorded, with its schema or for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Quoted where it must be.
    pub name: String,
    /// Whether the schema is part of the name.
    pub has_schema: bool,
}

/// The question, newest first. Each form of it follows an index in the order of `at` as far as its limit: on `(at)`,
/// `(relations[1], at)`, `(relations[2], at)`, `(event ->> 'user', at)` or `(outcome, at)`; and where a relation isn't
/// the first of an event, on `(name, at)` of the table that holds these. `relations` holds
/// [`crate::audit::event::search_names`].
pub fn question(filter: &Filter) -> Command {
    let mut parameters = Vec::new();
    let mut place = |value: String| {
        parameters.push(value);
        format!("${}", parameters.len())
    };
    let (mut times, mut others) = (Vec::new(), Vec::new());
    if let Some(since) = filter.since {
        times.push(format!("at >= {}::timestamptz", place(since.to_string())));
    }
    if let Some(until) = filter.until {
        times.push(format!("at < {}::timestamptz", place(until.to_string())));
    }
    if let Some(user) = &filter.user {
        others.push(format!("event ->> 'user' = {}::text", place(user.clone())));
    }
    match filter.outcome.as_deref() {
        None => {}
        Some(RUNNING) => others.push("outcome IS NULL".to_owned()),
        Some(outcome) => others.push(format!("outcome = {}::text", place(outcome.to_owned()))),
    }
    let limit = filter.limit;
    let columns = "SELECT a.id, a.at, a.outcome, a.event FROM lockkeeper.audit_log a";
    let newest = |conditions: &[String]| {
        let times = times.iter().map(|time| format!("a.{time}"));
        let all: Vec<String> = times
            .chain(others.iter().chain(conditions).cloned())
            .collect();
        let conditions = after_where(&all);
        format!("{columns} {conditions} ORDER BY a.at DESC, a.id DESC LIMIT {limit}")
    };
    let found = match &filter.table {
        None => newest(&[]),
        Some(table) => {
            let name = place(table.name.clone());
            let at = if table.has_schema { 1 } else { 2 };
            let first = newest(&[format!("a.relations[{at}] = {name}::text")]);
            // Who else an event was about at its beginning may not be what it was about in the end.
            let more = format!(
                "r.name = {name}::text AND a.relations[{at}] <> {name}::text AND a.relations @> ARRAY[{name}::text]"
            );
            let times = times.iter().map(|time| format!("r.{time}"));
            let all: Vec<String> = times.chain(others.iter().cloned()).chain([more]).collect();
            let conditions = after_where(&all);
            format!(
                "SELECT * FROM (({first}) UNION ALL
                   ({columns} JOIN lockkeeper.audit_relation r ON r.audit = a.id {conditions}
                    ORDER BY r.at DESC, r.audit DESC LIMIT {limit})) both_of
                 ORDER BY at DESC, id DESC LIMIT {limit}"
            )
        }
    };
    let sql = format!(
        "SELECT (jsonb_build_object('time', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))
                 || event || jsonb_build_object('outcome', outcome))::text
         FROM ({found}) found ORDER BY at DESC, id DESC"
    );
    Command::with(sql, parameters)
}

fn after_where(conditions: &[String]) -> String {
    match conditions {
        [] => String::new(),
        conditions => format!("WHERE {}", conditions.join(" AND ")),
    }
}
