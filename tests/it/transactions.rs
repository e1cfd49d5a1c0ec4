//! Schema changes in the client's own transaction: what only changes the catalog is put off to its COMMIT, and nobody
//! could tell but by the locks.

use std::time::Duration;

use bytesize::ByteSize;

use crate::harness::{Proxy, database, limited, place, shared, start_server};
use crate::wire::{
    Wire, b, cancel_request, column, commands, d, e, h, p, pbe, q, s, sqlstate, tags,
};

/// A proxy to which every table is large, a database with tables, and a session in it through the proxy.
struct Setup {
    proxy: Proxy,
    database: String,
}

impl Setup {
    fn new() -> Setup {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize::b(0);
        });
        let database = database();
        Wire::session(&place(shared()), &database).run(
            "CREATE TABLE users (id int PRIMARY KEY, email text, age int);
             INSERT INTO users SELECT n, 'u' || n, n FROM generate_series(1, 100) n;
             CREATE TABLE ledger (version int);
             CREATE VIEW adults AS SELECT * FROM users WHERE age > 17",
        );
        Setup { proxy, database }
    }

    fn session(&self) -> Wire {
        self.proxy.session(&self.database)
    }

    fn direct(&self) -> Wire {
        Wire::session(&place(shared()), &self.database)
    }

    /// The modes of the locks that a session holds on `users`.
    fn locks(&self, pid: u32) -> String {
        self.direct().value(&format!(
            "SELECT coalesce(string_agg(DISTINCT mode, ' ' ORDER BY mode), '') FROM pg_locks
             WHERE pid = {pid} AND relation = 'users'::regclass"
        ))
    }

    /// The columns of `users`, as everybody sees them.
    fn columns(&self) -> String {
        self.direct().value(
            "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped",
        )
    }

    /// What was recorded: place, command and outcome.
    fn events(&self) -> Vec<String> {
        let events = self.proxy.events();
        let words = events.iter().map(|event| {
            let word = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", word("place"), word("tag"), word("outcome"))
        });
        words.collect()
    }
}

const ADD: &str = "ALTER TABLE users ADD COLUMN c int";
const WAS: &str = "id email age";
const IS: &str = "id email age c";

#[test]
fn what_only_changes_the_catalog_is_put_off() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        assert_eq!(tags(&wire.query(ADD)), "CZ");
        assert_eq!(setup.locks(wire.pid()), "");
        wire.run("INSERT INTO ledger VALUES (1)");
        wire.run("UPDATE ledger SET version = version + 1 WHERE version = 1");
        assert_eq!(setup.locks(wire.pid()), "");
        assert_eq!(setup.columns(), WAS);
        assert_eq!(commands(&wire.query("COMMIT")), ["COMMIT"]);
        assert_eq!(setup.columns(), IS);
        assert_eq!(wire.value("SELECT version FROM ledger"), "2");
        assert_eq!(setup.events(), ["late ALTER TABLE committed"]);
    });
}

#[test]
fn a_rollback_forgets_it_and_so_does_one_to_a_savepoint() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        assert_eq!(commands(&wire.query("ROLLBACK")), ["ROLLBACK"]);
        wire.run("BEGIN");
        wire.run("SAVEPOINT a");
        wire.run("ALTER TABLE users ADD COLUMN d int");
        wire.run("ROLLBACK TO a");
        wire.run(ADD);
        wire.run("RELEASE a");
        wire.run("COMMIT");
        assert_eq!(setup.columns(), IS);
        assert_eq!(
            setup.events(),
            [
                "late ALTER TABLE rolled back",
                "late ALTER TABLE rolled back",
                "late ALTER TABLE committed"
            ]
        );
    });
}

#[test]
fn what_could_notice_finds_it_done() {
    limited(|| {
        let setup = Setup::new();
        for (sql, expected) in [
            ("SELECT count(c) FROM users", "0"),
            ("SELECT count(*) FROM adults", "83"),
            (
                "SELECT count(*) FROM pg_attribute WHERE attname = 'c' AND attrelid = 'users'::regclass",
                "1",
            ),
            ("UPDATE users SET c = 7 WHERE id = 1 RETURNING c", "7"),
        ] {
            let mut wire = setup.session();
            wire.run("BEGIN");
            wire.run(ADD);
            assert_eq!(wire.value(sql), expected, "{sql}");
            assert!(
                setup.locks(wire.pid()).contains("AccessExclusiveLock"),
                "{sql}"
            );
            wire.run("ROLLBACK");
            assert_eq!(setup.columns(), WAS);
        }
    });
}

