//! Where the facts come from: a catalog in memory that the script itself fills, over what a server
//! says, or over the worst case.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::catalog::shadow::Shadow;
use crate::catalog::{ASSUMED_BYTES, Depth, FactRequest, Facts, Relation, SessionFacts};
use crate::pg::introspect;
use crate::pg::login::Login;
use crate::sql::name::Name;
use crate::sql::statement::Statement;

/// How long a question to the server may wait for a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known while a script is read.
pub(super) struct Catalog {
    script: Script,
    server: Option<Login>,
}

/// What the script has made of it; kept for when its transaction is rolled back.
#[derive(Clone)]
pub(super) struct Script {
    shadow: Shadow,
    /// Relations of the server that the shadow follows.
    followed: BTreeSet<Name>,
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
        let script = Script {
            shadow,
            followed: BTreeSet::new(),
        };
        Catalog { script, server }
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

    /// The facts that a statement's judgement needs.
    pub(super) async fn answer(
        &mut self,
        request: &FactRequest,
        statement: &Statement,
    ) -> Result<Facts, String> {
        let Some(login) = &mut self.server else {
            return Ok(self.script.shadow.answer_about(request, statement));
        };
        let request = FactRequest {
            depth: Depth::Full,
            ..request.clone()
        };
        let facts = introspect::facts(login, &request, PATIENCE)
            .await
            .map_err(|error| format!("the server tells no facts: {error}"))?;
        Ok(self.script.laid_over(facts, &request))
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

impl Script {
    /// The server's answer with what the script has changed since.
    fn laid_over(&mut self, server: Facts, request: &FactRequest) -> Facts {
        *self.shadow.session_mut() = server.session.clone();
        let own = self.shadow.answer(request);
        let relations = server.relations.into_iter().zip(own.relations);
        let relations: Vec<Option<Relation>> = relations
            .map(|(server, own)| self.relation(server, own))
            .collect();
        let types = server.types.into_iter().zip(own.types);
        let functions = server.functions.into_iter().zip(own.functions);
        let objects = server.objects.into_iter().zip(own.objects);
        let mut taken = server.taken;
        let is_new = |name: &String| taken.iter().all(|other| other.name != *name);
        let added: Vec<_> = own
            .taken
            .into_iter()
            .filter(|own| is_new(&own.name))
            .collect();
        taken.extend(added);
        let mut taken_constraints = server.taken_constraints;
        taken_constraints.extend(own.taken_constraints);
        Facts {
            relations,
            taken,
            taken_constraints,
            types: types.map(|(server, own)| server.or(own)).collect(),
            functions: functions.map(|(server, own)| server.or(own)).collect(),
            objects: objects
                .map(|(mut server, own)| {
                    server.extend(own);
                    server
                })
                .collect(),
            session: server.session,
            assumed: false,
        }
    }

    /// A relation of the server's is followed from the first time it is asked for: its columns,
    /// constraints and indexes are then those that the script leaves, the rest is the server's.
    fn relation(&mut self, server: Option<Relation>, own: Option<Relation>) -> Option<Relation> {
        let Some(server) = server else {
            return own;
        };
        let name = server.qualified();
        match own {
            Some(own) if self.followed.contains(&name) => {
                let mut merged = server;
                merged.indexes = own.indexes;
                merged.details.columns = own.details.columns;
                merged.details.constraints = own.details.constraints;
                Some(merged)
            }
            None if self.followed.contains(&name) => None, // dropped, or renamed
            Some(_) | None => {
                let is_index = server.index.is_some();
                if !is_index {
                    self.shadow.add(server.clone());
                    self.followed.insert(name);
                }
                Some(server)
            }
        }
    }
}
