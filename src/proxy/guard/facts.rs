//! Facts for the judge, whatever else goes on in the catalog.

use std::time::Duration;

use super::within;
use crate::catalog::shadow::Shadow;
use crate::catalog::{FactRequest, Facts};
use crate::exec::acquire::{Tries, is_about_locks};
use crate::exec::runner::{INSUFFICIENT_PRIVILEGE, Progress};
use crate::exec::session::{Command, RunError, Session as _};
use crate::pg::introspect::{self, FactsError};
use crate::plan::Limits;
use crate::proxy::server_session::ServerSession;
use crate::sql::parse::Parsed;
use crate::wire::backend::ErrorFields;

/// Asks for facts, again while somebody holds ACCESS EXCLUSIVE on a relation, for as long as the
/// client's own settings allow.
pub(super) async fn ask(
    server: &mut ServerSession<'_>,
    request: &FactRequest,
    limits: Limits,
) -> Result<Facts, FactsError> {
    ask_after(server, &[], request, limits).await
}

/// Asks once; `None` when they can't be had now.
///
/// # Errors
/// [`RunError::Gone`].
pub(super) async fn once(
    server: &mut ServerSession<'_>,
    before: &[Command],
    request: &FactRequest,
    budget: Duration,
) -> Result<Option<Facts>, RunError> {
    match introspect::facts_after(server, before, request, budget).await {
        Ok(facts) => Ok(Some(facts)),
        Err(FactsError::Run(RunError::Gone)) => Err(RunError::Gone),
        Err(failure) => {
            tracing::debug!(error = %failure, "no facts");
            Ok(None)
        }
    }
}

/// As [`ask`], as if some statements had run before. A type whose name the server can't make out isn't
/// known, which is the worst; all else is.
pub(super) async fn ask_after(
    server: &mut ServerSession<'_>,
    before: &[Command],
    request: &FactRequest,
    limits: Limits,
) -> Result<Facts, FactsError> {
    let failure = match ask_insistently(server, before, request, limits).await {
        Err(FactsError::Run(RunError::Sql(fields)))
            if WRONG_NAMES.contains(&fields.sqlstate.as_str()) && !request.types.is_empty() =>
        {
            fields
        }
        result => return result,
    };
    tracing::debug!(error = failure.message, "no facts about types");
    let others = FactRequest {
        types: Vec::new(),
        ..request.clone()
    };
    let facts = ask_insistently(server, before, &others, limits).await?;
    Ok(Facts {
        types: vec![None; request.types.len()],
        ..facts
    })
}

async fn ask_insistently(
    server: &mut ServerSession<'_>,
    before: &[Command],
    request: &FactRequest,
    mut limits: Limits,
) -> Result<Facts, FactsError> {
    let mut tries = None;
    let mut progress = Progress::default();
    loop {
        let began = server.elapsed();
        progress.attempts += 1;
        let facts = introspect::facts_after(server, before, request, limits.budget);
        let failure = match facts.await {
            Err(FactsError::Run(RunError::Sql(fields))) if is_about_locks(&fields.sqlstate) => {
                RunError::Sql(fields)
            }
            result => return result,
        };
        let spent = server.elapsed().saturating_sub(began);
        if tries.is_none() {
            let settings =
                introspect::facts(server, &FactRequest::default(), limits.budget).await?;
            limits = within(limits, &settings.session, server.set_aside_so_far());
        }
        let tries = tries.get_or_insert_with(|| Tries::new(&request.relations, limits));
        tries.again(server, failure, spent, &mut progress).await?;
    }
}

/// SQLSTATEs of names and types that are wrong whatever the catalog holds: too many dots, another
/// database, a schema that isn't there, a type that can't be read.
const WRONG_NAMES: &[&str] = &[
    "42601", "42602", "0A000", "3F000", "3D000", "22P02", "22023",
];

/// What is assumed when the catalog can't be read: the worst. The role may not read it, or it changes
/// while it is read: functions that look into it find the relation gone that the query has just seen
/// (42P01, XX000 `cache lookup failed`). `None` where the server has another reason, such as a schema
/// that the role may not use, and will give it for the statement too.
pub(super) async fn without(
    server: &mut ServerSession<'_>,
    request: &FactRequest,
    parsed: &Parsed,
    fields: &ErrorFields,
    limits: Limits,
) -> Option<Facts> {
    let is_server_s_to_say = match fields.sqlstate.as_str() {
        INSUFFICIENT_PRIVILEGE => introspect::lacks_schema(server, request).await,
        other => WRONG_NAMES.contains(&other),
    };
    let (sqlstate, why) = (&fields.sqlstate, &fields.message);
    if is_server_s_to_say {
        tracing::debug!(sqlstate, error = why, "no facts");
        return None;
    }
    tracing::warn!(
        sqlstate,
        error = why,
        "the catalog can't be read: the worst is assumed"
    );
    let settings = introspect::facts(server, &FactRequest::default(), limits.budget).await;
    let settings = settings.map(|facts| facts.session).unwrap_or_default();
    Some(Shadow::assuming(settings).answer_about(request, &parsed.statement))
}
