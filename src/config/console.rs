//! Settings of the console.

use serde::{Deserialize, Serialize};

use super::{ConfigError, one_or_many};

/// `console`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default)]
pub struct ConsoleSettings {
    /// The database whose clients get the console; empty turns it off.
    pub database: String,
    /// The database in which the server authenticates them.
    pub login_database: String,
    /// Session users who may act.
    #[serde(deserialize_with = "one_or_many")]
    pub admins: Vec<String>,
    /// Session users who may see everything.
    #[serde(deserialize_with = "one_or_many")]
    pub readers: Vec<String>,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        ConsoleSettings {
            database: "console".to_owned(),
            login_database: super::locks::DEFAULT_DATABASE.to_owned(),
            admins: Vec::new(),
            readers: Vec::new(),
        }
    }
}

/// What a user may do on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// See what is its own.
    Own,
    /// See everything.
    Read,
    /// See everything, and act.
    Act,
}

impl ConsoleSettings {
    /// Whether clients of that database get the console.
    pub fn is_at(&self, database: &str) -> bool {
        !self.database.is_empty() && self.database == database
    }

    /// What a session user may do.
    pub fn rights(&self, user: &str) -> Rights {
        let is_in = |users: &[String]| users.iter().any(|listed| listed == user);
        if is_in(&self.admins) {
            Rights::Act
        } else if is_in(&self.readers) {
            Rights::Read
        } else {
            Rights::Own
        }
    }

    /// Refuses what can never fit.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (key, users) in [("admins", &self.admins), ("readers", &self.readers)] {
            if users.iter().any(|user| user.contains('*')) {
                return Err(ConfigError::BadValue(format!(
                    "`console.{key}` lists session users by their full names; `*` stands for nothing here"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_by_full_name() {
        let settings = ConsoleSettings {
            admins: vec!["dba".to_owned(), "both".to_owned()],
            readers: vec!["ops".to_owned(), "both".to_owned()],
            ..ConsoleSettings::default()
        };
        for (user, rights) in [
            ("dba", Rights::Act),
            ("both", Rights::Act),
            ("ops", Rights::Read),
            ("DBA", Rights::Own),
            ("", Rights::Own),
        ] {
            assert_eq!(settings.rights(user), rights, "{user}");
        }
        assert!(settings.is_at("console") && !settings.is_at(""));
        let off = ConsoleSettings {
            database: String::new(),
            ..settings
        };
        assert!(!off.is_at("") && !off.is_at("console"));
    }

    #[test]
    fn stars_are_refused() {
        let settings = ConsoleSettings {
            readers: vec!["*".to_owned()],
            ..ConsoleSettings::default()
        };
        assert!(settings.check().is_err());
    }
}
