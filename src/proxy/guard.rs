//! Where a schema change leaves the relay: facts, verdict, plan, and one reply to the client.

mod explain;
mod facts;
mod observe;
mod orphans;
mod record;
mod strings;
mod transaction;
mod window;

use std::cell::Cell;
use std::time::Duration;

use bytes::BytesMut;

use super::fates;
use super::inspect::{By, Intercept, Passed};
use super::overrides::{self, Asked};
use super::server_session::{ServerSession, flush_client};
use super::session::{Session, SessionError};
use super::turn::{self, Filing, Turn, Twin};
use crate::audit::event::{Who, recorded_sql};
use crate::catalog::script::Script;
use crate::catalog::{Depth, FactRequest, Facts, SessionFacts};
use crate::config::{CancelBlockers, Config, Mode};
use crate::error::{self, Interrupt};
use crate::exec::acquire::{QUERY_CANCELED, is_about_locks};
use crate::exec::places::{Applicant, Place};
use crate::exec::registry::PlanHandle;
use crate::exec::runner::{self, INSUFFICIENT_PRIVILEGE, Setup};
use crate::exec::session::{Command, RunError, Session as _, Stage, says_true};
use crate::journal::record::Outcome;
use crate::metrics;
use crate::pg::introspect::FactsError;
use crate::plan::{Limits, Plan, Step};
use crate::rules::{self, Judgement, Policy, Verdict};
use crate::sql::classify::Text;
use crate::sql::name::{Name, clip, one_line, quote_identifier};
use crate::sql::parse::Parsed;
use crate::sql::redact;
use crate::wire::backend::{self, ErrorFields};

use self::explain::explain_failure;
use self::observe::observe;
use self::record::{Ended, event_of, known_relations, record};
use self::window::Wait;

pub use self::record::{Following, record_fate, record_mode, record_passed};
pub use self::transaction::give_up;

/// How often a statement is judged anew because the catalog has changed meanwhile.
const MAX_JUDGEMENTS: u32 = 5;

/// How a guarded statement ended.
pub(in crate::proxy) enum Ending {
    /// Nothing was done: the message goes on as it came.
    GoesOn,
    /// Done; the command tag.
    Done(String),
    /// Failed.
    Failed(Box<ErrorFields>),
    /// The server is gone, or lockkeeper is ending: the relay says so.
    Gone,
    /// The facts were stale: nothing was done.
    Again,
    /// Nothing was done, and nothing is to be: it is observed.
    Observed,
    /// Another lockkeeper has taken it over: the session ends.
    TakenOver,
    /// The client has its answer.
    Told,
}

/// Guards the schema change that the relay stopped at.
///
/// # Errors
/// [`SessionError`] when the client can't be answered any more.
pub async fn handle(session: &mut Session, intercept: Intercept) -> Result<(), SessionError> {
    if intercept.in_transaction {
        return transaction::handle(session, &intercept).await;
    }
    let Some(parsed) = intercept.text.only_statement().cloned() else {
        return strings::handle(session, &intercept).await;
    };
    let mode = session.mode(&session.worker.setup().config);
    let is_known = !(intercept.text.exact && session.mode_depends_on_role());
    if mode == Mode::Observe && is_known {
        return observe(session, &intercept, &parsed).await;
    }
    if !intercept.text.exact {
        // In an encoding that the parser doesn't read: its names can't be repeated by us.
        record_passed(
            session,
            &Passed {
                text: intercept.text.clone(),
                because: "its text can't be read for certain",
                followed: fates::schema_changes(&intercept.text)
                    .map(|at| (at, None))
                    .collect(),
            },
        );
        session.inspector.pass_next();
        session.recheck();
        return Ok(());
    }
    match enforce(session, &intercept, &parsed).await {
        Ending::Observed => observe(session, &intercept, &parsed).await,
        ending => answer(session, &intercept, ending).await,
    }
}

