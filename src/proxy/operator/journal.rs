//! lockkeeper's own database: made at first use, brought up to date, and asked and told by one task on
//! one connection. What must not be lost is said again until it is heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::login::{self, DEFAULT_USER};
use crate::exec::session::{Command, Reply, RunError, Session, says_true};
use crate::journal::statements::{self, MIGRATIONS};
use crate::journal::store::{Question, Serving, State};
use crate::metrics;
use crate::pg::login::Login;
use crate::proxy::setup::Setup;
use crate::sql::name::quote_identifier;

/// How long an answer may take; then the connection is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// After a connection that failed none is tried for so long.
const RETRY: Duration = Duration::from_millis(300);
/// How often what is too old is forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// How long another lockkeeper may take to make the schema.
const MIGRATION_LIMIT: Duration = Duration::from_secs(30);
/// What is kept that can't be written now.
const MAX_KEPT: usize = 10_000;

/// Answers until nobody asks any more.
pub async fn serve(setup: watch::Receiver<Arc<Setup>>, serving: Serving) {
    let mut keeper = Keeper {
        login: None,
        setup,
        not_before: None,
        was_ready: false,
        kept: VecDeque::new(),
        serving,
    };
    metrics::journal_ready(false);
    let _ = keeper.ensure().await; // how it went is told
    let mut next_beat = Instant::now();
    let mut next_forgetting = Instant::now() + FORGET_INTERVAL;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(next_beat) => {
                keeper.beat().await;
                next_beat = Instant::now() + keeper.takeover() / 4;
                if Instant::now() >= next_forgetting {
                    next_forgetting = Instant::now() + FORGET_INTERVAL;
                    keeper.forget().await;
                }
            }
            question = keeper.serving.questions.recv() => match question {
                Some(question) => keeper.answer(question).await,
                None => return,
            }
        }
    }
}

/// The connection, while there is one, and what could not be said yet.
struct Keeper {
    login: Option<Login>,
    setup: watch::Receiver<Arc<Setup>>,
    not_before: Option<Instant>,
    was_ready: bool,
    kept: VecDeque<Command>,
    serving: Serving,
}

impl Keeper {
    fn takeover(&self) -> Duration {
        self.setup.borrow().config.journal.takeover
    }

    async fn answer(&mut self, question: Question) {
        let Question {
            command,
            insists,
            answer,
        } = question;
        if insists && !self.kept.is_empty() {
            self.keep(command);
            return;
        }
        let result = self.run(&command).await;
        if insists && result.is_err() {
            self.keep(command);
        } else if let Some(answer) = answer {
            tell(answer, result);
        }
    }

