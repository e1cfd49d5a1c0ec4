//! A statement's own text, and pieces cut out of it or written anew by the parser's deparser.

use std::ops::Range;

use pg_query::protobuf::{self, RawStmt};
use pg_query::{DeparseOptions, Node, NodeEnum, ParserOptions};
use serde_json::Value;

use super::super::lexer::{Lexer, LexicalMode, Token, TokenKind};

/// A statement's text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The statement's own text.
    pub(super) text: &'a str,
    /// Where it stands in the whole text, which is what the parser's locations count from.
    pub(super) offset: usize,
    /// How it is read.
    pub(super) mode: LexicalMode,
    /// It stands in the body of a `DO`.
    pub(super) nested: bool,
}

/// A token's kind and its place in the statement's text.
pub(super) struct Piece {
    pub(super) kind: TokenKind,
    pub(super) span: Range<usize>,
    pub(super) depth: u32,
}

impl Piece {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(found) if found.is(word))
    }

    pub(super) fn is_byte(&self, byte: u8) -> bool {
        self.kind == TokenKind::Punctuation(byte)
    }

    fn is_identifier(&self) -> bool {
        matches!(self.kind, TokenKind::Word(_) | TokenKind::QuotedIdentifier)
    }
}

impl Source<'_> {
    /// The tokens from a parser's location on.
    pub(super) fn tokens_from(&self, location: i32) -> Vec<Piece> {
        let Some(from) = usize::try_from(location)
            .ok()
            .and_then(|at| at.checked_sub(self.offset))
        else {
            return Vec::new();
        };
        let mut pieces = Vec::new();
        let mut take = |token: Token| {
            let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end))
            else {
                return;
            };
            if start >= from && token.kind != TokenKind::Semicolon {
                pieces.push(Piece {
                    kind: token.kind,
                    span: start..end,
                    depth: token.depth,
                });
            }
        };
        let mut lexer = Lexer::new(self.mode);
        lexer.feed(self.text.as_bytes(), &mut take);
        lexer.finish(&mut take);
        pieces
    }

    /// The text from the first to the last of these tokens.
    pub(super) fn cut(&self, pieces: &[Piece]) -> Option<&str> {
        let (first, last) = (pieces.first()?, pieces.last()?);
        self.text.get(first.span.start..last.span.end)
    }

    /// What stands behind a relation's name (with its closing parenthesis or asterisk), split at the
    /// commas that stand in no brackets. `None` for names with a spelling not read here.
    pub(super) fn commands_behind(&self, relation: &protobuf::RangeVar) -> Option<Vec<&str>> {
        let pieces = self.tokens_from(relation.location);
        let mut rest = pieces.as_slice();
        loop {
            let (name, behind) = rest.split_first()?;
            rest = behind;
            if !name.is_identifier()
                || self.text.get(name.span.clone())?.starts_with(['U', 'u'])
                    && name.kind == TokenKind::QuotedIdentifier
            {
                return None;
            }
            match rest.split_first() {
                Some((dot, behind)) if dot.is_byte(b'.') => rest = behind,
                _ => break,
            }
        }
        let is_star = |piece: &Piece| self.text.get(piece.span.clone()) == Some("*");
        if let Some((mark, behind)) = rest.split_first()
            && (mark.is_byte(b')') || is_star(mark))
        {
            rest = behind;
        }
        let pieces = rest.split(|piece| piece.depth == 0 && piece.is_byte(b','));
        pieces.map(|piece| self.cut(piece)).collect()
    }
}

/// Writes a statement as SQL, and makes sure that it reads as the same tree.
pub(super) fn deparse(node: NodeEnum) -> Option<String> {
    let tree = protobuf::ParseResult {
        version: 0,
        stmts: vec![RawStmt {
            stmt: Some(Box::new(Node { node: Some(node) })),
            stmt_location: 0,
            stmt_len: 0,
        }],
    };
    let text = pg_query::deparse(&tree, DeparseOptions::default()).ok()?;
    let again = pg_query::parse(&text, ParserOptions::DEFAULT).ok()?;
    let [written] = again.protobuf.stmts.as_slice() else {
        return None;
    };
    let [meant] = tree.stmts.as_slice() else {
        return None;
    };
    (without_places(&written.stmt)? == without_places(&meant.stmt)?).then_some(text)
}

/// A tree as JSON, with every place in the text taken out. That of strings has no bare quotes, so
/// what looks like a field is one.
fn without_places(node: &impl serde::Serialize) -> Option<String> {
    let json = serde_json::to_string(node).ok()?;
    let mut kept = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some((name, behind)) = rest.split_once("\":") {
        kept.push_str(name);
        rest = behind;
        if is_place(name.rsplit('"').next().unwrap_or_default()) {
            rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '-');
        }
    }
    kept.push_str(rest);
    Some(kept)
}

/// A tree without the places in the text.
pub(super) fn shape(node: &impl serde::Serialize) -> Option<Value> {
    let mut value = serde_json::to_value(node).ok()?;
    forget_places(&mut value);
    Some(value)
}

fn forget_places(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| !(value.is_number() && is_place(key)));
            fields.values_mut().for_each(forget_places);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_places),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_place(key: &str) -> bool {
    key == "location"
        || key.ends_with("_location")
        || key.ends_with("list_start")
        || key.ends_with("list_end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_out_and_nothing_else() {
        let json = |sql: &str| {
            let parsed = pg_query::parse(sql, ParserOptions::DEFAULT).unwrap();
            without_places(&parsed.protobuf.stmts[0].stmt).unwrap()
        };
        let tablespace = "create tablespace t location '/5'";
        for (one, other, same) in [
            ("select a, 1", "select  a ,1", true),
            ("select array[1]", "select array [ 1 ]", true),
            ("select 1", "select 2", false),
            ("select '\"location\":5'", "select '\"location\":6'", false),
            (
                "select 'a\"location\":5'",
                "select 'a\"location\":6'",
                false,
            ),
            (tablespace, "create tablespace t location '/6'", false),
        ] {
            assert_eq!(json(one) == json(other), same, "{one} {other}");
        }
    }
}
