//! `ALTER TABLE` and its kin.

use pg_query::protobuf::{self, AlterTableType, DropBehavior, ObjectType};
use pg_query::{Node, NodeEnum};

use super::super::alter_table::{Action, ActionKind, AlterTable, AttributeChange};
use super::super::name::Name;
use super::super::statement::{ObjectKind, OtherKind, Scope, Statement};
use super::super::tag::alter_tag;
use super::source::{self, Source};
use super::{constraint, create_table, definitions, expression, type_name};
use super::{inner, name_of, names_database, other, range_var, relation_kind};

/// Converts an ALTER statement.
pub(super) fn statement(alter: &protobuf::AlterTableStmt, source: &Source<'_>) -> Statement {
    let tag = alter_tag(alter.objtype().as_str_name());
    let Some(relation) = &alter.relation else {
        return other(tag, Scope::Transactional, OtherKind::Script, Vec::new());
    };
    let object = match alter.objtype() {
        ObjectType::ObjectType => ObjectKind::CompositeType,
        kind => relation_kind(kind).unwrap_or(ObjectKind::Table),
    };
    let commands: Vec<&protobuf::AlterTableCmd> = alter.cmds.iter().filter_map(command).collect();
    let pieces = source
        .commands_behind(relation)
        .filter(|pieces| pieces.len() == commands.len());
    let action = |(at, command): (usize, &&protobuf::AlterTableCmd)| {
        let cut = pieces.as_ref().and_then(|pieces| pieces.get(at));
        let sql = match cut {
            Some(piece) => (*piece).to_owned(),
            None => deparsed(command, alter.objtype())?,
        };
        let kind = kind(command, object, source).unwrap_or(ActionKind::Unknown);
        Some(Action { kind, sql })
    };
    let actions: Option<Vec<Action>> = commands.iter().enumerate().map(action).collect();
    // Another database's name is for the server to refuse, this one's names the table all the same.
    let actions = actions.filter(|_| !names_database(Some(relation)));
    let unknown = || Action {
        kind: ActionKind::Unknown,
        sql: source.text.trim().to_owned(),
    };
    Statement::AlterTable(AlterTable {
        tag,
        object,
        relation: range_var(relation),
        only: !relation.inh && object != ObjectKind::CompositeType,
        if_exists: alter.missing_ok,
        actions: actions.unwrap_or_else(|| vec![unknown()]),
    })
}

fn command(node: &Node) -> Option<&protobuf::AlterTableCmd> {
    match &node.node {
        Some(NodeEnum::AlterTableCmd(command)) => Some(command),
        _ => None,
    }
}

/// A sub-command as the deparser writes it.
fn deparsed(command: &protobuf::AlterTableCmd, object: ObjectType) -> Option<String> {
    let statement = protobuf::AlterTableStmt {
        relation: Some(protobuf::RangeVar {
            relname: "x".to_owned(),
            inh: true,
            relpersistence: "p".to_owned(),
            ..protobuf::RangeVar::default()
        }),
        cmds: vec![Node {
            node: Some(NodeEnum::AlterTableCmd(Box::new(command.clone()))),
        }],
        objtype: object.into(),
        missing_ok: false,
    };
    let text = source::deparse(NodeEnum::AlterTableStmt(statement))?;
    text.split_once(" x ").map(|(_, sql)| sql.to_owned())
}

/// `ADD COLUMN` or `ADD CONSTRAINT` of this, as the deparser writes it.
pub(super) fn added(definition: NodeEnum) -> Option<String> {
    let subtype = match definition {
        NodeEnum::Constraint(_) => AlterTableType::AtAddConstraint,
        _ => AlterTableType::AtAddColumn,
    };
    let command = protobuf::AlterTableCmd {
        subtype: subtype.into(),
        def: Some(Box::new(Node {
            node: Some(definition),
        })),
        behavior: DropBehavior::DropRestrict.into(),
        ..protobuf::AlterTableCmd::default()
    };
    deparsed(&command, ObjectType::ObjectTable)
}

