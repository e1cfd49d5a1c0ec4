//! Authentication is the server's: what it demands goes through, what it says comes back; only its trust in
//! lockkeeper's address isn't passed on to other machines.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{Proxy, limited, place, psql, run, shared, start_server};
use crate::wire::{Place, Wire, p, q, sqlstate, startup, tags};

pub(crate) const PASSWORD: &str = "it's a secret";

/// A server that asks for a password: SCRAM over TCP for `postgres`, MD5 and in the clear for others.
pub(crate) fn demanding() -> &'static TemporaryServer {
    static SERVER: OnceLock<TemporaryServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = start_server(|options| {
            options.superuser_password = Some(PASSWORD.to_owned());
            let lines = [
                "local all all trust",
                "host all postgres 127.0.0.1/32 scram-sha-256",
                "host all hashed 127.0.0.1/32 md5",
                "host all clear 127.0.0.1/32 password",
                "host all refused 127.0.0.1/32 reject",
            ];
            options.hba = Some(lines.join("\n") + "\n");
        });
        let socket = Place::Unix(server.socket_directory().to_owned(), server.port());
        let mut admin = Wire::session(&socket, "postgres");
        admin.run("CREATE ROLE clear LOGIN PASSWORD 'secret'; SET password_encryption = md5");
        admin.run("CREATE ROLE hashed LOGIN PASSWORD 'secret'");
        server
    })
}

fn as_user(place: &Place, user: &str, password: &str) -> String {
    let password = password.replace('\'', "\\'");
    let (host, port) = (place.host(), place.port());
    format!("host={host} port={port} dbname=postgres user={user} password='{password}'")
}

#[test]
fn every_method_that_asks_for_a_password() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |_, _| {});
        for (user, password) in [
            ("postgres", PASSWORD),
            ("hashed", "secret"),
            ("clear", "secret"),
        ] {
            let conninfo = as_user(proxy.place(), user, password);
            assert_eq!(
                psql(&conninfo, &["-c", "SELECT current_user"], "").ok(),
                user
            );
        }
    });
}

#[test]
fn the_servers_refusals_are_its_own() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |_, _| {});
        for (user, password) in [
            ("postgres", "wrong"),
            ("hashed", "wrong"),
            ("refused", ""),
            ("nobody", "x"),
        ] {
            let ask = |place: &Place| {
                let said = psql(&as_user(place, user, password), &["-c", "SELECT 1"], "");
                assert_eq!(said.status.code(), Some(2));
                let port = place.port().to_string();
                said.err.replace(&port, "PORT")
            };
            let told = ask(proxy.place());
            assert_eq!(told, ask(&place(demanding())));
            assert!(!told.contains("lockkeeper"), "{told}");
        }
    });
}

#[test]
fn nothing_but_authentication_reaches_the_server_before_it_is_done() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |_, _| {});
        let mut wire = Wire::connect(proxy.place());
        let early = [q("SELECT 'early'"), p("", "SELECT 1")].concat();
        wire.send(&[startup(&[("user", "postgres")]), early].concat());
        assert_eq!(wire.next().unwrap().tag, b'R');
        drop(wire);
        // Where nothing is asked, what was sent early is answered in its turn.
        let proxy = Proxy::shared();
        let mut wire = Wire::connect(proxy.place());
        wire.send(&[startup(&[("user", "postgres")]), q("SELECT 'early'")].concat());
        assert!(tags(&wire.until_ready()).ends_with("KZ"));
        assert_eq!(tags(&wire.until_ready()), "TDCZ");
    });
}

/// An address of this machine that isn't loopback, as `hostname -I` has it.
fn outer_address() -> IpAddr {
    let said = run(std::process::Command::new("hostname").arg("-I"), "").ok();
    let mut addresses = said.split_whitespace().filter_map(|text| text.parse().ok());
    addresses
        .find(|address: &IpAddr| address.is_ipv4() && !address.is_loopback())
        .expect("this test needs a network address other than loopback (see hostname -I)")
}

#[test]
fn trust_is_not_passed_on_to_other_machines() {
    limited(|| {
        let outer =
            |proxy: &Proxy| Place::Tcp(SocketAddr::new(outer_address(), proxy.place().port()));
        let anywhere = |config: &mut lockkeeper::config::Config| {
            config.listen.address = vec!["0.0.0.0:0".to_owned()];
        };
        let proxy = Proxy::start(shared(), |config, _| anywhere(config));
        let frames = Wire::connect(&outer(&proxy)).start(&[("user", "postgres")]);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("E", "28000")
        );
        let inner = Place::Tcp(SocketAddr::from(([127, 0, 0, 1], proxy.place().port())));
        Wire::session(&inner, "postgres").run("SELECT 1");
        let trusting = Proxy::start(shared(), |config, _| {
            anywhere(config);
            config.auth.allow_trust = true;
        });
        Wire::session(&outer(&trusting), "postgres").run("SELECT 1");
        let asking = Proxy::start(demanding(), |config, _| anywhere(config));
        let conninfo = as_user(&outer(&asking), "postgres", PASSWORD);
        psql(&conninfo, &["-c", "SELECT 1"], "").ok();
    });
}
