//! The client's own server session, as a plan uses it: one command batch at a time, while the
//! client is watched.

mod held;
mod journalled;
mod watched;
mod within;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::planned::Planned;
use super::session::{Session, SessionError};
use super::startup;
use super::turn::{self, STALE_AFTER};
use super::worker::Phase;
use crate::catalog::{FactRequest, Facts};
use crate::error::{self, Interrupt};
use crate::exec::acquire::{LOCK_NOT_AVAILABLE, QUERY_CANCELED, is_about_locks};
use crate::exec::operator::Operator;
use crate::exec::registry::{PlanHandle, PlanInfo};
use crate::exec::session::{Command, Moment, Point, Pressure, Reply, RunError, Stage};
use crate::journal::store::Entry;
use crate::pg::introspect::{self, FactsError};
use crate::plan::course::Course;
use crate::plan::{Limits, Notices, Step};
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{HEADER_BYTES, Header};
use crate::wire::frontend;
use crate::wire::startup::cancel_request;

/// How much a client may send ahead while a plan runs, in bytes; then it is no longer read, and no
/// longer watched.
const LOOK_AHEAD_BYTES: usize = 64 << 10;
/// The longest message of the server's that is held while a plan runs, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// The most that is kept for a client that doesn't read while its plan runs, in bytes; NOTICEs
/// beyond that are dropped.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Rows of one answer that are kept.
const MAX_ROWS: usize = 10_000;

pub(super) use self::held::{Held, Inserted, others_waited};
use self::watched::Watched;
pub(super) use self::within::{SETTINGS, Within};

/// The server session of a [`Session`], for the time of one statement.
pub struct ServerSession<'a> {
    session: &'a mut Session,
    began: Instant,
    /// Time that doesn't count as elapsed.
    set_aside: Duration,
    interrupt: Option<Interrupt>,
    /// What has interrupted the plan and is being honoured.
    honoured: Option<Interrupt>,
    /// When the client's own `statement_timeout` is spent.
    timeout: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The point that was reached last, where tests hold it.
    point: Option<Point>,
    cancelling: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Ends when lockkeeper closes its sessions.
    closing: Pin<Box<dyn Future<Output = ()>>>,
    /// The client sent a Query, and the server hasn't learned of it.
    forgets_unnamed: bool,
    /// NOTICEs of lockkeeper's own go to the client.
    notices: bool,
    /// `client_min_messages` lets NOTICEs through.
    hears_notices: bool,
    /// The client's own Parse has brought it the server's NOTICEs about the text.
    hides_parse_notices: bool,
    scratch: Vec<u8>,
    /// When the locks of the batch that runs must have been had, and how many of its commands take
    /// them.
    locks_until: Option<(Pin<Box<tokio::time::Sleep>>, usize)>,
    /// Ready when others have waited for too long for what runs.
    holds_up: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// The time of what runs was over.
    out_of_time: bool,
    /// The build that runs.
    watched: Option<Watched>,
    /// Where the plan stands.
    stage: Option<Stage>,
    /// The stage of the step at work, to which it returns when what it has waited for is over.
    working: Option<Stage>,
    /// The plan as others see it.
    plan: Option<Planned>,
    /// What the plan was made of.
    judged: Option<Judged>,
    /// The plan in the journal.
    entries: Vec<Entry>,
    /// Another lockkeeper has taken the plan over.
    is_taken_over: bool,
    /// How far the plan is, as written down.
    course: Course,
    /// How long the plan goes on without its client.
    outlives: Option<Duration>,
    /// Ready when the client has gone for that long, and nobody else waits for the outcome.
    unwanted: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// When the locks of the last batch had been taken, and for how long they were held.
    locked_at: Option<Instant>,
    lock_hold: Duration,
    /// The client's own transaction, in which the plan runs.
    within: Option<Within>,
    /// Settings of that transaction which are taken off, with their values.
    suspended: Vec<(String, String)>,
}

/// The facts that a plan was made of, to see whether the same plan would be made now.
struct Judged {
    request: FactRequest,
    budget: Duration,
    is_same: Box<dyn Fn(&Facts) -> bool>,
    at: Instant,
}

/// One message of the server's.
#[derive(Clone)]
struct Message {
    header: Header,
    frame: BytesMut,
}

