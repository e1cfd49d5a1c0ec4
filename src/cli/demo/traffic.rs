//! What talks to the database in the demo: the ordinary queries (and how long each of them took),
//! the long reader, the migration, and the monitor that counts who is stuck.
//!
//! The clients live on a thread with a runtime of its own, so that neither the drawing nor a proxy
//! in the same process can delay the measuring. Latency is what the client sees: from handing the
//! query to its connection until the whole answer is there.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket, Statement};

/// How long a client pauses after each answer, on average.
pub(super) const THINK_TIME: Duration = Duration::from_millis(5);
/// How long clients get to finish the query they are in when the run ends.
const GRACE: Duration = Duration::from_secs(10);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What the migration consists of: what to call a statement, and the statement.
pub(super) const MIGRATION: [(&str, &str); 2] = [
    ("ALTER TABLE", "ALTER TABLE orders ADD COLUMN note text"),
    (
        "CREATE INDEX",
        "CREATE INDEX orders_customer_idx ON orders (customer_id, created_at)",
    ),
];
/// How long the long reader keeps its transaction open.
pub(super) const READER_HOLDS: Duration = Duration::from_secs(5);
/// The longest a migration may take.
const MIGRATION_LIMIT: Duration = Duration::from_secs(90);

/// How long the monitor pauses between its questions.
const MONITOR_PAUSE: Duration = Duration::from_millis(100);

/// What undoes it between the two runs.
const UNDO: &str = "DROP INDEX IF EXISTS orders_customer_idx;
    ALTER TABLE orders DROP COLUMN IF EXISTS note";

/// Quiet between the two runs.
const PAUSE: Duration = Duration::from_secs(2);

/// One query: when it was sent, and how long its answer took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Since the run began.
    pub(super) start: Duration,
    /// Until the answer was complete.
    pub(super) latency: Duration,
}

impl Sample {
    /// When the answer was complete.
    pub(super) fn end(&self) -> Duration {
        self.start + self.latency
    }
}

/// What the clients experience at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    /// The median latency.
    pub(super) median: Duration,
    /// The longest latency, queries that still wait included.
    pub(super) worst: Duration,
    /// Answers in the last second.
    pub(super) per_second: usize,
}

/// Everything a run's clients saw.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Every query, in the order of the answers.
    pub(super) samples: Vec<Sample>,
    /// Every error.
    pub(super) errors: Vec<String>,
}

/// What the clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    Finish,
    Abandon,
}

/// What the clients and the observer share.
struct Shared {
    origin: Instant,
    record: Mutex<Record>,
    /// For each client: when its query began, in microseconds since the origin; 0 between queries.
    in_flight: Vec<AtomicU64>,
}

impl Shared {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// The queries without an answer as yet, as samples that end now.
    fn waiting(&self) -> Vec<Sample> {
        let now = self.now();
        let starts = self.in_flight.iter().map(|at| at.load(Ordering::Relaxed));
        let starts = starts.filter(|at| *at != 0).map(Duration::from_micros);
        let sample = |start| Sample {
            start,
            latency: now.saturating_sub(start),
        };
        starts.map(sample).collect()
    }
}

/// Clients at work. Dropping this abandons them.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    order: watch::Sender<Order>,
    ended: oneshot::Receiver<()>,
}

impl Traffic {
    /// Connects `clients` clients to `target` and sets them to work on `rows` rows of `orders`.
    pub(super) async fn start(
        target: SocketAddr,
        clients: usize,
        rows: u64,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            record: Mutex::default(),
            in_flight: (0..clients).map(|_| AtomicU64::new(0)).collect(),
        });
        let (order, orders) = watch::channel(Order::Run);
        let (report_ready, ready) = oneshot::channel();
        let (report_end, ended) = oneshot::channel();
        let work = Arc::clone(&shared);
        thread::Builder::new()
            .name("demo-traffic".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(employ(work, target, rows, orders, report_ready));
                    }
                    Err(error) => drop(report_ready.send(Err(error.into()))),
                }
                let _ = report_end.send(());
            })?;
        ready.await.context("the traffic's thread ended")??;
        Ok(Self {
            shared,
            order,
            ended,
        })
    }

    /// The moment on the clock of the samples.
    pub(super) fn now(&self) -> Duration {
        self.shared.now()
    }

    /// The instant from which the samples' times count.
    pub(super) fn origin(&self) -> Instant {
        self.shared.origin
    }

    /// What the clients experienced in the last `window`. A query that waits longer than that
    /// counts with how long it has waited so far.
    pub(super) fn recent(&self, window: Duration) -> Recent {
        let now = self.now();
        let long = self.shared.waiting().into_iter();
        let long = long.filter(|sample| sample.latency > window);
        let mut latencies: Vec<Duration> = long.map(|sample| sample.latency).collect();
        let record = self.shared.record();
        let since = |age: Duration| {
            let newest = record.samples.iter().rev();
            newest.take_while(move |sample| sample.end() + age >= now)
        };
        latencies.extend(since(window).map(|sample| sample.latency));
        latencies.sort_unstable();
        Recent {
            median: latencies
                .get(latencies.len() / 2)
                .copied()
                .unwrap_or_default(),
            worst: latencies.last().copied().unwrap_or_default(),
            per_second: since(Duration::from_secs(1)).count(),
        }
    }

    /// The samples from the one numbered `first` on, and the queries that still wait.
    pub(super) fn samples_from(&self, first: usize) -> (Vec<Sample>, Vec<Sample>) {
        let waiting = self.shared.waiting();
        let record = self.shared.record();
        let new = record.samples.get(first..).unwrap_or_default();
        (new.to_vec(), waiting)
    }

    /// Lets every client finish its query and returns what they saw. A query that does not end
    /// counts as an error, and with the time it has waited.
    pub(super) async fn finish(mut self) -> Record {
        self.order.send_replace(Order::Finish);
        let finished = timeout(GRACE, &mut self.ended).await.is_ok();
        let waiting = self.shared.waiting();
        let mut record = std::mem::take(&mut *self.shared.record());
        if !finished {
            let count = waiting.len();
            record.samples.extend(waiting);
            record
                .errors
                .push(format!("{count} queries never got an answer"));
        }
        record
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.order.send_replace(Order::Abandon);
    }
}

