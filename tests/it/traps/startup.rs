//! Before the first frame: requests for encryption, the start-up message, protocol versions, and servers that answer
//! what no PostgreSQL answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lockkeeper::config::{ClientTls, ServerTls};

use super::{servers, tcp};
use crate::harness::{Proxy, limited, place, psycopg, shared, start_server, until_asleep_on};
use crate::tls::{conninfo, listen_with, trusted, under_tls};
use crate::wire::{
    Frame, GSS_REQUEST, Place, SSL_REQUEST, Wire, cancel_request, prepare, q, sqlstate, startup,
    tags,
};

/// What comes back for some bytes until the connection ends, and whether it ends without a reset.
fn to_the_end(place: &Place, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(tcp(place)).unwrap();
    prepare(&stream);
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => (answer, true),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (answer, false),
        Err(error) => panic!("{}: {error}", bytes.escape_ascii()),
    }
}

/// A StartupMessage with a body of one's own behind the protocol version.
fn packet(version: [u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + body.len()).unwrap().to_be_bytes();
    [&length[..], &version[..], body].concat()
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let socket = std::io::Cursor::new(bytes.to_vec());
    Wire::over(socket).until_end()
}

#[test]
fn what_is_sent_behind_a_request_that_is_answered_n_is_refused() {
    limited(|| {
        let proxy = Proxy::shared();
        let sent = [SSL_REQUEST.to_vec(), startup(&[("user", "postgres")])].concat();
        let (direct, _) = to_the_end(&place(shared()), &sent);
        for request in [SSL_REQUEST, GSS_REQUEST] {
            let sent = [request.to_vec(), startup(&[("user", "postgres")])].concat();
            let (answer, is_clean) = to_the_end(proxy.place(), &sent);
            assert_eq!((answer[0], is_clean), (b'N', true));
            let told = frames(&answer[1..]);
            assert_eq!(
                (tags(&told).as_str(), sqlstate(&told).as_str()),
                ("E", "08P01")
            );
            let expected = &frames(&direct[1..])[0];
            assert_eq!(told[0].field(b'D'), expected.field(b'D'));
            if request == SSL_REQUEST {
                assert!(
                    told[0].field(b'M').ends_with(&expected.field(b'M')),
                    "{told:?}"
                );
            }
        }
        // A second request, of either kind, when the first has been answered: as the server counts them.
        for (first, second, refused) in [
            (SSL_REQUEST, GSS_REQUEST, false),
            (GSS_REQUEST, SSL_REQUEST, false),
            (SSL_REQUEST, SSL_REQUEST, true),
            (GSS_REQUEST, GSS_REQUEST, true),
        ] {
            let mut wire = Wire::connect(proxy.place());
            wire.send(&first);
            assert_eq!(wire.byte(), Some(b'N'));
            wire.send(&second);
            if refused {
                assert_eq!(sqlstate(&wire.until_end()), "0A000");
            } else {
                assert_eq!(wire.byte(), Some(b'N'));
                assert_eq!(sqlstate(&wire.start(&[("user", "postgres")])), "");
            }
        }
        let mut direct = Wire::connect(&place(shared()));
        direct.send(&SSL_REQUEST);
        assert_eq!(direct.byte(), Some(b'N'));
        direct.send(&SSL_REQUEST);
        assert_eq!(sqlstate(&direct.until_end()), "0A000");
    });
}

#[test]
fn garbage_is_met_with_what_the_server_meets_it_with() {
    limited(|| {
        let proxy = Proxy::shared();
        let long = packet([0, 3, 0, 0], &vec![b'x'; 9_998]);
        let garbage: [&[u8]; 14] = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x7f\xff\xff\xff\0\x03\0\0",
            b"\xff\xff\xff\xff\0\x03\0\0user\0x\0\0",
            b"\0\0\0\0\0\x03\0\0and more",
            b"\0\0\0\x07\0\x03\0\0",
            b"\0\0\0\x08\0\x03\0\0",
            b"\0\0\0\x09\0\x03\0\0x",
            b"\0\0\0\x0e\0\x03\0\0user\0\0",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\0",
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\0\0\0\0\0",
            b"\0\0\0\x09\0\x04\0\0\0",
            b"\0\0\0\x09\0\x02\0\0\0",
            &long,
        ];
        for bytes in garbage {
            let direct = to_the_end(&place(shared()), bytes);
            assert_eq!(
                to_the_end(proxy.place(), bytes),
                direct,
                "{}",
                bytes.escape_ascii()
            );
        }
        // A client that says nothing, or not enough, and leaves.
        for bytes in [&b""[..], b"\0\0", &SSL_REQUEST[..7]] {
            let mut stream = TcpStream::connect(tcp(proxy.place())).unwrap();
            prepare(&stream);
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"");
        }
        proxy.session("postgres").run("SELECT 1");
    });
}

