//! Two lockkeepers in front of one server: they agree on who comes first and on who builds, as one does with itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{
    Proxy, database_on, eventually, limited, place, start_server, until_it_waits_for_its_lock_on,
};
use crate::wire::{Wire, column, commands, q};

/// How long after one statement has come to wait the next is sent, when their order is to be kept.
const APART: Duration = Duration::from_millis(150);
/// How long a reader holds a table, or it is looked whether somebody comes in between.
const HOLD: Duration = Duration::from_secs(1);
/// Far more than many small schema changes take when each starts as soon as it may, and far less than they take when
/// one of them waits until `locks.deadline` is over.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Two lockkeepers, a server of their own, and a database there.
struct Two {
    proxies: [Proxy; 2],
    server: TemporaryServer,
    database: String,
}

impl Two {
    /// With some small tables.
    fn new(tables: &[String]) -> Two {
        let server = start_server(|options| {
            let setting = ("autovacuum".to_owned(), "off".to_owned());
            options.settings.push(setting);
        });
        let proxy = || {
            Proxy::start(&server, |config, _| {
                config.operator.database = "lockkeeper".to_owned();
                config.guard.small_table = ByteSize::b(0);
            })
        };
        let database = with_tables(&server, tables);
        Two {
            proxies: [proxy(), proxy()],
            database,
            server,
        }
    }

    /// A session at the server itself.
    fn direct(&self) -> Wire {
        Wire::session(&place(&self.server), &self.database)
    }

    /// A session at the server itself that is in a transaction which has done something.
    fn open(&self, sql: &str) -> Wire {
        let mut wire = self.direct();
        wire.run("BEGIN");
        wire.run(sql);
        wire
    }

    /// A session through one of the two, by turns.
    fn session(&self, number: usize) -> Wire {
        self.proxies[number % 2].session(&self.database)
    }

    /// Looks all the time at a number that is to stay small; gives the largest when it is told to stop.
    fn look(&self, sql: String) -> Looking {
        let mut wire = self.direct();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut largest = 0;
            while !stop.load(Ordering::Relaxed) {
                largest = largest.max(wire.value(&sql).parse().unwrap());
            }
            largest
        });
        Looking { is_over, thread }
    }
}

/// Somebody who looks all the time.
struct Looking {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Looking {
    fn largest(self) -> u32 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn with_tables(server: &TemporaryServer, tables: &[String]) -> String {
    let database = database_on(server);
    let mut wire = Wire::session(&place(server), &database);
    for table in tables {
        wire.run(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, a int);
             INSERT INTO {table} SELECT g, g FROM generate_series(1, 100) g"
        ));
    }
    database
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Sessions that change a table or want to.
const AT_WORK: &str = "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 't'::regclass
     AND mode IN ('AccessExclusiveLock', 'ShareUpdateExclusiveLock')";

/// Has each change of a table hold it for long enough that others can meet it.
const SLOW: [&str; 2] = [
    "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql
     AS $$ BEGIN PERFORM pg_sleep(0.04); END $$",
    "CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION slow()",
];

const NEW_COLUMNS: &str = "
SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 2 ORDER BY attnum";

fn builds_in(database: &str) -> String {
    format!(
        "SELECT count(*) FROM pg_stat_progress_create_index
         WHERE datname = '{database}' AND command LIKE '%CONCURRENTLY'"
    )
}

#[test]
fn one_schema_change_of_a_table_at_a_time() {
    limited(|| {
        let two = Two::new(&names(&["t"]));
        for sql in SLOW {
            two.direct().run(sql);
        }
        let mut reader = two.open("SELECT FROM t LIMIT 1");
        let looking = two.look(AT_WORK.to_owned());
        let mut clients: Vec<Wire> = (0..12).map(|number| two.session(number)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&q(&format!("ALTER TABLE t ADD COLUMN c{number} int")));
        }
        thread::sleep(HOLD);
        reader.run("COMMIT");
        for client in &mut clients {
            assert_eq!(commands(&client.until_ready()), ["ALTER TABLE"]);
        }
        assert_eq!(looking.largest(), 1);
        assert_eq!(column(&two.direct().query(NEW_COLUMNS)).len(), 12);
    });
}

