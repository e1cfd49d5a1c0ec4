//! A catalog in memory: it answers a request for facts as a server would whose search path is `public` or what a
//! script has set, and changes as a statement would change it. For statements without a server, and for tests.

mod alter;
mod apply;
mod constraints;
mod derived;
mod functions;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ASSUMED_BYTES, Constraint, DependentRelation, Depth, FactRequest, Facts, Index, IndexedTable,
    ObjectRequest, Relation, RelationKind, SessionFacts, Taken, Type, Volatility,
};
use crate::sql::name::Name;
use crate::sql::statement::{DropKind, ObjectKind, ReindexKind, RenameTarget, Statement};

pub use types::{built_in, sql_of};

/// The catalog.
#[derive(Debug, Clone)]
pub struct Shadow {
    /// All relations but indexes, which hang on their tables.
    relations: Vec<Relation>,
    /// Partitions and inheritance children.
    children: Vec<Child>,
    views: Vec<ViewLink>,
    /// OIDs of indexes and of the partitioned indexes that they are attached to.
    index_parents: BTreeMap<u32, u32>,
    partitioned_indexes: BTreeSet<u32>,
    types: Vec<(Name, Type)>,
    functions: Vec<(Name, Volatility)>,
    /// Functions that a script has made anew or altered.
    replaced: BTreeSet<Name>,
    objects: Vec<(ObjectRequest, Vec<DependentRelation>)>,
    session: SessionFacts,
    /// The open transaction holds locks that stop others.
    own_locks: bool,
    /// Schemas in which a name without one is looked for; it is made in the first.
    search_path: Vec<String>,
    assumes: bool,
    /// Names that were dropped or given away: nothing is assumed of them.
    gone: BTreeSet<Name>,
    next_oid: u32,
}

/// A partition of a table, or a table that inherits from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// OID of the table above.
    pub parent: u32,
    /// Its OID.
    pub child: u32,
    /// A partition.
    pub is_partition: bool,
    /// The default partition.
    pub is_default: bool,
    /// It is half detached.
    pub detach_pending: bool,
    /// What its bound demands.
    pub constraint: Option<String>,
}

/// A view and something it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewLink {
    /// OID of the view.
    pub view: u32,
    /// OID of what it reads.
    pub on: u32,
    /// The columns that it names.
    pub columns: Vec<String>,
}

impl Shadow {
    /// An empty catalog.
    pub fn new(session: SessionFacts) -> Shadow {
        Shadow {
            relations: Vec::new(),
            children: Vec::new(),
            views: Vec::new(),
            index_parents: BTreeMap::new(),
            partitioned_indexes: BTreeSet::new(),
            types: Vec::new(),
            functions: Vec::new(),
            replaced: BTreeSet::new(),
            objects: Vec::new(),
            session,
            own_locks: false,
            search_path: vec!["public".to_owned()],
            assumes: false,
            gone: BTreeSet::new(),
            next_oid: 16_384,
        }
    }

    /// A catalog that takes whatever it has never heard of for the worst: see
    /// [`assumed`](super::assumed).
    pub fn assuming(session: SessionFacts) -> Shadow {
        Shadow {
            assumes: true,
            ..Shadow::new(session)
        }
    }

    /// The session's settings, to be read.
    pub fn session(&self) -> &SessionFacts {
        &self.session
    }

    /// The session's settings.
    pub fn session_mut(&mut self) -> &mut SessionFacts {
        &mut self.session
    }

    /// Where names without a schema are looked for; `None` for what it was at first.
    pub fn set_search_path(&mut self, schemas: Option<Vec<String>>) {
        self.search_path = schemas.unwrap_or_else(|| vec!["public".to_owned()]);
    }

    /// A name with a schema: its own, or that in which it would be made.
    fn at_home(&self, name: &Name) -> Name {
        let home = || self.search_path.first().map_or("public", String::as_str);
        let schema = name.schema.as_deref().unwrap_or_else(home);
        Name::qualified(schema, &name.name)
    }

    /// Whether a name is that of something in a schema.
    fn is_named(&self, schema: &str, own: &str, name: &Name) -> bool {
        own == name.name && self.rank(name, schema).is_some()
    }

    /// How early a schema comes in the search of a name; `None` where it isn't looked into.
    fn rank(&self, name: &Name, schema: &str) -> Option<usize> {
        match &name.schema {
            Some(wanted) => (wanted == schema).then_some(0),
            None if schema == "pg_temp" => Some(0),
            None => {
                let at = self.search_path.iter().position(|own| own == schema);
                at.map(|at| at + 1)
            }
        }
    }

