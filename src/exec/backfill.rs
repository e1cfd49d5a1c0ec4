//! Fills rows some at a time. Each batch is a transaction of its own, short enough that nobody waits
//! for its row locks longer than the budget; between batches it rests, and pauses while the server
//! has too much to do.
//!
//! A cursor says what is done: keys up to one of them, or blocks up to one of them. Each row that
//! is there at the beginning gets its value once, even when that is NULL; later ones have the
//! default already. What others change meanwhile stays: a row that they hold is waited for, and one
//! that they filled is left.

mod pace;
mod statements;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::pace::{Course, Size, grouped};
use self::statements::KeyRange;
use super::acquire::{DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE, QUERY_CANCELED, Tries, interrupted};
use super::runner::{Progress, Setup, roll_back, set_timeout};
use super::session::{Command, Moment, Point, Reply, RunError, Session, Stage};
use super::wait::{FIRST_NOTICE, NOTICE_INTERVAL};
use crate::plan::backfill::{Backfill, KeyColumn, Order, Passes};
use crate::plan::words::seconds;

/// SQLSTATE `serialization_failure`: at READ COMMITTED somebody has moved the row to another
/// partition.
const SERIALIZATION_FAILURE: &str = "40001";
/// The first version that finds a range of blocks without reading the others.
const BLOCK_RANGES_VERSION: u32 = 140_000;
/// How often the standbys are looked at while one is too far behind.
const LAG_INTERVAL: Duration = Duration::from_secs(1);
/// How often a table is gone through for what was left.
const MOST_PASSES: u32 = 10;
/// How often a batch is tried again because of a row that went to another partition.
const MOST_MOVES: u32 = 20;
/// A batch aims at this part of the budget: what runs beside it waits for processors and disks as well.
const TARGET_SHARE: u32 = 4;
/// Commands of a transaction before its own.
const PREAMBLE: usize = 3;

/// How far a fill is: with it another session can go on where one stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackfillCursor {
    /// What is done; nothing when missing.
    pub done: Option<Mark>,
    /// Where it ends: what comes behind has the default already.
    pub end: Option<Mark>,
    /// Which time it goes through the table, from 0.
    pub pass: u32,
    /// Keys or blocks that were gone through, this time.
    pub seen: u64,
    /// Rows that were filled, this time.
    pub filled: u64,
    /// Rows that were filled, all times together.
    pub filled_in_all: u64,
    /// For how many of those the value was NULL.
    pub empty: u64,
}

/// A place in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Up to and with this key, as texts.
    Key(Vec<String>),
    /// Up to this block, without it.
    Block(u64),
}

/// The step that a fill is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its number, from 1.
    pub step: usize,
    /// How many there are.
    pub of: usize,
    /// Its title.
    pub title: &'a str,
}

/// Fills rows from the cursor in `progress` on, which says at each moment what is done; when all is,
/// it is taken out. The answer is a command tag.
///
/// # Errors
/// [`RunError`]: what was filled stays filled.
pub async fn fill<S: Session>(
    session: &mut S,
    backfill: &Backfill,
    place: Place<'_>,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let looks_for_rest = backfill.passes == Passes::UntilNoneIsLeft;
    if !(looks_for_rest && progress.filled_empty) {
        let mut filling = Filling::new(session, backfill, place, setup, progress);
        filling.pass().await?;
        while looks_for_rest && filling.begins_another() {
            filling.pass().await?;
        }
    }
    let cursor = std::mem::take(&mut progress.cursor);
    progress.filled_empty |= cursor.empty > 0;
    Ok(format!("UPDATE {}", cursor.filled_in_all))
}

/// A fill under way.
struct Filling<'a, S> {
    session: &'a mut S,
    backfill: &'a Backfill,
    place: Place<'a>,
    setup: Setup<'a>,
    progress: &'a mut Progress,
    size: Size,
    /// Rows or blocks in all, when that is known.
    total: Option<u64>,
    block_bytes: u64,
    began: Duration,
    seen_before: u64,
}

/// What a batch did.
struct Batch {
    done: Mark,
    /// Keys or blocks.
    units: u64,
    filled: u64,
    empty: u64,
    /// Sessions that waited for it at its end.
    waiters: u64,
    /// The time of the transaction that wrote.
    wrote: Duration,
}

