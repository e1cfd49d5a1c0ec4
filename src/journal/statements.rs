//! What is said to lockkeeper's own database. Its sessions have `search_path = pg_catalog`.

use super::record::Record;
use crate::exec::acquire::array_literal;
use crate::exec::places::Key;
use crate::exec::session::Command;
use crate::plan::course::Course;

/// What makes the schema, and what brings it from each version to the next.
pub const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// Which version is there; no row when there is none. The version stands in the schema's comment.
pub const VERSION_SQL: &str = "
SELECT substring(d.description FROM 'version ([0-9]+)')
FROM pg_namespace n LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass
WHERE n.nspname = 'lockkeeper'";

/// Whose database it is, and what stands in it that isn't ours: a line for each, for people. What a
/// superuser has made is no danger: a superuser may do everything anyway.
pub const STRANGERS_SQL: &str = "
WITH ours (oid) AS (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user OR r.rolsuper),
found (kind, name, owner) AS (
  SELECT 'database', datname, datdba FROM pg_database WHERE datname = current_database()
  UNION ALL SELECT 'schema', nspname, nspowner FROM pg_namespace WHERE oid >= 16384
  UNION ALL SELECT 'relation', oid::regclass::name, relowner FROM pg_class
    WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S')
  UNION ALL SELECT 'function', proname, proowner FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT 'type', typname, typowner FROM pg_type WHERE oid >= 16384 AND typrelid = 0 AND typelem = 0
  UNION ALL SELECT 'extension', extname, extowner FROM pg_extension WHERE oid >= 16384
  UNION ALL SELECT 'event trigger', evtname, evtowner FROM pg_event_trigger)
SELECT format('%s %I of %I', f.kind, f.name, pg_get_userbyid(f.owner))
FROM found f WHERE f.owner NOT IN (SELECT oid FROM ours) ORDER BY 1 LIMIT 10";

/// Whether everybody may connect, or make temporary objects.
pub const IS_OPEN_SQL: &str = "
SELECT EXISTS (SELECT FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
               WHERE d.datname = current_database() AND a.grantee = 0)";

/// What of the schema the operator may not write to, by name; nothing where there is no schema.
pub const NOT_WRITTEN_SQL: &str = "
SELECT c.relname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
WHERE n.nspname = 'lockkeeper' AND (c.relkind = 'r' OR c.relname = 'slot')
  AND NOT (has_schema_privilege(n.oid, 'USAGE')
    AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
        ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
          AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') END)
ORDER BY 1";

/// Whose transactions the server knows.
pub const SYSTEM_SQL: &str = "SELECT system_identifier FROM pg_control_system()";

/// The lock that orders those who enter the queue, held within one statement only.
const ENTRY: &str = "pg_try_advisory_xact_lock(1819042924, 1)";
/// The lock of whoever makes or changes the schema.
pub const MIGRATION_LOCK_SQL: &str = "SELECT pg_try_advisory_xact_lock(1819042924, 2)";

/// Enters a plan and the beginning of its audit event. No row when somebody else is just entering: then it is
/// to be said again. Rows are so committed in the order of their numbers.
pub fn begin(keys: &[Key], record: &Record, relations: &[String], event: &str) -> Command {
    let sql = format!(
        "WITH turn AS MATERIALIZED (SELECT {ENTRY} AS come),
         begun AS (INSERT INTO lockkeeper.audit_log (relations, event)
                   SELECT $2::text[], $3::jsonb FROM turn WHERE come RETURNING id, at),
         {}
         INSERT INTO lockkeeper.plan (keys, audit, plan)
         SELECT $1::bigint[], begun.id, $4::jsonb || jsonb_build_object('backend', jsonb_build_object(
           'pid', $5::int, 'start', coalesce((SELECT a.backend_start::text FROM pg_stat_activity a
                                              WHERE a.pid = $5::int), '')))
         FROM begun RETURNING id, audit, claim",
        named("begun", "$2")
    );
    let parameters = vec![
        packed(keys),
        array_literal(relations),
        event.to_owned(),
        json(record),
        record.backend.pid.to_string(),
    ];
    Command::with(sql, parameters)
}

/// Says anew what a plan is, and what it queues for.
pub fn rewrite(id: i64, claim: i64, keys: &[Key], record: &Record) -> Command {
    const SQL: &str = "UPDATE lockkeeper.plan
        SET keys = $3::bigint[], plan = plan || ($4::jsonb - 'backend'::text), heartbeat = clock_timestamp()
        WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL RETURNING id";
    let mut parameters = of(id, claim);
    parameters.extend([packed(keys), json(record)]);
    Command::with(SQL, parameters)
}

/// Says how far a plan is; no row when it has been taken over.
pub fn note(id: i64, claim: i64, course: Course, steps: Option<&str>) -> Command {
    const SQL: &str = "UPDATE lockkeeper.plan
        SET plan = plan || $3::jsonb, heartbeat = clock_timestamp()
        WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL RETURNING id";
    let course = json(&course);
    let changed = match steps {
        Some(steps) => format!("{{\"course\": {course}, \"steps\": {steps}}}"),
        None => format!("{{\"course\": {course}}}"),
    };
    let mut parameters = of(id, claim);
    parameters.push(changed);
    Command::with(SQL, parameters)
}

/// Ends a plan and its audit event, if nobody else has taken it over.
pub fn end(id: i64, claim: i64, outcome: &str, audit: &Audit<'_>) -> Command {
    let sql = format!(
        "WITH over AS (UPDATE lockkeeper.plan
           SET ended = clock_timestamp(), slot = NULL, plan = plan || jsonb_build_object('outcome', $3::jsonb)
           WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL RETURNING audit),
         told AS (UPDATE lockkeeper.audit_log a SET outcome = $4::text, relations = $5::text[], event = $6::jsonb
           FROM over WHERE a.id = over.audit RETURNING a.id, a.at),
         {}
         SELECT id FROM told",
        named("told", "$5")
    );
    let mut parameters = of(id, claim);
    parameters.extend([
        outcome.to_owned(),
        audit.outcome.to_owned(),
        array_literal(audit.relations),
        audit.event.to_owned(),
    ]);
    Command::with(sql, parameters)
}

