//! Schema changes without a shape of their own: PostgreSQL's `GetCommandLogLevel`
//! (`src/backend/tcop/utility.c`, `LOGSTMT_DDL`) and the maintenance commands that take strong locks.

use pg_query::protobuf::{
    self, AlterPublicationAction, GrantTargetType, ObjectType, PublicationObjSpecType,
};
use pg_query::{Node, NodeEnum};

use super::super::lexer::LexicalMode;
use super::super::name::Name;
use super::super::statement::{DomainChange, ObjectKind, OtherDdl, OtherKind, Scope, Statement};
use super::super::tag::{alter_tag, create_tag};
use super::object::table_of;
use super::{boolean, definitions, inner, listed_name, named_by, names_of, relation_kind};
use super::{other, range_var, source, strings};
use crate::lock::LockMode;

/// Tag, scope, kind, relations.
type Found = (&'static str, Scope, OtherKind, Vec<Name>);

/// A schema change without a shape of its own; `None` for what is none.
pub(super) fn other_ddl(node: &NodeEnum) -> Option<OtherDdl> {
    let (tag, scope, kind, relations) = relation_ddl(node)
        .or_else(|| maintenance(node))
        .or_else(|| named_relations(node))
        .or_else(|| object_ddl(node))
        .or_else(|| server_ddl(node))
        .or_else(|| {
            let (tag, scope) = harmless(node)?;
            Some((tag, scope, OtherKind::Harmless, Vec::new()))
        })?;
    let may_hold_secret = matches!(
        node,
        NodeEnum::CreateRoleStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
            | NodeEnum::AlterUserMappingStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::AlterForeignServerStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::AlterFdwStmt(_)
            | NodeEnum::CreateSubscriptionStmt(_)
            | NodeEnum::AlterSubscriptionStmt(_)
            | NodeEnum::AlterSystemStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_)
    );
    Some(OtherDdl {
        tag,
        kind,
        scope,
        relations,
        creates: created(node),
        may_hold_secret,
    })
}

/// The relation, type or domain that a statement makes.
fn created(node: &NodeEnum) -> Option<Name> {
    let range = match node {
        NodeEnum::ViewStmt(create) => create.view.as_ref(),
        NodeEnum::CreateTableAsStmt(create) => create.into.as_ref()?.rel.as_ref(),
        NodeEnum::CreateSeqStmt(create) => create.sequence.as_ref(),
        NodeEnum::CompositeTypeStmt(create) => create.typevar.as_ref(),
        NodeEnum::CreateEnumStmt(create) => return named_by(strings(&create.type_name)),
        NodeEnum::CreateRangeStmt(create) => return named_by(strings(&create.type_name)),
        NodeEnum::CreateDomainStmt(create) => return named_by(strings(&create.domainname)),
        NodeEnum::DefineStmt(create) if create.kind() == ObjectType::ObjectType => {
            return named_by(strings(&create.defnames));
        }
        _ => return None,
    };
    range.map(range_var)
}

/// `SELECT … INTO`.
pub(super) fn select_into(into: &protobuf::IntoClause) -> OtherDdl {
    OtherDdl {
        tag: "SELECT INTO",
        kind: OtherKind::CreateTableAs,
        scope: Scope::LocksNothing,
        relations: Vec::new(),
        creates: into.rel.as_ref().map(range_var),
        may_hold_secret: false,
    }
}

