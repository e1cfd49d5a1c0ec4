//! What commands do, and who may give them.

use super::command::{Command, Known, Show};
use super::reload::Reloads;
use super::tables::{self, Row};
use crate::audit::event::{ErrorEntry, Event, PlanEntry, Who};
use crate::audit::log::{self, AuditLog};
use crate::config::changes::Change;
use crate::config::{Config, Rights};
use crate::error::console as errors;
use crate::exec::registry::{PlanView, Registry};
use crate::journal::statements;
use crate::journal::store::{Journal, State};
use crate::wire::backend::ErrorFields;

/// What commands work on.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The plans that are being worked on.
    pub plans: Registry,
    /// The record of what was done.
    pub audit: AuditLog,
    /// Where the audit log is read.
    pub journal: Journal,
    /// Reads the settings again.
    pub reloads: Reloads,
}

/// Events that SHOW AUDIT shows.
const MAX_EVENTS: u32 = 100;

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// The rows, where it has columns.
    pub(super) rows: Vec<Row>,
    /// The command tag.
    pub(super) tag: &'static str,
}

/// The columns that a command answers with; none when it answers with its tag alone.
pub(super) fn columns(command: &Command) -> Vec<String> {
    let names: &[&str] = match command {
        Command::Show(show) => tables::columns(*show),
        Command::Reload => &["key", "before", "now", "takes_effect"],
        Command::Value(value) => return vec![value.column.clone()],
        Command::Cancel(_)
        | Command::Approve(_)
        | Command::Begin
        | Command::End(_)
        | Command::Nothing(_)
        | Command::Deallocate => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Hub {
    /// Does what a user asks for.
    ///
    /// # Errors
    /// Why it isn't done.
    pub(super) async fn run(
        &self,
        command: &Command,
        who: &Who,
        config: &Config,
    ) -> Result<Answer, Box<ErrorFields>> {
        let rights = config.console.rights(&who.user);
        let mut answer = Answer::default();
        match command {
            Command::Show(Show::Audit) => {
                answer.rows = self.events(who, rights).await?;
                answer.tag = "SHOW";
            }
            Command::Show(show) => {
                answer.rows = self.rows(*show, who, rights, config)?;
                answer.tag = "SHOW";
            }
            Command::Value(value) => {
                let text = match &value.of {
                    Known::Fixed(text) => text,
                    Known::User => &who.user,
                    Known::Database => &who.database,
                };
                answer.rows = vec![vec![Some(text.clone())]];
                answer.tag = value.tag;
            }
            Command::Cancel(number) => {
                self.on_plan("CANCEL", *number, who, config)?;
                answer.tag = "CANCEL";
            }
            Command::Approve(number) => {
                self.on_plan("APPROVE", *number, who, config)?;
                answer.tag = "APPROVE";
            }
            Command::Reload => {
                answer.rows = self.reload(who, config).await?;
                answer.tag = "RELOAD";
            }
            Command::Begin => answer.tag = "BEGIN",
            Command::End(tag) | Command::Nothing(tag) => answer.tag = tag,
            Command::Deallocate => answer.tag = "DEALLOCATE",
        }
        Ok(answer)
    }

    fn rows(
        &self,
        show: Show,
        who: &Who,
        rights: Rights,
        config: &Config,
    ) -> Result<Vec<Row>, Box<ErrorFields>> {
        let plans = || -> Vec<PlanView> {
            let all = self.plans.list().into_iter();
            let is_shown =
                |plan: &PlanView| rights >= Rights::Read || plan.info.who.user == who.user;
            all.filter(is_shown).collect()
        };
        Ok(match show {
            Show::Plans => tables::plans(&plans()),
            Show::Queue => tables::queue(&plans()),
            Show::Blockers => tables::blockers(&plans()),
            Show::Audit => Vec::new(), // these are asked for
            Show::Rules => tables::rules(config),
            Show::Help => tables::help(),
            Show::Config if rights >= Rights::Read => tables::config(config),
            Show::Config => {
                let key = "console.readers and console.admins";
                return Err(errors::not_allowed(&who.user, "SHOW CONFIG", key));
            }
        })
    }

    /// The newest events, oldest first: those of everybody for who may read, else the user's own.
    async fn events(&self, who: &Who, rights: Rights) -> Result<Vec<Row>, Box<ErrorFields>> {
        if self.journal.state() == State::Off {
            return Err(errors::no_history(
                "operator.url or operator.database is empty",
            ));
        }
        let user = (rights < Rights::Read).then_some(who.user.as_str());
        let question = statements::recent_events(user, MAX_EVENTS, tables::MAX_SQL_BYTES);
        let replies = self.journal.ask(question).await;
        let replies = replies.map_err(|why| errors::no_history(&why.to_string()))?;
        let rows = replies.into_iter().flat_map(|reply| reply.rows);
        Ok(tables::audit(rows.collect()))
    }

    /// Cancels or approves a plan.
    fn on_plan(
        &self,
        tag: &'static str,
        number: u64,
        who: &Who,
        config: &Config,
    ) -> Result<(), Box<ErrorFields>> {
        let plan = self.plans.find(number);
        let may = may_act(tag, who, config);
        let done = may.and_then(|()| {
            let found = match tag {
                "CANCEL" => self.plans.cancel(number, &who.user),
                _ => self.plans.approve(number),
            };
            found.then_some(()).ok_or(errors::no_such_plan(number))
        });
        let about = plan.map(|plan| PlanEntry {
            number,
            user: plan.info.who.user,
            database: plan.info.who.database,
            sql: plan.info.sql,
        });
        let sql = format!("{tag} {number}");
        self.record(
            tag,
            sql,
            who,
            config,
            about,
            done.as_ref().err().map(Box::as_ref),
        );
        done
    }

    async fn reload(&self, who: &Who, config: &Config) -> Result<Vec<Row>, Box<ErrorFields>> {
        let done = match may_act("RELOAD", who, config) {
            Ok(()) => {
                let outcome = self.reloads.ask().await;
                outcome.map_err(|why| errors::not_reloaded(&why))
            }
            Err(error) => Err(error),
        };
        let error = done.as_ref().err().map(Box::as_ref);
        self.record("RELOAD", "RELOAD".to_owned(), who, config, None, error);
        let row = |change: Change| {
            let when = if change.needs_restart {
                "with a restart"
            } else {
                "now"
            };
            let texts = [change.what, &change.before, &change.now, when];
            texts.map(|text| Some(text.to_owned())).into()
        };
        done.map(|changes| changes.into_iter().map(row).collect())
    }

    fn record(
        &self,
        tag: &str,
        sql: String,
        who: &Who,
        config: &Config,
        plan: Option<PlanEntry>,
        error: Option<&ErrorFields>,
    ) {
        let is_refused = error.is_some_and(|error| error.sqlstate == "42501");
        self.audit.record(Event {
            time: log::now(),
            who: who.clone(),
            tag: tag.to_owned(),
            sql,
            verdict: if is_refused { "reject" } else { "pass" }.into(),
            mode: config.guard.mode.as_str().into(),
            outcome: match error {
                None => "done",
                Some(_) if is_refused => "refused",
                Some(_) => "failed",
            }
            .into(),
            error: error.map(|fields| ErrorEntry {
                sqlstate: fields.sqlstate.clone(),
                message: fields.message.clone(),
            }),
            console: true,
            plan,
            ..Event::default()
        });
    }
}

fn may_act(tag: &str, who: &Who, config: &Config) -> Result<(), Box<ErrorFields>> {
    if config.console.rights(&who.user) >= Rights::Act {
        return Ok(());
    }
    Err(errors::not_allowed(&who.user, tag, "console.admins"))
}
