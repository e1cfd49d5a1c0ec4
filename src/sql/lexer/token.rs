//! Words and tokens.

/// An unquoted identifier or keyword, in lower case (ASCII letters only), cut after 31 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word {
    bytes: [u8; Word::MAX],
    length: u8,
    truncated: bool,
}

impl Word {
    /// How many bytes of a word are kept; no PostgreSQL keyword is as long.
    pub const MAX: usize = 31;

    /// The empty word, which equals no keyword.
    pub const EMPTY: Word = Word {
        bytes: [0; Word::MAX],
        length: 0,
        truncated: false,
    };

    /// The word in lower case. A cut word gives its first bytes (longer than any keyword), one
    /// that is no valid UTF-8 gives U+FFFD, the empty word the empty string.
    pub fn as_str(&self) -> &str {
        let kept = self.kept();
        match std::str::from_utf8(kept) {
            Ok(text) => text,
            Err(error) if self.truncated && error.error_len().is_none() => {
                std::str::from_utf8(&kept[..error.valid_up_to()]).unwrap_or("\u{fffd}")
            }
            Err(_) => "\u{fffd}",
        }
    }

    /// Whether this is exactly `keyword`, which is given in lower case.
    pub fn is(&self, keyword: &str) -> bool {
        !self.truncated && self.kept() == keyword.as_bytes()
    }

    /// Whether this is one of `keywords`, which are given in lower case.
    pub fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether the word was longer than [`Word::MAX`] bytes.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    pub(super) fn kept(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(super) fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(usize::from(self.length)) {
            Some(slot) => {
                *slot = byte.to_ascii_lowercase();
                self.length += 1;
            }
            None => self.truncated = true,
        }
    }
}

impl Default for Word {
    fn default() -> Self {
        Word::EMPTY
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.as_str())?;
        if self.truncated {
            formatter.write_str("…")
        } else {
            Ok(())
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An unquoted identifier or keyword. The prefix of `N'…'` is the word `n`, as in the server.
    Word(Word),
    /// `"…"` or `U&"…"`.
    QuotedIdentifier,
    /// `'…'`, `E'…'`, `B'…'`, `X'…'` or `U&'…'`, with its continuations on later lines.
    String,
    /// `$tag$…$tag$`.
    DollarString,
    /// `$1`.
    Parameter,
    /// A numeric literal.
    Number,
    /// An operator, or `::`, `:=` or `..`.
    Operator,
    /// Any other single byte; also a semicolon that does not end a statement.
    Punctuation(u8),
    /// A semicolon that ends a statement, or one where no statement is.
    Semicolon,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Offset of its first byte from the beginning of the text.
    pub start: u64,
    /// Offset behind its last byte.
    pub end: u64,
    /// Number of its statement, from 0; empty statements are not counted, and their semicolons
    /// bear the number of the statement that follows (and the index 0).
    pub statement: u32,
    /// Its number within the statement, from 0.
    pub index: u32,
    /// How many `(` and `[` are open around it; a bracket itself counts as outside.
    pub depth: u32,
}
