//! Ordinary clients at work on the tables, on a thread of their own so that nothing delays their measuring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::{Client, Statement};

use crate::place::connect;

/// The pause between two transactions, half as much more or less.
const THINK_TIME: Duration = Duration::from_millis(100);
/// One transaction of so many lasts longer than the others,
const LONG_OF: u64 = 10;
/// by so much.
const LONG: &str = "SELECT pg_catalog.pg_sleep(0.05)";

/// The tables and their rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) count: u32,
    pub(crate) rows: u64,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Latencies of queries.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) errors: Vec<String>,
}

/// Clients at work.
pub(crate) struct Clients {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Seen>>,
}

impl Clients {
    /// Returns when all are connected.
    pub(crate) async fn start(
        port: u16,
        database: &str,
        tables: Tables,
        count: u32,
    ) -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (flag, database) = (Arc::clone(&is_over), database.to_owned());
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut working = JoinSet::new();
                for number in 1..=u64::from(count) {
                    let worker = Worker::connect(port, &database, tables, number).await?;
                    working.spawn(worker.work(Arc::clone(&flag)));
                }
                let _ = ready.send(()); // whoever waits for it has ended otherwise
                let mut all = Seen::default();
                while let Some(seen) = working.join_next().await {
                    let seen = seen?;
                    all.latencies.extend(seen.latencies);
                    all.errors.extend(seen.errors);
                }
                Ok(all)
            })
        });
        tokio::task::spawn_blocking(move || is_ready.recv())
            .await?
            .context("the clients can't connect")?;
        Ok(Self { is_over, thread })
    }

    /// Lets them finish their transactions.
    pub(crate) async fn finish(self) -> anyhow::Result<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        joined.map_err(|_| anyhow!("the clients' thread panicked"))?
    }
}

/// One client.
struct Worker {
    client: Client,
    random: u64,
    tables: Tables,
    reads: Vec<Statement>,
    updates: Vec<Statement>,
}

impl Worker {
    async fn connect(
        port: u16,
        database: &str,
        tables: Tables,
        number: u64,
    ) -> anyhow::Result<Self> {
        let client = connect(port, database).await?;
        let (mut reads, mut updates) = (Vec::new(), Vec::new());
        for table in 0..tables.count {
            let read = format!("SELECT customer_id, amount::text FROM t{table} WHERE id = $1");
            let update = format!("UPDATE t{table} SET note = 'seen' WHERE id = $1");
            reads.push(client.prepare(&read).await?);
            updates.push(client.prepare(&update).await?);
        }
        Ok(Self {
            client,
            random: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number),
            tables,
            reads,
            updates,
        })
    }

    async fn work(mut self, is_over: Arc<AtomicBool>) -> Seen {
        let mut seen = Seen::default();
        let average = THINK_TIME.as_micros() as u64;
        while !is_over.load(Ordering::Relaxed) {
            let pause = average / 2 + self.next_random() % average;
            sleep(Duration::from_micros(pause)).await;
            let Err(error) = self.transaction(&mut seen).await else {
                continue;
            };
            let said = error.as_db_error().map(ToString::to_string);
            seen.errors.push(said.unwrap_or_else(|| error.to_string()));
            if self.client.batch_execute("ROLLBACK").await.is_err() {
                break;
            }
        }
        seen
    }

    /// Four reads and an update by key, of one table: with several, clients could come into each other's way.
    async fn transaction(&mut self, seen: &mut Seen) -> Result<(), tokio_postgres::Error> {
        let table = (self.next_random() % u64::from(self.tables.count)) as usize;
        self.client.batch_execute("BEGIN").await?;
        for number in 0..5 {
            let key = i64::try_from(self.next_random() % self.tables.rows).unwrap_or_default() + 1;
            let statement = if number == 3 {
                &self.updates[table]
            } else {
                &self.reads[table]
            };
            let began = Instant::now();
            let answer = self.client.query(statement, &[&key]).await;
            seen.latencies.push(began.elapsed());
            answer?;
        }
        if self.next_random().is_multiple_of(LONG_OF) {
            self.client.batch_execute(LONG).await?;
        }
        self.client.batch_execute("COMMIT").await
    }

    /// xorshift64*: what is wanted is speed and a spread over the tables, not more.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}
