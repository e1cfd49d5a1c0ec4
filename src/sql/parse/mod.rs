//! From text to [`Statement`], by PostgreSQL's own parser. Only this folder names `pg_query`.
//!
//! Two depths: [`utility_statements`] runs the raw parser alone (microseconds, no nesting limit of
//! its own), [`parse`] carries the tree over by protobuf, which fails for trees nested deeper than
//! 100 levels (48 JOINs are enough): so only texts that hold a utility statement, or may hold
//! `SELECT … INTO`, are parsed in full.

mod alter_table;
mod condition;
mod constraint;
mod create_table;
mod expression;
mod index;
mod object;
pub mod ordinary;
mod other;
mod plpgsql;
pub mod settings;
mod source;
#[cfg(test)]
mod tests;
mod type_name;

use std::ops::Range;

use pg_query::protobuf::{self, ObjectType, TransactionStmtKind};
use pg_query::{Node, NodeEnum, ParserOptions};
use thiserror::Error;

pub use self::condition::{conditions_of, implies_not_null, same_condition};

use self::source::Source;
use super::lexer::{Lexer, LexicalMode, Token, TokenKind};
use super::name::Name;
use super::redact;
use super::statement::{ObjectKind, OtherDdl, OtherKind, Scope, Statement};

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// What sort of statement it is, for counting.
    pub sort: Sort,
}

/// What sort of statement the parser saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES.
    Query,
    /// BEGIN, COMMIT, ROLLBACK, savepoints, two-phase commit.
    Transaction,
    /// SET, RESET, DISCARD.
    Settings,
    /// COPY.
    Copy,
    /// A schema change.
    Ddl,
    /// DO or CALL.
    Dynamic,
    /// Any other utility statement.
    Utility,
    /// Nothing that a parser reads.
    Unreadable,
}

/// Why a text gave no statements.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The parser refuses it, as a server of its version would.
    #[error("{0}")]
    Syntax(String),
    /// The tree is nested too deeply to be carried over.
    #[error("nested too deeply to be read")]
    TooDeep,
}

impl From<pg_query::Error> for ParseError {
    fn from(error: pg_query::Error) -> ParseError {
        match error {
            pg_query::Error::Decode(_) => ParseError::TooDeep,
            other => ParseError::Syntax(other.to_string()),
        }
    }
}

/// The version of the parser, as `major.minor` of its grammar.
pub const PARSER_VERSION: &str = "pg_query 18 (PostgreSQL 18 grammar)";

/// For each statement of the text whether it is a utility statement (anything but SELECT, INSERT,
/// UPDATE, DELETE, MERGE, VALUES); `SELECT … INTO` isn't. Raw parse only;
/// `standard_conforming_strings` is taken as on.
///
/// # Errors
/// [`ParseError::Syntax`].
pub fn utility_statements(text: &str) -> Result<Vec<bool>, ParseError> {
    Ok(pg_query::is_utility_stmt(text)?)
}

/// The first words of a statement without its constants and comments, for those who may not be allowed to
/// see them; it may be cut anywhere. Of what can't be read only the command.
pub fn without_constants(text: &str) -> String {
    const LONGEST: usize = 80;
    let command = || {
        let (mut lexer, mut first) = (Lexer::new(LexicalMode::default()), None);
        let mut note = |token: Token| {
            first.get_or_insert(token);
        };
        lexer.feed(text.as_bytes(), &mut note);
        lexer.finish(&mut note);
        match first {
            Some(Token {
                kind: TokenKind::Word(word),
                ..
            }) => word.as_str().to_ascii_uppercase(),
            Some(_) | None => String::new(),
        }
    };
    let normal = match pg_query::normalize(text) {
        Ok(normal) => redact::redacted(&normal, true).trim().to_owned(),
        Err(_) => command(),
    };
    let clipped = crate::sql::name::clip(&normal, LONGEST);
    if clipped.len() < normal.len() {
        format!("{clipped}…")
    } else {
        normal
    }
}

/// Parses a text in full.
///
/// # Errors
/// [`ParseError`].
pub fn parse(text: &str, mode: LexicalMode) -> Result<Vec<Parsed>, ParseError> {
    parse_text(text, mode, false)
}

/// Parses a text that stands in the body of a `DO`.
fn parse_nested(text: &str, mode: LexicalMode) -> Result<Vec<Parsed>, ParseError> {
    parse_text(text, mode, true)
}

