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
    /// How many steps its plan has.
    pub(crate) steps: usize,
    /// The steps that are taken back when the last one is interrupted, last first.
    pub(crate) undone: &'static [usize],
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

const fn family(
    name: &'static str,
    given: &'static str,
    sql: &'static str,
    steps: usize,
    undone: &'static [usize],
) -> Family {
    Family {
        name,
        given,
        sql,
        steps,
        undone,
    }
}

/// All of them.
pub(crate) const FAMILIES: &[Family] = &[
    family(
        "add column, volatile default",
        "",
        "ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT gen_random_uuid()::text",
        7,
        &[6, 4, 1],
    ),
    family(
        "add column, serial",
        "",
        "ALTER TABLE t ADD COLUMN c bigserial",
        8,
        &[7, 5, 2, 1],
    ),
    family(
        "add column, identity",
        "",
        "ALTER TABLE t ADD COLUMN c bigint GENERATED ALWAYS AS IDENTITY",
        9,
        &[7, 5, 2, 1],
    ),
    family(
        "add column, plain",
        "",
        "ALTER TABLE t ADD COLUMN c int, ADD COLUMN d text DEFAULT 'd'",
        1,
        &[],
    ),
    family(
        "set not null",
        "",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
        4,
        &[3, 1],
    ),
    family(
        "add check",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_check CHECK (a > 0)",
        2,
        &[1],
    ),
    family(
        "add foreign key",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p) REFERENCES parent (id)",
        2,
        &[1],
    ),
    family(
        "add unique",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_key UNIQUE (a)",
        2,
        &[1],
    ),
    family(
        "add primary key",
        "CREATE TABLE u AS SELECT n AS id FROM generate_series(1, 400) n;",
        "ALTER TABLE u ADD PRIMARY KEY (id)",
        6,
        &[5, 3, 1],
    ),
    family("create index", "", "CREATE INDEX t_a ON t (a)", 1, &[]),
    family(
        "create unique index",
        "",
        "CREATE UNIQUE INDEX t_a ON t (a)",
        1,
        &[],
    ),
    family(
        "create index, partitioned",
        "",
        "CREATE INDEX m_v ON m (v)",
        3,
        &[2, 1],
    ),
    family("drop index", "", "DROP INDEX t_b", 1, &[]),
    family("reindex index", "", "REINDEX INDEX t_b", 1, &[]),
    family("reindex table", "", "REINDEX TABLE t", 1, &[]),
    family(
        "attach partition",
        "CREATE TABLE m3 (at int, v int);
         INSERT INTO m3 SELECT n, n FROM generate_series(200, 299) n;",
        "ALTER TABLE m ATTACH PARTITION m3 FOR VALUES FROM (200) TO (300)",
        4,
        &[3, 1],
    ),
    family(
        "detach partition",
        "",
        "ALTER TABLE m DETACH PARTITION m1",
        2,
        &[],
    ),
    family(
        "detach partition concurrently",
        "",
        "ALTER TABLE m DETACH PARTITION m1 CONCURRENTLY",
        1,
        &[],
    ),
    family(
        "create partition",
        "",
        "CREATE TABLE m4 PARTITION OF m FOR VALUES FROM (300) TO (400)",
        2,
        &[1],
    ),
    family(
        "alter type, catalog only",
        "",
        "ALTER TABLE t ALTER COLUMN b TYPE text",
        1,
        &[],
    ),
    family(
        "drop constraint",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p) REFERENCES parent (id);",
        "ALTER TABLE t DROP CONSTRAINT t_p_fkey",
        1,
        &[],
    ),
    family("drop column", "", "ALTER TABLE t DROP COLUMN a", 1, &[]),
    family(
        "drop table with a foreign key",
        "CREATE TABLE f (id int PRIMARY KEY, p int REFERENCES parent);",
        "DROP TABLE f",
        1,
        &[],
    ),
    family("drop partition", "", "DROP TABLE m1", 2, &[]),
    family(
        "refresh",
        "CREATE MATERIALIZED VIEW mv AS SELECT p, count(*) FROM t GROUP BY p;
         CREATE UNIQUE INDEX mv_p ON mv (p);",
        "REFRESH MATERIALIZED VIEW mv",
        1,
        &[],
    ),
    family(
        "refresh concurrently",
        "CREATE MATERIALIZED VIEW mv AS SELECT p, count(*) FROM t GROUP BY p;
         CREATE UNIQUE INDEX mv_p ON mv (p);",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY mv",
        1,
        &[],
    ),
    family("rename index", "", "ALTER INDEX t_b RENAME TO t_bb", 1, &[]),
    family(
        "several in one",
        "",
        "ALTER TABLE t ADD CONSTRAINT t_a_check CHECK (a > 0), ALTER COLUMN b SET NOT NULL, ADD COLUMN c int",
        7,
        &[6, 4, 2, 1],
    ),
];

/// Everything that a family finds.
pub(crate) fn given(family: &Family) -> String {
    format!(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; {COMMON} {}",
        family.given
    )
}