    /// Says whether the open transaction holds locks that stop others.
    pub fn set_own_locks(&mut self, held: bool) {
        self.own_locks = held;
    }

    /// A new OID.
    pub fn new_oid(&mut self) -> u32 {
        self.next_oid += 1;
        self.next_oid
    }

    /// Adds a relation and says its OID; one of 0 is replaced.
    pub fn add(&mut self, mut relation: Relation) -> u32 {
        if relation.oid == 0 {
            relation.oid = self.new_oid();
        }
        self.gone.remove(&relation.qualified());
        let oid = relation.oid;
        self.relations.push(relation);
        oid
    }

    /// Adds a partition or an inheritance child; one that is above its parent already the server
    /// refuses.
    pub fn add_child(&mut self, child: Child) {
        let is_above = self.descendants(child.child).contains(&child.parent);
        if is_above || child.child == child.parent {
            return;
        }
        self.children.push(child);
    }

    /// Adds what a view reads.
    pub fn add_view(&mut self, link: ViewLink) {
        self.views.push(link);
    }

    /// Whether a name was dropped, or given away.
    pub fn is_gone(&self, name: &Name) -> bool {
        self.gone.contains(name)
    }

    /// The volatility of a function that was replaced, of which nothing more is known.
    pub fn replaced(&self, name: &Name) -> Option<Volatility> {
        self.replaced
            .contains(&self.at_home(name))
            .then_some(Volatility::Volatile)
    }

    /// Says that a partition is half detached.
    pub fn half_detach(&mut self, partition: &Name) {
        let oid = self.relation(partition).map(|relation| relation.oid);
        for child in &mut self.children {
            child.detach_pending |= Some(child.child) == oid;
        }
    }

    /// Says that an index is a partitioned one.
    pub fn mark_partitioned(&mut self, index: u32) {
        self.partitioned_indexes.insert(index);
    }

    /// Says that an index is attached to another.
    pub fn attach_index(&mut self, index: u32, parent: u32) {
        self.index_parents.insert(index, parent);
    }

    /// Adds a type.
    pub fn add_type(&mut self, name: Name, of_type: Type) {
        self.types.push((name, of_type));
    }

    /// Adds a function.
    pub fn add_function(&mut self, name: Name, volatility: Volatility) {
        self.functions.push((name, volatility));
    }

    /// Adds what depends on an object.
    pub fn add_dependents(&mut self, object: ObjectRequest, dependents: Vec<DependentRelation>) {
        self.objects.push((object, dependents));
    }

    /// A relation that isn't an index, as it was added.
    pub fn relation(&self, name: &Name) -> Option<&Relation> {
        let found = self.relations.iter().filter(|own| own.name == name.name);
        let ranked = found.filter_map(|own| Some((self.rank(name, &own.schema)?, own)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, own)| own)
    }

