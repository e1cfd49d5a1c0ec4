//! `lockkeeper doctor` against real servers: what it finds, and that it leaves nothing behind.

use std::net::TcpListener;
use std::path::Path;

use lockkeeper::pg::temporary::TemporaryServer;
use serde_json::Value;

use crate::harness::{Said, clean_command, eventually, limited, place, run, shared, start_server};
use crate::program::{PROGRAM, Program, lockkeeper};
use crate::tls::{Certificate, secure, trusted, write};
use crate::wire::Wire;

/// Runs it with settings given as `section.key` and value; what it says, and its exit code.
pub(super) fn doctor(settings: &[(&str, &str)], arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut command = clean_command(PROGRAM);
    command.args(["doctor", "--format", "json"]).args(arguments);
    let free = [("listen.address", "127.0.0.1:0"), ("http.address", "")];
    for (key, value) in free.iter().chain(settings) {
        let name = key.to_uppercase().replace('.', "__");
        command.env(format!("LOCKKEEPER__{name}"), value);
    }
    let said = run(&mut command, "");
    let findings = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    (findings, said.status.code())
}

fn upstream(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// There is a finding of this level and check with these words, and with a remedy unless all is well.
#[track_caller]
fn assert_found(findings: &[Value], level: &str, check: &str, words: &str) {
    let found = findings.iter().find(|finding| {
        finding["level"] == level
            && finding["check"] == check
            && finding["message"].as_str().unwrap().contains(words)
    });
    let finding = found.unwrap_or_else(|| panic!("no {level} {check} {words:?}: {findings:#?}"));
    assert_eq!(finding.get("remedy").is_some(), level != "ok", "{finding}");
}

fn fails(findings: &[Value]) -> Vec<&Value> {
    let mut failing: Vec<&Value> = findings.iter().collect();
    failing.retain(|finding| finding["level"] == "fail");
    failing
}

#[test]
fn a_server_that_trusts() {
    limited(|| {
        let upstream = upstream(shared().port());
        let (findings, code) = doctor(&[("upstream.address", &upstream)], &[]);
        assert_eq!((fails(&findings), code), (vec![], Some(0)));
        assert_found(&findings, "ok", "listen", "can be bound");
        assert_found(&findings, "ok", "upstream", "1 of 1 addresses reached");
        assert_found(&findings, "ok", "upstream.tls", "no TLS to the server");
        assert_found(&findings, "warn", "auth", "without a password");
        assert_found(&findings, "ok", "operator", "has its rights");
        assert_found(&findings, "ok", "recovery", "");
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("auth.allow_trust", "true"),
            ("upstream.tls", "require"),
        ];
        let (findings, code) = doctor(&settings, &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "upstream.tls", "offers no TLS");
        let (findings, code) = doctor(&settings[..2], &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "auth", "auth.allow_trust");
        let arguments = ["doctor", "--listen", "127.0.0.1:0", "--http", ""];
        let said = lockkeeper(&[&arguments[..], &["--upstream", &upstream]].concat());
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        for line in said.out.lines() {
            let is_finding = ["ok ", "warn ", "fail "]
                .iter()
                .any(|level| line.starts_with(level));
            assert!(is_finding, "{line}");
            assert_eq!(line.contains(" -> "), !line.starts_with("ok "), "{line}");
        }
    });
}

#[test]
fn a_server_that_is_not_there() {
    limited(|| {
        let server = start_server(|_| {});
        let upstream = upstream(server.port());
        server.stop_immediately().unwrap();
        let (findings, code) = doctor(&[("upstream.address", &upstream)], &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "upstream", "can't be reached");
        let (findings, code) = doctor(&[("upstream.address", "nowhere.invalid:5432")], &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "upstream", "nowhere.invalid");
    });
}

