//! `lockkeeper demo`: one unsafe migration under live traffic, run directly and through lockkeeper.
//!
//! A temporary PostgreSQL gets a table `orders`, a number of clients that read and update it by
//! primary key, and a long reader: a transaction that has read the table and stays open for
//! some seconds. While it does, the migration begins, in the way a careless tool would send it.
//! Both runs do exactly the same; in the first everything is connected to the server, in the second
//! everything is connected to the proxy. Every number printed is from the samples of this very run.

mod chart;
mod traffic;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::{MissedTickBehavior, sleep, timeout};

use self::chart::{
    Axes, Curve, RunRecord, Style, grouped, human, marks_of, paint, shortened, terminal_width,
    wrapped,
};
use self::traffic::{
    LongReader, Progress, THINK_TIME, Task, Traffic, count_stuck, fill, lock, migrate, undo,
};
use crate::pg::temporary::{self, TemporaryServer};

/// How long a query may wait because of a migration.
pub const BUDGET: Duration = Duration::from_millis(100);

/// Below this the direct run shows nothing that would need guarding.
const WORTH_GUARDING: Duration = Duration::from_secs(1);
/// Not measured: caches fill, plans are made.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the traffic is measured before the migration.
const BASELINE: Duration = Duration::from_secs(5);
/// How long the long reader is there before the migration begins.
const READER_LEADS: Duration = Duration::from_millis(300);
/// How long the traffic is measured after the migration.
const AFTERMATH: Duration = Duration::from_secs(2);
/// How often the view is drawn and the server is asked who waits.
const TICK: Duration = Duration::from_millis(100);
/// The longest all of it may take.
const DEMO_LIMIT: Duration = Duration::from_secs(180);
/// Seconds that the axis of the live chart holds from the beginning.
const LIVE_SECONDS: f64 = 20.0;

/// What to demonstrate with.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Rows of the table.
    pub rows: u64,
    /// Clients that query it.
    pub clients: usize,
    /// Where to write the two curves as SVG.
    pub svg: Option<PathBuf>,
    /// Where PostgreSQL's programs are; otherwise they are looked for.
    pub binaries: Option<PathBuf>,
    /// Whether to use colour.
    pub color: bool,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            rows: 3_000_000,
            clients: 16,
            svg: None,
            binaries: None,
            color: false,
        }
    }
}

/// A proxy in front of the demo's server; dropping it stops it.
pub struct ProxyHandle {
    /// Where it accepts clients.
    pub address: SocketAddr,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl ProxyHandle {
    /// A proxy that accepts clients at `address` until `stop` is called.
    pub fn new(address: SocketAddr, stop: impl FnOnce() + Send + 'static) -> Self {
        Self {
            address,
            stop: Some(Box::new(stop)),
        }
    }
}

impl fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyHandle").field(&self.address).finish()
    }
}

impl Drop for ProxyHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
    }
}

/// The person at the terminal ended the demo with Ctrl-C.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// What the demo showed.
#[derive(Debug, Clone)]
pub struct DemoVerdict {
    /// The longest that any query took from the migration's beginning on, run directly.
    pub direct_worst: Duration,
    /// The same through lockkeeper.
    pub lockkeeper_worst: Duration,
    /// The longest that any query took in the five seconds before the migration through
    /// lockkeeper: what this machine does to a query when nobody migrates anything.
    pub noise: Duration,
    /// How long a query may wait because of a migration.
    pub budget: Duration,
    /// What went wrong in either run: errors of the traffic or the migration.
    pub failures: Vec<String>,
}

