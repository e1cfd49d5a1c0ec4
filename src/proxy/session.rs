//! One session: a client, its server session, and the bytes between them. One future owns both
//! sockets; there is no channel and no second task.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, Sleep, sleep_until};

use super::cancel::{CancelKey, CancelToken};
use super::guard;
use super::inspect::{Guarding, Inspector, Intercept, REPLICATION, Span, Tools};
use super::leg::Leg;
use super::mode;
use super::server_session::others_waited;
use super::walker::ServerWalker;
use super::worker::{Phase, PhaseWatch, Place, Worker};
use crate::audit::event::Who;
use crate::config::{Config, Mode};
use crate::error;
use crate::sql::classify::{Class, Classified};
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{BadFrame, Header};
use crate::wire::frontend;
use crate::wire::pipeline::TransactionStatus;

/// Rounds of both directions in one wake-up, before others have their turn.
const ROUNDS: usize = 8;
/// How long a client may take to read what it is told at the end.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A client that has just connected has something to say: for so long it doesn't count as idle when
/// lockkeeper ends.
const FIRST_WORDS: Duration = Duration::from_secs(3);

/// Why a session ended before its time.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The client's socket failed.
    #[error("client: {0}")]
    Client(#[source] io::Error),
    /// The server's socket failed.
    #[error("server: {0}")]
    Server(#[source] io::Error),
    /// Somebody breaks the protocol.
    #[error(transparent)]
    Frame(#[from] BadFrame),
}

/// How a session ended that nothing went wrong with in lockkeeper or on its sockets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum End {
    /// The client said goodbye (Terminate).
    #[error("the client closed it")]
    ClientClosed,
    /// The client closed its socket without a word.
    #[error("the client went away without saying goodbye")]
    ClientGone,
    /// The server ended it with a FATAL error, of this SQLSTATE.
    #[error("the server ended it: {0}")]
    ServerEnded(String),
    /// The server closed its socket without a word.
    #[error("the server closed the connection unexpectedly")]
    ServerGone,
    /// lockkeeper ends.
    #[error("lockkeeper is shutting down")]
    ShuttingDown,
    /// A schema change couldn't be recorded.
    #[error("its schema change can't be recorded")]
    Unrecordable,
    /// Its transaction has held locks that others waited for.
    #[error("others waited for its locks")]
    HeldUp,
}

/// What the relay stops for.
#[derive(Debug)]
pub enum Event {
    /// A schema change is to be guarded.
    Intercept(Intercept),
    /// The server has closed the connection.
    ServerClosed,
    /// lockkeeper is ending: the session stands idle, or its time is up.
    ShutDown,
    /// A schema change can't be recorded, and must not go on; why.
    Unrecordable(String),
    /// Others have waited for too long for what the open transaction's schema changes have locked.
    HoldsUp,
}

/// A client and its server session.
#[derive(Debug)]
pub struct Session {
    /// The client's leg.
    pub client: Leg,
    /// The server's leg.
    pub server: Leg,
    /// Follows the client's messages.
    pub inspector: Inspector,
    walker: ServerWalker,
    /// What the sessions of this thread share.
    pub worker: Rc<Worker>,
    /// Who the client is.
    pub who: Who,
    /// `replication` was asked for at start-up.
    pub replication: bool,
    /// lockkeeper answers it itself.
    pub is_console: bool,
    /// Set by cancel requests for this session.
    pub cancel: Arc<CancelToken>,
    /// Process id and secret key, as BackendKeyData has them.
    pub cancel_key: CancelKey,
    /// What is unread is to be looked at though nothing new was read.
    recheck: bool,
    /// The inspector waits for the server's answers.
    waiting: bool,
    /// The text at the front is being classified on another thread.
    classifying: Option<JoinHandle<Classified>>,
    client_eof_forwarded: bool,
    /// Schema changes that went on as they came, by the number under which they are followed.
    following: HashMap<u64, guard::Following>,
    /// NOTICEs of lockkeeper's own that wait for the end of one of the server's messages.
    notices: Vec<String>,
    phase: PhaseWatch,
    /// When the client was let in, until it says something.
    silent_since: Option<Instant>,
    /// Ends when a silent client has had its time; only once lockkeeper ends.
    first_words: Option<Pin<Box<Sleep>>>,
    /// Ready when others have waited for `locks.max_hold` for the open transaction.
    holds_up: Option<HoldsUp>,
    place: Place,
}

/// Ready when others have waited for too long.
struct HoldsUp(Pin<Box<dyn Future<Output = ()>>>);

impl std::fmt::Debug for HoldsUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HoldsUp")
    }
}