/// The settings of a connection to `target` as the demo's superuser.
fn config(target: SocketAddr, name: &str) -> Config {
    let mut config = Config::new();
    config
        .host(target.ip().to_string())
        .port(target.port())
        .user("postgres")
        .dbname("postgres")
        .application_name(name)
        .connect_timeout(CONNECT_LIMIT);
    config
}

/// A connection that the caller drives.
pub(super) async fn open(
    target: SocketAddr,
    name: &str,
) -> anyhow::Result<(Client, Connection<Socket, tokio_postgres::tls::NoTlsStream>)> {
    let config = config(target, name);
    timeout(CONNECT_LIMIT, config.connect(NoTls))
        .await
        .with_context(|| format!("no answer from {target}"))?
        .with_context(|| format!("could not connect to {target}"))
}

/// A connection that drives itself until the client is dropped.
pub(super) async fn connect(target: SocketAddr, name: &str) -> anyhow::Result<Client> {
    let (client, connection) = open(target, name).await?;
    tokio::spawn(async move {
        // An error here is also the error of the query under way.
        let _ = connection.await;
    });
    Ok(client)
}

/// Runs all clients until they are told otherwise.
async fn employ(
    shared: Arc<Shared>,
    target: SocketAddr,
    rows: u64,
    mut orders: watch::Receiver<Order>,
    ready: oneshot::Sender<anyhow::Result<()>>,
) {
    let mut workers = Vec::new();
    for index in 0..shared.in_flight.len() {
        match Worker::connect(Arc::clone(&shared), index, target, rows).await {
            Ok(worker) => workers.push(worker),
            Err(error) => return drop(ready.send(Err(error))),
        }
    }
    let mut running: JoinSet<()> = workers
        .into_iter()
        .map(|worker| worker.work(orders.clone()))
        .collect();
    let _ = ready.send(Ok(()));
    tokio::select! {
        () = async { while running.join_next().await.is_some() {} } => {}
        _ = orders.wait_for(|order| *order == Order::Abandon) => {}
    }
}

/// One client: its connection and what it does with it.
struct Worker {
    shared: Arc<Shared>,
    index: usize,
    rows: u64,
    random: u64,
    client: Client,
    read: Statement,
    update: Statement,
}

impl Worker {
    async fn connect(
        shared: Arc<Shared>,
        index: usize,
        target: SocketAddr,
        rows: u64,
    ) -> anyhow::Result<Self> {
        let client = connect(target, "lockkeeper demo: traffic").await?;
        let read = client
            .prepare("SELECT customer_id, status, amount::text FROM orders WHERE id = $1")
            .await?;
        let update = client
            .prepare("UPDATE orders SET status = $2, updated_at = now() WHERE id = $1")
            .await?;
        Ok(Self {
            shared,
            index,
            rows: rows.max(1),
            random: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1),
            client,
            read,
            update,
        })
    }

    /// Query, pause, repeat.
    async fn work(mut self, orders: watch::Receiver<Order>) {
        while *orders.borrow() == Order::Run {
            let start = self.shared.now();
            let begun = u64::try_from(start.as_micros()).unwrap_or(u64::MAX).max(1);
            let in_flight = &self.shared.in_flight[self.index];
            in_flight.store(begun, Ordering::Relaxed);
            let key = i64::try_from(self.next_random() % self.rows).unwrap_or(0) + 1;
            let outcome = self.query(key).await;
            let latency = self.shared.now().saturating_sub(start);
            {
                let mut record = self.shared.record();
                self.shared.in_flight[self.index].store(0, Ordering::Relaxed);
                record.samples.push(Sample { start, latency });
                if let Err(error) = outcome {
                    record.errors.push(describe(&error));
                    return;
                }
            }
            let half = THINK_TIME.as_micros() as u64 / 2;
            let pause = half + self.next_random() % (2 * half);
            sleep(Duration::from_micros(pause)).await;
        }
    }

    /// Every other query reads a row by its key, the others update one.
    async fn query(&mut self, key: i64) -> Result<(), tokio_postgres::Error> {
        if self.next_random().is_multiple_of(2) {
            let row = self.client.query_opt(&self.read, &[&key]).await;
            return row.map(drop);
        }
        let statuses = ["paid", "packed", "sent", "returned"];
        let status = statuses[(self.next_random() % 4) as usize];
        let update = self.client.execute(&self.update, &[&key, &status]).await;
        update.map(drop)
    }

    /// xorshift64*: what is wanted is speed and a spread over the table, not more.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// Makes the table. It is vacuumed here so that autovacuum, which is on, has nothing to do later.
