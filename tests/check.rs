//! `lockkeeper check`, `rules` and `explain`: the real program over the scripts of `tests/check`, every format, every
//! exit code, with a server and without. `LOCKKEEPER_UPDATE=1` writes the expected outputs and the pages of
//! `docs/rules`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use lockkeeper::rules::RULES;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lockkeeper");

/// What the program said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The program, in the folder of the scripts, without variables of whoever runs the tests.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PG") || name.starts_with("LOCKKEEPER") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(here("tests/check"));
    command
}

fn run(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()); // a program that reads none of it has closed its end
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn check(arguments: &[&str]) -> Said {
    run(&mut program(&[&["check"], arguments].concat()), "")
}

fn json(said: &Said) -> Vec<Value> {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn updates() -> bool {
    std::env::var_os("LOCKKEEPER_UPDATE").is_some()
}

/// Compares with a file of `tests/check`, or writes it.
fn expect(name: &str, said: &Said) {
    let file = here("tests/check").join(name);
    let shown = format!("{}exit {}\n", said.out, said.code);
    if updates() {
        std::fs::write(&file, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(shown, expected, "{name}: LOCKKEEPER_UPDATE=1 writes it");
}

#[test]
fn reports_are_as_expected() {
    expect("script.text", &check(&["script.sql"]));
    expect("script.json", &check(&["--format", "json", "script.sql"]));
    expect(
        "script.github",
        &check(&["--format", "github", "script.sql"]),
    );
    expect("dynamic.text", &check(&["dynamic.sql"]));
    expect("broken.text", &check(&["broken.sql"]));
    expect(
        "broken.github",
        &check(&["--format", "github", "broken.sql"]),
    );
    expect("migrations.text", &check(&["migrations"]));
}

#[test]
fn every_exit_code() {
    for (arguments, code) in [
        (&["harmless.sql"][..], 0),
        (&["script.sql"], 0),
        (&["--fail-on", "reject", "script.sql"], 0),
        (&["--fail-on", "rewrite", "script.sql"], 1),
        (&["--fail-on", "rewrite", "harmless.sql"], 0),
        (&["migrations"], 1),
        (&["migrations/V2__events.sql"], 0),
        (&["broken.sql"], 2),
        (&["migrations", "broken.sql"], 2),
        (&["missing.sql"], 2),
        (&["harmless.sql", "missing.sql"], 2),
        (&["*.nothing"], 2),
        (&["--format", "yaml", "harmless.sql"], 2),
        (&["--pg-version", "9", "harmless.sql"], 2),
        (&["--config", "missing.toml", "harmless.sql"], 2),
        (&["--database-url", "nonsense", "harmless.sql"], 2),
    ] {
        for format in ["text", "json", "sarif", "github"] {
            let mut arguments = arguments.to_vec();
            if !arguments.contains(&"--format") {
                arguments.extend(["--format", format]);
            }
            let said = check(&arguments);
            assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        }
    }
}

#[test]
fn scripts_come_from_files_folders_patterns_and_standard_input() {
    let files = |arguments: &[&str]| -> Vec<String> {
        let rows = json(&check(&[&["--format", "json"], arguments].concat()));
        let mut files: Vec<String> = rows
            .iter()
            .map(|row| row["file"].as_str().unwrap().to_owned())
            .collect();
        files.dedup();
        files
    };
    let migrations = ["migrations/V2__events.sql", "migrations/V10__type.sql"];
    assert_eq!(files(&["migrations"]), migrations);
    assert_eq!(files(&["migrations/*.sql"]), migrations);
    assert_eq!(
        files(&["harmless.sql", "migrations/V2*"]),
        ["harmless.sql", migrations[0]]
    );
    for arguments in [
        &["check", "--format", "json", "-"][..],
        &["check", "--format", "json"],
    ] {
        let said = run(
            &mut program(arguments),
            "\n\n  CREATE INDEX ON users (a); SELECT 1",
        );
        let rows = json(&said);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0]["file"].as_str(), rows[0]["line"].as_u64()),
            (Some("-"), Some(3))
        );
        assert_eq!(rows[0]["verdict"], "rewrite");
        assert_eq!(rows[1]["verdict"], "pass");
    }
}

