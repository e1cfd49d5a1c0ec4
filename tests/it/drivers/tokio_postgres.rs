//! tokio-postgres: always by the extended protocol, several queries under way at once.

use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, NoTls};

use crate::harness::{Proxy, block_on, database, limited};

#[test]
fn does_its_ordinary_work() {
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
        let expected = ["CREATE TABLE done", "ALTER TABLE done", "CREATE INDEX done"];
        assert_eq!(proxy.event_words(), expected);
    });
}
