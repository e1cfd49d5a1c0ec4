//! What a proxy costs: pgbench's point reads directly, through lockkeeper, PgBouncer and HAProxy.
//!
//! `docs/performance.md` says how to run this and how to read what it prints.

use std::ffi::OsString;
use std::io::{Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Parser;

mod background;
#[path = "proxies/contender.rs"]
mod contender;
mod environment;
#[path = "proxies/idle.rs"]
mod idle;
#[path = "proxies/load.rs"]
mod load;
#[path = "proxies/process.rs"]
mod process;
#[path = "proxies/report.rs"]
mod report;
mod table;

use contender::{Bench, Contender, Kind};
use load::Cell;

/// File descriptors that 1,000 clients here, and as many in a proxy with its servers, can't exceed.
const DESCRIPTORS: u64 = 4096;
/// Set when this process has raised its limit of file descriptors as far as it could.
const RAISED: &str = "LOCKKEEPER_BENCH_RAISED";

/// Compare proxies with a direct connection: throughput, CPU time, memory.
#[derive(Debug, Parser)]
struct Flags {
    /// How often each contender runs each cell
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that are measured of each run, about, after a second that isn't
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Protocol of pgbench and number of clients
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "simple/1,extended/1,prepared/1,simple/16,extended/16,prepared/16"
    )]
    cells: Vec<Cell>,
    /// Who runs
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "direct,lockkeeper,pgbouncer,haproxy"
    )]
    contenders: Vec<Kind>,
    /// A further lockkeeper binary, to compare with; may be repeated
    #[arg(long, value_name = "PATH")]
    lockkeeper: Vec<PathBuf>,
    /// TLS between client and proxy (none between proxy and server; without HAProxy)
    #[arg(long)]
    tls: bool,
    /// Measure the memory of idle connections instead
    #[arg(long)]
    idle: bool,
    /// Connections of --idle
    #[arg(long, default_value_t = 1000)]
    connections: u32,
    /// Count system calls instead, by strace
    #[arg(long)]
    syscalls: bool,
    /// Print tables in Markdown
    #[arg(long)]
    markdown: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    raise_descriptors()?;
    let bench = Bench::start(flags.tls, flags.idle.then_some(flags.connections))?;
    let contenders = contenders(&flags);
    let postgres = bench.server.binaries().join("postgres");
    let mut versions = vec![environment::version(&postgres, "--version")];
    versions.extend(contenders.iter().filter_map(Contender::version));
    let environment = environment::describe(&versions);
    let text = if flags.idle {
        let measured = idle::measure(&bench, &contenders, flags.connections)?;
        report::idle(&measured, flags.connections, flags.markdown)
    } else if flags.syscalls {
        let calls = load::syscalls(&bench, &contenders, &flags.cells, flags.seconds)?;
        report::syscalls(&calls, flags.markdown)
    } else {
        let results = load::measure(
            &bench,
            &contenders,
            &flags.cells,
            flags.rounds,
            flags.seconds,
        )?;
        report::load(&results, &contenders, flags.markdown)
    };
    stdout().write_all((environment + &text).as_bytes())?;
    Ok(())
}

fn contenders(flags: &Flags) -> Vec<Contender> {
    let mut contenders: Vec<Contender> = Vec::new();
    for kind in &flags.contenders {
        contenders.push(Contender::usual(*kind));
    }
    for (index, binary) in flags.lockkeeper.iter().enumerate() {
        contenders.push(Contender::other(index + 2, binary.clone()));
    }
    contenders.retain(|contender| {
        let measured_by_process = flags.idle || flags.syscalls;
        !(flags.tls && contender.kind == Kind::Haproxy
            || measured_by_process && contender.kind == Kind::Direct)
    });
    contenders
}

/// Starts this program anew with as many file descriptors as it may have, when it has too few.
fn raise_descriptors() -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("read /proc/self/limits")?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    if soft.is_none_or(|soft| soft.parse().is_ok_and(|soft: u64| soft >= DESCRIPTORS)) {
        return Ok(());
    }
    if std::env::var_os(RAISED).is_some() {
        bail!("at least {DESCRIPTORS} file descriptors are needed: raise 'ulimit -Hn'");
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = Command::new("/bin/sh")
        .args(["-c", "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(RAISED, "yes")
        .exec();
    Err(error).context("run /bin/sh")
}
