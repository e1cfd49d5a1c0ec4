//! A schema change, as lockkeeper sees it: our own small AST over what the parser gives.

use super::name::Name;

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `DROP INDEX`.
    DropIndex(DropIndex),
    /// `REINDEX INDEX` and `REINDEX TABLE`.
    Reindex(Reindex),
    /// Any other schema change.
    Other(OtherDdl),
    /// A schema change that the parser can't read, or whose text it can't carry.
    Unreadable {
        /// The statement's first words, in upper case.
        words: String,
    },
    /// `PREPARE name AS` something that is a schema change (`SELECT … INTO`).
    Prepare {
        /// The prepared statement.
        name: String,
        /// What `EXECUTE name` will run.
        inner: Box<Statement>,
    },
    /// `EXECUTE name` of something that may be a schema change.
    Execute {
        /// The prepared statement.
        name: String,
        /// It stands behind `EXPLAIN ANALYZE`, which runs no utility statement.
        explained: bool,
    },
    /// `DEALLOCATE name`, or `ALL`.
    Deallocate {
        /// The prepared statement; `None` for all.
        name: Option<String>,
    },
    /// `DO` and `CALL`: what they run can't be seen from here.
    Dynamic {
        /// The command tag.
        tag: &'static str,
    },
    /// Not a schema change.
    Harmless,
}

impl Statement {
    /// Whether lockkeeper has anything to do with it, or to record.
    pub fn is_ddl(&self) -> bool {
        match self {
            Statement::CreateIndex(_)
            | Statement::DropIndex(_)
            | Statement::Reindex(_)
            | Statement::Other(_)
            | Statement::Unreadable { .. } => true,
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Harmless => false,
        }
    }

    /// Whether it may hurt anybody: what takes no lock on what exists goes on as it came.
    pub fn may_hurt(&self) -> bool {
        match self {
            Statement::Other(other) => other.scope != Scope::LocksNothing,
            statement => statement.is_ddl(),
        }
    }

    /// The command tag, as CommandComplete says it; for statements that can't be read, their first
    /// words.
    pub fn tag(&self) -> &str {
        match self {
            Statement::CreateIndex(_) => "CREATE INDEX",
            Statement::DropIndex(_) => "DROP INDEX",
            Statement::Reindex(_) => "REINDEX",
            Statement::Other(other) => other.tag,
            Statement::Unreadable { words } => words,
            Statement::Prepare { .. } => "PREPARE",
            Statement::Execute { .. } => "EXECUTE",
            Statement::Deallocate { .. } => "DEALLOCATE",
            Statement::Dynamic { tag } => tag,
            Statement::Harmless => "",
        }
    }

    /// The relations that it names, as written.
    pub fn relations(&self) -> Vec<Name> {
        match self {
            Statement::CreateIndex(create) => vec![create.table.clone()],
            Statement::DropIndex(drop) => drop.indexes.clone(),
            Statement::Reindex(reindex) => vec![reindex.name.clone()],
            Statement::Other(other) => other.relations.clone(),
            Statement::Unreadable { .. }
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Harmless => Vec::new(),
        }
    }

    /// Whether its text may hold a password: such a text is never logged, recorded or repeated.
    pub fn may_hold_secret(&self) -> bool {
        match self {
            Statement::Other(other) => other.may_hold_secret,
            Statement::Unreadable { .. } | Statement::Dynamic { .. } => true,
            Statement::CreateIndex(_)
            | Statement::DropIndex(_)
            | Statement::Reindex(_)
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Harmless => false,
        }
    }
}

/// `CREATE [UNIQUE] INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateIndex {
    /// `UNIQUE`.
    pub unique: bool,
    /// `CONCURRENTLY`.
    pub concurrently: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// The index's name, when it was written; it can't be qualified.
    pub name: Option<String>,
    /// The table or materialised view.
    pub table: Name,
    /// `ON ONLY`.
    pub only: bool,
    /// The access method, `btree` by default.
    pub method: String,
    /// The name that PostgreSQL gives each column when it has to name the index; `None` for an
    /// expression that gives none.
    pub columns: Vec<Option<String>>,
    /// It has an expression column or a WHERE clause, and so may run user code.
    pub has_expressions: bool,
    /// The text from `ON` to the end, as written.
    pub tail: String,
}

/// `DROP INDEX [CONCURRENTLY] [IF EXISTS] name, … [CASCADE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIndex {
    /// `CONCURRENTLY`.
    pub concurrently: bool,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// `CASCADE`.
    pub cascade: bool,
    /// The indexes.
    pub indexes: Vec<Name>,
}

/// What a `REINDEX` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReindexKind {
    /// `REINDEX INDEX`.
    Index,
    /// `REINDEX TABLE`.
    Table,
}

/// `REINDEX [(options)] {INDEX | TABLE} [CONCURRENTLY] name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reindex {
    /// Index or table.
    pub kind: ReindexKind,
    /// `CONCURRENTLY`, in either place.
    pub concurrently: bool,
    /// `VERBOSE`.
    pub verbose: bool,
    /// `TABLESPACE name`.
    pub tablespace: Option<String>,
    /// The index or table.
    pub name: Name,
}

/// How a schema change without a rule of its own may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In a transaction block.
    Transactional,
    /// It refuses a transaction block.
    OwnTransaction,
    /// It refuses a transaction block and waits for other transactions without blocking anyone: a
    /// lock timeout would only kill it half-way (`DETACH PARTITION … CONCURRENTLY`).
    Concurrent,
    /// It takes no lock on anything that exists but ACCESS SHARE, and may carry parameters: `CREATE
    /// TABLE AS` and kin.
    LocksNothing,
}

/// A schema change without a rule of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherDdl {
    /// The command tag.
    pub tag: &'static str,
    /// How it may run.
    pub scope: Scope,
    /// The relations that it names.
    pub relations: Vec<Name>,
    /// Its text may hold a password or a connection string.
    pub may_hold_secret: bool,
}
