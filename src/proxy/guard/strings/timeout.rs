//! The `lock_timeout` of a string: nobody may wait behind it for longer than the budget, whatever it
//! sets itself. So statements of lockkeeper's own stand in the text that the server reads, whose effect
//! ends with the string's transaction: what its client sets stays, and nothing has to be put back. In
//! front of them all stands the lock that keeps vacuums and other schema changes out.

use std::time::Duration;

use crate::catalog::SessionFacts;
use crate::proxy::server_session::Inserted;
use crate::sql::classify::Text;
use crate::sql::parse::settings::{self, setting};
use crate::sql::parse::{Parsed, Sort};

const NAME: &str = "lock_timeout";

/// The lock that is taken before anything else, and how long it is waited for.
pub(super) type Fence = (String, Duration);

/// What is sent to the server in the place of a string.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// The client's text, with statements of lockkeeper's own.
    pub(super) text: String,
    /// Those statements, in order.
    pub(super) inserted: Vec<Inserted>,
    /// Statements of lockkeeper's own at the front, of which nobody waits behind a lock but vacuums, builds
    /// and other schema changes.
    pub(super) fence: usize,
}

/// How long the client wants to wait for a lock, if the string says so.
pub(super) fn deadline(text: &Text) -> Option<Duration> {
    let mut changes = text
        .statements
        .iter()
        .map(|parsed| change(parsed, text.source(parsed)));
    changes.find_map(|change| match change {
        Change::Sets(wanted) => wanted.filter(|wanted| !wanted.is_zero()),
        Change::Nothing | Change::Looks { .. } | Change::Resets => None,
    })
}

/// The text, with the budget set in front of it and wherever it may have been set to something else;
/// a statement that looks at the setting finds the client's own, where that is known.
pub(super) fn within_budget(
    text: &Text,
    settings: &SessionFacts,
    budget: Duration,
    fence: Option<Fence>,
) -> Sent {
    let own = &settings.lock_timeout;
    let at_first = settings.is_known().then(|| Duration::from_millis(own.ms));
    let mut theirs = at_first;
    let mut builder = Builder::new(&text.text);
    if let Some((lock, patience)) = fence {
        builder.insert(0, &format!("{};", set(patience)));
        builder.insert(0, &format!("{lock};"));
        builder.sent.fence = builder.count;
    }
    builder.insert(0, &format!("{};", set(budget)));
    for (at, parsed) in text.statements.iter().enumerate() {
        let change = change(parsed, text.source(parsed));
        if let (Change::Looks { .. }, Some(theirs)) = (&change, theirs) {
            builder.insert(parsed.span.start, &format!("{};", set(theirs)));
        }
        builder.count += 1;
        match change {
            Change::Nothing => continue,
            Change::Looks { sets: false } => {}
            Change::Looks { sets: true } | Change::Sets(None) => theirs = None,
            Change::Sets(Some(wanted)) => theirs = Some(wanted),
            // Back to what the session began with.
            Change::Resets => theirs = at_first.filter(|_| !own.in_session),
        }
        if at + 1 < text.statements.len() {
            let shorter = theirs.filter(|theirs| !theirs.is_zero());
            let limit = shorter.map_or(budget, |theirs| theirs.min(budget));
            builder.insert(parsed.span.end, &format!(";{}", set(limit)));
        }
    }
    builder.finish()
}

fn set(timeout: Duration) -> String {
    format!("SET LOCAL {NAME}={}", timeout.as_millis())
}

/// What a statement does to the setting.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// To a value; `None`: to one that can't be read.
    Sets(Option<Duration>),
    Resets,
    /// It names it: to show it, or to set it by a function.
    Looks {
        sets: bool,
    },
}

fn change(parsed: &Parsed, source: &str) -> Change {
    let source_in_lower_case = source.to_ascii_lowercase();
    let names_it = source_in_lower_case.contains(NAME);
    match parsed.sort {
        Sort::Settings => match setting(source) {
            Some(own) if own.name == settings::ALL => Change::Resets,
            Some(own) if own.name == NAME => match own.values.as_deref() {
                None => Change::Resets,
                Some([value]) => Change::Sets(duration(value)),
                Some(_) => Change::Sets(None),
            },
            None if names_it => Change::Sets(None),
            Some(_) | None => Change::Nothing,
        },
        Sort::Query | Sort::Utility if names_it => Change::Looks {
            sets: source_in_lower_case.contains("set_config"),
        },
        // What it runs may wait for rows for as long as the client likes, and may set anything.
        Sort::Dynamic => Change::Looks { sets: names_it },
        Sort::Query
        | Sort::Utility
        | Sort::Ddl
        | Sort::Transaction
        | Sort::Copy
        | Sort::Unreadable => Change::Nothing,
    }
}

struct Builder<'a> {
    original: &'a str,
    /// So much of it stands in the text that is sent, in bytes.
    upto: usize,
    /// Statements so far.
    count: usize,
    sent: Sent,
}

