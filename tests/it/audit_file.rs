//! The audit file as a chain: what programs leave there that are killed, have no room, or find it moved away, and what
//! `lockkeeper audit verify` says of it. And the history, from the file and from the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Proxy, Said, clean_command, database, eventually, limited, place, run, shared, unique,
};
use crate::program::{PROGRAM, Program, lockkeeper};
use crate::wire::{Wire, sqlstate};

/// A directory with an audit file.
struct Audited {
    directory: TempDir,
    path: PathBuf,
}

impl Audited {
    fn new() -> Audited {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        Audited { directory, path }
    }

    fn other(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program, writing there.
    fn start(&self) -> Program {
        let path = self.path.to_str().unwrap();
        Program::start_with(shared(), &[("AUDIT__FILE", path)])
    }
}

/// Makes and drops a table, so that two events are written.
fn two_events(wire: &mut Wire, path: &Path) {
    let name = format!("audited{}", unique());
    wire.run(&format!("CREATE TABLE {name}()"));
    wire.run(&format!("DROP TABLE {name}"));
    eventually("they are written", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n') && text.contains(&format!("DROP TABLE {name}\""))
    });
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn verify(files: &[&Path], more: &[&str]) -> Said {
    let files = files.iter().map(|path| path.to_str().unwrap());
    let arguments: Vec<&str> = ["audit", "verify"].into_iter().chain(files).collect();
    lockkeeper(&[&arguments[..], more].concat())
}

/// What it says; with this exit code.
#[track_caller]
fn verified(files: &[&Path], more: &[&str], code: i32) -> String {
    let said = verify(files, more);
    assert_eq!(said.status.code(), Some(code), "{}{}", said.out, said.err);
    said.out + &said.err
}

fn last_hash(path: &Path) -> String {
    let last = lines(path).pop().unwrap();
    last["hash"].as_str().unwrap().to_owned()
}

#[test]
fn rotated_files_verify_and_changed_ones_do_not() {
    limited(|| {
        let audited = Audited::new();
        let (path, moved) = (&audited.path, audited.other("audit.jsonl.1"));
        let mut program = audited.start();
        two_events(&mut program.session(), path);
        fs::rename(path, &moved).unwrap();
        program.signal("HUP");
        eventually("a new file is begun", || path.exists());
        two_events(&mut program.session(), path);
        program.signal("TERM");
        assert_eq!(program.ends_with(), Some(0));
        let all = verified(&[&moved, path], &[], 0);
        assert!(
            all.contains(&format!("last hash {}", last_hash(path))),
            "{all}"
        );
        assert!(!all.contains("no end event"), "{all}");
        let checkpoint = last_hash(&moved);
        verified(&[path], &["--from", &checkpoint], 0);
        verified(&[&moved, path], &["--from", &checkpoint], 0);
        let strange = "0123456789abcdef".repeat(4);
        let missed = verified(&[path], &["--from", &strange], 1);
        assert!(
            missed.contains("audit.jsonl:1: neither continues"),
            "{missed}"
        );
        let order = verified(&[path, &moved], &[], 1);
        assert!(order.contains("audit.jsonl.1:1: continues"), "{order}");
        let text = fs::read_to_string(path).unwrap();
        let doctored = audited.other("doctored");
        let name = doctored.display();
        let write = |text: &str| fs::write(&doctored, text).unwrap();
        write(&text.replacen("CREATE TABLE", "CREATE TABLES", 1));
        let changed = verified(&[&doctored], &[], 1);
        assert!(
            changed.contains(&format!("{name}:2: doesn't follow")),
            "{changed}"
        );
        let without: Vec<&str> = text
            .lines()
            .enumerate()
            .filter(|(at, _)| *at != 1)
            .map(|(_, line)| line)
            .collect();
        write(&(without.join("\n") + "\n"));
        let missing = verified(&[&doctored], &[], 1);
        assert!(
            missing.contains(&format!("{name}:2: doesn't follow")),
            "{missing}"
        );
        write("{\"sql\":\"x\"}\n");
        verified(&[&doctored], &[], 2);
        verified(&[Path::new("/no/such/file")], &[], 2);
        verified(&[path], &["--from", "abc"], 2);
        verified(&[], &[], 2);
    });
}

#[test]
fn a_killed_program_leaves_a_file_that_verifies_torn_line_and_all() {
    limited(|| {
        let audited = Audited::new();
        let path = &audited.path;
        let mut program = audited.start();
        two_events(&mut program.session(), path);
        program.process.0.kill().unwrap();
        program.process.0.wait().unwrap();
        let told = verified(&[path], &[], 0);
        assert!(told.contains("no end event"), "{told}");
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, &text.as_bytes()[..text.len() - 20]).unwrap();
        let told = verified(&[path], &[], 0);
        assert!(told.contains("1 torn"), "{told}");
        let mut program = audited.start();
        two_events(&mut program.session(), path);
        program.signal("TERM");
        assert_eq!(program.ends_with(), Some(0));
        let told = verified(&[path], &[], 0);
        let line = text.lines().count();
        assert!(
            told.contains(&format!("the first at {}:{line}", path.display())),
            "{told}"
        );
        let starts: Vec<Value> = lines(path)
            .into_iter()
            .filter(|line| line["event"] == "start")
            .collect();
        assert_eq!(starts.len(), 2);
        let torn = text.lines().last().unwrap().len() - 19;
        assert_eq!(starts[1]["torn_bytes"], torn);
    });
}

