//! What the settings come to. Made at start and anew by each reload; a session's start-up uses one
//! from beginning to end.

use thiserror::Error;

use super::address::Address;
use super::tls::{self, ClientAcceptor, ServerConnector, TlsError};
use crate::config::Config;
pub use crate::config::changes::Change;
use crate::config::changes::changes;

/// PostgreSQL's port.
pub const DEFAULT_UPSTREAM_PORT: u16 = 5432;

/// Settings, ready for use.
#[derive(Clone)]
pub struct Setup {
    /// The settings.
    pub config: Config,
    /// The server.
    pub upstream: Address,
    /// TLS towards clients.
    pub acceptor: Option<ClientAcceptor>,
    /// TLS towards the server.
    pub connector: Option<ServerConnector>,
}

/// Files that settings name can't be used.
#[derive(Debug, Error)]
#[error("TLS: {0}")]
pub struct SetupError(#[from] TlsError);

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`SetupError`] names the file.
    pub fn new(config: Config) -> Result<Setup, SetupError> {
        let upstream = Address::parse(&config.upstream.address, DEFAULT_UPSTREAM_PORT);
        Ok(Setup {
            acceptor: tls::acceptor(&config.listen)?,
            connector: ServerConnector::new(&config.upstream, upstream.host())?,
            upstream,
            config,
        })
    }

    /// This setup with new settings, as far as a running program can take them, and what is
    /// different.
    ///
    /// # Errors
    /// [`SetupError`]: nothing is to be changed.
    pub fn reloaded(&self, wanted: Config) -> Result<(Setup, Vec<Change>), SetupError> {
        let mut changes = changes(&self.config, &wanted);
        let setup = Setup::new(wanted.reloaded_over(&self.config))?;
        let certificate = |setup: &Setup| Some(setup.acceptor.as_ref()?.certificate.clone());
        if let (Some(before), Some(now)) = (certificate(self), certificate(&setup))
            && before != now
        {
            changes.push(Change {
                what: "the certificate in listen.certificate",
                before: "the old one".to_owned(),
                now: "the new one".to_owned(),
                needs_restart: false,
            });
        }
        Ok((setup, changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NEED_RESTART;

    #[test]
    fn what_a_running_program_can_take() {
        let before = Config::default();
        let mut now = Config::default();
        now.locks.budget = std::time::Duration::from_millis(50);
        now.audit.file = Some("/var/log/audit.jsonl".into());
        now.listen.address = vec!["[::1]:7000".to_owned()];
        let (setup, changes) = Setup::new(before).unwrap().reloaded(now.clone()).unwrap();
        let told: Vec<String> = changes
            .iter()
            .map(|change| {
                format!(
                    "{} {} {} {}",
                    change.what, change.before, change.now, change.needs_restart
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "audit.file unset \"/var/log/audit.jsonl\" true",
                "listen.address [\"127.0.0.1:6432\"] [\"[::1]:7000\"] true",
                "locks.budget \"100ms\" \"50ms\" false",
            ]
        );
        assert_eq!(setup.config.locks.budget, now.locks.budget);
        assert_eq!(setup.config.audit.file, None);
        // What waits for a restart is told again.
        assert_eq!(setup.reloaded(now).unwrap().1.len(), 2);
    }

    #[test]
    fn every_key_is_either_taken_or_needs_a_restart() {
        let mut now = Config::default().reloaded_over(&Config::default());
        now.runtime.threads = 7;
        let kept = now.reloaded_over(&Config::default());
        assert_eq!(kept.entries(), Config::default().entries());
        for key in NEED_RESTART {
            assert!(crate::config::is_key(key), "{key}");
        }
    }
}