/// Schema changes of one relation.
fn relation_ddl(node: &NodeEnum) -> Option<Found> {
    let on = |tag, kind, relation| (tag, Scope::Transactional, kind, names_of(relation));
    Some(match node {
        NodeEnum::CreateTrigStmt(trigger) => {
            let mut found = on(
                "CREATE TRIGGER",
                OtherKind::CreateTrigger,
                trigger.relation.as_ref(),
            );
            found.3.extend(names_of(trigger.constrrel.as_ref()));
            found
        }
        NodeEnum::RuleStmt(rule) => on("CREATE RULE", OtherKind::Rule, rule.relation.as_ref()),
        NodeEnum::CreatePolicyStmt(policy) => {
            on("CREATE POLICY", OtherKind::Policy, policy.table.as_ref())
        }
        NodeEnum::AlterPolicyStmt(policy) => {
            on("ALTER POLICY", OtherKind::Policy, policy.table.as_ref())
        }
        NodeEnum::ViewStmt(view) => {
            let (create, replace) = (OtherKind::CreateView, OtherKind::ReplaceView);
            let kind = if view.replace { replace } else { create };
            on("CREATE VIEW", kind, view.view.as_ref())
        }
        NodeEnum::CreateTableAsStmt(create) => (
            create_as_tag(create),
            Scope::LocksNothing,
            OtherKind::CreateTableAs,
            Vec::new(),
        ),
        NodeEnum::RefreshMatViewStmt(refresh) => {
            let kind = OtherKind::RefreshMaterializedView {
                concurrently: refresh.concurrent,
                without_data: refresh.skip_data,
            };
            on("REFRESH MATERIALIZED VIEW", kind, refresh.relation.as_ref())
        }
        NodeEnum::CreateSeqStmt(create) => {
            let mut found = on("CREATE SEQUENCE", OtherKind::CreateSequence, None);
            found.3.extend(owner_table(&create.options));
            found
        }
        NodeEnum::AlterSeqStmt(alter) => {
            let mut found = on(
                "ALTER SEQUENCE",
                OtherKind::AlterSequence,
                alter.sequence.as_ref(),
            );
            found.3.extend(owner_table(&alter.options));
            found
        }
        NodeEnum::AlterObjectSchemaStmt(alter) => {
            let kind = match relation_kind(alter.object_type()) {
                Some(_) => OtherKind::SetSchema {
                    schema: alter.newschema.clone(),
                },
                None => OtherKind::AlterObject,
            };
            on(
                alter_tag(alter.object_type().as_str_name()),
                kind,
                alter.relation.as_ref(),
            )
        }
        NodeEnum::AlterObjectDependsStmt(alter) => on(
            alter_tag(alter.object_type().as_str_name()),
            OtherKind::AlterObject,
            alter.relation.as_ref(),
        ),
        _ => return None,
    })
}

fn create_as_tag(create: &protobuf::CreateTableAsStmt) -> &'static str {
    match create.objtype() {
        ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW",
        _ if create.is_select_into => "SELECT INTO",
        _ => "CREATE TABLE AS",
    }
}

/// The table of `OWNED BY table.column`; none for `OWNED BY NONE`.
fn owner_table(options: &[Node]) -> Option<Name> {
    let owner = definitions(options).find(|option| option.defname == "owned_by")?;
    table_of(owner.arg.as_deref()?)
}

/// Commands that take strong locks without changing a schema.
fn maintenance(node: &NodeEnum) -> Option<Found> {
    use Scope::{OwnTransaction, Transactional};
    Some(match node {
        NodeEnum::TruncateStmt(truncate) => (
            "TRUNCATE TABLE",
            Transactional,
            OtherKind::Truncate {
                cascade: truncate.behavior() == protobuf::DropBehavior::DropCascade,
                restart: truncate.restart_seqs,
            },
            listed_relations(&truncate.relations),
        ),
        NodeEnum::LockStmt(lock) => {
            let mode = lock_mode(lock.mode).filter(|mode| *mode > LockMode::RowExclusive)?;
            let descends = |node: &Node| match &node.node {
                Some(NodeEnum::RangeVar(range)) => range.inh,
                _ => false,
            };
            let kind = OtherKind::LockTable {
                mode,
                descends: lock.relations.iter().any(descends),
            };
            let relations = listed_relations(&lock.relations);
            ("LOCK TABLE", Transactional, kind, relations)
        }
        NodeEnum::ClusterStmt(cluster) => {
            let scope = match cluster.relation {
                Some(_) => Transactional,
                None => OwnTransaction,
            };
            let relations = names_of(cluster.relation.as_ref());
            ("CLUSTER", scope, OtherKind::Cluster, relations)
        }
        NodeEnum::VacuumStmt(vacuum) => {
            let name = |node: &Node| match &node.node {
                Some(NodeEnum::VacuumRelation(target)) => target.relation.as_ref().map(range_var),
                _ => None,
            };
            let relations = vacuum.rels.iter().filter_map(name).collect();
            let tag = if vacuum.is_vacuumcmd {
                "VACUUM"
            } else {
                "ANALYZE"
            };
            if is_vacuum_full(vacuum) {
                (tag, OwnTransaction, OtherKind::VacuumFull, relations)
            } else {
                (tag, Scope::Maintenance, OtherKind::Vacuum, relations)
            }
        }
        _ => return None,
    })
}

/// `src/include/storage/lockdefs.h`.
fn lock_mode(number: i32) -> Option<LockMode> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    LockMode::ALL.get(index).copied()
}

fn is_vacuum_full(vacuum: &protobuf::VacuumStmt) -> bool {
    let full = definitions(&vacuum.options).rfind(|option| option.defname == "full");
    vacuum.is_vacuumcmd && full.is_some_and(|option| boolean(option.arg.as_deref()))
}

