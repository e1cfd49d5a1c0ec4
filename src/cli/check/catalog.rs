//! Where the facts come from: a catalog in memory that the script itself fills, over what a server
//! says, or over the worst case.

use std::time::Duration;

use crate::catalog::script::{SEARCH_PATH, Script, TIME_ZONE, made_unless_there};
use crate::catalog::shadow::Shadow;
use crate::catalog::{ASSUMED_BYTES, Depth, FactRequest, Facts, Relation, SessionFacts};
use crate::exec::session::{Command, RunError, Session as _};
use crate::pg::introspect::{self, FactsError};
use crate::pg::login::Login;
use crate::sql::name::{Name, quote_literal};
use crate::sql::parse::settings::Setting;
use crate::sql::statement::Statement;

/// How long a question to the server may wait for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known while a script is read.
pub(super) struct Catalog {
    script: Script,
    server: Option<Login>,
    /// The settings that the server's session has.
    in_force: Vec<Setting>,
}

/// Why there are no facts.
#[derive(Debug)]
pub(super) enum NoFacts {
    /// The server refuses the question about one statement.
    OfThis(String),
    /// Nothing can be asked.
    AtAll(String),
}

impl Catalog {
    /// Without a server: the worst is taken for granted of whatever the script doesn't make.
    pub(super) fn assuming(version: u32) -> Catalog {
        let session = SessionFacts {
            version,
            client_min_messages: "notice".to_owned(),
            ..SessionFacts::default()
        };
        Catalog::new(Shadow::assuming(session), None)
    }

    /// On a server.
    pub(super) fn of_server(login: Login) -> Catalog {
        Catalog::new(Shadow::new(SessionFacts::default()), Some(login))
    }

    fn new(shadow: Shadow, server: Option<Login>) -> Catalog {
        Catalog {
            script: Script::new(shadow),
            server,
            in_force: Vec::new(),
        }
    }

    /// Nobody is asked.
    pub(super) fn assumes(&self) -> bool {
        self.server.is_none()
    }

    /// What the script has made so far.
    pub(super) fn script(&self) -> Script {
        self.script.clone()
    }

    /// Forgets what was made since.
    pub(super) fn go_back_to(&mut self, script: Script) {
        self.script = script;
    }

    /// The script sets something; only what changes how its statements are read counts.
    pub(super) fn set(&mut self, setting: Setting) {
        self.script.set(setting);
    }

    /// The open transaction holds locks that stop others.
    pub(super) fn holds_locks(&mut self) {
        self.script.shadow.set_own_locks(true);
    }

    /// A transaction ends, and with it its locks and what was set for it alone.
    pub(super) fn commit(&mut self) {
        self.script.commit();
    }

    /// The facts that a statement's judgement needs.
    ///
    /// # Errors
    /// [`NoFacts`].
    pub(super) async fn answer(
        &mut self,
        request: &FactRequest,
        statement: &Statement,
    ) -> Result<Facts, NoFacts> {
        let Some(login) = &mut self.server else {
            return Ok(self.script.shadow.answer_about(request, statement));
        };
        if self.in_force != self.script.settings {
            self.in_force.clone_from(&self.script.settings);
            let put = put_in_force(login, &self.in_force).await;
            put.map_err(NoFacts::AtAll)?;
        }
        let request = FactRequest {
            depth: Depth::Full,
            ..request.clone()
        };
        let facts =
            introspect::facts(login, &request, PATIENCE)
                .await
                .map_err(|error| match error {
                    FactsError::Run(RunError::Sql(fields)) => NoFacts::OfThis(format!(
                        "the server tells no facts of it: {}",
                        fields.message
                    )),
                    error => NoFacts::AtAll(format!("the server tells no facts: {error}")),
                })?;
        Ok(self.script.laid_over(facts, &request))
    }

    /// What is assumed of what nobody tells about.
    pub(super) fn worst(&self, request: &FactRequest, statement: &Statement) -> Facts {
        let session = self.script.shadow.session().clone();
        Shadow::assuming(session).answer_about(request, statement)
    }

    /// Looks at what a statement makes only where it isn't there yet. Who may not ask finds out at
    /// the next question.
    pub(super) async fn look_at_made(&mut self, statement: &Statement) {
        if let Some(name) = made_unless_there(statement).filter(|_| self.server.is_some()) {
            let request = FactRequest {
                relations: vec![name.clone()],
                ..FactRequest::default()
            };
            let _ = self.answer(&request, statement).await;
        }
    }

    /// The script's next statement has been judged: from now on it has run.
    pub(super) fn apply(&mut self, statement: &Statement) {
        self.script.shadow.apply(statement);
    }

    /// A script ends: by the time the next one runs, what it made is in use.
    pub(super) fn script_ends(&mut self) {
        let made = |relation: &&Relation| relation.created_here && !relation.temporary;
        let names: Vec<Name> = self
            .script
            .shadow
            .relations()
            .filter(made)
            .map(Relation::qualified)
            .collect();
        for name in names {
            if let Some(relation) = self.script.shadow.relation_mut(&name) {
                relation.created_here = false;
                relation.assumed = true; // its size, that is
                relation.bytes = ASSUMED_BYTES;
                relation.rows = -1;
            }
        }
    }
}

/// Makes a session's settings those of the script.
async fn put_in_force(login: &mut Login, settings: &[Setting]) -> Result<(), String> {
    let mut batch = vec![
        Command::own(format!("RESET {SEARCH_PATH}")),
        Command::own(format!("RESET {TIME_ZONE}")),
    ];
    for setting in settings {
        let values = setting.values.iter().flatten();
        let values: Vec<String> = values.map(|value| quote_literal(value)).collect();
        batch.push(Command::own(if setting.values.is_none() {
            format!("RESET {}", setting.name)
        } else {
            format!("SET {} TO {}", setting.name, values.join(", "))
        }));
    }
    let done = login.run(&batch).await;
    done.map(|_| ())
        .map_err(|error| format!("the server refuses what the script sets: {error}"))
}
