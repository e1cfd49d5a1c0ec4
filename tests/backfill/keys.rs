//! Which keys rows are gone through by, and that none is left out.

use lockkeeper::plan::Context;

use crate::client::Client;
use crate::{MANY, each, ok, plan};

/// The SQL of a statement's fills.
fn fills(client: &mut Client, sql: &str) -> Vec<String> {
    let (_, plan) = plan(client, sql);
    let fills = plan.steps.iter();
    let fills = fills.filter(|step| matches!(step.context, Context::Batches(_)));
    fills.map(|step| step.sql.clone()).collect()
}

/// Keys as SQL of `n`, and whether the rows can be gone through by them.
const KEYS: &[(&str, &str, bool)] = &[
    ("int", "n", true),
    ("smallint", "n", true),
    (
        "numeric",
        "CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN 1e300 ELSE n / 7.0 END",
        true,
    ),
    ("uuid", "md5(n::text)::uuid", true),
    (
        "text",
        "CASE n WHEN 1 THEN '' ELSE E'\\'\\\\\"\\n$1 é日' || md5(n::text) END",
        true,
    ),
    ("text COLLATE \"C\"", "E'Zä, a_\\t%' || n", true),
    ("varchar(40) COLLATE \"POSIX\"", "'x' || n", true),
    ("char(12)", "'é ' || n", true),
    ("name", "'N' || n", true),
    ("bytea", "decode(md5(n::text), 'hex')", true),
    ("inet", "('10.0.0.0'::inet + n)::inet", true),
    ("cidr", "('10.0.0.0'::inet + n)::cidr", true),
    (
        "date",
        "CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' ELSE '0005-02-01 BC'::date + n * 900 END",
        true,
    ),
    ("time", "'00:00'::time + n * '1.000001 s'::interval", true),
    (
        "timestamp",
        "'1999-12-31 23:59:59.123456'::timestamp + n * '1 d'::interval",
        true,
    ),
    (
        "timestamptz",
        "CASE n WHEN 1 THEN 'infinity' ELSE '1890-01-01'::timestamptz + n * '41 d'::interval END",
        true,
    ),
    ("positive", "n", true),
    ("double precision", "n / 3.0", false),
    ("interval", "n * '1 h'::interval", false),
    (
        "mood",
        "CASE WHEN n = 1 THEN 'sad' ELSE 'ok' END::mood",
        false,
    ),
];

/// Whatever the session's settings are. `IST`, as times of Kolkata are then written, is read as Israel's.
const ODD_SETTINGS: &str = "SET DateStyle = 'SQL, DMY'; SET bytea_output = 'escape'; SET extra_float_digits = -10; \
    SET client_encoding = 'LATIN1'; SET TimeZone = 'Asia/Kolkata'; SET default_transaction_isolation = 'serializable'";

#[test]
fn keys_of_every_type() {
    each(|_, _, client| {
        client.ok("CREATE DOMAIN positive AS bigint CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('sad', 'ok')");
        client.ok(ODD_SETTINGS);
        for (of_type, value, by_key) in KEYS {
            let rows = if *of_type == "mood" { 2 } else { MANY };
            // The literals above are UTF-8.
            client.ok(
                "DROP TABLE IF EXISTS t; CREATE SEQUENCE IF NOT EXISTS s; ALTER SEQUENCE s RESTART",
            );
            client.ok(&format!("CREATE TABLE t (n int, k {of_type} PRIMARY KEY)"));
            client.ok("SET client_encoding = 'UTF8'; SET DateStyle = 'ISO'");
            client.ok(&format!(
                "INSERT INTO t SELECT n, {value} FROM generate_series(1, {rows}) n"
            ));
            client.ok(ODD_SETTINGS);
            let sql = "ALTER TABLE t ADD COLUMN c bigint NOT NULL DEFAULT nextval('s')";
            let fills = fills(client, sql);
            let is_by_key = fills[0].contains("WHERE k > $1 AND k <= $2 AND c IS NULL");
            assert_eq!(is_by_key, *by_key, "{of_type}: {fills:?}");
            ok(client, sql, &mut |_| {});
            // Each row once, in order of the key.
            let wrong = "SELECT count(*) || ' ' || count(DISTINCT c) || ' ' || max(c) || ' ' || count(*) FILTER (
                WHERE o <> c AND $KEY) FROM (SELECT c, row_number() OVER (ORDER BY k) AS o FROM t) x";
            // Within a batch the server may take another order.
            let wrong = wrong.replace("$KEY", "abs(o - c) > 1000");
            let found = client.value(&wrong);
            let (counts, disorder) = found.rsplit_once(' ').expect("four numbers");
            assert_eq!(counts, format!("{rows} {rows} {rows}"), "{of_type}");
            assert!(
                !by_key || disorder == "0",
                "{of_type}: {disorder} out of order"
            );
        }
    });
}

