//! What an answer says of a relation that follows from the others.

use std::collections::BTreeSet;

use super::super::{
    ColumnUser, Constraint, DependentRelation, ForeignKey, Index, Member, ObjectClass,
    ObjectRequest, Relation, RelationKind, ViewOf,
};
use super::{Child, Shadow};
use crate::sql::name::{Name, mentions};

impl Shadow {
    /// Its own bytes, and those of its partitions.
    pub(super) fn bytes(&self, relation: &Relation) -> u64 {
        if relation.kind != RelationKind::PartitionedTable {
            return relation.bytes;
        }
        let below = self.descendants(relation.oid);
        let below = below.iter().filter_map(|oid| self.by_oid(*oid));
        below.map(|child| child.bytes).sum::<u64>() + relation.bytes
    }

    /// OIDs of partitions and children of every level: level by level, by OID.
    pub(super) fn descendants(&self, oid: u32) -> Vec<u32> {
        let (mut all, mut level) = (Vec::new(), vec![oid]);
        while !level.is_empty() {
            let is_below = |child: &&Child| level.contains(&child.parent);
            let below = self.children.iter().filter(is_below);
            let mut next: Vec<u32> = below.map(|child| child.child).collect();
            next.sort_unstable();
            next.dedup();
            next.retain(|oid| !all.contains(oid));
            all.extend(&next);
            level = next;
        }
        all
    }

    pub(super) fn member(&self, oid: u32) -> Option<Member> {
        let relation = self.by_oid(oid)?;
        let valid = relation.details.constraints.iter();
        let valid = valid.filter(|constraint| constraint.validated);
        let indexes = relation.indexes.iter();
        let indexes = indexes.filter(|index| index.schema != "pg_toast");
        let above = self.children.iter().find(|child| child.child == oid);
        let columns = relation.details.columns.iter();
        let columns = columns.filter(|column| column.not_null);
        Some(Member {
            oid,
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind: relation.kind,
            bytes: self.bytes(relation),
            table: None,
            index_definitions: indexes
                .clone()
                .filter(|index| index.valid)
                .map(|index| index.definition.clone())
                .collect(),
            indexes: indexes.map(|index| index.name.clone()).collect(),
            partition_constraint: above.and_then(|above| above.constraint.clone()),
            constraints: valid
                .map(|constraint| constraint.definition.clone())
                .collect(),
            columns: Vec::new(),
            not_null: columns.map(|column| column.name.clone()).collect(),
            key: key_of(relation),
        })
    }

    pub(super) fn members(&self, oids: impl IntoIterator<Item = u32>) -> Vec<Member> {
        oids.into_iter()
            .filter_map(|oid| self.member(oid))
            .collect()
    }

    pub(super) fn fill(&self, relation: &mut Relation) {
        let oid = relation.oid;
        let above: Vec<&Child> = self
            .children
            .iter()
            .filter(|child| child.child == oid)
            .collect();
        let below: Vec<&Child> = self
            .children
            .iter()
            .filter(|child| child.parent == oid)
            .collect();
        let partitioned = above
            .iter()
            .find(|child| child.is_partition)
            .map(|child| child.parent);
        relation.details.key = key_of(relation);
        let details = &mut relation.details;
        for constraint in &mut details.constraints {
            let referenced = constraint.references.as_mut();
            if let Some(references) = referenced
                && let Some(now) = self.member(references.oid)
            {
                *references = now;
            }
        }
        details.descendants = self.members(self.descendants(oid));
        details.parents = self.members(above.iter().map(|child| child.parent));
        details.is_partition = partitioned.is_some();
        if let Some(key) = &details.partition_key {
            let names = details.columns.iter().map(|column| &column.name);
            let names = names.filter(|name| mentions(key, name));
            details.partition_columns = names.cloned().collect();
        }
        details.default_partition = self.default_of(oid);
        details.parent_default = partitioned.and_then(|parent| self.default_of(parent));
        let pending = below.iter().filter(|child| child.detach_pending);
        details.detach_pending = self.members(pending.map(|child| child.child));
        details.referenced_by = self.referenced_by(oid);
        details.views = self.views_on(oid);
        let generated = details.columns.iter().filter(|column| column.generated);
        let names: Vec<String> = details
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let users: Vec<ColumnUser> = generated
            .filter_map(|column| {
                let text = column.default.as_deref()?;
                let columns = names.iter().filter(|name| mentions(text, name));
                Some(ColumnUser {
                    what: "generated".to_owned(),
                    name: column.name.clone(),
                    columns: columns.cloned().collect(),
                })
            })
            .filter(|user| !details.column_users.contains(user))
            .collect();
        details.column_users.extend(users);
    }