/// Writes the names of an event's relations, besides its first, to where it is found by them.
fn named(event: &str, relations: &str) -> String {
    format!(
        "named AS (INSERT INTO lockkeeper.audit_relation (audit, at, name)
           SELECT DISTINCT e.id, e.at, n.name FROM {event} e, unnest(({relations}::text[])[3:]) n (name)
           ON CONFLICT DO NOTHING)"
    )
}

/// An event of the audit log, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    /// Its outcome.
    pub outcome: &'a str,
    /// Its relations.
    pub relations: &'a [String],
    /// All of it, in JSON.
    pub event: &'a str,
}

/// An event whose beginning was not written.
pub fn event(audit: &Audit<'_>) -> Command {
    let sql = format!(
        "WITH told AS (INSERT INTO lockkeeper.audit_log (outcome, relations, event)
           VALUES ($1::text, $2::text[], $3::jsonb) RETURNING id, at),
         {}
         SELECT id FROM told",
        named("told", "$2")
    );
    let parameters = vec![
        audit.outcome.to_owned(),
        array_literal(audit.relations),
        audit.event.to_owned(),
    ];
    Command::with(sql, parameters)
}

/// Lets a plan go, for anybody to take over at once.
pub fn release(id: i64, claim: i64) -> Command {
    const SQL: &str = "UPDATE lockkeeper.plan SET heartbeat = '-infinity'
        WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL";
    Command::with(SQL, of(id, claim))
}

/// Takes a place among the online builds of a database; no row when somebody else is just doing
/// that, or the plan has been taken over.
pub fn take_slot(id: i64, claim: i64) -> Command {
    let sql = format!(
        "UPDATE lockkeeper.plan SET slot = nextval('lockkeeper.slot')
         WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL AND {ENTRY} RETURNING slot"
    );
    Command::with(sql, of(id, claim))
}

/// Gives it back.
pub fn leave_slot(id: i64) -> Command {
    const SQL: &str =
        "UPDATE lockkeeper.plan SET slot = NULL WHERE id = $1::bigint AND slot IS NOT NULL";
    Command::with(SQL, vec![id.to_string()])
}

