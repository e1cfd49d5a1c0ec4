//! pgbench's point reads, and what they cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::contender::{Bench, Contender, Running};
use crate::process::Used;

/// How long a contender runs before the next one does: short enough that a machine which changes its
/// speed does it to all of them, long enough that the change from one to the other is no part of it.
const SLICE: Duration = Duration::from_millis(150);
/// How long the proxy and the server may take to finish what a stopped client has sent.
const DRAIN: Duration = Duration::from_millis(5);

/// A kind of load: pgbench's `--protocol`, and the number of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) protocol: String,
    pub(crate) clients: u32,
}

impl Cell {
    /// `simple, 16`.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.protocol, self.clients)
    }
}

impl FromStr for Cell {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (protocol, clients) = text.split_once('/').context("not like simple/1")?;
        let known = matches!(protocol, "simple" | "extended" | "prepared");
        ensure!(known, "simple, extended or prepared");
        let clients = clients.parse()?;
        ensure!((1..=64).contains(&clients), "1 to 64 clients");
        Ok(Self {
            protocol: protocol.to_owned(),
            clients,
        })
    }
}

/// What a run showed. Of a direct connection only the first counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Transactions in a second.
    pub(crate) throughput: f64,
    /// CPU time of the proxy for a transaction, in microseconds.
    pub(crate) cpu: f64,
    /// How often the proxy waited, for a transaction.
    pub(crate) switches: f64,
}

/// All runs of a cell: for each round one of each contender, in the contenders' order.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) cell: Cell,
    pub(crate) rounds: Vec<Vec<Run>>,
}

/// Runs every cell with every contender in every round. Who begins changes.
pub(crate) fn measure(
    bench: &Bench,
    contenders: &[Contender],
    cells: &[Cell],
    rounds: u32,
    seconds: u32,
) -> anyhow::Result<Vec<Results>> {
    let mut results: Vec<Results> = Vec::new();
    for cell in cells {
        results.push(Results {
            cell: cell.clone(),
            rounds: Vec::new(),
        });
    }
    let running: Vec<Running> = contenders
        .iter()
        .map(|contender| bench.run(contender))
        .collect::<anyhow::Result<_>>()?;
    for number in 0..rounds as usize {
        for (index, results) in results.iter_mut().enumerate() {
            let cell = &results.cell;
            let runs = round(bench, &running, cell, seconds, number + index)?;
            let mut line = format!("round {}, {}:", number + 1, cell.name());
            for (contender, run) in contenders.iter().zip(&runs) {
                let name = &contender.name;
                line += &format!(" {name} {:.0}/s {:.1} µs,", run.throughput, run.cpu);
            }
            writeln!(stderr(), "{}", line.trim_end_matches(','))?;
            results.rounds.push(runs);
        }
    }
    Ok(results)
}

