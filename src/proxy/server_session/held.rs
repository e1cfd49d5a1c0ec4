//! A Query of the client's own that a plan runs: what the server answers is kept back until its end,
//! so that it can be tried again while the client has seen nothing of it.

use std::time::{Duration, Instant};

use super::{MAX_QUEUED_BYTES, Message, ServerSession};
use crate::error::{self, Interrupt};
use crate::exec::acquire::QUERY_CANCELED;
use crate::exec::operator::Operator;
use crate::exec::session::{RunError, Session as _};
use crate::proxy::inspect::Intercept;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{HEADER_BYTES, Header};
use crate::wire::frontend;
use bytes::BytesMut;

/// The most that is kept back of one answer, in bytes; beyond that it goes out as it comes, and isn't
/// tried again.
const MAX_HELD_BYTES: usize = 1 << 20;

/// How often it is looked whether others wait.
const HOLD_INTERVAL: Duration = Duration::from_millis(200);

/// A statement of lockkeeper's own in the text of a Query: the client learns nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct Inserted {
    /// Its number among the statements of the text, from 0.
    pub(in crate::proxy) number: usize,
    /// The character of the text at which it stands, from 1.
    pub(in crate::proxy) at: usize,
    /// Its length in characters, with its semicolon.
    pub(in crate::proxy) chars: usize,
}

/// What the server has answered to a Query.
#[derive(Default)]
pub(in crate::proxy) struct Held {
    messages: Vec<Message>,
    bytes: usize,
    /// Its error.
    pub(in crate::proxy) error: Option<ErrorFields>,
    /// Statements of the client's that are done; of one that failed, those before it.
    pub(in crate::proxy) done: usize,
    /// Statements that are done, those of lockkeeper's own among them.
    pub(in crate::proxy) answered: usize,
    /// ReadyForQuery.
    ready: Option<Message>,
    /// The client has seen some of it.
    pub(in crate::proxy) is_told: bool,
}

impl Held {
    /// The client is to read this in the place of the server's error.
    pub(in crate::proxy) fn say_instead(&mut self, fields: &ErrorFields) {
        let mut frame = BytesMut::new();
        backend::put_error(&mut frame, fields.clone());
        let Ok(Some(header)) = Header::parse(&frame) else {
            return;
        };
        if let Some(message) = self.messages.iter_mut().find(|one| one.header.tag == b'E') {
            *message = Message { header, frame };
        }
        self.error = Some(fields.clone());
    }
}

