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

use super::query;
use crate::catalog::{
    DependentRelation, FactRequest, Facts, Relation, Taken, Type, UNKNOWN_MODIFIER, Volatility,
    shadow,
};
use crate::exec::acquire::array_literal;
use crate::exec::runner::roll_back;
use crate::exec::session::{Command, Reply, RunError, Session, says_true};

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
    facts_after(session, &[], request, budget).await
}

/// As [`facts`], where some statements have run before, which are then rolled back: those of a
/// string that decide how names are read.
///
/// # Errors
/// [`FactsError`].
pub async fn facts_after<S: Session>(
    session: &mut S,
    before: &[Command],
    request: &FactRequest,
    budget: Duration,
) -> Result<Facts, FactsError> {
    let mut batch = vec![Command::own("BEGIN READ ONLY")];
    batch.extend_from_slice(before);
    // The settings are read first: the transaction changes one of them.
    batch.push(Command::own(SETTINGS_SQL));
    let query = query::query(request);
    if let Some(query) = &query {
        let timeout = budget.as_millis().max(1).to_string();
        batch.push(Command::with(LIMITS_SQL, vec![timeout]));
        batch.push(Command::with(&query.sql, query.parameters.clone()));
    }
    batch.push(Command::own(if before.is_empty() {
        "COMMIT"
    } else {
        "ROLLBACK"
    }));
    let replies = match session.run(&batch).await {
        Ok(replies) => replies,
        Err(error) => {
            roll_back(session).await?;
            return Err(error.into());
        }
    };
    let at = 1 + before.len();
    let session = read(&replies, at)?;
    let catalog = if query.is_none() {
        CatalogFacts::default()
    } else {
        catalog(&replies, at + 2, request)?
    };
    let types = catalog.types.into_iter().zip(&request.types);
    Ok(Facts {
        session,
        relations: catalog.relations,
        taken: catalog.taken,
        taken_constraints: catalog.taken_constraints,
        types: types
            .map(|(found, sql)| found.map(|found| with_modifier(found, sql)))
            .collect(),
        functions: catalog.functions,
        objects: catalog.objects,
        own_locks: catalog.own_locks,
        assumed: false,
    })
}

/// Whether a request names a schema that the role may not use.
pub async fn lacks_schema<S: Session>(session: &mut S, request: &FactRequest) -> bool {
    const SQL: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n
        WHERE n.nspname = ANY ($1::pg_catalog.name[])
        AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE'))";
    let objects = request.objects.iter().map(|object| &object.name);
    let names = request.relations.iter().chain(&request.functions);
    let schemas: Vec<String> = names
        .chain(objects)
        .filter_map(|name| name.schema.clone())
        .collect();
    let query = Command::with(SQL, vec![array_literal(&schemas)]);
    session
        .run(&[query])
        .await
        .is_ok_and(|replies| says_true(&replies))
}

/// The server told the type; its modifier is told here, for PostgreSQL's own types.
fn with_modifier(found: Type, sql: &str) -> Type {
    let modifier = match shadow::built_in(sql) {
        Some(own) if own.oid == found.oid => own.modifier,
        _ if sql.contains('(') => UNKNOWN_MODIFIER,
        _ => -1,
    };
    Type { modifier, ..found }
}

/// The part of [`Facts`] that comes from the catalog.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CatalogFacts {
    relations: Vec<Option<Relation>>,
    taken: Vec<Taken>,
    taken_constraints: Vec<String>,
    types: Vec<Option<Type>>,
    functions: Vec<Option<Volatility>>,
    objects: Vec<Vec<DependentRelation>>,
    own_locks: bool,
}

/// The catalog's part, which has a place for each thing that was asked for.
fn catalog(
    replies: &[Reply],
    at: usize,
    request: &FactRequest,
) -> Result<CatalogFacts, FactsError> {
    let found: CatalogFacts = read(replies, at)?;
    let counts = [
        (found.relations.len(), request.relations.len()),
        (found.types.len(), request.types.len()),
        (found.functions.len(), request.functions.len()),
        (found.objects.len(), request.objects.len()),
    ];
    match counts.iter().find(|(found, asked)| found != asked) {
        None => Ok(found),
        Some((found, asked)) => {
            let what = format!("{found} answers to {asked} questions");
            Err(FactsError::Unexpected(what))
        }
    }
}

fn read<T: DeserializeOwned>(replies: &[Reply], at: usize) -> Result<T, FactsError> {
    let first = replies
        .get(at)
        .and_then(|reply| reply.rows.first()?.first()?.as_deref());
    serde_json::from_str(first.unwrap_or_default())
        .map_err(|error| FactsError::Unexpected(error.to_string()))
}

/// Compiling the query takes seconds, for a catalog of some thousand relations makes it look
/// expensive; running it takes milliseconds.
const LIMITS_SQL: &str = "SELECT pg_catalog.set_config('lock_timeout', $1, true), \
     pg_catalog.set_config('jit', 'off', true)";

/// PostgreSQL 13 to 18.
const SETTINGS_SQL: &str = include_str!("settings.sql");
