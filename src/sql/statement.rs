//! A schema change, as lockkeeper sees it: our own small AST over what the parser gives.

use super::alter_table::AlterTable;
use super::create_table::CreateTable;
use super::name::Name;
use crate::lock::LockMode;

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `DROP INDEX`.
    DropIndex(DropIndex),
    /// `REINDEX INDEX` and `REINDEX TABLE`.
    Reindex(Reindex),
    /// `ALTER TABLE`, and what else shares its grammar: `ALTER INDEX`, `ALTER VIEW`, `ALTER
    /// MATERIALIZED VIEW`, `ALTER SEQUENCE … OWNER TO`, `ALTER FOREIGN TABLE`.
    AlterTable(AlterTable),
    /// `CREATE TABLE` with a list of columns, `PARTITION OF`, `OF`.
    CreateTable(CreateTable),
    /// `DROP` of anything but indexes, triggers, rules and policies.
    Drop(DropObjects),
    /// `ALTER … RENAME`.
    Rename(Rename),
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
    /// `DO` and `CALL`.
    Dynamic {
        /// The command tag.
        tag: &'static str,
        /// The schema changes that stand in the body as they are, in order of the text.
        statements: Vec<InBody>,
        /// It may run others too: it has EXECUTE or CALL, or can't be read.
        dynamic_sql: bool,
    },
    /// Not a schema change.
    Harmless,
}

/// A schema change in the body of a `DO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InBody {
    /// What it says.
    pub statement: Statement,
    /// Its text.
    pub sql: String,
}

impl Statement {
    /// A `DO` or `CALL` of which nothing can be seen.
    pub fn unseen(tag: &'static str) -> Statement {
        Statement::Dynamic {
            tag,
            statements: Vec::new(),
            dynamic_sql: true,
        }
    }

    /// Whether lockkeeper has anything to do with it, or to record.
    pub fn is_ddl(&self) -> bool {
        match self {
            Statement::CreateIndex(_)
            | Statement::DropIndex(_)
            | Statement::Reindex(_)
            | Statement::AlterTable(_)
            | Statement::CreateTable(_)
            | Statement::Drop(_)
            | Statement::Rename(_)
            | Statement::Unreadable { .. } => true,
            Statement::Other(other) => other.scope != Scope::Maintenance,
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Harmless => false,
        }
    }

    /// Whether it may stand among the statements of one transaction, as far as its words tell, and
    /// does what they say.
    pub fn may_be_in_string(&self) -> bool {
        match self {
            Statement::CreateIndex(create) => !create.concurrently,
            Statement::DropIndex(drop) => !drop.concurrently,
            Statement::Reindex(reindex) => !reindex.concurrently,
            Statement::Other(other) => {
                !matches!(other.scope, Scope::OwnTransaction | Scope::Concurrent)
            }
            Statement::Unreadable { .. } | Statement::Execute { .. } => false,
            _ => true,
        }
    }

    /// Whether it refuses a transaction block, and commits by itself.
    pub fn commits_by_itself(&self) -> bool {
        let is_known = !matches!(
            self,
            Statement::Unreadable { .. } | Statement::Execute { .. }
        );
        is_known && !self.may_be_in_string()
    }

    /// Whether it may hurt anybody: what takes no lock on what exists goes on as it came.
    pub fn may_hurt(&self) -> bool {
        match self {
            Statement::Other(other) => {
                !matches!(other.scope, Scope::LocksNothing | Scope::Maintenance)
            }
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
            Statement::AlterTable(alter) => alter.tag,
            Statement::CreateTable(create) => create.tag,
            Statement::Drop(drop) => drop.tag,
            Statement::Rename(rename) => rename.tag,
            Statement::Other(other) => other.tag,
            Statement::Unreadable { words } => words,
            Statement::Prepare { .. } => "PREPARE",
            Statement::Execute { .. } => "EXECUTE",
            Statement::Deallocate { .. } => "DEALLOCATE",
            Statement::Dynamic { tag, .. } => tag,
            Statement::Harmless => "",
        }
    }

    /// The relations that it names, as written.
    pub fn relations(&self) -> Vec<Name> {
        match self {
            Statement::CreateIndex(create) => vec![create.table.clone()],
            Statement::DropIndex(drop) => drop.indexes.clone(),
            Statement::Reindex(reindex) => vec![reindex.name.clone()],
            Statement::AlterTable(alter) => vec![alter.relation.clone()],
            Statement::CreateTable(create) => vec![create.name.clone()],
            Statement::Drop(drop) => match drop.kind {
                DropKind::Table
                | DropKind::ForeignTable
                | DropKind::View
                | DropKind::MaterializedView
                | DropKind::Sequence => drop.names.clone(),
                DropKind::Schema
                | DropKind::Type
                | DropKind::Domain
                | DropKind::Function
                | DropKind::Extension
                | DropKind::Statistics
                | DropKind::Server
                | DropKind::Other => Vec::new(),
            },
            Statement::Rename(rename) => rename.relation.iter().cloned().collect(),
            Statement::Other(other) => other.relations.clone(),
            Statement::Unreadable { .. }
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Harmless => Vec::new(),
        }
    }

