//! What the runs showed, as tables, and whether that is good enough.

use std::fmt::Write;
use std::time::Duration;

use lockkeeper::cli::demo::BUDGET;

use crate::family::{Family, Kind};
use crate::run::Run;
use crate::strategy::{Outcome, Strategy};
use crate::table::Table;

/// A catalog-only change may take so many times what it takes when it is sent as it is.
const CATALOG_TIMES: f64 = 2.0;
/// During builds the traffic's p99 may be so many times what it is without.
const P99_TIMES: f64 = 1.2;
/// With fewer queries than this there is no p99 to speak of.
const ENOUGH: usize = 200;

/// The runs of one family.
pub(crate) struct Results {
    pub(crate) family: &'static Family,
    /// The statement, with its numbers.
    pub(crate) change: String,
    /// The runs in which nothing happened, before and after the others.
    pub(crate) quiet: [Run; 2],
    pub(crate) runs: Vec<Run>,
}

/// Milliseconds.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Run {
    /// The latency that this share of the queries doesn't exceed, in milliseconds.
    fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).copied().map_or(f64::NAN, ms)
    }
}

impl Results {
    /// The larger of the values of the two runs without a schema change.
    fn usual(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.quiet.iter().map(of).fold(0.0, f64::max)
    }

    fn all(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().chain(&self.quiet)
    }

    /// The longest that a query was held up, in milliseconds: its latency less what is usual.
    fn worst(&self, run: &Run) -> f64 {
        (run.percentile(1.0) - self.usual(|quiet| quiet.percentile(0.5))).max(0.0)
    }

    /// Seconds that all queries together took beyond the p99 without a schema change.
    fn lost(&self, run: &Run) -> f64 {
        let usual = self.usual(|quiet| quiet.percentile(0.99));
        let beyond = run.latencies.iter().map(|latency| ms(*latency) - usual);
        beyond.fold(0.0, |sum, beyond| sum + beyond.max(0.0)) / 1000.0
    }

    fn row(&self, run: &Run) -> Vec<String> {
        let done = match run.outcome {
            Outcome::Done => format!("{:.2}", run.took.as_secs_f64()),
            Outcome::Refused(_) => "refused".to_owned(),
            Outcome::Failed(_) => "failed".to_owned(),
            Outcome::TooLong => format!("not in {:.0}", run.took.as_secs_f64()),
        };
        let (name, done, tries) = match run.strategy {
            Some(strategy) => {
                let tries = run
                    .tries
                    .map_or_else(String::new, |tries| tries.to_string());
                (strategy.name(), done, tries)
            }
            None => ("nobody", String::new(), String::new()),
        };
        vec![
            name.to_owned(),
            done,
            tries,
            format!("{:.0}", self.worst(run)),
            format!("{:.2}", self.lost(run)),
            run.waiting.to_string(),
            format!("{:.1}", run.percentile(0.99)),
            run.latencies.len().to_string(),
        ]
    }

    fn by(&self, strategy: Strategy) -> Option<&Run> {
        self.runs.iter().find(|run| run.strategy == Some(strategy))
    }

    /// Whether lockkeeper did what it promises, and why not.
    fn verdict(&self) -> Option<String> {
        let run = self.by(Strategy::Lockkeeper)?;
        match &run.outcome {
            Outcome::Done => {}
            Outcome::Refused(why) => return Some(format!("refused: {why}")),
            Outcome::Failed(why) => return Some(format!("FAILED: {why}")),
            Outcome::TooLong => return Some("FAILED: it took too long".to_owned()),
        }
        let bars = [self.worst_bar(run), self.time_bar(run), self.p99_bar(run)];
        let bars: Vec<(bool, String)> = bars.into_iter().flatten().collect();
        let kept = bars.iter().all(|(kept, _)| *kept) && run.errors.is_empty();
        let word = if kept { "kept" } else { "MISSED" };
        let texts = bars.into_iter().map(|(kept, text)| {
            let mark = if kept { "" } else { " (too much)" };
            text + mark
        });
        let mut texts: Vec<String> = texts.collect();
        if !run.errors.is_empty() {
            texts.push("queries failed".to_owned());
        }
        Some(format!("{word}: {}", texts.join("; ")))
    }

