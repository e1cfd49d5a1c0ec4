//! One kill at one point of a statement's plan, and what is there when another instance has ended what it left. Instead
//! of being killed it can be paused, too.

use std::thread;
use std::time::{Duration, Instant};

use lockkeeper::config::Config;
use lockkeeper::exec::session::Moment;

use crate::child::Child;
use crate::client::{Answer, Client};
use crate::course::{Course, Sent, WAYS_TO_BLOCK, Worker, difference, one_reply, slow_and_safe};
use crate::family::{Family, given};
use crate::harness::Proxy;
use crate::link::Link;
use crate::matrix::{Cell, Deed};
use crate::snapshot::Snapshot;
use crate::wire::{Frame, commands, sqlstate, tags};

/// How long the others may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long what holds a killed client's statement up stays, so that the others find that still at work.
const HOLD: Duration = Duration::from_millis(1500);

/// What becomes of it, and who ends what is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Recovery {
    /// It is killed; an instance that is there already.
    Running,
    /// It is killed; one that is started afterwards.
    Started,
    /// It is stopped, and goes on when an instance that is there already has ended the plan.
    Paused,
    /// The same with its line to the server, which is cut, and whole again afterwards.
    Cut,
}

impl Recovery {
    fn is_killed(self) -> bool {
        matches!(self, Recovery::Running | Recovery::Started)
    }
}

impl Deed for Recovery {
    const ALL: &'static [Recovery] = &[
        Recovery::Running,
        Recovery::Started,
        Recovery::Paused,
        Recovery::Cut,
    ];

    fn letter(self) -> char {
        match self {
            Recovery::Running => 'R',
            Recovery::Started => 'S',
            Recovery::Paused => 'P',
            Recovery::Cut => 'C',
        }
    }
}

/// The settings of the lockkeeper that is killed and of those that end what it left.
pub(crate) fn configure(config: &mut Config) {
    slow_and_safe(config);
    config.operator.database = "lockkeeper".to_owned();
    config.journal.takeover = Duration::from_secs(1);
}

/// Kills lockkeeper at a point; promises that were broken.
pub(crate) fn kill(
    worker: &mut Worker<'_>,
    cell: Cell<Recovery>,
    course: &Course,
    done_already: &Answer,
) -> Vec<String> {
    (0..WAYS_TO_BLOCK.len())
        .find_map(|way| attempt(worker, cell, course, done_already, way))
        .unwrap_or_else(|| vec!["it can't be made to wait on the server".to_owned()])
}

/// `None` when the statement didn't wait where it was to be killed while it runs.
fn attempt(
    worker: &mut Worker<'_>,
    cell: Cell<Recovery>,
    course: &Course,
    done_already: &Answer,
    way: usize,
) -> Option<Vec<String>> {
    let Cell { family, point, by } = cell;
    worker.direct.ok(&given(family));
    let earlier = records(worker, family);
    worker.proxy = (by != Recovery::Started).then(|| start(worker));
    let link = Link::to(worker.server.port());
    let mut child = Child::start(link.port());
    let (mut wire, socket) = worker.session_at(child.place());
    wire.run("SET lock_timeout = '40s'; SET application_name = 'a client'");
    let mut sent = child.send((wire, socket), family.sql);
    let held = sent.go_to(point, course);
    let mut held = Some(held.unwrap_or_else(|| panic!("{point:?} isn't reached")));
    if point.moment == Moment::During {
        let waits = worker.block(held.take()?, &mut sent, way);
        if !waits {
            worker.blocker.ok("ROLLBACK");
            while sent.next().is_some() {}
            return None;
        }
    }
    let sessions = sessions(worker, &link);
    let pid = format!("{} ", sent.pid);
    let is_in = |session: &String| session.starts_with(&pid);
    assert!(sessions.iter().any(is_in), "{pid}of {sessions:?}");
    match by {
        Recovery::Running | Recovery::Started => assert!(child.kill(), "it had ended before"),
        Recovery::Paused => child.stop(true),
        Recovery::Cut => link.cut(true),
    }
    drop(held);
    if by == Recovery::Started {
        worker.proxy = Some(start(worker));
    }
    if point.moment == Moment::During {
        thread::sleep(HOLD);
        worker.blocker.ok("ROLLBACK");
    }
    let mut problems = never_ended(worker);
    match by {
        Recovery::Running | Recovery::Started => {}
        Recovery::Paused => child.stop(false),
        Recovery::Cut => link.cut(false),
    }
    let answer = answer(sent);
    if by.is_killed() && !answer.is_empty() {
        problems.push(format!("answered {answer}"));
    }
    if !by.is_killed() {
        problems.extend(comes_back(worker, family, course, &child, &answer));
    }
    // One that lives keeps its operator's session.
    let is_client = |session: &&String| by.is_killed() || is_in(session);
    let gone: Vec<String> = sessions.iter().filter(is_client).cloned().collect();
    if let Some(left) = left_sessions(worker, &gone) {
        problems.push(format!("sessions are left: {left}"));
    }
    problems.extend(judge(worker, family, course, done_already, &earlier));
    worker.proxy = None;
    Some(problems)
}

