//! What a client says to lockkeeper beside its SQL: comments such as
//! `/* lockkeeper: allow(rule-name) because … */`, and `SET lockkeeper.mode`.
//!
//! Comments are what stands between the tokens of a text, and is no white space; so what looks like
//! one inside a string or a quoted identifier is none.

use std::ops::Range;

use super::lexer::{Lexer, LexicalMode, Token, TokenKind};
use super::name::one_line;

/// What every such comment begins with.
const ADDRESS: &str = "lockkeeper:";

/// A comment that speaks to lockkeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// `allow(name[, name…]) because reason`.
    Allow {
        /// The rules, as written.
        rules: Vec<String>,
        /// The reason, never empty.
        reason: String,
    },
    /// Something else: what is wrong with it.
    Unclear(String),
}

/// The remarks in a statement: in comments that stand between its first and its last token, in front
/// of it behind the statement before, or at the end of the text behind the last statement.
pub fn remarks(text: &str, statement: &Range<usize>, mode: LexicalMode) -> Vec<Remark> {
    if !mentions_lockkeeper(text.as_bytes()) {
        return Vec::new();
    }
    let mut gaps: Vec<(Range<usize>, u32)> = Vec::new();
    let (mut end, mut last, mut wanted) = (0, 0, None);
    // Gaps up to the last semicolon, and whether anything else has come behind it.
    let (mut closed, mut is_empty) = (0, true);
    let mut note = |token: Token| {
        let start = usize::try_from(token.start).unwrap_or(usize::MAX);
        if start > end {
            gaps.push((end..start, token.statement));
        }
        end = usize::try_from(token.end).unwrap_or(usize::MAX);
        if token.kind == TokenKind::Semicolon {
            if is_empty {
                gaps.truncate(closed); // it stands before a semicolon of its own
            }
            (closed, is_empty) = (gaps.len(), true);
        } else {
            last = token.statement;
            is_empty = false;
        }
        if statement.contains(&start) && token.kind != TokenKind::Semicolon {
            wanted.get_or_insert(token.statement);
        }
    };
    let mut lexer = Lexer::new(mode);
    lexer.feed(text.as_bytes(), &mut note);
    lexer.finish(&mut note);
    gaps.push((end..text.len(), last));
    let of_statement = gaps
        .into_iter()
        .filter(|(_, number)| Some(*number) == wanted);
    of_statement
        .filter_map(|(gap, _)| text.get(gap))
        .flat_map(comments)
        .filter_map(remark)
        .collect()
}

/// Whether a text says `lockkeeper` at all, in any case.
pub fn mentions_lockkeeper(text: &[u8]) -> bool {
    const WORD: &[u8] = b"lockkeeper";
    memchr::memchr2_iter(b'k', b'K', text).any(|at| {
        // The first `k` stands at 3.
        let found = at
            .checked_sub(3)
            .and_then(|start| text.get(start..start + WORD.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(WORD))
    })
}

/// The insides of the comments in a text that is nothing but comments and white space.
fn comments(gap: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = gap;
    while let Some(at) = rest.find(['-', '/']) {
        let Some(inside) = rest.get(at + 2..) else {
            break;
        };
        let is_line = rest.get(at..at + 2) == Some("--");
        let end = if is_line {
            inside.find(['\n', '\r']).unwrap_or(inside.len())
        } else {
            block_end(inside)
        };
        found.push(inside.get(..end).unwrap_or_default());
        let skipped = if is_line { 0 } else { 2 };
        rest = inside.get(end + skipped..).unwrap_or_default();
    }
    found
}

/// Where a block comment ends; those within it are counted.
fn block_end(inside: &str) -> usize {
    let mut depth = 0u32;
    let mut at = 0;
    while let Some(next) = inside.get(at..).and_then(|rest| rest.find(['*', '/'])) {
        at += next;
        match inside.get(at..at + 2) {
            Some("*/") if depth == 0 => return at,
            Some("*/") => {
                depth -= 1;
                at += 2;
            }
            Some("/*") => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    inside.len()
}

/// How a remark is written.
const HOW: &str = "write /* lockkeeper: allow(rule-name) because … */";

/// What a comment says to lockkeeper; `None` for one that isn't addressed to it.
fn remark(comment: &str) -> Option<Remark> {
    let comment = comment.trim();
    let said = strip_word(comment, ADDRESS)?;
    let unclear = |what: &str| Some(Remark::Unclear(format!("{what}; {HOW}")));
    let Some(rest) = strip_word(said, "allow") else {
        return unclear("it begins with something other than `allow`");
    };
    let list = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let Some((names, rest)) = list else {
        return unclear("behind `allow` there are no rules in parentheses");
    };
    let rules: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    if rules.iter().any(String::is_empty) {
        return unclear("a rule's name is missing");
    }
    let reason = one_line(strip_word(rest.trim_start(), "because").unwrap_or_default());
    if !reason.chars().any(char::is_alphanumeric) {
        return unclear("the reason is missing");
    }
    Some(Remark::Allow { rules, reason })
}

/// What follows a word at the front, in any case.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let front = text.get(..word.len())?;
    let rest = text.get(word.len()..)?.trim_start();
    front.eq_ignore_ascii_case(word).then_some(rest)
}

/// A change of `lockkeeper.mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    /// `SET LOCAL`.
    pub local: bool,
    /// The value as written; `None` for RESET, RESET ALL, DISCARD ALL and `TO DEFAULT`.
    pub value: Option<String>,
}

/// The changes of `lockkeeper.mode` in a text, in order.
pub fn mode_changes(text: &str, mode: LexicalMode) -> Vec<ModeChange> {
    let mut statements: Vec<Vec<String>> = Vec::new();
    let mut number = None;
    let mut note = |token: Token| {
        if number != Some(token.statement) {
            number = Some(token.statement);
            statements.push(Vec::new());
        }
        let (from, to) = (usize::try_from(token.start), usize::try_from(token.end));
        if let (Ok(from), Ok(to), Some(words)) = (from, to, statements.last_mut())
            && token.index < MOST_TOKENS
            && token.kind != TokenKind::Semicolon
        {
            let source = text.get(from..to).unwrap_or_default();
            words.push(plain(source, token.kind));
        }
    };
    let mut lexer = Lexer::new(mode);
    lexer.feed(text.as_bytes(), &mut note);
    lexer.finish(&mut note);
    let changes = statements.iter().filter_map(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        mode_change(&words)
    });
    changes.collect()
}