impl Message {
    fn body(&self) -> &[u8] {
        self.frame.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl<'a> ServerSession<'a> {
    /// Takes the session for one statement.
    pub fn new(session: &'a mut Session) -> ServerSession<'a> {
        session.cancel.reset();
        let mut phase = session.worker.shared.phase.clone();
        let closing = Box::pin(async move {
            // An error means that whoever says so is gone: then there is nothing to wait for.
            let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
        });
        let notices = session.worker.setup().config.guard.notices;
        ServerSession {
            session,
            began: Instant::now(),
            set_aside: Duration::ZERO,
            interrupt: None,
            honoured: None,
            timeout: None,
            point: None,
            cancelling: None,
            closing,
            forgets_unnamed: false,
            notices,
            hears_notices: true,
            hides_parse_notices: false,
            scratch: vec![0; 8192],
            locks_until: None,
            holds_up: None,
            out_of_time: false,
            watched: None,
            stage: None,
            working: None,
            plan: None,
            judged: None,
            entries: Vec::new(),
            is_taken_over: false,
            course: Course::Waiting,
            outlives: None,
            unwanted: None,
            locked_at: None,
            lock_hold: Duration::ZERO,
            within: None,
            suspended: Vec::new(),
        }
    }

    /// A plan was made of the facts of a request; the same would be of those that are the same so.
    pub fn judged(
        &mut self,
        request: FactRequest,
        budget: Duration,
        is_same: impl Fn(&Facts) -> bool + 'static,
    ) {
        self.judged = Some(Judged {
            request,
            budget,
            is_same: Box::new(is_same),
            at: Instant::now(),
        });
    }

    /// `client_min_messages` of the session: NOTICEs below it aren't sent.
    pub fn obey(&mut self, client_min_messages: &str) {
        self.hears_notices =
            !matches!(client_min_messages, "warning" | "error" | "fatal" | "panic");
        self.notices &= self.hears_notices;
    }

    /// Tells the client what the server would: in its words, and only if it listens.
    pub fn servers_notice(&mut self, sqlstate: &str, message: &str) {
        if !self.hears_notices {
            return;
        }
        let mut buffer = BytesMut::new();
        backend::put_notice(&mut buffer, error::servers_notice(sqlstate, message));
        self.session.client.queue(&buffer);
    }

    /// Ends the client's open batch, in which only a Parse, a Bind and such have run, so that the
    /// server stands outside any transaction. Their answers go to the client; `false` when one of
    /// them was an error.
    ///
    /// # Errors
    /// [`RunError::Gone`].
    pub async fn end_batch(&mut self) -> Result<bool, RunError> {
        self.hides_parse_notices = true;
        let mut buffer = BytesMut::new();
        frontend::put_sync(&mut buffer);
        self.session.server.queue(&buffer);
        let mut ok = true;
        loop {
            let message = self.message().await?;
            if message.header.tag == b'Z' {
                self.has_status(&message);
                return Ok(ok);
            }
            ok &= message.header.tag != b'E';
            self.session
                .note_server_frame(message.header, message.body());
            self.session.client.queue(&message.frame);
        }
    }

    /// The next message of the server's. The client is watched meanwhile: when it goes away, or
    /// lockkeeper ends, the server is asked to cancel, once.
    async fn message(&mut self) -> Result<Message, RunError> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            match std::future::poll_fn(|cx| self.poll_wait(cx)).await? {
                Wake::Server => {}
                Wake::Interrupt(interrupt) if self.interrupt.is_none() => {
                    self.interrupt = Some(interrupt);
                    self.cancel_server();
                }
                Wake::Interrupt(_) => {}
                Wake::OutOfTime => {
                    self.out_of_time = true;
                    self.cancel_server();
                }
                Wake::Stopped => self.cancel_server(),
                Wake::Told(message, detail) => {
                    crate::exec::session::Session::notice(self, &message, &detail);
                }
            }
        }
    }

    fn take_message(&mut self) -> Result<Option<Message>, RunError> {
        let unread = &mut self.session.server.unread;
        let Some(header) = Header::parse(unread).map_err(|_| RunError::Gone)? else {
            return Ok(None);
        };
        if header.frame_bytes() > MAX_MESSAGE_BYTES {
            return Err(RunError::Gone);
        }
        if unread.len() < header.frame_bytes() {
            return Ok(None);
        }
        let frame = unread.split_to(header.frame_bytes());
        Ok(Some(Message { header, frame }))
    }

    /// Ready when the server sent something, or something else must be done.
    fn poll_wait(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<Wake, RunError>> {
        if let Some(cancelling) = &mut self.cancelling
            && cancelling.as_mut().poll(cx).is_ready()
        {
            self.cancelling = None;
        }
        if self
            .session
            .server
            .poll_drained(cx)
            .map_err(|_| RunError::Gone)?
            .is_ready()
            && let Poll::Ready(count) = self
                .session
                .server
                .poll_fill(cx, &mut self.scratch)
                .map_err(|_| RunError::Gone)?
        {
            return if count == 0 {
                Poll::Ready(Err(RunError::Gone))
            } else {
                Poll::Ready(Ok(Wake::Server))
            };
        }
        if let Some((until, _)) = &mut self.locks_until
            && until.as_mut().poll(cx).is_ready()
        {
            self.locks_until = None;
            return Poll::Ready(Ok(Wake::OutOfTime));
        }
        if let Some(holds_up) = &mut self.holds_up
            && holds_up.as_mut().poll(cx).is_ready()
        {
            self.holds_up = None;
            self.is_held_up();
            return Poll::Ready(Ok(Wake::OutOfTime));
        }
        if let Some(wake) = self.poll_watched(cx) {
            return Poll::Ready(Ok(wake));
        }
        if let Some(plan) = &mut self.plan
            && plan.poll_stop(cx).is_ready()
        {
            return Poll::Ready(Ok(Wake::Stopped));
        }
        self.poll_interrupt(cx)
            .map(|interrupt| Ok(Wake::Interrupt(interrupt)))
    }

    /// Ready when the client has gone, its time is over, or lockkeeper ends. A cancel request needs nothing here: it
    /// is forwarded.
    fn poll_interrupt(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Interrupt> {
        if self.interrupt.is_some() || self.honoured == Some(Interrupt::Shutdown) {
            return Poll::Pending;
        }
        if let Some(timeout) = &mut self.timeout
            && timeout.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Interrupt::TimedOut);
        }
        if self.honoured == Some(Interrupt::ClientGone) {
            return self.closing.as_mut().poll(cx).map(|()| Interrupt::Shutdown);
        }
        if !self.has_lost_client() && self.poll_client_gone(cx) && !self.outlives_client() {
            return Poll::Ready(Interrupt::ClientGone);
        }
        if self.poll_unwanted(cx).is_ready() {
            return Poll::Ready(Interrupt::ClientGone);
        }
        self.closing.as_mut().poll(cx).map(|()| Interrupt::Shutdown)
    }

    /// Whether the client has gone, as far as can be seen now.
    fn poll_client_gone(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        let client = &mut self.session.client;
        if let Poll::Ready(Err(_)) = client.poll_drained(cx) {
            return true;
        }
        while !client.eof && client.unread.len() < LOOK_AHEAD_BYTES {
            match client.poll_fill(cx, &mut self.scratch) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        false
    }

    fn cancel_server(&mut self) {
        let worker = Rc::clone(&self.session.worker);
        let packet = cancel_request(&self.session.cancel_key);
        let server = self.session.cancel.server();
        // An earlier one may be on its way: nothing goes on before the server has had both.
        let earlier = self.cancelling.take();
        self.cancelling = Some(Box::pin(async move {
            if let Some(earlier) = earlier {
                earlier.await;
            }
            startup::forward_cancel(&worker.setup(), &packet, server).await
        }));
    }

    /// Relays what the client must see though a plan runs; keeps what the plan asked for.
    fn take_in(&mut self, message: &Message, batch: &[Command], answers: &mut Answers) {
        let relay = match message.header.tag {
            b'A' | b'S' => true,
            b'N' => {
                let command = batch.get(answers.replies.len());
                let notices = command.map_or(Notices::None, |command| command.notices);
                self.is_for_client(notices, message.body(), answers.is_bound)
            }
            b'2' => {
                answers.is_bound = true;
                false
            }
            b'D' => {
                if answers.current.rows.len() < MAX_ROWS {
                    answers
                        .current
                        .rows
                        .extend(backend::data_row(message.body()));
                }
                false
            }
            b'C' | b'I' => {
                let tag =
                    String::from_utf8_lossy(backend::command_tag(message.body())).into_owned();
                answers.is_bound = false;
                answers.replies.push(Reply {
                    tag,
                    ..std::mem::take(&mut answers.current)
                });
                if let Some((_, locks)) = &self.locks_until
                    && answers.replies.len() >= *locks
                {
                    self.locks_until = None;
                    self.locked_at = Some(Instant::now());
                }
                false
            }
            b'E' => {
                answers.error = Some(message.clone());
                false
            }
            _ => false,
        };
        if message.header.tag == b'S' {
            self.session.inspector.parameter_status(message.body());
        }
        if relay && self.session.client.queued_bytes() < MAX_QUEUED_BYTES {
            self.session.client.queue(&message.frame);
        }
    }

    /// Time that was spent waiting for a window is no part of what the plan takes, nor of its deadline.
    pub fn set_aside(&mut self, waited: Duration) {
        self.set_aside += waited;
    }

    /// The client's own `statement_timeout` ends the statement, whatever it waits for.
    pub fn obey_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout.map(|timeout| {
            let end = self.began + self.set_aside + timeout;
            Box::pin(tokio::time::sleep_until(end.into()))
        });
    }

    /// What has interrupted the plan, if anything, honoured or not.
    pub fn interrupted_by(&self) -> Option<Interrupt> {
        let now = crate::exec::session::Session::interrupt(self);
        self.honoured.max(now)
    }

    /// A batch that does a step's work is about to be sent.
    async fn is_about_to_work(&mut self, batch: &[Command]) {
        let works = |command: &Command| command.notices != Notices::None;
        if !batch.iter().any(works) {
            return;
        }
        if self.working.is_some() && !matches!(self.stage, Some(Stage::Runs { .. })) {
            self.stage.clone_from(&self.working); // what it has waited for is over
            self.publish_stage();
        }
        if let Some(Point { step, moment }) = self.point
            && matches!(moment, Moment::Before | Moment::During)
        {
            let moment = Moment::During;
            crate::exec::session::Session::reached(self, Point { step, moment }).await;
        }
    }

    /// The statement came by Query.
    pub fn came_by_query(&mut self) {
        self.forgets_unnamed = true;
    }

    fn is_for_client(&self, notices: Notices, body: &[u8], is_bound: bool) -> bool {
        if self.hides_parse_notices && !is_bound {
            return false;
        }
        match notices {
            Notices::None => false,
            Notices::All => true,
            Notices::AllButWarnings => ErrorFields::parse(body).severity != "WARNING",
        }
    }

    /// Whether an error comes from our own cancelling; asked once.
    fn ran_out_of_time(&mut self, fields: &ErrorFields) -> bool {
        std::mem::take(&mut self.out_of_time)
            && fields.sqlstate == QUERY_CANCELED
            && crate::exec::session::Session::interrupt(self).is_none()
    }

    fn publish_stage(&self) {
        if let (Some(plan), Some(stage)) = (self.plan(), &self.stage) {
            plan.set_stage(stage.clone());
        }
    }

    /// Lets others see what is worked on, and stop it; until this session is dropped.
    pub fn begin_plan(&mut self, info: PlanInfo) {
        let plans = &self.session.worker.shared.plans;
        let token = Arc::clone(&self.session.cancel);
        self.plan = Some(Planned::begin(plans, info, token));
    }

    /// What others see of it.
    pub fn plan(&self) -> Option<&PlanHandle> {
        self.plan.as_ref().map(Planned::handle)
    }

    /// Between commands there is nothing to tell the server when the plan is to be stopped.
    fn is_between_commands(&self) {
        if let Some(plan) = &self.plan {
            plan.is_between_commands();
        }
    }

    /// The session, to answer on.
    pub fn session(&mut self) -> &mut Session {
        self.session
    }
}

impl ServerSession<'_> {
    /// Runs commands as they are, in one round trip.
    async fn run_batch(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        self.is_between_commands();
        self.is_about_to_work(batch).await;
        self.out_of_time = false;
        let mut buffer = BytesMut::new();
        if std::mem::take(&mut self.forgets_unnamed) {
            frontend::put_forget_unnamed(&mut buffer);
        }
        // Before what works under the locks: that they have been had is told at once, and not at its end.
        let locks = self.locks_until.as_ref().map(|(_, locks)| *locks);
        for (at, command) in batch.iter().enumerate() {
            if locks == Some(at) {
                frontend::put_flush(&mut buffer);
            }
            let parameters: Vec<&str> = command.parameters.iter().map(String::as_str).collect();
            frontend::put_command(&mut buffer, &command.sql, &parameters);
        }
        frontend::put_sync(&mut buffer);
        self.session.server.queue(&buffer);
        let mut answers = Answers::default();
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                Err(gone) => {
                    // What the server said last is what the client should read.
                    if let Some(last) = answers.error {
                        self.session.note_server_frame(last.header, last.body());
                        self.session.client.queue(&last.frame);
                    }
                    return Err(gone);
                }
            };
            if message.header.tag == b'Z' {
                self.has_status(&message);
                break;
            }
            self.take_in(&message, batch, &mut answers);
        }
        if let Some(cancelling) = self.cancelling.take() {
            cancelling.await; // so that a late cancel can't hit the next batch
        }
        match answers.error {
            Some(error) => {
                let fields = ErrorFields::parse(error.body());
                let is_late = self.interrupt == Some(Interrupt::TimedOut);
                Err(RunError::Sql(Box::new(
                    // It was ours to ask the server to cancel; the client asked for something else.
                    if is_late && fields.sqlstate == QUERY_CANCELED {
                        error::statement_timeout()
                    } else {
                        fields
                    },
                )))
            }
            None => Ok(answers.replies),
        }
    }
}