impl Session {
    /// A session that is about to authenticate.
    pub fn new(client: Leg, server: Leg, worker: Rc<Worker>, who: Who, place: Place) -> Session {
        let phase = PhaseWatch::new(worker.shared.phase.clone());
        Session {
            client,
            server,
            inspector: Inspector::default(),
            walker: ServerWalker::default(),
            worker,
            who,
            replication: false,
            is_console: false,
            cancel: Arc::new(CancelToken::default()),
            cancel_key: CancelKey::default(),
            recheck: true,
            waiting: false,
            classifying: None,
            client_eof_forwarded: false,
            following: HashMap::new(),
            notices: Vec::new(),
            phase,
            silent_since: Some(Instant::now()),
            first_words: None,
            holds_up: None,
            place,
        }
    }

    /// BackendKeyData came.
    pub fn register(&mut self, body: &[u8]) {
        let token = Arc::clone(&self.cancel);
        self.cancel_key = CancelKey::new(body, token, &self.worker.shared.cancels);
        if let Some(pid) = body.first_chunk::<4>() {
            self.who.server_pid = u32::from_be_bytes(*pid);
        }
    }

    /// What is left of a session that lockkeeper answers itself: the server isn't needed any more.
    pub fn without_server(self) -> (Leg, Rc<Worker>, Who, Place) {
        let mut server = self.server;
        server.queue(&frontend::TERMINATE);
        spawn_local(async move {
            let _ = tokio::time::timeout(FAREWELL, server.drain()).await; // it is closed in any case
        });
        (self.client, self.worker, self.who, self.place)
    }

    /// Serves the session to its end.
    ///
    /// # Errors
    /// [`SessionError`] for the log; the client has been told what can be told.
    pub async fn serve(&mut self) -> Result<End, SessionError> {
        let end = self.serve_all().await;
        let is_idle = self.inspector.pipeline.is_idle();
        self.inspector.fates.ended(is_idle);
        self.note_fates();
        end
    }

    /// Records schema changes that went on as they came.
    pub fn note_passed(&mut self) {
        for passed in std::mem::take(&mut self.inspector.passed) {
            let followed = guard::record_passed(self, &passed);
            self.following.extend(followed);
        }
    }

    /// What becomes of a schema change is recorded when it is known.
    pub fn follow(&mut self, number: u64, following: guard::Following) {
        self.following.insert(number, following);
    }

    /// Records what became of schema changes that went on as they came.
    fn note_fates(&mut self) {
        for one in self.inspector.fates.settled() {
            if let Some(event) = self.following.remove(&one.number) {
                guard::record_fate(&self.worker, event, one);
            }
        }
    }