fn listed_relations(nodes: &[Node]) -> Vec<Name> {
    let name = |node: &Node| match &node.node {
        Some(NodeEnum::RangeVar(range)) => Some(range_var(range)),
        _ => None,
    };
    nodes.iter().filter_map(name).collect()
}

/// Schema changes that name relations among other things.
fn named_relations(node: &NodeEnum) -> Option<Found> {
    let found = |tag, (kind, relations)| (tag, Scope::Transactional, kind, relations);
    Some(match node {
        NodeEnum::CreateStatsStmt(create) => {
            let relations = listed_relations(&create.relations);
            found(
                "CREATE STATISTICS",
                (OtherKind::CreateStatistics, relations),
            )
        }
        NodeEnum::CommentStmt(comment) => {
            let object = comment.object.as_deref();
            let kinds = (OtherKind::CommentOnRelation, OtherKind::CommentOnPart);
            found("COMMENT", described(comment.objtype(), object, kinds))
        }
        NodeEnum::SecLabelStmt(label) => {
            let object = label.object.as_deref();
            let kinds = (OtherKind::SecurityLabel, OtherKind::SecurityLabel);
            found("SECURITY LABEL", described(label.objtype(), object, kinds))
        }
        NodeEnum::GrantStmt(grant) => {
            let tag = if grant.is_grant { "GRANT" } else { "REVOKE" };
            let on_relations = matches!(
                grant.objtype(),
                ObjectType::ObjectTable | ObjectType::ObjectSequence
            ) && grant.targtype() != GrantTargetType::AclTargetDefaults;
            let kind = if on_relations {
                OtherKind::GrantOnRelations
            } else {
                OtherKind::Harmless
            };
            found(tag, (kind, listed_relations(&grant.objects)))
        }
        NodeEnum::CreatePublicationStmt(create) => found(
            "CREATE PUBLICATION",
            published(create.for_all_tables, &create.pubobjects, None),
        ),
        NodeEnum::AlterPublicationStmt(alter) => {
            let sets = alter.action() == AlterPublicationAction::ApSetObjects;
            let sets = sets.then(|| alter.pubname.clone());
            found(
                "ALTER PUBLICATION",
                published(alter.for_all_tables, &alter.pubobjects, sets),
            )
        }
        NodeEnum::AlterExtensionContentsStmt(alter) if relation_kind(alter.objtype()).is_some() => {
            let object = alter.object.as_deref().and_then(listed_name);
            let kind = (OtherKind::ExtensionMember, object.into_iter().collect());
            found("ALTER EXTENSION", kind)
        }
        _ => return None,
    })
}

/// What a COMMENT or SECURITY LABEL is about: a relation, or a part of one.
fn described(
    object_type: ObjectType,
    object: Option<&Node>,
    (relation, part): (OtherKind, OtherKind),
) -> (OtherKind, Vec<Name>) {
    match object_type {
        ObjectType::ObjectColumn => (relation, object.and_then(table_of).into_iter().collect()),
        ObjectType::ObjectTabconstraint
        | ObjectType::ObjectTrigger
        | ObjectType::ObjectRule
        | ObjectType::ObjectPolicy => (part, object.and_then(table_of).into_iter().collect()),
        other if relation_kind(other).is_some() => {
            (relation, object.and_then(listed_name).into_iter().collect())
        }
        _ => (OtherKind::Harmless, Vec::new()),
    }
}

fn published(all: bool, objects: &[Node], sets: Option<String>) -> (OtherKind, Vec<Name>) {
    let mut by_schema = false;
    let mut tables = Vec::new();
    for node in objects {
        let Some(NodeEnum::PublicationObjSpec(object)) = &node.node else {
            continue;
        };
        match object.pubobjtype() {
            PublicationObjSpecType::PublicationobjTablesInSchema
            | PublicationObjSpecType::PublicationobjTablesInCurSchema => by_schema = true,
            PublicationObjSpecType::PublicationobjTable
            | PublicationObjSpecType::PublicationobjContinuation
            | PublicationObjSpecType::Undefined => {}
        }
        let table = object.pubtable.as_ref();
        tables.extend(
            table
                .and_then(|table| table.relation.as_ref())
                .map(range_var),
        );
    }
    let kind = if all || by_schema {
        OtherKind::PublicationAll
    } else if tables.is_empty() {
        OtherKind::Harmless
    } else {
        OtherKind::PublicationTables { sets }
    };
    (kind, tables)
}

