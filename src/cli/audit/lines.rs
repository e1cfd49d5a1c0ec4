//! The history in an audit file.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::filter::Filter;
use super::show::Recorded;

/// The longest line that is read, in bytes: no event is longer.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Who writes has the file locked for moments: so often is it looked whether it is free, with pauses between.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The name of standard input.
const STDIN: &str = "-";

/// A file's lines.
pub(super) struct Lines {
    file: Box<dyn BufRead>,
    buffer: Vec<u8>,
    name: String,
}

impl Lines {
    /// Those that are there now: what a lockkeeper is just writing isn't read half.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn of(path: &Path) -> Result<Lines, String> {
        let name = path.display().to_string();
        let file: Box<dyn BufRead> = if name == STDIN {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let named = |error: io::Error| format!("{name}: {error}");
            let file = File::open(path).map_err(named)?;
            let is_locked = (0..LOCK_TRIES).any(|_| {
                let result = file.try_lock_shared();
                if matches!(result, Err(TryLockError::WouldBlock)) {
                    thread::sleep(LOCK_PAUSE);
                }
                result.is_ok()
            });
            let found = file.metadata().map_err(named)?;
            if is_locked {
                let _ = file.unlock(); // closing it does that, too
            }
            if found.is_dir() {
                return Err(format!("{name} is a directory: name its files"));
            }
            let length = if found.is_file() {
                found.len()
            } else {
                u64::MAX
            };
            Box::new(BufReader::new(file.take(length)))
        };
        Ok(Lines {
            file,
            buffer: Vec::new(),
            name,
        })
    }

    /// The next one without its newline, and whether it had one.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], bool)>, String> {
        self.buffer.clear();
        let read = (&mut self.file)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|error| format!("{}: {error}", self.name))?;
        if read == 0 {
            return Ok(None);
        }
        let is_ended = self.buffer.ends_with(b"\n");
        if !is_ended && self.buffer.len() as u64 == MAX_LINE_BYTES {
            let mib = MAX_LINE_BYTES >> 20;
            return Err(format!(
                "{}: a line is longer than {mib} MiB: this isn't an audit file",
                self.name
            ));
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        Ok(Some((line, is_ended)))
    }
}

/// The newest events that fit, oldest first.
///
/// # Errors
/// It can't be read, or isn't an audit file.
pub(super) fn read(path: &Path, filter: &Filter) -> Result<Vec<Recorded>, String> {
    let mut lines = Lines::of(path)?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut found = VecDeque::new();
    let (mut read, mut unread) = (0_u64, 0_u64);
    while let Some((line, _)) = lines.next()? {
        let event = serde_json::from_slice::<Value>(line).ok();
        let Some(event) = event.filter(Value::is_object) else {
            unread += 1;
            continue;
        };
        read += 1;
        if !event["event"].is_null() || !filter.fits(&event) {
            continue;
        }
        if found.len() == limit {
            found.pop_front();
        }
        found.push_back(Recorded {
            text: String::from_utf8_lossy(line).into_owned(),
            event,
        });
    }
    let name = path.display();
    if read == 0 && unread > 0 {
        return Err(format!(
            "{name} isn't an audit file: no line of it is a JSON object"
        ));
    }
    if unread > 0 {
        eprintln!(
            "lockkeeper: {unread} lines of {name} can't be read; see lockkeeper audit verify {name}"
        );
    }
    Ok(found.into())
}
