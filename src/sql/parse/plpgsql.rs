//! `DO`: the schema changes that stand in its body as they are. What a body puts together and runs by
//! EXECUTE can't be seen.

use pg_query::protobuf;
use pg_query::{Node, NodeEnum};
use serde_json::Value;

use super::super::lexer::{Lexer, LexicalMode, Token, TokenKind};
use super::super::name::quote_literal;
use super::super::statement::{InBody, Statement};
use super::{Source, definitions, inner, parse_nested};

/// Longer bodies aren't read.
const MOST_BYTES: usize = 64 * 1024;

/// Bodies with deeper blocks aren't read: the parser's own stack has an end.
const MOST_DEPTH: u32 = 100;

/// What a `DO` runs.
pub(super) fn dynamic(statement: &protobuf::DoStmt, source: &Source<'_>) -> Statement {
    let found = if source.nested {
        None // in the body of another
    } else {
        body(&statement.args).and_then(|body| read(body, source.mode))
    };
    let (statements, dynamic_sql) = found.unwrap_or((Vec::new(), true));
    Statement::Dynamic {
        tag: "DO",
        statements,
        dynamic_sql,
    }
}

/// The body, when it is PL/pgSQL.
fn body(args: &[Node]) -> Option<&str> {
    let text = |name: &str| {
        let option = definitions(args).find(|option| option.defname == name)?;
        match inner(option.arg.as_deref()) {
            Some(NodeEnum::String(string)) => Some(string.sval.as_str()),
            _ => None,
        }
    };
    text("as").filter(|_| text("language").is_none_or(|language| language == "plpgsql"))
}

fn read(body: &str, mode: LexicalMode) -> Option<(Vec<InBody>, bool)> {
    if body.len() > MOST_BYTES || is_deep(body, mode) {
        return None;
    }
    let tree = pg_query::parse_plpgsql(&format!("DO {}", quote_literal(body))).ok()?;
    let mut found = Found {
        statements: Vec::new(),
        dynamic_sql: false,
        mode,
    };
    found.walk(&tree);
    // The tree's fields come in no order.
    found
        .statements
        .sort_by_cached_key(|(line, found)| (*line, body.find(&found.sql)));
    let statements = found.statements.into_iter().map(|(_, found)| found);
    Some((statements.collect(), found.dynamic_sql))
}

/// Whether blocks, loops and conditions may stand too deep in each other. It counts too many rather
/// than too few.
fn is_deep(body: &str, mode: LexicalMode) -> bool {
    let (mut depth, mut deepest, mut after_end) = (0_u32, 0_u32, false);
    let mut note = |token: Token| {
        let opens = match &token.kind {
            TokenKind::Word(word) if word.is("end") => {
                depth = depth.saturating_sub(1);
                after_end = true;
                return;
            }
            TokenKind::Word(word) => word.is_any(&["begin", "if", "case", "loop"]),
            _ => false,
        };
        depth += u32::from(opens && !after_end);
        deepest = deepest.max(depth).max(token.depth);
        after_end = false;
    };
    let mut lexer = Lexer::new(mode);
    lexer.feed(body.as_bytes(), &mut note);
    lexer.finish(&mut note);
    deepest > MOST_DEPTH
}

struct Found {
    /// With their lines.
    statements: Vec<(u64, InBody)>,
    dynamic_sql: bool,
    mode: LexicalMode,
}

