//! The facts language of the golden scripts: a small catalog in a few words.
//!
//! ```text
//! facts: version=16 small_table=1MiB lock_timeout=700:session statement_timeout=30000 timezone=UTC
//! facts: table orgs 8MB columns=id:bigint constraints=orgs_pkey:p:id
//! facts: table users 5GB rows=5_000_000 columns=id:bigint:notnull,code:varchar(20),at:timestamptz:default=now()
//! facts: partitioned events key="RANGE (at)" columns=id:int,at:date:notnull indexes=events_at(at)
//! facts: partition events_1 of events 2GB bound="((at IS NOT NULL) AND (at < '2025-01-01'::date))"
//! facts: view names on users(name),orgs
//! facts: type public.email domain text constrained
//! ```
//!
//! A line of `facts:` says settings, or one thing. Words are parted by spaces, lists by commas, parts by colons;
//! within `"…"` and `(…)` none of them parts anything. A name may be quoted, and stands in `public` without a schema.
//!
//! * Settings: `version=`, `small_table=`, `timezone=`, `own-locks`, and timeouts: milliseconds with `:session` (SET by
//!   the client), `:client` (at start-up) or nothing (by a role, a database, the configuration file).
//! * `table`, `partitioned`, `matview`, `view`, `sequence`, `foreign` NAME and any of: a size, `rows=`, `temporary`,
//!   `not-owned`, `created-here`, `extension=`, `unlogged`, `published`, `unpopulated`, `tablespace=`,
//!   `am=`, `key="RANGE (at)"`, `query="…"`, `sequences=`, and the lists `columns=`, `constraints=`, `indexes=`,
//!   `uses=`.
//! * A column: `name:type` with any of `:notnull :default=EXPRESSION :identity :generated=EXPRESSION :inherited
//!   :collation=NAME`; types with spaces in quotes.
//! * A constraint: `name:kind:columns` with kind `p`, `u`, `x` (with its index, unless that is listed), `c`, `f`, `n`;
//!   several columns as `(a,b)`; of a foreign key `org_id>orgs` or `(a,b)>other(x,y)`; then any of `:invalid`,
//!   `:inherited` and, quoted, its definition: `positive:c:n:"CHECK ((n > 0))"`.
//! * An index: `name(columns)`, `-` for an expression, with any of `:invalid :exclusion :constraint :building
//!   :dependents :partitioned :toast :unique :primary :partial :method=gin :of=PARENT_INDEX`; the columns may stand
//!   behind those as well.
//! * `uses=`: what names columns, `statistics`, `generated`, `policy`, `trigger` or `index`: `policy:name(a,b)`.
//! * `partition` NAME `of` PARENT: as a table, and any of `default`, `detach-pending`, `bound="…"`. Its columns, its
//!   inherited constraints and its indexes are its parent's unless they are listed (`indexes=none`). With `key=` it is
//!   partitioned itself.
//! * `inherits` CHILD PARENT, both of them said before.
//! * `view` and `matview` NAME … `on` TABLE(columns),OTHER: what they read, said before.
//! * `type` NAME `domain` BASE, `constrained` or not; `type` NAME `enum`.
//! * `function` NAME `volatile`, `stable` or `immutable`.
//! * `dependents schema|type|function|extension|statistics|role|stored` NAME `=` TABLE SIZE, TABLE SIZE.

use lockkeeper::catalog::shadow::{Child, Shadow, ViewLink, built_in, new_index, sql_of};
use lockkeeper::catalog::{
    BaseType, Column, ColumnUser, Constraint, ConstraintKind, DependentRelation, FactRequest,
    Facts, Index, Member, ObjectClass, ObjectRequest, Relation, RelationKind, SessionFacts,
    Setting, Type, Volatility,
};
use lockkeeper::rules::Policy;
use lockkeeper::sql::name::Name;
use lockkeeper::sql::statement::Statement;

