//! What can be said on the console, and what drivers say by themselves when they connect.

use crate::config::nearest;
use crate::error::console as errors;
use crate::sql::lexer::{Lexer, LexicalMode, Token, TokenKind};
use crate::sql::name::clip;
use crate::wire::backend::ErrorFields;

/// The most that an error repeats of a command, in bytes.
const MAX_REPEATED_BYTES: usize = 60;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A table.
    Show(Show),
    /// Stops a plan.
    Cancel(u64),
    /// Lets a plan run that waits for a window of time.
    Approve(u64),
    /// Reads the settings again.
    Reload,
    /// Begins a transaction, for drivers that do so.
    Begin,
    /// Ends it; the command's tag.
    End(&'static str),
    /// Something that drivers say and that has no meaning here; the command's tag.
    Nothing(&'static str),
    /// Forgets prepared statements.
    Deallocate,
    /// A value that drivers ask for.
    Value(Value),
}

/// A table that the console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Plans that are being worked on.
    Plans,
    /// Plans that wait for others, or for a window of time.
    Queue,
    /// Who holds locks that plans wait for.
    Blockers,
    /// The newest events of the audit log.
    Audit,
    /// Rules, and what is done about each.
    Rules,
    /// Settings.
    Config,
    /// Commands.
    Help,
}

/// A value that drivers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The column's name.
    pub column: String,
    /// What it is.
    pub of: Known,
    /// The command's tag.
    pub tag: &'static str,
}

/// What drivers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A text that is always the same.
    Fixed(String),
    /// The session's user.
    User,
    /// The console's database.
    Database,
}

/// What each command looks like, and what it does.
pub const HELP: &[(&str, &str)] = &[
    (
        "SHOW PLANS",
        "schema changes that are being worked on, and where each stands",
    ),
    (
        "SHOW QUEUE",
        "those that wait for others, or for a window of time",
    ),
    ("SHOW BLOCKERS", "who holds the locks that they wait for"),
    (
        "SHOW AUDIT",
        "the last 100 schema changes, and what became of each",
    ),
    ("SHOW RULES", "the rules, and what is done about each"),
    ("SHOW CONFIG", "the settings in force, and the defaults"),
    (
        "CANCEL n",
        "stops plan n; its client gets an error (57014), and what was done is taken back",
    ),
    (
        "APPROVE n",
        "lets plan n run now, without waiting for a window of time",
    ),
    ("RELOAD", "reads the settings again, as SIGHUP does"),
    ("HELP", "this"),
];

/// Reads a text: commands with semicolons between.
///
/// # Errors
/// At the first that isn't known: those before it, and what is wrong with it.
pub fn read(text: &str) -> (Vec<Command>, Option<Box<ErrorFields>>) {
    let mut commands = Vec::new();
    for statement in statements(text) {
        match command(&statement) {
            Ok(command) => commands.push(command),
            Err(error) => return (commands, Some(error)),
        }
    }
    (commands, None)
}

/// The words of each statement, unquoted ones in lower case.
fn statements(text: &str) -> Vec<Vec<String>> {
    let mut found: Vec<(u32, Vec<String>)> = Vec::new();
    let mut note = |token: Token| {
        let word = match token.kind {
            TokenKind::Semicolon => return,
            TokenKind::Word(_) => written(text, token).to_lowercase(),
            TokenKind::QuotedIdentifier
            | TokenKind::String
            | TokenKind::DollarString
            | TokenKind::Parameter
            | TokenKind::Number
            | TokenKind::Operator
            | TokenKind::Punctuation(_) => written(text, token).to_owned(),
        };
        match found.last_mut() {
            Some((statement, words)) if *statement == token.statement => words.push(word),
            _ => found.push((token.statement, vec![word])),
        }
    };
    let mut lexer = Lexer::new(LexicalMode::default());
    lexer.feed(text.as_bytes(), &mut note);
    lexer.finish(&mut note);
    found.into_iter().map(|(_, words)| words).collect()
}

fn written(text: &str, token: Token) -> &str {
    let (start, end) = (usize::try_from(token.start), usize::try_from(token.end));
    let range = start.unwrap_or(usize::MAX)..end.unwrap_or(usize::MAX);
    text.get(range).unwrap_or_default()
}