/// Who is before a plan in the queues of its relations: number, words, and whether it is the same statement.
pub fn ahead(id: i64) -> Command {
    const SQL: &str = "SELECT o.id, o.plan ->> 'what',
          coalesce(o.plan ->> 'twin' = own.plan ->> 'twin' AND (o.plan -> 'online')::bool, false)
        FROM lockkeeper.plan own JOIN lockkeeper.plan o
          ON o.ended IS NULL AND o.id < own.id AND o.keys && own.keys
        WHERE own.id = $1::bigint ORDER BY o.id";
    Command::with(SQL, vec![id.to_string()])
}

/// Who is before a plan among the builds of its database.
pub fn ahead_of_slot(id: i64) -> Command {
    const SQL: &str = "SELECT o.id, o.plan ->> 'what', false
        FROM lockkeeper.plan own JOIN lockkeeper.plan o
          ON o.ended IS NULL AND o.slot < own.slot AND o.plan -> 'database' = own.plan -> 'database'
        WHERE own.id = $1::bigint ORDER BY o.slot";
    Command::with(SQL, vec![id.to_string()])
}

/// Whether somebody waits for the outcome of the same statement.
pub fn has_heir(id: i64) -> Command {
    const SQL: &str = "SELECT EXISTS (SELECT FROM lockkeeper.plan own JOIN lockkeeper.plan o
          ON o.ended IS NULL AND o.id > own.id AND o.plan ->> 'twin' = own.plan ->> 'twin'
        WHERE own.id = $1::bigint)";
    Command::with(SQL, vec![id.to_string()])
}

/// How a plan ended; NULL while it hasn't.
pub fn outcome(id: i64) -> Command {
    const SQL: &str = "SELECT plan -> 'outcome' FROM lockkeeper.plan WHERE id = $1::bigint";
    Command::with(SQL, vec![id.to_string()])
}

/// Keeps plans from being taken over.
pub fn heartbeat(ids: &[i64]) -> Command {
    const SQL: &str = "UPDATE lockkeeper.plan SET heartbeat = clock_timestamp()
        WHERE id = ANY ($1::bigint[]) AND ended IS NULL";
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    Command::with(SQL, vec![array_literal(&ids)])
}

