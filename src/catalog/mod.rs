//! What the catalog says about the relations that a statement touches: plain data. The rules ask
//! for it by a [`FactRequest`] and never fetch.

pub mod script;
pub mod shadow;

use serde::Deserialize;

use crate::sql::name::Name;

/// What a rule needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactRequest {
    /// Relations by name, as written; resolved through the session's search path.
    pub relations: Vec<Name>,
    /// Names that may be taken in the schema of the first relation, by a relation or a constraint.
    pub candidates: Vec<String>,
    /// How much of each relation is wanted.
    pub depth: Depth,
    /// Types as SQL, such as `numeric(10,2)` or `public.email`.
    pub types: Vec<String>,
    /// Functions by name: how volatile they are.
    pub functions: Vec<Name>,
    /// Schemas, types and domains, extensions: the relations that depend on them.
    pub objects: Vec<ObjectRequest>,
    /// Whether the session's transaction holds locks that stop others.
    pub own_locks: bool,
}

/// How much of a relation is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Depth {
    /// What it is, its size, its indexes.
    #[default]
    Outline,
    /// Its columns, constraints, partitions, parents as well.
    Structure,
    /// What depends on it as well: foreign keys that refer to it, views, what names its columns.
    Full,
}

/// An object that is no relation, and on which relations may depend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRequest {
    /// What it is.
    pub kind: ObjectClass,
    /// Its name; a schema's and an extension's stand alone.
    pub name: Name,
}

/// The classes of objects that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectClass {
    /// A schema.
    Schema,
    /// A type or domain.
    Type,
    /// A function or procedure: all of that name.
    Function,
    /// An extension.
    Extension,
    /// A statistics object.
    Statistics,
    /// What the current role owns in this database; the name is that of a role.
    Role,
    /// A relation.
    Relation,
    /// A foreign server.
    Server,
    /// A table: with it what refers to it by foreign keys, what refers to that, and the partitions
    /// and children of it all.
    Referring,
    /// A view: with it what it reads, through other views too, and the partitions and children of
    /// it all.
    Behind,
    /// A publication: its tables.
    Publication,
    /// A tablespace: its tables, indexes and materialised views.
    Tablespace,
    /// A schema: its tables and materialised views; without a name those of the database.
    Tables,
    /// A function: the tables with indexes, CHECKs or generated columns that keep its results.
    Stored,
    /// The tables that were clustered before; without a name.
    Clustered,
}

/// The answer to a [`FactRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// One for each relation asked for, in that order; `None` where there is none of that name.
    pub relations: Vec<Option<Relation>>,
    /// Those of the candidates that are taken by a relation.
    pub taken: Vec<Taken>,
    /// Those of the candidates that are taken by a constraint.
    pub taken_constraints: Vec<String>,
    /// One for each type asked for, in that order; `None` where there is none of that name.
    pub types: Vec<Option<Type>>,
    /// One for each function asked for, in that order; `None` where there is none of that name.
    pub functions: Vec<Option<Volatility>>,
    /// For each object asked for, in that order, the tables and other relations with storage or
    /// rows that belong to it: those that dropping it with CASCADE would lock, or as its class says;
    /// of very many the largest 10,000.
    pub objects: Vec<Vec<DependentRelation>>,
    /// The session's transaction holds SHARE or a stronger lock on a relation; told when asked for.
    pub own_locks: bool,
    /// Settings of the session.
    pub session: SessionFacts,
    /// Nothing was asked of a server: what isn't known was taken for the worst.
    pub assumed: bool,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: u32,
    /// The type modifier; -1 for none, [`UNKNOWN_MODIFIER`] for one that can't be told.
    pub modifier: i32,
    /// Its name without modifier, as `format_type` writes it: `character varying`.
    pub name: String,
    /// A domain: the type under it, with its modifier.
    pub base: Option<BaseType>,
    /// A domain with CHECK or NOT NULL, its own or of a domain under it.
    pub constrained: bool,
    /// A domain whose default, its own or of a domain under it, calls a function.
    #[serde(default)]
    pub default_calls: bool,
    /// A composite type.
    #[serde(default)]
    pub composite: bool,
    /// OIDs of the types that can be read as it without a change (`pg_cast.castmethod` `b`).
    pub coercible_from: Vec<u32>,
    /// `pg_type.typcollation`: 0 for a type without collations.
    pub collation: u32,
}

/// The modifier of a type without one.
pub const NO_MODIFIER: i32 = -1;

/// The modifier of a type of the user's own, of which only the server can make anything.
pub const UNKNOWN_MODIFIER: i32 = i32::MIN;