fn command(statement: &[String]) -> Result<Command, Box<ErrorFields>> {
    let words: Vec<&str> = statement.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        ["show", "plans"] => Command::Show(Show::Plans),
        ["show", "queue"] => Command::Show(Show::Queue),
        ["show", "blockers"] => Command::Show(Show::Blockers),
        ["show", "audit"] => Command::Show(Show::Audit),
        ["show", "rules"] => Command::Show(Show::Rules),
        ["show", "config"] => Command::Show(Show::Config),
        ["show", "help"] | ["help"] => Command::Show(Show::Help),
        ["cancel", rest @ ..] => Command::Cancel(number("CANCEL", rest)?),
        ["approve", rest @ ..] => Command::Approve(number("APPROVE", rest)?),
        ["reload"] => Command::Reload,
        ["show", rest @ ..] => {
            let name = rest.join("_");
            let of = parameter(&name).ok_or_else(|| unknown(&words))?;
            Command::Value(Value {
                column: name,
                of,
                tag: "SHOW",
            })
        }
        ["select", rest @ ..] => value(rest).ok_or_else(|| unknown(&words))?,
        _ => drivers(&words).ok_or_else(|| unknown(&words))?,
    })
}

/// The number of a plan.
fn number(command: &str, rest: &[&str]) -> Result<u64, Box<ErrorFields>> {
    let number = match rest {
        [number] => number.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| errors::number_expected(command))
}

/// What drivers and poolers say to begin, to end, and to tidy up.
fn drivers(words: &[&str]) -> Option<Command> {
    Some(match words {
        ["begin", ..] | ["start", "transaction", ..] => Command::Begin,
        ["commit" | "end", ..] => Command::End("COMMIT"),
        ["rollback", "to", ..] => Command::Nothing("ROLLBACK"),
        ["rollback" | "abort", ..] => Command::End("ROLLBACK"),
        ["savepoint", ..] => Command::Nothing("SAVEPOINT"),
        ["release", ..] => Command::Nothing("RELEASE"),
        ["set", ..] => Command::Nothing("SET"),
        ["reset", ..] => Command::Nothing("RESET"),
        ["discard", "all"] => Command::Nothing("DISCARD ALL"),
        ["close", "all"] => Command::Nothing("CLOSE CURSOR ALL"),
        ["unlisten", "*"] => Command::Nothing("UNLISTEN"),
        ["deallocate", ..] => Command::Deallocate,
        _ => return None,
    })
}

/// A parameter that drivers ask for.
fn parameter(name: &str) -> Option<Known> {
    let text = match name {
        "server_version" => env!("CARGO_PKG_VERSION"),
        "standard_conforming_strings" | "integer_datetimes" => "on",
        "client_encoding" | "server_encoding" => "UTF8",
        "transaction_isolation" | "transaction_isolation_level" => "read committed",
        "transaction_read_only" | "in_hot_standby" | "default_transaction_read_only" => "off",
        "search_path" | "application_name" => "",
        "timezone" => "UTC",
        "datestyle" => "ISO, MDY",
        _ => return None,
    };
    Some(Known::Fixed(text.to_owned()))
}

/// A value that drivers select.
fn value(words: &[&str]) -> Option<Command> {
    let (words, alias) = match words {
        [rest @ .., "as", alias] => (rest, Some(*alias)),
        _ => (words, None),
    };
    let words = words.strip_prefix(&["pg_catalog", "."]).unwrap_or(words);
    let (name, of) = match words {
        [name @ "version", "(", ")"] => {
            let version = format!("lockkeeper {}", env!("CARGO_PKG_VERSION"));
            (*name, Known::Fixed(version))
        }
        [name @ "current_database", "(", ")"] | [name @ "current_catalog"] => {
            (*name, Known::Database)
        }
        [name @ ("current_user" | "session_user" | "user")] => (*name, Known::User),
        [name @ "current_schema"] | [name @ "current_schema", "(", ")"] => {
            (*name, Known::Fixed("pg_catalog".to_owned()))
        }
        [name @ "pg_is_in_recovery", "(", ")"] => (*name, Known::Fixed("f".to_owned())),
        [name @ "pg_advisory_unlock_all", "(", ")"] => (*name, Known::Fixed(String::new())),
        [number] if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            let kept = clip(number, MAX_REPEATED_BYTES);
            ("?column?", Known::Fixed(kept.to_owned()))
        }
        _ => return None,
    };
    Some(Command::Value(Value {
        column: alias.unwrap_or(name).to_owned(),
        of,
        tag: "SELECT 1",
    }))
}

