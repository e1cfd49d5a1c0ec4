//! From text to [`Statement`], by PostgreSQL's own parser. The only file that names `pg_query`.
//!
//! Two depths: [`utility_statements`] runs the raw parser alone (microseconds, no nesting limit of
//! its own), [`parse`] carries the tree over by protobuf, which fails for trees nested deeper than
//! 100 levels (48 JOINs are enough): so only texts that hold a utility statement, or may hold
//! `SELECT … INTO`, are parsed in full.

use std::ops::Range;

use pg_query::protobuf::{self, AlterTableType, ObjectType, ReindexObjectType};
use pg_query::{Node, NodeEnum, ParserOptions};
use thiserror::Error;

use super::lexer::{self, LexicalMode};
use super::name::Name;
use super::statement::{
    CreateIndex, DropIndex, OtherDdl, OtherKind, Reindex, ReindexKind, Scope, Statement,
};
use super::tag::{alter_tag, create_tag, drop_tag};

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

/// Parses a text in full.
///
/// # Errors
/// [`ParseError`].
pub fn parse(text: &str, mode: LexicalMode) -> Result<Vec<Parsed>, ParseError> {
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
            convert(node, source, mode)
        });
        Parsed {
            statement,
            span: start..end,
            sort,
        }
    });
    Ok(statements.collect())
}

fn convert(node: &NodeEnum, source: &str, mode: LexicalMode) -> (Statement, Sort) {
    use Statement::Harmless;
    let statement = match node {
        // Another database's name is for the server to refuse.
        NodeEnum::IndexStmt(index) if names_database(index.relation.as_ref()) => {
            other("CREATE INDEX", Scope::Transactional, Vec::new())
        }
        NodeEnum::ReindexStmt(reindex) if names_database(reindex.relation.as_ref()) => {
            other("REINDEX", Scope::Transactional, Vec::new())
        }
        NodeEnum::IndexStmt(index) => create_index(index, source, mode),
        NodeEnum::DropStmt(drop) if drop.remove_type() == ObjectType::ObjectIndex => {
            drop_index(drop)
        }
        NodeEnum::ReindexStmt(reindex) => reindex_statement(reindex),
        NodeEnum::DoStmt(_) => return (Statement::Dynamic { tag: "DO" }, Sort::Dynamic),
        NodeEnum::CallStmt(_) => return (Statement::Dynamic { tag: "CALL" }, Sort::Dynamic),
        NodeEnum::ExecuteStmt(execute) => {
            return (
                Statement::Execute {
                    name: execute.name.clone(),
                    explained: false,
                },
                Sort::Utility,
            );
        }
        NodeEnum::DeallocateStmt(deallocate) => {
            let name = (!deallocate.isall).then(|| deallocate.name.clone());
            return (Statement::Deallocate { name }, Sort::Utility);
        }
        NodeEnum::PrepareStmt(prepare) => return (prepared(prepare, source, mode), Sort::Utility),
        NodeEnum::ExplainStmt(explain) => return explained(explain, source, mode),
        NodeEnum::SelectStmt(select) => {
            return if selects_into(select) {
                (
                    other("SELECT INTO", Scope::LocksNothing, Vec::new()),
                    Sort::Ddl,
                )
            } else {
                (Harmless, Sort::Query)
            };
        }
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => {
            return (Harmless, Sort::Query);
        }
        NodeEnum::TransactionStmt(_) => return (Harmless, Sort::Transaction),
        NodeEnum::VariableSetStmt(_) | NodeEnum::DiscardStmt(_) => {
            return (Harmless, Sort::Settings);
        }
        NodeEnum::CopyStmt(_) => return (Harmless, Sort::Copy),
        ddl => match other_ddl(ddl) {
            Some(other) => Statement::Other(other),
            None => return (Harmless, Sort::Utility),
        },
    };
    (statement, Sort::Ddl)
}

fn other(tag: &'static str, scope: Scope, relations: Vec<Name>) -> Statement {
    Statement::Other(OtherDdl {
        tag,
        kind: OtherKind::Harmless,
        scope,
        relations,
        creates: None,
        may_hold_secret: false,
    })
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
    let mut parts = strings(&list.items);
    if parts.len() > 2 {
        return None;
    }
    let name = parts.pop()?;
    Some(Name {
        schema: parts.pop(),
        name,
    })
}