/// The type under a domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BaseType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// The type modifier; -1 for none.
    pub modifier: i32,
    /// Its name without modifier.
    pub name: String,
}

/// `pg_proc.provolatile`; of several functions of one name the most volatile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Volatility {
    /// The same arguments give the same result.
    #[serde(rename = "i")]
    Immutable,
    /// The same within one statement.
    #[serde(rename = "s")]
    Stable,
    /// Another one each time.
    #[serde(rename = "v")]
    Volatile,
}

/// A relation that depends on another object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DependentRelation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Bytes of its main fork.
    pub bytes: u64,
    /// Names of its indexes.
    #[serde(default)]
    pub indexes: Vec<String>,
}

impl DependentRelation {
    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }
}

/// Settings of the client's session that a plan changes, or obeys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct SessionFacts {
    /// `server_version_num`, such as 150018.
    pub version: u32,
    /// `lock_timeout`.
    pub lock_timeout: Setting,
    /// `statement_timeout`.
    pub statement_timeout: Setting,
    /// `transaction_timeout`; `None` before PostgreSQL 17.
    pub transaction_timeout: Option<Setting>,
    /// `client_min_messages`, such as `notice`.
    pub client_min_messages: String,
    /// `default_transaction_read_only`, or a standby: the server refuses even what changes nothing.
    #[serde(default)]
    pub read_only: bool,
    /// The session's TimeZone never differs from UTC: `timestamp` and `timestamptz` are then read
    /// alike (`TimestampTimestampTzRequiresRewrite` of `src/backend/utils/adt/timestamp.c`).
    #[serde(default)]
    pub time_zone_is_utc: bool,
    /// The schema of new relations that are named without one.
    #[serde(default)]
    pub current_schema: Option<String>,
    /// `lockkeeper.mode` as `ALTER ROLE` or `ALTER DATABASE` sets it for the session user.
    #[serde(default)]
    pub role_mode: Option<String>,
}

impl SessionFacts {
    /// The settings were read; otherwise they must be left alone.
    pub fn is_known(&self) -> bool {
        self.version > 0
    }
}

/// A timeout and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Setting {
    /// Milliseconds; 0 is none.
    pub ms: u64,
    /// The client set it in this session (`pg_settings.source` is `session`), or at start-up
    /// (`client`).
    pub by_client: bool,
    /// It was changed by SET, so that RESET wouldn't bring it back.
    pub in_session: bool,
}

/// The kinds of relation, as `pg_class.relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum RelationKind {
    /// An ordinary table.
    #[default]
    #[serde(rename = "r")]
    Table,
    /// A partitioned table.
    #[serde(rename = "p")]
    PartitionedTable,
    /// A materialised view.
    #[serde(rename = "m")]
    MaterializedView,
    /// An index.
    #[serde(rename = "i")]
    Index,
    /// A partitioned index.
    #[serde(rename = "I")]
    PartitionedIndex,
    /// A view.
    #[serde(rename = "v")]
    View,
    /// A sequence.
    #[serde(rename = "S")]
    Sequence,
    /// A foreign table.
    #[serde(rename = "f")]
    ForeignTable,
    /// Anything else: composite type, TOAST table …
    #[serde(other)]
    Other,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// A temporary table, or an index of one.
    pub temporary: bool,
    /// Made by this very transaction: nobody else can see it.
    pub created_here: bool,
    /// The current role may change it.
    pub owned: bool,
    /// Its owner, when that is another role.
    #[serde(default)]
    pub owner: Option<String>,
    /// Bytes of its main fork, partitions summed.
    pub bytes: u64,
    /// Rows as last estimated; negative when unknown.
    pub rows: i64,
    /// The extension that owns it.
    pub extension: Option<String>,
    /// Its indexes, those of its TOAST table included.
    pub indexes: Vec<Index>,
    /// For an index: itself.
    pub index: Option<Index>,
    /// For an index: its table.
    pub table: Option<IndexedTable>,
    /// What [`Depth::Structure`] and [`Depth::Full`] add.
    #[serde(default)]
    pub details: Details,
    /// Nobody was asked about it: it is taken for the worst, a large table with anything on it. What
    /// `details` and `indexes` don't list may well be there.
    #[serde(default)]
    pub assumed: bool,
}

/// The size of a relation of which nothing is known.
pub const ASSUMED_BYTES: u64 = 1 << 50;

