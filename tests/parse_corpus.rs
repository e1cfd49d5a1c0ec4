//! Every statement that the parser accepts is converted, and every piece of SQL in its shape reads again as what it
//! came from.
//!
//! The statements are those of `tests/statements` and, where they were fetched (`make regress`), PostgreSQL's own
//! regression files.

#![allow(clippy::unwrap_used)]

#[path = "common/corpus.rs"]
mod corpus;

use corpus::{files, statements};
use lockkeeper::sql::alter_table::{
    Action, ActionKind, AlterTable, ColumnDefinition, ConstraintDefinition,
    ConstraintDefinitionKind, Expression, PartitionBound,
};
use lockkeeper::sql::create_table::CreateTable;
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::parse::{Parsed, parse};
use lockkeeper::sql::statement::{ObjectKind, OtherDdl, OtherKind, Statement};

fn read(sql: &str) -> Option<Statement> {
    let mut parsed: Vec<Parsed> = parse(sql, LexicalMode::default()).ok()?;
    let only = parsed.pop()?;
    parsed.is_empty().then_some(only.statement)
}

/// The only sub-command of `ALTER TABLE x …`.
fn action(object: ObjectKind, behind: &str) -> Result<Action, String> {
    let words = match object {
        ObjectKind::Table => "TABLE",
        ObjectKind::ForeignTable => "FOREIGN TABLE",
        ObjectKind::Index => "INDEX",
        ObjectKind::View => "VIEW",
        ObjectKind::MaterializedView => "MATERIALIZED VIEW",
        ObjectKind::Sequence => "SEQUENCE",
        ObjectKind::CompositeType => "TYPE",
    };
    let sql = format!("ALTER {words} x {behind}");
    match read(&sql) {
        Some(Statement::AlterTable(AlterTable { mut actions, .. })) if actions.len() == 1 => {
            Ok(actions.remove(0))
        }
        other => Err(format!("{sql}: {other:?}")),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(sql: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other {
        return Ok(());
    }
    Err(format!("{sql}\n    {one:?}\n    {other:?}"))
}

fn check(statement: &Statement) -> Result<(), String> {
    match statement {
        Statement::AlterTable(alter) => check_alter(alter),
        Statement::CreateTable(create) => check_create(create),
        Statement::Other(other) => match &other.kind {
            OtherKind::CreateSchema(elements) => elements.iter().try_for_each(check),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_alter(alter: &AlterTable) -> Result<(), String> {
    for Action { kind, sql } in &alter.actions {
        same(sql, &action(alter.object, sql)?.kind, kind)?;
        match kind {
            ActionKind::Unknown => return Err(format!("not converted: {sql}")),
            ActionKind::AddColumn { column, .. } => check_column(column)?,
            ActionKind::SetDefault { default, .. } => {
                default.iter().try_for_each(check_expression)?
            }
            ActionKind::SetType { to, using, .. } => {
                let kind = action(ObjectKind::Table, &format!("ALTER c TYPE {}", to.sql))?.kind;
                let ActionKind::SetType { to: again, .. } = kind else {
                    return Err(format!("{}: {kind:?}", to.sql));
                };
                same(sql, &again, to)?;
                using.iter().try_for_each(check_expression)?;
            }
            ActionKind::AddConstraint(constraint) => check_constraint(constraint)?,
            ActionKind::AttachPartition { bound, .. } => check_bound(bound)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_create(create: &CreateTable) -> Result<(), String> {
    for column in &create.columns {
        if column.type_name.sql.is_empty() {
            column.constraints.iter().try_for_each(check_constraint)?;
        } else {
            check_column(column)?;
        }
    }
    create.constraints.iter().try_for_each(check_constraint)?;
    if let Some(partition) = &create.partition_of {
        check_bound(&partition.bound)?;
        let sql = format!(
            "{} x PARTITION OF y {} {}",
            create.tag, partition.bound.sql, partition.rest
        );
        match read(&sql) {
            Some(Statement::CreateTable(again)) => {
                same(&sql, &again.partition_of.unwrap().rest, &partition.rest)?
            }
            other => return Err(format!("{sql}: {other:?}")),
        }
    }
    Ok(())
}

fn added_column(sql: &str) -> Result<ColumnDefinition, String> {
    match action(ObjectKind::Table, &format!("ADD COLUMN {sql}"))?.kind {
        ActionKind::AddColumn { column, .. } => Ok(column),
        other => Err(format!("{sql}: {other:?}")),
    }
}

fn check_column(column: &ColumnDefinition) -> Result<(), String> {
    let bare = added_column(&column.bare)?;
    let expected = ColumnDefinition {
        type_name: bare.type_name.clone(),
        not_null: false,
        null: false,
        default: None,
        identity: None,
        generated: None,
        constraints: Vec::new(),
        ..column.clone()
    };
    same(&column.bare, &bare, &expected)?;
    let typed = added_column(&format!("c {}", column.type_name.sql))?;
    same(&column.bare, &typed.type_name, &column.type_name)?;
    if let Some(identity) = &column.identity {
        let again = added_column(&format!("c int {}", identity.sql))?;
        same(&identity.sql, &again.identity.as_ref(), &Some(identity))?;
    }
    let generated = column
        .generated
        .as_ref()
        .map(|generated| &generated.expression);
    column
        .default
        .iter()
        .chain(generated)
        .try_for_each(check_expression)?;
    column.constraints.iter().try_for_each(check_constraint)
}

fn check_constraint(constraint: &ConstraintDefinition) -> Result<(), String> {
    let sql = &constraint.body;
    let kind = action(ObjectKind::Table, &format!("ADD CONSTRAINT n {sql}"))?.kind;
    let ActionKind::AddConstraint(again) = kind else {
        return Err(format!("{sql}: {kind:?}"));
    };
    let expected = ConstraintDefinition {
        name: Some("n".to_owned()),
        not_valid: constraint.not_enforced,
        ..constraint.clone()
    };
    same(sql, &again, &expected)?;
    match &constraint.kind {
        ConstraintDefinitionKind::Check { expression, .. } => check_expression(expression),
        ConstraintDefinitionKind::Unique { index_tail, .. } => {
            let sql = format!("CREATE UNIQUE INDEX n ON t {index_tail}");
            match read(&sql) {
                Some(Statement::CreateIndex(_)) => Ok(()),
                other => Err(format!("{sql}: {other:?}")),
            }
        }
        _ => Ok(()),
    }
}

fn check_expression(expression: &Expression) -> Result<(), String> {
    let sql = format!("ALTER c SET DEFAULT {}", expression.sql);
    match action(ObjectKind::Table, &sql)?.kind {
        ActionKind::SetDefault {
            default: Some(again),
            ..
        } => same(&sql, &again, expression),
        other => Err(format!("{sql}: {other:?}")),
    }
}

fn check_bound(bound: &PartitionBound) -> Result<(), String> {
    let sql = format!("ATTACH PARTITION p {}", bound.sql);
    match action(ObjectKind::Table, &sql)?.kind {
        ActionKind::AttachPartition { bound: again, .. } => same(&sql, &again.kind, &bound.kind),
        other => Err(format!("{sql}: {other:?}")),
    }
}

#[test]
fn what_is_converted_reads_again_as_what_it_was() {
    let mut failures = Vec::new();
    let (mut read_count, mut shaped) = (0, 0);
    for file in files() {
        for text in statements(&file) {
            let Some(statement) = read(&text) else {
                continue;
            };
            read_count += 1;
            shaped += usize::from(matches!(
                statement,
                Statement::AlterTable(_) | Statement::CreateTable(_)
            ));
            let not_converted = |other: &OtherDdl| {
                other.kind == OtherKind::Script
                    && other.tag.starts_with("CREATE")
                    && other.tag != "CREATE EXTENSION"
            };
            let is_script = matches!(&statement, Statement::Other(other) if not_converted(other));
            if is_script {
                failures.push(format!("{}: not converted: {text}", file.display()));
            }
            if let Err(problem) = check(&statement) {
                failures.push(format!("{}: {text}\n  {problem}", file.display()));
            }
        }
    }
    eprintln!("{read_count} statements, {shaped} of them with a shape");
    assert!(shaped > 100, "{shaped} of {read_count}");
    assert!(
        failures.is_empty(),
        "{} of {read_count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
