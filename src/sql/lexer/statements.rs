//! Where statements begin and end, and how they begin.

use std::ops::Deref;

use super::{Lexer, LexicalMode, Token, TokenKind, Word};

/// How far a statement reads `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RoutineHead {
    #[default]
    Nothing,
    Create,
    Or,
    Replace,
    Routine,
}

/// What the last token was, as far as the `BEGIN ATOMIC` body needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Previous {
    #[default]
    Other,
    Begin,
    /// `as` or `.`: a label or column name follows, even if it looks like `case` or `end`.
    BeforeName,
    /// A `case` that was counted.
    Case,
}

/// Numbers the tokens: statements, indexes, brackets and `BEGIN ATOMIC … END` bodies.
#[derive(Clone, Debug, Default)]
pub(super) struct StatementTracker {
    statement: u32,
    index: u32,
    depth: u32,
    /// Open `BEGIN ATOMIC` and, within it, `CASE`.
    body: u32,
    head: RoutineHead,
    previous: Previous,
}

impl StatementTracker {
    pub(super) fn place(&mut self, kind: TokenKind, start: u64, end: u64) -> Token {
        self.follow(&kind);
        let kind = match kind {
            TokenKind::Punctuation(b';') if self.depth == 0 && self.body == 0 => {
                TokenKind::Semicolon
            }
            other => other,
        };
        if matches!(kind, TokenKind::Punctuation(b')' | b']')) {
            self.depth = self.depth.saturating_sub(1);
        }
        let Self {
            statement,
            index,
            depth,
            ..
        } = *self;
        match kind {
            TokenKind::Semicolon => {
                let next = if index > 0 {
                    statement.saturating_add(1)
                } else {
                    statement
                };
                *self = StatementTracker {
                    statement: next,
                    ..StatementTracker::default()
                };
            }
            TokenKind::Punctuation(b'(' | b'[') => self.depth = self.depth.saturating_add(1),
            _ => {}
        }
        if kind != TokenKind::Semicolon {
            self.index = self.index.saturating_add(1);
        }
        Token {
            kind,
            start,
            end,
            statement,
            index,
            depth,
        }
    }

    /// Follows `CREATE FUNCTION … BEGIN ATOMIC … END`, as psql does (`psqlscan.l`), but counts
    /// only a `begin` before `atomic`, and no `case` or `end` that is clearly a name.
    fn follow(&mut self, kind: &TokenKind) {
        let previous = std::mem::take(&mut self.previous);
        let word = match kind {
            TokenKind::Word(word) => word,
            TokenKind::Punctuation(byte) => {
                if previous == Previous::Case && matches!(byte, b';' | b',') {
                    // `select 1 case;`: it was a label.
                    self.body = self.body.saturating_sub(1);
                }
                if *byte == b'.' {
                    self.previous = Previous::BeforeName;
                }
                return;
            }
            _ => return,
        };
        if self.index < 4 {
            self.head = match (self.head, self.index) {
                (RoutineHead::Nothing, 0) if word.is("create") => RoutineHead::Create,
                (RoutineHead::Create, 1) if word.is("or") => RoutineHead::Or,
                (RoutineHead::Or, 2) if word.is("replace") => RoutineHead::Replace,
                (RoutineHead::Create, 1) | (RoutineHead::Replace, 3)
                    if word.is_any(&["function", "procedure"]) =>
                {
                    RoutineHead::Routine
                }
                (RoutineHead::Routine, _) => RoutineHead::Routine,
                _ => RoutineHead::Nothing,
            };
        }
        if self.head == RoutineHead::Routine && self.depth == 0 {
            self.follow_body(word, previous);
        }
    }

    fn follow_body(&mut self, word: &Word, previous: Previous) {
        if self.body == 0 {
            if word.is("begin") {
                self.previous = Previous::Begin;
            } else if word.is("atomic") && previous == Previous::Begin {
                self.body = 1;
            }
        } else if word.is("as") {
            self.previous = Previous::BeforeName;
        } else if previous != Previous::BeforeName {
            if word.is("case") {
                self.body = self.body.saturating_add(1);
                self.previous = Previous::Case;
            } else if word.is("end") {
                self.body -= 1;
            }
        }
    }
}

/// The words a statement begins with: up to four, and up to the first token that is no word;
/// opening parentheses before the first are skipped. It is a slice of [`Word`] to its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words {
    words: [Word; 4],
    count: usize,
}

