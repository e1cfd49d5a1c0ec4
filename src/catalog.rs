//! What the catalog says about the relations that a statement touches: plain data. The rules ask
//! for it by a [`FactRequest`] and never fetch.

use serde::Deserialize;

use crate::sql::name::Name;

/// What a rule needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactRequest {
    /// Relations by name, as written; resolved through the session's search path.
    pub relations: Vec<Name>,
    /// Names that may be taken in the schema of the first relation.
    pub candidates: Vec<String>,
}

/// The answer to a [`FactRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// One for each relation asked for, in that order; `None` where there is none of that name.
    pub relations: Vec<Option<Relation>>,
    /// Those of the candidates that are taken.
    pub taken: Vec<Taken>,
    /// Settings of the session.
    pub session: SessionFacts,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum RelationKind {
    /// An ordinary table.
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
    /// Anything else: view, sequence, foreign table, TOAST table …
    #[serde(other)]
    Other,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