/// Why a wait ended.
enum Wake {
    /// The server sent something.
    Server,
    /// The client has gone, or lockkeeper ends.
    Interrupt(Interrupt),
    /// What runs has had its time.
    OutOfTime,
    /// An operator stops the plan.
    Stopped,
    /// The client is to be told.
    Told(String, String),
}

#[derive(Default)]
struct Answers {
    replies: Vec<Reply>,
    current: Reply,
    /// The current command's Bind is complete.
    is_bound: bool,
    error: Option<Message>,
}

impl crate::exec::session::Session for ServerSession<'_> {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let Some(within) = &mut self.within else {
            return self.run_batch(batch).await;
        };
        let (commands, last) = within.translated(batch);
        let mut replies = self.run_batch(&commands).await?;
        let mut take = |at: usize| replies.get_mut(at).map(std::mem::take);
        Ok(last.into_iter().filter_map(&mut take).collect())
    }
    async fn is_as_judged(&mut self) -> bool {
        let Some(mut judged) = self.judged.take() else {
            return true;
        };
        if judged.at.elapsed() > STALE_AFTER {
            match introspect::facts(self, &judged.request, judged.budget).await {
                Ok(facts) if (judged.is_same)(&facts) => judged.at = Instant::now(),
                // Whoever holds a relation is in the way of the plan as well; a server that has gone is
                // noticed next.
                Err(FactsError::Run(RunError::Sql(fields))) if is_about_locks(&fields.sqlstate) => {
                }
                Err(FactsError::Run(RunError::Gone)) => {}
                Ok(_) | Err(_) => return false,
            }
        }
        self.judged = Some(judged);
        true
    }

    fn operator(&self) -> Option<Operator> {
        let operator = &self.session.worker.shared.operator;
        operator.is_on().then(|| operator.clone())
    }

    async fn run_within(
        &mut self,
        batch: &[Command],
        locks: usize,
        budget: Duration,
    ) -> Result<Vec<Reply>, RunError> {
        if locks > 0 {
            self.locks_until = Some((Box::pin(tokio::time::sleep(budget)), locks));
        }
        self.locked_at = None;
        let began = Instant::now();
        let result = self.run(batch).await;
        self.locks_until = None;
        self.lock_hold = self.locked_at.unwrap_or(began).elapsed();
        match result {
            Err(RunError::Sql(fields)) if self.was_held_up() => Err(RunError::Sql(fields)),
            Err(RunError::Sql(mut fields)) if self.ran_out_of_time(&fields) => {
                LOCK_NOT_AVAILABLE.clone_into(&mut fields.sqlstate);
                "canceling statement due to lock timeout".clone_into(&mut fields.message);
                Err(RunError::Sql(fields))
            }
            result => result,
        }
    }

    async fn run_watched(
        &mut self,
        batch: &[Command],
        pid: u32,
        limit: Duration,
    ) -> Result<Vec<Reply>, RunError> {
        let operator = self.operator().filter(|_| pid > 0);
        let is_watched = operator.is_some() || !limit.is_zero();
        self.watched = is_watched.then(|| Watched::new(operator, pid, limit));
        let result = self.run(batch).await;
        self.watched = None;
        match result {
            Err(RunError::Sql(fields)) if self.ran_out_of_time(&fields) => {
                Err(RunError::Sql(Box::new(error::build_took_too_long(limit))))
            }
            result => result,
        }
    }

    fn lock_hold(&mut self) -> Duration {
        self.lock_hold
    }

    fn is_journalled(&self) -> bool {
        !self.entries.is_empty()
    }

    async fn note(&mut self, course: Course) -> Result<(), RunError> {
        self.note_course(course).await
    }

    fn unfolded(&mut self, step: usize, otherwise: &[Step]) {
        if let Some(entry) = self.entries.first_mut() {
            entry.unfold(step, otherwise);
        }
    }

    async fn enter_slot(&mut self, limits: Limits) -> Result<Duration, RunError> {
        turn::slot(self, limits).await
    }

    fn leave_slot(&mut self) {
        if let Some(entry) = self.entries.first() {
            entry.leave_slot();
        }
    }

    async fn pressure(&mut self) -> Option<Pressure> {
        self.operator()?.pressure(self.session.who.server_pid).await
    }

    fn stage(&mut self, stage: Stage) {
        match &stage {
            Stage::Runs { .. } => self.working = Some(stage.clone()),
            Stage::Queued { .. } | Stage::AwaitsLock { .. } | Stage::TakesBack => {}
            Stage::Judging | Stage::AwaitsWindow { .. } | Stage::AwaitsSession { .. } => {
                self.working = None;
            }
        }
        self.stage = Some(stage);
        self.publish_stage();
    }

    async fn reached(&mut self, point: Point) {
        let failpoints = self.session.worker.shared.failpoints.clone();
        if failpoints.is_armed() {
            self.point = Some(point);
            failpoints.reached(point).await;
            // What happened meanwhile is noticed before the plan goes on.
            self.sleep(Duration::from_millis(1)).await;
        }
    }

    async fn sleep(&mut self, duration: Duration) {
        let cancel = Arc::clone(&self.session.cancel);
        let asked = tokio::select! {
            () = tokio::time::sleep(duration) => None,
            () = cancel.requested() => Some(Interrupt::Cancelled),
            interrupt = std::future::poll_fn(|cx| self.poll_interrupt(cx)) => Some(interrupt),
        };
        self.interrupt = self.interrupt.or(asked);
    }

    fn forgive(&mut self) {
        let now = self.interrupt();
        self.session.cancel.reset();
        self.timeout = None;
        self.interrupt = None;
        // Of two, that which ends more.
        self.honoured = self.honoured.max(now);
    }

    fn honoured(&self) -> Option<Interrupt> {
        self.honoured
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let cancelled = self
            .session
            .cancel
            .is_requested()
            .then_some(Interrupt::Cancelled);
        let is_late = |timeout: &Pin<Box<tokio::time::Sleep>>| {
            timeout.deadline() <= tokio::time::Instant::now()
        };
        let late = self.timeout.as_ref().filter(|timeout| is_late(timeout));
        self.interrupt
            .or(cancelled)
            .or(late.map(|_| Interrupt::TimedOut))
    }

    fn notice(&mut self, message: &str, detail: &str) {
        if !self.notices || self.session.client.queued_bytes() >= MAX_QUEUED_BYTES {
            return;
        }
        let mut buffer = BytesMut::new();
        backend::put_notice(&mut buffer, error::notice(message, detail));
        self.session.client.queue(&buffer);
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.set_aside)
    }
}

/// Sends what is queued for the client.
///
/// # Errors
/// [`SessionError::Client`].
pub async fn flush_client(session: &mut Session) -> Result<(), SessionError> {
    session.client.drain().await.map_err(SessionError::Client)
}