fn unknown(words: &[&str]) -> Box<ErrorFields> {
    let written = words.join(" ").to_uppercase();
    let kept = clip(&written, MAX_REPEATED_BYTES);
    let nearest = nearest(kept, HELP.iter().map(|(command, _)| *command));
    errors::unknown_command(kept, nearest.unwrap_or("HELP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Command {
        let (mut commands, error) = read(text);
        assert_eq!((commands.len(), error), (1, None), "{text}");
        commands.remove(0)
    }

    #[test]
    fn commands_are_words_whatever_their_case() {
        for (text, command) in [
            ("SHOW PLANS", Command::Show(Show::Plans)),
            (" show  queue ; ", Command::Show(Show::Queue)),
            (
                "/* who? */ Show Blockers -- now",
                Command::Show(Show::Blockers),
            ),
            ("show AUDIT", Command::Show(Show::Audit)),
            ("help", Command::Show(Show::Help)),
            ("SHOW HELP", Command::Show(Show::Help)),
            ("cancel 12", Command::Cancel(12)),
            ("APPROVE 1;", Command::Approve(1)),
            ("RELOAD", Command::Reload),
        ] {
            assert_eq!(one(text), command);
        }
        for (help, _) in HELP {
            one(&help.replace(" n", " 1"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_the_nearest_command() {
        for (text, sqlstate, needle) in [
            ("SHOW PLAN", "42601", "SHOW PLANS"),
            ("SHOW PLANS now", "42601", "SHOW PLANS"),
            ("RELAOD", "42601", "RELOAD"),
            ("SELECT * FROM plans", "42601", "HELP lists"),
            ("CANCEL", "42601", "CANCEL 3"),
            ("CANCEL all", "42601", "CANCEL 3"),
            ("APPROVE 1 2", "42601", "APPROVE 3"),
            ("CANCEL -1", "42601", "CANCEL 3"),
            ("CANCEL 99999999999999999999", "42601", "CANCEL 3"),
            ("\"show\" plans", "42601", "SHOW PLANS"),
        ] {
            let (commands, error) = read(text);
            let error = error.unwrap();
            assert!(commands.is_empty());
            assert_eq!(error.sqlstate, sqlstate, "{text}");
            let said = format!("{} {}", error.message, error.hint);
            assert!(said.contains(needle), "{text}: {said}");
        }
        let (_, error) = read(&"é".repeat(1000));
        assert!(error.unwrap().message.len() < 200);
    }

    #[test]
    fn several_commands_and_none() {
        let (commands, error) = read("SHOW PLANS; ; CANCEL 1; NONSENSE; RELOAD");
        assert_eq!(commands, [Command::Show(Show::Plans), Command::Cancel(1)]);
        assert!(error.is_some());
        assert_eq!(read(" ; -- nothing"), (Vec::new(), None));
        let quoted = read("SET application_name = 'a;b'; SHOW RULES").0;
        assert_eq!(
            quoted,
            [Command::Nothing("SET"), Command::Show(Show::Rules)]
        );
    }

    #[test]
    fn what_drivers_say_is_answered() {
        for (text, column) in [
            ("select pg_catalog.version()", "version"),
            ("SELECT version() AS v", "v"),
            ("SELECT 1", "?column?"),
            ("SHOW transaction_read_only", "transaction_read_only"),
            (
                "show transaction isolation level",
                "transaction_isolation_level",
            ),
            ("SHOW TimeZone", "timezone"),
            ("select current_schema()", "current_schema"),
            ("SELECT current_user", "current_user"),
        ] {
            match one(text) {
                Command::Value(value) => assert_eq!(value.column, column),
                other => panic!("{text}: {other:?}"),
            }
        }
        // What asyncpg's pool says when a connection is given back.
        let text = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;";
        let (commands, error) = read(text);
        assert_eq!((commands.len(), error), (4, None));
        assert_eq!(one("START TRANSACTION READ ONLY"), Command::Begin);
        assert_eq!(one("ROLLBACK"), Command::End("ROLLBACK"));
        assert_eq!(one("ROLLBACK TO SAVEPOINT s"), Command::Nothing("ROLLBACK"));
    }
}
