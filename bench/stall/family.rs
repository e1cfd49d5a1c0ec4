//! The schema changes that are compared.

use std::str::FromStr;

/// What a schema change costs the server when nobody is in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A change of the catalog alone: milliseconds.
    Catalog,
    /// It reads or writes the whole table: seconds.
    Build,
}

/// A schema change of the table `busy`, or of one beside it.
#[derive(Debug)]
pub(crate) struct Family {
    /// What `--family` calls it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What the table needs beyond its usual form. `{rows}` and `{half}` are numbers of rows.
    pub(crate) prepare: &'static str,
    /// The schema change, as a careless tool sends it.
    pub(crate) change: &'static str,
    /// A query that is true once it is done.
    pub(crate) proof: &'static str,
}

/// The usual form of the table. The vacuum keeps autovacuum, which is on, from beginning with it.
pub(crate) const TABLE: &str = "
    CREATE TABLE busy (
        id bigint NOT NULL,
        customer_id integer NOT NULL,
        code text NOT NULL,
        status text,
        note varchar(100),
        amount numeric(10, 2) NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz,
        spare text
    ) WITH (fillfactor = 90);
    INSERT INTO busy
    SELECT n, hashint8(n) & 262143, 'code ' || n, 'new', 'note ' || hashint8(n), (n % 100000) / 100.0,
           timestamptz '2025-01-01' + n * interval '7 seconds', NULL, NULL
    FROM generate_series(1, {rows}) AS n;
    ALTER TABLE busy ADD PRIMARY KEY (id);
    CREATE INDEX busy_customer_idx ON busy (customer_id)";

/// The table in two partitions, without a default partition.
const PARTITIONED: &str = "
    ALTER TABLE busy RENAME TO whole;
    CREATE TABLE busy (LIKE whole) PARTITION BY RANGE (id);
    CREATE TABLE busy_old PARTITION OF busy FOR VALUES FROM (MINVALUE) TO ({half});
    CREATE TABLE busy_new PARTITION OF busy FOR VALUES FROM ({half}) TO (MAXVALUE);
    INSERT INTO busy SELECT * FROM whole;
    DROP TABLE whole;
    ALTER TABLE busy ADD PRIMARY KEY (id)";

/// The table in a partition and a default partition, and a table of as many rows to attach.
const WITH_DEFAULT: &str = "
    ALTER TABLE busy RENAME TO whole;
    CREATE TABLE busy (LIKE whole) PARTITION BY RANGE (id);
    CREATE TABLE busy_old PARTITION OF busy FOR VALUES FROM (MINVALUE) TO ({half});
    CREATE TABLE busy_rest PARTITION OF busy DEFAULT;
    INSERT INTO busy SELECT * FROM whole;
    DROP TABLE whole;
    ALTER TABLE busy ADD PRIMARY KEY (id);
    CREATE TABLE arriving (LIKE busy INCLUDING ALL);
    INSERT INTO arriving SELECT id + {rows}, customer_id, code, status, note, amount, created_at FROM busy";

