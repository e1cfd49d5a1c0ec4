//! What a partition has already, and its parent's index or constraint takes for its own: nothing is
//! built, nothing is read (`CompareIndexInfo` of `src/backend/catalog/index.c`,
//! `tryAttachPartitionForeignKey` of `src/backend/commands/tablecmds.c`).

use super::create_index;
use crate::catalog::Member;
use crate::sql::alter_table::{ActionKind, ConstraintDefinitionKind};
use crate::sql::lexer::LexicalMode;
use crate::sql::name::{Name, one_line};
use crate::sql::parse;
use crate::sql::statement::{CreateIndex, Statement};

/// Whether a partition has a valid index like the one that is asked for; one with expressions or a
/// predicate is never taken for alike.
pub(super) fn has_index(leaf: &Member, wanted: &CreateIndex) -> bool {
    leaf.index_definitions.iter().any(|definition| {
        matches!(
            only_statement(definition),
            Some(Statement::CreateIndex(found)) if is_alike(&found, wanted)
        )
    })
}

fn is_alike(found: &CreateIndex, wanted: &CreateIndex) -> bool {
    !found.has_expressions
        && !wanted.has_expressions
        && found.method == wanted.method
        && found.unique == wanted.unique
        && found.columns == wanted.columns
        && keys(&found.tail) == keys(&wanted.tail)
}

/// What stands between the first parenthesis of an index's text and its end, blanks left out.
fn keys(tail: &str) -> Option<String> {
    let tail = create_index::tail_with_table(tail, "");
    let (_, keys) = tail.split_once('(')?;
    let (keys, _) = keys.split_once(')')?;
    Some(one_line(keys))
}

/// Whether a partition has a valid constraint like the one that is asked for.
pub(super) fn has_constraint(leaf: &Member, wanted: &ConstraintDefinitionKind) -> bool {
    leaf.constraints.iter().any(|definition| {
        let sql = format!("ALTER TABLE x ADD {definition}");
        let Some(Statement::AlterTable(alter)) = only_statement(&sql) else {
            return false;
        };
        alter.actions.iter().any(|action| match &action.kind {
            ActionKind::AddConstraint(found) => is_same(&found.kind, wanted),
            _ => false,
        })
    })
}

fn is_same(found: &ConstraintDefinitionKind, wanted: &ConstraintDefinitionKind) -> bool {
    use ConstraintDefinitionKind::{ForeignKey, Unique};
    match (found, wanted) {
        (
            ForeignKey {
                columns,
                referenced,
                referenced_columns,
            },
            ForeignKey {
                columns: own,
                referenced: other,
                referenced_columns: others,
            },
        ) => {
            let same_columns =
                referenced_columns == others || referenced_columns.is_empty() || others.is_empty();
            columns == own && same_table(referenced, other) && same_columns
        }
        (
            Unique {
                primary, columns, ..
            },
            Unique {
                primary: kind,
                columns: own,
                ..
            },
        ) => primary == kind && columns == own,
        _ => false,
    }
}

/// A name without a schema may stand for any.
fn same_table(left: &Name, right: &Name) -> bool {
    left.name == right.name
        && (left.schema == right.schema || left.schema.is_none() || right.schema.is_none())
}

fn only_statement(sql: &str) -> Option<Statement> {
    let mut parsed = parse::parse(sql, LexicalMode::default()).ok()?;
    match parsed.len() {
        1 => parsed.pop().map(|parsed| parsed.statement),
        _ => None,
    }
}
