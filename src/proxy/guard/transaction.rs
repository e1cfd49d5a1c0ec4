//! A message of the client's own transaction: a schema change, for which a place is found there, or something that
//! could notice that one is put off.

mod late;
mod notices;
mod string;
mod timeouts;

use super::record::{Ended, Placed, event_of, follow};
use super::{Case, Ending, Judged, MAX_JUDGEMENTS, answer, named};
use crate::catalog::Facts;
use crate::catalog::script::Script;
use crate::catalog::shadow::Shadow;
use crate::config::Mode;
use crate::error;
use crate::exec::runner;
use crate::exec::session::{Command, RunError, Session as _};
use crate::lock::LockMode;
use crate::plan::placement::{self, Placement};
use crate::plan::{Limits, Step};
use crate::proxy::inspect::{By, Intercept};
use crate::proxy::server_session::{SETTINGS, ServerSession, Within};
use crate::proxy::session::{Session, SessionError};
use crate::proxy::transaction::Late;
use crate::rules::other::NO_WINDOW;
use crate::rules::{Judgement, Verdict};
use crate::sql::classify::Class;
use crate::sql::name::Name;
use crate::sql::parse::Parsed;
use crate::sql::parse::ordinary::{Control, Kind, kind};
use crate::sql::statement::Statement;
use crate::wire::backend::ErrorFields;

/// Why a schema change of a transaction runs as it came.
const NOT_READ_COMMITTED: &str = "in a transaction that isn't READ COMMITTED, or READ ONLY";
const AS_SENT: &str = "in a transaction";
const SEVERAL: &str = "several statements in one query of a transaction";

/// Guards the message that the relay stopped at.
///
/// # Errors
/// [`SessionError`] when the client can't be answered any more.
pub(super) async fn handle(
    session: &mut Session,
    intercept: &Intercept,
) -> Result<(), SessionError> {
    let mode = session.mode(&session.worker.setup().config);
    let is_guarded = mode == Mode::Enforce && !session.mode_depends_on_role();
    let is_ddl = intercept.text.class == Class::Ddl;
    if is_ddl && !is_guarded && session.inspector.transaction.is_empty() {
        return passes(session, intercept, AS_SENT).await;
    }
    let owed = session.inspector.owed_error.take();
    let mut server = ServerSession::new(session);
    if let Some(fields) = owed {
        let ending = has_failed(&mut server, intercept, fields).await;
        return answer(session, intercept, ending).await;
    }
    let ended = guard(&mut server, intercept, is_guarded).await;
    let mut ending = named(&server, ended);
    let settled = match &ending {
        // The server's transaction shall be as failed as the client's.
        Ending::Failed(_) => abort(&mut server).await,
        _ => timeouts::resume(&mut server).await,
    };
    if settled.is_err() {
        ending = Ending::Gone;
    }
    session.watch_locks();
    answer(session, intercept, ending).await
}

/// The transaction has failed before, of which the client learns now. Its COMMIT ends it.
async fn has_failed(
    server: &mut ServerSession<'_>,
    intercept: &Intercept,
    fields: Box<ErrorFields>,
) -> Ending {
    let lexical = server.session().inspector.lexical.mode;
    let commits = matches!(
        kind(&intercept.text.text, lexical),
        Kind::Control(Control::Commit { .. })
    );
    if commits {
        if runner::roll_back(server).await.is_err() {
            return Ending::Gone;
        }
        server.session().inspector.rolled_back();
    }
    Ending::Failed(fields)
}

/// Others have waited for so long for what the transaction has locked: it fails, and with it go its locks. The client
/// learns why at once, and with its next statement.
///
/// # Errors
/// [`SessionError`] when the client can't be answered any more.
pub async fn give_up(session: &mut Session) -> Result<(), SessionError> {
    let max_hold = session.worker.setup().config.locks.max_hold;
    let fields = error::others_waited_for_transaction(max_hold);
    let mut server = ServerSession::new(session);
    server.notice(
        &fields.message,
        "The transaction has failed, and its locks are gone.",
    );
    let aborted = abort(&mut server).await;
    aborted.map_err(|_| SessionError::Server(std::io::ErrorKind::ConnectionReset.into()))?;
    session.inspector.owed_error = Some(Box::new(fields));
    session.watch_locks();
    crate::proxy::server_session::flush_client(session).await
}

