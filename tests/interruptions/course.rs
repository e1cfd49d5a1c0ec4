//! A statement's plan on its way, held at each of its points, and how it goes without interruption.

use std::any::Any;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lockkeeper::config::Config;
use lockkeeper::exec::failpoint::Failpoints;
use lockkeeper::exec::session::{Moment, Point};
use lockkeeper::pg::temporary::TemporaryServer;

use crate::client::{Answer, Client, Protocol};
use crate::family::{Family, given};
use crate::harness::{Proxy, database_on};
use crate::snapshot::Snapshot;
use crate::wire::{Frame, Place, Wire, cancel_request, q, tags};

/// How long a plan may take to come to its next point.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A statement's course without interruption.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// Its points, in order; those of taking back last.
    pub(crate) points: Vec<Point>,
    /// The number of its last step.
    last: usize,
    /// What is there before it.
    pub(crate) before: Snapshot,
    /// What is there at its end.
    pub(crate) finished: Snapshot,
}

/// Ways to make a statement wait on the server, so that it is interrupted while it runs.
pub(crate) const WAYS_TO_BLOCK: &[fn(&mut Client) -> bool] = &[
    // What changes a table, or reads it for long, and what waits for others; row by row too.
    |client| {
        tables(client).iter().all(|table| {
            let lock = format!("LOCK TABLE {table} IN ROW EXCLUSIVE MODE NOWAIT");
            let rows = format!("SELECT FROM {table} FOR UPDATE NOWAIT");
            accepts(client, &lock) && accepts(client, &rows)
        })
    },
    // What only reads.
    |client| {
        tables(client).iter().all(|table| {
            let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE NOWAIT");
            accepts(client, &lock)
        })
    },
    // What changes the catalog only.
    |client| {
        accepts(
            client,
            "LOCK TABLE pg_catalog.pg_class IN SHARE MODE NOWAIT",
        )
    },
];

fn tables(client: &mut Client) -> Vec<String> {
    client.column(
        "SELECT oid::regclass::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1",
    )
}

fn accepts(client: &mut Client, sql: &str) -> bool {
    let answer: Answer = client.run(sql, Protocol::Simple);
    answer.error.is_none()
}

/// A plan that is held at a point until this is dropped.
pub(crate) struct Held {
    /// The point.
    pub(crate) point: Point,
    _goes_on: Box<dyn Any + Send>,
}

impl Held {
    /// At a point; the plan goes on when `goes_on` is dropped.
    pub(crate) fn new(point: Point, goes_on: impl Any + Send) -> Held {
        Held {
            point,
            _goes_on: Box::new(goes_on),
        }
    }
}

/// Gives the point to which the plan has come, if it has.
pub(crate) type Points = Box<dyn FnMut() -> Option<Held> + Send>;

/// The points of a proxy in this process.
fn armed(failpoints: &Failpoints) -> Points {
    let mut reached = failpoints.arm();
    Box::new(move || {
        let reached = reached.try_recv().ok()?;
        Some(Held::new(reached.point, reached))
    })
}

/// A statement on its way.
pub(crate) struct Sent {
    /// Gives the session and the answer.
    pub(crate) answer: JoinHandle<(Wire, Vec<Frame>)>,
    /// The client's end.
    pub(crate) socket: TcpStream,
    /// The session's server process.
    pub(crate) pid: u32,
    /// When it was sent.
    pub(crate) at: Instant,
    place: Place,
    key: Vec<u8>,
    points: Points,
}

impl Sent {
    /// Sends a statement over a session of a lockkeeper whose plans are held.
    pub(crate) fn new(
        place: &Place,
        session: (Wire, TcpStream),
        points: Points,
        sql: &str,
    ) -> Sent {
        let (mut wire, socket) = session;
        let (key, pid) = (wire.key.clone(), wire.pid());
        wire.send(&q(sql));
        let at = Instant::now();
        let answer = thread::spawn(move || {
            let frames = wire.until_ready();
            (wire, frames)
        });
        Sent {
            answer,
            socket,
            pid,
            at,
            place: place.clone(),
            key,
            points,
        }
    }

    /// The next point at which the plan is held; `None` when it has ended.
    pub(crate) fn next(&mut self) -> Option<Held> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(held) = (self.points)() {
                return Some(held);
            }
            if self.answer.is_finished() {
                return (self.points)();
            }
            assert!(Instant::now() < until, "the plan stands still");
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Goes on to a point; before what is taken back there, the last step is cancelled. `None` when the plan has ended.
    pub(crate) fn go_to(&mut self, point: Point, course: &Course) -> Option<Held> {
        loop {
            let held = self.next()?;
            if held.point == point {
                return Some(held);
            }
            if point.moment == Moment::Undoing && held.point == before_last(course.last) {
                self.cancel();
            }
        }
    }

    /// Sends a cancel request.
    pub(crate) fn cancel(&self) {
        let mut wire = Wire::connect(&self.place);
        wire.send(&cancel_request(&self.key));
        wire.until_end();
    }

    /// Lets the plan go on to its end.
    pub(crate) fn finish(self) -> (Wire, Vec<Frame>) {
        drop(self.points);
        self.answer.join().unwrap()
    }
}

/// A database, and a proxy in front of it.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    /// The database's server.
    pub(crate) server: &'a TemporaryServer,
    /// Its name.
    pub(crate) database: String,
    /// A session without a proxy.
    pub(crate) direct: Client,
    /// Another, which is in the way.
    pub(crate) blocker: Client,
    /// Started when it is first used.
    pub(crate) proxy: Option<Proxy>,
}