    /// All relations but indexes, as they were added.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter()
    }

    /// A relation that isn't an index, to be changed.
    pub fn relation_mut(&mut self, name: &Name) -> Option<&mut Relation> {
        let oid = self.relation(name)?.oid;
        self.by_oid_mut(oid)
    }

    /// Answers as the server would.
    pub fn answer(&self, request: &FactRequest) -> Facts {
        self.answer_as(request, RelationKind::Table)
    }

    /// Answers what must be known of a statement; it says of what kind an unknown relation is.
    pub fn answer_about(&self, request: &FactRequest, statement: &Statement) -> Facts {
        self.answer_as(request, kind_meant(statement))
    }

    fn answer_as(&self, request: &FactRequest, unknown: RelationKind) -> Facts {
        let find = |name| {
            let mut relation = self.find(name).or_else(|| self.assume(name, unknown))?;
            match request.depth {
                Depth::Outline => relation.details = super::Details::default(),
                Depth::Structure => {
                    self.fill(&mut relation);
                    let details = &mut relation.details;
                    details.referenced_by.clear();
                    details.views.clear();
                    details.column_users.clear();
                }
                Depth::Full => self.fill(&mut relation),
            }
            Some(relation)
        };
        let relations: Vec<Option<Relation>> = request.relations.iter().map(find).collect();
        let first = relations.first().and_then(Option::as_ref);
        let schema = first.map(|first| first.schema.as_str());
        Facts {
            taken: first.map_or(Vec::new(), |first| self.taken(request, first)),
            taken_constraints: schema.map_or(Vec::new(), |schema| {
                let there = self.constraints_of(schema, &request.candidates);
                let taken = |name: &&String| there.contains(name);
                request.candidates.iter().filter(taken).cloned().collect()
            }),
            types: request.types.iter().map(|sql| self.type_of(sql)).collect(),
            functions: request
                .functions
                .iter()
                .map(|name| self.volatility(name))
                .collect(),
            objects: request
                .objects
                .iter()
                .map(|object| self.dependents(object))
                .collect(),
            session: self.session.clone(),
            own_locks: self.own_locks,
            assumed: self.assumes,
            relations,
        }
    }

    fn taken(&self, request: &FactRequest, first: &Relation) -> Vec<Taken> {
        let mut taken = Vec::new();
        // One look at everything: there may be many candidates, and many relations.
        if request.candidates.is_empty() {
            return taken;
        }
        let relations = self.relations.iter().flat_map(|relation| {
            let indexes = relation.indexes.iter().map(|index| &index.name);
            indexes.chain([&relation.name])
        });
        let wanted: BTreeSet<&String> = request.candidates.iter().collect();
        let there: BTreeSet<&String> = relations.filter(|name| wanted.contains(name)).collect();
        let is_there = |name: &&String| there.contains(name);
        for name in request.candidates.iter().filter(is_there) {
            if let Some(found) = self.find(&Name::qualified(&first.schema, name)) {
                let listed = first.indexes.iter().find(|index| index.oid == found.oid);
                taken.push(Taken {
                    name: found.name,
                    kind: found.kind,
                    index: listed.cloned(),
                });
            }
        }
        taken
    }

    /// A relation or an index.
    fn find(&self, name: &Name) -> Option<Relation> {
        if let Some(relation) = self.relation(name) {
            let mut relation = relation.clone();
            relation.bytes = self.bytes(&relation);
            return Some(relation);
        }
        let (table, index) = self.index(name)?;
        Some(self.index_relation(table, index))
    }

    /// An index and its table.
    fn index(&self, name: &Name) -> Option<(&Relation, &Index)> {
        self.relations.iter().find_map(|table| {
            let mut indexes = table.indexes.iter();
            let found = indexes.find(|index| self.is_named(&index.schema, &index.name, name));
            found.map(|index| (table, index))
        })
    }

    /// An index as a relation of its own: a server lists its table's indexes with it.
    fn index_relation(&self, table: &Relation, index: &Index) -> Relation {
        let kind = if self.partitioned_indexes.contains(&index.oid) {
            RelationKind::PartitionedIndex
        } else {
            RelationKind::Index
        };
        Relation {
            oid: index.oid,
            schema: index.schema.clone(),
            name: index.name.clone(),
            kind,
            index: Some(index.clone()),
            table: Some(IndexedTable {
                oid: table.oid,
                schema: table.schema.clone(),
                name: table.name.clone(),
                kind: table.kind,
                bytes: self.bytes(table),
            }),
            details: super::Details::default(),
            ..table.clone()
        }
    }

    /// What is assumed of a name that is unknown; `None` where it is known that there is none.
    fn assume(&self, name: &Name, kind: RelationKind) -> Option<Relation> {
        let relation = super::assumed(&self.at_home(name));
        if !self.assumes || self.gone.contains(&relation.qualified()) {
            return None;
        }
        if kind != RelationKind::Index {
            return Some(Relation { kind, ..relation });
        }
        let index = new_index(0, &relation.schema, &relation.name);
        Some(Relation {
            kind,
            table: Some(IndexedTable {
                oid: 0,
                schema: relation.schema.clone(),
                name: format!("table of {}", relation.name),
                kind: RelationKind::Table,
                bytes: ASSUMED_BYTES,
            }),
            indexes: vec![index.clone()],
            index: Some(index),
            ..relation
        })
    }

    fn volatility(&self, name: &Name) -> Option<Volatility> {
        if let Some(replaced) = self.replaced(name) {
            return Some(replaced);
        }
        let is_system = name
            .schema
            .as_deref()
            .is_none_or(|schema| schema == "pg_catalog");
        if let Some(known) = is_system
            .then(|| functions::volatility(&name.name))
            .flatten()
        {
            return Some(known);
        }
        let mut functions = self.functions.iter();
        let found = functions.find(|(own, _)| {
            let own = self.at_home(own);
            self.is_named(own.schema.as_deref().unwrap_or_default(), &own.name, name)
        });
        match found {
            Some((_, volatility)) => Some(*volatility),
            None => self.assumes.then_some(Volatility::Volatile),
        }
    }

    /// A type by its SQL.
    pub fn type_of(&self, sql: &str) -> Option<Type> {
        if let Some(found) = built_in(sql) {
            return Some(found);
        }
        let element = sql.trim_end_matches("[]");
        let is_array = element.len() < sql.len();
        let name = parse_name(element);
        let mut types = self.types.iter();
        let found = types.find(|(own, _)| {
            let own = self.at_home(own);
            self.is_named(own.schema.as_deref().unwrap_or_default(), &own.name, &name)
        });
        let unknown = Type {
            oid: 0,
            modifier: -1,
            name: name.name.clone(),
            base: None,
            constrained: true,
            coercible_from: Vec::new(),
            collation: 0,
            ..Type::default()
        };
        match found {
            Some((_, found)) if is_array => Some(Type {
                oid: found.oid + 1,
                name: format!("{}[]", found.name),
                constrained: false,
                ..unknown
            }),
            Some((_, found)) => Some(found.clone()),
            None => self.assumes.then_some(unknown),
        }
    }

    fn by_oid(&self, oid: u32) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    fn by_oid_mut(&mut self, oid: u32) -> Option<&mut Relation> {
        let mut relations = self.relations.iter_mut();
        relations.find(|relation| relation.oid == oid)
    }
}

