//! What a `client_encoding` does to lexing.
//!
//! In the encodings that PostgreSQL accepts from clients only, the second byte of a character may
//! be an ASCII byte, such as the backslash. A lexer that looks at bytes sees quotes and escapes
//! that are not there. [`to_lexable`] replaces every character beyond ASCII by a private-use one,
//! so that the text has the lexical structure the server sees.
//!
//! Lengths are those of `pg_*_mblen` in `src/common/wchar.c`. Where the server refuses a
//! character, it refuses the whole text, and it does not matter how the character is read.

use std::borrow::Cow;

/// First code point for a byte that stands alone.
const SINGLE: u32 = 0xF_0000;
/// First code point for two bytes, of which the first is 0x80 or more.
const DOUBLE: u32 = 0x10_0000;
/// First code point for the three-byte characters of JOHAB.
const TRIPLE: u32 = 0x10_8000;

/// A `client_encoding`, as far as it matters to lexing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientEncoding {
    /// UTF-8.
    Utf8,
    /// Every encoding in which a byte below 0x80 is always ASCII: `LATINn`, `WINn`, `ISO_8859_n`,
    /// `KOI8x`, `EUC_x`, `SQL_ASCII`, `MULE_INTERNAL`.
    SingleByteSafe,
    /// `SJIS` and `SHIFT_JIS_2004`.
    Sjis,
    /// `BIG5`.
    Big5,
    /// `GBK`.
    Gbk,
    /// `UHC`.
    Uhc,
    /// `GB18030`.
    Gb18030,
    /// `JOHAB`.
    Johab,
}

impl ClientEncoding {
    /// Every kind of encoding.
    pub const ALL: [ClientEncoding; 8] = [
        ClientEncoding::Utf8,
        ClientEncoding::SingleByteSafe,
        ClientEncoding::Sjis,
        ClientEncoding::Big5,
        ClientEncoding::Gbk,
        ClientEncoding::Uhc,
        ClientEncoding::Gb18030,
        ClientEncoding::Johab,
    ];

    /// The encoding of this name, which may be any that the server knows; as the server does, it
    /// looks at letters and digits only, and not at their case. None if the name is unknown.
    pub fn from_name(name: &str) -> Option<ClientEncoding> {
        const LONGEST: usize = 63;
        if name.len() > LONGEST {
            return None;
        }
        let clean: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        match clean.as_str() {
            "utf8" | "unicode" => Some(ClientEncoding::Utf8),
            "sjis" | "shiftjis" | "mskanji" | "shiftjis2004" | "win932" | "windows932" => {
                Some(ClientEncoding::Sjis)
            }
            "big5" | "win950" | "windows950" => Some(ClientEncoding::Big5),
            "gbk" | "win936" | "windows936" => Some(ClientEncoding::Gbk),
            "uhc" | "win949" | "windows949" => Some(ClientEncoding::Uhc),
            "gb18030" => Some(ClientEncoding::Gb18030),
            "johab" => Some(ClientEncoding::Johab),
            safe if is_safe_name(safe) => Some(ClientEncoding::SingleByteSafe),
            _ => None,
        }
    }
}

/// Whether this is the cleaned name of an encoding in which bytes below 0x80 are always ASCII.
fn is_safe_name(name: &str) -> bool {
    if let Some(page) = name
        .strip_prefix("windows")
        .or_else(|| name.strip_prefix("win"))
    {
        return matches!(
            page,
            "866"
                | "874"
                | "1250"
                | "1251"
                | "1252"
                | "1253"
                | "1254"
                | "1255"
                | "1256"
                | "1257"
                | "1258"
        ) || name == "win";
    }
    if let Some(part) = name.strip_prefix("iso8859") {
        return matches!(
            part,
            "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "10" | "13" | "14" | "15" | "16"
        );
    }
    if let Some(number) = name.strip_prefix("latin") {
        return matches!(
            number,
            "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "10"
        );
    }
    matches!(
        name,
        "sqlascii"
            | "muleinternal"
            | "koi8"
            | "koi8r"
            | "koi8u"
            | "euccn"
            | "eucjp"
            | "eucjis2004"
            | "euckr"
            | "euctw"
            | "abc"
            | "alt"
            | "tcvn"
            | "tcvn5712"
            | "vscii"
    )
}

/// Whether [`to_lexable`] gives these bytes as they are, so that offsets are the same in both.
pub fn is_ascii_or_utf8(bytes: &[u8], encoding: ClientEncoding) -> bool {
    borrowed(bytes, encoding).is_some()
}

