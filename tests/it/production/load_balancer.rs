//! Behind a load balancer: the PROXY protocol, by bytes and by HAProxy; and the client's address in its
//! `application_name`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Killed, clean_command, eventually, limited, shared};
use crate::program::Program;
use crate::wire::{Place, SSL_REQUEST, Wire, sqlstate, startup, tags};

const USER: [(&str, &str); 2] = [("user", "postgres"), ("database", "postgres")];

fn trusting(from: &'static str, more: &'static [(&'static str, &'static str)]) -> Program {
    let upstream = format!("127.0.0.1:{}", shared().port());
    Program::start_at("127.0.0.1:0", &upstream, |command| {
        command.env("LOCKKEEPER__LISTEN__PROXY_PROTOCOL_FROM", from);
        command.envs(more.iter().copied());
    })
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 4711 5432\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let addresses = [
        &client[..],
        &[192, 0, 2, 1],
        &4711_u16.to_be_bytes(),
        &[0x15, 0x38],
    ]
    .concat();
    let extension = [4, 0, 2, 0, 0]; // PP2_TYPE_NOOP
    [&signature[..], &[0x21, 0x11, 0, 17], &addresses, &extension].concat()
}

/// A session behind a header.
fn behind(header: &[u8], program: &Program, parameters: &[(&str, &str)]) -> (Wire, String) {
    let mut wire = Wire::connect(&program.place);
    let frames = wire.ask(&[header, &startup(parameters)].concat());
    if let Some(key) = frames.iter().find(|frame| frame.tag == b'K') {
        wire.key.clone_from(&key.body);
    }
    (wire, sqlstate(&frames))
}

#[test]
fn the_client_is_whom_the_header_names() {
    limited(|| {
        let program = trusting("127.0.0.0/8", &[("LOCKKEEPER__AUTH__ALLOW_TRUST", "true")]);
        for header in [v1("198.51.100.7"), v2([198, 51, 100, 7])] {
            let (mut wire, refusal) = behind(&header, &program, &USER);
            assert_eq!(refusal, "");
            let pid = wire.pid();
            let begun =
                program.until_logged("session begins", |fields| fields["server_pid"] == pid);
            assert_eq!(begun["client"], "198.51.100.7:4711");
            wire.run("SELECT 1");
        }
        // Nothing but the header is read of what comes with it.
        let mut wire = Wire::connect(&program.place);
        wire.send(&[v1("198.51.100.7"), SSL_REQUEST.to_vec()].concat());
        assert_eq!(wire.byte(), Some(b'N'));
        wire.start(&USER);
        wire.run("SELECT 1");
    });
}

#[test]
fn a_client_that_a_header_names_is_as_local_as_its_address() {
    limited(|| {
        // The server asks nobody on loopback for a password.
        let program = trusting("127.0.0.1", &[]);
        for (header, refusal) in [
            (v1("127.0.0.1"), ""),
            (v1("198.51.100.7"), "28000"),
            (v2([198, 51, 100, 7]), "28000"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "28000"),
        ] {
            let (_, told) = behind(&header, &program, &USER);
            assert_eq!(told, refusal, "{}", header.escape_ascii());
        }
    });
}

#[test]
fn who_must_send_a_header_and_who_must_not() {
    limited(|| {
        let program = trusting("127.0.0.1", &[]);
        for bytes in [
            startup(&USER),
            SSL_REQUEST.to_vec(),
            b"PROXY TCP4 nowhere nobody 1 2\r\n".to_vec(),
        ] {
            let mut wire = Wire::connect(&program.place);
            wire.send(&bytes);
            assert_eq!(wire.byte(), None, "{}", bytes.escape_ascii());
            program.until_logged("client refused", |fields| {
                fields["reason"]
                    .as_str()
                    .unwrap()
                    .contains("PROXY protocol header")
            });
        }
        eventually("each is logged", || {
            program.logged("client refused").len() == 3
        });
        let program = trusting("198.51.100.0/24, 2001:db8::/32", &[]);
        program.session().run("SELECT 1");
        // For the server's protocol, the header is garbage.
        let _ = behind(&v1("127.0.0.1"), &program, &USER);
        program.until_logged("client refused", |_| true);
        assert_eq!(program.logged("session begins").len(), 1);
    });
}

