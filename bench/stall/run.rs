//! One run: traffic, the long reader, and a schema change.

use std::time::Duration;

use tokio::time::sleep;

use crate::family::Family;
use crate::place::{FRESH, Guard, Place, VACUUMED};
use crate::strategy::{Outcome, Sent, Strategy};
use crate::traffic::{Monitor, Reader, Traffic};

/// Not measured: plans are made, and lockkeeper learns what is usual on this table.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long the reader keeps its transaction open.
pub(crate) const READER_LASTS: Duration = Duration::from_secs(4);
/// How long the reader is there before the schema change.
const READER_LEADS: Duration = Duration::from_millis(200);
/// How long the clients go on after the schema change.
const AFTERMATH: Duration = Duration::from_millis(500);

/// What all runs have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) clients: u64,
    /// The longest that a schema change may take.
    pub(crate) limit: Duration,
    /// Whether an autovacuum worker is at work on the table all the time.
    pub(crate) vacuum: bool,
    /// Whether lockkeeper has a login of its own.
    pub(crate) with_operator: bool,
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Run {
    /// Who sent the schema change; `None`: nobody did.
    pub(crate) strategy: Option<Strategy>,
    pub(crate) outcome: Outcome,
    pub(crate) tries: Option<u64>,
    /// From sending the schema change to its end.
    pub(crate) took: Duration,
    /// The latencies of all queries under way in that time, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// The most clients that waited for a lock at the same time.
    pub(crate) waiting: usize,
    /// What went wrong with the traffic.
    pub(crate) errors: Vec<String>,
}

/// How a run goes on once the traffic and the reader are at work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// A schema change is sent.
    Change(Strategy),
    /// Nothing happens for so long.
    Nothing(Duration),
}

/// Performs a run in a fresh copy of the database `template`.
pub(crate) async fn perform(
    place: &Place,
    terms: Terms,
    family: &Family,
    template: &str,
    event: Event,
) -> anyhow::Result<Run> {
    place.refresh(template).await?;
    if terms.vacuum {
        place.run_in(FRESH, VACUUMED).await?;
    }
    let server = place.server.port();
    let guard = match event {
        Event::Change(Strategy::Lockkeeper) => Some(Guard::start(place, terms.with_operator)?),
        _ => None,
    };
    let target = guard.as_ref().map_or(server, |guard| guard.port);
    let changer = place.connect(target).await?;
    let monitor = Monitor::start(server, FRESH).await?;
    let traffic = Traffic::start(server, FRESH, terms.clients, place.rows).await?;
    sleep(WARM_UP).await;
    let reader = Reader::start(server, FRESH, READER_LASTS).await?;
    sleep(READER_LEADS).await;

    monitor.begin();
    let begun = traffic.now();
    let mut sent = match event {
        Event::Change(strategy) => {
            let change = place.filled_in(family.change);
            strategy.send(&changer, &change, terms.limit).await?
        }
        Event::Nothing(length) => {
            sleep(length).await;
            Sent {
                outcome: Outcome::Done,
                tries: 0,
            }
        }
    };
    let ended = traffic.now();
    let waiting = monitor.end().await?;
    sleep(AFTERMATH).await;
    reader.end().await?;
    let record = traffic.finish().await?;
    if matches!(event, Event::Change(strategy) if strategy != Strategy::Query)
        && sent.outcome == Outcome::Done
    {
        sent.outcome = proved(place, family).await?;
    }

    let under_way = record.samples.iter();
    let under_way = under_way.filter(|sample| sample.end >= begun && sample.start <= ended);
    let mut latencies: Vec<Duration> = under_way
        .map(|sample| sample.end.saturating_sub(sample.start))
        .collect();
    latencies.sort_unstable();
    Ok(Run {
        strategy: match event {
            Event::Change(strategy) => Some(strategy),
            Event::Nothing(_) => None,
        },
        outcome: sent.outcome,
        tries: match &guard {
            Some(guard) => guard.attempts(),
            None => Some(sent.tries),
        },
        took: ended.saturating_sub(begun),
        latencies,
        waiting,
        errors: record.errors,
    })
}

/// Whether what was reported as done is done.
async fn proved(place: &Place, family: &Family) -> anyhow::Result<Outcome> {
    let client = place.connect(place.server.port()).await?;
    let row = client.query_opt(family.proof, &[]).await?;
    let holds = row.map(|row| row.try_get::<_, bool>(0)).transpose()?;
    if holds == Some(true) {
        return Ok(Outcome::Done);
    }
    let text = format!("reported as done, but this isn't true: {}", family.proof);
    Ok(Outcome::Failed(text))
}