/// Gives the client its one reply.
async fn answer(
    session: &mut Session,
    intercept: &Intercept,
    ending: Ending,
) -> Result<(), SessionError> {
    let mut buffer = BytesMut::new();
    match ending {
        Ending::GoesOn | Ending::Observed => {
            session.inspector.pass_next();
            session.recheck();
            return flush_client(session).await;
        }
        Ending::Told => {
            session.recheck();
            return flush_client(session).await;
        }
        Ending::Gone | Ending::Again => {
            session.client.consume(intercept.frame_bytes);
            return flush_client(session).await;
        }
        Ending::TakenOver => {
            backend::put_error(&mut buffer, error::taken_over());
            session.client.queue(&buffer);
            flush_client(session).await?;
            let why = "another lockkeeper has taken its schema change over";
            return Err(SessionError::Server(std::io::Error::other(why)));
        }
        Ending::Done(tag) => {
            session.client.consume(intercept.frame_bytes);
            backend::put_command_complete(&mut buffer, &tag);
        }
        Ending::Failed(fields) => {
            session.client.consume(intercept.frame_bytes);
            backend::put_error(&mut buffer, *fields);
            if intercept.by != By::Query {
                session.inspector.discard_until_sync();
            }
        }
    }
    if intercept.by == By::Query {
        session.inspector.query_answered();
        backend::put_ready_for_query(&mut buffer, session.inspector.pipeline.status());
    }
    session.client.queue(&buffer);
    session.recheck();
    flush_client(session).await
}

/// The facts, the verdict, the plan.
async fn enforce(session: &mut Session, intercept: &Intercept, parsed: &Parsed) -> Ending {
    let mut server = ServerSession::new(session);
    let case = Case::new(intercept, parsed);
    let event = event_of(server.session(), &intercept.text, parsed);
    server.begin_plan(event.into());
    if intercept.by == By::Execute {
        match server.end_batch().await {
            Ok(true) => {}
            Ok(false) => {
                // The client has its error; the rest of its batch is thrown away, as the server
                // would.
                server.session().inspector.discard_until_sync();
                return Ending::GoesOn;
            }
            Err(_) => return Ending::Gone,
        }
    }
    if intercept.by == By::Query && intercept.prepared.is_none() {
        server.came_by_query();
    }
    if let Some(name) = &intercept.prepared
        && !server_knows(&mut server, name, &intercept.text.text).await
    {
        return unknown(&mut server, name, intercept.by).await;
    }
    if server.session().mode_depends_on_role() {
        if observe::learn(&mut server).await.is_err() {
            return Ending::Gone;
        }
        let session = server.session();
        let mode = session.mode(&session.worker.setup().config);
        if mode != Mode::Enforce {
            return observe::stand_back(&mut server, intercept, parsed, mode).await;
        }
    }
    let limits = limits(&server.session().worker.setup().config);
    if orphans::settle(&mut server, limits).await.is_err() {
        return Ending::Gone;
    }
    let mut judgements = 0;
    while judgements < MAX_JUDGEMENTS {
        case.is_last.set(judgements + 1 == MAX_JUDGEMENTS);
        match case.judge_and_run(&mut server).await {
            Ending::Again => judgements += u32::from(!case.wait.is_over()),
            ending => return named(&server, ending),
        }
    }
    case.never_began(&mut server, error::stale())
}

/// Says who cancelled it, if that was done on the console.
fn named(server: &ServerSession<'_>, ending: Ending) -> Ending {
    match (server.plan().and_then(PlanHandle::cancelled_by), ending) {
        (Some(by), Ending::Failed(fields)) if fields.sqlstate == QUERY_CANCELED => {
            Ending::Failed(Box::new(error::console::cancelled_by(*fields, &by)))
        }
        (_, ending) => ending,
    }
}

/// Whether the server has a prepared statement of that name and text.
async fn server_knows(server: &mut ServerSession<'_>, name: &str, text: &str) -> bool {
    const SQL: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements p
        WHERE p.name = $1::pg_catalog.text AND p.statement = $2::pg_catalog.text)";
    let query = Command::with(SQL, vec![name.to_owned(), text.to_owned()]);
    server
        .run(&[query])
        .await
        .is_ok_and(|replies| says_true(&replies))
}

