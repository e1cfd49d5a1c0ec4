//! `ALTER TABLE`: its sub-commands, column definitions, constraints and expressions.

use super::name::Name;
use super::statement::{ObjectKind, Scope};

/// `ALTER TABLE [IF EXISTS] [ONLY] name action, …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterTable {
    /// The command tag.
    pub tag: &'static str,
    /// What the statement calls its object.
    pub object: ObjectKind,
    /// Its name.
    pub relation: Name,
    /// `ONLY`.
    pub only: bool,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// The sub-commands, in order.
    pub actions: Vec<Action>,
}

impl AlterTable {
    /// How it may run: only `DETACH PARTITION … CONCURRENTLY` refuses a transaction block.
    pub fn scope(&self) -> Scope {
        let concurrent = |action: &Action| {
            matches!(
                action.kind,
                ActionKind::DetachPartition {
                    concurrently: true,
                    ..
                }
            )
        };
        if self.actions.iter().any(concurrent) {
            Scope::Concurrent
        } else {
            Scope::Transactional
        }
    }
}

impl AlterTable {
    /// It only takes something away: nothing is evaluated for that, no expression, no function.
    pub fn only_takes_away(&self) -> bool {
        let takes_away = |action: &Action| {
            matches!(
                action.kind,
                ActionKind::DropColumn { .. }
                    | ActionKind::DropConstraint { .. }
                    | ActionKind::DropNotNull { .. }
                    | ActionKind::SetDefault { default: None, .. }
                    | ActionKind::Identity { drops: true, .. }
                    | ActionKind::DetachPartition { .. }
                    | ActionKind::FinalizeDetach { .. }
                    | ActionKind::NoInherit { .. }
            )
        };
        self.actions.iter().all(takes_away)
    }
}

/// One sub-command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What it does.
    pub kind: ActionKind,
    /// The sub-command as SQL, fit to stand behind `ALTER TABLE name`.
    pub sql: String,
}

