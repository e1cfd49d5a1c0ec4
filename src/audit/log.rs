//! Writes events as JSON lines, from a thread of its own: a slow disk delays no session. While the file can't be
//! written they wait, and are tried again.

mod file;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use self::file::AuditFile;
use super::event::Event;

/// Events that may wait for the disk; more are logged as lost.
const BACKLOG: usize = 4096;
/// Events that are written at once.
const BATCH: usize = 256;
/// After a failure it is tried again so often.
const RETRY: Duration = Duration::from_secs(1);
/// A file that can't be written must not keep the program from ending for longer.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where events go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    file: Option<Arc<Handle>>,
    onward: Option<mpsc::Sender<Box<Event>>>,
}

/// What its thread is told by; the thread ends with the last one.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|state| state.is_closing = true);
    }
}

/// What is between those that record and the thread that writes.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do.
    wake: Condvar,
    /// Something was done.
    done: Condvar,
    is_failing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Box<Event>>,
    /// Events that were accepted, ever.
    accepted: u64,
    /// Those of them that are in the file, on the disk.
    written: u64,
    /// The file is to be opened again once so many are in the old one.
    reopen_after: Option<u64>,
    is_closing: bool,
    has_ended: bool,
    failure: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.wake.notify_all();
        self.done.notify_all();
    }

    /// Waits until it is so, for [`LAST_WORDS`] at most.
    fn wait(&self, is_so: impl Fn(&State) -> bool) -> bool {
        let waited = self
            .done
            .wait_timeout_while(self.lock(), LAST_WORDS, |state| !is_so(state));
        is_so(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Notes whether the file can be written, and says so when that changes.
    fn tell(&self, path: &Path, failure: Option<String>) {
        let mut state = self.lock();
        if state.failure == failure {
            return;
        }
        let file = path.display();
        match &failure {
            Some(why) => tracing::error!(
                %file,
                "the audit file can't be written, events wait: {why}"
            ),
            None => tracing::info!(%file, "the audit file is written again"),
        }
        self.is_failing.store(failure.is_some(), Ordering::Release);
        state.failure = failure;
    }
}

impl AuditLog {
    /// Opens the file for appending, readable by its owner only, and writes a start event. That this can't be written
    /// now is no error: it is tried again, and [`AuditLog::failure`] says why.
    ///
    /// # Errors
    /// What the system says: it can't be opened, or isn't an audit file.
    pub fn open(path: &Path) -> io::Result<AuditLog> {
        let mut file = AuditFile::open(path)?;
        let shared = Arc::new(Shared::default());
        let started = file.append(&[], &now()).result.and_then(|()| file.sync());
        match started {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            Err(error) => shared.tell(path, Some(error.to_string())),
            Ok(()) => {}
        }
        let writer = Writer {
            path: path.to_owned(),
            file,
            shared: Arc::clone(&shared),
            objects: VecDeque::new(),
            taken: 0,
            unopened: None,
        };
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())?;
        Ok(AuditLog {
            file: Some(Arc::new(Handle(shared))),
            onward: None,
        })
    }

    /// This log, which also sends each event on.
    #[must_use]
    pub fn and_to(self, sender: mpsc::Sender<Box<Event>>) -> AuditLog {
        AuditLog {
            onward: Some(sender),
            ..self
        }
    }

    /// Records an event: in the program's log always, in the file when there is one, and sends it on where it is to be
    /// sent.
    pub fn record(&self, event: Event) {
        let onward = self
            .onward
            .as_ref()
            .map(|sender| (sender, Box::new(event.clone())));
        self.record_here(event);
        if let Some((sender, event)) = onward
            && sender.try_send(event).is_err()
        {
            lost("it can't be sent on fast enough, or at all");
        }
    }

    /// Records an event in the program's log, and in the file when there is one.
    pub fn record_here(&self, event: Event) {
        log(&event);
        let Some(Handle(shared)) = self.file.as_deref() else {
            return;
        };
        let mut state = shared.lock();
        if state.has_ended || state.events.len() >= BACKLOG {
            drop(state);
            return lost("the audit file can't be written fast enough, or at all");
        }
        state.events.push_back(Box::new(event));
        state.accepted += 1;
        drop(state);
        shared.wake.notify_all();
    }

    /// Opens the file again, by its name, where that names another one now: what was recorded so far goes into the old
    /// one. For programs that move log files away.
    pub fn reopen(&self) {
        if let Some(Handle(shared)) = self.file.as_deref() {
            shared.change(|state| state.reopen_after = Some(state.accepted));
        }
    }

    /// Waits until everything recorded so far is on the disk; 5 s at most.
    pub fn flush(&self) {
        if let Some(Handle(shared)) = self.file.as_deref() {
            let accepted = shared.lock().accepted;
            shared.wait(|state| state.written >= accepted);
        }
    }

    /// Writes what was recorded so far and an end event, and closes the file; waits for it for 5 s at most. What is
    /// recorded later is in the program's log alone.
    pub fn close(&self) {
        let Some(Handle(shared)) = self.file.as_deref() else {
            return;
        };
        shared.change(|state| state.is_closing = true);
        if !shared.wait(|state| state.has_ended) {
            let state = shared.lock();
            let count = state.accepted - state.written;
            tracing::error!(count, "audit events could not be written until the end");
        }
    }

    /// Why the file can't be written, or opened again, if it can't. Cheap.
    pub fn failure(&self) -> Option<String> {
        let Handle(shared) = self.file.as_deref()?;
        if !shared.is_failing.load(Ordering::Acquire) {
            return None;
        }
        shared.lock().failure.clone()
    }
}

