//! While a client is held in its transaction, its own timeouts on that don't end its session.

use crate::exec::session::{Command, RunError, Session as _};
use crate::proxy::server_session::ServerSession;
use crate::wire::pipeline::TransactionStatus;

/// `transaction_timeout` is there since PostgreSQL 17.
const SUSPEND_SQL: &str = "
SELECT s.name, s.setting || coalesce(s.unit, ''), pg_catalog.set_config(s.name, '0', true)
FROM pg_catalog.pg_settings s
WHERE s.name IN ('idle_in_transaction_session_timeout', 'transaction_timeout') AND s.setting <> '0'";

/// Takes them off.
///
/// # Errors
/// As of a command.
pub(super) async fn suspend(server: &mut ServerSession<'_>) -> Result<(), RunError> {
    let replies = server.run(&[Command::own(SUSPEND_SQL)]).await?;
    let rows = replies.into_iter().flat_map(|reply| reply.rows);
    let suspended = rows.filter_map(|row| {
        let mut values = row.into_iter();
        Some((values.next()??, values.next()??))
    });
    server.suspended(suspended.collect());
    Ok(())
}

/// Puts them back as they were found.
///
/// # Errors
/// As of a command.
pub(super) async fn resume(server: &mut ServerSession<'_>) -> Result<(), RunError> {
    const SQL: &str = "SELECT pg_catalog.set_config($1, $2, true)";
    let suspended = server.resumed();
    let status = server.session().inspector.pipeline.status();
    if suspended.is_empty() || status != TransactionStatus::InTransaction {
        return Ok(()); // what is set for a transaction ends with it
    }
    let back = suspended.into_iter();
    let batch: Vec<Command> = back
        .map(|(name, value)| Command::with(SQL, vec![name, value]))
        .collect();
    server.run(&batch).await.map(drop)
}