#[test]
fn the_clients_address_is_added_to_its_name() {
    limited(|| {
        let more = &[
            ("LOCKKEEPER__AUTH__ALLOW_TRUST", "true"),
            ("LOCKKEEPER__UPSTREAM__CLIENT_IN_APPLICATION_NAME", "true"),
        ];
        let program = trusting("127.0.0.1", more);
        let named = [&USER[..], &[("application_name", "app")]].concat();
        let header = v1("198.51.100.7");
        let (mut wire, refusal) = behind(&header, &program, &named);
        assert_eq!(refusal, "");
        assert_eq!(wire.value("SHOW application_name"), "app [198.51.100.7]");
        let sql = format!(
            "SELECT application_name FROM pg_stat_activity WHERE pid = {}",
            wire.pid()
        );
        assert_eq!(wire.value(&sql), "app [198.51.100.7]");
        wire.run("SET application_name = 'other'");
        assert_eq!(wire.value("SHOW application_name"), "other");
        let (mut wire, _) = behind(&header, &program, &USER);
        assert_eq!(wire.value("SHOW application_name"), "[198.51.100.7]");
        let long = "é".repeat(40);
        let named = [&USER[..], &[("application_name", long.as_str())]].concat();
        let (mut wire, _) = behind(&header, &program, &named);
        let shown = wire.value("SHOW application_name");
        assert!(
            shown.ends_with(" [198.51.100.7]") && shown.len() <= 63,
            "{shown}"
        );
        // What lockkeeper itself records is the client's own name.
        let begun = program.until_logged("session begins", |fields| {
            fields["application"] == long.as_str()
        });
        assert_eq!(begun["client"], "198.51.100.7:4711");
        let walsender = [
            &USER[..],
            &[("application_name", "standby"), ("replication", "true")],
        ];
        let (mut wire, _) = behind(&header, &program, &walsender.concat());
        assert_eq!(wire.value("SHOW application_name"), "standby");
    });
}

/// HAProxy in front of a program: its frontend's address.
struct Balancer {
    _process: Killed,
    place: Place,
}

impl Balancer {
    fn start(directory: &Path, option: &str, program: &Program) -> Balancer {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let to = program.place.port();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 30s\n timeout client 60s\n timeout server 60s\n\
             listen postgres\n bind {address}\n server lockkeeper 127.0.0.1:{to} {option}\n"
        );
        let file = directory.join(option);
        std::fs::write(&file, text).unwrap();
        let binary = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .expect("haproxy: `make test` installs it");
        let mut command: Command = clean_command(binary);
        command
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Killed(command.spawn().unwrap());
        eventually("HAProxy listens", || TcpStream::connect(address).is_ok());
        Balancer {
            _process: process,
            place: Place::Tcp(address),
        }
    }
}

#[test]
fn behind_haproxy() {
    limited(|| {
        let program = trusting("127.0.0.1", &[]);
        let directory = tempfile::tempdir().unwrap();
        for option in ["send-proxy", "send-proxy-v2"] {
            let balancer = Balancer::start(directory.path(), option, &program);
            let Place::Tcp(address) = balancer.place else {
                panic!("TCP")
            };
            let stream = TcpStream::connect(address).unwrap();
            let client: SocketAddr = stream.local_addr().unwrap();
            let mut wire = Wire::over_tcp(stream);
            let frames = wire.start(&USER);
            assert!(tags(&frames).ends_with('Z'), "{option}: {frames:?}");
            wire.run("SELECT 1");
            let pid = wire.pid();
            let begun =
                program.until_logged("session begins", |fields| fields["server_pid"] == pid);
            assert_eq!(begun["client"], client.to_string(), "{option}");
        }
    });
}