impl DemoVerdict {
    /// Whether the direct run stalled for more than a second, no query through lockkeeper exceeded
    /// the budget by more than the noise before, and there was no error.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.objections().is_empty()
    }

    /// Why it did not pass, in words.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        let mut objections = self.failures.clone();
        if self.direct_worst <= WORTH_GUARDING {
            objections.push(format!(
                "run directly, no query waited longer than {}: that shows nothing (more rows would)",
                human(self.direct_worst)
            ));
        }
        if self.lockkeeper_worst > self.budget + self.noise {
            objections.push(format!(
                "through lockkeeper a query waited {}: more than the budget of {} and the noise of {} before",
                human(self.lockkeeper_worst),
                human(self.budget),
                human(self.noise)
            ));
        }
        objections
    }
}

/// Runs the demo, which takes about a minute, and prints it to `out`, which is standard output: as
/// one block that is redrawn when that is a terminal, as a line per second when it is not.
///
/// `start_proxy` starts the proxy in front of the given server.
///
/// # Errors
///
/// When PostgreSQL is missing or does not start, when nothing can be printed, when the demo takes
/// too long, and [`Interrupted`] after Ctrl-C. Nothing is left running in any case.
pub async fn run(
    options: DemoOptions,
    out: &mut impl Write,
    start_proxy: impl AsyncFn(SocketAddr) -> anyhow::Result<ProxyHandle>,
) -> anyhow::Result<DemoVerdict> {
    let mut view = View::new(out, options.color);
    let ended = tokio::select! {
        ended = timeout(DEMO_LIMIT, both_runs(&options, &mut view, start_proxy)) => {
            ended.unwrap_or_else(|_| {
                Err(anyhow::anyhow!("the demo was given up after {} s", DEMO_LIMIT.as_secs()))
            })
        }
        Ok(()) = tokio::signal::ctrl_c() => Err(Interrupted.into()),
    };
    view.end_block()?;
    let (direct, guarded) = ended?;
    let verdict = report(&mut view, &options, &direct, &guarded)?;
    Ok(verdict)
}

/// Prepares the server, runs the migration both ways and stops the server.
async fn both_runs<W: Write>(
    options: &DemoOptions,
    view: &mut View<'_, W>,
    start_proxy: impl AsyncFn(SocketAddr) -> anyhow::Result<ProxyHandle>,
) -> anyhow::Result<(RunRecord, RunRecord)> {
    let server = view
        .follow(
            "starting a temporary PostgreSQL",
            None,
            start_server(options),
        )
        .await??;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    let admin = traffic::connect(address, "lockkeeper demo: preparation").await?;
    let phase = format!("filling orders with {} rows", grouped(options.rows));
    view.follow(&phase, None, fill(&admin, options.rows))
        .await??;

    let run = Run {
        name: "directly",
        server: address,
        target: address,
        options,
    };
    let direct = run.perform(view).await?;
    view.follow("undoing the migration, then a pause", None, undo(&admin))
        .await??;

    let proxy = start_proxy(address)
        .await
        .context("could not start the proxy")?;
    let run = Run {
        name: "through lockkeeper",
        target: proxy.address,
        ..run
    };
    let guarded = run.perform(view).await?;
    drop(proxy);
    drop(admin);
    view.follow("stopping PostgreSQL", None, stop_server(server))
        .await??;
    Ok((direct, guarded))
}

/// Starts the server off the runtime's thread.
async fn start_server(options: &DemoOptions) -> anyhow::Result<TemporaryServer> {
    let binaries = options.binaries.clone().or_else(temporary::find_binaries);
    let binaries = binaries.context(temporary::HOW_TO_GET)?;
    let mut options = temporary::Options::new(binaries);
    let settings = [
        ("shared_buffers", "256MB"),
        ("maintenance_work_mem", "128MB"),
        ("synchronous_commit", "off"),
        // What is measured is waiting for locks. A checkpoint in the midst of one of the two runs,
        // or workers that take the processors from the traffic, would be measured as well.
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "30min"),
        ("max_parallel_maintenance_workers", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    options.settings.extend(settings);
    let started = tokio::task::spawn_blocking(move || TemporaryServer::start(&options));
    Ok(started.await??)
}

/// Stops the server off the runtime's thread.
async fn stop_server(server: TemporaryServer) -> anyhow::Result<()> {
    Ok(tokio::task::spawn_blocking(move || drop(server)).await?)
}

/// One of the two runs.
#[derive(Clone, Copy)]
struct Run<'a> {
    name: &'static str,
    /// The server itself, for watching who waits in it.
    server: SocketAddr,
    /// What traffic, long reader and migration connect to.
    target: SocketAddr,
    options: &'a DemoOptions,
}

