//! Column definitions and constraints.

use pg_query::protobuf::{self, ConstrType};
use pg_query::{Node, NodeEnum};

use super::super::alter_table::{
    ColumnDefinition, ConstraintDefinition, ConstraintDefinitionKind, Generated, Identity,
};
use super::super::name::{quote_identifier, quote_literal};
use super::alter_table::added;
use super::{definitions, expression, name_of, strings, type_name};

/// Converts a column's definition; `None` when a part of it can't be written as SQL for certain.
pub(super) fn column(node: &protobuf::ColumnDef) -> Option<ColumnDefinition> {
    let type_name = type_name::type_name(node.type_name.as_ref()?)?;
    let mut column = ColumnDefinition {
        name: node.colname.clone(),
        bare: bare(node, type_name.serial.unwrap_or(&type_name.sql))?,
        type_name,
        not_null: false,
        null: false,
        not_null_name: None,
        default: None,
        identity: None,
        generated: None,
        constraints: Vec::new(),
    };
    for constraint in folded(&node.constraints) {
        place(constraint, &mut column)?;
    }
    Some(column)
}

/// Column constraints with the attributes that stand behind them:
/// `transformConstraintAttrs` of `src/backend/parser/parse_utilcmd.c`.
fn folded(nodes: &[Node]) -> Vec<protobuf::Constraint> {
    let mut constraints: Vec<protobuf::Constraint> = Vec::new();
    for node in nodes {
        let Some(NodeEnum::Constraint(constraint)) = &node.node else {
            continue;
        };
        let Some(last) = constraints.last_mut() else {
            constraints.push((**constraint).clone());
            continue;
        };
        match constraint.contype() {
            ConstrType::ConstrAttrDeferrable => last.deferrable = true,
            ConstrType::ConstrAttrNotDeferrable => last.deferrable = false,
            ConstrType::ConstrAttrDeferred => {
                last.deferrable = true;
                last.initdeferred = true;
            }
            ConstrType::ConstrAttrImmediate => last.initdeferred = false,
            ConstrType::ConstrAttrEnforced => last.is_enforced = true,
            ConstrType::ConstrAttrNotEnforced => {
                last.is_enforced = false;
                last.skip_validation = true;
            }
            _ => constraints.push((**constraint).clone()),
        }
    }
    constraints
}

fn place(mut constraint: protobuf::Constraint, column: &mut ColumnDefinition) -> Option<()> {
    let key = || Node {
        node: Some(NodeEnum::String(protobuf::String {
            sval: column.name.clone(),
        })),
    };
    match constraint.contype() {
        ConstrType::ConstrNull => column.null = true,
        ConstrType::ConstrNotnull => {
            column.not_null = true;
            column.not_null_name =
                (!constraint.conname.is_empty()).then(|| constraint.conname.clone());
        }
        ConstrType::ConstrDefault => {
            column.default = Some(expression::expression(constraint.raw_expr.as_deref()?)?);
        }
        ConstrType::ConstrIdentity => column.identity = Some(identity(constraint)?),
        ConstrType::ConstrGenerated => {
            column.generated = Some(Generated {
                stored: constraint.generated_kind == "s",
                expression: expression::expression(constraint.raw_expr.as_deref()?)?,
            });
        }
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique => {
            constraint.keys = vec![key()];
            column.constraints.push(self::constraint(&constraint)?);
        }
        ConstrType::ConstrForeign => {
            constraint.fk_attrs = vec![key()];
            column.constraints.push(self::constraint(&constraint)?);
        }
        ConstrType::ConstrCheck => column.constraints.push(self::constraint(&constraint)?),
        _ => return None,
    }
    Some(())
}

fn identity(mut constraint: protobuf::Constraint) -> Option<Identity> {
    constraint.conname.clear();
    let always = match constraint.generated_when.as_str() {
        "a" => "ALWAYS",
        _ => "BY DEFAULT",
    };
    if constraint.options.is_empty() {
        return Some(Identity {
            sql: format!("GENERATED {always} AS IDENTITY"),
            options: Some(String::new()),
        });
    }
    let are_about_values = super::definitions(&constraint.options)
        .all(|option| VALUE_OPTIONS.contains(&option.defname.as_str()));
    let column = protobuf::ColumnDef {
        colname: "c".to_owned(),
        type_name: Some(protobuf::TypeName {
            names: vec![Node {
                node: Some(NodeEnum::String(protobuf::String {
                    sval: "t".to_owned(),
                })),
            }],
            typemod: -1,
            ..protobuf::TypeName::default()
        }),
        is_local: true,
        constraints: vec![Node {
            node: Some(NodeEnum::Constraint(Box::new(constraint))),
        }],
        ..protobuf::ColumnDef::default()
    };
    let text = added(NodeEnum::ColumnDef(Box::new(column)))?;
    let sql = text.strip_prefix("ADD COLUMN c t ")?.to_owned();
    let options = sql.split_once('(').and_then(|(_, options)| {
        let options = options.strip_suffix(')')?;
        are_about_values.then(|| options.trim().to_owned())
    });
    Some(Identity { sql, options })
}

