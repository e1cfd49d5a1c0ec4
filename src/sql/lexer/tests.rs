//! Tests of the lexer and of what builds on it.

use proptest::prelude::*;

use super::statements::to_usize;
use super::*;

const ON: LexicalMode = LexicalMode {
    standard_conforming_strings: true,
};
const OFF: LexicalMode = LexicalMode {
    standard_conforming_strings: false,
};

fn tokens(pieces: &[&[u8]], mode: LexicalMode) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut lexer = Lexer::new(mode);
    for piece in pieces {
        lexer.feed(piece, &mut |token| tokens.push(token));
    }
    lexer.finish(&mut |token| tokens.push(token));
    tokens
}

fn summary(text: &[u8], mode: LexicalMode) -> StatementSummary {
    let mut scanner = StatementScanner::new(mode);
    scanner.feed(text);
    scanner.finish()
}

/// The tokens as text, joined by blanks.
fn shown(text: &str, mode: LexicalMode) -> String {
    let parts: Vec<&str> = tokens(&[text.as_bytes()], mode)
        .iter()
        .map(|token| &text[to_usize(token.start)..to_usize(token.end)])
        .collect();
    parts.join("¦")
}

/// Text, mode, number of statements, first word of the first data definition.
const TRAPS: &[(&str, LexicalMode, u32, &str)] = &[
    ("-- x\rcreate table x()", ON, 1, "create"),
    ("-- x\ncreate table x()", ON, 1, "create"),
    ("-- create table x()", ON, 0, ""),
    ("/* /* */ */ create table x()", ON, 1, "create"),
    ("/* /* */ create table x()", ON, 0, ""),
    ("/*/ */ drop table x", ON, 1, "drop"),
    ("/*/**/*/ drop table x", ON, 1, "drop"),
    ("; ;create table x()", ON, 1, "create"),
    ("\x0b\x0c\tcreate table x()", ON, 1, "create"),
    ("\u{feff}create table x()", ON, 1, ""),
    ("\u{a0}create table x()", ON, 1, ""),
    ("create/**/table x()", ON, 1, "create"),
    ("create--\rtable x()", ON, 1, "create"),
    ("select 1;drop table x", ON, 2, "drop"),
    ("select 1 ; ; DROP table x;;", ON, 2, "drop"),
    ("select ';drop table x;'", ON, 1, ""),
    ("select \";drop\"\";\"", ON, 1, ""),
    (
        "select 'a\\' /* ' ; create table x(a int); -- */",
        ON,
        1,
        "",
    ),
    (
        "select 'a\\' /* ' ; create table x(a int); -- */",
        OFF,
        2,
        "create",
    ),
    ("select 'a\\' ; create table x(a int); --'", ON, 2, "create"),
    ("select 'a\\' ; create table x(a int); --'", OFF, 1, ""),
    (
        "select 'a\\'' ; create table x(a int); --'",
        OFF,
        2,
        "create",
    ),
    ("select E'\\'' ; drop table x --'", ON, 2, "drop"),
    ("select e'a'\n'\\'' ; drop table x --'", ON, 2, "drop"),
    ("select 'a'\n'\\'; drop table x --'", ON, 2, "drop"),
    ("select e'a' -- c\r '\\'' ; drop table x --'", ON, 2, "drop"),
    ("select e'a' '\\'; drop table x --'", ON, 2, "drop"),
    ("select n'\\'; drop table x --'", ON, 2, "drop"),
    ("select u&'\\'; drop table x --'", OFF, 2, "drop"),
    ("select b'1''\\'; drop table x --'", OFF, 1, ""),
    ("select name'\\'; drop table x --'", ON, 2, "drop"),
    ("select $$;drop$$; drop table x", ON, 2, "drop"),
    ("select $a$;$$;$b$;$a$; drop table x", ON, 2, "drop"),
    ("select $a$ $b$a$; drop table x", ON, 2, "drop"),
    ("select $é$ ; $é$; drop table x", ON, 2, "drop"),
    ("select a$b$ ; drop table x --$b$", ON, 2, "drop"),
    ("select $1$a$; drop $a$", ON, 1, ""),
    ("select 1$a$; drop $a$", ON, 1, ""),
    ("select 1_0$a$; drop table x --$a$", ON, 2, "drop"),
    ("select 0x1$a$; drop table x --$a$", ON, 2, "drop"),
    ("select 1*/* ; */2; drop table x", ON, 2, "drop"),
    ("select 1+-- ;\n2; drop table x", ON, 2, "drop"),
    (
        "create rule r as on insert to t do also (drop table a; select 1); drop table x",
        ON,
        2,
        "create",
    ),
    ("create schema s create table t()", ON, 1, "create"),
    (
        "create or replace function f() returns int language sql begin atomic \
         select case when a then 1 else 2 end; select 2; end; drop table x",
        ON,
        2,
        "create",
    ),
    (
        "create procedure p() begin atomic select 1 as case; select t.end; select 1 case; end; select 1",
        ON,
        2,
        "create",
    ),
    (
        "create function begin() returns int language sql as 'x'; drop table x",
        ON,
        2,
        "create",
    ),
    ("begin; create table atomic(); end", ON, 3, "create"),
    ("(select 1)", ON, 1, ""),
];