#[test]
fn every_parameter_is_the_servers_to_read() {
    limited(|| {
        let proxy = Proxy::shared();
        // The longest packet that the server takes: a name and a value make up what is missing.
        let head = b"user\0postgres\0application_name\0";
        let longest = [&head[..], &vec![b'a'; 10_004 - 8 - head.len() - 2], b"\0\0"].concat();
        assert_eq!(packet([0, 3, 0, 0], &longest).len(), 10_004);
        let bodies: [&[u8]; 16] = [
            b"user\0postgres\0\0",
            b"user\0nobody\0user\0postgres\0\0",
            b"user\0postgres\0user\0nobody\0\0",
            b"database\0postgres\0user\0postgres\0application_name\0\0\0",
            b"user\0postgres\0application_name\0\xff\xfe\x80\0\0",
            b"user\0postgres\0options\0-c search_path=a\\ b -c geqo=off\0\0",
            b"user\0postgres\0options\0-c no_such=1\0\0",
            b"user\0postgres\0extra_float_digits\0-3\0search_path\0x\0DateStyle\0German\0\0",
            b"user\0postgres\0client_encoding\0SJIS\0\0",
            b"user\0postgres\0client_encoding\0no\0\0",
            b"user\0postgres\0no_such_parameter\0x\0\0",
            b"user\0postgres\0database\0missing\0\0",
            b"user\0\xe4\0\0",
            b"database\0postgres\0\0",
            b"user\0postgres\0replication\0perhaps\0\0",
            &longest,
        ];
        for body in bodies {
            let mut sent = packet([0, 3, 0, 0], body);
            sent.extend(q("SHOW ALL"));
            let play = |place: &Place| -> Vec<String> {
                let mut wire = Wire::connect(place);
                let mut found = wire.ask(&sent);
                found.extend(wire.until_ready());
                let same = |frame: &&Frame| frame.tag != b'K';
                found.iter().filter(same).map(Frame::show).collect()
            };
            let direct = play(&place(shared()));
            assert_eq!(play(proxy.place()), direct, "{}", body.escape_ascii());
        }
    });
}

#[test]
fn protocol_versions_and_their_options_are_negotiated_with_the_server() {
    limited(|| {
        for server in servers() {
            let proxy = Proxy::start(server, |_, _| {});
            for minor in [[0, 0], [0, 1], [0, 2], [0, 3], [0x27, 0x0f]] {
                let body = b"user\0postgres\0_pq_.test_protocol_negotiation\0\0_pq_.x\0y\0\0";
                for body in [&b"user\0postgres\0\0"[..], body] {
                    let sent = packet([0, 3, minor[0], minor[1]], body);
                    let play = |place: &Place| -> (Vec<String>, usize) {
                        let mut wire = Wire::connect(place);
                        let found = wire.ask(&sent);
                        let key = found.iter().find(|frame| frame.tag == b'K').unwrap();
                        wire.key.clone_from(&key.body);
                        wire.send(&q("SELECT 'begun'; SELECT pg_sleep(600)"));
                        until_asleep_on(server, wire.pid());
                        let mut cancel = Wire::connect(place);
                        cancel.send(&cancel_request(&wire.key));
                        assert_eq!(cancel.until_end(), []);
                        assert_eq!(sqlstate(&wire.until_ready()), "57014");
                        let same = found.iter().filter(|frame| frame.tag != b'K');
                        (same.map(Frame::show).collect(), wire.key.len())
                    };
                    assert_eq!(play(proxy.place()), play(&place(server)), "3.{minor:?}");
                }
            }
        }
    });
}

#[test]
fn direct_tls_with_libpq() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
        });
        let ca = proxy.directory().join("root.crt");
        std::fs::write(&ca, &trusted().certificate).unwrap();
        let script = "
import sys, psycopg, threading
info = sys.argv[1]
with psycopg.connect(info, autocommit=True) as conn:
    assert conn.pgconn.ssl_in_use
    timer = threading.Timer(0.1, lambda: conn.cancel_safe(timeout=30))
    timer.start()
    try:
        conn.execute('SELECT pg_sleep(600)')
    except psycopg.errors.QueryCanceled:
        pass
    timer.join()
    print(conn.execute('SELECT 7').fetchone()[0])
