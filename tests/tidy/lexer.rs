//! As much of a Rust lexer as the tidy tests need.

/// A word (identifier, keyword or number) or a punctuation mark; `::` is one mark.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// Rust code without comments, strings, character literals and lifetimes.
pub(super) fn lex(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is_token) = if first.is_whitespace() {
            (first.len_utf8(), false)
        } else if let Some(length) = opaque(rest) {
            (length, false)
        } else if first.is_alphanumeric() || first == '_' {
            (word(rest), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), true)
        };
        let token = &rest[..length];
        if is_token {
            tokens.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        at += length;
    }
    tokens
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// The length of the comment, string, character or lifetime `text` starts with, if it does.
fn opaque(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].iter().find(|prefix| {
        let rest = text.strip_prefix(**prefix).unwrap_or_default();
        let unhashed = if prefix.ends_with('r') {
            rest.trim_start_matches('#')
        } else {
            rest
        };
        unhashed.starts_with('"') || (matches!(**prefix, "b" | "") && rest.starts_with('\''))
    })?;
    let rest = &text[prefix.len()..];
    let length = if prefix.ends_with('r') {
        raw_string(rest)
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else {
        character(rest)
    };
    Some(prefix.len() + length)
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// `"…"` after the hashes of a raw string, up to as many hashes.
fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let close = format!("\"{}", "#".repeat(hashes));
    text[hashes + 1..]
        .find(&close)
        .map_or(text.len(), |end| hashes + 1 + end + close.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    text.len()
}

/// `'x'` or `'\n'` is a character, `'a` a lifetime or label.
fn character(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    let (first, second) = (after.next(), after.next());
    if first == Some('\\') || second == Some('\'') {
        quoted(text, '\'')
    } else {
        1 + word(&text[1..])
    }
}

mod checks {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        lex(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_strings_characters_and_lifetimes_are_no_code() {
        assert_eq!(words("a /* b /* c */ d */ e // f\n g"), ["a", "e", "g"]);
        assert_eq!(
            words(r###"a "b \" c" d r#"e " f"# g b"h" br"i\" j"###),
            ["a", "d", "g", "j"]
        );
        assert_eq!(
            words(r"'a' x '\'' y 'life z b'\\' w '{' v"),
            ["x", "y", "z", "w", "v"]
        );
        assert_eq!(words("bread::crumb"), ["bread", "::", "crumb"]);
        let lines: Vec<usize> = lex("a \"\n\n\" b\nc")
            .iter()
            .map(|token| token.line)
            .collect();
        assert_eq!(lines, [1, 3, 4]);
    }
}
