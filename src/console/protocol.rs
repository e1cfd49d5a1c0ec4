//! The protocol as the console speaks it: simple queries, and as much of the extended protocol as
//! drivers use for statements without parameters.

use std::collections::HashMap;

use bytes::BytesMut;

use super::acts::{Answer, Hub, columns};
use super::command::{self, Command};
use super::tables::Row;
use crate::audit::event::Who;
use crate::config::Config;
use crate::error::console as errors;
use crate::wire::answer::{self, Formats};
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frontend;
use crate::wire::pipeline::TransactionStatus;

/// Prepared statements and portals that are kept, of each so many.
const MAX_NAMES: usize = 64;

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It does.
    GoesOn,
    /// The client says goodbye.
    Ends,
}

/// A session on the console.
#[derive(Debug)]
pub struct Console {
    hub: Hub,
    who: Who,
    /// `None` is the empty statement.
    prepared: HashMap<String, Option<Command>>,
    portals: HashMap<String, Portal>,
    /// After an error everything up to the next Sync is thrown away.
    is_skipping: bool,
    in_transaction: bool,
}

#[derive(Debug)]
struct Portal {
    command: Option<Command>,
    formats: Formats,
    /// Once it has run: the rows that are left, last first.
    left: Option<(Vec<Row>, &'static str)>,
}

impl Console {
    /// A session of somebody whom the server has let in.
    pub fn new(hub: Hub, who: Who) -> Console {
        Console {
            hub,
            who,
            prepared: HashMap::new(),
            portals: HashMap::new(),
            is_skipping: false,
            in_transaction: false,
        }
    }

    /// Whose session it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Answers one message.
    pub async fn answer(
        &mut self,
        tag: u8,
        body: &[u8],
        config: &Config,
        out: &mut BytesMut,
    ) -> Turn {
        match tag {
            b'X' => return Turn::Ends,
            b'S' => {
                self.is_skipping = false;
                if !self.in_transaction {
                    self.portals.clear();
                }
                self.ready(out);
            }
            _ if self.is_skipping => {}
            b'Q' => {
                self.prepared.remove("");
                self.portals.remove("");
                match frontend::query_text(body) {
                    Some(text) => {
                        self.query(&String::from_utf8_lossy(text), config, out)
                            .await
                    }
                    None => backend::put_error(out, *errors::bad_message(tag)),
                }
                self.ready(out);
            }
            b'F' => {
                backend::put_error(out, *errors::bad_message(tag));
                self.ready(out);
            }
            b'H' | b'd' | b'c' | b'f' => {} // everything is sent at once; nothing is copied
            _ => {
                if let Err(error) = self.step(tag, body, config, out).await {
                    self.is_skipping = true;
                    backend::put_error(out, *error);
                }
            }
        }
        Turn::GoesOn
    }

    fn ready(&self, out: &mut BytesMut) {
        let status = if self.in_transaction {
            TransactionStatus::InTransaction
        } else {
            TransactionStatus::Idle
        };
        backend::put_ready_for_query(out, status);
    }

    /// A text of commands: the first that fails ends it.
    async fn query(&mut self, text: &str, config: &Config, out: &mut BytesMut) {
        let (commands, mut error) = command::read(text);
        if commands.is_empty() && error.is_none() {
            answer::put_empty(out);
        }
        for command in commands {
            match self.run(&command, config).await {
                Ok(answer) => {
                    let columns = columns(&command);
                    if !columns.is_empty() {
                        answer::put_columns(out, &columns, &Formats::default());
                    }
                    for row in &answer.rows {
                        answer::put_row(out, row);
                    }
                    backend::put_command_complete(out, answer.tag);
                }
                Err(failed) => {
                    error = Some(failed);
                    break;
                }
            }
        }
        if let Some(error) = error {
            backend::put_error(out, *error);
        }
    }

    async fn run(
        &mut self,
        command: &Command,
        config: &Config,
    ) -> Result<Answer, Box<ErrorFields>> {
        match command {
            Command::Begin => self.in_transaction = true,
            Command::End(_) => self.in_transaction = false,
            Command::Deallocate => self.prepared.clear(),
            Command::Show(_)
            | Command::Cancel(_)
            | Command::Approve(_)
            | Command::Reload
            | Command::Nothing(_)
            | Command::Value(_) => {}
        }
        self.hub.run(command, &self.who, config).await
    }

