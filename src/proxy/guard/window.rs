//! Where a statement waits that the policy lets run in a window of time, or by an approval, only.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;

use super::record::Ended;
use super::{Case, Ending};
use crate::audit::event::WindowEntry;
use crate::catalog::Facts;
use crate::config::window::{Window, Windows, human_span};
use crate::config::{Config, PolicySettings};
use crate::error::{self, Interrupt};
use crate::exec::registry::PlanHandle;
use crate::exec::session::{Command, RunError, Session as _, Stage};
use crate::plan::Limits;
use crate::proxy::server_session::ServerSession;
use crate::proxy::turn::STALE_AFTER;
use crate::rules::other::NO_WINDOW;
use crate::rules::{Judgement, Refusal};
use crate::wire::backend::ErrorFields;

/// How often windows, settings and limits are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the client is told that it still waits.
const NOTICE_INTERVAL: Duration = Duration::from_secs(600);
/// How often the server session is used: its end is learned of, and `idle_session_timeout` and
/// firewalls don't end it.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What it is used for.
const HEARTBEAT_SQL: &str = "SELECT /* lockkeeper waits for a window of its policy */";

/// What is remembered of a statement's waiting while it is judged anew.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// It needs no window any more.
    approved: Cell<bool>,
    /// It is to be judged anew because it has waited.
    judge_anew: Cell<bool>,
    /// For the record.
    entry: RefCell<Option<WindowEntry>>,
}

impl Wait {
    /// Whether it is because of a wait that it is judged anew.
    pub(super) fn is_over(&self) -> bool {
        self.judge_anew.take()
    }

    /// What is recorded of it; `None` when no window was needed.
    pub(super) fn entry(&self) -> Option<WindowEntry> {
        self.entry.borrow().clone()
    }
}

/// What a wait came to.
enum Waited {
    /// It may run now.
    MayRun,
    /// What is known is old, or the policy is another.
    JudgeAnew,
    /// It doesn't run.
    Failed(Box<ErrorFields>),
    /// The server is gone.
    Gone,
}

/// What waits.
struct Waiter<'a> {
    /// Its command tag.
    tag: &'a str,
    /// The number of its plan.
    plan: u64,
    judgement: &'a Judgement,
    /// The policy that it was judged by.
    policy: &'a PolicySettings,
    /// What is left of the client's own.
    statement_timeout: Option<Duration>,
}

/// Where a wait stands.
#[derive(Debug, Clone, Copy)]
struct Standing<'a> {
    windows: &'a Windows,
    /// The window that opens next, and when; `None` when there is no window.
    opening: Option<(Timestamp, &'a Window)>,
    now: Timestamp,
    /// How long it has waited in all.
    waited: Duration,
    /// `queue.max_wait`.
    max_wait: Duration,
    /// How long it may still wait.
    left: Duration,
    /// It is the client's `statement_timeout` that says so.
    by_client: bool,
}

