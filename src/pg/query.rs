//! The text of the facts query: made of fragments, so that a request costs no more than what it asks for.

use std::collections::BTreeSet;

use crate::catalog::{Depth, FactRequest, ObjectClass, ObjectRequest};
use crate::exec::acquire::array_literal;
use crate::sql::name::Name;

/// PostgreSQL 13 to 18, all of them.
const RELATIONS: &str = include_str!("facts/relations.sql");
const TAKEN: &str = include_str!("facts/taken.sql");
const INDEX_DETAILS: &str = include_str!("facts/index_details.sql");
const STRUCTURE: &str = include_str!("facts/structure.sql");
const STRUCTURE_VALUE: &str = include_str!("facts/structure_value.sql");
const REFERRING: &str = include_str!("facts/referring.sql");
const REFERRING_KIN: &str = "UNION ALL SELECT r.at, 'referring', r.table_oid, 1 FROM referring r";
const DEPENDENTS: &str = include_str!("facts/dependents.sql");
const DEPENDENTS_VALUE: &str = include_str!("facts/dependents_value.sql");
const TYPES: &str = include_str!("facts/types.sql");
const TYPES_VALUE: &str = "(SELECT pg_catalog.jsonb_agg(\
    (SELECT v.value FROM type_values v WHERE v.oid = t.oid) ORDER BY t.at) FROM named_types t)";
const TYPE_VALUES: &str = include_str!("facts/type_values.sql");
const FUNCTIONS: &str = include_str!("facts/functions.sql");
const OBJECTS: &str = include_str!("facts/objects.sql");
/// What would go with an object that is dropped, and the relations that this locks.
const DROPPED: &str = include_str!("facts/dropped.sql");
const DROPPED_LOCKED: &str = include_str!("facts/dropped_locked.sql");
const DEPENDENTS_OF_OBJECTS: &str = include_str!("facts/dependents_of_objects.sql");

/// Those that stop writers or readers.
const OWN_LOCKS: &str = "EXISTS (SELECT FROM pg_catalog.pg_locks l \
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' \
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))";

/// A query and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The SQL.
    pub sql: String,
    /// The parameters, as text.
    pub parameters: Vec<String>,
}

/// The parts that are asked for.
#[derive(Debug, Default)]
struct Parts {
    /// Texts of common table expressions.
    tables: Vec<String>,
    /// Keys and values of the answer.
    answers: Vec<String>,
    parameters: Vec<String>,
}

impl Parts {
    /// Adds a text; each `{name}` in it becomes the next parameter, or the one of that value.
    fn table(&mut self, text: &str, parameters: &[(&str, String)]) {
        let mut text = text.trim_end().to_owned();
        for (name, value) in parameters {
            self.parameters.push(value.clone());
            text = text.replace(
                &format!("{{{name}}}"),
                &format!("${}", self.parameters.len()),
            );
        }
        self.tables.push(text);
    }

    fn answer(&mut self, key: &str, value: &str) {
        self.answers.push(format!("'{key}', {value}"));
    }
}

/// The query for a request; `None` when it asks for nothing.
pub fn query(request: &FactRequest) -> Option<Query> {
    let mut parts = Parts::default();
    let has_structure = request.depth > Depth::Outline && !request.relations.is_empty();
    let type_oids = type_oids(request, has_structure);
    if !request.types.is_empty() {
        let sql: Vec<String> = request.types.iter().map(|sql| bare(sql)).collect();
        parts.table(TYPES, &[("types", array_literal(&sql))]);
        parts.answer("types", TYPES_VALUE);
    }
    if !request.relations.is_empty() {
        relations(&mut parts, request, type_oids.as_deref());
    } else if let Some(oids) = &type_oids {
        parts.table(&TYPE_VALUES.replace("{type_oids}", oids), &[]);
    }
    if !request.functions.is_empty() {
        let (schemas, names) = apart(request.functions.iter());
        parts.table(
            FUNCTIONS,
            &[("function_schemas", schemas), ("function_names", names)],
        );
        parts.answer("functions", "(SELECT f.value FROM functions f)");
    }
    if !request.objects.is_empty() {
        objects(&mut parts, &request.objects);
    }
    if request.own_locks {
        parts.answer("own_locks", OWN_LOCKS);
    }
    if parts.answers.is_empty() {
        return None;
    }
    let recursive = if has_structure || type_oids.is_some() || !request.objects.is_empty() {
        "RECURSIVE "
    } else {
        ""
    };
    let with = if parts.tables.is_empty() {
        String::new()
    } else {
        format!("WITH {recursive}{}\n", parts.tables.join(", "))
    };
    Some(Query {
        sql: format!(
            "{with}SELECT pg_catalog.jsonb_build_object({})::pg_catalog.text",
            parts.answers.join(", "),
        ),
        parameters: parts.parameters,
    })
}