#[test]
fn two_programs_write_one_chain() {
    limited(|| {
        let audited = Audited::new();
        let path = &audited.path;
        let mut programs = [audited.start(), audited.start()];
        let mut sessions: Vec<Wire> = programs.iter().map(Program::session).collect();
        for _ in 0..3 {
            sessions
                .iter_mut()
                .for_each(|session| two_events(session, path));
        }
        drop(sessions);
        for program in &mut programs {
            program.signal("TERM");
            assert_eq!(program.ends_with(), Some(0));
        }
        assert_eq!(lines(path).len(), 2 + 12 + 2);
        verified(&[path], &[], 0);
    });
}

#[test]
fn what_a_full_disk_refuses_is_written_when_there_is_room() {
    limited(|| {
        let audited = Audited::new();
        let path = &audited.path;
        // A limit on the file's size stands for the disk's end: a write stops in the middle of a line.
        let mut command = clean_command("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", PROGRAM, "serve"]);
        let settings = [("AUDIT__FILE", path.to_str().unwrap())];
        let mut program = Program::start_as(command, shared(), &settings);
        let pid = Pid::from_raw(program.process.0.id().try_into().unwrap());
        let limit = |current| {
            let maximum = None;
            prlimit(pid, Resource::Fsize, Rlimit { current, maximum }).unwrap();
        };
        let mut wire = program.session();
        two_events(&mut wire, path);
        let before = fs::metadata(path).unwrap().len();
        limit(Some(before + 100));
        wire.run("CREATE TABLE no_room_for_it()");
        let refused = |fields: &Value| fields["file"].is_string();
        eventually("it is said", || {
            let log = program.log();
            log.iter().any(|fields| {
                refused(fields)
                    && fields["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("events wait"))
            })
        });
        eventually("nothing is left of the half line", || {
            fs::metadata(path).unwrap().len() == before
        });
        // Schema changes are refused meanwhile, and a transaction fails with them; all else goes on.
        let dropping = "DROP TABLE no_room_for_it";
        assert_eq!(sqlstate(&wire.query(dropping)), "LK003");
        assert_eq!(wire.value("SELECT 7"), "7");
        let mut other = program.session();
        other.run("BEGIN");
        assert_eq!(
            sqlstate(&other.query("CREATE TEMPORARY TABLE mine()")),
            "LK003"
        );
        assert_eq!(sqlstate(&other.query("SELECT 1")), "25P02");
        other.run("ROLLBACK");
        limit(None);
        program.until_logged("the audit file is written again", |_| true);
        wire.run(dropping);
        program.signal("TERM");
        assert_eq!(program.ends_with(), Some(0));
        let told = verified(&[path], &[], 0);
        assert!(!told.contains("torn"), "{told}");
        let of = |line: &Value| {
            line["sql"]
                .as_str()
                .is_some_and(|sql| sql.contains("no_room_for_it"))
        };
        let of_it: Vec<_> = lines(path).into_iter().filter(of).collect();
        let outcomes: Vec<_> = of_it.iter().map(|line| line["outcome"].as_str()).collect();
        assert_eq!(outcomes, [Some("done"), Some("failed"), Some("done")]);
    });
}

