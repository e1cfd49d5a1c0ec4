//! Facts, in one round trip, on the client's own session: names are resolved as its statement would resolve them.
//!
//! Names travel as parameters, never as SQL; every function, type and cast is qualified. The query runs in a transaction
//! of its own under the budget, for `pg_relation_size` waits for whoever holds ACCESS EXCLUSIVE.

use std::time::Duration;

use thiserror::Error;

use crate::catalog::{FactRequest, Facts};
use crate::exec::acquire::array_literal;
use crate::exec::session::{Command, RunError, Session};

/// Facts that could not be had.
#[derive(Debug, Error)]
pub enum FactsError {
    /// The server refused the query.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The answer isn't what was asked for.
    #[error("unexpected answer to the facts query: {0}")]
    Unexpected(String),
}

/// Asks for facts.
///
/// # Errors
/// [`FactsError`]; the session is then out of its transaction again.
pub async fn facts<S: Session>(
    session: &mut S,
    request: &FactRequest,
    budget: Duration,
) -> Result<Facts, FactsError> {
    let relations: Vec<String> = request.relations.iter().map(ToString::to_string).collect();
    let parameters = vec![
        array_literal(&relations),
        array_literal(&request.candidates),
    ];
    let batch = [
        Command::own("BEGIN READ ONLY"),
        Command::own(format!(
            "SET LOCAL lock_timeout = {}",
            budget.as_millis().max(1)
        )),
        Command::with(FACTS_SQL, parameters),
        Command::own("COMMIT"),
    ];
    let replies = match session.run(&batch).await {
        Ok(replies) => replies,
        Err(error) => {
            session.run(&[Command::own("ROLLBACK")]).await?;
            return Err(error.into());
        }
    };
    let text = replies
        .get(2)
        .and_then(|reply| reply.rows.first()?.first()?.as_deref())
        .unwrap_or_default();
    serde_json::from_str(text).map_err(|error| FactsError::Unexpected(error.to_string()))
}

/// `$1` names of relations, `$2` names that may be taken in the schema of the first. PostgreSQL 13 to 18.
const FACTS_SQL: &str = include_str!("facts.sql");
