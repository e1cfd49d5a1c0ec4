//! Passwords in SQL: whatever way they come, nothing that lockkeeper writes or tells shows them.

use std::path::Path;

use lockkeeper::pg::temporary::TemporaryServer;
use serde_json::Value;

use crate::harness::{clean_command, eventually, limited, place, psql, start_server};
use crate::program::{PROGRAM, Program};
use crate::wire::{Frame, Wire, pbe, q, s, sqlstate};

/// What must be seen nowhere.
const SECRET: &str = "hunter2zq";

/// Statements that end well, with the words of them that are recorded.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "CREATE ROLE r LOGIN PASSWORD 'hunter2zq'",
        "CREATE ROLE r LOGIN PASSWORD '***'",
    ),
    (
        "alter role r/* hunter2zq */encrypted password\n'hunter2zq'",
        "alter role r encrypted password\n'***'",
    ),
    (
        "ALTER USER r PASSWORD E'hunter2zq\\''",
        "ALTER USER r PASSWORD '***'",
    ),
    (
        "ALTER ROLE r PASSWORD $a$hunter2zq$a$ -- hunter2zq",
        "ALTER ROLE r PASSWORD '***'",
    ),
    (
        "ALTER ROLE r PASSWORD U&'\\0068hunter2zq' VALID UNTIL 'infinity'",
        "ALTER ROLE r PASSWORD '***' VALID UNTIL",
    ),
    (
        "ALTER ROLE r PASSWORD 'a'\n  'hunter2zq'",
        "ALTER ROLE r PASSWORD '***'",
    ),
    (
        "ALTER ROLE r SET app.pin TO hunter2zq",
        "ALTER ROLE r SET app.pin TO '***'",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER w OPTIONS (a 'hunter2zq')",
        "CREATE FOREIGN DATA WRAPPER w OPTIONS (a '***')",
    ),
    (
        "CREATE SERVER v FOREIGN DATA WRAPPER w",
        "CREATE SERVER v FOREIGN DATA WRAPPER w",
    ),
    (
        "CREATE USER MAPPING FOR r SERVER v OPTIONS (user 'u', password 'hunter2zq')",
        "CREATE USER MAPPING FOR r SERVER v OPTIONS (user '***', password '***')",
    ),
    (
        "CREATE FOREIGN TABLE f (a int) SERVER v OPTIONS (table_name 'hunter2zq')",
        "CREATE FOREIGN TABLE f (a int)",
    ),
    (
        "ALTER FOREIGN TABLE f OPTIONS (ADD odd 'hunter2zq')",
        "ALTER FOREIGN TABLE f OPTIONS (ADD odd '***')",
    ),
    (
        "CREATE SUBSCRIPTION p CONNECTION 'host=h password=hunter2zq' PUBLICATION q WITH (connect = false)",
        "CREATE SUBSCRIPTION p CONNECTION '***' PUBLICATION q WITH (connect = false)",
    ),
    (
        "CREATE FUNCTION g() RETURNS void LANGUAGE sql AS $$ALTER ROLE r PASSWORD 'hunter2zq'$$",
        "CREATE FUNCTION g() RETURNS void LANGUAGE sql AS $$ALTER ROLE r PASSWORD '***'$$",
    ),
    (
        "COMMENT ON ROLE r IS 'postgres://r:hunter2zq@h/d'",
        "COMMENT ON ROLE r IS '***'",
    ),
];

/// Statements that fail, or aren't recorded.
const OTHERS: &[&str] = &[
    "ALTER SYSTEM SET primary_conninfo = 'password=hunter2zq'",
    "ALTER ROLE nobody PASSWORD 'hunter2zq'",
    "ALTER ROLE r PASSWORD hunter2zq",
    "ALTER ROLE r PASSWORD 'hunter2zq",
    "DO $$BEGIN ALTER ROLE r PASSWORD 'hunter2zq'; END$$",
    "DO $$BEGIN EXECUTE format('ALTER ROLE r PASSWORD %L', 'hunter2zq'); END$$",
    "SET app.pin = 'hunter2zq'",
    "SET lockkeeper.mode = 'password=hunter2zq'",
    "SET password_encryption = 'scram-sha-256'; ALTER ROLE r PASSWORD 'hunter2zq'",
    "DO $$BEGIN ALTER ROLE r PASSWORD 'hunter2zq'; END$$; CREATE TABLE IF NOT EXISTS x (a int)",
    "CREATE TABLE IF NOT EXISTS x (a int); SELECT 'host=h password=hunter2zq'::text",
    "PREPARE s AS SELECT 'postgres://u:hunter2zq@h'::text AS a INTO y",
    "EXECUTE s",
    "-- lockkeeper: allow drop-column: password=hunter2zq\nALTER TABLE x DROP COLUMN IF EXISTS z",
    "BEGIN; ALTER ROLE r PASSWORD 'hunter2zq'; COMMIT",
];

struct Seen {
    program: Program,
    audit: std::path::PathBuf,
    /// What clients were told, but rows.
    told: Vec<String>,
}