impl Run<'_> {
    /// Traffic, then the long reader, then the migration.
    async fn perform<W: Write>(self, view: &mut View<'_, W>) -> anyhow::Result<RunRecord> {
        let traffic = Traffic::start(self.target, self.options.clients, self.options.rows);
        let traffic = view
            .follow("connecting the clients", None, traffic)
            .await??;
        let progress = Arc::new(Mutex::new(Progress::default()));
        let origin = traffic.origin();
        let monitor = traffic::connect(self.server, "lockkeeper demo: monitor").await?;
        let monitor = Task(tokio::spawn(count_stuck(monitor, Arc::clone(&progress))));
        let mut live = Live::new(self.name, traffic, Arc::clone(&progress));

        view.follow("warming up", Some(&mut live), sleep(WARM_UP))
            .await?;
        let baseline_from = live.traffic.now();
        view.follow("before the migration", Some(&mut live), sleep(BASELINE))
            .await?;
        let baseline = baseline_from..live.traffic.now();
        let reader = LongReader::start(self.target).await?;
        view.follow(
            "a long reader is at work",
            Some(&mut live),
            sleep(READER_LEADS),
        )
        .await?;
        lock(&progress).most_stuck = 0;
        let begun = live.traffic.now();
        let migration = migrate(self.target, origin, Arc::clone(&progress));
        let outcome = view
            .follow("the migration runs", Some(&mut live), migration)
            .await?;
        let migration = begun..live.traffic.now();
        let aftermath = async { tokio::join!(sleep(AFTERMATH), reader.end()).1 };
        let reader = view
            .follow("after the migration", Some(&mut live), aftermath)
            .await?;
        let end = live.traffic.now();
        let traffic = view
            .follow("the clients finish", None, live.traffic.finish())
            .await?;

        let progress = std::mem::take(&mut *lock(&progress));
        let failures = [
            first_error("the traffic", &traffic.errors),
            complaint("the long reader", reader),
            complaint("the migration", outcome),
            monitor
                .0
                .is_finished()
                .then(|| "the monitor's connection broke".to_owned()),
        ];
        Ok(RunRecord {
            name: self.name,
            samples: traffic.samples,
            baseline,
            migration,
            statements: progress.statements,
            end,
            most_stuck: progress.most_stuck,
            notices: progress.notices,
            failures: failures
                .into_iter()
                .flatten()
                .map(|failure| format!("{}: {failure}", self.name))
                .collect(),
        })
    }
}

/// The first of some errors and how many there were.
fn first_error(whose: &str, errors: &[String]) -> Option<String> {
    let first = errors.first()?;
    Some(format!(
        "{whose} saw {} errors, the first: {first}",
        errors.len()
    ))
}

/// What went wrong with something, if anything did.
fn complaint(what: &str, outcome: anyhow::Result<()>) -> Option<String> {
    outcome.err().map(|error| format!("{what}: {error:#}"))
}

/// What the view shows of a run under way.
struct Live {
    name: &'static str,
    traffic: Traffic,
    progress: Arc<Mutex<Progress>>,
    /// The curve so far, from this many samples.
    values: Vec<Option<f64>>,
    counted: usize,
    /// How many notices have been printed as lines.
    told: usize,
}

impl Live {
    fn new(name: &'static str, traffic: Traffic, progress: Arc<Mutex<Progress>>) -> Self {
        Self {
            name,
            traffic,
            progress,
            values: Vec::new(),
            counted: 0,
            told: 0,
        }
    }

