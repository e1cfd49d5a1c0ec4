//! Interruptions at every step of every family of plans, before, while and after it runs and while it is taken back, on
//! a real server: a cancel request (C), the client's own `statement_timeout` (T), a client that is gone (G), a server
//! process that is terminated (B), lockkeeper's own end (S). Afterwards nothing is half done, nothing is left, and the
//! client has one answer.
//!
//! `make test` runs a sample; `LOCKKEEPER_TEST_CELLS=all`, or a number of cells, and `LOCKKEEPER_TEST_SEED` choose
//! others. `LOCKKEEPER_TEST_FAMILY` names families by a part of their name.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lockkeeper::exec::session::{Moment, Point};

#[path = "interruptions/cell.rs"]
mod cell;
#[allow(dead_code)]
#[path = "common/client.rs"]
mod client;
#[path = "interruptions/family.rs"]
mod family;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[path = "interruptions/known.rs"]
mod known;
#[allow(dead_code)]
#[path = "judged/snapshot.rs"]
mod snapshot;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use cell::{Course, Ended, INTERRUPTIONS, Interruption, Worker};
use family::{FAMILIES, Family};
use known::{DETACHED, KNOWN};

/// How long the test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(3600);
/// Cells that are tried every day.
const SAMPLE: usize = 200;
/// Statements at once: most of the time is spent waiting.
const WORKERS: usize = 6;

/// One interruption at one point.
#[derive(Debug, Clone, Copy)]
struct Cell {
    family: usize,
    point: Point,
    by: Interruption,
}

impl Cell {
    /// For people.
    fn name(&self) -> String {
        let (name, moment) = (FAMILIES[self.family].name, moment_name(self.point.moment));
        format!("{name}, {:?} {moment} step {}", self.by, self.point.step)
    }
}

/// Says which cell is tried when that panics.
struct Named(Cell);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("tried: {}", self.0.name());
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The courses of all families that are tried.
fn courses() -> BTreeMap<usize, Course> {
    let wanted = variable("LOCKKEEPER_TEST_FAMILY").unwrap_or_default();
    let is_wanted = |family: &Family| family.name.contains(&wanted);
    let all = FAMILIES.iter().enumerate();
    let queue: VecDeque<usize> = all
        .filter(|(_, family)| is_wanted(family))
        .map(|(at, _)| at)
        .collect();
    let results = Mutex::new(BTreeMap::new());
    in_parallel(queue, |worker, at| {
        let course = worker.course(&FAMILIES[at]);
        results.lock().unwrap().insert(at, course);
    });
    results.into_inner().unwrap()
}

/// Works a queue off.
fn in_parallel<T: Send>(queue: VecDeque<T>, work: impl Fn(&mut Worker, T) + Sync) {
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut worker = Worker::new();
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(next) = next else { return };
                    work(&mut worker, next);
                }
            });
        }
    });
}

fn all_cells(courses: &BTreeMap<usize, Course>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (family, course) in courses {
        for point in &course.points {
            cells.extend(INTERRUPTIONS.map(|by| Cell {
                family: *family,
                point: *point,
                by,
            }));
        }
    }
    cells
}

/// Some of the cells, other ones with another seed (xorshift).
fn sample(mut cells: Vec<Cell>, count: usize, seed: u64) -> Vec<Cell> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut chosen = Vec::new();
    while chosen.len() < count && !cells.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = usize::try_from(state % cells.len() as u64).unwrap();
        chosen.push(cells.swap_remove(at));
    }
    chosen
}

fn moment_name(moment: Moment) -> &'static str {
    match moment {
        Moment::Before => "before",
        Moment::During => "during",
        Moment::After => "after",
        Moment::Undoing => "undoing",
    }
}

