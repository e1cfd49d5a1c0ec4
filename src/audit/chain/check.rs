//! Checks a chain, line by line.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;

use super::{END, Hash, START, opened};

/// Problems that are kept of a file; of more only the number is.
const MAX_PROBLEMS: usize = 20;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It has no hash, and no start event accounts for it.
    NoHash,
    /// Its hash isn't that of the line and the one before.
    Changed,
    /// It stands there twice.
    Twice,
    /// It follows from the line before the last.
    Added,
    /// Its hash is right, but it isn't an object of JSON.
    NotJson,
    /// A file's first line is no start event.
    NoStart,
    /// A start event continues another line than the one before it.
    Continuation {
        /// What it continues.
        continues: Hash,
        /// The hash of the line before it.
        before: Hash,
    },
    /// A start event doesn't account for so many bytes before it.
    Torn {
        /// What it accounts for.
        said: u64,
        /// What is there.
        found: u64,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::NoHash => f.write_str(
                "has no hash: cut off, or written by something else than lockkeeper",
            ),
            Wrong::Changed => f.write_str(
                "doesn't follow from the line before: it was changed, or one before it is missing, changed or moved",
            ),
            Wrong::Twice => f.write_str("stands there twice"),
            Wrong::Added => {
                f.write_str("follows from the line before the last one: that one was put in")
            }
            Wrong::NotJson => f.write_str("isn't a JSON object"),
            Wrong::NoStart => f.write_str("isn't a start event: the file's beginning is missing"),
            Wrong::Continuation { continues, before } => write!(
                f,
                "continues {continues}, but what is before it ends with {before}: lines between them are missing, or \
                 the order is wrong"
            ),
            Wrong::Torn { said, found } => write!(
                f,
                "accounts for {said} torn bytes before it, but there are {found}"
            ),
        }
    }
}

/// A line that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What a file's lines come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// All lines.
    pub lines: u64,
    /// Those of the chain.
    pub chained: u64,
    /// Those that a start event accounts for as torn, and one at the end that isn't whole.
    pub torn: u64,
    /// The first of them.
    pub first_torn: Option<u64>,
    /// Those before the chain begins.
    pub unchained: u64,
    /// `time` of the first line of the chain.
    pub first_time: Option<String>,
    /// `time` of the last one.
    pub last_time: Option<String>,
    /// What the first one continues.
    pub continues: Option<Hash>,
    /// The hash of the last one.
    pub last: Option<Hash>,
    /// The last one is an end event.
    pub is_ended: bool,
    /// The checkpoint was found: the file continues it, or has it.
    pub has_checkpoint: bool,
    /// What is wrong, the first of it.
    pub problems: Vec<Problem>,
    /// How much more is.
    pub more_problems: u64,
    /// The hashes of end events.
    ends: HashSet<Hash>,
    /// What start events say of the file that their program has left, by their lines.
    left: Vec<(u64, Hash)>,
    /// The hashes of all lines.
    seen: HashSet<Hash>,
}

/// How a file follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// It continues the other's last line.
    Whole,
    /// It continues an end event after which another program went on in the old file, and never came to the new one:
    /// nothing in the new one vouches for those lines.
    Overhang,
}

impl Checked {
    /// Whether this file follows another.
    ///
    /// # Errors
    /// It continues something else.
    pub fn follows(&self, before: &Checked) -> Result<Joint, Wrong> {
        let (Some(continues), Some(last)) = (self.continues, before.last) else {
            return Ok(Joint::Whole); // one of them is empty
        };
        if continues == last {
            return Ok(Joint::Whole);
        }
        if !before.ends.contains(&continues) {
            return Err(Wrong::Continuation {
                continues,
                before: last,
            });
        }
        Ok(if self.left.iter().any(|(_, left)| *left == last) {
            Joint::Whole
        } else {
            Joint::Overhang
        })
    }

    /// Start events of a program that has left a file with a line which is neither in these files nor in this one.
    pub fn strays<'a>(&'a self, before: &'a [Checked]) -> impl Iterator<Item = (u64, Hash)> + 'a {
        let is_known = move |left: &Hash| {
            let mut files = before.iter().chain([self]);
            files.any(|file| file.seen.contains(left))
        };
        let left = self.left.iter().copied();
        left.filter(move |(_, left)| *left != Hash::NONE && !is_known(left))
    }

    fn add(&mut self, line: u64, wrong: Wrong) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { line, wrong });
        } else {
            self.more_problems += 1;
        }
    }
}

/// The members of a line that the chain is about.
#[derive(Debug, Default, Deserialize)]
struct Members {
    event: Option<String>,
    time: Option<String>,
    continues: Option<Hash>,
    left: Option<Hash>,
    torn_bytes: Option<u64>,
}

/// Lines without a hash that the next start event may account for.
#[derive(Debug, Clone, Copy)]
struct Gap {
    first: u64,
    lines: u64,
    /// With the newlines between them.
    bytes: u64,
    /// The last of them has a newline.
    is_ended: bool,
}

