//! What a query text is: ordinary traffic, or something that lockkeeper must look at.
//!
//! Three depths, cheapest first: a glance at the first keyword ([`glance`]), the raw parser, the
//! full parser. A text that no parser reads but that begins like a schema change *is* a schema
//! change, of unknown shape.

use std::sync::Arc;

use super::encoding::{self, ClientEncoding};
use super::lexer::{self, LexicalMode, StatementScanner, StatementStart};
use super::parse::{self, ParseError, Parsed, Sort};
use super::statement::Statement;

/// What decides how the server reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexicalSettings {
    /// `standard_conforming_strings`.
    pub mode: LexicalMode,
    /// `client_encoding`.
    pub encoding: ClientEncoding,
}

impl LexicalSettings {
    /// Every way in which a server may read a text.
    pub fn all() -> impl Iterator<Item = LexicalSettings> {
        [true, false]
            .into_iter()
            .flat_map(|standard_conforming_strings| {
                let mode = LexicalMode {
                    standard_conforming_strings,
                };
                ClientEncoding::ALL
                    .into_iter()
                    .map(move |encoding| LexicalSettings { mode, encoding })
            })
    }
}

impl Default for LexicalSettings {
    fn default() -> Self {
        LexicalSettings {
            mode: LexicalMode::default(),
            encoding: ClientEncoding::Utf8,
        }
    }
}

/// What a whole text is; of several statements the one furthest down this list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// No statement at all.
    #[default]
    Empty,
    /// SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES.
    Query,
    /// BEGIN, COMMIT, ROLLBACK, savepoints.
    Transaction,
    /// SET, RESET, DISCARD.
    Settings,
    /// COPY.
    Copy,
    /// Any other utility statement.
    Utility,
    /// Not readable, and nothing in it begins like a schema change.
    Unreadable,
    /// DO, CALL: may do anything.
    Dynamic,
    /// A schema change.
    Ddl,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 9] = [
        Class::Empty,
        Class::Query,
        Class::Transaction,
        Class::Settings,
        Class::Copy,
        Class::Utility,
        Class::Unreadable,
        Class::Dynamic,
        Class::Ddl,
    ];

    /// The name used as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Empty => "empty",
            Class::Query => "query",
            Class::Transaction => "transaction",
            Class::Settings => "settings",
            Class::Copy => "copy",
            Class::Utility => "utility",
            Class::Unreadable => "unreadable",
            Class::Dynamic => "dynamic",
            Class::Ddl => "ddl",
        }
    }
}

/// The outcome of classifying a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    /// Ordinary traffic.
    Plain {
        /// What it is.
        class: Class,
        /// It may change how the texts after it are read (`SET client_encoding`, `set_config(…)`,
        /// ROLLBACK …).
        changes_lexical_settings: bool,
    },
    /// A schema change, or something that may run one.
    Interesting(Arc<Text>),
}

impl Classified {
    /// What the text is.
    pub fn class(&self) -> Class {
        match self {
            Classified::Plain { class, .. } => *class,
            Classified::Interesting(text) => text.class,
        }
    }
}

/// A text that holds a schema change, or may run one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// What it is.
    pub class: Class,
    /// The text as UTF-8; only when [`Text::exact`] it is what the client sent.
    pub text: String,
    /// The text is what the client sent, byte for byte.
    pub exact: bool,
    /// Its statements, in order.
    pub statements: Vec<Parsed>,
    /// See [`Classified::Plain`].
    pub changes_lexical_settings: bool,
}

