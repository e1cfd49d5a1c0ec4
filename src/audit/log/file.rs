//! The file itself: lines are appended to it whole or not at all, and each one continues the chain.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::audit::chain::{END, End, Hash, SEAL_BYTES, START, Start, Tail, hash_in, seal};

/// How long another program may have the file locked.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
/// How long the lock is slept for at once.
const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// So many bytes at the end are looked at for the last line; when they are too few, more.
const TAILS: [u64; 3] = [64 << 10, 2 << 20, 64 << 20];

/// The audit file, open for appending.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    /// Pipes and devices can't be read back, cut or locked.
    is_regular: bool,
    /// Where this program's knowledge of the file ends.
    end: u64,
    /// The hash of the last line there, or of the last line of the file before.
    last: Hash,
    /// Nothing has been written since it was opened: a start event comes first.
    is_fresh: bool,
    /// Bytes of a line that was torn here, and could not be cut off.
    torn_bytes: u64,
}

/// What came of an attempt to write.
#[derive(Debug)]
pub(super) struct Appended {
    /// So many of the objects are in the file.
    pub(super) objects: usize,
    /// Why not all of them.
    pub(super) result: io::Result<()>,
}

impl AuditFile {
    /// Opens it, readable by its owner only. Nothing is written yet.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path) -> io::Result<AuditFile> {
        AuditFile::open_after(path, Hash::NONE)
    }

    /// Opens the file that follows one that ended with `last`.
    fn open_after(path: &Path, last: Hash) -> io::Result<AuditFile> {
        let is_regular = std::fs::metadata(path).map_or(true, |found| found.is_file());
        let file = OpenOptions::new()
            .read(is_regular)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if is_regular && let Some(directory) = path.parent().filter(|at| *at != Path::new("")) {
            // Its name must outlive a crash, too; not every file system can promise that.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(AuditFile {
            path: path.to_owned(),
            is_regular: file.metadata()?.is_file() && is_regular,
            file,
            end: 0,
            last,
            is_fresh: true,
            torn_bytes: 0,
        })
    }

    /// Whether the path names another file now, or none.
    pub(super) fn was_moved(&self) -> io::Result<bool> {
        let here = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((here.dev(), here.ino()) != (there.dev(), there.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Where the path names another file: ends this one, and goes on there.
    ///
    /// # Errors
    /// That can't be opened: this one is written on.
    pub(super) fn reopen(&mut self, now: &str) -> io::Result<()> {
        if !self.was_moved()? {
            return Ok(());
        }
        let next = AuditFile::open_after(&self.path, self.last)?; // before this one is ended
        if let Err(error) = self.close(now) {
            tracing::warn!(%error, "the audit file that was moved away can't be ended");
        }
        let last = self.last;
        *self = AuditFile { last, ..next };
        Ok(())
    }

    /// Writes an end event, and waits for the disk.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn close(&mut self, now: &str) -> io::Result<()> {
        let event = END;
        let object = serde_json::to_vec(&End { event, time: now })?;
        self.append(&[object], now).result?;
        self.sync()
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.is_regular {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Appends objects, each a line, after a start event where one is due. What could not be written whole is cut off
    /// again.
    pub(super) fn append(&mut self, objects: &[Vec<u8>], now: &str) -> Appended {
        let attempt = |file: &mut AuditFile| {
            let is_deleted = file.is_regular && file.file.metadata()?.nlink() == 0;
            if is_deleted {
                *file = AuditFile::open_after(&file.path, file.last)?;
                tracing::warn!(
                    file = %file.path.display(),
                    "the audit file was deleted: a new one is written"
                );
            }
            file.lock()?;
            let lines = file.lines(objects, now)?;
            Ok(lines)
        };
        let appended = match attempt(self) {
            Ok(lines) => self.write(&lines),
            Err(error) => Appended {
                objects: 0,
                result: Err(error),
            },
        };
        if self.is_regular {
            let _ = self.file.unlock(); // closing the file does it too
        }
        appended
    }

    fn lock(&self) -> io::Result<()> {
        if !self.is_regular {
            return Ok(());
        }
        let asked = Instant::now();
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                // A file system without locks: then nobody has any.
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(());
                }
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK_LIMIT => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        ErrorKind::WouldBlock,
                        "another program has locked it",
                    ));
                }
            }
        }
    }

    /// What is to be written; the lock is held.
    fn lines(&self, objects: &[Vec<u8>], now: &str) -> io::Result<Lines> {
        let before = self.look(now)?;
        let mut lines = Lines {
            from: before.length,
            bytes: Vec::new(),
            ends: Vec::with_capacity(objects.len() + 1),
            starts: 0,
        };
        let mut last = before.last;
        lines.bytes.extend(before.newline.then_some(b'\n'));
        if let Some(object) = before.start {
            last = seal(&last, &object, &mut lines.bytes);
            lines.ends.push((lines.bytes.len(), last));
            lines.starts = 1;
        }
        for object in objects {
            last = seal(&last, object, &mut lines.bytes);
            lines.ends.push((lines.bytes.len(), last));
        }
        Ok(lines)
    }

    /// Looks where the file ends now: what the next line continues, and what comes before it.
    fn look(&self, now: &str) -> io::Result<Before> {
        let (length, tail) = if self.is_regular {
            let length = self.file.metadata()?.len();
            let is_as_left = !self.is_fresh && length == self.end && self.has_own_last()?;
            if is_as_left {
                return Ok(Before::nothing(length, self.last));
            }
            (length, self.tail(length)?)
        } else {
            let torn_bytes = (self.torn_bytes > 0).then_some(self.torn_bytes);
            if !self.is_fresh && torn_bytes.is_none() {
                return Ok(Before::nothing(self.end, self.last));
            }
            let tail = Tail {
                last: None,
                torn_bytes,
                is_ended: torn_bytes.is_none(),
            };
            (self.end, tail)
        };
        let has_grown = !self.is_fresh && length > self.end && self.has_own_last()?;
        let (last, left) = match tail.last {
            Some(last) if self.is_fresh => (last, Some(self.last)),
            Some(last) if has_grown => (last, None),
            // An empty file. Or this program's last line is gone: the start event says what should be there.
            Some(_) | None => (self.last, None),
        };
        let left = left.filter(|left| *left != Hash::NONE);
        let needs_start = !has_grown || tail.torn_bytes.is_some();
        Ok(Before {
            length,
            last,
            newline: !tail.is_ended,
            start: needs_start.then(|| start(now, last, left, tail.torn_bytes)),
        })
    }

    /// Whether the last line that this program knows of is still where it was.
    fn has_own_last(&self) -> io::Result<bool> {
        let mut line = [b'{'; SEAL_BYTES + 2];
        let place = self.end.checked_sub(SEAL_BYTES as u64 + 1);
        let Some(place) = place else {
            return Ok(false);
        };
        match self.file.read_exact_at(&mut line[1..], place) {
            Ok(()) => Ok(hash_in(&line[..=SEAL_BYTES]) == Some(self.last) && line.ends_with(b"\n")),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tail(&self, length: u64) -> io::Result<Tail> {
        for bytes in TAILS {
            let from = length.saturating_sub(bytes);
            let mut buffer = vec![0; usize::try_from(length - from).unwrap_or_default()];
            self.file.read_exact_at(&mut buffer, from)?;
            if let Some(tail) = Tail::of(&buffer, from == 0) {
                return Ok(tail);
            }
        }
        let mib = TAILS[TAILS.len() - 1] >> 20;
        Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("it isn't an audit file: its last {mib} MiB have no line of one; move it away"),
        ))
    }

    fn write(&mut self, lines: &Lines) -> Appended {
        let (written, result) = write_counting(&mut self.file, &lines.bytes);
        let whole = lines.ends.iter().take_while(|(end, _)| *end <= written);
        let whole: Vec<&(usize, Hash)> = whole.collect();
        let bytes = whole.last().map_or(0, |(end, _)| *end);
        if let Some((_, last)) = whole.last() {
            self.last = *last;
            self.is_fresh = false;
            self.torn_bytes = 0;
            self.end = lines.from + bytes as u64;
        }
        if result.is_err() && self.is_regular {
            // Should that fail, too, the line is found torn by whoever writes next.
            let _ = self.file.set_len(lines.from + bytes as u64);
        } else if result.is_err() {
            self.torn_bytes += (written - bytes) as u64;
        }
        Appended {
            objects: whole.len().saturating_sub(lines.starts),
            result,
        }
    }
}

/// Lines to write, and where each ends.
#[derive(Debug)]
struct Lines {
    /// The file's length.
    from: u64,
    bytes: Vec<u8>,
    ends: Vec<(usize, Hash)>,
    /// How many of them are start events.
    starts: usize,
}

/// What the next line comes after.
#[derive(Debug)]
struct Before {
    /// The file's length.
    length: u64,
    /// The hash that is continued.
    last: Hash,
    /// What is there must be ended first.
    newline: bool,
    /// The start event that is due.
    start: Option<Vec<u8>>,
}

impl Before {
    fn nothing(length: u64, last: Hash) -> Before {
        Before {
            length,
            last,
            newline: false,
            start: None,
        }
    }
}

fn start(now: &str, continues: Hash, left: Option<Hash>, torn_bytes: Option<u64>) -> Vec<u8> {
    let start = Start {
        event: START,
        time: now,
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        continues,
        left,
        torn_bytes,
    };
    serde_json::to_vec(&start).unwrap_or_default() // plain strings and numbers
}

/// Writes as much as can be written; how much, and why not more.
fn write_counting(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