/// `SET SESSION lockkeeper.mode = off` has the most of them.
const MOST_TOKENS: u32 = 8;

/// A word, or what a name or a string without escapes says.
fn plain(source: &str, kind: TokenKind) -> String {
    let inside = |quote: char| {
        let inside = source.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inside.to_owned())
    };
    match kind {
        TokenKind::String => inside('\'').unwrap_or_else(|| source.to_owned()),
        TokenKind::QuotedIdentifier => inside('"').unwrap_or_else(|| source.to_owned()),
        TokenKind::Word(_)
        | TokenKind::DollarString
        | TokenKind::Parameter
        | TokenKind::Number
        | TokenKind::Operator
        | TokenKind::Punctuation(_)
        | TokenKind::Semicolon => source.to_ascii_lowercase(),
    }
}

fn mode_change(words: &[&str]) -> Option<ModeChange> {
    let reset = Some(ModeChange {
        local: false,
        value: None,
    });
    let (local, rest) = match words {
        ["reset" | "discard", "all"] => return reset,
        ["reset", setting @ ..] if is_mode(setting) == Some(&[]) => return reset,
        ["set", "local", rest @ ..] => (true, rest),
        ["set", "session", rest @ ..] | ["set", rest @ ..] => (false, rest),
        _ => return None,
    };
    let value = match is_mode(rest)? {
        ["=" | "to", "default"] => None,
        ["=" | "to", value] => Some((*value).to_owned()),
        _ => return None, // the server refuses it
    };
    Some(ModeChange { local, value })
}

/// What follows `lockkeeper.mode`; the server compares names of settings without case.
fn is_mode<'a, 'b>(words: &'a [&'b str]) -> Option<&'a [&'b str]> {
    match words {
        [class, ".", name, rest @ ..]
            if class.eq_ignore_ascii_case("lockkeeper") && name.eq_ignore_ascii_case("mode") =>
        {
            Some(rest)
        }
        _ => None,
    }
}

