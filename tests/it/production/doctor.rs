//! `lockkeeper doctor` against real servers: what it finds, and that it leaves nothing behind.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Said, clean_command, limited, place, run, shared, start_server};
use crate::program::{PROGRAM, Program, lockkeeper};
use crate::tls::{Certificate, secure, trusted, write};
use crate::wire::Wire;

/// Runs it with settings given as `section.key` and value; what it says, and its exit code.
fn doctor(settings: &[(&str, &str)], arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
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
            let settings = [("upstream.address", upstream.as_str())];
            doctor(&settings, &["--operator-url", url])
        };
        let looker = format!("postgres://looker@{upstream}/postgres");
        let (findings, code) = examine(&looker);
        assert_eq!((fails(&findings), code), (vec![], Some(0)));
        assert_found(&findings, "warn", "operator", "member of pg_read_all_stats");
        admin.run("GRANT pg_monitor TO looker");
        let (findings, _) = examine(&looker);
        assert_found(&findings, "ok", "operator", "has its rights");
        let cancels = [
            ("upstream.address", upstream.as_str()),
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