#[test]
fn first_come_first_served_through_either() {
    limited(|| {
        let two = Two::new(&names(&["t"]));
        let mut reader = two.open("SELECT FROM t LIMIT 1");
        let mut clients: Vec<Wire> = (0..8).map(|number| two.session(number)).collect();
        let mut sent = Vec::new();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&q(&format!("ALTER TABLE t ADD COLUMN c{number} int")));
            sent.push(format!("c{number}"));
            until_it_waits_for_its_lock_on(&two.server, client.pid());
            thread::sleep(APART);
        }
        reader.run("COMMIT");
        for client in &mut clients {
            assert_eq!(commands(&client.until_ready()), ["ALTER TABLE"]);
        }
        assert_eq!(column(&two.direct().query(NEW_COLUMNS)), sent);
    });
}

#[test]
fn one_build_of_a_database_at_a_time() {
    limited(|| {
        let tables = names(&["t", "u"]);
        let two = Two::new(&tables);
        let mut admin = two.direct();
        let mut writer = two.open("INSERT INTO t VALUES (1000, 0)");
        let looking = two.look(builds_in(&two.database));
        let (mut first, mut second) = (two.session(0), two.session(1));
        first.send(&q("CREATE INDEX t_a ON t (a)"));
        let under_way = builds_in(&two.database);
        eventually("the build is under way", || admin.value(&under_way) == "1");
        second.send(&q("CREATE INDEX u_a ON u (a)"));
        // Another database has a build of its own meanwhile, through the instance whose build waits here.
        let other = with_tables(&two.server, &tables);
        let mut other_writer = Wire::session(&place(&two.server), &other);
        other_writer.run("BEGIN");
        other_writer.run("INSERT INTO t VALUES (1000, 0)");
        let mut third = two.proxies[1].session(&other);
        third.send(&q("CREATE INDEX t_a ON t (a)"));
        let elsewhere = builds_in(&other);
        eventually("both databases build", || admin.value(&elsewhere) == "1");
        thread::sleep(HOLD);
        assert_eq!(admin.value(&under_way), "1");
        assert_eq!(admin.value("SELECT to_regclass('u_a') IS NULL"), "t");
        writer.run("COMMIT");
        other_writer.run("COMMIT");
        for client in [&mut first, &mut second, &mut third] {
            assert_eq!(commands(&client.until_ready()), ["CREATE INDEX"]);
        }
        assert_eq!(looking.largest(), 1);
    });
}

/// Three of each table, two of which build or read it through, and one of which needs another table as well, all in a
/// ring: nobody waits for somebody who waits for him.
#[test]
fn many_schema_changes_of_many_tables_are_all_done() {
    limited(|| {
        let tables: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
        let two = Two::new(&tables);
        let mut clients = Vec::new();
        for (number, table) in tables.iter().enumerate() {
            let next = &tables[(number + 1) % tables.len()];
            for (kind, sql) in [
                format!("ALTER TABLE {table} ADD COLUMN b int"),
                format!("CREATE INDEX ON {table} (a)"),
                format!("ALTER TABLE {table} ADD FOREIGN KEY (a) REFERENCES {next}"),
            ]
            .into_iter()
            .enumerate()
            {
                clients.push((two.session(number + kind), sql));
            }
        }
        let looking = two.look(builds_in(&two.database));
        let began = Instant::now();
        for (client, sql) in &mut clients {
            client.send(&q(sql));
        }
        for (client, sql) in &mut clients {
            let frames = client.until_ready();
            let words: Vec<&str> = sql.split(' ').take(2).collect();
            assert_eq!(commands(&frames), [words.join(" ")], "{sql}: {frames:?}");
        }
        let took = began.elapsed();
        assert!(took < AT_ONCE, "it took {took:?}");
        assert_eq!(looking.largest(), 1);
        drop(clients);
        let mut admin = two.direct();
        let here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        eventually("the sessions have ended", || admin.value(here) == "1");
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(admin.value(deadlocks), "0");
    });
}
