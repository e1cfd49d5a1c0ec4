//! The client's own transaction as a plan's ground: what would be a transaction of lockkeeper's is a savepoint there,
//! under which the settings are as they were found.

use std::time::Duration;

use super::{Message, ServerSession, others_waited};
use crate::exec::session::{Command, Session as _};
use crate::wire::pipeline::TransactionStatus;

/// The savepoint's name, which nobody else's is.
const SAVEPOINT: &str = "\"lockkeeper's own\"";

/// What a plan's commands become in the client's transaction.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Within {
    /// Puts the settings back that a transaction of lockkeeper's own sets for itself.
    put_back: Vec<Command>,
    /// The savepoint at hand is only read under.
    reads_only: bool,
    /// Everything is rolled back.
    rehearses: bool,
    /// Others have waited for too long for what runs.
    held_up: bool,
}

/// The settings that are put back.
pub(in crate::proxy) const SETTINGS: [&str; 2] = ["lock_timeout", "statement_timeout"];

impl Within {
    /// A transaction in which [`SETTINGS`] have these values.
    pub(in crate::proxy) fn new(values: &[String]) -> Within {
        const SQL: &str = "SELECT pg_catalog.set_config($1, $2, true)";
        let put_back = SETTINGS
            .iter()
            .zip(values)
            .map(|(name, value)| Command::with(SQL, vec![(*name).to_owned(), value.clone()]));
        Within {
            put_back: put_back.collect(),
            reads_only: false,
            rehearses: false,
            held_up: false,
        }
    }

    /// From now on everything is rolled back, or not any more.
    pub(super) fn rehearses(&mut self, rehearses: bool) {
        self.rehearses = rehearses;
    }

    /// What a batch becomes, and for each of its commands the last one that it became.
    pub(super) fn translated(&mut self, batch: &[Command]) -> (Vec<Command>, Vec<usize>) {
        let (mut commands, mut last) = (Vec::new(), Vec::new());
        for command in batch {
            self.add(command, &mut commands);
            last.push(commands.len().saturating_sub(1));
        }
        (commands, last)
    }

    fn add(&mut self, command: &Command, to: &mut Vec<Command>) {
        let back = || Command::own(format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"));
        let release = || Command::own(format!("RELEASE SAVEPOINT {SAVEPOINT}"));
        match command.sql.as_str() {
            sql if sql.starts_with("BEGIN") => {
                self.reads_only = sql.contains("READ ONLY");
                to.push(Command::own(format!("SAVEPOINT {SAVEPOINT}")));
            }
            "COMMIT" if !(self.reads_only || self.rehearses) => {
                to.extend(self.put_back.iter().cloned());
                to.push(release());
            }
            "COMMIT" | "ROLLBACK" => to.extend([back(), release()]),
            // The client's own COMMIT waits for whom it says.
            "SET LOCAL synchronous_commit = local" => to.push(Command::own("SHOW lock_timeout")),
            _ => to.push(command.clone()),
        }
    }
}

impl ServerSession<'_> {
    /// The plan runs in the client's own transaction from now on: what would be one of its own is a savepoint there.
    pub(in crate::proxy) fn enter(&mut self, within: Within) {
        self.within = Some(within);
    }

    /// It runs by itself again.
    pub(in crate::proxy) fn leave(&mut self) {
        self.within = None;
    }

    /// What would be committed is rolled back, or not any more.
    pub(in crate::proxy) fn rehearses(&mut self, rehearses: bool) {
        if let Some(within) = &mut self.within {
            within.rehearses(rehearses);
        }
    }

    /// Whether it runs in the client's own transaction.
    pub(in crate::proxy) fn is_within(&self) -> bool {
        self.within.is_some()
    }

    /// A round of the plan's own has ended.
    pub(super) fn has_status(&mut self, ready: &Message) {
        let status = ready.body().first().copied().unwrap_or_default();
        let status = TransactionStatus::from_byte(status);
        self.session.inspector.pipeline.set_status(status);
    }

    /// What runs is cancelled when others have waited for it for so long; or not any more.
    pub(in crate::proxy) fn watch_hold(&mut self, max_hold: Option<Duration>) {
        let (operator, pid) = (self.operator(), self.session.who.server_pid);
        let watch = operator.zip(max_hold);
        self.holds_up =
            watch.map(|(operator, limit)| Box::pin(others_waited(operator, pid, limit)) as _);
    }

    /// Others have waited for too long.
    pub(super) fn is_held_up(&mut self) {
        if let Some(within) = &mut self.within {
            within.held_up = true;
        }
    }

    /// Whether others had waited for too long.
    pub(in crate::proxy) fn was_held_up(&self) -> bool {
        self.within.as_ref().is_some_and(|within| within.held_up)
    }

    /// Settings of the transaction are taken off.
    pub(in crate::proxy) fn suspended(&mut self, settings: Vec<(String, String)>) {
        self.suspended = settings;
    }

    /// They are to be put back.
    pub(in crate::proxy) fn resumed(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.suspended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn became(batch: &[&str]) -> (Vec<String>, Vec<usize>) {
        let mut within = Within::new(&["1s".to_owned(), "0".to_owned()]);
        let batch: Vec<Command> = batch.iter().map(|sql| Command::own(*sql)).collect();
        let (commands, last) = within.translated(&batch);
        let sql = |command: Command| match command.parameters.as_slice() {
            [name, value] => format!("{name}={value}"),
            _ => command.sql.replace(SAVEPOINT, "s"),
        };
        (commands.into_iter().map(sql).collect(), last)
    }

    #[test]
    fn transactions_become_savepoints() {
        let (commands, last) = became(&["BEGIN", "SET LOCAL lock_timeout = 5", "x", "COMMIT"]);
        assert_eq!(
            commands,
            [
                "SAVEPOINT s",
                "SET LOCAL lock_timeout = 5",
                "x",
                "lock_timeout=1s",
                "statement_timeout=0",
                "RELEASE SAVEPOINT s"
            ]
        );
        assert_eq!(last, [0, 1, 2, 5]);
        let (commands, last) = became(&["BEGIN READ ONLY", "x", "COMMIT", "ROLLBACK"]);
        assert_eq!(
            commands,
            [
                "SAVEPOINT s",
                "x",
                "ROLLBACK TO SAVEPOINT s",
                "RELEASE SAVEPOINT s",
                "ROLLBACK TO SAVEPOINT s",
                "RELEASE SAVEPOINT s"
            ]
        );
        assert_eq!(last, [0, 1, 3, 5]);
    }
}
