//! Follows `lockkeeper.mode` of one session: what the client set it to, and whether that was
//! committed. The server keeps it as a setting that it knows nothing about, and doesn't report it;
//! so it is read from what the client sends. What `ALTER ROLE` and `ALTER DATABASE` say is read from
//! the catalog with the session's first schema change, if nothing else counts. No I/O.
//!
//! Not followed: a SET of it by a function or `set_config`, one that a prepared statement repeats,
//! and `ROLLBACK TO` (the transaction's end is followed).

use std::collections::VecDeque;

use crate::config::Mode;
use crate::sql::comment::ModeChange;
use crate::wire::backend;
use crate::wire::pipeline::{Pipeline, TransactionStatus};

/// The mode that a value stands for; `None` for one that stands for nothing.
pub fn parse(value: &str) -> Option<Mode> {
    let modes = [Mode::Enforce, Mode::Observe, Mode::Off];
    modes
        .into_iter()
        .find(|mode| mode.as_str().eq_ignore_ascii_case(value))
}

/// The client's own mode; `None` wherever the settings' counts.
#[derive(Debug, Default)]
pub struct SessionMode {
    /// At start-up: RESET goes back to it.
    at_start: Option<Mode>,
    /// As it is when the open transaction is rolled back.
    committed: Option<Mode>,
    /// As the open transaction has set it.
    current: Option<Mode>,
    /// By SET LOCAL in the open transaction.
    local: Option<Option<Mode>>,
    /// Sent, and not yet done by the server: the number of the ReadyForQuery that will say so.
    pending: VecDeque<(u64, ModeChange)>,
    /// Messages sent that are answered by ReadyForQuery, and those answers that came.
    sent: u64,
    answered: u64,
    /// The last thing before the next ReadyForQuery was an error or a ROLLBACK.
    undone: bool,
    /// It was ever set.
    pub touched: bool,
    /// What `ALTER ROLE` or `ALTER DATABASE` set it to, once that was read: counts wherever the
    /// client has set nothing.
    role: Option<Option<Mode>>,
}

impl SessionMode {
    /// The start-up message set it.
    pub fn started_with(&mut self, mode: Option<Mode>) {
        self.at_start = mode;
        self.committed = mode;
        self.current = mode;
        self.touched = true;
    }

    /// The mode that counts for what comes next.
    pub fn current(&self) -> Option<Mode> {
        self.clients().or(self.role.flatten())
    }

    fn clients(&self) -> Option<Mode> {
        self.local.unwrap_or(self.current)
    }

    /// Whether it counts what the role's setting is, which nobody has read yet.
    pub fn depends_on_role(&self) -> bool {
        self.role.is_none() && self.clients().is_none()
    }

    /// The role's setting was read: it counts to the session's end, as every setting of a role.
    pub fn learned(&mut self, role: Option<Mode>) {
        self.role = Some(role);
    }

    /// Nothing that may change it is under way, but in the open batch.
    pub fn is_settled(&self) -> bool {
        self.pending
            .front()
            .is_none_or(|(number, _)| *number > self.sent)
    }

    /// The number of the ReadyForQuery that answers the message to be sent next.
    pub fn next_answer(&self) -> u64 {
        self.sent + 1
    }

    /// A Query or Parse sets it; `number` is that of its [answer](Self::next_answer).
    pub fn sending(&mut self, changes: &[ModeChange], number: u64) {
        self.touched |= !changes.is_empty();
        self.pending
            .extend(changes.iter().map(|change| (number, change.clone())));
    }

    /// A message was sent that ReadyForQuery answers.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// A frame came from the server; the pipeline has seen it already.
    pub fn received(&mut self, tag: u8, body: &[u8], pipeline: &Pipeline) {
        match tag {
            b'E' => self.undone = true,
            b'C' => self.undone = backend::command_tag(body) == b"ROLLBACK",
            b'Z' => {
                self.answered = if pipeline.is_synced() {
                    self.sent
                } else {
                    self.answered + 1
                };
                self.settle(pipeline.status());
            }
            _ => {}
        }
    }

