//! The ledger, those who write to it and know what they wrote, and how its schema is changed.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::wire::{Wire, sqlstate};

/// How many write at once.
pub(crate) const WRITERS: u64 = 4;
/// Rows that a writer keeps.
const ROWS: usize = 400;

/// Numbers that are the same in every run (xorshift).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Those of one of several.
    pub(crate) fn new(seed: u64, whose: u64) -> Numbers {
        Numbers((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (whose << 20)) | 1)
    }

    /// The next, less than a limit.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// What is there at the beginning.
pub(crate) const GIVEN: &str = "
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent SELECT n FROM generate_series(1, 10) n;
CREATE TABLE ledger (writer int, n int, amount int, code varchar(40), parent int);
INSERT INTO ledger SELECT 0, n, n, '0-' || n, 1 + n % 10 FROM generate_series(1, 3000) n;
CREATE INDEX ledger_writer ON ledger (writer, n);
CREATE INDEX ledger_code ON ledger (code);
CREATE TABLE moves (at int NOT NULL, writer int, n int) PARTITION BY RANGE (at);
CREATE TABLE m1 PARTITION OF moves FOR VALUES FROM (0) TO (100);
CREATE TABLE m2 PARTITION OF moves FOR VALUES FROM (100) TO (200);
CREATE TABLE m3 (at int NOT NULL, writer int, n int);
INSERT INTO m3 SELECT 200 + n % 100, 0, n FROM generate_series(1, 1000) n;
CREATE MATERIALIZED VIEW totals AS SELECT writer, count(*) FROM ledger WHERE writer = 0 GROUP BY writer;
CREATE UNIQUE INDEX totals_writer ON totals (writer)";

/// A change of the schema.
#[derive(Debug)]
pub(crate) struct Change {
    /// The statement.
    pub(crate) forth: &'static str,
    /// What undoes it; `None` when it can be done again.
    pub(crate) back: Option<&'static str>,
    /// Whether it is done.
    pub(crate) is_there: &'static str,
    /// An interruption leaves everything as it was, or is too late; otherwise the same again goes on.
    pub(crate) takes_back: bool,
}

impl Change {
    /// Whether a statement is one of it, and whether that forth.
    pub(crate) fn about(&'static self, sql: &str) -> Option<(&'static Change, bool)> {
        if self.forth == sql {
            Some((self, true))
        } else if self.back == Some(sql) {
            Some((self, false))
        } else {
            None
        }
    }
}

const fn change(forth: &'static str, back: &'static str, is_there: &'static str) -> Change {
    Change {
        forth,
        back: Some(back),
        is_there,
        takes_back: true,
    }
}

const fn repeated(forth: &'static str) -> Change {
    Change {
        forth,
        back: None,
        is_there: "SELECT true",
        takes_back: true,
    }
}

