//! The two byte streams themselves: who closes what and when, what arrives unasked, what is left undone.

use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::{alike, tcp};
use crate::harness::{
    Proxy, database, eventually, limited, place, shared, start_server, until_asleep,
    until_it_waits_for_its_lock, value,
};
use crate::wire::{
    Frame, Place, Wire, b, column, e, p, pbe, prepare, q, s, sqlstate, startup, tags, x,
};

fn until_gone(pid: u32) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the server session ends", || value("postgres", &sql) == "0");
}

#[test]
fn terminate_in_the_middle_of_a_batch_rolls_back() {
    limited(|| {
        let insert = "INSERT INTO base VALUES (7)";
        alike(&[
            (
                "behind an Execute that isn't synced",
                [pbe(insert), x()].concat(),
            ),
            ("behind a synced one", [pbe(insert), s(), x()].concat()),
            ("in a block", [q("BEGIN"), q(insert), x()].concat()),
            ("with more behind it", [q(insert), x(), q(insert)].concat()),
        ]);
    });
}

#[test]
fn a_client_that_says_all_and_closes_its_direction() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        Wire::session(&place(shared()), &database).run("CREATE TABLE t(a int)");
        let sent = [
            q("INSERT INTO t VALUES (1)"),
            q("SELECT repeat('x', 5000000)"),
            pbe("SELECT 2"),
            s(),
        ];
        let ask = |place: &Place| {
            let mut wire = Wire::session(place, &database);
            wire.received.clear();
            wire.send(&sent.concat());
            wire.close_write();
            wire.until_end();
            wire.received
        };
        assert!(ask(&place(shared())) == ask(proxy.place()));
        assert_eq!(value(&database, "SELECT count(*) FROM t"), "2");
        // The middle of a message is never run.
        let mut wire = proxy.session(&database);
        wire.send(&q("INSERT INTO t VALUES (3)")[..20]);
        wire.close_write();
        assert_eq!(tags(&wire.until_end()), "");
        assert_eq!(value(&database, "SELECT count(*) FROM t"), "2");
    });
}

#[test]
fn a_client_that_vanishes_while_its_statement_runs() {
    limited(|| {
        let proxy = Proxy::shared();
        for reset in [false, true] {
            let Place::Tcp(address) = proxy.place() else {
                panic!("TCP")
            };
            let stream = TcpStream::connect(address).unwrap();
            let mut wire = Wire::over_tcp(stream.try_clone().unwrap());
            wire.start(&[("user", "postgres"), ("database", "postgres")]);
            let pid = wire.pid();
            // As directly: without this setting the server doesn't look before the statement is done.
            wire.run("SET client_connection_check_interval = '100ms'");
            wire.send(&q("SELECT 'begun'; SELECT pg_sleep(600)"));
            until_asleep(pid);
            if reset {
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            drop((wire, stream));
            until_gone(pid);
        }
    });
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_result() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |_, _| {});
        let mut wire = proxy.session("postgres");
        wire.send(&q(
            "SELECT g, repeat('r', 1000) FROM generate_series(1, 1000000) g",
        ));
        for _ in 0..100 {
            wire.next().unwrap();
        }
        server.stop_immediately().unwrap();
        let mut rows = 99;
        let rest = wire.until_end();
        for (at, frame) in rest.iter().enumerate() {
            match frame.tag {
                b'D' => {
                    rows += 1;
                    assert_eq!(column(std::slice::from_ref(frame)), [rows.to_string()]);
                }
                // The end of what was sent was the end of a message.
                b'E' => {
                    assert_eq!(frame.field(b'S'), "FATAL");
                    assert!(frame.field(b'C').starts_with("57P0"), "{frame:?}");
                    assert_eq!(at, rest.len() - 1);
                }
                // What a server says that is told to stop at once.
                b'N' => assert!(frame.field(b'C').starts_with("57P0"), "{frame:?}"),
                _ => panic!("{frame:?}"),
            }
        }
        assert!(rows < 1_000_000);
    });
}

#[test]
fn the_servers_own_timeouts_are_told_once() {
    limited(|| {
        let proxy = Proxy::shared();
        for (setting, begin, expected) in [
            ("idle_session_timeout", "SELECT 1", "57P05"),
            ("idle_in_transaction_session_timeout", "BEGIN", "25P03"),
        ] {
            for place in [&place(shared()), proxy.place()] {
                let mut wire = Wire::session(place, "postgres");
                wire.run(&format!("SET {setting} = '50ms'"));
                wire.send(&q(begin));
                wire.until_ready();
                let found = wire.until_end();
                assert_eq!(
                    (tags(&found).as_str(), sqlstate(&found).as_str()),
                    ("E", expected)
                );
            }
        }
    });
}

