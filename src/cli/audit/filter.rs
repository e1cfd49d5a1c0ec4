//! What is asked for.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::audit::event::last_part;
use crate::journal::history::{Filter, RUNNING, Table};
use crate::sql::name::Name;

impl Filter {
    /// Whether an event of a file is among them.
    pub(super) fn fits(&self, event: &Value) -> bool {
        let word = |key: &str| event[key].as_str();
        if self.since.is_some() || self.until.is_some() {
            let Some(time) = word("time").and_then(|time| time.parse::<Timestamp>().ok()) else {
                return false;
            };
            if self.since.is_some_and(|since| time < since)
                || self.until.is_some_and(|until| time >= until)
            {
                return false;
            }
        }
        let is_table = |table: &Table| {
            let relations = event["relations"].as_array().into_iter().flatten();
            let mut names = relations.filter_map(|relation| relation["name"].as_str());
            names.any(|name| {
                name == table.name || (!table.has_schema && last_part(name) == table.name)
            })
        };
        let outcome = word("outcome").unwrap_or(RUNNING);
        self.table.as_ref().is_none_or(is_table)
            && self
                .user
                .as_deref()
                .is_none_or(|user| word("user") == Some(user))
            && self
                .outcome
                .as_deref()
                .is_none_or(|wanted| wanted == outcome)
    }
}

/// A point in time: RFC 3339, a date, or an age.
///
/// # Errors
/// It is none of them.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2026-01-01".len()
    {
        let midnight = date.to_zoned(TimeZone::UTC);
        return midnight
            .map(|at| at.timestamp())
            .map_err(|error| error.to_string());
    }
    let age = humantime::parse_duration(text).map_err(|_| {
        "write RFC 3339 (2026-11-01T08:00:00Z), a date (2026-11-01), or an age (90m, 2h, 7d)"
            .to_owned()
    })?;
    let then = SystemTime::now().checked_sub(age);
    then.and_then(|then| Timestamp::try_from(then).ok())
        .ok_or_else(|| "that is longer ago than time can be told".to_owned())
}

/// A word that may be an outcome.
///
/// # Errors
/// It can't be one.
pub(super) fn outcome(text: &str) -> Result<String, String> {
    const WORDS: [&str; 9] = [
        "done",
        "failed",
        "refused",
        "observed",
        "committed",
        "rolled back",
        "unknown",
        "passed",
        RUNNING,
    ];
    let word = text.trim().to_lowercase().replace(['_', '-'], " ");
    if WORDS.contains(&word.as_str()) {
        Ok(word)
    } else {
        Err(format!("write one of {}", WORDS.join(", ")))
    }
}

/// A relation's name, written as in SQL.
///
/// # Errors
/// It isn't one.
pub(super) fn table(text: &str) -> Result<Table, String> {
    let wrong = || "write a name as in SQL: orders, public.orders, \"Orders\"".to_owned();
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = identifier(rest).ok_or_else(wrong)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None if after.is_empty() => break,
            None => return Err(wrong()),
        }
    }
    let mut parts = parts.into_iter();
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => Name::unqualified(name),
        (Some(schema), Some(name), None) => Name::qualified(schema, name),
        _ => return Err(wrong()),
    };
    Ok(Table {
        has_schema: name.schema.is_some(),
        name: name.to_string(),
    })
}

/// The identifier that a text begins with, folded to lower case unless it is quoted, and what comes after.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, after) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_lowercase(), after));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_written_as_in_sql() {
        for (text, name, has_schema) in [
            ("Orders", "orders", false),
            ("public.Orders", "public.orders", true),
            ("\"Orders\"", "\"Orders\"", false),
            ("\"a.b\".\"c\"\"d\"", "\"a.b\".\"c\"\"d\"", true),
            ("\"plain\"", "plain", false),
        ] {
            let name = name.to_owned();
            assert_eq!(table(text), Ok(Table { name, has_schema }), "{text}");
        }
        for text in ["", ".", "a.", "a.b.c", "\"a", "\"\"", "a\"b\"", "a..b"] {
            assert!(table(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_points_dates_or_ages() {
        let at = |text: &str| time(text).map(|time| time.to_string());
        assert_eq!(at("2026-11-01"), Ok("2026-11-01T00:00:00Z".to_owned()));
        assert_eq!(
            at("2026-11-01T02:00:00+02:00"),
            Ok("2026-11-01T00:00:00Z".to_owned())
        );
        let ago = Timestamp::now().as_second() - time("2h").unwrap().as_second();
        assert!((7200..7300).contains(&ago), "{ago}");
        for text in ["", "yesterday", "7", "2026-13-01", "2026-11-01T08:00:00"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_that_is_asked_for_must_fit() {
        let event = serde_json::json!({
            "time": "2026-11-02T00:00:00.000Z", "user": "bob", "outcome": "done",
            "relations": [{"name": "public.orders"}, {"name": "\"Odd\""}],
        });
        let fits = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.fits(&event)
        };
        assert!(fits(&|_| {}));
        for name in ["orders", "public.orders", "\"Odd\""] {
            assert!(fits(&|filter| filter.table = table(name).ok()), "{name}");
        }
        for name in ["app.orders", "order", "odd"] {
            assert!(!fits(&|filter| filter.table = table(name).ok()), "{name}");
        }
        assert!(fits(&|filter| filter.since = time("2026-11-02").ok()));
        assert!(!fits(&|filter| filter.until = time("2026-11-02").ok()));
        assert!(fits(&|filter| filter.user = Some("bob".to_owned())));
        assert!(!fits(&|filter| filter.user = Some("eve".to_owned())));
        assert!(!fits(&|filter| filter.outcome = Some("failed".to_owned())));
    }
}
