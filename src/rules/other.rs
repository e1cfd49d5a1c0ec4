//! Every other schema change: its locks follow from its kind. The danger common to all is the lock
//! queue: a request for a strong lock that waits behind one long reader makes everybody wait behind
//! it.
//!
//! Recipe: the statement itself in a transaction of its own under a short `lock_timeout`, tried
//! again; where it does more than that, its own rule says what.
//! <https://www.postgresql.org/docs/current/explicit-locking.html>

use super::decide::{Case, Finding, Way, as_sent};
use super::known::Known;
use super::table_rewrite::REPACKS;
use super::{Action, Judgement, Rule, Verdict, other_effects};
use crate::catalog::{Depth, FactRequest, ObjectClass, ObjectRequest, Relation, RelationKind};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Context, Plan, Step};
use crate::sql::name::Name;
use crate::sql::statement::{DomainChange, OtherDdl, OtherKind, ReindexScope, Scope};

/// SQLSTATE of a statement that a rule refuses.
pub const REFUSED: &str = "LK001";

/// SQLSTATE of a statement for which no window of time came.
pub const NO_WINDOW: &str = "LK002";

/// Everybody waits behind a lock request that waits.
pub const LOCK_QUEUE: Rule = Rule {
    name: "lock-queue",
    hazard: "A strong lock request that waits for one long transaction makes every other query wait behind it.",
    remedy: "It runs in a transaction of its own under a short lock_timeout, and is tried again until it has its lock.",
    manual: "https://www.postgresql.org/docs/current/explicit-locking.html",
    action: Action::Allow,
    versions: "alike",
    example: "ALTER TABLE users ADD COLUMN note text",
};

/// Readers of a materialised view wait.
pub const REFRESHES: Rule = Rule {
    name: "refresh-blocks-readers",
    hazard: "REFRESH MATERIALIZED VIEW locks the view exclusively until its query is done: its readers wait.",
    remedy: "It is refreshed CONCURRENTLY, which needs a unique index without WHERE on plain columns.",
    manual: "https://www.postgresql.org/docs/current/sql-refreshmaterializedview.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "REFRESH MATERIALIZED VIEW sales_by_day",
};

/// There is no unique index for it.
pub const REFRESH_NEEDS_INDEX: Rule = Rule {
    name: "refresh-needs-unique-index",
    hazard: "The materialised view has no unique index on plain columns, so its readers wait while it is refreshed.",
    remedy: "It runs as it is, and the client is told. With a unique index it could be refreshed CONCURRENTLY.",
    manual: "https://www.postgresql.org/docs/current/sql-refreshmaterializedview.html",
    action: Action::Notice,
    versions: "alike",
    example: "REFRESH MATERIALIZED VIEW totals",
};

/// Rows are lost.
pub const TRUNCATES: Rule = Rule {
    name: "truncate-loses-data",
    hazard: "TRUNCATE locks the table exclusively and its rows are gone; with CASCADE those of other tables too.",
    remedy: "It runs under a short lock_timeout, and the client is told.",
    manual: "https://www.postgresql.org/docs/current/sql-truncate.html",
    action: Action::Notice,
    versions: "alike",
    example: "TRUNCATE users",
};

/// Every table of a domain is read.
pub const DOMAIN_SCANS: Rule = Rule {
    name: "domain-constraint-scan",
    hazard: "A domain's constraint is checked against every table that has a column of it, under SHARE locks: \
             writers wait.",
    remedy: "It is refused while those tables are large: add it NOT VALID, which checks new values only.",
    manual: "https://www.postgresql.org/docs/current/sql-alterdomain.html",
    action: Action::Reject,
    versions: "alike: VALIDATE CONSTRAINT of a domain takes the same locks.",
    example: "ALTER DOMAIN email ADD CONSTRAINT email_check CHECK (VALUE LIKE '%@%')",
};

