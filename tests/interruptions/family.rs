//! One statement for each family of plans.

/// A statement and what is there before it.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is there besides [`COMMON`].
    pub(crate) given: &'static str,
    /// The statement.
    pub(crate) sql: &'static str,
}

/// Tables that every statement finds.
pub(crate) const COMMON: &str = "
CREATE TABLE parent (id int PRIMARY KEY, code text);
INSERT INTO parent SELECT n, 'code ' || n FROM generate_series(1, 10) n;
CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(40), p int);
INSERT INTO t SELECT n, n, 'b ' || n, 1 + n % 10 FROM generate_series(1, 400) n;
CREATE INDEX t_b ON t (b);
CREATE TABLE m (at int, v int) PARTITION BY RANGE (at);
CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100);
CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200);
INSERT INTO m SELECT n, n FROM generate_series(0, 199) n;";

const fn family(name: &'static str, given: &'static str, sql: &'static str) -> Family {
    Family { name, given, sql }
}

/// All of them.
pub(crate) const FAMILIES: &[Family] = &[
    family(
        "add column, volatile default",
        "",
        "ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT gen_random_uuid()::text",
    ),
    family(
        "add column, serial",
        "",
        "ALTER TABLE t ADD COLUMN c bigserial",
    ),
    family(
        "add column, identity",
        "",
        "ALTER TABLE t ADD COLUMN c bigint GENERATED ALWAYS AS IDENTITY",
    ),
    family(
        "add column, plain",
        "",
        "ALTER TABLE t ADD COLUMN c int, ADD COLUMN d text DEFAULT 'd'",
    ),
    family(
        "set not null",
        "",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
    ),
    family(
        "add check",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_check CHECK (a > 0)",
    ),
    family(
        "add foreign key",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p) REFERENCES parent (id)",
    ),
    family(
        "add unique",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_key UNIQUE (a)",
    ),
    family(
        "add primary key",
        "CREATE TABLE u AS SELECT n AS id FROM generate_series(1, 400) n;",
        "ALTER TABLE u ADD PRIMARY KEY (id)",
    ),
    family("create index", "", "CREATE INDEX t_a ON t (a)"),
    family(
        "create unique index",
        "",
        "CREATE UNIQUE INDEX t_a ON t (a)",
    ),
    family("create index, partitioned", "", "CREATE INDEX m_v ON m (v)"),
    family("drop index", "", "DROP INDEX t_b"),
    family("reindex index", "", "REINDEX INDEX t_b"),
    family("reindex table", "", "REINDEX TABLE t"),
    family(
        "attach partition",
        "CREATE TABLE m3 (at int, v int);
         INSERT INTO m3 SELECT n, n FROM generate_series(200, 299) n;",
        "ALTER TABLE m ATTACH PARTITION m3 FOR VALUES FROM (200) TO (300)",
    ),
    family("detach partition", "", "ALTER TABLE m DETACH PARTITION m1"),
    family(
        "detach partition concurrently",
        "",
        "ALTER TABLE m DETACH PARTITION m1 CONCURRENTLY",
    ),
    family(
        "create partition",
        "",
        "CREATE TABLE m4 PARTITION OF m FOR VALUES FROM (300) TO (400)",
    ),
    family(
        "alter type, catalog only",
        "",
        "ALTER TABLE t ALTER COLUMN b TYPE text",
    ),
    family(
        "drop constraint",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p) REFERENCES parent (id);",
        "ALTER TABLE t DROP CONSTRAINT t_p_fkey",
    ),
    family("drop column", "", "ALTER TABLE t DROP COLUMN a"),
    family(
        "drop table with a foreign key",
        "CREATE TABLE f (id int PRIMARY KEY, p int REFERENCES parent);",
        "DROP TABLE f",
    ),
    family("drop partition", "", "DROP TABLE m1"),
    family(
        "refresh",
        "CREATE MATERIALIZED VIEW mv AS SELECT p, count(*) FROM t GROUP BY p;
         CREATE UNIQUE INDEX mv_p ON mv (p);",
        "REFRESH MATERIALIZED VIEW mv",
    ),
    family(
        "refresh concurrently",
        "CREATE MATERIALIZED VIEW mv AS SELECT p, count(*) FROM t GROUP BY p;
         CREATE UNIQUE INDEX mv_p ON mv (p);",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY mv",
    ),
    family("rename index", "", "ALTER INDEX t_b RENAME TO t_bb"),
    family(
        "several in one",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_check CHECK (a > 0), ALTER COLUMN b SET NOT NULL, ADD COLUMN c int",
    ),
];

/// Everything that a family finds.
pub(crate) fn given(family: &Family) -> String {
    format!(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; {COMMON} {}",
        family.given
    )
}