/// All of them, in the order in which they run.
pub(crate) const FAMILIES: &[Family] = &[
    Family {
        name: "add-column",
        kind: Kind::Catalog,
        prepare: "",
        change: "ALTER TABLE busy ADD COLUMN extra text",
        proof: "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'extra')",
    },
    Family {
        name: "alter-type",
        kind: Kind::Catalog,
        prepare: "",
        change: "ALTER TABLE busy ALTER COLUMN note TYPE varchar(200)",
        proof: "SELECT atttypmod = 204 FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'note'",
    },
    Family {
        name: "rename-column",
        kind: Kind::Catalog,
        prepare: "",
        change: "ALTER TABLE busy RENAME COLUMN spare TO reserve",
        proof: "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'reserve')",
    },
    Family {
        name: "drop-column",
        kind: Kind::Catalog,
        prepare: "",
        change: "ALTER TABLE busy DROP COLUMN spare",
        proof: "SELECT NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'spare')",
    },
    Family {
        name: "drop-index",
        kind: Kind::Catalog,
        prepare: "",
        change: "DROP INDEX busy_customer_idx",
        proof: "SELECT to_regclass('busy_customer_idx') IS NULL",
    },
    Family {
        name: "detach-partition",
        kind: Kind::Catalog,
        prepare: PARTITIONED,
        change: "ALTER TABLE busy DETACH PARTITION busy_old",
        proof: "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'busy_old'::regclass)",
    },
    Family {
        name: "attach-partition",
        kind: Kind::Build,
        prepare: WITH_DEFAULT,
        change: "ALTER TABLE busy ATTACH PARTITION arriving FOR VALUES FROM ({rows} + 1) TO (2 * {rows} + 1)",
        proof: "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'arriving'::regclass)",
    },
    Family {
        name: "set-not-null",
        kind: Kind::Build,
        prepare: "",
        change: "ALTER TABLE busy ALTER COLUMN status SET NOT NULL",
        proof: "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'status'",
    },
    Family {
        name: "add-check",
        kind: Kind::Build,
        prepare: "",
        change: "ALTER TABLE busy ADD CONSTRAINT busy_note_check CHECK (note ~ '^[-a-z0-9 ]*$')",
        proof: "SELECT convalidated FROM pg_constraint WHERE conname = 'busy_note_check'",
    },
    Family {
        name: "validate",
        kind: Kind::Build,
        prepare: "ALTER TABLE busy ADD CONSTRAINT busy_note_check CHECK (note ~ '^[-a-z0-9 ]*$') NOT VALID",
        change: "ALTER TABLE busy VALIDATE CONSTRAINT busy_note_check",
        proof: "SELECT convalidated FROM pg_constraint WHERE conname = 'busy_note_check'",
    },
    Family {
        name: "foreign-key-child-busy",
        kind: Kind::Build,
        prepare: "CREATE TABLE customers AS SELECT n AS id, 'name ' || n AS name FROM generate_series(0, 262143) AS n; \
                  ALTER TABLE customers ADD PRIMARY KEY (id)",
        change: "ALTER TABLE busy ADD CONSTRAINT busy_customer_fkey FOREIGN KEY (customer_id) REFERENCES customers",
        proof: "SELECT convalidated FROM pg_constraint WHERE conname = 'busy_customer_fkey'",
    },
    Family {
        name: "foreign-key-parent-busy",
        kind: Kind::Build,
        prepare: "CREATE TABLE lines AS SELECT n AS id, n AS busy_id FROM generate_series(1::bigint, {rows}) AS n",
        change: "ALTER TABLE lines ADD CONSTRAINT lines_busy_fkey FOREIGN KEY (busy_id) REFERENCES busy",
        proof: "SELECT convalidated FROM pg_constraint WHERE conname = 'lines_busy_fkey'",
    },
    Family {
        name: "create-index",
        kind: Kind::Build,
        prepare: "",
        change: "CREATE INDEX busy_created_idx ON busy (created_at, customer_id)",
        proof: "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('busy_created_idx')",
    },
    Family {
        name: "primary-key",
        kind: Kind::Build,
        prepare: "ALTER TABLE busy DROP CONSTRAINT busy_pkey; CREATE UNIQUE INDEX busy_id_idx ON busy (id)",
        change: "ALTER TABLE busy ADD PRIMARY KEY (id)",
        proof: "SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = 'busy'::regclass AND indisprimary AND indisvalid)",
    },
    Family {
        name: "unique",
        kind: Kind::Build,
        prepare: "",
        change: "ALTER TABLE busy ADD CONSTRAINT busy_code_key UNIQUE (code)",
        proof: "SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = 'busy_code_key')",
    },
    Family {
        name: "reindex",
        kind: Kind::Build,
        prepare: "",
        change: "REINDEX TABLE busy",
        proof: "SELECT count(*) = 2 AND bool_and(indisvalid) FROM pg_index WHERE indrelid = 'busy'::regclass",
    },
    Family {
        name: "add-column-volatile",
        kind: Kind::Build,
        prepare: "",
        change: "ALTER TABLE busy ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        proof: "SELECT count(token) = count(*) FROM busy",
    },
];

/// A family that was chosen by its name.
impl FromStr for &'static Family {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let found = FAMILIES.iter().find(|family| family.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            anyhow::anyhow!("there is none; there are {}", names.join(", "))
        })
    }
}