/// What a sub-command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionKind {
    /// `ADD COLUMN`.
    AddColumn {
        /// The column.
        column: ColumnDefinition,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `DROP COLUMN`.
    DropColumn {
        /// The column.
        column: String,
        /// `IF EXISTS`.
        if_exists: bool,
        /// `CASCADE`.
        cascade: bool,
    },
    /// `ALTER COLUMN … SET DEFAULT`, `DROP DEFAULT`.
    SetDefault {
        /// The column.
        column: String,
        /// The default; `None` for DROP.
        default: Option<Expression>,
    },
    /// `ALTER COLUMN … SET NOT NULL`.
    SetNotNull {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN … DROP NOT NULL`.
    DropNotNull {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN … TYPE`.
    SetType {
        /// The column.
        column: String,
        /// The new type.
        to: TypeName,
        /// `COLLATE`.
        collation: Option<Name>,
        /// `USING`.
        using: Option<Expression>,
    },
    /// `ALTER COLUMN … SET STATISTICS`, and `SET (…)`, `RESET (…)` of a column: SHARE UPDATE
    /// EXCLUSIVE.
    ColumnStatistics,
    /// `ALTER COLUMN … SET STORAGE`, `SET COMPRESSION`: catalog only.
    ColumnStorage,
    /// `ALTER COLUMN … ADD GENERATED … AS IDENTITY`, `SET GENERATED` and sequence options, `DROP
    /// IDENTITY`.
    Identity {
        /// The column.
        column: String,
        /// `DROP IDENTITY`.
        drops: bool,
        /// `ADD GENERATED`.
        adds: bool,
    },
    /// `ALTER COLUMN … SET EXPRESSION AS`.
    SetExpression {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN … DROP EXPRESSION`.
    DropExpression {
        /// The column.
        column: String,
    },
    /// `ADD CONSTRAINT`, or a constraint without a name.
    AddConstraint(ConstraintDefinition),
    /// `DROP CONSTRAINT`.
    DropConstraint {
        /// The constraint.
        name: String,
        /// `IF EXISTS`.
        if_exists: bool,
        /// `CASCADE`.
        cascade: bool,
    },
    /// `VALIDATE CONSTRAINT`.
    ValidateConstraint {
        /// The constraint.
        name: String,
    },
    /// `ALTER CONSTRAINT`.
    AlterConstraint {
        /// The constraint.
        name: String,
        /// `[NOT] ENFORCED`, when it is said.
        enforced: Option<bool>,
    },
    /// `ATTACH PARTITION` of a table.
    AttachPartition {
        /// The table.
        partition: Name,
        /// Its bound.
        bound: PartitionBound,
    },
    /// `ALTER INDEX … ATTACH PARTITION`.
    AttachIndex {
        /// The index.
        index: Name,
    },
    /// `DETACH PARTITION`.
    DetachPartition {
        /// The table.
        partition: Name,
        /// `CONCURRENTLY`.
        concurrently: bool,
    },
    /// `DETACH PARTITION … FINALIZE`.
    FinalizeDetach {
        /// The table.
        partition: Name,
    },
    /// `SET LOGGED`, `SET UNLOGGED`.
    SetLogged {
        /// `SET LOGGED`.
        logged: bool,
    },
    /// `SET TABLESPACE`.
    SetTablespace {
        /// The tablespace.
        tablespace: String,
    },
    /// `SET ACCESS METHOD`.
    SetAccessMethod {
        /// The method; `None` for DEFAULT.
        method: Option<String>,
    },
    /// `SET (…)`, `RESET (…)` of storage parameters.
    SetOptions {
        /// Their names, `namespace.name` for those of the TOAST table.
        names: Vec<String>,
    },
    /// `CLUSTER ON`, `SET WITHOUT CLUSTER`.
    ClusterMark,
    /// `SET WITHOUT OIDS`.
    DropOids,
    /// `INHERIT`.
    Inherit {
        /// The parent.
        parent: Name,
    },
    /// `NO INHERIT`.
    NoInherit {
        /// The parent.
        parent: Name,
    },
    /// `OF type`, `NOT OF`.
    OfType,
    /// `REPLICA IDENTITY`.
    ReplicaIdentity {
        /// `USING INDEX`.
        index: Option<String>,
    },
    /// `ENABLE`, `DISABLE`, `FORCE`, `NO FORCE ROW LEVEL SECURITY`.
    RowSecurity {
        /// `ENABLE` and `FORCE`: rows may be hidden from those who see them now.
        hides: bool,
    },
    /// `ENABLE`, `DISABLE TRIGGER`.
    Trigger,
    /// `ENABLE`, `DISABLE RULE`.
    Rule,
    /// `OWNER TO`.
    OwnerTo,
    /// `OPTIONS (…)` of a foreign table or of its column.
    ForeignOptions,
    /// Sub-commands of composite types: `ADD`, `DROP`, `ALTER ATTRIBUTE`.
    Attribute {
        /// What is done to it.
        change: AttributeChange,
        /// `CASCADE`: the tables `OF` the type follow.
        cascade: bool,
    },
    /// One that isn't known here: ACCESS EXCLUSIVE, and who knows what.
    Unknown,
}

impl ActionKind {
    /// The column or constraint that a sub-command names, where it names an existing one.
    pub fn name(&self) -> Option<&str> {
        match self {
            ActionKind::AddColumn { column, .. } => Some(&column.name),
            ActionKind::DropColumn { column, .. }
            | ActionKind::SetNotNull { column }
            | ActionKind::SetType { column, .. } => Some(column),
            ActionKind::DropConstraint { name, .. } | ActionKind::ValidateConstraint { name } => {
                Some(name)
            }
            _ => None,
        }
    }
}

/// What is done to an attribute of a composite type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeChange {
    /// `ADD ATTRIBUTE`.
    Add,
    /// `DROP ATTRIBUTE`.
    Drop,
    /// `ALTER ATTRIBUTE … TYPE`.
    SetType,
}

/// A column of `CREATE TABLE` or `ADD COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type; without a name and any SQL where it comes from elsewhere (`PARTITION OF t (c NOT NULL)`,
    /// `OF type`): then `bare` is the column's name alone.
    pub type_name: TypeName,
    /// `NOT NULL`, as written; identity and PRIMARY KEY imply it.
    pub not_null: bool,
    /// `NULL`, as written: that it may be NULL.
    pub null: bool,
    /// The name of its NOT NULL, when it was written.
    pub not_null_name: Option<String>,
    /// `DEFAULT`.
    pub default: Option<Expression>,
    /// `GENERATED … AS IDENTITY`.
    pub identity: Option<Identity>,
    /// `GENERATED ALWAYS AS (…)`.
    pub generated: Option<Generated>,
    /// CHECK, UNIQUE, PRIMARY KEY, REFERENCES, in order; each with its column filled in, fit for
    /// `ADD CONSTRAINT`.
    pub constraints: Vec<ConstraintDefinition>,
    /// Name, type (the integer type behind `serial`), storage, options and collation as SQL, without
    /// NOT NULL, DEFAULT, identity, generation and constraints.
    pub bare: String,
}

/// `GENERATED ALWAYS | BY DEFAULT AS IDENTITY [(options)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `GENERATED … AS IDENTITY (…)` as SQL.
    pub sql: String,
    /// Its options as `CREATE SEQUENCE` takes them; `None` when one of them is about more than the
    /// values.
    pub options: Option<String>,
}

/// `GENERATED ALWAYS AS (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// `STORED`; otherwise `VIRTUAL`.
    pub stored: bool,
    /// The expression.
    pub expression: Expression,
}

/// A type as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    /// Its name; PostgreSQL's own spelling for the types with a syntax of their own
    /// (`pg_catalog.int4`).
    pub name: Name,
    /// Its modifiers, when they are plain integers: `varchar(20)` has 20.
    pub modifiers: Vec<i64>,
    /// An array.
    pub is_array: bool,
    /// `serial` and kin: the integer type behind it, as SQL.
    pub serial: Option<&'static str>,
    /// As SQL.
    pub sql: String,
}