/// A catalog: what a server would answer to a request for facts.
#[derive(Debug, Clone)]
pub(crate) struct World {
    shadow: Shadow,
    small_table_bytes: u64,
    /// Foreign keys whose table is yet to be looked up: the table, the constraint, the table referred to.
    keys: Vec<(Name, String, Name)>,
}

impl World {
    /// Reads the lines of a block of facts.
    pub(crate) fn parse(lines: &[String]) -> Result<World, String> {
        let mut world = World {
            shadow: Shadow::new(SessionFacts {
                version: 150_000,
                client_min_messages: "notice".to_owned(),
                ..SessionFacts::default()
            }),
            small_table_bytes: 1 << 20,
            keys: Vec::new(),
        };
        for line in lines {
            world
                .line(&split(line, ' '))
                .map_err(|problem| format!("{problem} in `{line}`"))?;
        }
        for (table, constraint, referred) in std::mem::take(&mut world.keys) {
            world.resolve_key(&table, &constraint, &referred)?;
        }
        Ok(world)
    }

    fn line(&mut self, words: &[String]) -> Result<(), String> {
        let kind = match words.first().map(String::as_str) {
            None => return Ok(()),
            Some("table" | "partition") => RelationKind::Table,
            Some("partitioned") => RelationKind::PartitionedTable,
            Some("matview") => RelationKind::MaterializedView,
            Some("view") => RelationKind::View,
            Some("sequence") => RelationKind::Sequence,
            Some("foreign") => RelationKind::ForeignTable,
            Some("inherits") => return self.inherits(words),
            Some("type") => return self.declare_type(words),
            Some("function") => return self.function(words),
            Some("dependents") => return self.dependents(words),
            Some(_) => return self.settings(words),
        };
        self.relation(kind, words)
    }

