//! The SQL of a fill: safe under any search path, by text that reads back the same under any
//! settings, encoding included.

use crate::exec::session::Command;
use crate::plan::backfill::{Backfill, KeyColumn, KeyType};
use crate::sql::name::{Name, quote_identifier};

/// The least that a line pointer and a tuple take, and the most that a page's own header does, in
/// bytes (`MaxHeapTuplesPerPage` of `src/include/access/htup_details.h`).
const LEAST_TUPLE_BYTES: u64 = 28;
const PAGE_HEADER_BYTES: u64 = 24;

/// Where a batch ends and the last one ended, in key order.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRange<'a> {
    /// Behind this key; from the first on without one.
    pub(super) after: Option<&'a [String]>,
    /// Up to this one.
    pub(super) to: &'a [String],
}

/// Whether policies hide rows, the rows as last estimated, the blocks, the bytes of a block.
pub(super) fn survey(table: &Name) -> Command {
    Command::with(SURVEY_SQL, vec![table.to_string()])
}

const SURVEY_SQL: &str = "
SELECT pg_catalog.row_security_active(c.oid), c.reltuples::pg_catalog.int8,
    pg_catalog.pg_relation_size(c.oid) / b.bytes, b.bytes
FROM pg_catalog.pg_class c, (SELECT pg_catalog.current_setting('block_size')::pg_catalog.int8 AS bytes) b
WHERE c.oid = pg_catalog.to_regclass($1::pg_catalog.text)";

/// Keys are looked for in their index, however small or unknown to the planner the table is.
pub(super) fn by_index() -> Command {
    Command::own(
        "SELECT pg_catalog.set_config('enable_seqscan', 'off', true), \
         pg_catalog.set_config('enable_bitmapscan', 'off', true), pg_catalog.set_config('jit', 'off', true)",
    )
}

/// The planner takes two conditions on a key of several columns for a large part of the table. What
/// it would read in full otherwise must not look worth compiling.
pub(super) fn by_range() -> Command {
    Command::own(
        "SELECT pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('jit', 'off', true)",
    )
}

/// How many sessions wait for rows that this transaction has written.
pub(super) fn waiters() -> Command {
    Command::own(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l \
         WHERE l.locktype OPERATOR(pg_catalog.=) 'transactionid' AND NOT l.granted \
         AND l.transactionid OPERATOR(pg_catalog.=) \
         pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid",
    )
}

/// The last key of all.
pub(super) fn last_key(table: &Name, columns: &[KeyColumn]) -> Command {
    let down: Vec<String> = columns
        .iter()
        .map(|column| format!("{} DESC", of_table(column)))
        .collect();
    Command::own(format!(
        "SELECT {} FROM (SELECT {} FROM ONLY {table} AS t ORDER BY {} LIMIT 1) AS k",
        texts(columns).join(", "),
        aliased(columns).join(", "),
        down.join(", ")
    ))
}

/// How many keys there are in a range, `rows` at most, and the last of them.
pub(super) fn key_after(
    table: &Name,
    columns: &[KeyColumn],
    range: KeyRange<'_>,
    rows: u64,
) -> Command {
    let order: Vec<String> = columns.iter().map(of_table).collect();
    let (condition, parameters) = in_range(columns, range);
    let order = order.join(", ");
    let sql = format!(
        "SELECT k.n, {texts} FROM (SELECT {aliased}, pg_catalog.row_number() OVER (ORDER BY {order}) AS n \
         FROM ONLY {table} AS t WHERE {condition} ORDER BY {order} LIMIT {rows}) AS k ORDER BY k.n DESC LIMIT 1",
        texts = texts(columns).join(", "),
        aliased = aliased(columns).join(", "),
    );
    Command::with(sql, parameters)
}

/// Fills a range of keys: how many rows, and of each whether it got NULL.
pub(super) fn fill_keys(
    backfill: &Backfill,
    columns: &[KeyColumn],
    range: KeyRange<'_>,
) -> Command {
    let (condition, parameters) = in_range(columns, range);
    Command::with(filled(backfill, &condition), parameters)
}

