//! A session beside the clients': in it what a client's plan has begun is brought to its end, as the
//! role that began it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::login;
use crate::error::Interrupt;
use crate::exec::acquire::{LOCK_NOT_AVAILABLE, QUERY_CANCELED};
use crate::exec::operator::Operator;
use crate::exec::registry::PlanHandle;
use crate::exec::session::{Command, Reply, RunError, Session, Stage, says_true};
use crate::journal::record::Record;
use crate::journal::store::{Entry, NoRecord};
use crate::pg::login::Login;
use crate::plan::course::Course;
use crate::plan::{Step, Undo};
use crate::proxy::setup::Setup;
use crate::proxy::worker::Phase;
use crate::sql::classify::{LexicalSettings, classify};
use crate::sql::name::quote_identifier;
use crate::sql::statement::Statement;

/// A session of a role's.
pub struct SideSession<'a> {
    login: Login,
    pid: u32,
    operator: Operator,
    entry: &'a mut Entry,
    plan: &'a PlanHandle,
    phase: watch::Receiver<Phase>,
    stop: Arc<AtomicBool>,
    /// How far the plan is, as written last.
    pub course: Course,
}

/// What a session beside the clients' stands on.
pub struct Ground<'a> {
    /// The settings.
    pub setup: &'a Setup,
    /// lockkeeper's own login.
    pub operator: Operator,
    /// How far the program is on its way out.
    pub phase: watch::Receiver<Phase>,
    /// Somebody has asked it to stop.
    pub stop: Arc<AtomicBool>,
}

/// Opens a session in which the plan's role can bring it to its end: by its own login where there is one, else as the
/// operator, who takes the role's place; but then only for what runs nobody's code.
///
/// # Errors
/// Why there is none, for people.
pub async fn open<'a>(
    ground: &Ground<'_>,
    record: &Record,
    entry: &'a mut Entry,
    plan: &'a PlanHandle,
) -> Result<SideSession<'a>, String> {
    let setup = ground.setup;
    let (database, role) = (&record.who.database, &record.role);
    let mut login = match setup.config.operator.logins.get(role) {
        Some(url) => login::open_as(&setup.config, url, database).await?,
        None => {
            if let Some(step) = runs_code(&record.steps) {
                return Err(format!(
                    "{} could run code of others', so it isn't done as the operator in {role}'s place: name a login of \
                     {role}'s in operator.logins, or let {role} change something in {database} through lockkeeper",
                    step.title
                ));
            }
            let mut login = login::open(&setup.config, "lockkeeper", Some(database)).await?;
            let become_it = Command::own(format!("SET ROLE {}", quote_identifier(role)));
            login.run(&[become_it]).await.map_err(|error| {
                format!("the operator can't take {role}'s place ({error}): GRANT {role} TO the operator's role, or \
                     name a login of {role}'s in operator.logins")
            })?;
            let asked = login.run(&[Command::own(TRIGGERS_SQL)]).await;
            let asked = asked.map_err(|error| error.to_string())?;
            if says_true(&asked) {
                return Err(format!(
                    "database {database} has event triggers that aren't a superuser's: name a login of {role}'s in \
                     operator.logins"
                ));
            }
            login
        }
    };
    const PATH_SQL: &str =
        "SELECT pg_catalog.set_config('search_path', $1::pg_catalog.text, false)";
    let path = Command::with(PATH_SQL, vec![record.search_path.clone()]);
    login
        .run(&[path])
        .await
        .map_err(|error| error.to_string())?;
    let asked = login
        .run(&[Command::own("SELECT pg_catalog.pg_backend_pid()")])
        .await;
    let pid = asked.map_err(|error| error.to_string())?;
    let pid = pid
        .first()
        .and_then(|reply| reply.rows.first()?.first()?.as_deref()?.parse().ok());
    Ok(SideSession {
        login,
        pid: pid.unwrap_or(0),
        operator: ground.operator.clone(),
        entry,
        plan,
        phase: ground.phase.clone(),
        stop: Arc::clone(&ground.stop),
        course: record.course,
    })
}