#[test]
fn settings_that_a_reload_changes_are_told_with_the_next_answer() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |_, _| {});
        let mut wire = proxy.session("postgres");
        let mut admin = Wire::session(&place(&server), "postgres");
        let hidden = r"SELECT 'a\' /* ' ; CREATE TABLE t(a int); -- */";
        for (value, expected) in [("off", "CREATE TABLE done"), ("on", "")] {
            admin.run(&format!(
                "ALTER SYSTEM SET standard_conforming_strings = {value}"
            ));
            admin.run("SELECT pg_reload_conf()");
            eventually("the setting is told", || {
                let frames = wire.query("SELECT 1");
                let told = format!("standard_conforming_strings\0{value}\0");
                frames
                    .iter()
                    .any(|frame| frame.tag == b'S' && frame.body == told.as_bytes())
            });
            let before = proxy.event_words().len();
            wire.query(hidden);
            let events = proxy.event_words().split_off(before);
            assert_eq!(events.join(" "), expected);
        }
    });
}

#[test]
fn notifications_reach_a_session_whose_schema_change_waits() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut holder = Wire::session(&place(shared()), &database);
        holder.run("CREATE TABLE t(a int)");
        holder.run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE");
        let mut wire = proxy.session(&database);
        wire.run("LISTEN news");
        wire.send(&q("ALTER TABLE t ADD COLUMN b int"));
        until_it_waits_for_its_lock(wire.pid());
        Wire::session(&place(shared()), &database).run("NOTIFY news, 'hello'");
        let told = std::iter::from_fn(|| wire.next())
            .find(|frame| frame.tag != b'N')
            .unwrap();
        assert_eq!((told.tag, &told.body[4..]), (b'A', &b"news\0hello\0"[..]));
        holder.run("COMMIT");
        assert!(tags(&wire.until_ready()).ends_with("CZ"));
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_itself_alone() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| config.runtime.threads = 1);
        let mut slow = proxy.session("postgres");
        let count = 20_000;
        slow.send(&q(&format!(
            "SELECT repeat('s', 5000) FROM generate_series(1, {count})"
        )));
        slow.next().unwrap();
        // All the others are on the same thread.
        for _ in 0..5 {
            let mut other = proxy.session("postgres");
            assert_eq!(
                other.value("SELECT length(repeat('o', 1000000))"),
                "1000000"
            );
        }
        assert_eq!(
            tags(&slow.until_ready()),
            format!("{}CZ", "D".repeat(count))
        );
    });
}

#[test]
fn one_byte_at_a_time() {
    limited(|| {
        let proxy = Proxy::shared();
        let sent = [
            startup(&[("user", "postgres"), ("database", "postgres")]),
            q("SELECT 1"),
            [
                p("n", "COMMENT ON ROLE postgres IS NULL"),
                b("", "n", &[]),
                e("", 0),
                s(),
            ]
            .concat(),
            q("COMMENT ON ROLE postgres IS NULL"),
            x(),
        ];
        let mut stream = TcpStream::connect(tcp(proxy.place())).unwrap();
        prepare(&stream);
        let mut wire = Wire::over_tcp(stream.try_clone().unwrap());
        for byte in sent.concat() {
            stream.write_all(&[byte]).unwrap();
        }
        let found = tags(&wire.until_end());
        assert!(found.ends_with("KZTDCZ12CZCZ"), "{found}");
    });
}

#[test]
fn ipv6_on_both_sides() {
    limited(|| {
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return; // this machine has no IPv6
        }
        let server = start_server(|options| {
            let addresses = "127.0.0.1,::1".to_owned();
            options
                .settings
                .push(("listen_addresses".to_owned(), addresses));
        });
        let upstream = format!("[::1]:{}", server.port());
        let proxy = Proxy::start(&server, |config, _| {
            config.listen.address = vec!["[::1]:0".to_owned()];
            config.upstream.address.clone_from(&upstream);
        });
        assert!(matches!(proxy.place(), Place::Tcp(SocketAddr::V6(_))));
        let mut wire = proxy.session("postgres");
        assert_eq!(wire.value("SELECT host(inet_client_addr())"), "::1");
        wire.run("CREATE TABLE t(a int)");
        let events = proxy.events();
        let client = events[0]["client"].as_str().unwrap();
        assert!(client.starts_with("[::1]:"), "{client}");
    });
}

#[test]
fn a_probe_leaves_nothing_behind() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| config.limits.connections = 1);
        for _ in 0..50 {
            let stream = TcpStream::connect(tcp(proxy.place())).unwrap();
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(stream);
            drop(TcpStream::connect(tcp(proxy.place())).unwrap());
        }
        eventually("the place is free", || {
            let found: Vec<Frame> = Wire::connect(proxy.place()).start(&[("user", "postgres")]);
            tags(&found).ends_with('Z')
        });
    });
}