impl<'a> Builder<'a> {
    fn new(original: &'a str) -> Builder<'a> {
        Builder {
            original,
            upto: 0,
            count: 0,
            sent: Sent::default(),
        }
    }

    /// Puts a statement, with its semicolon, where the client's text has come to `at`, in bytes.
    fn insert(&mut self, at: usize, sql: &str) {
        let between = self.original.get(self.upto..at).unwrap_or_default();
        self.sent.text.push_str(between);
        self.upto = self.upto.max(at);
        self.sent.inserted.push(Inserted {
            number: self.count,
            at: self.sent.text.chars().count() + 1,
            chars: sql.chars().count(),
        });
        self.sent.text.push_str(sql);
        self.count += 1;
    }

    fn finish(mut self) -> Sent {
        let rest = self.original.get(self.upto..).unwrap_or_default();
        self.sent.text.push_str(rest);
        self.sent
    }
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
    use std::sync::Arc;

    use super::*;
    use crate::catalog::Setting;
    use crate::sql::classify::{Class, Classified, LexicalSettings, classify};

    fn text(sql: &str) -> Arc<Text> {
        match classify(sql.as_bytes(), LexicalSettings::default()) {
            Classified::Interesting(text) => text,
            Classified::Plain { .. } => panic!("{sql}"),
        }
    }

    fn sent(sql: &str, in_session: bool) -> Sent {
        let settings = SessionFacts {
            version: 150_000,
            lock_timeout: Setting {
                ms: 7000,
                by_client: in_session,
                in_session,
            },
            ..SessionFacts::default()
        };
        within_budget(&text(sql), &settings, Duration::from_millis(90), None)
    }

    #[test]
    fn the_budget_counts_whatever_a_string_sets() {
        // `{n}` stands for a statement of lockkeeper's own.
        for (sql, expected) in [
            ("SELECT 1; DROP TABLE é", "{90};SELECT 1; DROP TABLE é"),
            (
                "/* é */ SET lock_timeout TO '5s' ; DROP TABLE é",
                "{90};/* é */ SET lock_timeout TO '5s' ;{90}; DROP TABLE é",
            ),
            (
                "set local lock_timeout = 20; DROP TABLE a",
                "{90};set local lock_timeout = 20;{20}; DROP TABLE a",
            ),
            (
                "SET lock_timeout = 0 -- none\n; DROP TABLE a;; RESET lock_timeout",
                "{90};SET lock_timeout = 0 -- none\n;{90}; DROP TABLE a;; RESET lock_timeout",
            ),
            (
                "RESET ALL; DROP TABLE a; SHOW lock_timeout",
                "{90};RESET ALL;{90}; DROP TABLE a; {7000};SHOW lock_timeout",
            ),
            (
                "SET lock_timeout = '8s'; SHOW lock_timeout; DROP TABLE a",
                "{90};SET lock_timeout = '8s';{90}; {8000};SHOW lock_timeout;{90}; DROP TABLE a",
            ),
            (
                "SELECT set_config('lock_timeout', '1h', false); DROP TABLE a; SHOW lock_timeout",
                "{90};{7000};SELECT set_config('lock_timeout', '1h', false);{90}; DROP TABLE a; SHOW lock_timeout",
            ),
            (
                "DO 'BEGIN END'; DROP TABLE a; SHOW lock_timeout",
                "{90};{7000};DO 'BEGIN END';{90}; DROP TABLE a; {7000};SHOW lock_timeout",
            ),
            (
                "-- lock_timeout\nDROP TABLE lock_timeout; DROP TABLE a",
                "{90};-- lock_timeout\nDROP TABLE lock_timeout; DROP TABLE a",
            ),
        ] {
            let sent = sent(sql, false);
            let expected = expected
                .replace('{', "SET LOCAL lock_timeout=")
                .replace('}', "");
            assert_eq!(sent.text, expected);
            let read = classify(sent.text.as_bytes(), LexicalSettings::default());
            assert_eq!(read.class(), Class::Ddl, "{sql}");
        }
        let text = sent("RESET lock_timeout; DROP TABLE a; SHOW lock_timeout", true).text;
        assert!(text.ends_with("DROP TABLE a; SHOW lock_timeout"), "{text}");
    }

    #[test]
    fn what_was_inserted_is_known_by_number_and_place() {
        const SQL: &str = "SET lock_timeout = '5s'; DROP TABLE a";
        let sent = sent(SQL, false);
        let numbers: Vec<usize> = sent.inserted.iter().map(|own| own.number).collect();
        assert_eq!(numbers, [0, 2]);
        for own in &sent.inserted {
            let found: String = sent.text.chars().skip(own.at - 1).take(own.chars).collect();
            assert_eq!(found.trim_matches(';'), "SET LOCAL lock_timeout=90");
        }
        assert_eq!(deadline(&text(SQL)), Some(Duration::from_secs(5)));
    }
}