/// An expression.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expression {
    /// As SQL, without parentheses around it.
    pub sql: String,
    /// The functions that it calls, by name.
    pub functions: Vec<Name>,
    /// The columns that it names.
    pub columns: Vec<String>,
    /// It is NULL, or a cast of NULL.
    pub is_null: bool,
    /// It has an operator, a cast to a type that isn't in `pg_catalog`, or a subquery: user code may
    /// hide behind it.
    pub may_hide_code: bool,
    /// It has an operator that isn't one of PostgreSQL's usual ones, or a cast of something computed to
    /// a type that isn't PostgreSQL's own: either may be the user's, and volatile.
    pub user_code: bool,
}

/// A table constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintDefinition {
    /// Its name, when it was written.
    pub name: Option<String>,
    /// What it demands.
    pub kind: ConstraintDefinitionKind,
    /// `NOT VALID`.
    pub not_valid: bool,
    /// `NOT ENFORCED` (PostgreSQL 18).
    pub not_enforced: bool,
    /// The constraint as SQL without `CONSTRAINT name` and `NOT VALID`.
    pub body: String,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintDefinitionKind {
    /// `CHECK`.
    Check {
        /// The condition.
        expression: Expression,
        /// `NO INHERIT`.
        no_inherit: bool,
    },
    /// `NOT NULL column` (PostgreSQL 18).
    NotNull {
        /// The column.
        column: String,
    },
    /// `UNIQUE` and `PRIMARY KEY` of columns.
    Unique {
        /// `PRIMARY KEY`.
        primary: bool,
        /// The columns.
        columns: Vec<String>,
        /// Those behind `INCLUDE`.
        include: Vec<String>,
        /// What stands behind `UNIQUE` or `PRIMARY KEY` up to the end of the index: `NULLS NOT
        /// DISTINCT (a, b) INCLUDE (c) WITH (…)`, as SQL for `CREATE UNIQUE INDEX n ON t (a, b) …`:
        /// the part from the parenthesis on.
        index_tail: String,
        /// `DEFERRABLE INITIALLY DEFERRED` and kin, as SQL.
        deferrable: String,
        /// `WITHOUT OVERLAPS`.
        without_overlaps: bool,
    },
    /// `UNIQUE` and `PRIMARY KEY` `USING INDEX`.
    UsingIndex {
        /// `PRIMARY KEY`.
        primary: bool,
        /// The index.
        index: String,
    },
    /// `EXCLUDE`.
    Exclude,
    /// `FOREIGN KEY`.
    ForeignKey {
        /// The columns.
        columns: Vec<String>,
        /// The referenced table.
        referenced: Name,
        /// The referenced columns; empty for its primary key.
        referenced_columns: Vec<String>,
    },
}

/// `FOR VALUES …` or `DEFAULT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBound {
    /// As SQL.
    pub sql: String,
    /// What it admits.
    pub kind: PartitionBoundKind,
}

/// What a partition admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBoundKind {
    /// `DEFAULT`.
    Default,
    /// `IN (…)`: the values as SQL, `NULL` among them as `None`.
    List(Vec<Option<String>>),
    /// `FROM (…) TO (…)`, as SQL.
    Range {
        /// Inclusive.
        from: Vec<RangeEnd>,
        /// Exclusive.
        to: Vec<RangeEnd>,
    },
    /// `WITH (MODULUS m, REMAINDER r)`.
    Hash,
}

/// One value of a range's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeEnd {
    /// `MINVALUE`.
    Min,
    /// `MAXVALUE`.
    Max,
    /// A value, as SQL.
    Value(String),
}
