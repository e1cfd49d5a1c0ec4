//! One schema change, attempted: passed, guarded or refused. Plain data, a JSON object a line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::sql::name::clip;
use crate::sql::parse::Parsed;
use crate::sql::redact::redacted;
use crate::sql::statement::Statement;

/// The longest text that is recorded, in bytes.
pub const MAX_SQL_BYTES: usize = 16 << 10;

/// A word of ours, or one that was read.
pub type Word = Cow<'static, str>;

/// An event of the audit log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// When it ended: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Who sent it.
    #[serde(flatten)]
    pub who: Who,
    /// The statement's command tag.
    pub tag: String,
    /// The statement as sent, without its secrets: see [`recorded_sql`].
    pub sql: String,
    /// `pass`, `rewrite`, `queue` or `reject`.
    pub verdict: Word,
    /// The rule that the verdict rests on.
    pub rule: Option<Word>,
    /// Why it passed without being guarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Word>,
    /// Where it had its place in the client's transaction: `late`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Word>,
    /// `enforce`, `observe` or `off`.
    pub mode: Word,
    /// Relations, as `schema.name` where facts are known, else as written.
    pub relations: Vec<RelationEntry>,
    /// SQL of the steps that were done, without secrets, like `sql`.
    pub executed: Vec<String>,
    /// SQL of the steps that would be done in its place, with `observe`, without secrets, like `sql`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<String>,
    /// SQL of the step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What was cleaned up after it, or could not be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<String>,
    /// `done`, `failed`, `refused`, `passed` or `observed`.
    pub outcome: Word,
    /// SQLSTATE and message of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorEntry>,
    /// What the client said against the policy, and whether it may.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub overriding: Option<OverrideEntry>,
    /// What it waited for, or would wait for, as the policy queues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowEntry>,
    /// It is no schema change but a command of the console's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub console: bool,
    /// The plan that the command is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanEntry>,
    /// Tries to get a lock.
    pub attempts: u32,
    /// Milliseconds spent in tries that failed.
    pub lock_wait_ms: u64,
    /// The longest that a strong lock was held, in milliseconds.
    pub lock_hold_ms: u64,
    /// Who was in the way, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<String>,
    /// A lockkeeper that didn't begin it brought it to its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
    /// Milliseconds from the statement's arrival to its end.
    pub elapsed_ms: u64,
}

/// Who sent a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Who {
    /// The session's user.
    pub user: String,
    /// The database.
    pub database: String,
    /// `application_name` at start-up.
    pub application: String,
    /// The client's address.
    pub client: String,
    /// The server process.
    pub server_pid: u32,
    /// The subject of the certificate that the client has shown and lockkeeper has verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_subject: Option<String>,
}

/// A relation that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelationEntry {
    /// Its name.
    pub name: String,
    /// Its size, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A client's word against the policy: a comment that allows rules, or `lockkeeper.mode`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OverrideEntry {
    /// The rules, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// The reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The mode, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// It had effect.
    pub granted: bool,
}

/// The windows of time that a statement may run in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowEntry {
    /// `policy.windows`; with none of them only an approval lets it run.
    pub windows: Vec<String>,
    /// When the next one opens, unless one is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens: Option<String>,
    /// An approval let it run.
    pub approved: bool,
    /// Milliseconds that it waited.
    pub waited_ms: u64,
}

impl std::fmt::Display for WindowEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.windows.is_empty() {
            f.write_str("none: by an approval only")
        } else {
            f.write_str(&self.windows.join("; "))
        }
    }
}

/// A plan that a command of the console's is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanEntry {
    /// Its number.
    pub number: u64,
    /// The session's user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The statement.
    pub sql: String,
}

/// An error of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// SQLSTATE.
    pub sqlstate: String,
    /// The message; withheld where it may repeat a password.
    pub message: String,
}

