//! Whether the way is clear: what a look at the locks means for one who wants some. Pure.

use std::cmp::Reverse;
use std::time::Duration;

use super::operator::ages::{Ages, QUIET_AGE};
use super::operator::snapshot::{HeldLock, Kind, Snapshot};
use crate::lock::LockMode;
use crate::plan::LookAge;
use crate::sql::name::Name;

/// At this chance to have the lock within the budget it is asked for.
const GOOD_CHANCE: f64 = 0.5;
/// With less it never is.
const LEAST_CHANCE: f64 = 0.1;
/// For so many looks a moment is waited for in which all are over that soon.
const PICKY_LOOKS: u32 = 20;
/// That soon.
const SOON: Duration = Duration::from_millis(20);
/// After so many looks in vain half the chance is good enough.
const PATIENCE: f64 = 40.0;

/// An autovacuum gives way that long after `deadlock_timeout` at the latest.
const AUTOVACUUM_GIVES_WAY: Duration = Duration::from_millis(200);

/// A lock that is wanted on one relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its OID.
    pub oid: u32,
    /// Its name.
    pub name: Name,
    /// The mode.
    pub mode: LockMode,
    /// `LOCK TABLE` can take it: a table, and the role may.
    pub lockable: bool,
    /// A partition or child of one that is named: the statement locks it with that one.
    pub with_parent: bool,
    /// The role may do more with it than read it: it has a place in its queue.
    pub is_ours: bool,
}

/// What is wanted, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockSet {
    /// The session's backend.
    pub pid: u32,
    /// OID of the session's database.
    pub database: u32,
    /// `current_user`.
    pub role: String,
    /// `search_path`.
    pub search_path: String,
    /// `deadlock_timeout`.
    pub deadlock_timeout: Duration,
    /// A commit waits for standbys.
    pub is_synchronous: bool,
    /// The relations, in the order in which they are locked.
    pub wanted: Vec<Wanted>,
}

/// What a look shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// The lock may be asked for.
    pub is_clear: bool,
    /// Who is in the way, oldest transaction first, a line each.
    pub blockers: Vec<String>,
    /// Transactions in the way that have written nothing.
    pub readers: Vec<Reader>,
}

/// A transaction in the way that has written nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its backend.
    pub pid: u32,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// How old it is.
    pub age: Duration,
    /// It idles between statements.
    pub is_idle: bool,
    /// A line about it, for people.
    pub line: String,
}

impl LockSet {
    /// OIDs of all relations.
    pub fn oids(&self) -> Vec<u32> {
        self.wanted.iter().map(|wanted| wanted.oid).collect()
    }

    /// The strongest lock of all.
    pub fn strongest(&self) -> Option<LockMode> {
        self.wanted.iter().map(|wanted| wanted.mode).max()
    }

