//! Expressions: as SQL, and what they call.

use pg_query::protobuf::{self, a_const};
use pg_query::{Node, NodeEnum};
use serde_json::Value;

use super::super::alter_table::Expression;
use super::super::name::{Name, quote_literal};
use super::source;
use super::{inner, named_by, strings};

/// Converts an expression; `None` when it can't be written as SQL for certain.
pub(super) fn expression(node: &Node) -> Option<Expression> {
    let node = node.node.as_ref()?;
    if let NodeEnum::AConst(constant) = node {
        return Some(Expression {
            sql: constant_sql(constant)?,
            is_null: constant.isnull,
            ..Expression::default()
        });
    }
    let mut found = Expression {
        sql: sql(node)?,
        is_null: is_null(node),
        ..Expression::default()
    };
    collect(&serde_json::to_value(node).ok()?, &mut found);
    Some(found)
}

/// A constant as SQL.
pub(super) fn constant_sql(constant: &protobuf::AConst) -> Option<String> {
    if constant.isnull {
        return Some("NULL".to_owned());
    }
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(number) => number.ival.to_string(),
        a_const::Val::Fval(number) => number.fval.clone(),
        a_const::Val::Boolval(boolean) => boolean.boolval.to_string(),
        a_const::Val::Sval(string) => quote_literal(&string.sval),
        a_const::Val::Bsval(bits) => {
            let (kind, digits) = bits.bsval.split_at_checked(1)?;
            format!("{kind}'{digits}'")
        }
    })
}

/// An expression as SQL.
pub(super) fn sql(node: &NodeEnum) -> Option<String> {
    let target = protobuf::ResTarget {
        val: Some(Box::new(Node {
            node: Some(node.clone()),
        })),
        ..protobuf::ResTarget::default()
    };
    let select = protobuf::SelectStmt {
        target_list: vec![Node {
            node: Some(NodeEnum::ResTarget(Box::new(target))),
        }],
        limit_option: protobuf::LimitOption::Default.into(),
        op: protobuf::SetOperation::SetopNone.into(),
        ..protobuf::SelectStmt::default()
    };
    let text = source::deparse(NodeEnum::SelectStmt(Box::new(select)))?;
    text.strip_prefix("SELECT ").map(str::to_owned)
}

fn is_null(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::AConst(constant) => constant.isnull,
        NodeEnum::TypeCast(cast) => inner(cast.arg.as_deref()).is_some_and(is_null),
        _ => false,
    }
}

/// Operators of PostgreSQL's own that a default may well use.
const OPERATORS: [&str; 38] = [
    "+", "-", "*", "/", "%", "^", "|", "&", "#", "~", "<<", ">>", "||", "=", "<>", "!=", "<", ">",
    "<=", ">=", "~~", "!~~", "~~*", "!~~*", "!~", "~*", "!~*", "@>", "<@", "&&", "->", "->>", "#>",
    "#>>", "?", "?|", "?&", "@",
];

/// Finds the functions, columns and operators of a tree, however deep.
fn collect(value: &Value, found: &mut Expression) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                note(key, value, found);
                collect(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn note(node: &str, value: &Value, found: &mut Expression) {
    match node {
        "FuncCall" => {
            let mut parts = texts(value.get("funcname"));
            let name = parts.pop().unwrap_or_default();
            let name = Name {
                schema: parts.pop(),
                name,
            };
            if !found.functions.contains(&name) {
                found.functions.push(name);
            }
        }
        "ColumnRef" => {
            if let Some(column) = texts(value.get("fields")).pop()
                && !found.columns.contains(&column)
            {
                found.columns.push(column);
            }
        }
        "AExpr" => {
            found.may_hide_code = true;
            let name = texts(value.get("name"));
            found.user_code |= !matches!(&name[..], [only] if OPERATORS.contains(&only.as_str()));
        }
        "SubLink" | "AIndirection" | "MinMaxExpr" => found.may_hide_code = true,
        "CaseExpr" => found.may_hide_code |= value.get("arg").is_some_and(|arg| !arg.is_null()),
        "TypeCast" => {
            let names = value.get("type_name").and_then(|name| name.get("names"));
            let is_own = !is_builtin(&texts(names));
            found.may_hide_code |= is_own;
            // What is written as text is read by the type itself.
            let argument = value.pointer("/arg/node").and_then(Value::as_object);
            let constants = ["AConst", "RowExpr", "AArrayExpr", "TypeCast"];
            let is_constant = argument
                .is_some_and(|node| node.keys().any(|kind| constants.contains(&kind.as_str())));
            found.user_code |= is_own && !is_constant;
        }
        _ => {}
    }
}

/// The texts of a list of String nodes.
fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let text = |item: &Value| {
        let text = item.get("node")?.get("String")?.get("sval")?;
        text.as_str().map(str::to_owned)
    };
    items.iter().filter_map(text).collect()
}

/// Whether a type is one of `pg_catalog`'s: said, or a plain name of one that everybody finds there first.
fn is_builtin(names: &[String]) -> bool {
    const PLAIN: &[&str] = &[
        "text",
        "name",
        "date",
        "uuid",
        "json",
        "jsonb",
        "bytea",
        "xml",
        "money",
        "oid",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "tsvector",
        "tsquery",
        "regclass",
        "regtype",
        "regproc",
        "regrole",
        "regnamespace",
        "pg_lsn",
        "jsonpath",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "bool",
        "numeric",
        "varchar",
        "bpchar",
        "timestamptz",
        "timestamp",
        "timetz",
        "time",
        "interval",
        "int4range",
        "int8range",
        "numrange",
        "tsrange",
        "tstzrange",
        "daterange",
    ];
    match names {
        [schema, _] => schema == "pg_catalog",
        [name] => PLAIN.contains(&name.as_str()),
        _ => false,
    }
}

/// The name of a collation, or of anything else that is a list of parts.
pub(super) fn name_in(nodes: &[Node]) -> Option<Name> {
    named_by(strings(nodes))
}
