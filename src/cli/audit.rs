//! `lockkeeper audit`: the history of schema changes, and `lockkeeper audit verify`.

mod database;
mod filter;
mod lines;
mod show;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;

use self::filter::{Filter, Table};
use super::{serve, unusable};

/// Flags of `lockkeeper audit`.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    history: History,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check that nobody has changed the lines of audit files
    ///
    /// Each line of an audit file ends with a hash over itself and the line before. This checks every
    /// line of every file, and that each file continues the one named before it: name them oldest
    /// first.
    ///
    ///   lockkeeper audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl
    ///   zcat audit.jsonl.2.gz | lockkeeper audit verify -
    ///   lockkeeper audit verify --from 5f8c… audit.jsonl
    ///
    /// What it proves: no line was changed, put in, moved or taken out between the first and the last
    /// one. What it doesn't: whoever can write the whole file can make a new chain for it, and lines
    /// cut off at its end leave no trace. So keep the last hash that is printed, the checkpoint,
    /// somewhere else, and give it to --from later.
    ///
    /// Torn lines (a crash, a full disk) and a missing end event (the program was killed, or still
    /// runs) are told, and are no errors. Exit 0: all is well; 1: a chain is broken; 2: a file can't
    /// be read, or isn't an audit file.
    #[command(verbatim_doc_comment)]
    Verify(verify::Flags),
}

#[derive(Debug, clap::Args)]
struct History {
    /// Not before this: RFC 3339, a date (UTC), or an age such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = filter::time)]
    since: Option<Timestamp>,
    /// Before this
    #[arg(long, value_name = "TIME", value_parser = filter::time)]
    until: Option<Timestamp>,
    /// About this relation, written as in SQL; without a schema it may be in any
    #[arg(long, value_name = "NAME", value_parser = filter::table)]
    table: Option<Table>,
    /// Sent by this role
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Ended so: done, failed, refused, passed, observed …; or running
    #[arg(long, value_name = "WORD", value_parser = filter::outcome)]
    outcome: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Settings (TOML), for operator.url, operator.database and upstream
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The PostgreSQL server [default: 127.0.0.1:5432]
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// lockkeeper's own login, without its password [default: postgres, on upstream]
    #[arg(long, value_name = "URL")]
    operator_url: Option<String>,
    /// Read this audit file instead of the database; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "upstream", "operator_url"])]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// An object a line, as it was recorded
    Json,
}

/// Prints the history: exit 0, or 2 when there is none to read; or verifies files.
pub fn main(flags: Flags) -> ExitCode {
    let history = match flags.command {
        Some(Command::Verify(flags)) => return verify::main(&flags),
        None => flags.history,
    };
    match print(history) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => unusable(why),
    }
}

fn print(history: History) -> Result<(), String> {
    if let (Some(since), Some(until)) = (history.since, history.until)
        && since >= until
    {
        return Err(format!("--since {since} isn't before --until {until}"));
    }
    let filter = Filter {
        since: history.since,
        until: history.until,
        table: history.table,
        user: history.user,
        outcome: history.outcome,
        limit: history.limit,
    };
    let events = match &history.file {
        Some(file) => lines::read(file, &filter)?,
        None => {
            let flags =
                serve::Flags::of_server(history.config, history.upstream, history.operator_url);
            let config = serve::settings(&flags).map_err(|error| error.to_string())?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(database::read(&config, &filter))?
        }
    };
    show::all(&events, history.format)
}
