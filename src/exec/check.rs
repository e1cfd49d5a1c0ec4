//! Whether a step is done: asked of the catalog, before a step that may have run already and after
//! each one.

use super::acquire::array_literal;
use super::runner::run_own;
use super::session::{Command, RunError, Session, says_true};
use crate::plan::Check;
use crate::sql::name::Name;

/// Sees that a step did what it says.
pub async fn verify<S: Session>(session: &mut S, check: &Check) -> Result<(), RunError> {
    let Some((command, what)) = question(check) else {
        return Ok(());
    };
    let replies = run_own(session, &[command]).await?;
    if says_true(&replies) {
        Ok(())
    } else {
        Err(RunError::Sql(Box::new(crate::error::check_failed(&what))))
    }
}

/// The question whose answer is true when the step is done, and what it means when it is not.
pub fn question(check: &Check) -> Option<(Command, String)> {
    Some(match check {
        Check::Nothing => return None,
        Check::IndexIsValid { table_oid, name } => (
            Command::with(
                INDEX_IS_VALID_SQL,
                vec![table_oid.to_string(), name.clone()],
            ),
            format!("index \"{name}\" is not valid"),
        ),
        Check::IndexIsGone { oid } => (
            Command::with(INDEX_IS_GONE_SQL, vec![oid.to_string()]),
            "the index is still there".to_owned(),
        ),
        Check::NoInvalidIndexes { table_oid, except } => (
            Command::with(
                NO_INVALID_SQL,
                vec![table_oid.to_string(), oid_array(except)],
            ),
            "an index is INVALID".into(),
        ),
        Check::ColumnExists { table, column } => (
            about(COLUMN_EXISTS_SQL, table, column),
            format!("column \"{column}\" of {table} is missing"),
        ),
        Check::ColumnIsGone { table, column } => (
            about(COLUMN_IS_GONE_SQL, table, column),
            format!("column \"{column}\" of {table} is still there"),
        ),
        Check::ColumnIsNotNull { table, column } => (
            about(COLUMN_IS_NOT_NULL_SQL, table, column),
            format!("column \"{column}\" of {table} is not NOT NULL"),
        ),
        Check::ConstraintExists { table, name } => (
            about(CONSTRAINT_EXISTS_SQL, table, name),
            format!("constraint \"{name}\" of {table} is missing"),
        ),
        Check::ConstraintIsValid { table, name } => (
            about(CONSTRAINT_IS_VALID_SQL, table, name),
            format!("constraint \"{name}\" of {table} is not valid"),
        ),
        Check::ConstraintIsGone { table, name } => (
            about(CONSTRAINT_IS_GONE_SQL, table, name),
            format!("constraint \"{name}\" of {table} is still there"),
        ),
        Check::IndexIsAttached { index, parent } => (
            about(IS_PARTITION_SQL, index, &parent.to_string()),
            format!("index {index} is not attached to {parent}"),
        ),
        Check::IsPartition { table, parent } => (
            about(IS_PARTITION_SQL, table, &parent.to_string()),
            format!("{table} is no partition of {parent}"),
        ),
        Check::IsNoPartition { table, parent } => (
            about(IS_NO_PARTITION_SQL, table, &parent.to_string()),
            format!("{table} is still a partition of {parent}"),
        ),
        Check::RelationExists { name } => (
            about(RELATION_EXISTS_SQL, name, ""),
            format!("{name} is missing"),
        ),
        Check::RelationIsGone { name } => (
            about(RELATION_IS_GONE_SQL, name, ""),
            format!("{name} is still there"),
        ),
    })
}

/// A question about a relation and a part of it.
fn about(sql: &str, relation: &Name, part: &str) -> Command {
    Command::with(sql, vec![relation.to_string(), part.to_owned()])
}

/// OIDs as an array literal.
pub(super) fn oid_array(oids: &[u32]) -> String {
    array_literal(&oids.iter().map(u32::to_string).collect::<Vec<_>>())
}

const INDEX_IS_VALID_SQL: &str = "
SELECT pg_catalog.bool_and(i.indisvalid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = $1::pg_catalog.oid
WHERE i.indrelid IN (t.oid, t.reltoastrelid) AND c.relname = $2::pg_catalog.name";

const INDEX_IS_GONE_SQL: &str = "
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.oid)";

const NO_INVALID_SQL: &str = "
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = $1::pg_catalog.oid
  WHERE i.indrelid IN (t.oid, t.reltoastrelid) AND NOT i.indisvalid
  AND i.indexrelid <> ALL ($2::pg_catalog.oid[]))";

const COLUMN_EXISTS_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND a.attname = $2::pg_catalog.name
  AND NOT a.attisdropped)";

const COLUMN_IS_GONE_SQL: &str = "
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND a.attname = $2::pg_catalog.name
  AND NOT a.attisdropped)";

/// Since PostgreSQL 18 a NOT NULL may be NOT VALID.
const COLUMN_IS_NOT_NULL_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND a.attname = $2::pg_catalog.name
  AND a.attnotnull AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = a.attrelid
                  AND c.contype = 'n' AND c.conkey[1] = a.attnum AND NOT c.convalidated))";

const CONSTRAINT_EXISTS_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint c
  WHERE c.conrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND c.conname = $2::pg_catalog.name)";

const CONSTRAINT_IS_VALID_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint c
  WHERE c.conrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND c.conname = $2::pg_catalog.name
  AND c.convalidated)";

const CONSTRAINT_IS_GONE_SQL: &str = "
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c
  WHERE c.conrelid = pg_catalog.to_regclass($1::pg_catalog.text) AND c.conname = $2::pg_catalog.name)";

/// `inhdetachpending` is there since PostgreSQL 14.
const IS_PARTITION_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits i
  WHERE i.inhrelid = pg_catalog.to_regclass($1::pg_catalog.text)
  AND i.inhparent = pg_catalog.to_regclass($2::pg_catalog.text)
  AND coalesce((pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::pg_catalog.bool, false) = false)";

const IS_NO_PARTITION_SQL: &str = "
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i
  WHERE i.inhrelid = pg_catalog.to_regclass($1::pg_catalog.text)
  AND i.inhparent = pg_catalog.to_regclass($2::pg_catalog.text))";

const RELATION_EXISTS_SQL: &str = "
SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NOT NULL AND $2::pg_catalog.text = ''";

const RELATION_IS_GONE_SQL: &str = "
SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NULL AND $2::pg_catalog.text = ''";
