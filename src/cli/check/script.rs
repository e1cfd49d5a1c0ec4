//! Takes a script apart into statements, as psql would: meta-commands, COPY's data, variables.

use crate::sql::lexer::{Lexer, LexicalMode, Token, TokenKind};

/// A statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its text, without the semicolon; meta-commands within it are blanked out.
    pub(crate) sql: String,
    /// What stands between the statement before and it: comments.
    pub(crate) lead: String,
    /// The line of its first token, from 1.
    pub(crate) line: usize,
}

/// A script, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// Its statements, in order.
    pub(crate) pieces: Vec<Piece>,
    /// What the reader of a report should know: line, and text.
    pub(crate) notes: Vec<(usize, String)>,
    /// The line of a `/*` that has no end.
    pub(crate) open_comment: Option<usize>,
}

/// Takes a script apart.
pub(crate) fn take_apart(text: &str) -> Script {
    let mut reader = Reader::default();
    for line in text.split_inclusive('\n') {
        if reader.ended {
            break;
        }
        reader.line(line);
    }
    reader.finish()
}

/// What psql's commands do to the text around them.
enum Meta {
    /// They send the statement before them.
    Sends,
    /// Only the two characters belong to them: `\;`.
    Semicolon,
    /// The script ends.
    Quits,
    /// Data follows, up to a line `\.`.
    BringsData,
    /// Nothing.
    Nothing,
}

struct Reader {
    lexer: Lexer,
    script: Script,
    /// The open statement's text so far, and what stands before its first token.
    text: String,
    /// Where `text` begins, in the lexer's count.
    base: usize,
    /// The line at which it begins, from 1.
    base_line: usize,
    /// The line that is being read, from 1.
    number: usize,
    /// Offset and line of the open statement's first token.
    start: Option<(usize, usize)>,
    /// How far its last token goes.
    end: usize,
    copy: Reading,
    /// COPY's data is being skipped.
    in_data: bool,
    ended: bool,
    /// The line at which a `/*` begins that has no end yet.
    open_comment: Option<usize>,
}

/// How far the open statement reads `COPY … FROM STDIN`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Reading {
    #[default]
    No,
    Copy,
    From,
    FromStdin,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            lexer: Lexer::new(LexicalMode::default()),
            script: Script::default(),
            text: String::new(),
            base: 0,
            base_line: 1,
            number: 0,
            start: None,
            end: 0,
            copy: Reading::No,
            in_data: false,
            ended: false,
            open_comment: None,
        }
    }
}

impl Reader {
    fn line(&mut self, line: &str) {
        self.number += 1;
        if self.in_data {
            self.in_data = line.trim_end_matches(['\r', '\n']) != "\\.";
            self.base_line += 1;
            return;
        }
        let mut line = line.to_owned();
        let before = line.contains('\\').then(|| self.lexer.clone());
        let mut tokens = self.lex(&line);
        if let Some(before) = before {
            // Each round takes one backslash away.
            while let Some(at) = self.backslash(&tokens, &line) {
                self.meta(&mut line, at);
                self.lexer = before.clone();
                tokens = self.lex(&line);
            }
        }
        self.open_comment = match self.open_comment {
            _ if !self.lexer.is_in_comment() => None,
            None => Some(self.number),
            since => since,
        };
        self.text.push_str(&line);
        for token in &tokens {
            self.token(token);
        }
    }

    fn lex(&mut self, line: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.lexer
            .feed(line.as_bytes(), &mut |token| tokens.push(token));
        tokens
    }

    /// Where in the line a backslash stands outside quotes and comments.
    fn backslash(&self, tokens: &[Token], line: &str) -> Option<usize> {
        let line_start = self.base + self.text.len();
        let found = tokens
            .iter()
            .find(|token| token.kind == TokenKind::Punctuation(b'\\'))?;
        let at = to_usize(found.start).checked_sub(line_start)?;
        (line.as_bytes().get(at) == Some(&b'\\')).then_some(at)
    }