/// The options of a sequence that decide which values it gives, as the parser names them.
const VALUE_OPTIONS: [&str; 6] = [
    "start",
    "increment",
    "minvalue",
    "maxvalue",
    "cache",
    "cycle",
];

/// Name, type, storage, compression, options and collation.
fn bare(node: &protobuf::ColumnDef, type_sql: &str) -> Option<String> {
    let mut text = format!("{} {type_sql}", quote_identifier(&node.colname));
    if !node.storage_name.is_empty() {
        text += &format!(" STORAGE {}", quote_identifier(&node.storage_name));
    }
    if !node.compression.is_empty() {
        text += &format!(" COMPRESSION {}", quote_identifier(&node.compression));
    }
    if !node.fdwoptions.is_empty() {
        let option = |option: &protobuf::DefElem| match &option.arg.as_deref()?.node {
            Some(NodeEnum::String(value)) => Some(format!(
                "{} {}",
                quote_identifier(&option.defname),
                quote_literal(&value.sval)
            )),
            _ => None,
        };
        let options: Option<Vec<String>> = definitions(&node.fdwoptions).map(option).collect();
        text += &format!(" OPTIONS ({})", options?.join(", "));
    }
    if let Some(clause) = &node.coll_clause {
        text += &format!(" COLLATE {}", expression::name_in(&clause.collname)?);
    }
    Some(text)
}

/// Converts a table constraint, or one of a column with the column filled in; `None` when it can't be
/// written as SQL for certain.
pub(super) fn constraint(node: &protobuf::Constraint) -> Option<ConstraintDefinition> {
    let may_be_unenforced = matches!(
        node.contype(),
        ConstrType::ConstrCheck | ConstrType::ConstrForeign
    );
    let (kind, body) = match node.contype() {
        ConstrType::ConstrCheck => check(node)?,
        ConstrType::ConstrNotnull => not_null(node)?,
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique => unique(node)?,
        ConstrType::ConstrExclusion => (ConstraintDefinitionKind::Exclude, exclude(node)?),
        ConstrType::ConstrForeign => foreign_key(node)?,
        _ => return None,
    };
    let not_enforced = may_be_unenforced && !node.is_enforced;
    Some(ConstraintDefinition {
        name: (!node.conname.is_empty()).then(|| node.conname.clone()),
        kind,
        not_valid: node.skip_validation,
        not_enforced,
        body: if not_enforced {
            body + " NOT ENFORCED"
        } else {
            body
        },
    })
}

fn check(node: &protobuf::Constraint) -> Option<(ConstraintDefinitionKind, String)> {
    let expression = expression::expression(node.raw_expr.as_deref()?)?;
    let inherit = if node.is_no_inherit {
        " NO INHERIT"
    } else {
        ""
    };
    let body = format!("CHECK ({}){inherit}", expression.sql);
    let kind = ConstraintDefinitionKind::Check {
        expression,
        no_inherit: node.is_no_inherit,
    };
    Some((kind, body))
}

fn not_null(node: &protobuf::Constraint) -> Option<(ConstraintDefinitionKind, String)> {
    let column = strings(&node.keys).pop()?;
    let inherit = if node.is_no_inherit {
        " NO INHERIT"
    } else {
        ""
    };
    let body = format!("NOT NULL {}{inherit}", quote_identifier(&column));
    Some((ConstraintDefinitionKind::NotNull { column }, body))
}