impl Text {
    /// The only statement, when there is just one.
    pub fn only_statement(&self) -> Option<&Parsed> {
        match self.statements.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether it is a string of statements that the server runs as one transaction and that can be
    /// judged beforehand: all can be read, none begins or ends a transaction, refuses one, or copies.
    /// What DO and CALL run isn't known from here; in such a string it can't end the transaction either.
    pub fn is_one_transaction(&self) -> bool {
        let is_plain = |parsed: &Parsed| match parsed.sort {
            Sort::Query | Sort::Settings | Sort::Dynamic => true,
            Sort::Ddl | Sort::Utility => parsed.statement.may_be_in_string(),
            Sort::Transaction | Sort::Copy | Sort::Unreadable => false,
        };
        self.exact && self.statements.len() > 1 && self.statements.iter().all(is_plain)
    }

    /// A statement's own text.
    pub fn source(&self, parsed: &Parsed) -> &str {
        self.text
            .get(parsed.span.clone())
            .unwrap_or(&self.text)
            .trim()
    }
}

/// Classifies a text.
pub fn classify(text: &[u8], settings: LexicalSettings) -> Classified {
    if let Some(classified) = glance(text, settings) {
        return classified;
    }
    let lexable = encoding::to_lexable(text, settings.encoding);
    let statements = match statements(&lexable, settings.mode) {
        Statements::Queries { empty } => {
            let class = if empty { Class::Empty } else { Class::Query };
            // What a long text holds beside queries isn't known: it may be a SET.
            let changes_lexical_settings = mentions_set_config(text)
                || (text.len() > LEXER_FIRST_BYTES && mentions_lexical_settings(text));
            return Classified::Plain {
                class,
                changes_lexical_settings,
            };
        }
        Statements::Unreadable(starts) => starts
            .iter()
            .map(|start| by_first_words(&lexable, start))
            .collect(),
        Statements::Parsed(statements) => statements,
    };
    let class = statements
        .iter()
        .map(class_of)
        .max()
        .unwrap_or(Class::Unreadable);
    let ends_transaction = statements
        .iter()
        .any(|parsed| parsed.sort == Sort::Transaction);
    let changes_lexical_settings =
        ends_transaction || (class >= Class::Settings && mentions_lexical_settings(text));
    let interesting = |parsed: &Parsed| match &parsed.statement {
        Statement::Harmless | Statement::Dynamic { .. } => false,
        statement => {
            statement.is_ddl()
                || matches!(
                    statement,
                    Statement::Prepare { .. }
                        | Statement::Execute { .. }
                        | Statement::Deallocate { .. }
                )
        }
    };
    if !statements.iter().any(interesting) {
        return Classified::Plain {
            class,
            changes_lexical_settings,
        };
    }
    let exact = encoding::is_ascii_or_utf8(text, settings.encoding);
    let text = lexable.into_owned();
    Classified::Interesting(Arc::new(Text {
        class,
        text,
        exact,
        statements,
        changes_lexical_settings,
    }))
}

/// Texts longer than this go to the parser only when the lexer sees something in them that may
/// change a schema: a parse of 36 kB of rows takes milliseconds, in which a thread serves nobody.
const LEXER_FIRST_BYTES: usize = 4096;

/// Texts with more comments are left to our own lexer: nested ones cost the parser's time squared.
const MAX_COMMENTS: usize = 256;

enum Statements {
    Queries { empty: bool },
    Parsed(Vec<Parsed>),
    Unreadable(Vec<StatementStart>),
}

fn statements(text: &str, mode: LexicalMode) -> Statements {
    if !lexer::has_statement(text.as_bytes(), mode) {
        return Statements::Queries { empty: true }; // pg_query must not be asked about a text without tokens
    }
    let scan = || {
        let mut scanner = StatementScanner::new(mode);
        scanner.feed(text.as_bytes());
        let summary = scanner.finish();
        summary.ddl || summary.dynamic || summary.maybe_into || summary.indirect
    };
    if text.len() > LEXER_FIRST_BYTES && !scan() {
        return Statements::Queries { empty: false };
    }
    if memchr::memmem::find_iter(text.as_bytes(), b"/*")
        .nth(MAX_COMMENTS)
        .is_some()
    {
        return Statements::Unreadable(lexer::statement_starts(text.as_bytes(), mode));
    }
    if mode.standard_conforming_strings {
        match parse::utility_statements(text) {
            Ok(utility) if !utility.contains(&true) => {
                let may_select_into = contains_ignoring_case(text.as_bytes(), b"into") && scan();
                if !may_select_into {
                    return Statements::Queries {
                        empty: utility.is_empty(),
                    };
                }
            }
            Ok(_) => {}
            Err(_) => {
                return Statements::Unreadable(lexer::statement_starts(text.as_bytes(), mode));
            }
        }
    }
    match parse::parse(text, mode) {
        Ok(statements) if statements.is_empty() => Statements::Queries { empty: true },
        Ok(statements) => Statements::Parsed(statements),
        Err(ParseError::TooDeep | ParseError::Syntax(_)) => {
            Statements::Unreadable(lexer::statement_starts(text.as_bytes(), mode))
        }
    }
}

fn class_of(parsed: &Parsed) -> Class {
    match (&parsed.statement, parsed.sort) {
        (Statement::Unreadable { .. }, _) | (_, Sort::Ddl) => Class::Ddl,
        (_, Sort::Query) => Class::Query,
        (_, Sort::Transaction) => Class::Transaction,
        (_, Sort::Settings) => Class::Settings,
        (_, Sort::Copy) => Class::Copy,
        (_, Sort::Dynamic) => Class::Dynamic,
        (_, Sort::Utility) => Class::Utility,
        (_, Sort::Unreadable) => Class::Unreadable,
    }
}

/// What an unreadable statement is, by its first words.
fn by_first_words(text: &str, start: &StatementStart) -> Parsed {
    let words: Vec<&str> = start.words.iter().map(|word| word.as_str()).collect();
    let first = words.first().copied().unwrap_or_default();
    let (statement, sort) = if lexer::is_ddl_word(first) {
        let words = words
            .iter()
            .take(2)
            .map(|word| word.to_ascii_uppercase())
            .collect::<Vec<_>>()
            .join(" ");
        (Statement::Unreadable { words }, Sort::Ddl)
    } else {
        match first {
            "do" | "call" => (
                Statement::unseen(if first == "do" { "DO" } else { "CALL" }),
                Sort::Dynamic,
            ),
            _ => (Statement::Harmless, Sort::Unreadable),
        }
    };
    Parsed {
        statement,
        span: start.offset..start.end.min(text.len()),
        sort,
    }
}

/// The usual case at a glance: one statement whose first keyword tells that it changes no schema.
/// `None` says nothing.
///
/// Sound only where bytes below 0x80 are always themselves and strings have no backslash escapes,
/// hence the conditions on the settings; a semicolon anywhere but at the end, or `into` in a
/// SELECT, is left to the parser.
pub fn glance(text: &[u8], settings: LexicalSettings) -> Option<Classified> {
    let safe = matches!(
        settings.encoding,
        ClientEncoding::Utf8 | ClientEncoding::SingleByteSafe
    );
    if !safe || !settings.mode.standard_conforming_strings {
        return None;
    }
    let rest = &text[skip_blank(text)?..];
    let length = rest
        .iter()
        .position(|byte| !byte.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let mut word = [0u8; 9];
    let keyword = word.get_mut(..length)?;
    keyword.copy_from_slice(&rest[..length]);
    keyword.make_ascii_lowercase();
    // An identifier may go on after its letters: `select_1`, `begin2`.
    if rest
        .get(length)
        .is_some_and(|byte| matches!(byte, b'_' | b'$' | b'0'..=b'9' | 0x80..))
    {
        return None;
    }
    let class = match &*keyword {
        b"select" | b"with" | b"values" if contains_ignoring_case(rest, b"into") => return None,
        b"select" | b"with" | b"values" | b"insert" | b"update" | b"delete" | b"merge" => {
            Class::Query
        }
        b"begin" | b"commit" | b"end" | b"rollback" | b"abort" | b"savepoint" | b"release" => {
            Class::Transaction
        }
        b"show" | b"fetch" | b"move" | b"close" | b"listen" | b"unlisten" | b"notify" => {
            Class::Utility
        }
        _ => return None,
    };
    if let Some(at) = memchr::memchr(b';', rest)
        && !rest[at + 1..]
            .iter()
            .all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
    {
        return None;
    }
    let changes_lexical_settings = match class {
        // The end of a transaction ends its SET LOCAL.
        Class::Transaction => !matches!(&*keyword, b"begin" | b"savepoint"),
        _ => mentions_set_config(rest),
    };
    Some(Classified::Plain {
        class,
        changes_lexical_settings,
    })
}

/// Bytes of white space and comments at the front; `None` when the text ends in them.
fn skip_blank(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at..)? {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => at += 1,
            [b'-', b'-', rest @ ..] => at += 2 + memchr::memchr2(b'\n', b'\r', rest)?,
            [b'/', b'*', rest @ ..] => {
                let end = memchr::memmem::find(rest, b"*/")?;
                if memchr::memmem::find(&rest[..end], b"/*").is_some() {
                    return None; // nested: left to the parser
                }
                at += 2 + end + 2;
            }
            [] => return None,
            _ => return Some(at),
        }
    }
}