#[test]
fn addresses_and_files() {
    limited(|| {
        let upstream = upstream(shared().port());
        let program = Program::start(shared());
        let (listen, http) = (program.place.port(), program.http.to_string());
        let listen = format!("127.0.0.1:{listen}");
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("listen.address", &listen),
            ("http.address", &http),
        ];
        let (findings, code) = doctor(&settings, &[]);
        assert_eq!(code, Some(0), "{findings:#?}");
        assert_found(&findings, "ok", "listen", "a lockkeeper is running");
        assert_found(&findings, "ok", "http", "a lockkeeper is running");
        program.session().run("SELECT 1");

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken
            .local_addr()
            .map(|address| (address.to_string(), taken));
        let (address, _listener) = taken.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (socket, audit) = (path(""), path("audit.jsonl"));
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("listen.address", &address),
            ("audit.file", &audit),
        ];
        let (findings, code) = doctor(&settings, &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "listen", "in use by something else");
        assert_found(&findings, "ok", "audit", "can be written");
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("listen.address", &socket),
            ("audit.file", "/no/such/directory/audit"),
        ];
        let (findings, code) = doctor(&settings, &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "ok", "listen", "can be bound");
        assert_found(&findings, "fail", "audit", "/no/such/directory/audit");
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "it leaves nothing behind");
    });
}

/// Settings of both legs under TLS.
fn both_legs(
    directory: &Path,
    certificate: &Certificate,
    key: &str,
) -> Vec<(&'static str, String)> {
    let file = |name, text: &str| write(directory, name, text).display().to_string();
    vec![
        ("upstream.address", upstream(secure().port())),
        ("upstream.tls", "verify-full".to_owned()),
        ("upstream.ca", file("ca.crt", &trusted().certificate)),
        ("listen.tls", "allow".to_owned()),
        ("listen.certificate", file("own.crt", &certificate.chain)),
        ("listen.key", file("own.key", key)),
    ]
}

#[test]
fn certificates() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let examine = |certificate: &Certificate, key: &str| {
            let settings = both_legs(directory.path(), certificate, key);
            let settings: Vec<(&str, &str)> = settings
                .iter()
                .map(|(key, value)| (*key, value.as_str()))
                .collect();
            doctor(&settings, &[])
        };
        let known = trusted();
        let (findings, code) = examine(&known.local, &known.local.key);
        assert_eq!((fails(&findings), code), (vec![], Some(0)));
        assert_found(&findings, "ok", "listen.tls", "is valid for");
        assert_found(&findings, "ok", "upstream.tls", "verify-full: TLSv1.3");
        assert_found(&findings, "ok", "upstream.tls", "the server's certificate");
        assert_found(&findings, "ok", "scram", "channel binding included");
        assert_found(&findings, "ok", "auth", "asks");

        let (findings, code) = examine(&known.other, &known.other.key);
        assert_eq!(code, Some(1));
        assert_found(
            &findings,
            "fail",
            "scram",
            "SCRAM channel binding check failed",
        );

        let (findings, code) = examine(&known.other, &known.local.key);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "listen.tls", "");

        let (findings, code) = examine(&known.expired, &known.expired.key);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "listen.tls", "ended on");

        let upstream = upstream(secure().port());
        let stranger = write(directory.path(), "stranger.crt", &known.other.chain);
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("upstream.tls", "verify-ca"),
            ("upstream.ca", stranger.to_str().unwrap()),
        ];
        let (findings, code) = doctor(&settings, &[]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "upstream.tls", "the handshake fails");
    });
}

#[test]
fn with_a_login() {
    limited(|| {
        let upstream = upstream(shared().port());
        let settings = [("upstream.address", upstream.as_str())];
        let url = "postgres://postgres:not-needed@ignored/postgres";
        let (findings, code) = doctor(&settings, &["--database-url", url]);
        assert_eq!((fails(&findings), code), (vec![], Some(0)));
        assert_found(&findings, "ok", "server", "PostgreSQL ");
        assert_found(&findings, "warn", "limits", "limits.connections = 10000");
        assert_found(&findings, "warn", "auth", "pg_hba.conf lets in");
        let url = "postgres://nobody_here:tell-nobody@ignored/postgres";
        let (findings, code) = doctor(&settings, &["--database-url", url]);
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "login", "nobody_here");
        assert!(!format!("{findings:?}").contains("tell-nobody"));
    });
}

