//! `ALTER TABLE`.

use super::super::{Column, Details, Index, Relation, RelationKind, assumed};
use super::{Child, Shadow, sql_of};
use crate::sql::alter_table::{
    ActionKind, AlterTable, ColumnDefinition, PartitionBoundKind, TypeName,
};
use crate::sql::name::Name;

impl Shadow {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) {
        if let Some((_, index)) = self.index(&alter.relation) {
            let parent = index.oid;
            for action in &alter.actions {
                if let ActionKind::AttachIndex { index } = &action.kind {
                    self.attach(parent, index);
                }
            }
            return;
        }
        let Some(oid) = self.materialize(&alter.relation) else {
            return;
        };
        for action in &alter.actions {
            self.act(oid, &action.kind, !alter.only);
        }
    }

    /// One sub-command; those that change nothing that is asked for are left out.
    fn act(&mut self, oid: u32, action: &ActionKind, descends: bool) {
        match action {
            ActionKind::AddConstraint(constraint) => self.add_constraint(oid, constraint),
            ActionKind::DropConstraint { name, cascade, .. } => {
                self.drop_constraint(oid, name, *cascade);
            }
            ActionKind::ValidateConstraint { name } => self.validate(oid, name),
            ActionKind::AttachPartition { partition, bound } => {
                self.attach_partition(oid, partition, bound.kind == PartitionBoundKind::Default);
            }
            ActionKind::DetachPartition { partition, .. }
            | ActionKind::FinalizeDetach { partition } => self.detach(oid, partition),
            ActionKind::Inherit { parent } => self.inherit_from(oid, parent),
            ActionKind::NoInherit { parent } => self.part_from(oid, parent),
            ActionKind::SetLogged { logged } => self.change(oid, |own| own.unlogged = !logged),
            ActionKind::SetTablespace { tablespace } => {
                self.change(oid, |own| own.tablespace.clone_from(tablespace));
            }
            ActionKind::SetAccessMethod { method } => self.change(oid, |own| {
                own.access_method = Some(method.clone().unwrap_or_else(|| "heap".to_owned()));
            }),
            ActionKind::AddColumn { column, .. } => self.add_column(oid, column),
            ActionKind::DropColumn {
                column, cascade, ..
            } => self.each(oid, descends, &mut |shadow, oid| {
                shadow.drop_column(oid, column, *cascade);
            }),
            ActionKind::SetNotNull { column } => self.each_not_null(oid, descends, column, true),
            ActionKind::DropNotNull { column } => self.each_not_null(oid, descends, column, false),
            ActionKind::SetType { column, to, .. } => {
                self.each(oid, descends, &mut |shadow, oid| {
                    shadow.set_type(oid, column, to)
                });
            }
            ActionKind::SetDefault { column, default } => {
                let default = default.as_ref().map(|default| default.sql.clone());
                self.change_columns(oid, descends, column, |own| {
                    own.default.clone_from(&default)
                });
            }
            ActionKind::Identity {
                column,
                drops,
                adds,
            } => self.change_columns(oid, descends, column, |own| {
                own.identity = (own.identity || *adds) && !drops;
            }),
            ActionKind::DropExpression { column } => {
                self.change_columns(oid, descends, column, |own| {
                    (own.generated, own.default) = (false, None);
                });
            }
            ActionKind::SetExpression { .. }
            | ActionKind::ColumnStatistics
            | ActionKind::ColumnStorage
            | ActionKind::AlterConstraint { .. }
            | ActionKind::AttachIndex { .. }
            | ActionKind::SetOptions { .. }
            | ActionKind::ClusterMark
            | ActionKind::DropOids
            | ActionKind::OfType
            | ActionKind::ReplicaIdentity { .. }
            | ActionKind::RowSecurity { .. }
            | ActionKind::Trigger
            | ActionKind::Rule
            | ActionKind::OwnerTo
            | ActionKind::ForeignOptions
            | ActionKind::Attribute { .. }
            | ActionKind::Unknown => {}
        }
    }

    fn change(&mut self, oid: u32, change: impl FnOnce(&mut Details)) {
        if let Some(table) = self.by_oid_mut(oid) {
            change(&mut table.details);
        }
    }

    fn inherit_from(&mut self, oid: u32, parent: &Name) {
        if let Some(parent) = self.materialize(parent) {
            self.add_child(child(parent, oid, false, false));
        }
    }

    fn part_from(&mut self, oid: u32, parent: &Name) {
        if let Some(parent) = self.materialize(parent) {
            self.unlink(parent, oid);
        }
    }

    fn each_not_null(&mut self, oid: u32, descends: bool, column: &str, not_null: bool) {
        self.each(oid, descends, &mut |shadow, oid| {
            shadow.set_not_null(oid, column, not_null);
        });
    }

    /// Does it to a table and, unless it was `ONLY`, to all below it.
    fn each(&mut self, oid: u32, descends: bool, change: &mut dyn FnMut(&mut Shadow, u32)) {
        change(self, oid);
        if descends {
            for child in self.descendants(oid) {
                change(self, child);
            }
        }
    }

    fn change_columns(
        &mut self,
        oid: u32,
        descends: bool,
        name: &str,
        change: impl Fn(&mut Column),
    ) {
        self.each(oid, descends, &mut |shadow, oid| {
            shadow.change_column(oid, name, &change)
        });
    }

    fn change_column(&mut self, oid: u32, name: &str, change: impl FnOnce(&mut Column)) {
        if let Some(table) = self.by_oid_mut(oid) {
            let mut columns = table.details.columns.iter_mut();
            if let Some(column) = columns.find(|column| column.name == name) {
                change(column);
            }
        }
    }

    /// `ADD COLUMN`, also of `CREATE TABLE`; children get it too.
    pub(super) fn add_column(&mut self, oid: u32, definition: &ColumnDefinition) {
        let mut column = self.column(definition);
        let Some(table) = self.by_oid(oid).cloned() else {
            return;
        };
        if table.details.column(&definition.name).is_none() {
            let is_serial = definition.type_name.serial.is_some();
            if is_serial || definition.identity.is_some() {
                let sequence = self.choose_name(&table, &definition.name, "seq");
                let sequence = Name::qualified(&table.schema, sequence);
                if is_serial {
                    column.default = Some(format!("nextval('{sequence}'::regclass)"));
                }
                self.add(Relation {
                    kind: RelationKind::Sequence,
                    created_here: true,
                    bytes: 0,
                    assumed: false,
                    ..assumed(&sequence)
                });
                if let Some(table) = self.by_oid_mut(oid) {
                    table.details.sequences.push(sequence);
                }
            }
            self.merge_columns(oid, vec![column.clone()], false);
            if definition.not_null || is_serial || definition.identity.is_some() {
                self.set_not_null(oid, &definition.name, true);
            }
        }
        for constraint in &definition.constraints {
            self.add_constraint(oid, constraint);
        }
        for child in self.children_of(oid) {
            self.merge_columns(child, vec![column.clone()], true);
            if definition.not_null {
                self.set_not_null(child, &definition.name, true);
            }
        }
    }

    fn drop_column(&mut self, oid: u32, name: &str, cascade: bool) {
        let Some(table) = self.by_oid(oid) else {
            return;
        };
        let has = |index: &&Index| index.columns.iter().flatten().any(|column| column == name);
        let indexes = table.indexes.iter().filter(has);
        let indexes: Vec<String> = indexes.map(|index| index.name.clone()).collect();
        let constraints = table.details.constraints.iter();
        let constraints = constraints.filter(|own| own.columns.iter().any(|column| column == name));
        let constraints: Vec<String> = constraints.map(|own| own.name.clone()).collect();
        let views = self
            .views
            .iter()
            .filter(|link| link.on == oid && link.columns.iter().any(|column| column == name));
        let views: Vec<u32> = views.map(|link| link.view).collect();
        if !views.is_empty() && !cascade {
            return; // the server refuses it
        }
        for view in views {
            self.views
                .retain(|link| link.view != view && link.on != view);
            self.relations.retain(|relation| relation.oid != view);
        }
        for constraint in constraints {
            self.drop_constraint(oid, &constraint, cascade);
        }
        for index in indexes {
            self.remove_index(oid, &index);
        }
        if let Some(table) = self.by_oid_mut(oid) {
            table.details.columns.retain(|column| column.name != name);
            let users = &mut table.details.column_users;
            users.retain(|user| user.columns.iter().all(|column| column != name));
        }
    }

    fn set_type(&mut self, oid: u32, column: &str, to: &TypeName) {
        let Some(of_type) = self.type_of(&to.sql) else {
            return;
        };
        self.change_column(oid, column, |own| {
            own.type_sql = sql_of(&of_type);
            own.collation = of_type.collation;
            own.collation_name = None;
            own.of_type = of_type;
        });
    }

    /// `ALTER INDEX … ATTACH PARTITION`: the parent's index is valid when every partition has one.
    fn attach(&mut self, parent: u32, index: &Name) {
        let Some((_, child)) = self.index(index) else {
            return;
        };
        let child = child.oid;
        self.index_parents.insert(child, parent);
        let holds = |table: &&Relation| table.indexes.iter().any(|index| index.oid == parent);
        let Some(table) = self.relations.iter().find(holds).map(|table| table.oid) else {
            return;
        };
        let is_attached = |index: &Index| self.index_parents.get(&index.oid) == Some(&parent);
        let complete = self.children_of(table).into_iter().all(|partition| {
            let partition = self.by_oid(partition);
            partition.is_some_and(|partition| partition.indexes.iter().any(is_attached))
        });
        if let Some(table) = self.by_oid_mut(table) {
            let indexes = table.indexes.iter_mut();
            for index in indexes.filter(|index| index.oid == parent) {
                index.valid |= complete;
            }
        }
    }

    fn attach_partition(&mut self, parent: u32, partition: &Name, is_default: bool) {
        let Some(oid) = self.materialize(partition) else {
            return;
        };
        self.add_child(child(parent, oid, true, is_default));
        let Some(above) = self.by_oid(parent).cloned() else {
            return;
        };
        for index in &above.indexes {
            self.index_of_partition(oid, index);
        }
        if let Some(table) = self.by_oid_mut(oid) {
            for column in &mut table.details.columns {
                column.inherited |= above.details.column(&column.name).is_some();
            }
            for constraint in &mut table.details.constraints {
                constraint.inherited |= above.details.constraint(&constraint.name).is_some();
            }
        }
    }

    fn detach(&mut self, parent: u32, partition: &Name) {
        if let Some(oid) = self.relation(partition).map(|own| own.oid) {
            self.unlink(parent, oid);
        }
    }

    /// Parts a child from its parent: what it has stays with it as its own.
    fn unlink(&mut self, parent: u32, oid: u32) {
        self.children
            .retain(|own| !(own.parent == parent && own.child == oid));
        let orphan = !self.children.iter().any(|own| own.child == oid);
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        if orphan {
            table
                .details
                .columns
                .iter_mut()
                .for_each(|column| column.inherited = false);
            table
                .details
                .constraints
                .iter_mut()
                .for_each(|own| own.inherited = false);
        }
        let indexes: Vec<u32> = table.indexes.iter().map(|index| index.oid).collect();
        self.index_parents
            .retain(|index, _| !indexes.contains(index));
    }
}

fn child(parent: u32, child: u32, is_partition: bool, is_default: bool) -> Child {
    Child {
        parent,
        child,
        is_partition,
        is_default,
        detach_pending: false,
        constraint: None,
    }
}
