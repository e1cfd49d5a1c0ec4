//! A client of the console: let in by the server, then answered by lockkeeper alone.

use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

use super::connect_log::Caller;
use super::leg::Leg;
use super::session::{End, Session, SessionError};
use super::startup;
use super::worker::{Phase, PhaseWatch, Place, Worker};
use crate::console::{Console, Hub, Turn};
use crate::error::{self, console as errors};
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header};
use crate::wire::pipeline::TransactionStatus;

/// Clients of the console at once: they don't count among `limits.connections`.
pub const MAX_CONSOLES: usize = 16;
/// The longest message that is read, in bytes: commands are short.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// What is kept for a client that doesn't read, in bytes, before no more of its messages are
/// answered.
const MAX_QUEUED_BYTES: usize = 64 << 10;

/// SQLSTATE `too_many_connections`.
const TOO_MANY_CONNECTIONS: &str = "53300";
/// How long a full server is asked again.
const ROOM_LIMIT: Duration = Duration::from_secs(3);
/// How long before it is.
const ASK_AGAIN: Duration = Duration::from_millis(50);

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
        journal: shared.journal.clone(),
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

/// How a client of the console gets in though the server has no place for it.
#[derive(Debug)]
pub(super) struct Entrance {
    /// The start-up message.
    packet: Vec<u8>,
    stage: EntranceStage,
    /// When the server is asked for the last time.
    last: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntranceStage {
    /// The client knows nothing of the server yet.
    Fresh,
    /// It has been asked for its password: this can't begin anew.
    Asked,
    /// The server knows who it is.
    Known,
}

/// What came of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It stands.
    None,
    /// The server has been asked again.
    Again,
    /// The client is in.
    In,
}

impl Entrance {
    /// With the start-up message that the server gets.
    pub(super) fn new(packet: Vec<u8>) -> Entrance {
        Entrance {
            packet,
            stage: EntranceStage::Fresh,
            last: None,
        }
    }

    /// The server asks the client for its password.
    pub(super) fn is_asked(&mut self) {
        self.stage = EntranceStage::Asked;
    }

    /// The server is convinced that the client is who it says.
    pub(super) fn is_known(&mut self) {
        self.stage = EntranceStage::Known;
    }

    /// The server refuses the client. Where that is because all places are taken, the reserve is
    /// given up and it is asked again; or it knows the client by then and may as well let it go,
    /// for the console needs no place: only the right to connect, which comes after that
    /// (`InitPostgres` of `src/backend/utils/init/postinit.c`), is looked up.
    pub(super) async fn make_room(&mut self, session: &mut Session, fields: &ErrorFields) -> Room {
        if fields.sqlstate != TOO_MANY_CONNECTIONS {
            return Room::None;
        }
        let worker = std::rc::Rc::clone(&session.worker);
        let setup = worker.setup();
        match self.stage {
            EntranceStage::Asked => Room::None,
            EntranceStage::Known => {
                let database = &setup.config.console.login_database;
                let operator = &worker.shared.operator;
                let asking = operator.may_connect(&session.who.user, database);
                let Some(version) = asking.await else {
                    return Room::None;
                };
                let mut buffer = BytesMut::new();
                for (name, value) in parameters(&version) {
                    backend::put_parameter_status(&mut buffer, name, value);
                }
                backend::put_ready_for_query(&mut buffer, TransactionStatus::Idle);
                session.client.queue(&buffer);
                tracing::info!(
                    user = session.who.user,
                    "the server is full: let in without it"
                );
                Room::In
            }
            EntranceStage::Fresh => {
                let now = Instant::now();
                let last = match self.last {
                    Some(last) => last,
                    None => {
                        let had_one = worker.shared.reserve.give_up().await;
                        tracing::info!(had_one, "the server is full: the reserve is given up");
                        *self.last.insert(now + ROOM_LIMIT)
                    }
                };
                if now > last {
                    return Room::None;
                }
                tokio::time::sleep(ASK_AGAIN).await; // a server process takes a moment to end
                let Ok(mut server) = startup::connect_server(&setup, None).await else {
                    return Room::None;
                };
                if server.write_all(&self.packet).await.is_err() || server.flush().await.is_err() {
                    return Room::None;
                }
                session.server = Leg::new(server);
                Room::Again
            }
        }
    }
}

/// What a server says of itself before a session begins.
fn parameters(server_version: &str) -> [(&'static str, &str); 7] {
    [
        ("server_version", server_version),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("integer_datetimes", "on"),
        ("DateStyle", "ISO, MDY"),
        ("TimeZone", "UTC"),
    ]
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