    fn settle(&mut self, status: TransactionStatus) {
        while let Some((number, change)) = self.pending.pop_front() {
            if number > self.answered {
                self.pending.push_front((number, change));
                break;
            }
            if self.undone {
                continue;
            }
            let mode = match &change.value {
                Some(value) => parse(value),
                None => self.at_start,
            };
            if change.local {
                self.local = Some(mode);
            } else {
                self.current = mode;
                self.local = None;
            }
        }
        if status == TransactionStatus::Idle {
            if self.undone {
                self.current = self.committed;
            } else {
                self.committed = self.current;
            }
            self.local = None;
        }
        self.undone = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::comment::mode_changes;
    use crate::sql::lexer::LexicalMode;

    /// Sends a Query and answers it with tags (`!` an error) and a transaction status.
    fn play(script: &[(&str, &[&str], u8)]) -> Option<Mode> {
        let mut mode = SessionMode::default();
        let mut pipeline = Pipeline::default();
        for (sql, _, _) in script {
            let number = mode.next_answer();
            mode.sending(&mode_changes(sql, LexicalMode::default()), number);
            mode.sent();
            pipeline.sent_query();
        }
        for (_, tags, status) in script {
            for tag in *tags {
                let (kind, body) = match *tag {
                    "!" => (b'E', Vec::new()),
                    tag => (b'C', [tag.as_bytes(), &[0]].concat()),
                };
                pipeline.received(kind, 0);
                mode.received(kind, &body, &pipeline);
            }
            pipeline.received(b'Z', *status);
            mode.received(b'Z', &[*status], &pipeline);
        }
        assert!(mode.is_settled());
        mode.current()
    }

    const OFF: (&str, &[&str], u8) = ("SET lockkeeper.mode = off", &["SET"], b'I');
    const OFF_INSIDE: (&str, &[&str], u8) = ("SET lockkeeper.mode = off", &["SET"], b'T');
    const LOCAL: (&str, &[&str], u8) = ("SET LOCAL lockkeeper.mode = observe", &["SET"], b'T');
    const BEGIN: (&str, &[&str], u8) = ("BEGIN", &["BEGIN"], b'T');
    const COMMIT: (&str, &[&str], u8) = ("COMMIT", &["COMMIT"], b'I');
    const ROLLBACK: (&str, &[&str], u8) = ("ROLLBACK", &["ROLLBACK"], b'I');
    const FAILS: (&str, &[&str], u8) = ("SELECT 1/0", &["!"], b'I');
    const FAILS_INSIDE: (&str, &[&str], u8) = ("SELECT 1/0", &["!"], b'E');

    #[test]
    fn transactions_count() {
        let off = Some(Mode::Off);
        assert_eq!(play(&[OFF]), off);
        assert_eq!(play(&[OFF, FAILS]), off);
        assert_eq!(play(&[FAILS, OFF]), off);
        assert_eq!(play(&[BEGIN, OFF_INSIDE]), off);
        assert_eq!(play(&[BEGIN, OFF_INSIDE, COMMIT]), off);
        assert_eq!(play(&[BEGIN, OFF_INSIDE, ROLLBACK]), None);
        assert_eq!(play(&[BEGIN, OFF_INSIDE, FAILS_INSIDE, ROLLBACK]), None);
        assert_eq!(play(&[OFF, BEGIN, LOCAL]), Some(Mode::Observe));
        assert_eq!(play(&[OFF, BEGIN, LOCAL, COMMIT]), off);
        assert_eq!(play(&[BEGIN, LOCAL, OFF_INSIDE]), off);
        assert_eq!(play(&[OFF, ("RESET ALL", &["RESET"], b'I')]), None);
        assert_eq!(
            play(&[OFF, ("SET lockkeeper.mode = 'of'", &["SET"], b'I')]),
            None
        );
        assert_eq!(
            play(&[("SET lockkeeper.mode = off; SELECT 1/0", &["SET", "!"], b'I')]),
            None
        );
    }

    #[test]
    fn what_is_under_way_is_not_settled() {
        let mut mode = SessionMode::default();
        let changes = mode_changes("SET lockkeeper.mode = off", LexicalMode::default());
        mode.sending(&changes, mode.next_answer());
        assert!(mode.is_settled()); // the open batch has not been sent
        mode.sent();
        assert!(!mode.is_settled());
        assert_eq!(mode.current(), None);
    }

    #[test]
    fn reset_goes_back_to_the_start() {
        let mut mode = SessionMode::default();
        mode.started_with(Some(Mode::Observe));
        assert_eq!(mode.current(), Some(Mode::Observe));
        for (sql, expected) in [
            ("SET lockkeeper.mode = off", Mode::Off),
            ("DISCARD ALL", Mode::Observe),
        ] {
            let mut pipeline = Pipeline::default();
            let number = mode.next_answer();
            mode.sending(&mode_changes(sql, LexicalMode::default()), number);
            mode.sent();
            pipeline.sent_query();
            pipeline.received(b'Z', b'I');
            mode.received(b'Z', b"I", &pipeline);
            assert_eq!(mode.current(), Some(expected));
        }
    }
}