#[test]
fn json_has_one_object_for_each_statement() {
    let rows = json(&check(&["--format", "json", "script.sql"]));
    let keys = [
        "file",
        "line",
        "sql",
        "verdict",
        "rules",
        "locks",
        "table_rewrite",
        "table_scan",
        "index_build",
        "plan",
        "message",
    ];
    for row in &rows {
        let own: BTreeSet<&str> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(own, keys.into_iter().collect());
        let is_rewrite = row["verdict"] == "rewrite";
        assert_eq!(
            row["plan"].as_array().unwrap().is_empty(),
            !is_rewrite,
            "{row}"
        );
    }
    let build = rows.iter().find(|row| row["line"] == 12).unwrap();
    assert_eq!(
        build["sql"],
        "CREATE INDEX users_email_idx\n    ON users (email)"
    );
    assert_eq!(build["plan"][0]["lock"], "ShareUpdateExclusiveLock");
    assert!(
        build["message"]
            .as_str()
            .unwrap()
            .contains("in this transaction block (begun in line 11)")
    );
}

const LEVELS: [&str; 4] = ["none", "note", "warning", "error"];

fn is_sarif_result(result: &Value, ids: &[&str]) {
    assert!(LEVELS.contains(&result["level"].as_str().unwrap()));
    assert!(
        !result["message"]["text"].as_str().unwrap().is_empty(),
        "{result}"
    );
    if let Some(index) = result["ruleIndex"].as_u64() {
        assert_eq!(result["ruleId"], ids[usize::try_from(index).unwrap()]);
    }
    let place = &result["locations"][0]["physicalLocation"];
    assert!(
        !place["artifactLocation"]["uri"]
            .as_str()
            .unwrap()
            .contains([' ', '\\'])
    );
    let region = &place["region"];
    assert!(region["startLine"].as_u64().unwrap() >= 1);
    assert!(region["endLine"].as_u64() >= region["startLine"].as_u64());
}

#[test]
fn sarif_is_well_formed() {
    let said = check(&[
        "--format",
        "sarif",
        "script.sql",
        "migrations",
        "broken.sql",
    ]);
    assert_eq!(said.code, 2);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["version"], "2.1.0");
    assert!(
        report["$schema"]
            .as_str()
            .unwrap()
            .ends_with("sarif-schema-2.1.0.json")
    );
    let run = &report["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "lockkeeper");
    let rules = driver["rules"].as_array().unwrap();
    let ids: Vec<&str> = rules
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, RULES.iter().map(|rule| rule.name).collect::<Vec<_>>());
    for rule in rules {
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string());
        assert!(rule["helpUri"].as_str().unwrap().starts_with("https://"));
        assert!(LEVELS.contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.iter().any(|result| result["level"] == "error"));
    assert!(results.iter().any(|result| result["level"] == "warning"));
    results
        .iter()
        .for_each(|result| is_sarif_result(result, &ids));
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    let notifications = invocation["toolExecutionNotifications"].as_array().unwrap();
    let error = notifications
        .iter()
        .find(|one| one["level"] == "error")
        .unwrap();
    assert!(
        error["message"]["text"]
            .as_str()
            .unwrap()
            .contains("syntax error")
    );
    assert_eq!(
        error["locations"][0]["physicalLocation"]["region"]["startLine"],
        2
    );
}

#[test]
fn annotations_are_one_line_each() {
    let said = check(&[
        "--format",
        "github",
        "script.sql",
        "migrations",
        "broken.sql",
    ]);
    let annotations: Vec<&str> = said
        .out
        .lines()
        .filter(|line| line.starts_with("::"))
        .collect();
    assert!(
        annotations
            .iter()
            .any(|line| line.starts_with("::error file=broken.sql,line=2,"))
    );
    assert!(
        annotations
            .iter()
            .any(|line| line.starts_with("::error file=migrations/V10__type.sql,line=3,"))
    );
    assert!(
        annotations
            .iter()
            .any(|line| line.starts_with("::warning file=script.sql,line=12,"))
    );
    assert_eq!(
        said.out.lines().count(),
        annotations.len() + 1,
        "{}",
        said.out
    );
}

#[test]
fn a_policy_and_a_small_table_count() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockkeeper.toml");
    std::fs::write(&file, "[policy]\nrules = { no-such-rule = 'allow' }").unwrap();
    let said = check(&["--config", file.to_str().unwrap(), "harmless.sql"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("no-such-rule"), "{said:?}");
}

#[test]
fn the_worst_case_is_mentioned_once() {
    for format in ["text", "json", "sarif", "github"] {
        let said = check(&["--format", format, "script.sql", "migrations"]);
        let both = format!("{}{}", said.out, said.err);
        assert_eq!(
            both.matches("taken for the worst").count(),
            1,
            "{format}: {both}"
        );
    }
}

