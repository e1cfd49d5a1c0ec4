//! Ordinary traffic: everything passes as it is, both ways, whatever its size; nobody hangs, and nobody disturbs
//! others.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytesize::ByteSize;

use crate::harness::{Proxy, database, eventually, limited, place, shared, start_server, value};
use crate::wire::{
    Place, SSL_REQUEST, Wire, b, c, column, commands, copy_data, copy_done, d, e, function_call, p,
    pbe, prepare, q, s, sqlstate, startup, tags, x,
};

#[test]
fn a_result_of_10_mb_arrives_byte_for_byte() {
    limited(|| {
        let proxy = Proxy::shared();
        let sql = "SELECT g, repeat(chr(33 + g % 90), 10000) FROM generate_series(1, 1000) g";
        let mut direct = Wire::session(&place(shared()), "postgres");
        let mut proxied = proxy.session("postgres");
        for wire in [&mut direct, &mut proxied] {
            wire.received.clear();
            assert_eq!(commands(&wire.query(sql)), ["SELECT 1000"]);
        }
        assert!(direct.received.len() > 10_000_000);
        assert!(direct.received == proxied.received);
    });
}

#[test]
fn a_parameter_of_20_mb_arrives_byte_for_byte() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        let parameter = "0123456789abcdef ÄÖÜ'\\\t\n".repeat(20 << 20 >> 4);
        let batch = [
            p("", "SELECT md5($1), length($1), $1::text"),
            b("", "", &[&parameter]),
            e("", 0),
            s(),
        ];
        let mut direct = Wire::session(&place(shared()), "postgres");
        for wire in [&mut direct, &mut wire] {
            wire.received.clear();
            assert_eq!(commands(&wire.ask(&batch.concat())), ["SELECT 1"]);
        }
        assert!(direct.received == wire.received);
        assert!(direct.received.len() > 20 << 20);
    });
}

#[test]
fn a_text_longer_than_guard_max_text_passes() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.max_text = ByteSize::mib(1);
        });
        let database = database();
        let mut wire = proxy.session(&database);
        let long = "x; create table y(a int) ".repeat(20 << 20 >> 4);
        let sql = format!("SELECT length('{long}')");
        assert_eq!(wire.value(&sql), long.len().to_string());
        assert_eq!(proxy.event_words(), [""; 0]);
        let padded = format!("/*{long}*/ CREATE TABLE t(a int)");
        assert_eq!(commands(&wire.query(&padded)), ["CREATE TABLE"]);
        let batch = [pbe(&format!("/*{long}*/ CREATE TABLE u(a int)")), s()].concat();
        assert_eq!(commands(&wire.ask(&batch)), ["CREATE TABLE"]);
        let because = "CREATE TABLE done: the text is longer than guard.max_text";
        assert_eq!(proxy.event_words(), [because, because]);
        wire.run("SELECT 1");
    });
}

#[test]
fn copy_both_ways() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session(&database());
        wire.run("CREATE TABLE t(a int, b text)");
        wire.send(&q("COPY t FROM STDIN"));
        assert_eq!(wire.next().unwrap().tag, b'G');
        let mut sent: Vec<u8> = Vec::new();
        for number in 0..1000 {
            let line = format!("{number}\t{}\n", "Q".repeat(1000));
            sent.extend(line.as_bytes());
            wire.send(&copy_data(line.as_bytes()));
        }
        wire.send(&copy_done());
        assert_eq!(commands(&wire.until_ready()), ["COPY 1000"]);
        let frames = wire.query("COPY t TO STDOUT");
        let data = frames.iter().filter(|frame| frame.tag == b'd');
        let received: Vec<u8> = data.flat_map(|frame| frame.body.clone()).collect();
        assert!(received == sent);
        assert_eq!(wire.value("SELECT count(*) FROM t"), "1000");
    });
}

#[test]
fn notifications_arrive_at_an_idle_session() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut listener = proxy.session(&database);
        listener.run("LISTEN news");
        proxy.session(&database).run("NOTIFY news, 'hello'");
        let frame = listener.next().unwrap();
        assert_eq!(frame.tag, b'A');
        assert_eq!(&frame.body[4..], b"news\0hello\0");
        listener.run("SELECT 1");
    });
}

#[test]
fn a_hundred_executes_in_one_batch() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        let mut batch = p("n", "SELECT $1::int");
        for number in 0..100 {
            batch.extend([b("", "n", &[&number.to_string()]), e("", 0)].concat());
        }
        batch.extend(s());
        let frames = wire.ask(&batch);
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(column(&frames), expected);
        assert_eq!(tags(&frames), format!("1{}Z", "2DC".repeat(100)));
        let frames = wire.ask(&[c(b'S', "n"), d(b'S', "n"), s()].concat());
        assert_eq!(sqlstate(&frames), "26000");
    });
}

