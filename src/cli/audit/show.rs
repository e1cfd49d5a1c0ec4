//! Events, printed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::Format;
use crate::journal::history::RUNNING;
use crate::sql::name::{clip, one_line};

/// Of a statement so much is shown, in bytes.
const SQL_BYTES: usize = 400;

/// An event, read back.
#[derive(Debug)]
pub(super) struct Recorded {
    /// As it was recorded.
    pub(super) text: String,
    pub(super) event: Value,
}

/// Prints events; whoever reads may have enough of them.
///
/// # Errors
/// They can't be written.
pub(super) fn all(events: &[Recorded], format: Format) -> Result<(), String> {
    let mut text = String::new();
    for recorded in events {
        match format {
            Format::Text => text.push_str(&for_people(&recorded.event)),
            Format::Json => {
                text.push_str(&recorded.text);
                text.push('\n');
            }
        }
    }
    if events.is_empty() && format == Format::Text {
        eprintln!("lockkeeper: no event fits");
    }
    put(&text)
}

/// Writes to standard output; whoever reads may have enough.
///
/// # Errors
/// It can't be written.
pub(super) fn put(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("the output can't be written: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn for_people(event: &Value) -> String {
    let word = |key: &str| plain(event[key].as_str().unwrap_or_default());
    let outcome = event["outcome"].as_str().unwrap_or(RUNNING);
    let mut text = format!(
        "{} {:<8} {}@{} {}",
        word("time"),
        plain(outcome),
        word("user"),
        word("database"),
        word("tag")
    );
    let relations = event["relations"].as_array().into_iter().flatten();
    let names: Vec<String> = relations
        .filter_map(|relation| relation["name"].as_str())
        .map(plain)
        .collect();
    if !names.is_empty() {
        let _ = write!(text, " {}", names.join(", ")); // a String takes everything
    }
    if let Some(elapsed) = event["elapsed_ms"].as_u64() {
        let elapsed = Duration::from_millis(elapsed);
        let _ = write!(text, " ({})", humantime::format_duration(elapsed));
    }
    text.push('\n');
    let mut detail = |what: String| {
        let _ = writeln!(text, "    {what}");
    };
    let sql = word("sql");
    let shown = clip(&sql, SQL_BYTES);
    let more = if shown.len() < sql.len() { " …" } else { "" };
    detail(format!("{shown}{more}"));
    if let Some(rule) = event["rule"].as_str() {
        detail(format!("{}: {}", word("verdict"), plain(rule)));
    }
    if let Some(because) = event["because"].as_str() {
        detail(format!("unguarded: {}", plain(because)));
    }
    if let Some(said) = event["override"].as_object() {
        let reason = said.get("reason").and_then(Value::as_str);
        let granted = said.get("granted").and_then(Value::as_bool) == Some(true);
        let outcome = if granted { "granted" } else { "not granted" };
        let reason = plain(reason.unwrap_or_default());
        detail(format!("override {outcome} {reason}").trim_end().to_owned());
    }
    if let Some(message) = event["error"]["message"].as_str() {
        let sqlstate = event["error"]["sqlstate"].as_str().unwrap_or_default();
        detail(format!("{}: {}", plain(sqlstate), plain(message)));
    }
    text
}

/// On one line, and without what a terminal would obey.
fn plain(text: &str) -> String {
    one_line(text).replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_a_terminal_does_not_obey() {
        let event = serde_json::json!({
            "time": "2026-11-02T00:00:00.000Z", "outcome": null, "user": "bob", "database": "shop",
            "tag": "CREATE INDEX", "sql": "CREATE\n INDEX \u{1b}[2J ON orders(a)", "verdict": "rewrite",
            "rule": "create-index", "relations": [{"name": "public.orders"}], "elapsed_ms": 1500,
            "error": {"sqlstate": "42P07", "message": "it exists"},
        });
        assert_eq!(
            for_people(&event),
            "2026-11-02T00:00:00.000Z running  bob@shop CREATE INDEX public.orders (1s 500ms)\n    \
             CREATE INDEX \u{fffd}[2J ON orders(a)\n    rewrite: create-index\n    42P07: it exists\n"
        );
    }
}
