//! Names of SQL objects, as written and quoted.

use std::fmt;

/// A possibly qualified name, as PostgreSQL's parser read it: folded to lower case unless it was
/// quoted.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Name {
    /// The schema, when it was written.
    pub schema: Option<String>,
    /// The object's own name.
    pub name: String,
}

impl Name {
    /// A name without a schema.
    pub fn unqualified(name: impl Into<String>) -> Name {
        Name {
            schema: None,
            name: name.into(),
        }
    }

    /// A name with its schema.
    pub fn qualified(schema: impl Into<String>, name: impl Into<String>) -> Name {
        Name {
            schema: Some(schema.into()),
            name: name.into(),
        }
    }
}

/// Quoted where it must be: fit for SQL.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quote_identifier(schema))?;
        }
        f.write_str(&quote_identifier(&self.name))
    }
}

/// Quotes an identifier unless it is plainly safe without; as `quote_ident()`, but keywords are
/// always quoted here because any word shorter than this list could become one.
pub fn quote_identifier(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().enumerate().all(|(at, byte)| match byte {
            b'a'..=b'z' | b'_' => true,
            b'0'..=b'9' => at > 0,
            _ => false,
        })
        && (name.contains('_') || !is_keyword_like(name));
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Words that PostgreSQL reserves in some position (PostgreSQL manual, appendix C, "reserved" and
/// "can be function or type" of any version since 13, and those that are special in the statements
/// that lockkeeper writes).
fn is_keyword_like(word: &str) -> bool {
    const WORDS: &str = "\
        all analyse analyze and any array as asc asymmetric authorization between bigint binary \
        bit boolean both case cast char character check coalesce collate collation column \
        concurrently constraint create cross database dec decimal default deferrable desc \
        distinct do else end except exists extract false fetch float for foreign freeze from \
        full grant greatest group grouping having if ilike in index initially inner inout int \
        integer intersect interval into is isnull join json lateral leading least left like \
        limit localtime localtimestamp national natural nchar none normalize not notnull null \
        nullif numeric offset on only or order out outer overlaps overlay placing position \
        precision primary real references returning right row schema select setof similar \
        smallint some substring symmetric system table tablesample then time timestamp to \
        trailing treat trim true union unique user using values varchar variadic verbose when \
        where window with";
    WORDS.split(' ').any(|keyword| keyword == word)
}

/// Quotes a string literal for SQL, whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

/// The longest identifier, in bytes: `NAMEDATALEN - 1`.
pub const MAX_IDENTIFIER_BYTES: usize = 63;

/// The name that PostgreSQL makes of two parts and a label, cut to fit: `makeObjectName` of
/// `src/backend/commands/indexcmds.c`, for a server encoding of UTF8.
pub fn make_object_name(first: &str, second: &str, label: &str) -> String {
    let overhead = 1 + label.len() + usize::from(!second.is_empty());
    let room = MAX_IDENTIFIER_BYTES.saturating_sub(overhead);
    let (mut first_bytes, mut second_bytes) = (first.len(), second.len());
    while first_bytes + second_bytes > room {
        if first_bytes > second_bytes {
            first_bytes -= 1
        } else {
            second_bytes -= 1
        }
    }
    let (first, second) = (clip(first, first_bytes), clip(second, second_bytes));
    if second.is_empty() {
        format!("{first}_{label}")
    } else {
        format!("{first}_{second}_{label}")
    }
}

/// A text on one line, with one blank between its words.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cuts a text to at most `bytes` bytes, never inside a character.
pub fn clip(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether an expression names a column: as a word of its own.
pub fn mentions(expression: &str, column: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    expression.match_indices(column).any(|(at, _)| {
        let before = expression
            .get(..at)
            .and_then(|text| text.chars().next_back());
        let behind = expression
            .get(at + column.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_where_they_must_be() {
        for (name, quoted) in [
            ("users", "users"),
            ("order_items", "order_items"),
            ("Users", "\"Users\""),
            ("user", "\"user\""),
            ("a b", "\"a b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("x", "x"),
            ("naïve", "\"naïve\""),
        ] {
            assert_eq!(quote_identifier(name), quoted);
        }
        assert_eq!(
            Name::qualified("public", "table").to_string(),
            "public.\"table\""
        );
    }

    #[test]
    fn literals() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal(r"a\'b"), r"E'a\\''b'");
    }

    #[test]
    fn object_names_are_cut_as_the_server_cuts_them() {
        assert_eq!(make_object_name("users", "email", "idx"), "users_email_idx");
        let long = make_object_name(&"t".repeat(60), &"c".repeat(60), "idx");
        assert_eq!(long, format!("{}_{}_idx", "t".repeat(29), "c".repeat(29)));
        assert_eq!(make_object_name(&"é".repeat(40), "c", "idx").len(), 62);
    }
}
