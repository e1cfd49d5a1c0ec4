//! Types as written.

use pg_query::protobuf::{self, a_const};
use pg_query::{Node, NodeEnum};

use super::super::alter_table::TypeName;
use super::super::name::Name;
use super::strings;

/// Converts a type; `None` when it can't be written as SQL for certain.
pub(super) fn type_name(node: &protobuf::TypeName) -> Option<TypeName> {
    let mut parts = strings(&node.names);
    let base = parts.pop()?;
    let name = Name {
        schema: parts.pop(),
        name: base,
    };
    let numbers: Option<Vec<i64>> = node.typmods.iter().map(integer).collect();
    let is_array = !node.array_bounds.is_empty();
    let serial = if name.schema.is_none() && !is_array {
        serial(&name.name)
    } else {
        None
    };
    let plain = parts.is_empty() && !node.setof && !node.pct_type;
    let written = match &numbers {
        Some(numbers) if plain => spelled(&name, numbers),
        _ => None,
    };
    let sql = match written {
        Some(written) if is_array => {
            let bounds = node
                .array_bounds
                .iter()
                .map(bound)
                .collect::<Option<String>>();
            bounds.map(|bounds| format!("{written}{bounds}"))
        }
        written => written,
    };
    Some(TypeName {
        modifiers: numbers.unwrap_or_default(),
        is_array,
        serial,
        sql: match sql {
            Some(sql) => sql,
            None => deparsed(node)?,
        },
        name,
    })
}

fn integer(node: &Node) -> Option<i64> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match constant.val.as_ref()? {
            a_const::Val::Ival(number) => Some(i64::from(number.ival)),
            a_const::Val::Fval(_)
            | a_const::Val::Boolval(_)
            | a_const::Val::Sval(_)
            | a_const::Val::Bsval(_) => None,
        },
        _ => None,
    }
}

fn bound(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::Integer(length)) if length.ival < 0 => Some("[]".to_owned()),
        Some(NodeEnum::Integer(length)) => Some(format!("[{}]", length.ival)),
        _ => None,
    }
}

/// The integer type behind `serial` and kin: `transformColumnDefinition` of
/// `src/backend/parser/parse_utilcmd.c`.
fn serial(name: &str) -> Option<&'static str> {
    match name {
        "smallserial" | "serial2" => Some("smallint"),
        "serial" | "serial4" => Some("integer"),
        "bigserial" | "serial8" => Some("bigint"),
        _ => None,
    }
}

/// A type with its modifiers, as `format_type()` spells it.
fn spelled(name: &Name, modifiers: &[i64]) -> Option<String> {
    let numbers: Vec<String> = modifiers.iter().map(i64::to_string).collect();
    let in_parentheses = if numbers.is_empty() {
        String::new()
    } else {
        format!("({})", numbers.join(", "))
    };
    if name.schema.as_deref() != Some("pg_catalog") {
        return Some(format!("{name}{in_parentheses}"));
    }
    let (word, zone) = match name.name.as_str() {
        "int2" => ("smallint", ""),
        "int4" => ("integer", ""),
        "int8" => ("bigint", ""),
        "bool" => ("boolean", ""),
        "float4" => ("real", ""),
        "float8" => ("double precision", ""),
        "numeric" => ("numeric", ""),
        "varchar" => ("varchar", ""),
        "bpchar" if !numbers.is_empty() => ("character", ""),
        "bit" if !numbers.is_empty() => ("bit", ""),
        "varbit" => ("bit varying", ""),
        "timestamp" => ("timestamp", ""),
        "timestamptz" => ("timestamp", " with time zone"),
        "time" => ("time", ""),
        "timetz" => ("time", " with time zone"),
        "interval" if numbers.is_empty() => ("interval", ""),
        "interval" => return None, // a mask of fields
        _ => return Some(format!("{name}{in_parentheses}")),
    };
    Some(format!("{word}{in_parentheses}{zone}"))
}

fn deparsed(node: &protobuf::TypeName) -> Option<String> {
    let column = protobuf::ColumnDef {
        colname: "c".to_owned(),
        type_name: Some(node.clone()),
        is_local: true,
        ..protobuf::ColumnDef::default()
    };
    let text = super::alter_table::added(NodeEnum::ColumnDef(Box::new(column)))?;
    text.strip_prefix("ADD COLUMN c ").map(str::to_owned)
}
