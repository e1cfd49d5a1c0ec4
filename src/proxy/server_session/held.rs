//! A Query of the client's own that a plan runs: what the server answers is kept back until its end,
//! so that it can be tried again while the client has seen nothing of it.

use super::{MAX_QUEUED_BYTES, Message, ServerSession};
use crate::exec::session::RunError;
use crate::proxy::inspect::Intercept;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::Header;
use crate::wire::frontend;
use bytes::BytesMut;

/// The most that is kept back of one answer, in bytes; beyond that it goes out as it comes, and isn't
/// tried again.
const MAX_HELD_BYTES: usize = 1 << 20;

/// What the server has answered to a Query.
#[derive(Default)]
pub(in crate::proxy) struct Held {
    messages: Vec<Message>,
    bytes: usize,
    /// Its error.
    pub(in crate::proxy) error: Option<ErrorFields>,
    /// Statements that are done; of one that failed, those before it.
    pub(in crate::proxy) done: usize,
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
    /// Sends the client's Query at the front, with this text, and keeps the answer back.
    ///
    /// # Errors
    /// [`RunError::Gone`]; the client then has what the server said.
    pub(in crate::proxy) async fn pass_query(
        &mut self,
        intercept: &Intercept,
        text: &str,
    ) -> Result<Held, RunError> {
        self.is_between_commands();
        let mut frame = BytesMut::new();
        frontend::put_query(&mut frame, text);
        self.session.server.queue(&frame);
        let mut held = Held::default();
        loop {
            let Ok(message) = self.message().await else {
                self.tell(&mut held, intercept)?;
                return Err(RunError::Gone);
            };
            match message.header.tag {
                b'Z' => {
                    held.ready = Some(message);
                    break;
                }
                b'E' => held.error = Some(ErrorFields::parse(message.body())),
                b'C' | b'I' => held.done += 1,
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
        if let Some(cancelling) = self.cancelling.take() {
            cancelling.await; // so that a late cancel can't hit what comes next
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
