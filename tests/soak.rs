//! What takes too long for every day: `make soak`, in a release build. Messages as long as PostgreSQL has them, a
//! thousand idle sessions, every cut of the differential streams, ten million events in the audit log, and ten
//! minutes of load in which clients and server processes are killed. `LOCKKEEPER_SOAK_SECONDS` makes the load
//! shorter or longer.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[path = "soak/audit.rs"]
mod audit;
#[path = "it/differential.rs"]
mod differential;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "it/program.rs"]
mod program;
#[allow(dead_code)]
#[path = "it/stream.rs"]
mod stream;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use self::harness::{eventually, limited, place, shared, start_server};
use self::program::{Program, idle_connections_cost_little};
use self::stream::{Stream, big_messages_pass};
use self::wire::{Wire, b, copy_data, copy_done, d, e, p, pbe, q, s, tags};

/// How long a test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(3600);
/// Cuts of one stream that is played in two parts: all of them, but for streams of long messages.
const MAX_CUTS: usize = 20_000;

/// How much more memory than before the program may ever hold, whatever the size of a message.
const BOUND_BYTES: u64 = 8 << 20;
/// Just below the longest value that PostgreSQL can send or take, 2^30 - 1 bytes with all that is around it.
const GIGABYTE: usize = 1_073_000_000;

#[test]
fn messages_of_a_gigabyte_pass_without_being_held() {
    limited(|| {
        let program = Program::start_with(shared(), &[("RUNTIME__THREADS", "1")]);
        let mut client = Stream::session(&program.place, "postgres");
        let patience = Some(Duration::from_secs(600)); // the server takes a while over each
        client.socket.set_read_timeout(patience).unwrap();
        client.socket.set_write_timeout(patience).unwrap();
        let before = program.peak_resident_bytes();
        big_messages_pass(&mut client, GIGABYTE, &|what| {
            let grown = program.peak_resident_bytes() - before;
            println!("{what} of a gigabyte: {grown} bytes more than before");
            assert!(
                grown < BOUND_BYTES,
                "{what}: {grown} bytes more than before"
            );
        });
    });
}

#[test]
fn a_thousand_idle_sessions_cost_little() {
    limited(|| {
        let each = idle_connections_cost_little(1000);
        println!("an idle connection costs {each} bytes");
    });
}

/// Clients at once.
const CLIENTS: u64 = 12;

/// Numbers that are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One piece of ordinary or guarded work.
fn work(wire: &mut Wire, numbers: &mut Numbers, own_table: &str) {
    let number = numbers.below(1 << 30);
    let messages = match numbers.below(12) {
        0..3 => q(&format!("SELECT {number}")),
        3 => [pbe("SELECT 1"), s()].concat(),
        4 => [
            p("kept", &format!("SELECT {number}")),
            b("", "kept", &[]),
            d(b'P', ""),
            e("", 0),
            wire::c(b'S', "kept"),
            s(),
        ]
        .concat(),
        5 => q("BEGIN; SELECT 1; COMMIT"),
        6 => q("SELECT 1/0"),
        7 => q(&format!("SELECT repeat('x', {})", number % 3_000_000)),
        8 => q("COPY (SELECT generate_series(1, 20000)) TO STDOUT"),
        9 => {
            wire.send(&q(&format!("COPY {own_table} FROM STDIN")));
            assert_eq!(wire.next().map(|frame| frame.tag), Some(b'G'));
            [
                copy_data(&b"1\n2\n".repeat(1 + number as usize % 5000)),
                copy_done(),
            ]
            .concat()
        }
        10 => q(&format!(
            "CREATE INDEX CONCURRENTLY i{number} ON {own_table}(a)"
        )),
        _ => q(&format!("TRUNCATE {own_table}")),
    };
    let frames = wire.ask(&messages);
    wire.received.clear();
    let last = frames.last().map(wire::Frame::show);
    assert_eq!(
        last.as_deref(),
        Some("Z I"),
        "after {}",
        messages.escape_ascii()
    );
}

/// A client: sessions that work a while and end in one of many ways.
fn client_life(
    program: &Program,
    direct: &mut Wire,
    number: u64,
    until: Instant,
    ends: &AtomicU64,
) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
    let own_table = format!("t{number}");
    while Instant::now() < until {
        let mut wire = program.session();
        wire.run(&format!(
            "DROP TABLE IF EXISTS {own_table}; CREATE TABLE {own_table}(a int)"
        ));
        let pieces = numbers.below(40);
        (0..pieces).for_each(|_| work(&mut wire, &mut numbers, &own_table));
        match numbers.below(5) {
            0 => wire.reset(),
            1 => {
                wire.send(&q("SELECT repeat('x', 10000000)"));
                wire.next();
                wire.reset();
            }
            2 => {
                wire.send(&q("SELECT pg_sleep(100)"));
                direct.run(&format!("SELECT pg_terminate_backend({})", wire.pid()));
                assert_eq!(tags(&wire.until_end()).trim_start_matches('T'), "E");
            }
            3 => {
                let index = format!("CREATE INDEX ON {own_table}(a)");
                wire.send(&q(&index));
                direct.run(&format!("SELECT pg_terminate_backend({})", wire.pid()));
                wire.until_end();
            }
            _ => {
                wire.send(&wire::x());
                wire.until_end();
            }
        }
        ends.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn load_with_kills_leaves_memory_flat() {
    limited(|| {
        let seconds =
            std::env::var("LOCKKEEPER_SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
        let server = start_server(|_| {});
        // A cache that is full soon: it would grow for long.
        let program = Program::start_with(&server, &[("GUARD__CACHE", "256KiB")]);
        let ends = AtomicU64::new(0);
        let mut marks = Vec::new();
        let part = Duration::from_secs(seconds) / 5;
        for _ in 0..5 {
            let until = Instant::now() + part;
            thread::scope(|scope| {
                for number in 0..CLIENTS {
                    let (program, server, ends) = (&program, &server, &ends);
                    scope.spawn(move || {
                        let mut direct = Wire::session(&place(server), "postgres");
                        client_life(program, &mut direct, number, until, ends);
                    });
                }
            });
            let is_zero =
                |metrics: &str, name: &str| metrics.lines().any(|line| line == format!("{name} 0"));
            eventually("all sessions are gone", || {
                let metrics = program.get("/metrics").1;
                is_zero(&metrics, "lockkeeper_connections")
                    && is_zero(&metrics, "lockkeeper_cancel_keys")
            });
            marks.push((program.resident_bytes(), program.descriptors()));
        }
        println!(
            "{} sessions; memory and descriptors at rest: {marks:?}",
            ends.into_inner()
        );
        let (first, last) = (marks[0], marks[4]);
        assert!(last.0 < first.0 + BOUND_BYTES, "memory grows: {marks:?}");
        assert!(last.1 <= first.1 + 4, "descriptors are left: {marks:?}"); // HTTP closes late
    });
}
