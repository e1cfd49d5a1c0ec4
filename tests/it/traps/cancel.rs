//! Cancel requests in all the ways in which they arrive, and when there is nothing to cancel.

use lockkeeper::config::ClientTls;

use crate::harness::{Proxy, limited, place, shared, start_server, until_asleep};
use crate::tls::{listen_with, trusted, under_tls};
use crate::wire::{
    GSS_REQUEST, Place, SSL_REQUEST, Wire, b, cancel_request, e, h, p, pbe, q, s, sqlstate, tags,
};

/// Sends a request over a fresh connection, and waits until it is closed.
fn deliver(mut connection: Wire, key: &[u8]) {
    connection.send(&cancel_request(key));
    assert_eq!(connection.until_end(), []);
}

fn asleep(wire: &mut Wire) {
    wire.send(&q("SELECT 'begun'; SELECT pg_sleep(600)"));
    until_asleep(wire.pid());
}

#[test]
fn by_every_way_in() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Allow, &trusted().local);
        });
        let refused = |request: &[u8]| {
            let mut wire = Wire::connect(proxy.place());
            wire.send(request);
            assert_eq!(wire.byte(), Some(b'N'));
            wire
        };
        let mut wire = proxy.session("postgres");
        let key = wire.key.clone();
        assert_eq!(
            wire.value("SELECT pg_backend_pid()"),
            wire.pid().to_string()
        );
        let ways: [&dyn Fn() -> Wire; 4] = [
            &|| Wire::connect(proxy.place()),
            &|| refused(&GSS_REQUEST),
            &|| under_tls(&proxy, None).unwrap(),
            &|| under_tls(&proxy, Some(b"postgresql")).unwrap(),
        ];
        for connect in ways {
            asleep(&mut wire);
            deliver(connect(), &key);
            assert_eq!(sqlstate(&wire.until_ready()), "57014");
        }
        let plain = Proxy::shared();
        asleep(&mut wire);
        let mut refused = Wire::connect(plain.place());
        refused.send(&SSL_REQUEST);
        assert_eq!(refused.byte(), Some(b'N'));
        // Through another lockkeeper in front of the same server, too: the key is the server's.
        deliver(refused, &key);
        assert_eq!(sqlstate(&wire.until_ready()), "57014");
    });
}

#[test]
fn when_there_is_nothing_to_cancel() {
    limited(|| {
        let proxy = Proxy::shared();
        for through in [&place(shared()), proxy.place()] {
            let mut wire = Wire::session(through, "postgres");
            let key = wire.key.clone();
            for _ in 0..5 {
                deliver(Wire::connect(through), &key);
                assert_eq!(tags(&wire.query("SELECT 1")), "TDCZ");
            }
            wire.run("BEGIN");
            deliver(Wire::connect(through), &key);
            assert_eq!(tags(&wire.query("SELECT 1")), "TDCZ");
            wire.run("ROLLBACK");
            // The server waits for the rest of a batch.
            wire.send(&[p("", "SELECT 1"), b("", "", &[]), h()].concat());
            assert_eq!(
                (wire.next().unwrap().tag, wire.next().unwrap().tag),
                (b'1', b'2')
            );
            deliver(Wire::connect(through), &key);
            assert_eq!(tags(&wire.ask(&[e("", 0), s()].concat())), "DCZ");
            // A schema change that comes after a request isn't hit by it.
            deliver(Wire::connect(through), &key);
            assert_eq!(tags(&wire.query("COMMENT ON ROLE postgres IS NULL")), "CZ");
            assert_eq!(
                tags(&wire.ask(&[pbe("COMMENT ON ROLE postgres IS NULL"), s()].concat())),
                "12CZ"
            );
        }
    });
}

#[test]
fn when_the_server_is_gone() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |_, _| {});
        let wire = proxy.session("postgres");
        server.stop_immediately().unwrap();
        deliver(Wire::connect(proxy.place()), &wire.key);
    });
}

#[test]
fn over_unix_sockets() {
    limited(|| {
        let server = shared();
        let proxy = Proxy::start(server, |config, directory| {
            config.listen.address = vec![directory.display().to_string()];
            let socket = server.socket_directory().display();
            config.upstream.address = format!("{socket}:{}", server.port());
        });
        assert!(matches!(proxy.place(), Place::Unix(..)));
        let mut wire = proxy.session("postgres");
        let key = wire.key.clone();
        asleep(&mut wire);
        deliver(Wire::connect(proxy.place()), &key);
        assert_eq!(sqlstate(&wire.until_ready()), "57014");
    });
}
