//! What writing down costs: of each schema change, and of hundreds at once through two lockkeepers.
//!
//! `docs/performance.md` says how to run this and how to read what it prints.

use std::io::{Write, stdout};
use std::time::Duration;

use clap::Parser;

mod background;
#[path = "journal/clients.rs"]
mod clients;
mod environment;
#[path = "journal/migrations.rs"]
mod migrations;
#[path = "journal/overhead.rs"]
mod overhead;
#[path = "journal/place.rs"]
mod place;
mod table;

use place::Place;

/// Measure what the journal and the audit log cost.
#[derive(Debug, Parser)]
struct Flags {
    /// Only these parts
    #[arg(long, value_delimiter = ',', default_value = "overhead,migrations")]
    parts: Vec<Part>,
    /// How often each statement is sent in each way
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    rounds: u32,
    /// Migrations at once, half of them through each lockkeeper
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=400))]
    migrations: u32,
    /// Ordinary clients meanwhile
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    /// Seconds that all migrations together may take
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Print the tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Each statement alone: directly, and through lockkeeper without and with a journal
    Overhead,
    /// Many migrations at once on few tables that are in use
    Migrations,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&flags))
}

async fn measure(flags: &Flags) -> anyhow::Result<()> {
    let place = Place::start().await?;
    let postgres = place.server.binaries().join("postgres");
    let mut text = environment::describe(&[
        environment::version(&postgres, "--version"),
        environment::version(place::LOCKKEEPER.as_ref(), "--version"),
    ]);
    text += &format!("The data are on {}; fsync is on.\n\n", place.disk());
    stdout().write_all(text.as_bytes())?;
    if flags.parts.contains(&Part::Overhead) {
        let table = overhead::measure(&place, flags.rounds).await?;
        stdout().write_all(table.show(flags.markdown).as_bytes())?;
    }
    if flags.parts.contains(&Part::Migrations) {
        let load = migrations::Load {
            migrations: flags.migrations,
            clients: flags.clients,
            limit: Duration::from_secs(flags.limit),
        };
        let table = migrations::measure(&place, load).await?;
        stdout().write_all(table.show(flags.markdown).as_bytes())?;
    }
    Ok(())
}
