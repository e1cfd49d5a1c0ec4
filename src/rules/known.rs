//! Facts by the names under which they were asked for.

use super::Policy;
use crate::catalog::{
    FactRequest, Facts, Member, Relation, RelationKind, Type, Volatility, human_bytes,
};
use crate::plan::effects::Effects;
use crate::sql::alter_table::{ColumnDefinition, Expression};
use crate::sql::name::Name;

/// A request and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    request: &'a FactRequest,
    pub(super) facts: &'a Facts,
    pub(super) policy: &'a Policy,
}

impl<'a> Known<'a> {
    pub(super) fn new(request: &'a FactRequest, facts: &'a Facts, policy: &'a Policy) -> Known<'a> {
        Known {
            request,
            facts,
            policy,
        }
    }

    /// The server's version, such as 150018; the newest that is known when it isn't.
    pub(super) fn version(self) -> u32 {
        match self.facts.session.version {
            0 => 180_000,
            version => version,
        }
    }

    /// A relation by its name as written.
    pub(super) fn relation(self, name: &Name) -> Option<&'a Relation> {
        let at = self
            .request
            .relations
            .iter()
            .position(|asked| asked == name)?;
        self.facts.relations.get(at)?.as_ref()
    }

    /// Whether every relation that was asked for is there; what isn't, the server refuses.
    pub(super) fn has_all(self) -> bool {
        self.request
            .relations
            .iter()
            .all(|name| self.relation(name).is_some())
    }

    /// The name of a relation as the facts have it; as written where there are none.
    pub(super) fn qualified(self, name: &Name) -> Name {
        self.relation(name)
            .map_or_else(|| name.clone(), Relation::qualified)
    }

    /// Bytes of a table, or of what a facts' relation names; the most when they aren't known.
    pub(super) fn bytes(self, name: &Name) -> u64 {
        let listed = self.facts.objects.iter().flatten();
        let listed = listed.map(|relation| (relation.qualified(), relation.bytes));
        let sizes = self.facts.relations.iter().flatten().flat_map(|relation| {
            let details = &relation.details;
            let own = (relation.qualified(), size_of(relation));
            let members = details
                .descendants
                .iter()
                .chain(&details.default_partition)
                .chain(&details.parent_default)
                .chain(details.constraints.iter().flat_map(|one| &one.references))
                .chain(details.referenced_by.iter().map(|key| &key.table));
            let table = relation
                .table
                .iter()
                .map(|table| (table.qualified(), table.bytes));
            [own]
                .into_iter()
                .chain(members.map(|member| (member.qualified(), member.bytes)))
                .chain(table)
        });
        sizes
            .chain(listed)
            .find(|(found, _)| found == name)
            .map_or(u64::MAX, |(_, bytes)| bytes)
    }

    /// A name with its size, for people.
    pub(super) fn with_size(self, name: &Name) -> String {
        match self.bytes(name) {
            u64::MAX => format!("{name} (of unknown size)"),
            bytes => format!("{name} ({})", human_bytes(bytes)),
        }
    }

    /// Whether a relation counts as small.
    pub(super) fn is_small(self, relation: &Relation) -> bool {
        size_of(relation) <= self.policy.small_table_bytes
    }

    /// Takes out of effects what concerns nobody else: relations made by this very transaction,
    /// temporary ones, and TOAST, which goes with its table.
    pub(super) fn forget_own(self, effects: &mut Effects) {
        let own = |relation: &&Relation| relation.created_here || relation.temporary;
        for relation in self.facts.relations.iter().flatten().filter(own) {
            let name = relation.qualified();
            effects.rewrites.remove(&name);
            effects.scans.remove(&name);
            effects.builds.remove(&name);
            effects.locks.remove(&name);
            for index in &relation.indexes {
                effects.locks.remove(&index.qualified());
            }
        }
        let is_toast = |name: &Name| name.schema.as_deref() == Some("pg_toast");
        effects.locks.retain(|name, _| !is_toast(name));
    }

    /// A type by its SQL as written.
    pub(super) fn type_of(self, sql: &str) -> Option<&'a Type> {
        let at = self.request.types.iter().position(|asked| asked == sql)?;
        self.facts.types.get(at)?.as_ref()
    }

    /// The most volatile of an expression's functions; what isn't known counts as volatile.
    pub(super) fn volatility(self, expression: &Expression) -> Volatility {
        let of = |name: &Name| {
            let at = self
                .request
                .functions
                .iter()
                .position(|asked| asked == name);
            at.and_then(|at| *self.facts.functions.get(at)?)
                .unwrap_or(Volatility::Volatile)
        };
        let called = expression.functions.iter().map(of).max();
        let hidden = expression.user_code.then_some(Volatility::Volatile);
        called.max(hidden).unwrap_or(Volatility::Immutable)
    }

    /// Whether a column of a new type or with such a default is written into every row.
    pub(super) fn fills_rows(self, column: &ColumnDefinition) -> bool {
        let is_stored = column
            .generated
            .as_ref()
            .is_some_and(|generated| generated.stored);
        let is_volatile = column
            .default
            .as_ref()
            .is_some_and(|default| self.volatility(default) == Volatility::Volatile);
        column.type_name.serial.is_some()
            || column.identity.is_some()
            || is_stored
            || is_volatile
            || self.is_constrained(column)
            || self.has_calling_default(column)
    }

    /// Whether a column without a default of its own has its domain's, and that calls a function.
    pub(super) fn has_calling_default(self, column: &ColumnDefinition) -> bool {
        column.default.is_none()
            && self
                .type_of(&column.type_name.sql)
                .is_some_and(|of_type| of_type.default_calls)
    }

    /// Whether a column's type is a domain with constraints.
    pub(super) fn is_constrained(self, column: &ColumnDefinition) -> bool {
        self.type_of(&column.type_name.sql)
            .is_some_and(|of_type| of_type.constrained)
    }
}

/// Bytes of a relation, partitions summed; the most when that is assumed.
fn size_of(relation: &Relation) -> u64 {
    if relation.assumed {
        u64::MAX
    } else {
        relation.bytes
    }
}

/// The table and its partitions and children, or with ONLY itself alone.
pub(super) fn family(relation: &Relation, only: bool) -> Vec<Member> {
    let mut members = vec![itself(relation)];
    if !only {
        members.extend(relation.details.descendants.iter().cloned());
    }
    members
}

/// A relation as a member of its own tree.
pub(super) fn itself(relation: &Relation) -> Member {
    Member {
        oid: relation.oid,
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        kind: relation.kind,
        bytes: relation.bytes,
        indexes: relation
            .indexes
            .iter()
            .filter(|index| index.schema == relation.schema)
            .map(|index| index.name.clone())
            .collect(),
        table: None,
        index_definitions: Vec::new(),
        partition_constraint: None,
        constraints: Vec::new(),
        columns: Vec::new(),
        not_null: Vec::new(),
        key: relation.details.key.clone(),
    }
}

/// Those of a tree's members that hold rows.
pub(super) fn leaves(members: &[Member]) -> impl Iterator<Item = &Member> {
    members
        .iter()
        .filter(|member| member.is_leaf() && member.kind != RelationKind::ForeignTable)
}
