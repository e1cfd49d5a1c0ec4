//! The matrix of cells: which there are, which of them are tried, by how many at once, and what came of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Mutex;
use std::thread;

use lockkeeper::exec::session::{Moment, Point};

use crate::course::Course;
use crate::family::Family;

/// Statements at once: most of the time is spent waiting.
pub(crate) const WORKERS: usize = 6;

/// What is done to a plan.
pub(crate) trait Deed: Copy + PartialEq + Debug + 'static {
    /// All there is.
    const ALL: &'static [Self];

    /// Its letter in the matrix.
    fn letter(self) -> char;
}

/// The courses of families, by their names.
pub(crate) type Courses = BTreeMap<&'static str, (&'static Family, Course)>;

/// One deed at one point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell<D> {
    /// Whose plan.
    pub(crate) family: &'static Family,
    /// Where.
    pub(crate) point: Point,
    /// What.
    pub(crate) by: D,
}

impl<D: Deed> Cell<D> {
    /// For people.
    pub(crate) fn name(&self) -> String {
        let (name, moment) = (self.family.name, moment_name(self.point.moment));
        format!("{name}, {:?} {moment} step {}", self.by, self.point.step)
    }
}

/// Says which cell is tried when that panics.
pub(crate) struct Named<D: Deed>(pub(crate) Cell<D>);

impl<D: Deed> Drop for Named<D> {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("tried: {}", self.0.name());
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The families that are wanted: all, or those that `LOCKKEEPER_TEST_FAMILY` names by a part of their name.
pub(crate) fn wanted<'a>(all: impl Iterator<Item = &'a Family>) -> VecDeque<&'a Family> {
    let wanted = variable("LOCKKEEPER_TEST_FAMILY").unwrap_or_default();
    all.filter(|family| family.name.contains(&wanted)).collect()
}

/// Works a queue off; each worker has a number and takes what is next until there is nothing.
pub(crate) fn in_parallel<T: Send>(
    queue: VecDeque<T>,
    work: impl Fn(usize, &mut dyn FnMut() -> Option<T>) + Sync,
) {
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let (queue, work) = (&queue, &work);
            scope.spawn(move || work(number, &mut || queue.lock().unwrap().pop_front()));
        }
    });
}

/// The cells that are tried: `usual` of them, a number, or all, as `LOCKKEEPER_TEST_CELLS` says; and whether it is all.
pub(crate) fn chosen<D: Deed>(courses: &Courses, usual: usize) -> (VecDeque<Cell<D>>, bool) {
    let mut cells = Vec::new();
    for (family, course) in courses.values() {
        for point in &course.points {
            cells.extend(D::ALL.iter().map(|by| Cell {
                family,
                point: *point,
                by: *by,
            }));
        }
    }
    let wanted = variable("LOCKKEEPER_TEST_CELLS");
    let seed = variable("LOCKKEEPER_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let is_all = wanted.as_deref() == Some("all");
    let count = match wanted.as_deref() {
        Some("all") => cells.len(),
        Some(number) => number.parse().unwrap(),
        None => usual,
    };
    println!("{} cells, {count} tried, seed {seed}", cells.len());
    (sample(cells, count, seed).into(), is_all)
}

/// Some of the cells, other ones with another seed (xorshift).
fn sample<D>(mut cells: Vec<Cell<D>>, count: usize, seed: u64) -> Vec<Cell<D>> {
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
pub(crate) fn missing(courses: &Courses) -> Vec<String> {
    let mut problems = Vec::new();
    for (family, course) in courses.values() {
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

/// Shows which cells were tried, and fails when there are problems.
#[track_caller]
pub(crate) fn report<D: Deed>(
    courses: &Courses,
    tried: &[(Cell<D>, Vec<String>)],
    mut problems: Vec<String>,
) {
    for (family, course) in courses.values() {
        println!("{}", family.name);
        for point in &course.points {
            let letters = D::ALL.iter().map(|by| {
                let is_it = |cell: &Cell<D>| {
                    (cell.family.name, cell.point, cell.by) == (family.name, *point, *by)
                };
                match tried.iter().find(|(cell, _)| is_it(cell)) {
                    Some((_, problems)) if problems.is_empty() => by.letter(),
                    Some(_) => '!',
                    None => '.',
                }
            });
            let (letters, moment): (String, _) = (letters.collect(), moment_name(point.moment));
            println!("  step {} {moment:8} {letters}", point.step);
        }
    }
    for (cell, found) in tried {
        problems.extend(
            found
                .iter()
                .map(|problem| format!("{}: {problem}", cell.name())),
        );
    }
    problems.sort();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