impl Words {
    /// The first word; the empty one, which equals no keyword, if there is none.
    pub fn first(&self) -> &Word {
        &self.words[0]
    }

    fn push(&mut self, word: Word) {
        if let Some(slot) = self.words.get_mut(self.count) {
            *slot = word;
            self.count += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.count == self.words.len()
    }
}

impl Deref for Words {
    type Target = [Word];

    fn deref(&self) -> &[Word] {
        &self.words[..self.count]
    }
}

/// Begin, end and first words of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementStart {
    /// Offset of the first token.
    pub offset: usize,
    /// Offset behind the last token; the semicolon is not part of the statement.
    pub end: usize,
    /// The words it begins with.
    pub words: Words,
}

/// The statements of a text, at most the first 10 000.
pub fn statement_starts(text: &[u8], mode: LexicalMode) -> Vec<StatementStart> {
    const MOST: usize = 10_000;
    let mut starts: Vec<StatementStart> = Vec::new();
    let mut head = Head::default();
    let mut full = false;
    let mut note = |token: Token| {
        if token.kind == TokenKind::Semicolon || full {
            return;
        }
        let (offset, end) = (to_usize(token.start), to_usize(token.end));
        if token.index == 0 {
            if starts.len() == MOST {
                full = true;
                return;
            }
            head = Head::default();
            starts.push(StatementStart {
                offset,
                end,
                words: head.words,
            });
        }
        head.token(&token);
        if let Some(last) = starts.last_mut() {
            last.end = end;
            last.words = head.words;
        }
    };
    let mut lexer = Lexer::new(mode);
    lexer.feed(text, &mut note);
    lexer.finish(&mut note);
    starts
}

/// The offset of the first token that is the unquoted keyword `word`.
pub fn find_word(text: &[u8], mode: LexicalMode, word: &str) -> Option<usize> {
    const PIECE: usize = 1024;
    let word = word.to_ascii_lowercase();
    let mut found = None;
    let mut note = |token: Token| {
        if let TokenKind::Word(candidate) = token.kind
            && candidate.is(&word)
        {
            found.get_or_insert(token.start);
        }
        found.is_some()
    };
    let mut lexer = Lexer::new(mode);
    let mut done = false;
    for piece in text.chunks(PIECE) {
        lexer.feed(piece, &mut |token| done = note(token));
        if done {
            break;
        }
    }
    if !done {
        lexer.finish(&mut |token| done = note(token));
    }
    found.map(to_usize)
}

/// Whether there is any statement at all: a token other than a semicolon. Reads no further than the
/// first.
pub fn has_statement(text: &[u8], mode: LexicalMode) -> bool {
    const PIECE: usize = 256;
    let mut found = false;
    let mut lexer = Lexer::new(mode);
    for piece in text.chunks(PIECE) {
        lexer.feed(piece, &mut |token: Token| {
            found |= token.kind != TokenKind::Semicolon
        });
        if found {
            return true;
        }
    }
    lexer.finish(&mut |token: Token| found |= token.kind != TokenKind::Semicolon);
    found
}

pub(super) fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Collects the first words of a statement.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    words: Words,
    parenthesis: bool,
    closed: bool,
}

impl Head {
    fn token(&mut self, token: &Token) {
        match token.kind {
            _ if self.closed => {}
            TokenKind::Punctuation(b'(') if self.words.is_empty() => self.parenthesis = true,
            TokenKind::Word(word) => {
                self.words.push(word);
                self.closed = self.words.is_full();
            }
            _ => self.closed = true,
        }
    }
}

/// Whether a statement that begins with this word (in lower case) defines data or takes a heavy
/// lock; `do` and `call` don't count.
pub fn is_ddl_word(word: &str) -> bool {
    Lead::of(word) == Lead::DataDefinition
}

/// What the first word of a statement says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    DataDefinition,
    Dynamic,
    Indirect,
    Query,
    Other,
}

impl Lead {
    fn of(word: &str) -> Lead {
        match word {
            "create" | "alter" | "drop" | "truncate" | "reindex" | "cluster" | "comment"
            | "grant" | "revoke" | "refresh" | "security" | "reassign" | "import" | "lock"
            | "vacuum" => Lead::DataDefinition,
            "do" | "call" => Lead::Dynamic,
            "explain" | "prepare" | "execute" => Lead::Indirect,
            "select" | "with" | "table" | "values" => Lead::Query,
            _ => Lead::Other,
        }
    }
}

