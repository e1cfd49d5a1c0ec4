//! The ordinary clients and what each of their queries took; the long reader; who waits for locks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, NoTls, Statement};

/// How long a client does something else after each of its transactions, on average: what an
/// application computes and what it waits for elsewhere. Chosen so that a `lock_timeout` of 100 ms
/// and one of 20 ms, both shorter than the longest transactions, get through at all.
const THINK_TIME: Duration = Duration::from_millis(300);
/// One transaction of so many lasts longer than the others,
const LONG_OF: u64 = 10;
/// by so many seconds.
const LONG_SECONDS: &str = "0.15";
/// How long clients get to finish their transactions when a run ends.
const FINISH_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two looks at who waits for a lock.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// The application name of the ordinary clients.
const NAME: &str = "stall: traffic";

/// Connects to a database on this machine.
pub(crate) async fn connect(port: u16, database: &str, name: &str) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname(database)
        .application_name(name)
        .connect_timeout(Duration::from_secs(20));
    let (client, connection) = config
        .connect(NoTls)
        .await
        .with_context(|| format!("connect to {database} on port {port}"))?;
    // An error of the connection is also the error of the query under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// One query of an ordinary client: when it was sent and when it was answered, since the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
}

/// Everything that the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) samples: Vec<Sample>,
    pub(crate) errors: Vec<String>,
}

struct Shared {
    origin: Instant,
    record: Mutex<Record>,
    finish: AtomicBool,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ordinary clients at work, on a thread of their own so that nothing here delays their measuring.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

impl Traffic {
    /// Connects so many clients, and sets them to work on so many rows.
    pub(crate) async fn start(
        port: u16,
        database: &'static str,
        clients: u64,
        rows: u64,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            record: Mutex::default(),
            finish: AtomicBool::new(false),
        });
        let (report_ready, ready) = oneshot::channel();
        let (report_end, ended) = oneshot::channel();
        let work = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("traffic".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let mut working = JoinSet::new();
                    for number in 1..=clients {
                        match Worker::connect(port, database, number, rows).await {
                            Ok(worker) => drop(working.spawn(worker.work(Arc::clone(&work)))),
                            Err(error) => return drop(report_ready.send(Err(error))),
                        }
                    }
                    let _ = report_ready.send(Ok(()));
                    while working.join_next().await.is_some() {}
                });
                let _ = report_end.send(());
            })?;
        ready.await.context("the traffic's thread ended")??;
        Ok(Self { shared, ended })
    }

    /// The moment on the clock of the samples.
    pub(crate) fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }

    /// Lets the clients finish their transactions.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Record> {
        self.shared.finish.store(true, Ordering::Relaxed);
        timeout(FINISH_LIMIT, &mut self.ended)
            .await
            .context("the clients still wait for answers")??;
        Ok(std::mem::take(&mut *self.shared.record()))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.finish.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Worker {
    client: Client,
    random: u64,
    rows: u64,
    read: Statement,
    update: Statement,
}

impl Worker {
    async fn connect(port: u16, database: &str, number: u64, rows: u64) -> anyhow::Result<Self> {
        let client = connect(port, database, NAME).await?;
        let read = "SELECT customer_id, status, amount::text FROM busy WHERE id = $1";
        let update = "UPDATE busy SET status = 'seen', updated_at = now() WHERE id = $1";
        Ok(Self {
            read: client.prepare(read).await?,
            update: client.prepare(update).await?,
            client,
            random: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number),
            rows,
        })
    }

    /// Transaction, pause, and again; the first pause keeps the clients from marching in step.
    async fn work(mut self, shared: Arc<Shared>) {
        let average = THINK_TIME.as_micros() as u64;
        while !shared.finish.load(Ordering::Relaxed) {
            let pause = average / 2 + self.next_random() % average;
            sleep(Duration::from_micros(pause)).await;
            let Err(error) = self.transaction(&shared).await else {
                continue;
            };
            let said = error.as_db_error().map(ToString::to_string);
            let said = said.unwrap_or_else(|| error.to_string());
            shared.record().errors.push(said);
            if self.client.batch_execute("ROLLBACK").await.is_err() {
                return;
            }
        }
    }

    /// Seven reads and an update by key. The longer ones do something else before they commit.
    async fn transaction(&mut self, shared: &Shared) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("BEGIN").await?;
        for number in 0..8 {
            let key = i64::try_from(self.next_random() % self.rows).unwrap_or_default() + 1;
            let statement = if number == 4 {
                &self.update
            } else {
                &self.read
            };
            let start = shared.origin.elapsed();
            let answer = self.client.query(statement, &[&key]).await;
            let end = shared.origin.elapsed();
            shared.record().samples.push(Sample { start, end });
            answer?;
        }
        if self.next_random().is_multiple_of(LONG_OF) {
            let work = format!("SELECT pg_catalog.pg_sleep({LONG_SECONDS})");
            self.client.batch_execute(&work).await?;
        }
        self.client.batch_execute("COMMIT").await
    }

    /// xorshift64*: what is wanted is speed and a spread over the table, not more.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// A task that ends when this is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A transaction that has read the table and stays open for a while.
pub(crate) struct Reader(Task<Result<(), tokio_postgres::Error>>);

impl Reader {
    /// Returns when it has read the table.
    pub(crate) async fn start(port: u16, database: &str, lasts: Duration) -> anyhow::Result<Self> {
        let client = connect(port, database, "stall: reader").await?;
        client
            .batch_execute("BEGIN; SELECT id FROM busy LIMIT 1")
            .await?;
        let wait = format!("SELECT pg_catalog.pg_sleep({})", lasts.as_secs_f64());
        Ok(Self(Task(tokio::spawn(async move {
            client.batch_execute(&wait).await?;
            client.batch_execute("COMMIT").await
        }))))
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        (&mut self.0.0).await?.context("the long reader")
    }
}

/// Looks all the time how many ordinary clients wait for a lock.
pub(crate) struct Monitor {
    most: Arc<AtomicUsize>,
    task: Task<Result<(), tokio_postgres::Error>>,
}

impl Monitor {
    pub(crate) async fn start(port: u16, database: &str) -> anyhow::Result<Self> {
        let client = connect(port, database, "stall: monitor").await?;
        let query = "SELECT count(*) FROM pg_catalog.pg_stat_activity \
                     WHERE wait_event_type = 'Lock' AND application_name = $1";
        let query = client.prepare(query).await?;
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let task = Task(tokio::spawn(async move {
            loop {
                let count: i64 = client.query_one(&query, &[&NAME]).await?.try_get(0)?;
                seen.fetch_max(
                    usize::try_from(count).unwrap_or_default(),
                    Ordering::Relaxed,
                );
                sleep(LOOK_PAUSE).await;
            }
        }));
        Ok(Self { most, task })
    }

    /// Forgets what was.
    pub(crate) fn begin(&self) {
        self.most.store(0, Ordering::Relaxed);
    }

    /// The most that waited at any look.
    pub(crate) async fn end(mut self) -> anyhow::Result<usize> {
        if self.task.0.is_finished() {
            (&mut self.task.0).await?.context("the monitor")?;
        }
        Ok(self.most.load(Ordering::Relaxed))
    }
}