    async fn serve_all(&mut self) -> Result<End, SessionError> {
        loop {
            let event = std::future::poll_fn(|cx| self.poll_event(cx)).await;
            match event {
                Ok(Event::Intercept(intercept)) => guard::handle(self, intercept).await?,
                Ok(Event::ServerClosed) => return Ok(self.server_closed().await),
                Ok(Event::ShutDown) => {
                    self.farewell(error::shutting_down()).await;
                    return Ok(End::ShuttingDown);
                }
                Ok(Event::HoldsUp) => {
                    if let Some(end) = self.give_up().await? {
                        return Ok(end);
                    }
                }
                Ok(Event::Unrecordable(why)) => {
                    self.farewell(error::no_record_of_passed(&why)).await;
                    return Ok(End::Unrecordable);
                }
                Err(SessionError::Frame(bad)) => {
                    self.farewell(error::protocol_violation(&bad.to_string()))
                        .await;
                    return Err(bad.into());
                }
                Err(SessionError::Server(failure)) => {
                    return match self.server_closed().await {
                        End::ServerGone => Err(SessionError::Server(failure)),
                        end => Ok(end),
                    };
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// From now on it is looked whether others wait for the open transaction, if a schema change has run in it.
    pub fn watch_locks(&mut self) {
        let operator = &self.worker.shared.operator;
        let is_open = self.inspector.pipeline.status() != TransactionStatus::Idle;
        if !(is_open && self.inspector.transaction.holds_locks() && operator.is_on()) {
            self.holds_up = None;
        } else if self.holds_up.is_none() {
            let max_hold = self.worker.setup().config.locks.max_hold;
            let waited = others_waited(operator.clone(), self.who.server_pid, max_hold);
            self.holds_up = Some(HoldsUp(Box::pin(waited)));
        }
    }

    /// Ready when others have waited for the open transaction for too long.
    fn poll_holds_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(HoldsUp(waited)) = &mut self.holds_up else {
            return Poll::Pending;
        };
        if self.inspector.pipeline.status() == TransactionStatus::Idle {
            self.holds_up = None;
            return Poll::Pending;
        }
        let ready = waited.as_mut().poll(cx);
        if ready.is_ready() {
            self.holds_up = None;
        }
        ready
    }

    /// Has the open transaction fail, with which its locks go; where that didn't help, or it is at work, the session
    /// ends.
    async fn give_up(&mut self) -> Result<Option<End>, SessionError> {
        let is_open = self.inspector.pipeline.status() == TransactionStatus::InTransaction;
        if is_open && self.inspector.is_between_messages() && self.client.unread.is_empty() {
            guard::give_up(self).await?;
            return Ok(None);
        }
        let max_hold = self.worker.setup().config.locks.max_hold;
        self.farewell(error::others_waited_fatally(max_hold)).await;
        Ok(Some(End::HeldUp))
    }

    /// What is done about schema changes: as the settings say, or as the client does that may.
    pub fn mode(&self, config: &Config) -> Mode {
        match self.inspector.mode.current() {
            Some(mode) if config.policy.may_override(&self.who.user) => mode,
            _ => config.guard.mode,
        }
    }

    /// Whether the role's own setting of the mode counts, and hasn't been read. Nobody else's is
    /// ever read.
    pub fn mode_depends_on_role(&self) -> bool {
        let setup = self.worker.setup.borrow();
        self.inspector.mode.depends_on_role() && setup.config.policy.may_override(&self.who.user)
    }

    /// Tells the client what its `lockkeeper.mode` comes to, and records it.
    fn note_modes(&mut self, config: &Config) {
        for value in std::mem::take(&mut self.inspector.modes_set) {
            let notice = guard::record_mode(self, &value, config);
            self.notices.extend(notice.filter(|_| config.guard.notices));
        }
        // Not into the midst of one of the server's messages.
        if self.notices.is_empty() || !self.walker.is_between_frames() {
            return;
        }
        let mut buffer = BytesMut::new();
        for notice in std::mem::take(&mut self.notices) {
            backend::put_notice(&mut buffer, error::notice(&notice, ""));
        }
        self.client.queue(&buffer);
    }

    /// The start-up message sets `lockkeeper.mode`.
    pub fn start_mode(&mut self, value: String) {
        self.inspector.mode.started_with(mode::parse(&value));
        self.inspector.modes_set.push(value);
    }

    /// The session is about to begin: says what must be said before.
    pub fn begin(&mut self) {
        if !self.inspector.modes_set.is_empty() {
            let setup = self.worker.setup();
            self.note_modes(&setup.config);
        }
    }

    /// What is unread will be looked at again.
    pub fn recheck(&mut self) {
        self.recheck = true;
    }

    /// The server has gone: what it said has been relayed; if it said nothing, the client is told.
    async fn server_closed(&mut self) -> End {
        let end = if self.inspector.terminated {
            End::ClientClosed
        } else if let Some(sqlstate) = self.walker.fatal.take() {
            End::ServerEnded(sqlstate)
        } else if self.client_eof_forwarded {
            End::ClientGone
        } else {
            self.farewell(error::server_gone()).await;
            return End::ServerGone;
        };
        let _ = tokio::time::timeout(FAREWELL, self.client.drain()).await;
        end
    }

    /// Tells the client why this is the end.
    async fn farewell(&mut self, fields: ErrorFields) {
        if self.walker.is_between_frames() {
            let mut buffer = BytesMut::new();
            backend::put_error(&mut buffer, fields);
            self.client.queue(&buffer);
        }
        // A client that doesn't read is not waited for.
        let shutdown = std::future::poll_fn(|cx| self.client.poll_shutdown(cx));
        let _ = tokio::time::timeout(FAREWELL, shutdown).await;
    }

    /// Relays until something else must be done. Cancel-safe: all state is in the session.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, SessionError>> {
        if let Poll::Ready(event) = self.poll_relay(cx) {
            return Poll::Ready(event);
        }
        if self.poll_holds_up(cx).is_ready() {
            return Poll::Ready(Ok(Event::HoldsUp));
        }
        match self.phase.poll(cx) {
            Phase::Closing => Poll::Ready(Ok(Event::ShutDown)),
            Phase::Draining if self.stands_idle() && self.poll_first_words(cx).is_ready() => {
                Poll::Ready(Ok(Event::ShutDown))
            }
            Phase::Draining | Phase::Running => Poll::Pending,
        }
    }

    /// Ready when the client has said something, or has had its time to.
    fn poll_first_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(since) = self.silent_since else {
            return Poll::Ready(());
        };
        let sleep = self
            .first_words
            .get_or_insert_with(|| Box::pin(sleep_until(since + FIRST_WORDS)));
        sleep.as_mut().poll(cx)
    }

    /// Nothing is under way: the client loses nothing when the session ends here.
    fn stands_idle(&self) -> bool {
        self.inspector.is_between_messages()
            && self.inspector.pipeline.status() == TransactionStatus::Idle
            && self.client.unread.is_empty()
            && self.client.queued_bytes() == 0
    }

    /// Both directions in turn. A direction that is stuck has left its waker with a socket, so it is
    /// not asked again in the same wake-up.
    fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, SessionError>> {
        let (mut upward, mut downward) = (Progress::Made, Progress::Made);
        for _ in 0..ROUNDS {
            if !matches!(upward, Progress::Stuck) || self.waiting {
                upward = self.poll_client(cx)?;
            }
            if let Progress::Event(event) = upward {
                return Poll::Ready(Ok(event));
            }
            if !matches!(downward, Progress::Stuck) {
                downward = self.poll_server(cx)?;
            }
            if let Progress::Event(event) = downward {
                return Poll::Ready(Ok(event));
            }
            if matches!((&upward, &downward), (Progress::Stuck, Progress::Stuck)) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Client to server.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<Progress, SessionError> {
        if self
            .server
            .poll_drained(cx)
            .map_err(SessionError::Server)?
            .is_pending()
        {
            return Ok(Progress::Stuck); // back-pressure: read no more than the server takes
        }
        // The server waits for data in a copy: it answers nothing before it has more.
        let pipeline = &self.inspector.pipeline;
        if self.waiting && (pipeline.is_synced() || pipeline.is_copying_in()) {
            self.waiting = false;
            self.recheck = true;
        }
        if let Some(classifying) = &mut self.classifying {
            let Poll::Ready(result) = Pin::new(classifying).poll(cx) else {
                return Ok(Progress::Stuck);
            };
            self.classifying = None;
            self.recheck = true;
            self.inspector.supply(result.unwrap_or_else(|failure| {
                tracing::error!(error = %failure, "a text could not be classified: it passes");
                Classified::Plain {
                    class: Class::Unreadable,
                    changes_lexical_settings: true,
                }
            }));
        }
        if std::mem::take(&mut self.recheck) && !self.client.unread.is_empty() {
            return self.use_unread(cx);
        }
        if self.waiting || self.client_eof_forwarded {
            return Ok(Progress::Stuck);
        }
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        match self
            .client
            .poll_read(cx, &mut scratch)
            .map_err(SessionError::Client)?
        {
            Poll::Pending => Ok(Progress::Stuck),
            Poll::Ready(0) => self.client_closed(cx),
            Poll::Ready(count) => {
                self.silent_since = None;
                worker.metrics.client_bytes.increment(count as u64);
                if self.client.unread.is_empty() {
                    let (used, progress) = self.inspect(cx, &scratch[..count])?;
                    self.client.unread.extend_from_slice(&scratch[used..count]);
                    return Ok(progress);
                }
                self.client.unread.extend_from_slice(&scratch[..count]);
                self.use_unread(cx)
            }
        }
    }

    fn use_unread(&mut self, cx: &mut Context<'_>) -> Result<Progress, SessionError> {
        let unread = std::mem::take(&mut self.client.unread);
        let (used, progress) = self.inspect(cx, &unread)?;
        self.client.unread = unread;
        self.client.consume(used);
        Ok(progress)
    }

    /// The client has closed its direction: the server is told so, and its answers still go out.
    fn client_closed(&mut self, cx: &mut Context<'_>) -> Result<Progress, SessionError> {
        let rest = std::mem::take(&mut self.client.unread); // an unfinished message: the server can't run it
        self.server.send(cx, &rest).map_err(SessionError::Server)?;
        // Not waiting for the socket here: what is left is sent with the next poll, or lost with the client.
        let _ = self
            .server
            .poll_shutdown(cx)
            .map_err(SessionError::Server)?;
        self.client_eof_forwarded = true;
        Ok(Progress::Made)
    }

    /// The Query at the front has been sent, and its answer is about to be told: everybody learns of
    /// it who follows the client's messages.
    ///
    /// # Errors
    /// [`SessionError::Frame`].
    pub fn sent_by_plan(&mut self, intercept: &Intercept) -> Result<(), SessionError> {
        let worker = Rc::clone(&self.worker);
        let setup = worker.setup();
        let mut cache = worker.cache.borrow_mut();
        let mut tools = Tools {
            cache: &mut cache,
            metrics: &worker.metrics,
            max_text: usize::MAX,
            guarding: Guarding::Nothing,
            must_refuse: &|| None,
        };
        let frame = self.client.unread.get(..intercept.frame_bytes);
        let frame = frame.unwrap_or_default().to_vec();
        self.inspector.pass_next();
        let classified = Classified::Interesting(Arc::clone(&intercept.text));
        self.inspector.supply(classified);
        self.inspector.next(&frame, &mut tools)?;
        self.client.consume(frame.len());
        if !self.inspector.modes_set.is_empty() {
            self.note_modes(&setup.config);
        }
        self.recheck();
        Ok(())
    }

    /// Looks at the client's bytes and sends on what goes on; how many were used.
    fn inspect(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
    ) -> Result<(usize, Progress), SessionError> {
        let worker = Rc::clone(&self.worker);
        let setup = worker.setup.borrow();
        let config = &setup.config;
        let mut cache = worker.cache.borrow_mut();
        let mode = self.mode(config);
        let must_refuse = || {
            let enforces = mode == Mode::Enforce;
            enforces.then(|| worker.cannot_record(config)).flatten()
        };
        let mut tools = Tools {
            cache: &mut cache,
            metrics: &worker.metrics,
            max_text: usize::try_from(config.guard.max_text.as_u64()).unwrap_or(usize::MAX),
            guarding: match mode {
                Mode::Off => Guarding::Nothing,
                Mode::Enforce | Mode::Observe if self.replication => Guarding::Report(REPLICATION),
                Mode::Enforce | Mode::Observe => Guarding::Stop,
            },
            must_refuse: &must_refuse,
        };
        let (mut from, mut at) = (0, 0);
        let mut progress = Progress::Made;
        loop {
            match self.inspector.next(&input[at..], &mut tools)? {
                Span::Forward(count) => at += count,
                Span::Drop(count) => {
                    self.server
                        .send(cx, &input[from..at])
                        .map_err(SessionError::Server)?;
                    at += count;
                    from = at;
                }
                Span::NeedMore => break,
                Span::Wait => {
                    self.waiting = true;
                    break;
                }
                Span::Classify(job) => {
                    self.classifying = Some(tokio::task::spawn_blocking(move || job.run()));
                    break;
                }
                Span::Stop(intercept) => {
                    progress = Progress::Event(Event::Intercept(intercept));
                    break;
                }
                Span::Refuse(why) => {
                    progress = Progress::Event(Event::Unrecordable(why));
                    break;
                }
            }
        }
        self.server
            .send(cx, &input[from..at])
            .map_err(SessionError::Server)?;
        self.note_passed();
        if !(self.inspector.modes_set.is_empty() && self.notices.is_empty()) {
            self.note_modes(config);
        }
        Ok((at, progress))
    }

    /// Server to client.
    fn poll_server(&mut self, cx: &mut Context<'_>) -> Result<Progress, SessionError> {
        if self
            .client
            .poll_drained(cx)
            .map_err(SessionError::Client)?
            .is_pending()
        {
            return Ok(Progress::Stuck);
        }
        let worker = Rc::clone(&self.worker);
        if !self.server.unread.is_empty() {
            let unread = std::mem::take(&mut self.server.unread); // left by a plan
            self.walker
                .walk(&unread, &mut self.inspector, &worker.metrics)?;
            self.client
                .send(cx, &unread)
                .map_err(SessionError::Client)?;
            if self.inspector.fates.has_settled() {
                self.note_fates();
            }
            return Ok(Progress::Made);
        }
        let mut scratch = worker.scratch.borrow_mut();
        match self
            .server
            .poll_read(cx, &mut scratch)
            .map_err(SessionError::Server)?
        {
            Poll::Pending => Ok(Progress::Stuck),
            Poll::Ready(0) => Ok(Progress::Event(Event::ServerClosed)),
            Poll::Ready(count) => {
                worker.metrics.server_bytes.increment(count as u64);
                self.walker
                    .walk(&scratch[..count], &mut self.inspector, &worker.metrics)?;
                self.client
                    .send(cx, &scratch[..count])
                    .map_err(SessionError::Client)?;
                if self.inspector.fates.has_settled() {
                    self.note_fates();
                }
                if !self.notices.is_empty() {
                    let setup = worker.setup();
                    self.note_modes(&setup.config);
                }
                Ok(Progress::Made)
            }
        }
    }

    /// The server sent something as a plan ran: the walker and the inspector learn of it.
    pub fn note_server_frame(&mut self, header: Header, body: &[u8]) {
        self.walker.note(header.tag, body);
        self.inspector
            .received(header.tag, body, &self.worker.metrics);
    }
}

#[derive(Debug)]
enum Progress {
    /// Bytes moved.
    Made,
    /// Nothing to do before a socket wakes us.
    Stuck,
    /// The relay stops.
    Event(Event),
}
