//! What is in a database: its schema as pg_dump tells it, and the rows of all tables, the tools' ledgers among them.

use std::fmt::Write as _;

use crate::harness::{postgres_program, run};
use crate::side::{Side, rows};
use crate::wire::{Wire, column};

/// The tables that `fill.sql` fills, by the names that they have in some phase: their ids are the same in every run.
const FILLED: &[&str] = &[
    "accounts",
    "users",
    "products",
    "orders",
    "order_items",
    "events",
    "settings",
    "settings_old",
    "legacy_codes",
    "codes",
];

/// Columns that are never the same twice: times, durations, random numbers, processes.
const VOLATILE: &[(&str, &str)] = &[
    ("*", "created_at"),
    ("*", "updated_at"),
    ("django_migrations", "applied"),
    ("knex_migrations", "migration_time"),
    ("pgmigrations", "run_on"),
    ("schema_history", "applied_at"),
    ("_sqlx_migrations", "installed_on"),
    ("_sqlx_migrations", "execution_time"),
    ("_yoyo_log", "id"),
    ("_yoyo_log", "created_at_utc"),
    ("_yoyo_migration", "applied_at_utc"),
    ("_yoyo_version", "installed_at_utc"),
    ("yoyo_lock", "ctime"),
    ("yoyo_lock", "pid"),
];

/// Whose rows are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// All there are, with their ids.
    All,
    /// Only those of `fill.sql` and what was made of them, where there are others: rows that traffic adds have ids
    /// beyond theirs, and are users beyond theirs. Ids that were given out meanwhile, or twice, aren't compared.
    OfFill,
}

/// The schema. The order is pg_dump's own: by kind and name, and by dependencies.
pub(crate) fn schema(side: &Side) -> String {
    let mut command = postgres_program("pg_dump");
    let place = crate::harness::place(side.server);
    command.args(["-s", "--no-owner", "-d", &place.conninfo(&side.database)]);
    let dump = run(&mut command, "").ok();
    // Newer versions of pg_dump put a random word into a line at the beginning and one at the end.
    let lines = dump
        .lines()
        .filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// Indexes that aren't valid.
pub(crate) fn invalid(side: &Side) -> Vec<String> {
    let sql =
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready";
    column(&side.admin().query(sql))
}

/// The rows of all tables, in an order of their own.
pub(crate) fn data(side: &Side, which: Rows) -> String {
    let mut admin = side.admin();
    let sql = "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace NOT IN \
               ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1";
    let mut text = String::new();
    for table in column(&admin.query(sql)) {
        write_rows(&mut text, &mut admin, &table, which);
    }
    text
}

fn write_rows(text: &mut String, admin: &mut Wire, table: &str, which: Rows) {
    let sql = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
         ORDER BY attnum"
    );
    let all = column(&admin.query(&sql));
    let name = table.rsplit('.').next().unwrap_or(table);
    let is_filled = FILLED.contains(&name);
    let is_volatile = |column: &str| {
        VOLATILE
            .iter()
            .any(|(of, it)| (*of == "*" || *of == name) && *it == column)
    };
    let is_given_out = |column: &str| which == Rows::OfFill && !is_filled && column == "id";
    let kept = all
        .iter()
        .filter(|column| !is_volatile(column) && !is_given_out(column));
    let kept: Vec<String> = kept.map(|column| format!("{column:?}")).collect();
    let mut conditions = vec!["true".to_owned()];
    if which == Rows::OfFill {
        let beyond = |column: &str| format!("coalesce({column} <= {}, true)", rows());
        if is_filled && all.iter().any(|column| column == "id") {
            conditions.push(beyond("id"));
        }
        if all.iter().any(|column| column == "user_id") {
            conditions.push(beyond("user_id"));
        }
    }
    let sql = format!(
        "SELECT (ROW({}))::text COLLATE \"C\" FROM {table} WHERE {} ORDER BY 1",
        kept.join(", "),
        conditions.join(" AND ")
    );
    let frames = admin.query(&sql);
    assert_eq!(crate::wire::sqlstate(&frames), "", "{sql}: {frames:?}");
    let _ = writeln!(text, "{table} ({})", kept.join(", "));
    for row in column(&frames) {
        let _ = writeln!(text, "    {row}");
    }
}