    pub(super) fn default_of(&self, parent: u32) -> Option<Member> {
        let mut children = self.children.iter();
        let default = children.find(|child| child.parent == parent && child.is_default)?;
        self.member(default.child)
    }

    pub(super) fn referenced_by(&self, oid: u32) -> Vec<ForeignKey> {
        let mut keys = Vec::new();
        for table in self.relations.iter().filter(|table| table.oid != oid) {
            for constraint in &table.details.constraints {
                let refers = |references: &Member| references.oid == oid;
                if constraint.references.as_ref().is_some_and(refers)
                    && let Some(member) = self.member(table.oid)
                {
                    keys.push(ForeignKey {
                        name: constraint.name.clone(),
                        table: member,
                        columns: constraint.columns.clone(),
                        referenced_columns: referenced_columns(constraint),
                        index: constraint.index.clone(),
                        is_share: constraint.inherited,
                    });
                }
            }
        }
        keys
    }

    /// Views of every level.
    pub(super) fn views_on(&self, oid: u32) -> Vec<ViewOf> {
        let (mut seen, mut found) = (vec![oid], Vec::new());
        let mut at = 0;
        while let Some(below) = seen.get(at).copied() {
            at += 1;
            for link in self.views.iter().filter(|link| link.on == below) {
                if seen.contains(&link.view) {
                    continue;
                }
                seen.push(link.view);
                if let Some(view) = self.by_oid(link.view) {
                    found.push(ViewOf {
                        schema: view.schema.clone(),
                        name: view.name.clone(),
                        kind: view.kind,
                        columns: if below == oid {
                            link.columns.clone()
                        } else {
                            Vec::new()
                        },
                    });
                }
            }
        }
        found
    }

    pub(super) fn dependents(&self, object: &ObjectRequest) -> Vec<DependentRelation> {
        let declared = self.objects.iter().find(|(known, _)| known == object);
        if let Some((_, dependents)) = declared {
            return dependents.clone();
        }
        let named = self.relation(&object.name).map(|relation| relation.oid);
        let (reached, read) = match (object.kind, named) {
            (ObjectClass::Referring, Some(oid)) => (self.referring(oid), Vec::new()),
            (ObjectClass::Behind, Some(oid)) => (Vec::new(), self.behind(oid)),
            _ => (Vec::new(), Vec::new()),
        };
        let depends = |relation: &&Relation| match object.kind {
            ObjectClass::Schema => relation.schema == object.name.name,
            ObjectClass::Type => self.uses_type(relation, &object.name),
            ObjectClass::Referring => reached.contains(&relation.oid),
            ObjectClass::Behind => read.contains(&relation.oid),
            ObjectClass::Tables => {
                let name = &object.name.name;
                matches!(
                    relation.kind,
                    RelationKind::Table | RelationKind::MaterializedView
                ) && (name.is_empty() || relation.schema == *name)
            }
            ObjectClass::Function
            | ObjectClass::Extension
            | ObjectClass::Statistics
            | ObjectClass::Role
            | ObjectClass::Relation
            | ObjectClass::Server
            | ObjectClass::Publication
            | ObjectClass::Tablespace
            | ObjectClass::Stored
            | ObjectClass::Clustered => false,
        };
        let found = self.relations.iter().filter(depends);
        let dependent = |relation: &Relation| DependentRelation {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind: relation.kind,
            bytes: self.bytes(relation),
            indexes: relation
                .indexes
                .iter()
                .map(|index| index.name.clone())
                .collect(),
        };
        found.map(dependent).collect()
    }