/// The server says that it has no such prepared statement.
async fn unknown(server: &mut ServerSession<'_>, name: &str, by: By) -> Ending {
    if by == By::Query {
        return Ending::GoesOn;
    }
    // The batch in which its portal lived has ended.
    let execute = Command::clients(format!("EXECUTE {}", quote_identifier(name)));
    match server.run(&[execute]).await {
        Ok(replies) => Ending::Done(replies.into_iter().map(|reply| reply.tag).collect()),
        Err(RunError::Sql(fields)) => Ending::Failed(fields),
        Err(RunError::Gone | RunError::Stale) => Ending::Gone,
    }
}

/// What the settings say, and behind them the statement's own comments. It is put together for each
/// schema change: that costs less than one round trip's noise, and nothing has to be kept up to date.
fn policy(config: &Config, who: &Who, asked: &Asked) -> Policy {
    let mut policy = config.policy_for(&who.database, &who.user);
    policy.overrides.extend(asked.overrides());
    policy
}

/// What a statement's comments ask for.
fn asked(session: &Session, text: &Text, parsed: &Parsed, config: &Config) -> Asked {
    let lexical = session.inspector.lexical.mode;
    overrides::asked(text, parsed, lexical, config, &session.who)
}

fn count_verdict(judgement: &Judgement) {
    let rule = judgement.rule().map_or("none", |rule| rule.name);
    metrics::verdict(rule, judgement.verdict.as_str());
}

/// A try gives up a little before the budget is spent, so that nobody waits longer than the budget.
fn ask_timeout(budget: Duration) -> Duration {
    (budget - budget / 10).max(Duration::from_millis(1))
}

/// The judgement as it is carried out.
fn judged(parsed: &Parsed, source: &str, facts: &Facts, policy: &Policy) -> Judgement {
    let judgement = rules::judge(parsed, source, facts, policy);
    rules::as_carried_out(judgement, parsed, source, facts, policy)
}

/// Which relations the names stand for.
fn oids(facts: &Facts) -> Vec<Option<u32>> {
    let relations = facts.relations.iter();
    relations.map(|found| Some(found.as_ref()?.oid)).collect()
}

/// Limits within those that the client has set itself; of its `statement_timeout` some is spent.
fn within(mut limits: Limits, settings: &SessionFacts, spent: Duration) -> Limits {
    let own_timeout = &settings.lock_timeout;
    if own_timeout.by_client && own_timeout.ms > 0 {
        limits.deadline = Duration::from_millis(own_timeout.ms);
        limits.budget = limits.budget.min(limits.deadline);
    }
    let statement_timeout = &settings.statement_timeout;
    if statement_timeout.by_client && statement_timeout.ms > 0 {
        let timeout = Duration::from_millis(statement_timeout.ms);
        limits.statement_timeout = Some(timeout.saturating_sub(spent));
    }
    limits
}

/// The limits that the settings make.
fn limits(config: &Config) -> Limits {
    let locks = &config.locks;
    Limits {
        budget: ask_timeout(locks.budget),
        deadline: locks.deadline,
        undo_deadline: locks.deadline,
        statement_timeout: None,
        look_age: locks.look_age,
        cancel_after: match locks.cancel_blockers {
            CancelBlockers::Off => None,
            CancelBlockers::Readers => Some(locks.cancel_after),
        },
        max_hold: locks.max_hold,
        build_look_age: config.builds.look_age,
        build_wait: config.builds.wait,
        build_deadline: config.builds.deadline,
    }
}

/// One guarded statement.
struct Case<'a> {
    intercept: &'a Intercept,
    parsed: &'a Parsed,
    /// The text that holds the statement and nothing else.
    source: String,
    /// The client has been told why its comments have no effect.
    told: Cell<bool>,
    /// It isn't judged anew: what can't be read is taken for the worst.
    is_last: Cell<bool>,
    /// Its place in the queues of its relations.
    place: Cell<Option<Place>>,
    wait: Wait,
}

