//! Several statements in one Query of the client's transaction: one by one, each with a place of its own, and answered
//! as the server answers such a string.

use std::sync::Arc;

use super::{Ending, Unit, abort, late, notices, one};
use crate::exec::session::RunError;
use crate::proxy::inspect::{By, Intercept};
use crate::proxy::server_session::ServerSession;
use crate::sql::classify::Text;
use crate::sql::parse::ordinary::kind;
use crate::sql::parse::{Parsed, Sort};
use crate::wire::backend;

/// Whether its statements can be sent one by one: none of them ends the transaction, or copies.
pub(super) fn can_be_taken_apart(text: &Text) -> bool {
    let is_plain = |parsed: &Parsed| {
        !matches!(
            parsed.sort,
            Sort::Transaction | Sort::Copy | Sort::Unreadable
        )
    };
    text.exact && text.statements.len() > 1 && text.statements.iter().all(is_plain)
}

/// Runs the statements in order until one fails.
pub(super) async fn run(server: &mut ServerSession<'_>, intercept: &Intercept) -> Ending {
    if server.session().sent_by_plan(intercept).is_err() {
        return Ending::Gone;
    }
    for parsed in &intercept.text.statements {
        match statement(server, &intercept.text, parsed).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(RunError::Gone | RunError::Stale | RunError::Sql(_)) => return Ending::Gone,
        }
    }
    let status = server.session().inspector.pipeline.status();
    server.say(|buffer| backend::put_ready_for_query(buffer, status));
    Ending::Told
}

/// Runs one; whether the next one is to be run.
async fn statement(
    server: &mut ServerSession<'_>,
    text: &Arc<Text>,
    parsed: &Parsed,
) -> Result<bool, RunError> {
    let source = text.source(parsed).to_owned();
    let before = text.text.get(..parsed.span.start).unwrap_or_default();
    let own = text.text.get(parsed.span.clone()).unwrap_or_default();
    let blank = own.chars().count() - own.trim_start().chars().count();
    let offset = before.chars().count() + blank;
    let ending = if parsed.sort == Sort::Ddl {
        let alone = alone(text, parsed, &source);
        match alone.text.only_statement() {
            Some(parsed) => {
                let unit = Unit {
                    intercept: &alone,
                    parsed,
                };
                let ending = one(server, &unit, (true, true)).await;
                server.session().inspector.sent_by_plan(&alone.text);
                server.session().note_passed();
                ending
            }
            None => Ending::GoesOn,
        }
    } else {
        let lexical = server.session().inspector.lexical.mode;
        match notices::notices(server, &source, &kind(&source, lexical)).await? {
            false => Ending::GoesOn,
            true => late::run_now(server).await.err().unwrap_or(Ending::GoesOn),
        }
    };
    match ending {
        Ending::GoesOn => server.pass_part(&source, offset).await,
        Ending::Done(tag) => {
            server.say(|buffer| backend::put_command_complete(buffer, &tag));
            Ok(true)
        }
        Ending::Failed(mut fields) => {
            fields.shift_position(offset);
            server.say(|buffer| backend::put_error(buffer, *fields));
            abort(server).await?;
            Ok(false)
        }
        Ending::Gone | Ending::Again | Ending::Observed | Ending::TakenOver | Ending::Told => {
            Err(RunError::Gone)
        }
    }
}

/// A statement of the string as if it had come alone.
fn alone(text: &Text, parsed: &Parsed, source: &str) -> Intercept {
    let alone = Parsed {
        span: 0..source.len(),
        ..parsed.clone()
    };
    Intercept {
        by: By::Query,
        frame_bytes: 0,
        text: Arc::new(Text {
            class: text.class,
            text: source.to_owned(),
            exact: true,
            statements: vec![alone],
            changes_lexical_settings: text.changes_lexical_settings,
        }),
        prepared: None,
        in_transaction: true,
    }
}
