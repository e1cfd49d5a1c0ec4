//! `lockkeeper check`: the judge over scripts, with the facts of a server, or with the worst case.

mod catalog;
mod files;
mod judge;
mod login;
mod report;
mod sarif;
mod script;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use self::catalog::Catalog;
use self::judge::Judge;
use self::report::{Finding, Word};
use super::unusable;
use crate::config::Config;

/// What is said once when there is no server to ask.
const WORST_CASE: &str = "nobody was asked about tables that these scripts don't make: they are taken for the \
     worst, large and busy; --database-url asks a server";

/// Flags of `lockkeeper check`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Scripts: files, directories (every *.sql below, in the order of their names), patterns such as
    /// 'db/**/*.sql', or - for standard input, which is also read when nothing is named
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Ask this server about the tables (read only): postgres://user@host/database. The password may
    /// come from PGPASSWORD
    #[arg(
        long,
        value_name = "URL",
        env = "LOCKKEEPER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The mildest verdict that makes the exit code 1
    #[arg(long, value_name = "VERDICT", value_enum, default_value_t)]
    fail_on: FailOn,
    /// The server's major version, without --database-url: plans are made for it
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(13..=18))]
    pg_version: u32,
    /// Each script runs in one transaction, as with psql -1 and most migration tools
    #[arg(long)]
    single_transaction: bool,
    /// Settings (TOML): policy, guard.small_table and guard.scan_rate count
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people: hazard, locks, sizes, and the safe way as SQL
    #[default]
    Text,
    /// An array with an object for each statement
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum FailOn {
    /// Statements that would be refused
    #[default]
    Reject,
    /// Also those in whose place a plan would run
    Rewrite,
}

/// Judges scripts: exit 0 when there is nothing to reject, 1 when there is, 2 when something can't be
/// read.
pub fn main(flags: &Flags) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return unusable(error),
    };
    match runtime.block_on(check(flags)) {
        Ok(code) => code,
        Err(why) => unusable(why),
    }
}

async fn check(flags: &Flags) -> Result<ExitCode, String> {
    let config = settings(flags)?;
    let arguments = if flags.files.is_empty() {
        if std::io::stdin().is_terminal() {
            return Err("name scripts, or - to type one; see lockkeeper check --help".to_owned());
        }
        vec![files::STDIN.to_owned()]
    } else {
        flags.files.clone()
    };
    let inputs = files::find(&arguments)?;
    let (catalog, who) = match &flags.database_url {
        Some(url) => {
            let (login, who) = login::log_in(url, &config).await?;
            (Catalog::of_server(login), who)
        }
        None => (
            Catalog::assuming(flags.pg_version * 10_000),
            login::Who::default(),
        ),
    };
    let mut notes = Vec::new();
    if catalog.assumes() {
        notes.push(WORST_CASE.to_owned());
    }
    let policy = config.policy_for(&who.database, &who.user);
    let mut judge = Judge::new(catalog, policy);
    let mut unreadable = false;
    for input in &inputs {
        match input.read() {
            Ok(text) => {
                let (name, alone) = (input.name(), flags.single_transaction);
                judge.script(&name, &text, alone).await?;
            }
            Err(why) => {
                unreadable = true;
                say(&why);
            }
        }
    }
    let findings = judge.findings();
    report_all(flags.format, &findings, &notes)?;
    let worst = match flags.fail_on {
        FailOn::Reject => Word::Reject,
        FailOn::Rewrite => Word::Rewrite,
    };
    unreadable |= findings.iter().any(|finding| finding.word == Word::Error);
    Ok(if unreadable {
        ExitCode::from(2)
    } else if findings.iter().any(|finding| finding.word >= worst) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The report goes to standard output; where programs read that, errors go to standard error as
/// well.
fn report_all(format: Format, findings: &[Finding], notes: &[String]) -> Result<(), String> {
    let errors = findings
        .iter()
        .filter(|finding| finding.word == Word::Error);
    for finding in errors.filter(|_| format != Format::Text) {
        let (file, line) = (&finding.file, finding.line);
        say(&format!("{file}:{line}: {}", finding.message()));
    }
    let out = match format {
        Format::Text => {
            let color = std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal();
            report::text(findings, notes, color)
        }
        Format::Json => {
            notes.iter().for_each(|note| say(note));
            report::json(findings)
        }
        Format::Sarif => sarif::report(findings, notes),
        Format::Github => report::github(findings, notes),
    };
    print(&out)
}

fn settings(flags: &Flags) -> Result<Config, String> {
    let missing = flags.config.as_deref().filter(|file| !file.is_file());
    if let Some(file) = missing {
        return Err(format!("no such file: {} (--config)", file.display()));
    }
    Config::load(flags.config.as_deref()).map_err(|error| error.to_string())
}

fn say(text: &str) {
    eprintln!("lockkeeper: {text}");
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("the report can't be written: {error}"))
        }
        _ => Ok(()), // a reader such as `head` has seen enough
    }
}
