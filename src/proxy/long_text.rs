//! A query text too long to be held: it goes on as it comes, past a lexer in each way in which the
//! server may read it.

use std::sync::Arc;

use crate::sql::classify::{Class, LexicalSettings, Text};
use crate::sql::encoding::{self, ClientEncoding};
use crate::sql::lexer::StatementScanner;
use crate::sql::parse::{Parsed, Sort};
use crate::sql::statement::Statement;

/// The most that is kept back because a character may be unfinished, in bytes.
const MAX_CARRY_BYTES: usize = 64 << 10;

/// Looks at a text piece by piece.
#[derive(Debug)]
pub struct LongText {
    readings: Vec<Reading>,
}

/// One way to read the text.
#[derive(Debug)]
struct Reading {
    encoding: ClientEncoding,
    scanner: StatementScanner,
    /// The end of the last piece, in which a character may be unfinished.
    carry: Vec<u8>,
}

impl LongText {
    /// Begins; without settings, in every way there is.
    pub fn new(settings: Option<LexicalSettings>) -> LongText {
        let settings = match settings {
            Some(settings) => vec![settings],
            None => LexicalSettings::all().collect(),
        };
        let reading = |settings: LexicalSettings| Reading {
            encoding: settings.encoding,
            scanner: StatementScanner::new(settings.mode),
            carry: Vec::new(),
        };
        LongText {
            readings: settings.into_iter().map(reading).collect(),
        }
    }

    /// The next piece.
    pub fn feed(&mut self, bytes: &[u8]) {
        for reading in &mut self.readings {
            reading.feed(bytes);
        }
    }

    /// The schema change that begins first, when one of the readings has any.
    pub fn finish(self) -> Option<Arc<Text>> {
        let words = self.readings.into_iter().find_map(Reading::finish)?;
        let statement = Statement::Unreadable { words };
        Some(Arc::new(Text {
            class: Class::Ddl,
            text: String::new(),
            exact: false,
            statements: vec![Parsed {
                statement,
                span: 0..0,
                sort: Sort::Ddl,
            }],
            changes_lexical_settings: true,
        }))
    }
}

impl Reading {
    fn feed(&mut self, bytes: &[u8]) {
        if matches!(
            self.encoding,
            ClientEncoding::Utf8 | ClientEncoding::SingleByteSafe
        ) {
            self.scanner.feed(bytes);
            return;
        }
        self.carry.extend_from_slice(bytes);
        // In none of these encodings is a byte below 0x30 part of a longer character.
        let end = match self.carry.iter().rposition(|byte| *byte < 0x30) {
            Some(at) => at + 1,
            None if self.carry.len() > MAX_CARRY_BYTES => self.carry.len(),
            None => return,
        };
        let text = encoding::to_lexable(&self.carry[..end], self.encoding);
        self.scanner.feed(text.as_bytes());
        self.carry.drain(..end);
    }

    fn finish(mut self) -> Option<String> {
        let text = encoding::to_lexable(&self.carry, self.encoding);
        self.scanner.feed(text.as_bytes());
        let summary = self.scanner.finish();
        let words = summary
            .first_ddl
            .iter()
            .take(2)
            .map(|word| word.as_str().to_ascii_uppercase());
        summary.ddl.then(|| words.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[u8], settings: Option<LexicalSettings>) -> Option<String> {
        let pieces = [1, 3, text.len()].map(|piece| {
            let mut long = LongText::new(settings);
            text.chunks(piece).for_each(|piece| long.feed(piece));
            long.finish()
                .map(|text| text.statements[0].statement.tag().to_owned())
        });
        assert!(
            pieces.iter().all(|found| *found == pieces[0]),
            "the pieces make a difference"
        );
        pieces[0].clone()
    }

    #[test]
    fn a_schema_change_is_found_whatever_the_encoding() {
        let trick = b"select E'\x95\x5c' ; create table x(a int) --'";
        let sjis = LexicalSettings {
            encoding: ClientEncoding::Sjis,
            ..Default::default()
        };
        assert_eq!(words(trick, Some(LexicalSettings::default())), None);
        assert_eq!(words(trick, Some(sjis)).as_deref(), Some("CREATE TABLE"));
        assert_eq!(words(trick, None).as_deref(), Some("CREATE TABLE"));
    }

    #[test]
    fn every_mode_is_tried_when_none_is_known() {
        let trick = br"select 'a\' /* ' ; drop table x; -- */";
        assert_eq!(words(trick, Some(LexicalSettings::default())), None);
        assert_eq!(words(trick, None).as_deref(), Some("DROP TABLE"));
    }
}