fn unique(node: &protobuf::Constraint) -> Option<(ConstraintDefinitionKind, String)> {
    let primary = node.contype() == ConstrType::ConstrPrimary;
    let word = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    let deferrable = deferrable(node);
    let behind = if deferrable.is_empty() {
        String::new()
    } else {
        format!(" {deferrable}")
    };
    if !node.indexname.is_empty() {
        let index = node.indexname.clone();
        let body = format!("{word} USING INDEX {}{behind}", quote_identifier(&index));
        return Some((
            ConstraintDefinitionKind::UsingIndex { primary, index },
            body,
        ));
    }
    let columns = strings(&node.keys);
    let keys = quoted(&columns);
    let nulls = if node.nulls_not_distinct {
        " NULLS NOT DISTINCT"
    } else {
        ""
    };
    let overlaps = if node.without_overlaps {
        " WITHOUT OVERLAPS"
    } else {
        ""
    };
    let include = if node.including.is_empty() {
        String::new()
    } else {
        format!(" INCLUDE ({})", quoted(&strings(&node.including)))
    };
    let with = storage_parameters(&node.options)?;
    let tablespace = if node.indexspace.is_empty() {
        String::new()
    } else {
        format!(" TABLESPACE {}", quote_identifier(&node.indexspace))
    };
    let using = if tablespace.is_empty() {
        ""
    } else {
        " USING INDEX"
    };
    let body =
        format!("{word}{nulls} ({keys}{overlaps}){include}{with}{using}{tablespace}{behind}");
    let kind = ConstraintDefinitionKind::Unique {
        primary,
        index_tail: format!("({keys}){include}{nulls}{with}{tablespace}"),
        columns,
        include: strings(&node.including),
        deferrable,
        without_overlaps: node.without_overlaps,
    };
    Some((kind, body))
}

fn deferrable(node: &protobuf::Constraint) -> String {
    match (node.deferrable, node.initdeferred) {
        (_, true) => "DEFERRABLE INITIALLY DEFERRED".to_owned(),
        (true, false) => "DEFERRABLE".to_owned(),
        (false, false) => String::new(),
    }
}

fn quoted(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    columns.join(", ")
}

/// `WITH (…)` with a blank in front; empty when there is none.
fn storage_parameters(options: &[Node]) -> Option<String> {
    if options.is_empty() {
        return Some(String::new());
    }
    let constraint = protobuf::Constraint {
        contype: ConstrType::ConstrUnique.into(),
        keys: vec![Node {
            node: Some(NodeEnum::String(protobuf::String {
                sval: "c".to_owned(),
            })),
        }],
        options: options.to_vec(),
        ..protobuf::Constraint::default()
    };
    let text = added(NodeEnum::Constraint(Box::new(constraint)))?;
    text.strip_prefix("ADD UNIQUE (c)").map(str::to_owned)
}

fn exclude(node: &protobuf::Constraint) -> Option<String> {
    let constraint = protobuf::Constraint {
        conname: String::new(),
        skip_validation: false,
        ..node.clone()
    };
    let text = added(NodeEnum::Constraint(Box::new(constraint)))?;
    text.strip_prefix("ADD ").map(str::to_owned)
}

fn foreign_key(node: &protobuf::Constraint) -> Option<(ConstraintDefinitionKind, String)> {
    let referenced = name_of(node.pktable.as_ref()?)?;
    let columns = strings(&node.fk_attrs);
    let referenced_columns = strings(&node.pk_attrs);
    let mut body = format!(
        "FOREIGN KEY ({}) REFERENCES {referenced}",
        with_period(&columns, node.fk_with_period)
    );
    if !referenced_columns.is_empty() {
        let list = with_period(&referenced_columns, node.pk_with_period);
        body += &format!("({list})");
    }
    if node.fk_matchtype == "f" {
        body += " MATCH FULL";
    }
    for (event, action) in [
        ("DELETE", &node.fk_del_action),
        ("UPDATE", &node.fk_upd_action),
    ] {
        match action.as_str() {
            "r" => body += &format!(" ON {event} RESTRICT"),
            "c" => body += &format!(" ON {event} CASCADE"),
            "n" => body += &format!(" ON {event} SET NULL"),
            "d" => body += &format!(" ON {event} SET DEFAULT"),
            _ => continue,
        }
        if event == "DELETE" && !node.fk_del_set_cols.is_empty() {
            body += &format!(" ({})", quoted(&strings(&node.fk_del_set_cols)));
        }
    }
    let deferrable = deferrable(node);
    if !deferrable.is_empty() {
        body += &format!(" {deferrable}");
    }
    let kind = ConstraintDefinitionKind::ForeignKey {
        columns,
        referenced,
        referenced_columns,
    };
    Some((kind, body))
}

/// Columns, the last of them behind `PERIOD`.
fn with_period(columns: &[String], period: bool) -> String {
    match columns.split_last() {
        Some((last, [])) if period => format!("PERIOD {}", quote_identifier(last)),
        Some((last, rest)) if period => {
            format!("{}, PERIOD {}", quoted(rest), quote_identifier(last))
        }
        _ => quoted(columns),
    }
}
