//! All that a database holds, comparable: its schema without OIDs, and its rows column by column.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Client;

const SCHEMA: &str = include_str!("snapshot.sql");

const COLUMNS: &str = "
SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname), quote_ident(a.attname),
  (SELECT quote_ident(f.attname) FROM pg_attribute f WHERE f.attrelid = c.oid AND f.attnum > 0 AND NOT f.attisdropped
   ORDER BY f.attnum LIMIT 1)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm') AND c.relispopulated
  AND c.relnamespace::regnamespace::text NOT LIKE 'pg\\_%'";

/// How many differences are told.
const TOLD: usize = 4;

/// Expressions that give another value each time.
const VOLATILE: &[&str] = &[
    "random",
    "clock_timestamp",
    "nextval",
    "serial",
    "IDENTITY",
    "now()",
    "current_date",
];

/// A column's rows: how many, how many not NULL, how many different, and a digest of them in order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    rows: String,
    filled: String,
    different: String,
    digest: String,
}

/// What a database holds.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    schema: BTreeSet<String>,
    data: BTreeMap<String, Column>,
}

/// The schema alone.
pub(crate) fn schema(client: &mut Client) -> BTreeSet<String> {
    let rows = client.ok(SCHEMA).rows;
    rows.into_iter().map(|row| row.join(": ")).collect()
}

impl Snapshot {
    /// Takes one, with the rows of those tables that are wanted, by `schema.name`.
    pub(crate) fn take(client: &mut Client, wanted: impl Fn(&str) -> bool) -> Snapshot {
        let mut columns = client.ok(COLUMNS).rows;
        columns.retain(|row| wanted(&row[0]));
        let digests: Vec<String> = columns
            .iter()
            .map(|row| {
                let (table, column, first) = (&row[0], &row[1], &row[2]);
                format!(
                    "SELECT '{table} {column}', count(*), count({column}), count(DISTINCT {column}::text),
                     md5(string_agg({column}::text, ',' ORDER BY {first}::text, {column}::text)) FROM ONLY {table}"
                )
            })
            .collect();
        let rows = match digests.as_slice() {
            [] => Vec::new(),
            digests => client.ok(&digests.join(" UNION ALL ")).rows,
        };
        let data = rows.into_iter().map(|row| {
            let [name, rows, filled, different, digest] =
                <[String; 5]>::try_from(row).expect("five columns");
            let column = Column {
                rows,
                filled,
                different,
                digest,
            };
            (name, column)
        });
        Snapshot {
            data: data.collect(),
            schema: schema(client),
        }
    }

    /// The schema alone.
    #[allow(dead_code, reason = "not every test looks at it alone")]
    pub(crate) fn schema(&self) -> &BTreeSet<String> {
        &self.schema
    }

    /// Whether the rows of a table are in it.
    pub(crate) fn holds(&self, table: &str) -> bool {
        let mut columns = self.data.keys();
        columns.any(|name| {
            name.strip_prefix(table)
                .is_some_and(|rest| rest.starts_with(' '))
        })
    }

    /// How this differs from what the statement itself leaves.
    pub(crate) fn difference(&self, plain: &Snapshot, sql: &str) -> Option<String> {
        if let Some(difference) = schema_difference(&self.schema, &plain.schema) {
            return Some(difference);
        }
        let volatile = VOLATILE.iter().any(|word| sql.contains(word));
        let differing = plain
            .data
            .iter()
            .filter(|(name, theirs)| match self.data.get(*name) {
                None => true,
                Some(ours) => ours != *theirs && !(volatile && is_another_value(ours, theirs)),
            });
        let told: Vec<String> = differing
            .take(TOLD)
            .map(|(name, theirs)| format!("{name} holds {:?}, not {theirs:?}", self.data.get(name)))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// Other values, but as many, as many not NULL, and as many different.
fn is_another_value(ours: &Column, theirs: &Column) -> bool {
    let all_different = theirs.different == theirs.filled;
    (&ours.rows, &ours.filled) == (&theirs.rows, &theirs.filled)
        && (!all_different || ours.different == ours.filled)
}

/// How a schema differs from what it should be.
pub(crate) fn schema_difference(
    ours: &BTreeSet<String>,
    theirs: &BTreeSet<String>,
) -> Option<String> {
    let more: Vec<&String> = ours.difference(theirs).take(TOLD).collect();
    let less: Vec<&String> = theirs.difference(ours).take(TOLD).collect();
    (!more.is_empty() || !less.is_empty()).then(|| format!("there is {more:#?}, not {less:#?}"))
}
