//! What a client's open transaction has put off: schema changes that run when its COMMIT comes, and what could notice
//! that they haven't run yet. No I/O.

use crate::catalog::Relation;
use crate::plan::{Context, Step, Undo};
use crate::sql::name::Name;
use crate::sql::parse::ordinary::{Control, Ordinary};
use crate::sql::statement::Statement;

/// Schema changes that are put off in one transaction; the next one makes all of them run.
const MAX_LATE: usize = 200;

/// Settings that no schema change is read by, nor any name resolved.
const HARMLESS_SETTINGS: [&str; 8] = [
    "application_name",
    "client_min_messages",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
    "log_statement",
    "lockkeeper.mode",
];

/// Functions of PostgreSQL's own that read no table and no catalog. A function of the same name in a schema of the
/// user's own would have to be asked for by that schema, or stand before `pg_catalog` in the path.
const HARMLESS_FUNCTIONS: [&str; 24] = [
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timezone",
    "date_trunc",
    "date_part",
    "extract",
    "to_char",
    "lower",
    "upper",
    "concat",
    "length",
    "md5",
    "count",
    "max",
    "min",
    "sum",
    "version",
    "current_database",
    "current_schema",
    "pg_try_advisory_lock",
    "pg_advisory_unlock",
    "pg_backend_pid",
];

/// A schema change that runs when the transaction ends.
#[derive(Debug, Clone)]
pub struct Late {
    /// Its steps, each of which only changes the catalog.
    pub steps: Vec<Step>,
    /// The relations that it changes, makes or renames; by these others would notice.
    pub names: Vec<Name>,
    /// The statement.
    pub statement: Statement,
    /// Its relations, as they were when it came.
    pub facts: Vec<Relation>,
}

/// The open transaction of one session.
#[derive(Debug, Default)]
pub struct Transaction {
    late: Vec<Late>,
    /// Savepoints, and what was put off at each: what has run since then, going back there undoes.
    savepoints: Vec<(String, Vec<Late>)>,
    /// A schema change has run in it: it may hold locks that stop everybody.
    holds_locks: bool,
}

impl Transaction {
    /// Nothing is put off.
    pub fn is_empty(&self) -> bool {
        self.late.is_empty()
    }

    /// Savepoints may bring back what was put off.
    pub fn follows_savepoints(&self) -> bool {
        !(self.late.is_empty() && self.savepoints.is_empty())
    }

    /// There is room for one more.
    pub fn has_room(&self) -> bool {
        self.late.len() < MAX_LATE
    }

    /// Puts a schema change off.
    pub fn put_off(&mut self, late: Late) {
        self.late.push(late);
    }

    /// What is put off, in order.
    pub fn late(&self) -> &[Late] {
        &self.late
    }

    /// A schema change runs in it.
    pub fn takes_locks(&mut self) {
        self.holds_locks = true;
    }

    /// It may hold locks that stop everybody, so that nothing may be waited for any more.
    pub fn holds_locks(&self) -> bool {
        self.holds_locks
    }

    /// All that is put off has run.
    pub fn settled(&mut self) {
        self.late.clear();
    }

    /// The transaction has ended.
    pub fn ended(&mut self) {
        self.late.clear();
        self.savepoints.clear();
        self.holds_locks = false;
    }

    /// A statement that begins or ends a part of the transaction goes on to the server.
    pub fn sent(&mut self, control: &Control) {
        let find = |name: &String| self.savepoints.iter().rposition(|(set, _)| set == name);
        match control {
            Control::Savepoint(name) => self.savepoints.push((name.clone(), self.late.clone())),
            Control::Release(name) => {
                if let Some(at) = find(name) {
                    self.savepoints.truncate(at);
                }
            }
            Control::RollbackTo(name) => match find(name) {
                Some(at) => {
                    self.savepoints.truncate(at + 1);
                    let then = self.savepoints.last().map(|(_, late)| late.clone());
                    self.late = then.unwrap_or_default();
                }
                // Set before anything was put off.
                None => {
                    self.savepoints.clear();
                    self.late.clear();
                }
            },
            Control::Rollback { .. } => self.ended(),
            Control::Begin | Control::Commit { .. } | Control::Prepare | Control::EndPrepared => {}
        }
    }

