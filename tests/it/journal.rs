//! lockkeeper's own database: who may do what there, what is written down, and what becomes of plans that lose their
//! client, their session or their lockkeeper.

use std::thread;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lockkeeper::config::{Config, OnFailure};
use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{Proxy, eventually, limited, place, start_server};
use crate::wire::{Wire, commands, q, sqlstate};

/// The journal's database.
const JOURNAL: &str = "lockkeeper";

fn journalling(config: &mut Config) {
    JOURNAL.clone_into(&mut config.operator.database);
    config.journal.takeover = Duration::from_secs(1);
    config.guard.small_table = ByteSize::b(0);
}

fn proxy(server: &TemporaryServer) -> Proxy {
    Proxy::start(server, |config, _| journalling(config))
}

/// A server with a table in it.
fn server_with_table() -> (TemporaryServer, Wire) {
    let server = start_server(|_| {});
    let mut direct = Wire::session(&place(&server), "postgres");
    direct.run("CREATE TABLE t (id int PRIMARY KEY, a int)");
    direct.run("INSERT INTO t SELECT n, n FROM generate_series(1, 1000) n");
    (server, direct)
}

fn journal(server: &TemporaryServer) -> Wire {
    Wire::session(&place(server), JOURNAL)
}

/// Outcomes of the statements whose text contains that, oldest first.
fn outcomes(server: &TemporaryServer, part: &str) -> String {
    let sql = format!(
        "SELECT coalesce(string_agg(coalesce(outcome, '?'), ' ' ORDER BY id), '') FROM lockkeeper.audit_log
         WHERE event ->> 'sql' LIKE '%{part}%'"
    );
    journal(server).value(&sql)
}

/// A transaction that holds up whatever waits for other transactions.
fn holder(server: &TemporaryServer) -> Wire {
    let mut holder = Wire::session(&place(server), "postgres");
    holder.run("BEGIN");
    holder.run("INSERT INTO t VALUES (2000, 0)");
    holder
}

fn until_it_builds(direct: &mut Wire, count: u32) {
    let building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE%INDEX CONC%' AND state = 'active'";
    eventually("the index is being built", || {
        direct.value(building) == count.to_string()
    });
}

#[test]
fn two_that_start_at_once_make_one_database_that_is_nobody_else_s() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        direct.run("CREATE ROLE somebody LOGIN");
        let proxies: Vec<Proxy> = thread::scope(|scope| {
            let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| proxy(&server))).collect();
            starting
                .into_iter()
                .map(|one| one.join().unwrap())
                .collect()
        });
        for (number, proxy) in proxies.iter().enumerate() {
            let sql = format!("ALTER TABLE t ADD COLUMN c{number} int");
            proxy.session("postgres").run(&sql);
        }
        let version = "SELECT obj_description('lockkeeper'::regnamespace)";
        assert!(journal(&server).value(version).ends_with("version 1"));
        assert_eq!(outcomes(&server, "ADD COLUMN c"), "done done done done");
        let may = "SELECT concat(has_database_privilege('somebody', 'lockkeeper', 'CONNECT'), has_database_privilege(
                   'somebody', 'lockkeeper', 'TEMPORARY'))";
        assert_eq!(direct.value(may), "ff");
    });
}

