//! What a statement does on a server: locks, rewrites, scans and builds, as the server itself shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lockkeeper::lock::LockMode;
use lockkeeper::plan::effects::Effects;
use lockkeeper::sql::name::{Name, quote_literal};

use crate::client::{Answer, Client, Protocol};
use crate::corpus::Entry;
use crate::servers::TestServer;
use crate::snapshot::Snapshot;

/// A relation at a moment.
#[derive(Debug, Clone)]
struct Relation {
    name: Name,
    kind: String,
    filenode: String,
    /// Of an index: its table's OID, and whether it is ready for use.
    index_of: String,
    ready: bool,
    /// It has a new file and nothing in it.
    empty: bool,
}

/// Relations by OID.
type Relations = BTreeMap<String, Relation>;

const RELATIONS: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind, coalesce(pg_relation_filenode(c.oid), 0), coalesce(i.indrelid, 0),
  coalesce(i.indisvalid AND i.indisready, false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.oid >= 16384 AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'";

const SCANS: &str =
    "SELECT relid, seq_scan FROM pg_stat_xact_all_tables WHERE relid >= 16384 AND seq_scan > 0";

/// What was seen; as text, one line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The effects, names qualified.
    pub(crate) effects: Effects,
    /// Composite types: their locks stop no query.
    pub(crate) types: BTreeSet<Name>,
    /// The tables of indexes.
    pub(crate) tables: BTreeMap<Name, Name>,
    /// What the database held afterwards, when that was asked for.
    pub(crate) end: Option<Snapshot>,
    /// They were seen by looking on from outside, now and then: there may have been more.
    pub(crate) sampled: bool,
    /// It failed as it must: nothing was seen.
    pub(crate) failed: bool,
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effects = &self.effects;
        f.write_str(match (self.failed, self.sampled) {
            (true, _) => "refused",
            (false, true) => "locks, at least",
            (false, false) => "locks",
        })?;
        for (name, mode) in &effects.locks {
            write!(f, " {name}={mode}")?;
        }
        for (what, names) in [
            ("rewrites", &effects.rewrites),
            ("scans", &effects.scans),
            ("builds", &effects.builds),
        ] {
            if !names.is_empty() {
                write!(f, "; {what}")?;
            }
            for name in names {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

/// A database on which statements are tried and rolled back.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The session that runs them.
    pub(crate) client: Client,
    /// The database.
    pub(crate) database: String,
    relations: Relations,
}

fn relations(client: &mut Client) -> Relations {
    let rows = client.ok(RELATIONS).rows;
    let read = |row: Vec<String>| {
        let [oid, schema, name, kind, filenode, index_of, ready] =
            <[String; 7]>::try_from(row).expect("seven columns");
        let relation = Relation {
            name: Name::qualified(schema, name),
            kind,
            filenode,
            index_of,
            ready: ready == "t",
            empty: false,
        };
        (oid, relation)
    };
    rows.into_iter().map(read).collect()
}

/// The relations, those marked that have a new file and nothing in it.
fn relations_after(client: &mut Client, before: &Relations) -> Relations {
    let mut after = relations(client);
    let new: Vec<&str> = after
        .iter()
        .filter(|(oid, now)| {
            let then = before.get(*oid);
            matches!(now.kind.as_str(), "r" | "m" | "i")
                && then.is_none_or(|then| then.filenode != now.filenode)
        })
        .map(|(oid, _)| oid.as_str())
        .collect();
    if !new.is_empty() {
        let list = new.join(", ");
        let sql =
            format!("SELECT oid FROM pg_class WHERE oid IN ({list}) AND pg_relation_size(oid) = 0");
        for oid in client.column(&sql) {
            if let Some(relation) = after.get_mut(&oid) {
                relation.empty = true;
            }
        }
    }
    after
}

fn scans(client: &mut Client) -> BTreeMap<String, u64> {
    let rows = client.ok(SCANS).rows;
    rows.into_iter()
        .map(|row| (row[0].clone(), row[1].parse().expect("a number")))
        .collect()
}

fn locks_of(pid: &str) -> String {
    format!(
        "SELECT relation, mode FROM pg_locks WHERE pid = {pid} AND locktype = 'relation'
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
}

impl Stage {
    /// A fresh copy of the database, with what an entry wants of it.
    pub(crate) fn new(server: &TestServer, entry: &Entry) -> Stage {
        let database = server.copy();
        let mut client = server.connect(&database);
        set(&mut client, entry);
        for sql in &entry.given {
            client.ok(&named(sql, &database));
        }
        if let Some(sql) = entry.half {
            half(server, &mut client, &database, entry, sql);
        }
        let relations = relations(&mut client);
        Stage {
            client,
            database,
            relations,
        }
    }

    /// Gives the session the settings that an entry wants.
    pub(crate) fn set(&mut self, entry: &Entry) {
        self.client.ok("RESET ALL");
        set(&mut self.client, entry);
    }

    /// Runs a statement in a transaction, looks, and rolls back.
    pub(crate) fn observe(&mut self, entry: &Entry, wants_end: bool) -> Result<Observed, String> {
        let client = &mut self.client;
        client.ok("BEGIN");
        for sql in &entry.inside {
            client.ok(&named(sql, &self.database));
        }
        let own_locks = locks_of("pg_backend_pid()");
        let before = match entry.inside.as_slice() {
            [] => self.relations.clone(),
            _ => relations(client),
        };
        let (held, scanned) = (client.ok(&own_locks).rows, scans(client));
        client.ok("SET client_min_messages = debug1");
        let sql = named(&entry.sql, &self.database);
        let answer = client.run(&sql, Protocol::Simple);
        if !entry.error.is_empty() || answer.error.is_some() {
            client.ok("ROLLBACK");
            return failed(entry, &answer);
        }
        client.ok("SET client_min_messages = notice");
        let locks = client.ok(&own_locks).rows;
        if let Some(name) = sql.strip_prefix("PREPARE TRANSACTION ") {
            client.ok(&format!("ROLLBACK PREPARED {name}"));
        }
        let after = relations_after(client, &before);
        let mut observed = nothing_yet(&self.relations);
        for row in locks.iter().filter(|row| !held.contains(row)) {
            add_lock(&self.relations, row, &mut observed);
        }
        for (oid, count) in scans(client) {
            let was_emptied = after.get(&oid).is_some_and(|now| now.empty);
            if let Some(relation) = before.get(&oid)
                && count > scanned.get(&oid).copied().unwrap_or(0)
                && !was_emptied
            {
                observed.effects.add_scan(relation.name.clone());
            }
        }
        said(&answer, &before, &mut observed.effects);
        files(&before, &after, &mut observed.effects);
        observed.end = wants_end
            .then(|| Snapshot::take(client, |table| touched(&before, &observed.effects, table)));
        client.ok("ROLLBACK");
        Ok(observed)
    }

    /// Runs a statement that refuses a block, while another session looks on. The copy is used up by it.
    pub(crate) fn observe_alone(
        &mut self,
        server: &TestServer,
        entry: &Entry,
        wants_end: bool,
    ) -> Result<Observed, String> {
        let (mut blocker, mut observer) = (
            server.connect(&self.database),
            server.connect(&self.database),
        );
        let pid = self.client.value("SELECT pg_backend_pid()");
        if let Some(sql) = entry.blocked_by {
            blocker.ok("BEGIN");
            blocker.ok(sql);
        }
        let mut observed = Observed {
            sampled: true,
            ..nothing_yet(&self.relations)
        };
        let sql = named(&entry.sql, &self.database);
        let busy = format!(
            "SELECT state = 'active', wait_event_type = 'Lock', query = {} FROM pg_stat_activity WHERE pid = {pid}",
            quote_literal(&sql)
        );
        let locks = locks_of(&pid);
        let mut blocking = entry.blocked_by.is_some();
        self.client.send(&sql);
        loop {
            let state = observer.ok(&busy).rows.pop().expect("its session");
            for row in observer.ok(&locks).rows {
                add_lock(&self.relations, &row, &mut observed);
            }
            let has_begun = state[2] == "t";
            if blocking && state[1] == "t" {
                blocker.ok("COMMIT");
                blocking = false;
            } else if has_begun && state[0] != "t" {
                break;
            }
        }
        let answer = self.client.answer();
        if !entry.error.is_empty() || answer.error.is_some() {
            return failed(entry, &answer);
        }
        let after = relations_after(&mut observer, &self.relations);
        files(&self.relations, &after, &mut observed.effects);
        if entry.sql.contains("CONCURRENTLY") {
            forget_dead(&self.relations, &after, &mut observed.effects);
        }
        observed.end = wants_end.then(|| Snapshot::take(&mut observer, |_| true));
        Ok(observed)
    }
}

fn set(client: &mut Client, entry: &Entry) {
    for setting in &entry.set {
        client.ok(&format!("SET {setting}"));
    }
}

/// Runs a statement and cancels it while it waits.
fn half(server: &TestServer, client: &mut Client, database: &str, entry: &Entry, sql: &str) {
    let mut blocker = server.connect(database);
    blocker.ok("BEGIN");
    blocker.ok(entry.blocked_by.expect("what it waits for"));
    let pid = client.value("SELECT pg_backend_pid()");
    client.send(sql);
    let mut observer = server.connect(database);
    let waits = format!("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {pid}");
    while observer.value(&waits) != "t" {}
    client.cancel();
    assert_eq!(client.answer().sqlstate(), "57014", "{sql}");
}

/// With the database's name in its place.
pub(crate) fn named(sql: &str, database: &str) -> String {
    sql.replace("%database", database)
}

fn failed(entry: &Entry, answer: &Answer) -> Result<Observed, String> {
    if answer.sqlstate() != entry.error {
        return Err(format!(
            "fails with {:?}, not {:?}",
            answer.error, entry.error
        ));
    }
    Ok(Observed {
        failed: true,
        ..Observed::default()
    })
}

fn nothing_yet(relations: &Relations) -> Observed {
    Observed {
        types: types(relations),
        tables: tables_of_indexes(relations),
        ..Observed::default()
    }
}

fn types(relations: &Relations) -> BTreeSet<Name> {
    let types = relations.values().filter(|relation| relation.kind == "c");
    types.map(|relation| relation.name.clone()).collect()
}

fn tables_of_indexes(relations: &Relations) -> BTreeMap<Name, Name> {
    let table = |index: &Relation| Some(relations.get(&index.index_of)?.name.clone());
    let indexes = relations.values();
    indexes
        .filter_map(|index| Some((index.name.clone(), table(index)?)))
        .collect()
}

/// An index that was replaced is locked exclusively when it goes, but by then it is dead: no query opens it.
fn forget_dead(before: &Relations, after: &Relations, effects: &mut Effects) {
    for (oid, relation) in before {
        if !after.contains_key(oid) {
            effects.locks.remove(&relation.name);
        }
    }
}

/// Whether a table is new or was locked.
fn touched(before: &Relations, effects: &Effects, table: &str) -> bool {
    let is_new = before
        .values()
        .all(|relation| relation.name.to_string() != table);
    is_new || effects.locks.keys().any(|name| name.to_string() == table)
}

fn add_lock(relations: &Relations, row: &[String], observed: &mut Observed) {
    if let (Some(relation), Some(mode)) = (relations.get(&row[0]), LockMode::from_pg(&row[1])) {
        observed.effects.add_lock(relation.name.clone(), mode);
    }
}

/// What the server says of scans at the level DEBUG1.
fn said(answer: &Answer, before: &Relations, effects: &mut Effects) {
    for notice in &answer.notices {
        let words: Vec<&str> = notice.split('"').collect();
        let [about, table, ..] = words.as_slice() else {
            continue;
        };
        if matches!(*about, "verifying table " | "rewriting table ") {
            let named = before
                .values()
                .filter(|relation| relation.name.name == *table);
            for relation in named {
                effects.add_scan(relation.name.clone());
            }
        }
    }
}

/// What new files tell: of a table that its rows were written anew, of an index that it was built. An index that is
/// made anew over the old one's file was not.
fn files(before: &Relations, after: &Relations, effects: &mut Effects) {
    let old: BTreeSet<&str> = before
        .values()
        .map(|relation| relation.filenode.as_str())
        .collect();
    for (oid, now) in after {
        let new_file = !old.contains(now.filenode.as_str());
        match now.kind.as_str() {
            "r" | "m" if new_file && !now.empty => {
                if let Some(then) = before.get(oid) {
                    effects.add_rewrite(then.name.clone());
                }
            }
            "i" if new_file && now.ready => {
                let table_is_empty = after.get(&now.index_of).is_none_or(|table| table.empty);
                if let Some(table) = before.get(&now.index_of)
                    && !table_is_empty
                {
                    effects.add_build(table.name.clone());
                }
            }
            _ => {}
        }
    }
}