    fn worst_bar(&self, run: &Run) -> Option<(bool, String)> {
        let (worst, noise) = (self.worst(run), self.usual(|quiet| self.worst(quiet)));
        let budget = ms(BUDGET);
        let text = format!("worst stall {worst:.0} ms of at most {budget:.0} + {noise:.0}");
        Some((worst <= budget + noise, text))
    }

    fn time_bar(&self, run: &Run) -> Option<(bool, String)> {
        let took = run.took.as_secs_f64();
        if self.family.kind == Kind::Build {
            return Some((true, format!("done in {took:.1} s")));
        }
        let plain = self.by(Strategy::Plain)?;
        let most = plain.took.as_secs_f64() * CATALOG_TIMES;
        let text = format!("done in {took:.2} s of at most {most:.2}");
        Some((took <= most, text))
    }

    fn p99_bar(&self, run: &Run) -> Option<(bool, String)> {
        if self.family.kind == Kind::Catalog {
            return None;
        }
        if run.latencies.len() < ENOUGH {
            return Some((true, "too short for a p99".to_owned()));
        }
        let usual = self.usual(|quiet| quiet.percentile(0.99));
        let ratio = run.percentile(0.99) / usual;
        let least = self.quiet.iter().map(|quiet| quiet.percentile(0.99));
        let varies = usual / least.fold(f64::INFINITY, f64::min);
        let beside = self.by(Strategy::Query).map_or(String::new(), |query| {
            let ratio = query.percentile(0.99) / usual;
            format!(" (beside a query {ratio:.2})")
        });
        let text = format!(
            "p99 {ratio:.2} of the usual{beside}, which varies by {varies:.2}, at most {P99_TIMES}"
        );
        Some((ratio <= P99_TIMES, text))
    }

    /// What isn't in the table: why something failed, and errors of the traffic.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for run in self.all() {
            let name = run.strategy.map_or("nobody", Strategy::name);
            if let Outcome::Failed(why) = &run.outcome {
                notes.push(format!("{name}: {why}"));
            }
            if let Some(first) = run.errors.first() {
                let number = run.errors.len();
                notes.push(format!(
                    "{name}: {number} transactions failed, the first: {first}"
                ));
            }
        }
        notes
    }
}

const COLUMNS: [&str; 8] = [
    "by",
    "done, s",
    "tries",
    "worst stall, ms",
    "client-seconds lost",
    "most waiting",
    "p99, ms",
    "queries",
];

/// One family, for reading while the others run.
pub(crate) fn one(results: &Results) -> String {
    let title = format!("{}: {}", results.family.name, results.change);
    let mut table = Table::new(title, COLUMNS.map(str::to_owned).to_vec());
    for run in results.all() {
        table.rows.push(results.row(run));
    }
    let mut text = table.show(false);
    for note in results.notes() {
        let _ = writeln!(text, "{note}");
    }
    if let Some(verdict) = results.verdict() {
        let _ = writeln!(text, "{verdict}");
    }
    text + "\n"
}

/// All verdicts.
pub(crate) fn verdicts(all: &[Results]) -> String {
    let header = ["schema change", "lockkeeper"];
    let mut table = Table::new("Verdicts", header.map(str::to_owned).to_vec());
    for results in all {
        if let Some(verdict) = results.verdict() {
            table
                .rows
                .push(vec![results.family.name.to_owned(), verdict]);
        }
    }
    table.show(false)
}

/// Everything in two tables of Markdown.
pub(crate) fn markdown(all: &[Results], title: &str) -> String {
    let mut header = vec!["schema change".to_owned()];
    header.extend(COLUMNS.map(str::to_owned));
    let mut table = Table::new(title, header);
    for results in all {
        for run in results.all() {
            let mut row = vec![results.family.name.to_owned()];
            row.extend(results.row(run));
            table.rows.push(row);
        }
    }
    let header = ["schema change", "statement", "lockkeeper"];
    let mut verdicts = Table::new("Verdicts", header.map(str::to_owned).to_vec());
    for results in all {
        let verdict = results.verdict().unwrap_or_default();
        let change = format!("`{}`", results.change.replace('|', "\\|"));
        verdicts
            .rows
            .push(vec![results.family.name.to_owned(), change, verdict]);
    }
    table.show(true) + &verdicts.show(true)
}
