//! The statements whose end through lockkeeper must be that of the statement itself.

/// What is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Same {
    /// Everything: catalog, reply, error.
    All,
    /// Everything on a small table; on a large one lockkeeper refuses it.
    RefusedWhenLarge,
    /// Nothing: lockkeeper refuses it.
    Refused,
}

/// A statement.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The SQL.
    pub(crate) sql: &'static str,
    /// What is the same.
    pub(crate) same: Same,
    /// The first major version that knows it.
    pub(crate) since: u32,
}

const fn of(sql: &'static str, same: Same, since: u32) -> Statement {
    Statement { sql, same, since }
}

const fn all(sql: &'static str) -> Statement {
    of(sql, Same::All, 13)
}

/// The statements, on the tables of [`crate::bench::FIXTURE`].
pub(crate) const STATEMENTS: &[Statement] = &[
    // CREATE INDEX
    all("CREATE INDEX i ON users (email)"),
    all("CREATE INDEX ON users (email)"),
    all("CREATE INDEX ON users (email, email text_pattern_ops, email DESC)"),
    all("CREATE INDEX ON users (id) INCLUDE (email, id)"),
    all("CREATE INDEX ON users (a)"),
    all("CREATE INDEX ON users (lower(email), (a + b), (a - b))"),
    all("CREATE INDEX ON users ((a::text), (coalesce(a, b)), (CASE WHEN a > 0 THEN b END), (tags[1]), (nullif(a, b)))"),
    all("CREATE INDEX ON users ((CASE WHEN a > 0 THEN 1 ELSE b END), (ARRAY[a]), (greatest(a, b)), (least(a, b)))"),
    all("CREATE INDEX ON users ((email COLLATE \"C\"), (a IS NULL), (NOT a > 0), (a::bigint + 1), ('x' || email))"),
    all("CREATE INDEX ON users (extract(year FROM day))"),
    all("CREATE INDEX ON users (substring(email FROM 2), trim(email), position('x' IN email),
         overlay(email PLACING 'y' FROM 1))"),
    all("CREATE INDEX ON users ((doc ->> 'a'), ((doc -> 'a') IS NOT NULL))"),
    of("CREATE INDEX ON users (json_value(doc, '$.a'))", Same::All, 17),
    of("CREATE INDEX ON users ((email IS JSON))", Same::All, 16),
    of("CREATE INDEX ON users (normalize(email), (email IS NORMALIZED))", Same::All, 13),
    all("CREATE INDEX ON \"Odd \"\"One\"\"\" (\"Column\", \"user\")"),
    all("CREATE INDEX \"Another Index\" ON public.\"Odd \"\"One\"\"\" USING hash (\"user\")"),
    all("CREATE UNIQUE INDEX i ON users USING btree (lower(email) text_pattern_ops DESC NULLS LAST) INCLUDE (a)
         WITH (fillfactor = 70) TABLESPACE pg_default WHERE id > 0"),
    of("CREATE UNIQUE INDEX i ON users (id, a) NULLS NOT DISTINCT", Same::All, 15),
    all("CREATE UNIQUE INDEX i ON users (same)"),
    all("CREATE UNIQUE INDEX ON users (id)"),
    all("CREATE INDEX i ON users USING gin (tags)"),
    all("CREATE INDEX i ON ONLY users (email)"),
    all("CREATE INDEX CONCURRENTLY i ON users (email)"),
    all("CREATE INDEX CONCURRENTLY ON users (email)"),
    all("CREATE INDEX users_a ON users (email)"),
    all("CREATE INDEX IF NOT EXISTS users_a ON users (email)"),
    all("CREATE INDEX IF NOT EXISTS orders ON users (email)"),
    all("CREATE INDEX IF NOT EXISTS i ON users (email)"),
    all("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (email)"),
    all("CREATE INDEX i ON nosuch (a)"),
    all("CREATE INDEX i ON users (nosuch)"),
    all("CREATE INDEX i ON users (email nosuch_ops)"),
    all("CREATE INDEX i ON users (a) WITH (nosuch = 1)"),
    all("CREATE INDEX i ON report (a)"),
    all("CREATE INDEX i ON totals (same)"),
    all("CREATE UNIQUE INDEX ON totals (same)"),
    all("CREATE INDEX i ON ONLY events (day)"),
    all("CREATE INDEX CONCURRENTLY i ON events (day)"),
    all("CREATE INDEX i ON events (day)"),
    all("CREATE INDEX ON events (day)"),
    all("CREATE INDEX i ON events_1 (day)"),
    // DROP INDEX
    all("DROP INDEX users_a"),
    all("DROP INDEX CONCURRENTLY users_a"),
    all("DROP INDEX IF EXISTS public.users_a, nosuch"),
    all("DROP INDEX users_a, bad, \"Odd Index\""),
    all("DROP INDEX users_a, users_a"),
    all("DROP INDEX users_a CASCADE"),
    all("DROP INDEX users_referenced"),
    all("DROP INDEX users_referenced CASCADE"),
    all("DROP INDEX users_pkey"),
    all("DROP INDEX users_pkey CASCADE"),
    all("DROP INDEX users_a, users_pkey"),
    all("DROP INDEX CONCURRENTLY users_a, bad"),
    all("DROP INDEX CONCURRENTLY users_a CASCADE"),
    all("DROP INDEX nosuch"),
    all("DROP INDEX users_a, nosuch"),
    all("DROP INDEX IF EXISTS nosuch"),
    all("DROP INDEX users"),
    all("DROP INDEX events_id"),
    all("DROP INDEX CONCURRENTLY events_id"),
    all("DROP INDEX users_a, events_id"),
    all("DROP INDEX totals_n"),
    // REINDEX
    all("REINDEX INDEX users_a"),
    all("REINDEX INDEX bad"),
    all("REINDEX INDEX users_pkey"),
    all("REINDEX (VERBOSE) INDEX users_a"),
    of("REINDEX (VERBOSE, TABLESPACE pg_default) INDEX users_a", Same::All, 14),
    of("REINDEX (TABLESPACE nosuch) INDEX users_a", Same::All, 14),
    of("REINDEX (CONCURRENTLY, VERBOSE) INDEX users_a", Same::All, 14),
    all("REINDEX (NOSUCH) INDEX users_a"),
    all("REINDEX INDEX CONCURRENTLY users_a"),
    all("REINDEX INDEX rooms_span_excl"),
    all("REINDEX INDEX CONCURRENTLY rooms_span_excl"),
    all("REINDEX INDEX nosuch"),
    all("REINDEX INDEX users"),
    all("REINDEX TABLE users"),
    all("REINDEX TABLE rooms"),
    all("REINDEX TABLE totals"),
    all("REINDEX TABLE \"Odd \"\"One\"\"\""),
    all("REINDEX TABLE report"),
    all("REINDEX TABLE orders"),
    all("REINDEX TABLE users_a"),
    all("REINDEX TABLE CONCURRENTLY orders"),
    all("REINDEX TABLE CONCURRENTLY rooms"),
    of("REINDEX TABLE events", Same::All, 14),
    of("REINDEX INDEX events_id", Same::All, 14),
    all("REINDEX INDEX events_id"),
    // Others
    all("ALTER TABLE users ADD COLUMN c int"),
    all("ALTER TABLE nosuch ADD COLUMN c int"),
    all("ALTER INDEX users_a RENAME TO users_b"),
    all("ALTER TABLE users FROBNICATE"),
    of("VACUUM FULL users", Same::RefusedWhenLarge, 13),
    all("COMMENT ON INDEX users_a IS 'x'"),
    all("TRUNCATE users CASCADE"),
    // The whole text counts, not only the statement in it.
    all("DROP TABLE;"),
    all(" CREATE TABLE ; -- what?"),
    all("; /* first */ ALTER TABLE users ADD COLUMN c int; -- then nothing;"),
    all("CREATE INDEX i ON users (email); ;"),
    all("CREATE TABLE copy AS SELECT * FROM users"),
    of("REINDEX SCHEMA public", Same::Refused, 13),
];