/// A statement with its facts and what is to be done about it.
struct Judged {
    facts: Facts,
    judgement: Judgement,
    limits: Limits,
}

impl<'a> Case<'a> {
    fn new(intercept: &'a Intercept, parsed: &'a Parsed) -> Case<'a> {
        Case {
            intercept,
            parsed,
            // With its semicolon and all: an error may speak of it.
            source: intercept.text.text.clone(),
            told: Cell::new(false),
            is_last: Cell::new(false),
            place: Cell::new(None),
            wait: Wait::default(),
        }
    }

    /// Facts, verdict, plan, once.
    async fn judge_and_run(&self, server: &mut ServerSession<'_>) -> Ending {
        let Judged {
            facts,
            judgement,
            limits,
        } = match self.judge(server, None).await {
            Ok(judged) => judged,
            Err(ending) => return ending,
        };
        if matches!(judgement.verdict, Verdict::Queue(_)) {
            let setup = server.session().worker.setup();
            let policy = &setup.config.policy;
            let waited = self.wait_for_window(server, policy, &facts, &judgement, limits);
            if let Some(ending) = waited.await {
                return ending;
            }
        }
        self.carry_out(server, &facts, judgement, limits).await
    }

    /// Facts and verdict, with what the statements before it would have done.
    async fn judge(
        &self,
        server: &mut ServerSession<'_>,
        before: Option<&mut Script>,
    ) -> Result<Judged, Ending> {
        server.stage(Stage::Judging);
        let setup = server.session().worker.setup();
        let config = &setup.config;
        let limits = limits(config);
        let mut request = rules::facts_needed(&self.parsed.statement);
        if before.is_some() {
            request.depth = Depth::Full;
        }
        let mut facts = self.facts(server, &request, limits).await?;
        if let Some(script) = before
            && facts.relations.len() == request.relations.len()
        {
            facts = script.laid_over(facts, &request);
        }
        server.obey(&facts.session.client_min_messages);
        let limits = within(limits, &facts.session, server.set_aside_so_far());
        server.obey_timeout(limits.statement_timeout);
        let asked = asked(server.session(), &self.intercept.text, self.parsed, config);
        let policy = policy(config, &server.session().who, &asked);
        if !self.told.replace(true) {
            for notice in &asked.notices {
                server.notice(notice, "");
            }
        }
        let judgement = if facts.relations.len() == request.relations.len() {
            let judgement = judged(self.parsed, &self.source, &facts, &policy);
            if let Some(plan) = judgement.verdict.plan() {
                let is_same = self.is_same(&facts, plan, policy);
                server.judged(request, limits.budget, is_same);
            }
            judgement
        } else {
            // What it names isn't known: it has the lock timeout of any schema change.
            let plan = untouched_plan(self.parsed, &self.source);
            Judgement::by(&rules::other::LOCK_QUEUE, Verdict::Pass(plan))
        };
        count_verdict(&judgement);
        if let Some(plan) = server.plan() {
            let rule = judgement.rule().map(|rule| rule.name);
            plan.judged(judgement.verdict.as_str(), rule, known_relations(&facts));
        }
        Ok(Judged {
            facts,
            judgement,
            limits,
        })
    }

    /// The facts, or how it ends without them.
    async fn facts(
        &self,
        server: &mut ServerSession<'_>,
        request: &FactRequest,
        limits: Limits,
    ) -> Result<Facts, Ending> {
        match facts::ask(server, request, limits).await {
            Ok(facts) => Ok(facts),
            Err(FactsError::Run(RunError::Gone)) => {
                let _ = self.never_began(server, error::server_gone());
                Err(Ending::Gone)
            }
            Err(FactsError::Run(RunError::Sql(fields)))
                if is_about_locks(&fields.sqlstate)
                    || server.interrupt().is_some()
                    || fields.sqlstate == QUERY_CANCELED =>
            {
                Err(self.never_began(server, *fields))
            }
            Err(FactsError::Run(RunError::Stale)) => Err(Ending::Again),
            Err(FactsError::Unexpected(what)) => {
                // The catalog changes while it is read.
                tracing::debug!(what, "facts that make no sense");
                Err(Ending::Again)
            }
            Err(FactsError::Run(RunError::Sql(fields))) => {
                let may_change = fields.sqlstate != INSUFFICIENT_PRIVILEGE && !self.is_last.get();
                match facts::without(server, request, self.parsed, &fields, limits).await {
                    Some(_) if may_change => Err(Ending::Again),
                    // What the server can't tell, it will say itself about the statement.
                    facts => Ok(facts.unwrap_or_default()),
                }
            }
        }
    }

    /// Whether other facts make the same plan, on the same relations.
    fn is_same(
        &self,
        facts: &Facts,
        plan: &Plan,
        policy: Policy,
    ) -> impl Fn(&Facts) -> bool + use<> {
        let (before, steps) = (oids(facts), plan.steps.clone());
        let (parsed, source) = (self.parsed.clone(), self.source.clone());
        move |now| {
            let again = judged(&parsed, &source, now, &policy);
            let plan = again.verdict.plan();
            oids(now) == before && plan.is_some_and(|plan| plan.steps == steps)
        }
    }

    /// The lock wasn't even had for the facts.
    fn never_began(&self, server: &mut ServerSession<'_>, fields: ErrorFields) -> Ending {
        let judgement = Judgement::by(&rules::other::LOCK_QUEUE, Verdict::Untouched);
        let elapsed = server.elapsed();
        let ended = Ended {
            outcome: "failed",
            error: Some(&fields),
            elapsed,
            ..Ended::default()
        };
        self.record(server, &judgement, None, &ended);
        Ending::Failed(Box::new(fields))
    }

    /// The plan that carries a verdict out; or how it ends without one.
    fn plan_of(
        &self,
        server: &mut ServerSession<'_>,
        facts: &Facts,
        judgement: &Judgement,
    ) -> Result<Plan, Ending> {
        let (outcome, error, ending) = match &judgement.verdict {
            Verdict::Pass(plan) | Verdict::Rewrite(plan) | Verdict::Queue(plan) => {
                return Ok(plan.clone());
            }
            Verdict::Reject(refusal) => {
                let rule = judgement.rule().map_or("none", |rule| rule.name);
                let fields = error::refused(refusal, rule);
                let ending = Ending::Failed(Box::new(fields.clone()));
                ("refused", Some(fields), ending)
            }
            Verdict::Untouched if self.intercept.by == By::Query => {
                ("passed", None, Ending::GoesOn)
            }
            // The batch in which its portal lived has ended: it runs from here.
            Verdict::Untouched => return Ok(untouched_plan(self.parsed, &self.source)),
            Verdict::NoOp(no_op) => {
                for (sqlstate, message) in &no_op.notices {
                    server.servers_notice(sqlstate, message);
                }
                ("done", None, Ending::Done(no_op.tag.to_owned()))
            }
        };
        let ended = Ended {
            outcome,
            error: error.as_ref(),
            elapsed: server.elapsed(),
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        Err(ending)
    }

    /// Carries a verdict out.
    async fn carry_out(
        &self,
        server: &mut ServerSession<'_>,
        facts: &Facts,
        judgement: Judgement,
        limits: Limits,
    ) -> Ending {
        let plan = match self.plan_of(server, facts, &judgement) {
            Ok(plan) => plan,
            Err(ending) => return ending,
        };
        let shown = recorded_sql(&self.source, &self.parsed.statement);
        let applicant = applicant(server, &shown);
        let setup = server.session().worker.setup();
        let config = &setup.config;
        if let Err(RunError::Sql(fields)) = server.file_is_written() {
            return self.never_began(server, *fields);
        }
        let filing = self.filing(server, facts, &judgement, (&plan, &applicant), limits);
        match turn::wait(server, filing, self.place.take()).await {
            Ok(Turn::Come(place)) => self.place.set(place),
            Ok(Turn::Twin(outcome)) => return self.as_twin(server, facts, &judgement, *outcome),
            Ok(Turn::Late(place)) => {
                self.place.set(place);
                return Ending::Again;
            }
            Err(RunError::Sql(fields)) => return self.never_began(server, *fields),
            Err(RunError::Gone) => return server.ending_of_gone(),
            Err(RunError::Stale) => return Ending::Again,
        }
        if !plan.notice.is_empty() {
            server.notice(&plan.notice, "");
        }
        if plan.steps.iter().any(Step::is_online) {
            server.may_outlive_client(config.plan.orphan_ttl);
        }
        let relations = relation_names(self.parsed, facts);
        let places = server.session().worker.shared.places.clone();
        let setup = Setup {
            settings: &facts.session,
            limits,
            relations: &relations,
            places: Some((&places, &applicant)),
            pace: config.backfill.pace(),
        };
        let outcome = runner::run(server, &plan, setup).await;
        self.finish(server, facts, &judgement, outcome)
    }

    /// What is written down of it before it runs.
    fn filing<'f>(
        &'f self,
        server: &mut ServerSession<'_>,
        facts: &Facts,
        judgement: &Judgement,
        (plan, applicant): (&'f Plan, &'f Applicant),
        limits: Limits,
    ) -> Filing<'f> {
        let mut event = event_of(server.session(), &self.intercept.text, self.parsed);
        event.verdict = judgement.verdict.as_str().into();
        event.rule = judgement.rule().map(|rule| rule.name.into());
        event.outcome = "".into();
        let known = known_relations(facts);
        if !known.is_empty() {
            event.relations = known;
        }
        // Of several steps each may have to be run by somebody else: they are written down as they are.
        let is_secret = self.parsed.statement.may_hold_secret()
            || (plan.steps.len() == 1 && redact::has_secret(&self.source));
        let is_rewritten = matches!(judgement.verdict, Verdict::Rewrite(_));
        Filing {
            plan,
            applicant,
            limits,
            events: vec![event],
            is_secret,
            is_read_only: facts.session.read_only,
            is_online: is_rewritten && plan.steps.iter().any(Step::is_online),
            twin: (!is_secret).then(|| Twin {
                statement: self.source.as_str(),
                relations: oids(facts),
                schema: facts.session.current_schema.clone(),
            }),
        }
    }

    /// The same statement was at work before: what came of it has come of this one too.
    fn as_twin(
        &self,
        server: &mut ServerSession<'_>,
        facts: &Facts,
        judgement: &Judgement,
        outcome: Outcome,
    ) -> Ending {
        let elapsed = server.elapsed();
        let fields = outcome.error.map(error::of_twin);
        let tag = self.parsed.statement.tag();
        let ended = Ended {
            outcome: if fields.is_none() { "done" } else { "failed" },
            error: fields.as_ref(),
            because: Some("the same statement was at work already"),
            tag: fields.is_none().then_some(tag),
            elapsed,
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        match fields {
            Some(fields) => Ending::Failed(Box::new(fields)),
            None => Ending::Done(tag.to_owned()),
        }
    }

    /// Counts, explains and records a plan's end.
    fn finish(
        &self,
        server: &mut ServerSession<'_>,
        facts: &Facts,
        judgement: &Judgement,
        outcome: runner::Outcome,
    ) -> Ending {
        let (elapsed, progress) = (server.elapsed(), &outcome.progress);
        if matches!(outcome.result, Err(RunError::Stale)) {
            return Ending::Again;
        }
        let word = match &outcome.result {
            Ok(_) => "done",
            Err(RunError::Gone | RunError::Stale) => "server_gone",
            Err(RunError::Sql(_)) if server.interrupted_by().is_some() => "interrupted",
            Err(RunError::Sql(_)) => "failed",
        };
        metrics::plan_ended(word, elapsed, progress.waited, progress.attempts);
        let ending = match outcome.result {
            // What ran in its place may have had another.
            Ok(_) if matches!(judgement.verdict, Verdict::Rewrite(_)) => {
                Ending::Done(self.parsed.statement.tag().to_owned())
            }
            Ok(tag) => Ending::Done(tag),
            Err(RunError::Gone | RunError::Stale) => Ending::Gone,
            Err(RunError::Sql(fields)) => {
                let fields = explain_failure(*fields, progress, &self.intercept.text);
                Ending::Failed(Box::new(fields))
            }
        };
        if server.entry().is_some() && (progress.owes || matches!(ending, Ending::Gone)) {
            // Whoever takes it over brings it to its end, and records that.
            drop(server.take_entry());
            return match ending {
                Ending::Gone => server.ending_of_gone(),
                ending => ending,
            };
        }
        let gone = error::server_gone();
        let error = match &ending {
            Ending::Failed(fields) => Some(fields.as_ref()),
            Ending::Gone => Some(&gone),
            Ending::GoesOn
            | Ending::Done(_)
            | Ending::Again
            | Ending::Observed
            | Ending::Told
            | Ending::TakenOver => None,
        };
        let outcome = if word == "done" { "done" } else { "failed" };
        let ended = Ended {
            outcome,
            error,
            progress: Some(progress),
            tag: match &ending {
                Ending::Done(tag) => Some(tag.as_str()),
                _ => None,
            },
            interrupted: server.interrupted_by().is_some(),
            elapsed,
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        match (server.interrupted_by(), ending) {
            // The session ends with one FATAL, which says why.
            (Some(Interrupt::Shutdown), Ending::Failed(_)) => Ending::Gone,
            (_, ending) => ending,
        }
    }

    fn record(
        &self,
        server: &mut ServerSession<'_>,
        judgement: &Judgement,
        facts: Option<&Facts>,
        ended: &Ended<'_>,
    ) {
        let ended = Ended {
            window: self.wait.entry(),
            ..ended.clone()
        };
        let entry = server.take_entry();
        record(
            server.session(),
            &self.intercept.text,
            self.parsed,
            judgement,
            facts,
            &ended,
            entry,
        );
    }
}

/// Who wants a place in the queues, as others see it who wait for it.
fn applicant(server: &mut ServerSession<'_>, sql: &str) -> Applicant {
    const LONGEST: usize = 80;
    let plan = server.plan().map_or(0, PlanHandle::number);
    let sql = one_line(clip(sql.trim(), LONGEST));
    let who = &server.session().who;
    Applicant {
        plan,
        what: format!("{sql} ({}, process {})", who.user, who.server_pid),
    }
}

/// A statement that no rule is about, run as it is.
fn untouched_plan(parsed: &Parsed, source: &str) -> Plan {
    use crate::plan::Context;
    let refuses_block = match &parsed.statement {
        crate::sql::statement::Statement::CreateIndex(create) => create.concurrently,
        crate::sql::statement::Statement::DropIndex(drop) => drop.concurrently,
        crate::sql::statement::Statement::Reindex(reindex) => reindex.concurrently,
        _ => false,
    };
    Plan::as_sent(Step {
        context: if refuses_block {
            Context::Concurrent { clear: None }
        } else {
            Context::Transaction
        },
        ..Step::brief("as sent", source)
    })
}

fn relation_names(parsed: &Parsed, facts: &Facts) -> Vec<Name> {
    let known = facts.relations.iter().flatten();
    let names: Vec<Name> = known
        .map(|relation| {
            relation
                .table
                .as_ref()
                .map_or_else(|| relation.qualified(), |table| table.qualified())
        })
        .collect();
    if names.is_empty() {
        parsed.statement.relations()
    } else {
        names
    }
}
