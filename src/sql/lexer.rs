//! A streaming lexer with PostgreSQL's lexical rules.
//!
//! It follows `src/backend/parser/scan.l` of PostgreSQL 18, and where PostgreSQL 14 reads a text
//! that 18 refuses (a number followed by letters), it reads it as 14 does: a text that a server
//! refuses is harmless however it is read, a text that some server runs must be read as that
//! server reads it.
//!
//! Bytes may come in pieces of any size. Memory is bounded whatever comes: words are kept up to
//! [`Word::MAX`] bytes, dollar-quote tags up to 63 bytes and beyond that as a keyed hash. The
//! lexer never fails: a literal that has no end runs to the end of the text.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use memchr::{memchr, memchr2};

use self::statements::StatementTracker;

mod ends;
mod statements;
#[cfg(test)]
mod tests;
mod token;

pub use self::statements::{
    StatementScanner, StatementStart, StatementSummary, Words, find_word, has_statement,
    is_ddl_word, statement_starts,
};
pub use self::token::{Token, TokenKind, Word};

/// The settings that change how a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexicalMode {
    /// The server's `standard_conforming_strings`: when off, backslash escapes in plain literals.
    pub standard_conforming_strings: bool,
}

impl Default for LexicalMode {
    fn default() -> Self {
        LexicalMode {
            standard_conforming_strings: true,
        }
    }
}

/// How the inside of a `'…'` literal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literal {
    /// Only `''` is special.
    Plain,
    /// Backslash escapes too.
    Escape,
    /// `B'…'` and `X'…'`: not even `''` is special.
    Bits,
}

/// Which part of a decimal number the lexer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// The last byte of a `0x…`, `0o…` or `0b…` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RadixTail {
    Prefix,
    Digit,
    Underscore,
}

/// Where the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between tokens.
    Start,
    Identifier,
    /// After `U&`.
    UnicodePrefix,
    Literal(Literal),
    /// After a backslash.
    LiteralEscape,
    /// After a quote that may end the literal.
    LiteralQuote(Literal),
    /// In the white space after a literal, which may continue; `newline`: a line end was seen.
    Gap {
        literal: Literal,
        newline: bool,
    },
    /// After a `-` in that white space.
    GapDash {
        literal: Literal,
    },
    /// In a `--` comment in that white space.
    GapComment {
        literal: Literal,
    },
    Quoted,
    /// After a `"` that may end the identifier.
    QuotedQuote,
    LineComment,
    /// `previous` is the last byte, unless it was used already.
    BlockComment {
        depth: u64,
        previous: u8,
    },
    /// After a `$`.
    Dollar,
    DollarTag,
    DollarBody,
    /// After a `$` within a dollar-quoted string.
    DollarCandidate,
    Parameter,
    Operator,
    Dot,
    Colon,
    Number(Part),
    Radix {
        base: u8,
        tail: RadixTail,
    },
}

/// The tag of a dollar quote: its first bytes, its length, a keyed hash of the rest.
#[derive(Clone, Debug)]
struct Tag {
    bytes: [u8; Tag::KEPT],
    length: u64,
    rest: Option<DefaultHasher>,
}

impl Tag {
    const KEPT: usize = 63;

    const EMPTY: Tag = Tag {
        bytes: [0; Tag::KEPT],
        length: 0,
        rest: None,
    };

    fn clear(&mut self) {
        self.length = 0;
        self.rest = None;
    }

    fn push(&mut self, byte: u8, key: &mut Option<RandomState>) {
        let slot = usize::try_from(self.length)
            .ok()
            .and_then(|at| self.bytes.get_mut(at));
        match slot {
            Some(slot) => *slot = byte,
            None => self
                .rest
                .get_or_insert_with(|| key.get_or_insert_with(RandomState::new).build_hasher())
                .write_u8(byte),
        }
        self.length += 1;
    }