/// The settings that make each statement a plan that waits until it is interrupted.
pub(crate) fn slow_and_safe(config: &mut Config) {
    // Without a journal: what a session leaves by itself is looked at. What others make of it is in the test of kills.
    config.operator.database = String::new();
    config.guard.small_table = ByteSize(0);
    config.locks.budget = Duration::from_secs(30);
    config.locks.max_hold = Duration::from_secs(30);
}

impl<'a> Worker<'a> {
    /// With a new database.
    pub(crate) fn on(server: &'a TemporaryServer) -> Worker<'a> {
        let database = database_on(server);
        let client = || Client::connect(server.port(), &database, "postgres");
        Worker {
            server,
            direct: client(),
            blocker: client(),
            proxy: None,
            database,
        }
    }

    /// The proxy.
    pub(crate) fn proxy(&mut self) -> &mut Proxy {
        let server = self.server;
        self.proxy
            .get_or_insert_with(|| Proxy::start(server, |config, _| slow_and_safe(config)))
    }

    /// A session through the proxy.
    pub(crate) fn session(&mut self) -> (Wire, TcpStream) {
        let place = self.proxy().place().clone();
        self.session_at(&place)
    }

    /// A session through another one.
    pub(crate) fn session_at(&self, place: &Place) -> (Wire, TcpStream) {
        let Place::Tcp(address) = place else {
            panic!("TCP")
        };
        let socket = TcpStream::connect(address).unwrap();
        let mut wire = Wire::over_tcp(socket.try_clone().unwrap());
        wire.start(&[("user", "postgres"), ("database", &self.database)]);
        (wire, socket)
    }

    /// Sends a statement through the proxy; its plan is held at each point.
    pub(crate) fn send(&mut self, session: (Wire, TcpStream), sql: &str) -> Sent {
        let points = armed(self.proxy().failpoints());
        Sent::new(self.proxy().place(), session, points, sql)
    }

    /// What is there now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        Snapshot::take(&mut self.direct, |_| true)
    }

    /// Runs a statement to its end, and then until its last step.
    pub(crate) fn course(&mut self, family: &Family) -> Course {
        self.direct.ok(&given(family));
        let before = self.snapshot();
        let session = self.session();
        let mut sent = self.send(session, family.sql);
        let mut points: Vec<Point> = Vec::new();
        while let Some(held) = sent.next() {
            if !points.contains(&held.point) {
                points.push(held.point);
            }
        }
        let (_, frames) = sent.answer.join().unwrap();
        assert_eq!(one_reply(&frames), "CZ", "{}: {frames:?}", family.sql);
        let finished = self.snapshot();
        let last = points.iter().map(|point| point.step).max();
        let last = last.unwrap_or_else(|| panic!("no plan ran for {}", family.sql));
        self.direct.ok(&given(family));
        let session = self.session();
        let mut sent = self.send(session, family.sql);
        while let Some(held) = sent.next() {
            if held.point == before_last(last) {
                sent.cancel();
            }
            if held.point.moment == Moment::Undoing {
                points.push(held.point);
            }
        }
        sent.answer.join().unwrap();
        Course {
            points,
            last,
            before,
            finished,
        }
    }

    /// Lets a plan go on that is held before its statement, and has that wait on the server; whether it does. What is
    /// in its way stays there until the blocker rolls back.
    pub(crate) fn block(&mut self, held: Held, sent: &mut Sent, way: usize) -> bool {
        self.blocker.ok("BEGIN");
        let blocks = WAYS_TO_BLOCK[way](&mut self.blocker);
        drop(held);
        let mut waits = false;
        while blocks && !waits && !sent.answer.is_finished() {
            if (sent.points)().is_some() {
                break;
            }
            waits = self.state(sent.pid).starts_with("Lock ");
            thread::sleep(LOOK_AGAIN);
        }
        waits
    }

    /// What a server process waits for, and since when it runs what.
    pub(crate) fn state(&mut self, pid: u32) -> String {
        self.direct.value(&format!(
            "SELECT concat_ws(' ', wait_event_type, query_start, query) FROM pg_stat_activity WHERE pid = {pid}"
        ))
    }
}

fn before_last(last: usize) -> Point {
    Point {
        step: last,
        moment: Moment::Before,
    }
}

/// The reply without what may stand in front of it.
pub(crate) fn one_reply(frames: &[Frame]) -> String {
    tags(frames).replace(['N', 'S'], "")
}

/// The names of what is more and what is less than before.
pub(crate) fn difference(now: &BTreeSet<String>, before: &BTreeSet<String>) -> String {
    fn name(line: &str) -> String {
        line.split(": ").next().unwrap_or_default().to_owned()
    }
    let more: BTreeSet<String> = now.difference(before).map(|line| name(line)).collect();
    let less: BTreeSet<String> = before.difference(now).map(|line| name(line)).collect();
    // A new relation's columns go without saying, and that an index is a relation.
    let is_whole = |name: &&String| {
        let mut words = name.split(' ');
        let kind = words.next().unwrap_or_default();
        let relation = format!("relation {}", words.next().unwrap_or_default());
        kind == "relation" || less.contains(&relation) || !more.contains(&relation)
    };
    // Nor that a foreign key has triggers.
    let is_of_a_key = |name: &&String| {
        let constraints = more.iter().filter(|one| one.starts_with("constraint "));
        let mut names = constraints.filter_map(|one| one.split(' ').next_back());
        name.starts_with("trigger ") && names.any(|one| name.split(' ').next_back() == Some(one))
    };
    let new = more.difference(&less).filter(is_whole);
    let new = new.filter(|name| !is_of_a_key(name));
    let gone = less.difference(&more);
    let new = new.map(|name| format!("+{name}"));
    let gone = gone.map(|name| format!("-{name}"));
    let changed = more.intersection(&less).map(|name| format!("~{name}"));
    new.chain(gone)
        .chain(changed)
        .collect::<Vec<_>>()
        .join(", ")
}