/// The same for a range of blocks, the last one excluded. Before PostgreSQL 14 such a range would
/// be looked for in the whole table: there each place in the blocks is named.
pub(super) fn fill_blocks(
    backfill: &Backfill,
    (from, end): (u64, u64),
    block_bytes: u64,
    has_ranges: bool,
) -> Command {
    if has_ranges {
        let condition = "t.ctid OPERATOR(pg_catalog.>=) $1::pg_catalog.tid \
                         AND t.ctid OPERATOR(pg_catalog.<) $2::pg_catalog.tid";
        let parameters = vec![format!("({from},0)"), format!("({end},0)")];
        return Command::with(filled(backfill, condition), parameters);
    }
    let most = block_bytes.saturating_sub(PAGE_HEADER_BYTES) / LEAST_TUPLE_BYTES;
    let condition = format!(
        "t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(\
         SELECT pg_catalog.format('(%s,%s)', b, o)::pg_catalog.tid \
         FROM pg_catalog.generate_series($1::pg_catalog.int8, $2::pg_catalog.int8) AS b, \
         pg_catalog.generate_series(1, {most}) AS o))"
    );
    let last = end.saturating_sub(1);
    Command::with(
        filled(backfill, &condition),
        vec![from.to_string(), last.to_string()],
    )
}

/// Each row tells whether its value is NULL. No WITH counts them on the server: a rule ON UPDATE may
/// not stand behind one.
fn filled(backfill: &Backfill, condition: &str) -> String {
    let (set, unfilled) = (&backfill.set, &backfill.unfilled);
    format!(
        "UPDATE ONLY {} AS t SET {set} WHERE {condition} AND {unfilled} RETURNING {unfilled}",
        backfill.table
    )
}

/// The condition and its parameters.
fn in_range(columns: &[KeyColumn], range: KeyRange<'_>) -> (String, Vec<String>) {
    let key: Vec<String> = columns.iter().map(of_table).collect();
    let key = format!("ROW({})", key.join(", "));
    let mut parameters: Vec<String> = Vec::new();
    let mut compared = |operator: &str, values: &[String]| {
        let first = parameters.len() + 1;
        let places = columns
            .iter()
            .zip(first..)
            .map(|(column, at)| value(column, at));
        let places: Vec<String> = places.collect();
        parameters.extend_from_slice(values);
        format!(
            "{key} OPERATOR(pg_catalog.{operator}) ROW({})",
            places.join(", ")
        )
    };
    let after = range.after.map(|after| compared(">", after));
    let to = compared("<=", range.to);
    let conditions: Vec<String> = after.into_iter().chain([to]).collect();
    (conditions.join(" AND "), parameters)
}

fn of_table(column: &KeyColumn) -> String {
    format!("t.{}", quote_identifier(&column.name))
}

/// The columns as `k1`, `k2` …
fn aliased(columns: &[KeyColumn]) -> Vec<String> {
    let numbered = columns.iter().zip(1..);
    numbered
        .map(|(column, at)| format!("{} AS k{at}", of_table(column)))
        .collect()
}

/// Their texts. Text travels as the bytes that the database has: the client's encoding may not have
/// its characters.
fn texts(columns: &[KeyColumn]) -> Vec<String> {
    let numbered = columns.iter().zip(1..);
    let text = |(column, at): (&KeyColumn, usize)| match column.of_type {
        KeyType::Plain(_) => format!("k.k{at}::pg_catalog.text"),
        KeyType::Text(_) => format!(
            "pg_catalog.encode(pg_catalog.convert_to(k.k{at}::pg_catalog.text, \
             pg_catalog.getdatabaseencoding()), 'hex')"
        ),
        KeyType::Time(_) => {
            format!("pg_catalog.btrim(pg_catalog.to_json(k.k{at})::pg_catalog.text, '\"')")
        }
    };
    numbered.map(text).collect()
}

/// The value of such a text. What comes of `getdatabaseencoding` has the collation of a `name`, which
/// would be at odds with the column's; what comes of a jsonb gives way to it.
fn value(column: &KeyColumn, at: usize) -> String {
    match column.of_type {
        KeyType::Plain(name) | KeyType::Time(name) => format!("${at}::pg_catalog.{name}"),
        KeyType::Text(name) => format!(
            "(pg_catalog.to_jsonb(pg_catalog.convert_from(pg_catalog.decode(${at}::pg_catalog.text, 'hex'), \
             pg_catalog.getdatabaseencoding())) OPERATOR(pg_catalog.#>>) '{{}}'::pg_catalog.text[])\
             ::pg_catalog.{name}"
        ),
    }
}
