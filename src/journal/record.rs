//! What the journal holds of a plan: one serialised value, with a version. Plain data.

use serde::{Deserialize, Serialize};

use crate::audit::event::{ErrorEntry, Who};
use crate::plan::course::Course;
use crate::plan::{Plan, Step};
use crate::sql::name::one_line;

/// The version of the value that is written now; older ones are read.
pub const VERSION: u32 = 1;

/// A plan as the journal holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`] of who wrote it.
    pub version: u32,
    /// `pg_control_system().system_identifier` of the server that the transactions are of.
    #[serde(default)]
    pub system: String,
    /// OID of the database.
    pub database: u32,
    /// `current_user`, as whom the steps run.
    pub role: String,
    /// `search_path`, by which its steps are read.
    #[serde(default)]
    pub search_path: String,
    /// Whose statement it is.
    pub who: Who,
    /// The statement's command tag.
    pub tag: String,
    /// The statement as it may be shown.
    pub sql: String,
    /// A few words for those who wait behind it.
    pub what: String,
    /// The same for whoever sends the same statement again; `None` where that must run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// It works online, for long: whoever sends the same statement meanwhile waits for its outcome.
    #[serde(default)]
    pub online: bool,
    /// The server process that runs its steps.
    pub backend: Backend,
    /// Its steps; those of a statement that may hold a password only have titles.
    pub steps: Vec<Step>,
    /// How far it is.
    pub course: Course,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A server process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backend {
    /// Its number; 0 when there is none.
    pub pid: u32,
    /// `pg_stat_activity.backend_start`, as text: numbers are used again.
    #[serde(default)]
    pub start: String,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command tag, when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Why it isn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorEntry>,
    /// It was the client, or whoever looks after the server, who ended it: that speaks of nobody
    /// else's statement.
    #[serde(default)]
    pub interrupted: bool,
}

/// A plan's steps as they may be written down.
pub fn recorded_steps(plan: &Plan, may_hold_secret: bool) -> Vec<Step> {
    let mut steps = plan.steps.clone();
    if may_hold_secret {
        for step in &mut steps {
            step.sql.clone_from(&step.title);
            step.also.clear();
        }
    }
    steps
}

/// What is the same for the same statement, and tells nothing of it (SHA-256): in the same database, by the same
/// role, on the same relations, in the same schema.
pub fn twin(
    (database, role): (u32, &str),
    relations: &[Option<u32>],
    schema: Option<&str>,
    statement: &str,
) -> Option<String> {
    let statement =
        one_line(statement.trim_end_matches(|one: char| one == ';' || one.is_whitespace()));
    let all = serde_json::to_vec(&(database, role, relations, schema, statement)).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &all);
    Some(
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_the_same_but_for_its_blanks() {
        let twin =
            |role, statement: &str| twin((5, role), &[Some(7), None], Some("public"), statement);
        let one = twin("r", "CREATE INDEX  i\n ON t (a);");
        assert!(one.is_some());
        assert_eq!(one, twin("r", "CREATE INDEX i ON t (a)"));
        assert_ne!(one, twin("s", "CREATE INDEX i ON t (a)"));
        assert_ne!(one, twin("r", "CREATE INDEX j ON t (a)"));
        assert_eq!(one.map(|hash| hash.len()), Some(64));
    }

    #[test]
    fn secrets_are_not_written_down() {
        let step = Step::brief("as sent", "ALTER ROLE r PASSWORD 'hunter2'");
        let steps = recorded_steps(&Plan::as_sent(step), true);
        assert!(!serde_json::to_string(&steps).unwrap().contains("hunter2"));
    }
}