/// What the client has been told in the end; a plan that isn't over goes on.
fn answer(mut sent: Sent) -> String {
    while sent.next().is_some() {}
    let (_, frames) = sent.finish();
    one_reply(&frames)
}

/// An instance that was away knows that its plan isn't its own any more: it tells its client so, and serves others.
fn comes_back(
    worker: &mut Worker<'_>,
    family: &Family,
    course: &Course,
    child: &Child,
    answer: &str,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lacks = || worker.snapshot().difference(&course.finished, family.sql);
    match answer {
        "E" | "EZ" => {}
        "CZ" => problems.extend(lacks().map(|lacks| format!("told of success: {lacks}"))),
        other => problems.push(format!("answered {other:?}")),
    }
    let (mut wire, _) = worker.session_at(child.place());
    let frames = wire.query("SELECT 1");
    if one_reply(&frames) != "TDCZ" {
        problems.push(format!("doesn't serve any more: {}", tags(&frames)));
    }
    problems
}

fn start(worker: &Worker<'_>) -> Proxy {
    Proxy::start(worker.server, |config, _| configure(config))
}

/// Whether something is so in the end.
fn within(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

/// The sessions at the other end of a line: process and time of start.
fn sessions(worker: &mut Worker<'_>, link: &Link) -> Vec<String> {
    let ports: Vec<String> = link.ports().iter().map(u16::to_string).collect();
    worker.direct.column(&format!(
        "SELECT concat_ws(' ', pid, backend_start) FROM pg_stat_activity WHERE client_port IN ({})",
        ports.join(", ")
    ))
}

/// Which of the sessions don't end.
fn left_sessions(worker: &mut Worker<'_>, sessions: &[String]) -> Option<String> {
    let sql = format!(
        "SELECT string_agg(concat_ws(' ', pid, state, query), ', ') FROM pg_stat_activity
         WHERE concat_ws(' ', pid, backend_start) IN ('{}')",
        sessions.join("', '")
    );
    let direct = &mut worker.direct;
    let all_end = within(|| direct.value(&sql).is_empty());
    (!all_end).then(|| direct.value(&sql))
}

/// The records of a statement, each as its identity and its outcome.
fn records(worker: &mut Worker<'_>, family: &Family) -> Vec<[String; 2]> {
    let is_made = "SELECT count(*) FROM pg_database WHERE datname = 'lockkeeper'";
    if worker.direct.value(is_made) == "0" {
        return Vec::new();
    }
    let mut client = Client::connect(worker.server.port(), "lockkeeper", "postgres");
    let answer = client.ok(&format!(
        "SELECT id, coalesce(outcome, '') FROM lockkeeper.audit_log WHERE event ->> 'sql' = $sql${}$sql$",
        family.sql
    ));
    let rows = answer.rows.into_iter();
    rows.map(|row| row.try_into().expect("two columns"))
        .collect()
}

/// Waits until another instance has ended the plan.
fn never_ended(worker: &Worker<'_>) -> Vec<String> {
    let mut journal = Client::connect(worker.server.port(), "lockkeeper", "postgres");
    let unfinished = "SELECT count(*) FROM lockkeeper.plan WHERE ended IS NULL";
    let is_ended = within(|| journal.value(unfinished) == "0");
    let problem = (!is_ended).then(|| "the plan is never ended".to_owned());
    problem.into_iter().collect()
}

/// What another instance has made of it.
fn judge(
    worker: &mut Worker<'_>,
    family: &Family,
    course: &Course,
    done_already: &Answer,
    earlier: &[[String; 2]],
) -> Vec<String> {
    let mut problems = Vec::new();
    let now = worker.snapshot();
    let (from_before, from_finished) = (
        now.difference(&course.before, family.sql),
        now.difference(&course.finished, family.sql),
    );
    let (is_before, is_finished) = (from_before.is_none(), from_finished.is_none());
    if let (Some(before), Some(finished)) = (&from_before, &from_finished) {
        let left = difference(now.schema(), course.before.schema());
        problems.push(format!(
            "is left: {left}; from before: {before}; from the end: {finished}"
        ));
    }
    problems.extend(wrong_records(
        worker,
        family,
        earlier,
        is_before,
        is_finished,
    ));
    problems.extend(open_transactions(worker));
    let is_done = is_finished && !is_before;
    problems.extend(again(
        worker,
        family,
        course,
        is_done.then_some(done_already),
    ));
    problems
}

/// There is one record, and it says what has become of the statement.
fn wrong_records(
    worker: &mut Worker<'_>,
    family: &Family,
    earlier: &[[String; 2]],
    is_before: bool,
    is_finished: bool,
) -> Option<String> {
    let mut new = records(worker, family);
    new.retain(|[id, _]| !earlier.iter().any(|[earlier, _]| earlier == id));
    let outcomes: Vec<&str> = new.iter().map(|[_, outcome]| &**outcome).collect();
    let is_right = match outcomes[..] {
        ["done"] => is_finished,
        ["failed"] => is_before,
        _ => false,
    };
    let schema = match (is_before, is_finished) {
        (true, true) => "the same as ever",
        (true, false) => "as before",
        (false, true) => "as at the end",
        (false, false) => "neither",
    };
    (!is_right).then(|| format!("is recorded as {outcomes:?}, and the schema is {schema}"))
}

fn open_transactions(worker: &mut Worker<'_>) -> Option<String> {
    let open = worker.direct.value(
        "SELECT string_agg(query, ', ') FROM pg_stat_activity
         WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
    );
    (!open.is_empty()).then(|| format!("transactions are open: {open}"))
}

/// The same statement, sent again: it does what it says, or is answered as PostgreSQL does when it is done already.
fn again(
    worker: &mut Worker<'_>,
    family: &Family,
    course: &Course,
    done_already: Option<&Answer>,
) -> Option<String> {
    let frames = worker.session().0.query(family.sql);
    if let Some(expected) = done_already {
        let (ours, theirs) = (said(&frames), said_directly(expected));
        return (ours != theirs).then(|| format!("the same again says {ours:?}, not {theirs:?}"));
    }
    if one_reply(&frames) != "CZ" {
        return Some(format!("the same again fails: {:?}", said(&frames)));
    }
    let now: Snapshot = worker.snapshot();
    let difference = now.difference(&course.finished, family.sql);
    difference.map(|difference| format!("the same again ends differently: {difference}"))
}

/// Command tags, SQLSTATE and message.
fn said(frames: &[Frame]) -> (Vec<String>, String, String) {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    let message = error.map_or_else(String::new, |error| error.field(b'M'));
    (commands(frames), sqlstate(frames), message)
}

/// The same of what the server itself says.
fn said_directly(answer: &Answer) -> (Vec<String>, String, String) {
    let message = answer.error.as_ref().map(|error| error.message.clone());
    (
        answer.tags.clone(),
        answer.sqlstate().to_owned(),
        message.unwrap_or_default(),
    )
}