#[test]
fn several_are_run_in_their_order() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        for sql in [
            ADD,
            "ALTER TABLE users ALTER COLUMN c SET DEFAULT 5",
            "ALTER TABLE users RENAME COLUMN c TO d",
            "ALTER TABLE users RENAME TO people",
            "ALTER TABLE people DROP COLUMN age CASCADE",
        ] {
            assert_eq!(tags(&wire.query(sql)).replace('N', ""), "CZ", "{sql}");
        }
        wire.run("INSERT INTO ledger VALUES (1)");
        assert_eq!(commands(&wire.query("COMMIT")), ["COMMIT"]);
        assert_eq!(
            setup.direct().value(
                "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = 'people'::regclass AND attnum > 0 AND NOT attisdropped"
            ),
            "id email d"
        );
    });
}

#[test]
fn what_the_server_refuses_is_refused_at_once() {
    limited(|| {
        let setup = Setup::new();
        for (sql, expected) in [
            ("ALTER TABLE users ADD COLUMN email text", "42701"),
            ("ALTER TABLE users DROP COLUMN nothing", "42703"),
            ("ALTER TABLE nothing ADD COLUMN a int", "42P01"),
            ("ALTER TABLE users ADD COLUMN a nothing", "42704"),
        ] {
            let mut wire = setup.session();
            wire.run("BEGIN");
            wire.run(ADD);
            assert_eq!(sqlstate(&wire.query(sql)), expected, "{sql}");
            assert_eq!(sqlstate(&wire.query("SELECT 1")), "25P02", "{sql}");
            assert_eq!(commands(&wire.query("COMMIT")), ["ROLLBACK"], "{sql}");
            assert_eq!(setup.columns(), WAS);
        }
    });
}

#[test]
fn an_error_at_commit_rolls_back_and_says_so() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        wire.run("INSERT INTO ledger VALUES (1)");
        setup.direct().run(ADD); // somebody else was faster
        let frames = wire.query("COMMIT");
        assert_eq!(sqlstate(&frames), "42701");
        let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
        assert!(
            error.field(b'D').contains("rolled back"),
            "{}",
            error.show()
        );
        assert_eq!(wire.value("SELECT count(*) FROM ledger"), "0");
        wire.run("BEGIN");
        wire.run("INSERT INTO ledger VALUES (1)");
        wire.run("COMMIT");
        assert_eq!(setup.events(), ["late ALTER TABLE rolled back"]);
    });
}

#[test]
fn the_extended_protocol_does_the_same() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        // As asyncpg does: prepared, described, flushed; then run.
        wire.run("BEGIN");
        wire.send(&[p("a", ADD), d(b'S', "a"), h()].concat());
        assert_eq!(
            tags(&wire.ask(&[b("", "a", &[]), e("", 0), s()].concat())),
            "1tn2CZ"
        );
        assert_eq!(setup.locks(wire.pid()), "");
        let insert = [
            p("", "INSERT INTO ledger VALUES (1)"),
            b("", "", &[]),
            e("", 0),
            s(),
        ];
        assert_eq!(tags(&wire.ask(&insert.concat())), "12CZ");
        assert_eq!(setup.columns(), WAS);
        let frames = wire.ask(&[pbe("COMMIT"), s()].concat());
        assert_eq!(commands(&frames), ["COMMIT"]);
        assert_eq!(setup.columns(), IS);
        // As pgjdbc does: COMMIT is prepared once and run often.
        wire.ask(&[p("S_1", "COMMIT"), s()].concat());
        wire.run("BEGIN");
        let drop = "ALTER TABLE users DROP COLUMN c";
        let frames = wire.ask(&[p("", drop), b("", "", &[]), d(b'P', ""), e("", 0), s()].concat());
        assert_eq!(tags(&frames), "12nCZ");
        assert_eq!(setup.columns(), IS);
        let frames = wire.ask(&[b("", "S_1", &[]), e("", 1), s()].concat());
        assert_eq!(tags(&frames), "2CZ");
        assert_eq!(setup.columns(), WAS);
        // Something that would notice, in one batch, parsed before the column is there.
        wire.run("BEGIN");
        wire.ask(&[pbe(ADD), s()].concat());
        let frames = wire.ask(&[pbe("SELECT count(c) FROM users"), s()].concat());
        assert_eq!(column(&frames), ["0"]);
        wire.run("ROLLBACK");
        // As pgjdbc begins: BEGIN in front of the first statement, in one batch.
        let frames = wire.ask(&[pbe("BEGIN"), pbe(ADD), s()].concat());
        assert_eq!(tags(&frames), "12C12CZ");
        assert_eq!(setup.locks(wire.pid()), "");
        let frames = wire.ask(&[pbe("COMMIT"), s()].concat());
        assert_eq!(commands(&frames), ["COMMIT"]);
        assert_eq!(setup.columns(), IS);
    });
}

