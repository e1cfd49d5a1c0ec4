//! What the statements of a script change while they are judged, laid over what a server says of the
//! time before.

use std::collections::BTreeSet;

use super::shadow::Shadow;
use super::{FactRequest, Facts, Relation};
use crate::sql::name::Name;
use crate::sql::parse::settings::{self, Setting};
use crate::sql::statement::Statement;

/// The settings that a script's statements are read by.
pub const SEARCH_PATH: &str = "search_path";
/// The other one.
pub const TIME_ZONE: &str = "timezone";

/// The relation that a statement makes only where it isn't there yet.
pub fn made_unless_there(statement: &Statement) -> Option<&Name> {
    match statement {
        Statement::CreateTable(create) if create.if_not_exists => Some(&create.name),
        Statement::Other(other) => other.creates.as_ref(),
        _ => None,
    }
}

/// What the script has made of the catalog; kept for when its transaction is rolled back.
#[derive(Debug, Clone)]
pub struct Script {
    /// The catalog in memory.
    pub shadow: Shadow,
    /// Relations of the server that the shadow follows.
    followed: BTreeSet<Name>,
    /// What it has set, in order: names are resolved, and times read, as that says.
    pub settings: Vec<Setting>,
}

impl Script {
    /// Nothing has run yet.
    pub fn new(shadow: Shadow) -> Script {
        Script {
            shadow,
            followed: BTreeSet::new(),
            settings: Vec::new(),
        }
    }

    /// From now on a relation is as the script leaves it.
    pub fn follow(&mut self, relation: &Relation) {
        if self.followed.insert(relation.qualified()) {
            self.shadow.add(relation.clone());
        }
    }

    /// The script sets something; only what changes how its statements are read counts.
    pub fn set(&mut self, setting: Setting) {
        if setting.name == settings::ALL {
            self.settings.clear();
            self.obey_settings();
        } else if [SEARCH_PATH, TIME_ZONE].contains(&setting.name.as_str()) {
            self.settings.push(setting);
            self.obey_settings();
        }
    }

    /// A transaction ends, and with it its locks and what was set for it alone.
    pub fn commit(&mut self) {
        self.shadow.set_own_locks(false);
        self.settings.retain(|setting| !setting.local);
        self.obey_settings();
    }

    /// The catalog in memory follows what the script has set.
    fn obey_settings(&mut self) {
        let last = |name: &str| {
            let mut settings = self.settings.iter().rev();
            let last = settings.find(|setting| setting.name == name);
            last.and_then(|setting| setting.values.clone())
        };
        let zone = last(TIME_ZONE);
        self.shadow.session_mut().time_zone_is_utc =
            zone.is_some_and(|zone| zone.iter().any(|zone| zone.eq_ignore_ascii_case("utc")));
        let path = last(SEARCH_PATH);
        self.shadow.set_search_path(path);
    }

    /// The server's answer with what the script has changed since.
    pub fn laid_over(&mut self, server: Facts, request: &FactRequest) -> Facts {
        *self.shadow.session_mut() = server.session.clone();
        let own = self.shadow.answer(request);
        let relations = server.relations.into_iter().zip(own.relations);
        let relations: Vec<Option<Relation>> = relations
            .map(|(server, own)| self.relation(server, own))
            .collect();
        let types = server.types.into_iter().zip(own.types);
        let functions = server.functions.into_iter().zip(own.functions);
        let objects = server.objects.into_iter().zip(own.objects);
        let place = relations.iter().flatten().next();
        let place = place.map(|first| first.schema.clone()).unwrap_or_default();
        let mut taken = server.taken;
        taken.retain(|taken| !self.shadow.is_gone(&Name::qualified(&place, &taken.name)));
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
            functions: functions
                .zip(&request.functions)
                .map(|((server, own), name)| self.shadow.replaced(name).or(server).or(own))
                .collect(),
            objects: objects
                .map(|(mut server, own)| {
                    server.extend(own);
                    server
                })
                .collect(),
            session: server.session,
            own_locks: own.own_locks,
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
            Some(own) if own.created_here => Some(own), // dropped, and made anew
            Some(own) if self.followed.contains(&name) => {
                let mut merged = server;
                merged.indexes = own.indexes;
                merged.details.columns = own.details.columns;
                merged.details.constraints = own.details.constraints;
                merged.details.column_users = own.details.column_users;
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