/// A text with the same lexical structure in valid UTF-8.
///
/// ASCII stays as it is. In UTF-8 so does all that is valid. Every other character becomes one
/// private-use character, different for different characters; a four-byte character of GB18030
/// becomes two (there are more of them than private-use characters). A byte that belongs to no
/// character, and NUL, becomes a private-use character of its own. Within one text different
/// bytes always give different text.
pub fn to_lexable(bytes: &[u8], encoding: ClientEncoding) -> Cow<'_, str> {
    if let Some(text) = borrowed(bytes, encoding) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    if encoding == ClientEncoding::Utf8 {
        push_utf8(bytes, &mut text);
        return Cow::Owned(text);
    }
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        if first.is_ascii() && first != 0 {
            text.push(char::from(first));
            rest = &rest[1..];
            continue;
        }
        let (code, length) = character(rest, first, encoding);
        push_code(code, &mut text);
        rest = &rest[length..];
    }
    Cow::Owned(text)
}

fn borrowed(bytes: &[u8], encoding: ClientEncoding) -> Option<&str> {
    if memchr::memchr(0, bytes).is_some() {
        return None;
    }
    if encoding != ClientEncoding::Utf8 && !bytes.is_ascii() {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

fn push_utf8(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            // A NUL, and a genuine character that looks like a replaced byte, go byte by byte.
            if letter == '\0' || (SINGLE..=SINGLE + 0xFF).contains(&u32::from(letter)) {
                for &byte in letter.encode_utf8(&mut [0; 4]).as_bytes() {
                    push_code(SINGLE + u32::from(byte), text);
                }
            } else {
                text.push(letter);
            }
        }
        for &byte in chunk.invalid() {
            push_code(SINGLE + u32::from(byte), text);
        }
    }
}

fn push_code(code: u32, text: &mut String) {
    // All codes made here are private-use code points.
    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
}

