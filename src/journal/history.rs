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

/// The question, newest first, and its parameters. Every form of it follows an index in the order of `at` to its limit:
/// on `(at)`, `(relations[1], at)`, `(relations[2], at)`, `((event ->> 'user'), at)` or `(outcome, at)`. Only where a
/// relation isn't an event's first, the events that name it are found by the GIN index on `relations`, which knows no
/// order. `relations` holds [`crate::audit::event::search_names`].
pub fn question(filter: &Filter) -> Command {
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
    let newest = |conditions: &[String]| {
        let conditions = match conditions {
            [] => String::new(),
            conditions => format!("WHERE {}", conditions.join(" AND ")),
        };
        format!(
            "SELECT id, at, outcome, event FROM lockkeeper.audit_log {conditions}
             ORDER BY at DESC, id DESC LIMIT {limit}"
        )
    };
    let found = match &filter.table {
        None => newest(&conditions),
        Some(table) => {
            let name = place(table.name.clone());
            let at = if table.has_schema { 1 } else { 2 };
            let with = |more: String| newest(&[&conditions[..], &[more]].concat());
            let first = with(format!("relations[{at}] = {name}::text"));
            let other = with(format!(
                "cardinality(relations) > 2 AND relations @> ARRAY[{name}::text] AND relations[{at}] <> {name}::text"
            ));
            format!(
                "SELECT * FROM (({first}) UNION ALL ({other})) both_of
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
