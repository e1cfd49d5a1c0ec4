//! Constraints and the indexes behind them, under the names that PostgreSQL gives.

use super::super::{Column, Constraint, ConstraintKind, Index, Relation, RelationKind};
use super::{Shadow, new_index};
use crate::sql::alter_table::{ConstraintDefinition, ConstraintDefinitionKind};
use crate::sql::name::{Name, make_object_name, quote_identifier};

impl Shadow {
    /// A name that nothing has yet: `ChooseRelationName` and `ChooseConstraintName` of
    /// `src/backend/commands/indexcmds.c` and `src/backend/catalog/pg_constraint.c`.
    pub(super) fn choose_name(&self, table: &Relation, columns: &str, label: &str) -> String {
        let schema = table.schema.as_str();
        let mut label_now = label.to_owned();
        let mut pass = 0_u32;
        loop {
            let name = make_object_name(&table.name, columns, &label_now);
            let qualified = Name::qualified(schema, &name);
            let free = self.relation(&qualified).is_none()
                && self.index(&qualified).is_none()
                && self
                    .constraints_of(schema, std::slice::from_ref(&name))
                    .is_empty();
            if free {
                return name;
            }
            pass += 1;
            label_now = format!("{label}{pass}");
        }
    }

    /// `ADD CONSTRAINT`, on children too.
    pub(super) fn add_constraint(&mut self, oid: u32, wanted: &ConstraintDefinition) {
        let Some(table) = self.by_oid(oid).cloned() else {
            return;
        };
        let name = match &wanted.name {
            Some(name) => name.clone(),
            None => self.constraint_name(&table, &wanted.kind),
        };
        let exists = table.details.constraint(&name).is_some();
        if exists {
            return;
        }
        self.add_named(oid, &name, wanted, false);
    }

    fn constraint_name(&self, table: &Relation, kind: &ConstraintDefinitionKind) -> String {
        match kind {
            ConstraintDefinitionKind::Check { expression, .. } => {
                let column = match expression.columns.as_slice() {
                    [column] => column.as_str(),
                    _ => "",
                };
                self.choose_name(table, column, "check")
            }
            ConstraintDefinitionKind::NotNull { column } => {
                self.choose_name(table, column, "not_null")
            }
            ConstraintDefinitionKind::Unique { primary: true, .. } => {
                self.choose_name(table, "", "pkey")
            }
            ConstraintDefinitionKind::Unique {
                columns, include, ..
            } => self.choose_name(table, &[&columns[..], include].concat().join("_"), "key"),
            ConstraintDefinitionKind::UsingIndex { index, .. } => index.clone(),
            ConstraintDefinitionKind::Exclude => self.choose_name(table, "", "excl"),
            ConstraintDefinitionKind::ForeignKey { columns, .. } => {
                self.choose_name(table, &columns.join("_"), "fkey")
            }
        }
    }

    fn add_named(&mut self, oid: u32, name: &str, wanted: &ConstraintDefinition, inherited: bool) {
        let mut constraint = Constraint {
            name: name.to_owned(),
            kind: ConstraintKind::Other,
            validated: !wanted.not_valid && !wanted.not_enforced,
            columns: Vec::new(),
            definition: wanted.body.clone(),
            expression: None,
            index: None,
            references: None,
            inherited,
        };
        if wanted.not_valid {
            constraint.definition.push_str(" NOT VALID");
        }
        match &wanted.kind {
            ConstraintDefinitionKind::Check { expression, .. } => {
                constraint.kind = ConstraintKind::Check;
                constraint.columns.clone_from(&expression.columns);
                constraint.expression = Some(format!("({})", expression.sql));
            }
            ConstraintDefinitionKind::NotNull { column } => {
                constraint.kind = ConstraintKind::NotNull;
                constraint.columns = vec![column.clone()];
                if constraint.validated {
                    self.set_not_null(oid, column, true);
                }
            }
            ConstraintDefinitionKind::Unique {
                primary, columns, ..
            } => {
                constraint.columns.clone_from(columns);
                self.behind_constraint(oid, &mut constraint, *primary);
            }
            ConstraintDefinitionKind::UsingIndex { primary, index } => {
                self.use_index(oid, &mut constraint, *primary, index);
            }
            ConstraintDefinitionKind::Exclude => {
                constraint.kind = ConstraintKind::Exclude;
                self.behind_constraint(oid, &mut constraint, false);
            }
            ConstraintDefinitionKind::ForeignKey {
                columns,
                referenced,
                ..
            } => {
                constraint.kind = ConstraintKind::ForeignKey;
                constraint.columns.clone_from(columns);
                let target = self.materialize(referenced);
                constraint.references = target.and_then(|oid| self.member(oid));
                let indexes = target.and_then(|oid| self.by_oid(oid));
                constraint.index = indexes.and_then(|table| {
                    let key = table.indexes.iter().find(|index| index.primary);
                    key.map(|index| index.name.clone())
                });
            }
        }
        if let Some(table) = self.by_oid_mut(oid) {
            table.details.constraints.push(constraint);
        }
        if goes_to_children(&wanted.kind) {
            for child in self.children_of(oid) {
                self.inherit(child, name, wanted);
            }
        }
    }

