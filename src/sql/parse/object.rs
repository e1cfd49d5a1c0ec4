//! `DROP` and `ALTER … RENAME`.

use pg_query::protobuf::{self, DropBehavior, ObjectType};
use pg_query::{Node, NodeEnum};

use super::super::name::Name;
use super::super::statement::{
    DropKind, DropObjects, ObjectKind, OtherKind, Rename, RenameTarget, Scope, Statement,
};
use super::super::tag::{alter_tag, drop_tag};
use super::{listed_name, named_by, other, range_var, relation_kind, strings};

/// Converts a DROP of anything but indexes.
pub(super) fn drop(drop: &protobuf::DropStmt) -> Statement {
    let tag = drop_tag(drop.remove_type().as_str_name());
    let on_table = |kind| {
        let tables = drop.objects.iter().filter_map(table_of).collect();
        other(tag, Scope::Transactional, kind, tables)
    };
    let kind = match drop.remove_type() {
        ObjectType::ObjectTrigger => return on_table(OtherKind::DropTrigger),
        ObjectType::ObjectRule => return on_table(OtherKind::Rule),
        ObjectType::ObjectPolicy => return on_table(OtherKind::Policy),
        ObjectType::ObjectEventTrigger => {
            return other(
                tag,
                Scope::Transactional,
                OtherKind::EventTrigger,
                Vec::new(),
            );
        }
        ObjectType::ObjectTable => DropKind::Table,
        ObjectType::ObjectForeignTable => DropKind::ForeignTable,
        ObjectType::ObjectView => DropKind::View,
        ObjectType::ObjectMatview => DropKind::MaterializedView,
        ObjectType::ObjectSequence => DropKind::Sequence,
        ObjectType::ObjectSchema => DropKind::Schema,
        ObjectType::ObjectType => DropKind::Type,
        ObjectType::ObjectDomain => DropKind::Domain,
        ObjectType::ObjectFunction
        | ObjectType::ObjectProcedure
        | ObjectType::ObjectRoutine
        | ObjectType::ObjectAggregate => DropKind::Function,
        ObjectType::ObjectExtension => DropKind::Extension,
        ObjectType::ObjectStatisticExt => DropKind::Statistics,
        ObjectType::ObjectForeignServer => DropKind::Server,
        _ => DropKind::Other,
    };
    let names = if kind == DropKind::Other {
        Vec::new()
    } else {
        drop.objects.iter().filter_map(object_name).collect()
    };
    Statement::Drop(DropObjects {
        tag,
        kind,
        if_exists: drop.missing_ok,
        cascade: drop.behavior() == DropBehavior::DropCascade,
        names,
    })
}

/// The name of what is dropped, in the ways in which the parser gives it.
fn object_name(node: &Node) -> Option<Name> {
    match node.node.as_ref()? {
        NodeEnum::List(_) => listed_name(node),
        NodeEnum::String(string) => Some(Name::unqualified(&string.sval)),
        NodeEnum::TypeName(name) => named_by(strings(&name.names)),
        NodeEnum::ObjectWithArgs(object) => named_by(strings(&object.objname)),
        _ => None,
    }
}

/// The table of a trigger, rule, policy or constraint, or of a column: all but the last part of the
/// name.
pub(super) fn table_of(node: &Node) -> Option<Name> {
    let Some(NodeEnum::List(list)) = &node.node else {
        return None;
    };
    let mut parts = strings(&list.items);
    parts.pop();
    Some(Name {
        name: parts.pop()?,
        schema: parts.pop(),
    })
}

/// Converts `ALTER … RENAME`.
pub(super) fn rename(rename: &protobuf::RenameStmt) -> Statement {
    let target = match rename.rename_type() {
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => {
            RenameTarget::Column(rename.subname.clone())
        }
        ObjectType::ObjectTabconstraint => RenameTarget::Constraint(rename.subname.clone()),
        ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectPolicy => {
            RenameTarget::OnTable
        }
        ObjectType::ObjectType if rename.relation.is_some() => {
            RenameTarget::Relation(ObjectKind::CompositeType)
        }
        ObjectType::ObjectSchema => RenameTarget::Schema,
        object => relation_kind(object).map_or(RenameTarget::Other, RenameTarget::Relation),
    };
    let of_type = matches!(
        rename.rename_type(),
        ObjectType::ObjectType | ObjectType::ObjectAttribute
    );
    Statement::Rename(Rename {
        tag: alter_tag(rename.rename_type().as_str_name()),
        target,
        if_exists: rename.missing_ok,
        only: !of_type && rename.relation.as_ref().is_some_and(|range| !range.inh),
        relation: rename.relation.as_ref().map(range_var),
        new_name: rename.newname.clone(),
    })
}