/// What a [`StatementScanner`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementSummary {
    /// The number of statements that are not empty.
    pub statements: u32,
    /// Whether a statement begins with a word of data definition or of a heavy lock (`create`,
    /// `alter`, `drop`, `truncate`, `lock`, `vacuum` and their like).
    pub ddl: bool,
    /// Whether a statement begins with `do` or `call`, which may run anything.
    pub dynamic: bool,
    /// Whether a query may be a `SELECT … INTO`, which creates a table.
    pub maybe_into: bool,
    /// Whether a statement begins with `explain`, `prepare` or `execute`, whose effect is that of
    /// another statement.
    pub indirect: bool,
    /// The first words of the first statement.
    pub first: Words,
    /// The first words of the first statement that made `ddl` true.
    pub first_ddl: Words,
}

/// Reads a text in pieces and keeps only a [`StatementSummary`].
#[derive(Clone, Debug)]
pub struct StatementScanner {
    lexer: Lexer,
    collector: Collector,
}

impl StatementScanner {
    /// A scanner at the beginning of a text.
    pub fn new(mode: LexicalMode) -> StatementScanner {
        StatementScanner {
            lexer: Lexer::new(mode),
            collector: Collector::default(),
        }
    }

    /// Reads the next bytes of the text.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { lexer, collector } = self;
        lexer.feed(bytes, &mut |token| collector.token(&token));
    }

    /// Ends the text.
    pub fn finish(mut self) -> StatementSummary {
        let Self { lexer, collector } = &mut self;
        lexer.finish(&mut |token| collector.token(&token));
        self.collector.summary
    }
}

/// What came before an `into`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BeforeInto {
    #[default]
    Other,
    Parenthesis,
    /// An `insert` or `merge` that can only be the statement, not a column of that name.
    Statement,
}

#[derive(Clone, Debug, Default)]
struct Collector {
    summary: StatementSummary,
    head: Head,
    query: bool,
    /// The statement is the one `summary.first_ddl` describes.
    describes_ddl: bool,
    before: BeforeInto,
    /// A `select`, `values` or `table` was seen outside parentheses.
    query_seen: bool,
}

impl Collector {
    fn token(&mut self, token: &Token) {
        if token.kind == TokenKind::Semicolon {
            return;
        }
        if token.index == 0 {
            self.summary.statements = self.summary.statements.saturating_add(1);
            *self = Collector {
                summary: self.summary,
                ..Collector::default()
            };
        }
        let leading = self.head.words.is_empty();
        if !self.head.closed {
            self.head.token(token);
            if leading && !self.head.words.is_empty() {
                self.lead();
            }
            if token.statement == 0 {
                self.summary.first = self.head.words;
            }
            if self.describes_ddl {
                self.summary.first_ddl = self.head.words;
            }
        }
        if self.query || self.head.parenthesis {
            self.look_for_into(token);
        }
    }

    fn lead(&mut self) {
        match Lead::of(self.head.words.first().as_str()) {
            Lead::DataDefinition => {
                self.describes_ddl = !self.summary.ddl;
                self.summary.ddl = true;
            }
            Lead::Dynamic => self.summary.dynamic = true,
            Lead::Indirect => self.summary.indirect = true,
            Lead::Query => self.query = true,
            Lead::Other => {}
        }
    }

    /// `insert into` and `merge into` create no table, but `select insert into t` does: `insert`
    /// counts as the statement only at the beginning of a parenthesis, or behind the common table
    /// expressions of a statement that has not begun to select.
    fn look_for_into(&mut self, token: &Token) {
        let before = std::mem::take(&mut self.before);
        let word = match token.kind {
            TokenKind::Word(word) => word,
            TokenKind::Punctuation(b'(') => {
                self.before = BeforeInto::Parenthesis;
                return;
            }
            _ => return,
        };
        if word.is("into") {
            self.summary.maybe_into |= before != BeforeInto::Statement;
        } else if word.is_any(&["insert", "merge"]) {
            let main = token.depth == 0 && !self.query_seen && self.head.words.first().is("with");
            if main || before == BeforeInto::Parenthesis {
                self.before = BeforeInto::Statement;
            }
        } else if token.depth == 0 && word.is_any(&["select", "values", "table"]) {
            self.query_seen = true;
        }
    }
}