impl<'a> Standing<'a> {
    fn new(
        config: &'a Config,
        now: Timestamp,
        waited: Duration,
        client_left: Option<Duration>,
    ) -> Standing<'a> {
        let windows = &config.policy.windows;
        let max_wait = config.queue.max_wait;
        let left = max_wait.saturating_sub(waited);
        Standing {
            windows,
            opening: windows.next_opening(now),
            now,
            waited,
            max_wait,
            left: client_left.map_or(left, |client| left.min(client)),
            by_client: client_left.is_some_and(|client| client < left),
        }
    }

    fn is_open(&self) -> bool {
        self.opening.is_some_and(|(at, _)| at <= self.now)
    }

    /// How long until the next window opens.
    fn until_opening(&self) -> Option<Duration> {
        let (at, _) = self.opening?;
        Some(self.now.duration_until(at).unsigned_abs())
    }

    /// When the next window opens, and in how long.
    fn opens(&self) -> Option<String> {
        let (at, window) = self.opening?;
        let span = human_span(self.until_opening()?);
        Some(format!("{}, in {span}", window.clock(at)))
    }

    /// Which windows it may run in.
    fn allowed(&self) -> String {
        if self.windows.is_empty() {
            "after an approval only (policy.windows names no window)".to_owned()
        } else {
            format!("in a window only: {}", self.windows)
        }
    }

    /// What the client is told while it waits: message and detail.
    fn notice(&self, waiter: &Waiter<'_>) -> (String, String) {
        let (tag, judgement) = (waiter.tag, waiter.judgement);
        let message = match self.opens() {
            Some(opens) => format!("{tag} waits for a window: the next one opens {opens}"),
            None => format!("{tag} waits for an approval"),
        };
        let why = judgement.rule().map_or(String::new(), |rule| {
            format!("\nRule {}: {}", rule.name, rule.hazard)
        });
        let waited = if self.waited < TICK {
            String::new()
        } else {
            format!("It has waited {} so far. ", human_span(self.waited))
        };
        let limit = if self.by_client {
            "your statement_timeout"
        } else {
            "queue.max_wait"
        };
        let early = match self.until_opening() {
            Some(opening) if self.left < opening => ", before that window opens",
            _ => "",
        };
        let detail = format!(
            "The policy lets it run {}.{why}\n{waited}It is plan {}: \
             APPROVE {} in the console lets it run now. It is given up in {} ({limit}){early}. Nothing has been \
             changed: it can be cancelled at any time.",
            self.allowed(),
            waiter.plan,
            waiter.plan,
            human_span(self.left),
        );
        (message, detail)
    }

    /// Why it is refused when nothing came in time.
    fn refusal(&self, tag: &str) -> Refusal {
        let has_windows = !self.windows.is_empty();
        let span = human_span(self.waited.min(self.max_wait));
        let message = match (has_windows, self.max_wait.is_zero()) {
            (true, true) => format!("{tag} may run in a window of time only, and none is open"),
            (true, false) => {
                format!("{tag} has waited {span} for a window of time, and none has opened")
            }
            (false, true) => {
                format!("{tag} may run in a window of time only, and policy.windows names none")
            }
            (false, false) => format!("{tag} has waited {span} for an approval, and none came"),
        };
        let opens = self.opens().map_or(String::new(), |opens| {
            format!(" The next one opens {opens}.")
        });
        let max_wait = human_span(self.max_wait);
        let hint = if has_windows {
            format!(
                "Nothing was changed. Send it again when a window is open, or raise queue.max_wait (now {max_wait})."
            )
        } else {
            "Nothing was changed. Name windows in policy.windows, or set the rule to another action in policy.rules."
                .to_owned()
        };
        Refusal {
            sqlstate: NO_WINDOW,
            message,
            detail: format!("The policy lets it run {}.{opens}", self.allowed()),
            hint,
        }
    }

    /// What those who look from outside are told that it waits for.
    fn until(&self) -> String {
        match self.opens() {
            Some(opens) => format!("a window, which opens {opens}"),
            None => "an approval".to_owned(),
        }
    }
}

/// For the record: what a statement waits for, has waited for, or would wait for.
pub(super) fn entry(config: &Config, waited: Duration, approved: bool) -> WindowEntry {
    let standing = Standing::new(config, Timestamp::now(), waited, None);
    let opening = standing.opening.filter(|_| !standing.is_open());
    WindowEntry {
        windows: standing.windows.iter().map(ToString::to_string).collect(),
        opens: opening.map(|(at, window)| window.clock(at)),
        approved,
        waited_ms: super::record::milliseconds(waited),
    }
}

