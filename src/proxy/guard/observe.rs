//! Statements that aren't guarded because the mode says so.

use std::time::Duration;

use super::record::{Ended, record, record_mode_of_role};
use super::{Ending, ask_timeout, asked, count_verdict, facts, policy, window};
use crate::catalog::{FactRequest, Facts};
use crate::config::Mode;
use crate::exec::session::{Command, RunError, Session as _};
use crate::pg::introspect::{self, FactsError};
use crate::proxy::inspect::{By, Intercept};
use crate::proxy::mode;
use crate::proxy::server_session::{ServerSession, flush_client};
use crate::proxy::session::{Session, SessionError};
use crate::rules::{self, Verdict};
use crate::sql::parse::Parsed;

/// Says what would be done, changes nothing.
pub(super) async fn observe(
    session: &mut Session,
    intercept: &Intercept,
    parsed: &Parsed,
) -> Result<(), SessionError> {
    // In the midst of the client's batch nothing can be asked.
    let may_ask = intercept.by == By::Query;
    if note(session, intercept, parsed, may_ask).await.is_ok() {
        session.inspector.pass_next();
        session.recheck();
    }
    flush_client(session).await
}

/// Records what would be done.
///
/// # Errors
/// [`RunError::Gone`].
async fn note(
    session: &mut Session,
    intercept: &Intercept,
    parsed: &Parsed,
    may_ask: bool,
) -> Result<(), RunError> {
    let source = intercept.text.source(parsed).to_owned();
    let setup = session.worker.setup();
    let asked = asked(session, &intercept.text, parsed, &setup.config);
    let policy = policy(&setup.config, &session.who, &asked);
    let request = rules::facts_needed(&parsed.statement);
    let budget = ask_timeout(setup.config.locks.budget);
    let mut facts = None;
    if may_ask && intercept.text.exact && !request.relations.is_empty() {
        let mut server = ServerSession::new(session);
        facts = facts::once(&mut server, &[], &request, budget).await?;
    }
    let judgement = match &facts {
        Some(facts) => rules::judge(parsed, &source, facts, &policy),
        None if request.relations.is_empty() => {
            rules::judge(parsed, &source, &Facts::default(), &policy)
        }
        None => rules::assumed(&parsed.statement),
    };
    count_verdict(&judgement);
    let is_queued = matches!(judgement.verdict, Verdict::Queue(_));
    let ended = Ended {
        outcome: "observed",
        window: is_queued.then(|| window::entry(&setup.config, Duration::ZERO, false)),
        ..Ended::default()
    };
    record(
        session,
        &intercept.text,
        parsed,
        &judgement,
        facts.as_ref(),
        &ended,
        None,
    );
    Ok(())
}

/// Reads, once a session, what `ALTER ROLE` and `ALTER DATABASE` say of the mode. The server must
/// stand between batches. Where it can't be read, nobody has said anything.
///
/// # Errors
/// [`RunError::Gone`].
pub(super) async fn learn(server: &mut ServerSession<'_>) -> Result<(), RunError> {
    let setup = server.session().worker.setup();
    let budget = ask_timeout(setup.config.locks.budget);
    let value = match introspect::facts(server, &FactRequest::default(), budget).await {
        Ok(facts) => facts.session.role_mode,
        Err(FactsError::Run(RunError::Gone)) => return Err(RunError::Gone),
        Err(failure) => {
            tracing::warn!(error = %failure, "the role's lockkeeper.mode can't be read");
            return Ok(());
        }
    };
    let mode = &mut server.session().inspector.mode;
    mode.learned(value.as_deref().and_then(mode::parse));
    if let Some(value) = value
        && let Some(notice) = record_mode_of_role(server.session(), &value, &setup.config)
    {
        server.notice(&notice, "");
    }
    Ok(())
}

/// What becomes of a statement at which the session's mode was learned, and isn't `enforce`.
pub(super) async fn stand_back(
    server: &mut ServerSession<'_>,
    intercept: &Intercept,
    parsed: &Parsed,
    mode: Mode,
) -> Ending {
    if intercept.by == By::Query {
        return match mode {
            Mode::Observe => Ending::Observed,
            Mode::Enforce | Mode::Off => Ending::GoesOn,
        };
    }
    // The batch in which its portal lived has ended: it runs from here, as it is.
    if mode == Mode::Observe
        && let Err(RunError::Gone) = note(server.session(), intercept, parsed, true).await
    {
        return Ending::Gone;
    }
    let sql = intercept.text.text.clone();
    match server.run(&[Command::clients(sql)]).await {
        Ok(replies) => Ending::Done(replies.into_iter().map(|reply| reply.tag).collect()),
        Err(RunError::Sql(fields)) => Ending::Failed(fields),
        Err(RunError::Gone | RunError::Stale) => Ending::Gone,
    }
}
