//! A tool's phases on both sides, and what they leave.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::difference::difference;
use crate::harness::{Proxy, Said, place};
use crate::printed::Printed;
use crate::side::{Side, direct_server, guarded_server, phases, proxy, rows};
use crate::snapshot::{Rows, data, invalid, schema};
use crate::traffic::Traffic;
use crate::variable;

/// How often a phase is run that becomes the victim of a deadlock with the traffic.
const TRIES: u32 = 5;

/// A phase on a side.
struct Outcome {
    printed: Printed,
    schema: String,
    data: String,
    invalid: Vec<String>,
    took: Duration,
    /// How long a statement of the traffic's took at worst.
    stall: Option<Duration>,
    deadlocks: u32,
}

/// Runs all phases on both sides, and compares after each.
pub(crate) fn run(tool: &'static str) {
    let proxy = proxy();
    let sides = [
        Side::new(
            "directly",
            direct_server(),
            place(direct_server()),
            tool,
            None,
        ),
        Side::new(
            "through lockkeeper",
            guarded_server(),
            proxy.place().clone(),
            tool,
            None,
        ),
    ];
    sides[0].phase(tool, "create"); // what it needs is built before time is taken
    let mut table = String::new();
    let mut problems = Vec::new();
    for phase in phases(tool) {
        let [direct, through] = [&sides[0], &sides[1]].map(|side| outcome(side, tool, &phase));
        row(&mut table, tool, &phase, [&direct, &through]);
        for (what, one, other) in [
            (
                "what was printed",
                &direct.printed.text,
                &through.printed.text,
            ),
            ("the schema", &direct.schema, &through.schema),
            ("the rows", &direct.data, &through.data),
        ] {
            if let Some(how) = difference(one, other) {
                problems.push(format!("{tool}, {phase}: {what} differs {how}"));
            }
        }
        if direct.invalid != through.invalid {
            let (one, other) = (&direct.invalid, &through.invalid);
            problems.push(format!(
                "{tool}, {phase}: invalid are {one:?}, and {other:?} through lockkeeper"
            ));
        }
        assert_eq!(
            direct.printed.notices, 0,
            "{tool}, {phase}: lockkeeper speaks in a direct run"
        );
        if !problems.is_empty() {
            break; // what follows stands on it
        }
    }
    println!("{}\n{table}{}", heading(), deeds(&proxy));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// What lockkeeper did about the tool's schema changes, and how often.
fn deeds(proxy: &Proxy) -> String {
    let mut counts = BTreeMap::new();
    for event in proxy.events() {
        let word = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
        *counts
            .entry((word("outcome"), word("because")))
            .or_insert(0) += 1;
    }
    assert!(!counts.is_empty(), "lockkeeper has seen no schema change");
    let lines = counts.iter();
    lines
        .map(|((outcome, because), count)| format!("{count:>6} {outcome}: {because}\n"))
        .collect()
}

/// Runs a phase, and looks at what it leaves.
fn outcome(side: &Side, tool: &str, phase: &str) -> Outcome {
    let with_traffic = variable("LOCKKEEPER_TEST_TRAFFIC").is_some() && phase != "create";
    let traffic = with_traffic.then(|| Traffic::start(side));
    let began = Instant::now();
    let (said, deadlocks) = ended(side, tool, phase);
    let took = began.elapsed();
    let stall = traffic.map(Traffic::stop);
    if phase == "create" {
        side.fill();
    }
    let which = if variable("LOCKKEEPER_TEST_TRAFFIC").is_some() {
        Rows::OfFill
    } else {
        Rows::All
    };
    let data = data(side, which);
    assert!(
        data.lines().count() > 8 * rows() as usize,
        "{tool}, {phase}: rows are missing"
    );
    Outcome {
        printed: Printed::new(side, &said, which),
        schema: schema(side),
        data,
        invalid: invalid(side),
        took,
        stall,
        deadlocks,
    }
}

/// Runs a phase to the end that it has to have. Where it and the traffic wait for each other, PostgreSQL ends one of
/// them: a deployment is then run again.
fn ended(side: &Side, tool: &str, phase: &str) -> (Said, u32) {
    for deadlocks in 0..TRIES {
        let said = crate::harness::run(&mut side.phase(tool, phase), "");
        let is_victim =
            said.out.contains("deadlock detected") || said.err.contains("deadlock detected");
        if !is_victim {
            side.check(tool, phase, &said);
            return (said, deadlocks);
        }
        assert!(
            variable("LOCKKEEPER_TEST_TRAFFIC").is_some(),
            "{tool}, {phase}: a deadlock without traffic\n{}{}",
            said.out,
            said.err
        );
    }
    panic!("{tool}, {phase}, {}: {TRIES} deadlocks", side.name);
}

fn heading() -> String {
    format!(
        "{:18} {:10} | {:>8} {:>8} {:>7} | {:>8} {:>8} {:>7} {:>7}",
        "tool", "phase", "direct", "stall", "victim", "through", "stall", "victim", "NOTICEs"
    )
}

/// A line of the table: for each side how long the phase took, how long a statement of the traffic's at worst, both in
/// milliseconds, and how often the tool was the victim of a deadlock.
fn row(table: &mut String, tool: &str, phase: &str, [direct, through]: [&Outcome; 2]) {
    let _ = write!(table, "{tool:18} {phase:10}");
    for side in [direct, through] {
        let stall = side
            .stall
            .map_or_else(|| "-".to_owned(), |stall| stall.as_millis().to_string());
        let _ = write!(
            table,
            " | {:>8} {stall:>8} {:>7}",
            side.took.as_millis(),
            side.deadlocks
        );
    }
    let _ = writeln!(table, " {:>7}", through.printed.notices);
}