#[test]
fn the_history_is_read_from_a_file() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut wire = proxy.session(&database);
        wire.run("CREATE SCHEMA other");
        wire.run("CREATE TABLE orders()");
        wire.run("CREATE TABLE other.orders()");
        wire.run("CREATE TABLE customers()");
        let wrong = "ALTER TABLE customers ADD COLUMN a int";
        wire.run(wrong);
        wire.query(wrong);
        proxy.events();
        let path = proxy.directory().join("audit.jsonl");
        let path = path.to_str().unwrap();
        let history = |more: &[&str]| {
            let arguments = [&["audit", "--file", path, "--format", "json"][..], more].concat();
            let out = lockkeeper(&arguments).ok();
            out.lines()
                .map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["sql"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            history(&["--table", "Orders"]),
            ["CREATE TABLE orders()", "CREATE TABLE other.orders()"]
        );
        assert_eq!(
            history(&["--table", "other.orders"]),
            ["CREATE TABLE other.orders()"]
        );
        assert_eq!(
            history(&["--outcome", "failed", "--table", "customers"]),
            [wrong]
        );
        assert_eq!(history(&["--user", "nobody"]), [""; 0]);
        assert_eq!(history(&["--until", "1h"]), [""; 0]);
        assert_eq!(
            history(&["--since", "1h", "--table", "orders", "--limit", "1"]),
            ["CREATE TABLE other.orders()"]
        );
        let text = lockkeeper(&["audit", "--file", path, "--table", "orders"]).ok();
        assert!(
            text.contains(&format!("postgres@{database} CREATE TABLE")),
            "{text}"
        );
        for (flags, word) in [
            (&["--since", "yesterday"][..], "RFC 3339"),
            (&["--since", "1h", "--until", "2h"], "isn't before"),
            (&["--table", "a.b.c"], "as in SQL"),
            (&["--limit", "0"], "--limit"),
            (&["--file", "x", "--upstream", "y"], "--upstream"),
            (&["--file", "/no/such/file"], "/no/such/file"),
            (
                &["--file", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
                "isn't an audit file",
            ),
        ] {
            let said = lockkeeper(&[&["audit"], flags].concat());
            assert_eq!(said.status.code(), Some(2), "{flags:?}");
            assert!(said.err.contains(word), "{}", said.err);
        }
    });
}

/// The table as lockkeeper makes it in its own database.
const TABLE: &str = include_str!("../../src/journal/schema.sql");

/// Many events, most of one table and one role; a few of others, long ago.
const EVENTS: &str = "
INSERT INTO lockkeeper.audit_log (at, outcome, relations, event)
SELECT timestamptz '2026-01-01Z' + n * interval '1 minute',
  CASE WHEN n = 60000 THEN NULL WHEN n % 1000 = 7 THEN 'failed' ELSE 'done' END,
  CASE WHEN n = 5 THEN '{public.rare,rare,app.parent,parent}' WHEN n = 6 THEN '{app.rare,rare}'
    WHEN n % 30 = 0 THEN '{public.hot,hot,public.also,also}' ELSE '{public.hot,hot}' END::text[],
  jsonb_build_object('time', 'n' || n, 'user', CASE WHEN n < 9 THEN 'eve' ELSE 'bob' END, 'database', 'd', 'n', n)