    /// The statement under way and the numbers of this moment.
    fn status(&self) -> (Option<String>, String) {
        let progress = lock(&self.progress);
        let statement = progress.current.map(|(since, statement)| {
            format!("{statement}  {:.1} s", since.elapsed().as_secs_f64())
        });
        let recent = self.traffic.recent(chart::BUCKET);
        let numbers = format!(
            "p50 {:>7}   max {:>7}   {:>5} queries/s   {:>2} waiting for a lock",
            human(recent.median),
            human(recent.worst),
            recent.per_second,
            progress.stuck
        );
        (statement, numbers)
    }

    /// The curve so far as lines of text; what still waits is drawn as high as it has waited.
    fn chart(&mut self, width: usize, color: bool) -> Vec<String> {
        let (new, waiting) = self.traffic.samples_from(self.counted);
        self.counted += new.len();
        let now = self.traffic.now();
        self.values.resize(chart::bucket(now) + 1, None);
        for sample in &new {
            chart::count(&mut self.values, sample);
        }
        let mut values = self.values.clone();
        for sample in waiting.iter().filter(|sample| sample.latency > TICK) {
            chart::count(&mut values, sample);
        }
        let marks = lock(&self.progress).statements.clone();
        let curve = Curve {
            title: "the slowest query under way (100 ms steps)".to_owned(),
            values,
            from: 0.0,
            marks: marks_of(&marks, Duration::ZERO),
        };
        let axes = Axes {
            from: 0.0,
            to: now.as_secs_f64().max(LIVE_SECONDS),
            decades: 4,
            budget_ms: chart::milliseconds(BUDGET),
        };
        let style = Style {
            width,
            rows_per_decade: 2,
            color,
        };
        chart::text(&curve, &axes, style)
    }
}

/// What the person sees: a block that is redrawn, or a line per second.
struct View<'a, W: Write> {
    out: &'a mut W,
    redraw: bool,
    color: bool,
    width: usize,
    begun: Instant,
    /// Lines of the block on the screen.
    drawn: usize,
    /// The second and the phase of the last line, where there is no block.
    last: (u64, String),
}

impl<'a, W: Write> View<'a, W> {
    fn new(out: &'a mut W, color: bool) -> Self {
        let redraw = std::io::stdout().is_terminal();
        Self {
            out,
            redraw,
            color,
            width: terminal_width().clamp(60, 110),
            begun: Instant::now(),
            drawn: 0,
            last: (u64::MAX, String::new()),
        }
    }