    fn keep(&mut self, command: Command) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push_back(command);
        } else {
            metrics::audit_event_lost();
            tracing::error!("an audit event was lost: the operator's database can't be written");
        }
    }

    /// Shows that this lockkeeper is there, and says what could not be said before.
    async fn beat(&mut self) {
        while let Some(command) = self.kept.front().cloned() {
            if self.run(&command).await.is_err() {
                return;
            }
            self.kept.pop_front();
        }
        let held = self.serving.held.numbers();
        let is_ready = *self.serving.told.borrow() == State::Ready;
        if !held.is_empty() {
            let _ = self.run(&statements::heartbeat(&held)).await; // how it went is told
        } else if !is_ready && (self.is_wanted() || *self.serving.told.borrow() != State::Off) {
            let _ = self.ensure().await;
        }
    }

    /// Whether the settings want a journal.
    fn is_wanted(&self) -> bool {
        let operator = &self.setup.borrow().config.operator;
        !(operator.is_off() || operator.database.is_empty())
    }

    async fn forget(&mut self) {
        let setup = Arc::clone(&self.setup.borrow());
        let config = &setup.config;
        if *self.serving.told.borrow() == State::Ready {
            let plans = statements::forget_plans(config.journal.keep.as_secs());
            let events = statements::forget_events(config.audit.keep.as_secs());
            for command in [plans, events] {
                let _ = self.run(&command).await; // the next time is soon
            }
        }
    }

    /// Runs one command. A connection that turns out to be dead is opened again for the next one: whether this one
    /// has run isn't known.
    async fn run(&mut self, command: &Command) -> Result<Vec<Reply>, String> {
        self.login = self.login.take().filter(|login| !login.is_closed());
        self.ensure().await?;
        let Some(login) = self.login.as_mut() else {
            return Err("the operator isn't logged in".to_owned());
        };
        let running = login.run(std::slice::from_ref(command));
        let why = match tokio::time::timeout(ANSWER_LIMIT, running).await {
            Ok(Ok(replies)) => {
                if *self.serving.told.borrow() != State::Ready {
                    self.tell(State::Ready);
                }
                return Ok(replies);
            }
            Ok(Err(RunError::Sql(fields))) => {
                let why = format!("{} ({})", fields.message, fields.sqlstate);
                if fields.sqlstate.starts_with("22") {
                    return Err(why); // it is about what was asked
                }
                why
            }
            Ok(Err(_)) => {
                self.login = None;
                "the connection to the operator's database was lost".to_owned()
            }
            Err(_) => {
                self.login = None;
                format!("the operator's database gave no answer in {ANSWER_LIMIT:?}")
            }
        };
        self.tell(State::Failed(why.clone()));
        Err(why)
    }

    fn tell(&mut self, state: State) {
        if *self.serving.told.borrow() == state {
            return;
        }
        match &state {
            State::Ready if self.was_ready => tracing::info!("the journal is written again"),
            State::Ready => tracing::info!("the journal is open"),
            State::Failed(why) => tracing::error!("the journal can't be written: {why}"),
            State::NoLogin(why) => tracing::warn!("there is no journal: {why}"),
            State::Off | State::NotYet => {}
        }
        self.was_ready |= state == State::Ready;
        metrics::journal_ready(state == State::Ready);
        self.serving.told.send_replace(state);
    }

    /// Connects; a moment later where that has just failed.
    async fn ensure(&mut self) -> Result<(), String> {
        let setup = Arc::clone(&self.setup.borrow_and_update());
        if !self.is_wanted() {
            self.login = None;
            self.tell(State::Off);
            return Err("there is no journal".to_owned());
        }
        if self.login.is_some() {
            return Ok(());
        }
        if let Some(at) = self.not_before {
            sleep_until(at).await;
        }
        match open(&setup).await {
            Ok((login, system)) => {
                let _ = self.serving.system.set(system); // a server's never changes
                self.login = Some(login);
                self.not_before = None;
                self.tell(State::Ready);
                Ok(())
            }
            Err(trouble) => {
                self.not_before = Some(Instant::now() + RETRY);
                let why = trouble.to_string();
                let is_login = matches!(trouble, Trouble::Login(_)) && !self.was_ready;
                self.tell(if is_login {
                    State::NoLogin(why.clone())
                } else {
                    State::Failed(why.clone())
                });
                Err(why)
            }
        }
    }
}

fn tell(answer: oneshot::Sender<Result<Vec<Reply>, String>>, result: Result<Vec<Reply>, String>) {
    let _ = answer.send(result); // whoever asked may be gone
}

/// Why lockkeeper's own database can't be used.
#[derive(Debug)]
pub enum Trouble {
    /// The operator can't log in at all.
    Login(String),
    /// It may not make the database.
    MayNotCreate {
        /// The database, quoted.
        database: String,
        /// The operator, quoted.
        user: String,
        /// What the server says.
        why: String,
    },
    /// It may not make the schema in it, or write.
    MayNotMakeSchema {
        /// The database, quoted.
        database: String,
        /// The operator, quoted.
        user: String,
        /// What the server says.
        why: String,
    },
    /// Its tables were made by another operator.
    MayNotWrite {
        /// The database, quoted.
        database: String,
        /// The operator, quoted.
        user: String,
        /// Which of them.
        what: String,
    },
    /// Others have something in it.
    Strangers {
        /// The database, quoted.
        database: String,
        /// The operator, quoted.
        user: String,
        /// What, and whose.
        what: String,
    },
    /// Everybody may connect to it.
    Open {
        /// The database, quoted.
        database: String,
    },
    /// A newer lockkeeper has made it.
    TooNew {
        /// The database, quoted.
        database: String,
        /// The version that is there.
        found: usize,
        /// The newest that is known.
        known: usize,
    },
    /// Something else.
    Other(String),
}