fn log(event: &Event) {
    let (windows, opens) = match &event.window {
        Some(window) => (Some(window.to_string()), window.opens.clone()),
        None => (None, None),
    };
    let subject = if event.console {
        "console command"
    } else {
        "schema change"
    };
    tracing::info!(
        target: "lockkeeper::audit",
        tag = event.tag,
        verdict = &*event.verdict,
        rule = event.rule.as_deref(),
        outcome = &*event.outcome,
        because = event.because.as_deref(),
        windows = windows.as_deref(),
        opens = opens.as_deref(),
        user = event.who.user,
        database = event.who.database,
        elapsed_ms = event.elapsed_ms,
        plan = event.plan.as_ref().map(|plan| plan.number),
        "{subject}"
    );
}

fn lost(why: &str) {
    metrics::counter!("lockkeeper_audit_events_lost_total").increment(1);
    tracing::error!("an audit event was lost: {why}");
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    file: AuditFile,
    shared: Arc<Shared>,
    /// Events that are being written.
    objects: VecDeque<Vec<u8>>,
    /// Events taken from the backlog, ever.
    taken: u64,
    /// Why the file can't be opened again.
    unopened: Option<String>,
}

/// What is to be done.
struct Work {
    reopen: bool,
    close: bool,
}

impl Writer {
    fn run(mut self) {
        let mut closing_since = None;
        loop {
            let work = self.wait();
            let result = self.write();
            if work.reopen {
                self.reopen();
            }
            let is_written = result.is_ok() && self.objects.is_empty();
            let result = match result {
                Ok(()) if work.close && is_written => self.file.close(&now()),
                result => result,
            };
            let failure = result.err().map(|error| error.to_string());
            let is_failing = failure.is_some();
            self.shared
                .tell(&self.path, failure.or_else(|| self.unopened.clone()));
            if work.close {
                let since = *closing_since.get_or_insert_with(Instant::now);
                if !is_failing || since.elapsed() >= LAST_WORDS {
                    return self.end();
                }
            }
        }
    }

    /// Waits until there is something to do, or after a failure for a while, and takes events.
    fn wait(&mut self) -> Work {
        let is_failing = self.unopened.is_some() || self.shared.is_failing.load(Ordering::Acquire);
        let mut state = self.shared.lock();
        let is_idle = |state: &mut State| {
            let has_events = !state.events.is_empty() && !is_failing;
            !has_events && state.reopen_after.is_none() && !state.is_closing
        };
        if is_failing {
            // What is new is no reason to try again sooner, but another file is.
            let is_idle = |state: &mut State| state.reopen_after.is_none();
            let waited = self.shared.wake.wait_timeout_while(state, RETRY, is_idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            let waited = self.shared.wake.wait_while(state, is_idle);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let mut room = BATCH.saturating_sub(self.objects.len());
        if let Some(after) = state.reopen_after {
            let before = usize::try_from(after.saturating_sub(self.taken));
            room = room.min(before.unwrap_or(usize::MAX));
        }
        let count = room.min(state.events.len());
        let events: Vec<Box<Event>> = state.events.drain(..count).collect();
        self.taken += count as u64;
        let reopen = state
            .reopen_after
            .is_some_and(|after| is_failing || self.taken >= after);
        if reopen {
            state.reopen_after = None;
        }
        let work = Work {
            reopen: reopen || self.unopened.is_some(),
            close: state.is_closing && state.events.is_empty() && state.reopen_after.is_none(),
        };
        drop(state);
        for event in events {
            match serde_json::to_vec(&event) {
                Ok(object) => self.objects.push_back(object),
                Err(error) => lost(&error.to_string()), // strings and numbers: it can't be
            }
        }
        work
    }

    /// Writes what was taken, as far as the file lets it.
    fn write(&mut self) -> io::Result<()> {
        let is_failing = self.shared.is_failing.load(Ordering::Acquire);
        if self.objects.is_empty() && !is_failing {
            return Ok(());
        }
        let appended = self.file.append(self.objects.make_contiguous(), &now());
        self.objects.drain(..appended.objects);
        let result = appended.result.and_then(|()| self.file.sync());
        let written = self.taken - self.objects.len() as u64;
        if result.is_ok() {
            self.shared.change(|state| state.written = written);
        }
        result
    }

    fn reopen(&mut self) {
        let result = self.file.reopen(&now());
        self.unopened = result.err().map(|error| {
            format!("it can't be opened again, and the old one is written on: {error}")
        });
    }

    fn end(mut self) {
        let left = self.objects.len() + self.shared.lock().events.len();
        self.objects.clear();
        for _ in 0..left {
            lost("the audit file could not be written until the end");
        }
        self.shared.change(|state| state.has_ended = true);
    }
}

/// The time now, as events have it.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
