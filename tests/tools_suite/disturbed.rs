//! What may happen to a deployment: another one at the same time, or that it is killed. On both sides, in the phase
//! `alter`; when it has been run again, everything is as after one undisturbed run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::difference::difference;
use crate::harness::{Proxy, eventually, place};
use crate::side::{Running, Side, direct_server, guarded_server, proxy};
use crate::snapshot::{Rows, data, invalid, schema};
use crate::variable;
use crate::wire::Wire;

/// The phase that is disturbed.
pub(crate) const PHASE: &str = "alter";
/// Tools that are disturbed every day, one of each kind: without any lock of its own and all in one transaction, with
/// an advisory lock and a transaction for each migration, and with a lock in a table.
const EVERY_DAY: &[&str] = &["psql", "rails", "knex"];
/// How often it is looked whether a tool is at work: it may be for a moment only.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How often a tool is killed.
const KILLS: usize = 2;
const ALL_KILLS: usize = 5;

/// Tools that write the ledger after the migration has committed: killed in between, they run it again, and that fails
/// whatever the server does. They aren't killed.
const FORGETFUL: &[&str] = &["laravel", "yoyo"];

/// What a tool that was killed leaves behind and waits for, and its users remove by a command of the tool's that does
/// this.
const UNLOCKS: &[(&str, &str)] = &[("knex", "UPDATE knex_migrations_lock SET is_locked = 0")];

/// Whether a tool is disturbed in this run of the tests.
pub(crate) fn is_wanted(tool: &str) -> bool {
    is_all() || EVERY_DAY.contains(&tool)
}

/// `LOCKKEEPER_TEST_CELLS` is `all`.
fn is_all() -> bool {
    variable("LOCKKEEPER_TEST_CELLS").is_some_and(|cells| cells == "all")
}

/// How often a tool is killed.
pub(crate) fn kills() -> usize {
    if is_all() { ALL_KILLS } else { KILLS }
}

/// Whether a tool may be killed at any moment.
pub(crate) fn remembers(tool: &str) -> bool {
    !FORGETFUL.contains(&tool)
}

/// The end that a run undisturbed comes to.
pub(crate) struct Undisturbed {
    schema: String,
    data: String,
    /// How long its sessions were there.
    pub(crate) took: Duration,
}

/// The databases in which the phase before has run, one on each server, and where the phase shall lead.
pub(crate) struct Prepared {
    tool: &'static str,
    template: String,
    copies: AtomicU64,
    pub(crate) undisturbed: Undisturbed,
}

impl Prepared {
    /// Makes them. `test` is a part of their names: several tests of a tool run at the same time.
    pub(crate) fn new(tool: &'static str, test: &str) -> Prepared {
        let template = format!("{tool}_{test}");
        for server in [direct_server(), guarded_server()] {
            let side = Side::new("directly", server, place(server), &template, None);
            side.ok(tool, "create");
            side.fill();
            until_alone(&side);
        }
        let copy = format!("{template}_0");
        let side = Side::new(
            "directly",
            direct_server(),
            place(direct_server()),
            &copy,
            Some(&template),
        );
        let mut running = Running::start(side.phase(tool, PHASE));
        let took = until_at_work(&side, &mut running).map(|()| Instant::now());
        assert!(running.wait("an undisturbed run"), "{tool}: {PHASE} fails");
        let took = took.map_or(Duration::ZERO, |since| since.elapsed());
        let undisturbed = Undisturbed {
            schema: schema(&side),
            data: data(&side, Rows::OfFill),
            took,
        };
        Prepared {
            tool,
            template,
            copies: AtomicU64::new(1),
            undisturbed,
        }
    }

    /// A new copy on each side.
    pub(crate) fn sides(&self, proxy: &Proxy) -> [Side; 2] {
        let name = format!(
            "{}_{}",
            self.template,
            self.copies.fetch_add(1, Ordering::Relaxed)
        );
        let template = Some(self.template.as_str());
        let (direct, guarded) = (direct_server(), guarded_server());
        [
            Side::new("directly", direct, place(direct), &name, template),
            Side::new(
                "through lockkeeper",
                guarded,
                proxy.place().clone(),
                &name,
                template,
            ),
        ]
    }

