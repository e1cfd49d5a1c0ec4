//! How a schema change is sent.

use std::iter::{once, repeat_n};
use std::time::Duration;

use anyhow::Context;
use lockkeeper::error::PREFIX;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// How long a schema change that was cancelled may take to end.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);

/// Who sends it, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Strategy {
    /// As it is, to the server
    Plain,
    /// Under a `lock_timeout` of 2 s, again after a second
    Timeout,
    /// By the table of GitLab's `with_lock_retries`
    Gitlab,
    /// As it is, to lockkeeper
    Lockkeeper,
    /// Not at all: a query reads and sorts the table meanwhile, as a build would
    Query,
    /// Under a `lock_timeout` of 100 ms, again after 400 ms: for choosing the traffic
    Short,
    /// Under a `lock_timeout` of 20 ms, again after 200 ms: for choosing the traffic
    Shortest,
}

/// The `lock_timeout` of a try and the pause after it, both in milliseconds, and how often: the table
/// of <https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/gitlab/database/with_lock_retries.rb>.
const GITLAB: [(u64, u64, usize); 28] = [
    (100, 50, 2),
    (200, 50, 1),
    (300, 100, 1),
    (400, 150, 1),
    (500, 2000, 4),
    (1000, 5000, 1),
    (1000, 60_000, 1),
    (100, 50, 2),
    (200, 50, 1),
    (300, 100, 1),
    (400, 150, 1),
    (500, 2000, 3),
    (3000, 180_000, 1),
    (100, 50, 2),
    (500, 2000, 2),
    (5000, 120_000, 1),
    (500, 500, 2),
    (7000, 300_000, 1),
    (500, 500, 2),
    (7000, 300_000, 1),
    (500, 500, 2),
    (7000, 300_000, 1),
    (100, 50, 2),
    (500, 2000, 1),
    (10_000, 600_000, 1),
    (100, 50, 1),
    (500, 2000, 1),
    (10_000, 600_000, 1),
];

/// Keeps a processor busy with the table, in the way of nobody.
const QUERY: &str = "
    SET max_parallel_workers_per_gather = 0;
    SELECT count(*) FROM (SELECT FROM busy ORDER BY created_at, customer_id OFFSET 0) AS sorted";

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// lockkeeper did not let it through: what it said.
    Refused(String),
    Failed(String),
    /// It was cancelled at the limit.
    TooLong,
}

/// What is known of a schema change that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    /// How often it was sent.
    pub(crate) tries: u64,
}

impl Strategy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Timeout => "lock_timeout 2 s",
            Self::Gitlab => "GitLab's table",
            Self::Lockkeeper => "lockkeeper",
            Self::Query => "a query instead",
            Self::Short => "lock_timeout 100 ms",
            Self::Shortest => "lock_timeout 20 ms",
        }
    }

    /// The `lock_timeout` of each try (zero: none) and the pause after it, in milliseconds.
    fn tries(self) -> Box<dyn Iterator<Item = (u64, u64)>> {
        match self {
            Self::Plain | Self::Lockkeeper | Self::Query => Box::new(once((0, 0))),
            Self::Timeout => Box::new(std::iter::repeat((2000, 1000))),
            Self::Short => Box::new(std::iter::repeat((100, 400))),
            Self::Shortest => Box::new(std::iter::repeat((20, 200))),
            Self::Gitlab => {
                let rows = GITLAB.into_iter();
                let rows = rows.flat_map(|(limit, pause, times)| repeat_n((limit, pause), times));
                Box::new(rows.chain(once((0, 0))))
            }
        }
    }

    /// Sends the schema change until it is done, for so long at most.
    pub(crate) async fn send(
        self,
        client: &Client,
        change: &str,
        limit: Duration,
    ) -> anyhow::Result<Sent> {
        let mut tries = 0;
        let outcome = match timeout(limit, self.try_on(client, change, &mut tries)).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                cancel(client).await?;
                Outcome::TooLong
            }
        };
        Ok(Sent { outcome, tries })
    }

    async fn try_on(
        self,
        client: &Client,
        change: &str,
        tries: &mut u64,
    ) -> anyhow::Result<Outcome> {
        let change = if self == Self::Query { QUERY } else { change };
        let mut last = None;
        for (limit, pause) in self.tries() {
            if limit != 0 || last.is_some() {
                let set = format!("SET lock_timeout = '{limit}ms'");
                client.batch_execute(&set).await?;
            }
            *tries += 1;
            let Err(error) = client.batch_execute(change).await else {
                return Ok(Outcome::Done);
            };
            let timed_out = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
            if !timed_out || limit == 0 {
                return Ok(told(&error));
            }
            last = Some(error);
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(last.map_or(Outcome::Done, |error| told(&error)))
    }
}

/// What an error says of a schema change.
fn told(error: &tokio_postgres::Error) -> Outcome {
    let Some(said) = error.as_db_error() else {
        return Outcome::Failed(error.to_string());
    };
    let text = format!("{} (SQLSTATE {})", said.message(), said.code().code());
    match text.strip_prefix(PREFIX) {
        Some(reason) if said.code().code().starts_with("LK") => Outcome::Refused(reason.to_owned()),
        _ => Outcome::Failed(text),
    }
}

/// Cancels what the session runs, and waits until it has ended.
async fn cancel(client: &Client) -> anyhow::Result<()> {
    client.cancel_token().cancel_query(NoTls).await?;
    let ended = timeout(CANCEL_LIMIT, client.batch_execute(""));
    ended
        .await
        .context("the schema change can't be cancelled")??;
    Ok(())
}
