//! Real clients through the proxy: psql, tokio-postgres, psycopg and pgbench do their ordinary work, and see what they
//! would see without it.

use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::harness::{
    Proxy, block_on, database, limited, place, postgres_program, psql, psycopg, run, shared, value,
};

#[test]
fn psql_scripts_and_single_commands() {
    limited(|| {
        let proxy = Proxy::shared();
        let (one, other) = (database(), database());
        let script = "
            CREATE TABLE t(a int PRIMARY KEY, b text);
            INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) g;
            \\copy t TO STDOUT
            CREATE TABLE u(LIKE t INCLUDING ALL);
            COPY u FROM STDIN;
1\tone
2\ttwo
\\.
            SELECT count(*), sum(a) FROM t JOIN u USING (a) \\gx
            \\d t
            BEGIN; ALTER TABLE t ADD COLUMN c int; ROLLBACK;
            DO $$BEGIN RAISE NOTICE 'noticed'; END$$;
            SELECT format('CREATE INDEX ON t(%s)', a) FROM (VALUES ('a'), ('b')) x(a) \\gexec
            \\di
            SELECT 1/0;
        ";
        let direct = psql(&place(shared()).conninfo(&one), &[], script);
        let proxied = psql(&proxy.place().conninfo(&other), &[], script);
        assert_eq!(direct.status.code(), proxied.status.code());
        assert_eq!(direct.status.code(), Some(3));
        assert_eq!(direct.out, proxied.out);
        let servers = |err: &str| -> Vec<String> {
            let lines = err.lines().filter(|line| !line.contains("lockkeeper"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(
            servers(&direct.err),
            servers(&proxied.err),
            "{}",
            proxied.err
        );
        let single = psql(
            &proxy.place().conninfo(&other),
            &["-1c", "DROP TABLE t", "-c", "DROP TABLE u"],
            "",
        );
        single.ok();
    });
}

#[test]
fn psql_copies_files() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let (from, to) = (proxy.directory().join("from"), proxy.directory().join("to"));
        let lines: String = (0..50_000)
            .map(|number| format!("{number}\tline {number}\n"))
            .collect();
        std::fs::write(&from, &lines).unwrap();
        let script = format!(
            "CREATE TABLE t(a int, b text);\n\\copy t FROM '{}'\n\\copy t TO '{}'\n",
            from.display(),
            to.display()
        );
        psql(&proxy.place().conninfo(&database), &[], &script).ok();
        assert!(std::fs::read_to_string(&to).unwrap() == lines);
        assert_eq!(value(&database, "SELECT count(*) FROM t"), "50000");
    });
}

#[test]
fn replication_connections() {
    limited(|| {
        let proxy = Proxy::shared();
        let conninfo =
            |place: &crate::wire::Place| place.conninfo("postgres") + " replication=database";
        let ask = |conninfo: &str| psql(conninfo, &["-c", "IDENTIFY_SYSTEM"], "").ok();
        let proxied = ask(&conninfo(proxy.place()));
        let identifier = |text: &str| text.split('|').next().unwrap().to_owned();
        assert_eq!(
            identifier(&proxied),
            identifier(&ask(&conninfo(&place(shared()))))
        );
        let physical = proxy.place().conninfo("postgres") + " replication=true";
        assert_eq!(identifier(&ask(&physical)), identifier(&proxied));
    });
}

