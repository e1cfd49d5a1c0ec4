//! The facts language of the golden scripts: a small catalog in a few words.
//!
//! ```text
//! facts: version=16 small_table=1MiB lock_timeout=700:session statement_timeout=30000
//! facts: table users 5GB rows=5_000_000 indexes=users_pkey:constraint,old:invalid
//! ```
//!
//! A line of `facts:` says settings, or one relation: `table`, `partitioned`, `matview` or `view`, a name, a size, and
//! any of `rows=`, `indexes=`, `temporary`, `not-owned`, `created-here`, `extension=`. An index is a name with any of
//! `:invalid :exclusion :constraint :building :dependents :partitioned :toast`. A timeout is milliseconds with
//! `:session` (SET by the client), `:client` (at start-up) or nothing (by a role, a database, the configuration file).

use lockkeeper::catalog::{
    Details, FactRequest, Facts, Index, IndexedTable, Relation, RelationKind, SessionFacts,
    Setting, Taken,
};
use lockkeeper::rules::Policy;
use lockkeeper::sql::name::Name;
use lockkeeper::sql::statement::Statement;

/// A catalog: what a server would answer to a request for facts.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Tables, materialised views and what else isn't an index, with their indexes.
    relations: Vec<Relation>,
    /// Names of the indexes that are partitioned.
    partitioned_indexes: Vec<u32>,
    session: SessionFacts,
    small_table_bytes: u64,
    next_oid: u32,
}

impl World {
    /// Reads the lines of a block of facts.
    pub(crate) fn parse(lines: &[String]) -> Result<World, String> {
        let mut world = World {
            relations: Vec::new(),
            partitioned_indexes: Vec::new(),
            session: SessionFacts {
                version: 150_000,
                client_min_messages: "notice".to_owned(),
                ..SessionFacts::default()
            },
            small_table_bytes: 1 << 20,
            next_oid: 16_384,
        };
        for line in lines {
            let words = split(line, ' ');
            match words.first().map(String::as_str) {
                None => {}
                Some("table") => world.relation(RelationKind::Table, &words)?,
                Some("partitioned") => world.relation(RelationKind::PartitionedTable, &words)?,
                Some("matview") => world.relation(RelationKind::MaterializedView, &words)?,
                Some("view") => world.relation(RelationKind::View, &words)?,
                Some(_) => world.settings(&words)?,
            }
        }
        Ok(world)
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
        let relations: Vec<Option<Relation>> = request
            .relations
            .iter()
            .map(|name| self.find(name))
            .collect();
        let first = relations.first().and_then(Option::as_ref);
        let taken = first.map_or(Vec::new(), |first| self.taken(request, first));
        Facts {
            relations,
            taken,
            session: self.session.clone(),
            ..Facts::default()
        }
    }

    /// The catalog after a step of a plan has run.
    pub(crate) fn apply(&mut self, statement: &Statement) {
        match statement {
            Statement::DropIndex(drop) => {
                for relation in &mut self.relations {
                    relation
                        .indexes
                        .retain(|index| !drop.indexes.iter().any(|name| is_named(index, name)));
                }
            }
            Statement::CreateIndex(create) => {
                self.next_oid += 1;
                let oid = self.next_oid;
                let table = self
                    .relations
                    .iter_mut()
                    .find(|table| table.name == create.table.name);
                if let (Some(table), Some(name)) = (table, &create.name) {
                    table.indexes.push(index(oid, &table.schema.clone(), name));
                }
            }
            Statement::Reindex(reindex) => {
                for relation in &mut self.relations {
                    for index in &mut relation.indexes {
                        index.valid |= is_named(index, &reindex.name);
                    }
                }
            }
            Statement::AlterTable(_)
            | Statement::CreateTable(_)
            | Statement::Drop(_)
            | Statement::Rename(_)
            | Statement::Other(_)
            | Statement::Unreadable { .. }
            | Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate { .. }
            | Statement::Dynamic { .. }
            | Statement::Harmless => {}
        }
    }