fn parse_text(text: &str, mode: LexicalMode, nested: bool) -> Result<Vec<Parsed>, ParseError> {
    let options = if mode.standard_conforming_strings {
        ParserOptions::DEFAULT
    } else {
        ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS
    };
    let parsed = pg_query::parse(text, options)?;
    let statements = parsed.protobuf.stmts.iter().map(|raw| {
        let start = usize::try_from(raw.stmt_location)
            .unwrap_or(0)
            .min(text.len());
        let end = match usize::try_from(raw.stmt_len) {
            Ok(length) if length > 0 => (start + length).min(text.len()),
            _ => text.len(),
        };
        let node = raw.stmt.as_deref().and_then(|node| node.node.as_ref());
        let source = text.get(start..end).unwrap_or_default();
        let (statement, sort) = node.map_or((Statement::Harmless, Sort::Query), |node| {
            let source = Source {
                text: source,
                offset: start,
                mode,
                nested,
            };
            convert(node, &source)
        });
        Parsed {
            statement,
            span: start..end,
            sort,
        }
    });
    Ok(statements.collect())
}

fn convert(node: &NodeEnum, source: &Source<'_>) -> (Statement, Sort) {
    use Statement::Harmless;
    match node {
        NodeEnum::DoStmt(statement) => (plpgsql::dynamic(statement, source), Sort::Dynamic),
        NodeEnum::CallStmt(_) => (Statement::unseen("CALL"), Sort::Dynamic),
        NodeEnum::ExecuteStmt(execute) => (
            Statement::Execute {
                name: execute.name.clone(),
                explained: false,
            },
            Sort::Utility,
        ),
        NodeEnum::DeallocateStmt(deallocate) => {
            let name = (!deallocate.isall).then(|| deallocate.name.clone());
            (Statement::Deallocate { name }, Sort::Utility)
        }
        NodeEnum::PrepareStmt(prepare) => (prepared(prepare, source), Sort::Utility),
        NodeEnum::ExplainStmt(explain) => explained(explain, source),
        NodeEnum::SelectStmt(select) if let Some(into) = selects_into(select) => {
            (Statement::Other(other::select_into(into)), Sort::Ddl)
        }
        NodeEnum::SelectStmt(_)
        | NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => (Harmless, Sort::Query),
        NodeEnum::TransactionStmt(transaction) => {
            let prepares = transaction.kind() == TransactionStmtKind::TransStmtPrepare;
            let (tag, scope) = ("PREPARE TRANSACTION", Scope::Maintenance);
            let prepare = || other(tag, scope, OtherKind::PrepareTransaction, Vec::new());
            let statement = if prepares { prepare() } else { Harmless };
            (statement, Sort::Transaction)
        }
        NodeEnum::VariableSetStmt(_) | NodeEnum::DiscardStmt(_) => (Harmless, Sort::Settings),
        NodeEnum::CopyStmt(_) => (Harmless, Sort::Copy),
        ddl => match schema_change(ddl, source) {
            Some(statement) if !statement.is_ddl() => (statement, Sort::Utility),
            Some(statement) => (statement, Sort::Ddl),
            None => (Harmless, Sort::Utility),
        },
    }
}

/// A schema change; `None` for what is none.
fn schema_change(node: &NodeEnum, source: &Source<'_>) -> Option<Statement> {
    use Scope::Transactional;
    Some(match node {
        // Another database's name is for the server to refuse.
        NodeEnum::IndexStmt(index) if names_database(index.relation.as_ref()) => {
            other("CREATE INDEX", Transactional, OtherKind::Harmless, vec![])
        }
        NodeEnum::ReindexStmt(reindex) if names_database(reindex.relation.as_ref()) => {
            other("REINDEX", Transactional, OtherKind::Harmless, vec![])
        }
        NodeEnum::IndexStmt(create) => index::create_index(create, source),
        NodeEnum::DropStmt(drop) if drop.remove_type() == ObjectType::ObjectIndex => {
            index::drop_index(drop)
        }
        NodeEnum::ReindexStmt(reindex) => index::reindex_statement(reindex),
        NodeEnum::AlterTableStmt(alter) => alter_table::statement(alter, source),
        NodeEnum::CreateStmt(create) => create_table::statement(create, "CREATE TABLE", source),
        NodeEnum::CreateForeignTableStmt(create) => match &create.base_stmt {
            Some(base) => create_table::statement(base, "CREATE FOREIGN TABLE", source),
            None => return None,
        },
        NodeEnum::DropStmt(drop) => object::drop(drop),
        NodeEnum::RenameStmt(rename) => object::rename(rename),
        NodeEnum::CreateSchemaStmt(create) => other::create_schema(create),
        _ => return other::other_ddl(node).map(Statement::Other),
    })
}

fn other(tag: &'static str, scope: Scope, kind: OtherKind, relations: Vec<Name>) -> Statement {
    Statement::Other(OtherDdl {
        tag,
        kind,
        scope,
        relations,
        creates: None,
        may_hold_secret: false,
    })
}