    /// The policy that the facts name.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            small_table_bytes: self.small_table_bytes,
            scan_bytes_per_second: 100 << 20,
            overrides: Vec::new(),
        }
    }

    /// Answers as the server would, with `public` for a search path.
    pub(crate) fn answer(&self, request: &FactRequest) -> Facts {
        self.shadow.answer(request)
    }

    /// The catalog after a step of a plan has run.
    pub(crate) fn apply(&mut self, statement: &Statement) {
        self.shadow.apply(statement);
    }

    fn relation(&mut self, kind: RelationKind, words: &[String]) -> Result<(), String> {
        let name = qualified(words.get(1).ok_or("a relation without a name")?);
        let mut relation = Relation {
            oid: self.shadow.new_oid(),
            kind,
            bytes: 0,
            assumed: false,
            ..lockkeeper::catalog::assumed(&name)
        };
        relation.details.populated = kind == RelationKind::MaterializedView;
        let (mut rest, mut parent, mut reads) = (words[2..].iter(), None, Vec::new());
        let mut child = Child {
            parent: 0,
            child: relation.oid,
            is_partition: true,
            is_default: false,
            detach_pending: false,
            constraint: None,
        };
        let mut lists: Vec<(&str, &str)> = Vec::new();
        while let Some(word) = rest.next() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("of", "") => parent = Some(self.oid_of(rest.next().ok_or("of what?")?)?),
                ("on", "") => reads = split(rest.next().ok_or("on what?")?, ','),
                ("default", "") => child.is_default = true,
                ("detach-pending", "") => child.detach_pending = true,
                ("bound", text) => child.constraint = Some(unquoted(text)),
                (list @ ("columns" | "constraints" | "indexes" | "uses"), text) => {
                    lists.push((list, text))
                }
                (key, value) => property(&mut relation, key, value)?,
            }
        }
        let oid = relation.oid;
        if relation.details.partition_key.is_some() {
            relation.kind = RelationKind::PartitionedTable;
        }
        self.list(&mut relation, &lists, "columns")?;
        if let Some(parent) = parent {
            child.parent = parent;
            self.take_from(parent, &mut relation)?;
        }
        for list in ["indexes", "constraints", "uses"] {
            self.list(&mut relation, &lists, list)?;
        }
        self.complete(&mut relation);
        self.shadow.add(relation);
        if let Some(parent) = parent {
            self.shadow.add_child(child);
            if !lists.iter().any(|(list, _)| *list == "indexes") {
                self.take_indexes(parent, oid);
            }
        }
        for read in reads {
            let (table, columns) = with_columns(&read);
            let on = self.oid_of(&table)?;
            let view = oid;
            self.shadow.add_view(ViewLink { view, on, columns });
        }
        Ok(())
    }

    fn list(
        &mut self,
        relation: &mut Relation,
        lists: &[(&str, &str)],
        wanted: &str,
    ) -> Result<(), String> {
        for (list, text) in lists.iter().filter(|(list, _)| *list == wanted) {
            for item in split(text, ',') {
                match *list {
                    "columns" => relation.details.columns.push(self.column(&item)?),
                    "constraints" => self.constraint(relation, &item)?,
                    "indexes" if item == "none" => {}
                    "indexes" => {
                        let index = self.index(relation, &item)?;
                        relation.indexes.push(index);
                    }
                    _ => relation.details.column_users.push(user(&item)?),
                }
            }
        }
        Ok(())
    }

    /// What a partition has of its parent, unless it says otherwise.
    fn take_from(&self, parent: u32, partition: &mut Relation) -> Result<(), String> {
        let parent = self.by_oid(parent).ok_or("no such parent")?;
        let details = &mut partition.details;
        if details.columns.is_empty() {
            details.columns.clone_from(&parent.details.columns);
        }
        for column in &mut details.columns {
            column.inherited = parent.details.column(&column.name).is_some();
        }
        let comes = |constraint: &&Constraint| {
            matches!(
                constraint.kind,
                ConstraintKind::Check | ConstraintKind::ForeignKey | ConstraintKind::NotNull
            )
        };
        for constraint in parent.details.constraints.iter().filter(comes) {
            details.constraints.push(Constraint {
                inherited: true,
                ..constraint.clone()
            });
        }
        Ok(())
    }

    fn take_indexes(&mut self, parent: u32, partition: u32) {
        let indexes = self.by_oid(parent).map(|parent| parent.indexes.clone());
        for index in indexes.unwrap_or_default() {
            if index.valid {
                self.shadow.index_of_partition(partition, &index);
            }
        }
    }

    /// Since PostgreSQL 18, each NOT NULL is a constraint; a primary key makes its columns NOT NULL.
    fn complete(&mut self, relation: &mut Relation) {
        let details = &mut relation.details;
        for column in &mut details.columns {
            let names_it = |constraint: &&Constraint| constraint.columns.contains(&column.name);
            let mut about = details.constraints.iter().filter(names_it);
            column.not_null |= about.clone().any(|own| {
                matches!(
                    own.kind,
                    ConstraintKind::PrimaryKey | ConstraintKind::NotNull
                ) && own.validated
            });
            let has_own = about.any(|own| own.kind == ConstraintKind::NotNull);
            if self.shadow.session_mut().version >= 180_000 && column.not_null && !has_own {
                let name = format!("{}_{}_not_null", relation.name, column.name);
                let mut added =
                    constraint(name, ConstraintKind::NotNull, vec![column.name.clone()]);
                added.inherited = column.inherited;
                details.constraints.push(added);
            }
        }
    }

    fn column(&self, text: &str) -> Result<Column, String> {
        let parts = split(text, ':');
        let [name, sql, flags @ ..] = parts.as_slice() else {
            return Err(format!("`{text}` is no column"));
        };
        let sql = unquoted(sql);
        let of_type = self
            .shadow
            .type_of(&sql)
            .ok_or_else(|| format!("no type `{sql}`"))?;
        let mut column = Column {
            name: unquoted(name),
            type_sql: sql_of(&of_type),
            collation: of_type.collation,
            of_type,
            collation_name: None,
            not_null: false,
            default: None,
            identity: false,
            generated: false,
            inherited: false,
        };
        for flag in flags {
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("notnull", "") => column.not_null = true,
                ("default", value) => {
                    let known = !value.is_empty();
                    column.default = Some(if known {
                        unquoted(value)
                    } else {
                        "NULL".to_owned()
                    });
                }
                ("identity", "") => (column.identity, column.not_null) = (true, true),
                ("generated", value) => {
                    (column.generated, column.default) = (true, Some(unquoted(value)));
                }
                ("inherited", "") => column.inherited = true,
                ("collation", name) => {
                    (column.collation_name, column.collation) = (Some(unquoted(name)), 1);
                }
                _ => return Err(format!("what is `:{flag}`?")),
            }
        }
        Ok(column)
    }

    fn constraint(&mut self, relation: &mut Relation, text: &str) -> Result<(), String> {
        let parts = split(text, ':');
        let [name, kind, about, flags @ ..] = parts.as_slice() else {
            return Err(format!("`{text}` is no constraint"));
        };
        let (name, kind) = (unquoted(name), constraint_kind(kind)?);
        let (about, referred) = match about.split_once('>') {
            Some((columns, referred)) => (columns, Some(referred)),
            None => (about.as_str(), None),
        };
        let about = about.trim_start_matches('(').trim_end_matches(')');
        let columns = split(about, ',')
            .iter()
            .map(|column| unquoted(column))
            .collect();
        let mut added = constraint(name, kind, columns);
        if let Some(referred) = referred {
            let (table, columns) = with_columns(referred);
            added.definition = format!(
                "{} REFERENCES {table}({})",
                added.definition,
                columns.join(", ")
            );
            let key = (relation.qualified(), added.name.clone(), qualified(&table));
            self.keys.push(key);
        }
        for flag in flags {
            match flag.as_str() {
                "invalid" => added.validated = false,
                "inherited" => added.inherited = true,
                definition => added.definition = unquoted(definition),
            }
        }
        let inside = added.definition.strip_prefix("CHECK (");
        added.expression = inside.and_then(|inside| Some(inside.rsplit_once(')')?.0.to_owned()));
        let is_key = matches!(
            kind,
            ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude
        );
        if is_key {
            added.index = Some(added.name.clone());
            if !relation
                .indexes
                .iter()
                .any(|index| index.name == added.name)
            {
                let index = Index {
                    constraint: true,
                    unique: kind != ConstraintKind::Exclude,
                    exclusion: kind == ConstraintKind::Exclude,
                    primary: kind == ConstraintKind::PrimaryKey,
                    columns: added.columns.iter().cloned().map(Some).collect(),
                    ..new_index(self.shadow.new_oid(), &relation.schema, &added.name)
                };
                if relation.kind == RelationKind::PartitionedTable {
                    self.shadow.mark_partitioned(index.oid);
                }
                relation.indexes.push(index);
            }
        }
        relation.details.constraints.push(added);
        Ok(())
    }

    fn resolve_key(
        &mut self,
        table: &Name,
        constraint: &str,
        referred: &Name,
    ) -> Result<(), String> {
        let target = self
            .shadow
            .relation(referred)
            .ok_or_else(|| format!("no table {referred}"))?;
        let key = target.indexes.iter().find(|index| index.primary);
        let key = key.map(|index| index.name.clone());
        let member = Member {
            oid: target.oid,
            schema: target.schema.clone(),
            name: target.name.clone(),
            kind: target.kind,
            bytes: target.bytes,
            table: None,
            index_definitions: Vec::new(),
            indexes: Vec::new(),
            partition_constraint: None,
            constraints: Vec::new(),
            columns: Vec::new(),
            not_null: Vec::new(),
            key: Vec::new(),
        };
        let owner = self.shadow.relation_mut(table).ok_or("no such table")?;
        let mut constraints = owner.details.constraints.iter_mut();
        if let Some(own) = constraints.find(|own| own.name == constraint) {
            (own.references, own.index) = (Some(member), key);
        }
        Ok(())
    }

    fn index(&mut self, relation: &Relation, text: &str) -> Result<Index, String> {
        let (text, columns) = with_columns(text);
        let parts = split(&text, ':');
        let name = parts.first().ok_or("an index without a name")?;
        let mut index = new_index(self.shadow.new_oid(), &relation.schema, &unquoted(name));
        index.columns = columns
            .into_iter()
            .map(|column| (column != "-").then_some(column))
            .collect();
        if relation.kind == RelationKind::PartitionedTable {
            self.shadow.mark_partitioned(index.oid);
        }
        for flag in &parts[1..] {
            match flag.split_once('=').unwrap_or((flag, "")) {
                ("invalid", "") => index.valid = false,
                ("exclusion", "") => (index.exclusion, index.constraint) = (true, true),
                ("constraint", "") => index.constraint = true,
                ("building", "") => (index.building, index.valid) = (true, false),
                ("dependents", "") => index.dependents = 1,
                ("partitioned", "") => self.shadow.mark_partitioned(index.oid),
                ("toast", "") => "pg_toast".clone_into(&mut index.schema),
                ("unique", "") => index.unique = true,
                ("primary", "") => (index.primary, index.unique) = (true, true),
                ("partial", "") => index.partial = true,
                ("method", method) => method.clone_into(&mut index.method),
                ("of", parent) => {
                    let request = FactRequest {
                        relations: vec![qualified(parent)],
                        ..FactRequest::default()
                    };
                    let parent = self.shadow.answer(&request).relations.remove(0);
                    self.shadow
                        .attach_index(index.oid, parent.ok_or("no such index")?.oid);
                }
                _ => return Err(format!("what is `:{flag}`?")),
            }
        }
        index.definition = definition(&index, relation);
        Ok(index)
    }

    fn inherits(&mut self, words: &[String]) -> Result<(), String> {
        let [_, child, parent] = words else {
            return Err("inherits CHILD PARENT".to_owned());
        };
        let (child, parent) = (self.oid_of(child)?, self.oid_of(parent)?);
        self.shadow.add_child(Child {
            parent,
            child,
            is_partition: false,
            is_default: false,
            detach_pending: false,
            constraint: None,
        });
        Ok(())
    }

    fn declare_type(&mut self, words: &[String]) -> Result<(), String> {
        let name = qualified(words.get(1).ok_or("a type without a name")?);
        let mut of_type = Type {
            oid: self.shadow.new_oid(),
            modifier: -1,
            name: name.name.clone(),
            base: None,
            constrained: false,
            coercible_from: Vec::new(),
            collation: 0,
            ..Type::default()
        };
        self.shadow.new_oid(); // its array type
        match &words[2..] {
            [kind] if kind == "enum" => {}
            [kind, base, rest @ ..] if kind == "domain" => {
                let base = unquoted(base);
                let base = built_in(&base).ok_or_else(|| format!("no type `{base}`"))?;
                of_type.collation = base.collation;
                of_type.base = Some(BaseType {
                    oid: base.oid,
                    modifier: base.modifier,
                    name: base.name,
                });
                of_type.constrained = match rest {
                    [] => false,
                    [word] if word == "constrained" => true,
                    _ => return Err("constrained, or nothing".to_owned()),
                };
            }
            _ => return Err("what sort of type?".to_owned()),
        }
        self.shadow.add_type(name, of_type);
        Ok(())
    }

    fn function(&mut self, words: &[String]) -> Result<(), String> {
        let [_, name, how] = words else {
            return Err("function NAME volatile".to_owned());
        };
        let volatility = match how.as_str() {
            "volatile" => Volatility::Volatile,
            "stable" => Volatility::Stable,
            "immutable" => Volatility::Immutable,
            _ => return Err(format!("what is `{how}`?")),
        };
        self.shadow.add_function(qualified(name), volatility);
        Ok(())
    }

    fn dependents(&mut self, words: &[String]) -> Result<(), String> {
        let [_, class, name, sign, rest @ ..] = words else {
            return Err("dependents CLASS NAME = TABLE SIZE".to_owned());
        };
        let kind = match class.as_str() {
            "schema" => ObjectClass::Schema,
            "type" => ObjectClass::Type,
            "function" => ObjectClass::Function,
            "extension" => ObjectClass::Extension,
            "statistics" => ObjectClass::Statistics,
            "role" => ObjectClass::Role,
            "stored" => ObjectClass::Stored,
            _ => return Err(format!("what is `{class}`?")),
        };
        if sign != "=" {
            return Err("where is the `=`?".to_owned());
        }
        let parts = split(name, '.');
        let name = match parts.as_slice() {
            [schema, name] => Name::qualified(unquoted(schema), unquoted(name)),
            _ => Name::unqualified(unquoted(name)),
        };
        let mut dependents = Vec::new();
        for item in split(&rest.join(" "), ',') {
            let item = split(&item, ' ');
            let [table, size] = item.as_slice() else {
                return Err("TABLE SIZE".to_owned());
            };
            let table = qualified(table);
            dependents.push(DependentRelation {
                schema: table.schema.unwrap_or_default(),
                name: table.name,
                kind: RelationKind::Table,
                bytes: bytes(size)?,
                indexes: Vec::new(),
            });
        }
        self.shadow
            .add_dependents(ObjectRequest { kind, name }, dependents);
        Ok(())
    }

    fn settings(&mut self, words: &[String]) -> Result<(), String> {
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if word == "own-locks" {
                self.shadow.set_own_locks(true);
                continue;
            }
            let session = self.shadow.session_mut();
            match key {
                "version" => session.version = number::<u32>(value)? * 10_000,
                "small_table" => self.small_table_bytes = bytes(value)?,
                "lock_timeout" => session.lock_timeout = setting(value)?,
                "statement_timeout" => session.statement_timeout = setting(value)?,
                "transaction_timeout" => session.transaction_timeout = Some(setting(value)?),
                "timezone" => session.time_zone_is_utc = value == "UTC",
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(())
    }

    fn oid_of(&self, text: &str) -> Result<u32, String> {
        let found = self.shadow.relation(&qualified(text));
        found
            .map(|found| found.oid)
            .ok_or_else(|| format!("no relation `{text}`"))
    }

    fn by_oid(&self, oid: u32) -> Option<&Relation> {
        self.shadow.relations().find(|relation| relation.oid == oid)
    }
}

