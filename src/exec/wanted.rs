//! The relations that a step locks, as the server knows them now.

use std::time::Duration;

use super::acquire::{QUERY_CANCELED, array_literal};
use super::look::{LockSet, Wanted};
use super::runner::{INSUFFICIENT_PRIVILEGE, roll_back};
use super::session::{Command, Reply, RunError, Session};
use crate::lock::LockMode;
use crate::plan::{Step, StepLock};
use crate::sql::name::Name;

/// The lock set of some steps: for each relation the strongest mode. A relation that doesn't exist
/// yet is left out.
pub async fn resolve<S: Session>(session: &mut S, steps: &[&Step]) -> Result<LockSet, RunError> {
    let mut locks: Vec<(&StepLock, bool)> = Vec::new();
    for step in steps {
        // ONLY or not: whether children are locked too.
        let is_only = step.sql.contains("ONLY ");
        let recurses = |lock: &StepLock| !is_only && lock.mode > LockMode::ShareUpdateExclusive;
        locks.extend(step.lock_first.iter().map(|lock| (lock, false)));
        locks.extend(step.locks.iter().map(|lock| (lock, recurses(lock))));
    }
    locks.retain(|(lock, _)| lock.mode >= LockMode::ShareUpdateExclusive);
    let column = |text: &dyn Fn(&(&StepLock, bool)) -> String| {
        array_literal(&locks.iter().map(text).collect::<Vec<_>>())
    };
    let parameters = vec![
        column(&|(lock, _)| lock.relation.to_string()),
        column(&|(_, recurses)| recurses.to_string()),
    ];
    let Some(replies) = ask(session, parameters).await? else {
        return Ok(LockSet::default());
    };
    let rows = replies
        .first()
        .map_or(&[][..], |reply| reply.rows.as_slice());
    let mut set = LockSet::default();
    for row in rows {
        read(row, &locks, &mut set);
    }
    Ok(set)
}

/// The answer; `None` where the role may not read the catalog: then there is no look, and no place in
/// a queue. Who may not read `pg_inherits` learns of the named relations.
async fn ask<S: Session>(
    session: &mut S,
    parameters: Vec<String>,
) -> Result<Option<Vec<Reply>>, RunError> {
    let alone = SQL.replace(KIN, "");
    for sql in [SQL, &alone] {
        let batch = [
            Command::own("BEGIN READ ONLY"),
            Command::own(NO_JIT_SQL),
            Command::with(sql, parameters.clone()),
            Command::own("COMMIT"),
        ];
        let mut result = session.run(&batch).await;
        for _ in 1..TRIES {
            if !is_late_cancel(session, &result) {
                break;
            }
            roll_back(session).await?;
            result = session.run(&batch).await;
        }
        let error = match result {
            Ok(replies) => return Ok(Some(replies.into_iter().skip(2).take(1).collect())),
            Err(error) => error,
        };
        roll_back(session).await?;
        if error.sqlstate() != INSUFFICIENT_PRIVILEGE {
            return Err(error);
        }
    }
    Ok(None)
}

/// Adds a row's relation; a row that isn't one says nothing.
fn read(row: &[Option<String>], locks: &[(&StepLock, bool)], set: &mut LockSet) -> Option<()> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let number = |at: usize| text(at)?.parse::<u32>().ok();
    let is_true = |at: usize| text(at) == Some("t");
    set.pid = number(0)?;
    set.database = number(1)?;
    set.deadlock_timeout = Duration::from_millis(u64::from(number(2)?));
    set.is_synchronous = is_true(3);
    text(4)?.clone_into(&mut set.role);
    text(5)?.clone_into(&mut set.search_path);
    let at = usize::try_from(number(6)?).ok()?;
    let (lock, _) = locks.get(at.checked_sub(1)?)?;
    let oid = number(7)?;
    let wanted = Wanted {
        oid,
        name: Name::qualified(text(8)?, text(9)?),
        mode: lock.mode,
        lockable: is_true(10),
        with_parent: is_true(11),
        is_ours: is_true(12),
    };
    match set.wanted.iter_mut().find(|known| known.oid == oid) {
        Some(known) => {
            known.mode = known.mode.max(wanted.mode);
            known.with_parent &= wanted.with_parent;
        }
        None => set.wanted.push(wanted),
    }
    Some(())
}

/// Whether a cancel request has hit the question that was honoured before.
fn is_late_cancel<S: Session>(session: &S, result: &Result<Vec<Reply>, RunError>) -> bool {
    let is_cancelled = matches!(result, Err(error) if error.sqlstate() == QUERY_CANCELED);
    is_cancelled && session.interrupt().is_none()
}

/// Tries of the question.
const TRIES: u32 = 3;

/// Compiling the query takes longer than running it.
const NO_JIT_SQL: &str = "SELECT pg_catalog.set_config('jit', 'off', true)";

/// The part that finds partitions and children.
const KIN: &str = "
  UNION ALL
  SELECT k.at, i.inhrelid, k.recurses, k.depth + 1
  FROM kin k JOIN pg_catalog.pg_inherits i ON i.inhparent = k.oid WHERE k.recurses";

/// The named relations with their partitions and children, each behind its parent; at least one row
/// even without any. Only an owner's locks are taken ahead: who may not change a table shall not hold
/// up others by trying. `LOCK TABLE` needs one of three privileges (`LockTableAclCheck` of
/// `src/backend/commands/lockcmds.c`), whichever mode.
const SQL: &str = "
WITH RECURSIVE named (at, oid, recurses) AS (
  SELECT n.at, pg_catalog.to_regclass(n.name)::pg_catalog.oid, n.recurses::pg_catalog.bool
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
    WITH ORDINALITY n (name, recurses, at)),
kin (at, oid, recurses, depth) AS (
  SELECT n.at, n.oid, n.recurses, 0 FROM named n WHERE n.oid IS NOT NULL
  UNION ALL
  SELECT k.at, i.inhrelid, k.recurses, k.depth + 1
  FROM kin k JOIN pg_catalog.pg_inherits i ON i.inhparent = k.oid WHERE k.recurses)
SELECT pg_catalog.pg_backend_pid(),
  (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
  (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'deadlock_timeout'),
  pg_catalog.current_setting('synchronous_standby_names') <> ''
    AND pg_catalog.current_setting('synchronous_commit') NOT IN ('off', 'local'),
  current_user, pg_catalog.current_setting('search_path'),
  k.at, c.oid, n.nspname, c.relname,
  c.relkind IN ('r', 'p') AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    AND (pg_catalog.has_table_privilege(c.oid, 'UPDATE')
    OR pg_catalog.has_table_privilege(c.oid, 'DELETE') OR pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')),
  k.depth > 0,
  pg_catalog.pg_has_role(c.relowner, 'USAGE')
    OR pg_catalog.has_table_privilege(c.oid, 'INSERT') OR pg_catalog.has_table_privilege(c.oid, 'UPDATE')
    OR pg_catalog.has_table_privilege(c.oid, 'DELETE') OR pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
    OR pg_catalog.has_table_privilege(c.oid, 'REFERENCES') OR pg_catalog.has_table_privilege(c.oid, 'TRIGGER')
FROM (VALUES (1)) always (one)
LEFT JOIN (kin k JOIN pg_catalog.pg_class c ON c.oid = k.oid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace) ON true
ORDER BY k.at, k.depth, c.oid";