/// `schema.name`, quoted or not.
fn parse_name(text: &str) -> Name {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in text.trim().chars() {
        match letter {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.extend(letter.to_lowercase().filter(|_| !quoted));
                    part.extend(quoted.then_some(letter));
                }
            }
        }
    }
    let name = parts.pop().unwrap_or_default();
    Name {
        schema: parts.pop(),
        name,
    }
}

/// A valid btree index on nothing in particular.
pub fn new_index(oid: u32, schema: &str, name: &str) -> Index {
    Index {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        valid: true,
        exclusion: false,
        constraint: false,
        building: false,
        dependents: 0,
        unique: false,
        primary: false,
        method: "btree".to_owned(),
        columns: Vec::new(),
        partial: false,
        definition: String::new(),
    }
}

/// The kind of relation that a statement means by its names.
fn kind_meant(statement: &Statement) -> RelationKind {
    let of_object = |kind: ObjectKind| match kind {
        ObjectKind::Table => RelationKind::Table,
        ObjectKind::ForeignTable => RelationKind::ForeignTable,
        ObjectKind::Index => RelationKind::Index,
        ObjectKind::View => RelationKind::View,
        ObjectKind::MaterializedView => RelationKind::MaterializedView,
        ObjectKind::Sequence => RelationKind::Sequence,
        ObjectKind::CompositeType => RelationKind::Other,
    };
    match statement {
        Statement::DropIndex(_) => RelationKind::Index,
        Statement::Reindex(reindex) => match reindex.kind {
            ReindexKind::Index => RelationKind::Index,
            ReindexKind::Table => RelationKind::Table,
        },
        Statement::AlterTable(alter) => of_object(alter.object),
        Statement::Rename(rename) => match &rename.target {
            RenameTarget::Relation(kind) => of_object(*kind),
            RenameTarget::Column(_)
            | RenameTarget::Constraint(_)
            | RenameTarget::OnTable
            | RenameTarget::Schema
            | RenameTarget::Other => RelationKind::Table,
        },
        Statement::Drop(drop) => match drop.kind {
            DropKind::View => RelationKind::View,
            DropKind::MaterializedView => RelationKind::MaterializedView,
            DropKind::Sequence => RelationKind::Sequence,
            DropKind::ForeignTable => RelationKind::ForeignTable,
            DropKind::Table
            | DropKind::Schema
            | DropKind::Type
            | DropKind::Domain
            | DropKind::Function
            | DropKind::Extension
            | DropKind::Statistics
            | DropKind::Server
            | DropKind::Other => RelationKind::Table,
        },
        Statement::Other(other) => match other.tag {
            "REFRESH MATERIALIZED VIEW" => RelationKind::MaterializedView,
            "ALTER SEQUENCE" => RelationKind::Sequence,
            _ => RelationKind::Table,
        },
        Statement::CreateIndex(_)
        | Statement::CreateTable(_)
        | Statement::Unreadable { .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => RelationKind::Table,
    }
}