    /// Whoever is in the way, with the relation that it is about.
    fn in_the_way<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a HeldLock, &'a Wanted)> {
        snapshot.locks.iter().filter_map(|held| {
            let is_other = held.pid != self.pid || held.pid == 0;
            let is_here = held.database == self.database || held.database == 0;
            // Who only waits for a weak lock lets one through that asks first.
            let counts = held.granted || held.mode >= LockMode::ShareUpdateExclusive;
            let wanted = self
                .wanted
                .iter()
                .find(|wanted| wanted.oid == held.relation)?;
            let conflicts = wanted.mode.conflicts_with(held.mode)
                // The lock that keeps vacuums and builds out comes first.
                || (takes_fence(wanted) && LockMode::ShareUpdateExclusive.conflicts_with(held.mode));
            (is_other && is_here && counts && conflicts).then_some((held, wanted))
        })
    }

    /// The transactions whose ages tell how long such ones last, by process and beginning.
    pub fn users(&self, snapshot: &Snapshot) -> Vec<(u32, i64)> {
        let held = self.in_the_way(snapshot).map(|(held, _)| held);
        let clients = held.filter(|held| held.granted && held.holder() == Kind::Client);
        clients
            .filter_map(|held| Some((held.pid, held.began_ms?)))
            .collect()
    }

    /// What `LOCK TABLE` can take before the statement does; children are locked with their parents.
    pub fn taken_ahead(&self) -> impl Iterator<Item = &Wanted> {
        let named = self.wanted.iter().filter(|wanted| !wanted.with_parent);
        named.filter(|wanted| takes_fence(wanted))
    }

    /// The statement that takes the lock which stops no query and keeps vacuums, builds and other schema
    /// changes out, on what will be locked more strongly. It is to be asked for with
    /// [`patience`](Self::patience): an autovacuum gives way to it.
    pub fn fence(&self) -> Option<String> {
        let tables = self.taken_ahead().map(|wanted| self.as_table(wanted));
        let tables: Vec<String> = tables.collect();
        let tables = tables.join(", ");
        (!tables.is_empty()).then(|| format!("LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE"))
    }

    /// How long an autovacuum has to give way.
    pub fn patience(&self, budget: Duration) -> Duration {
        (self.deadlock_timeout + AUTOVACUUM_GIVES_WAY).max(budget)
    }

    /// A table as `LOCK TABLE` names it: with its children where they are locked too.
    pub fn as_table(&self, wanted: &Wanted) -> String {
        if self.wanted.iter().any(|kin| kin.with_parent) {
            wanted.name.to_string()
        } else {
            format!("ONLY {}", wanted.name)
        }
    }

    /// What the look shows. `looks` have been in vain so far.
    pub fn sight(
        &self,
        snapshot: &Snapshot,
        ages: &Ages,
        look_age: LookAge,
        within: Duration,
        looks: u32,
    ) -> Sight {
        let within = if looks < PICKY_LOOKS {
            within.min(SOON)
        } else {
            within
        };
        let mut found: Vec<(&HeldLock, &Wanted)> = self
            .in_the_way(snapshot)
            .filter(|(held, wanted)| !gives_way(held, wanted))
            .collect();
        // Oldest first, and of one transaction's locks on a relation the strongest that it has.
        found.sort_by_key(|(held, _)| {
            let began = held.began_ms.unwrap_or(i64::MIN);
            let strongest = Reverse((held.granted, held.mode));
            (began, held.pid, held.relation, strongest)
        });
        found.dedup_by_key(|(held, _)| (held.pid, held.began_ms, held.relation));
        let is_weak = self.strongest() < Some(LockMode::Share);
        let is_clear = if found.is_empty() {
            true
        } else if is_weak {
            // Who waits for a weak lock stops nobody: only what would deadlock, or never ends by
            // itself, is waited out.
            let mut holders = found.iter().map(|(held, _)| held.holder());
            holders.all(|holder| holder == Kind::Client)
        } else {
            let least = match look_age {
                LookAge::Fixed(_) => 1.0,
                LookAge::Auto => least_chance(looks),
            };
            chance_of_all(&found, snapshot.at_ms, ages, look_age, within) >= least
        };
        if is_clear {
            return Sight {
                is_clear,
                ..Sight::default()
            };
        }
        Sight {
            is_clear,
            blockers: found.iter().map(|one| line(one, snapshot)).collect(),
            readers: found
                .iter()
                .filter_map(|one| reader(one, snapshot))
                .collect(),
        }
    }
}

fn line((held, wanted): &(&HeldLock, &Wanted), snapshot: &Snapshot) -> String {
    held.line(snapshot.at_ms, &wanted.name.to_string())
}

fn reader(found: &(&HeldLock, &Wanted), snapshot: &Snapshot) -> Option<Reader> {
    let (held, _) = found;
    let reads = held.granted && held.mode <= LockMode::RowShare && !held.writes;
    // The sender of a replica is spared, also while it copies a table.
    if held.holder() != Kind::Client || !reads || held.kind == "walsender" {
        return None;
    }
    Some(Reader {
        pid: held.pid,
        began_ms: held.began_ms?,
        age: held.age(snapshot.at_ms)?,
        is_idle: held.state.starts_with("idle in transaction"),
        line: line(found, snapshot),
    })
}

/// How likely it is that all transactions in the way are over within that time.
fn chance_of_all(
    found: &[(&HeldLock, &Wanted)],
    at_ms: i64,
    ages: &Ages,
    look_age: LookAge,
    within: Duration,
) -> f64 {
    let mut counted: Vec<(u32, Option<i64>)> = Vec::new();
    let mut chance = 1.0;
    for (held, _) in found {
        let transaction = (held.pid, held.began_ms);
        if counted.contains(&transaction) {
            continue;
        }
        counted.push(transaction);
        // One that only waits is not a transaction like those that were seen to end.
        let may_end = held.granted && held.holder() == Kind::Client;
        chance *= match held.age(at_ms) {
            Some(age) if may_end => chance_of(age, ages, look_age, within),
            Some(_) | None => 0.0,
        };
    }
    chance
}

/// How likely it is that a transaction of that age is over within that time.
fn chance_of(age: Duration, ages: &Ages, look_age: LookAge, within: Duration) -> f64 {
    let as_young = |limit: Duration| if age <= limit { 1.0 } else { 0.0 };
    match look_age {
        LookAge::Fixed(limit) => as_young(limit),
        LookAge::Auto => match (ages.look_age(), ages.chance(age, within)) {
            (Some(limit), Some(chance)) => chance * as_young(limit),
            (None, _) | (_, None) => as_young(QUIET_AGE),
        },
    }
}

