//! `CREATE INDEX`, `DROP INDEX`, `REINDEX`.

use pg_query::protobuf::{self, ReindexObjectType};
use pg_query::{Node, NodeEnum};

use super::super::lexer;
use super::super::name::Name;
use super::super::statement::ReindexScope;
use super::super::statement::{
    CreateIndex, DropIndex, OtherKind, Reindex, ReindexKind, Scope, Statement,
};
use super::source::Source;
use super::{boolean, definitions, listed_name, other, range_var, strings};

pub(super) fn create_index(index: &protobuf::IndexStmt, source: &Source<'_>) -> Statement {
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
    let tail = lexer::find_word(source.text.as_bytes(), source.mode, "on")
        .and_then(|at| source.text.get(at..))
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

pub(super) fn drop_index(drop: &protobuf::DropStmt) -> Statement {
    let indexes: Vec<Name> = drop.objects.iter().filter_map(listed_name).collect();
    if indexes.len() < drop.objects.len() {
        return other(
            "DROP INDEX",
            Scope::Transactional,
            OtherKind::Harmless,
            Vec::new(),
        );
    }
    Statement::DropIndex(DropIndex {
        concurrently: drop.concurrent,
        if_exists: drop.missing_ok,
        cascade: drop.behavior() == protobuf::DropBehavior::DropCascade,
        indexes,
    })
}

pub(super) fn reindex_statement(reindex: &protobuf::ReindexStmt) -> Statement {
    let option = |name: &str| definitions(&reindex.params).find(|option| option.defname == name);
    let is_on = |name: &str| option(name).is_some_and(|option| boolean(option.arg.as_deref()));
    let many = || {
        let kind = OtherKind::ReindexMany {
            concurrently: is_on("concurrently"),
            scope: match reindex.kind() {
                ReindexObjectType::ReindexObjectSystem => ReindexScope::System,
                ReindexObjectType::ReindexObjectSchema => {
                    ReindexScope::Schema(reindex.name.clone())
                }
                _ => ReindexScope::Database,
            },
        };
        other("REINDEX", Scope::OwnTransaction, kind, Vec::new())
    };
    let kind = match reindex.kind() {
        ReindexObjectType::ReindexObjectIndex => ReindexKind::Index,
        ReindexObjectType::ReindexObjectTable => ReindexKind::Table,
        ReindexObjectType::ReindexObjectSchema
        | ReindexObjectType::ReindexObjectSystem
        | ReindexObjectType::ReindexObjectDatabase
        | ReindexObjectType::Undefined => return many(),
    };
    let Some(relation) = &reindex.relation else {
        return many();
    };
    let known = ["concurrently", "verbose", "tablespace"];
    if definitions(&reindex.params).any(|option| !known.contains(&option.defname.as_str())) {
        // For the server to refuse.
        return other(
            "REINDEX",
            Scope::Transactional,
            OtherKind::Harmless,
            Vec::new(),
        );
    }
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