#[test]
fn tokio_postgres() {
    limited(|| {
        let proxy = Proxy::shared();
        let conninfo = proxy.place().conninfo(&database());
        block_on(async {
            let (client, mut connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
            let (sender, mut notifications) = tokio::sync::mpsc::unbounded_channel();
            let driving = tokio::spawn(async move {
                while let Some(message) =
                    std::future::poll_fn(|cx| connection.poll_message(cx)).await
                {
                    if let AsyncMessage::Notification(note) = message.unwrap() {
                        sender.send(note.payload().to_owned()).unwrap();
                    }
                }
            });
            client
                .batch_execute("CREATE TABLE t(a int PRIMARY KEY, b text); LISTEN news")
                .await
                .unwrap();
            client
                .execute("ALTER TABLE t ADD COLUMN c int8", &[])
                .await
                .unwrap();
            let insert = client
                .prepare("INSERT INTO t VALUES ($1, $2, $3)")
                .await
                .unwrap();
            for number in 0..100_i32 {
                let count = client
                    .execute(
                        &insert,
                        &[&number, &format!("ä{number}"), &i64::from(number)],
                    )
                    .await
                    .unwrap();
                assert_eq!(count, 1);
            }
            let rows = client
                .query("SELECT * FROM t WHERE a < $1 ORDER BY a", &[&50_i32])
                .await
                .unwrap();
            assert_eq!(rows.len(), 50);
            assert_eq!(rows[7].get::<_, String>(1), "ä7");
            let error = client
                .execute(&insert, &[&0_i32, &"", &0_i64])
                .await
                .unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
            let (a, b, c) = tokio::join!(
                client.query_one("SELECT 1", &[]),
                client.query_one("SELECT 1/0", &[]),
                client.query_one("SELECT 3", &[]),
            );
            assert_eq!(a.unwrap().get::<_, i32>(0), 1);
            assert_eq!(b.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
            assert_eq!(c.unwrap().get::<_, i32>(0), 3);
            client.batch_execute("NOTIFY news, 'hello'").await.unwrap();
            assert_eq!(notifications.recv().await.unwrap(), "hello");
            client.execute("CREATE INDEX ON t(c)", &[]).await.unwrap();
            drop(client);
            driving.await.unwrap();
        });
        let expected = [
            "CREATE TABLE passed: several statements in one query",
            "ALTER TABLE done",
            "CREATE INDEX done",
        ];
        assert_eq!(proxy.event_words(), expected);
    });
}

const PSYCOPG: &str = r#"
import sys, threading, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    c.execute("CREATE TABLE t(a int PRIMARY KEY, b bytea)")
    with c.pipeline() as p:
        cursors = [c.execute("INSERT INTO t VALUES (%s, %s) RETURNING a", (n, bytes([n]))) for n in range(100)]
        p.sync()
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(100))
        try:
            with c.transaction():
                c.execute("INSERT INTO t VALUES (0)")
                c.execute("INSERT INTO t VALUES (1000)")
            raise SystemExit("no error")
        except psycopg.errors.UniqueViolation:
            pass
    with c.pipeline():
        c.execute("CREATE TABLE u(a int)")
        c.execute("INSERT INTO u VALUES (1)")
        c.execute("ALTER TABLE u ADD COLUMN b int")
    assert c.execute("SELECT a, b FROM u").fetchone() == (1, None)
    data = bytes(range(256)) * 4096 * 10
    with c.cursor().copy("COPY t FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "bytea"])
        copy.write_row((1000, data))
    with c.cursor().copy("COPY (SELECT b FROM t WHERE a = 1000) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["bytea"])
        assert [row for row in copy.rows()] == [(data,)]
    for n in range(20):
        assert c.execute("SELECT count(*) FROM t WHERE a < %s", (n,), prepare=True).fetchone()[0] == n
    try:
        c.execute("SELECT * FROM nowhere")
    except psycopg.errors.UndefinedTable as error:
        assert error.diag.statement_position == "15", error.diag.statement_position
    with c.cursor(name="big") if False else c.cursor() as cursor:
        rows = list(cursor.stream("SELECT generate_series(1, 10000)"))
        assert len(rows) == 10000
with psycopg.connect(sys.argv[1]) as c:
    c.execute("ALTER TABLE u ADD COLUMN c int")
    c.execute("CREATE INDEX ON u(c)")
    with c.cursor(name="server_side") as cursor:
        cursor.execute("SELECT a FROM t ORDER BY a")
        assert len(cursor.fetchmany(10)) == 10
    timer = threading.Timer(0.5, c.cancel)
    timer.start()
    try:
        c.execute("SELECT pg_sleep(600)")
        raise SystemExit("no cancel")
    except psycopg.errors.QueryCanceled:
        c.rollback()
    assert c.execute("SELECT 1").fetchone() == (1,)
print("fine")
"#;

#[test]
fn psycopg_with_pipelines_and_copies() {
    limited(|| {
        let proxy = Proxy::shared();
        let out = psycopg(&proxy.place().conninfo(&database()), PSYCOPG);
        assert_eq!(out, "fine");
        let pipeline = "CREATE TABLE passed: in a pipeline";
        let events = proxy.event_words();
        assert_eq!(events[0], "CREATE TABLE done");
        assert_eq!(events[1], pipeline, "{events:?}");
        assert_eq!(events[2], "ALTER TABLE passed: in a pipeline");
        assert_eq!(events[3], "ALTER TABLE passed: in a transaction");
        assert_eq!(events[4], "CREATE INDEX passed: in a transaction");
        assert_eq!(events.len(), 5, "{events:?}");
    });
}

#[test]
fn pgbench_in_all_modes() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let place = proxy.place();
        let pgbench = |arguments: &[&str]| {
            let mut command = postgres_program("pgbench");
            command
                .args([
                    "-h",
                    &place.host(),
                    "-p",
                    &place.port().to_string(),
                    "-U",
                    "postgres",
                ])
                .args(arguments)
                .arg(&database);
            run(&mut command, "")
        };
        pgbench(&["-i", "-s", "1", "-q"]).ok();
        for mode in ["simple", "extended", "prepared"] {
            let out = pgbench(&["-n", "-M", mode, "-c", "4", "-j", "2", "-t", "75"]).ok();
            assert!(out.contains("processed: 300/300"), "{out}");
            assert!(out.contains("failed transactions: 0"), "{out}");
        }
        assert_eq!(
            value(&database, "SELECT count(*) FROM pgbench_history"),
            "900"
        );
    });
}