    /// The relations that it makes, or gives a name, where that isn't among those that it names.
    pub fn makes(&self) -> Vec<Name> {
        match self {
            Statement::Rename(rename) => vec![Name {
                schema: None,
                name: rename.new_name.clone(),
            }],
            Statement::Other(other) => other.creates.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the parser has read it: of a text that it hasn't, nothing is logged or recorded.
    pub fn is_readable(&self) -> bool {
        !matches!(self, Statement::Unreadable { .. })
    }

    /// Whether its text may hold a password: no constant and no comment of such a text is logged or recorded.
    pub fn may_hold_secret(&self) -> bool {
        match self {
            Statement::Other(other) => other.may_hold_secret,
            Statement::CreateTable(create) => create.tag == "CREATE FOREIGN TABLE",
            Statement::Unreadable { .. } | Statement::Dynamic { .. } => true,
            Statement::CreateIndex(_)
            | Statement::DropIndex(_)
            | Statement::Reindex(_)
            | Statement::AlterTable(_)
            | Statement::Drop(_)
            | Statement::Rename(_)
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

/// What a `DROP` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    /// `DROP TABLE`.
    Table,
    /// `DROP FOREIGN TABLE`.
    ForeignTable,
    /// `DROP VIEW`.
    View,
    /// `DROP MATERIALIZED VIEW`.
    MaterializedView,
    /// `DROP SEQUENCE`.
    Sequence,
    /// `DROP SCHEMA`.
    Schema,
    /// `DROP TYPE`.
    Type,
    /// `DROP DOMAIN`.
    Domain,
    /// `DROP FUNCTION`, `PROCEDURE`, `ROUTINE`, `AGGREGATE`.
    Function,
    /// `DROP EXTENSION`.
    Extension,
    /// `DROP STATISTICS`.
    Statistics,
    /// `DROP SERVER`.
    Server,
    /// Anything else.
    Other,
}

/// `DROP kind [IF EXISTS] name, … [CASCADE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropObjects {
    /// The command tag.
    pub tag: &'static str,
    /// What is dropped.
    pub kind: DropKind,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// `CASCADE`.
    pub cascade: bool,
    /// Their names; empty where they can't be written as `schema.name`. A schema's or an extension's
    /// name stands alone; of a function it is the name without its arguments.
    pub names: Vec<Name>,
}

/// What a `RENAME` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenameTarget {
    /// A relation, renamed by the `ALTER` of this kind: `ALTER TABLE i RENAME` may mean an index.
    Relation(ObjectKind),
    /// A column.
    Column(String),
    /// A constraint of a table.
    Constraint(String),
    /// A trigger, rule or policy of a table.
    OnTable,
    /// A schema.
    Schema,
    /// Nothing that a lock on a relation is taken for: type, role, function …
    Other,
}

/// `ALTER … RENAME [COLUMN c | CONSTRAINT c] TO name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The command tag.
    pub tag: &'static str,
    /// What is renamed.
    pub target: RenameTarget,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// `ONLY`.
    pub only: bool,
    /// The relation; `None` where there is none.
    pub relation: Option<Name>,
    /// The new name.
    pub new_name: String,
}

/// The kind of object that an `ALTER` names; the server takes some for others (`ALTER TABLE` of an
/// index, a view or a sequence).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// `ALTER TABLE`.
    Table,
    /// `ALTER FOREIGN TABLE`.
    ForeignTable,
    /// `ALTER INDEX`.
    Index,
    /// `ALTER VIEW`.
    View,
    /// `ALTER MATERIALIZED VIEW`.
    MaterializedView,
    /// `ALTER SEQUENCE`.
    Sequence,
    /// `ALTER TYPE` of a composite type.
    CompositeType,
}

/// How a schema change may run.
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
    /// No schema change, and it stops no query: `VACUUM`, `ANALYZE`.
    Maintenance,
}

/// What `REINDEX SCHEMA`, `DATABASE` and `SYSTEM` rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReindexScope {
    /// The tables of a schema.
    Schema(String),
    /// All of the database.
    Database,
    /// The server's own catalogs.
    System,
}

/// A schema change whose locks follow from its kind alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherDdl {
    /// The command tag.
    pub tag: &'static str,
    /// What it does.
    pub kind: OtherKind,
    /// How it may run.
    pub scope: Scope,
    /// The relations that it names and whose locks it takes.
    pub relations: Vec<Name>,
    /// The relation, type or domain that `CREATE VIEW`, `MATERIALIZED VIEW`, `TABLE AS`, `SEQUENCE`,
    /// `TYPE` and `DOMAIN` make.
    pub creates: Option<Name>,
    /// Its text may hold a password or a connection string.
    pub may_hold_secret: bool,
}