fn role_names(roles: &[Node]) -> Vec<String> {
    let name = |node: &Node| match node.node.as_ref()? {
        NodeEnum::RoleSpec(role) => Some(role.rolename.clone()).filter(|name| !name.is_empty()),
        _ => None,
    };
    roles.iter().filter_map(name).collect()
}

/// Schema changes of objects that aren't relations but that relations may depend on.
fn object_ddl(node: &NodeEnum) -> Option<Found> {
    let found = |tag, kind| (tag, Scope::Transactional, kind, Vec::new());
    Some(match node {
        NodeEnum::AlterOwnerStmt(alter) => found(
            alter_tag(alter.object_type().as_str_name()),
            OtherKind::AlterObject,
        ),
        NodeEnum::AlterTableMoveAllStmt(alter) => {
            let object = match alter.objtype() {
                ObjectType::ObjectIndex => ObjectKind::Index,
                ObjectType::ObjectMatview => ObjectKind::MaterializedView,
                _ => ObjectKind::Table,
            };
            let kind = OtherKind::MoveAll {
                object,
                tablespace: alter.orig_tablespacename.clone(),
            };
            found(alter_tag(alter.objtype().as_str_name()), kind)
        }
        NodeEnum::CreateExtensionStmt(_) => found("CREATE EXTENSION", OtherKind::Script),
        NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => {
            found("ALTER EXTENSION", OtherKind::Script)
        }
        NodeEnum::ImportForeignSchemaStmt(_) => found("IMPORT FOREIGN SCHEMA", OtherKind::Script),
        NodeEnum::CreateFunctionStmt(create) => {
            let tag = if create.is_procedure {
                "CREATE PROCEDURE"
            } else {
                "CREATE FUNCTION"
            };
            let name = named_by(strings(&create.funcname)).filter(|_| create.replace);
            let replace = |name| OtherKind::ReplaceFunction { name };
            let kind = name.map_or(OtherKind::Harmless, replace);
            found(tag, kind)
        }
        NodeEnum::AlterFunctionStmt(_) => found("ALTER FUNCTION", OtherKind::AlterObject),
        NodeEnum::AlterStatsStmt(_) => found("ALTER STATISTICS", OtherKind::AlterObject),
        NodeEnum::AlterEnumStmt(alter) if alter.old_val.is_empty() => {
            found("ALTER TYPE", OtherKind::EnumAddValue)
        }
        NodeEnum::AlterEnumStmt(_) => found("ALTER TYPE", OtherKind::EnumRenameValue),
        NodeEnum::AlterTypeStmt(_) => found("ALTER TYPE", OtherKind::AlterObject),
        NodeEnum::AlterDomainStmt(alter) => found("ALTER DOMAIN", alter_domain(alter)),
        NodeEnum::DropOwnedStmt(drop) => found(
            "DROP OWNED",
            OtherKind::Owned {
                drops: true,
                roles: role_names(&drop.roles),
            },
        ),
        NodeEnum::ReassignOwnedStmt(reassign) => found(
            "REASSIGN OWNED",
            OtherKind::Owned {
                drops: false,
                roles: role_names(&reassign.roles),
            },
        ),
        NodeEnum::CreateEventTrigStmt(_) => found("CREATE EVENT TRIGGER", OtherKind::EventTrigger),
        NodeEnum::AlterEventTrigStmt(_) => found("ALTER EVENT TRIGGER", OtherKind::EventTrigger),
        _ => return None,
    })
}

fn alter_domain(alter: &protobuf::AlterDomainStmt) -> OtherKind {
    let Some(domain) = named_by(strings(&alter.type_name)) else {
        return OtherKind::Script; // another database's name, for the server to refuse
    };
    let change = match (alter.subtype.as_str(), inner(alter.def.as_deref())) {
        ("C", Some(NodeEnum::Constraint(constraint))) if constraint.skip_validation => {
            DomainChange::ConstrainNotValid
        }
        ("C" | "O", _) => DomainChange::Constrain,
        ("V", _) => DomainChange::Validate,
        _ => DomainChange::Loosen,
    };
    OtherKind::AlterDomain { domain, change }
}

/// Changes of the server or of a whole database.
fn server_ddl(node: &NodeEnum) -> Option<Found> {
    let found = |tag, kind| (tag, Scope::OwnTransaction, kind, Vec::new());
    Some(match node {
        NodeEnum::CreatedbStmt(_) => found("CREATE DATABASE", OtherKind::Database),
        NodeEnum::DropdbStmt(_) => found("DROP DATABASE", OtherKind::DropDatabase),
        NodeEnum::AlterDatabaseStmt(alter) => {
            let moves = definitions(&alter.options).any(|option| option.defname == "tablespace");
            let kind = if moves {
                OtherKind::Database
            } else {
                OtherKind::Harmless
            };
            found("ALTER DATABASE", kind)
        }
        NodeEnum::AlterSystemStmt(_) => found("ALTER SYSTEM", OtherKind::AlterSystem),
        _ => return None,
    })
}

