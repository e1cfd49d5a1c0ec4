//! A session on a real server for plans and facts to run on, in the way of the proxy's own: each batch is one round
//! trip of the extended protocol that the first failure ends.

use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lockkeeper::error::Interrupt;
use lockkeeper::exec::session::{Command, Reply, RunError, Session};
use lockkeeper::wire::frontend;

use crate::client::Client;

/// A plan's session over a client's connection.
#[derive(Debug)]
pub(crate) struct PlanSession<'a> {
    client: &'a mut Client,
    began: Instant,
    /// What the client would have been told.
    pub(crate) notices: Vec<String>,
}

impl PlanSession<'_> {
    /// A session over a connection that is idle.
    pub(crate) fn over(client: &mut Client) -> PlanSession<'_> {
        PlanSession {
            client,
            began: Instant::now(),
            notices: Vec::new(),
        }
    }
}

impl Session for PlanSession<'_> {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let mut buffer = BytesMut::new();
        for command in batch {
            let parameters: Vec<&str> = command.parameters.iter().map(String::as_str).collect();
            frontend::put_command(&mut buffer, &command.sql, &parameters);
        }
        frontend::put_sync(&mut buffer);
        let answer = self.client.exchange(&buffer);
        if let Some(error) = answer.error {
            return Err(RunError::Sql(Box::new(error)));
        }
        self.notices.extend(answer.notices);
        Ok(answer
            .results
            .into_iter()
            .map(|result| Reply {
                tag: result.tag,
                rows: result.rows,
            })
            .collect())
    }

    async fn sleep(&mut self, duration: Duration) {
        thread::sleep(duration);
    }

    fn forgive(&mut self) {}

    fn interrupt(&self) -> Option<Interrupt> {
        None
    }

    fn notice(&mut self, message: &str, _: &str) {
        self.notices.push(message.to_owned());
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