#[test]
fn an_operator_that_may_not_says_which_grants_it_needs() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        direct.run("CREATE ROLE looker LOGIN");
        direct.run("GRANT pg_monitor TO looker");
        let url = format!("postgres://looker@127.0.0.1:{}/postgres", server.port());
        let as_looker = |config: &mut Config, on_failure| {
            journalling(config);
            config.operator.url = Some(url.clone());
            config.audit.on_failure = on_failure;
        };
        let lenient = Proxy::start(&server, |config, _| as_looker(config, OnFailure::Continue));
        lenient
            .session("postgres")
            .run("ALTER TABLE t ADD COLUMN b int");
        let strict = Proxy::start(&server, |config, _| as_looker(config, OnFailure::Refuse));
        let mut wire = strict.session("postgres");
        let refused = wire.query("ALTER TABLE t ADD COLUMN c int");
        assert_eq!(sqlstate(&refused), "LK003");
        let told = refused
            .iter()
            .find(|frame| frame.tag == b'E')
            .unwrap()
            .field(b'M');
        for needle in [
            "CREATE DATABASE lockkeeper OWNER looker",
            "ALTER ROLE looker CREATEDB",
        ] {
            assert!(told.contains(needle), "{told}");
        }
        assert_eq!(wire.value("SELECT count(*) FROM t"), "1000");
        direct.run("CREATE DATABASE lockkeeper OWNER looker");
        eventually("it is made", || {
            sqlstate(&wire.query("ALTER TABLE t ADD COLUMN IF NOT EXISTS c int")).is_empty()
        });
        assert_eq!(journal(&server).value("SELECT current_database()"), JOURNAL);
    });
}

#[test]
fn what_others_own_in_the_database_is_refused() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        direct.run("CREATE ROLE looker LOGIN");
        direct.run("CREATE ROLE stranger LOGIN");
        direct.run("CREATE DATABASE lockkeeper OWNER looker");
        journal(&server).run("CREATE SCHEMA trap AUTHORIZATION stranger");
        let url = format!("postgres://looker@127.0.0.1:{}/postgres", server.port());
        let proxy = Proxy::start(&server, |config, _| {
            journalling(config);
            config.operator.url = Some(url);
        });
        let refused = proxy
            .session("postgres")
            .query("ALTER TABLE t ADD COLUMN b int");
        assert_eq!(sqlstate(&refused), "LK003");
        let told = refused
            .iter()
            .find(|frame| frame.tag == b'E')
            .unwrap()
            .field(b'M');
        assert!(told.contains("schema trap of stranger"), "{told}");
    });
}

#[test]
fn tables_of_a_newer_lockkeeper_are_left_alone() {
    limited(|| {
        let (server, _) = server_with_table();
        drop(
            proxy(&server)
                .session("postgres")
                .query("CREATE INDEX ON t (a)"),
        );
        journal(&server).run("COMMENT ON SCHEMA lockkeeper IS 'of a newer one, version 999'");
        let told = proxy(&server)
            .session("postgres")
            .query("ALTER TABLE t ADD COLUMN b int");
        assert_eq!(sqlstate(&told), "LK003");
    });
}

#[test]
fn the_same_statement_waits_for_the_first_one_s_outcome() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        let proxies = [proxy(&server), proxy(&server)];
        let mut blocker = holder(&server);
        let mut first = proxies[0].session("postgres");
        first.send(&q("CREATE INDEX t_a ON t (a)"));
        until_it_builds(&mut direct, 1);
        let mut others: Vec<Wire> = proxies.iter().map(|one| one.session("postgres")).collect();
        for other in &mut others {
            other.send(&q("CREATE  INDEX t_a\nON t (a);"));
            other.until_told("the same statement is at work already");
        }
        blocker.run("COMMIT");
        for wire in others.iter_mut().chain([&mut first]) {
            assert_eq!(commands(&wire.until_ready()), ["CREATE INDEX"]);
        }
        assert_eq!(
            direct.value("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass"),
            "2"
        );
        assert_eq!(outcomes(&server, "t_a"), "done done done");
        // It isn't at work any more: it is said again, and fails as PostgreSQL has it.
        assert_eq!(sqlstate(&first.query("CREATE INDEX t_a ON t (a)")), "42P07");
    });
}