/// What a schema change without a shape of its own does to what exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtherKind {
    /// `CREATE [OR REPLACE] [CONSTRAINT] TRIGGER`; `FROM` names the second relation.
    CreateTrigger,
    /// `DROP TRIGGER`.
    DropTrigger,
    /// `CREATE`, `DROP RULE`.
    Rule,
    /// `CREATE`, `ALTER`, `DROP POLICY`.
    Policy,
    /// `CREATE VIEW`.
    CreateView,
    /// `CREATE OR REPLACE VIEW`.
    ReplaceView,
    /// `CREATE TABLE AS`, `SELECT INTO`, `CREATE MATERIALIZED VIEW`.
    CreateTableAs,
    /// `REFRESH MATERIALIZED VIEW`.
    RefreshMaterializedView {
        /// `CONCURRENTLY`.
        concurrently: bool,
        /// `WITH NO DATA`.
        without_data: bool,
    },
    /// `CREATE SEQUENCE`; with OWNED BY the table is named.
    CreateSequence,
    /// `ALTER SEQUENCE` with options.
    AlterSequence,
    /// `TRUNCATE`.
    Truncate {
        /// `CASCADE`.
        cascade: bool,
        /// `RESTART IDENTITY`.
        restart: bool,
    },
    /// `LOCK TABLE` in a mode stronger than ROW EXCLUSIVE.
    LockTable {
        /// The mode.
        mode: LockMode,
        /// Not `ONLY`: partitions and children too.
        descends: bool,
    },
    /// `CLUSTER`; without relations: all that were clustered before.
    Cluster,
    /// `VACUUM FULL`; without relations: all.
    VacuumFull,
    /// `REINDEX SCHEMA`, `DATABASE`, `SYSTEM`.
    ReindexMany {
        /// `CONCURRENTLY`.
        concurrently: bool,
        /// Of what.
        scope: ReindexScope,
    },
    /// `VACUUM` but `FULL`, `ANALYZE`; without relations: all.
    Vacuum,
    /// `ALTER … SET SCHEMA` of a relation.
    SetSchema {
        /// Where it goes.
        schema: String,
    },
    /// `ALTER … OWNER TO`, `DEPENDS ON EXTENSION` and kin of what is no table.
    AlterObject,
    /// `ALTER TABLE`, `INDEX` or `MATERIALIZED VIEW ALL IN TABLESPACE`.
    MoveAll {
        /// What is moved.
        object: ObjectKind,
        /// From where.
        tablespace: String,
    },
    /// `ALTER EXTENSION … ADD`, `DROP` a relation, which is named.
    ExtensionMember,
    /// `COMMENT ON` a relation or a column of it, which is named.
    CommentOnRelation,
    /// `COMMENT ON CONSTRAINT`, `TRIGGER`, `RULE`, `POLICY` of a table, which is named.
    CommentOnPart,
    /// `SECURITY LABEL` on a relation, which is named.
    SecurityLabel,
    /// `GRANT`, `REVOKE` on relations, which are named.
    GrantOnRelations,
    /// `CREATE STATISTICS`.
    CreateStatistics,
    /// `CREATE PUBLICATION … FOR TABLE`, `ALTER PUBLICATION … ADD|SET|DROP TABLE`.
    PublicationTables {
        /// `SET TABLE`: the publication, whose other tables leave it.
        sets: Option<String>,
    },
    /// `CREATE PUBLICATION … FOR ALL TABLES` or `TABLES IN SCHEMA`.
    PublicationAll,
    /// `ALTER DOMAIN`.
    AlterDomain {
        /// The domain.
        domain: Name,
        /// What is altered.
        change: DomainChange,
    },
    /// `ALTER TYPE … ADD VALUE`.
    EnumAddValue,
    /// `ALTER TYPE … RENAME VALUE`.
    EnumRenameValue,
    /// `DROP OWNED`, `REASSIGN OWNED`.
    Owned {
        /// `DROP OWNED`.
        drops: bool,
        /// The roles, those left out that are named by a keyword: `CURRENT_USER`.
        roles: Vec<String>,
    },
    /// `ALTER SYSTEM`.
    AlterSystem,
    /// `DROP DATABASE`.
    DropDatabase,
    /// `CREATE DATABASE`; `ALTER DATABASE … SET TABLESPACE`, `RENAME`.
    Database,
    /// `CREATE`, `ALTER`, `DROP EVENT TRIGGER`.
    EventTrigger,
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
    /// `CREATE`, `ALTER EXTENSION`, `IMPORT FOREIGN SCHEMA`: a script that may do anything.
    Script,
    /// `CREATE SCHEMA` with elements, each of them a schema change.
    CreateSchema(Vec<Statement>),
    /// `CREATE OR REPLACE FUNCTION` and `PROCEDURE`.
    ReplaceFunction {
        /// Its name.
        name: Name,
    },
    /// What takes no lock on a relation that exists: types, domains, operators, casts, roles, grants
    /// on other objects, foreign servers, databases' settings …
    Harmless,
}

/// What `ALTER DOMAIN` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainChange {
    /// `ADD CONSTRAINT … CHECK` that is checked now, `SET NOT NULL`.
    Constrain,
    /// `ADD CONSTRAINT … NOT VALID`.
    ConstrainNotValid,
    /// `VALIDATE CONSTRAINT`.
    Validate,
    /// Anything else.
    Loosen,
}
