//! One interruption at one point of a statement's plan, and what is there afterwards.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use lockkeeper::exec::session::{Moment, Point};

use crate::course::{Course, Held, LOOK_AGAIN, Sent, WAYS_TO_BLOCK, Worker, difference, one_reply};
use crate::family::{Family, given};
use crate::harness::eventually;
use crate::matrix::Deed;
use crate::snapshot::{schema, schema_difference};
use crate::wire::{Frame, Place, Wire, sqlstate, startup, tags};

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

impl Deed for Interruption {
    const ALL: &'static [Interruption] = &[
        Interruption::Cancel,
        Interruption::Timeout,
        Interruption::Gone,
        Interruption::Backend,
        Interruption::Shutdown,
    ];

    fn letter(self) -> char {
        match self {
            Interruption::Cancel => 'C',
            Interruption::Timeout => 'T',
            Interruption::Gone => 'G',
            Interruption::Backend => 'B',
            Interruption::Shutdown => 'S',
        }
    }
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

/// Why an attempt says nothing.
enum Again {
    /// The client's time was over before the point was reached.
    MoreTime,
    /// The statement didn't wait.
    OtherBlock,
}

impl Worker<'_> {
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
        let mut sent = self.send((wire, socket), family.sql);
        let is_there = |sent: &Sent| {
            by != Interruption::Timeout || sent.at.elapsed() + Duration::from_millis(200) < timeout
        };
        let Some(held) = sent.go_to(point, course) else {
            assert!(by == Interruption::Timeout, "{point:?} isn't reached");
            return Err(Again::MoreTime);
        };
        if !is_there(&sent) {
            drop(held);
            sent.finish();
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
        held: Held,
        sent: &mut Sent,
        by: Interruption,
        timeout: Duration,
        block: usize,
    ) -> Result<(), Again> {
        let waits = self.block(held, sent, block);
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

    fn deliver(&mut self, sent: &Sent, by: Interruption, timeout: Duration) {
        match by {
            Interruption::Cancel => sent.cancel(),
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
        let (mut wire, mut frames) = sent.finish();
        let stays = matches!(by, Interruption::Cancel | Interruption::Timeout);
        if !stays {
            frames.extend(wire.until_end());
            self.until_process_ends(pid);
        }
        let mut ended = Ended::default();
        let now = schema(&mut self.direct);
        let is_before = schema_difference(&now, course.before.schema()).is_none();
        let is_finished = schema_difference(&now, course.finished.schema()).is_none();
        ended
            .problems
            .extend(wrong_reply(&frames, by, is_before, is_finished));
        if !is_before && !is_finished {
            let error = frames.iter().find(|frame| frame.tag == b'E');
            if stays && error.is_none_or(|error| error.field(b'D').is_empty()) {
                let problem = "what is left isn't said".to_owned();
                ended.problems.push(problem);
            }
            ended.left = Some(difference(&now, course.before.schema()));
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
        if !is_finished || course.before.schema() == course.finished.schema() {
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
        schema_difference(&now, course.finished.schema())
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

fn settings(wire: &mut Wire) -> String {
    wire.value("SELECT string_agg(name || '=' || setting, E'\\n' ORDER BY name) FROM pg_settings")
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
