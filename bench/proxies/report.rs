//! Medians, and tables of them.

use crate::contender::{Contender, Kind};
use crate::idle::Growth;
use crate::load::{Calls, Results, Run};
use crate::table::Table;

/// The median, and the extremes.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (middle, last) = (values.len() / 2, values.len().saturating_sub(1));
        let median = if values.len().is_multiple_of(2) {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        Self {
            median,
            least: at(0),
            most: at(last),
        }
    }

    /// `0.97 (0.91–1.02)`.
    fn show(self, digits: usize) -> String {
        let Self {
            median,
            least,
            most,
        } = self;
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

/// The tables of a load.
pub(crate) fn load(results: &[Results], contenders: &[Contender], markdown: bool) -> String {
    let mut text = String::new();
    if !markdown {
        for result in results {
            text += &one_cell(result, contenders).show(false);
        }
    }
    text += &throughput(results, contenders).show(markdown);
    text += &per_transaction(
        "CPU time of the proxy for a transaction, µs",
        results,
        contenders,
        |run| run.cpu,
    )
    .show(markdown);
    text += &per_transaction(
        "Waits of the proxy for a transaction",
        results,
        contenders,
        |run| run.switches,
    )
    .show(markdown);
    text += &against_pgbouncer(results, contenders).show(markdown);
    text
}

/// All that was measured of one cell.
fn one_cell(result: &Results, contenders: &[Contender]) -> Table {
    let header = ["", "transactions/s", "of direct", "CPU, µs", "waits"];
    let title = format!(
        "{} client(s), {} rounds",
        result.cell.name(),
        result.rounds.len()
    );
    let mut table = Table::new(title, header.map(str::to_owned).to_vec());
    let direct = position(contenders, Kind::Direct);
    for (index, contender) in contenders.iter().enumerate() {
        let spread = |of: fn(&Run) -> f64| Spread::of(each(result, index, of));
        let mut row = vec![contender.name.clone(), spread(|run| run.throughput).show(0)];
        row.push(direct.map_or_else(String::new, |direct| {
            ratio(result, index, direct, |run| run.throughput).show(2)
        }));
        if contender.kind != Kind::Direct {
            row.push(spread(|run| run.cpu).show(1));
            row.push(spread(|run| run.switches).show(2));
        }
        table.rows.push(row);
    }
    table
}

/// The throughput of everybody, as a share of that of a direct connection.
fn throughput(results: &[Results], contenders: &[Contender]) -> Table {
    let mut header = vec!["protocol, clients".to_owned()];
    let direct = position(contenders, Kind::Direct);
    for contender in contenders {
        header.push(match (contender.kind, direct) {
            (Kind::Direct, _) | (_, None) => format!("{}, /s", contender.name),
            _ => contender.name.clone(),
        });
    }
    let title = "Throughput: transactions a second directly, and the share of that through a proxy";
    let mut table = Table::new(title, header);
    for result in results {
        let mut row = vec![result.cell.name()];
        for index in 0..contenders.len() {
            row.push(match direct {
                Some(direct) if direct != index => {
                    ratio(result, index, direct, |run| run.throughput).show(2)
                }
                _ => Spread::of(each(result, index, |run| run.throughput)).show(0),
            });
        }
        table.rows.push(row);
    }
    table
}

/// Something of each proxy.
fn per_transaction(
    title: &str,
    results: &[Results],
    contenders: &[Contender],
    of: fn(&Run) -> f64,
) -> Table {
    let proxies = || {
        let all = contenders.iter().enumerate();
        all.filter(|(_, contender)| contender.kind != Kind::Direct)
    };
    let mut header = vec!["protocol, clients".to_owned()];
    header.extend(proxies().map(|(_, contender)| contender.name.clone()));
    let mut table = Table::new(title, header);
    for result in results {
        let mut row = vec![result.cell.name()];
        row.extend(proxies().map(|(index, _)| Spread::of(each(result, index, of)).show(2)));
        table.rows.push(row);
    }
    table
}

/// Each lockkeeper in relation to PgBouncer: at least 1 in throughput, at most 1 in CPU time.
fn against_pgbouncer(results: &[Results], contenders: &[Contender]) -> Table {
    let title =
        "lockkeeper in relation to PgBouncer: throughput shall be at least 1, CPU time at most 1";
    let mut table = Table::new(title, vec!["protocol, clients".to_owned()]);
    let Some(pgbouncer) = position(contenders, Kind::Pgbouncer) else {
        return table;
    };
    let all = contenders.iter().enumerate();
    let others: Vec<_> = all
        .filter(|(_, contender)| contender.kind == Kind::Lockkeeper)
        .collect();
    for (_, contender) in &others {
        table.rows[0].push(format!("{}: throughput", contender.name));
        table.rows[0].push(format!("{}: CPU time", contender.name));
        table.rows[0].push("of the best rounds".to_owned());
    }
    for result in results {
        let mut row = vec![result.cell.name()];
        for (index, _) in &others {
            row.push(ratio(result, *index, pgbouncer, |run| run.throughput).show(2));
            row.push(ratio(result, *index, pgbouncer, |run| run.cpu).show(2));
            let least = |index| Spread::of(each(result, index, |run| run.cpu)).least;
            row.push(format!("{:.2}", least(*index) / least(pgbouncer)));
        }
        table.rows.push(row);
    }
    table
}

fn position(contenders: &[Contender], kind: Kind) -> Option<usize> {
    contenders
        .iter()
        .position(|contender| contender.kind == kind)
}

/// A contender's value in each round.
fn each(result: &Results, index: usize, of: fn(&Run) -> f64) -> impl Iterator<Item = f64> {
    result.rounds.iter().map(move |runs| of(&runs[index]))
}

/// One contender's value through another's, round by round.
fn ratio(result: &Results, one: usize, other: usize, of: fn(&Run) -> f64) -> Spread {
    let pairs = each(result, one, of).zip(each(result, other, of));
    Spread::of(pairs.map(|(one, other)| one / other))
}

/// The table of idle connections.
pub(crate) fn idle(all: &[Growth], connections: u32, markdown: bool) -> String {
    let header = [
        "",
        "RSS before, KiB",
        "after",
        "KiB each",
        "by PSS",
        "after all ran a query at once",
    ];
    let title = format!("Memory of {connections} idle connections");
    let mut table = Table::new(title, header.map(str::to_owned).to_vec());
    for growth in all {
        let before = growth.before;
        let each = |before: u64, after: u64| {
            let growth = after as f64 - before as f64;
            format!("{:.1}", growth / f64::from(connections))
        };
        table.rows.push(vec![
            growth.name.clone(),
            before.rss.to_string(),
            growth.after.rss.to_string(),
            each(before.rss, growth.after.rss),
            each(before.pss, growth.after.pss),
            each(before.rss, growth.after_burst.rss),
        ]);
    }
    table.show(markdown)
}

/// The table of system calls: those that are made at least once in a hundred transactions.
pub(crate) fn syscalls(all: &[Calls], markdown: bool) -> String {
    let header = ["protocol, clients", "", "in all", "each"];
    let title = "System calls for a transaction";
    let mut table = Table::new(title, header.map(str::to_owned).to_vec());
    for Calls { cell, name, calls } in all {
        let mut frequent: Vec<_> = calls
            .iter()
            .filter(|(_, number)| **number >= 0.01)
            .collect();
        frequent.sort_by(|one, other| other.1.total_cmp(one.1));
        let each = frequent
            .iter()
            .map(|(name, number)| format!("{name} {number:.2}"));
        let each: Vec<String> = each.collect();
        let sum: f64 = frequent.iter().map(|(_, number)| *number).sum();
        table.rows.push(vec![
            cell.name(),
            name.clone(),
            format!("{sum:.2}"),
            each.join(", "),
        ]);
    }
    table.show(markdown)
}