    fn taken(&self, request: &FactRequest, first: &Relation) -> Vec<Taken> {
        let mut taken = Vec::new();
        for name in &request.candidates {
            let name = Name::qualified(&first.schema, name);
            if let Some(found) = self.find(&name) {
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

    fn find(&self, name: &Name) -> Option<Relation> {
        let schema_fits = |schema: &str| match &name.schema {
            Some(wanted) => wanted == schema,
            None => schema == "public" || schema == "pg_temp",
        };
        for relation in &self.relations {
            if relation.name == name.name && schema_fits(&relation.schema) {
                return Some(relation.clone());
            }
            let mut indexes = relation.indexes.iter();
            if let Some(index) =
                indexes.find(|index| index.name == name.name && schema_fits(&index.schema))
            {
                return Some(self.index_relation(relation, index));
            }
        }
        None
    }

    /// An index as a relation of its own: `facts.sql` lists its table's indexes with it.
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
                bytes: table.bytes,
            }),
            ..table.clone()
        }
    }

    fn oid(&mut self) -> u32 {
        self.next_oid += 1;
        self.next_oid
    }

    fn relation(&mut self, kind: RelationKind, words: &[String]) -> Result<(), String> {
        let name = words.get(1).ok_or("a relation without a name")?;
        let (schema, name) = qualified(name);
        let mut relation = Relation {
            oid: self.oid(),
            schema,
            name,
            kind,
            temporary: false,
            created_here: false,
            owned: true,
            bytes: 0,
            rows: -1,
            extension: None,
            indexes: Vec::new(),
            index: None,
            table: None,
            details: Details::default(),
        };
        for word in &words[2..] {
            match word.split_once('=').unwrap_or((word, "")) {
                ("rows", rows) => relation.rows = number(rows)?,
                ("indexes", list) => {
                    for text in split(list, ',') {
                        let index = self.index(&relation.schema, &text)?;
                        relation.indexes.push(index);
                    }
                }
                ("extension", name) => relation.extension = Some(name.to_owned()),
                ("temporary", "") => {
                    relation.temporary = true;
                    "pg_temp".clone_into(&mut relation.schema);
                }
                ("created-here", "") => relation.created_here = true,
                ("not-owned", "") => relation.owned = false,
                (size, "") => relation.bytes = bytes(size)?,
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        self.relations.push(relation);
        Ok(())
    }

    fn index(&mut self, schema: &str, text: &str) -> Result<Index, String> {
        let parts = split(text, ':');
        let name = parts.first().ok_or("an index without a name")?;
        let mut index = index(self.oid(), schema, &unquoted(name));
        for flag in &parts[1..] {
            match flag.as_str() {
                "invalid" => index.valid = false,
                "exclusion" => (index.exclusion, index.constraint) = (true, true),
                "constraint" => index.constraint = true,
                "building" => (index.building, index.valid) = (true, false),
                "dependents" => index.dependents = 1,
                "partitioned" => self.partitioned_indexes.push(index.oid),
                "toast" => "pg_toast".clone_into(&mut index.schema),
                _ => return Err(format!("what is `:{flag}`?")),
            }
        }
        Ok(index)
    }

    fn settings(&mut self, words: &[String]) -> Result<(), String> {
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let session = &mut self.session;
            match key {
                "version" => session.version = number::<u32>(value)? * 10_000,
                "small_table" => self.small_table_bytes = bytes(value)?,
                "lock_timeout" => session.lock_timeout = setting(value)?,
                "statement_timeout" => session.statement_timeout = setting(value)?,
                "transaction_timeout" => session.transaction_timeout = Some(setting(value)?),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(())
    }
}

fn index(oid: u32, schema: &str, name: &str) -> Index {
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

fn is_named(index: &Index, name: &Name) -> bool {
    index.name == name.name
        && name
            .schema
            .as_ref()
            .is_none_or(|schema| *schema == index.schema)
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
fn qualified(text: &str) -> (String, String) {
    match split(text, '.').as_slice() {
        [schema, name] => (unquoted(schema), unquoted(name)),
        _ => ("public".to_owned(), unquoted(text)),
    }
}

fn unquoted(text: &str) -> String {
    let inside = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inside.map_or_else(|| text.to_owned(), |inside| inside.replace("\"\"", "\""))
}

/// Splits at a separator outside double quotes; the quotes stay.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        quoted ^= letter == '"';
        match parts.last_mut() {
            Some(part) if letter != separator || quoted => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
