//! The audit log after years, and the journal after many plans: whatever is asked of them is answered by an index.

use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use lockkeeper::exec::session::{Command, Session};
use lockkeeper::journal::history::{Filter, RUNNING, Table, question};
use lockkeeper::journal::statements::{self, MIGRATIONS};
use lockkeeper::pg::login::Login;
use lockkeeper::pg::temporary::TemporaryServer;
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::harness::{block_on, limited, start_server};

/// Events, of which the newest so many are written while the indexes are there.
const EVENTS: u64 = 10_000_000;
const LAST_EVENTS: u64 = 100_000;
/// Plans that have ended.
const ENDED_PLANS: u64 = 100_000;
/// Plans that haven't.
const OPEN_PLANS: u64 = 50;

/// The pages of 8 KiB that an answer may read: a seventh of a second where each is read from a slow disk.
const MAX_PAGES: u64 = 2000;
/// The same of what the journal asks while a schema change waits.
const MAX_JOURNAL_PAGES: u64 = 400;
/// The pages that forgetting may read: each row is found by its number.
const MAX_FORGET_PAGES: u64 = 8000;

/// The events numbered from {from} to {to}, over a year until now, of 20,000 tables. `orders` has a hundredth. A tenth
/// have two relations; `users` is second in a fiftieth of all, `regions` in few. A thousandth have many.
const EVENTS_SQL: &str = r#"
INSERT INTO lockkeeper.audit_log (at, outcome, relations, event)
SELECT clock_timestamp() - (({events} - n)::float8 / {events}) * interval '365 days',
       CASE WHEN n % 400000 = 0 OR n > {events} - 10 THEN NULL
            WHEN n % 20 = 3 THEN 'failed' WHEN n % 50 = 7 THEN 'refused' WHEN n % 50 = 9 THEN 'passed'
            WHEN n % 1000000 = 11 THEN 'observed' ELSE 'done' END,
       names,
       jsonb_build_object(
         'user', CASE WHEN h % 10 < 6 THEN 'deploy' WHEN n % 300000 = 1 THEN 'eve' ELSE 'dev_' || h % 200 END,
         'database', 'shop', 'application', 'flyway', 'client', '10.0.3.' || h % 250 || ':' || 30000 + h % 9999,
         'server_pid', 1000 + h % 30000, 'tag', 'ALTER TABLE', 'sql', sql, 'verdict', 'rewrite', 'rule', 'lock-queue',
         'mode', 'enforce', 'relations',
         (SELECT jsonb_agg(jsonb_build_object('name', names[at], 'bytes', h % 1000000000))
          FROM generate_series(1, cardinality(names), 2) at),
         'executed', jsonb_build_array(sql), 'attempts', 1 + h % 3, 'lock_wait_ms', h % 200, 'lock_hold_ms', h % 9,
         'elapsed_ms', h % 5000)
FROM (SELECT n, h, names, 'ALTER TABLE ' || names[1] || ' ADD COLUMN c' || h % 1000 || ' text' AS sql
      FROM (SELECT n, h, first || CASE
              WHEN n % 50 = 17 THEN '{public.users,users}'::text[]
              WHEN n % 400000 = 19 THEN '{public.regions,regions}'
              WHEN n % 1000 = 21 THEN '{app.t1,t1,app.t2,t2,app.t3,t3,app.lists,lists}'
              WHEN n % 25 = 2 OR n % 25 = 4 THEN ARRAY['app.t' || h2 % 20000, 't' || h2 % 20000]
              ELSE '{}' END AS names
            FROM (SELECT n, h, h2, CASE WHEN n % 100 = 5 THEN '{public.orders,orders}'::text[]
                    WHEN n % 2000000 = 23 THEN '{public.rare,rare}'
                    ELSE ARRAY['app.t' || h % 20000, 't' || h % 20000] END AS first
                  FROM (SELECT n, hashint8(n) & 2147483647 AS h, hashint8(n + {events}) & 2147483647 AS h2
                        FROM generate_series({from}::int8, {to}) n) hashed) firsts) named) texts