#[test]
fn the_operators_login() {
    limited(|| {
        let server = start_server(|_| {});
        let upstream = upstream(server.port());
        let mut admin = Wire::session(&place(&server), "postgres");
        admin.run("CREATE ROLE looker LOGIN");
        let examine = |url: &str| {
            let settings = [
                ("upstream.address", upstream.as_str()),
                ("operator.database", ""),
            ];
            doctor(&settings, &["--operator-url", url])
        };
        let looker = format!("postgres://looker@{upstream}/postgres");
        let (findings, code) = examine(&looker);
        assert_eq!((fails(&findings), code), (vec![], Some(0)));
        assert_found(&findings, "warn", "operator", "member of pg_read_all_stats");
        assert_found(&findings, "warn", "journal", "operator.database is empty");
        admin.run("GRANT pg_monitor TO looker");
        let (findings, _) = examine(&looker);
        assert_found(&findings, "ok", "operator", "has its rights");
        let cancels = [
            ("upstream.address", upstream.as_str()),
            ("operator.database", ""),
            ("locks.cancel_blockers", "readers"),
        ];
        let examine_that = || doctor(&cancels, &["--operator-url", &looker]).0;
        assert_found(&examine_that(), "warn", "operator", "pg_signal_backend");
        admin.run("GRANT pg_signal_backend TO looker");
        assert_found(&examine_that(), "ok", "operator", "has its rights");
        let (findings, code) = examine(&format!("postgres://nobody_here@{upstream}/postgres"));
        assert_eq!(code, Some(1));
        assert_found(&findings, "fail", "operator", "nobody_here");
        let (findings, code) = examine("");
        assert_eq!(code, Some(0));
        assert_found(&findings, "warn", "operator", "there is none");
        for login in [
            "looker:hunter2@host/postgres",
            "host/postgres?password=hunter2",
        ] {
            let said = lockkeeper(&["serve", "--operator-url", &format!("postgres://{login}")]);
            assert_eq!(said.status.code(), Some(2), "{said:?}");
            assert!(
                said.err.contains("LOCKKEEPER_OPERATOR_PASSWORD"),
                "{said:?}"
            );
            assert!(!said.err.contains("hunter2"), "{said:?}");
        }
    });
}

/// A server, and an operator there with no more rights than it needs everywhere.
struct Operated {
    server: TemporaryServer,
    admin: Wire,
    upstream: String,
    url: String,
}

impl Operated {
    fn new() -> Operated {
        let server = start_server(|_| {});
        let mut admin = Wire::session(&place(&server), "postgres");
        admin.run("CREATE ROLE looker LOGIN");
        admin.run("GRANT pg_monitor, pg_signal_backend TO looker");
        let upstream = upstream(server.port());
        Operated {
            url: format!("postgres://looker@{upstream}/postgres"),
            server,
            admin,
            upstream,
        }
    }

    fn examine(&self, settings: &[(&str, &str)], arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
        let own = [("upstream.address", self.upstream.as_str())];
        let operator = ["--operator-url", self.url.as_str()];
        doctor(&[&own, settings].concat(), &[&operator, arguments].concat())
    }

    /// There is such a finding, and nothing fails unless it does.
    #[track_caller]
    fn assert_found(&self, level: &str, check: &str, words: &str) -> Vec<Value> {
        let (findings, code) = self.examine(&[], &[]);
        assert_found(&findings, level, check, words);
        assert_eq!(code, Some(i32::from(level == "fail")), "{findings:#?}");
        findings
    }

    /// The superuser does what a finding with these words says, in a database: its statements up to an `or`.
    #[track_caller]
    fn obeys(&self, findings: &[Value], words: &str, database: &str) {
        let found = findings
            .iter()
            .find(|one| one["message"].as_str().unwrap().contains(words));
        let remedy = found.unwrap()["remedy"].as_str().unwrap();
        let (statements, _) = remedy.split_once(" or ").unwrap_or((remedy, ""));
        let from = ["CREATE ", "ALTER ", "REVOKE ", "GRANT "]
            .iter()
            .filter_map(|word| statements.find(word))
            .min();
        let mut session = Wire::session(&place(&self.server), database);
        for statement in statements[from.unwrap()..]
            .split(';')
            .filter(|one| !one.trim().is_empty())
        {
            session.run(statement);
        }
    }

