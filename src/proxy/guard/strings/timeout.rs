//! A string's own `SET lock_timeout`: it says how long its client would wait, not for how long others
//! may wait behind it. So the server reads a shorter one, and learns of the client's at the end.

use std::time::Duration;

use crate::sql::classify::Text;
use crate::sql::parse::Sort;
use crate::sql::parse::settings::{self, setting};

const NAME: &str = "lock_timeout";

/// What is sent to the server in the place of a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// As long as the client's text, in bytes and in characters.
    pub(super) text: String,
    /// The client's statement that must run behind it.
    pub(super) afterwards: Option<String>,
    /// How long the client wants to wait for a lock.
    pub(super) deadline: Option<Duration>,
}

/// Shortens each `SET lock_timeout` that is longer than the budget.
pub(super) fn shortened(text: &Text, budget: Duration) -> Sent {
    let mut sent = Sent {
        text: text.text.clone(),
        afterwards: None,
        deadline: None,
    };
    let named = text.text.to_ascii_lowercase().matches(NAME).count();
    let mut set = 0;
    for parsed in &text.statements {
        let source = text.source(parsed);
        let Some(own) = (parsed.sort == Sort::Settings)
            .then(|| setting(source))
            .flatten()
        else {
            continue;
        };
        if own.name == settings::ALL {
            sent.afterwards = None;
        }
        if own.name != NAME {
            continue;
        }
        set += 1;
        if !own.local {
            sent.afterwards = None;
        }
        let [value] = own.values.as_deref().unwrap_or_default() else {
            continue;
        };
        let Some(wanted) = duration(value) else {
            continue;
        };
        if !wanted.is_zero() {
            sent.deadline = sent.deadline.or(Some(wanted));
        }
        let start = parsed.span.start;
        let inside = text.text.get(parsed.span.clone()).unwrap_or_default();
        let start = start + (inside.len() - inside.trim_start().len());
        let local = if own.local { "LOCAL " } else { "" };
        if (wanted.is_zero() || wanted > budget)
            && let Some(shorter) = shorter(source, local, budget)
        {
            let range = start..start + source.len();
            sent.text.replace_range(range, &shorter);
            if !own.local {
                sent.afterwards = Some(source.to_owned());
            }
        }
    }
    if set < named {
        // The string looks at it, too: then it finds its own.
        sent.text.clone_from(&text.text);
        sent.afterwards = None;
    }
    sent
}

/// The same statement with the budget, in as many characters; `None` when there isn't room.
fn shorter(source: &str, local: &str, budget: Duration) -> Option<String> {
    let front = format!("SET {local}{NAME}=");
    let room = source
        .len()
        .checked_sub(front.len())
        .filter(|room| *room > 0)?;
    let budget = budget.as_millis().max(1).to_string();
    let value = if budget.len() <= room {
        budget
    } else {
        "9".repeat(room)
    };
    let short = format!("{front}{value}");
    source
        .is_ascii()
        .then(|| format!("{short:<0$}", source.len()))
}

/// A duration as PostgreSQL reads it, of milliseconds without a unit.
fn duration(value: &str) -> Option<Duration> {
    let value = value.trim();
    let end = value.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = value.split_at(end.unwrap_or(value.len()));
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(factor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify::{Classified, LexicalSettings, classify};

    #[test]
    fn timeouts_of_a_string_are_shortened_to_the_character() {
        for (sql, expected, afterwards) in [
            (
                "SET lock_timeout TO '5s'; DROP TABLE é",
                "SET lock_timeout=90     ; DROP TABLE é",
                Some("SET lock_timeout TO '5s'"),
            ),
            ("/* é */ SET lock_timeout=0; DROP TABLE a", "", None),
            (
                "SET lock_timeout=0; DROP TABLE a",
                "SET lock_timeout=9; DROP TABLE a",
                Some("SET lock_timeout=0"),
            ),
            (
                "set local lock_timeout = '1min'; DROP TABLE a",
                "SET LOCAL lock_timeout=90      ; DROP TABLE a",
                None,
            ),
            (
                "SET lock_timeout TO '5s'; DROP TABLE a; RESET lock_timeout",
                "SET lock_timeout=90     ; DROP TABLE a; RESET lock_timeout",
                None,
            ),
            ("SET lock_timeout = 20; DROP TABLE a", "", None),
            (
                "SET lock_timeout = '5s'; SHOW lock_timeout; DROP TABLE a",
                "",
                None,
            ),
        ] {
            let Classified::Interesting(text) =
                classify(sql.as_bytes(), LexicalSettings::default())
            else {
                panic!("{sql}");
            };
            let sent = shortened(&text, Duration::from_millis(90));
            let expected = if expected.is_empty() { sql } else { expected };
            assert_eq!(sent.text, expected);
            assert_eq!(sent.afterwards.as_deref(), afterwards, "{sql}");
        }
    }
}