#[test]
fn what_is_a_key() {
    each(|_, _, client| {
        let cases = [
            (
                "a int, b text, PRIMARY KEY (b, a)",
                "(b, a) > ($1, $2) AND (b, a) <= ($3, $4)",
            ),
            (
                "\"A b\" int UNIQUE NOT NULL",
                "\"A b\" > $1 AND \"A b\" <= $2",
            ),
            (
                "a int NOT NULL, b int NOT NULL, UNIQUE (a, b), UNIQUE (b)",
                "b > $1 AND b <= $2",
            ),
            (
                "a int, b int PRIMARY KEY, UNIQUE (a) INCLUDE (b)",
                "b > $1 AND b <= $2",
            ),
            (
                "a int NOT NULL, b int, UNIQUE (a) INCLUDE (b)",
                "a > $1 AND a <= $2",
            ),
            ("a int UNIQUE", "ctid >= $1 AND ctid < $2"),
            ("a int PRIMARY KEY DEFERRABLE", "ctid >= $1 AND ctid < $2"),
            ("a int", "ctid >= $1 AND ctid < $2"),
        ];
        for (columns, range) in cases {
            client.ok(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t ({columns})"
            ));
            let values = if columns.contains(" b ") {
                "1, '1'"
            } else {
                "1"
            };
            client.ok(&format!("INSERT INTO t VALUES ({values})"));
            let sql = "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()";
            let fill = fills(client, sql).swap_remove(0);
            assert!(
                fill.ends_with(&format!("WHERE {range} AND c IS NULL")),
                "{columns}: {fill}"
            );
            ok(client, sql, &mut |_| {});
        }
        let odd = [
            "(a DESC)",
            "(a NULLS FIRST)",
            "(b COLLATE \"C\")",
            "(b text_pattern_ops)",
            "(lower(b))",
            "(a) WHERE a > 0",
        ];
        for index in odd {
            client.ok("DROP TABLE IF EXISTS t; CREATE TABLE t (a int NOT NULL, b text NOT NULL)");
            client.ok(&format!(
                "INSERT INTO t VALUES (1, '1'); CREATE UNIQUE INDEX ON t {index}"
            ));
            let sql = "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()";
            let fill = fills(client, sql).swap_remove(0);
            assert!(fill.contains("ctid >= $1"), "{index}: {fill}");
        }
    });
}

#[test]
fn partitions_and_children_each_by_their_own() {
    each(|_, _, client| {
        client.ok(&format!(
            "CREATE TABLE e (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE e_1 PARTITION OF e FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             CREATE TABLE e_2 (gone int, note text, day date NOT NULL, id int NOT NULL);
             ALTER TABLE e_2 DROP COLUMN gone;
             ALTER TABLE e ATTACH PARTITION e_2 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
             CREATE TABLE e_3 PARTITION OF e FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (id);
             CREATE TABLE e_3_1 PARTITION OF e_3 DEFAULT;
             INSERT INTO e SELECT n, '2024-01-01'::date + n % 1090, 'x' FROM generate_series(1, {MANY} * 3) n;
             CREATE TABLE base (a int PRIMARY KEY); CREATE TABLE heir (b int) INHERITS (base);
             CREATE TABLE other_heir (b int PRIMARY KEY) INHERITS (base);
             INSERT INTO base SELECT generate_series(1, {MANY}); INSERT INTO heir SELECT generate_series(1, {MANY});
             INSERT INTO other_heir SELECT n, n FROM generate_series(1, {MANY}) n"
        ));
        let sql = "ALTER TABLE e ADD COLUMN c bigserial";
        let expected = ["e_1", "e_2", "e_3_1"].map(|leaf| {
            let range = "(id, day) > ($1, $2) AND (id, day) <= ($3, $4)";
            format!("UPDATE ONLY public.{leaf} SET c = DEFAULT WHERE {range} AND c IS NULL")
        });
        assert_eq!(fills(client, sql)[..3], expected);
        ok(client, sql, &mut |_| {});
        let count =
            client.value("SELECT count(c) || ' ' || count(DISTINCT c) || ' ' || max(c) FROM e");
        assert_eq!(count, format!("{0} {0} {0}", MANY * 3));
        let sql = "ALTER TABLE base ADD COLUMN c uuid NOT NULL DEFAULT gen_random_uuid()";
        assert!(fills(client, sql)[1].contains("public.heir SET c = DEFAULT WHERE ctid >= $1"));
        // Of a child's own columns the types aren't known.
        assert!(
            fills(client, sql)[2].contains("public.other_heir SET c = DEFAULT WHERE ctid >= $1")
        );
        ok(client, sql, &mut |_| {});
        let count = client.value("SELECT count(DISTINCT c) FROM base");
        assert_eq!(count, (MANY * 3).to_string());
    });
}
