//! psql: its scripts, its way of copying, and Ctrl-C.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use super::{Target, assert_guarded, each_way, masked, script};
use crate::harness::{Killed, eventually, limited, postgres_program, run, value, wait};

fn psql(target: &Target, arguments: &[&str]) -> Command {
    let mut command = target.command(postgres_program("psql"));
    command.arg("-XAtq").args(arguments);
    command
}

/// What psql says, without what differs from run to run.
fn said(target: &Target, arguments: &[&str], input: &str) -> String {
    let said = run(&mut psql(target, arguments), input);
    let text = format!("{:?}\n{}{}", said.status.code(), said.out, said.err);
    let text = text.replace(&target.place.port().to_string(), "PORT");
    masked(
        &text.replace(target.files.path().to_str().unwrap(), ""),
        "PID ",
    )
}

#[test]
fn runs_a_script() {
    limited(|| {
        let path = script("psql.sql");
        let enforced = each_way(|target| said(target, &["-f", path.to_str().unwrap()], ""));
        let least = [
            ("CREATE INDEX", 5),
            ("DROP INDEX", 1),
            ("ALTER TABLE", 1),
            ("REINDEX", 1),
            ("TRUNCATE TABLE", 1),
        ];
        assert_guarded(&enforced, &least);
    });
}

#[test]
fn runs_single_commands() {
    limited(|| {
        let enforced = each_way(|target| {
            let file = target.files.path().join("changes.sql");
            fs::write(
                &file,
                "ALTER TABLE t ADD COLUMN b int;\nCREATE INDEX ON t(b);\nSELECT count(b) FROM t;\n",
            )
            .unwrap();
            let file = file.to_str().unwrap();
            let runs: &[&[&str]] = &[
                &[
                    "-c",
                    "CREATE TABLE t(a int)",
                    "-c",
                    "INSERT INTO t VALUES (1), (2)",
                ],
                &["-c", "SELECT count(*) FROM t; SELECT 1/0; SELECT 2"],
                &["-1", "-f", file],
                &["-1", "-f", file],
                &["-v", "ON_ERROR_STOP=1", "-f", file],
                &["-c", "\\d t", "-c", "CREATE INDEX ON t(a)", "-c", "\\di"],
                &[
                    "-c",
                    "ALTER TABLE t DROP COLUMN b",
                    "-f",
                    file,
                    "-c",
                    "TABLE t",
                ],
                &[
                    "-1",
                    "-c",
                    "TRUNCATE t",
                    "-c",
                    "SELECT 1/0",
                    "-c",
                    "DROP TABLE t",
                ],
                &["-c", "COPY t FROM STDIN", "-c", "TABLE t"],
                &["-c", "\\copy t(a) from pstdin", "-c", "TABLE t"],
                &["-v", "AUTOCOMMIT=off", "-c", "DROP TABLE t", "-c", "COMMIT"],
                &["-c", ""],
            ];
            let said = runs.iter().map(|run| said(target, run, "7\n8\n"));
            said.collect::<Vec<_>>().concat()
        });
        assert_guarded(&enforced, &[("CREATE INDEX", 2), ("ALTER TABLE", 2)]);
    });
}

#[test]
fn sends_long_texts() {
    limited(|| {
        let long = "long ".repeat(600_000);
        let script = format!(
            "CREATE TABLE t(a int DEFAULT length('{long}'));
            INSERT INTO t VALUES (DEFAULT), (length('{long}'));
            TABLE t;
            COMMENT ON TABLE t IS '{long}';
            SELECT length(obj_description('t'::regclass));
            /* {long} */ CREATE INDEX ON t(a); -- {long}
            SELECT 'a', '{long} {long} {long}' = 'b';
            \\di
            SELEC '{long}';
            SELECT 1;\n"
        );
        let enforced = each_way(|target| {
            let said = said(target, &[], &script);
            assert!(said.contains("t_a_idx"), "{said:.1000}");
            said.replace(&long, "long ")
        });
        assert_guarded(&enforced, &[("CREATE INDEX", 1)]);
    });
}

/// Runs a script that comes to `pg_sleep`, and presses Ctrl-C there.
fn interrupted(target: &Target, script: &str) -> String {
    let (out, err) = (
        target.files.path().join("out"),
        target.files.path().join("err"),
    );
    let file = target.files.path().join("script.sql");
    fs::write(&file, script).unwrap();
    let mut command = psql(target, &["-f", file.to_str().unwrap()]);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap());
    let mut psql = Killed(command.spawn().unwrap());
    let database = &target.database;
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'PgSleep'"
    );
    eventually("psql's statement sleeps", || {
        value("postgres", &asleep) == "1"
    });
    let pid = psql.0.id().to_string();
    run(Command::new("kill").args(["-INT", &pid]), "").ok();
    let status = wait(&mut psql, "psql");
    let err = fs::read_to_string(err)
        .unwrap()
        .replace(target.files.path().to_str().unwrap(), "");
    format!(
        "{:?}\n{}{err}",
        status.code(),
        fs::read_to_string(out).unwrap()
    )
}

#[test]
fn cancels_at_ctrl_c() {
    limited(|| {
        each_way(|target| {
            let scripts = [
                "SELECT 1;\nSELECT pg_sleep(600);\nSELECT 2;\n",
                "SELECT 1, pg_sleep(600) \\watch 1\nSELECT 2;\n",
                "BEGIN;\nCREATE TABLE t(a int);\nSELECT 1 \\; SELECT pg_sleep(600) \\; SELECT 2;\n",
                "\\copy (SELECT pg_sleep(600)) TO 'nowhere'\nSELECT 2;\n",
                "\\set FETCH_COUNT 10\nSELECT g, pg_sleep(g/25 * 600) FROM generate_series(1, 30) g;\n",
            ];
            let said = scripts.iter().map(|script| interrupted(target, script));
            said.collect::<Vec<_>>().concat()
        });
    });
}