impl ServerSession<'_> {
    /// Sends the client's Query at the front, with this text, and keeps the answer back: that to the
    /// client's own text, without the statements that were inserted. When others have waited for so long
    /// for a table that it locks, it is cancelled.
    ///
    /// # Errors
    /// [`RunError::Gone`]; the client then has what the server said. 57014 when it has been interrupted
    /// before.
    pub(in crate::proxy) async fn pass_query(
        &mut self,
        intercept: &Intercept,
        text: &str,
        inserted: &[Inserted],
        max_hold: Duration,
    ) -> Result<Held, RunError> {
        self.is_between_commands();
        if let Some(interrupt) = self.interrupt() {
            let fields = error::interrupted(interrupt);
            return Err(RunError::Sql(Box::new(fields)));
        }
        self.out_of_time = false;
        let pid = self.session.who.server_pid;
        let operator = self.operator();
        self.holds_up =
            operator.map(|operator| Box::pin(others_waited(operator, pid, max_hold)) as _);
        let held = self.held(intercept, text, inserted).await;
        self.holds_up = None;
        let mut held = held?;
        if let Some(cancelling) = self.cancelling.take() {
            cancelling.await; // so that a late cancel can't hit what comes next
        }
        let cancelled = held.error.clone();
        if let Some(fields) = cancelled.filter(|fields| fields.sqlstate == QUERY_CANCELED) {
            // It was ours to ask the server to cancel.
            if self.interrupt == Some(Interrupt::TimedOut) {
                held.say_instead(&error::statement_timeout());
            } else if self.ran_out_of_time(&fields) {
                held.say_instead(&error::others_waited(max_hold));
            }
        }
        Ok(held)
    }

    async fn held(
        &mut self,
        intercept: &Intercept,
        text: &str,
        inserted: &[Inserted],
    ) -> Result<Held, RunError> {
        let mut frame = BytesMut::new();
        frontend::put_query(&mut frame, text);
        self.session.server.queue(&frame);
        let mut held = Held::default();
        loop {
            let Ok(mut message) = self.message().await else {
                self.tell(&mut held, intercept)?;
                return Err(RunError::Gone);
            };
            match message.header.tag {
                b'Z' => {
                    held.ready = Some(message);
                    break;
                }
                b'E' => {
                    put_position_back(&mut message, inserted);
                    held.error = Some(ErrorFields::parse(message.body()));
                }
                b'N' => put_position_back(&mut message, inserted),
                b'C' | b'I' => {
                    let number = held.answered;
                    held.answered += 1;
                    if inserted.iter().any(|own| own.number == number) {
                        continue;
                    }
                    held.done += 1;
                }
                _ => {}
            }
            held.bytes = held.bytes.saturating_add(message.frame.len());
            held.messages.push(message);
            if held.is_told || held.bytes > MAX_HELD_BYTES {
                self.tell(&mut held, intercept)?;
                if self.session.client.queued_bytes() > MAX_QUEUED_BYTES {
                    let drained = self.session.client.drain().await;
                    drained.map_err(|_| RunError::Gone)?;
                }
            }
        }
        Ok(held)
    }

    /// The answer is given up: another try follows. What isn't part of it goes out.
    pub(in crate::proxy) fn give_up(&mut self, held: &Held) {
        for message in held.messages.iter().filter(|one| one.header.tag == b'A') {
            self.session.client.queue(&message.frame);
        }
    }

    /// The client gets its answer.
    ///
    /// # Errors
    /// [`RunError::Gone`] when the stream can't be followed any further.
    pub(in crate::proxy) fn answer_query(
        &mut self,
        mut held: Held,
        intercept: &Intercept,
    ) -> Result<(), RunError> {
        held.messages.extend(held.ready.take());
        self.tell(&mut held, intercept)
    }

    fn tell(&mut self, held: &mut Held, intercept: &Intercept) -> Result<(), RunError> {
        if !held.is_told {
            held.is_told = true;
            let sent = self.session.sent_by_plan(intercept);
            sent.map_err(|_| RunError::Gone)?;
        }
        for message in held.messages.drain(..) {
            self.session
                .note_server_frame(message.header, message.body());
            self.session.client.queue(&message.frame);
        }
        Ok(())
    }
}

/// A part of a string that the client has sent, whose statements are run one by one.
impl ServerSession<'_> {
    /// Tells the client something that isn't the server's, and everybody who follows its messages.
    pub(in crate::proxy) fn say(&mut self, message: impl FnOnce(&mut BytesMut)) {
        let mut frame = BytesMut::new();
        message(&mut frame);
        if let Ok(Some(header)) = Header::parse(&frame) {
            let body = frame.get(HEADER_BYTES..).unwrap_or_default();
            self.session.note_server_frame(header, body);
        }
        self.session.client.queue(&frame);
    }

    /// Sends a statement that stands behind so many characters of the client's text, and passes its answer on but for
    /// ReadyForQuery; whether it succeeded.
    ///
    /// # Errors
    /// [`RunError::Gone`].
    pub(in crate::proxy) async fn pass_part(
        &mut self,
        sql: &str,
        offset: usize,
    ) -> Result<bool, RunError> {
        let mut frame = BytesMut::new();
        frontend::put_query(&mut frame, sql);
        self.session.server.queue(&frame);
        let mut succeeds = true;
        loop {
            let mut message = self.message().await?;
            match message.header.tag {
                b'Z' => {
                    self.has_status(&message);
                    break;
                }
                b'E' => {
                    succeeds = false;
                    shift_position(&mut message, offset);
                }
                b'N' => shift_position(&mut message, offset),
                _ => {}
            }
            self.session
                .note_server_frame(message.header, message.body());
            self.session.client.queue(&message.frame);
            if self.session.client.queued_bytes() > MAX_QUEUED_BYTES {
                let drained = self.session.client.drain().await;
                drained.map_err(|_| RunError::Gone)?;
            }
        }
        if let Some(cancelling) = self.cancelling.take() {
            cancelling.await; // so that a late cancel can't hit what comes next
        }
        Ok(succeeds)
    }
}

