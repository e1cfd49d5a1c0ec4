//! `backfill`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::plan::backfill::Pace;

/// `backfill`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Backfill {
    /// It pauses while a standby is further behind; zero for never.
    #[serde(with = "humantime_serde")]
    pub max_lag: Duration,
    /// The part of the time that it works, above 0 and up to 1.
    pub duty: f64,
}

impl Default for Backfill {
    fn default() -> Self {
        Backfill {
            max_lag: Duration::from_secs(10),
            duty: 0.5,
        }
    }
}

impl Backfill {
    /// Refuses what can't be.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (0.01..=1.0).contains(&self.duty) {
            return Ok(());
        }
        Err(ConfigError::BadValue(
            "`backfill.duty` must be between 0.01 and 1: it is the part of the time that a fill works".to_owned(),
        ))
    }

    /// As the executor takes it.
    pub fn pace(&self) -> Pace {
        Pace {
            max_lag: self.max_lag,
            duty: self.duty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_holds_the_defaults() {
        let text = include_str!("../../config/lockkeeper.toml");
        let section = text.split("\n[backfill]\n").nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        for line in ["max_lag = \"10s\"", "duty = 0.5"] {
            assert!(section.contains(line), "{line}");
        }
        let default = Backfill::default();
        assert_eq!((default.max_lag.as_secs(), default.duty), (10, 0.5));
        assert!(default.check().is_ok());
    }

    #[test]
    fn the_duty_is_a_part_of_the_time() {
        for (duty, is_fine) in [
            (0.01, true),
            (1.0, true),
            (0.0, false),
            (1.1, false),
            (f64::NAN, false),
        ] {
            let backfill = Backfill {
                duty,
                ..Backfill::default()
            };
            assert_eq!(backfill.check().is_ok(), is_fine, "{duty}");
        }
    }
}
