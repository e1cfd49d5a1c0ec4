//! Interruptions at every step of every family of plans, before, while and after it runs and while it is taken back, on
//! a real server: a cancel request (C), the client's own `statement_timeout` (T), a client that is gone (G), a server
//! process that is terminated (B), lockkeeper's own end (S). Afterwards nothing is half done, nothing is left, and the
//! client has one answer.
//!
//! `make test` runs a sample; `LOCKKEEPER_TEST_CELLS=all`, or a number of cells, and `LOCKKEEPER_TEST_SEED` choose
//! others. `LOCKKEEPER_TEST_FAMILY` names families by a part of their name.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

#[path = "interruptions/cell.rs"]
mod cell;
#[allow(dead_code)]
#[path = "common/client.rs"]
mod client;
#[path = "interruptions/course.rs"]
mod course;
#[path = "interruptions/family.rs"]
mod family;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[path = "interruptions/known.rs"]
mod known;
#[path = "interruptions/matrix.rs"]
mod matrix;
#[allow(dead_code)]
#[path = "judged/snapshot.rs"]
mod snapshot;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use cell::{Ended, Interruption};
use course::Worker;
use family::FAMILIES;
use harness::shared;
use known::{DETACHED, KNOWN};
use matrix::{Cell, Courses, Named, chosen, in_parallel, missing, report, wanted};

/// How long the test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(3600);
/// Cells that are tried every day.
const SAMPLE: usize = 200;

/// The courses of all families that are tried.
fn courses() -> Courses {
    let results = Mutex::new(Courses::new());
    in_parallel(wanted(FAMILIES.iter()), |_, next| {
        let mut worker = Worker::on(shared());
        while let Some(family) = next() {
            let course = worker.course(family);
            let mut results = results.lock().unwrap();
            results.insert(family.name, (family, course));
        }
    });
    results.into_inner().unwrap()
}

/// What is left must be known, and what is known must be left.
fn judge_leftovers(tried: &mut [(Cell<Interruption>, Ended)], is_all: bool) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (cell, ended) in tried {
        let Some(left) = &ended.left else { continue };
        let name = cell.family.name;
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
        let (cells, is_all) = chosen(&courses, SAMPLE);
        let tried = Mutex::new(Vec::new());
        in_parallel(cells, |_, next| {
            let mut worker = Worker::on(shared());
            while let Some(cell) = next() {
                let _named = Named(cell);
                let (family, course) = &courses[cell.family.name];
                let ended = worker.interrupt(family, course, cell.point, cell.by);
                tried.lock().unwrap().push((cell, ended));
            }
        });
        let mut tried = tried.into_inner().unwrap();
        let is_everything = is_all && courses.len() == FAMILIES.len();
        problems.extend(judge_leftovers(&mut tried, is_everything));
        let tried = tried.into_iter();
        let tried: Vec<_> = tried.map(|(cell, ended)| (cell, ended.problems)).collect();
        report(&courses, &tried, problems);
    });
}