/// The worst that a relation can be of which nothing is known: an ordinary table, large, and the
/// current role's own.
pub fn assumed(name: &Name) -> Relation {
    Relation {
        oid: 0,
        schema: name.schema.clone().unwrap_or_else(|| "public".to_owned()),
        name: name.name.clone(),
        kind: RelationKind::Table,
        temporary: false,
        created_here: false,
        owned: true,
        owner: None,
        bytes: ASSUMED_BYTES,
        rows: -1,
        extension: None,
        indexes: Vec::new(),
        index: None,
        table: None,
        details: Details::default(),
        assumed: true,
    }
}

/// What [`Depth::Structure`] tells of a relation; what is marked so, [`Depth::Full`] only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Details {
    /// Its columns, in order, without those that were dropped.
    pub columns: Vec<Column>,
    /// Its constraints.
    pub constraints: Vec<Constraint>,
    /// Partitions and inheritance children of every level, in the order in which PostgreSQL locks
    /// them (by OID, level by level); itself excluded. Of a composite type the tables `OF` it.
    pub descendants: Vec<Member>,
    /// The tables that it is a partition of or inherits from, one level up.
    pub parents: Vec<Member>,
    /// The columns of a key by which its rows can be gone through in order; as [`Member::key`].
    #[serde(default)]
    pub key: Vec<String>,
    /// It is a partition.
    pub is_partition: bool,
    /// Of a partitioned table: `pg_get_partkeydef`, such as `RANGE (created_at)`.
    pub partition_key: Option<String>,
    /// Of a partitioned table: the columns of its key, expressions left out.
    #[serde(default)]
    pub partition_columns: Vec<String>,
    /// A table `OF` a composite type.
    #[serde(default)]
    pub is_typed: bool,
    /// Of a partitioned table: its default partition.
    pub default_partition: Option<Member>,
    /// Of a partition: its parent's default partition.
    #[serde(default)]
    pub parent_default: Option<Member>,
    /// Partitions of it, of every level, that are half detached (`pg_inherits.inhdetachpending`).
    pub detach_pending: Vec<Member>,
    /// Foreign keys of other tables that refer to it ([`Depth::Full`]).
    #[serde(default)]
    pub referenced_by: Vec<ForeignKey>,
    /// Views and materialised views on it, of every level ([`Depth::Full`]).
    #[serde(default)]
    pub views: Vec<ViewOf>,
    /// Columns that its extended statistics, generated columns, policies and trigger conditions
    /// name, by what names them ([`Depth::Full`]).
    #[serde(default)]
    pub column_users: Vec<ColumnUser>,
    /// Sequences that its columns own.
    pub sequences: Vec<Name>,
    /// It is in a publication.
    pub published: bool,
    /// It has row-level security policies.
    #[serde(default)]
    pub has_policies: bool,
    /// `pg_am.amname`.
    pub access_method: Option<String>,
    /// Its tablespace; empty for the database's own.
    pub tablespace: String,
    /// `relpersistence` is `u`.
    pub unlogged: bool,
    /// Of a materialised view: `relispopulated`.
    pub populated: bool,
    /// The text of a view's or materialised view's query.
    pub query: Option<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type; `base` and `constrained` as for any type.
    #[serde(rename = "type")]
    pub of_type: Type,
    /// Its type as SQL: `character varying(20)`.
    pub type_sql: String,
    /// `attcollation`.
    pub collation: u32,
    /// `schema.name` of a collation that isn't the type's own.
    pub collation_name: Option<String>,
    /// `attnotnull`, of a constraint that is valid.
    pub not_null: bool,
    /// `pg_get_expr` of its default or generation expression.
    pub default: Option<String>,
    /// `GENERATED … AS IDENTITY`.
    pub identity: bool,
    /// A generated column.
    pub generated: bool,
    /// Inherited from a parent.
    pub inherited: bool,
}

/// The kinds of constraint, as `pg_constraint.contype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ConstraintKind {
    /// `CHECK`.
    #[serde(rename = "c")]
    Check,
    /// `FOREIGN KEY`.
    #[serde(rename = "f")]
    ForeignKey,
    /// `NOT NULL` (PostgreSQL 18).
    #[serde(rename = "n")]
    NotNull,
    /// `PRIMARY KEY`.
    #[serde(rename = "p")]
    PrimaryKey,
    /// `UNIQUE`.
    #[serde(rename = "u")]
    Unique,
    /// `EXCLUDE`.
    #[serde(rename = "x")]
    Exclude,
    /// Constraint trigger.
    #[serde(other)]
    Other,
}

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ConstraintKind,
    /// `convalidated`.
    pub validated: bool,
    /// Its columns, by name.
    pub columns: Vec<String>,
    /// `pg_get_constraintdef`.
    pub definition: String,
    /// Of a CHECK: `pg_get_expr` of its condition.
    pub expression: Option<String>,
    /// The index behind it.
    pub index: Option<String>,
    /// Of a foreign key: the referenced table.
    pub references: Option<Member>,
    /// Inherited from a parent.
    pub inherited: bool,
}