    /// A table, what refers to it, what refers to that, and the descendants of it all.
    pub(super) fn referring(&self, oid: u32) -> Vec<u32> {
        closure(oid, |now| {
            let keys = self.referenced_by(now).into_iter().map(|key| key.table.oid);
            keys.chain(self.descendants(now)).collect()
        })
    }

    /// A view, what it reads, and the descendants of it all.
    pub(super) fn behind(&self, oid: u32) -> Vec<u32> {
        closure(oid, |now| {
            let links = self.views.iter().filter(|link| link.view == now);
            let read = links.map(|link| link.on);
            read.chain(self.descendants(now)).collect()
        })
    }

    pub(super) fn uses_type(&self, relation: &Relation, name: &Name) -> bool {
        let Some(of_type) = self.type_of(&name.to_string()) else {
            return false;
        };
        let mut columns = relation.details.columns.iter();
        columns.any(|column| {
            let own = &column.of_type;
            own.name == of_type.name && (own.oid == of_type.oid || own.oid == of_type.oid + 1)
        })
    }

    /// Those of the names that constraints of a schema's tables have.
    pub(super) fn constraints_of(&self, schema: &str, names: &[String]) -> BTreeSet<&String> {
        let wanted: BTreeSet<&String> = names.iter().collect();
        let here = self
            .relations
            .iter()
            .filter(|relation| relation.schema == schema);
        here.flat_map(|relation| &relation.details.constraints)
            .map(|constraint| &constraint.name)
            .filter(|name| wanted.contains(name))
            .collect()
    }
}

/// The columns of the key by which a table's rows can be gone through in order, as far as is known
/// here.
fn key_of(relation: &Relation) -> Vec<String> {
    let is_not_null = |name: &String| {
        let column = relation.details.column(name);
        column.is_some_and(|column| column.not_null)
    };
    let is_deferrable = |index: &Index| {
        let mut constraints = relation.details.constraints.iter();
        constraints.any(|constraint| {
            constraint.index.as_ref() == Some(&index.name)
                && constraint.definition.contains(" DEFERRABLE")
                && !constraint.definition.contains(" NOT DEFERRABLE")
        })
    };
    let columns = |index: &Index| {
        index
            .columns
            .iter()
            .cloned()
            .collect::<Option<Vec<String>>>()
    };
    let is_odd = |index: &Index| {
        index.exclusion
            || index.partial
            || index.definition.contains(" DESC")
            || is_deferrable(index)
    };
    let keys = relation.indexes.iter().filter(|index| {
        let is_plain = index.valid && index.unique && index.method == "btree" && !is_odd(index);
        is_plain && index.schema != "pg_toast"
    });
    let keys = keys.filter_map(|index| Some((!index.primary, columns(index)?)));
    let keys = keys.filter(|(_, columns)| !columns.is_empty() && columns.iter().all(is_not_null));
    let first = keys.min_by_key(|(is_other, columns)| (*is_other, columns.len()));
    first.map(|(_, columns)| columns).unwrap_or_default()
}

/// What can be reached, each once, in the order in which it is met.
fn closure(from: u32, next: impl Fn(u32) -> Vec<u32>) -> Vec<u32> {
    let mut all = vec![from];
    let mut at = 0;
    while let Some(now) = all.get(at).copied() {
        at += 1;
        for oid in next(now) {
            if !all.contains(&oid) {
                all.push(oid);
            }
        }
    }
    all
}

/// The referenced columns of a foreign key, from its definition.
fn referenced_columns(constraint: &Constraint) -> Vec<String> {
    let behind = constraint.definition.split_once(" REFERENCES ");
    let list = behind.and_then(|(_, rest)| Some(rest.split_once('(')?.1.split_once(')')?.0));
    let list = list.unwrap_or_default().split(',').map(str::trim);
    list.filter(|column| !column.is_empty())
        .map(|column| column.trim_matches('"').to_owned())
        .collect()
}