/// Everything that a role owns.
pub const OWNED: Rule = Rule {
    name: "owned-locks-everything",
    hazard: "DROP OWNED and REASSIGN OWNED lock every relation that the role owns, exclusively and all at once.",
    remedy: "It is refused while those are more than small tables: do it object by object.",
    manual: "https://www.postgresql.org/docs/current/sql-drop-owned.html",
    action: Action::Reject,
    versions: "alike",
    example: "REASSIGN OWNED BY alice TO bob",
};

/// Many tables in one statement.
pub const MOVES_ALL: Rule = Rule {
    name: "move-all-in-tablespace",
    hazard: "ALTER … ALL IN TABLESPACE locks and copies every relation there, in one transaction.",
    remedy: "It is refused: move table by table.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Reject,
    versions: "alike",
    example: "ALTER TABLE ALL IN TABLESPACE slow SET TABLESPACE fast",
};

/// Every index of a schema or a database.
pub const REINDEXES_MANY: Rule = Rule {
    name: "reindex-many",
    hazard: "REINDEX SCHEMA and DATABASE lock one table after the other while its indexes are rebuilt.",
    remedy: "It is refused: REINDEX (CONCURRENTLY) does the same, and stops no query.",
    manual: "https://www.postgresql.org/docs/current/sql-reindex.html",
    action: Action::Reject,
    versions: "alike",
    example: "REINDEX SCHEMA app",
};

/// The server's own settings.
pub const ALTERS_SYSTEM: Rule = Rule {
    name: "alter-system",
    hazard: "ALTER SYSTEM changes settings of the whole server, and no migration should.",
    remedy: "It is refused: change the server's configuration where it is kept.",
    manual: "https://www.postgresql.org/docs/current/sql-altersystem.html",
    action: Action::Reject,
    versions: "alike",
    example: "ALTER SYSTEM SET max_connections = 500",
};

/// A whole database.
pub const DROPS_DATABASE: Rule = Rule {
    name: "drop-database",
    hazard: "DROP DATABASE destroys a whole database.",
    remedy: "It is refused: connect to the server directly to do that.",
    manual: "https://www.postgresql.org/docs/current/sql-dropdatabase.html",
    action: Action::Reject,
    versions: "alike",
    example: "DROP DATABASE app",
};

/// Locks without a session.
pub const PREPARES: Rule = Rule {
    name: "prepare-transaction-keeps-locks",
    hazard: "A prepared transaction keeps the locks of its schema changes until COMMIT PREPARED, whatever becomes of \
             its session.",
    remedy: "`lockkeeper check` refuses it after a schema change: COMMIT instead.",
    manual: "https://www.postgresql.org/docs/current/sql-prepare-transaction.html",
    action: Action::Reject,
    versions: "alike",
    example: "PREPARE TRANSACTION 'migration'",
};

/// Every schema change, or every login, runs it.
pub const EVENT_TRIGGERS: Rule = Rule {
    name: "event-trigger",
    hazard: "An event trigger runs with every schema change of the database: a bad one stops them all.",
    remedy: "It runs, and the client is told.",
    manual: "https://www.postgresql.org/docs/current/sql-createeventtrigger.html",
    action: Action::Notice,
    versions: "Login triggers from 17.",
    example: "CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit_ddl()",
};

/// What was computed stays.
pub const REPLACES_FUNCTION: Rule = Rule {
    name: "replace-function-unchecked",
    hazard: "Indexes, CHECKs and generated columns keep what the old function gave: nothing is computed or checked \
             anew, and queries may find wrong rows.",
    remedy: "It runs, and the client is told. REINDEX (CONCURRENTLY) its indexes, and validate its CHECKs again.",
    manual: "https://www.postgresql.org/docs/current/sql-createfunction.html",
    action: Action::Notice,
    versions: "alike",
    example: "CREATE OR REPLACE FUNCTION norm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)'",
};

/// Old clients meet a value that they don't know.
pub const ENUM_RENAMES: Rule = Rule {
    name: "enum-rename-breaks-clients",
    hazard: "Clients that still use the old value fail from that moment on.",
    remedy: "It runs, and the client is told. Add the new value, move the rows, and leave the old one.",
    manual: "https://www.postgresql.org/docs/current/sql-altertype.html",
    action: Action::Notice,
    versions: "alike",
    example: "ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'",
};