    fn has_database(&mut self) -> bool {
        self.admin
            .value("SELECT count(*) FROM pg_database WHERE datname = 'lockkeeper'")
            == "1"
    }

    /// lockkeeper has been started here, and has made what it needs.
    fn serve_once(&self) {
        let program = Program::start_with(&self.server, &[("OPERATOR__URL", &self.url)]);
        eventually("the journal is open", || {
            program.get("/ready").1.contains("journal: open")
        });
    }
}

#[test]
fn its_own_database() {
    limited(|| {
        let mut here = Operated::new();
        let findings = here.assert_found(
            "fail",
            "journal",
            "database lockkeeper is missing and looker may not make it",
        );
        assert!(format!("{findings:?}").contains("ALTER ROLE looker CREATEDB;"));
        let (goes_on, code) = here.examine(&[("audit.on_failure", "continue")], &[]);
        assert_found(&goes_on, "warn", "journal", "is missing");
        assert_eq!(code, Some(0));
        here.admin.run("ALTER ROLE looker CREATEDB");
        here.assert_found("ok", "journal", "database lockkeeper isn't there yet");
        assert!(!here.has_database(), "it makes nothing");
        here.admin.run("ALTER ROLE looker NOCREATEDB");
        here.obeys(&findings, "is missing", "postgres");
        here.assert_found("ok", "journal", "makes its tables when it starts");
        here.admin
            .run("GRANT CONNECT ON DATABASE lockkeeper TO PUBLIC");
        let findings = here.assert_found("warn", "journal", "everybody may connect");
        here.obeys(&findings, "everybody may connect", "postgres");
        let mut own = Wire::session(&place(&here.server), "lockkeeper");
        assert_eq!(
            own.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'lockkeeper'"),
            "0"
        );
        here.serve_once();
        here.assert_found("ok", "journal", "is lockkeeper's alone");
    });
}

#[test]
fn its_own_database_in_others_hands() {
    limited(|| {
        let mut here = Operated::new();
        here.admin.run("CREATE ROLE tenant LOGIN");
        here.admin.run("CREATE DATABASE lockkeeper OWNER tenant");
        here.assert_found("fail", "journal", "everybody may connect");
        here.admin
            .run("REVOKE ALL ON DATABASE lockkeeper FROM PUBLIC");
        here.assert_found("warn", "journal", "permission denied for database");
        here.admin
            .run("GRANT CONNECT ON DATABASE lockkeeper TO looker");
        let findings = here.assert_found("fail", "journal", "database lockkeeper of tenant");
        assert!(format!("{findings:?}").contains("make looker its owner"));
        // The superuser's, but nobody has said that the operator may use it.
        here.admin
            .run("ALTER DATABASE lockkeeper OWNER TO postgres");
        let findings = here.assert_found("fail", "journal", "may not make its tables");
        here.obeys(&findings, "may not make its tables", "postgres");
        here.serve_once();
        let mut own = Wire::session(&place(&here.server), "lockkeeper");
        own.run(
            "CREATE TABLE lockkeeper.trap (a int); ALTER TABLE lockkeeper.trap OWNER TO tenant",
        );
        here.assert_found("fail", "journal", "lockkeeper.trap\" of tenant");
        own.run("DROP TABLE lockkeeper.trap");
        // Made by another operator, a superuser.
        for what in [
            "SCHEMA lockkeeper",
            "TABLE lockkeeper.plan",
            "TABLE lockkeeper.audit_log",
        ] {
            own.run(&format!("ALTER {what} OWNER TO postgres"));
        }
        own.run("ALTER SEQUENCE lockkeeper.slot OWNER TO postgres");
        let findings = here.assert_found(
            "fail",
            "journal",
            "looker may not write to audit_log, audit_relation, plan, slot",
        );
        here.obeys(&findings, "may not write", "lockkeeper");
        here.assert_found("ok", "journal", "is lockkeeper's alone");
        own.run(
            "COMMENT ON SCHEMA lockkeeper IS 'lockkeeper''s journal and audit log, version 99'",
        );
        here.assert_found("fail", "journal", "of version 99");
        own.run("COMMENT ON SCHEMA lockkeeper IS 'mine'");
        here.assert_found(
            "fail",
            "journal",
            "a schema lockkeeper that isn't lockkeeper's",
        );
    });
}