fn create_index(index: &protobuf::IndexStmt, source: &str, mode: LexicalMode) -> Statement {
    let Some(relation) = &index.relation else {
        return Statement::Unreadable {
            words: "CREATE INDEX".to_owned(),
        };
    };
    let elements = || {
        index
            .index_params
            .iter()
            .chain(&index.index_including_params)
            .filter_map(index_element)
    };
    let tail = lexer::find_word(source.as_bytes(), mode, "on")
        .and_then(|at| source.get(at..))
        .unwrap_or_default();
    Statement::CreateIndex(CreateIndex {
        unique: index.unique,
        concurrently: index.concurrent,
        if_not_exists: index.if_not_exists,
        name: (!index.idxname.is_empty()).then(|| index.idxname.clone()),
        table: range_var(relation),
        only: !relation.inh,
        method: index.access_method.clone(),
        columns: elements().map(index_column_name).collect(),
        has_expressions: index.where_clause.is_some()
            || elements().any(|element| element.expr.is_some()),
        tail: tail.trim_end().to_owned(),
    })
}

fn index_element(node: &Node) -> Option<&protobuf::IndexElem> {
    match &node.node {
        Some(NodeEnum::IndexElem(element)) => Some(element),
        _ => None,
    }
}

fn index_column_name(element: &protobuf::IndexElem) -> Option<String> {
    if !element.name.is_empty() {
        return Some(element.name.clone());
    }
    let mut name = None;
    figure_column_name(element.expr.as_deref()?, &mut name);
    name
}

/// The name of an expression's column and how good it is: `FigureColnameInternal` of
/// `src/backend/parser/parse_target.c` (0 none, 1 weak, 2 strong).
fn figure_column_name(node: &Node, name: &mut Option<String>) -> u8 {
    let mut take = |text: &str, strength: u8| {
        *name = Some(text.to_owned());
        strength
    };
    let last = |nodes: &[Node]| strings(nodes).pop();
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => last(&column.fields).map_or(0, |text| take(&text, 2)),
        Some(NodeEnum::AIndirection(indirection)) => {
            match (last(&indirection.indirection), &indirection.arg) {
                (Some(text), _) => take(&text, 2),
                (None, Some(arg)) => figure_column_name(arg, name),
                (None, None) => 0,
            }
        }
        Some(NodeEnum::FuncCall(call)) => last(&call.funcname).map_or(0, |text| take(&text, 2)),
        Some(NodeEnum::AExpr(expr)) if expr.kind() == protobuf::AExprKind::AexprNullif => {
            take("nullif", 2)
        }
        Some(NodeEnum::TypeCast(cast)) => {
            let strength = cast
                .arg
                .as_deref()
                .map_or(0, |arg| figure_column_name(arg, name));
            match cast
                .type_name
                .as_ref()
                .and_then(|type_name| last(&type_name.names))
            {
                Some(text) if strength <= 1 => {
                    *name = Some(text);
                    1
                }
                _ => strength,
            }
        }
        Some(NodeEnum::CollateClause(collate)) => collate
            .arg
            .as_deref()
            .map_or(0, |arg| figure_column_name(arg, name)),
        Some(NodeEnum::CaseExpr(case)) => {
            let strength = case
                .defresult
                .as_deref()
                .map_or(0, |arg| figure_column_name(arg, name));
            if strength <= 1 {
                *name = Some("case".to_owned());
                return 1;
            }
            strength
        }
        Some(other) if let Some(text) = syntax_name(other) => take(text, 2),
        _ => 0,
    }
}

