//! What is different between two settings.

use super::{Config, NEED_RESTART};

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub what: &'static str,
    /// Its former value.
    pub before: String,
    /// Its new one.
    pub now: String,
    /// It takes effect only with a restart.
    pub needs_restart: bool,
}

/// The keys whose values differ.
pub fn changes(before: &Config, now: &Config) -> Vec<Change> {
    let (before, now) = (before.entries(), now.entries());
    let find = |entries: &[(&str, String)], key: &str| {
        let entry = entries.iter().find(|(name, _)| *name == key);
        entry.map_or_else(|| "unset".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&'static str> = before.iter().chain(&now).map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|key| Change {
            what: key,
            before: find(&before, key),
            now: find(&now, key),
            needs_restart: NEED_RESTART.contains(&key),
        })
        .filter(|change| change.before != change.now)
        .collect()
}
