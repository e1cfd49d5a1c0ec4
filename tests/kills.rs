//! lockkeeper is killed at every step of every family of plans, before, while and after it runs and while it is taken
//! back, on a real server. Another instance, one that runs already (R) or one that is started afterwards (S), then ends
//! what it has left: nothing is half done, nothing is left, each step ran once, and there is one record of it. The same
//! where it is stopped (P) or its line to the server is cut (C), another one ends the plan, and then it comes back.
//!
//! A lockkeeper that is killed is a process: this program, run again. `make test` runs a sample; the variables that
//! choose another are those of the interruptions: `LOCKKEEPER_TEST_CELLS`, `LOCKKEEPER_TEST_SEED`,
//! `LOCKKEEPER_TEST_FAMILY`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

#[path = "kills/cell.rs"]
mod cell;
#[path = "kills/child.rs"]
mod child;
#[allow(dead_code)]
#[path = "common/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "interruptions/course.rs"]
mod course;
#[path = "interruptions/family.rs"]
mod family;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[path = "kills/link.rs"]
mod link;
#[path = "interruptions/matrix.rs"]
mod matrix;
#[allow(dead_code)]
#[path = "judged/snapshot.rs"]
mod snapshot;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use client::{Answer, Protocol};
use course::Worker;
use family::{FAMILIES, Family};
use harness::{limited, start_server};
use lockkeeper::pg::temporary::TemporaryServer;
use matrix::{Courses, Named, WORKERS, chosen, in_parallel, missing, report, wanted};

/// How long the test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(3600);
/// Cells that are tried every day.
const SAMPLE: usize = 60;

/// Statements besides those of the interruptions.
const MORE: &[Family] = &[
    // One transaction, as it was sent, on a table that nobody uses yet and one that everybody uses.
    Family {
        name: "create table with a foreign key",
        given: "",
        sql: "CREATE TABLE n (id int PRIMARY KEY, p int REFERENCES parent)",
        steps: 1,
        undone: &[],
    },
];

/// What PostgreSQL itself answers when a statement is sent again that is done already, by family.
type DoneAlready = BTreeMap<&'static str, Answer>;

/// Another server for each worker: instances in front of the same server end each other's plans.
fn servers() -> Vec<TemporaryServer> {
    let server = |_| {
        start_server(|options| {
            let setting = ("autovacuum".to_owned(), "off".to_owned());
            options.settings.push(setting);
        })
    };
    (0..WORKERS).map(server).collect()
}

/// The courses of all families that are tried.
fn courses(servers: &[TemporaryServer]) -> (Courses, DoneAlready) {
    let results = Mutex::new((Courses::new(), DoneAlready::new()));
    in_parallel(wanted(FAMILIES.iter().chain(MORE)), |number, next| {
        let mut worker = Worker::on(&servers[number]);
        while let Some(family) = next() {
            let course = worker.course(family);
            worker.direct.ok(&family::given(family));
            worker.session().0.run(family.sql);
            let again = worker.direct.run(family.sql, Protocol::Simple);
            let mut results = results.lock().unwrap();
            results.0.insert(family.name, (family, course));
            results.1.insert(family.name, again);
        }
    });
    results.into_inner().unwrap()
}

#[test]
fn a_kill_at_any_point_leaves_nothing_half_done() {
    limited(|| {
        let servers = servers();
        let (courses, done_already) = courses(&servers);
        let problems = missing(&courses);
        let (cells, _) = chosen(&courses, SAMPLE);
        let tried = Mutex::new(Vec::new());
        in_parallel(cells, |number, next| {
            let mut worker = Worker::on(&servers[number]);
            while let Some(cell) = next() {
                let _named = Named(cell);
                let (_, course) = &courses[cell.family.name];
                let answer = &done_already[cell.family.name];
                let found = cell::kill(&mut worker, cell, course, answer);
                tried.lock().unwrap().push((cell, found));
            }
        });
        report(&courses, &tried.into_inner().unwrap(), problems);
    });
}

/// Not a test: the lockkeeper that is killed. It does nothing unless [`child::Child::start`] runs it.
#[test]
fn a_lockkeeper_of_its_own() {
    child::run();
}