#[test]
fn traps() {
    for &(text, mode, statements, word) in TRAPS {
        let found = summary(text.as_bytes(), mode);
        assert_eq!(found.statements, statements, "{text:?}");
        assert_eq!(found.first_ddl.first().as_str(), word, "{text:?}");
        assert_eq!(found.ddl, !word.is_empty(), "{text:?}");
    }
}

#[test]
fn splits_change_nothing() {
    for &(text, mode, ..) in TRAPS {
        let text = text.as_bytes();
        let whole = tokens(&[text], mode);
        for at in 0..text.len() {
            assert_eq!(tokens(&[&text[..at], &text[at..]], mode), whole);
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(tokens(&bytes, mode), whole);
    }
}

#[test]
fn effects_that_no_first_word_tells() {
    for (text, dynamic, maybe_into, indirect) in [
        ("do $$begin end$$", true, false, false),
        ("call p()", true, false, false),
        ("select 1; do 'x'", true, false, false),
        ("select 1 into t", false, true, false),
        (
            "select 'into', \"into\" /* into */ from t",
            false,
            false,
            false,
        ),
        (
            "with x as (select 1) select * into t from x",
            false,
            true,
            false,
        ),
        ("(select 1 as a into t)", false, true, false),
        ("((select 1 as a INTO t))", false, true, false),
        ("select insert into t from x", false, true, false),
        (
            "with a as (select 1) select distinct on (b) insert into t",
            false,
            true,
            false,
        ),
        ("insert into t values (1)", false, false, false),
        (
            "merge into t using s on true when matched then delete",
            false,
            false,
            false,
        ),
        (
            "with x as (select 1) insert into t select * from x",
            false,
            false,
            false,
        ),
        (
            "with x as (insert into t values (1) returning *) select * from x",
            false,
            false,
            false,
        ),
        (
            "with x as (insert into t values (1) returning *) select * into u from x",
            false,
            true,
            false,
        ),
        (
            "explain analyze create table t as select 1",
            false,
            false,
            true,
        ),
        ("prepare p as select 1 into t", false, false, true),
        ("execute p", false, false, true),
        ("select 1; table t", false, false, false),
    ] {
        let found = summary(text.as_bytes(), ON);
        assert_eq!(
            (found.dynamic, found.maybe_into, found.indirect),
            (dynamic, maybe_into, indirect),
            "{text:?}"
        );
        assert!(!found.ddl, "{text:?}");
    }
}

#[test]
fn tokens_of_literals_numbers_and_operators() {
    for (text, expected) in [
        ("1..10", "1¦..¦10"),
        ("1.5.3", "1.5¦.3"),
        ("1e5 1e+5 1.e-5 .5e1", "1e5¦1e+5¦1.e-5¦.5e1"),
        ("1e 1e+ 1efrom", "1¦e¦1¦e¦+¦1¦efrom"),
        ("1e--x\n2", "1¦e¦2"),
        ("1_000 1__0 1_ 1_e5", "1_000¦1¦__0¦1¦_¦1¦_e5"),
        (
            "0x1F 0x 0o17 0o18 0b1_1 0x_1",
            "0x1F¦0¦x¦0o17¦0¦o18¦0b1_1¦0x_1",
        ),
        ("=- =-+ ?- @-+ <=>-1", "=¦-¦=¦-¦+¦?-¦@-+¦<=>¦-¦1"),
        ("a::b:=c:d", "a¦::¦b¦:=¦c¦:¦d"),
        ("'a''b' 'c'\n'd' 'e'-'f'", "'a''b'¦'c'\n'd'¦'e'¦-¦'f'"),
        ("u&'a' U&\"b\" u&c", "u&'a'¦U&\"b\"¦u¦&¦c"),
        ("n'a' x'1' b'0' B'0'\n'1'", "n¦'a'¦x'1'¦b'0'¦B'0'\n'1'"),
        ("$1 $ab $e'\\'' $", "$1¦$¦ab¦$¦e'\\''¦$"),
        ("'open", "'open"),
    ] {
        assert_eq!(shown(text, ON), expected, "{text:?}");
    }
}

#[test]
fn long_tags_and_words() {
    let tag = "t".repeat(100);
    let near = format!("{}u", "t".repeat(99));
    let text = format!("${tag}$ ${near}$ ; ${tag}$; drop table x");
    assert_eq!(summary(text.as_bytes(), ON).statements, 2);
    let word = "a".repeat(40);
    let TokenKind::Word(kept) = tokens(&[word.as_bytes()], ON)[0].kind else {
        panic!("no word");
    };
    assert!(kept.is_truncated() && !kept.is(&word[..31]));
    assert_eq!(kept.as_str(), &word[..31]);
    let broken = tokens(&[b"create\xff"], ON)[0].kind;
    assert!(matches!(broken, TokenKind::Word(word) if word.as_str() == "\u{fffd}"));
}

#[test]
fn starts_and_words() {
    let text = b" ;((SELECT a)) ; create index \"on\" on t (on) ;";
    let starts = statement_starts(text, ON);
    assert_eq!(starts.len(), 2);
    assert_eq!(&text[starts[0].offset..starts[0].end], b"((SELECT a))");
    assert_eq!(
        starts[0].words.iter().map(Word::as_str).collect::<Vec<_>>(),
        ["select", "a"]
    );
    assert!(is_ddl_word(starts[1].words.first().as_str()) && !is_ddl_word("do"));
    assert_eq!(
        &text[starts[1].offset..starts[1].end],
        b"create index \"on\" on t (on)"
    );
    assert_eq!(
        find_word(text, ON, "ON"),
        text.windows(5)
            .position(|at| at == b" on t")
            .map(|at| at + 1)
    );
    assert_eq!(find_word(text, ON, "using"), None);
    assert_eq!(statement_starts(&b"a;".repeat(10_001), ON).len(), 10_000);
}

fn sql_like() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::sample::select(vec![
            "'", "''", "e'", "u&", "\"", "$", "$$", "$a$", "--", "\n", "/*", "*/", ";", "\\", "1",
            "_", ".", "e", "0x", "+", "-", "=", "@", " ", "(", ")", "a", "\u{e9}", "case",
        ])
        .prop_map(|part| part.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(text in sql_like(), size in 1usize..9, standard: bool) {
        let mode = LexicalMode { standard_conforming_strings: standard };
        let whole = tokens(&[&text], mode);
        let pieces: Vec<&[u8]> = text.chunks(size).collect();
        prop_assert_eq!(&tokens(&pieces, mode), &whole);
        let mut end = 0;
        let mut statement = 0;
        for token in &whole {
            prop_assert!(end <= token.start && token.start < token.end);
            prop_assert!(statement <= token.statement);
            end = token.end;
            statement = token.statement;
        }
        prop_assert!(end <= text.len() as u64);
        let starts = statement_starts(&text, mode);
        prop_assert_eq!(starts.len(), summary(&text, mode).statements as usize);
    }
}
