//! `CREATE TABLE`, and the bounds of partitions.

use pg_query::protobuf;
use pg_query::{Node, NodeEnum};

use super::super::alter_table::{
    ColumnDefinition, PartitionBound, PartitionBoundKind, RangeEnd, TypeName,
};
use super::super::create_table::{CreateTable, PartitionOf};
use super::super::name::{Name, quote_identifier};
use super::super::statement::{OtherDdl, OtherKind, Scope, Statement};
use super::source::{Piece, Source};
use super::{constraint, expression, inner, name_of, names_of, strings};

/// Converts `CREATE TABLE` and `CREATE FOREIGN TABLE`; what can't be written as SQL for certain may do
/// anything.
pub(super) fn statement(
    create: &protobuf::CreateStmt,
    tag: &'static str,
    source: &Source<'_>,
) -> Statement {
    match table(create, tag, source) {
        Some(table) => Statement::CreateTable(table),
        None => Statement::Other(OtherDdl {
            tag,
            kind: OtherKind::Script,
            scope: Scope::Transactional,
            relations: names_of(create.relation.as_ref()),
            creates: create.relation.as_ref().map(super::range_var),
            may_hold_secret: tag == "CREATE FOREIGN TABLE",
        }),
    }
}

fn table(
    create: &protobuf::CreateStmt,
    tag: &'static str,
    source: &Source<'_>,
) -> Option<CreateTable> {
    let relation = create.relation.as_ref()?;
    let mut table = CreateTable {
        tag,
        name: super::range_var(relation),
        if_not_exists: create.if_not_exists,
        temporary: relation.relpersistence == "t",
        partition_of: None,
        inherits: Vec::new(),
        like: Vec::new(),
        is_partitioned: create.partspec.is_some(),
        columns: Vec::new(),
        constraints: Vec::new(),
    };
    let parents: Option<Vec<Name>> = create.inh_relations.iter().map(parent).collect();
    match &create.partbound {
        Some(partbound) => {
            let (bound, rest) = bound(partbound, source)?;
            table.partition_of = Some(PartitionOf {
                parent: parents?.pop()?,
                bound,
                rest,
            });
        }
        None => table.inherits = parents?,
    }
    for element in &create.table_elts {
        match element.node.as_ref()? {
            NodeEnum::ColumnDef(column) if column.type_name.is_none() => {
                table.columns.push(untyped(column)?);
            }
            NodeEnum::ColumnDef(column) => table.columns.push(constraint::column(column)?),
            NodeEnum::Constraint(definition) => {
                table.constraints.push(constraint::constraint(definition)?);
            }
            NodeEnum::TableLikeClause(like) => table.like.push(name_of(like.relation.as_ref()?)?),
            _ => return None,
        }
    }
    Some(table)
}

/// A column whose type comes from elsewhere.
fn untyped(column: &protobuf::ColumnDef) -> Option<ColumnDefinition> {
    let typed = protobuf::ColumnDef {
        type_name: Some(protobuf::TypeName {
            names: vec![Node {
                node: Some(NodeEnum::String(protobuf::String {
                    sval: "text".to_owned(),
                })),
            }],
            ..protobuf::TypeName::default()
        }),
        ..column.clone()
    };
    Some(ColumnDefinition {
        type_name: TypeName {
            name: Name::unqualified(""),
            modifiers: Vec::new(),
            is_array: false,
            serial: None,
            sql: String::new(),
        },
        bare: quote_identifier(&column.colname),
        ..constraint::column(&typed)?
    })
}

fn parent(node: &Node) -> Option<Name> {
    match &node.node {
        Some(NodeEnum::RangeVar(range)) => name_of(range),
        _ => None,
    }
}

/// Converts a bound; with it what stands behind it in the statement.
pub(super) fn bound(
    node: &protobuf::PartitionBoundSpec,
    source: &Source<'_>,
) -> Option<(PartitionBound, String)> {
    let pieces = source.tokens_from(node.location);
    let end = bound_end(&pieces)?;
    let (own, behind) = pieces.split_at_checked(end)?;
    let text = source.cut(own)?;
    let rest = source.cut(behind).unwrap_or_default().to_owned();
    if node.is_default {
        let bound = PartitionBound {
            sql: "DEFAULT".to_owned(),
            kind: PartitionBoundKind::Default,
        };
        return Some((bound, rest));
    }
    let kind = match node.strategy.as_str() {
        "l" => {
            let values: Option<Vec<_>> = node.listdatums.iter().map(list_value).collect();
            PartitionBoundKind::List(values?)
        }
        "r" => {
            let ends = |nodes: &[Node]| nodes.iter().map(range_end).collect::<Option<Vec<_>>>();
            PartitionBoundKind::Range {
                from: ends(&node.lowerdatums)?,
                to: ends(&node.upperdatums)?,
            }
        }
        "h" => PartitionBoundKind::Hash,
        _ => return None,
    };
    let sql = format!("FOR VALUES {text}");
    Some((PartitionBound { sql, kind }, rest))
}

/// How many tokens `DEFAULT`, `IN (…)`, `FROM (…) TO (…)` and `WITH (…)` have.
fn bound_end(pieces: &[Piece]) -> Option<usize> {
    let first = pieces.first()?;
    if first.is("default") {
        return Some(1);
    }
    let groups = if first.is("from") { 2 } else { 1 };
    let closing = |(_, piece): &(usize, &Piece)| piece.depth == first.depth && piece.is_byte(b')');
    let (at, _) = pieces.iter().enumerate().filter(closing).nth(groups - 1)?;
    Some(at + 1)
}

fn list_value(node: &Node) -> Option<Option<String>> {
    let value = expression::expression(node)?;
    Some((!value.is_null).then_some(value.sql))
}

fn range_end(node: &Node) -> Option<RangeEnd> {
    if let Some(NodeEnum::ColumnRef(column)) = inner(Some(node)) {
        match strings(&column.fields).as_slice() {
            [word] if word == "minvalue" => return Some(RangeEnd::Min),
            [word] if word == "maxvalue" => return Some(RangeEnd::Max),
            _ => {}
        }
    }
    Some(RangeEnd::Value(expression::expression(node)?.sql))
}