impl Case<'_> {
    /// Waits until a statement that the policy queues may run; `None` when it may.
    pub(super) async fn wait_for_window(
        &self,
        server: &mut ServerSession<'_>,
        policy: &PolicySettings,
        facts: &Facts,
        judgement: &Judgement,
        limits: Limits,
    ) -> Option<Ending> {
        let waiter = Waiter {
            tag: self.parsed.statement.tag(),
            plan: server.plan().map_or(0, PlanHandle::number),
            judgement,
            policy,
            statement_timeout: limits.statement_timeout,
        };
        let began = server.elapsed();
        let may_run = self.wait.approved.get() || policy.windows.is_open(Timestamp::now());
        let approval = server.plan().map(PlanHandle::approved);
        let approval = async move {
            match approval {
                Some(approval) => approval.await,
                None => std::future::pending().await,
            }
        };
        let waited = if may_run {
            Waited::MayRun
        } else {
            self.place.set(None); // who waits for a window holds nobody up
            wait(server, &waiter, &self.wait, approval).await
        };
        server.set_aside(server.elapsed().saturating_sub(began));
        let setup = server.session().worker.setup();
        let (total, approved) = (server.set_aside_so_far(), self.wait.approved.get());
        *self.wait.entry.borrow_mut() = Some(entry(&setup.config, total, approved));
        let (fields, ending) = match waited {
            Waited::MayRun => return None,
            Waited::JudgeAnew => {
                self.wait.judge_anew.set(true);
                return Some(Ending::Again);
            }
            Waited::Gone => (Box::new(error::server_gone()), Ending::Gone),
            // The session ends with one FATAL, which says why.
            Waited::Failed(fields) if server.interrupt() == Some(Interrupt::Shutdown) => {
                (fields, Ending::Gone)
            }
            Waited::Failed(fields) => (fields.clone(), Ending::Failed(fields)),
        };
        let is_refused = fields.sqlstate == NO_WINDOW;
        let ended = Ended {
            outcome: if is_refused { "refused" } else { "failed" },
            error: Some(&fields),
            elapsed: server.elapsed(),
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        Some(ending)
    }
}

/// Waits for a window, or for an approval, within all limits.
async fn wait(
    server: &mut ServerSession<'_>,
    waiter: &Waiter<'_>,
    state: &Wait,
    approved: impl Future<Output = ()>,
) -> Waited {
    let mut approved = pin!(approved);
    let began = server.elapsed();
    let (mut next_notice, mut next_beat) = (began, began + HEARTBEAT);
    loop {
        let setup = server.session().worker.setup();
        if setup.config.policy != *waiter.policy {
            return Waited::JudgeAnew;
        }
        let elapsed = server.elapsed();
        let spent = elapsed.saturating_sub(began);
        let client_left = waiter
            .statement_timeout
            .map(|timeout| timeout.saturating_sub(elapsed));
        let waited = server.set_aside_so_far() + spent;
        let standing = Standing::new(&setup.config, Timestamp::now(), waited, client_left);
        if state.approved.get() || standing.is_open() {
            return if spent > STALE_AFTER {
                Waited::JudgeAnew
            } else {
                Waited::MayRun
            };
        }
        if standing.left.is_zero() {
            return Waited::Failed(Box::new(if standing.by_client {
                error::statement_timeout()
            } else {
                let rule = waiter.judgement.rule().map_or("none", |rule| rule.name);
                error::refused(&standing.refusal(waiter.tag), rule)
            }));
        }
        if elapsed >= next_notice {
            let (message, detail) = standing.notice(waiter);
            server.notice(&message, &detail);
            server.stage(Stage::AwaitsWindow {
                until: standing.until(),
            });
            next_notice = elapsed + NOTICE_INTERVAL;
        }
        if elapsed >= next_beat {
            if let Err(RunError::Gone) = server.run(&[Command::own(HEARTBEAT_SQL)]).await {
                return Waited::Gone;
            }
            next_beat = elapsed + HEARTBEAT;
        } else {
            let opening = standing.until_opening().unwrap_or(TICK);
            let sleep = TICK.min(standing.left).min(opening);
            tokio::select! {
                () = &mut approved => state.approved.set(true),
                () = server.sleep(sleep) => {}
            }
        }
        if let Some(interrupt) = server.interrupt() {
            return Waited::Failed(Box::new(error::interrupted(interrupt)));
        }
    }
}