fn relations(parts: &mut Parts, request: &FactRequest, type_oids: Option<&str>) {
    let names: Vec<String> = request.relations.iter().map(ToString::to_string).collect();
    let (index_details, details, dependents) = match request.depth {
        Depth::Outline => ("", "", ""),
        Depth::Structure => (INDEX_DETAILS, STRUCTURE_VALUE, ""),
        Depth::Full => (INDEX_DETAILS, STRUCTURE_VALUE, DEPENDENTS_VALUE),
    };
    let text = RELATIONS
        .replace("{index_details}", index_details.trim_end())
        .replace("{details}", details.trim_end())
        .replace("{dependents}", dependents.trim_end());
    // What the relations' details are made of stands behind the names and before the relations.
    let (asked, rest) = text.split_once("), tables AS (").unwrap_or((&text, ""));
    let asked = format!("{asked})");
    parts.table(&asked, &[("relations", array_literal(&names))]);
    if let Some(oids) = type_oids {
        parts.table(&TYPE_VALUES.replace("{type_oids}", oids), &[]);
    }
    match request.depth {
        Depth::Outline => {}
        Depth::Structure => parts.table(&STRUCTURE.replace("{referring_kin}", ""), &[]),
        Depth::Full => {
            parts.table(REFERRING, &[]);
            parts.table(&STRUCTURE.replace("{referring_kin}", REFERRING_KIN), &[]);
            parts.table(DEPENDENTS, &[]);
        }
    }
    parts.table(&format!("tables AS ({rest}"), &[]);
    parts.answer("relations", "(SELECT r.value FROM relations r)");
    if !request.candidates.is_empty() {
        let candidates = array_literal(&request.candidates);
        parts.table(TAKEN, &[("candidates", candidates)]);
        parts.answer("taken", "(SELECT t.value FROM taken t)");
        let taken = "(SELECT t.value FROM taken_constraints t)";
        parts.answer("taken_constraints", taken);
    }
}

fn objects(parts: &mut Parts, objects: &[ObjectRequest]) {
    let kinds = objects.iter().map(|object| class(object.kind));
    let kinds: Vec<String> = kinds.map(str::to_owned).collect();
    let (schemas, names) = apart(objects.iter().map(|object| &object.name));
    let parameters = [
        ("object_kinds", array_literal(&kinds)),
        ("object_schemas", schemas),
        ("object_names", names),
    ];
    parts.table(OBJECTS, &parameters);
    let listings: BTreeSet<Option<&str>> =
        objects.iter().map(|object| listing(object.kind)).collect();
    if listings.contains(&None) {
        parts.table(DROPPED, &[]);
    }
    let selects: Vec<&str> = listings
        .into_iter()
        .map(|listing| listing.unwrap_or(DROPPED_LOCKED).trim_end())
        .collect();
    parts.table(
        &format!("locked (at, oid) AS ({})", selects.join("\nUNION\n")),
        &[],
    );
    parts.table(DEPENDENTS_OF_OBJECTS, &[]);
    parts.answer("objects", "(SELECT d.value FROM dependents d)");
}

/// How the relations of a class are listed; `None` where they are those that would be dropped.
fn listing(class: ObjectClass) -> Option<&'static str> {
    match class {
        ObjectClass::Schema
        | ObjectClass::Type
        | ObjectClass::Function
        | ObjectClass::Extension
        | ObjectClass::Statistics
        | ObjectClass::Role
        | ObjectClass::Relation
        | ObjectClass::Server => None,
        ObjectClass::Referring => Some(include_str!("facts/of_referring.sql")),
        ObjectClass::Behind => Some(include_str!("facts/of_behind.sql")),
        ObjectClass::Publication => Some(include_str!("facts/of_publication.sql")),
        ObjectClass::Tablespace => Some(include_str!("facts/of_tablespace.sql")),
        ObjectClass::Tables => Some(include_str!("facts/of_tables.sql")),
        ObjectClass::Stored => Some(include_str!("facts/of_stored.sql")),
        ObjectClass::Clustered => Some(include_str!("facts/of_clustered.sql")),
    }
}