#[test]
fn a_client_may_send_ahead_without_reading() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        // More than all buffers between client and server hold, in both directions at once.
        let query = q(&format!("SELECT '{}'", "y".repeat(10_000)));
        let count = 2000;
        let Place::Tcp(address) = proxy.place() else {
            panic!("TCP")
        };
        let mut sender = TcpStream::connect(address).unwrap();
        prepare(&sender);
        let mut reader = Wire::over_tcp(sender.try_clone().unwrap());
        sender
            .write_all(&startup(&[("user", "postgres"), ("database", "postgres")]))
            .unwrap();
        let writing = std::thread::spawn(move || {
            for _ in 0..count {
                sender.write_all(&query).unwrap();
            }
        });
        reader.until_ready();
        for _ in 0..count {
            assert_eq!(tags(&reader.until_ready()), "TDCZ");
        }
        writing.join().unwrap();
        wire.run("SELECT 1");
    });
}

#[test]
fn function_calls() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        let oid = wire.value("SELECT 'pg_catalog.int4pl'::regproc::oid");
        let frames = wire.ask(&function_call(oid.parse().unwrap(), &["40", "2"]));
        assert_eq!(tags(&frames), "VZ");
        assert_eq!(frames[0].body, b"\0\0\0\x0242");
        // A large object, as libpq writes it.
        wire.run("BEGIN");
        let oid = |wire: &mut Wire, name: &str| -> u32 {
            let sql = format!("SELECT 'pg_catalog.{name}'::regproc::oid");
            wire.value(&sql).parse().unwrap()
        };
        let create = oid(&mut wire, "lo_create");
        let frames = wire.ask(&function_call(create, &["0"]));
        assert_eq!(tags(&frames), "VZ");
        wire.run("ROLLBACK");
        let frames = wire.ask(&function_call(1, &["0"]));
        assert_eq!(sqlstate(&frames), "42883");
        wire.run("SELECT 1");
    });
}

#[test]
fn a_client_that_vanishes_takes_its_server_session_along() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut idle = proxy.session(&database);
        let mut polite = proxy.session(&database);
        let mut busy = proxy.session(&database);
        let mut in_transaction = proxy.session(&database);
        in_transaction.run("BEGIN");
        idle.run("SELECT 1");
        polite.send(&x());
        busy.send(&q(
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 20) b",
        ));
        drop((idle, polite, busy, in_transaction));
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        eventually("no session is left", || value("postgres", &count) == "0");
    });
}

#[test]
fn a_client_that_closes_its_direction_still_gets_its_answer() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        wire.send(&q("SELECT pg_sleep(0.2), 'late'"));
        wire.close_write();
        assert_eq!(tags(&wire.until_end()), "TDCZ");
    });
}

#[test]
fn the_servers_last_word_is_relayed_once() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut wire = proxy.session("postgres");
        let pid = wire.pid();
        value("postgres", &format!("SELECT pg_terminate_backend({pid})"));
        let frames = wire.until_end();
        assert_eq!(tags(&frames), "E");
        assert_eq!(frames[0].field(b'C'), "57P01");
        assert!(!frames[0].field(b'M').contains("lockkeeper"), "{frames:?}");
        let mut wire = proxy.session("postgres");
        wire.send(&q(
            "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60)",
        ));
        assert_eq!(tags(&wire.until_end()), "TE");
    });
}

#[test]
fn a_server_that_dies_under_clients_is_told_to_them() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |_, _| {});
        let mut idle = proxy.session("postgres");
        let mut busy = proxy.session("postgres");
        busy.send(&q("SELECT pg_sleep(600)"));
        server.stop_immediately().unwrap();
        for wire in [&mut idle, &mut busy] {
            let frames = wire.until_end();
            let last = frames.last().unwrap();
            assert_eq!(
                (last.tag, last.field(b'S').as_str()),
                (b'E', "FATAL"),
                "{frames:?}"
            );
        }
        let frames = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("E", "57P03")
        );
        server.restart().unwrap();
        proxy.session("postgres").run("SELECT 1");
    });
}