/// What a sub-command does; `None` when that can't be said for certain.
fn kind(
    command: &protobuf::AlterTableCmd,
    object: ObjectKind,
    source: &Source<'_>,
) -> Option<ActionKind> {
    let cascade = command.behavior() == DropBehavior::DropCascade;
    if object == ObjectKind::CompositeType && command.subtype() != AlterTableType::AtChangeOwner {
        let change = match command.subtype() {
            AlterTableType::AtAddColumn => AttributeChange::Add,
            AlterTableType::AtDropColumn => AttributeChange::Drop,
            _ => AttributeChange::SetType,
        };
        return Some(ActionKind::Attribute { change, cascade });
    }
    column_kind(command, cascade)
        .or_else(|| constraint_kind(command, cascade))
        .or_else(|| relation_reference_kind(command, source))
        .or_else(|| table_kind(command))
}

/// Sub-commands about columns.
fn column_kind(command: &protobuf::AlterTableCmd, cascade: bool) -> Option<ActionKind> {
    use AlterTableType as At;
    let definition = inner(command.def.as_deref());
    let column = command.name.clone();
    Some(match command.subtype() {
        At::AtAddColumn => match definition? {
            NodeEnum::ColumnDef(definition) => ActionKind::AddColumn {
                column: constraint::column(definition)?,
                if_not_exists: command.missing_ok,
            },
            _ => return None,
        },
        At::AtDropColumn => ActionKind::DropColumn {
            column,
            if_exists: command.missing_ok,
            cascade,
        },
        At::AtColumnDefault => ActionKind::SetDefault {
            column,
            default: match command.def.as_deref() {
                Some(node) => Some(expression::expression(node)?),
                None => None,
            },
        },
        At::AtSetNotNull => ActionKind::SetNotNull { column },
        At::AtDropNotNull => ActionKind::DropNotNull { column },
        At::AtAlterColumnType => match definition? {
            NodeEnum::ColumnDef(definition) => set_type(column, definition)?,
            _ => return None,
        },
        At::AtSetStatistics | At::AtSetOptions | At::AtResetOptions => ActionKind::ColumnStatistics,
        At::AtSetStorage | At::AtSetCompression => ActionKind::ColumnStorage,
        At::AtAddIdentity | At::AtSetIdentity | At::AtDropIdentity => ActionKind::Identity {
            column,
            drops: command.subtype() == At::AtDropIdentity,
            adds: command.subtype() == At::AtAddIdentity,
        },
        At::AtSetExpression => ActionKind::SetExpression { column },
        At::AtDropExpression => ActionKind::DropExpression { column },
        At::AtAlterColumnGenericOptions => ActionKind::ForeignOptions,
        _ => return None,
    })
}

fn set_type(column: String, definition: &protobuf::ColumnDef) -> Option<ActionKind> {
    let collation = match &definition.coll_clause {
        Some(clause) => Some(expression::name_in(&clause.collname)?),
        None => None,
    };
    let using = match definition.raw_default.as_deref() {
        Some(node) => Some(expression::expression(node)?),
        None => None,
    };
    Some(ActionKind::SetType {
        column,
        to: type_name::type_name(definition.type_name.as_ref()?)?,
        collation,
        using,
    })
}

/// Sub-commands about constraints.
fn constraint_kind(command: &protobuf::AlterTableCmd, cascade: bool) -> Option<ActionKind> {
    use AlterTableType as At;
    let name = command.name.clone();
    Some(match command.subtype() {
        At::AtAddConstraint => match inner(command.def.as_deref())? {
            NodeEnum::Constraint(definition) => {
                ActionKind::AddConstraint(constraint::constraint(definition)?)
            }
            _ => return None,
        },
        At::AtDropConstraint => ActionKind::DropConstraint {
            name,
            if_exists: command.missing_ok,
            cascade,
        },
        At::AtValidateConstraint => ActionKind::ValidateConstraint { name },
        At::AtAlterConstraint => match inner(command.def.as_deref())? {
            NodeEnum::AtalterConstraint(alter) => ActionKind::AlterConstraint {
                name: alter.conname.clone(),
                enforced: alter.alter_enforceability.then_some(alter.is_enforced),
            },
            _ => return None,
        },
        _ => return None,
    })
}

