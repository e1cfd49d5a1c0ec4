//! What ordinary statements name and call, and what those say that begin and end transactions.

use pg_query::protobuf::TransactionStmtKind;
use pg_query::{NodeEnum, ParserOptions};
use serde_json::Value;

use super::super::lexer::LexicalMode;
use super::super::name::Name;

/// What a statement of ordinary traffic reads and writes, as far as its text tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ordinary {
    /// The relations that it names; names of its own `WITH` queries among them.
    pub relations: Vec<Name>,
    /// The functions that it calls, without their schemas.
    pub functions: Vec<String>,
}

/// A statement that begins or ends a transaction, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// `BEGIN`.
    Begin,
    /// `COMMIT`; another one begins at once.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`; another one begins at once.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT`.
    Savepoint(String),
    /// `RELEASE SAVEPOINT`.
    Release(String),
    /// `ROLLBACK TO SAVEPOINT`.
    RollbackTo(String),
    /// `PREPARE TRANSACTION`.
    Prepare,
    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    EndPrepared,
}

/// What a single statement is, as far as an open transaction is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It begins or ends a transaction, or a part of one.
    Control(Control),
    /// SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES.
    Ordinary(Ordinary),
    /// `SHOW` or `SET` of a setting, by its name.
    Setting(String),
    /// Anything else, or unreadable.
    Other,
}

/// What a single statement is.
pub fn kind(text: &str, mode: LexicalMode) -> Kind {
    let options = if mode.standard_conforming_strings {
        ParserOptions::DEFAULT
    } else {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    };
    let Ok(parsed) = pg_query::parse(text, options) else {
        return Kind::Other;
    };
    let [only] = parsed.protobuf.stmts.as_slice() else {
        return Kind::Other;
    };
    let Some(node) = only.stmt.as_deref().and_then(|node| node.node.as_ref()) else {
        return Kind::Other;
    };
    match node {
        NodeEnum::TransactionStmt(statement) => {
            let name = || statement.savepoint_name.clone();
            Kind::Control(match statement.kind() {
                TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                    Control::Begin
                }
                TransactionStmtKind::TransStmtCommit => Control::Commit {
                    chain: statement.chain,
                },
                TransactionStmtKind::TransStmtRollback => Control::Rollback {
                    chain: statement.chain,
                },
                TransactionStmtKind::TransStmtSavepoint => Control::Savepoint(name()),
                TransactionStmtKind::TransStmtRelease => Control::Release(name()),
                TransactionStmtKind::TransStmtRollbackTo => Control::RollbackTo(name()),
                TransactionStmtKind::TransStmtPrepare => Control::Prepare,
                TransactionStmtKind::TransStmtCommitPrepared
                | TransactionStmtKind::TransStmtRollbackPrepared => Control::EndPrepared,
                TransactionStmtKind::Undefined => return Kind::Other,
            })
        }
        NodeEnum::VariableSetStmt(set) => Kind::Setting(set.name.to_lowercase()),
        NodeEnum::VariableShowStmt(show) => Kind::Setting(show.name.to_lowercase()),
        NodeEnum::SelectStmt(_)
        | NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => serde_json::to_value(node).map_or(Kind::Other, |tree| {
            let mut found = Ordinary::default();
            gather(&tree, &mut found);
            Kind::Ordinary(found)
        }),
        _ => Kind::Other,
    }
}

/// The whole tree is gone through, whatever stands in it.
fn gather(tree: &Value, found: &mut Ordinary) {
    match tree {
        Value::Object(fields) => {
            relation(fields, found);
            if let Some(Value::Array(names)) = fields.get("funcname") {
                found.functions.extend(names.last().and_then(last_string));
            }
            for field in fields.values() {
                gather(field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn relation(fields: &serde_json::Map<String, Value>, found: &mut Ordinary) -> Option<()> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let name = text("relname").filter(|name| !name.is_empty())?;
    let schema = text("schemaname").filter(|schema| !schema.is_empty());
    found.relations.push(Name {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    });
    Some(())
}

/// The text of a String node, however it is wrapped.
fn last_string(node: &Value) -> Option<String> {
    match node {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value {
            Value::String(text) if name == "sval" => Some(text.clone()),
            other => last_string(other),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Kind {
        kind(sql, LexicalMode::default())
    }

    #[test]
    fn everything_that_is_named_is_seen() {
        let sql = "WITH w AS (SELECT * FROM a JOIN s.b USING (id)) INSERT INTO c (x)
            SELECT CASE WHEN EXISTS (SELECT FROM d) THEN lower(e.f) ELSE s.g(1) END FROM w, LATERAL h(2) e
            ON CONFLICT (x) DO UPDATE SET x = (SELECT max(i) FROM j) RETURNING (SELECT 1 FROM k)";
        let Kind::Ordinary(found) = of(sql) else {
            panic!("not ordinary");
        };
        let mut relations: Vec<String> = found.relations.iter().map(ToString::to_string).collect();
        relations.sort();
        assert_eq!(relations, ["a", "c", "d", "j", "k", "s.b", "w"]);
        let mut functions = found.functions;
        functions.sort();
        assert_eq!(functions, ["g", "h", "lower", "max"]);
    }

    #[test]
    fn every_spelling_of_a_transaction_s_end_is_seen() {
        use Control::{Begin, Commit, Prepare, Release, Rollback, RollbackTo, Savepoint};
        for (sql, control) in [
            ("begin isolation level read committed;", Begin),
            ("START TRANSACTION", Begin),
            ("COMMIT", Commit { chain: false }),
            ("/* x */ end work ;", Commit { chain: false }),
            ("COMMIT AND CHAIN", Commit { chain: true }),
            ("ABORT", Rollback { chain: false }),
            ("rollback and chain", Rollback { chain: true }),
            ("SAVEPOINT \"A b\"", Savepoint("A b".to_owned())),
            ("RELEASE a", Release("a".to_owned())),
            ("ROLLBACK WORK TO SAVEPOINT a", RollbackTo("a".to_owned())),
            ("PREPARE TRANSACTION 'x'", Prepare),
        ] {
            assert_eq!(of(sql), Kind::Control(control), "{sql}");
        }
    }

    #[test]
    fn what_is_none_of_these_is_something_else() {
        assert_eq!(of("SET LOCAL x.y = 1"), Kind::Setting("x.y".to_owned()));
        assert_eq!(
            of("SHOW search_path"),
            Kind::Setting("search_path".to_owned())
        );
        for sql in [
            "LOCK TABLE a",
            "SELECT 1; SELECT 2",
            "COPY a FROM STDIN",
            "nonsense",
            "",
        ] {
            assert_eq!(of(sql), Kind::Other, "{sql}");
        }
    }
}