#[test]
fn nobody_waits_behind_it_while_the_transaction_is_open() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        let mut other = setup.session();
        other.run("SET lock_timeout = '100ms'");
        other.run("INSERT INTO users VALUES (1000, 'x', 1)");
        // A reader that stays is waited for at the end, with nobody behind.
        let mut reader = setup.direct();
        reader.run("BEGIN");
        reader.run("SELECT count(*) FROM users");
        wire.send(&q("COMMIT"));
        std::thread::sleep(Duration::from_millis(500));
        other.run("UPDATE users SET age = 5 WHERE id = 1000");
        reader.run("COMMIT");
        assert_eq!(commands(&wire.until_ready()), ["COMMIT"]);
        assert_eq!(setup.columns(), IS);
    });
}

/// As dbmate, sqlx and others do: the whole file in one Query, within a transaction.
#[test]
fn a_string_of_statements_is_taken_apart() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        let frames = wire.query(
            "ALTER TABLE users ADD COLUMN c int; CREATE TABLE more (a int); INSERT INTO more VALUES (1), (2);
             -- and so on
             ALTER TABLE users ADD COLUMN d int",
        );
        assert_eq!(tags(&frames), "CCCCZ");
        assert_eq!(
            commands(&frames),
            ["ALTER TABLE", "CREATE TABLE", "INSERT 0 2", "ALTER TABLE"]
        );
        assert_eq!(setup.locks(wire.pid()), "");
        wire.run("INSERT INTO ledger VALUES (1)");
        wire.run("COMMIT");
        assert_eq!(setup.columns(), "id email age c d");
        assert_eq!(
            setup.events(),
            [
                "late ALTER TABLE committed",
                "- CREATE TABLE committed",
                "late ALTER TABLE committed"
            ]
        );
    });
}

#[test]
fn an_error_in_a_string_stands_where_the_server_would_see_it() {
    limited(|| {
        let setup = Setup::new();
        for sql in [
            "ALTER TABLE users ADD COLUMN c int; SELECT nothing FROM ledger; SELECT 1",
            "ALTER TABLE users ADD COLUMN c int;\n  ALTER TABLE users ADD COLUMN d nothing; SELECT 1",
            "SELECT 'ö'; ALTER TABLE users ADD COLUMN c int; SELECT c, nothing FROM users",
        ] {
            let play = |mut wire: Wire| {
                wire.run("BEGIN");
                let frames = wire.query(sql);
                let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
                let fields = [error.field(b'C'), error.field(b'M'), error.field(b'P')];
                let answer = (tags(&frames), fields, commands(&frames));
                (answer, commands(&wire.query("COMMIT")))
            };
            assert_eq!(play(setup.session()), play(setup.direct()), "{sql}");
            assert_eq!(setup.columns(), WAS);
        }
    });
}

/// What works on the table's rows has no later place: it runs at once, when its locks can be had, and what could be put
/// off runs before it.
#[test]
fn what_works_for_long_runs_at_once() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        assert_eq!(
            commands(&wire.query("CREATE INDEX users_c ON users (c)")),
            ["CREATE INDEX"]
        );
        assert!(setup.locks(wire.pid()).contains("ShareLock"));
        wire.run("COMMIT");
        assert_eq!(setup.columns(), IS);
        assert_eq!(
            setup.events(),
            [
                "late ALTER TABLE committed",
                "inside CREATE INDEX committed"
            ]
        );
    });
}

