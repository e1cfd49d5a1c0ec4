//! What a client is told of a concurrent build, and when: at 2 s, then each 10 s, and when it comes
//! to another phase. Pure.

use std::time::Duration;

use super::operator::progress::Build;
use super::wait::{FIRST_NOTICE, NOTICE_INTERVAL};
use crate::plan::words::seconds;

/// How often the build is looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The least time between two NOTICEs.
const PHASE_INTERVAL: Duration = Duration::from_secs(1);

/// Decides what is told.
#[derive(Debug, Default)]
pub struct Watchdog {
    told_at: Option<Duration>,
    phase: String,
}

impl Watchdog {
    /// The NOTICE that is due `elapsed` after the build began, with its detail.
    pub fn notice(&mut self, build: &Build, elapsed: Duration) -> Option<(String, String)> {
        let is_due = match self.told_at {
            None => elapsed >= FIRST_NOTICE,
            Some(told) => {
                let since = elapsed.saturating_sub(told);
                let is_new_phase = build.phase != self.phase && since >= PHASE_INTERVAL;
                is_new_phase || since >= NOTICE_INTERVAL
            }
        };
        if !is_due {
            return None;
        }
        self.told_at = Some(elapsed);
        self.phase.clone_from(&build.phase);
        let message = format!("{}, for {} so far", build.words(), seconds(elapsed));
        let detail = if build.waits_for.is_empty() {
            String::new()
        } else {
            format!("It waits for {}.", build.waits_for)
        };
        Some((message, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_at(phase_at: impl Fn(u64) -> &'static str) -> Vec<u64> {
        let mut watchdog = Watchdog::default();
        let mut told = Vec::new();
        for half_seconds in 0..60 {
            let build = Build {
                phase: phase_at(half_seconds).to_owned(),
                ..Build::default()
            };
            let elapsed = Duration::from_millis(half_seconds * 500);
            if watchdog.notice(&build, elapsed).is_some() {
                told.push(half_seconds);
            }
        }
        told
    }

    #[test]
    fn first_at_two_seconds_then_each_ten() {
        assert_eq!(told_at(|_| "building index"), [4, 24, 44]);
    }

    #[test]
    fn a_new_phase_is_told_at_once_but_not_each_of_many() {
        assert_eq!(
            told_at(|at| if at < 10 { "a" } else { "b" }),
            [4, 10, 30, 50]
        );
    }
}
