//! How long the transactions last that use a table, learned by looking: when to ask for a lock on
//! it. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Ended transactions that are remembered of a table.
const REMEMBERED: usize = 256;
/// With fewer nothing is known.
const ENOUGH: usize = 8;
/// On a table of which nothing is known, older transactions are in the way.
pub const QUIET_AGE: Duration = Duration::from_millis(10);

/// What was seen of a table's transactions.
#[derive(Debug, Default)]
pub struct Ages {
    /// Transactions under way by process and beginning: how old each was when last seen.
    open: HashMap<(u32, i64), f64>,
    /// How long ended ones lasted, in milliseconds, and how many others each stands for.
    ended: VecDeque<(f64, f64)>,
    last_ms: Option<i64>,
}

impl Ages {
    /// A look at `at_ms`: these transactions use the table, by process and beginning.
    ///
    /// Who looks now and then sees a long transaction for certain, and a short one by luck: each
    /// short one seen stands for the many that weren't.
    pub fn note(&mut self, at_ms: i64, open: impl IntoIterator<Item = (u32, i64)>) {
        let since = self.last_ms.map_or(0, |last| at_ms.saturating_sub(last));
        let interval = milliseconds(since).max(1.0);
        self.last_ms = Some(at_ms);
        let before = std::mem::take(&mut self.open);
        self.open = open
            .into_iter()
            .map(|key| (key, milliseconds(at_ms.saturating_sub(key.1))))
            .collect();
        for (key, age) in before {
            if self.open.contains_key(&key) {
                continue;
            }
            // Seen once, it was half-way on average; seen often, it ended between two looks.
            let lasted = (age * 2.0).min(age + interval / 2.0).max(1.0);
            let stands_for = (interval / lasted).max(1.0);
            self.ended.push_back((lasted, stands_for));
            if self.ended.len() > REMEMBERED {
                self.ended.pop_front();
            }
        }
    }

    /// Enough was seen to tell something.
    pub fn is_known(&self) -> bool {
        self.ended.len() >= ENOUGH
    }

    /// How likely a transaction of that age ends within that time; `None` when nothing is known.
    pub fn chance(&self, age: Duration, within: Duration) -> Option<f64> {
        if !self.is_known() {
            return None;
        }
        let age = age.as_secs_f64() * 1000.0;
        let until = age + within.as_secs_f64() * 1000.0;
        let weigh = |is_one: &dyn Fn(f64) -> bool| -> f64 {
            let these = self.ended.iter().filter(|(lasted, _)| is_one(*lasted));
            these.map(|(_, weight)| weight).sum()
        };
        let as_old = weigh(&|lasted| lasted > age);
        if as_old == 0.0 {
            return Some(0.0); // older than any that was seen
        }
        Some(weigh(&|lasted| lasted > age && lasted <= until) / as_old)
    }

    /// Twice what 99 of 100 transactions last at most, and no less than [`QUIET_AGE`]: who is older
    /// won't end soon.
    pub fn look_age(&self) -> Option<Duration> {
        if !self.is_known() {
            return None;
        }
        let mut ended: Vec<(f64, f64)> = self.ended.iter().copied().collect();
        ended.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all: f64 = ended.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let p99 = ended.iter().find(|(_, weight)| {
            sum += weight;
            sum >= all * 0.99
        });
        let (lasted, _) = p99.or(ended.last())?;
        Some(Duration::from_secs_f64(lasted * 2.0 / 1000.0).max(QUIET_AGE))
    }
}

/// Lossless for any span of time that a server can have been up.
fn milliseconds(span: i64) -> f64 {
    let span = i32::try_from(span.max(0)).unwrap_or(i32::MAX);
    f64::from(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks each 50 ms at transactions of 150 ms, one after the other.
    fn of_150_ms() -> Ages {
        let mut ages = Ages::default();
        for look in 0..400_i64 {
            let at = 1_000_000 + look * 50;
            ages.note(at, [(7, at - at % 150)]);
        }
        ages
    }

    #[test]
    fn nothing_is_known_of_a_table_that_nobody_was_seen_in() {
        let ages = Ages::default();
        assert_eq!(ages.chance(ms(1), ms(100)), None);
        assert_eq!(ages.look_age(), None);
    }

    #[test]
    fn a_transaction_that_is_nearly_over_ends_soon() {
        let ages = of_150_ms();
        assert!(ages.chance(ms(90), ms(90)) > Some(0.9));
        assert!(ages.chance(ms(5), ms(90)) < Some(0.1));
        assert_eq!(ages.chance(ms(4000), ms(90)), Some(0.0));
        let look_age = ages.look_age().unwrap_or_default();
        assert!(look_age > ms(200) && look_age < ms(400), "{look_age:?}");
    }

    /// Of 100 transactions 10 last 150 ms and the others 2 ms: looks see mostly the long ones.
    #[test]
    fn short_ones_count_for_those_that_were_not_seen() {
        let mut ages = Ages::default();
        let (mut at, mut plan) = (0_i64, Vec::new());
        for number in 0..2000_u32 {
            let lasts = if number % 10 == 0 { 150 } else { 2 };
            plan.push((number, at, at + lasts));
            at += lasts + 1;
        }
        for look in 0..at / 50 {
            let now = look * 50;
            let open = plan
                .iter()
                .filter(|(_, from, to)| (*from..*to).contains(&now));
            ages.note(
                now,
                open.map(|(pid, from, _)| (*pid, *from)).collect::<Vec<_>>(),
            );
        }
        assert!(ages.chance(ms(0), ms(90)) > Some(0.6), "{ages:?}");
        assert!(ages.chance(ms(10), ms(90)) < Some(0.2), "{ages:?}");
    }
}