/// The private-use code of the character (or half of a four-byte one) that `rest` begins with,
/// and its length in bytes, which is at most that of `rest`.
fn character(rest: &[u8], first: u8, encoding: ClientEncoding) -> (u32, usize) {
    let single = (SINGLE + u32::from(first), 1);
    let alone = match encoding {
        _ if first < 0x80 => true,
        ClientEncoding::Utf8 | ClientEncoding::SingleByteSafe => true,
        // Half-width katakana.
        ClientEncoding::Sjis => (0xA1..=0xDF).contains(&first),
        _ => false,
    };
    if alone {
        return single;
    }
    if encoding == ClientEncoding::Johab
        && let [0x8F, second @ 0xA1..=0xFE, third @ 0xA1..=0xFE, ..] = *rest
    {
        let code = TRIPLE + u32::from(second - 0xA1) * 94 + u32::from(third - 0xA1);
        return (code, 3);
    }
    // The halves of a four-byte character of GB18030 look like two-byte characters, except that
    // the second byte is a digit, which no two-byte character has.
    match rest.get(1) {
        Some(&second) => {
            let code = (u32::from(first) << 8 | u32::from(second)) - 0x8000;
            (DOUBLE + code, 2)
        }
        None => single,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [ClientEncoding; 8] = ClientEncoding::ALL;

    /// The bytes a lexable text came from.
    fn original(text: &str, encoding: ClientEncoding) -> Vec<u8> {
        let mut bytes = Vec::new();
        for letter in text.chars() {
            let code = u32::from(letter);
            match code {
                TRIPLE.. if encoding != ClientEncoding::Utf8 => {
                    let (row, cell) = ((code - TRIPLE) / 94, (code - TRIPLE) % 94);
                    bytes.extend([0x8F, row as u8 + 0xA1, cell as u8 + 0xA1]);
                }
                DOUBLE.. if encoding != ClientEncoding::Utf8 => {
                    bytes.extend(((code - DOUBLE + 0x8000) as u16).to_be_bytes());
                }
                SINGLE..=0xF_00FF => bytes.push((code - SINGLE) as u8),
                _ => bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }

    #[test]
    fn names() {
        for (name, encoding) in [
            ("UTF8", Some(ClientEncoding::Utf8)),
            ("UNICODE", Some(ClientEncoding::Utf8)),
            ("utf-8", Some(ClientEncoding::Utf8)),
            ("SJIS", Some(ClientEncoding::Sjis)),
            ("SHIFT_JIS_2004", Some(ClientEncoding::Sjis)),
            ("big5", Some(ClientEncoding::Big5)),
            ("GBK", Some(ClientEncoding::Gbk)),
            ("UHC", Some(ClientEncoding::Uhc)),
            ("GB18030", Some(ClientEncoding::Gb18030)),
            ("JOHAB", Some(ClientEncoding::Johab)),
            ("windows-932", Some(ClientEncoding::Sjis)),
            ("", None),
            ("LATIN11", None),
            ("WIN", Some(ClientEncoding::SingleByteSafe)),
            ("WINDOWS", None),
            ("WIN932X", None),
            ("UTF16", None),
        ] {
            assert_eq!(ClientEncoding::from_name(name), encoding, "{name}");
        }
        for name in [
            "SQL_ASCII",
            "EUC_JP",
            "EUC_CN",
            "EUC_KR",
            "EUC_TW",
            "EUC_JIS_2004",
            "MULE_INTERNAL",
            "LATIN1",
            "LATIN10",
            "WIN1256",
            "WIN1258",
            "WIN866",
            "WIN874",
            "KOI8R",
            "WIN1251",
            "WIN1252",
            "ISO_8859_5",
            "ISO_8859_8",
            "WIN1250",
            "WIN1257",
            "KOI8U",
        ] {
            assert_eq!(
                ClientEncoding::from_name(name),
                Some(ClientEncoding::SingleByteSafe)
            );
        }
    }

    #[test]
    fn trail_bytes_are_no_ascii() {
        let sjis = b"select E'\x95\x5c' ; create table x(a int) --'";
        assert_eq!(
            to_lexable(sjis, ClientEncoding::Sjis),
            "select E'\u{10155C}' ; create table x(a int) --'"
        );
        // Half-width katakana are one byte, so here the backslash is one.
        assert_eq!(
            to_lexable(b"\xb1\x5c'", ClientEncoding::Sjis),
            "\u{F00B1}\\'"
        );
        assert_eq!(
            to_lexable(b"\xb1\x5c'", ClientEncoding::SingleByteSafe),
            "\u{F00B1}\\'"
        );
        assert_eq!(to_lexable(b"\xb1\x5c'", ClientEncoding::Gbk), "\u{10315C}'");
        // Four bytes, then two, of GB18030.
        assert_eq!(
            to_lexable(b"\x81\x30\x81\x30;\x81\x5c;", ClientEncoding::Gb18030),
            "\u{100130}\u{100130};\u{10015C};"
        );
        assert_eq!(
            to_lexable(b"\x8f\xa1\xa2;", ClientEncoding::Johab),
            "\u{108001};"
        );
        assert_eq!(
            to_lexable(b"\x8f\x5c;", ClientEncoding::Johab),
            "\u{100F5C};"
        );
        assert_eq!(to_lexable(b"a\x95", ClientEncoding::Sjis), "a\u{F0095}");
        assert_eq!(
            to_lexable(b"a\xff\0", ClientEncoding::Utf8),
            "a\u{F00FF}\u{F0000}"
        );
    }

    #[test]
    fn borrows_what_is_the_same() {
        for (bytes, encoding, same) in [
            (&b"select 1"[..], ClientEncoding::Sjis, true),
            ("grün".as_bytes(), ClientEncoding::Utf8, true),
            ("grün".as_bytes(), ClientEncoding::SingleByteSafe, false),
            (b"a\0", ClientEncoding::Utf8, false),
            (b"\xff", ClientEncoding::Utf8, false),
        ] {
            assert_eq!(is_ascii_or_utf8(bytes, encoding), same);
            assert_eq!(
                matches!(to_lexable(bytes, encoding), Cow::Borrowed(_)),
                same
            );
        }
    }

    #[test]
    fn different_characters_stay_different() {
        for encoding in ALL {
            let mut seen = std::collections::HashSet::new();
            for first in 0x80..=0xFFu8 {
                for second in 0..=0xFFu8 {
                    assert!(seen.insert(to_lexable(&[first, second], encoding).into_owned()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in ALL {
                let text = to_lexable(&bytes, encoding);
                if matches!(text, Cow::Owned(_)) {
                    prop_assert_eq!(original(&text, encoding), bytes.clone());
                }
                prop_assert!(!text.contains('\0'));
            }
        }

        #[test]
        fn ascii_is_borrowed(text in "[\\x01-\\x7f]{0,100}") {
            for encoding in ALL {
                prop_assert!(is_ascii_or_utf8(text.as_bytes(), encoding));
                prop_assert_eq!(to_lexable(text.as_bytes(), encoding), text.as_str());
            }
        }
    }
}
