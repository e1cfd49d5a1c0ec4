//! A server session of lockkeeper's own, over tokio-postgres: for facts, where there is no client.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::Interrupt;
use crate::exec::session::{Command, Reply, RunError, Session};
use crate::sql::lexer::{Lexer, LexicalMode, Token, TokenKind};
use crate::sql::name::quote_literal;
use crate::wire::backend::ErrorFields;

/// A session of lockkeeper's own.
pub struct Login {
    client: Client,
    began: Instant,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Login {
    /// Takes a connection that somebody else drives.
    pub fn new(client: Client) -> Login {
        Login {
            client,
            began: Instant::now(),
        }
    }

    /// The server has closed it.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Session for Login {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let mut replies = Vec::with_capacity(batch.len());
        for command in batch {
            let sql = with_values(&command.sql, &command.parameters);
            let messages = self.client.simple_query(&sql).await.map_err(run_error)?;
            replies.push(reply(&messages));
        }
        Ok(replies)
    }

    async fn sleep(&mut self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn forgive(&mut self) {}

    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    fn notice(&mut self, message: &str, detail: &str) {
        tracing::info!(detail, "{message}");
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn reply(messages: &[SimpleQueryMessage]) -> Reply {
    let mut reply = Reply::default();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let value = |at| row.get(at).map(str::to_owned);
            reply.rows.push((0..row.len()).map(value).collect());
        }
    }
    reply
}

fn run_error(error: tokio_postgres::Error) -> RunError {
    match error.as_db_error() {
        Some(told) => RunError::Sql(Box::new(ErrorFields {
            severity: told.severity().to_owned(),
            sqlstate: told.code().code().to_owned(),
            message: told.message().to_owned(),
            detail: told.detail().unwrap_or_default().to_owned(),
            hint: told.hint().unwrap_or_default().to_owned(),
            ..ErrorFields::default()
        })),
        None => RunError::Gone,
    }
}

/// The SQL with its parameters as literals, which the server types as it types parameters. Their
/// places are those that the server's lexer sees.
fn with_values(sql: &str, values: &[String]) -> String {
    if values.is_empty() {
        return sql.to_owned();
    }
    let mut written = String::with_capacity(sql.len());
    let mut done = 0;
    let mut note = |token: Token| {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end))
        else {
            return;
        };
        if token.kind != TokenKind::Parameter {
            return;
        }
        let number = sql
            .get(start + 1..end)
            .and_then(|digits| digits.parse::<usize>().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        if let Some(value) = value {
            written.push_str(sql.get(done..start).unwrap_or_default());
            written.push_str(&quote_literal(value));
            done = end;
        }
    };
    let mut lexer = Lexer::new(LexicalMode::default());
    lexer.feed(sql.as_bytes(), &mut note);
    lexer.finish(&mut note);
    written.push_str(sql.get(done..).unwrap_or_default());
    written
}

#[cfg(test)]
mod tests {
    use super::with_values;

    #[test]
    fn parameters_become_literals() {
        let values: Vec<String> = ["it's", r"a\b"].map(str::to_owned).into();
        for (sql, expected) in [
            ("SELECT $1::text, $2", r"SELECT 'it''s'::text, E'a\\b'"),
            (
                "SELECT '$1', \"$1\", $$ $1 $$ -- $1",
                "SELECT '$1', \"$1\", $$ $1 $$ -- $1",
            ),
            ("SELECT $3, $1", "SELECT $3, 'it''s'"),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(with_values(sql, &values), expected);
        }
    }
}