/// The plans of this server of which nothing has been heard for so long; and those, for a third of
/// it, whose server process is gone: nobody can go on with them.
pub fn orphans(system: &str, silent_ms: u128) -> Command {
    const SQL: &str = "SELECT p.id, p.claim FROM lockkeeper.plan p
        WHERE p.ended IS NULL AND p.plan ->> 'system' = $1::text
          AND (p.heartbeat < clock_timestamp() - $2::int8 * interval '1 ms'
            OR p.heartbeat < clock_timestamp() - $2::int8 / 3 * interval '1 ms'
               AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = (p.plan #>> '{backend,pid}')::int
                 AND a.backend_start IS NOT DISTINCT FROM nullif(p.plan #>> '{backend,start}', '')::timestamptz))
        ORDER BY p.id LIMIT 100";
    Command::with(SQL, vec![system.to_owned(), silent_ms.to_string()])
}

/// Takes a plan over, unless somebody else has: the value, and its audit event.
pub fn claim(id: i64, claim: i64) -> Command {
    const SQL: &str = "WITH mine AS (UPDATE lockkeeper.plan SET claim = claim + 1, heartbeat = clock_timestamp()
          WHERE id = $1::bigint AND claim = $2::bigint AND ended IS NULL RETURNING id, claim, audit, plan)
        SELECT mine.claim, mine.plan, mine.audit, a.event
        FROM mine LEFT JOIN lockkeeper.audit_log a ON a.id = mine.audit";
    Command::with(SQL, of(id, claim))
}

/// What a server process does: `gone`, `idle` or `active`.
pub fn backend_state(pid: u32, start: &str) -> Command {
    const SQL: &str = "SELECT CASE WHEN count(*) = 0 THEN 'gone'
          WHEN bool_or(a.state LIKE 'idle%') THEN 'idle' ELSE 'active' END
        FROM pg_stat_activity a WHERE a.pid = $1::int
          AND ($2::text = '' OR a.backend_start = $2::text::timestamptz)";
    Command::with(SQL, vec![pid.to_string(), start.to_owned()])
}

/// Ends a server process, if it is still the same one.
pub fn terminate(pid: u32, start: &str) -> Command {
    const SQL: &str = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
        WHERE a.pid = $1::int AND a.backend_start = nullif($2::text, '')::timestamptz";
    Command::with(SQL, vec![pid.to_string(), start.to_owned()])
}

/// What became of a transaction: `committed`, `aborted`, `in progress`; NULL when that isn't known
/// any more, an error (22023) when there never was one of that number.
pub fn fate(xid: u64) -> Command {
    const SQL: &str = "SELECT pg_xact_status($1::text::xid8)";
    Command::with(SQL, vec![xid.to_string()])
}

/// The number of the transaction that a server process is in, as `pg_current_xact_id()` has it there:
/// `pg_stat_activity` shows its lower half only.
pub fn xid_of(pid: u32) -> Command {
    const SQL: &str = "WITH now (xid) AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8),
        seen (xid) AS (SELECT a.backend_xid::text::int8 FROM pg_stat_activity a WHERE a.pid = $1::int)
        SELECT CASE WHEN s.xid <= n.xid % 4294967296 THEN n.xid / 4294967296 * 4294967296 + s.xid
               ELSE (n.xid / 4294967296 - 1) * 4294967296 + s.xid END
        FROM now n, seen s WHERE s.xid IS NOT NULL";
    Command::with(SQL, vec![pid.to_string()])
}

/// The newest events, oldest first, for people: time, user, database, tag, outcome, relations, text, error. Those of
/// one user, or all. Both follow an index to the limit.
pub fn recent_events(user: Option<&str>, limit: u32, max_text: usize) -> Command {
    let own = if user.is_some() {
        "WHERE event ->> 'user' = $1::text"
    } else {
        ""
    };
    let sql = format!(
        "SELECT coalesce(event ->> 'time', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')),
           event ->> 'user', event ->> 'database', event ->> 'tag', coalesce(outcome, 'running'),
           (SELECT left(string_agg(r.name #>> '{{}}', ', '), {max_text})
            FROM jsonb_path_query(event, '$.relations[*].name') r (name)),
           left(event ->> 'sql', {max_text}),
           left((event #>> '{{error,sqlstate}}') || ': ' || (event #>> '{{error,message}}'), {max_text})
         FROM (SELECT id, at, outcome, event FROM lockkeeper.audit_log {own}
               ORDER BY at DESC, id DESC LIMIT {limit}) newest
         ORDER BY at, id"
    );
    Command::with(sql, user.map(str::to_owned).into_iter().collect())
}

/// Forgets plans that ended so long ago, some at a time; how many were left out isn't said.
pub fn forget_plans(older_s: u64) -> Command {
    const SQL: &str = "DELETE FROM lockkeeper.plan WHERE id IN (SELECT id FROM lockkeeper.plan
        WHERE ended < clock_timestamp() - $1::int8 * interval '1 s' ORDER BY ended LIMIT 1000)";
    Command::with(SQL, vec![older_s.to_string()])
}

/// Forgets events so old, some at a time.
pub fn forget_events(older_s: u64) -> Command {
    const SQL: &str = "DELETE FROM lockkeeper.audit_log WHERE id IN (SELECT id FROM lockkeeper.audit_log
        WHERE at < clock_timestamp() - $1::int8 * interval '1 s' AND outcome IS NOT NULL ORDER BY at LIMIT 1000)";
    Command::with(SQL, vec![older_s.to_string()])
}

fn of(id: i64, claim: i64) -> Vec<String> {
    vec![id.to_string(), claim.to_string()]
}

/// Keys as an array of numbers; the build of a database isn't among them: it has a column of its own.
fn packed(keys: &[Key]) -> String {
    let numbers = keys.iter().filter_map(|key| match key {
        Key::Relation(database, oid) => {
            let packed = (u64::from(*database) << 32) | u64::from(*oid);
            Some(packed.cast_signed().to_string())
        }
        Key::Build(_) => None,
    });
    array_literal(&numbers.collect::<Vec<_>>())
}

/// A value of ours in JSON; it has no keys that aren't text, so that can't fail.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