    /// Whether a text speaks of what is put off, in whatever way: as a name, or within a constant.
    pub fn is_named_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        // Escapes may spell a name in any way.
        text.contains('\\')
            || text.contains("u&")
            || (self.late.iter().flat_map(|late| &late.names))
                .any(|name| contains_word(&text, &name.name.to_lowercase()))
    }

    /// Whether a statement that doesn't speak of it could notice that it hasn't run, as far as its text tells: by the
    /// catalog, or by functions. What its relations do is for the catalog to say.
    pub fn is_harmless(&self, text: &str, ordinary: &Ordinary) -> bool {
        let is_catalog = |name: &Name| {
            name.name.starts_with("pg_")
                || matches!(
                    name.schema.as_deref(),
                    Some("pg_catalog" | "information_schema")
                )
        };
        let calls = |name: &String| !HARMLESS_FUNCTIONS.contains(&name.as_str());
        !self.is_named_in(text)
            && !ordinary.relations.iter().any(is_catalog)
            && !ordinary.functions.iter().any(calls)
            && !text.to_lowercase().contains("::reg")
    }

    /// Whether a setting can be changed or shown while something is put off.
    pub fn is_harmless_setting(name: &str) -> bool {
        HARMLESS_SETTINGS.contains(&name)
    }
}

/// Whether a word stands in a text by itself; one with a quote in it may be written in another way.
fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |one: char| one.is_alphanumeric() || one == '_' || one == '$';
    word.contains('"')
        || text.match_indices(word).any(|(at, found)| {
            let before = text.get(..at).and_then(|front| front.chars().next_back());
            let behind = text.get(at + found.len()..);
            let behind = behind.and_then(|rest| rest.chars().next());
            !before.is_some_and(is_part) && !behind.is_some_and(is_part)
        })
}

/// Steps as one, that has its locks before any of them runs; `None` without any.
pub(super) fn as_one<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Option<Step> {
    let mut steps = steps.into_iter();
    let mut one = Step {
        context: Context::Transaction,
        undo: Undo::NothingToUndo,
        ..steps.next()?.clone()
    };
    for step in steps {
        one.also.push(step.sql.clone());
        one.also.extend(step.also.iter().cloned());
        one.lock_first.extend(step.lock_first.iter().cloned());
        one.locks.extend(step.locks.iter().cloned());
        one.takes_long |= step.takes_long;
    }
    Some(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lexer::LexicalMode;
    use crate::sql::parse::ordinary::{Kind, kind};

    fn putting_off(names: &[&str]) -> Transaction {
        let mut transaction = Transaction::default();
        for name in names {
            transaction.put_off(Late {
                steps: vec![Step::brief(*name, *name)],
                names: vec![Name::qualified("public", *name)],
                statement: Statement::Harmless,
                facts: Vec::new(),
            });
        }
        transaction
    }

    fn names(transaction: &Transaction) -> Vec<&str> {
        let late = transaction.late().iter();
        late.map(|late| late.names[0].name.as_str()).collect()
    }

    #[test]
    fn savepoints_take_what_was_put_off_behind_them() {
        let mut transaction = putting_off(&["a"]);
        transaction.sent(&Control::Savepoint("s".into()));
        transaction.put_off(putting_off(&["b"]).late[0].clone());
        transaction.sent(&Control::Savepoint("t".into()));
        transaction.put_off(putting_off(&["c"]).late[0].clone());
        transaction.sent(&Control::RollbackTo("t".into()));
        assert_eq!(names(&transaction), ["a", "b"]);
        transaction.sent(&Control::Release("t".into()));
        transaction.sent(&Control::RollbackTo("s".into()));
        assert_eq!(names(&transaction), ["a"]);
        transaction.sent(&Control::RollbackTo("s".into()));
        assert_eq!(names(&transaction), ["a"]);
        // What has run since the savepoint is undone with it, and is put off again.
        transaction.settled();
        transaction.sent(&Control::RollbackTo("s".into()));
        assert_eq!(names(&transaction), ["a"]);
        transaction.sent(&Control::RollbackTo("earlier".into()));
        assert!(transaction.is_empty());
    }

    #[test]
    fn only_what_can_not_notice_is_harmless() {
        let transaction = putting_off(&["Users"]);
        let harmless = |sql: &str| match kind(sql, LexicalMode::default()) {
            Kind::Ordinary(ordinary) => transaction.is_harmless(sql, &ordinary),
            _ => false,
        };
        for sql in [
            "UPDATE alembic_version SET version_num = 'x' WHERE version_num = 'y'",
            "INSERT INTO ledger (name, at) VALUES ($1, now()) RETURNING id",
            "SELECT 1",
        ] {
            assert!(harmless(sql), "{sql}");
        }
        for sql in [
            "INSERT INTO users VALUES (1)",
            "SELECT 'public.users'::regclass",
            "SELECT E'public.us\\x65rs'",
            "SELECT * FROM pg_class",
            "SELECT * FROM information_schema.columns",
            "SELECT anything(1)",
            "INSERT INTO ledger SELECT u&'a'",
        ] {
            assert!(!harmless(sql), "{sql}");
        }
    }
}