/// Who has a strong lock waits for no other.
#[test]
fn behind_a_strong_lock_nothing_is_waited_for() {
    limited(|| {
        let setup = Setup::new();
        setup
            .direct()
            .run("CREATE TABLE orders (id int, total int)");
        let mut reader = setup.direct();
        reader.run("BEGIN");
        reader.run("SELECT count(*) FROM orders");
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        wire.run("UPDATE users SET c = 1");
        // Put off, as any other; and then there is no waiting.
        wire.run("ALTER TABLE orders ADD COLUMN c int");
        assert_eq!(sqlstate(&wire.query("COMMIT")), "55P03");
        assert_eq!(wire.value("SELECT count(*) FROM ledger"), "0");
        assert_eq!(setup.columns(), WAS);
    });
}

/// A transaction that sits on its locks while others wait for them fails, and says why.
#[test]
fn who_holds_others_up_for_too_long_fails() {
    limited(|| {
        let mut setup = Setup::new();
        setup.proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize::b(0);
            config.locks.max_hold = Duration::from_millis(500);
        });
        for (sql, expected) in [("COMMIT", "55P03"), ("SELECT 1", "55P03"), ("ROLLBACK", "")] {
            let mut wire = setup.session();
            wire.run("BEGIN");
            wire.run(ADD);
            wire.run("UPDATE users SET c = 1");
            // Nobody waits, and nothing happens.
            std::thread::sleep(Duration::from_secs(1));
            wire.run("UPDATE users SET c = 2");
            let mut other = setup.session();
            other.run("UPDATE users SET age = 1 WHERE id = 1"); // waits until the locks are gone
            assert_eq!(setup.locks(wire.pid()), "");
            let frames = wire.query(sql);
            assert_eq!(sqlstate(&frames), expected, "{sql}: {frames:?}");
            wire.query("ROLLBACK");
            assert_eq!(wire.value("SELECT 2"), "2");
            assert_eq!(setup.columns(), WAS);
        }
    });
}

/// The client's own timeouts for an idle transaction don't count while it is held, and do afterwards.
#[test]
fn timeouts_of_an_idle_transaction_wait_while_it_is_held() {
    limited(|| {
        let setup = Setup::new();
        let mut reader = setup.direct();
        reader.run("BEGIN");
        reader.run("SELECT count(*) FROM users");
        let mut wire = setup.session();
        wire.run("SET idle_in_transaction_session_timeout = '300ms'");
        wire.run("BEGIN");
        wire.run(ADD);
        wire.send(&q("COMMIT"));
        std::thread::sleep(Duration::from_secs(2));
        reader.run("COMMIT");
        assert_eq!(commands(&wire.until_ready()), ["COMMIT"]);
        wire.run("BEGIN");
        wire.run("ALTER TABLE users DROP COLUMN c");
        assert_eq!(
            wire.value("SHOW idle_in_transaction_session_timeout"),
            "300ms"
        );
        assert_eq!(wire.value("SHOW lock_timeout"), "0");
        std::thread::sleep(Duration::from_secs(1));
        wire.send(&q("SELECT 1"));
        assert_eq!(sqlstate(&wire.until_end()), "25P03");
    });
}

/// A COMMIT that waits for its locks can be cancelled: then nothing of the transaction is left.
#[test]
fn a_commit_that_waits_can_be_cancelled() {
    limited(|| {
        let setup = Setup::new();
        let mut reader = setup.direct();
        reader.run("BEGIN");
        reader.run("SELECT count(*) FROM users");
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run("INSERT INTO ledger VALUES (1)");
        wire.run(ADD);
        wire.send(&q("COMMIT"));
        wire.until_told_that_it_waits();
        let mut cancel = Wire::connect(setup.proxy.place());
        cancel.send(&cancel_request(&wire.key));
        cancel.until_end();
        assert_eq!(sqlstate(&wire.until_ready()), "57014");
        assert_eq!(wire.value("SELECT count(*) FROM ledger"), "0");
        reader.run("COMMIT");
        assert_eq!(setup.columns(), WAS);
    });
}