impl Seen {
    fn start(server: &TemporaryServer, directory: &Path) -> Seen {
        let audit = directory.join("audit.jsonl");
        let settings = directory.join("lockkeeper.toml");
        let text = format!(
            "[log]\nlevel = 'debug'\n[audit]\nfile = '{}'\n[console]\nadmins = ['postgres']\n",
            audit.display()
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = clean_command(PROGRAM);
        command.arg("serve").arg("--config").arg(&settings);
        let program = Program::start_as(command, server, &[]);
        Seen {
            program,
            audit,
            told: Vec::new(),
        }
    }

    fn note(&mut self, frames: &[Frame]) {
        // Where it can't read a text, the server itself repeats the place to whoever has sent it.
        let is_ours = |frame: &&Frame| frame.tag != b'D' && frame.field(b'R') != "scanner_yyerror";
        self.told
            .extend(frames.iter().filter(is_ours).map(Frame::show));
    }

    fn console(&mut self, command: &str) -> String {
        let (host, port) = (self.program.place.host(), self.program.place.port());
        let conninfo = format!("host={host} port={port} dbname=console user=postgres");
        let shown = psql(&conninfo, &["-c", command], "").ok();
        self.told.push(shown.clone());
        shown
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything that was written and told.
    fn assert_shows_no_secret(&self) {
        let metrics = self.program.get("/metrics").1;
        let audit = std::fs::read_to_string(&self.audit).unwrap();
        let log = self.program.whole_log();
        let all = self.told.iter().chain([&metrics, &audit, &log]);
        let lines = all.flat_map(|text| text.lines());
        let bad: Vec<&str> = lines.filter(|line| line.contains(SECRET)).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

#[test]
fn a_password_in_a_statement_is_shown_nowhere() {
    limited(|| {
        let server = start_server(|_| {});
        let directory = tempfile::tempdir().unwrap();
        let mut seen = Seen::start(&server, directory.path());
        let mut wire = seen.program.session();
        for is_extended in [false, true] {
            let frame = |sql: &str| match is_extended {
                true => [pbe(sql), s()].concat(),
                false => q(sql),
            };
            for (sql, _) in STATEMENTS {
                let frames = wire.ask(&frame(sql));
                assert_eq!(sqlstate(&frames), "", "{sql}: {frames:?}");
                seen.note(&frames);
            }
            for sql in OTHERS {
                let frames = wire.ask(&frame(sql));
                seen.note(&frames);
            }
            wire.run("BEGIN");
            seen.note(&wire.ask(&frame("ALTER ROLE r PASSWORD 'hunter2zq'")));
            wire.run("ROLLBACK");
            wire.run("ALTER SUBSCRIPTION p SET (slot_name = NONE)");
            wire.run("DROP SUBSCRIPTION p");
            wire.run("DROP FOREIGN DATA WRAPPER w CASCADE");
            wire.run("DROP FUNCTION g(); DROP TABLE IF EXISTS x, y; DROP ROLE r; DEALLOCATE ALL");
        }
        wire.run("CREATE TABLE the_end (a int)");
        eventually("the events are written", || {
            let events = seen.events();
            events
                .iter()
                .any(|event| event["sql"] == "CREATE TABLE the_end (a int)")
        });
        let events = seen.events();
        for (sql, recorded) in STATEMENTS {
            let is_it = |event: &&Value| {
                let found = event["sql"].as_str().unwrap_or_default();
                found.split_whitespace().eq(recorded.split_whitespace()) || found.contains(recorded)
            };
            assert!(
                events.iter().filter(is_it).count() >= 2,
                "{sql}: {events:#?}"
            );
        }
        seen.assert_shows_no_secret();
    });
}

#[test]
fn a_password_of_who_is_in_the_way_or_ahead_is_shown_nowhere() {
    limited(|| {
        let server = start_server(|_| {});
        let directory = tempfile::tempdir().unwrap();
        let mut seen = Seen::start(&server, directory.path());
        let mut holder = Wire::session(&place(&server), "postgres");
        holder.run("CREATE ROLE r; CREATE TABLE t (a int)");
        holder.run("BEGIN; LOCK TABLE t");
        holder.run("-- it's\nALTER ROLE r PASSWORD 'hunter2zq'");
        let mut first = seen.program.session();
        first.send(&q(
            "ALTER TABLE t ADD b int; ALTER ROLE r PASSWORD 'hunter2zq'",
        ));
        let told = first.until_told_all("waiting for a lock");
        seen.note(&told);
        eventually("it is seen what the plan waits for", || {
            seen.console("SHOW PLANS").contains("PASSWORD '***'")
                && seen.console("SHOW BLOCKERS").contains("ALTER ROLE")
        });
        let mut second = seen.program.session();
        second.send(&q("ALTER TABLE t ADD c int"));
        seen.note(&second.until_told_all("waiting"));
        seen.console("SHOW QUEUE");
        seen.console("SHOW PLANS");
        holder.run("COMMIT");
        for wire in [&mut first, &mut second] {
            let frames = wire.until_ready();
            assert_eq!(sqlstate(&frames), "", "{frames:?}");
            seen.note(&frames);
        }
        eventually("the events are written", || seen.events().len() >= 3);
        seen.assert_shows_no_secret();
    });
}