FROM generate_series(1, 60000) n;
INSERT INTO lockkeeper.audit_relation (audit, at, name)
SELECT DISTINCT id, at, name FROM lockkeeper.audit_log, unnest(relations[3:]) name;
VACUUM ANALYZE lockkeeper.audit_log, lockkeeper.audit_relation";

/// Flags, and the numbers of the events that are found.
const QUESTIONS: &[(&str, &[u64])] = &[
    ("--limit 3", &[59_998, 59_999, 60_000]),
    ("--limit 2 --table hot", &[59_999, 60_000]),
    ("--limit 2 --table public.also", &[59_970, 60_000]),
    ("--limit 2 --table also --until 2026-01-02", &[1380, 1410]),
    ("--table rare", &[5, 6]),
    ("--table app.rare", &[6]),
    ("--table parent", &[5]),
    ("--table no_such", &[]),
    ("--user eve", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("--outcome running", &[60_000]),
    ("--outcome failed --limit 1", &[59_007]),
    ("--user eve --outcome failed", &[7]),
    (
        "--since 2026-01-01T00:02:00Z --until 2026-01-01T00:04:00Z",
        &[2, 3],
    ),
];

/// Rows of the table that were read so far, by any way.
const READ: &str = "SELECT sum(idx_tup_read) + (SELECT seq_tup_read FROM pg_stat_user_tables
    WHERE relname = 'audit_log') FROM pg_stat_user_indexes WHERE relname = 'audit_log'";

/// `lockkeeper audit` of a database on the shared server.
fn history_of(database: &str, more: &[&str]) -> Said {
    let upstream = format!("127.0.0.1:{}", shared().port());
    let mut command = clean_command(PROGRAM);
    command
        .args(["audit", "--upstream", &upstream, "--format", "json"])
        .args(more)
        .env("LOCKKEEPER__OPERATOR__DATABASE", database);
    run(&mut command, "")
}

#[test]
fn the_history_is_read_from_the_database_by_indexes() {
    limited(|| {
        let name = database();
        let mut wire = Wire::session(&place(shared()), &name);
        let statements = TABLE.split(';').chain(EVENTS.split(';'));
        for sql in statements.filter(|sql| !sql.trim().is_empty()) {
            wire.run(sql);
        }
        // What filling the tables has read is counted once their session has ended.
        drop(wire);
        std::thread::sleep(Duration::from_secs(2));
        let mut wire = Wire::session(&place(shared()), &name);
        let mut read_so_far = || -> u64 {
            std::thread::sleep(Duration::from_secs(1)); // until the counts of sessions that have ended are in
            wire.value(READ).parse().unwrap()
        };
        let before = read_so_far();
        for (flags, expected) in QUESTIONS {
            let flags: Vec<&str> = flags.split(' ').collect();
            let out = history_of(&name, &flags).ok();
            let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
            let numbers: Vec<u64> = out
                .lines()
                .map(|line| event(line)["n"].as_u64().unwrap())
                .collect();
            assert_eq!(numbers, *expected, "{flags:?}");
        }
        let many = read_so_far() - before;
        assert!((1..15_000).contains(&many), "{many} rows were read");
    });
}

#[test]
fn a_history_that_is_not_there_yet_is_no_history() {
    limited(|| {
        let name = database();
        for name in [&name, &format!("{name}_gone")] {
            let said = history_of(name, &[]);
            assert_eq!(said.status.code(), Some(2), "{}", said.out);
            assert!(said.err.contains("makes it at first use"), "{}", said.err);
        }
        let off = lockkeeper(&["audit", "--operator-url", ""]);
        assert_eq!(off.status.code(), Some(2));
        assert!(off.err.contains("--file"), "{}", off.err);
    });
}