    /// A new copy, reached through a lockkeeper that is told later.
    pub(crate) fn side(&self, place: crate::wire::Place) -> Side {
        let name = format!(
            "{}_{}",
            self.template,
            self.copies.fetch_add(1, Ordering::Relaxed)
        );
        Side::new(
            "through lockkeeper",
            guarded_server(),
            place,
            &name,
            Some(&self.template),
        )
    }

    /// Runs the phase again, and compares with where it shall lead.
    pub(crate) fn run_again(&self, side: &Side, what: &str) {
        until_alone(side);
        if let Some((_, sql)) = UNLOCKS.iter().find(|(tool, _)| *tool == self.tool) {
            side.admin().run(sql);
        }
        side.ok(self.tool, PHASE);
        let at = format!("{}, {what}, {}", self.tool, side.name);
        assert_eq!(invalid(side), Vec::<String>::new(), "{at}");
        for (which, one, other) in [
            ("schema", &self.undisturbed.schema, &schema(side)),
            ("rows", &self.undisturbed.data, &data(side, Rows::OfFill)),
        ] {
            if let Some(how) = difference(one, other) {
                panic!("{at}: the {which} differs from that of an undisturbed run {how}");
            }
        }
    }
}

/// Whether a client's session is in the database, as somebody else there sees it.
fn is_anybody_there(admin: &mut Wire, condition: &str) -> bool {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
         AND backend_type = 'client backend' AND application_name NOT LIKE 'lockkeeper%' AND {condition}"
    );
    admin.value(&sql) != "0"
}

/// Waits until the tool has no session any more.
fn until_alone(side: &Side) {
    let mut admin = side.admin();
    eventually("the tool's sessions end", || {
        !is_anybody_there(&mut admin, "true")
    });
}

/// Waits until the tool is in a transaction; `None` if it ended before.
pub(crate) fn until_at_work(side: &Side, running: &mut Running) -> Option<()> {
    let mut admin = side.admin();
    loop {
        if is_anybody_there(&mut admin, "xact_start IS NOT NULL") {
            return Some(());
        }
        if running.has_ended() {
            return None;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// A moment within a time, another one each time (xorshift).
pub(crate) fn moment(within: Duration) -> Duration {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let seed = || variable("LOCKKEEPER_TEST_SEED").map_or(1, |seed| seed.parse::<u64>().unwrap());
    let next = |state: u64| {
        let mut state = if state == 0 {
            seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
        } else {
            state
        };
        state ^= state << 13;
        state ^= state >> 7;
        state ^ state << 17
    };
    let update = STATE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
        Some(next(state))
    });
    let number = next(update.unwrap());
    within.mul_f64(f64::from(u32::try_from(number % 1000).unwrap()) / 1000.0)
}

/// Two deployments begin at the same time. Whoever comes second may fail: most tools have no lock, and some refuse to
/// wait for it. What counts is where it ends.
pub(crate) fn two_at_once(tool: &'static str) {
    if !is_wanted(tool) {
        return;
    }
    let (proxy, prepared) = (proxy(), Prepared::new(tool, "two"));
    for side in prepared.sides(&proxy) {
        let other = tempfile::tempdir().unwrap();
        let mut second = side.phase(tool, PHASE);
        second.env("WORK", other.path());
        let runs = [
            Running::start(side.phase(tool, PHASE)),
            Running::start(second),
        ];
        let ends = runs.map(|run| run.wait("one of two"));
        println!("{tool}, two at once, {}: {ends:?}", side.name);
        assert!(
            ends.contains(&true),
            "{tool}, {}: both of two fail",
            side.name
        );
        prepared.run_again(&side, "two at once");
    }
}

/// The tool is killed while it works, and run again.
pub(crate) fn killed(tool: &'static str) {
    if !is_wanted(tool) || !remembers(tool) {
        return;
    }
    let (proxy, prepared) = (proxy(), Prepared::new(tool, "kill"));
    for _ in 0..kills() {
        for side in prepared.sides(&proxy) {
            let mut running = Running::start(side.phase(tool, PHASE));
            let after =
                until_at_work(&side, &mut running).map(|()| moment(prepared.undisturbed.took));
            thread::sleep(after.unwrap_or_default());
            let was_there = running.kill();
            println!(
                "{tool}, killed {after:?} after it began, {}: {was_there}",
                side.name
            );
            prepared.run_again(&side, "killed");
        }
    }
}