/// The names of expressions with a syntax of their own.
fn syntax_name(node: &NodeEnum) -> Option<&'static str> {
    use protobuf::{JsonExprOp, MinMaxOp, SqlValueFunctionOp, XmlExprOp};
    Some(match node {
        NodeEnum::AArrayExpr(_) => "array",
        NodeEnum::RowExpr(_) => "row",
        NodeEnum::CoalesceExpr(_) => "coalesce",
        NodeEnum::MinMaxExpr(minmax) if minmax.op() == MinMaxOp::IsGreatest => "greatest",
        NodeEnum::MinMaxExpr(_) => "least",
        NodeEnum::JsonFuncExpr(json) => match json.op() {
            JsonExprOp::JsonExistsOp => "json_exists",
            JsonExprOp::JsonQueryOp => "json_query",
            JsonExprOp::JsonValueOp => "json_value",
            JsonExprOp::JsonTableOp | JsonExprOp::Undefined => return None,
        },
        NodeEnum::JsonParseExpr(_) => "json",
        NodeEnum::JsonScalarExpr(_) => "json_scalar",
        NodeEnum::JsonSerializeExpr(_) => "json_serialize",
        NodeEnum::JsonObjectConstructor(_) => "json_object",
        NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => "json_array",
        NodeEnum::XmlSerialize(_) => "xmlserialize",
        NodeEnum::XmlExpr(xml) => match xml.op() {
            XmlExprOp::IsXmlconcat => "xmlconcat",
            XmlExprOp::IsXmlelement => "xmlelement",
            XmlExprOp::IsXmlforest => "xmlforest",
            XmlExprOp::IsXmlparse => "xmlparse",
            XmlExprOp::IsXmlpi => "xmlpi",
            XmlExprOp::IsXmlroot => "xmlroot",
            XmlExprOp::IsXmlserialize => "xmlserialize",
            XmlExprOp::IsDocument | XmlExprOp::Undefined => return None,
        },
        NodeEnum::SqlvalueFunction(value) => match value.op() {
            SqlValueFunctionOp::SvfopCurrentUser => "current_user",
            SqlValueFunctionOp::SvfopCurrentRole => "current_role",
            SqlValueFunctionOp::SvfopUser => "user",
            SqlValueFunctionOp::SvfopSessionUser => "session_user",
            SqlValueFunctionOp::SvfopCurrentCatalog => "current_catalog",
            SqlValueFunctionOp::SvfopCurrentSchema => "current_schema",
            _ => return None, // times aren't immutable: no index has them
        },
        _ => return None,
    })
}

fn drop_index(drop: &protobuf::DropStmt) -> Statement {
    let indexes: Vec<Name> = drop.objects.iter().filter_map(listed_name).collect();
    if indexes.len() < drop.objects.len() {
        return other("DROP INDEX", Scope::Transactional, Vec::new());
    }
    Statement::DropIndex(DropIndex {
        concurrently: drop.concurrent,
        if_exists: drop.missing_ok,
        cascade: drop.behavior() == protobuf::DropBehavior::DropCascade,
        indexes,
    })
}