/// What an event is found by in the database: of each relation its name as recorded, and after it the last part
/// alone. So the first relation stands at 1 and 2, and an event of several has more than two.
pub fn search_names(relations: &[RelationEntry]) -> Vec<String> {
    let both = |relation: &RelationEntry| [relation.name.clone(), last_part(&relation.name).into()];
    relations.iter().flat_map(both).collect()
}

/// A name without its schema, still quoted where it must be.
pub fn last_part(name: &str) -> &str {
    let mut is_quoted = false;
    let dot = name.char_indices().filter(|(_, letter)| {
        is_quoted ^= *letter == '"';
        *letter == '.' && !is_quoted
    });
    let after = dot.last().map_or(0, |(at, _)| at + 1);
    &name[after..]
}

/// The text of a statement, or of a step of its plan, as it may be recorded: secrets are `'***'` in it
/// ([`redacted`]), a long one is cut. One that can't be read is withheld.
pub fn recorded_sql(text: &str, statement: &Statement) -> String {
    if statement.is_readable() {
        without_secrets(text, statement.may_hold_secret())
    } else {
        withheld(statement.tag())
    }
}

/// Like [`recorded_sql`], of a text that holds these statements.
pub fn recorded_text(text: &str, statements: &[Parsed]) -> String {
    let mut statements = statements.iter().map(|parsed| &parsed.statement);
    if statements.clone().all(Statement::is_readable) {
        without_secrets(text, statements.any(Statement::may_hold_secret))
    } else {
        withheld("several statements")
    }
}

fn withheld(what: &str) -> String {
    format!("{what} … (text withheld: it may hold a password)")
}

fn without_secrets(text: &str, holds_secret: bool) -> String {
    // Cut first: what can't be recorded need not be read. What is cut off within a literal is hidden.
    let shown = redacted(clip(text, MAX_SQL_BYTES), holds_secret);
    let kept = clip(&shown, MAX_SQL_BYTES);
    if text.len() <= MAX_SQL_BYTES && kept.len() == shown.len() {
        shown.into_owned()
    } else {
        format!("{kept} … ({} bytes in all)", text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::LexicalMode;
    use crate::sql::parse::parse;

    fn recorded(text: &str) -> String {
        let statements = parse(text, LexicalMode::default()).unwrap();
        recorded_sql(text, &statements[0].statement)
    }

    #[test]
    fn events_are_found_by_whole_names_and_by_last_parts() {
        let relations =
            ["public.orders", "\"a.b\".\"c\"\".d\"", "plain"].map(|name| RelationEntry {
                name: name.to_owned(),
                bytes: None,
            });
        let expected = [
            "public.orders",
            "orders",
            "\"a.b\".\"c\"\".d\"",
            "\"c\"\".d\"",
            "plain",
            "plain",
        ];
        assert_eq!(search_names(&relations), expected);
    }

    #[test]
    fn secrets_are_hidden_and_long_texts_cut() {
        assert_eq!(
            recorded("ALTER ROLE r PASSWORD 'hunter2' -- hunter2"),
            "ALTER ROLE r PASSWORD '***' "
        );
        let unreadable = Statement::Unreadable {
            words: "ALTER ROLE".to_owned(),
        };
        let withheld = recorded_sql("ALTER ROLE r PASSWORD hunter2", &unreadable);
        assert!(withheld.starts_with("ALTER ROLE") && !withheld.contains("hunter2"));
        let long = "é".repeat(MAX_SQL_BYTES);
        let cut = recorded_sql(&long, &Statement::Harmless);
        assert!(cut.len() < MAX_SQL_BYTES + 64 && cut.starts_with('é'));
        let cut = recorded_sql(&format!("SELECT '{long}'"), &Statement::Harmless);
        assert!(cut.starts_with("SELECT '***' … ("), "{cut}");
        let many = format!("SELECT {}", "'',".repeat(MAX_SQL_BYTES));
        let unreadable = recorded_sql(&many, &Statement::unseen("DO"));
        assert!(unreadable.len() < MAX_SQL_BYTES + 64);
    }
}