/// A server with a large table (in this server's eyes), a small one and a partitioned one.
fn server() -> &'static TemporaryServer {
    static SERVER: OnceLock<TemporaryServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let binaries = find_binaries().unwrap_or_else(|| panic!("{HOW_TO_GET}"));
        let server = TemporaryServer::start(&Options::new(binaries)).unwrap();
        let psql = |sql: &str| {
            let status = Command::new(server.binaries().join("psql"))
                .args(["-qX", "-h", "127.0.0.1", "-U", "postgres", "-p"])
                .arg(server.port().to_string())
                .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
                .status()
                .unwrap();
            assert!(status.success(), "{sql}");
        };
        psql(
            "CREATE TABLE large AS SELECT i AS id, repeat('x', 100) AS t FROM generate_series(1, 50000) i; \
             CREATE TABLE small (id int); \
             CREATE TABLE parted (id int) PARTITION BY LIST (id); \
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); \
             INSERT INTO parted SELECT 1 FROM generate_series(1, 100000)",
        );
        server
    })
}

fn url(user: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{}/postgres", server().port())
}

#[test]
fn a_servers_facts_count() {
    let script = "CREATE INDEX ON large (t); CREATE INDEX ON small (id); CREATE INDEX ON parted (id); \
                  ALTER TABLE large ALTER COLUMN id TYPE bigint; CREATE TABLE fresh (a int); \
                  CREATE INDEX ON fresh (a); DROP TABLE small; BEGIN; CREATE TABLE gone (a int); ROLLBACK; \
                  CREATE INDEX ON gone (a);";
    let url = url("postgres");
    let arguments = ["check", "--format", "json", "--database-url", &url, "-"];
    let said = run(&mut program(&arguments), script);
    let rows = json(&said);
    let verdict = |needle: &str| {
        let row = rows
            .iter()
            .find(|row| row["sql"].as_str().unwrap().contains(needle));
        row.unwrap()["verdict"].as_str().unwrap()
    };
    assert_eq!(verdict("ON large"), "rewrite");
    assert_eq!(verdict("ON small"), "pass");
    assert_eq!(verdict("ON parted"), "rewrite");
    assert_eq!(verdict("TYPE bigint"), "reject");
    assert_eq!(verdict("ON fresh"), "pass");
    assert_eq!(verdict("ON gone"), "pass");
    assert_eq!(said.code, 1);
    assert!(!said.err.contains("taken for the worst"), "{}", said.err);
    let text = run(
        &mut program(&["check", "--database-url", &url, "-"]),
        script,
    );
    assert!(text.out.contains("public.large: "), "{}", text.out);
    // It has asked, and changed nothing.
    let tables = Command::new(server().binaries().join("psql"))
        .args(["-AtX", "-h", "127.0.0.1", "-U", "postgres", "-p"])
        .arg(server().port().to_string())
        .args(["-c", "SELECT count(*) FROM pg_class WHERE relname IN ('fresh', 'small', 'gone', 'large_t_idx')"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(tables.stdout).unwrap().trim(), "1");
}

/// The verdicts of a script's statements that mention `the_`.
fn verdicts(url: Option<&str>, script: &str) -> Vec<String> {
    let mut arguments = vec!["check", "--format", "json"];
    arguments.extend(url.iter().flat_map(|url| ["--database-url", url]));
    arguments.push("-");
    let said = run(&mut program(&arguments), script);
    let rows = json(&said).into_iter();
    let rows = rows.filter(|row| row["sql"].as_str().unwrap().contains("the_"));
    rows.map(|row| row["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn names_are_found_where_the_script_looks() {
    let make = "CREATE SCHEMA IF NOT EXISTS far; CREATE TABLE IF NOT EXISTS far.big AS \
                SELECT i AS a, repeat('x', 100) AS b FROM generate_series(1, 20000) i; DROP INDEX IF EXISTS far.big_a;";
    let psql = server().binaries().join("psql");
    let made = Command::new(psql)
        .args(["-qX", "-h", "127.0.0.1", "-U", "postgres", "-p"])
        .arg(server().port().to_string())
        .args(["-c", make])
        .status();
    assert!(made.unwrap().success());
    let url = url("postgres");
    let index = "CREATE INDEX the_index ON big (a);";
    for (script, verdict) in [
        (format!("SET search_path = far; {index}"), "rewrite"),
        (format!("SET search_path TO nosuch, far; {index}"), "rewrite"),
        (format!("BEGIN; SET LOCAL search_path = far; COMMIT; {index}"), "pass"), // there is none
        (format!("SET search_path = far; RESET ALL; {index}"), "pass"),
        (format!("SET search_path = far; BEGIN; RESET search_path; ROLLBACK; {index}"), "rewrite"),
        ("CREATE TABLE IF NOT EXISTS far.big (a int); CREATE INDEX the_index ON far.big (a);".to_owned(), "rewrite"),
        ("DROP TABLE far.big; CREATE TABLE far.big (a int); CREATE INDEX the_index ON far.big (a);".to_owned(), "pass"),
        ("ALTER TABLE far.big SET SCHEMA public; CREATE INDEX the_index ON public.big (a);".to_owned(), "rewrite"),
        ("CREATE INDEX big_a ON far.big (a); DROP INDEX far.big_a; \
             CREATE INDEX big_a ON far.big (a /* the_ */);".to_owned(),
            "rewrite"),
    ] {
        assert_eq!(verdicts(Some(&url), &script), [verdict], "{script}");
    }
}

#[test]
fn what_a_script_leaves_unsaid_is_the_worst() {
    for (script, verdict) in [
        ("REINDEX TABLE the_table", "rewrite"),
        ("REINDEX SYSTEM the_database", "reject"),
        (
            "ALTER TABLE the_table VALIDATE CONSTRAINT c, ADD COLUMN z int",
            "rewrite",
        ),
        (
            "ALTER TABLE the_table ADD PRIMARY KEY USING INDEX i",
            "rewrite",
        ),
        ("ALTER TABLE the_table SET LOGGED", "reject"),
        ("ALTER TABLE the_table ADD COLUMN z int NOT NULL", "reject"),
        (
            "BEGIN; ALTER TABLE x ADD COLUMN z int; PREPARE TRANSACTION 'the_name'",
            "reject",
        ),
        ("BEGIN; SELECT 1; PREPARE TRANSACTION 'the_name'", "pass"),
        (
            "SET timezone = 'UTC'; ALTER TABLE the_table ALTER COLUMN c TYPE timestamptz",
            "reject",
        ),
    ] {
        assert_eq!(verdicts(None, script), [verdict], "{script}");
    }
    let open = run(
        &mut program(&["check", "-"]),
        "SELECT 1;\n/* the rest\nDROP TABLE t;",
    );
    assert!(
        open.code == 2 && open.out.contains("unterminated"),
        "{open:?}"
    );
}

#[test]
fn passwords_are_never_shown() {
    for url in [
        "postgres://nobody:s3cret@127.0.0.1:1/x".to_owned(),
        url("nobody:s3cret"),
        "postgres://nobody:s3cret@[/x".to_owned(),
    ] {
        for arguments in [
            &["check", "--database-url", &url, "harmless.sql"][..],
            &["check", "harmless.sql"],
        ] {
            let said = run(
                program(arguments)
                    .env("PGPASSWORD", "s3cret")
                    .env("LOCKKEEPER_DATABASE_URL", &url),
                "",
            );
            assert_eq!(said.code, 2, "{said:?}");
            assert!(
                !said.err.is_empty() && !format!("{}{}", said.out, said.err).contains("s3cret"),
                "{said:?}"
            );
        }
    }
    let help = run(
        program(&["check", "--help"]).env("LOCKKEEPER_DATABASE_URL", "s3cret"),
        "",
    );
    assert!(help.out.contains("database-url") && !help.out.contains("s3cret"));
}

#[test]
fn rules_are_listed_and_explained() {
    let listed = run(&mut program(&["rules"]), "");
    assert_eq!(listed.code, 0);
    for rule in RULES {
        assert!(listed.out.contains(rule.name) && listed.out.contains(rule.hazard));
        let said = run(&mut program(&["explain", rule.name]), "");
        assert_eq!(said.code, 0);
        for part in [
            rule.hazard,
            rule.remedy,
            rule.versions,
            rule.manual,
            rule.example,
            "Verdict: ",
            "[policy]",
        ] {
            let part = part.lines().next().unwrap();
            assert!(said.out.contains(part), "{part}: {}", said.out);
        }
    }
    let unknown = run(&mut program(&["explain", "lock-que"]), "");
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("lock-queue"), "{}", unknown.err);
}

/// A page that is stale, missing, or of a rule that is no more.
#[test]
fn the_pages_of_the_rules_are_up_to_date() {
    let pages = |directory: &Path| -> Vec<(String, String)> {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        };
        let mut pages: Vec<_> = entries.map(|entry| read(entry.path())).collect();
        pages.sort();
        pages
    };
    let docs = here("docs/rules");
    let made = tempfile::tempdir().unwrap();
    let target = if updates() { &docs } else { made.path() };
    let said = run(
        &mut program(&["rules", "--markdown", target.to_str().unwrap()]),
        "",
    );
    assert_eq!(said.code, 0, "{said:?}");
    let (made, kept) = (pages(target), pages(&docs));
    let names = |pages: &[(String, String)]| -> Vec<String> {
        pages.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(
        names(&made),
        names(&kept),
        "LOCKKEEPER_UPDATE=1 writes them"
    );
    for (made, kept) in made.iter().zip(&kept) {
        assert_eq!(made.1, kept.1, "{}: LOCKKEEPER_UPDATE=1 writes it", made.0);
    }
    assert_eq!(kept.len(), RULES.len() + 1);
}