/// Sub-commands that name another relation.
fn relation_reference_kind(
    command: &protobuf::AlterTableCmd,
    source: &Source<'_>,
) -> Option<ActionKind> {
    use AlterTableType as At;
    match (command.subtype(), inner(command.def.as_deref())?) {
        (At::AtAddInherit, NodeEnum::RangeVar(range)) => Some(ActionKind::Inherit {
            parent: name_of(range)?,
        }),
        (At::AtDropInherit, NodeEnum::RangeVar(range)) => Some(ActionKind::NoInherit {
            parent: name_of(range)?,
        }),
        (subtype, NodeEnum::PartitionCmd(partition)) => {
            let name = name_of(partition.name.as_ref()?)?;
            partition_kind(subtype, partition, name, source)
        }
        _ => None,
    }
}

fn partition_kind(
    subtype: AlterTableType,
    command: &protobuf::PartitionCmd,
    partition: Name,
    source: &Source<'_>,
) -> Option<ActionKind> {
    match (subtype, &command.bound) {
        (AlterTableType::AtAttachPartition, Some(bound)) => Some(ActionKind::AttachPartition {
            partition,
            bound: create_table::bound(bound, source)?.0,
        }),
        (AlterTableType::AtAttachPartition, None) => {
            Some(ActionKind::AttachIndex { index: partition })
        }
        (AlterTableType::AtDetachPartition, _) => Some(ActionKind::DetachPartition {
            partition,
            concurrently: command.concurrent,
        }),
        (AlterTableType::AtDetachPartitionFinalize, _) => {
            Some(ActionKind::FinalizeDetach { partition })
        }
        _ => None,
    }
}

/// Sub-commands about the table itself.
fn table_kind(command: &protobuf::AlterTableCmd) -> Option<ActionKind> {
    use AlterTableType as At;
    Some(match command.subtype() {
        At::AtSetLogged => ActionKind::SetLogged { logged: true },
        At::AtSetUnLogged => ActionKind::SetLogged { logged: false },
        At::AtSetTableSpace => ActionKind::SetTablespace {
            tablespace: command.name.clone(),
        },
        At::AtSetAccessMethod => ActionKind::SetAccessMethod {
            method: (!command.name.is_empty()).then(|| command.name.clone()),
        },
        At::AtSetRelOptions | At::AtResetRelOptions => ActionKind::SetOptions {
            names: option_names(command),
        },
        At::AtClusterOn | At::AtDropCluster => ActionKind::ClusterMark,
        At::AtDropOids => ActionKind::DropOids,
        At::AtAddOf | At::AtDropOf => ActionKind::OfType,
        At::AtReplicaIdentity => match inner(command.def.as_deref())? {
            NodeEnum::ReplicaIdentityStmt(identity) => ActionKind::ReplicaIdentity {
                index: (!identity.name.is_empty()).then(|| identity.name.clone()),
            },
            _ => return None,
        },
        At::AtEnableRowSecurity | At::AtForceRowSecurity => ActionKind::RowSecurity { hides: true },
        At::AtDisableRowSecurity | At::AtNoForceRowSecurity => {
            ActionKind::RowSecurity { hides: false }
        }
        At::AtEnableTrig
        | At::AtEnableAlwaysTrig
        | At::AtEnableReplicaTrig
        | At::AtDisableTrig
        | At::AtEnableTrigAll
        | At::AtDisableTrigAll
        | At::AtEnableTrigUser
        | At::AtDisableTrigUser => ActionKind::Trigger,
        At::AtEnableRule | At::AtEnableAlwaysRule | At::AtEnableReplicaRule | At::AtDisableRule => {
            ActionKind::Rule
        }
        At::AtChangeOwner => ActionKind::OwnerTo,
        At::AtGenericOptions => ActionKind::ForeignOptions,
        _ => return None,
    })
}

fn option_names(command: &protobuf::AlterTableCmd) -> Vec<String> {
    let Some(NodeEnum::List(list)) = inner(command.def.as_deref()) else {
        return Vec::new();
    };
    let name = |option: &protobuf::DefElem| {
        if option.defnamespace.is_empty() {
            option.defname.clone()
        } else {
            format!("{}.{}", option.defnamespace, option.defname)
        }
    };
    definitions(&list.items).map(name).collect()
}