impl<'a, S: Session> Filling<'a, S> {
    fn new(
        session: &'a mut S,
        backfill: &'a Backfill,
        place: Place<'a>,
        setup: Setup<'a>,
        progress: &'a mut Progress,
    ) -> Filling<'a, S> {
        Filling {
            began: session.elapsed(),
            seen_before: progress.cursor.seen,
            session,
            backfill,
            place,
            setup,
            progress,
            size: Size::rows(),
            total: None,
            block_bytes: 0,
        }
    }

    /// Goes through the table once, or from the cursor on.
    async fn pass(&mut self) -> Result<(), RunError> {
        self.survey().await?;
        if self.progress.cursor.end.is_none() {
            return Ok(()); // there are no rows
        }
        loop {
            self.wait_for_standbys().await?;
            let began = self.session.elapsed();
            let Some(batch) = self.batch().await? else {
                return Ok(());
            };
            if batch.waiters == 0 {
                self.size.adapt(
                    batch.units,
                    batch.wrote,
                    self.setup.limits.budget / TARGET_SHARE,
                );
            } else {
                self.size.halve();
            }
            let cursor = &mut self.progress.cursor;
            cursor.done = Some(batch.done);
            cursor.seen += batch.units;
            cursor.filled += batch.filled;
            cursor.filled_in_all += batch.filled;
            cursor.empty += batch.empty;
            let worked = self.session.elapsed().saturating_sub(began);
            self.tell("");
            let rest = self.setup.pace.rest(worked);
            if !rest.is_zero() {
                self.session.sleep(rest).await;
            }
        }
    }

    /// Whether to go through the table once more: while each time less is found. What was NULL in
    /// spite of the default may be so by right.
    fn begins_another(&mut self) -> bool {
        let cursor = &mut self.progress.cursor;
        let again = cursor.filled > 0 && cursor.empty == 0 && cursor.pass + 1 < MOST_PASSES;
        if again {
            *cursor = BackfillCursor {
                pass: cursor.pass + 1,
                filled_in_all: cursor.filled_in_all,
                ..BackfillCursor::default()
            };
            (self.began, self.seen_before) = (self.session.elapsed(), 0);
        }
        again
    }

    /// How large the table is, and where it ends unless the cursor knows.
    async fn survey(&mut self) -> Result<(), RunError> {
        let backfill = self.backfill;
        let mut commands = vec![statements::survey(&backfill.table)];
        if let Order::Key(columns) = &backfill.order {
            commands.push(statements::by_index());
            commands.push(statements::last_key(&backfill.table, columns));
        }
        let mut tries = Tries::new(self.setup.relations, self.setup.limits);
        let replies = loop {
            interrupted(self.session)?;
            let began = self.session.elapsed();
            self.progress.attempts += 1;
            match self.transaction(commands.clone(), None).await {
                Ok(replies) => break replies,
                Err(error) => {
                    let spent = self.session.elapsed().saturating_sub(began);
                    tries
                        .again(self.session, error, spent, self.progress)
                        .await?;
                }
            }
        };
        let found = first_row(&replies, 0);
        let [hides, rows, blocks, block_bytes] = found.as_slice() else {
            let what = format!("{} is gone", backfill.table);
            return Err(RunError::Sql(Box::new(crate::error::check_failed(&what))));
        };
        if hides == "t" {
            let table = backfill.table.to_string();
            return Err(RunError::Sql(Box::new(crate::error::rows_hidden(&table))));
        }
        let rows = rows.parse::<u64>().ok().filter(|rows| *rows > 0);
        let blocks = blocks.parse().unwrap_or(0);
        self.block_bytes = block_bytes.parse().unwrap_or(0);
        let cursor = &mut self.progress.cursor;
        match &backfill.order {
            Order::Key(_) => {
                let last = first_row(&replies, 2);
                if cursor.end.is_none() && !last.is_empty() {
                    cursor.end = Some(Mark::Key(last));
                }
                (self.size, self.total) = (Size::rows(), rows);
            }
            Order::Blocks => {
                let has_ranges = self.has_block_ranges();
                let cursor = &mut self.progress.cursor;
                let end = cursor.end.get_or_insert(Mark::Block(blocks));
                self.total = match end {
                    Mark::Block(end) => Some(*end),
                    Mark::Key(_) => None,
                };
                self.size = Size::blocks(rows, blocks, has_ranges);
            }
        }
        Ok(())
    }

    fn has_block_ranges(&self) -> bool {
        self.setup.settings.version >= BLOCK_RANGES_VERSION
    }

    /// One batch, tried until it is done; `None` when there is none.
    async fn batch(&mut self) -> Result<Option<Batch>, RunError> {
        let mut tries = Tries::new(self.setup.relations, self.setup.limits);
        let mut moves = 0;
        loop {
            interrupted(self.session)?;
            let began = self.session.elapsed();
            let error = match self.try_batch().await {
                Ok(batch) => return Ok(batch),
                Err(error) => error,
            };
            let spent = self.session.elapsed().saturating_sub(began);
            let was_least = self.size.is_least();
            match error.sqlstate() {
                // It would hold its row locks for too long.
                QUERY_CANCELED
                    if !was_least
                        && spent >= self.setup.limits.budget
                        && self.session.interrupt().is_none() =>
                {
                    self.size.halve();
                    self.session.sleep(self.setup.pace.rest(spent)).await;
                }
                SERIALIZATION_FAILURE if moves < MOST_MOVES => {
                    moves += 1;
                    self.session.sleep(spent).await;
                }
                LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED => {
                    self.progress.attempts += 1;
                    self.size.halve();
                    tries
                        .again(self.session, error, spent, self.progress)
                        .await?;
                }
                _ => return Err(error),
            }
        }
    }

    async fn try_batch(&mut self) -> Result<Option<Batch>, RunError> {
        let backfill = self.backfill;
        let cursor = &self.progress.cursor;
        match (&backfill.order, &cursor.end) {
            (Order::Key(columns), Some(Mark::Key(end))) => {
                let (after, end) = (cursor.done.clone(), end.clone());
                let after = match &after {
                    Some(Mark::Key(after)) => Some(after.as_slice()),
                    Some(Mark::Block(_)) | None => None,
                };
                self.try_keys(columns, after, &end).await
            }
            (Order::Blocks, Some(Mark::Block(end))) => {
                let from = match cursor.done {
                    Some(Mark::Block(block)) => block,
                    Some(Mark::Key(_)) | None => 0,
                };
                self.try_blocks(from, *end).await
            }
            (Order::Key(_) | Order::Blocks, _) => Ok(None),
        }
    }

    /// A range of keys: first its end is looked for, then it is filled.
    async fn try_keys(
        &mut self,
        columns: &[KeyColumn],
        after: Option<&[String]>,
        end: &[String],
    ) -> Result<Option<Batch>, RunError> {
        let backfill = self.backfill;
        let range = KeyRange { after, to: end };
        let look = statements::key_after(&backfill.table, columns, range, self.size.units);
        let commands = vec![statements::by_index(), look];
        let replies = self.transaction(commands, None).await?;
        let mut found = first_row(&replies, 1).into_iter();
        let Some(units) = found.next().and_then(|count| count.parse().ok()) else {
            return Ok(None);
        };
        let key: Vec<String> = found.collect();
        let range = KeyRange { after, to: &key };
        let fill = statements::fill_keys(backfill, columns, range);
        self.write(fill, Mark::Key(key.clone()), units)
            .await
            .map(Some)
    }

    async fn try_blocks(&mut self, from: u64, end: u64) -> Result<Option<Batch>, RunError> {
        if from >= end {
            return Ok(None);
        }
        let to = from.saturating_add(self.size.units).min(end);
        let has_ranges = self.has_block_ranges();
        let fill = statements::fill_blocks(self.backfill, (from, to), self.block_bytes, has_ranges);
        self.write(fill, Mark::Block(to), to - from).await.map(Some)
    }

    /// The transaction that writes. Unless it is of the least size it ends with the budget: others
    /// may wait for its row locks.
    async fn write(&mut self, fill: Command, done: Mark, units: u64) -> Result<Batch, RunError> {
        let limit = (!self.size.is_least()).then_some(self.setup.limits.budget);
        let point = Point {
            step: self.place.step,
            moment: Moment::During,
        };
        self.session.reached(point).await;
        let began = self.session.elapsed();
        let commands = vec![statements::by_range(), fill, statements::waiters()];
        let replies = self.transaction(commands, limit).await?;
        let waiters = first_row(&replies, 2);
        let reply = replies.into_iter().nth(1).unwrap_or_default();
        let filled = reply
            .tag
            .rsplit(' ')
            .next()
            .and_then(|rows| rows.parse().ok());
        let is_empty = |row: &&Vec<Option<String>>| {
            row.first()
                .is_some_and(|value| value.as_deref() == Some("t"))
        };
        Ok(Batch {
            done,
            units,
            filled: filled.unwrap_or(0),
            empty: reply.rows.iter().filter(is_empty).count() as u64,
            waiters: waiters
                .first()
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            wrote: self.session.elapsed().saturating_sub(began),
        })
    }

    /// Commands in one transaction, which is rolled back when one of them fails; the answers are
    /// those to the commands.
    async fn transaction(
        &mut self,
        commands: Vec<Command>,
        limit: Option<Duration>,
    ) -> Result<Vec<Reply>, RunError> {
        let limit = limit.map_or_else(
            || "SET LOCAL statement_timeout = 0".to_owned(),
            |limit| set_timeout("LOCAL statement_timeout", limit),
        );
        let mut batch = vec![
            Command::own("BEGIN ISOLATION LEVEL READ COMMITTED"),
            Command::own(set_timeout("LOCAL lock_timeout", self.setup.limits.budget)),
            Command::own(limit),
        ];
        batch.extend(commands);
        batch.push(Command::own("COMMIT"));
        match self.session.run(&batch).await {
            Ok(mut replies) => {
                replies.drain(..PREAMBLE.min(replies.len()));
                Ok(replies)
            }
            Err(RunError::Gone) => Err(RunError::Gone),
            Err(error) => {
                roll_back(self.session).await?;
                Err(error)
            }
        }
    }

    /// Pauses while a standby is too far behind; smaller batches when somebody had to wait.
    async fn wait_for_standbys(&mut self) -> Result<(), RunError> {
        loop {
            interrupted(self.session)?;
            let Some(pressure) = self.session.pressure().await else {
                return Ok(());
            };
            if pressure.waiting_for_us > 0 {
                self.size.halve();
            }
            let most = self.setup.pace.max_lag;
            let lag = pressure.replication_lag.filter(|lag| *lag > most);
            let Some(lag) = lag.filter(|_| !most.is_zero()) else {
                return Ok(());
            };
            let waits_for = format!(
                "waits for a standby that is {} behind (backfill.max_lag is {})",
                seconds(lag),
                seconds(most)
            );
            self.tell(&waits_for);
            self.session.sleep(LAG_INTERVAL).await;
        }
    }

    /// Tells those who look, and from time to time the client.
    fn tell(&mut self, waits_for: &str) {
        let progress = self.described(waits_for);
        let elapsed = self.session.elapsed();
        if elapsed >= self.progress.next_report.unwrap_or(FIRST_NOTICE) {
            self.progress.next_report = Some(elapsed + NOTICE_INTERVAL);
            let title = self.place.title;
            self.session.notice(&format!("{title}: {progress}"), "");
        }
        self.session.stage(Stage::Runs {
            step: self.place.step,
            of: self.place.of,
            title: self.place.title.to_owned(),
            progress,
        });
    }

    fn described(&self, waits_for: &str) -> String {
        let cursor = &self.progress.cursor;
        let course = Course {
            seen: cursor.seen,
            seen_now: cursor.seen.saturating_sub(self.seen_before),
            total: self.total,
            took: self.session.elapsed().saturating_sub(self.began),
        };
        let (unit, about) = match self.backfill.order {
            Order::Key(_) => ("rows", "about "),
            Order::Blocks => ("blocks", ""),
        };
        let of = match self.total {
            Some(total) => format!(" of {about}{}", grouped(total.max(cursor.seen))),
            None => String::new(),
        };
        let mut parts = vec![match course.percent() {
            Some(percent) => format!("{}{of} {unit} ({percent} %)", grouped(cursor.seen)),
            None => format!("{}{of} {unit}", grouped(cursor.seen)),
        }];
        parts.push(format!("{} filled", grouped(cursor.filled_in_all)));
        parts.push(format!("{} {unit}/s", grouped(course.rate())));
        if let Some(remaining) = course.remaining() {
            let remaining = humantime::format_duration(remaining);
            parts.push(format!("about {remaining} left"));
        }
        if !waits_for.is_empty() {
            parts.push(waits_for.to_owned());
        }
        parts.join(", ")
    }
}

/// The first row of an answer; empty without one, or with a NULL in it.
fn first_row(replies: &[Reply], at: usize) -> Vec<String> {
    let row = replies.get(at).and_then(|reply| reply.rows.first());
    let row: Option<Vec<String>> = row.and_then(|row| row.iter().cloned().collect());
    row.unwrap_or_default()
}