/// Schema changes that take no lock on a relation that exists.
fn harmless(node: &NodeEnum) -> Option<(&'static str, Scope)> {
    use Scope::{OwnTransaction, Transactional};
    let transactional = match node {
        NodeEnum::GrantRoleStmt(grant) if grant.is_grant => "GRANT ROLE",
        NodeEnum::GrantRoleStmt(_) => "REVOKE ROLE",
        NodeEnum::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
        NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateRangeStmt(_) => "CREATE TYPE",
        NodeEnum::CreateDomainStmt(_) => "CREATE DOMAIN",
        NodeEnum::DefineStmt(define) => create_tag(define.kind().as_str_name()),
        NodeEnum::CreateRoleStmt(_) => "CREATE ROLE",
        NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "ALTER ROLE",
        NodeEnum::DropRoleStmt(_) => "DROP ROLE",
        NodeEnum::AlterDatabaseSetStmt(_) | NodeEnum::AlterDatabaseRefreshCollStmt(_) => {
            "ALTER DATABASE"
        }
        NodeEnum::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
        NodeEnum::CreateTableSpaceStmt(_) => return Some(("CREATE TABLESPACE", OwnTransaction)),
        NodeEnum::DropTableSpaceStmt(_) => return Some(("DROP TABLESPACE", OwnTransaction)),
        NodeEnum::CreateSubscriptionStmt(_) => {
            return Some(("CREATE SUBSCRIPTION", OwnTransaction));
        }
        NodeEnum::AlterSubscriptionStmt(_) => return Some(("ALTER SUBSCRIPTION", OwnTransaction)),
        NodeEnum::DropSubscriptionStmt(_) => return Some(("DROP SUBSCRIPTION", OwnTransaction)),
        _ => extension_ddl(node)?,
    };
    Some((transactional, Transactional))
}

/// Schema changes of what extends the server: casts, operators, languages, foreign data.
fn extension_ddl(node: &NodeEnum) -> Option<&'static str> {
    Some(match node {
        NodeEnum::CreateCastStmt(_) => "CREATE CAST",
        NodeEnum::CreateTransformStmt(_) => "CREATE TRANSFORM",
        NodeEnum::CreateConversionStmt(_) => "CREATE CONVERSION",
        NodeEnum::CreatePlangStmt(_) => "CREATE LANGUAGE",
        NodeEnum::CreateAmStmt(_) => "CREATE ACCESS METHOD",
        NodeEnum::CreateOpClassStmt(_) => "CREATE OPERATOR CLASS",
        NodeEnum::CreateOpFamilyStmt(_) => "CREATE OPERATOR FAMILY",
        NodeEnum::AlterOpFamilyStmt(_) => "ALTER OPERATOR FAMILY",
        NodeEnum::AlterOperatorStmt(_) => "ALTER OPERATOR",
        NodeEnum::AlterCollationStmt(_) => "ALTER COLLATION",
        NodeEnum::AlterTsdictionaryStmt(_) => "ALTER TEXT SEARCH DICTIONARY",
        NodeEnum::AlterTsconfigurationStmt(_) => "ALTER TEXT SEARCH CONFIGURATION",
        NodeEnum::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
        NodeEnum::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
        NodeEnum::CreateForeignServerStmt(_) => "CREATE SERVER",
        NodeEnum::AlterForeignServerStmt(_) => "ALTER SERVER",
        NodeEnum::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
        NodeEnum::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
        NodeEnum::DropUserMappingStmt(_) => "DROP USER MAPPING",
        _ => return None,
    })
}

/// `CREATE SCHEMA`, with its elements read as statements of their own.
pub(super) fn create_schema(create: &protobuf::CreateSchemaStmt) -> Statement {
    let element = |node: &Node| {
        let text = source::deparse(node.node.clone()?)?;
        let parsed = super::parse(&text, LexicalMode::default()).ok()?;
        parsed.into_iter().next().map(|parsed| parsed.statement)
    };
    let kind = if create.schema_elts.is_empty() {
        OtherKind::Harmless
    } else {
        let elements: Option<Vec<Statement>> = create.schema_elts.iter().map(element).collect();
        elements.map_or(OtherKind::Script, OtherKind::CreateSchema)
    };
    other("CREATE SCHEMA", Scope::Transactional, kind, Vec::new())
}
