//! Differences between the judge and the servers that have a reason. One that is no longer there fails the suite.

use std::ops::RangeInclusive;

/// A statement, the versions on which it differs, and why.
pub(crate) type Known = (&'static str, RangeInclusive<u32>, &'static str);

const ALL: RangeInclusive<u32> = 13..=18;

const RUNS_CODE: &str = "what code does isn't seen from outside";

/// Statements that do more than the judge foresees: what code does isn't seen from outside.
pub(crate) const WEAKER: &[Known] = &[
    (
        "DO 'BEGIN EXECUTE ''ALTER TABLE '' || ''t ADD COLUMN z int''; END'",
        ALL,
        RUNS_CODE,
    ),
    ("CALL alters()", ALL, RUNS_CODE),
    ("SELECT alters_f()", ALL, RUNS_CODE),
];

const INLINED: &str = "only the planner knows that the function is inlined, to a constant";
const WHICH_SEQUENCE: &str = "of a table's sequences it isn't told which column owns which";
const BY_INDEX: &str =
    "the planner reads the referenced table by its index, for there are few rows to check";
const OTHER_PROOF: &str =
    "the server also takes a CHECK for a proof that isn't written like the bound";
const HAS_NONE: &str =
    "partitions are locked for the share that they have in a trigger; here they have none";

/// Statements of which the judge expects more than was seen.
pub(crate) const STRONGER: &[Known] = &[
    ("ALTER TABLE t ADD COLUMN z int DEFAULT inl()", ALL, INLINED),
    (
        "ALTER TABLE m ADD COLUMN z int DEFAULT inl() NOT NULL",
        ALL,
        INLINED,
    ),
    (
        "ALTER TABLE p ALTER COLUMN id TYPE int",
        ALL,
        "a foreign key that is NOT VALID isn't checked",
    ),
    (
        "ALTER TABLE m ALTER COLUMN txt SET COMPRESSION DEFAULT",
        14..=18,
        "it is taken for SET STORAGE, which goes down",
    ),
    (
        "ALTER TABLE t ALTER COLUMN idn SET GENERATED ALWAYS",
        ALL,
        WHICH_SEQUENCE,
    ),
    (
        "ALTER TABLE t ALTER COLUMN idn SET INCREMENT 2 RESTART WITH 100",
        ALL,
        WHICH_SEQUENCE,
    ),
    (
        "ALTER TABLE t ALTER COLUMN idn DROP IDENTITY",
        ALL,
        WHICH_SEQUENCE,
    ),
    (
        "ALTER TABLE free ALTER COLUMN z SET EXPRESSION AS (n + 1)",
        18..=18,
        "it isn't told whether a generated column is stored",
    ),
    (
        "ALTER TABLE par ALTER CONSTRAINT z NO INHERIT",
        18..=18,
        "it isn't told from INHERIT, which reads the heirs",
    ),
    (
        "ALTER TABLE bare ADD CONSTRAINT z FOREIGN KEY (r, PERIOD r2) REFERENCES spans (r, PERIOD r2)",
        18..=18,
        BY_INDEX,
    ),
    (
        "ALTER TABLE l ATTACH PARTITION l3 FOR VALUES IN (3)",
        ALL,
        BY_INDEX,
    ),
    ("ALTER TABLE m ENABLE TRIGGER USER", ALL, HAS_NONE),
    (
        "CREATE TRIGGER z BEFORE TRUNCATE ON m FOR EACH STATEMENT EXECUTE FUNCTION tg()",
        ALL,
        HAS_NONE,
    ),
    (
        "ALTER TABLE free SET TABLESPACE pg_default",
        ALL,
        "the database's own tablespace has no name in the facts",
    ),
    (
        "ALTER TABLE m ATTACH PARTITION m4 FOR VALUES FROM (300) TO (400)",
        ALL,
        OTHER_PROOF,
    ),
    (
        "ALTER TABLE l ATTACH PARTITION l4 FOR VALUES IN (4)",
        ALL,
        OTHER_PROOF,
    ),
    (
        "CREATE TABLE IF NOT EXISTS q (id int REFERENCES p)",
        ALL,
        "whether the table is there isn't asked",
    ),
    (
        "TRUNCATE ONLY par CONTINUE IDENTITY",
        ALL,
        "ONLY isn't told",
    ),
    (
        "DROP TRIGGER IF EXISTS nosuch ON t",
        ALL,
        "whether the trigger is there isn't asked",
    ),
];

const COMES_BACK_UNCHECKED: &str =
    "a foreign key that is put back is NOT VALID: checking it would take long";

/// Statements whose plan ends otherwise than they do, or isn't taken back to the letter.
pub(crate) const PLANS: &[Known] = &[
    ("ALTER TABLE t DROP COLUMN p_id", ALL, COMES_BACK_UNCHECKED),
    ("DROP TABLE q", ALL, COMES_BACK_UNCHECKED),
    ("DROP TABLE t CASCADE", ALL, COMES_BACK_UNCHECKED),
    (
        "ALTER TABLE e ADD PRIMARY KEY (k, a)",
        18..=18,
        "a primary key makes a NOT NULL of its own, which stays when it goes",
    ),
];

/// Whether a statement is known to differ on a version.
fn is_known(known: &[Known], sql: &str, version: u32) -> bool {
    known
        .iter()
        .any(|(text, versions, _)| *text == sql && versions.contains(&version))
}

/// What isn't known of a difference; that a known one isn't there is one too.
pub(crate) fn unknown(
    known: &[Known],
    sql: &str,
    version: u32,
    difference: &str,
) -> Option<String> {
    match (is_known(known, sql, version), difference.is_empty()) {
        (false, false) => Some(difference.to_owned()),
        (true, true) => Some(
            " it is known to differ, and doesn't: strike it from tests/judged/known.rs".to_owned(),
        ),
        (true, false) | (false, true) => None,
    }
}