impl Trouble {
    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Trouble::Login(why) => format!("the operator can't log in: {why}"),
            Trouble::MayNotCreate {
                database,
                user,
                why,
            } => {
                format!("database {database} is missing and {user} may not make it ({why})")
            }
            Trouble::MayNotMakeSchema {
                database,
                user,
                why,
            } => {
                format!("{user} may not make its tables in database {database} ({why})")
            }
            Trouble::MayNotWrite {
                database,
                user,
                what,
            } => {
                format!(
                    "{user} may not write to {what} of schema lockkeeper in database {database}"
                )
            }
            Trouble::Strangers { database, what, .. } => format!(
                "database {database} holds what others own, who could make the operator run it: {what}"
            ),
            Trouble::Open { database } => format!(
                "everybody may connect to database {database}, and could hold up every schema change there"
            ),
            Trouble::TooNew {
                database,
                found,
                known,
            } => format!(
                "the tables in database {database} are of version {found}, and this lockkeeper knows none above {known}"
            ),
            Trouble::Other(why) => why.clone(),
        }
    }

    /// What to do about it, where that is known.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Trouble::Login(_) | Trouble::Other(_) => return None,
            Trouble::MayNotCreate { database, user, .. } => format!(
                "as a superuser run CREATE DATABASE {database} OWNER {user} TEMPLATE template0 ENCODING 'UTF8' \
                 LC_COLLATE 'C' LC_CTYPE 'C'; REVOKE ALL ON DATABASE {database} FROM \
                 PUBLIC; or ALTER ROLE {user} CREATEDB;"
            ),
            Trouble::MayNotMakeSchema { database, user, .. } => {
                format!("as a superuser run ALTER DATABASE {database} OWNER TO {user};")
            }
            Trouble::MayNotWrite { user, .. } => format!(
                "as a superuser run in that database ALTER SCHEMA lockkeeper OWNER TO {user}; ALTER TABLE \
                 lockkeeper.plan OWNER TO {user}; ALTER TABLE lockkeeper.audit_log OWNER TO {user}; ALTER SEQUENCE \
                 lockkeeper.slot OWNER TO {user};"
            ),
            Trouble::Strangers { user, .. } => format!(
                "drop that or make {user} its owner, or name another database as operator.database"
            ),
            Trouble::Open { database } => {
                format!("as its owner run REVOKE ALL ON DATABASE {database} FROM PUBLIC;")
            }
            Trouble::TooNew { .. } => "upgrade this lockkeeper".to_owned(),
        })
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what())?;
        match self.remedy() {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Trouble {}

/// SQLSTATE `invalid_catalog_name`.
pub const NO_SUCH_DATABASE: &str = "3D000";
/// SQLSTATEs of a database that somebody else has just made.
const MADE_BY_OTHERS: [&str; 2] = ["42P04", "23505"];
/// SQLSTATE `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// SQLSTATE `read_only_sql_transaction`.
const READ_ONLY: &str = "25006";
/// What is said of a server that can't be written to.
pub(super) const IS_READ_ONLY: &str = "the server is a standby, or read only";

/// A connection to lockkeeper's own database, which is made and brought up to date first, and the server's
/// `system_identifier`.
///
/// # Errors
/// [`Trouble`], with what to do.
pub async fn open(setup: &Setup) -> Result<(Login, String), Trouble> {
    let name = &setup.config.operator.database;
    let opening = || login::open(&setup.config, "lockkeeper journal", Some(name));
    let mut login = match opening().await {
        Ok(login) => login,
        Err(unopened) if unopened.sqlstate.as_deref() == Some(NO_SUCH_DATABASE) => {
            create(setup, name).await?;
            opening()
                .await
                .map_err(|unopened| Trouble::Other(unopened.why))?
        }
        Err(unopened) => return Err(Trouble::Login(unopened.why)),
    };
    let database = Database::of(name, &mut login).await?;
    database.close_to_public(&mut login).await?;
    database.without_strangers(&mut login).await?;
    database.bring_up_to_date(&mut login).await?;
    database.can_be_written(&mut login).await?;
    let system = value(&mut login, Command::own(statements::SYSTEM_SQL)).await;
    Ok((login, system.unwrap_or_default()))
}

async fn create(setup: &Setup, name: &str) -> Result<(), Trouble> {
    let mut login = login::open(&setup.config, "lockkeeper", None)
        .await
        .map_err(|unopened| Trouble::Login(unopened.why))?;
    let database = quote_identifier(name);
    let sql = format!(
        "CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    match login.run(&[Command::own(sql)]).await {
        Ok(_) => {
            tracing::info!("database {database} was made for the journal and the audit log");
            Ok(())
        }
        Err(error) if MADE_BY_OTHERS.contains(&error.sqlstate()) => Ok(()),
        Err(error) if error.sqlstate() == INSUFFICIENT_PRIVILEGE => Err(Trouble::MayNotCreate {
            database,
            user: quote_identifier(&user(&mut login).await?),
            why: error.to_string(),
        }),
        Err(error) => Err(Trouble::Other(format!(
            "CREATE DATABASE {database}: {error}"
        ))),
    }
}

/// lockkeeper's own database, and who it is there.
pub(super) struct Database {
    /// Its name, quoted.
    pub(super) name: String,
    /// The operator's, quoted.
    pub(super) user: String,
}

impl Database {
    /// The one that a login is in.
    pub(super) async fn of(name: &str, login: &mut Login) -> Result<Database, Trouble> {
        Ok(Database {
            name: quote_identifier(name),
            user: quote_identifier(&user(login).await?),
        })
    }

    /// Nobody else may connect.
    async fn close_to_public(&self, login: &mut Login) -> Result<(), Trouble> {
        let revoke = format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", self.name);
        if !self.is_open(login).await? {
            return Ok(());
        }
        // Two at once are in each other's way (XX000): whoever comes second finds it done. Who doesn't own it is told
        // below.
        let _ = login.run(&[Command::own(revoke)]).await;
        for _ in 0..20 {
            if !self.is_open(login).await? {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(Trouble::Open {
            database: self.name.clone(),
        })
    }

    /// Everybody may connect.
    pub(super) async fn is_open(&self, login: &mut Login) -> Result<bool, Trouble> {
        Ok(says_true(
            &ask(login, Command::own(statements::IS_OPEN_SQL)).await?,
        ))
    }

    /// Nobody else has anything in it.
    pub(super) async fn without_strangers(&self, login: &mut Login) -> Result<(), Trouble> {
        let found = lines(login, statements::STRANGERS_SQL).await?;
        if found.is_empty() {
            return Ok(());
        }
        Err(self.strangers(found.join(", ")))
    }

    fn strangers(&self, what: String) -> Trouble {
        Trouble::Strangers {
            database: self.name.clone(),
            user: self.user.clone(),
            what,
        }
    }

    /// The operator may write to the tables, if they are there.
    pub(super) async fn can_be_written(&self, login: &mut Login) -> Result<(), Trouble> {
        let found = lines(login, statements::NOT_WRITTEN_SQL).await?;
        if found.is_empty() {
            return Ok(());
        }
        Err(Trouble::MayNotWrite {
            database: self.name.clone(),
            user: self.user.clone(),
            what: found.join(", "),
        })
    }

    /// Makes what is missing, version by version, unless another lockkeeper does.
    async fn bring_up_to_date(&self, login: &mut Login) -> Result<(), Trouble> {
        let until = Instant::now() + MIGRATION_LIMIT;
        loop {
            let found = self.version(login).await?;
            if found >= MIGRATIONS.len() {
                return Ok(());
            }
            let lock = [
                Command::own("BEGIN"),
                Command::own(statements::MIGRATION_LOCK_SQL),
            ];
            let replies = login
                .run(&lock)
                .await
                .map_err(|error| self.explained(&error))?;
            let is_ours = says_true(replies.get(1..).unwrap_or_default());
            // Whoever had the lock before may have made it.
            if is_ours && self.version(login).await? == found {
                let made = self.make(login, found).await;
                if made.is_err() {
                    let _ = login.run(&[Command::own("ROLLBACK")]).await;
                }
                return made;
            }
            let _ = login.run(&[Command::own("ROLLBACK")]).await;
            if Instant::now() >= until {
                let why = "another lockkeeper is making the tables, and isn't done";
                return Err(Trouble::Other(why.to_owned()));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Which version of the tables is there; 0: none.
    pub(super) async fn version(&self, login: &mut Login) -> Result<usize, Trouble> {
        let replies = ask(login, Command::own(statements::VERSION_SQL)).await?;
        let row = replies.first().and_then(|reply| reply.rows.first());
        let Some(row) = row else { return Ok(0) };
        let found = row.first().and_then(|text| text.as_deref()?.parse().ok());
        match found {
            Some(found) if found > MIGRATIONS.len() => Err(Trouble::TooNew {
                database: self.name.clone(),
                found,
                known: MIGRATIONS.len(),
            }),
            Some(found) => Ok(found),
            None => Err(self.strangers("a schema lockkeeper that isn't lockkeeper's".to_owned())),
        }
    }

    async fn make(&self, login: &mut Login, found: usize) -> Result<(), Trouble> {
        let missing = MIGRATIONS.iter().skip(found);
        let mut batch: Vec<Command> = missing.map(|sql| Command::own(*sql)).collect();
        batch.push(Command::own(format!(
            "COMMENT ON SCHEMA lockkeeper IS 'lockkeeper''s journal and audit log, version {}'",
            MIGRATIONS.len()
        )));
        batch.push(Command::own("COMMIT"));
        login
            .run(&batch)
            .await
            .map_err(|error| self.explained(&error))?;
        Ok(())
    }

    fn explained(&self, error: &RunError) -> Trouble {
        let why = error.to_string();
        match error.sqlstate() {
            INSUFFICIENT_PRIVILEGE => Trouble::MayNotMakeSchema {
                database: self.name.clone(),
                user: self.user.clone(),
                why,
            },
            READ_ONLY => Trouble::Other(format!("{IS_READ_ONLY} ({why})")),
            _ => Trouble::Other(why),
        }
    }
}

pub(super) async fn user(login: &mut Login) -> Result<String, Trouble> {
    let user = value(login, Command::own("SELECT current_user")).await;
    Ok(user.unwrap_or_else(|| DEFAULT_USER.to_owned()))
}

async fn value(login: &mut Login, command: Command) -> Option<String> {
    let replies = login.run(&[command]).await.ok()?;
    replies.first()?.rows.first()?.first()?.clone()
}

/// The first column of what is asked for.
pub(super) async fn lines(login: &mut Login, sql: &str) -> Result<Vec<String>, Trouble> {
    let replies = ask(login, Command::own(sql)).await?;
    let rows = replies.iter().flat_map(|reply| &reply.rows);
    Ok(rows.filter_map(|row| row.first()?.clone()).collect())
}

pub(super) async fn ask(login: &mut Login, command: Command) -> Result<Vec<Reply>, Trouble> {
    let replies = login.run(&[command]).await;
    replies.map_err(|error| Trouble::Other(error.to_string()))
}