/// Tables that no UPDATE gets through any more.
pub const PUBLISHES_ALL: Rule = Rule {
    name: "publication-replica-identity",
    hazard: "UPDATE and DELETE of a published table fail when it has neither a primary key nor a replica identity.",
    remedy: "It runs, and the client is told.",
    manual: "https://www.postgresql.org/docs/current/sql-createpublication.html",
    action: Action::Notice,
    versions: "TABLES IN SCHEMA from 15.",
    example: "CREATE PUBLICATION everything FOR ALL TABLES",
};

/// No row is visible any more.
pub const ROW_SECURITY: Rule = Rule {
    name: "row-security-hides-rows",
    hazard: "With row-level security on and no policy, nobody but the owner sees a row.",
    remedy: "It runs under a short lock_timeout, and the client is told. Create the policies first.",
    manual: "https://www.postgresql.org/docs/current/ddl-rowsecurity.html",
    action: Action::Notice,
    versions: "alike",
    example: "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
};

/// The relations that it names, and for some what depends on them.
pub(super) fn facts_needed(other: &OtherDdl) -> FactRequest {
    let mut request = FactRequest {
        relations: other.relations.clone(),
        depth: depth_needed(&other.kind),
        objects: objects_needed(other),
        own_locks: other.kind == OtherKind::PrepareTransaction,
        ..FactRequest::default()
    };
    if let OtherKind::CreateSchema(elements) = &other.kind {
        for element in elements {
            let inner = super::facts_needed(element);
            request.relations.extend(inner.relations);
        }
    }
    request
}

/// How much of the relations that it names must be known.
fn depth_needed(kind: &OtherKind) -> Depth {
    match kind {
        // The sequences of its columns, its partitions and children, whether it is populated.
        OtherKind::SetSchema { .. }
        | OtherKind::Truncate { .. }
        | OtherKind::LockTable { .. }
        | OtherKind::Cluster
        | OtherKind::VacuumFull
        | OtherKind::CreateTrigger
        | OtherKind::DropTrigger
        | OtherKind::RefreshMaterializedView { .. }
        | OtherKind::Vacuum
        | OtherKind::CreateSchema(_) => Depth::Structure,
        OtherKind::Rule
        | OtherKind::Policy
        | OtherKind::CreateView
        | OtherKind::ReplaceView
        | OtherKind::CreateTableAs
        | OtherKind::CreateSequence
        | OtherKind::AlterSequence
        | OtherKind::ReindexMany { .. }
        | OtherKind::AlterObject
        | OtherKind::MoveAll { .. }
        | OtherKind::ExtensionMember
        | OtherKind::CommentOnRelation
        | OtherKind::CommentOnPart
        | OtherKind::SecurityLabel
        | OtherKind::GrantOnRelations
        | OtherKind::CreateStatistics
        | OtherKind::PublicationTables { .. }
        | OtherKind::PublicationAll
        | OtherKind::AlterDomain { .. }
        | OtherKind::EnumAddValue
        | OtherKind::EnumRenameValue
        | OtherKind::Owned { .. }
        | OtherKind::AlterSystem
        | OtherKind::DropDatabase
        | OtherKind::Database
        | OtherKind::EventTrigger
        | OtherKind::PrepareTransaction
        | OtherKind::Script
        | OtherKind::ReplaceFunction { .. }
        | OtherKind::Harmless => Depth::Outline,
    }
}