    /// A message of the extended protocol.
    async fn step(
        &mut self,
        tag: u8,
        body: &[u8],
        config: &Config,
        out: &mut BytesMut,
    ) -> Result<(), Box<ErrorFields>> {
        let bad = || errors::bad_message(tag);
        match tag {
            b'P' => {
                let parse = frontend::parse_body(body).ok_or_else(bad)?;
                self.parse(&text(parse.name), &text(parse.text))?;
                answer::put_parse_complete(out);
            }
            b'B' => {
                let bind = answer::bind_body(body).ok_or_else(bad)?;
                self.bind(bind)?;
                answer::put_bind_complete(out);
            }
            b'D' => {
                let (kind, name) = frontend::describe_target(body).ok_or_else(bad)?;
                self.describe(kind, &text(name), out)?;
            }
            b'E' => {
                let (portal, limit) = answer::execute_body(body).ok_or_else(bad)?;
                self.execute(&text(portal), limit, config, out).await?;
            }
            b'C' => {
                match frontend::close_target(body).ok_or_else(bad)? {
                    (b'S', name) => drop(self.prepared.remove(&text(name))),
                    (_, name) => drop(self.portals.remove(&text(name))),
                }
                answer::put_close_complete(out);
            }
            _ => return Err(bad()),
        }
        Ok(())
    }

    fn parse(&mut self, name: &str, text: &str) -> Result<(), Box<ErrorFields>> {
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(errors::name_is_taken("prepared statement", name));
        }
        let (mut commands, error) = command::read(text);
        if commands.len() > 1 || (error.is_some() && !commands.is_empty()) {
            return Err(errors::several_commands());
        }
        if let Some(error) = error {
            return Err(error);
        }
        if self.prepared.len() >= MAX_NAMES {
            return Err(errors::too_much("prepared statements"));
        }
        self.prepared.insert(name.to_owned(), commands.pop());
        Ok(())
    }

    fn bind(&mut self, bind: answer::BindBody<'_>) -> Result<(), Box<ErrorFields>> {
        let (portal, statement) = (text(bind.portal), text(bind.statement));
        let command = self.statement(&statement)?.clone();
        if bind.parameters > 0 {
            return Err(errors::no_parameters(bind.parameters));
        }
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(errors::name_is_taken("portal", &portal));
        }
        if self.portals.len() >= MAX_NAMES {
            return Err(errors::too_much("portals"));
        }
        let formats = bind.formats;
        let left = None;
        self.portals.insert(
            portal,
            Portal {
                command,
                formats,
                left,
            },
        );
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<&Option<Command>, Box<ErrorFields>> {
        let found = self.prepared.get(name);
        found.ok_or_else(|| errors::no_such_name("prepared statement", name))
    }

    fn describe(&self, kind: u8, name: &str, out: &mut BytesMut) -> Result<(), Box<ErrorFields>> {
        let (command, formats) = if kind == b'S' {
            let command = self.statement(name)?;
            answer::put_no_parameters(out);
            (command, Formats::default())
        } else {
            let portal = self.portals.get(name);
            let portal = portal.ok_or_else(|| errors::no_such_name("portal", name))?;
            (&portal.command, portal.formats.clone())
        };
        let columns = command.as_ref().map(columns).unwrap_or_default();
        if columns.is_empty() {
            answer::put_no_data(out);
        } else {
            answer::put_columns(out, &columns, &formats);
        }
        Ok(())
    }

    async fn execute(
        &mut self,
        name: &str,
        limit: u32,
        config: &Config,
        out: &mut BytesMut,
    ) -> Result<(), Box<ErrorFields>> {
        let portal = self.portals.get(name);
        let portal = portal.ok_or_else(|| errors::no_such_name("portal", name))?;
        let Some(command) = portal.command.clone() else {
            answer::put_empty(out);
            return Ok(());
        };
        if portal.left.is_none() {
            let mut answer = self.run(&command, config).await?;
            answer.rows.reverse();
            if let Some(portal) = self.portals.get_mut(name) {
                portal.left = Some((answer.rows, answer.tag));
            }
        }
        let left = self
            .portals
            .get_mut(name)
            .and_then(|portal| portal.left.as_mut());
        let Some((rows, tag)) = left else {
            return Ok(());
        };
        let mut sent = 0;
        while limit == 0 || sent < limit {
            let Some(row) = rows.pop() else {
                backend::put_command_complete(out, tag);
                return Ok(());
            };
            answer::put_row(out, &row);
            sent += 1;
        }
        answer::put_suspended(out);
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
