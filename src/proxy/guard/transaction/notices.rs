//! Whether a statement could notice that a schema change before it hasn't run yet.

use super::late::are_plain;
use crate::exec::session::RunError;
use crate::proxy::server_session::ServerSession;
use crate::proxy::transaction::Transaction;
use crate::sql::parse::ordinary::Kind;

/// Whether it could.
///
/// # Errors
/// As of the question about its relations.
pub(super) async fn notices(
    server: &mut ServerSession<'_>,
    text: &str,
    kind: &Kind,
) -> Result<bool, RunError> {
    match kind {
        Kind::Control(_) => Ok(false),
        Kind::Setting(name) => Ok(!Transaction::is_harmless_setting(name)),
        Kind::Other => Ok(true),
        Kind::Ordinary(ordinary) => {
            let transaction = &server.session().inspector.transaction;
            if !transaction.is_harmless(text, ordinary) {
                return Ok(true);
            }
            Ok(!are_plain(server, &ordinary.relations).await?)
        }
    }
}
