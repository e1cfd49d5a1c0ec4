//! `queue`: how long a statement waits for a window of `policy.windows`, or for an approval.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `queue`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct QueueSettings {
    /// How long in all; zero: it is refused at once.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings {
            max_wait: Duration::from_secs(24 * 60 * 60), // a window of every day opens once within it
        }
    }
}