/// What the matrix lacks: each step of a plan has a time before it, while it runs and after it, and those that are
/// taken back have that; and what it has of which the family doesn't know.
fn missing(courses: &BTreeMap<usize, Course>) -> Vec<String> {
    let mut problems = Vec::new();
    for (family, course) in courses {
        let family = &FAMILIES[*family];
        let moments = [Moment::Before, Moment::During, Moment::After];
        let steps = (1..=family.steps).flat_map(|step| moments.map(|moment| (step, moment)));
        let undone = family.undone.iter().map(|step| (*step, Moment::Undoing));
        let expected: BTreeSet<_> = steps.chain(undone).map(numbered).collect();
        let found = course.points.iter().map(|point| (point.step, point.moment));
        let found: BTreeSet<_> = found.map(numbered).collect();
        for (what, points) in [
            ("nothing", expected.difference(&found)),
            ("something unexpected", found.difference(&expected)),
        ] {
            let name = family.name;
            problems.extend(
                points.map(|(step, moment)| format!("{name}, step {step}: {what} {moment}")),
            );
        }
    }
    problems
}

fn numbered((step, moment): (usize, Moment)) -> (usize, &'static str) {
    (step, moment_name(moment))
}

fn print_matrix(courses: &BTreeMap<usize, Course>, tried: &[(Cell, Ended)]) {
    for (family, course) in courses {
        println!("{}", FAMILIES[*family].name);
        for point in &course.points {
            let letters = INTERRUPTIONS.map(|by| {
                let is_it =
                    |cell: &Cell| cell.family == *family && cell.point == *point && cell.by == by;
                match tried.iter().find(|(cell, _)| is_it(cell)) {
                    Some((_, ended)) if ended.problems.is_empty() => by.letter(),
                    Some(_) => '!',
                    None => '.',
                }
            });
            println!(
                "  step {} {:8} {}",
                point.step,
                moment_name(point.moment),
                letters.iter().collect::<String>()
            );
        }
    }
}

/// What is left must be known, and what is known must be left.
fn judge_leftovers(tried: &mut [(Cell, Ended)], is_all: bool) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (cell, ended) in tried {
        let Some(left) = &ended.left else { continue };
        let name = FAMILIES[cell.family].name;
        let known = KNOWN.iter().position(|known| {
            (known.family, known.left, known.resumes) == (name, left, ended.resumes)
        });
        match known {
            Some(at) if KNOWN[at].why == DETACHED || cell.by == Interruption::Backend => {
                seen.insert(at);
            }
            _ => {
                let resumes = ended.resumes;
                ended
                    .problems
                    .push(format!("is left (resumes: {resumes}): {left}"));
            }
        }
    }
    let stale = KNOWN
        .iter()
        .enumerate()
        .filter(|(at, _)| !seen.contains(at));
    let stale = stale.map(|(_, known)| format!("is no longer left: {known:?}"));
    if is_all { stale.collect() } else { Vec::new() }
}

#[test]
fn an_interruption_at_any_point_leaves_nothing_half_done() {
    harness::limited(|| {
        let courses = courses();
        let mut problems = missing(&courses);
        let cells = all_cells(&courses);
        let wanted = variable("LOCKKEEPER_TEST_CELLS");
        let seed = variable("LOCKKEEPER_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
        let is_all = wanted.as_deref() == Some("all");
        let count = match wanted.as_deref() {
            Some("all") => cells.len(),
            Some(number) => number.parse().unwrap(),
            None => SAMPLE,
        };
        println!("{} cells, {count} tried, seed {seed}", cells.len());
        let tried = Mutex::new(Vec::new());
        in_parallel(sample(cells, count, seed).into(), |worker, cell| {
            let family = &FAMILIES[cell.family];
            let _named = Named(cell);
            let ended = worker.interrupt(family, &courses[&cell.family], cell.point, cell.by);
            tried.lock().unwrap().push((cell, ended));
        });
        let mut tried = tried.into_inner().unwrap();
        let is_everything = is_all && courses.len() == FAMILIES.len();
        problems.extend(judge_leftovers(&mut tried, is_everything));
        print_matrix(&courses, &tried);
        for (cell, ended) in &tried {
            for problem in &ended.problems {
                problems.push(format!("{}: {problem}", cell.name()));
            }
        }
        problems.sort();
        assert!(
            problems.is_empty(),
            "{} problems:\n{}",
            problems.len(),
            problems.join("\n")
        );
    });
}
