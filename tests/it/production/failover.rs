//! The server moves: its name leads elsewhere, or it is gone. The name is resolved by a hosts file of the test's own
//! (libnss-wrapper).

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{Proxy, eventually, limited, psql, shared, start_server};
use crate::program::Program;
use crate::wire::{Place, Wire, cancel_request, q, sqlstate, tags};

const NAME: &str = "primary.lockkeeper.test";

/// What a name leads to, as long as this lives.
struct Hosts {
    directory: tempfile::TempDir,
    version: u64,
}

impl Hosts {
    fn new(address: &str) -> Hosts {
        let directory = tempfile::tempdir().unwrap();
        let mut hosts = Hosts {
            directory,
            version: 0,
        };
        hosts.lead_to(address);
        hosts
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("hosts")
    }

    fn lead_to(&mut self, address: &str) {
        std::fs::write(self.path(), format!("{address} {NAME}\n")).unwrap();
        // The library reads the file again when its time has changed, to the second.
        self.version += 10;
        let time = SystemTime::now() + Duration::from_secs(self.version);
        File::options()
            .write(true)
            .open(self.path())
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    fn resolve_for(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("NSS_WRAPPER_HOSTS", self.path());
    }
}

fn library() -> PathBuf {
    let directories = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = directories.map(|entry| entry.path().join("libnss_wrapper.so"));
    libraries
        .find(|path| path.is_file())
        .expect("libnss_wrapper.so of the package libnss-wrapper: `make test` installs it")
}

fn conninfo(hosts: &[&Place]) -> String {
    let addresses: Vec<String> = hosts.iter().map(|place| place.host()).collect();
    let ports: Vec<String> = hosts.iter().map(|place| place.port().to_string()).collect();
    let (hosts, ports) = (addresses.join(","), ports.join(","));
    format!("host={hosts} port={ports} user=postgres dbname=postgres")
}

fn port(wire: &mut Wire) -> String {
    wire.value("SHOW port")
}

fn at(server: &TemporaryServer) -> String {
    format!("127.0.0.1:{}", server.port())
}

#[test]
fn sessions_go_where_the_name_leads_and_old_ones_stay_until_their_server_ends() {
    limited(|| {
        let (first, second) = (start_server(|_| {}), shared());
        let [first_port, second_port] = [first.port(), second.port()].map(|port| port.to_string());
        // A server on another address of loopback, with the first one's port.
        let elsewhere = format!("127.0.0.2:{first_port}");
        let _stand_in = Program::start_at(&elsewhere, &at(second), |_| {});
        let mut hosts = Hosts::new("127.0.0.1");
        let upstream = format!("{NAME}:{first_port}");
        let program = Program::start_at("127.0.0.1:0", &upstream, |command| {
            hosts.resolve_for(command)
        });
        let mut old = program.session();
        assert_eq!(port(&mut old), first_port);

        hosts.lead_to("127.0.0.2");
        let mut new = program.session();
        assert_eq!(port(&mut new), second_port);

        // A cancel request goes to the session's own server.
        old.send(&q("SELECT pg_sleep(600)"));
        let direct = Place::Tcp(at(&first).parse().unwrap());
        let mut admin = Wire::session(&direct, "postgres");
        let sql = format!(
            "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = {}",
            old.pid()
        );
        eventually("it sleeps", || admin.value(&sql) == "PgSleep");
        let mut cancel = Wire::connect(&program.place);
        cancel.send(&cancel_request(&old.key));
        assert_eq!(cancel.until_end(), []);
        assert_eq!(sqlstate(&old.until_ready()), "57014");

        first.stop_immediately().unwrap();
        let told = sqlstate(&old.until_end());
        assert!(told.starts_with("57P0"), "{told}");
        assert_eq!(port(&mut new), second_port);
        assert_eq!(port(&mut program.session()), second_port);
    });
}

#[test]
fn libpq_tries_its_next_host_when_a_server_is_gone() {
    limited(|| {
        let server = start_server(|_| {});
        let there = Program::start_at("127.0.0.1:0", &at(&server), |_| {});
        let other = Proxy::start(shared(), |_, _| {});
        server.stop_immediately().unwrap();
        let frames = Wire::connect(&there.place).start(&[("user", "postgres")]);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("E", "57P03")
        );
        let both = conninfo(&[&there.place, other.place()]);
        let port = psql(&both, &["-c", "SHOW port"], "").ok();
        assert_eq!(port, shared().port().to_string());
    });
}

#[test]
fn libpq_tries_its_next_host_when_a_name_leads_nowhere() {
    limited(|| {
        let hosts = Hosts::new("127.0.0.1");
        let upstream = "elsewhere.lockkeeper.test:5432";
        let there = Program::start_at("127.0.0.1:0", upstream, |command| {
            hosts.resolve_for(command)
        });
        let other = Proxy::shared();
        let both = conninfo(&[&there.place, other.place()]);
        psql(&both, &["-c", "SELECT 1"], "").ok();
        there.until_logged("client refused", |fields| {
            fields["reason"]
                .as_str()
                .unwrap()
                .contains("can't be reached")
        });
    });
}

#[test]
fn libpq_tries_its_next_host_when_nothing_but_a_listener_is_there() {
    limited(|| {
        // As a load balancer without a server behind it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || listener.incoming().for_each(drop));
        let there = Program::start_at("127.0.0.1:0", &address, |_| {});
        let other = Proxy::shared();
        let both = conninfo(&[&there.place, other.place()]);
        psql(&both, &["-c", "SELECT 1"], "").ok();
        there.until_logged("client refused", |_| true);
    });
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let program = Program::start_at("127.0.0.1:0", &path.display().to_string(), |_| {});
        let frames = Wire::connect(&program.place).start(&[("user", "postgres")]);
        assert_eq!(sqlstate(&frames), "57P03");
        appear(path);
        program.session().run("SELECT 1");
    });
}

/// The shared server's socket, in another directory, under the port of [`Program`]'s default.
fn appear(directory: &Path) {
    let name = format!(".s.PGSQL.{}", shared().port());
    let socket = shared().socket_directory().join(name);
    std::os::unix::fs::symlink(socket, directory.join(".s.PGSQL.5432")).unwrap();
}