fn property(relation: &mut Relation, key: &str, value: &str) -> Result<(), String> {
    let details = &mut relation.details;
    match (key, value) {
        ("rows", rows) => relation.rows = number(rows)?,
        ("extension", name) => relation.extension = Some(name.to_owned()),
        ("tablespace", name) => name.clone_into(&mut details.tablespace),
        ("am", name) => details.access_method = Some(name.to_owned()),
        ("key", key) => details.partition_key = Some(unquoted(key)),
        ("query", query) => details.query = Some(unquoted(query)),
        ("sequences", list) => {
            details.sequences = split(list, ',')
                .iter()
                .map(|name| qualified(name))
                .collect()
        }
        ("temporary", "") => {
            relation.temporary = true;
            "pg_temp".clone_into(&mut relation.schema);
        }
        ("created-here", "") => relation.created_here = true,
        ("not-owned", "") => relation.owned = false,
        ("unlogged", "") => details.unlogged = true,
        ("published", "") => details.published = true,
        ("unpopulated", "") => details.populated = false,
        (size, "") => relation.bytes = bytes(size)?,
        _ => return Err(format!("what is `{key}={value}`?")),
    }
    Ok(())
}

fn constraint(name: String, kind: ConstraintKind, columns: Vec<String>) -> Constraint {
    let list = columns.join(", ");
    let definition = match kind {
        ConstraintKind::Check => "CHECK (true)".to_owned(),
        ConstraintKind::ForeignKey => format!("FOREIGN KEY ({list})"),
        ConstraintKind::NotNull => format!("NOT NULL {list}"),
        ConstraintKind::PrimaryKey => format!("PRIMARY KEY ({list})"),
        ConstraintKind::Unique => format!("UNIQUE ({list})"),
        ConstraintKind::Exclude | ConstraintKind::Other => "EXCLUDE".to_owned(),
    };
    Constraint {
        name,
        kind,
        validated: true,
        columns,
        definition,
        expression: None,
        index: None,
        references: None,
        inherited: false,
    }
}

