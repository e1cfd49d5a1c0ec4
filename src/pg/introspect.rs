//! Facts, in one round trip, on the client's own session: names are resolved as its statement would
//! resolve them.
//!
//! Names travel as parameters, never as SQL; every function, type and cast is qualified. The query
//! runs in a transaction of its own under the budget, for `pg_relation_size` waits for whoever
//! holds ACCESS EXCLUSIVE.

use std::time::Duration;

use thiserror::Error;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::catalog::{FactRequest, Facts, Relation, Taken};
use crate::exec::acquire::array_literal;
use crate::exec::session::{Command, Reply, RunError, Session};

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

/// Asks for the session's settings, and for the facts of a request that asks for any.
///
/// # Errors
/// [`FactsError`]; the session is then out of its transaction again.
pub async fn facts<S: Session>(
    session: &mut S,
    request: &FactRequest,
    budget: Duration,
) -> Result<Facts, FactsError> {
    // The settings are read first: the transaction changes one of them.
    let mut batch = vec![Command::own("BEGIN READ ONLY"), Command::own(SETTINGS_SQL)];
    if !request.relations.is_empty() {
        let relations: Vec<String> = request.relations.iter().map(ToString::to_string).collect();
        let parameters = vec![
            array_literal(&relations),
            array_literal(&request.candidates),
        ];
        batch.push(Command::own(format!(
            "SET LOCAL lock_timeout = {}",
            budget.as_millis().max(1)
        )));
        batch.push(Command::with(FACTS_SQL, parameters));
    }
    batch.push(Command::own("COMMIT"));
    let replies = match session.run(&batch).await {
        Ok(replies) => replies,
        Err(error) => {
            session.run(&[Command::own("ROLLBACK")]).await?;
            return Err(error.into());
        }
    };
    let session = read(&replies, 1)?;
    let catalog = if request.relations.is_empty() {
        CatalogFacts::default()
    } else {
        read(&replies, 3)?
    };
    Ok(Facts {
        session,
        relations: catalog.relations,
        taken: catalog.taken,
        ..Facts::default()
    })
}

/// The part of [`Facts`] that comes from the catalog.
#[derive(Debug, Default, Deserialize)]
struct CatalogFacts {
    relations: Vec<Option<Relation>>,
    taken: Vec<Taken>,
}

fn read<T: DeserializeOwned>(replies: &[Reply], at: usize) -> Result<T, FactsError> {
    let first = replies
        .get(at)
        .and_then(|reply| reply.rows.first()?.first()?.as_deref());
    serde_json::from_str(first.unwrap_or_default())
        .map_err(|error| FactsError::Unexpected(error.to_string()))
}

/// PostgreSQL 13 to 18.
const SETTINGS_SQL: &str = include_str!("settings.sql");
/// `$1` names of relations, `$2` names that may be taken in the schema of the first. PostgreSQL 13
/// to 18.
const FACTS_SQL: &str = include_str!("facts.sql");