/// A relation of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Bytes of its main fork.
    pub bytes: u64,
    /// Names of its indexes.
    pub indexes: Vec<String>,
    /// Of an index: its table.
    #[serde(default)]
    pub table: Option<Name>,
    /// `pg_get_indexdef` of those that are valid.
    #[serde(default)]
    pub index_definitions: Vec<String>,
    /// Of a partition: what its bound demands (`pg_get_partition_constraintdef`); not told of large
    /// trees (more than 64 members).
    pub partition_constraint: Option<String>,
    /// The definitions of its valid constraints.
    pub constraints: Vec<String>,
    /// Of a table that is no partition: its columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Its columns that are NOT NULL.
    #[serde(default)]
    pub not_null: Vec<String>,
    /// The columns of its primary key, or else of another key by which its rows can be gone through
    /// in order: of a valid, immediate unique btree index without predicate and expressions, all
    /// NOT NULL, in the usual order. Empty where there is none.
    #[serde(default)]
    pub key: Vec<String>,
}

impl Member {
    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }

    /// It holds rows itself.
    pub fn is_leaf(&self) -> bool {
        !matches!(
            self.kind,
            RelationKind::PartitionedTable | RelationKind::PartitionedIndex
        )
    }
}

/// A foreign key of another table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The table that has it.
    pub table: Member,
    /// Its columns there.
    pub columns: Vec<String>,
    /// The referenced columns here.
    pub referenced_columns: Vec<String>,
    /// The index here that it rests on.
    pub index: Option<String>,
    /// A partition's share in its parent's key.
    #[serde(default)]
    pub is_share: bool,
}

/// A view on a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ViewOf {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// View or materialised view.
    pub kind: RelationKind,
    /// The table's columns that it names; empty for a view on a view.
    pub columns: Vec<String>,
}

impl ViewOf {
    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }
}

/// What else names columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ColumnUser {
    /// `statistics`, `generated`, `policy`, `trigger`, `object` (a function, a publication), `index` (in
    /// an expression or a predicate).
    pub what: String,
    /// Its name.
    pub name: String,
    /// The columns.
    pub columns: Vec<String>,
}

impl Details {
    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// A constraint by name.
    pub fn constraint(&self, name: &str) -> Option<&Constraint> {
        self.constraints
            .iter()
            .find(|constraint| constraint.name == name)
    }
}

impl Relation {
    /// A catalog of the server's own: it can't be rebuilt concurrently.
    pub fn is_system(&self) -> bool {
        matches!(self.schema.as_str(), "pg_catalog" | "pg_toast")
    }

    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }
}

/// The table of an index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IndexedTable {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Bytes of its main fork.
    pub bytes: u64,
}

impl IndexedTable {
    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_index.indisvalid`.
    pub valid: bool,
    /// It belongs to an exclusion constraint.
    pub exclusion: bool,
    /// It belongs to a constraint: it can't be dropped by itself.
    pub constraint: bool,
    /// A backend is building it now.
    pub building: bool,
    /// Objects that depend on it, other than constraints of its own: foreign keys on a unique
    /// index.
    pub dependents: u32,
    /// `indisunique`.
    #[serde(default)]
    pub unique: bool,
    /// `indisprimary`.
    #[serde(default)]
    pub primary: bool,
    /// `pg_am.amname`.
    #[serde(default)]
    pub method: String,
    /// Its key columns by name; `None` for an expression.
    #[serde(default)]
    pub columns: Vec<Option<String>>,
    /// It has a predicate.
    #[serde(default)]
    pub partial: bool,
    /// `pg_get_indexdef`.
    #[serde(default)]
    pub definition: String,
}

impl Index {
    /// Schema and name.
    pub fn qualified(&self) -> Name {
        Name::qualified(&self.schema, &self.name)
    }
}

/// A name that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Taken {
    /// The name.
    pub name: String,
    /// What has it.
    pub kind: RelationKind,
    /// When it is an index: itself.
    pub index: Option<Index>,
}

/// Bytes, for people: `1.4 GB`.
pub fn human_bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}