fn constraint_kind(text: &str) -> Result<ConstraintKind, String> {
    Ok(match text {
        "c" => ConstraintKind::Check,
        "f" => ConstraintKind::ForeignKey,
        "n" => ConstraintKind::NotNull,
        "p" => ConstraintKind::PrimaryKey,
        "u" => ConstraintKind::Unique,
        "x" => ConstraintKind::Exclude,
        _ => return Err(format!("what is `:{text}`?")),
    })
}

/// `pg_get_indexdef`, roughly.
fn definition(index: &Index, relation: &Relation) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let columns: Vec<&str> = index
        .columns
        .iter()
        .map(|name| name.as_deref().unwrap_or("expr"))
        .collect();
    let (name, method, columns) = (&index.name, &index.method, columns.join(", "));
    format!(
        "CREATE {unique}INDEX {name} ON {} USING {method} ({columns})",
        relation.qualified()
    )
}

fn user(text: &str) -> Result<ColumnUser, String> {
    let (text, columns) = with_columns(text);
    let (what, name) = text
        .split_once(':')
        .ok_or_else(|| format!("what is `{text}`?"))?;
    Ok(ColumnUser {
        what: what.to_owned(),
        name: unquoted(name),
        columns,
    })
}

/// `name(a,b)` taken apart; what stands behind the list is the name's.
fn with_columns(text: &str) -> (String, Vec<String>) {
    match (text.find('('), text.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let columns = split(&text[open + 1..close], ',');
            let name = format!("{}{}", &text[..open], &text[close + 1..]);
            (
                name,
                columns
                    .iter()
                    .map(|column| unquoted(column.trim()))
                    .collect(),
            )
        }
        _ => (text.to_owned(), Vec::new()),
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    let (ms, source) = text.split_once(':').unwrap_or((text, ""));
    Ok(Setting {
        ms: number(ms)?,
        by_client: matches!(source, "session" | "client"),
        in_session: source == "session",
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let plain = text.replace('_', "");
    plain.parse().map_err(|_| format!("`{text}` is no number"))
}

fn bytes(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| format!("what is `{text}`?"))?;
    Ok(size.as_u64())
}

/// `schema.name`, quoted or not; `public` without a schema.
fn qualified(text: &str) -> Name {
    match split(text, '.').as_slice() {
        [schema, name] => Name::qualified(unquoted(schema), unquoted(name)),
        _ => Name::qualified("public", unquoted(text)),
    }
}

fn unquoted(text: &str) -> String {
    let inside = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inside.map_or_else(|| text.to_owned(), |inside| inside.replace("\"\"", "\""))
}

/// Splits at a separator outside double quotes and parentheses; the quotes stay.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0_u32);
    for letter in text.chars() {
        quoted ^= letter == '"';
        match letter {
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        match parts.last_mut() {
            Some(part) if letter != separator || quoted || depth > 0 => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