";
        for mode in ["require", "verify-full"] {
            for negotiation in ["direct", "postgres"] {
                let more = format!(
                    "sslmode={mode} sslnegotiation={negotiation} sslrootcert={}",
                    ca.display()
                );
                let said = psycopg(&conninfo(&proxy, "postgres", &more), script);
                assert_eq!(said, "7", "{more}");
            }
        }
        // Within direct TLS a request for TLS is answered, once.
        let mut wire = under_tls(&proxy, Some(b"postgresql")).unwrap();
        wire.send(&SSL_REQUEST);
        assert_eq!(wire.byte(), Some(b'N'));
        wire.send(&SSL_REQUEST);
        assert_eq!(sqlstate(&wire.until_end()), "0A000");
        // Without TLS of its own lockkeeper hangs up, as the server does.
        let plain = Proxy::shared();
        assert!(under_tls(&plain, Some(b"postgresql")).is_err());
    });
}

#[test]
fn what_overruns_its_time_is_closed_without_a_word() {
    limited(|| {
        let server = start_server(|options| {
            options.superuser_password = Some("secret".to_owned());
            options.hba = Some("local all all trust\nhost all all all scram-sha-256\n".to_owned());
            let limit = ("authentication_timeout".to_owned(), "1s".to_owned());
            options.settings.push(limit);
        });
        let proxy = Proxy::start(&server, |config, _| {
            config.limits.startup_time = Duration::from_millis(500);
        });
        for place in [&place(&server), proxy.place()] {
            let mut silent = Wire::connect(place);
            let mut asked = Wire::connect(place);
            asked.send(&startup(&[("user", "postgres")]));
            assert_eq!(tags(&silent.until_end()), "");
            assert_eq!(tags(&asked.until_end()), "R", "not even an ErrorResponse");
        }
    });
}

#[test]
fn a_fatal_of_lockkeepers_own_has_every_field() {
    limited(|| {
        let whole = Proxy::shared();
        let session = whole.session("postgres");
        let unreachable = Proxy::start(shared(), |config, _| {
            config.upstream.address = "127.0.0.1:1".to_owned();
        });
        let full = Proxy::start(shared(), |config, _| config.limits.connections = 0);
        let secret = Proxy::start(shared(), |config, directory| {
            listen_with(config, directory, ClientTls::Require, &trusted().local);
        });
        for (proxy, expected) in [(unreachable, "57P03"), (full, "53300"), (secret, "28000")] {
            let found = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            assert_eq!(tags(&found), "E", "no authentication request before it");
            let error = &found[0];
            assert_eq!(error.field(b'C'), expected);
            assert_eq!(
                (error.field(b'S').as_str(), error.field(b'V').as_str()),
                ("FATAL", "FATAL")
            );
            assert!(error.field(b'M').starts_with("lockkeeper: "), "{error:?}");
        }
        drop(session);
    });
}

/// Something that isn't PostgreSQL: it answers one request with some bytes, then ends.
fn impostor(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        prepare(&stream);
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        let _ = stream.write_all(answer); // it may have been hung up on
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn a_server_that_answers_a_request_for_tls_as_no_server_does() {
    limited(|| {
        for answer in [
            &b"E\0\0\0\x20SFATAL\0MBUY NOW\0\0"[..],
            b"EBUY NOW\n\0",
            b"BUY NOW",
            b"SBUY NOW BUY NOW BUY NOW",
            b"NBUY NOW",
            b"",
        ] {
            let proxy = Proxy::start(shared(), |config, _| {
                config.upstream.address = impostor(answer).to_string();
                config.upstream.tls = ServerTls::Require;
            });
            let found = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            assert_eq!(
                (tags(&found).as_str(), sqlstate(&found).as_str()),
                ("E", "57P03")
            );
            assert!(!found[0].show().contains("BUY"), "{found:?}");
        }
    });
}

#[test]
fn a_server_that_speaks_no_frames_ends_its_own_session_only() {
    limited(|| {
        for answer in [
            &b"R\xff\xff\xff\xff"[..],
            b"R\0\0\0\0",
            b"R\0\0\0\x03",
            b"E\0\0\0\x05\0",
            b"E\0\0\0\x0cSFATAL\0",
            b"K\0\0\0\x04R\0\0\0\x04S\0\0\0\x04Z\0\0\0\x04",
            b"R\0\0\0\x08\0\0\0\0K\0\0\0\x06xxZ\0\0\0\x05IZ\xff\xff\xff\xff",
            b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IE\0\0\0\x05\0Z\0\0\0\x05ID\0\0\0\x04",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ] {
            let address = impostor(answer);
            let proxy = Proxy::start(shared(), |config, _| {
                config.upstream.address = address.to_string();
            });
            let mut wire = Wire::connect(proxy.place());
            wire.send(&startup(&[("user", "postgres")]));
            let mut received = 0;
            while wire.byte().is_some() {
                received += 1;
            }
            assert!(received < 1000, "{}", answer.escape_ascii());
            // The relay thread lives: a panic would fail the test when the proxy is dropped.
            assert_eq!(
                sqlstate(&Wire::connect(proxy.place()).start(&[("user", "x")])),
                "57P03"
            );
        }
    });
}