    /// Shows the phase until `work` has ended.
    async fn follow<T>(
        &mut self,
        phase: &str,
        mut live: Option<&mut Live>,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return Ok(result),
                _ = ticks.tick() => self.show(phase, live.as_deref_mut())?,
            }
        }
    }

    fn show(&mut self, phase: &str, live: Option<&mut Live>) -> std::io::Result<()> {
        if self.redraw {
            self.draw_block(phase, live)
        } else {
            self.print_line(phase, live)
        }
    }

    /// Draws the block over the one before. Line wrapping is off meanwhile: what is too long for
    /// the terminal is cut off, and a line stays a line.
    fn draw_block(&mut self, phase: &str, live: Option<&mut Live>) -> std::io::Result<()> {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let name = live
            .as_ref()
            .map_or(String::new(), |live| format!("{}: ", live.name));
        let head = format!("lockkeeper demo  {elapsed:5.1} s   {name}{phase}");
        let mut lines = vec![paint(&head, "1", self.color)];
        if let Some(live) = live {
            let (statement, numbers) = live.status();
            lines.push(format!(
                "  migration  {}",
                statement.unwrap_or_else(|| "-".to_owned())
            ));
            lines.push(format!("  queries    {numbers}"));
            lines.extend(live.chart(self.width, self.color));
            let progress = lock(&live.progress);
            let newest = progress.notices.len().saturating_sub(3);
            let newest = progress.notices[newest..].iter();
            lines.extend(newest.map(|notice| format!("  {}", paint(notice, "36", self.color))));
        }
        let mut text = self.back_to_top();
        text.push_str("\x1b[?25l\x1b[?7l");
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// What takes the cursor to the beginning of the block.
    fn back_to_top(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r"),
        }
    }

    /// Removes the block and gives the terminal back as it was.
    fn end_block(&mut self) -> std::io::Result<()> {
        if self.drawn > 0 {
            let text = format!("{}\x1b[J\x1b[?25h\x1b[?7h", self.back_to_top());
            self.drawn = 0;
            self.out.write_all(text.as_bytes())?;
        }
        self.out.flush()
    }

    /// A line when the phase or the second is another than before, and one for each new notice.
    fn print_line(&mut self, phase: &str, live: Option<&mut Live>) -> std::io::Result<()> {
        let elapsed = self.begun.elapsed();
        let prefix = format!("{:6.1} s", elapsed.as_secs_f64());
        let mut name = String::new();
        let mut rest = String::new();
        if let Some(live) = live {
            let (statement, numbers) = live.status();
            name = format!("{}: ", live.name);
            rest = format!("   {numbers}");
            if let Some(statement) = statement {
                rest.push_str("   ");
                rest.push_str(&statement);
            }
            for notice in lock(&live.progress).notices.iter().skip(live.told) {
                writeln!(self.out, "{prefix}   {notice}")?;
                live.told += 1;
            }
        }
        let now = (elapsed.as_secs(), format!("{name}{phase}"));
        if now == self.last || (rest.is_empty() && now.1 == self.last.1) {
            return self.out.flush();
        }
        writeln!(self.out, "{prefix}   {}{rest}", now.1)?;
        self.last = now;
        self.out.flush()
    }
}

impl<W: Write> Drop for View<'_, W> {
    fn drop(&mut self) {
        // Only where a panic or an error has kept the regular end from being reached.
        let _ = self.end_block();
    }
}

/// What the two runs together prove.
fn judge(direct: &RunRecord, guarded: &RunRecord) -> DemoVerdict {
    DemoVerdict {
        direct_worst: direct.worst(),
        lockkeeper_worst: guarded.worst(),
        noise: guarded.baseline().last().copied().unwrap_or_default(),
        budget: BUDGET,
        failures: [direct, guarded]
            .iter()
            .flat_map(|run| run.failures.clone())
            .collect(),
    }
}

/// Prints charts, table and sentence, and writes the SVG.
fn report<W: Write>(
    view: &mut View<'_, W>,
    options: &DemoOptions,
    direct: &RunRecord,
    guarded: &RunRecord,
) -> anyhow::Result<DemoVerdict> {
    let verdict = judge(direct, guarded);
    let curves = [direct.curve(), guarded.curve()];
    let axes = Axes::around(&curves, chart::milliseconds(BUDGET));
    let style = Style {
        width: view.width,
        rows_per_decade: 2,
        color: view.color,
    };
    writeln!(view.out)?;
    for curve in &curves {
        for line in chart::text(curve, &axes, style) {
            writeln!(view.out, "{line}")?;
        }
        writeln!(view.out)?;
    }
    for line in LEGEND {
        writeln!(view.out, "{line}")?;
    }
    if !guarded.notices.is_empty() {
        writeln!(
            view.out,
            "\nWhat the migration's session was told on the way:"
        )?;
    }
    for notice in shortened(&guarded.notices, 12) {
        writeln!(view.out, "  {notice}")?;
    }
    writeln!(view.out)?;
    print_table(view.out, direct, guarded)?;
    writeln!(view.out)?;
    for line in wrapped(&sentence(direct, guarded, &verdict), view.width) {
        writeln!(view.out, "{}", paint(&line, "1", view.color))?;
    }
    for objection in verdict.objections() {
        let objection = format!("Not as it should be: {objection}.");
        for line in wrapped(&objection, view.width) {
            writeln!(view.out, "{}", paint(&line, "31", view.color))?;
        }
    }
    if let Some(path) = &options.svg {
        write_svg(path, options, &curves, &axes)?;
        writeln!(view.out, "\nThe two curves are in {}.", path.display())?;
    }
    view.out.flush()?;
    Ok(verdict)
}

