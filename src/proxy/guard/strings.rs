//! Several statements in one Query: one transaction, judged as a whole before any of it runs, and run
//! as the client sent it.

mod timeout;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::record::{Ended, event_of, known_relations, record};
use super::{
    Ending, MAX_JUDGEMENTS, answer, applicant, asked, count_verdict, facts, limits, named, observe,
    oids, policy, relation_names, window, within,
};
use crate::audit::event::{Event, WindowEntry, recorded_text};
use crate::catalog::script::{self, SEARCH_PATH, Script, TIME_ZONE};
use crate::catalog::shadow::Shadow;
use crate::catalog::{Depth, FactRequest, Facts, SessionFacts};
use crate::config::{Config, Mode};
use crate::error::{self, Interrupt};
use crate::exec::acquire::{QUERY_CANCELED, Tries, is_about_locks};
use crate::exec::ask::look;
use crate::exec::look::LockSet;
use crate::exec::places::{Applicant, Place};
use crate::exec::registry::PlanHandle;
use crate::exec::runner::{self, Progress};
use crate::exec::session::{Command, RunError, Session as _, Stage};
use crate::lock::LockMode;
use crate::metrics;
use crate::pg::introspect::FactsError;
use crate::plan::course::Course;
use crate::plan::{Context, Limits, Plan, Step};
use crate::proxy::inspect::Intercept;
use crate::proxy::server_session::{Held, ServerSession, flush_client};
use crate::proxy::session::{Session, SessionError};
use crate::proxy::turn::{self, Filing, STALE_AFTER, Turn};
use crate::rules::other::NO_WINDOW;
use crate::rules::{self, Judgement, Verdict};
use crate::sql::parse::settings::{self, setting};
use crate::sql::parse::{Parsed, Sort};
use crate::wire::backend::ErrorFields;

use self::timeout::Sent;

/// The settings of a string that decide what the names in it stand for, and how times are read.
const READ_BY: [&str; 5] = [
    SEARCH_PATH,
    TIME_ZONE,
    "role",
    "session_authorization",
    settings::ALL,
];

/// Guards a string of statements.
///
/// # Errors
/// [`SessionError`] when the client can't be answered any more.
pub(super) async fn handle(
    session: &mut Session,
    intercept: &Intercept,
) -> Result<(), SessionError> {
    let case = Case {
        intercept,
        observes: Cell::new(false),
        told: Cell::new(0),
        is_last: Cell::new(false),
        place: RefCell::new(None),
    };
    let mut server = ServerSession::new(session);
    let ended = case.guard(&mut server).await;
    let ended = ended.map_err(|ending| named(&server, ending));
    match ended {
        // The client has the server's answer.
        Ok(()) => flush_client(session).await,
        Err(ending) => answer(session, intercept, ending).await,
    }
}

/// A guarded string.
struct Case<'a> {
    intercept: &'a Intercept,
    /// Nothing is done about it, and nobody is told.
    observes: Cell<bool>,
    /// Of so many statements the client has been told why their comments have no effect.
    told: Cell<usize>,
    /// It isn't judged anew.
    is_last: Cell<bool>,
    /// Its place in the queues of its relations.
    place: RefCell<Option<Place>>,
}

/// A schema change of the string.
struct Change<'a> {
    /// Its number in the string, from 0.
    at: usize,
    parsed: &'a Parsed,
    facts: Facts,
    judgement: Judgement,
}

impl Change<'_> {
    /// The windows of what the policy queues.
    fn window(&self, config: &Config) -> Option<WindowEntry> {
        let is_queued = matches!(self.judgement.verdict, Verdict::Queue(_));
        is_queued.then(|| window::entry(config, Duration::ZERO, false))
    }

    /// Whether it would be done alike, on the same relations.
    fn is_same(&self, other: &Change<'_>) -> bool {
        let (one, two) = (&self.judgement.verdict, &other.judgement.verdict);
        std::mem::discriminant(one) == std::mem::discriminant(two)
            && one.plan().map(|plan| &plan.steps) == two.plan().map(|plan| &plan.steps)
            && oids(&self.facts) == oids(&other.facts)
    }
}

/// What the run of a string needs.
struct Run<'a> {
    changes: &'a [Change<'a>],
    limits: Limits,
    settings: &'a SessionFacts,
}