    /// A constraint of its parent comes to a child; one of that name there is merged with it.
    fn inherit(&mut self, child: u32, name: &str, wanted: &ConstraintDefinition) {
        let Some(table) = self.by_oid_mut(child) else {
            return;
        };
        let mut constraints = table.details.constraints.iter_mut();
        if let Some(own) = constraints.find(|constraint| constraint.name == name) {
            own.inherited = true;
            return;
        }
        let table = table.clone();
        let is_named_anew = matches!(
            wanted.kind,
            ConstraintDefinitionKind::Unique { .. } | ConstraintDefinitionKind::Exclude
        );
        let name = if is_named_anew {
            self.constraint_name(&table, &wanted.kind)
        } else {
            name.to_owned()
        };
        self.add_named(child, &name, wanted, true);
    }

    /// Builds the index of a constraint.
    fn behind_constraint(&mut self, oid: u32, constraint: &mut Constraint, primary: bool) {
        let exclusion = constraint.kind == ConstraintKind::Exclude;
        let index_oid = self.new_oid();
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        if !exclusion {
            constraint.kind = kind_of(primary);
        }
        constraint.index = Some(constraint.name.clone());
        let columns = constraint.columns.iter().cloned();
        let index = Index {
            constraint: true,
            exclusion,
            unique: !exclusion,
            primary,
            columns: columns.map(Some).collect(),
            definition: format!(
                "CREATE UNIQUE INDEX {} ON {} USING btree ({})",
                constraint.name,
                table.qualified(),
                constraint.columns.join(", ")
            ),
            ..new_index(index_oid, &table.schema, &constraint.name)
        };
        table.indexes.push(index);
        if table.kind == RelationKind::PartitionedTable {
            self.partitioned_indexes.insert(index_oid);
        }
        if primary {
            for column in constraint.columns.clone() {
                self.set_not_null(oid, &column, true);
            }
        }
    }

    /// `USING INDEX`: the index takes the constraint's name.
    fn use_index(&mut self, oid: u32, constraint: &mut Constraint, primary: bool, used: &str) {
        constraint.kind = kind_of(primary);
        constraint.index = Some(constraint.name.clone());
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        let mut indexes = table.indexes.iter_mut();
        let Some(index) = indexes.find(|index| index.name == used) else {
            return;
        };
        index.name.clone_from(&constraint.name);
        (index.constraint, index.unique, index.primary) = (true, true, primary);
        constraint.columns = index.columns.iter().flatten().cloned().collect();
        let quoted: Vec<String> = constraint
            .columns
            .iter()
            .map(|column| quote_identifier(column))
            .collect();
        let word = if primary { "PRIMARY KEY" } else { "UNIQUE" };
        constraint.definition = format!("{word} ({})", quoted.join(", "));
        if primary {
            for column in constraint.columns.clone() {
                self.set_not_null(oid, &column, true);
            }
        }
    }

    /// `SET NOT NULL` and `DROP NOT NULL` of one table; since PostgreSQL 18 it is a constraint.
    pub(super) fn set_not_null(&mut self, oid: u32, column: &str, not_null: bool) {
        let has_constraints = self.session.version >= 180_000;
        let Some(table) = self.by_oid(oid).cloned() else {
            return;
        };
        let name = self.choose_name(&table, column, "not_null");
        let Some(table) = self.by_oid_mut(oid) else {
            return;
        };
        let mut columns = table.details.columns.iter_mut();
        if let Some(found) = columns.find(|own| own.name == column) {
            found.not_null = not_null;
        }
        if !has_constraints {
            return;
        }
        let is_it = |constraint: &Constraint| {
            constraint.kind == ConstraintKind::NotNull
                && constraint.columns.iter().any(|own| own == column)
        };
        let constraints = &mut table.details.constraints;
        if !not_null {
            constraints.retain(|constraint| !is_it(constraint));
        } else if let Some(own) = constraints.iter_mut().find(|own| is_it(own)) {
            mark_valid(own);
        } else {
            constraints.push(Constraint {
                name,
                kind: ConstraintKind::NotNull,
                validated: true,
                columns: vec![column.to_owned()],
                definition: format!("NOT NULL {column}"),
                expression: None,
                index: None,
                references: None,
                inherited: false,
            });
        }
    }