    /// A meta-command: blanks it out, and does what it does.
    fn meta(&mut self, line: &mut String, at: usize) {
        let command = line.get(at + 1..).unwrap_or_default().trim_end();
        let (name, rest) = command
            .split_once(|letter: char| letter.is_whitespace())
            .unwrap_or((command, ""));
        let keep_newline = line.trim_end_matches(['\r', '\n']).len();
        let (replacement, until) = match meta(name, rest) {
            Meta::Semicolon => (" ;".to_owned(), at + 2),
            Meta::Sends => (
                format!(";{}", blank(line, at + 1, keep_newline)),
                keep_newline,
            ),
            Meta::Quits => {
                self.ended = true;
                (blank(line, at, keep_newline), keep_newline)
            }
            Meta::BringsData => {
                self.in_data = true;
                (blank(line, at, keep_newline), keep_newline)
            }
            Meta::Nothing => {
                let note = match name {
                    "i" | "ir" | "include" | "include_relative" => Some(format!(
                        "\\{command}: that file isn't read from here; name it too"
                    )),
                    "c" | "connect" => Some(format!(
                        "\\{command}: what follows is judged as if it were the same database"
                    )),
                    _ => None,
                };
                let number = self.number;
                self.script.notes.extend(note.map(|note| (number, note)));
                (blank(line, at, keep_newline), keep_newline)
            }
        };
        line.replace_range(at..until.max(at), &replacement);
    }

    fn token(&mut self, token: &Token) {
        let (start, end) = (to_usize(token.start), to_usize(token.end));
        if token.kind == TokenKind::Semicolon {
            self.statement_ends(start);
            self.drop_read(end);
            return;
        }
        if self.start.is_none() {
            let before = self.text.get(..start.saturating_sub(self.base));
            let lines = before.unwrap_or_default().matches('\n').count();
            self.start = Some((start, self.base_line + lines));
        }
        self.end = end;
        if let TokenKind::Word(word) = token.kind {
            self.copy = match self.copy {
                Reading::No if token.index == 0 && word.is("copy") => Reading::Copy,
                Reading::Copy | Reading::From if word.is("from") && token.depth == 0 => {
                    Reading::From
                }
                Reading::From if word.is("stdin") => Reading::FromStdin,
                Reading::From => Reading::Copy,
                other => other,
            };
        }
    }

    /// The open statement ends before the offset.
    fn statement_ends(&mut self, at: usize) {
        if let Some((start, line)) = self.start.take() {
            let span = start.saturating_sub(self.base)..at.min(self.end).saturating_sub(self.base);
            let sql = self.text.get(span).unwrap_or_default().to_owned();
            let lead = self.text.get(..start.saturating_sub(self.base));
            let lead = lead.unwrap_or_default().to_owned();
            self.script.pieces.push(Piece { sql, lead, line });
        }
        self.in_data |= std::mem::take(&mut self.copy) == Reading::FromStdin;
    }

    /// Forgets what was read up to the offset.
    fn drop_read(&mut self, upto: usize) {
        let count = upto.saturating_sub(self.base).min(self.text.len());
        let dropped = self.text.get(..count).unwrap_or_default();
        self.base_line += dropped.matches('\n').count();
        self.text.drain(..count);
        self.base += count;
    }