fn reindex_statement(reindex: &protobuf::ReindexStmt) -> Statement {
    let kind = match reindex.kind() {
        ReindexObjectType::ReindexObjectIndex => ReindexKind::Index,
        ReindexObjectType::ReindexObjectTable => ReindexKind::Table,
        ReindexObjectType::ReindexObjectSchema
        | ReindexObjectType::ReindexObjectSystem
        | ReindexObjectType::ReindexObjectDatabase
        | ReindexObjectType::Undefined => {
            return other("REINDEX", Scope::OwnTransaction, Vec::new());
        }
    };
    let Some(relation) = &reindex.relation else {
        return other("REINDEX", Scope::OwnTransaction, Vec::new());
    };
    let known = ["concurrently", "verbose", "tablespace"];
    if definitions(&reindex.params).any(|option| !known.contains(&option.defname.as_str())) {
        return other("REINDEX", Scope::Transactional, Vec::new()); // for the server to refuse
    }
    let option = |name: &str| definitions(&reindex.params).find(|option| option.defname == name);
    let is_on = |name: &str| option(name).is_some_and(|option| boolean(option.arg.as_deref()));
    let tablespace =
        option("tablespace").and_then(|option| match option.arg.as_deref()?.node.as_ref()? {
            NodeEnum::String(string) => Some(string.sval.clone()),
            _ => None,
        });
    Statement::Reindex(Reindex {
        kind,
        concurrently: is_on("concurrently"),
        verbose: is_on("verbose"),
        tablespace,
        name: range_var(relation),
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

fn prepared(prepare: &protobuf::PrepareStmt, source: &str, mode: LexicalMode) -> Statement {
    let inner = prepare.query.as_deref().and_then(|node| node.node.as_ref());
    match inner.map(|node| convert(node, source, mode).0) {
        Some(inner) if inner.is_ddl() => Statement::Prepare {
            name: prepare.name.clone(),
            inner: Box::new(inner),
        },
        _ => Statement::Harmless,
    }
}

/// `EXPLAIN` runs its statement only with ANALYZE on; of several ANALYZE options the last counts.
fn explained(
    explain: &protobuf::ExplainStmt,
    source: &str,
    mode: LexicalMode,
) -> (Statement, Sort) {
    let analyze = definitions(&explain.options).rfind(|option| option.defname == "analyze");
    if !analyze.is_some_and(|option| boolean(option.arg.as_deref())) {
        return (Statement::Harmless, Sort::Utility);
    }
    let Some(inner) = explain.query.as_deref().and_then(|node| node.node.as_ref()) else {
        return (Statement::Harmless, Sort::Utility);
    };
    match convert(inner, source, mode) {
        (Statement::Execute { name, .. }, _) => (
            Statement::Execute {
                name,
                explained: true,
            },
            Sort::Utility,
        ),
        (inner, _) if inner.is_ddl() => (
            other("EXPLAIN", Scope::LocksNothing, inner.relations()),
            Sort::Ddl,
        ),
        _ => (Statement::Harmless, Sort::Utility),
    }
}

fn selects_into(select: &protobuf::SelectStmt) -> bool {
    let mut next = Some(select);
    while let Some(select) = next {
        if select.into_clause.is_some() {
            return true;
        }
        next = select.larg.as_deref(); // INTO of a set operation stands in its leftmost SELECT
    }
    false
}

/// Schema changes without a rule of their own: PostgreSQL's `GetCommandLogLevel`
/// (`src/backend/tcop/utility.c`, `LOGSTMT_DDL`) and the maintenance commands that take strong
/// locks.
fn other_ddl(node: &NodeEnum) -> Option<OtherDdl> {
    let (tag, scope, relations) = relation_ddl(node).or_else(|| {
        let (tag, scope) = object_ddl(node)?;
        Some((tag, scope, Vec::new()))
    })?;
    let may_hold_secret = matches!(
        node,
        NodeEnum::CreateRoleStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
            | NodeEnum::AlterUserMappingStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::AlterForeignServerStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::AlterFdwStmt(_)
            | NodeEnum::CreateForeignTableStmt(_)
            | NodeEnum::CreateSubscriptionStmt(_)
            | NodeEnum::AlterSubscriptionStmt(_)
            | NodeEnum::AlterSystemStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_)
    );
    Some(OtherDdl {
        tag,
        kind: OtherKind::Harmless,
        scope,
        relations,
        creates: None,
        may_hold_secret,
    })
}

/// Schema changes that name relations.
fn relation_ddl(node: &NodeEnum) -> Option<(&'static str, Scope, Vec<Name>)> {
    use Scope::{LocksNothing, OwnTransaction, Transactional};
    let on = |tag, relation| (tag, Transactional, names_of(relation));
    Some(match node {
        NodeEnum::CreateStmt(create) => on("CREATE TABLE", create.relation.as_ref()),
        NodeEnum::CreateForeignTableStmt(_) => on("CREATE FOREIGN TABLE", None),
        NodeEnum::AlterTableStmt(alter) => alter_table(alter),
        NodeEnum::RenameStmt(rename) => on(
            alter_tag(rename.rename_type().as_str_name()),
            rename.relation.as_ref(),
        ),
        NodeEnum::AlterObjectSchemaStmt(alter) => on(
            alter_tag(alter.object_type().as_str_name()),
            alter.relation.as_ref(),
        ),
        NodeEnum::DropStmt(drop) => (
            drop_tag(drop.remove_type().as_str_name()),
            Transactional,
            dropped_relations(drop),
        ),
        NodeEnum::TruncateStmt(truncate) => (
            "TRUNCATE TABLE",
            Transactional,
            listed_relations(&truncate.relations),
        ),
        NodeEnum::CreateTrigStmt(trigger) => on("CREATE TRIGGER", trigger.relation.as_ref()),
        NodeEnum::RuleStmt(rule) => on("CREATE RULE", rule.relation.as_ref()),
        NodeEnum::CreatePolicyStmt(policy) => on("CREATE POLICY", policy.table.as_ref()),
        NodeEnum::AlterPolicyStmt(policy) => on("ALTER POLICY", policy.table.as_ref()),
        NodeEnum::ViewStmt(view) => on("CREATE VIEW", view.view.as_ref()),
        NodeEnum::CreateSeqStmt(_) => on("CREATE SEQUENCE", None),
        NodeEnum::AlterSeqStmt(alter) => on("ALTER SEQUENCE", alter.sequence.as_ref()),
        NodeEnum::CreateTableAsStmt(create) => (create_as_tag(create), LocksNothing, Vec::new()),
        NodeEnum::RefreshMatViewStmt(refresh) => {
            on("REFRESH MATERIALIZED VIEW", refresh.relation.as_ref())
        }
        NodeEnum::ClusterStmt(cluster) if cluster.relation.is_none() => {
            ("CLUSTER", OwnTransaction, Vec::new())
        }
        NodeEnum::ClusterStmt(cluster) => on("CLUSTER", cluster.relation.as_ref()),
        NodeEnum::VacuumStmt(vacuum) if is_vacuum_full(vacuum) => {
            ("VACUUM", OwnTransaction, Vec::new())
        }
        NodeEnum::CreateStatsStmt(create) => (
            "CREATE STATISTICS",
            Transactional,
            listed_relations(&create.relations),
        ),
        _ => return None,
    })
}

fn alter_table(alter: &protobuf::AlterTableStmt) -> (&'static str, Scope, Vec<Name>) {
    let detaches_concurrently = alter.cmds.iter().any(|node| match &node.node {
        Some(NodeEnum::AlterTableCmd(command))
            if command.subtype() == AlterTableType::AtDetachPartition =>
        {
            matches!(
                command.def.as_deref().and_then(|node| node.node.as_ref()),
                Some(NodeEnum::PartitionCmd(partition)) if partition.concurrent
            )
        }
        _ => false,
    });
    let scope = if detaches_concurrently {
        Scope::Concurrent
    } else {
        Scope::Transactional
    };
    (
        alter_tag(alter.objtype().as_str_name()),
        scope,
        names_of(alter.relation.as_ref()),
    )
}

fn create_as_tag(create: &protobuf::CreateTableAsStmt) -> &'static str {
    match create.objtype() {
        ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW",
        _ if create.is_select_into => "SELECT INTO",
        _ => "CREATE TABLE AS",
    }
}

fn is_vacuum_full(vacuum: &protobuf::VacuumStmt) -> bool {
    let full = definitions(&vacuum.options).rfind(|option| option.defname == "full");
    vacuum.is_vacuumcmd && full.is_some_and(|option| boolean(option.arg.as_deref()))
}

fn listed_relations(nodes: &[Node]) -> Vec<Name> {
    let name = |node: &Node| match &node.node {
        Some(NodeEnum::RangeVar(range)) => Some(range_var(range)),
        _ => None,
    };
    nodes.iter().filter_map(name).collect()
}

/// The relations that a DROP names; of a trigger, rule or policy the table, which is all but the
/// last part of the name.
fn dropped_relations(drop: &protobuf::DropStmt) -> Vec<Name> {
    match drop.remove_type() {
        ObjectType::ObjectTable
        | ObjectType::ObjectView
        | ObjectType::ObjectMatview
        | ObjectType::ObjectSequence
        | ObjectType::ObjectForeignTable => drop.objects.iter().filter_map(listed_name).collect(),
        ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectPolicy => {
            let table = |node: &Node| {
                let Some(NodeEnum::List(list)) = &node.node else {
                    return None;
                };
                let mut parts = strings(&list.items);
                parts.pop();
                Some(Name {
                    name: parts.pop()?,
                    schema: parts.pop(),
                })
            };
            drop.objects.iter().filter_map(table).collect()
        }
        _ => Vec::new(),
    }
}

/// Schema changes of objects that aren't relations, or that name theirs in a way not read here.
fn object_ddl(node: &NodeEnum) -> Option<(&'static str, Scope)> {
    use Scope::{OwnTransaction, Transactional};
    let transactional = match node {
        NodeEnum::AlterOwnerStmt(alter) => alter_tag(alter.object_type().as_str_name()),
        NodeEnum::AlterObjectDependsStmt(alter) => alter_tag(alter.object_type().as_str_name()),
        NodeEnum::AlterTableMoveAllStmt(alter) => alter_tag(alter.objtype().as_str_name()),
        NodeEnum::CommentStmt(_) => "COMMENT",
        NodeEnum::SecLabelStmt(_) => "SECURITY LABEL",
        NodeEnum::GrantStmt(grant) => {
            if grant.is_grant {
                "GRANT"
            } else {
                "REVOKE"
            }
        }
        NodeEnum::GrantRoleStmt(grant) => {
            if grant.is_grant {
                "GRANT ROLE"
            } else {
                "REVOKE ROLE"
            }
        }
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
        NodeEnum::CreateSchemaStmt(_) => "CREATE SCHEMA",
        NodeEnum::CreateExtensionStmt(_) => "CREATE EXTENSION",
        NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => {
            "ALTER EXTENSION"
        }
        NodeEnum::CreateFunctionStmt(create) => {
            if create.is_procedure {
                "CREATE PROCEDURE"
            } else {
                "CREATE FUNCTION"
            }
        }
        NodeEnum::AlterFunctionStmt(_) => "ALTER FUNCTION",
        NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateRangeStmt(_) => "CREATE TYPE",
        NodeEnum::AlterEnumStmt(_) | NodeEnum::AlterTypeStmt(_) => "ALTER TYPE",
        NodeEnum::CreateDomainStmt(_) => "CREATE DOMAIN",
        NodeEnum::AlterDomainStmt(_) => "ALTER DOMAIN",
        NodeEnum::DefineStmt(define) => create_tag(define.kind().as_str_name()),
        NodeEnum::CreatePublicationStmt(_) => "CREATE PUBLICATION",
        NodeEnum::AlterPublicationStmt(_) => "ALTER PUBLICATION",
        NodeEnum::CreateRoleStmt(_) => "CREATE ROLE",
        NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "ALTER ROLE",
        NodeEnum::DropRoleStmt(_) => "DROP ROLE",
        NodeEnum::DropOwnedStmt(_) => "DROP OWNED",
        NodeEnum::ReassignOwnedStmt(_) => "REASSIGN OWNED",
        NodeEnum::AlterDatabaseSetStmt(_) | NodeEnum::AlterDatabaseRefreshCollStmt(_) => {
            "ALTER DATABASE"
        }
        NodeEnum::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
        _ => {
            return extension_ddl(node)
                .map(|tag| (tag, Transactional))
                .or_else(|| own_transaction_ddl(node).map(|tag| (tag, OwnTransaction)));
        }
    };
    Some((transactional, Transactional))
}

/// Schema changes of what extends the server: casts, operators, languages, foreign data.
fn extension_ddl(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateCastStmt(_) => "CREATE CAST",
        NodeEnum::CreateTransformStmt(_) => "CREATE TRANSFORM",
        NodeEnum::CreateConversionStmt(_) => "CREATE CONVERSION",
        NodeEnum::CreatePlangStmt(_) => "CREATE LANGUAGE",
        NodeEnum::CreateAmStmt(_) => "CREATE ACCESS METHOD",
        NodeEnum::CreateOpClassStmt(_) => "CREATE OPERATOR CLASS",
        NodeEnum::CreateOpFamilyStmt(_) => "CREATE OPERATOR FAMILY",
        NodeEnum::AlterOpFamilyStmt(_) => "ALTER OPERATOR FAMILY",
        NodeEnum::AlterOperatorStmt(_) => "ALTER OPERATOR",
        NodeEnum::AlterCollationStmt(_) => "ALTER COLLATION",
        NodeEnum::AlterStatsStmt(_) => "ALTER STATISTICS",
        NodeEnum::AlterTsdictionaryStmt(_) => "ALTER TEXT SEARCH DICTIONARY",
        NodeEnum::AlterTsconfigurationStmt(_) => "ALTER TEXT SEARCH CONFIGURATION",
        NodeEnum::CreateEventTrigStmt(_) => "CREATE EVENT TRIGGER",
        NodeEnum::AlterEventTrigStmt(_) => "ALTER EVENT TRIGGER",
        NodeEnum::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
        NodeEnum::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
        NodeEnum::CreateForeignServerStmt(_) => "CREATE SERVER",
        NodeEnum::AlterForeignServerStmt(_) => "ALTER SERVER",
        NodeEnum::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
        NodeEnum::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
        NodeEnum::DropUserMappingStmt(_) => "DROP USER MAPPING",
        NodeEnum::ImportForeignSchemaStmt(_) => "IMPORT FOREIGN SCHEMA",
        _ => return None,
    })
}

/// Schema changes that refuse a transaction block, always or in one of their forms.
fn own_transaction_ddl(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
        NodeEnum::DropdbStmt(_) => "DROP DATABASE",
        NodeEnum::AlterDatabaseStmt(_) => "ALTER DATABASE",
        NodeEnum::AlterSystemStmt(_) => "ALTER SYSTEM",
        NodeEnum::CreateTableSpaceStmt(_) => "CREATE TABLESPACE",
        NodeEnum::DropTableSpaceStmt(_) => "DROP TABLESPACE",
        NodeEnum::CreateSubscriptionStmt(_) => "CREATE SUBSCRIPTION",
        NodeEnum::AlterSubscriptionStmt(_) => "ALTER SUBSCRIPTION",
        NodeEnum::DropSubscriptionStmt(_) => "DROP SUBSCRIPTION",
        _ => return None,
    })
}