/// The chance that is good enough after so many looks in vain.
fn least_chance(looks: u32) -> f64 {
    (GOOD_CHANCE * 0.5_f64.powf(f64::from(looks) / PATIENCE)).max(LEAST_CHANCE)
}

/// Whether the lock that keeps vacuums, builds and other schema changes out is taken first.
fn takes_fence(wanted: &Wanted) -> bool {
    wanted.lockable && wanted.mode > LockMode::ShareUpdateExclusive
}

/// An autovacuum gives way to a request that is patient enough, which the first lock is.
fn gives_way(held: &HeldLock, wanted: &Wanted) -> bool {
    let is_patient = takes_fence(wanted) || wanted.mode == LockMode::ShareUpdateExclusive;
    held.holder() == Kind::Autovacuum && is_patient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::operator::snapshot::tests::{NOW, autovacuum, command, prepared, reader};

    const BUDGET: Duration = Duration::from_millis(100);
    /// Past every client that holds a lock.
    const ANY_AGE: LookAge = LookAge::Fixed(Duration::from_secs(3600));

    const VACUUM: &str = "autovacuum: VACUUM public.t";
    const WRAPAROUND: &str = "autovacuum: VACUUM public.t (to prevent wraparound)";
    const BUILD: &str = "CREATE INDEX CONCURRENTLY i ON t (a)";

    /// A session that wants a lock on the table that the others have.
    fn wants(mode: LockMode) -> LockSet {
        LockSet {
            pid: 1,
            database: 5,
            role: String::new(),
            search_path: String::new(),
            deadlock_timeout: Duration::from_secs(1),
            is_synchronous: false,
            wanted: vec![Wanted {
                oid: 7,
                name: Name::qualified("public", "t"),
                mode,
                lockable: true,
                with_parent: false,
                is_ours: true,
            }],
        }
    }

    fn snapshot(locks: Vec<HeldLock>) -> Snapshot {
        Snapshot { at_ms: NOW, locks }
    }

    /// What a first look at a table shows of which nothing is known.
    fn sight(set: &LockSet, locks: Vec<HeldLock>, look_age: LookAge) -> Sight {
        set.sight(&snapshot(locks), &Ages::default(), look_age, BUDGET, 0)
    }

    fn by_progress() -> HeldLock {
        HeldLock {
            builds_concurrently: true,
            ..command("REINDEX SCHEMA public")
        }
    }

    #[test]
    fn who_does_not_end_soon_is_named_and_neither_asked_past_nor_ended() {
        let client = "process 4711 (app, report, 10.0.0.1) holds ";
        for (held, named) in [
            (autovacuum(WRAPAROUND), "process 4711 (autovacuum worker) "),
            (prepared(), "prepared transaction left behind (app) holds "),
            (command(BUILD), client),
            (by_progress(), client),
        ] {
            for look_age in [LookAge::Auto, ANY_AGE] {
                let set = wants(LockMode::AccessExclusive);
                let seen = sight(&set, vec![held.clone()], look_age);
                assert!(!seen.is_clear, "{held:?}");
                assert_eq!(seen.blockers.len(), 1, "{seen:?}");
                assert!(seen.blockers[0].starts_with(named), "{seen:?}");
                assert!(seen.readers.is_empty(), "{seen:?}");
            }
        }
    }

    #[test]
    fn an_autovacuum_gives_way_where_it_is_asked_patiently() {
        for mode in [
            LockMode::ShareUpdateExclusive,
            LockMode::ShareRowExclusive,
            LockMode::AccessExclusive,
        ] {
            let seen = sight(&wants(mode), vec![autovacuum(VACUUM)], LookAge::Auto);
            assert!(seen.is_clear, "{mode:?}");
        }
        // What LOCK TABLE can't lock is asked for under the budget: that is too short for it.
        let mut set = wants(LockMode::AccessExclusive);
        set.wanted[0].lockable = false;
        let seen = sight(&set, vec![autovacuum(VACUUM)], ANY_AGE);
        assert!(!seen.is_clear);
        assert_eq!(seen.blockers.len(), 1, "{seen:?}");
        assert!(seen.readers.is_empty(), "{seen:?}");
    }

    #[test]
    fn a_fixed_look_age_is_that_of_the_oldest_who_is_asked_past() {
        let set = wants(LockMode::AccessExclusive);
        let second = LookAge::Fixed(Duration::from_secs(1));
        let older = HeldLock {
            pid: 4712,
            began_ms: Some(NOW - 1001),
            ..reader()
        };
        let unseen = HeldLock {
            began_ms: None,
            ..reader()
        };
        let is_clear = |locks: Vec<HeldLock>, look_age| sight(&set, locks, look_age).is_clear;
        assert!(is_clear(vec![reader()], second));
        assert!(!is_clear(vec![older.clone()], second));
        assert!(!is_clear(vec![reader(), older.clone()], second));
        assert!(is_clear(vec![reader(), older], ANY_AGE));
        assert!(!is_clear(vec![unseen], ANY_AGE));
        // By itself it is that of a table of which nothing is known.
        let new = HeldLock {
            began_ms: Some(NOW - 10),
            ..reader()
        };
        assert!(is_clear(vec![new], LookAge::Auto));
        assert!(!is_clear(vec![reader()], LookAge::Auto));
    }

    #[test]
    fn those_who_have_written_nothing_are_told_apart() {
        let idle = HeldLock {
            pid: 4712,
            state: "idle in transaction".to_owned(),
            began_ms: Some(NOW - 5000),
            ..reader()
        };
        let writer = HeldLock {
            pid: 4713,
            writes: true,
            ..reader()
        };
        let unseen = HeldLock {
            pid: 4714,
            began_ms: None,
            ..reader()
        };
        let set = wants(LockMode::AccessExclusive);
        let seen = sight(&set, vec![reader(), idle, writer, unseen], LookAge::Auto);
        let readers = seen.readers.iter();
        let found: Vec<_> = readers
            .map(|reader| (reader.pid, reader.age, reader.is_idle))
            .collect();
        let expected = [
            (4712, Duration::from_secs(5), true),
            (4711, Duration::from_secs(1), false),
        ];
        assert_eq!(found, expected);
        // The oldest first; whose age can't be seen counts as the oldest.
        let named = |pid: u32| format!("process {pid} (app, report, 10.0.0.1) holds ");
        for (line, pid) in seen.blockers.iter().zip([4714, 4712, 4711, 4713]) {
            assert!(line.starts_with(&named(pid)), "{line}");
        }
        assert_eq!(seen.blockers.len(), 4);
    }

    #[test]
    fn a_lock_that_stops_nobody_is_asked_for_past_clients_only() {
        let set = wants(LockMode::ShareUpdateExclusive);
        let vacuum = command("VACUUM t");
        assert!(sight(&set, vec![vacuum, reader()], LookAge::Auto).is_clear);
        for held in [command(BUILD), by_progress(), autovacuum(WRAPAROUND)] {
            let seen = sight(&set, vec![held], ANY_AGE);
            assert!(!seen.is_clear, "{seen:?}");
            assert!(seen.readers.is_empty(), "{seen:?}");
        }
    }

    #[test]
    fn who_waits_for_a_weak_lock_lets_others_pass() {
        let set = wants(LockMode::AccessExclusive);
        for (mode, is_clear) in [
            (LockMode::AccessShare, true),
            (LockMode::RowExclusive, true),
            (LockMode::ShareUpdateExclusive, false),
            (LockMode::AccessExclusive, false),
        ] {
            let waits = HeldLock {
                granted: false,
                mode,
                ..reader()
            };
            let seen = sight(&set, vec![waits], ANY_AGE);
            assert_eq!(seen.is_clear, is_clear, "{mode:?}");
        }
    }

    #[test]
    fn own_locks_and_those_on_something_else_are_not_in_the_way() {
        let set = wants(LockMode::AccessExclusive);
        let own = HeldLock { pid: 1, ..reader() };
        let elsewhere = HeldLock {
            database: 6,
            ..reader()
        };
        let other = HeldLock {
            relation: 8,
            ..reader()
        };
        assert!(sight(&set, vec![own, elsewhere, other], LookAge::Auto).is_clear);
        let shared = HeldLock {
            database: 0,
            ..reader()
        };
        assert!(!sight(&set, vec![shared], LookAge::Auto).is_clear);
        // Readers are in the way of what stops readers.
        let weaker = wants(LockMode::ShareRowExclusive);
        assert!(sight(&weaker, vec![reader()], LookAge::Auto).is_clear);
    }

    /// How long transactions last is learned of those that hold a lock and end by themselves.
    #[test]
    fn only_clients_that_hold_a_lock_tell_how_long_transactions_last() {
        let waits = HeldLock {
            pid: 4712,
            granted: false,
            mode: LockMode::AccessExclusive,
            ..reader()
        };
        let others = vec![
            waits,
            prepared(),
            command(BUILD),
            autovacuum(VACUUM),
            autovacuum(WRAPAROUND),
        ];
        let set = wants(LockMode::AccessExclusive);
        assert!(set.users(&snapshot(others)).is_empty());
        let reads = (4711, NOW - 1000);
        assert_eq!(set.users(&snapshot(vec![reader()])), [reads]);
    }
}
