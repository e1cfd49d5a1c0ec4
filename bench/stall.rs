//! How long ordinary queries wait for a schema change: sent as it is, under a `lock_timeout` with
//! retries, by GitLab's table of retries, and through lockkeeper.
//!
//! `docs/performance.md` says how to run this and how to read what it prints.

use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

mod background;
mod environment;
#[path = "stall/family.rs"]
mod family;
#[path = "stall/place.rs"]
mod place;
#[path = "stall/report.rs"]
mod report;
#[path = "stall/run.rs"]
mod run;
#[path = "stall/strategy.rs"]
mod strategy;
mod table;
#[path = "stall/traffic.rs"]
mod traffic;

use family::{FAMILIES, Family};
use place::Place;
use report::Results;
use run::{Event, Terms, perform};
use strategy::{Outcome, Strategy};

/// Rows of the table with `--quick`.
const QUICK_ROWS: u64 = 200_000;
/// The longest run without a schema change.
const LONGEST_QUIET: Duration = Duration::from_secs(60);

/// Compare ways to change the schema of a busy table: whom they stop, and for how long.
#[derive(Debug, Parser)]
struct Flags {
    /// Ordinary clients
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=150))]
    clients: u64,
    /// Only this kind of schema change; may be repeated
    #[arg(long, value_name = "NAME")]
    family: Vec<&'static Family>,
    /// Who sends it
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "plain,timeout,gitlab,lockkeeper"
    )]
    strategies: Vec<Strategy>,
    /// Rows of the table
    #[arg(long, default_value_t = 1_500_000, value_parser = clap::value_parser!(u64).range(1000..))]
    rows: u64,
    /// Seconds that a schema change may take
    #[arg(long, default_value_t = 300)]
    limit: u64,
    /// A small table, to see that everything works
    #[arg(long)]
    quick: bool,
    /// An autovacuum worker is at work on the table all the time
    #[arg(long)]
    vacuum: bool,
    /// lockkeeper without a login of its own on the server
    #[arg(long)]
    no_operator: bool,
    /// Print the tables in Markdown, too, at the end
    #[arg(long)]
    markdown: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&flags))
}

async fn measure(flags: &Flags) -> anyhow::Result<()> {
    let rows = if flags.quick { QUICK_ROWS } else { flags.rows };
    let place = Place::start(rows).await?;
    let terms = Terms {
        clients: flags.clients,
        limit: Duration::from_secs(flags.limit),
        vacuum: flags.vacuum,
        with_operator: !flags.no_operator,
    };
    let postgres = place.server.binaries().join("postgres");
    let mut text = environment::describe(&[
        environment::version(&postgres, "--version"),
        environment::version(place::LOCKKEEPER.as_ref(), "--version"),
    ]);
    let mut title = format!(
        "{} clients, {rows} rows, one reader of {} s",
        flags.clients,
        run::READER_LASTS.as_secs()
    );
    if flags.vacuum {
        title += ", autovacuum at work";
    }
    if flags.no_operator {
        title += ", lockkeeper without a login";
    }
    text += &format!("{title}\n\n");
    stdout().write_all(text.as_bytes())?;
    let mut families = flags.family.clone();
    if families.is_empty() {
        families.extend(FAMILIES);
    }
    let mut all = Vec::new();
    for family in families {
        let compared = compare(&place, terms, family, &flags.strategies).await;
        let results = compared.with_context(|| family.name)?;
        stdout().write_all(report::one(&results).as_bytes())?;
        all.push(results);
    }
    stdout().write_all(report::verdicts(&all).as_bytes())?;
    if flags.markdown {
        stdout().write_all(report::markdown(&all, &title).as_bytes())?;
    }
    Ok(())
}

/// One family by everybody, between two runs without a schema change, the second of which is as
/// long as the longest with one.
async fn compare(
    place: &Place,
    terms: Terms,
    family: &'static Family,
    strategies: &[Strategy],
) -> anyhow::Result<Results> {
    let template = place.prepare(family).await?;
    let event = Event::Nothing(run::READER_LASTS);
    let before = perform(place, terms, family, template, event).await?;
    let mut runs = Vec::new();
    for strategy in strategies {
        let event = Event::Change(*strategy);
        runs.push(perform(place, terms, family, template, event).await?);
    }
    let done = runs.iter().filter(|run| run.outcome == Outcome::Done);
    let longest = done.map(|run| run.took).max().unwrap_or_default();
    let length = longest.clamp(run::READER_LASTS, LONGEST_QUIET);
    let after = perform(place, terms, family, template, Event::Nothing(length)).await?;
    Ok(Results {
        family,
        change: place.filled_in(family.change),
        quiet: [before, after],
        runs,
    })
}