"#;

/// The names of their other relations, of those events from {from} on.
const OTHERS_SQL: &str = "
INSERT INTO lockkeeper.audit_relation (audit, at, name)
SELECT DISTINCT id, at, name FROM lockkeeper.audit_log, unnest(relations[3:]) name
WHERE id >= {from} AND cardinality(relations) > 2";

/// What takes the indexes away while most of the events are written, and puts them back.
const DROP_INDEXES_SQL: &str = "
CREATE TEMPORARY TABLE kept AS SELECT indexdef, format('%I.%I', schemaname, indexname) AS name FROM pg_indexes
  WHERE tablename = 'audit_log' AND indexname <> 'audit_log_pkey';
DO $$ DECLARE gone text; BEGIN FOR gone IN SELECT name FROM kept LOOP EXECUTE 'DROP INDEX ' || gone; END LOOP; END $$";
const MAKE_INDEXES_SQL: &str = "
DO $$ DECLARE made text; BEGIN FOR made IN SELECT indexdef FROM kept LOOP EXECUTE made; END LOOP; END $$";

/// Plans that have ended, and then some that haven't: a few wait for each relation, and half of those send the same.
const PLANS_SQL: &str = r#"
INSERT INTO lockkeeper.plan (keys, audit, ended, heartbeat, plan)
SELECT ARRAY[(5::int8 << 32) | 16384 + n % 10], n,
       CASE WHEN n <= {ended} THEN clock_timestamp() - ({ended} - n) * interval '7 days' / {ended} END,
       clock_timestamp(),
       jsonb_build_object('version', 1, 'system', '7000000000000000001', 'database', 5, 'role', 'deploy',
         'search_path', 'public',
         'who', '{"user": "deploy", "database": "shop", "application": "flyway", "client": "10.0.3.7:4711"}'::jsonb,
         'tag', 'CREATE INDEX', 'sql', 'CREATE INDEX ON orders (c' || n % 10 || ')', 'what', 'CREATE INDEX of deploy',
         'twin', '[5, "deploy", [16384], "public", "CREATE INDEX ON orders (c' || n % 10 || ')"]',
         'backend', '{"pid": 4711, "start": "2026-01-01 00:00:00+00"}'::jsonb, 'course', '{"done": 2}'::jsonb, 'steps',
         (SELECT jsonb_agg(jsonb_build_object('title', 'step ' || s, 'sql', repeat('CREATE INDEX CONCURRENTLY ', 4)))
          FROM generate_series(1, 3) s))
FROM generate_series(1, {ended} + {open}) n
"#;

/// lockkeeper's own database, on a server of its own.
struct Own {
    login: Login,
    _server: TemporaryServer,
}

impl Own {
    async fn new() -> Own {
        let server = start_server(|options| {
            // Ten million events through a log on a small disk take long, and say nothing of the questions.
            for (name, value) in [
                ("wal_level", "minimal"),
                ("max_wal_senders", "0"),
                ("max_wal_size", "2GB"),
                ("shared_buffers", "256MB"),
                ("maintenance_work_mem", "256MB"),
            ] {
                options.settings.push((name.to_owned(), value.to_owned()));
            }
        });
        let admin = connect(&server, "postgres").await;
        let create =
            "CREATE DATABASE own TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";
        admin.batch_execute(create).await.unwrap();
        let mut own = Own {
            login: Login::new(connect(&server, "own").await),
            _server: server,
        };
        for sql in MIGRATIONS {
            own.run(sql).await;
        }
        own
    }

