//! Back-pressure: whoever doesn't read stops whoever sends to it, and nobody else; lockkeeper holds no more of a
//! message than it looks at. What it holds is measured from outside, at the program's own process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{database, eventually, limited, place, shared, start_server, value};
use crate::program::{Program, idle_connections_cost_little, raise_own_limit, signal};
use crate::stream::{Stream, big_messages_pass};
use crate::wire::{
    Place, Wire, cancel_request, commands, copy_done, pbe, prepare, q, s, sqlstate, startup, tags,
    x,
};

const MIB: usize = 1 << 20;
/// How much more memory than before the program may ever have held.
const BOUND_BYTES: u64 = 8 << 20;
/// A size that nobody could hold unseen.
const BIG: usize = 64 * MIB;
/// So many looks in a row must show the same before something counts as standing still.
const LOOKS: u32 = 15;

/// The program with one relay thread: whoever blocks it blocks everybody.
fn one_thread() -> Program {
    let program = Program::start_with(shared(), &[("RUNTIME__THREADS", "1")]);
    for _ in 0..8 {
        program.session().run("SELECT 1");
    }
    program
}

/// How much the highest mark of memory may grow.
struct Bounded {
    before: u64,
}

impl Bounded {
    fn from_now(program: &Program) -> Bounded {
        Bounded {
            before: program.peak_resident_bytes(),
        }
    }

    #[track_caller]
    fn assert(&self, program: &Program, when: &str) {
        let grown = program.peak_resident_bytes() - self.before;
        assert!(
            grown < BOUND_BYTES,
            "{when}: {grown} bytes more than before"
        );
    }
}

/// Waits until something has been so for a while.
fn stands_still(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut looks = 0;
    eventually(what, || {
        looks = if is_so() { looks + 1 } else { 0 };
        looks == LOOKS
    });
}

/// A stopped process goes on when this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Stopped {
        signal(pid, "STOP");
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-s", "CONT", &self.0.to_string()])
            .status();
    }
}

#[test]
fn a_client_that_does_not_read_stops_its_server_and_nobody_else() {
    limited(|| {
        let program = one_thread();
        let mut bystander = program.session();
        let bounded = Bounded::from_now(&program);
        let mut slow = Stream::session(&program.place, "postgres");
        slow.send(&q(
            "SELECT repeat('x', 100000) FROM generate_series(1, 2000)",
        ));
        let waiting = format!(
            "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = {}",
            slow.pid
        );
        stands_still("the server waits for its client", || {
            value("postgres", &waiting) == "ClientWrite"
        });
        bounded.assert(&program, "nothing is read");
        for _ in 0..100 {
            assert_eq!(bystander.value("SELECT 'served'"), "served");
        }
        let answer = slow.answer();
        assert!(answer.says("SELECT 2000"), "{}", answer.tags);
        // Each row: two bytes of count, four of length (0x000186a0), and the value.
        assert_eq!(answer.data_bytes, 2000 * (6 + 100_000));
        let length = 1 + 0x01 + 0x86 + 0xa0;
        assert_eq!(answer.sum, 2000 * (length + 100_000 * u64::from(b'x')));
        bounded.assert(&program, "all is read");
        assert!(slow.query("SELECT 1").says("SELECT 1"));
    });
}

#[test]
fn a_server_that_does_not_read_stops_its_client_and_nobody_else() {
    limited(|| {
        let database = database();
        let program = one_thread();
        let mut bystander = program.session();
        let mut client = Stream::session(&program.place, &database);
        client.query("CREATE UNLOGGED TABLE t(a text)");
        let bounded = Bounded::from_now(&program);
        client.send(&q("COPY t FROM STDIN"));
        assert_eq!(client.answer_until(b'G').tags, "G");
        let stopped = Stopped::new(client.pid);
        client.socket.set_write_timeout(None).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let sender = thread::spawn(move || {
            for _ in 0..150 {
                client.send_big(b'd', b"", b'y', MIB - 1, b"\n");
                counter.fetch_add(1, Ordering::Release);
            }
            client.send(&copy_done());
            client.answer()
        });
        let mut before = usize::MAX;
        stands_still("the client can send no more", || {
            let now = sent.load(Ordering::Acquire);
            std::mem::replace(&mut before, now) == now
        });
        assert!(
            before < 100,
            "{before} MiB were taken for a server that reads nothing"
        );
        bounded.assert(&program, "the server is stopped");
        for _ in 0..100 {
            assert_eq!(bystander.value("SELECT 'served'"), "served");
        }
        drop(stopped);
        assert!(sender.join().unwrap().says("COPY 150"));
        bounded.assert(&program, "all is copied");
        let all = "SELECT count(*) || ' ' || sum(length(a)) FROM t WHERE a !~ '[^y]'";
        assert_eq!(value(&database, all), format!("150 {}", 150 * (MIB - 1)));
    });
}

#[test]
fn a_client_that_sends_byte_by_byte_delays_nobody() {
    limited(|| {
        let program = one_thread();
        let mut bystander = program.session();
        let mut slow = Wire::connect(&program.place);
        let hello = startup(&[("user", "postgres"), ("database", "postgres")]);
        let queries = [
            q("SELECT 'one', 2"),
            [pbe("SELECT $$three$$"), s()].concat(),
        ];
        for (message, expected) in [
            (&hello, "ready"),
            (&queries[0], "SELECT 1"),
            (&queries[1], "SELECT 1"),
        ] {
            for byte in message {
                slow.send(&[*byte]);
                assert_eq!(bystander.value("SELECT 'served'"), "served");
            }
            let frames = slow.until_ready();
            assert_eq!(tags(&frames).chars().last(), Some('Z'));
            if expected != "ready" {
                assert_eq!(commands(&frames), [expected]);
            }
        }
    });
}