    fn same(&self, other: &Tag) -> bool {
        let kept = usize::try_from(self.length).map_or(Tag::KEPT, |length| length.min(Tag::KEPT));
        self.length == other.length
            && self.bytes[..kept] == other.bytes[..kept]
            && self.rest.as_ref().map(DefaultHasher::finish)
                == other.rest.as_ref().map(DefaultHasher::finish)
    }
}

/// The operator being read; its last byte is held back, since it may begin a comment.
#[derive(Clone, Copy, Debug, Default)]
struct OperatorRun {
    held: u8,
    /// Offset behind the last byte that is neither `+` nor `-`.
    core_end: u64,
    /// Whether a byte was seen that lets an operator end with `+` or `-`.
    qualified: bool,
}

impl OperatorRun {
    /// Takes the byte held back, which stands before offset `end`, into the operator.
    fn settle(&mut self, end: u64) {
        if !matches!(self.held, b'+' | b'-') {
            self.core_end = end;
        }
        if matches!(
            self.held,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'
        ) {
            self.qualified = true;
        }
    }
}

/// The decimal number being read.
#[derive(Clone, Copy, Debug, Default)]
struct NumberRun {
    /// Where a server without digit separators (before 16) ends the number and begins a word.
    separator: Option<u64>,
    /// Whether the last byte was an underscore.
    underscore: bool,
    /// Where the `e` of the exponent stands.
    exponent: u64,
    /// The sign of the exponent.
    sign: u8,
    /// Whether the number begins with `0`.
    zero: bool,
}

/// A byte-fed lexer; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Lexer {
    mode: LexicalMode,
    state: State,
    position: u64,
    token_start: u64,
    literal_end: u64,
    word: Word,
    tag: Tag,
    candidate: Tag,
    tag_key: Option<RandomState>,
    operator: OperatorRun,
    number: NumberRun,
    statements: StatementTracker,
}

impl Lexer {
    /// A lexer at the beginning of a text.
    pub fn new(mode: LexicalMode) -> Lexer {
        Lexer {
            mode,
            state: State::Start,
            position: 0,
            token_start: 0,
            literal_end: 0,
            word: Word::EMPTY,
            tag: Tag::EMPTY,
            candidate: Tag::EMPTY,
            tag_key: None,
            operator: OperatorRun::default(),
            number: NumberRun::default(),
            statements: StatementTracker::default(),
        }
    }