    async fn run(&mut self, sql: &str) {
        let replies = self.login.run(&[Command::own(sql)]).await;
        replies.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn write_events(&mut self, from: u64, to: u64) {
        let numbers = [("{events}", EVENTS), ("{from}", from), ("{to}", to)];
        let filled =
            |sql: String, (key, number): (&str, u64)| sql.replace(key, &number.to_string());
        for sql in [EVENTS_SQL, OTHERS_SQL] {
            let sql = numbers.into_iter().fold(sql.to_owned(), filled);
            self.run(&sql).await;
        }
    }

    /// Runs a command, and says what it read.
    async fn explain(&mut self, what: &str, command: Command) -> Explained {
        let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}", command.sql);
        let replies = self
            .login
            .run(&[Command::with(sql, command.parameters)])
            .await;
        let replies = replies.unwrap_or_else(|error| panic!("{what}: {error}"));
        let text = replies[0].rows[0][0].clone().unwrap();
        let explained: Value = serde_json::from_str(&text).unwrap();
        let root = &explained[0];
        let mut scans = Vec::new();
        collect_scans(&root["Plan"], &mut scans);
        let pages = |key: &str| root["Plan"][key].as_u64().unwrap();
        let explained = Explained {
            pages: pages("Shared Hit Blocks") + pages("Shared Read Blocks"),
            ms: root["Execution Time"].as_f64().unwrap(),
            scans,
        };
        let Explained { pages, ms, scans } = &explained;
        println!(
            "{what:34} {pages:6} pages {ms:9.2} ms   {}",
            scans.join(", ")
        );
        explained
    }
}

async fn connect(server: &TemporaryServer, database: &str) -> tokio_postgres::Client {
    let conninfo = format!(
        "host=127.0.0.1 port={} user=postgres dbname={database}",
        server.port()
    );
    let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
        .batch_execute("SET search_path = pg_catalog")
        .await
        .unwrap();
    client
}

/// What was read to answer.
struct Explained {
    /// Of 8 KiB, counted as often as they were looked at.
    pages: u64,
    ms: f64,
    /// How each table was read.
    scans: Vec<String>,
}

impl Explained {
    /// Complaints, with what was asked.
    fn judged(&self, what: &str, max_pages: u64, complaints: &mut Vec<String>) {
        let whole = self.scans.iter().any(|scan| scan.starts_with("Seq Scan"));
        if whole || self.pages > max_pages {
            complaints.push(format!(
                "{what}: {} pages by {}",
                self.pages,
                self.scans.join(", ")
            ));
        }
    }
}

/// How each of lockkeeper's tables is read in a plan.
fn collect_scans(plan: &Value, scans: &mut Vec<String>) {
    let word = |key: &str| plan[key].as_str().unwrap_or_default();
    if let Some(index) = plan["Index Name"].as_str() {
        scans.push(format!("{} {index}", word("Node Type")));
    } else if word("Node Type") == "Seq Scan" {
        scans.push(format!("Seq Scan of {}", word("Relation Name")));
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        collect_scans(part, scans);
    }
}

/// What people ask, in words and as it is asked.
fn questions() -> Vec<(&'static str, Filter)> {
    let ago = |hours: i64| Some(Timestamp::now() - hours.hours());
    let table = |name: &str| {
        let (name, has_schema) = (name.to_owned(), name.contains('.'));
        Some(Table { name, has_schema })
    };
    let of = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter {
            limit: 100,
            ..Filter::default()
        };
        change(&mut filter);
        filter
    };
    let word = |text: &str| Some(text.to_owned());
    let by_table = |name: &str| of(&|filter| filter.table = table(name));
    let by_user = |name: &str| of(&|filter| filter.user = word(name));
    let by_outcome = |name: &str| of(&|filter| filter.outcome = word(name));
    vec![
        ("all", of(&|_| {})),
        ("--since 2h", of(&|filter| filter.since = ago(2))),
        (
            "--since half a year",
            of(&|filter| filter.since = ago(4380)),
        ),
        (
            "--until half a year",
            of(&|filter| filter.until = ago(4380)),
        ),
        (
            "--since and --until, an hour",
            of(&|filter| (filter.since, filter.until) = (ago(4380), ago(4379))),
        ),
        ("--table, a hundredth", by_table("public.orders")),
        ("--table, without schema", by_table("orders")),
        ("--table, usual", by_table("app.t4711")),
        ("--table, rare", by_table("public.rare")),
        ("--table, rare without schema", by_table("rare")),
        ("--table, second of many", by_table("public.users")),
        ("--table, without schema", by_table("users")),
        ("--table, second of few", by_table("public.regions")),
        ("--table, without schema", by_table("regions")),
        ("--table, fifth of some", by_table("app.lists")),
        ("--table, without schema", by_table("lists")),
        ("--table, none", by_table("public.none")),
        (
            "--table --until, long ago",
            of(&|filter| (filter.table, filter.until) = (table("public.users"), ago(8000))),
        ),
        (
            "--table --since, rare",
            of(&|filter| (filter.table, filter.since) = (table("regions"), ago(4380))),
        ),
        ("--user, most", by_user("deploy")),
        ("--user, one of 200", by_user("dev_17")),
        ("--user, rare", by_user("eve")),
        ("--user, none", by_user("nobody")),
        ("--outcome done", by_outcome("done")),
        ("--outcome failed", by_outcome("failed")),
        ("--outcome observed", by_outcome("observed")),
        ("--outcome running", by_outcome(RUNNING)),
        ("--outcome, none such", by_outcome("lost")),
    ]
}

