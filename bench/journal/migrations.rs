//! Many migrations at once, on few tables that are in use: directly, and through two lockkeepers that share a journal.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::clients::{Clients, Seen, Tables};
use crate::overhead::percentile;
use crate::place::{Lockkeeper, Own, Place, connect};
use crate::table::Table;

const TABLES: Tables = Tables {
    count: 20,
    rows: 10_000,
};
/// A table; `{table}` is its number.
const TABLE: &str = "
    CREATE TABLE t{table} (id bigint PRIMARY KEY, customer_id integer NOT NULL, amount numeric NOT NULL, note text);
    INSERT INTO t{table} SELECT n, n % 1000, n / 100.0, 'note ' || n FROM generate_series(1, {rows}) n;";
/// What a migration does; `{number}` is its own.
const MIGRATION: [&str; 3] = [
    "ALTER TABLE t{table} ADD COLUMN extra_{number} text",
    "CREATE INDEX extra_{number}_idx ON t{table} (customer_id)",
    "ALTER TABLE t{table} ADD CONSTRAINT extra_{number}_check CHECK (amount >= 0)",
];
/// How many of the migrations' columns, valid indexes and valid constraints there are.
const MADE_SQL: &str = "
    SELECT (SELECT count(*) FROM pg_attribute WHERE attname LIKE 'extra\\_%' AND attrelid::regclass::text LIKE 't%'
              AND attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r'))
         + (SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text LIKE 'extra\\_%')
         + (SELECT count(*) FROM pg_constraint WHERE convalidated AND conname LIKE 'extra\\_%')";
/// How long the traffic runs before, and alone.
const WARM_UP: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(15);

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) migrations: u32,
    pub(crate) clients: u32,
    pub(crate) limit: Duration,
}

/// What a run showed.
struct Run {
    name: &'static str,
    took: Duration,
    /// Of the statements that succeeded.
    statements: Vec<Duration>,
    failures: Vec<String>,
    deadlocks: i64,
    seen: Seen,
}

/// Measures nobody, plain PostgreSQL, and two lockkeepers.
pub(crate) async fn measure(place: &Place, load: Load) -> anyhow::Result<Table> {
    let nobody = run(place, load, "nobody", &[], 0).await?;
    let direct = [place.server.port()];
    let plain = run(place, load, "directly", &direct, load.migrations).await?;
    let lockkeepers = [
        place.lockkeeper(Own::Database)?,
        place.lockkeeper(Own::Database)?,
    ];
    let ports = lockkeepers.each_ref().map(|lockkeeper| lockkeeper.port);
    // The journal is made by the first schema change that finds none.
    let warm = connect(ports[0], "postgres").await?;
    warm.batch_execute("CREATE TABLE warm (a int)").await?;
    let before = place.recorded().await?;
    let guarded = run(place, load, "two lockkeepers", &ports, load.migrations).await?;
    let complaints: Vec<String> = lockkeepers
        .iter()
        .flat_map(|one: &Lockkeeper| one.complaints(place))
        .collect();
    let events = place.recorded().await? - before;
    let runs = [nobody, plain, guarded];
    tell(&runs, &complaints)?;
    let expected = i64::from(load.migrations) * MIGRATION.len() as i64;
    ensure!(
        events >= expected,
        "{events} of {expected} schema changes are in the audit log"
    );
    Ok(report(load, &runs))
}

/// All migrations through these ports by turns, in a database of their own, while the traffic runs.
async fn run(
    place: &Place,
    load: Load,
    name: &'static str,
    ports: &[u16],
    migrations: u32,
) -> anyhow::Result<Run> {
    let database = format!("run_{}", name.replace(' ', "_"));
    let rows = TABLES.rows.to_string();
    let tables: String = (0..TABLES.count)
        .map(|table| {
            TABLE
                .replace("{table}", &table.to_string())
                .replace("{rows}", &rows)
        })
        .collect();
    let own = place.database(&database, &tables).await?;
    let mut sessions = Vec::new();
    for (number, port) in (0..migrations).zip(ports.iter().cycle()) {
        sessions.push((number, connect(*port, &database).await?));
    }
    let clients = Clients::start(place.server.port(), &database, TABLES, load.clients).await?;
    sleep(WARM_UP).await;
    let began = Instant::now();
    let mut working = JoinSet::new();
    for (number, session) in sessions {
        working.spawn(migrate(session, number));
    }
    let (mut statements, mut failures) = (Vec::new(), Vec::new());
    let all = async {
        while let Some(done) = working.join_next().await {
            let (times, failed) = done?;
            statements.extend(times);
            failures.extend(failed);
        }
        anyhow::Ok(())
    };
    timeout(load.limit, all)
        .await
        .with_context(|| format!("{name}: not done in {:?}", load.limit))??;
    let took = began.elapsed();
    if migrations == 0 {
        sleep(QUIET).await;
    }
    let seen = clients.finish().await?;
    let made: i64 = own.query_one(MADE_SQL, &[]).await?.try_get(0)?;
    let done = statements.len() as i64;
    ensure!(
        made == done,
        "{name}: {done} statements are done, {made} of them can be seen"
    );
    Ok(Run {
        name,
        took,
        statements,
        failures,
        deadlocks: deadlocks(place, &database).await?,
        seen,
    })
}