/// The types that must be known, as a query.
fn type_oids(request: &FactRequest, has_structure: bool) -> Option<String> {
    let named = "SELECT n.oid FROM named_types n";
    let columns = "SELECT t.atttypid FROM asked a JOIN pg_catalog.pg_attribute t ON t.attrelid = a.oid \
                   WHERE t.attnum > 0 AND NOT t.attisdropped";
    match (request.types.is_empty(), has_structure) {
        (true, false) => None,
        (true, true) => Some(columns.to_owned()),
        (false, false) => Some(named.to_owned()),
        (false, true) => Some(format!("{named} UNION ALL {columns}")),
    }
}

/// A type without its modifiers, which the server would refuse where they are wrong. `float(24)` is
/// another type than `float`.
fn bare(sql: &str) -> String {
    let lower = sql.trim().to_ascii_lowercase();
    let is_in_word = |letter: char| letter.is_alphanumeric() || "_$.\"".contains(letter);
    let word = lower.split(|letter| !is_in_word(letter)).next();
    match word {
        Some("float") => return sql.to_owned(),
        Some("interval") => {
            let array = if lower.ends_with(']') { "[]" } else { "" };
            return format!("interval{array}");
        }
        Some(_) | None => {}
    }
    // Parentheses within a quoted name are part of it.
    let mut quoted = false;
    let outside: Vec<(usize, char)> = sql
        .char_indices()
        .filter(|(_, letter)| {
            quoted ^= *letter == '"';
            !quoted
        })
        .collect();
    let open = outside.iter().find(|(_, letter)| *letter == '(');
    let close = outside.iter().rfind(|(_, letter)| *letter == ')');
    match (open, close) {
        (Some((open, _)), Some((close, _))) if open < close => {
            format!("{}{}", &sql[..*open], &sql[close + 1..])
        }
        _ => sql.to_owned(),
    }
}

fn apart<'a>(names: impl Iterator<Item = &'a Name>) -> (String, String) {
    let (schemas, names): (Vec<String>, Vec<String>) = names
        .map(|name| (name.schema.clone().unwrap_or_default(), name.name.clone()))
        .unzip();
    (array_literal(&schemas), array_literal(&names))
}

fn class(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Schema => "schema",
        ObjectClass::Type => "type",
        ObjectClass::Function => "function",
        ObjectClass::Extension => "extension",
        ObjectClass::Statistics => "statistics",
        ObjectClass::Role => "role",
        ObjectClass::Relation => "relation",
        ObjectClass::Server => "server",
        ObjectClass::Referring => "referring",
        ObjectClass::Behind => "behind",
        ObjectClass::Publication => "publication",
        ObjectClass::Tablespace => "tablespace",
        ObjectClass::Tables => "tables",
        ObjectClass::Stored => "stored",
        ObjectClass::Clustered => "clustered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_asked_for_without_its_modifiers() {
        for (sql, asked) in [
            ("numeric(10,2)", "numeric"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("varchar(5)[]", "varchar[]"),
            ("interval day to second(3)", "interval"),
            ("interval(2)[]", "interval[]"),
            ("float(24)", "float(24)"),
            ("public.geometry(Point,4326)", "public.geometry"),
            ("\"s(\".geometry(Point,4326)[]", "\"s(\".geometry[]"),
            ("\"a\"\"(b)\"", "\"a\"\"(b)\""),
            ("intervals(3)", "intervals"),
            ("interval.t(3)", "interval.t"),
        ] {
            assert_eq!(bare(sql), asked);
        }
    }

    /// What isn't asked for costs nothing: its fragment isn't there, and each parameter is used.
    #[test]
    fn only_what_is_asked_for_is_in_the_text() {
        assert_eq!(query(&FactRequest::default()), None);
        let mut request = FactRequest {
            relations: vec![Name::unqualified("t")],
            ..FactRequest::default()
        };
        let outline = query(&request).unwrap_or_else(|| panic!("no query"));
        assert!(
            !outline.sql.contains("pg_get_constraintdef") && !outline.sql.contains("RECURSIVE")
        );
        request.depth = Depth::Full;
        request.types = vec!["int".to_owned()];
        request.functions = vec![Name::unqualified("now")];
        request.candidates = vec!["x".to_owned()];
        let full = query(&request).unwrap_or_else(|| panic!("no query"));
        assert!(full.sql.contains("pg_get_constraintdef") && !full.sql.contains('{'));
        for at in 1..=full.parameters.len() {
            assert!(full.sql.contains(&format!("${at}")), "${at}");
        }
        assert_eq!(full.parameters.len(), 5);
    }
}