#[test]
fn unix_sockets_on_both_sides() {
    limited(|| {
        let server = shared();
        let proxy = Proxy::start(server, |config, directory| {
            config.listen.address = vec![directory.display().to_string()];
            let socket = server.socket_directory().display();
            config.upstream.address = format!("{socket}:{}", server.port());
        });
        assert!(matches!(proxy.place(), Place::Unix(..)));
        let mut wire = proxy.session("postgres");
        assert_eq!(wire.value("SELECT inet_client_addr()"), "");
        let mut other = Wire::connect(proxy.place());
        other.send(&SSL_REQUEST);
        assert_eq!(other.byte(), Some(b'N'), "no TLS on Unix sockets");
        other.start(&[("user", "postgres")]);
        other.run("SELECT 1");
        let socket = proxy.directory().join(".s.PGSQL.6432");
        assert!(socket.exists());
        drop((wire, other, proxy));
        assert!(!socket.exists());
    });
}

#[test]
fn one_client_too_many_is_told_so() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| config.limits.connections = 1);
        let first = proxy.session("postgres");
        let frames = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("E", "53300")
        );
        drop(first);
        eventually("there is room again", || {
            let frames = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            frames.last().map(|frame| frame.tag) == Some(b'Z')
        });
    });
}

#[test]
fn garbage_at_start_up_disturbs_nobody() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut bystander = proxy.session("postgres");
        let Place::Tcp(address) = proxy.place() else {
            panic!("TCP")
        };
        let long = [&[0, 0, 0xff, 0xff, 0, 3, 0, 0][..], &[b'x'; 70_000]].concat();
        for garbage in [
            &b""[..],
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x7f\xff\xff\xff\0\x03\0\0",
            b"\xff\xff\xff\xff\0\x03\0\0",
            b"\0\0\0\0\0\x03\0\0",
            b"\0\0\0\x08\0\x03\0\0",
            b"\0\0\0\x09\0\x03\0\0x",
            b"\0\0\0\x0e\0\x03\0\0user\0\0",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\0\0\0\0\0",
            b"\0\0\x40\0\x04\xd2\x16\x2e",
            b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x08\x04\xd2\x16\x2f",
            &long,
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            prepare(&stream);
            let _ = stream.write_all(garbage);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer); // whatever it is, it ends
            assert!(!answer.contains(&b'Z'), "{}", garbage.escape_ascii());
            bystander.run("SELECT 1");
        }
    });
}

#[test]
fn a_frame_that_no_server_accepts_ends_the_session() {
    limited(|| {
        let proxy = Proxy::shared();
        let mut bystander = proxy.session("postgres");
        for frame in [
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"P\0\0\0\0",
            b"S\x7f\0\0\0",
        ] {
            let mut wire = proxy.session("postgres");
            wire.send(frame);
            let frames = wire.until_end();
            assert_eq!(
                (tags(&frames).as_str(), sqlstate(&frames).as_str()),
                ("E", "08P01"),
                "{}",
                frame.escape_ascii()
            );
        }
        let mut wire = proxy.session("postgres");
        wire.send(b"?\0\0\0\x04");
        assert_eq!(sqlstate(&wire.until_end()), "08P01");
        bystander.run("SELECT 1");
    });
}

#[test]
fn other_protocol_versions_and_options_are_the_servers_affair() {
    limited(|| {
        let proxy = Proxy::shared();
        let parameters = [
            ("user", "postgres"),
            ("database", "postgres"),
            ("options", "-c work_mem=1234kB"),
            ("extra_float_digits", "1"),
        ];
        let mut wire = Wire::connect(proxy.place());
        wire.start(&parameters);
        assert_eq!(wire.value("SHOW work_mem"), "1234kB");
        let mut packet = startup(&[("user", "postgres"), ("_pq_.test", "1")]);
        packet[7] = 99; // 3.99
        for place in [&place(shared()), proxy.place()] {
            let frames = Wire::connect(place).ask(&packet);
            assert_eq!(frames[0].tag, b'v');
            assert_eq!(frames.last().unwrap().tag, b'Z');
        }
        packet[5] = 2; // 2.99
        let mut answers = [Vec::new(), Vec::new()];
        for (place, answer) in [&place(shared()), proxy.place()].iter().zip(&mut answers) {
            let Place::Tcp(address) = place else {
                panic!("TCP")
            };
            let mut stream = TcpStream::connect(address).unwrap();
            prepare(&stream);
            stream.write_all(&packet).unwrap();
            let _ = stream.read_to_end(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert!(!answers[0].is_empty());
        let frames =
            Wire::connect(proxy.place()).start(&[("user", "postgres"), ("database", "no")]);
        assert_eq!(sqlstate(&frames), "3D000");
    });
}
