//! The command line.

pub mod audit;
pub mod check;
pub mod demo;
pub mod doctor;
pub mod health;
pub mod reload;
pub mod rules;
pub mod serve;
pub mod service;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A PostgreSQL proxy that guards schema changes.
///
/// Point any client at lockkeeper instead of PostgreSQL and change nothing else: ordinary traffic
/// passes untouched, CREATE INDEX, DROP INDEX and REINDEX run concurrently, other schema changes
/// take their locks without making anybody wait.
#[derive(Debug, Parser)]
#[command(name = "lockkeeper", version = VERSION, long_version = LONG_VERSION, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The version alone.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, what it was built from, and with which parser.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("LOCKKEEPER_BUILD_COMMIT"),
    ", pg_query ",
    env!("LOCKKEEPER_BUILD_PARSER"),
    ", PostgreSQL grammar ",
    env!("LOCKKEEPER_BUILD_GRAMMAR"),
    ")"
);

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: accept clients and guard their schema changes
    ///
    /// Settings come from the file, then the environment (LOCKKEEPER__GUARD__MODE=observe sets
    /// guard.mode), then these flags. config/lockkeeper.toml describes every one of them.
    ///
    /// Try it in front of an existing server:
    ///   lockkeeper serve --upstream db.internal:5432
    ///   psql -h 127.0.0.1 -p 6432 …
    #[command(verbatim_doc_comment)]
    Serve(serve::Flags),
    /// Look at the settings, this machine and the server: what won't work, and what to do
    ///
    /// One line for each finding: ok, warn or fail. Takes the same settings as serve. Exit 0: nothing fails;
    /// 1: something does; 2: the settings can't be used.
    Doctor(doctor::Flags),
    /// Judge SQL scripts as serve would judge their statements: what is rejected, what is rewritten, the safe way
    ///
    /// Without a server every table that the scripts don't make is taken for large and busy; with --database-url its
    /// sizes, columns, constraints and dependents count. Scripts are judged in the order given, each on what those
    /// before it made. psql's meta-commands and pg_dump's COPY data are skipped.
    ///
    ///   lockkeeper check db/migrate/2026-11-01_orders.sql
    ///   lockkeeper check db/migrations --database-url postgres://ci@db.internal/shop
    ///   git diff --name-only main -- '*.sql' | xargs lockkeeper check --format github
    ///
    /// Exit 0: nothing to reject; 1: something to reject (--fail-on rewrite is stricter); 2: something can't be read.
    #[command(verbatim_doc_comment)]
    Check(check::Flags),
    /// Print the history of schema changes, or verify an audit file's chain
    ///
    /// The history comes from lockkeeper's own database (operator.database), asked by its own login,
    /// or with --file from an audit file. Newest last.
    ///
    ///   lockkeeper audit --table orders --since 7d
    ///   lockkeeper audit --user deploy --outcome failed --format json
    ///   lockkeeper audit --file /var/log/lockkeeper/audit.jsonl --since 2026-11-01
    ///   lockkeeper audit verify audit.jsonl.1 audit.jsonl
    ///
    /// Exit 0; 2: there is nothing to read, or the flags can't be used.
    #[command(verbatim_doc_comment)]
    Audit(audit::Flags),
    /// List the rules: name, what is done by default, hazard
    ///
    /// Every name can stand in policy.rules, and behind `lockkeeper explain`.
    Rules(rules::Flags),
    /// Explain a rule: hazard, recipe, versions, an example with its judgement, how to change what is done
    Explain(rules::ExplainFlags),
    /// Say whether a running lockkeeper is alive (for container health checks): exit 0 or 1
    Health(health::Flags),
    /// Show what an unsafe migration does to live traffic, directly and through lockkeeper (about a
    /// minute)
    ///
    /// Starts a temporary PostgreSQL of its own, and removes it. Exit 0: the direct run stalled for
    /// more than a second and lockkeeper's stayed within the budget; 1: it didn't; 2: it could not
    /// run.
    Demo(DemoFlags),
}

#[derive(Debug, clap::Args)]
struct DemoFlags {
    /// Rows of the table
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    rows: u64,
    /// Clients that read and write it
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=100))]
    clients: u16,
    /// Write both latency curves to this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Directory of PostgreSQL's programs (initdb, postgres); found by itself otherwise
    #[arg(long, value_name = "DIR")]
    pg_bin: Option<PathBuf>,
    /// No colours
    #[arg(long)]
    no_color: bool,
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(flags) => serve::main(flags),
        Command::Doctor(flags) => doctor::main(flags),
        Command::Check(flags) => check::main(&flags),
        Command::Audit(flags) => audit::main(flags),
        Command::Rules(flags) => rules::main(&flags),
        Command::Explain(flags) => rules::explain(&flags),
        Command::Health(flags) => health::main(&flags),
        Command::Demo(flags) => demo_main(flags),
    }
}

/// Reports why a command can't run: exit 2.
fn unusable(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("lockkeeper: {why}");
    ExitCode::from(2)
}

fn demo_main(flags: DemoFlags) -> ExitCode {
    let options = demo::DemoOptions {
        rows: flags.rows,
        clients: usize::from(flags.clients),
        svg: flags.svg,
        binaries: flags.pg_bin,
        color: !flags.no_color
            && std::env::var_os("NO_COLOR").is_none()
            && std::io::stdout().is_terminal(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return unusable(error),
    };
    match runtime.block_on(demo::run(
        options,
        &mut std::io::stdout(),
        serve::in_background,
    )) {
        Ok(verdict) if verdict.passed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) if error.is::<demo::Interrupted>() => ExitCode::from(130),
        Err(error) => unusable(format!("{error:#}")),
    }
}