/// One migration: the time of each statement that succeeds, and what the others say.
async fn migrate(session: Client, number: u32) -> (Vec<Duration>, Vec<String>) {
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    let table = (number % TABLES.count).to_string();
    for sql in MIGRATION {
        let sql = sql
            .replace("{table}", &table)
            .replace("{number}", &number.to_string());
        let began = Instant::now();
        match session.batch_execute(&sql).await {
            Ok(()) => times.push(began.elapsed()),
            Err(error) => {
                let said = error.as_db_error().map(ToString::to_string);
                failures.push(said.unwrap_or_else(|| error.to_string()));
            }
        }
    }
    (times, failures)
}

/// Deadlocks in a database since it was made. Sessions tell of them when they have done nothing for a second.
async fn deadlocks(place: &Place, database: &str) -> anyhow::Result<i64> {
    sleep(Duration::from_secs(2)).await;
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1";
    Ok(place.admin.query_one(sql, &[&database]).await?.try_get(0)?)
}

/// Prints what went wrong, each kind once.
fn tell(runs: &[Run], complaints: &[String]) -> anyhow::Result<()> {
    for run in runs {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for failure in run.failures.iter().chain(&run.seen.errors) {
            *kinds.entry(failure).or_default() += 1;
        }
        for (failure, count) in kinds.iter().take(10) {
            writeln!(stderr(), "{}: {count} × {failure}", run.name)?;
        }
    }
    for complaint in complaints.iter().take(20) {
        writeln!(stderr(), "lockkeeper: {complaint}")?;
    }
    Ok(())
}

fn report(load: Load, runs: &[Run]) -> Table {
    let title = format!(
        "{} migrations of {} statements at once, on {} tables of {} rows with {} ordinary clients",
        load.migrations,
        MIGRATION.len(),
        TABLES.count,
        TABLES.rows,
        load.clients
    );
    let header = [
        "sent",
        "seconds",
        "statements/s",
        "statement, s: median, p95, longest",
        "worst stall, ms",
        "p99, ms",
        "queries",
        "seconds lost",
        "deadlocks",
        "failures",
        "traffic's errors",
    ];
    let mut table = Table::new(title, header.map(str::to_owned).to_vec());
    let mut usual = runs
        .first()
        .map(|run| run.seen.latencies.clone())
        .unwrap_or_default();
    let (usual, usual_p99) = (percentile(&mut usual, 0.5), percentile(&mut usual, 0.99));
    for run in runs {
        let (mut times, mut latencies) = (run.statements.clone(), run.seen.latencies.clone());
        let mut seconds = |share| percentile(&mut times, share) / 1000.0;
        let spread = format!(
            "{:.2}, {:.2}, {:.2}",
            seconds(0.5),
            seconds(0.95),
            seconds(1.0)
        );
        let beyond = latencies
            .iter()
            .map(|latency| latency.as_secs_f64() - usual_p99 / 1000.0);
        let lost: f64 = beyond.filter(|seconds| *seconds > 0.0).sum();
        let is_quiet = run.statements.is_empty() && run.failures.is_empty();
        let or_none = |text: String| if is_quiet { "–".to_owned() } else { text };
        table.rows.push(vec![
            run.name.to_owned(),
            or_none(format!("{:.1}", run.took.as_secs_f64())),
            or_none(format!(
                "{:.1}",
                run.statements.len() as f64 / run.took.as_secs_f64()
            )),
            or_none(spread),
            format!("{:.0}", percentile(&mut latencies, 1.0) - usual),
            format!("{:.1}", percentile(&mut latencies, 0.99)),
            run.seen.latencies.len().to_string(),
            format!("{lost:.1}"),
            run.deadlocks.to_string(),
            run.failures.len().to_string(),
            run.seen.errors.len().to_string(),
        ]);
    }
    table
}