    fn finish(mut self) -> Script {
        let mut tokens = Vec::new();
        self.script.open_comment = self.open_comment;
        self.lexer.finish(&mut |token| tokens.push(token));
        for token in &tokens {
            self.token(token);
        }
        let end = self.end;
        self.statement_ends(end);
        self.script
    }
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// As many blanks as there are bytes: offsets stay what they are.
fn blank(line: &str, from: usize, to: usize) -> String {
    let bytes = line.get(from..to).map_or(0, str::len);
    " ".repeat(bytes)
}

fn meta(name: &str, rest: &str) -> Meta {
    match name {
        _ if name.starts_with(';') => Meta::Semicolon,
        "g" | "gx" | "gset" | "gexec" | "gdesc" | "crosstabview" | "watch" | "bind"
        | "sendpipeline" => Meta::Sends,
        "q" | "quit" => Meta::Quits,
        "copy" => {
            let words: Vec<String> = rest.split_whitespace().map(str::to_lowercase).collect();
            let from_stdin = |pair: &[String]| {
                pair[0] == "from" && matches!(pair[1].trim_end_matches(';'), "stdin" | "pstdin")
            };
            if words.windows(2).any(from_stdin) {
                Meta::BringsData
            } else {
                Meta::Nothing
            }
        }
        _ => Meta::Nothing,
    }
}

/// A statement with its psql variables (`:name`, `:'name'`, `:"name"`) replaced by what keeps it
/// readable; `None` when it has none.
pub(crate) fn without_variables(sql: &str) -> Option<String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut lexer = Lexer::new(LexicalMode::default());
    lexer.feed(sql.as_bytes(), &mut |token| tokens.push(token));
    lexer.finish(&mut |token| tokens.push(token));
    let mut changed = sql.to_owned().into_bytes();
    let mut found = false;
    for pair in tokens.windows(2) {
        let (colon, name) = (pair[0], pair[1]);
        let is_variable = colon.kind == TokenKind::Punctuation(b':')
            && colon.end == name.start
            && matches!(
                name.kind,
                TokenKind::Word(_) | TokenKind::String | TokenKind::QuotedIdentifier
            );
        if is_variable && let Some(byte) = changed.get_mut(to_usize(colon.start)) {
            *byte = b' ';
            found = true;
        }
    }
    found.then(|| String::from_utf8(changed).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<(usize, String)> {
        let script = take_apart(text);
        script
            .pieces
            .into_iter()
            .map(|piece| (piece.line, piece.sql))
            .collect()
    }

    fn expect(text: &str, expected: &[(usize, &str)]) {
        let expected: Vec<(usize, String)> = expected
            .iter()
            .map(|(line, sql)| (*line, (*sql).to_owned()))
            .collect();
        assert_eq!(pieces(text), expected, "{text}");
    }

    #[test]
    fn statements_and_their_lines() {
        expect("", &[]);
        expect(" ; ;\n-- nothing\n", &[]);
        expect(
            "-- one\nselect 1;\n/* two\n */ select\n 2; select 3",
            &[(2, "select 1"), (4, "select\n 2"), (5, "select 3")],
        );
        expect(
            "create function f() returns int language sql\nbegin atomic select 1; select 2; end;\nselect 'a;\nb';",
            &[
                (
                    1,
                    "create function f() returns int language sql\nbegin atomic select 1; select 2; end",
                ),
                (3, "select 'a;\nb'"),
            ],
        );
        expect(
            "do $$\nbegin; end\n$$;\nx",
            &[(1, "do $$\nbegin; end\n$$"), (4, "x")],
        );
        expect("'a\nb';\n;c", &[(1, "'a\nb'"), (3, "c")]);
        expect(
            "select 1;\r\nselect 2\r\n",
            &[(1, "select 1"), (2, "select 2")],
        );
    }

    #[test]
    fn meta_commands_are_tolerated() {
        expect("\\set x 'it''s\nselect 1;", &[(2, "select 1")]);
        expect(
            "\\c other\n\\echo \"\nselect 1 \\g\nselect 2;",
            &[(3, "select 1"), (4, "select 2")],
        );
        expect(
            "select 'a\\b', E'c\\'d'; select 2;",
            &[(1, "select 'a\\b', E'c\\'d'"), (1, "select 2")],
        );
        expect(
            "select 1 \\; select 2;",
            &[(1, "select 1"), (1, "select 2")],
        );
        expect("select 1\n\\echo ;\n+ 2;", &[(1, "select 1\n       \n+ 2")]);
        expect("select 1; \\q\nselect 2;", &[(1, "select 1")]);
        expect("\\.\n\\if :x\nselect 1;\n\\endif", &[(3, "select 1")]);
        expect("\\", &[]);
        let notes = take_apart("\\i other.sql\nselect 1;").notes;
        assert_eq!(notes[0].0, 1);
        assert!(notes[0].1.contains("other.sql"));
    }

    #[test]
    fn data_of_copy_is_skipped() {
        expect(
            "COPY public.t (a, b) FROM stdin;\n1\tit's\n\\N\t;\n\\.\n\nselect 1;",
            &[(1, "COPY public.t (a, b) FROM stdin"), (6, "select 1")],
        );
        expect(
            "copy (select a from stdin) to stdout;\nselect 1;",
            &[(1, "copy (select a from stdin) to stdout"), (2, "select 1")],
        );
        expect(
            "\\copy t from stdin with csv\n'\n\\.\nselect 1;",
            &[(4, "select 1")],
        );
        expect(
            "copy t from 'stdin';\nselect 1;",
            &[(1, "copy t from 'stdin'"), (2, "select 1")],
        );
    }

    #[test]
    fn variables_are_replaced() {
        for (sql, expected) in [
            ("drop table :name", Some("drop table  name")),
            ("select :'a', :\"b\".c", Some("select  'a',  \"b\".c")),
            ("select a::text", None),
            ("select ':a'", None),
            ("select a[1:2]", None),
        ] {
            assert_eq!(without_variables(sql).as_deref(), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart(
            text in "(\\\\|;|'|\"|\\$\\$|copy t from stdin|--|/\\*|\\*/|\n|a|é| |\\\\g|\\.|:){0,24}"
        ) {
            let lines = text.matches('\n').count() + 1;
            for (line, sql) in pieces(&text) {
                prop_assert!(line >= 1 && line <= lines);
                prop_assert!(!sql.is_empty());
                let _ = without_variables(&sql);
            }
        }
    }
}
