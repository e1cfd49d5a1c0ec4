//! One interruption at one point of a statement's plan, and what is there afterwards.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lockkeeper::exec::failpoint::Reached;
use lockkeeper::exec::session::{Moment, Point};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::client::Client;
use crate::family::{Family, given};
use crate::harness::{Proxy, database, eventually, shared};
use crate::snapshot::{schema, schema_difference};
use crate::wire::{Frame, Place, Wire, cancel_request, q, sqlstate, startup, tags};

/// How long a plan may take to come to its next point.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long what holds a statement up stays when the interruption has no effect.
const HOLD: Duration = Duration::from_millis(700);
/// The client's own time, when that is to be spent; more when the point isn't reached by then.
const TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(600),
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(20),
];

/// What interrupts a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Interruption {
    /// A cancel request.
    Cancel,
    /// The client's own `statement_timeout`.
    Timeout,
    /// The client's connection is closed.
    Gone,
    /// The server process is terminated.
    Backend,
    /// lockkeeper is told to end, twice.
    Shutdown,
}

/// All of them.
pub(crate) const INTERRUPTIONS: [Interruption; 5] = [
    Interruption::Cancel,
    Interruption::Timeout,
    Interruption::Gone,
    Interruption::Backend,
    Interruption::Shutdown,
];

impl Interruption {
    /// Its letter in the matrix.
    pub(crate) fn letter(self) -> char {
        match self {
            Interruption::Cancel => 'C',
            Interruption::Timeout => 'T',
            Interruption::Gone => 'G',
            Interruption::Backend => 'B',
            Interruption::Shutdown => 'S',
        }
    }
}

/// A statement's course without interruption.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// Its points, in order; those of taking back last.
    pub(crate) points: Vec<Point>,
    /// The number of its last step.
    last: usize,
    before: BTreeSet<String>,
    finished: BTreeSet<String>,
}

/// What came of one interruption.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Promises that were broken.
    pub(crate) problems: Vec<String>,
    /// What is there that was neither there before nor is there at the end, and what isn't that was.
    pub(crate) left: Option<String>,
    /// In spite of that the same statement, sent again, does what it says.
    pub(crate) resumes: bool,
}

/// Ways to make a statement wait on the server, so that it is interrupted while it runs.
const WAYS_TO_BLOCK: &[fn(&mut Client) -> bool] = &[
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
    let answer = client.run(sql, crate::client::Protocol::Simple);
    answer.error.is_none()
}

/// Why an attempt says nothing.
enum Again {
    /// The client's time was over before the point was reached.
    MoreTime,
    /// The statement didn't wait.
    OtherBlock,
}

/// A database, and a proxy in front of it.
#[derive(Debug)]
pub(crate) struct Worker {
    database: String,
    direct: Client,
    blocker: Client,
    proxy: Option<Proxy>,
}

/// A statement on its way.
struct Sent {
    answer: JoinHandle<(Wire, Vec<Frame>)>,
    socket: TcpStream,
    key: Vec<u8>,
    pid: u32,
    at: Instant,
    reached: UnboundedReceiver<Reached>,
}

impl Sent {
    /// The next point at which the plan is held; `None` when it has ended.
    fn next(&mut self) -> Option<Reached> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(reached) = self.reached.try_recv() {
                return Some(reached);
            }
            if self.answer.is_finished() {
                return self.reached.try_recv().ok();
            }
            assert!(Instant::now() < until, "the plan stands still");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Worker {
    /// With a new database on the shared server.
    pub(crate) fn new() -> Worker {
        let database = database();
        let client = || Client::connect(shared().port(), &database, "postgres");
        Worker {
            direct: client(),
            blocker: client(),
            proxy: None,
            database,
        }
    }

    fn proxy(&mut self) -> &mut Proxy {
        self.proxy.get_or_insert_with(|| {
            Proxy::start(shared(), |config, _| {
                config.guard.small_table = ByteSize(0);
                // Whoever waits here is to wait until it is interrupted.
                config.locks.budget = Duration::from_secs(30);
                config.locks.max_hold = Duration::from_secs(30);
            })
        })
    }

    fn session(&mut self) -> (Wire, TcpStream) {
        let Place::Tcp(address) = self.proxy().place().clone() else {
            panic!("TCP")
        };
        let socket = TcpStream::connect(address).unwrap();
        let mut wire = Wire::over_tcp(socket.try_clone().unwrap());
        wire.start(&[("user", "postgres"), ("database", &self.database)]);
        (wire, socket)
    }

    /// Sends a family's statement; its plan is held at each point.
    fn send(&mut self, mut wire: Wire, socket: TcpStream, sql: &str) -> Sent {
        let reached = self.proxy().failpoints().arm();
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
            key,
            pid,
            at,
            reached,
        }
    }