/// All of them, in an order in which they can be made.
pub(crate) const CHANGES: &[Change] = &[
    change(
        "ALTER TABLE ledger ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()",
        "ALTER TABLE ledger DROP COLUMN token",
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attname = 'token')",
    ),
    change(
        "ALTER TABLE ledger ADD COLUMN number bigserial",
        "ALTER TABLE ledger DROP COLUMN number",
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attname = 'number')",
    ),
    change(
        "ALTER TABLE ledger ADD COLUMN line bigint GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE ledger DROP COLUMN line",
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attname = 'line')",
    ),
    change(
        "ALTER TABLE ledger ADD COLUMN note text DEFAULT 'none'",
        "ALTER TABLE ledger DROP COLUMN note",
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attname = 'note')",
    ),
    change(
        "ALTER TABLE ledger ALTER COLUMN amount SET NOT NULL",
        "ALTER TABLE ledger ALTER COLUMN amount DROP NOT NULL",
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attname = 'amount'",
    ),
    change(
        "ALTER TABLE ledger ADD CONSTRAINT ledger_amount_check CHECK (amount > 0)",
        "ALTER TABLE ledger DROP CONSTRAINT ledger_amount_check",
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'ledger_amount_check')",
    ),
    change(
        "ALTER TABLE ledger ADD CONSTRAINT ledger_parent_fkey FOREIGN KEY (parent) REFERENCES parent (id)",
        "ALTER TABLE ledger DROP CONSTRAINT ledger_parent_fkey",
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'ledger_parent_fkey')",
    ),
    change(
        "ALTER TABLE ledger ADD CONSTRAINT ledger_code_key UNIQUE (code)",
        "ALTER TABLE ledger DROP CONSTRAINT ledger_code_key",
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'ledger_code_key')",
    ),
    change(
        "ALTER TABLE ledger ADD CONSTRAINT ledger_pkey PRIMARY KEY (writer, n)",
        "ALTER TABLE ledger DROP CONSTRAINT ledger_pkey, ALTER COLUMN writer DROP NOT NULL, \
         ALTER COLUMN n DROP NOT NULL",
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'ledger_pkey')",
    ),
    change(
        "CREATE INDEX ledger_amount ON ledger (amount)",
        "DROP INDEX ledger_amount",
        "SELECT to_regclass('ledger_amount') IS NOT NULL",
    ),
    change(
        "CREATE UNIQUE INDEX ledger_both ON ledger (n, writer)",
        "DROP INDEX ledger_both",
        "SELECT to_regclass('ledger_both') IS NOT NULL",
    ),
    change(
        "CREATE INDEX moves_n ON moves (n)",
        "DROP INDEX moves_n",
        "SELECT to_regclass('moves_n') IS NOT NULL",
    ),
    change(
        "DROP INDEX ledger_code",
        "CREATE INDEX ledger_code ON ledger (code)",
        "SELECT to_regclass('ledger_code') IS NULL",
    ),
    change(
        "ALTER INDEX ledger_writer RENAME TO ledger_of",
        "ALTER INDEX ledger_of RENAME TO ledger_writer",
        "SELECT to_regclass('ledger_of') IS NOT NULL",
    ),
    Change {
        forth: "CREATE TABLE m4 PARTITION OF moves FOR VALUES FROM (300) TO (400)",
        back: Some("DROP TABLE m4"),
        is_there: "SELECT to_regclass('m4') IS NOT NULL",
        takes_back: false, // it may be left detached
    },
    change(
        "ALTER TABLE moves DETACH PARTITION m1",
        "ALTER TABLE moves ATTACH PARTITION m1 FOR VALUES FROM (0) TO (100)",
        "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'm1'::regclass)",
    ),
    repeated("REINDEX INDEX ledger_of"),
    repeated("REINDEX TABLE ledger"),
    repeated("REFRESH MATERIALIZED VIEW totals"),
    repeated("REFRESH MATERIALIZED VIEW CONCURRENTLY totals"),
];

/// Queries that count what must not be.
pub(crate) const VIOLATIONS: &[(&str, &str)] = &[
    (
        "NOT NULL",
        "SELECT count(*) FROM ledger WHERE token IS NULL OR number IS NULL OR line IS NULL OR amount IS NULL
         OR writer IS NULL OR n IS NULL",
    ),
    ("CHECK", "SELECT count(*) FROM ledger WHERE amount <= 0"),
    (
        "FOREIGN KEY",
        "SELECT count(*) FROM ledger l LEFT JOIN parent p ON p.id = l.parent WHERE p.id IS NULL",
    ),
    ("UNIQUE", "SELECT count(*) - count(DISTINCT code) FROM ledger"),
    (
        "PRIMARY KEY",
        "SELECT count(*) - count(DISTINCT (writer, n)) FROM ledger",
    ),
    (
        "values of their own",
        "SELECT 3 * count(*) - count(DISTINCT token) - count(DISTINCT number) - count(DISTINCT line) FROM ledger",
    ),
    (
        "rows of before",
        "SELECT count(*) - 3000 FROM ledger WHERE writer = 0 AND amount = n AND code = '0-' || n AND note = 'none'",
    ),
];