/// What isn't guarded in a transaction has what is put off run before it.
#[test]
fn prepared_and_unguarded_schema_changes_find_it_done() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("PREPARE copy AS SELECT 1");
        wire.run("BEGIN");
        wire.run(ADD);
        wire.run("CREATE VIEW of_it AS SELECT c FROM users");
        wire.run("COMMIT");
        wire.run("BEGIN");
        wire.run("ALTER TABLE users ADD COLUMN d int");
        wire.run("EXECUTE copy");
        wire.run("CREATE TEMPORARY TABLE kept AS SELECT * FROM adults");
        assert!(setup.locks(wire.pid()).contains("AccessExclusiveLock"));
        wire.run("CREATE TEMPORARY TABLE kept_too AS SELECT d FROM users");
        wire.run("SET LOCAL lockkeeper.mode = 'observe'");
        wire.run("ALTER TABLE users ADD COLUMN e int");
        wire.run("COMMIT");
        assert_eq!(setup.columns(), "id email age c d e");
    });
}

/// What would hold its lock for too long, and has a safe form outside the transaction, is refused before anything ran.
#[test]
fn what_would_take_too_long_is_refused_with_the_recipe() {
    limited(|| {
        let mut setup = Setup::new();
        setup.proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize::b(0);
            config.guard.scan_rate = ByteSize::b(1000);
        });
        let mut wire = setup.session();
        wire.run("BEGIN");
        let frames = wire.query("CREATE INDEX ON users (email)");
        assert_eq!(sqlstate(&frames), "LK004");
        let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
        assert!(
            error.field(b'D').contains("CONCURRENTLY"),
            "{}",
            error.show()
        );
        assert!(
            error.field(b'H').contains("atomic = False"),
            "{}",
            error.show()
        );
        assert_eq!(commands(&wire.query("COMMIT")), ["ROLLBACK"]);
        assert_eq!(setup.events(), ["- CREATE INDEX refused"]);
    });
}

/// A build in a transaction that others wait for is cancelled, and the transaction fails with it.
#[test]
fn a_build_that_holds_others_up_is_cancelled() {
    limited(|| {
        let mut setup = Setup::new();
        setup.proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize::b(0);
            config.locks.max_hold = Duration::from_millis(500);
        });
        setup.direct().run(
            "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
             AS 'BEGIN PERFORM pg_sleep(0.1); RETURN $1; END'",
        );
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.send(&q("CREATE INDEX slow_one ON users (slow(age))"));
        crate::harness::until_asleep(wire.pid());
        let mut other = setup.session();
        other.run("UPDATE users SET age = 1 WHERE id = 1");
        assert_eq!(sqlstate(&wire.until_ready()), "55P03");
        assert_eq!(commands(&wire.query("COMMIT")), ["ROLLBACK"]);
        assert_eq!(
            setup
                .direct()
                .value("SELECT to_regclass('slow_one') IS NULL"),
            "t"
        );
    });
}

/// What is put off isn't forgotten when the transaction is prepared instead of committed.
#[test]
fn a_prepared_transaction_has_it_done() {
    limited(|| {
        let server = start_server(|options| {
            let setting = ("max_prepared_transactions".to_owned(), "4".to_owned());
            options.settings.push(setting);
        });
        let proxy = Proxy::start(&server, |config, _| {
            config.guard.small_table = ByteSize::b(0);
        });
        let mut wire = proxy.session("postgres");
        wire.run("CREATE TABLE users (id int)");
        for prepare in [
            q("PREPARE TRANSACTION 'x'"),
            [pbe("PREPARE TRANSACTION 'x'"), s()].concat(),
        ] {
            wire.run("BEGIN");
            wire.run("ALTER TABLE users ADD COLUMN c int");
            assert_eq!(commands(&wire.ask(&prepare)), ["PREPARE TRANSACTION"]);
            wire.run("COMMIT PREPARED 'x'");
            assert_eq!(wire.value("SELECT count(c) FROM users"), "0");
            wire.run("ALTER TABLE users DROP COLUMN c");
        }
    });
}

/// What was put off before a savepoint stays, though it ran behind it.
#[test]
fn what_ran_behind_a_savepoint_is_put_off_again() {
    limited(|| {
        let setup = Setup::new();
        let mut wire = setup.session();
        wire.run("BEGIN");
        wire.run(ADD);
        wire.run("SAVEPOINT a");
        assert_eq!(wire.value("SELECT count(c) FROM users"), "0");
        wire.run("ROLLBACK TO a");
        wire.run("COMMIT");
        assert_eq!(setup.columns(), IS);
    });
}