    /// Runs a statement to its end, and then until its last step.
    pub(crate) fn course(&mut self, family: &Family) -> Course {
        self.direct.ok(&given(family));
        let before = schema(&mut self.direct);
        let (wire, socket) = self.session();
        let mut sent = self.send(wire, socket, family.sql);
        let mut points: Vec<Point> = Vec::new();
        while let Some(reached) = sent.next() {
            if !points.contains(&reached.point) {
                points.push(reached.point);
            }
        }
        let (_, frames) = sent.answer.join().unwrap();
        assert_eq!(one_reply(&frames), "CZ", "{}: {frames:?}", family.sql);
        let finished = schema(&mut self.direct);
        let last = points.iter().map(|point| point.step).max();
        let last = last.unwrap_or_else(|| panic!("no plan ran for {}", family.sql));
        self.direct.ok(&given(family));
        let (wire, socket) = self.session();
        let mut sent = self.send(wire, socket, family.sql);
        while let Some(reached) = sent.next() {
            if reached.point == before_last(last) {
                self.cancel(&sent.key);
            }
            if reached.point.moment == Moment::Undoing {
                points.push(reached.point);
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

    /// Interrupts a plan at a point.
    pub(crate) fn interrupt(
        &mut self,
        family: &Family,
        course: &Course,
        point: Point,
        by: Interruption,
    ) -> Ended {
        let (mut timeout, mut block) = (0, 0);
        while timeout < TIMEOUTS.len() && block < WAYS_TO_BLOCK.len() {
            match self.attempt(family, course, point, by, timeout, block) {
                Ok(ended) => return ended,
                Err(Again::MoreTime) => timeout += 1,
                Err(Again::OtherBlock) => block += 1,
            }
        }
        let why = if block == WAYS_TO_BLOCK.len() {
            "it can't be made to wait on the server"
        } else {
            "it isn't reached in time"
        };
        Ended {
            problems: vec![why.to_owned()],
            ..Ended::default()
        }
    }

    fn attempt(
        &mut self,
        family: &Family,
        course: &Course,
        point: Point,
        by: Interruption,
        timeout: usize,
        block: usize,
    ) -> Result<Ended, Again> {
        self.direct.ok(&given(family));
        let (mut wire, socket) = self.session();
        wire.run("SET lock_timeout = '40s'; SET application_name = 'a client'");
        let timeout = TIMEOUTS[timeout];
        if by == Interruption::Timeout {
            wire.run(&format!("SET statement_timeout = {}", timeout.as_millis()));
        }
        let settings = settings(&mut wire);
        let mut sent = self.send(wire, socket, family.sql);
        let is_there = |sent: &Sent| {
            by != Interruption::Timeout || sent.at.elapsed() + Duration::from_millis(200) < timeout
        };
        let held = loop {
            let Some(reached) = sent.next() else {
                assert!(by == Interruption::Timeout, "{point:?} isn't reached");
                return Err(Again::MoreTime);
            };
            if reached.point == point {
                break reached;
            }
            if point.moment == Moment::Undoing && reached.point == before_last(course.last) {
                self.cancel(&sent.key);
            }
        };
        if !is_there(&sent) {
            drop(held);
            finish(sent);
            return Err(Again::MoreTime);
        }
        if point.moment == Moment::During {
            self.interrupt_during(held, &mut sent, by, timeout, block)?;
        } else {
            self.deliver(&sent, by, timeout);
            drop(held);
        }
        let mut ended = self.look(family, course, sent, &settings, by);
        if point.moment == Moment::Undoing {
            // What was asked first is answered.
            ended
                .problems
                .retain(|problem| !problem.starts_with("told"));
        }
        Ok(ended)
    }

    /// Has the statement wait on the server, and interrupts it there.
    fn interrupt_during(
        &mut self,
        held: Reached,
        sent: &mut Sent,
        by: Interruption,
        timeout: Duration,
        block: usize,
    ) -> Result<(), Again> {
        self.blocker.ok("BEGIN");
        let blocks = WAYS_TO_BLOCK[block](&mut self.blocker);
        drop(held);
        let mut waits = false;
        while blocks && !waits && !sent.answer.is_finished() {
            if sent.reached.try_recv().is_ok() {
                break;
            }
            waits = self.state(sent.pid).starts_with("Lock ");
            thread::sleep(LOOK_AGAIN);
        }
        if waits {
            let before = self.state(sent.pid);
            self.deliver(sent, by, timeout);
            let until = Instant::now() + HOLD;
            while self.state(sent.pid) == before && Instant::now() < until {
                thread::sleep(LOOK_AGAIN);
            }
        }
        self.blocker.ok("ROLLBACK");
        if waits {
            return Ok(());
        }
        while sent.next().is_some() {}
        Err(Again::OtherBlock)
    }

    /// What a server process waits for, and since when it runs what.
    fn state(&mut self, pid: u32) -> String {
        self.direct.value(&format!(
            "SELECT concat_ws(' ', wait_event_type, query_start, query) FROM pg_stat_activity WHERE pid = {pid}"
        ))
    }

    fn cancel(&mut self, key: &[u8]) {
        let mut wire = Wire::connect(self.proxy().place());
        wire.send(&cancel_request(key));
        wire.until_end();
    }

    fn deliver(&mut self, sent: &Sent, by: Interruption, timeout: Duration) {
        match by {
            Interruption::Cancel => self.cancel(&sent.key),
            Interruption::Timeout => {
                let left = (timeout + Duration::from_millis(30)).saturating_sub(sent.at.elapsed());
                thread::sleep(left);
            }
            Interruption::Gone => {
                sent.socket.shutdown(std::net::Shutdown::Both).unwrap();
                thread::sleep(Duration::from_millis(20)); // nobody tells when it is noticed
            }
            Interruption::Backend => {
                let sql = format!("SELECT pg_terminate_backend({})", sent.pid);
                self.direct.ok(&sql);
                self.until_process_ends(sent.pid);
            }
            Interruption::Shutdown => {
                let place = self.proxy().place().clone();
                self.proxy().end();
                eventually("no client is accepted", || is_refused(&place));
                thread::sleep(Duration::from_millis(20)); // nobody tells when it is noticed
            }
        }
    }

    fn until_process_ends(&mut self, pid: u32) {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        let direct = &mut self.direct;
        eventually("the server process ends", || direct.value(&sql) == "0");
    }

    /// What is there afterwards.
    fn look(
        &mut self,
        family: &Family,
        course: &Course,
        sent: Sent,
        settings: &str,
        by: Interruption,
    ) -> Ended {
        let pid = sent.pid;
        let (mut wire, mut frames) = finish(sent);
        let stays = matches!(by, Interruption::Cancel | Interruption::Timeout);
        if !stays {
            frames.extend(wire.until_end());
            self.until_process_ends(pid);
        }
        let mut ended = Ended::default();
        let now = schema(&mut self.direct);
        let is_before = schema_difference(&now, &course.before).is_none();
        let is_finished = schema_difference(&now, &course.finished).is_none();
        ended
            .problems
            .extend(wrong_reply(&frames, by, is_before, is_finished));
        if !is_before && !is_finished {
            let error = frames.iter().find(|frame| frame.tag == b'E');
            if stays && error.is_none_or(|error| error.field(b'D').is_empty()) {
                let problem = "what is left isn't said".to_owned();
                ended.problems.push(problem);
            }
            ended.left = Some(difference(&now, &course.before));
        }
        ended.problems.extend(self.traces(pid));
        if stays {
            let after = self::settings(&mut wire);
            if after != settings {
                let changed = after.lines().filter(|line| !settings.contains(line));
                let changed: Vec<&str> = changed.collect();
                ended
                    .problems
                    .push(format!("settings differ: {}", changed.join(", ")));
            }
            wire.run("SET statement_timeout = 0");
        }
        if by == Interruption::Shutdown {
            self.proxy = None;
        }
        if !is_finished || course.before == course.finished {
            let mut wire = if stays { wire } else { self.session().0 };
            let failure = self.again(&mut wire, family, course);
            ended.resumes = failure.is_none();
            let is_due = ended.left.is_none();
            ended.problems.extend(failure.filter(|_| is_due));
        }
        ended
    }

    /// The same again, on the same session where that has survived.
    fn again(&mut self, wire: &mut Wire, family: &Family, course: &Course) -> Option<String> {
        let frames = wire.query(family.sql);
        if one_reply(&frames) != "CZ" {
            let error = frames.iter().find(|frame| frame.tag == b'E');
            let message = error.map(|error| error.field(b'M'));
            return Some(format!("the same again fails: {message:?}"));
        }
        let now = schema(&mut self.direct);
        schema_difference(&now, &course.finished)
            .map(|difference| format!("the same again ends differently: {difference}"))
    }

    /// What a session holds that does nothing.
    fn traces(&mut self, pid: u32) -> Option<String> {
        let held = format!(
            "SELECT string_agg(concat_ws(' ', locktype, mode, relation::regclass), ', ') FROM pg_locks
             WHERE pid = {pid} OR locktype = 'advisory'"
        );
        let open = "SELECT string_agg(query, ', ') FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        let (held, open) = (self.direct.value(&held), self.direct.value(open));
        (!held.is_empty() || !open.is_empty())
            .then(|| format!("locks are held: {held}; transactions are open: {open}"))
    }
}

fn is_refused(place: &Place) -> bool {
    let Place::Tcp(address) = place else {
        return true;
    };
    match TcpStream::connect(address) {
        Err(_) => true,
        Ok(stream) => {
            let mut wire = Wire::over_tcp(stream);
            wire.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
            !tags(&wire.until_ready()).ends_with('Z')
        }
    }
}

fn before_last(last: usize) -> Point {
    Point {
        step: last,
        moment: Moment::Before,
    }
}

/// Lets a plan go on to its end.
fn finish(sent: Sent) -> (Wire, Vec<Frame>) {
    drop(sent.reached);
    sent.answer.join().unwrap()
}

fn settings(wire: &mut Wire) -> String {
    wire.value("SELECT string_agg(name || '=' || setting, E'\\n' ORDER BY name) FROM pg_settings")
}

/// The reply without what may stand in front of it.
fn one_reply(frames: &[Frame]) -> String {
    tags(frames).replace(['N', 'S'], "")
}

fn wrong_reply(
    frames: &[Frame],
    by: Interruption,
    is_before: bool,
    is_finished: bool,
) -> Option<String> {
    let (reply, state) = (one_reply(frames), sqlstate(frames));
    let expected = match by {
        Interruption::Cancel | Interruption::Timeout => match reply.as_str() {
            "CZ" => is_finished,
            "EZ" => state == "57014" && (is_before || !is_finished),
            _ => false,
        },
        Interruption::Gone => true, // nobody reads it
        Interruption::Backend | Interruption::Shutdown => match reply.as_str() {
            "CZE" => state == "57P01" && is_finished,
            "E" => state == "57P01",
            _ => false,
        },
    };
    let error = frames.iter().find(|frame| frame.tag == b'E');
    let words = error.map_or_else(String::new, |error| error.field(b'M'));
    if by == Interruption::Timeout && words.contains("user request") {
        return Some(format!("told of a cancel request: {words}"));
    }
    (!expected).then(|| {
        let detail = error.map_or_else(String::new, |error| error.field(b'D'));
        format!(
            "answered {reply} {state} {words} ({detail}), and the schema is as {}",
            match (is_before, is_finished) {
                (true, _) => "before",
                (false, true) => "at the end",
                (false, false) => "neither before nor at the end",
            }
        )
    })
}

/// The names of what is more and what is less than before.
fn difference(now: &BTreeSet<String>, before: &BTreeSet<String>) -> String {
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