/// The first step that could run code that isn't PostgreSQL's own when a plan is brought to its end: what is taken back
/// only drops and detaches, but behind what can't be taken back the others are run.
fn runs_code(steps: &[Step]) -> Option<&Step> {
    let mut goes_on = false;
    steps.iter().find(|step| {
        let own = std::iter::once(&step.sql).chain(&step.also);
        let forward: Vec<&String> = own.filter(|_| goes_on).collect();
        let back: Vec<&String> = match &step.undo {
            Undo::NothingToUndo | Undo::DropInvalidIndexes(_) | Undo::Irreversible { .. } => {
                Vec::new()
            }
            Undo::Sql(sql) => vec![sql],
            Undo::Finish(finishing) => finishing.also.iter().chain([&finishing.sql]).collect(),
        };
        goes_on |= matches!(step.undo, Undo::Finish(_) | Undo::Irreversible { .. });
        !back.into_iter().chain(forward).all(|sql| drops_only(sql))
    })
}

/// Whether a statement only takes something away.
pub fn drops_only(sql: &str) -> bool {
    let classified = classify(sql.as_bytes(), LexicalSettings::default());
    let crate::sql::classify::Classified::Interesting(text) = classified else {
        return false;
    };
    let is_harmless = |statement: &Statement| match statement {
        Statement::DropIndex(_) | Statement::Drop(_) => true,
        Statement::AlterTable(alter) => alter.only_takes_away(),
        _ => false,
    };
    text.exact
        && text
            .statements
            .iter()
            .all(|one| is_harmless(&one.statement))
}

/// Whether somebody's code runs with every schema change here: event triggers that aren't a
/// superuser's, or call what isn't.
const TRIGGERS_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger t
  JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid
  JOIN pg_catalog.pg_roles owner ON owner.oid = t.evtowner
  JOIN pg_catalog.pg_roles writer ON writer.oid = p.proowner
  WHERE t.evtenabled <> 'D' AND NOT (owner.rolsuper AND writer.rolsuper))";

impl Session for SideSession<'_> {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        self.login.run(batch).await
    }

    async fn run_within(
        &mut self,
        batch: &[Command],
        locks: usize,
        budget: Duration,
    ) -> Result<Vec<Reply>, RunError> {
        let (first, rest) = batch.split_at(locks.min(batch.len()));
        if first.is_empty() {
            return self.login.run(batch).await;
        }
        let mut late = false;
        let result = {
            let running = self.login.run(first);
            tokio::pin!(running);
            tokio::select! {
                result = &mut running => result,
                () = tokio::time::sleep(budget) => {
                    late = true;
                    self.operator.cancel(self.pid).await;
                    running.await
                }
            }
        };
        match result {
            Ok(mut replies) => {
                replies.extend(self.login.run(rest).await?);
                Ok(replies)
            }
            Err(RunError::Sql(mut fields)) if late && fields.sqlstate == QUERY_CANCELED => {
                LOCK_NOT_AVAILABLE.clone_into(&mut fields.sqlstate);
                Err(RunError::Sql(fields))
            }
            Err(error) => Err(error),
        }
    }

    async fn sleep(&mut self, duration: Duration) {
        let closing = self.phase.wait_for(|phase| *phase == Phase::Closing);
        let _ = tokio::time::timeout(duration, closing).await; // either way it is looked what goes on
    }

    fn forgive(&mut self) {}

    fn interrupt(&self) -> Option<Interrupt> {
        let is_closing = *self.phase.borrow() == Phase::Closing;
        let stop = self.stop.load(Ordering::Acquire);
        is_closing
            .then_some(Interrupt::Shutdown)
            .or(stop.then_some(Interrupt::Cancelled))
    }

    fn notice(&mut self, message: &str, detail: &str) {
        tracing::info!(plan = self.plan.number(), detail, "{message}");
    }

    fn elapsed(&self) -> Duration {
        self.login.elapsed()
    }

    fn operator(&self) -> Option<Operator> {
        self.operator.is_on().then(|| self.operator.clone())
    }

    fn stage(&mut self, stage: Stage) {
        self.plan.set_stage(stage);
    }

    fn is_journalled(&self) -> bool {
        true
    }

    async fn note(&mut self, course: Course) -> Result<(), RunError> {
        match self.entry.note(course).await {
            Ok(()) => {
                self.course = course;
                Ok(())
            }
            Err(NoRecord::TakenOver) => Err(RunError::Gone),
            Err(NoRecord::Failed(why)) => {
                Err(RunError::Sql(Box::new(crate::error::no_record(&why))))
            }
        }
    }
}