/// Runs a cell once with each contender, in turns of [`SLICE`]: all have a pgbench of their own, and
/// all but one are stopped at any time. So whatever slows the machine down slows all of them down.
fn round(
    bench: &Bench,
    running: &[Running],
    cell: &Cell,
    seconds: u32,
    shift: usize,
) -> anyhow::Result<Vec<Run>> {
    let count = running.len();
    let mut loads: Vec<Load> = Vec::new();
    for turn in 0..count {
        // Each begins at least a second after the one before, so that it doesn't end earlier.
        let begun = u32::try_from(turn)?;
        let length = (seconds + 1) * u32::try_from(count)? - begun;
        let proxy = &running[(turn + shift) % count];
        loads.push(Load::start(bench, proxy, cell, length)?);
    }
    let end = loads.iter().map(|load| load.end).min();
    let end = end.context("nobody to measure")? - 2 * SLICE;
    for turn in 0.. {
        for place in 0..count {
            loads[(turn + place) % count].slice()?;
        }
        if Instant::now() + SLICE * u32::try_from(count)? > end {
            break;
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    for load in loads {
        runs.push(load.finish()?);
    }
    runs.rotate_right(shift % count);
    Ok(runs)
}

/// A pgbench that is stopped unless it has its turn, and what its turns took.
struct Load {
    client: Client,
    said: BufReader<ChildStderr>,
    proxy: Option<u32>,
    /// When pgbench starts no more transactions.
    end: Instant,
    /// The transactions of the first second, which isn't counted: connections are made then, plans
    /// and classifications cached.
    uncounted: f64,
    time: Duration,
    cpu: Duration,
    switches: u64,
}

impl Load {
    /// Lets it run for a second, then stops it.
    fn start(bench: &Bench, running: &Running, cell: &Cell, seconds: u32) -> anyhow::Result<Self> {
        let mut client = Client::start(bench, running, cell, seconds, &["-P", "1"])?;
        let mut load = Self {
            said: BufReader::new(client.0.stderr.take().context("no stderr")?),
            client,
            proxy: running.id(),
            end: Instant::now(),
            uncounted: 0.0,
            time: Duration::ZERO,
            cpu: Duration::ZERO,
            switches: 0,
        };
        let mut said = String::new();
        let first = loop {
            let before = said.len();
            ensure!(load.said.read_line(&mut said)? > 0, "pgbench: {said}");
            if let Some(progress) = said[before..].strip_prefix("progress: ") {
                break progress;
            }
        };
        let begin = Used::now(load.proxy)?;
        let (after, transactions) = progress(first)?;
        load.uncounted = transactions;
        load.end = begin.at + Duration::from_secs(u64::from(seconds)).saturating_sub(after);
        load.stop(begin)?;
        Ok(load)
    }

    /// Its turn.
    fn slice(&mut self) -> anyhow::Result<()> {
        let begin = Used::now(self.proxy)?;
        self.client.signal(Signal::CONT)?;
        thread::sleep(SLICE);
        self.stop(begin)
    }

    /// Stops it, and counts what its turn took.
    fn stop(&mut self, begin: Used) -> anyhow::Result<()> {
        self.client.signal(Signal::STOP)?;
        self.time += begin.at.elapsed();
        // What is under way comes to its end.
        thread::sleep(DRAIN);
        let end = Used::now(self.proxy)?;
        self.cpu += end.cpu - begin.cpu;
        self.switches += end.switches - begin.switches;
        Ok(())
    }

    /// Lets it end.
    fn finish(mut self) -> anyhow::Result<Run> {
        let end = self.end + SLICE;
        thread::sleep(end.saturating_duration_since(Instant::now()));
        self.client.signal(Signal::CONT)?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("error:"))
            .collect();
        let transactions = self.client.transactions(&errors.join("\n"))? as f64 - self.uncounted;
        Ok(Run {
            throughput: transactions / self.time.as_secs_f64(),
            cpu: self.cpu.as_secs_f64() * 1e6 / transactions,
            switches: self.switches as f64 / transactions,
        })
    }
}

/// The time and the number of transactions of `1.0 s, 9512.4 tps, lat …`, the first line of a run.
fn progress(line: &str) -> anyhow::Result<(Duration, f64)> {
    let (seconds, rest) = line.split_once(" s, ").context("no time")?;
    let (rate, _) = rest.split_once(" tps").context("no rate")?;
    let seconds: f64 = seconds.parse()?;
    let transactions = seconds * rate.parse::<f64>()?;
    Ok((Duration::from_secs_f64(seconds), transactions))
}

/// A pgbench that doesn't outlive its owner.
struct Client(Child);

impl Client {
    fn start(
        bench: &Bench,
        running: &Running,
        cell: &Cell,
        seconds: u32,
        further: &[&str],
    ) -> anyhow::Result<Client> {
        let mut command = bench.pgbench(running.port);
        command
            .args(["-n", "-S", "-j", "1", "-M", &cell.protocol, "-c"])
            .arg(cell.clients.to_string())
            .arg("-T")
            .arg(seconds.to_string())
            .args(further)
            .arg("postgres")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Client(command.spawn().context("run pgbench")?))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), signal).context("signal pgbench")
    }

    /// How many there were, at the end.
    fn transactions(&mut self, errors: &str) -> anyhow::Result<u64> {
        let mut text = String::new();
        let mut out = self.0.stdout.take().context("no stdout")?;
        out.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        ensure!(status.success() && errors.is_empty(), "{errors}");
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("number of transactions actually processed: "));
        let Some(number) = number else {
            bail!("pgbench said:\n{text}");
        };
        Ok(number.trim().parse()?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The system calls of a contender in a cell, each with its number for a transaction.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) cell: Cell,
    pub(crate) name: String,
    pub(crate) calls: BTreeMap<String, f64>,
}

/// Counts system calls, once for each contender and cell. strace slows the proxy down a lot, so
/// nothing else is measured at the same time.
pub(crate) fn syscalls(
    bench: &Bench,
    contenders: &[Contender],
    cells: &[Cell],
    seconds: u32,
) -> anyhow::Result<Vec<Calls>> {
    let mut all = Vec::new();
    for cell in cells {
        for contender in contenders {
            let running = bench.run(contender)?;
            let process = running.id().context("no process to look at")?;
            let directory = tempfile::tempdir()?;
            let output = directory.path().join("calls");
            let mut strace = Command::new("strace")
                .args(["-c", "-f", "-U", "calls,name", "-o"])
                .arg(&output)
                .args(["-p", &process.to_string()])
                .stderr(Stdio::piped())
                .spawn()
                .context("run strace, which 'make bench' installs")?;
            let mut attached = String::new();
            let mut said = BufReader::new(strace.stderr.take().context("no stderr")?);
            said.read_line(&mut attached)?;
            ensure!(attached.contains("attached"), "{attached}");
            let mut client = Client::start(bench, &running, cell, seconds, &[])?;
            let transactions = client.transactions("");
            // strace prints its counts when it is interrupted.
            kill_process(Pid::from_child(&strace), Signal::INT)?;
            said.read_to_string(&mut attached)?;
            strace.wait()?;
            all.push(Calls {
                cell: cell.clone(),
                name: contender.name.clone(),
                calls: counts(&std::fs::read_to_string(&output)?, transactions? as f64),
            });
        }
    }
    Ok(all)
}

/// The lines `12345 epoll_wait` of strace's table, divided by the number of transactions.
fn counts(table: &str, transactions: f64) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        if let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse::<f64>), words.next())
            && name != "total"
        {
            counts.insert(name.to_owned(), number / transactions);
        }
    }
    counts
}