/// What of the server must be listed, because it isn't named.
fn objects_needed(other: &OtherDdl) -> Vec<ObjectRequest> {
    let request = |kind, name| ObjectRequest { kind, name };
    let of_relations = |kind| {
        let names = other.relations.iter().cloned();
        names.map(|name| request(kind, name)).collect()
    };
    match &other.kind {
        OtherKind::AlterDomain {
            domain,
            change: DomainChange::Constrain | DomainChange::Validate,
        } => vec![request(ObjectClass::Type, domain.clone())],
        OtherKind::Owned { roles, .. } => {
            let role = |name: &String| request(ObjectClass::Role, Name::unqualified(name));
            roles.iter().map(role).collect()
        }
        OtherKind::Truncate { cascade: true, .. } => of_relations(ObjectClass::Referring),
        OtherKind::LockTable { .. } => of_relations(ObjectClass::Behind),
        OtherKind::ReplaceFunction { name } => vec![request(ObjectClass::Stored, name.clone())],
        OtherKind::ReindexMany { scope, .. } => match scope {
            ReindexScope::Schema(schema) => {
                vec![request(ObjectClass::Tables, Name::unqualified(schema))]
            }
            ReindexScope::Database => vec![request(ObjectClass::Tables, Name::unqualified(""))],
            ReindexScope::System => vec![request(
                ObjectClass::Tables,
                Name::unqualified("pg_catalog"),
            )],
        },
        OtherKind::Cluster if other.relations.is_empty() => {
            vec![request(ObjectClass::Clustered, Name::unqualified(""))]
        }
        OtherKind::VacuumFull if other.relations.is_empty() => {
            vec![request(ObjectClass::Tables, Name::unqualified(""))]
        }
        OtherKind::MoveAll { tablespace, .. } => {
            vec![request(
                ObjectClass::Tablespace,
                Name::unqualified(tablespace),
            )]
        }
        OtherKind::PublicationTables {
            sets: Some(publication),
        } => vec![request(
            ObjectClass::Publication,
            Name::unqualified(publication),
        )],
        _ => Vec::new(),
    }
}

/// Judges a schema change without facts: one whose objects are no relations, or one that can't be
/// read. If it refuses a transaction block, the runner finds out.
pub(super) fn judge(tag: &str, scope: Scope, source: &str) -> Judgement {
    if matches!(scope, Scope::LocksNothing | Scope::Maintenance) {
        return Judgement::untouched();
    }
    let step = Step {
        context: context_of(scope),
        ..Step::brief(tag.to_ascii_lowercase(), source)
    };
    Judgement::by(&LOCK_QUEUE, Verdict::Pass(Plan::as_sent(step)))
}

fn context_of(scope: Scope) -> Context {
    match scope {
        Scope::LocksNothing | Scope::Transactional => Context::Transaction,
        Scope::OwnTransaction | Scope::Maintenance => Context::Autocommit,
        Scope::Concurrent => Context::Concurrent { clear: None },
    }
}

/// Judges a schema change by its kind.
pub(super) fn judge_kind(other: &OtherDdl, source: &str, known: Known) -> Judgement {
    let mut effects = other_effects::of(other, known);
    known.forget_own(&mut effects);
    // LOCK TABLE says itself how it locks, and means nothing outside a block.
    let locks_only = matches!(other.kind, OtherKind::LockTable { .. });
    let is_nothing = match other.scope {
        Scope::Maintenance => other.kind != OtherKind::PrepareTransaction || !known.facts.own_locks,
        Scope::LocksNothing => true,
        Scope::Transactional | Scope::OwnTransaction | Scope::Concurrent => false,
    };
    if is_nothing || locks_only {
        return Judgement {
            effects,
            ..Judgement::untouched()
        };
    }
    let mut step = as_sent(other.tag, source, &effects);
    if other.scope != Scope::Transactional {
        step.context = context_of(other.scope);
    }
    let case = Case {
        known,
        tag: other.tag,
        note: String::new(),
        findings: vec![find(other, &effects, known)],
        effects,
        as_sent: step,
    };
    case.decide(super::only_steps)
}