#[test]
fn ten_million_audit_events_are_asked_by_index() {
    limited(|| {
        block_on(async {
            let mut own = Own::new().await;
            let began = Instant::now();
            own.run(DROP_INDEXES_SQL).await;
            own.write_events(1, EVENTS - LAST_EVENTS).await;
            println!("written after {:?}", began.elapsed());
            own.run(MAKE_INDEXES_SQL).await;
            println!("indexes made after {:?}", began.elapsed());
            own.run("VACUUM (ANALYZE) lockkeeper.audit_log, lockkeeper.audit_relation")
                .await;
            own.write_events(EVENTS - LAST_EVENTS + 1, EVENTS).await;
            println!("{EVENTS} events after {:?}", began.elapsed());
            let mut complaints = Vec::new();
            for (what, filter) in questions() {
                let explained = own.explain(what, question(&filter)).await;
                explained.judged(what, MAX_PAGES, &mut complaints);
            }
            let old = Duration::from_secs(300 * 24 * 60 * 60);
            let command = statements::forget_events(old.as_secs());
            let explained = own.explain("retention", command).await;
            explained.judged("retention", MAX_FORGET_PAGES, &mut complaints);
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        });
    });
}

#[test]
fn audit_and_plans_that_ended_are_in_nobodys_way() {
    limited(|| {
        block_on(async {
            let mut own = Own::new().await;
            let sql = PLANS_SQL.replace("{ended}", &ENDED_PLANS.to_string());
            own.run(&sql.replace("{open}", &OPEN_PLANS.to_string()))
                .await;
            let last = i64::try_from(ENDED_PLANS + OPEN_PLANS).unwrap();
            let open: Vec<i64> = (last - 40..=last).collect();
            own.run(&format!(
                "UPDATE lockkeeper.plan SET slot = id WHERE id > {}",
                last - 10
            ))
            .await;
            let mut complaints = Vec::new();
            // As the planner knows a table that nobody has analysed yet, and then.
            for preparing in ["SELECT 1", "VACUUM (ANALYZE) lockkeeper.plan"] {
                own.run(preparing).await;
                for (what, command) in [
                    ("who is before it", statements::ahead(last)),
                    ("who builds before it", statements::ahead_of_slot(last)),
                    ("who waits for its outcome", statements::has_heir(last - 20)),
                    ("its outcome", statements::outcome(last)),
                    ("heartbeat", statements::heartbeat(&open)),
                    (
                        "orphans",
                        statements::orphans("7000000000000000001", 30_000),
                    ),
                    ("claim", statements::claim(last - 45, 1)),
                    ("slot given back", statements::leave_slot(last)),
                ] {
                    let explained = own.explain(what, command).await;
                    explained.judged(what, MAX_JOURNAL_PAGES, &mut complaints);
                }
                let command = statements::forget_plans(24 * 60 * 60);
                let explained = own.explain("plans forgotten", command).await;
                explained.judged("plans forgotten", MAX_FORGET_PAGES, &mut complaints);
            }
            assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        });
    });
}
