//! pgbench's point reads, and what they cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write, stderr};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, anyhow, bail, ensure};

use crate::contender::{Bench, Contender, Running};
use crate::process::Used;

/// A kind of load: pgbench's `--protocol`, and the number of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) protocol: String,
    pub(crate) clients: u32,
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

/// Runs every cell with every contender in every round. Who begins changes, so that neither
/// contenders nor cells have a time of their own when the machine is slower.
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
    for round in 0..rounds as usize {
        for (number, results) in results.iter_mut().enumerate() {
            let cell = results.cell.clone();
            let mut runs = vec![None; running.len()];
            for turn in 0..running.len() {
                let index = (turn + round + number) % running.len();
                let run = one_run(bench, &running[index], &cell, seconds)
                    .with_context(|| format!("pgbench with {}", contenders[index].name))?;
                let name = &contenders[index].name;
                let (clients, protocol) = (cell.clients, &cell.protocol);
                writeln!(
                    stderr(),
                    "round {}, {protocol}, {clients} clients, {name}: {:.0}/s, {:.2} µs",
                    round + 1,
                    run.throughput,
                    run.cpu
                )?;
                runs[index] = Some(run);
            }
            results.rounds.push(runs.into_iter().flatten().collect());
        }
    }
    Ok(results)
}

/// One run of pgbench. Its first second isn't counted: connections are made then, plans and
/// classifications cached.
fn one_run(bench: &Bench, running: &Running, cell: &Cell, seconds: u32) -> anyhow::Result<Run> {
    let mut child = Client::start(bench, running, cell, seconds + 1, &["-P", "1"])?;
    let lines = BufReader::new(child.0.stderr.take().context("no stderr")?);
    let mut first = None;
    let mut errors = String::new();
    for line in lines.lines() {
        let line = line?;
        if let Some(progress) = line.strip_prefix("progress: ") {
            if first.is_none() {
                first = Some((Used::now(running.id())?, progress_transactions(progress)?));
            }
        } else if line.starts_with("pgbench: error") {
            errors.push_str(&line);
        }
    }
    let last = Used::now(running.id())?;
    let all = child.transactions(&errors)?;
    let (first, before) = first.ok_or_else(|| anyhow!("no progress: {errors}"))?;
    let transactions = all as f64 - before;
    Ok(Run {
        throughput: transactions / (last.at - first.at).as_secs_f64(),
        cpu: (last.cpu - first.cpu).as_secs_f64() * 1e6 / transactions,
        switches: (last.switches - first.switches) as f64 / transactions,
    })
}

/// The number of transactions of `1.0 s, 9512.4 tps, lat …`, the first line of a run.
fn progress_transactions(progress: &str) -> anyhow::Result<f64> {
    let (seconds, rest) = progress.split_once(" s, ").context("no time")?;
    let (rate, _) = rest.split_once(" tps").context("no rate")?;
    Ok(seconds.parse::<f64>()? * rate.parse::<f64>()?)
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
            Command::new("kill")
                .args(["-s", "INT", &strace.id().to_string()])
                .status()?;
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