fn find(other: &OtherDdl, effects: &Effects, known: Known) -> Finding {
    let no_way = |rule: &'static Rule| Finding::of(rule, Way::Impossible(rule.remedy.to_owned()));
    let is_large = dependents_bytes(known) > known.policy.small_table_bytes;
    match &other.kind {
        OtherKind::RefreshMaterializedView {
            concurrently: false,
            without_data: false,
        } => refresh(other, known),
        OtherKind::Truncate { .. } if found(other, known).any(|table| !known.is_small(table)) => {
            Finding::as_sent(&TRUNCATES)
        }
        OtherKind::Cluster | OtherKind::VacuumFull => {
            let is_small = !other.relations.is_empty() && !super::decide::is_costly(effects, known);
            if is_small {
                Finding::harmless()
            } else {
                no_way(&REPACKS)
            }
        }
        OtherKind::ReindexMany {
            concurrently: false,
            scope: ReindexScope::Schema(_) | ReindexScope::Database,
        } => no_way(&REINDEXES_MANY),
        OtherKind::ReindexMany {
            scope: ReindexScope::System,
            ..
        } => Finding::of(
            &REINDEXES_MANY,
            Way::Impossible(
                "The server's catalogs can't be rebuilt concurrently: rebuild the one that needs it, in a quiet hour."
                    .to_owned(),
            ),
        ),
        OtherKind::MoveAll { .. } => no_way(&MOVES_ALL),
        OtherKind::SetSchema { .. } if found(other, known).any(|one| is_in_use(one, known)) => {
            Finding::as_sent(&super::rename::BREAKS_CLIENTS)
        }
        OtherKind::AlterDomain {
            change: DomainChange::Constrain | DomainChange::Validate,
            ..
        } if is_large => no_way(&DOMAIN_SCANS),
        OtherKind::Owned { .. } => no_way(&OWNED),
        OtherKind::AlterSystem => no_way(&ALTERS_SYSTEM),
        OtherKind::DropDatabase => no_way(&DROPS_DATABASE),
        OtherKind::PrepareTransaction if known.facts.own_locks => no_way(&PREPARES),
        OtherKind::ReplaceFunction { .. } if keeps_results(known) => {
            Finding::as_sent(&REPLACES_FUNCTION)
        }
        OtherKind::EventTrigger => Finding::as_sent(&EVENT_TRIGGERS),
        OtherKind::EnumRenameValue => Finding::as_sent(&ENUM_RENAMES),
        OtherKind::PublicationAll => Finding::as_sent(&PUBLISHES_ALL),
        _ => Finding::harmless(),
    }
}

/// Whether clients may miss it: it is somebody else's to see, and not small.
fn is_in_use(relation: &Relation, known: Known) -> bool {
    let has_rows = !matches!(
        relation.kind,
        RelationKind::View | RelationKind::Sequence | RelationKind::ForeignTable
    );
    let is_small = has_rows && known.is_small(relation);
    !relation.created_here && !relation.temporary && !is_small
}

/// Whether anything keeps what a function gave.
fn keeps_results(known: Known) -> bool {
    known.facts.objects.iter().any(|tables| !tables.is_empty())
}

/// Bytes of what depends on the objects asked for.
fn dependents_bytes(known: Known) -> u64 {
    if known.facts.assumed {
        return u64::MAX;
    }
    let sizes = known
        .facts
        .objects
        .iter()
        .flatten()
        .map(|relation| relation.bytes);
    sizes.fold(0, u64::saturating_add)
}

fn refresh(other: &OtherDdl, known: Known) -> Finding {
    let Some(view) = other
        .relations
        .first()
        .and_then(|name| known.relation(name))
    else {
        return Finding::harmless();
    };
    if view.assumed || known.is_small(view) || !view.details.populated {
        return if view.assumed {
            Finding::as_sent(&REFRESH_NEEDS_INDEX)
        } else {
            Finding::harmless()
        };
    }
    let is_fit = view.indexes.iter().any(|index| {
        index.unique && index.valid && !index.partial && index.columns.iter().all(Option::is_some)
    });
    if !is_fit {
        return Finding::as_sent(&REFRESH_NEEDS_INDEX);
    }
    let name = view.qualified();
    let step = Step::brief(
        format!("refresh {name} concurrently"),
        format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {name}"),
    )
    .locking(&name, LockMode::Exclusive);
    Finding::of(&REFRESHES, Way::Steps(vec![step]))
}

pub(super) fn found<'a>(
    other: &'a OtherDdl,
    known: Known<'a>,
) -> impl Iterator<Item = &'a Relation> {
    other
        .relations
        .iter()
        .filter_map(move |name| known.relation(name))
}
