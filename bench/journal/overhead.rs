//! One schema change after the other, in each way by turns.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::Client;

use crate::place::{Lockkeeper, Own, Place, connect};
use crate::table::Table;

/// The database.
const DATABASE: &str = "overhead";
/// Rounds that aren't counted: caches are filled, the journal's database is made.
const WARM_UP: u32 = 5;

/// The ways, in columns.
const WAYS: [(&str, Option<Own>); 4] = [
    ("directly", None),
    ("without operator", Some(Own::Nothing)),
    ("without journal", Some(Own::Login)),
    ("with journal", Some(Own::Database)),
];

/// What is sent in each round; `{way}` and `{round}` are numbers. The second part is done directly before, and isn't
/// measured. `plain` is smaller than guard.small_table, `larger` isn't.
const STATEMENTS: [(&str, &str, &str); 5] = [
    (
        "ADD COLUMN",
        "ALTER TABLE small_{way} ADD COLUMN extra text",
        "",
    ),
    (
        "DROP COLUMN",
        "ALTER TABLE small_{way} DROP COLUMN extra",
        "",
    ),
    (
        "CREATE TABLE",
        "CREATE TABLE made_{way} (id bigint PRIMARY KEY, note text)",
        "DROP TABLE IF EXISTS made_{way}",
    ),
    (
        "CREATE INDEX, small table",
        "CREATE INDEX small_{way}_idx ON small_{way} (customer_id)",
        "DROP INDEX IF EXISTS small_{way}_idx",
    ),
    (
        "CREATE INDEX, 2 MB",
        "CREATE INDEX larger_{way}_idx ON larger_{way} (customer_id)",
        "DROP INDEX IF EXISTS larger_{way}_idx",
    ),
];

/// The tables of a way.
const TABLES: &str = "
    CREATE TABLE small_{way} (id bigint PRIMARY KEY, customer_id integer NOT NULL, note text);
    INSERT INTO small_{way} SELECT n, n % 100, 'note ' || n FROM generate_series(1, 1000) n;
    CREATE TABLE larger_{way} (id bigint PRIMARY KEY, customer_id integer NOT NULL, note text);
    INSERT INTO larger_{way} SELECT n, n % 100, 'note ' || n FROM generate_series(1, 40000) n;";

/// What a commit costs where nothing else is done.
const COMMIT: &str = "INSERT INTO written VALUES (1)";

/// Measures all statements in all ways; a row for each statement.
pub(crate) async fn measure(place: &Place, rounds: u32) -> anyhow::Result<Table> {
    let tables: String = (0..WAYS.len()).map(|way| filled(TABLES, way)).collect();
    let direct = place
        .database(DATABASE, &format!("{tables} CREATE TABLE written (a int)"))
        .await?;
    let mut lockkeepers: Vec<Lockkeeper> = Vec::new();
    let mut clients: Vec<Client> = Vec::new();
    for (name, own) in WAYS {
        let port = match own {
            None => place.server.port(),
            Some(own) => {
                lockkeepers.push(place.lockkeeper(own)?);
                lockkeepers.last().context(name)?.port
            }
        };
        clients.push(connect(port, DATABASE).await?);
    }
    let mut times = vec![vec![Vec::new(); WAYS.len()]; STATEMENTS.len()];
    let mut commits = Vec::new();
    for round in 0..rounds + WARM_UP {
        for turn in 0..WAYS.len() {
            let way = (turn + round as usize) % WAYS.len();
            for (number, (name, sql, before)) in STATEMENTS.iter().enumerate() {
                direct.batch_execute(&filled(before, way)).await?;
                let took = timed(&clients[way], &filled(sql, way))
                    .await
                    .context(*name)?;
                if round >= WARM_UP {
                    times[number][way].push(took);
                }
            }
        }
        commits.push(timed(&direct, COMMIT).await?);
    }
    Ok(report(rounds, &mut times, &mut commits))
}

fn filled(sql: &str, way: usize) -> String {
    sql.replace("{way}", &way.to_string())
}

async fn timed(client: &Client, sql: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    client.batch_execute(sql).await?;
    Ok(began.elapsed())
}

fn report(rounds: u32, times: &mut [Vec<Vec<Duration>>], commits: &mut [Duration]) -> Table {
    let commit = percentile(commits, 0.5);
    let title = format!(
        "A schema change alone, ms: median, p95; {rounds} of each (a commit of one row takes {commit:.1}, p95 {:.1})",
        percentile(commits, 0.95)
    );
    let mut header = vec!["statement".to_owned()];
    header.extend(WAYS.map(|(name, _)| name.to_owned()));
    header.extend(["to directly", "to without journal", "journal, ms"].map(str::to_owned));
    let mut table = Table::new(title, header);
    for ((name, ..), ways) in STATEMENTS.iter().zip(times) {
        let medians: Vec<f64> = ways.iter_mut().map(|way| percentile(way, 0.5)).collect();
        let mut row = vec![(*name).to_owned()];
        for (way, median) in ways.iter_mut().zip(&medians) {
            row.push(format!("{median:.1}, {:.1}", percentile(way, 0.95)));
        }
        let [direct, _, without, with] = medians[..] else {
            continue;
        };
        row.push(format!("{:.1}", with / direct));
        row.push(format!("{:.2}", with / without));
        row.push(format!("{:.1}", with - without));
        table.rows.push(row);
    }
    table
}

/// The time that this share doesn't exceed, in milliseconds.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    times
        .get(at)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