/// Ready when others have waited for that long for a relation that a backend has locked.
pub(in crate::proxy) async fn others_waited(operator: Operator, pid: u32, limit: Duration) {
    let mut since: Option<Instant> = None;
    loop {
        tokio::time::sleep(HOLD_INTERVAL).await;
        if !operator.is_waited_for(pid).await {
            since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() >= limit {
            return;
        }
    }
}

/// Makes an error's or a NOTICE's position that in the text without what was inserted. All else stays
/// as the server said it.
fn put_position_back(message: &mut Message, inserted: &[Inserted]) {
    with_position(message, |position| {
        let before = inserted.iter().filter(|own| own.at < position);
        let chars: usize = before.map(|own| own.chars).sum();
        position.saturating_sub(chars).max(1)
    });
}

/// Makes an error's or a NOTICE's position in a statement that in the whole text.
fn shift_position(message: &mut Message, offset: usize) {
    with_position(message, |position| position.saturating_add(offset));
}

fn with_position(message: &mut Message, moved: impl Fn(usize) -> usize) {
    let mut frame = BytesMut::new();
    frame.extend_from_slice(message.frame.get(..HEADER_BYTES).unwrap_or_default());
    let mut changed = false;
    for field in message.body().split_inclusive(|byte| *byte == 0) {
        match position(field) {
            Some(position) => {
                changed = true;
                frame.extend_from_slice(format!("P{}\0", moved(position)).as_bytes());
            }
            None => frame.extend_from_slice(field),
        }
    }
    // The length counts itself, and not the type.
    let length = u32::try_from(frame.len().saturating_sub(1)).ok();
    if let (true, Some(length), Some(place)) = (changed, length, frame.get_mut(1..HEADER_BYTES)) {
        place.copy_from_slice(&length.to_be_bytes());
        if let Ok(Some(header)) = Header::parse(&frame) {
            *message = Message { header, frame };
        }
    }
}

/// The position that a field holds; `None` when it is another field.
fn position(field: &[u8]) -> Option<usize> {
    let position = field.strip_prefix(b"P")?.strip_suffix(b"\0")?;
    std::str::from_utf8(position).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_clients_text() {
        let own = |at, chars| Inserted {
            number: 0,
            at,
            chars,
        };
        let inserted = [own(1, 10), own(31, 5)];
        for (position, expected) in [("11", "1"), ("30", "20"), ("36", "21"), ("40", "25")] {
            let mut frame = BytesMut::new();
            let fields = ErrorFields {
                message: "P7 é".to_owned(),
                others: vec![
                    (b'P', position.to_owned()),
                    (b'W', "P8".to_owned()),
                    (b'p', "9".to_owned()),
                ],
                ..ErrorFields::default()
            };
            backend::put_error(&mut frame, fields.clone());
            let header = Header::parse(&frame).unwrap().unwrap();
            let mut message = Message { header, frame };
            put_position_back(&mut message, &inserted);
            assert_eq!(message.header.frame_bytes(), message.frame.len());
            let found = ErrorFields::parse(message.body());
            assert_eq!(found.others[0], (b'P', expected.to_owned()));
            assert_eq!(found.others[1..], fields.others[1..]);
            assert_eq!(found.message, fields.message);
        }
    }
}
