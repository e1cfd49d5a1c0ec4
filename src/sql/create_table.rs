//! `CREATE TABLE`, as far as it touches what exists.

use super::alter_table::{ColumnDefinition, ConstraintDefinition, PartitionBound};
use super::name::Name;

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// The command tag: `CREATE TABLE` or `CREATE FOREIGN TABLE`.
    pub tag: &'static str,
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `TEMPORARY`.
    pub temporary: bool,
    /// `PARTITION OF`.
    pub partition_of: Option<PartitionOf>,
    /// `INHERITS`.
    pub inherits: Vec<Name>,
    /// `LIKE`.
    pub like: Vec<Name>,
    /// `PARTITION BY`.
    pub is_partitioned: bool,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// Its table constraints; those of columns stand with them.
    pub constraints: Vec<ConstraintDefinition>,
}

/// `PARTITION OF parent FOR VALUES …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOf {
    /// The partitioned table.
    pub parent: Name,
    /// The bound.
    pub bound: PartitionBound,
    /// What stands behind the bound as SQL: `PARTITION BY …`, `WITH (…)`, `TABLESPACE …`.
    pub rest: String,
}