/// The kind of a relation; `None` for what is no relation.
fn relation_kind(object: ObjectType) -> Option<ObjectKind> {
    Some(match object {
        ObjectType::ObjectTable => ObjectKind::Table,
        ObjectType::ObjectForeignTable => ObjectKind::ForeignTable,
        ObjectType::ObjectIndex => ObjectKind::Index,
        ObjectType::ObjectView => ObjectKind::View,
        ObjectType::ObjectMatview => ObjectKind::MaterializedView,
        ObjectType::ObjectSequence => ObjectKind::Sequence,
        _ => return None,
    })
}

/// A relation's name; `None` when it names a database as well.
fn name_of(range: &protobuf::RangeVar) -> Option<Name> {
    range.catalogname.is_empty().then(|| range_var(range))
}

fn inner(node: Option<&Node>) -> Option<&NodeEnum> {
    node.and_then(|node| node.node.as_ref())
}

fn range_var(range: &protobuf::RangeVar) -> Name {
    let schema = (!range.schemaname.is_empty()).then(|| range.schemaname.clone());
    Name {
        schema,
        name: range.relname.clone(),
    }
}

fn names_database(range: Option<&protobuf::RangeVar>) -> bool {
    range.is_some_and(|range| !range.catalogname.is_empty())
}

fn names_of(range: Option<&protobuf::RangeVar>) -> Vec<Name> {
    range.map(range_var).into_iter().collect()
}

/// The texts of a list of String nodes.
fn strings(nodes: &[Node]) -> Vec<String> {
    let text = |node: &Node| match &node.node {
        Some(NodeEnum::String(string)) => Some(string.sval.clone()),
        _ => None,
    };
    nodes.iter().filter_map(text).collect()
}

/// A name given as a list of String nodes; `None` when it names a database as well.
fn listed_name(node: &Node) -> Option<Name> {
    let Some(NodeEnum::List(list)) = &node.node else {
        return None;
    };
    named_by(strings(&list.items))
}

/// A name from its parts; `None` when there are more than two.
fn named_by(mut parts: Vec<String>) -> Option<Name> {
    if parts.len() > 2 {
        return None;
    }
    let name = parts.pop()?;
    Some(Name {
        schema: parts.pop(),
        name,
    })
}

fn definitions(nodes: &[Node]) -> impl DoubleEndedIterator<Item = &protobuf::DefElem> {
    nodes.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::DefElem(element)) => Some(element.as_ref()),
        _ => None,
    })
}

/// A boolean option's value: `defGetBoolean` of `src/backend/commands/define.c`; missing means
/// true.
fn boolean(arg: Option<&Node>) -> bool {
    match arg.and_then(|node| node.node.as_ref()) {
        None => true,
        Some(NodeEnum::Integer(integer)) => integer.ival != 0,
        Some(NodeEnum::Boolean(boolean)) => boolean.boolval,
        Some(NodeEnum::String(string)) => !matches!(
            string.sval.to_ascii_lowercase().as_str(),
            "false" | "off" | "0"
        ),
        Some(_) => true,
    }
}

fn prepared(prepare: &protobuf::PrepareStmt, source: &Source<'_>) -> Statement {
    let query = inner(prepare.query.as_deref());
    match query.map(|node| convert(node, source).0) {
        Some(inner) if inner.is_ddl() => Statement::Prepare {
            name: prepare.name.clone(),
            inner: Box::new(inner),
        },
        _ => Statement::Harmless,
    }
}

/// `EXPLAIN` runs its statement only with ANALYZE on; of several ANALYZE options the last counts.
fn explained(explain: &protobuf::ExplainStmt, source: &Source<'_>) -> (Statement, Sort) {
    let analyze = definitions(&explain.options).rfind(|option| option.defname == "analyze");
    if !analyze.is_some_and(|option| boolean(option.arg.as_deref())) {
        return (Statement::Harmless, Sort::Utility);
    }
    let Some(query) = inner(explain.query.as_deref()) else {
        return (Statement::Harmless, Sort::Utility);
    };
    match convert(query, source) {
        (Statement::Execute { name, .. }, _) => (
            Statement::Execute {
                name,
                explained: true,
            },
            Sort::Utility,
        ),
        (inner, _) if inner.is_ddl() => (
            other(
                "EXPLAIN",
                Scope::LocksNothing,
                OtherKind::CreateTableAs,
                inner.relations(),
            ),
            Sort::Ddl,
        ),
        _ => (Statement::Harmless, Sort::Utility),
    }
}

fn selects_into(select: &protobuf::SelectStmt) -> Option<&protobuf::IntoClause> {
    let mut next = Some(select);
    while let Some(select) = next {
        if let Some(into) = &select.into_clause {
            return Some(into);
        }
        next = select.larg.as_deref(); // INTO of a set operation stands in its leftmost SELECT
    }
    None
}