/// How to read the charts.
const LEGEND: [&str; 2] = [
    "Each column: the slowest query under way then, with the whole time it took. Logarithmic axis;",
    "0 s is where the migration began; ┈┈ is the budget of 100 ms.",
];

fn print_table(
    out: &mut impl Write,
    direct: &RunRecord,
    guarded: &RunRecord,
) -> std::io::Result<()> {
    let longest = |run: &RunRecord| human(run.baseline().last().copied().unwrap_or_default());
    let rows: [(&str, String, String); 6] = [
        ("", direct.name.to_owned(), guarded.name.to_owned()),
        (
            "worst stall of a query",
            human(direct.worst()),
            human(guarded.worst()),
        ),
        (
            "p99 during the migration *",
            human(direct.p99()),
            human(guarded.p99()),
        ),
        (
            "the migration took",
            human(direct.took()),
            human(guarded.took()),
        ),
        (
            "most sessions waiting for a lock at once",
            direct.most_stuck.to_string(),
            guarded.most_stuck.to_string(),
        ),
        (
            "worst query before the migration (noise)",
            longest(direct),
            longest(guarded),
        ),
    ];
    for (what, direct, guarded) in rows {
        writeln!(out, "  {what:<41} {direct:>10} {guarded:>20}")?;
    }
    writeln!(
        out,
        "  * with the queries that stuck clients could not send, one per client and {} ms",
        THINK_TIME.as_millis()
    )
}

/// The outcome in plain words.
fn sentence(direct: &RunRecord, guarded: &RunRecord, verdict: &DemoVerdict) -> String {
    let silence = direct.longest_silence();
    // An update that outlasts the ALTER TABLE can find the CREATE INDEX before it.
    let longer = if verdict.direct_worst > silence + WORTH_GUARDING {
        format!(" (and some for {})", human(verdict.direct_worst))
    } else {
        String::new()
    };
    let mut text = if silence >= WORTH_GUARDING {
        format!(
            "Run directly, the migration stopped every query on orders for {}{longer}; ",
            human(silence)
        )
    } else {
        format!(
            "Run directly, the migration made a query wait {}; ",
            human(verdict.direct_worst)
        )
    };
    let worst = human(verdict.lockkeeper_worst);
    if verdict.lockkeeper_worst <= verdict.budget + verdict.noise {
        text.push_str(&format!(
            "through lockkeeper nobody waited longer than {worst}"
        ));
    } else {
        text.push_str(&format!("through lockkeeper a query still waited {worst}"));
    }
    if direct.migrated() && guarded.migrated() {
        text.push_str(&format!(
            ", and the migration itself took {} instead of {}.",
            human(guarded.took()),
            human(direct.took())
        ));
    } else {
        text.push_str(", and not everything went well.");
    }
    text
}

fn write_svg(
    path: &Path,
    options: &DemoOptions,
    curves: &[Curve],
    axes: &Axes,
) -> anyhow::Result<()> {
    let title = format!(
        "One migration on a table of {} rows, under {} clients",
        grouped(options.rows),
        options.clients
    );
    let legend = "Slowest query under way in each 100 ms, with the whole time it took; \
                  time since the migration began. Dashed line: the budget of 100 ms.";
    let picture = chart::svg(&title, legend, curves, axes);
    std::fs::write(path, picture).with_context(|| format!("could not write {}", path.display()))
}