#[test]
fn a_failure_is_everybody_s_and_a_cancel_is_not() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        direct.run("INSERT INTO t VALUES (3000, 1)");
        let proxy = proxy(&server);
        let mut blocker = holder(&server);
        let unique = "CREATE UNIQUE INDEX t_u ON t (a)";
        let mut wires = [proxy.session("postgres"), proxy.session("postgres")];
        wires[0].send(&q(unique));
        until_it_builds(&mut direct, 1);
        wires[1].send(&q(unique));
        wires[1].until_told("the same statement is at work already");
        blocker.run("COMMIT");
        for wire in &mut wires {
            assert_eq!(sqlstate(&wire.until_ready()), "23505");
        }
        let mut blocker = holder_of(&server, 4000);
        let plain = "CREATE INDEX t_p ON t (a)";
        wires[0].send(&q(plain));
        until_it_builds(&mut direct, 1);
        wires[1].send(&q(plain));
        wires[1].until_told("the same statement is at work already");
        let mut cancel = Wire::connect(proxy.place());
        cancel.send(&crate::wire::cancel_request(&wires[0].key));
        eventually("what it left is being dropped", || {
            let drops = "SELECT count(*) FROM pg_stat_activity
                         WHERE query LIKE 'DROP INDEX CONC%' AND state = 'active'";
            direct.value(drops) == "1"
        });
        blocker.run("COMMIT");
        assert_eq!(sqlstate(&wires[0].until_ready()), "57014");
        assert_eq!(commands(&wires[1].until_ready()), ["CREATE INDEX"]);
        eventually("both outcomes are written", || {
            outcomes(&server, "t_p") == "failed done"
        });
    });
}

fn holder_of(server: &TemporaryServer, id: u32) -> Wire {
    let mut holder = Wire::session(&place(server), "postgres");
    holder.run("BEGIN");
    holder.run(&format!("INSERT INTO t VALUES ({id}, 0)"));
    holder
}

#[test]
fn a_build_that_has_lost_its_client_goes_on_for_a_while() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        let proxy = Proxy::start(&server, |config, _| {
            journalling(config);
            config.plan.orphan_ttl = Duration::from_secs(3);
        });
        let index = "CREATE INDEX t_a ON t (a)";
        // Somebody sends it again: it is wanted, for as long as it takes.
        let mut blocker = holder(&server);
        let mut first = proxy.session("postgres");
        first.send(&q(index));
        until_it_builds(&mut direct, 1);
        drop(first);
        let mut second = proxy.session("postgres");
        second.send(&q(index));
        second.until_told("the same statement is at work already");
        thread::sleep(Duration::from_secs(4));
        until_it_builds(&mut direct, 1);
        blocker.run("COMMIT");
        assert_eq!(commands(&second.until_ready()), ["CREATE INDEX"]);
        assert_eq!(outcomes(&server, "t_a"), "done done");
        // Nobody does: it is cancelled, and what it left is dropped.
        direct.run("DROP INDEX t_a");
        let mut blocker = holder_of(&server, 5000);
        let mut third = proxy.session("postgres");
        third.send(&q(index));
        until_it_builds(&mut direct, 1);
        drop(third);
        let began = Instant::now();
        let building = "SELECT count(*) FROM pg_stat_activity
                        WHERE query LIKE 'CREATE%INDEX CONC%' AND state = 'active'";
        eventually("it is cancelled", || direct.value(building) == "0");
        assert!(
            began.elapsed() > Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        blocker.run("COMMIT");
        eventually("nothing is left", || {
            direct.value("SELECT count(*) FROM pg_class WHERE relname = 't_a'") == "0"
        });
        eventually("it is recorded", || {
            outcomes(&server, "t_a").ends_with("failed")
        });
    });
}

#[test]
fn a_session_that_is_terminated_leaves_nothing_half_done() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        let proxy = proxy(&server);
        let mut blocker = holder(&server);
        let mut wire = proxy.session("postgres");
        wire.send(&q("ALTER TABLE t ADD CONSTRAINT t_a_key UNIQUE (a)"));
        until_built(&mut direct);
        direct.run(&format!("SELECT pg_terminate_backend({})", wire.pid()));
        assert_eq!(sqlstate(&wire.until_end()), "57P01");
        blocker.run("COMMIT");
        eventually("it is taken back", || {
            direct.value("SELECT count(*) FROM pg_class WHERE relname = 't_a_key'") == "0"
        });
        eventually("it is recorded", || {
            outcomes(&server, "t_a_key") == "failed"
        });
        let event = "SELECT event ->> 'recovered' FROM lockkeeper.audit_log WHERE event ->> 'sql' LIKE '%t_a_key%'";
        assert_eq!(journal(&server).value(event), "true");
        assert_eq!(
            commands(
                &proxy
                    .session("postgres")
                    .query("ALTER TABLE t ADD UNIQUE (id)")
            ),
            ["ALTER TABLE"]
        );
    });
}