    /// `VALIDATE CONSTRAINT`, on children too.
    pub(super) fn validate(&mut self, oid: u32, name: &str) {
        let mut not_null = None;
        if let Some(table) = self.by_oid_mut(oid) {
            let mut constraints = table.details.constraints.iter_mut();
            if let Some(constraint) = constraints.find(|constraint| constraint.name == name) {
                mark_valid(constraint);
                if constraint.kind == ConstraintKind::NotNull {
                    not_null = constraint.columns.first().cloned();
                }
            }
        }
        if let Some(column) = not_null {
            self.set_not_null(oid, &column, true);
        }
        for child in self.children_of(oid) {
            self.validate(child, name);
        }
    }

    /// `DROP CONSTRAINT`, with its index, and on children what they have inherited.
    pub(super) fn drop_constraint(&mut self, oid: u32, name: &str, cascade: bool) {
        let Some(table) = self.by_oid(oid) else {
            return;
        };
        let Some(constraint) = table.details.constraint(name).cloned() else {
            return;
        };
        let indexes = [
            ConstraintKind::PrimaryKey,
            ConstraintKind::Unique,
            ConstraintKind::Exclude,
        ];
        if indexes.contains(&constraint.kind)
            && let Some(index) = &constraint.index
        {
            if cascade {
                self.drop_keys_on(oid, index);
            }
            self.remove_index(oid, index);
        }
        if let Some(table) = self.by_oid_mut(oid) {
            let details = &mut table.details;
            details
                .constraints
                .retain(|constraint| constraint.name != name);
            if constraint.kind == ConstraintKind::NotNull {
                let is_it = |column: &&mut Column| constraint.columns.contains(&column.name);
                for column in details.columns.iter_mut().filter(is_it) {
                    column.not_null = false;
                }
            }
        }
        for child in self.children_of(oid) {
            let inherits = self
                .by_oid(child)
                .and_then(|table| table.details.constraint(name));
            if inherits.is_some_and(|own| own.inherited) {
                self.drop_constraint(child, name, cascade);
            }
        }
    }

    /// Foreign keys of any table that rest on an index of this one.
    fn drop_keys_on(&mut self, oid: u32, index: &str) {
        for table in &mut self.relations {
            table.details.constraints.retain(|constraint| {
                let refers = constraint.references.as_ref();
                let refers = refers.is_some_and(|member| member.oid == oid);
                !(refers && constraint.index.as_deref() == Some(index))
            });
        }
    }

    /// Removes an index and those attached to it.
    pub(super) fn remove_index(&mut self, table: u32, name: &str) {
        let Some(relation) = self.by_oid_mut(table) else {
            return;
        };
        let Some(at) = relation.indexes.iter().position(|index| index.name == name) else {
            return;
        };
        let index = relation.indexes.remove(at);
        self.gone.insert(index.qualified());
        let mut dropped = vec![index.oid];
        while let Some(parent) = dropped.pop() {
            let attached = self
                .index_parents
                .iter()
                .filter(|(_, above)| **above == parent);
            let attached: Vec<u32> = attached.map(|(index, _)| *index).collect();
            for table in &mut self.relations {
                table.indexes.retain(|index| !attached.contains(&index.oid));
            }
            dropped.extend(attached);
            self.index_parents
                .retain(|index, above| *index != parent && *above != parent);
        }
    }
}

fn kind_of(primary: bool) -> ConstraintKind {
    if primary {
        ConstraintKind::PrimaryKey
    } else {
        ConstraintKind::Unique
    }
}

fn mark_valid(constraint: &mut Constraint) {
    constraint.validated = true;
    if let Some(definition) = constraint.definition.strip_suffix(" NOT VALID") {
        constraint.definition = definition.to_owned();
    }
}

/// Children get `NO INHERIT` constraints not at all, and of keys only partitions get their own.
fn goes_to_children(kind: &ConstraintDefinitionKind) -> bool {
    match kind {
        ConstraintDefinitionKind::Check { no_inherit, .. } => !no_inherit,
        ConstraintDefinitionKind::NotNull { .. }
        | ConstraintDefinitionKind::Unique { .. }
        | ConstraintDefinitionKind::Exclude
        | ConstraintDefinitionKind::ForeignKey { .. } => true,
        ConstraintDefinitionKind::UsingIndex { .. } => false,
    }
}