    /// Reads the next bytes of the text and emits the tokens that are complete.
    pub fn feed(&mut self, bytes: &[u8], emit: &mut impl FnMut(Token)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let plain = self.plain_prefix(rest);
            if plain > 0 {
                self.position += plain as u64;
                rest = &rest[plain..];
                continue;
            }
            while !self.step(byte, emit) {}
            self.position += 1;
            rest = &rest[1..];
        }
    }

    /// Ends the text and emits the tokens that were waiting for more.
    pub fn finish(&mut self, emit: &mut impl FnMut(Token)) {
        // A blank ends every token that has no end mark of its own.
        while !self.step(b' ', emit) {}
        let end = self.position;
        match self.state {
            State::Literal(_) | State::LiteralEscape => self.token(TokenKind::String, end, emit),
            State::Gap { .. } | State::GapComment { .. } => {
                self.token(TokenKind::String, self.literal_end, emit);
            }
            State::Quoted => self.token(TokenKind::QuotedIdentifier, end, emit),
            State::DollarBody | State::DollarCandidate => {
                self.token(TokenKind::DollarString, end, emit);
            }
            _ => {}
        }
        self.state = State::Start;
    }

    /// How many of the first bytes change nothing in this state.
    fn plain_prefix(&self, rest: &[u8]) -> usize {
        let special = match self.state {
            State::Literal(Literal::Escape) => memchr2(b'\'', b'\\', rest),
            State::Literal(_) => memchr(b'\'', rest),
            State::Quoted => memchr(b'"', rest),
            State::DollarBody => memchr(b'$', rest),
            State::LineComment | State::GapComment { .. } => memchr2(b'\n', b'\r', rest),
            State::BlockComment { previous: 0, .. } => memchr2(b'*', b'/', rest),
            _ => return 0,
        };
        special.unwrap_or(rest.len())
    }

    /// Handles one byte; false when only the state changed and the byte is to be handled again.
    fn step(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match self.state {
            State::Start => self.step_start(byte, emit),
            State::Identifier => self.step_identifier(byte, emit),
            State::UnicodePrefix => self.step_unicode_prefix(byte, emit),
            State::Literal(literal) => self.step_literal(literal, byte),
            State::LiteralEscape => self.go(State::Literal(Literal::Escape)),
            State::LiteralQuote(literal) => {
                if byte == b'\'' && literal != Literal::Bits {
                    return self.go(State::Literal(literal));
                }
                self.state = State::Gap {
                    literal,
                    newline: false,
                };
                false
            }
            State::Gap { literal, newline } => self.step_gap(literal, newline, byte, emit),
            State::GapDash { literal } => self.step_gap_dash(literal, byte, emit),
            State::GapComment { literal } => match byte {
                b'\n' | b'\r' => self.go(State::Gap {
                    literal,
                    newline: true,
                }),
                _ => true,
            },
            State::Quoted => byte != b'"' || self.go(State::QuotedQuote),
            State::QuotedQuote => {
                if byte == b'"' {
                    return self.go(State::Quoted);
                }
                self.end_token(TokenKind::QuotedIdentifier, self.position, emit)
            }
            State::LineComment => !matches!(byte, b'\n' | b'\r') || self.go(State::Start),
            State::BlockComment { depth, previous } => self.step_comment(depth, previous, byte),
            State::Dollar => self.step_dollar(byte, emit),
            State::DollarTag => self.step_dollar_tag(byte, emit),
            State::DollarBody => byte != b'$' || self.begin_candidate(),
            State::DollarCandidate => self.step_candidate(byte, emit),
            State::Parameter => {
                byte.is_ascii_digit() || self.end_token(TokenKind::Parameter, self.position, emit)
            }
            State::Operator => self.step_operator(byte, emit),
            State::Dot => self.step_dot(byte, emit),
            State::Colon => match byte {
                b':' | b'=' => self.close_token(TokenKind::Operator, emit),
                _ => self.end_token(TokenKind::Punctuation(b':'), self.position, emit),
            },
            State::Number(part) => self.step_number(part, byte, emit),
            State::Radix { base, tail } => self.step_radix(base, tail, byte, emit),
        }
    }

    /// Changes the state; the byte is used.
    fn go(&mut self, state: State) -> bool {
        self.state = state;
        true
    }

    /// Emits the token from `token_start` to `end`.
    fn token(&mut self, kind: TokenKind, end: u64, emit: &mut impl FnMut(Token)) {
        let token = self.statements.place(kind, self.token_start, end);
        emit(token);
    }

    /// Emits a token that ended at `end`, before this byte, which is to be handled again.
    fn end_token(&mut self, kind: TokenKind, end: u64, emit: &mut impl FnMut(Token)) -> bool {
        self.token(kind, end, emit);
        self.state = State::Start;
        false
    }

    /// Emits a token that ends with this byte.
    fn close_token(&mut self, kind: TokenKind, emit: &mut impl FnMut(Token)) -> bool {
        self.token(kind, self.position + 1, emit);
        self.go(State::Start)
    }

    fn step_start(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        self.token_start = self.position;
        match byte {
            _ if is_space(byte) => true,
            _ if is_identifier_start(byte) => {
                self.word = Word::EMPTY;
                self.word.push(byte);
                self.go(State::Identifier)
            }
            b'0'..=b'9' => {
                self.number = NumberRun {
                    zero: byte == b'0',
                    ..NumberRun::default()
                };
                self.go(State::Number(Part::Integer))
            }
            b'\'' => self.go(State::Literal(self.plain_literal())),
            b'"' => self.go(State::Quoted),
            b'$' => self.go(State::Dollar),
            b'.' => self.go(State::Dot),
            b':' => self.go(State::Colon),
            _ if is_operator(byte) => {
                self.begin_operator(byte, self.position);
                true
            }
            _ => self.close_token(TokenKind::Punctuation(byte), emit),
        }
    }

    fn plain_literal(&self) -> Literal {
        if self.mode.standard_conforming_strings {
            Literal::Plain
        } else {
            Literal::Escape
        }
    }

    fn step_identifier(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        if is_identifier(byte) {
            self.word.push(byte);
            return true;
        }
        let next = match (self.word.kept(), byte) {
            (b"e", b'\'') => Some(State::Literal(Literal::Escape)),
            (b"b" | b"x", b'\'') => Some(State::Literal(Literal::Bits)),
            (b"u", b'&') => Some(State::UnicodePrefix),
            _ => None,
        };
        match next {
            Some(state) => self.go(state),
            None => self.end_token(TokenKind::Word(self.word), self.position, emit),
        }
    }

    fn step_unicode_prefix(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match byte {
            b'\'' => self.go(State::Literal(Literal::Plain)),
            b'"' => self.go(State::Quoted),
            _ => {
                let ampersand = self.token_start + 1;
                self.token(TokenKind::Word(self.word), ampersand, emit);
                self.begin_operator(b'&', ampersand);
                false
            }
        }
    }

    fn step_literal(&mut self, literal: Literal, byte: u8) -> bool {
        match byte {
            b'\'' => {
                self.literal_end = self.position + 1;
                self.go(State::LiteralQuote(literal))
            }
            b'\\' if literal == Literal::Escape => self.go(State::LiteralEscape),
            _ => true,
        }
    }

    fn step_gap(
        &mut self,
        literal: Literal,
        newline: bool,
        byte: u8,
        emit: &mut impl FnMut(Token),
    ) -> bool {
        match byte {
            b'\n' | b'\r' => self.go(State::Gap {
                literal,
                newline: true,
            }),
            _ if is_space(byte) => true,
            b'-' => self.go(State::GapDash { literal }),
            b'\'' if newline => self.go(State::Literal(literal)),
            _ => self.end_token(TokenKind::String, self.literal_end, emit),
        }
    }

    fn step_gap_dash(&mut self, literal: Literal, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        if byte == b'-' {
            return self.go(State::GapComment { literal });
        }
        self.token(TokenKind::String, self.literal_end, emit);
        self.begin_operator(b'-', self.position - 1);
        false
    }

    fn step_comment(&mut self, depth: u64, previous: u8, byte: u8) -> bool {
        match (previous, byte) {
            (b'/', b'*') => self.go(State::BlockComment {
                depth: depth + 1,
                previous: 0,
            }),
            (b'*', b'/') if depth == 0 => self.go(State::Start),
            (b'*', b'/') => self.go(State::BlockComment {
                depth: depth - 1,
                previous: 0,
            }),
            (_, b'*' | b'/') => self.go(State::BlockComment {
                depth,
                previous: byte,
            }),
            _ => self.go(State::BlockComment { depth, previous: 0 }),
        }
    }

    fn step_dollar(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        self.tag.clear();
        match byte {
            b'$' => self.go(State::DollarBody),
            b'0'..=b'9' => self.go(State::Parameter),
            _ if is_identifier_start(byte) => {
                self.word = Word::EMPTY;
                self.word.push(byte);
                self.tag.push(byte, &mut self.tag_key);
                self.go(State::DollarTag)
            }
            _ => self.end_token(TokenKind::Punctuation(b'$'), self.position, emit),
        }
    }

    fn step_dollar_tag(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match byte {
            b'$' => self.go(State::DollarBody),
            _ if is_identifier(byte) => {
                self.word.push(byte);
                self.tag.push(byte, &mut self.tag_key);
                true
            }
            _ => {
                // No tag after all: a lone `$`, then an identifier (or the prefix of a literal).
                let word_start = self.token_start + 1;
                self.token(TokenKind::Punctuation(b'$'), word_start, emit);
                self.token_start = word_start;
                self.state = State::Identifier;
                false
            }
        }
    }

    fn begin_candidate(&mut self) -> bool {
        self.candidate.clear();
        self.go(State::DollarCandidate)
    }

    fn step_candidate(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match byte {
            b'$' if self.candidate.same(&self.tag) => {
                self.close_token(TokenKind::DollarString, emit)
            }
            // A `$` that ends another tag may begin the right one.
            b'$' => self.begin_candidate(),
            b'0'..=b'9' if self.candidate.length == 0 => self.go(State::DollarBody),
            _ if is_identifier(byte) => {
                self.candidate.push(byte, &mut self.tag_key);
                true
            }
            _ => self.go(State::DollarBody),
        }
    }

    fn begin_operator(&mut self, byte: u8, start: u64) {
        self.token_start = start;
        self.operator = OperatorRun {
            held: byte,
            core_end: start,
            qualified: false,
        };
        self.state = State::Operator;
    }

    fn step_operator(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match (self.operator.held, byte) {
            (b'/', b'*') => {
                self.end_operator(self.position - 1, emit);
                self.go(State::BlockComment {
                    depth: 0,
                    previous: 0,
                })
            }
            (b'-', b'-') => {
                self.end_operator(self.position - 1, emit);
                self.go(State::LineComment)
            }
            _ if is_operator(byte) => {
                self.operator.settle(self.position);
                self.operator.held = byte;
                true
            }
            _ => {
                self.operator.settle(self.position);
                self.end_operator(self.position, emit);
                self.state = State::Start;
                false
            }
        }
    }

    /// Emits the operator characters up to `end`: one operator, and after it each `+` and `-`
    /// that PostgreSQL does not allow at the end of this one.
    fn end_operator(&mut self, end: u64, emit: &mut impl FnMut(Token)) {
        if end <= self.token_start {
            return;
        }
        let first_end = if self.operator.qualified {
            end
        } else {
            self.operator.core_end.max(self.token_start + 1)
        };
        self.token(TokenKind::Operator, first_end, emit);
        for start in first_end..end {
            self.token_start = start;
            self.token(TokenKind::Operator, start + 1, emit);
        }
    }

    fn step_dot(&mut self, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match byte {
            b'.' => self.close_token(TokenKind::Operator, emit),
            b'0'..=b'9' => {
                self.number = NumberRun::default();
                self.go(State::Number(Part::Fraction))
            }
            _ => self.end_token(TokenKind::Punctuation(b'.'), self.position, emit),
        }
    }

    fn step_number(&mut self, part: Part, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match (part, byte) {
            (Part::Integer | Part::Fraction | Part::ExponentDigits, _) => {
                self.step_digits(part, byte, emit)
            }
            (Part::Point, b'.') => {
                // `1..2` is a number, `..` and a number.
                self.token(TokenKind::Number, self.position - 1, emit);
                self.token_start = self.position - 1;
                self.state = State::Dot;
                false
            }
            (Part::Point, b'0'..=b'9') => self.go(State::Number(Part::Fraction)),
            (Part::Point, b'e' | b'E') => self.begin_exponent(byte),
            (Part::Point, _) => self.end_token(TokenKind::Number, self.position, emit),
            (Part::Exponent, b'+' | b'-') => {
                self.number.sign = byte;
                self.go(State::Number(Part::ExponentSign))
            }
            (Part::Exponent, b'0'..=b'9') => {
                self.state = State::Number(Part::ExponentDigits);
                false
            }
            (Part::Exponent, _) => self.number_then_word(emit),
            (Part::ExponentSign, b'0'..=b'9') => {
                self.number.separator = None;
                self.go(State::Number(Part::ExponentDigits))
            }
            (Part::ExponentSign, _) => {
                let sign = self.position - 1;
                self.number_then_word(emit);
                self.token(TokenKind::Word(self.word), sign, emit);
                self.begin_operator(self.number.sign, sign);
                false
            }
        }
    }

    fn step_digits(&mut self, part: Part, byte: u8, emit: &mut impl FnMut(Token)) -> bool {
        match byte {
            b'0'..=b'9' => {
                self.number.underscore = false;
                self.word_in_number(byte);
                true
            }
            b'_' if !self.number.underscore => {
                self.number.underscore = true;
                if self.number.separator.is_none() {
                    self.number.separator = Some(self.position);
                    self.word = Word::EMPTY;
                }
                self.word_in_number(byte);
                true
            }
            _ if self.number.underscore => self.number_then_word(emit),
            b'.' if part == Part::Integer => {
                self.number.separator = None;
                self.go(State::Number(Part::Point))
            }
            b'e' | b'E' if part != Part::ExponentDigits => self.begin_exponent(byte),
            _ if is_identifier(byte) && self.number.separator.is_some() => {
                self.number_then_word(emit)
            }
            _ => match radix(byte) {
                Some(base) if self.number.zero && self.position == self.token_start + 1 => {
                    self.word = Word::EMPTY;
                    self.word.push(byte);
                    self.go(State::Radix {
                        base,
                        tail: RadixTail::Prefix,
                    })
                }
                _ => self.end_token(TokenKind::Number, self.position, emit),
            },
        }
    }

    /// Keeps a byte that belongs to the word a server without digit separators would read.
    fn word_in_number(&mut self, byte: u8) {
        if self.number.separator.is_some() {
            self.word.push(byte);
        }
    }

    fn begin_exponent(&mut self, byte: u8) -> bool {
        self.number.exponent = self.position;
        if self.number.separator.is_none() {
            self.word = Word::EMPTY;
        }
        self.word.push(byte);
        self.go(State::Number(Part::Exponent))
    }

    /// Ends a number where a word begins in it: at the first digit separator or at the `e`.
    fn number_then_word(&mut self, emit: &mut impl FnMut(Token)) -> bool {
        let word_start = self.number.separator.unwrap_or(self.number.exponent);
        self.token(TokenKind::Number, word_start, emit);
        self.token_start = word_start;
        self.state = State::Identifier;
        false
    }

    fn step_radix(
        &mut self,
        base: u8,
        tail: RadixTail,
        byte: u8,
        emit: &mut impl FnMut(Token),
    ) -> bool {
        let next = match byte {
            b'_' if tail != RadixTail::Underscore => Some(RadixTail::Underscore),
            _ if char::from(byte).is_digit(u32::from(base)) => Some(RadixTail::Digit),
            _ => None,
        };
        if let Some(tail) = next {
            self.word.push(byte);
            return self.go(State::Radix { base, tail });
        }
        if tail == RadixTail::Digit && !is_identifier(byte) {
            return self.end_token(TokenKind::Number, self.position, emit);
        }
        // An error since PostgreSQL 15; before, `0` and an identifier.
        let word_start = self.token_start + 1;
        self.token(TokenKind::Number, word_start, emit);
        self.token_start = word_start;
        self.state = State::Identifier;
        false
    }
}

/// White space of PostgreSQL 16 and later (before, `\v` was an error).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

/// The base that a letter after a leading `0` stands for.
fn radix(byte: u8) -> Option<u8> {
    match byte {
        b'x' | b'X' => Some(16),
        b'o' | b'O' => Some(8),
        b'b' | b'B' => Some(2),
        _ => None,
    }
}