impl<'a> Case<'a> {
    /// Lets others see it.
    fn begin(&self, server: &mut ServerSession<'_>) {
        let text = &self.intercept.text;
        let first = text.statements.iter().find(|one| one.statement.is_ddl());
        if let Some(first) = first {
            let mut event = event_of(server.session(), text, first);
            event.sql = self.shown();
            server.begin_plan(event.into());
        }
    }

    /// The string as others may see it.
    fn shown(&self) -> String {
        let text = &self.intercept.text;
        recorded_text(text.text.trim(), &text.statements)
    }

    async fn guard(&self, server: &mut ServerSession<'_>) -> Result<(), Ending> {
        server.came_by_query();
        if server.session().mode_depends_on_role() {
            let learned = observe::learn(server).await;
            learned.map_err(|_| Ending::Gone)?;
        }
        let session = server.session();
        match session.mode(&session.worker.setup().config) {
            Mode::Off => return Err(Ending::GoesOn),
            Mode::Observe => return Err(self.observe(server).await),
            Mode::Enforce => self.begin(server),
        }
        for judgements in 0..MAX_JUDGEMENTS {
            self.is_last.set(judgements + 1 == MAX_JUDGEMENTS);
            match self.judge_and_run(server).await {
                Err(Ending::Again) => {}
                ended => return ended,
            }
        }
        let stale = Ending::Failed(Box::new(error::stale()));
        Err(self.before_anything(server, stale))
    }

