//! The chain of the audit file: the last member of each line is a hash over the line and the hash of the line before.
//! Plain functions of bytes: the file itself is [`crate::audit::log`]'s.

pub mod check;

use std::fmt;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;
/// What stands before the hash in a line.
const BEFORE: &[u8] = b",\"hash\":\"";
/// What stands after it.
const AFTER: &[u8] = b"\"}";
/// Bytes at the end of a line that hold its hash.
pub const SEAL_BYTES: usize = BEFORE.len() + DIGITS + AFTER.len();

/// A hash; written as 64 digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; DIGITS / 2]);

impl Hash {
    /// What the very first line continues.
    pub const NONE: Hash = Hash([0; DIGITS / 2]);

    /// A hash as written, and nothing else.
    pub fn parse(text: &[u8]) -> Option<Hash> {
        let digits: &[u8; DIGITS] = text.try_into().ok()?;
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut hash = Hash::NONE;
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (value(pair[0])? << 4) | value(pair[1])?;
        }
        Some(hash)
    }

    fn digits(&self) -> [u8; DIGITS] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [b'0'; DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(&self.0) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        digits
    }

    /// Over the hash of the line before and an object in two pieces.
    fn over(before: &Hash, start: &[u8], end: &[u8]) -> Hash {
        let mut context = Context::new(&SHA256);
        for piece in [&before.digits(), start, end] {
            context.update(piece);
        }
        let mut hash = Hash::NONE;
        for (to, from) in hash.0.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        hash
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default()) // it is ASCII
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Hash, Self::Err> {
        let digits = text.trim().to_ascii_lowercase();
        Hash::parse(digits.as_bytes()).ok_or("a hash has 64 hexadecimal digits")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::parse(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

/// Puts an object, `{…}` with at least one member, at the end of a line that ends in its hash and a newline; the hash.
pub fn seal(before: &Hash, object: &[u8], line: &mut Vec<u8>) -> Hash {
    let open = object.strip_suffix(b"}").unwrap_or(object);
    let hash = Hash::over(before, open, b"}");
    for piece in [open, BEFORE, &hash.digits(), AFTER, b"\n"] {
        line.extend_from_slice(piece);
    }
    hash
}

/// A line without its newline, in two: what the hash is over, but for the closing brace, and the hash. None when it has
/// no hash: it is torn, or no line of a chain. Text of statements can't be taken for a hash: quotes are escaped there.
fn opened(line: &[u8]) -> Option<(&[u8], Hash)> {
    let (open, end) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
    let digits = end.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    open.starts_with(b"{")
        .then_some((open, Hash::parse(digits)?))
}

/// The hash that stands in a line without its newline.
pub fn hash_in(line: &[u8]) -> Option<Hash> {
    opened(line).map(|(_, hash)| hash)
}

/// Where a file's chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The hash of the last line that has one.
    pub last: Option<Hash>,
    /// Bytes after that line (or from the beginning) that belong to no chain, without the newline that ends them.
    pub torn_bytes: Option<u64>,
    /// The last line, torn or not, ends in a newline; or there is none.
    pub is_ended: bool,
}

impl Tail {
    /// Looks at the last bytes of a file; `is_all` when they are all of them. None when they are too few to tell.
    pub fn of(bytes: &[u8], is_all: bool) -> Option<Tail> {
        let is_ended = bytes.is_empty() || bytes.ends_with(b"\n");
        let content = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut end = content.len();
        loop {
            let start = memchr::memrchr(b'\n', &content[..end]).map(|newline| newline + 1);
            if start.is_none() && !is_all {
                return None;
            }
            let begin = start.unwrap_or_default();
            if let Some(last) = hash_in(&content[begin..end]) {
                let torn = content.get(end + 1..).map(<[u8]>::len);
                return Some(Tail {
                    last: Some(last),
                    torn_bytes: torn.and_then(|bytes| u64::try_from(bytes).ok()),
                    is_ended,
                });
            }
            if begin == 0 {
                let torn = (!bytes.is_empty()).then_some(content.len());
                return Some(Tail {
                    last: None,
                    torn_bytes: torn.and_then(|bytes| u64::try_from(bytes).ok()),
                    is_ended,
                });
            }
            end = begin - 1;
        }
    }
}

/// The line with which a program begins to write a file, or goes on after what is torn.
#[derive(Debug, Serialize)]
pub struct Start<'a> {
    /// `start`.
    pub event: &'static str,
    /// RFC 3339, UTC.
    pub time: &'a str,
    /// The program's version.
    pub version: &'a str,
    /// Its process.
    pub pid: u32,
    /// The hash of the last line before it, in this file or in the one that this one follows.
    pub continues: Hash,
    /// The hash of the last line of the file that the program has left for this one, when this one had lines already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Hash>,
    /// Bytes right before it that belong to no chain: see [`Tail::torn_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_bytes: Option<u64>,
}

/// The line with which a program leaves a file.
#[derive(Debug, Serialize)]
pub struct End<'a> {
    /// `end`.
    pub event: &'static str,
    /// RFC 3339, UTC.
    pub time: &'a str,
}

/// [`Start::event`].
pub const START: &str = "start";
/// [`End::event`].
pub const END: &str = "end";

#[cfg(test)]
mod tests;