impl Found {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.note(key, value);
                    self.walk(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn note(&mut self, key: &str, value: &Value) {
        match key {
            "PLpgSQL_stmt_execsql" => {
                let text = value.pointer("/sqlstmt/PLpgSQL_expr/query");
                match text.and_then(Value::as_str) {
                    Some(text) => {
                        let line = value.get("lineno").and_then(Value::as_u64);
                        self.sql(text, line.unwrap_or(0));
                    }
                    None => self.dynamic_sql = true,
                }
            }
            "PLpgSQL_stmt_dynexecute"
            | "PLpgSQL_stmt_dynfors"
            | "PLpgSQL_stmt_call"
            | "dynquery" => self.dynamic_sql = true,
            _ => {}
        }
    }

    fn sql(&mut self, text: &str, line: u64) {
        let Ok(parsed) = parse_nested(text, self.mode) else {
            self.dynamic_sql = true;
            return;
        };
        for parsed in parsed {
            let runs_unseen = matches!(
                parsed.statement,
                Statement::Dynamic { .. } | Statement::Execute { .. }
            );
            self.dynamic_sql |= runs_unseen;
            if parsed.statement.is_ddl() {
                let sql = text.get(parsed.span).unwrap_or(text).trim().to_owned();
                let statement = parsed.statement;
                self.statements.push((line, InBody { statement, sql }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sql::parse::parse;

    fn read_do(sql: &str) -> (Vec<String>, bool) {
        let parsed =
            parse(sql, LexicalMode::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
        match parsed.into_iter().next().map(|parsed| parsed.statement) {
            Some(Statement::Dynamic {
                statements,
                dynamic_sql,
                ..
            }) => {
                let texts = statements.into_iter().map(|found| found.sql).collect();
                (texts, dynamic_sql)
            }
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn schema_changes_in_a_body_are_found() {
        for (sql, found, dynamic_sql) in [
            ("do $$ begin null; end $$", vec![], false),
            (
                "do $$ declare n int := 1; begin if n > 0 then alter table t add c int; \
                 else for i in 1..2 loop drop table u; end loop; end if; \
                 exception when others then create index i on t (c); end $$",
                vec![
                    "alter table t add c int",
                    "drop table u",
                    "create index i on t (c)",
                ],
                false,
            ),
            (
                "do 'begin truncate \"it''s\"; end'",
                vec!["truncate \"it's\""],
                false,
            ),
            (
                "do e'begin comment on table t is \\'x\\'; end'",
                vec!["comment on table t is 'x'"],
                false,
            ),
            (
                "do language plpgsql $$ begin lock table t; end $$",
                vec!["lock table t"],
                false,
            ),
            (
                "do $$ begin update t set a = 1; perform f(); end $$",
                vec![],
                false,
            ),
            (
                "do $$ begin execute 'drop table t'; drop table u; end $$",
                vec!["drop table u"],
                true,
            ),
            ("do $$ begin execute format('x'); end $$", vec![], true),
            (
                "do $$ declare r record; begin for r in execute 'select 1' loop end loop; end $$",
                vec![],
                true,
            ),
            ("do $$ begin call p(); end $$", vec![], true),
            (
                "do $$ begin do 'begin drop table t; end'; end $$",
                vec![],
                true,
            ),
            ("do $$ begin frobnicate; end $$", vec![], true),
            ("do $$ drop table t $$ language sql", vec![], true),
            ("do ''", vec![], true),
        ] {
            let found: Vec<String> = found.into_iter().map(str::to_owned).collect();
            assert_eq!(read_do(sql), (found, dynamic_sql), "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_said() {
        let unseen = (Vec::new(), true);
        let call = parse("call p()", LexicalMode::default()).unwrap();
        assert!(matches!(
            &call[0].statement,
            Statement::Dynamic {
                tag: "CALL",
                dynamic_sql: true,
                ..
            }
        ));
        let long = format!("do $$ begin {} end $$", "drop table t; ".repeat(5_000));
        assert_eq!(read_do(&long), unseen);
        let many = format!("do $$ begin {} end $$", "drop table t; ".repeat(500));
        assert_eq!(read_do(&many).0.len(), 500);
    }

    #[test]
    fn deep_bodies_break_nothing() {
        for (open, close, times) in [
            ("begin ", "end; ", 5_000),
            ("if a then ", "end if; ", 3_500),
            ("loop ", "end loop; ", 4_000),
            ("case when a then ", "end case; ", 2_500),
            ("perform ", "(", 5_000),
            ("while (", ")", 8_000),
            ("if a then null; els", "", 3_000),
            ("<<a>> ", "", 10_000),
            ("declare a int; begin ", "end; ", 2_000),
        ] {
            for times in [30, 99, 120, times] {
                let body = format!("begin {} {} end", open.repeat(times), close.repeat(times));
                let _ = read_do(&format!("do $a${body}$a$"));
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read(words in proptest::collection::vec(0..WORDS.len(), 0..60)) {
            let body: Vec<&str> = words.into_iter().map(|at| WORDS[at]).collect();
            let _ = read_do(&format!("do $aa${}$aa$", body.join(" ")));
        }
    }

    const WORDS: &[&str] = &[
        "begin",
        "end",
        ";",
        "if",
        "then",
        "else",
        "elsif",
        "end if",
        "loop",
        "end loop",
        "case",
        "when",
        "declare",
        "a int",
        "a",
        ":=",
        "1",
        "drop table t",
        "execute",
        "'x'",
        "into",
        "using",
        "for",
        "in",
        "..",
        "exception",
        "others",
        "raise",
        "notice",
        "return",
        "next",
        "query",
        "open",
        "cursor",
        "fetch",
        "close",
        "<<l>>",
        "exit",
        "perform",
        "get diagnostics",
        "=",
        "(",
        ")",
        "foreach",
        "slice",
        "array",
        "reverse",
        "while",
        "alias for",
        "constant",
        "not null",
        "default",
        "%type",
        "#option dump",
        "record",
        "commit",
        "and chain",
        "assert",
        "$1",
        "null",
        ",",
        "strict",
        "$$",
        "--",
        "/*",
        "*/",
        "\\",
        "é",
    ];
}