/// The value of `lockkeeper.mode` in the `options` of a start-up message (`-c name=value`,
/// `--name=value`, words separated by blanks, a backslash before what isn't meant to separate):
/// `pg_split_opts` of `src/backend/utils/init/postinit.c`.
pub fn mode_in_options(options: &str) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = options.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let mut found = None;
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().unwrap_or_default(),
            Some(setting) => setting.to_owned(),
            None => continue,
        };
        if let Some((name, value)) = setting.split_once('=')
            && name.eq_ignore_ascii_case("lockkeeper.mode")
        {
            found = Some(value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<Remark> {
        remarks(text, &(0..text.len()), LexicalMode::default())
    }

    fn allow(rules: &[&str], reason: &str) -> Remark {
        Remark::Allow {
            rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn remarks_are_found_in_comments_alone() {
        for (text, expected) in [
            (
                "/* lockkeeper: allow(a-b) because it is new */ drop index i",
                vec![allow(&["a-b"], "it is new")],
            ),
            (
                "drop index i -- LockKeeper:allow( a , b ) BECAUSE  nobody  reads it",
                vec![allow(&["a", "b"], "nobody reads it")],
            ),
            (
                "drop /* /* nested */ x */ /*lockkeeper: allow(a) because\n y*/ index i;",
                vec![allow(&["a"], "y")],
            ),
            ("select '/* lockkeeper: allow(a) because b */'", vec![]),
            ("select $$ -- lockkeeper: allow(a) because b\n$$", vec![]),
            (
                "select \"/* lockkeeper: allow(a) because b */\" from t",
                vec![],
            ),
            ("/* see lockkeeper: allow(a) because b */ select 1", vec![]),
            (
                "/* /* lockkeeper: allow(a) because b */ */ select 1",
                vec![],
            ),
            (
                "drop index i; -- lockkeeper: allow(a) because b",
                vec![allow(&["a"], "b")],
            ),
        ] {
            assert_eq!(all(text), expected, "{text}");
        }
        for (text, needle) in [
            (
                "/* lockkeeper: alow(a) because b */ x",
                "other than `allow`",
            ),
            ("/* lockkeeper: allow a because b */ x", "no rules"),
            ("/* lockkeeper: allow(a,) because b */ x", "name is missing"),
            ("/* lockkeeper: allow(a) */ x", "reason is missing"),
            (
                "/* lockkeeper: allow(a) because … */ x",
                "reason is missing",
            ),
        ] {
            let [Remark::Unclear(what)] = &all(text)[..] else {
                panic!("{text}");
            };
            assert!(what.contains(needle), "{text}: {what}");
        }
    }

    #[test]
    fn each_statement_has_its_own() {
        let text = "-- lockkeeper: allow(a) because x\nselect 1; /* lockkeeper: allow(b) because y */ select 2; \
                    select /* lockkeeper: allow(c) because z */ 3;;";
        let of = |needle: &str| {
            let at = text.find(needle).unwrap();
            remarks(text, &(at..at + needle.len()), LexicalMode::default())
        };
        assert_eq!(of("select 1"), [allow(&["a"], "x")]);
        assert_eq!(of("select 2"), [allow(&["b"], "y")]);
        assert_eq!(of("select /*"), [allow(&["c"], "z")]);
    }

    fn changes(text: &str) -> Vec<String> {
        let changes = mode_changes(text, LexicalMode::default()).into_iter();
        changes
            .map(|change| {
                let local = if change.local { "local " } else { "" };
                format!("{local}{}", change.value.unwrap_or("reset".to_owned()))
            })
            .collect()
    }

    #[test]
    fn changes_of_the_mode() {
        for (text, expected) in [
            ("SET lockkeeper.mode = 'observe'", vec!["observe"]),
            ("set session LockKeeper.\"mode\" to OFF;", vec!["off"]),
            ("set local lockkeeper.mode to default", vec!["local reset"]),
            ("reset lockkeeper.mode", vec!["reset"]),
            ("reset all; discard all", vec!["reset", "reset"]),
            (
                "begin; set lockkeeper.mode=off; select 1; reset lockkeeper.mode",
                vec!["off", "reset"],
            ),
            ("set lockkeeper.mod = 'off'", vec![]),
            ("set x = 'lockkeeper.mode = off'", vec![]),
            ("select 'set lockkeeper.mode = off'", vec![]),
            ("set lockkeeper.mode = a, b", vec![]),
        ] {
            assert_eq!(changes(text), expected, "{text}");
        }
    }

    #[test]
    fn modes_in_options() {
        for (options, expected) in [
            ("-c lockkeeper.mode=off", Some("off")),
            (
                "  -clockkeeper.mode=off --lockkeeper.mode=observe ",
                Some("observe"),
            ),
            ("-c search_path=a\\ b -c Lockkeeper.Mode=off", Some("off")),
            ("-c search_path=-c\\ lockkeeper.mode=off", None),
            ("-c", None),
            ("", None),
        ] {
            assert_eq!(mode_in_options(options).as_deref(), expected, "{options}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(lockkeeper:|allow|\\(|\\)|/\\*|\\*/|--|\n|'|\"|;|a|é| |because){0,24}") {
            let _ = remarks(&text, &(0..text.len()), LexicalMode::default());
            let _ = mode_changes(&text, LexicalMode::default());
            let _ = comments(&text);
            let _ = mode_in_options(&text);
        }
    }
}
