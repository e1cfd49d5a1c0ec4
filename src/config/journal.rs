//! Settings of the journal, of plans that have lost their client, and of the record.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `journal`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct JournalSettings {
    /// How long a lockkeeper may be silent before another one takes its plans over.
    #[serde(with = "humantime_serde")]
    pub takeover: Duration,
    /// How long plans that have ended are kept.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

/// `plan`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct PlanSettings {
    /// How long an online build goes on that has lost its client.
    #[serde(with = "humantime_serde")]
    pub orphan_ttl: Duration,
}

/// `audit`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Audit {
    /// JSON-lines file; none when missing.
    pub file: Option<PathBuf>,
    /// How long events stay in the operator's database.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// What becomes of schema changes that can't be recorded.
    pub on_failure: OnFailure,
}

/// What becomes of schema changes that can't be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// They fail.
    #[default]
    Refuse,
    /// They run all the same.
    Continue,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for JournalSettings {
    fn default() -> Self {
        JournalSettings {
            takeover: Duration::from_secs(10),
            keep: 30 * DAY,
        }
    }
}

impl Default for PlanSettings {
    fn default() -> Self {
        PlanSettings {
            orphan_ttl: Duration::from_secs(600),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            file: None,
            keep: 400 * DAY,
            on_failure: OnFailure::Refuse,
        }
    }
}

impl JournalSettings {
    /// Refuses what would have lockkeepers take plans from each other that are well.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.takeover < Duration::from_millis(500) || self.takeover > Duration::from_secs(3600) {
            return Err(ConfigError::BadValue(
                "`journal.takeover` must be between 500ms and 1h: so long may a lockkeeper be silent before another \
                 one takes its plans over"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}
