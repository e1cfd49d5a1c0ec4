//! Writes events as JSON lines, from a thread of its own: a slow disk delays no session.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use super::event::Event;

/// Events that may wait for the disk; more are logged as lost.
const BACKLOG: usize = 4096;

/// Where events go. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AuditLog {
    sender: Option<SyncSender<Message>>,
    second: Option<tokio::sync::mpsc::Sender<Box<Event>>>,
}

#[derive(Debug)]
enum Message {
    Event(Box<Event>),
    Flush(SyncSender<()>),
    Reopen,
}

impl AuditLog {
    /// Opens the file for appending, readable by its owner only.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<AuditLog> {
        let file = open(path)?;
        let (sender, receiver) = sync_channel(BACKLOG);
        let path = path.to_owned();
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(file, &receiver, &path))?;
        Ok(AuditLog {
            sender: Some(sender),
            second: None,
        })
    }

    /// The same, which tells somebody else as well.
    #[must_use]
    pub fn and_to(self, second: tokio::sync::mpsc::Sender<Box<Event>>) -> AuditLog {
        AuditLog {
            second: Some(second),
            ..self
        }
    }

    /// Records an event here and there.
    pub fn record(&self, event: Event) {
        if let Some(second) = &self.second
            && second.try_send(Box::new(event.clone())).is_err()
        {
            crate::metrics::audit_event_lost();
            tracing::error!("an audit event was lost: the operator's database can't be written fast enough");
        }
        self.record_here(event);
    }

    /// Records an event: in the program's log always, in the file when there is one.
    pub fn record_here(&self, event: Event) {
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
        let Some(sender) = &self.sender else { return };
        match sender.try_send(Message::Event(Box::new(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                metrics::counter!("lockkeeper_audit_events_lost_total").increment(1);
                tracing::error!(
                    "an audit event was lost: the audit file can't be written fast enough, or at all"
                );
            }
        }
    }

    /// Why the file can't be written now, if so.
    pub fn failure(&self) -> Option<String> {
        None
    }

    /// Opens the file again, by its name: what was recorded so far goes into the old one. For
    /// programs that move log files away.
    pub fn reopen(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(Message::Reopen); // its thread has ended: so has the program
        }
    }

    /// Waits until everything recorded so far is in the file.
    pub fn flush(&self) {
        let Some(sender) = &self.sender else { return };
        let (done, wait) = sync_channel(1);
        if sender.send(Message::Flush(done)).is_ok() {
            // A file that can't be written must not keep the program from ending.
            let _ = wait.recv_timeout(Duration::from_secs(5));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

fn write_all(mut file: File, receiver: &Receiver<Message>, path: &Path) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Event(event) => {
                let written = serde_json::to_vec(&event)
                    .map_err(io::Error::from)
                    .and_then(|mut line| {
                        line.push(b'\n');
                        file.write_all(&line)
                    });
                if let Err(error) = written {
                    metrics::counter!("lockkeeper_audit_events_lost_total").increment(1);
                    tracing::error!(file = %path.display(), %error, "the audit file can't be written");
                }
            }
            Message::Flush(done) => drop(done.send(())),
            Message::Reopen => match open(path) {
                Ok(reopened) => file = reopened,
                Err(error) => {
                    tracing::error!(
                        file = %path.display(), %error,
                        "the audit file can't be opened again: the old one is written on"
                    );
                }
            },
        }
    }
}

/// The time now, as events have it.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
