//! Cancel requests: of statements that the server runs, and of schema changes that lockkeeper holds, where the server
//! knows of nothing to cancel.

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::harness::{
    Proxy, block_on, database, eventually, limited, place, shared, until_asleep,
    until_it_has_waited, until_it_waits_for_its_lock, value,
};
use crate::wire::{Wire, cancel_request, commands, pbe, q, s, sqlstate, tags};

/// A table, and a session that holds a lock on it.
fn locked_table(database: &str) -> Wire {
    let mut holder = Wire::session(&place(shared()), database);
    holder.run("CREATE TABLE t(a int)");
    holder.run("BEGIN");
    holder.run("LOCK TABLE t IN ACCESS SHARE MODE");
    holder
}

const COLUMNS: &str =
    "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0";

#[test]
fn a_statement_in_the_server() {
    limited(|| {
        let proxy = Proxy::shared();
        let conninfo = proxy.place().conninfo("postgres");
        block_on(async {
            let (client, connection) = tokio_postgres::connect(&conninfo, NoTls).await.unwrap();
            let driving = tokio::spawn(connection);
            let row = client
                .query_one("SELECT pg_backend_pid()", &[])
                .await
                .unwrap();
            let pid: i32 = row.get(0);
            let token = client.cancel_token();
            let cancelling = tokio::task::spawn_blocking(move || until_asleep(pid.unsigned_abs()));
            let cancel = async {
                cancelling.await.unwrap();
                token.cancel_query(NoTls).await.unwrap();
            };
            let (result, ()) = tokio::join!(client.simple_query("SELECT pg_sleep(600)"), cancel);
            assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
            client.simple_query("SELECT 1").await.unwrap();
            drop(client);
            driving.await.unwrap().unwrap();
        });
    });
}

#[test]
fn the_connection_ends_only_when_the_request_was_delivered() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        for _ in 0..20 {
            wire.send(&q("SELECT pg_sleep(600)"));
            until_asleep(wire.pid());
            let mut cancel = Wire::connect(proxy.place());
            cancel.send(&cancel_request(&wire.key));
            assert_eq!(cancel.until_end(), []);
            assert_eq!(sqlstate(&wire.until_ready()), "57014");
            // Had the request been late, it would hit this one.
            wire.run("SELECT pg_sleep(0.01)");
        }
    });
}

#[test]
fn a_request_with_a_wrong_key_does_nothing() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        let mut key = wire.key.clone();
        key[7] ^= 1;
        wire.send(&q("SELECT pg_sleep(0.5)"));
        until_asleep(wire.pid());
        for key in [&key[..], &[0; 8], &[]] {
            let mut cancel = Wire::connect(proxy.place());
            cancel.send(&cancel_request(key));
            assert_eq!(cancel.until_end(), []);
        }
        assert_eq!(tags(&wire.until_ready()), "TDCZ");
    });
}

#[test]
fn a_schema_change_that_waits_for_its_lock() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let holder = locked_table(&database);
        let mut wire = proxy.session(&database);
        wire.run("SET lock_timeout = '50s'");
        let alter = "ALTER TABLE t ADD COLUMN b int";
        for message in [q(alter), [pbe(alter), s()].concat()] {
            wire.send(&message);
            until_it_waits_for_its_lock(wire.pid());
            let mut cancel = Wire::connect(proxy.place());
            cancel.send(&cancel_request(&wire.key));
            assert_eq!(cancel.until_end(), []);
            let frames = wire.until_ready();
            assert_eq!(sqlstate(&frames), "57014", "{frames:?}");
            assert_eq!(frames.last().unwrap().show(), "Z I");
            assert_eq!(value(&database, COLUMNS), "1");
            assert_eq!(wire.value("SHOW lock_timeout"), "50s");
        }
        drop(holder);
        assert_eq!(commands(&wire.query(alter)), ["ALTER TABLE"]);
        let words = proxy.event_words();
        let expected = [
            "ALTER TABLE failed",
            "ALTER TABLE failed",
            "ALTER TABLE done",
        ];
        assert_eq!(words, expected);
    });
}

#[test]
fn a_schema_change_gets_its_lock_when_it_is_free_and_others_go_on_meanwhile() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut holder = locked_table(&database);
        let mut wire = proxy.session(&database);
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        until_it_has_waited(wire.pid());
        let mut reader = proxy.session(&database);
        reader.run("SELECT * FROM t");
        holder.run("COMMIT");
        assert_eq!(commands(&wire.until_ready()), ["ALTER TABLE"]);
        let event = &proxy.events()[0];
        // It was not asked for while the holder was in the way.
        assert_eq!(event["attempts"], 1, "{event}");
        assert!(event["lock_wait_ms"].as_u64() > Some(0), "{event}");
        assert_eq!(event["outcome"], "done");
    });
}

#[test]
fn the_deadline_is_the_end_of_waiting() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let holder = locked_table(&database);
        let mut wire = proxy.session(&database);
        wire.run("SET lock_timeout = '1s'");
        let frames = wire.query("ALTER TABLE t ADD COLUMN b int");
        assert_eq!(sqlstate(&frames), "55P03");
        let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
        assert!(
            error.field(b'D').contains(&holder.pid().to_string()),
            "{error:?}"
        );
        assert_eq!(value(&database, COLUMNS), "1");
        wire.run("SELECT 1");
    });
}

#[test]
fn a_client_that_leaves_takes_its_waiting_schema_change_along() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let holder = locked_table(&database);
        let mut wire = proxy.session(&database);
        let pid = wire.pid();
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        until_it_waits_for_its_lock(pid);
        drop(wire);
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        eventually("its server session ends", || value("postgres", &sql) == "0");
        drop(holder);
        assert_eq!(value(&database, COLUMNS), "1");
        assert_eq!(proxy.event_words(), ["ALTER TABLE failed"]);
    });
}

#[test]
fn a_server_session_that_dies_under_a_waiting_schema_change() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let _holder = locked_table(&database);
        let mut wire = proxy.session(&database);
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        until_it_waits_for_its_lock(wire.pid());
        value(
            "postgres",
            &format!("SELECT pg_terminate_backend({})", wire.pid()),
        );
        let frames = wire.until_end();
        assert_eq!(sqlstate(&frames), "57P01", "{frames:?}");
        assert_eq!(tags(&frames).matches('E').count(), 1, "{frames:?}");
        assert_eq!(proxy.event_words(), ["ALTER TABLE failed"]);
    });
}
