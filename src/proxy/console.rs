//! A client of the console: let in by the server, then answered by lockkeeper alone.

use std::task::Poll;

use bytes::BytesMut;

use super::connect_log::Caller;
use super::leg::Leg;
use super::session::{End, Session, SessionError};
use super::worker::{Phase, PhaseWatch, Place, Worker};
use crate::console::{Console, Hub, Turn};
use crate::error::{self, console as errors};
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header};

/// Clients of the console at once: they don't count among `limits.connections`.
pub const MAX_CONSOLES: usize = 16;
/// The longest message that is read, in bytes: commands are short.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// What is kept for a client that doesn't read, in bytes, before no more of its messages are
/// answered.
const MAX_QUEUED_BYTES: usize = 64 << 10;

/// The place of a client of the console; `None` when all are taken.
pub fn place(worker: &Worker) -> Option<Place> {
    Place::take(&worker.shared.consoles, MAX_CONSOLES)
}

/// Serves a client of the console to its end.
pub async fn serve(session: Session, caller: &Caller) {
    let (client, worker, who, place) = session.without_server();
    let shared = &worker.shared;
    let hub = Hub {
        plans: shared.plans.clone(),
        audit: shared.audit.clone(),
        reloads: shared.reloads.clone(),
    };
    let mut session = ConsoleSession {
        client,
        console: Console::new(hub, who),
        phase: PhaseWatch::new(shared.phase.clone()),
        worker: &worker,
    };
    let result = session.serve().await;
    caller.console_ends(session.console.who(), &session.client, &result);
    drop(place);
}

struct ConsoleSession<'a> {
    client: Leg,
    console: Console,
    phase: PhaseWatch,
    worker: &'a Worker,
}

impl ConsoleSession<'_> {
    async fn serve(&mut self) -> Result<End, SessionError> {
        let result = self.answer_all().await;
        let fields = match &result {
            Ok(End::ShuttingDown) => error::shutting_down(),
            Err(SessionError::Frame(bad)) => error::protocol_violation(&bad.to_string()),
            Ok(_) | Err(SessionError::Client(_) | SessionError::Server(_)) => return result,
        };
        self.farewell(fields).await;
        result
    }

    async fn answer_all(&mut self) -> Result<End, SessionError> {
        loop {
            while let Some(header) = Header::parse(&self.client.unread)? {
                if header.frame_bytes() > MAX_MESSAGE_BYTES {
                    let (tag, length) = (header.tag, header.length);
                    return Err(BadFrame { tag, length }.into());
                }
                if self.client.unread.len() < header.frame_bytes() {
                    break;
                }
                let frame = self.client.unread.split_to(header.frame_bytes());
                let body = frame.get(HEADER_BYTES..).unwrap_or_default();
                let setup = self.worker.setup();
                let mut out = BytesMut::new();
                let answering = self
                    .console
                    .answer(header.tag, body, &setup.config, &mut out);
                let turn = answering.await;
                self.client.queue(&out);
                if turn == Turn::Ends {
                    return Ok(End::ClientClosed);
                }
                if self.client.queued_bytes() > MAX_QUEUED_BYTES {
                    self.client.drain().await.map_err(SessionError::Client)?;
                }
            }
            self.client.consume(0); // an idle session keeps no buffer
            self.client.drain().await.map_err(SessionError::Client)?;
            match self.read().await? {
                Some(0) => return Ok(End::ClientGone),
                Some(_) => {}
                None => return Ok(End::ShuttingDown),
            }
        }
    }

    /// Reads more; how many bytes. `None` when lockkeeper closes its sessions.
    async fn read(&mut self) -> Result<Option<usize>, SessionError> {
        let scratch = &self.worker.scratch;
        let (client, phase) = (&mut self.client, &mut self.phase);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = client.poll_fill(cx, &mut scratch.borrow_mut()) {
                return Poll::Ready(read.map(Some).map_err(SessionError::Client));
            }
            match phase.poll(cx) {
                Phase::Closing => Poll::Ready(Ok(None)),
                Phase::Running | Phase::Draining => Poll::Pending,
            }
        })
        .await
    }

    async fn farewell(&mut self, fields: ErrorFields) {
        let mut buffer = BytesMut::new();
        backend::put_error(&mut buffer, fields);
        self.client.queue(&buffer);
        let client = &mut self.client;
        let shutdown = std::future::poll_fn(|cx| client.poll_shutdown(cx));
        // A client that doesn't read is not waited for.
        let _ = tokio::time::timeout(super::session::FAREWELL, shutdown).await;
    }
}

/// What a client is told that finds no place.
pub fn no_place() -> ErrorFields {
    errors::too_many_consoles(MAX_CONSOLES)
}