#[test]
fn for_whom_it_can_finish_what_was_begun() {
    limited(|| {
        let mut here = Operated::new();
        here.admin.run("ALTER ROLE looker CREATEDB");
        here.admin
            .run("CREATE ROLE \"app-owner\" LOGIN; CREATE ROLE idle LOGIN");
        here.admin.run("CREATE DATABASE shop OWNER \"app-owner\"");
        let mut shop = Wire::session(&place(&here.server), "shop");
        shop.run("CREATE TABLE t (a int); ALTER TABLE t OWNER TO \"app-owner\"");
        let findings = here.assert_found("warn", "recovery", "\"app-owner\" owns tables in shop");
        assert!(
            !format!("{findings:?}").contains("idle"),
            "who owns nothing needs nothing"
        );
        let has_set: bool = here
            .admin
            .value("SELECT current_setting('server_version_num')::int >= 160000")
            == "t";
        if has_set {
            // To be a member isn't enough.
            here.admin
                .run("GRANT \"app-owner\" TO looker WITH SET FALSE");
            here.assert_found("warn", "recovery", "can't take its place");
        }
        here.obeys(&findings, "owns tables in shop", "postgres");
        here.assert_found("ok", "recovery", "all 1 roles");
        let mut as_operator = Wire::connect(&place(&here.server));
        as_operator.start(&[("user", "looker"), ("database", "shop")]);
        as_operator.run("SET ROLE \"app-owner\"");
        // Of a superuser nobody should be a member.
        shop.run("CREATE TABLE u (a int)");
        let findings = here.assert_found("warn", "recovery", "postgres owns tables in shop");
        assert!(!format!("{findings:?}").contains("GRANT postgres"));
        here.admin
            .run("REVOKE CONNECT ON DATABASE shop FROM PUBLIC, \"app-owner\"");
        here.assert_found("warn", "recovery", "looker can't look into shop");
        here.admin.run("REVOKE pg_signal_backend FROM looker");
        here.assert_found("warn", "recovery", "isn't a member of pg_signal_backend");
    });
}

#[test]
fn logins_as_other_roles() {
    limited(|| {
        let mut here = Operated::new();
        here.admin.run("ALTER ROLE looker CREATEDB");
        here.admin
            .run("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN");
        here.admin.run("CREATE DATABASE shop OWNER app");
        let mut shop = Wire::session(&place(&here.server), "shop");
        shop.run("CREATE TABLE t (a int); ALTER TABLE t OWNER TO app");
        let directory = tempfile::tempdir().unwrap();
        let examine = |role: &str, user: &str| {
            let url = format!("postgres://{user}:hunter2@{}", here.upstream);
            let text = format!("[operator.logins]\n{role} = '{url}'");
            let file = write(directory.path(), "lockkeeper.toml", &text)
                .display()
                .to_string();
            let (findings, code) = here.examine(&[], &["--config", &file]);
            assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
            (findings, code)
        };
        let (findings, code) = examine("app", "app");
        assert_found(
            &findings,
            "ok",
            "recovery",
            "operator.logins.app logs in as app",
        );
        assert_found(&findings, "ok", "recovery", "all 1 roles");
        assert_eq!(code, Some(0));
        for (role, user, level, words) in [
            ("app", "nobody_here", "fail", "nobody_here"),
            (
                "app",
                "other",
                "fail",
                "logs in as other, who may not do what app may",
            ),
            ("app", "postgres", "warn", "postgres, a superuser"),
            ("apq", "app", "warn", "there is no role apq"),
        ] {
            let (findings, code) = examine(role, user);
            assert_found(&findings, level, "recovery", words);
            assert_eq!(code, Some(i32::from(level == "fail")), "{findings:#?}");
        }
    });
}

#[test]
fn settings_that_cannot_be_used() {
    limited(|| {
        let mut command = clean_command(PROGRAM);
        command
            .arg("doctor")
            .env("LOCKKEEPER__GUARD__MODE", "obsreve");
        let said: Said = run(&mut command, "");
        assert_eq!(said.status.code(), Some(2));
        assert!(said.err.contains("`observe`"), "{said:?}");
    });
}