/// It goes on as it came, and is recorded.
async fn passes(
    session: &mut Session,
    intercept: &Intercept,
    because: &'static str,
) -> Result<(), SessionError> {
    session.inspector.report_next(because);
    answer(session, intercept, Ending::GoesOn).await
}

async fn guard(server: &mut ServerSession<'_>, intercept: &Intercept, guarded: bool) -> Ending {
    if intercept.by != By::Query && server.session().inspector.pipeline.batch().messages > 0 {
        match server.end_batch().await {
            Ok(true) => {}
            Ok(false) => {
                server.session().inspector.discard_until_sync();
                return Ending::GoesOn;
            }
            Err(_) => return Ending::Gone,
        }
    }
    if intercept.by == By::Query {
        server.came_by_query();
    }
    let is_guardable = match enter(server).await {
        Ok(is_guardable) => is_guardable,
        Err(RunError::Sql(fields)) => return Ending::Failed(fields),
        Err(RunError::Gone | RunError::Stale) => return Ending::Gone,
    };
    if intercept.text.class != Class::Ddl {
        return ordinary(server, intercept).await;
    }
    if let Some(unit) = unit(intercept) {
        return one(server, &unit, (is_guardable, guarded)).await;
    }
    if is_guardable && guarded && string::can_be_taken_apart(&intercept.text) {
        return string::run(server, intercept).await;
    }
    as_sent(server, intercept, SEVERAL).await
}

/// The message, when it holds one statement only.
fn unit(intercept: &Intercept) -> Option<Unit<'_>> {
    let parsed = intercept.text.only_statement()?;
    Some(Unit { intercept, parsed })
}

/// One schema change of the client's transaction.
struct Unit<'a> {
    intercept: &'a Intercept,
    parsed: &'a Parsed,
}

async fn one(
    server: &mut ServerSession<'_>,
    unit: &Unit<'_>,
    (is_guardable, guarded): (bool, bool),
) -> Ending {
    let setup = server.session().worker.setup();
    if let Some(why) = server
        .session()
        .worker
        .cannot_record(&setup.config)
        .filter(|_| guarded)
    {
        return Ending::Failed(Box::new(error::no_record(&why)));
    }
    let because = match () {
        () if !is_guardable => NOT_READ_COMMITTED,
        () if !(guarded && unit.parsed.statement.may_hurt()) => AS_SENT,
        () => return schema_change(server, unit.intercept, unit.parsed).await,
    };
    as_sent(server, unit.intercept, because).await
}

/// Learns of the client's transaction what plans must know that run in it; whether they may.
async fn enter(server: &mut ServerSession<'_>) -> Result<bool, RunError> {
    // SHOW takes no snapshot.
    let names = ["transaction_isolation", "transaction_read_only"];
    let batch: Vec<Command> = (names.into_iter().chain(SETTINGS))
        .map(|name| Command::own(format!("SHOW {name}")))
        .collect();
    let replies = server.run(&batch).await?;
    let values: Vec<String> = replies
        .into_iter()
        .filter_map(|reply| reply.rows.into_iter().next()?.into_iter().next()?)
        .collect();
    let (kind, settings) = values.split_at(names.len().min(values.len()));
    server.enter(Within::new(settings));
    let is_guardable = kind == ["read committed", "off"];
    if is_guardable {
        timeouts::suspend(server).await?;
    }
    Ok(is_guardable)
}