/// One who writes rows of its own.
#[derive(Debug)]
pub(crate) struct Writer {
    number: u64,
    numbers: Numbers,
    last: u64,
    /// Amounts by row.
    rows: BTreeMap<u64, u64>,
    /// Rows written to the partitioned table.
    moves: u64,
    /// Transactions.
    pub(crate) done: usize,
    /// Those that the server refused.
    pub(crate) failed: usize,
}

impl Writer {
    /// Nothing is written yet.
    pub(crate) fn new(number: u64, seed: u64) -> Writer {
        Writer {
            number,
            numbers: Numbers::new(seed, number),
            last: 0,
            rows: BTreeMap::new(),
            moves: 0,
            done: 0,
            failed: 0,
        }
    }

    /// One transaction; what it did is known only when the server says that it is done.
    pub(crate) fn work(&mut self, wire: &mut Wire) {
        let mut rows = self.rows.clone();
        let mut moves = self.moves;
        let mut sql = vec!["BEGIN".to_owned()];
        for _ in 0..=self.numbers.below(3) {
            let sort = if rows.len() > ROWS {
                3
            } else {
                self.numbers.below(5)
            };
            let some = rows.keys().nth(self.numbers.below(ROWS as u64) as usize);
            match (sort, some.copied()) {
                (0, Some(n)) => {
                    rows.entry(n).and_modify(|amount| *amount += 1);
                    sql.push(self.of(n, "UPDATE ledger SET amount = amount + 1"));
                }
                (3, Some(n)) => {
                    rows.remove(&n);
                    sql.push(self.of(n, "DELETE FROM ledger"));
                }
                (4, _) => {
                    moves += 1;
                    let at = 100 + self.numbers.below(100);
                    let number = self.number;
                    sql.push(format!(
                        "INSERT INTO moves (at, writer, n) VALUES ({at}, {number}, {moves})"
                    ));
                }
                _ => {
                    self.last += 1;
                    let (writer, n) = (self.number, self.last);
                    rows.insert(n, n);
                    sql.push(format!(
                        "INSERT INTO ledger (writer, n, amount, code, parent)
                         VALUES ({writer}, {n}, {n}, '{writer}-{n}', {})",
                        1 + n % 10
                    ));
                }
            }
        }
        self.done += 1;
        let is_kept = self.numbers.below(10) > 0;
        sql.push(if is_kept { "COMMIT" } else { "ROLLBACK" }.to_owned());
        for statement in &sql {
            let frames = wire.query(statement);
            let state = sqlstate(&frames);
            if !state.is_empty() {
                // Whoever is in a deadlock with a schema change may be the one who is ended.
                assert_eq!(state, "40P01", "{statement}: {frames:?}");
                self.failed += 1;
                wire.run("ROLLBACK");
                return;
            }
        }
        if is_kept {
            (self.rows, self.moves) = (rows, moves);
        }
    }

    fn of(&self, n: u64, what: &str) -> String {
        format!("{what} WHERE writer = {} AND n = {n}", self.number)
    }

    /// The rows are those that were written.
    pub(crate) fn check(&self, client: &mut Client) {
        let number = self.number;
        let rows = client.ok(&format!(
            "SELECT n, amount FROM ledger WHERE writer = {number} AND code = writer || '-' || n AND parent = 1 + n % 10"
        ));
        let found: BTreeMap<u64, u64> = rows
            .rows
            .iter()
            .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap()))
            .collect();
        assert_eq!(rows.rows.len(), self.rows.len(), "rows of writer {number}");
        assert_eq!(found, self.rows, "rows of writer {number}");
        let moves = client.value(&format!(
            "SELECT count(DISTINCT n) || ' of ' || count(*) FROM moves WHERE writer = {number}"
        ));
        assert_eq!(
            moves,
            format!("{0} of {0}", self.moves),
            "moves of writer {number}"
        );
    }
}