#[test]
fn messages_of_64_mib_pass_without_being_held() {
    limited(|| {
        let program = one_thread();
        let bounded = Bounded::from_now(&program);
        let mut client = Stream::session(&program.place, "postgres");
        big_messages_pass(&mut client, BIG, &|what| bounded.assert(&program, what));
    });
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    limited(|| {
        let each = idle_connections_cost_little(1000);
        println!("an idle connection costs {each} bytes");
    });
}

#[test]
fn connections_over_the_limit_are_refused_and_silent_ones_closed() {
    limited(|| {
        raise_own_limit(4000);
        let program = Program::start_with(
            shared(),
            &[
                ("LIMITS__CONNECTIONS", "20"),
                ("LIMITS__STARTUP_TIME", "8s"),
                ("OPERATOR__URL", ""), // logins of its own would be descriptors that come and go
            ],
        );
        let Place::Tcp(address) = &program.place else {
            panic!("TCP")
        };
        let mut sessions: Vec<Wire> = (0..10).map(|_| program.session()).collect();
        let idle = program.descriptors();
        let hello = startup(&[("user", "postgres"), ("database", "postgres")]);
        let mut half_open: Vec<TcpStream> = Vec::new();
        for number in 0..2000 {
            let mut stream = TcpStream::connect(address).unwrap();
            prepare(&stream);
            // Nothing, a part of a length, a part of a packet.
            stream.write_all(&hello[..[0, 3, 20][number % 3]]).unwrap();
            half_open.push(stream);
        }
        let frames = Wire::connect(&program.place).start(&[("user", "postgres")]);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("E", "53300")
        );
        for session in &mut sessions {
            assert_eq!(session.value("SELECT 'served'"), "served");
        }
        for mut stream in half_open {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer); // a reset is an end too
            assert!(
                answer.is_empty() || answer[0] == b'E',
                "{}",
                answer.escape_ascii()
            );
        }
        eventually("their descriptors are closed", || {
            program.descriptors() == idle
        });
        program.session().run("SELECT 1");
        for session in &mut sessions {
            session.run("SELECT 1");
        }
    });
}

/// The ways in which a client comes and goes.
fn come_and_go(program: &Program, number: u32) {
    let hello = startup(&[("user", "postgres"), ("database", "postgres")]);
    let reset = |wire: Wire| wire.reset();
    match number % 8 {
        0 => drop(Wire::connect(&program.place)),
        1 => reset(Wire::connect(&program.place)),
        2 => {
            let mut wire = Wire::connect(&program.place);
            wire.send(&hello[..hello.len() / 2]);
            reset(wire);
        }
        3 => {
            let mut wire = Wire::connect(&program.place);
            wire.send(&hello);
            reset(wire); // perhaps while the server is being connected to
        }
        4 => {
            let mut wire = program.session();
            wire.send(&x());
            wire.until_end();
        }
        5 => reset(program.session()),
        6 => {
            let mut wire = program.session();
            wire.send(&q("SELECT repeat('x', 10000000)"));
            wire.next();
            reset(wire);
        }
        _ => {
            let mut wire = program.session();
            wire.send(&q("COPY (SELECT 1) TO STDOUT")[..10]);
            let mut cancelling = Wire::connect(&program.place);
            cancelling.send(&cancel_request(&wire.key));
            cancelling.until_end();
            reset(wire);
        }
    }
}

#[test]
fn a_thousand_clients_that_come_and_go_leave_nothing_behind() {
    limited(|| {
        let server = start_server(|_| {});
        let program = Program::start(&server);
        program.session().run("SELECT 1");
        let mut direct = Wire::session(&place(&server), "postgres");
        let own = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'lockkeeper%'";
        eventually("lockkeeper's own logins are there", || {
            direct.value(own) == "3"
        });
        let mut at_rest = 0;
        stands_still("all threads run", || {
            let now = program.descriptors();
            std::mem::replace(&mut at_rest, now) == now
        });
        let left = || {
            let descriptors = program.descriptors().saturating_sub(at_rest); // before HTTP needs one
            let metrics = program.get("/metrics").1;
            let gauge = |name: &str| {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().trim().to_owned()
            };
            let sessions = gauge("lockkeeper_connections ");
            let keys = gauge("lockkeeper_cancel_keys ");
            format!("{descriptors} descriptors, {sessions} sessions, {keys} keys")
        };
        let round = |count: u32| {
            let each = |part: u32| {
                (0..count / 4).for_each(|number| come_and_go(&program, number + part));
            };
            thread::scope(|scope| {
                for part in 0..4 {
                    scope.spawn(move || each(part));
                }
            });
            let mut now = String::new();
            let nothing = "0 descriptors, 0 sessions, 0 keys";
            eventually("nothing is left", || {
                let before = std::mem::replace(&mut now, left());
                if before != now {
                    println!("left: {now}");
                }
                now == nothing
            });
        };
        round(400);
        let before = program.resident_bytes();
        round(1000);
        let grown = program.resident_bytes().saturating_sub(before);
        assert!(grown < 2 << 20, "{grown} bytes more after 1000 clients");
        let others = "SELECT count(*) FROM pg_stat_activity \
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
             AND application_name NOT LIKE 'lockkeeper%'";
        eventually("the server's sessions are gone", || {
            direct.value(others) == "0"
        });
    });
}