/// A failed statement of lockkeeper's leaves the server's transaction as one of the client's does.
async fn abort(server: &mut ServerSession<'_>) -> Result<(), RunError> {
    use crate::wire::pipeline::TransactionStatus;
    if server.session().inspector.pipeline.status() != TransactionStatus::InTransaction {
        return Ok(());
    }
    const SQL: &str = "ROLLBACK TO SAVEPOINT \"lockkeeper has refused a statement\"";
    match server.run(&[Command::own(SQL)]).await {
        Err(RunError::Gone) => Err(RunError::Gone),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether a statement's own text names all that it reads, and it doesn't end the transaction.
fn names_all(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::CreateIndex(_)
            | Statement::AlterTable(_)
            | Statement::Rename(_)
            | Statement::Drop(_)
    )
}

/// A schema change that runs as it came; what it could notice runs before it.
async fn as_sent(
    server: &mut ServerSession<'_>,
    intercept: &Intercept,
    because: &'static str,
) -> Ending {
    let transaction = &server.session().inspector.transaction;
    let is_apart = intercept
        .text
        .only_statement()
        .is_some_and(|parsed| names_all(&parsed.statement))
        && !transaction.is_named_in(&intercept.text.text);
    if !(transaction.is_empty() || is_apart)
        && let Err(ending) = late::run_now(server).await
    {
        return ending;
    }
    server.session().inspector.report_next(because);
    Ending::GoesOn
}

/// What is no schema change, while one is put off.
async fn ordinary(server: &mut ServerSession<'_>, intercept: &Intercept) -> Ending {
    let lexical = server.session().inspector.lexical.mode;
    let text = &intercept.text;
    let kind = if text.exact && intercept.by != By::Other || text.class == Class::Query {
        kind(&text.text, lexical)
    } else {
        Kind::Other
    };
    let ran = match &kind {
        Kind::Control(Control::Commit { .. }) => late::run_at_commit(server).await,
        Kind::Control(Control::Prepare) => late::run_now(server).await,
        Kind::Control(_) => Ok(()),
        kind => match notices::notices(server, &text.text, kind).await {
            Ok(false) => Ok(()),
            Ok(true) => late::run_now(server).await,
            Err(RunError::Sql(fields)) => Err(Ending::Failed(fields)),
            Err(RunError::Gone | RunError::Stale) => Err(Ending::Gone),
        },
    };
    ran.err().unwrap_or(Ending::GoesOn)
}

/// Judges a schema change, and finds a place for it.
async fn schema_change(
    server: &mut ServerSession<'_>,
    intercept: &Intercept,
    parsed: &Parsed,
) -> Ending {
    let case = Case::new(intercept, parsed);
    let event = event_of(server.session(), &intercept.text, parsed);
    server.begin_plan(event.into());
    for judgements in 0..MAX_JUDGEMENTS {
        case.is_last.set(judgements + 1 == MAX_JUDGEMENTS);
        let mut script = script(server);
        let before = (!server.session().inspector.transaction.is_empty()).then_some(&mut script);
        match case.judge(server, before).await {
            Ok(judged) => match case.place(server, judged).await {
                Ending::Again => {}
                ending => return ending,
            },
            Err(Ending::Again) => {}
            Err(ending) => return ending,
        }
    }
    case.never_began(server, error::stale())
}

/// The catalog as what is put off will leave it.
fn script(server: &mut ServerSession<'_>) -> Script {
    let mut script = Script::new(Shadow::new(crate::catalog::SessionFacts::default()));
    for late in server.session().inspector.transaction.late() {
        for relation in &late.facts {
            script.follow(relation);
        }
        script.shadow.apply(&late.statement);
    }
    script
}

impl Case<'_> {
    /// Does what was judged, in the client's transaction.
    async fn place(&self, server: &mut ServerSession<'_>, judged: Judged) -> Ending {
        let Judged {
            facts,
            judgement,
            limits,
        } = judged;
        let steps = match &judgement.verdict {
            Verdict::Pass(plan) | Verdict::Rewrite(plan) => plan.steps.clone(),
            Verdict::Queue(plan) => {
                let setup = server.session().worker.setup();
                if !setup.config.policy.windows.is_open(jiff::Timestamp::now()) {
                    let fields = error::queued_in_string(NO_WINDOW, self.parsed.statement.tag());
                    return self.refused(server, &judgement, &facts, fields);
                }
                plan.steps.clone()
            }
            Verdict::Untouched => return as_sent(server, self.intercept, AS_SENT).await,
            Verdict::Reject(_) | Verdict::NoOp(_) => {
                return match self.plan_of(server, &facts, &judgement) {
                    Err(ending) => ending,
                    Ok(_) => Ending::GoesOn,
                };
            }
        };
        let has_room = server.session().inspector.transaction.has_room();
        match placement::of(&self.parsed.statement, &steps, &facts) {
            Placement::Late if has_room => {}
            Placement::Late | Placement::Inside => {
                return self.inside(server, &judgement, &facts, limits).await;
            }
        }
        match late::rehearse(server, &steps, &facts, limits).await {
            Ok(()) => {}
            Err(RunError::Sql(fields)) => return self.failed(server, &judgement, &facts, *fields),
            Err(RunError::Gone) => return Ending::Gone,
            Err(RunError::Stale) => return Ending::Again,
        }
        let placed = Placed {
            judgement: &judgement,
            facts: &facts,
            place: "late",
            steps: &steps,
        };
        follow(server.session(), &self.intercept.text, self.parsed, &placed);
        let statement = self.parsed.statement.clone();
        server.session().inspector.transaction.put_off(Late {
            steps,
            names: placement::names(&statement, &facts),
            facts: facts.relations.into_iter().flatten().collect(),
            statement,
        });
        Ending::Done(self.parsed.statement.tag().to_owned())
    }

    /// Runs it at once, as it was sent, when its locks can be had.
    async fn inside(
        &self,
        server: &mut ServerSession<'_>,
        judgement: &Judgement,
        facts: &Facts,
        limits: Limits,
    ) -> Ending {
        let is_new = |name: &Name| {
            let mut known = facts.relations.iter().flatten();
            known.any(|one| one.qualified() == *name && (one.created_here || one.temporary))
        };
        let locks = judgement.effects.locks.iter();
        let strong = locks.filter(|(name, mode)| **mode >= LockMode::Share && !is_new(name));
        let mut step = Step::brief("as sent", self.source.as_str());
        for (name, mode) in strong {
            step = step.locking(name, *mode);
        }
        if step.locks.is_empty() {
            return as_sent(server, self.intercept, AS_SENT).await;
        }
        let scan_rate = server.session().worker.setup().config.guard.scan_rate;
        let time = placement::time_of(&judgement.effects, facts, scan_rate.as_u64());
        if let Verdict::Rewrite(plan) = &judgement.verdict
            && time > limits.max_hold
        {
            let tag = self.parsed.statement.tag();
            let fields = error::too_long_for_transaction(tag, &plan.to_string(), time);
            return self.refused(server, judgement, facts, fields);
        }
        step.takes_long = judgement.effects.takes_long();
        if let Err(ending) = late::run_now(server).await {
            return ending;
        }
        let steps = [step.clone()];
        let tag = match late::run_inside(server, step, &facts.session, limits).await {
            Ok(tag) => tag,
            Err(RunError::Sql(fields)) => return self.failed(server, judgement, facts, *fields),
            Err(RunError::Gone) => return Ending::Gone,
            Err(RunError::Stale) => return Ending::Again,
        };
        let placed = Placed {
            judgement,
            facts,
            place: "inside",
            steps: &steps,
        };
        follow(server.session(), &self.intercept.text, self.parsed, &placed);
        Ending::Done(tag)
    }

    fn failed(
        &self,
        server: &mut ServerSession<'_>,
        judgement: &Judgement,
        facts: &Facts,
        fields: ErrorFields,
    ) -> Ending {
        let ended = Ended {
            outcome: "failed",
            error: Some(&fields),
            elapsed: server.elapsed(),
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        Ending::Failed(Box::new(fields))
    }

    fn refused(
        &self,
        server: &mut ServerSession<'_>,
        judgement: &Judgement,
        facts: &Facts,
        fields: ErrorFields,
    ) -> Ending {
        let ended = Ended {
            outcome: "refused",
            error: Some(&fields),
            elapsed: server.elapsed(),
            ..Ended::default()
        };
        self.record(server, judgement, Some(facts), &ended);
        Ending::Failed(Box::new(fields))
    }
}