fn until_built(direct: &mut Wire) {
    let waits = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'";
    eventually("the build waits", || direct.value(waits) == "1");
}

#[test]
fn a_client_s_transaction_decides_and_a_lost_one_is_looked_up() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        let proxy = proxy(&server);
        let mut wire = proxy.session("postgres");
        wire.run("CREATE TABLE u (a int)"); // the journal is open by now
        wire.run("BEGIN");
        wire.run("CREATE TABLE kept ()");
        wire.run("SAVEPOINT s");
        wire.run("CREATE TABLE undone ()");
        wire.run("ROLLBACK TO s");
        wire.run("COMMIT");
        let all = |expected: &str| {
            eventually("it is recorded", || {
                let found = ["kept", "undone"].map(|part| outcomes(&server, part));
                found.join(", ") == expected
            });
        };
        all("committed, rolled back");
        // The reply to COMMIT is lost: whether it was done is asked of the server.
        direct.run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
                    AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END'",
        );
        direct.run("CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON u DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                    EXECUTE FUNCTION slow()");
        wire.run("BEGIN");
        wire.run("CREATE TABLE in_doubt ()");
        wire.run("INSERT INTO u VALUES (1)");
        let xid = "SELECT count(*) FROM lockkeeper.plan WHERE ended IS NULL AND plan #>> '{course,client,xid}' <> ''";
        eventually("its transaction is known", || {
            journal(&server).value(xid) == "1"
        });
        let pid = wire.pid();
        wire.send(&q("COMMIT"));
        crate::harness::until_asleep_on(&server, pid);
        drop(wire);
        eventually("it is recorded", || {
            outcomes(&server, "in_doubt") == "committed"
        });
        assert_eq!(
            direct.value("SELECT count(*) FROM pg_class WHERE relname = 'in_doubt'"),
            "1"
        );
    });
}

/// What is prepared is recorded when it is ended, from wherever that is done; and a COMMIT that fails is none.
#[test]
fn a_prepared_transaction_is_recorded_when_it_ends() {
    limited(|| {
        let server = start_server(|options| {
            let setting = ("max_prepared_transactions".to_owned(), "4".to_owned());
            options.settings.push(setting);
        });
        let proxy = proxy(&server);
        let mut wire = proxy.session("postgres");
        let mut direct = Wire::session(&place(&server), "postgres");
        eventually("the journal is made", || {
            let is_there = format!("SELECT count(*) FROM pg_database WHERE datname = '{JOURNAL}'");
            direct.value(&is_there) == "1"
        });
        wire.run("CREATE TABLE of (id int PRIMARY KEY)");
        eventually("it can be written", || {
            outcomes(&server, "TABLE of") == "done"
        });
        let xid = "SELECT count(*) FROM lockkeeper.plan WHERE ended IS NULL AND plan #>> '{course,client,xid}' <> ''";
        for (name, end, expected) in [
            ("kept", "COMMIT PREPARED", "committed"),
            ("undone", "ROLLBACK PREPARED", "rolled back"),
        ] {
            wire.run("BEGIN");
            wire.run(&format!("CREATE TABLE {name} ()"));
            eventually("its transaction is known", || {
                journal(&server).value(xid) == "1"
            });
            wire.run(&format!("PREPARE TRANSACTION '{name}'"));
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(outcomes(&server, &format!("TABLE {name}")), "?");
            // By somebody else, and the client lives.
            direct.run(&format!("{end} '{name}'"));
            eventually("it is recorded", || {
                outcomes(&server, &format!("TABLE {name}")) == expected
            });
            assert_eq!(wire.value("SELECT 1"), "1");
        }
        wire.run("BEGIN");
        wire.run("CREATE TABLE refers (id int REFERENCES of DEFERRABLE INITIALLY DEFERRED)");
        wire.run("INSERT INTO refers VALUES (7)");
        assert_eq!(sqlstate(&wire.query("COMMIT")), "23503");
        eventually("it is recorded", || {
            outcomes(&server, "TABLE refers") == "rolled back"
        });
    });
}

