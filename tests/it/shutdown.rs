//! The program itself: signals, exit codes, settings that can't be used, and what it says over HTTP.

use std::io::Read;
use std::net::TcpStream;

use crate::harness::{
    clean_command, eventually, limited, place, run, shared, start_server, until_asleep,
    until_it_waits_for_its_lock, value,
};
use crate::program::{PROGRAM, Program, lockkeeper};
use crate::wire::{Place, Wire, commands, pbe, q, s, sqlstate, tags};

/// The session ends, for the reason that lockkeeper does.
fn assert_told(wire: &mut Wire) {
    let frames = wire.until_end();
    assert_eq!(
        (tags(&frames).as_str(), sqlstate(&frames).as_str()),
        ("E", "57P01")
    );
    assert!(frames[0].field(b'M').contains("lockkeeper"), "{frames:?}");
}

#[test]
fn sigterm_ends_idle_sessions_and_lets_transactions_finish() {
    limited(|| {
        let mut program = Program::start(shared());
        let mut idle = program.session();
        let mut busy = program.session();
        let mut in_query = program.session();
        busy.run("BEGIN");
        in_query.send(&q("SELECT pg_sleep(1), 'done'"));
        until_asleep(in_query.pid());
        program.signal("TERM");
        assert_told(&mut idle);
        assert_eq!(program.get("/ready").0, 503);
        assert_eq!(program.get("/live").0, 200);
        let Place::Tcp(address) = program.place else {
            panic!("TCP")
        };
        eventually("no client is accepted", || {
            match TcpStream::connect(address) {
                Err(_) => true,
                Ok(stream) => matches!((&stream).read(&mut [0]), Ok(0) | Err(_)),
            }
        });
        assert_eq!(tags(&in_query.until_ready()), "TDCZ");
        assert_told(&mut in_query);
        busy.run("SELECT 1");
        assert_eq!(commands(&busy.query("COMMIT")), ["COMMIT"]);
        assert_told(&mut busy);
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn sigterm_lets_a_pipeline_be_answered_to_its_end() {
    limited(|| {
        let mut program = Program::start(shared());
        let mut idle = program.session();
        let mut wire = program.session();
        wire.send(&[pbe("SELECT pg_sleep(1)"), s(), pbe("SELECT 2"), s()].concat());
        until_asleep(wire.pid());
        program.signal("TERM");
        assert_told(&mut idle);
        assert_eq!(tags(&wire.until_ready()), "12DCZ");
        assert_eq!(tags(&wire.until_ready()), "12DCZ");
        assert_told(&mut wire);
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn a_second_signal_closes_at_once_and_rolls_back() {
    limited(|| {
        let table = format!("second_signal_{}", std::process::id());
        let mut program = Program::start(shared());
        let mut idle = program.session();
        let mut busy = program.session();
        busy.run("BEGIN");
        busy.run(&format!("CREATE TABLE {table}(a int)"));
        program.signal("INT");
        assert_told(&mut idle);
        busy.run("SELECT 1");
        program.signal("TERM");
        assert_told(&mut busy);
        assert_eq!(program.ends_with(), Some(0));
        let sql = format!("SELECT count(*) FROM pg_class WHERE relname = '{table}'");
        assert_eq!(value("postgres", &sql), "0");
    });
}

#[test]
fn a_second_signal_ends_a_schema_change_that_waits() {
    limited(|| {
        let table = format!("waiting_{}", std::process::id());
        let mut holder = Wire::session(&place(shared()), "postgres");
        holder.run(&format!("CREATE TABLE {table}(a int)"));
        holder.run("BEGIN");
        holder.run(&format!("LOCK TABLE {table} IN ACCESS SHARE MODE"));
        let mut program = Program::start(shared());
        let mut idle = program.session();
        let mut wire = program.session();
        wire.send(&q(&format!("ALTER TABLE {table} ADD COLUMN b int")));
        until_it_waits_for_its_lock(wire.pid());
        program.signal("TERM");
        assert_told(&mut idle);
        program.signal("TERM");
        let frames = wire.until_end();
        assert_eq!(sqlstate(&frames), "57P01", "{frames:?}");
        assert_eq!(tags(&frames).replace('N', ""), "E", "{frames:?}");
        assert_eq!(program.ends_with(), Some(0));
        holder.run(&format!("COMMIT; DROP TABLE {table}"));
    });
}

#[test]
fn pages_and_health() {
    limited(|| {
        let server = start_server(|_| {});
        let mut program = Program::start(&server);
        let http = program.http.to_string();
        program.session().run("CREATE TEMPORARY TABLE t(a int)");
        assert_eq!(program.get("/live"), (200, "live\n".to_owned()));
        eventually("the operator is logged in", || {
            let (status, text) = program.get("/ready");
            assert_eq!(status, 200);
            assert!(text.starts_with("ready\n"), "{text}");
            text == "ready\noperator: logged in\njournal: open\n"
        });
        let (status, text) = program.get("/metrics");
        assert_eq!(status, 200);
        assert!(
            text.contains("\nlockkeeper_") && text.contains("# TYPE lockkeeper_"),
            "{text}"
        );
        assert_eq!(program.get("/elsewhere").0, 404);
        assert_eq!(
            lockkeeper(&["health", "--http", &http]).status.code(),
            Some(0)
        );
        server.stop_immediately().unwrap();
        let (status, text) = program.get("/ready");
        assert_eq!(status, 503);
        assert!(text.contains(&server.port().to_string()), "{text}");
        assert_eq!(program.get("/live").0, 200);
        program.signal("TERM");
        assert_eq!(program.ends_with(), Some(0));
        let said = lockkeeper(&["health", "--http", &http]);
        assert_eq!(said.status.code(), Some(1));
        assert!(said.err.contains(&http), "{said:?}");
    });
}

#[test]
fn settings_that_cannot_be_used() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lockkeeper.toml");
        let path = file.display().to_string();
        for (text, needle) in [
            ("[guard]\nmoed = 'enforce'", "`guard.mode`"),
            ("[guard]\nmode = 'obsereve'", "`observe`"),
            ("[locks]\nbudget = '1h'", "`locks.budget`"),
            ("[listen]\ntls = 'require'", "listen.certificate"),
            (
                "listen.address = '127.0.0.1:0'\nupstream = { tls = 'verify-full', ca = '/no/such.pem' }",
                "/no/such.pem",
            ),
            (
                "listen.address = '127.0.0.1:0'\naudit.file = '/no/such/audit'",
                "/no/such/audit",
            ),
            ("[log]\nlevel = 'what=ever=this'", "log.level"),
            (
                "[listen]\naddress = 'nowhere.invalid:1'",
                "nowhere.invalid:1",
            ),
            ("[listen", "TOML"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = lockkeeper(&["serve", "--config", &path, "--http", ""]);
            assert_eq!(said.status.code(), Some(2), "{text}: {said:?}");
            assert!(said.err.contains(needle), "{text}: {}", said.err);
            assert!(said.err.starts_with("lockkeeper: "), "{text}: {}", said.err);
        }
        let mut command = clean_command(PROGRAM);
        let said = run(
            command.arg("serve").env("LOCKKEEPER__GUARD__MODES", "off"),
            "",
        );
        assert_eq!(said.status.code(), Some(2));
        assert!(said.err.contains("`guard.mode`"), "{said:?}");
        assert_eq!(
            lockkeeper(&["serve", "--config", "/no/such"]).status.code(),
            Some(2)
        );
        assert_eq!(lockkeeper(&["sreve"]).status.code(), Some(2));
    });
}

#[test]
fn a_schema_change_that_was_missed_is_counted() {
    limited(|| {
        let server = start_server(|_| {});
        let program = Program::start(&server);
        let counted = || {
            let (_, page) = program.get("/metrics");
            let mut lines = page.lines();
            let line =
                lines.find(|line| line.starts_with("lockkeeper_unannounced_schema_changes_total"));
            line.map_or("0", |line| &line[line.len() - 1..]).to_owned()
        };
        let mut wire = program.session();
        wire.run("CREATE TABLE base(a int)");
        assert_eq!(counted(), "0");
        // A reload counts for the next statement, and is told after it: the one text that is read wrongly.
        let mut admin = Wire::session(&place(&server), "postgres");
        admin.run("ALTER SYSTEM SET standard_conforming_strings = off");
        admin.run("SELECT pg_reload_conf()");
        eventually("the server reads escapes", || {
            let frames = wire.query(r"SELECT 'a\' /* ' ; CREATE TABLE t(a int); -- */");
            commands(&frames).contains(&"CREATE TABLE".to_owned())
        });
        assert_eq!(counted(), "1");
    });
}