pub(super) async fn fill(admin: &Client, rows: u64) -> anyhow::Result<()> {
    let table = format!(
        "CREATE TABLE orders (
            id bigint NOT NULL,
            customer_id integer NOT NULL,
            status text NOT NULL,
            amount numeric(10, 2) NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz
        ) WITH (fillfactor = 90);
        INSERT INTO orders
        SELECT n, hashint8(n) & 262143, 'new', (n % 100000) / 100.0,
               timestamptz '2025-01-01' + n * interval '7 seconds', NULL
        FROM generate_series(1, {rows}) AS n;"
    );
    admin.batch_execute(&table).await?;
    admin
        .batch_execute("ALTER TABLE orders ADD PRIMARY KEY (id)")
        .await?;
    admin
        .batch_execute("VACUUM (FREEZE, ANALYZE) orders")
        .await?;
    admin.batch_execute("CHECKPOINT").await?;
    Ok(())
}

/// Makes the second run begin as the first did.
pub(super) async fn undo(admin: &Client) -> anyhow::Result<()> {
    admin.batch_execute(UNDO).await?;
    admin.batch_execute("VACUUM orders").await?;
    admin.batch_execute("CHECKPOINT").await?;
    sleep(PAUSE).await;
    Ok(())
}

/// What is known of a migration while it runs.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) statements: Vec<(Duration, &'static str)>,
    /// The statement under way and since when.
    pub(super) current: Option<(Instant, &'static str)>,
    pub(super) notices: Vec<String>,
    pub(super) stuck: usize,
    pub(super) most_stuck: usize,
}

/// The value, also when another thread panicked while it held it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that ends when this is dropped.
pub(super) struct Task<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the migration's statements one by one, each as a simple query in autocommit.
pub(super) async fn migrate(
    target: SocketAddr,
    origin: Instant,
    progress: Arc<Mutex<Progress>>,
) -> anyhow::Result<()> {
    let (client, mut connection) = open(target, "lockkeeper demo: migration").await?;
    let notices = Arc::clone(&progress);
    let _connection = Task(tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                lock(&notices).notices.push(notice.message().to_owned());
            }
        }
    }));
    let deadline = tokio::time::Instant::now() + MIGRATION_LIMIT;
    for (name, statement) in MIGRATION {
        {
            let mut progress = lock(&progress);
            progress.statements.push((origin.elapsed(), name));
            progress.current = Some((Instant::now(), statement));
        }
        let outcome = timeout_at(deadline, client.simple_query(statement)).await;
        lock(&progress).current = None;
        let outcome = outcome.with_context(|| {
            let limit = MIGRATION_LIMIT.as_secs();
            format!("{statement}: the migration may take {limit} s, and has")
        })?;
        if let Err(error) = outcome {
            anyhow::bail!("{statement}: {}", describe(&error));
        }
    }
    Ok(())
}

/// Asks the server itself, again and again, how many sessions wait for a lock.
pub(super) async fn count_stuck(
    monitor: Client,
    progress: Arc<Mutex<Progress>>,
) -> anyhow::Result<()> {
    pub(super) const QUESTION: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let question = monitor.prepare(QUESTION).await?;
    loop {
        let count: i64 = monitor.query_one(&question, &[]).await?.try_get(0)?;
        {
            let mut progress = lock(&progress);
            progress.stuck = usize::try_from(count).unwrap_or(0);
            progress.most_stuck = progress.most_stuck.max(progress.stuck);
        }
        sleep(MONITOR_PAUSE).await;
    }
}

/// A transaction that has read `orders` and stays open for a while, like a report or a dump.
pub(super) struct LongReader(Task<Result<(), tokio_postgres::Error>>);

impl LongReader {
    /// Returns when the transaction has read the table.
    pub(super) async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let client = connect(target, "lockkeeper demo: long reader").await?;
        client
            .batch_execute("BEGIN; SELECT sum(amount) FROM orders WHERE id <= 1000")
            .await?;
        let hold = format!("SELECT pg_sleep({})", READER_HOLDS.as_secs());
        Ok(Self(Task(tokio::spawn(async move {
            client.batch_execute(&hold).await?;
            client.batch_execute("COMMIT").await
        }))))
    }

    /// Waits for the end of the transaction.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        let ended = timeout(MIGRATION_LIMIT, &mut self.0.0).await;
        let ended = ended.context("it did not come to its end")??;
        ended.map_err(|error| anyhow::anyhow!(describe(&error)))
    }
}

/// What the server said, or else what went wrong.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => error.to_string(),
    }
}