#[test]
fn what_a_role_began_waits_for_it_where_nobody_may_take_its_place() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        for sql in [
            "CREATE ROLE looker LOGIN",
            "GRANT pg_monitor, pg_signal_backend TO looker",
            "CREATE DATABASE lockkeeper OWNER looker",
            "CREATE ROLE app LOGIN",
            "ALTER TABLE t OWNER TO app",
            "GRANT CREATE ON SCHEMA public TO app",
        ] {
            direct.run(sql);
        }
        let url = format!("postgres://looker@127.0.0.1:{}/postgres", server.port());
        let proxy = Proxy::start(&server, |config, _| {
            journalling(config);
            config.operator.url = Some(url);
            config.console.readers = vec!["postgres".to_owned()];
        });
        let session = || {
            let mut wire = Wire::connect(proxy.place());
            wire.start(&[("user", "app"), ("database", "postgres")]);
            wire
        };
        let mut blocker = holder(&server);
        let mut wire = session();
        wire.send(&q("ALTER TABLE t ADD CONSTRAINT t_a_key UNIQUE (a)"));
        until_built(&mut direct);
        direct.run(&format!("SELECT pg_terminate_backend({})", wire.pid()));
        wire.until_end();
        blocker.run("COMMIT");
        let mut console = proxy.session("console");
        eventually("it is listed", || {
            let shown = console.query("SHOW PLANS");
            shown
                .iter()
                .any(|frame| frame.show().contains("GRANT app TO"))
        });
        let left = "SELECT count(*) FROM pg_class WHERE relname = 't_a_key'";
        assert_eq!(direct.value(left), "1");
        // Its role comes again, and changes something else: first of all what was begun is brought to its end.
        assert_eq!(
            commands(&session().query("ALTER TABLE t ADD COLUMN b int")),
            ["ALTER TABLE"]
        );
        assert_eq!(direct.value(left), "0");
        eventually("it is recorded", || {
            outcomes(&server, "t_a_key") == "failed"
        });
    });
}

#[test]
fn events_are_found_by_each_of_their_relations_and_forgotten_whole() {
    limited(|| {
        let (server, mut direct) = server_with_table();
        direct.run("CREATE TABLE child (id int, t int)");
        direct.run("CREATE TABLE other (id int)");
        let proxy = proxy(&server);
        let mut wire = proxy.session("postgres");
        wire.run("ALTER TABLE child ADD FOREIGN KEY (t) REFERENCES t");
        wire.run("DROP TABLE child, other");
        let upstream = format!("127.0.0.1:{}", server.port());
        let found = |name: &str| {
            let flags = [
                "audit",
                "--upstream",
                &upstream,
                "--format",
                "json",
                "--table",
                name,
            ];
            crate::program::lockkeeper(&flags).ok().lines().count()
        };
        // What a plan ends with is written behind its client's back.
        eventually("the last is found by its second relation", || {
            found("public.other") == 1
        });
        assert_eq!(
            [
                found("other"),
                found("public.t"),
                found("t"),
                found("child"),
                found("none")
            ],
            [1, 1, 1, 2, 0]
        );
        let mut own = journal(&server);
        let others = "SELECT count(DISTINCT audit) FROM lockkeeper.audit_relation";
        assert_eq!(own.value(others), "2");
        own.run("DELETE FROM lockkeeper.audit_log");
        assert_eq!(own.value(others), "0");
    });
}
