//! What the pages say of the journal: whether it can be written, and what was finished for others.

use crate::harness::{eventually, limited, place, start_server};
use crate::program::Program;
use crate::wire::{Wire, sqlstate};

/// The value of a metric; `None` when it isn't there.
fn metric(program: &Program, name: &str) -> Option<String> {
    let page = program.get("/metrics").1;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(str::to_owned)
}

#[test]
fn the_pages_say_whether_it_can_be_written() {
    limited(|| {
        let server = start_server(|_| {});
        let mut admin = Wire::session(&place(&server), "postgres");
        admin.run("CREATE ROLE looker LOGIN; GRANT pg_monitor TO looker; CREATE TABLE t (a int)");
        let url = format!("postgres://looker@127.0.0.1:{}/postgres", server.port());
        let program = Program::start_with(&server, &[("OPERATOR__URL", &url)]);
        let until = |words: &str| {
            eventually(words, || {
                let (status, text) = program.get("/ready");
                assert_eq!(status, 200, "traffic is served all the same");
                text.contains(words)
            });
        };
        until(
            "journal: can't be written: database lockkeeper is missing and looker may not make it",
        );
        assert!(
            program
                .get("/ready")
                .1
                .contains("run CREATE DATABASE lockkeeper OWNER looker TEMPLATE template0")
        );
        assert_eq!(
            metric(&program, "lockkeeper_journal_ready").as_deref(),
            Some("0")
        );
        let refused = program.session().query("ALTER TABLE t ADD COLUMN b int");
        assert_eq!(sqlstate(&refused), "LK003");
        admin.run("ALTER ROLE looker CREATEDB");
        until("journal: open");
        assert_eq!(
            metric(&program, "lockkeeper_journal_ready").as_deref(),
            Some("1")
        );
        program.session().run("ALTER TABLE t ADD COLUMN b int");
        let mut own = Wire::session(&place(&server), "lockkeeper");
        own.run("ALTER SCHEMA lockkeeper RENAME TO elsewhere");
        let refused = program.session().query("ALTER TABLE t ADD COLUMN c int");
        assert_eq!(sqlstate(&refused), "LK003");
        until("journal: can't be written");
        assert_eq!(
            metric(&program, "lockkeeper_journal_ready").as_deref(),
            Some("0")
        );
        own.run("ALTER SCHEMA elsewhere RENAME TO lockkeeper");
        until("journal: open");

        let off = Program::start_with(&server, &[("OPERATOR__DATABASE", "")]);
        eventually("it is off", || {
            off.get("/ready").1.contains("journal: none (operator.url")
        });
        assert_eq!(
            metric(&off, "lockkeeper_journal_ready").as_deref(),
            Some("0")
        );
        let nobody = format!(
            "postgres://nobody_here@127.0.0.1:{}/postgres",
            server.port()
        );
        let nobody = Program::start_with(&server, &[("OPERATOR__URL", &nobody)]);
        eventually("there is none", || {
            nobody
                .get("/ready")
                .1
                .contains("journal: none: the operator can't log in")
        });
    });
}

#[test]
fn what_is_finished_for_others_is_counted() {
    limited(|| {
        let server = start_server(|_| {});
        let settings = [("JOURNAL__TAKEOVER", "500ms")];
        let killed = Program::start_with(&server, &settings);
        let mut client = killed.session();
        client.run("CREATE TABLE t (a int)");
        client.run("BEGIN");
        client.run("ALTER TABLE t ADD COLUMN b int");
        let mut own = Wire::session(&place(&server), "lockkeeper");
        eventually("its transaction is written down", || {
            const SQL: &str = "SELECT count(*) FROM lockkeeper.plan
                 WHERE ended IS NULL AND plan #>> '{course,client,xid}' IS NOT NULL";
            own.value(SQL) == "1"
        });
        drop(killed);
        let other = Program::start_with(&server, &settings);
        let counted = "lockkeeper_plans_recovered_total{outcome=\"rolled back\"}";
        eventually("it is counted", || {
            metric(&other, counted).as_deref() == Some("1")
        });
        let outcome = "SELECT outcome FROM lockkeeper.audit_log ORDER BY id DESC LIMIT 1";
        eventually("it is recorded", || own.value(outcome) == "rolled back");
    });
}
