//! How much a batch does, and how far the fill is.

use std::time::Duration;

/// Rows of the first batch.
const FIRST_ROWS: u64 = 500;
/// The fewest rows of a batch. It has no limit in time: somehow it must go on.
const LEAST_ROWS: u64 = 16;
/// The most: a session keeps no more rows of an answer.
const MOST_ROWS: u64 = 10_000;
/// Rows in a block of a table of which nothing is known.
const USUAL_ROWS_IN_BLOCK: u64 = 50;
/// The most blocks whose places are named one by one.
const MOST_NAMED_BLOCKS: u64 = 64;

/// How many rows, or blocks, a batch goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) units: u64,
    least: u64,
    most: u64,
}

impl Size {
    /// Of batches of rows.
    pub(super) fn rows() -> Size {
        Size {
            units: FIRST_ROWS,
            least: LEAST_ROWS,
            most: MOST_ROWS,
        }
    }

    /// Of batches of blocks of a table with so many rows in so many blocks.
    pub(super) fn blocks(rows: Option<u64>, blocks: u64, has_ranges: bool) -> Size {
        let rows_in_block = match rows {
            Some(rows) if blocks > 0 => (rows / blocks).max(1),
            Some(_) | None => USUAL_ROWS_IN_BLOCK,
        };
        let most = (MOST_ROWS / rows_in_block).max(1);
        let most = if has_ranges {
            most
        } else {
            most.min(MOST_NAMED_BLOCKS)
        };
        Size {
            units: (FIRST_ROWS / rows_in_block).clamp(1, most),
            least: 1,
            most,
        }
    }

    /// It can't be smaller.
    pub(super) fn is_least(&self) -> bool {
        self.units <= self.least
    }

    /// After a batch that took too long, or met somebody.
    pub(super) fn halve(&mut self) {
        self.units = (self.units / 2).max(self.least);
    }

    /// After a batch that went through so many units in that time: towards `target`, at most twofold.
    pub(super) fn adapt(&mut self, done: u64, took: Duration, target: Duration) {
        let ideal = u128::from(done) * target.as_micros() / took.as_micros().max(1);
        let ideal = u64::try_from(ideal).unwrap_or(u64::MAX);
        let near = ideal.clamp(self.units / 2, self.units.saturating_mul(2));
        self.units = near.clamp(self.least, self.most);
    }
}

/// A number with commas: `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How far a fill is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Units that were gone through, in all and since it began or went on.
    pub(super) seen: u64,
    pub(super) seen_now: u64,
    /// Units in all, when that is known or estimated.
    pub(super) total: Option<u64>,
    /// Time since it began or went on.
    pub(super) took: Duration,
}

impl Course {
    /// Per cent done; an estimate never says that it is at the end.
    pub(super) fn percent(&self) -> Option<u64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((u128::from(self.seen) * 100 / u128::from(total)).min(99) as u64)
    }

    /// Units in a second.
    pub(super) fn rate(&self) -> u64 {
        let rate = u128::from(self.seen_now) * 1000 / self.took.as_millis().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// How long the rest takes at that rate, in whole seconds.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let left = self.total?.checked_sub(self.seen)?;
        let rate = self.rate();
        (rate > 0).then(|| Duration::from_secs(left.div_ceil(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_batch_grows_at_most_twofold_and_shrinks_by_half() {
        let mut size = Size::rows();
        let first = size.units;
        size.adapt(first, MS, 50 * MS);
        assert_eq!(size.units, first * 2);
        size.adapt(size.units, 75 * MS, 50 * MS);
        assert_eq!(size.units, first * 4 / 3);
        size.adapt(size.units, 5000 * MS, 50 * MS);
        assert_eq!(size.units, first * 2 / 3);
        for _ in 0..30 {
            size.halve();
        }
        assert!(size.is_least() && size.units == LEAST_ROWS);
        for _ in 0..30 {
            size.adapt(size.units, Duration::ZERO, 50 * MS);
        }
        assert_eq!(size.units, MOST_ROWS);
    }

    #[test]
    fn blocks_hold_about_as_many_rows() {
        assert_eq!(Size::blocks(Some(10_000), 100, true).units, 5);
        assert_eq!(Size::blocks(Some(10), 1000, true).units, 500);
        assert_eq!(Size::blocks(None, 0, true).units, 10);
        assert_eq!(Size::blocks(Some(10), 1000, false).units, MOST_NAMED_BLOCKS);
        assert!(Size::blocks(Some(291_000), 1000, true).units >= 1);
    }

    #[test]
    fn its_course_is_told() {
        let course = Course {
            seen: 1_500_000,
            seen_now: 500_000,
            total: Some(2_000_000),
            took: Duration::from_secs(10),
        };
        assert_eq!((course.percent(), course.rate()), (Some(75), 50_000));
        assert_eq!(course.remaining(), Some(Duration::from_secs(10)));
        let unknown = Course {
            total: None,
            ..course
        };
        assert_eq!((unknown.percent(), unknown.remaining()), (None, None));
        let beyond = Course {
            seen: 3_000_000,
            ..course
        };
        assert_eq!((beyond.percent(), beyond.remaining()), (Some(99), None));
        assert_eq!(
            (grouped(0), grouped(1234567)),
            ("0".into(), "1,234,567".into())
        );
        assert_eq!(grouped(123), "123");
    }
}
