//! What statements make of the catalog.

use super::super::{
    Column, ColumnUser, Details, Index, ObjectClass, ObjectRequest, Relation, RelationKind, Type,
};
use super::{Child, Shadow, new_index, sql_of};
use crate::sql::alter_table::{ColumnDefinition, PartitionBoundKind};
use crate::sql::create_table::{CreateTable, PartitionOf};
use crate::sql::name::{Name, mentions, quote_identifier};
use crate::sql::statement::{
    CreateIndex, DomainChange, DropKind, DropObjects, OtherDdl, OtherKind, Rename, RenameTarget,
    Statement,
};

impl Shadow {
    /// The catalog after a statement has run. One that a server would refuse changes nothing, as far
    /// as that can be seen.
    pub fn apply(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::DropIndex(drop) => {
                for name in &drop.indexes {
                    let found = self.index(name);
                    let found = found.map(|(table, index)| (table.oid, index.name.clone()));
                    match found {
                        Some((table, name)) => self.remove_index(table, &name),
                        None => self.forget(name),
                    }
                }
            }
            Statement::Reindex(reindex) => {
                let table = self.relation(&reindex.name).map(|table| table.oid);
                let index = self.index(&reindex.name).map(|(_, index)| index.oid);
                for own in &mut self.relations {
                    let all = Some(own.oid) == table;
                    for one in &mut own.indexes {
                        one.valid |= all || Some(one.oid) == index;
                    }
                }
            }
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::CreateTable(create) => self.create_table(create),
            Statement::Drop(drop) => self.drop_objects(drop),
            Statement::Rename(rename) => self.rename(rename),
            Statement::Other(other) => self.other(other),
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Unreadable { .. }
            | Statement::Harmless => {}
        }
    }

    /// The OID of a relation that isn't an index; one that is only assumed is added first.
    pub(super) fn materialize(&mut self, name: &Name) -> Option<u32> {
        if let Some(relation) = self.relation(name) {
            return Some(relation.oid);
        }
        if self.index(name).is_some() {
            return None;
        }
        let relation = self.assume(name, RelationKind::Table)?;
        Some(self.add(relation))
    }

    pub(super) fn children_of(&self, oid: u32) -> Vec<u32> {
        let children = self.children.iter().filter(|child| child.parent == oid);
        children.map(|child| child.child).collect()
    }

    fn forget(&mut self, name: &Name) {
        let name = self.at_home(name);
        self.gone.insert(name);
    }

    fn create_table(&mut self, create: &CreateTable) {
        let name = match create.name.schema {
            None if create.temporary => Name::qualified("pg_temp", &create.name.name),
            _ => self.at_home(&create.name),
        };
        if self.relation(&name).is_some() {
            return;
        }
        let kind = if create.is_partitioned {
            RelationKind::PartitionedTable
        } else if create.tag == "CREATE FOREIGN TABLE" {
            RelationKind::ForeignTable
        } else {
            RelationKind::Table
        };
        let oid = self.add(Relation {
            temporary: create.temporary || name.schema.as_deref() == Some("pg_temp"),
            ..made_here(&name, kind)
        });
        for like in &create.like {
            let source = self.materialize(like).and_then(|like| self.by_oid(like));
            let columns = source.map_or(Vec::new(), |source| source.details.columns.clone());
            self.merge_columns(oid, columns, false);
        }
        for parent in &create.inherits {
            if let Some(parent) = self.materialize(parent) {
                self.link(parent, oid, None);
            }
        }
        if let Some(of) = &create.partition_of
            && let Some(parent) = self.materialize(&of.parent)
        {
            self.link(parent, oid, Some(of));
        }
        for column in &create.columns {
            self.add_column(oid, column);
        }
        for constraint in &create.constraints {
            self.add_constraint(oid, constraint);
        }
    }

    /// Adds columns that aren't there yet.
    pub(super) fn merge_columns(&mut self, oid: u32, columns: Vec<Column>, inherited: bool) {
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        for column in columns {
            let mut own = table.details.columns.iter_mut();
            match own.find(|own| own.name == column.name) {
                Some(own) => own.inherited |= inherited,
                None => table.details.columns.push(Column {
                    inherited,
                    ..column
                }),
            }
        }
    }

    /// Makes a table a child: columns and constraints come down, and to a partition indexes.
    fn link(&mut self, parent: u32, child: u32, of: Option<&PartitionOf>) {
        let is_default = of.is_some_and(|of| of.bound.kind == PartitionBoundKind::Default);
        self.add_child(Child {
            parent,
            child,
            is_partition: of.is_some(),
            is_default,
            detach_pending: false,
            constraint: None,
        });
        let Some(above) = self.by_oid(parent).cloned() else {
            return;
        };
        self.merge_columns(child, above.details.columns.clone(), true);
        for constraint in &above.details.constraints {
            let comes = matches!(
                constraint.kind,
                super::super::ConstraintKind::Check | super::super::ConstraintKind::NotNull
            ) || (of.is_some() && constraint.references.is_some());
            if let Some(table) = self.by_oid_mut(child)
                && comes
            {
                table.details.constraints.push(super::Constraint {
                    inherited: true,
                    ..constraint.clone()
                });
            }
        }
        if of.is_some() {
            for index in &above.indexes {
                self.index_of_partition(child, index);
            }
        }
    }

    /// The index that a partition gets for one of its parent's; what is there already is taken.
    pub fn index_of_partition(&mut self, partition: u32, parent: &Index) {
        let Some(table) = self.by_oid(partition).cloned() else {
            return;
        };
        let taken = &self.index_parents;
        let mut indexes = table.indexes.iter();
        let fitting = indexes.find(|own| {
            own.columns == parent.columns
                && !own.columns.is_empty()
                && own.unique == parent.unique
                && own.constraint == parent.constraint
                && own.method == parent.method
                && own.valid
                && !taken.contains_key(&own.oid)
        });
        if let Some(own) = fitting {
            self.index_parents.insert(own.oid, parent.oid);
            return;
        }
        let columns: Vec<&str> = parent
            .columns
            .iter()
            .map(|name| name.as_deref().unwrap_or("expr"))
            .collect();
        let name = if parent.primary {
            self.choose_name(&table, "", "pkey")
        } else if parent.constraint {
            self.choose_name(&table, &columns.join("_"), "key")
        } else {
            self.choose_name(&table, &columns.join("_"), "idx")
        };
        let oid = self.new_oid();
        let index = Index {
            oid,
            schema: table.schema.clone(),
            name,
            valid: true,
            ..parent.clone()
        };
        self.index_parents.insert(oid, parent.oid);
        self.put_index(partition, index);
    }

    /// Adds an index to a table and, to a partitioned table's partitions, its like.
    fn put_index(&mut self, table: u32, index: Index) {
        let oid = index.oid;
        let Some(relation) = self.by_oid_mut(table) else {
            return;
        };
        let is_partitioned = relation.kind == RelationKind::PartitionedTable;
        relation.indexes.push(index.clone());
        if is_partitioned {
            self.partitioned_indexes.insert(oid);
            for child in self.children_of(table) {
                self.index_of_partition(child, &index);
            }
        }
    }

    fn create_index(&mut self, create: &CreateIndex) {
        let Some(oid) = self.materialize(&create.table) else {
            return;
        };
        let Some(table) = self.by_oid(oid).cloned() else {
            return;
        };
        let name = match &create.name {
            Some(name) => name.clone(),
            None => {
                let part = |column: &Option<String>| column.clone().unwrap_or("expr".to_owned());
                let columns: Vec<String> = create.columns.iter().map(part).collect();
                self.choose_name(&table, &columns.join("_"), "idx")
            }
        };
        if self.index(&Name::qualified(&table.schema, &name)).is_some() {
            return;
        }
        let is_column = |column: &&String| {
            !create.has_expressions || table.details.column(column.as_str()).is_some()
        };
        let key = |column: &Option<String>| column.as_ref().filter(is_column).cloned();
        let index = Index {
            unique: create.unique,
            method: create.method.clone(),
            columns: create.columns.iter().map(key).collect(),
            partial: create.has_expressions && create.tail.to_lowercase().contains(" where "),
            definition: format!(
                "CREATE {}INDEX {} {}",
                if create.unique { "UNIQUE " } else { "" },
                quote_identifier(&name),
                create.tail
            ),
            ..new_index(self.new_oid(), &table.schema, &name)
        };
        if create.has_expressions {
            let columns = table.details.columns.iter().map(|column| &column.name);
            let used = columns.filter(|name| mentions(&create.tail, name));
            let user = ColumnUser {
                what: "index".to_owned(),
                name: name.clone(),
                columns: used.cloned().collect(),
            };
            if let Some(table) = self.by_oid_mut(oid) {
                table.details.column_users.push(user);
            }
        }
        self.gone.remove(&index.qualified());
        if create.only && table.kind == RelationKind::PartitionedTable {
            let valid = self.children_of(oid).is_empty();
            self.partitioned_indexes.insert(index.oid);
            if let Some(table) = self.by_oid_mut(oid) {
                table.indexes.push(Index { valid, ..index });
            }
        } else {
            self.put_index(oid, index);
        }
    }

    fn drop_objects(&mut self, drop: &DropObjects) {
        for name in &drop.names {
            match drop.kind {
                DropKind::Table
                | DropKind::ForeignTable
                | DropKind::View
                | DropKind::MaterializedView
                | DropKind::Sequence => match self.relation(name).map(|found| found.oid) {
                    Some(oid) => self.drop_relation(oid, drop.cascade),
                    None => self.forget(name),
                },
                DropKind::Schema => {
                    let inside = self.relations.iter().filter(|own| own.schema == name.name);
                    let inside: Vec<u32> = inside.map(|own| own.oid).collect();
                    if drop.cascade {
                        for oid in inside {
                            self.drop_relation(oid, true);
                        }
                    }
                }
                DropKind::Type | DropKind::Domain => {
                    let object = ObjectRequest {
                        kind: ObjectClass::Type,
                        name: name.clone(),
                    };
                    self.objects.retain(|(known, _)| *known != object);
                    self.types.retain(|(known, _)| known.name != name.name);
                }
                DropKind::Function => self.functions.retain(|(known, _)| known.name != name.name),
                DropKind::Extension | DropKind::Statistics | DropKind::Server | DropKind::Other => {
                }
            }
        }
    }

    /// Drops a relation with its partitions; with CASCADE children, views and foreign keys on it too.
    fn drop_relation(&mut self, oid: u32, cascade: bool) {
        let below = self.children.iter().filter(|child| child.parent == oid);
        let below: Vec<(u32, bool)> = below
            .map(|child| (child.child, child.is_partition))
            .collect();
        for (child, is_partition) in below {
            if is_partition || cascade {
                self.drop_relation(child, cascade);
            }
        }
        let views = self.views.iter().filter(|link| link.on == oid);
        let views: Vec<u32> = views.map(|link| link.view).collect();
        self.views.retain(|link| link.on != oid);
        if cascade {
            for view in views {
                self.drop_relation(view, true);
            }
            for table in &mut self.relations {
                table.details.constraints.retain(|constraint| {
                    let refers = constraint.references.as_ref();
                    refers.is_none_or(|member| member.oid != oid)
                });
            }
        }
        let mut owned = Vec::new();
        if let Some(at) = self.relations.iter().position(|own| own.oid == oid) {
            let dropped = self.relations.remove(at);
            self.gone.insert(dropped.qualified());
            self.gone
                .extend(dropped.indexes.iter().map(Index::qualified));
            owned = dropped.details.sequences;
        }
        self.children
            .retain(|child| child.parent != oid && child.child != oid);
        self.views.retain(|link| link.view != oid && link.on != oid);
        for sequence in owned {
            if let Some(sequence) = self.relation(&sequence).map(|found| found.oid) {
                self.drop_relation(sequence, cascade);
            }
        }
    }

    fn rename(&mut self, rename: &Rename) {
        let Some(name) = &rename.relation else {
            return;
        };
        if let Some((table, index)) = self.index(name) {
            let (table, old) = (table.oid, index.name.clone());
            if matches!(rename.target, RenameTarget::Relation(_)) {
                self.rename_index(table, &old, &rename.new_name);
            }
            return;
        }
        let Some(oid) = self.materialize(name) else {
            return;
        };
        match &rename.target {
            RenameTarget::Relation(_) => {
                if let Some(relation) = self.by_oid_mut(oid) {
                    let old = relation.qualified();
                    relation.name.clone_from(&rename.new_name);
                    let new = relation.qualified();
                    self.gone.remove(&new);
                    self.gone.insert(old);
                }
            }
            RenameTarget::Column(column) => self.rename_column(oid, column, &rename.new_name),
            RenameTarget::Constraint(constraint) => {
                self.rename_constraint(oid, constraint, &rename.new_name);
            }
            RenameTarget::OnTable | RenameTarget::Schema | RenameTarget::Other => {}
        }
    }

    /// Renames an index, and the constraint that it stands behind.
    fn rename_index(&mut self, table: u32, old: &str, new: &str) {
        let Some(table) = self.by_oid_mut(table) else {
            return;
        };
        for index in table.indexes.iter_mut().filter(|index| index.name == old) {
            new.clone_into(&mut index.name);
        }
        for constraint in &mut table.details.constraints {
            if constraint.index.as_deref() == Some(old) && constraint.references.is_none() {
                new.clone_into(&mut constraint.name);
                constraint.index = Some(new.to_owned());
            }
        }
    }

    fn rename_column(&mut self, oid: u32, old: &str, new: &str) {
        let swap = |name: &mut String| {
            if name == old {
                new.clone_into(name);
            }
        };
        if let Some(table) = self.by_oid_mut(oid) {
            let details = &mut table.details;
            details
                .columns
                .iter_mut()
                .for_each(|column| swap(&mut column.name));
            let constraints = details.constraints.iter_mut();
            constraints.flat_map(|own| &mut own.columns).for_each(swap);
            let users = details.column_users.iter_mut();
            users.flat_map(|user| &mut user.columns).for_each(swap);
            let indexes = table.indexes.iter_mut();
            indexes
                .flat_map(|index| &mut index.columns)
                .flatten()
                .for_each(swap);
        }
        let views = self.views.iter_mut().filter(|link| link.on == oid);
        views.flat_map(|link| &mut link.columns).for_each(swap);
        for child in self.children_of(oid) {
            self.rename_column(child, old, new);
        }
    }

    fn rename_constraint(&mut self, oid: u32, old: &str, new: &str) {
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        let mut constraints = table.details.constraints.iter_mut();
        let Some(constraint) = constraints.find(|constraint| constraint.name == old) else {
            return;
        };
        new.clone_into(&mut constraint.name);
        if constraint.references.is_none() && constraint.index.is_some() {
            constraint.index = Some(new.to_owned());
            for index in table.indexes.iter_mut().filter(|index| index.name == old) {
                new.clone_into(&mut index.name);
            }
        }
        for child in self.children_of(oid) {
            self.rename_constraint(child, old, new);
        }
    }

    fn set_schema(&mut self, names: &[Name], schema: &str) {
        for name in names {
            if self.materialize(name).is_none() {
                continue;
            }
            let Some(relation) = self.relation_mut(name) else {
                continue;
            };
            let old = relation.qualified();
            schema.clone_into(&mut relation.schema);
            for index in &mut relation.indexes {
                if Some(&index.schema) == old.schema.as_ref() {
                    schema.clone_into(&mut index.schema);
                }
            }
            let new = relation.qualified();
            self.gone.remove(&new);
            self.gone.insert(old);
        }
    }

    fn each_named(&mut self, other: &OtherDdl, change: impl Fn(&mut Relation)) {
        for name in &other.relations {
            if let Some(relation) = self.relation_mut(name) {
                change(relation);
            }
        }
    }

    fn other(&mut self, other: &OtherDdl) {
        if let Some(name) = &other.creates {
            self.create_other(other, name);
        }
        match &other.kind {
            OtherKind::RefreshMaterializedView { without_data, .. } => {
                self.each_named(other, |view| view.details.populated = !without_data);
            }
            OtherKind::SetSchema { schema } => self.set_schema(&other.relations, schema),
            OtherKind::AlterDomain {
                domain,
                change: DomainChange::Constrain | DomainChange::ConstrainNotValid,
            } => {
                for (name, of_type) in &mut self.types {
                    of_type.constrained |= name.name == domain.name;
                }
            }
            OtherKind::ReplaceFunction { name } => {
                let name = self.at_home(name);
                self.replaced.insert(name);
            }
            OtherKind::Policy if other.tag == "CREATE POLICY" => {
                self.each_named(other, |table| table.details.has_policies = true);
            }
            OtherKind::CreateSchema(elements) => {
                for element in elements {
                    self.apply(element);
                }
            }
            OtherKind::CreateTrigger
            | OtherKind::DropTrigger
            | OtherKind::Rule
            | OtherKind::Policy
            | OtherKind::CreateView
            | OtherKind::ReplaceView
            | OtherKind::CreateTableAs
            | OtherKind::CreateSequence
            | OtherKind::AlterSequence
            | OtherKind::Truncate { .. }
            | OtherKind::LockTable { .. }
            | OtherKind::Cluster
            | OtherKind::VacuumFull
            | OtherKind::ReindexMany { .. }
            | OtherKind::AlterObject
            | OtherKind::MoveAll { .. }
            | OtherKind::ExtensionMember
            | OtherKind::Vacuum
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
            | OtherKind::Harmless => {}
        }
    }

    /// What `CREATE VIEW`, `MATERIALIZED VIEW`, `TABLE AS`, `SEQUENCE`, `TYPE` and `DOMAIN` make.
    fn create_other(&mut self, other: &OtherDdl, name: &Name) {
        let kind = match other.tag {
            "CREATE TYPE" | "CREATE DOMAIN" => {
                let oid = self.new_oid();
                self.new_oid(); // its array type
                let of_type = Type {
                    oid,
                    modifier: -1,
                    name: name.name.clone(),
                    base: None,
                    // What a domain demands isn't known here.
                    constrained: other.tag == "CREATE DOMAIN",
                    coercible_from: Vec::new(),
                    collation: 0,
                    ..Type::default()
                };
                return self.add_type(name.clone(), of_type);
            }
            "CREATE VIEW" => RelationKind::View,
            "CREATE MATERIALIZED VIEW" => RelationKind::MaterializedView,
            "CREATE SEQUENCE" => RelationKind::Sequence,
            _ => RelationKind::Table,
        };
        if self.relation(name).is_none() {
            let mut relation = made_here(&self.at_home(name), kind);
            relation.details.populated = kind == RelationKind::MaterializedView;
            self.add(relation);
        }
    }

    /// A column as the catalog has it.
    pub(super) fn column(&self, definition: &ColumnDefinition) -> Column {
        let wanted = &definition.type_name;
        let sql = wanted.serial.unwrap_or(&wanted.sql);
        let of_type = self.type_of(sql).unwrap_or_else(|| Type {
            oid: 0,
            modifier: -1,
            name: sql.to_owned(),
            base: None,
            constrained: false,
            coercible_from: Vec::new(),
            collation: 0,
            ..Type::default()
        });
        let generated = definition.generated.as_ref();
        let default = generated.map(|generated| &generated.expression);
        let default = default.or(definition.default.as_ref());
        Column {
            name: definition.name.clone(),
            type_sql: sql_of(&of_type),
            collation: of_type.collation,
            collation_name: None,
            of_type,
            not_null: false,
            default: default.map(|expression| expression.sql.clone()),
            identity: definition.identity.is_some(),
            generated: generated.is_some(),
            inherited: false,
        }
    }
}

/// An empty relation that a statement made.
fn made_here(name: &Name, kind: RelationKind) -> Relation {
    Relation {
        kind,
        created_here: true,
        bytes: 0,
        rows: 0,
        assumed: false,
        details: Details {
            access_method: (kind == RelationKind::Table).then(|| "heap".to_owned()),
            ..Details::default()
        },
        ..super::super::assumed(name)
    }
}
