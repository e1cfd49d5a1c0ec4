//! Authentication through two legs: which combinations of TLS and channel binding work, what is said where they can't,
//! and clients that answer a question for a password with something else.

use lockkeeper::config::{ClientTls, ServerTls};

use crate::auth::demanding;
use crate::harness::{Proxy, limited, place, psql, psycopg};
use crate::tls::{connect_with, conninfo, listen_with, secure, trusted};
use crate::wire::{Place, Wire, frame, p, q, sqlstate, startup, tags};

/// A leg without TLS, or with a certificate: the server's own, or another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientLeg {
    Plain,
    SameCertificate,
    OtherCertificate,
}

use ClientLeg::{OtherCertificate, Plain, SameCertificate};

fn proxy(client: ClientLeg, server: ServerTls) -> Proxy {
    Proxy::start(secure(), |config, directory| {
        match client {
            Plain => {}
            SameCertificate => {
                listen_with(config, directory, ClientTls::Require, &trusted().local);
            }
            OtherCertificate => {
                listen_with(config, directory, ClientTls::Require, &trusted().other);
            }
        }
        connect_with(config, directory, server, trusted());
    })
}

#[test]
fn scram_by_legs_and_channel_binding() {
    limited(|| {
        const WORKS: &str = "";
        const LIBPQ: &str = "channel binding"; // libpq itself refuses, and says so
        const SERVER: &str = "SCRAM channel binding check failed";
        for (client, server, disable, prefer, require) in [
            (Plain, ServerTls::Disable, WORKS, WORKS, LIBPQ),
            (Plain, ServerTls::VerifyFull, WORKS, WORKS, LIBPQ),
            (SameCertificate, ServerTls::Disable, WORKS, WORKS, LIBPQ),
            (OtherCertificate, ServerTls::Disable, WORKS, WORKS, LIBPQ),
            (SameCertificate, ServerTls::VerifyFull, WORKS, WORKS, WORKS),
            (
                OtherCertificate,
                ServerTls::VerifyFull,
                WORKS,
                SERVER,
                SERVER,
            ),
        ] {
            let proxy = proxy(client, server);
            let sslmode = if client == Plain {
                "disable"
            } else {
                "require"
            };
            for (binding, expected) in [
                ("disable", disable),
                ("prefer", prefer),
                ("require", require),
            ] {
                let more = format!("sslmode={sslmode} channel_binding={binding}");
                let said = psql(
                    &conninfo(&proxy, "postgres", &more),
                    &["-c", "SELECT 7"],
                    "",
                );
                let what = format!("{client:?} {server:?} {binding}: {said:?}");
                if expected.is_empty() {
                    assert_eq!(said.out.trim(), "7", "{what}");
                } else {
                    assert!(said.err.contains(expected), "{what}");
                }
            }
        }
    });
}

#[test]
fn a_client_sees_the_method_that_the_server_asks_for() {
    limited(|| {
        let script = "
import sys, psycopg
with psycopg.connect(sys.argv[1]) as conn:
    print(conn.execute('SELECT 7').fetchone()[0])
";
        for client in [Plain, SameCertificate] {
            let proxy = proxy(client, ServerTls::VerifyFull);
            let more = if client == Plain {
                "sslmode=disable"
            } else {
                "sslmode=require"
            };
            let more = format!("{more} require_auth=scram-sha-256");
            assert_eq!(psycopg(&conninfo(&proxy, "postgres", &more), script), "7");
        }
    });
}

#[test]
fn something_else_in_place_of_a_password() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |_, _| {});
        let users = ["postgres", "hashed", "clear"];
        let ask = |place: &Place, user: &str, message: &[u8]| {
            let mut wire = Wire::connect(place);
            wire.send(&startup(&[("user", user)]));
            assert_eq!(wire.next().unwrap().tag, b'R');
            wire.send(message);
            let found = wire.until_end();
            (tags(&found), sqlstate(&found))
        };
        let refused = ("E".to_owned(), "08P01".to_owned());
        for message in [q("SELECT 1"), p("", "SELECT 1"), frame(b'S', &[])] {
            for user in users {
                assert_eq!(ask(&place(demanding()), user, &message), refused, "{user}");
                assert_eq!(ask(proxy.place(), user, &message), refused, "{user}");
            }
        }
        // Longer than any: both hang up, and what they say may be lost, for much is unread.
        for message in [frame(b'p', &vec![b'x'; 70_000]), b"p\x7f\0\0\0".to_vec()] {
            for place in [&place(demanding()), proxy.place()] {
                let (tags, _) = ask(place, "clear", &message);
                assert!(matches!(tags.as_str(), "" | "E"), "{tags}");
            }
        }
    });
}

#[test]
fn long_tokens_pass() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |_, _| {});
        // As long as an OAuth token may be; the server reads it whole, and it isn't the password.
        let password = [vec![b'x'; 65_000], vec![0]].concat();
        let ask = |place: &Place| {
            let mut wire = Wire::connect(place);
            wire.send(&startup(&[("user", "clear")]));
            assert_eq!(wire.next().unwrap().tag, b'R');
            wire.send(&frame(b'p', &password));
            wire.until_end()
                .iter()
                .map(crate::wire::Frame::show)
                .collect::<Vec<_>>()
        };
        let direct = ask(&place(demanding()));
        assert!(direct[0].contains("28P01"), "{direct:?}");
        assert_eq!(ask(proxy.place()), direct);
    });
}