    /// Records what would be done.
    async fn observe(&self, server: &mut ServerSession<'_>) -> Ending {
        self.observes.set(true);
        let setup = server.session().worker.setup();
        let limits = limits(&setup.config);
        let Ok(settings) = facts::once(server, &[], &FactRequest::default(), limits.budget).await
        else {
            return Ending::Gone;
        };
        let settings = settings.unwrap_or_default().session;
        let judged = self.judge(server, &setup.config, &settings, limits).await;
        let changes = match judged {
            Ok(changes) => changes,
            Err(Ending::Gone) => return Ending::Gone,
            Err(_) => self.unjudged(),
        };
        for change in &changes {
            count_verdict(&change.judgement);
        }
        let would = |change: &Change<'_>| Ended {
            outcome: "observed",
            window: change.window(&setup.config),
            ..Ended::default()
        };
        self.record(server, &changes, would);
        Ending::GoesOn
    }

    async fn judge_and_run(&self, server: &mut ServerSession<'_>) -> Result<(), Ending> {
        server.stage(Stage::Judging);
        let setup = server.session().worker.setup();
        let limits = limits(&setup.config);
        let settings = facts::ask(server, &FactRequest::default(), limits).await;
        let settings = match settings {
            Ok(facts) => Ok(facts.session),
            Err(failure) => self.no_facts(server, failure).map(|(_, settings)| settings),
        };
        let settings = settings.map_err(|ending| self.before_anything(server, ending))?;
        server.obey(&settings.client_min_messages);
        let limits = within(limits, &settings, server.set_aside_so_far());
        server.obey_timeout(limits.statement_timeout);
        let judged = self.judge(server, &setup.config, &settings, limits).await;
        let changes = judged.map_err(|ending| self.before_anything(server, ending))?;
        for change in &changes {
            count_verdict(&change.judgement);
        }
        let is_open = setup.config.policy.windows.is_open(Timestamp::now());
        if let Some(fields) = self.refusal(&changes, is_open) {
            return Err(self.failed("refused", server, &changes, fields));
        }
        let deadline = timeout::deadline(&self.intercept.text);
        let run = Run {
            changes: &changes,
            limits: Limits {
                deadline: deadline.unwrap_or(limits.deadline),
                ..limits
            },
            settings: &settings,
        };
        self.carry_out(server, &run).await
    }

    /// The facts weren't had: it ends there, which is recorded.
    fn before_anything(&self, server: &mut ServerSession<'_>, ending: Ending) -> Ending {
        match ending {
            Ending::Failed(fields) => self.failed("failed", server, &self.unjudged(), *fields),
            Ending::Gone => {
                let _ = self.failed("failed", server, &self.unjudged(), error::server_gone());
                Ending::Gone
            }
            ending => ending,
        }
    }

    /// The schema changes, of which nothing is known.
    fn unjudged(&self) -> Vec<Change<'a>> {
        let statements = self.intercept.text.statements.iter().enumerate();
        statements
            .filter(|(_, parsed)| parsed.statement.is_ddl())
            .map(|(at, parsed)| Change {
                at,
                parsed,
                facts: Facts::default(),
                judgement: Judgement::by(&rules::other::LOCK_QUEUE, Verdict::Untouched),
            })
            .collect()
    }

    /// What becomes of facts that can't be had: it ends, or the server's own reason.
    fn no_facts(
        &self,
        server: &ServerSession<'_>,
        failure: FactsError,
    ) -> Result<(ErrorFields, SessionFacts), Ending> {
        match failure {
            FactsError::Run(RunError::Gone) => Err(Ending::Gone),
            FactsError::Run(RunError::Stale) | FactsError::Unexpected(_) => Err(Ending::Again),
            FactsError::Run(RunError::Sql(fields))
                if is_about_locks(&fields.sqlstate)
                    || server.interrupt().is_some()
                    || fields.sqlstate == QUERY_CANCELED =>
            {
                Err(Ending::Failed(fields))
            }
            FactsError::Run(RunError::Sql(fields)) => Ok((*fields, SessionFacts::default())),
        }
    }

    /// Judges each schema change on what those before it leave.
    async fn judge(
        &self,
        server: &mut ServerSession<'_>,
        config: &Config,
        settings: &SessionFacts,
        limits: Limits,
    ) -> Result<Vec<Change<'a>>, Ending> {
        let text = &self.intercept.text;
        let mut script = Script::new(Shadow::new(settings.clone()));
        let mut before = Vec::new();
        let mut changes = Vec::new();
        obey_path(server, &before, &mut script).await?;
        for (at, parsed) in text.statements.iter().enumerate() {
            let source = text.source(parsed);
            match parsed.sort {
                Sort::Settings => {
                    let set = setting(source);
                    if set.is_some_and(|set| READ_BY.contains(&set.name.as_str())) {
                        before.push(Command::own(source));
                        obey_path(server, &before, &mut script).await?;
                    }
                    continue;
                }
                Sort::Ddl => {}
                Sort::Query
                | Sort::Utility
                | Sort::Transaction
                | Sort::Copy
                | Sort::Dynamic
                | Sort::Unreadable => continue,
            }
            let request = rules::facts_needed(&parsed.statement);
            let facts = self
                .facts(server, &before, &mut script, &request, parsed, limits)
                .await?;
            let judgement = self.judged(server, config, (at, parsed), &request, &facts);
            if judgement.effects.strongest() >= Some(LockMode::Share) {
                script.shadow.set_own_locks(true);
            }
            if let Some(name) = script::made_unless_there(&parsed.statement) {
                let request = FactRequest {
                    relations: vec![name.clone()],
                    ..FactRequest::default()
                };
                self.facts(server, &before, &mut script, &request, parsed, limits)
                    .await?;
            }
            script.shadow.apply(&parsed.statement);
            changes.push(Change {
                at,
                parsed,
                facts,
                judgement,
            });
        }
        Ok(changes)
    }

    /// Facts as they are after the statements before.
    async fn facts(
        &self,
        server: &mut ServerSession<'_>,
        before: &[Command],
        script: &mut Script,
        request: &FactRequest,
        parsed: &Parsed,
        limits: Limits,
    ) -> Result<Facts, Ending> {
        let request = FactRequest {
            depth: Depth::Full,
            ..request.clone()
        };
        if self.observes.get() {
            let facts = facts::once(server, before, &request, limits.budget).await;
            let facts = facts.map_err(|_| Ending::Gone)?;
            let facts = facts.map(|facts| script.laid_over(facts, &request));
            return Ok(facts.unwrap_or_default());
        }
        let failure = match facts::ask_after(server, before, &request, limits).await {
            Ok(facts) => return Ok(script.laid_over(facts, &request)),
            Err(failure) => failure,
        };
        let (fields, _) = self.no_facts(server, failure)?;
        match facts::without(server, &request, parsed, &fields, limits).await {
            Some(_) if !self.is_last.get() => Err(Ending::Again),
            // What the server can't tell, it will say itself about the statement.
            facts => Ok(facts.unwrap_or_default()),
        }
    }

    fn judged(
        &self,
        server: &mut ServerSession<'_>,
        config: &Config,
        (at, parsed): (usize, &Parsed),
        request: &FactRequest,
        facts: &Facts,
    ) -> Judgement {
        let text = &self.intercept.text;
        let asked = asked(server.session(), text, parsed, config);
        let policy = policy(config, &server.session().who, &asked);
        if at >= self.told.get() && !self.observes.get() {
            self.told.set(at + 1);
            for notice in &asked.notices {
                server.notice(notice, "");
            }
        }
        if facts.relations.len() != request.relations.len() {
            return if self.observes.get() {
                rules::assumed(&parsed.statement)
            } else {
                Judgement::untouched()
            };
        }
        let source = text.source(parsed);
        super::judged(parsed, source, facts, &policy)
    }

    /// Why the string doesn't run, in a window of time or out of it.
    fn refusal(&self, changes: &[Change<'_>], is_open: bool) -> Option<ErrorFields> {
        changes.iter().find_map(|change| {
            let text = &self.intercept.text;
            let tag = change.parsed.statement.tag();
            let fields = match &change.judgement.verdict {
                Verdict::Untouched | Verdict::NoOp(_) => return None,
                Verdict::Pass(plan) | Verdict::Rewrite(plan) => {
                    if is_itself(plan, text.source(change.parsed)) {
                        return None;
                    }
                    error::not_in_this_transaction(tag, &plan.to_string())
                }
                Verdict::Queue(_) if is_open => return None,
                Verdict::Queue(_) => error::queued_in_string(NO_WINDOW, tag),
                Verdict::Reject(refusal) => {
                    let rule = change.judgement.rule().map_or("none", |rule| rule.name);
                    error::refused(refusal, rule)
                }
            };
            let front = text.text.get(..change.parsed.span.start)?;
            let own = text.text.get(change.parsed.span.clone())?;
            let blank = own.len() - own.trim_start().len();
            let at = front.chars().count() + own.get(..blank)?.chars().count() + 1;
            let of = text.statements.len();
            Some(error::in_string(fields, change.at + 1, of, at))
        })
    }

    /// Nothing has run, and nothing will.
    fn failed(
        &self,
        outcome: &'static str,
        server: &mut ServerSession<'_>,
        changes: &[Change<'_>],
        fields: ErrorFields,
    ) -> Ending {
        let elapsed = server.elapsed();
        let setup = server.session().worker.setup();
        let ended = |change: &Change<'_>| Ended {
            outcome,
            error: Some(&fields),
            window: change.window(&setup.config),
            elapsed,
            ..Ended::default()
        };
        self.record(server, changes, ended);
        match server.interrupt() {
            // The session ends with one FATAL, which says why.
            Some(Interrupt::Shutdown) => Ending::Gone,
            _ => Ending::Failed(Box::new(fields)),
        }
    }

    /// Waits for its turn, and runs.
    async fn carry_out(&self, server: &mut ServerSession<'_>, run: &Run<'_>) -> Result<(), Ending> {
        let plans = run
            .changes
            .iter()
            .filter_map(|one| one.judgement.verdict.plan());
        let plan = Plan {
            notice: String::new(),
            steps: plans.flat_map(|plan| plan.steps.clone()).collect(),
        };
        let applicant = applicant(server, &self.shown());
        let place = self.place.take();
        if let Err(RunError::Sql(fields)) = server.file_is_written() {
            return Err(self.failed("failed", server, run.changes, *fields));
        }
        let filing = self.filing(server, run, (&plan, &applicant));
        match turn::wait(server, filing, place).await {
            Ok(Turn::Come(place)) => drop(self.place.replace(place)),
            Ok(Turn::Twin(_)) => return Err(Ending::Again), // it has none
            Ok(Turn::Late(place)) => {
                drop(self.place.replace(place));
                return Err(Ending::Again);
            }
            Err(RunError::Sql(fields)) => {
                return Err(self.failed("failed", server, run.changes, *fields));
            }
            Err(RunError::Gone) => return Err(server.ending_of_gone()),
            Err(RunError::Stale) => return Err(Ending::Again),
        }
        let mut progress = Progress::default();
        match self.attempt(server, run, &plan, &mut progress).await {
            Ok(mut held) => {
                let by = server.plan().and_then(PlanHandle::cancelled_by);
                let cancelled = held.error.as_ref();
                let cancelled = cancelled.filter(|fields| fields.sqlstate == QUERY_CANCELED);
                if let (Some(by), Some(fields)) = (by, cancelled) {
                    let fields = error::console::cancelled_by(fields.clone(), &by);
                    held.say_instead(&fields);
                }
                self.finish(server, run, held, &progress)
            }
            Err(RunError::Sql(fields)) => {
                let word = if server.interrupt().is_some() {
                    "interrupted"
                } else {
                    "failed"
                };
                let elapsed = server.elapsed();
                metrics::plan_ended(word, elapsed, progress.waited, progress.attempts);
                Err(self.failed("failed", server, run.changes, *fields))
            }
            Err(RunError::Stale) => Err(Ending::Again),
            // Whoever takes it over finds out what came of it, and records that.
            Err(RunError::Gone) if server.entry().is_some() => {
                drop(server.take_entries());
                Err(server.ending_of_gone())
            }
            Err(RunError::Gone) => {
                let gone = error::server_gone();
                let _ = self.failed("failed", server, run.changes, gone);
                Err(Ending::Gone)
            }
        }
    }

    /// What is written down of it before it runs.
    fn filing<'f>(
        &self,
        server: &mut ServerSession<'_>,
        run: &Run<'_>,
        (plan, applicant): (&'f Plan, &'f Applicant),
    ) -> Filing<'f> {
        let text = &self.intercept.text;
        let begins = |change: &Change<'_>| Event {
            verdict: change.judgement.verdict.as_str().into(),
            rule: change.judgement.rule().map(|rule| rule.name.into()),
            outcome: "".into(),
            ..event_of(server.session(), text, change.parsed)
        };
        Filing {
            plan,
            applicant,
            limits: run.limits,
            events: run.changes.iter().map(begins).collect(),
            is_secret: true, // its steps are never run by themselves
            is_read_only: run.settings.read_only,
            is_online: false,
            twin: None,
        }
    }

    /// Looks, asks, and sends the string, until it has its locks.
    async fn attempt(
        &self,
        server: &mut ServerSession<'_>,
        run: &Run<'_>,
        plan: &Plan,
        progress: &mut Progress,
    ) -> Result<Held, RunError> {
        let relations: Vec<_> = run
            .changes
            .iter()
            .flat_map(|change| relation_names(change.parsed, &change.facts))
            .collect();
        let steps: Vec<&Step> = plan.steps.iter().collect();
        let mut tries = Tries::new(&relations, run.limits);
        // One that the client itself doesn't want to wait for.
        let is_impatient = self
            .intercept
            .text
            .text
            .to_ascii_lowercase()
            .contains("nowait");
        let mut judged_at = Instant::now();
        loop {
            let set = look(server, &steps, &mut tries, progress).await?;
            if judged_at.elapsed() > STALE_AFTER {
                if !self.is_as_judged(server, run).await {
                    return Err(RunError::Stale);
                }
                judged_at = Instant::now();
                continue; // what the look has seen is old by now
            }
            let sent = self.sent(server, run, &set);
            server.stage(Stage::Runs {
                step: 1,
                of: 1,
                title: format!("{} statements", self.intercept.text.statements.len()),
                progress: String::new(),
            });
            progress.attempts += 1;
            let began = server.elapsed();
            server.note(Course::Client { xid: None }).await?;
            let _following = server.follow_transaction(set.pid);
            let mut held = server
                .pass_query(
                    self.intercept,
                    &sent.text,
                    &sent.inserted,
                    run.limits.max_hold,
                )
                .await?;
            // Nobody but vacuums, builds and other schema changes waits behind the first lock.
            let is_fenced_off = held.answered < sent.fence;
            let spent = if is_fenced_off {
                Duration::ZERO
            } else {
                server.elapsed().saturating_sub(began)
            };
            let is_ours = |fields: &ErrorFields| is_about_locks(&fields.sqlstate);
            let lock_error = held.error.clone().filter(is_ours);
            let Some(fields) = lock_error.filter(|_| !held.is_told && !is_impatient) else {
                return Ok(held);
            };
            let error = RunError::Sql(Box::new(fields));
            match tries.again(server, error, spent, progress).await {
                Ok(()) => server.give_up(&held),
                Err(RunError::Sql(report)) => {
                    held.say_instead(&report);
                    return Ok(held);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the string would still be judged as it was.
    async fn is_as_judged(&self, server: &mut ServerSession<'_>, run: &Run<'_>) -> bool {
        let setup = server.session().worker.setup();
        let now = self.judge(server, &setup.config, run.settings, run.limits);
        match now.await {
            Ok(now) => {
                let is_same = |(one, two): (&Change<'_>, &Change<'_>)| one.is_same(two);
                now.len() == run.changes.len() && run.changes.iter().zip(&now).all(is_same)
            }
            // Whoever holds a relation is in the way of the string as well; a server that has gone is
            // noticed next.
            Err(Ending::Failed(fields)) => is_about_locks(&fields.sqlstate),
            Err(ending) => matches!(ending, Ending::Gone),
        }
    }

    /// What the server reads: the string under the budget, behind a lock that an autovacuum gives way to
    /// where it can be seen that no build is in the way of it.
    fn sent(&self, server: &ServerSession<'_>, run: &Run<'_>, set: &LockSet) -> Sent {
        let budget = run.limits.budget;
        let fence = set.fence().filter(|_| server.operator().is_some());
        let fence = fence.map(|lock| (lock, set.patience(budget)));
        timeout::within_budget(&self.intercept.text, run.settings, budget, fence)
    }

    /// Answers, counts and records.
    fn finish(
        &self,
        server: &mut ServerSession<'_>,
        run: &Run<'_>,
        held: Held,
        progress: &Progress,
    ) -> Result<(), Ending> {
        let (elapsed, is_interrupted) = (server.elapsed(), server.interrupt().is_some());
        let word = match &held.error {
            None => "done",
            Some(_) if is_interrupted => "interrupted",
            Some(_) => "failed",
        };
        metrics::plan_ended(word, elapsed, progress.waited, progress.attempts);
        let text = &self.intercept.text;
        let setup = server.session().worker.setup();
        let source = |change: &Change<'_>| text.source(change.parsed).to_owned();
        for change in run.changes {
            let progress = Progress {
                attempts: progress.attempts,
                waited: progress.waited,
                executed: match &held.error {
                    None => vec![source(change)],
                    Some(_) => Vec::new(),
                },
                last_sql: match &held.error {
                    Some(_) if held.done == change.at => source(change),
                    Some(_) | None => String::new(),
                },
                ..Progress::default()
            };
            let ended = |_: &Change<'_>| Ended {
                outcome: if held.error.is_none() {
                    "done"
                } else {
                    "failed"
                },
                error: held.error.as_ref(),
                progress: Some(&progress),
                window: change.window(&setup.config),
                elapsed,
                interrupted: is_interrupted,
                ..Ended::default()
            };
            self.record(server, std::slice::from_ref(change), ended);
        }
        let is_ending = server.interrupt() == Some(Interrupt::Shutdown);
        if is_ending && held.error.is_some() && !held.is_told {
            return Err(Ending::Gone); // the session ends with one FATAL, which says why
        }
        let told = server.answer_query(held, self.intercept);
        told.map_err(|_| Ending::Gone)
    }

    fn record<'e>(
        &self,
        server: &mut ServerSession<'_>,
        changes: &[Change<'_>],
        ended: impl Fn(&Change<'_>) -> Ended<'e>,
    ) {
        for change in changes {
            let facts = (!known_relations(&change.facts).is_empty()).then_some(&change.facts);
            let entry = server.take_entry();
            record(
                server.session(),
                &self.intercept.text,
                change.parsed,
                &change.judgement,
                facts,
                &ended(change),
                entry,
            );
        }
    }
}

/// Names without a schema stand for what they would on the server at that point of the string.
async fn obey_path(
    server: &mut ServerSession<'_>,
    before: &[Command],
    script: &mut Script,
) -> Result<(), Ending> {
    const SQL: &str = "SELECT s.name FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) \
                       WITH ORDINALITY s (name, at) ORDER BY s.at";
    let mut batch = vec![Command::own("BEGIN READ ONLY")];
    batch.extend_from_slice(before);
    batch.push(Command::own(SQL));
    batch.push(Command::own("ROLLBACK"));
    match server.run(&batch).await {
        Ok(replies) => {
            let found = replies.get(batch.len() - 2);
            let rows = found.into_iter().flat_map(|reply| &reply.rows);
            let path = rows.filter_map(|row| row.first()?.clone()).collect();
            script.shadow.set_search_path(Some(path));
            Ok(())
        }
        Err(RunError::Gone) => Err(Ending::Gone),
        Err(RunError::Stale) => Err(Ending::Again),
        Err(RunError::Sql(fields)) => {
            let rolled_back = runner::roll_back(server).await;
            rolled_back.map_err(|_| Ending::Gone)?;
            if server.interrupt().is_some() {
                return Err(Ending::Failed(fields));
            }
            Ok(()) // the server will refuse that setting
        }
    }
}

/// Whether a plan is the statement itself, in a transaction.
fn is_itself(plan: &Plan, source: &str) -> bool {
    let bare = |sql: &str| sql.trim().trim_end_matches(';').trim_end().to_owned();
    match plan.steps.as_slice() {
        [only] => {
            let is_plain = matches!(only.context, Context::Transaction | Context::Brief { .. });
            is_plain && only.also.is_empty() && bare(&only.sql) == bare(source)
        }
        _ => false,
    }
}