/// Whether `needle` (lower case) stands anywhere in `text`, in any case.
fn contains_ignoring_case(text: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else {
        return true;
    };
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), text).any(|at| {
        text.get(at..at + needle.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(needle))
    })
}

fn mentions_set_config(text: &[u8]) -> bool {
    contains_ignoring_case(text, b"_config")
}

/// Whether a text may prepare a statement.
pub fn mentions_prepare(text: &[u8]) -> bool {
    contains_ignoring_case(text, b"prepare")
}

fn mentions_lexical_settings(text: &[u8]) -> bool {
    [
        &b"conforming"[..],
        b"encoding",
        b"names",
        b"all",
        b"_config",
        b"rollback",
        b"abort",
    ]
    .iter()
    .any(|needle| contains_ignoring_case(text, needle))
}

/// Whether the settings can make a difference to how this text is read.
pub fn depends_on_settings(text: &[u8]) -> bool {
    text.iter().any(|byte| *byte == b'\\' || *byte >= 0x80)
}

/// Classifies a text whose settings aren't known for sure: the worst of all readings.
pub fn classify_in_any_settings(text: &[u8]) -> Classified {
    let readings = LexicalSettings::all();
    readings
        .map(|settings| classify(text, settings))
        .max_by_key(|classified| {
            (
                matches!(classified, Classified::Interesting(_)),
                classified.class(),
            )
        })
        .unwrap_or(Classified::Plain {
            class: Class::Unreadable,
            changes_lexical_settings: true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(text: &str) -> Class {
        classify(text.as_bytes(), LexicalSettings::default()).class()
    }

    fn tags(text: &[u8], settings: LexicalSettings) -> Vec<String> {
        match classify(text, settings) {
            Classified::Plain { .. } => Vec::new(),
            Classified::Interesting(text) => {
                let ddl = text
                    .statements
                    .iter()
                    .filter(|parsed| parsed.statement.is_ddl());
                ddl.map(|parsed| parsed.statement.tag().to_owned())
                    .collect()
            }
        }
    }

    fn default_tags(text: &str) -> Vec<String> {
        tags(text.as_bytes(), LexicalSettings::default())
    }

    #[test]
    fn ordinary_traffic() {
        for (text, expected) in [
            ("", Class::Empty),
            (" ; -- nothing", Class::Empty),
            ("/* /* nested */ */", Class::Empty),
            ("select 1", Class::Query),
            ("/* a */ SELECT 1;", Class::Query),
            ("(select 1)", Class::Query),
            ("insert into t values (1)", Class::Query),
            (
                "with x as (insert into t values (1) returning *) select * from x",
                Class::Query,
            ),
            ("begin", Class::Transaction),
            ("begin; select 1; commit", Class::Transaction),
            ("set search_path = a", Class::Settings),
            ("copy t from stdin", Class::Copy),
            ("explain select 1", Class::Utility),
            (
                "explain (analyze false) create table t as select 1",
                Class::Utility,
            ),
            (
                "explain (analyze, analyze off) create table t as select 1",
                Class::Utility,
            ),
            ("vacuum t", Class::Utility),
            ("vacuum (full false) t", Class::Utility),
            ("lock table t in row exclusive mode", Class::Utility),
            ("this is not sql", Class::Unreadable),
            ("do $$ begin end $$", Class::Dynamic),
            ("call p()", Class::Dynamic),
            ("select 'create table t (a int)'", Class::Query),
            ("select $a$; drop table t; $a$", Class::Query),
            ("declare c cursor for select 1", Class::Utility),
        ] {
            assert_eq!(class(text), expected, "{text}");
            assert!(default_tags(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn schema_changes_in_disguise() {
        for (text, expected) in [
            ("create table t (a int)", "CREATE TABLE"),
            ("-- x\rcreate table t (a int)", "CREATE TABLE"),
            ("/* /* */ */ create table t (a int)", "CREATE TABLE"),
            ("; ;create table t (a int)", "CREATE TABLE"),
            ("create/**/table t (a int)", "CREATE TABLE"),
            ("\x0c create table t (a int)", "CREATE TABLE"),
            ("select 1; drop table t", "DROP TABLE"),
            ("select 1 into t", "SELECT INTO"),
            ("with x as (select 1) select * into t from x", "SELECT INTO"),
            ("(select 1 as a into t)", "SELECT INTO"),
            ("select 1 as a into t union select 2", "SELECT INTO"),
            ("create table t as select 1", "CREATE TABLE AS"),
            (
                "create materialized view m as select 1",
                "CREATE MATERIALIZED VIEW",
            ),
            ("explain analyze create table t as select 1", "EXPLAIN"),
            ("explain (analyze 1) select 1 into t", "EXPLAIN"),
            (
                "explain (analyze off, analyze) create table t as select 1",
                "EXPLAIN",
            ),
            ("create schema s create table t (a int)", "CREATE SCHEMA"),
            ("vacuum full t", "VACUUM"),
            ("vacuum (full) t", "VACUUM"),
            ("reindex schema s", "REINDEX"),
            ("alter role r password 'secret'", "ALTER ROLE"),
            ("truncate t", "TRUNCATE TABLE"),
            ("lock table t", "LOCK TABLE"),
            ("alter index i rename to j", "ALTER INDEX"),
            ("refresh materialized view m", "REFRESH MATERIALIZED VIEW"),
            (
                "create table future (a int) using_a_word_of_postgresql_30",
                "CREATE TABLE",
            ),
            (
                "alter table t add column c int, frobnicate 17",
                "ALTER TABLE",
            ),
        ] {
            assert_eq!(default_tags(text), [expected], "{text}");
        }
    }

    #[test]
    fn long_texts_are_classified_by_the_lexer_first() {
        let rows = "(1, 'a;b create table x'), ".repeat(1000);
        let insert = format!("insert into t values {rows}(1, '')");
        assert_eq!(class(&insert), Class::Query);
        for (tail, expected) in [
            ("; create table u (a int)", Class::Ddl),
            ("; do $$ begin end $$", Class::Dynamic),
            ("; select 1 into u", Class::Ddl),
            ("; explain analyze create table u as select 1", Class::Ddl),
            ("; select 1", Class::Query),
        ] {
            assert_eq!(class(&format!("{insert}{tail}")), expected, "{tail}");
        }
    }

    #[test]
    fn standard_conforming_strings_decides_where_a_string_ends() {
        let text = br"select 'a\' /* ' ; create table x(a int); -- */";
        let text: Vec<u8> = String::from_utf8_lossy(text)
            .replace(r"\\", r"\")
            .into_bytes();
        let off = LexicalSettings {
            mode: LexicalMode {
                standard_conforming_strings: false,
            },
            ..Default::default()
        };
        assert!(tags(&text, LexicalSettings::default()).is_empty());
        assert_eq!(tags(&text, off), ["CREATE TABLE"]);
        assert_eq!(classify_in_any_settings(&text).class(), Class::Ddl);
        assert!(depends_on_settings(&text));
    }

    #[test]
    fn client_encoding_decides_where_a_string_ends() {
        let text = b"select E'\x95\x5c' ; create table x(a int) --'";
        let sjis = LexicalSettings {
            encoding: ClientEncoding::Sjis,
            ..Default::default()
        };
        assert_eq!(tags(text, sjis), ["CREATE TABLE"]);
        assert_eq!(classify_in_any_settings(text).class(), Class::Ddl);
        assert!(depends_on_settings(text));
    }

    #[test]
    fn invalid_utf8_hides_nothing() {
        assert_eq!(
            tags(b"select '\xff'; drop table t", LexicalSettings::default()),
            ["DROP TABLE"]
        );
        let Classified::Interesting(text) =
            classify(b"drop table \"\xff\"", LexicalSettings::default())
        else {
            panic!("not seen");
        };
        assert!(!text.exact);
    }

    #[test]
    fn what_protobuf_cannot_carry_passes_without_a_crash() {
        let joins = format!("select * from t {}", "join t on true ".repeat(60));
        let sums = format!("select 1{}", "+1".repeat(2_000));
        let parentheses = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        let selects = format!(
            "select * from {}(select 1){}",
            "(select * from ".repeat(50),
            " x)".repeat(50)
        );
        for text in [&joins, &sums, &parentheses, &selects] {
            assert!(class(text) <= Class::Unreadable, "{}", &text[..40]);
        }
        for text in [
            format!("create view v as {joins}"),
            format!("create table t as {sums}"),
            format!("alter table t add check (0 < {}", &sums[7..]),
        ] {
            assert_eq!(class(&text), Class::Ddl, "{}", &text[..40]);
        }
        // SELECT INTO that can't be carried is no danger: it locks nothing that exists.
        let _ = class(&format!(
            "select * into x from t {}",
            "join t on true ".repeat(60)
        ));
    }

    #[test]
    fn a_statement_that_may_change_how_texts_are_read_is_marked() {
        for (text, expected) in [
            ("set client_encoding = 'SJIS'", true),
            ("set names 'SJIS'", true),
            ("SET standard_conforming_strings TO off", true),
            ("reset all", true),
            ("discard all", true),
            ("rollback", true),
            ("select set_config('client_encoding', 'SJIS', false)", true),
            ("set search_path = a", false),
            ("select 1", false),
            ("commit", true),
            ("select 1; commit", true),
            ("begin", false),
        ] {
            let Classified::Plain {
                changes_lexical_settings,
                ..
            } = classify(text.as_bytes(), LexicalSettings::default())
            else {
                panic!("{text}");
            };
            assert_eq!(changes_lexical_settings, expected, "{text}");
        }
    }

    #[test]
    fn prepared_schema_changes_are_followed_by_name() {
        let Classified::Interesting(text) =
            classify(b"prepare p as select 1 into t", LexicalSettings::default())
        else {
            panic!("not seen");
        };
        assert!(
            matches!(&text.statements[0].statement, Statement::Prepare { name, .. } if name == "p")
        );
        for (sql, explained) in [("execute p", false), ("explain analyze execute p", true)] {
            let Classified::Interesting(text) =
                classify(sql.as_bytes(), LexicalSettings::default())
            else {
                panic!("not seen");
            };
            assert_eq!(
                text.statements[0].statement,
                Statement::Execute {
                    name: "p".to_owned(),
                    explained
                }
            );
        }
        assert_eq!(class("prepare p as select 1"), Class::Utility);
    }

    proptest! {
        #[test]
        fn a_glance_never_disagrees_with_the_parser(
            text in "(--a\n|/\\*a\\*/| )?(select|with|insert|begin|rollback|show|create|SET) ?\
                     [a-z_(); '$\"/*-]{0,24}( into t)?;?"
        ) {
            if glance(text.as_bytes(), LexicalSettings::default()).is_some() {
                let lexable = text.as_str();
                if let Ok(statements) = parse::parse(lexable, LexicalMode::default()) {
                    prop_assert!(statements.len() <= 1);
                    prop_assert!(statements.iter().all(|parsed| parsed.statement == Statement::Harmless), "{}", text);
                }
            }
        }

        #[test]
        fn any_bytes_are_classified(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = classify(&bytes, LexicalSettings::default());
            let _ = classify_in_any_settings(&bytes);
        }
    }
}
