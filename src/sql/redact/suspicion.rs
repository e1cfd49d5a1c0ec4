//! What sounds like a secret.

use super::super::lexer::{Token, TokenKind, Word};
use super::tokens_of;

/// Parts of words, in lower case, behind which a secret may stand.
const WORDS: &[&str] = &[
    "passw",
    "passphrase",
    "passfile",
    "pgpass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "accesskey",
    "access_key",
    "privatekey",
    "private_key",
    "encryption_key",
    "sslkey",
    "credential",
    "conninfo",
];

/// Options of foreign tables and their columns that hold no secret: those of `postgres_fdw` and
/// `file_fdw` (`contrib/postgres_fdw/option.c`, `contrib/file_fdw/file_fdw.c`).
const HARMLESS_OPTIONS: &[&str] = &[
    "analyze_sampling",
    "async_capable",
    "batch_size",
    "column_name",
    "delimiter",
    "encoding",
    "escape",
    "fdw_startup_cost",
    "fdw_tuple_cost",
    "fetch_size",
    "force_not_null",
    "force_null",
    "format",
    "header",
    "null",
    "quote",
    "schema_name",
    "table_name",
    "truncatable",
    "updatable",
    "use_remote_estimate",
];

/// What is created or altered by a statement that may hold a secret.
const OBJECTS: &[&str] = &[
    "database",
    "group",
    "role",
    "server",
    "subscription",
    "system",
    "user",
];

/// Whether a text has a word in it behind which a secret may stand.
pub(super) fn mentions_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

/// Whether an option of this name, as written, holds no secret for certain.
pub(super) fn is_harmless_option(name: &str) -> bool {
    HARMLESS_OPTIONS
        .iter()
        .any(|harmless| name.eq_ignore_ascii_case(harmless))
}

/// Whether it is a name and nothing else: what it names may be a secret, it itself isn't.
pub(super) fn is_one_word(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    !text.is_empty() && text.chars().all(is_part)
}

/// Whether a constant or a comment speaks of a secret, shows a URL with a user in it, or holds a command
/// that may hold a secret.
pub(super) fn is_suspicious(text: &str) -> bool {
    mentions_secret(text) || has_user_in_url(text) || {
        let (tokens, _) = tokens_of(text, true);
        is_secret_command(&tokens)
    }
}

/// Whether a message repeats a connection string or a URL with a user in it, or a word that sounds like a
/// secret, and a value behind it.
pub fn shows_credentials(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    let has_value = |word: &&str| {
        lower.match_indices(*word).any(|(at, _)| {
            let behind = lower.get(at + word.len()..).unwrap_or_default();
            let behind = behind
                .trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
            behind.trim_start().starts_with(['=', ':', '\''])
        })
    };
    has_user_in_url(message) || WORDS.iter().any(has_value)
}

fn has_user_in_url(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let behind = text.get(at + mark.len()..).unwrap_or_default();
        let address = behind.split(char::is_whitespace).next().unwrap_or_default();
        address.contains('@')
    })
}

/// Whether there is a CREATE or ALTER of what may have a secret.
pub(super) fn is_secret_command(tokens: &[Token]) -> bool {
    let mut before = [Word::EMPTY; 2];
    tokens.iter().any(|token| {
        let word = match token.kind {
            TokenKind::Word(word) => word,
            _ => Word::EMPTY,
        };
        let [first, second] = before;
        before = [second, word];
        let is_verb = |word: Word| word.is_any(&["create", "alter"]);
        let is_wrapper = second.is("foreign") && word.is("data");
        (is_verb(second) && word.is_any(OBJECTS)) || (is_verb(first) && is_wrapper)
    })
}