/// A check under way.
#[derive(Debug, Default)]
pub struct Check {
    checked: Checked,
    checkpoint: Option<Hash>,
    /// The hash of the line before the last.
    last_but_one: Option<Hash>,
    gap: Option<Gap>,
}

impl Check {
    /// Of a file in which a checkpoint is looked for, if there is one.
    pub fn new(checkpoint: Option<Hash>) -> Check {
        Check {
            checkpoint,
            ..Check::default()
        }
    }

    /// The next line, without its newline; `is_ended` when it had one.
    pub fn line(&mut self, line: &[u8], is_ended: bool) {
        self.checked.lines += 1;
        let number = self.checked.lines;
        let Some((open, hash)) = opened(line) else {
            // What is torn is never whole: its hash would have been its last member.
            let is_whole = line.starts_with(b"{")
                && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            if is_whole && self.checked.chained > 0 {
                self.checked.add(number, Wrong::NoHash);
            }
            let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
            self.gap = Some(match self.gap {
                None => Gap {
                    first: number,
                    lines: 1,
                    bytes,
                    is_ended,
                },
                Some(gap) => Gap {
                    lines: gap.lines + 1,
                    bytes: gap.bytes.saturating_add(bytes).saturating_add(1),
                    is_ended,
                    ..gap
                },
            });
            return;
        };
        let members = serde_json::from_slice::<Members>(line);
        if members.is_err() {
            self.checked.add(number, Wrong::NotJson);
        }
        let members = members.unwrap_or_default();
        let is_start = members.event.as_deref() == Some(START);
        self.close_gap(number, members.torn_bytes.filter(|_| is_start));
        match members.continues.filter(|_| is_start) {
            Some(continues) => self.start(number, (open, hash), continues),
            None => self.follow(number, (open, hash)),
        }
        self.note(hash, members);
    }

    /// What all of it comes to.
    pub fn finish(mut self) -> Checked {
        match self.gap {
            // A crash, and nobody has opened the file since.
            Some(gap) if !gap.is_ended => self.torn(gap.first, gap.lines),
            Some(_) | None => self.close_gap(self.checked.lines, None),
        }
        self.checked
    }

    fn start(&mut self, number: u64, (open, hash): (&[u8], Hash), continues: Hash) {
        match self.checked.last {
            Some(last) if last == hash => return self.checked.add(number, Wrong::Twice),
            Some(before) if before != continues => {
                let wrong = Wrong::Continuation { continues, before };
                self.checked.add(number, wrong);
            }
            Some(_) => {}
            None => {
                self.checked.continues = Some(continues);
                self.checked.has_checkpoint |= self.checkpoint == Some(continues);
            }
        }
        if Hash::over(&continues, open, b"}") != hash {
            self.checked.add(number, Wrong::Changed);
        }
    }

    fn follow(&mut self, number: u64, (open, hash): (&[u8], Hash)) {
        let Some(last) = self.checked.last else {
            return self.checked.add(number, Wrong::NoStart);
        };
        let is_over = |before: &Hash| Hash::over(before, open, b"}") == hash;
        if last == hash {
            self.checked.add(number, Wrong::Twice);
        } else if !is_over(&last) {
            let is_added = self.last_but_one.as_ref().is_some_and(is_over);
            let wrong = if is_added {
                Wrong::Added
            } else {
                Wrong::Changed
            };
            self.checked.add(number, wrong);
        }
    }

    /// Goes on from a line as it says it is, whatever is wrong with it, so that more can be found.
    fn note(&mut self, hash: Hash, members: Members) {
        let checked = &mut self.checked;
        checked.chained += 1;
        checked.has_checkpoint |= self.checkpoint == Some(hash);
        checked.is_ended = members.event.as_deref() == Some(END);
        if checked.is_ended {
            checked.ends.insert(hash);
        }
        checked.seen.insert(hash);
        let line = checked.lines;
        checked.left.extend(members.left.map(|left| (line, left)));
        if let Some(time) = members.time {
            checked.first_time.get_or_insert_with(|| time.clone());
            checked.last_time = Some(time);
        }
        self.last_but_one = checked.last.replace(hash);
    }

    fn close_gap(&mut self, number: u64, said: Option<u64>) {
        match (self.gap.take(), said) {
            (None, None) => {}
            (None, Some(said)) => self.checked.add(number, Wrong::Torn { said, found: 0 }),
            (Some(gap), None) => self.checked.add(gap.first, Wrong::NoHash),
            (Some(gap), Some(said)) if gap.bytes != said => {
                let found = gap.bytes;
                self.checked.add(number, Wrong::Torn { said, found });
            }
            (Some(gap), Some(_)) if self.checked.chained == 0 => {
                self.checked.unchained = gap.lines;
            }
            (Some(gap), Some(_)) => self.torn(gap.first, gap.lines),
        }
    }

    fn torn(&mut self, first: u64, lines: u64) {
        self.checked.torn += lines;
        self.checked.first_torn.get_or_insert(first);
        self.checked.is_ended = false;
    }
}
