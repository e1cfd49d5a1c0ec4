//! Interruptions of a schema change that waits: in the queue of its relations, for the one build of its database, for
//! old snapshots, for its lock. It ends at once, leaves nothing, and whoever comes next has its place.

use bytesize::ByteSize;

use crate::harness::{Proxy, database, eventually, limited, place, shared, until_it_has_waited};
use crate::wire::{Wire, cancel_request, commands, q, sqlstate};

/// A wait, and how one comes to it.
struct Wait {
    /// What a session at the server itself has open meanwhile.
    held: &'static str,
    /// What another session has sent through lockkeeper.
    ahead: Option<&'static str>,
    /// What waits.
    sql: &'static str,
    /// Its command tag.
    tag: &'static str,
}

const QUEUE: Wait = Wait {
    held: "SELECT FROM t LIMIT 1",
    ahead: Some("ALTER TABLE t ADD COLUMN first int"),
    sql: "ALTER TABLE t ADD COLUMN c int",
    tag: "ALTER TABLE",
};

const SLOT: Wait = Wait {
    held: "INSERT INTO u VALUES (1000, 0)",
    ahead: Some("CREATE INDEX u_a ON u (a)"),
    sql: "CREATE INDEX t_a ON t (a)",
    tag: "CREATE INDEX",
};

const SNAPSHOT: Wait = Wait {
    held: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM u",
    ahead: None,
    sql: "CREATE INDEX t_a ON t (a)",
    tag: "CREATE INDEX",
};

const LOCK: Wait = Wait {
    held: "SELECT FROM t LIMIT 1",
    ahead: None,
    sql: "ALTER TABLE t ADD COLUMN c int",
    tag: "ALTER TABLE",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Cancel,
    Timeout,
    ClientGone,
    Backend,
}

/// A database with two tables.
fn with_tables() -> (String, Wire) {
    let name = database();
    let mut direct = Wire::session(&place(shared()), &name);
    for table in ["t", "u"] {
        direct.run(&format!("CREATE TABLE {table} (id int PRIMARY KEY, a int)"));
        direct.run(&format!("INSERT INTO {table} VALUES (1, 1)"));
    }
    (name, direct)
}

fn until_gone(direct: &mut Wire, pid: u32) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("its session has ended", || direct.value(&sql) == "0");
}

/// Sends what waits, and interrupts it.
fn interrupted(proxy: &Proxy, database: &str, direct: &mut Wire, wait: &Wait, by: By) {
    let mut wire = proxy.session(database);
    wire.run("SET lock_timeout = '90s'");
    if by == By::Timeout {
        wire.run("SET statement_timeout = 1500");
    }
    let pid = wire.pid();
    wire.send(&q(wait.sql));
    if by != By::Timeout {
        until_it_has_waited(pid);
    }
    let expected = match by {
        By::ClientGone => {
            drop(wire);
            return until_gone(direct, pid);
        }
        By::Cancel => {
            let mut cancel = Wire::connect(proxy.place());
            cancel.send(&cancel_request(&wire.key));
            "canceling statement due to user request"
        }
        By::Timeout => "canceling statement due to statement timeout",
        By::Backend => {
            direct.run(&format!("SELECT pg_terminate_backend({pid})"));
            "terminating connection due to administrator command"
        }
    };
    if by == By::Backend {
        let frames = wire.until_end();
        assert_eq!(sqlstate(&frames), "57P01", "{by:?}: {frames:?}");
        return;
    }
    let frames = wire.until_ready();
    let told: Vec<String> = frames.iter().map(crate::wire::Frame::show).collect();
    assert_eq!(sqlstate(&frames), "57014", "{by:?}: {told:?}");
    assert!(told.concat().contains(expected), "{by:?}: {told:?}");
    assert_eq!(wire.value("SHOW lock_timeout"), "90s");
    let statement_timeout = if by == By::Timeout { "1500ms" } else { "0" };
    assert_eq!(wire.value("SHOW statement_timeout"), statement_timeout);
}

/// Interrupts a wait in every way; afterwards it is as if nothing had been sent.
fn each_interruption(wait: &Wait) {
    let proxy = Proxy::start(shared(), |config, _| {
        config.guard.small_table = ByteSize::b(0);
        config.builds.look_age = std::time::Duration::from_millis(1);
    });
    let (database, mut direct) = with_tables();
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid IN ('t'::regclass, 'u'::regclass) AND attnum > 0";
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass";
    let before = [direct.value(columns), direct.value(indexes)];
    let mut holder = Wire::session(&place(shared()), &database);
    holder.run("BEGIN");
    holder.run(wait.held);
    let mut ahead = wait.ahead.map(|sql| {
        let mut wire = proxy.session(&database);
        wire.send(&q(sql));
        let pid = wire.pid();
        let is_at_work = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}
             AND (query LIKE '%lockkeeper waits%' OR query LIKE 'CREATE INDEX CONCURRENTLY%')"
        );
        eventually("it is at work", || direct.value(&is_at_work) == "1");
        wire
    });
    for by in [By::Cancel, By::Timeout, By::ClientGone, By::Backend] {
        interrupted(&proxy, &database, &mut direct, wait, by);
        assert_eq!(
            [direct.value(columns), direct.value(indexes)],
            before,
            "{by:?}"
        );
    }
    let advisory = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
         WHERE l.locktype = 'advisory' AND d.datname = current_database()";
    assert_eq!(direct.value(advisory), "0");
    holder.run("COMMIT");
    if let Some(wire) = &mut ahead {
        let frames = wire.until_ready();
        assert_eq!(sqlstate(&frames), "", "{frames:?}");
    }
    let mut wire = proxy.session(&database);
    assert_eq!(commands(&wire.query(wait.sql)), [wait.tag]);
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND state LIKE 'idle in transaction%'";
    assert_eq!(direct.value(idle), "0");
}

#[test]
fn in_the_queue_of_its_relations() {
    limited(|| each_interruption(&QUEUE));
}

#[test]
fn for_the_one_build_of_its_database() {
    limited(|| each_interruption(&SLOT));
}

#[test]
fn for_old_snapshots() {
    limited(|| each_interruption(&SNAPSHOT));
}

#[test]
fn for_its_lock() {
    limited(|| each_interruption(&LOCK));
}
