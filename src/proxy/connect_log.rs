//! The connect log: who came, which server process it got, how and when it ended. At `info`, or at
//! `debug` when `log.connections` is off; what wanted no session is never above `debug`.

use std::time::{Duration, Instant};

use super::address::Peer;
use super::leg::Leg;
use super::session::{End, Session, SessionError};
use crate::audit::event::Who;
use crate::wire::startup::StartupParameters;

/// A client that has connected, as far as it is known.
#[derive(Debug)]
pub struct Caller {
    /// Where it comes from.
    pub peer: Peer,
    /// What its start-up message says; `None` before that.
    pub parameters: Option<StartupParameters>,
    /// TLS on its leg: a version, or `none`.
    pub client_tls: &'static str,
    /// TLS on the server's leg: a version, or `none`.
    pub server_tls: &'static str,
    accepted: Instant,
    is_logged: bool,
}

/// At `info` when the connect log is on, else at `debug`.
macro_rules! log_if {
    ($is_logged:expr, $($fields:tt)+) => {
        if $is_logged {
            tracing::info!(target: "lockkeeper::connections", $($fields)+);
        } else {
            tracing::debug!(target: "lockkeeper::connections", $($fields)+);
        }
    };
}

impl Caller {
    /// A client that was just accepted; `is_logged` is `log.connections`.
    pub fn new(peer: Peer, is_logged: bool) -> Caller {
        Caller {
            peer,
            parameters: None,
            client_tls: "none",
            server_tls: "none",
            accepted: Instant::now(),
            is_logged,
        }
    }

    /// It was let in.
    pub fn session_begins(&self, session: &Session) {
        let who = &session.who;
        log_if!(
            self.is_logged,
            client = who.client,
            user = who.user,
            database = who.database,
            application = who.application,
            server_pid = who.server_pid,
            client_tls = self.client_tls,
            server_tls = self.server_tls,
            took_ms = millis(self.accepted.elapsed()),
            "session begins"
        );
    }

    /// Its session has ended.
    pub fn session_ends(&self, session: &Session, result: &Result<End, SessionError>) {
        let who = &session.who;
        let reason = match result {
            Ok(end) => end.to_string(),
            Err(error) => error.to_string(),
        };
        log_if!(
            self.is_logged,
            client = who.client,
            user = who.user,
            database = who.database,
            application = who.application,
            server_pid = who.server_pid,
            reason,
            duration_ms = millis(self.accepted.elapsed()),
            client_bytes = session.client.received_bytes,
            server_bytes = session.server.received_bytes,
            "session ends"
        );
    }

    /// Its session on the console has ended.
    pub fn console_ends(&self, who: &Who, client: &Leg, result: &Result<End, SessionError>) {
        let reason = match result {
            Ok(end) => end.to_string(),
            Err(error) => error.to_string(),
        };
        log_if!(
            self.is_logged,
            client = who.client,
            user = who.user,
            database = who.database,
            application = who.application,
            reason,
            duration_ms = millis(self.accepted.elapsed()),
            client_bytes = client.received_bytes,
            "console session ends"
        );
    }

    /// It was not let in, and why.
    pub fn refused(&self, reason: &str) {
        let parameters = self.parameters.as_ref();
        log_if!(
            self.is_logged,
            client = self.peer.to_string(),
            user = parameters.map(|read| read.user.as_str()),
            database = parameters.map(|read| read.database.as_str()),
            application = parameters.map(|read| read.application_name.as_str()),
            client_tls = self.client_tls,
            reason,
            took_ms = millis(self.accepted.elapsed()),
            "client refused"
        );
    }

    /// It wanted no session (a probe, a cancel request), or went away before it had one.
    pub fn left(&self, how: &str) {
        tracing::debug!(target: "lockkeeper::connections", client = %self.peer, how, "client left");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
