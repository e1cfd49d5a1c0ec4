//! Settings of the operator, of locks and of builds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;
use crate::plan::LookAge;

/// lockkeeper's own database.
pub const OWN_DATABASE: &str = "lockkeeper";
/// The operator's database when `operator.url` names none.
pub const DEFAULT_DATABASE: &str = "postgres";

/// `operator`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct OperatorSettings {
    /// PostgreSQL URL; missing: `postgres://postgres@<upstream>/postgres`; empty: no operator.
    #[serde(serialize_with = "without_password")]
    pub url: Option<String>,
    /// lockkeeper's own database, for the journal and the audit log; empty: none.
    pub database: String,
    /// How lockkeeper logs in as other roles, to finish what they began: URLs by role.
    #[serde(serialize_with = "without_passwords")]
    pub logins: BTreeMap<String, String>,
}

impl OperatorSettings {
    /// There is none, and there shall be none.
    pub fn is_off(&self) -> bool {
        self.url.as_deref() == Some("")
    }

    /// Refuses what can never be.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if ["postgres", "template0", "template1"].contains(&self.database.as_str()) {
            return Err(ConfigError::BadValue(format!(
                "`operator.database` is {:?}: it must be a database of lockkeeper's own, to which nobody else may \
                 connect, such as \"lockkeeper\", which is made at first use. (The database in which the console's \
                 clients log in is `console.login_database`.)",
                self.database
            )));
        }
        Ok(())
    }
}

/// `locks`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Locks {
    /// How long anyone may wait behind a strong lock request.
    #[serde(with = "humantime_serde")]
    pub budget: Duration,
    /// While a holder's transaction is older, the lock isn't asked for.
    pub look_age: LookAge,
    /// How long a lock is tried for in all.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long a strong lock may be held for one step.
    #[serde(with = "humantime_serde")]
    pub max_hold: Duration,
    /// Whose transactions are ended that hold a lock for too long.
    pub cancel_blockers: CancelBlockers,
    /// How old such a transaction must be.
    #[serde(with = "humantime_serde")]
    pub cancel_after: Duration,
}

/// `builds`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct Builds {
    /// No concurrent build starts while the database has an older snapshot.
    #[serde(with = "humantime_serde")]
    pub look_age: Duration,
    /// How long a build waits for those before it: one a database at once.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// How long a concurrent build may take; 0 is no limit.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

/// Whose transactions may be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelBlockers {
    /// Nobody's.
    #[default]
    Off,
    /// Those that have written nothing: a running statement is cancelled, a session that idles in
    /// its transaction is terminated.
    Readers,
}

impl Default for OperatorSettings {
    fn default() -> Self {
        OperatorSettings {
            url: None,
            database: OWN_DATABASE.to_owned(),
            logins: BTreeMap::new(),
        }
    }
}

impl Default for Locks {
    fn default() -> Self {
        Locks {
            budget: Duration::from_millis(100),
            look_age: LookAge::Auto,
            deadline: Duration::from_secs(600),
            max_hold: Duration::from_secs(2),
            cancel_blockers: CancelBlockers::Off,
            cancel_after: Duration::from_secs(60),
        }
    }
}

impl Default for Builds {
    fn default() -> Self {
        Builds {
            look_age: Duration::from_secs(60),
            wait: Duration::from_secs(24 * 60 * 60),
            deadline: Duration::ZERO,
        }
    }
}

impl<'de> Deserialize<'de> for LookAge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(LookAge::Auto);
        }
        humantime::parse_duration(&text)
            .map(LookAge::Fixed)
            .map_err(|error| {
                serde::de::Error::custom(format!(
                    "{error}; write \"auto\" or a time such as \"300ms\""
                ))
            })
    }
}

impl Serialize for LookAge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LookAge::Auto => serializer.serialize_str("auto"),
            LookAge::Fixed(age) => serializer.collect_str(&humantime::format_duration(*age)),
        }
    }
}

fn without_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(shown).serialize(serializer)
}

fn without_passwords<S: Serializer>(
    urls: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(urls.iter().map(|(role, url)| (role, shown(url))))
}

/// What is shown of a URL: everything but its password.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((login, rest))) if login.len() > scheme.len() => {
            let login = login.get(scheme.len() + 3..).unwrap_or_default();
            let user = login.split(':').next().unwrap_or_default();
            format!(
                "{scheme}://{user}@{}",
                rest.split('?').next().unwrap_or_default()
            )
        }
        (Some(_), _) => url.split('?').next().unwrap_or_default().to_owned(),
        (None, _) if url.is_empty() => String::new(),
        (None, _) => "(withheld)".to_owned(),
    }
}
