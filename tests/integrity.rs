//! Integrity under load: writers keep a ledger of which they know each row; meanwhile statements of every family of
//! plans change it through lockkeeper, interrupted at random. Afterwards the rows are those that the writers know, the
//! schema is that of a plain run, and `amcheck` finds each index to hold each row.
//!
//! `LOCKKEEPER_TEST_SECONDS` makes it go on for longer, `LOCKKEEPER_TEST_SEED` has other interruptions.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

#[allow(dead_code)]
#[path = "common/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "it/harness.rs"]
mod harness;
#[path = "integrity/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "judged/snapshot.rs"]
mod snapshot;
#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use client::Client;
use harness::{Proxy, database, eventually, limited, place, shared};
use ledger::{CHANGES, Change, GIVEN, Numbers, WRITERS, Writer};
use snapshot::{schema, schema_difference};
use wire::{Frame, Place, Wire, cancel_request, q, sqlstate, tags};

/// How long the test may take before it fails instead of hanging.
const TEST_LIMIT: Duration = Duration::from_secs(7200);
/// An interruption comes within this time.
const SOON: u64 = 200;

/// Runs statements through lockkeeper, interrupted at random.
struct Changer<'a> {
    proxy: &'a Proxy,
    database: &'a str,
    direct: Client,
    numbers: Numbers,
    wire: Option<(Wire, TcpStream)>,
    /// How many were interrupted, and how many of those had an effect all the same.
    interrupted: (u32, u32),
}

impl Changer<'_> {
    fn session(&mut self) -> (Wire, TcpStream) {
        self.wire.take().unwrap_or_else(|| {
            let Place::Tcp(address) = self.proxy.place() else {
                panic!("TCP")
            };
            let socket = TcpStream::connect(address).unwrap();
            let mut wire = Wire::over_tcp(socket.try_clone().unwrap());
            wire.start(&[("user", "postgres"), ("database", self.database)]);
            (wire, socket)
        })
    }

    /// Runs a statement until it is done; most of the times it is interrupted first.
    fn run(&mut self, sql: &str, takes_back: bool) {
        while self.numbers.below(3) > 0 {
            let before = schema(&mut self.direct);
            if self.interrupted(sql) {
                return;
            }
            let now = schema(&mut self.direct);
            if takes_back && let Some(difference) = schema_difference(&now, &before) {
                panic!("{sql}, interrupted, leaves something behind: {difference}");
            }
        }
        let (mut wire, socket) = self.session();
        let frames = wire.query(sql);
        assert_eq!(reply(&frames), "CZ", "{sql}: {frames:?}");
        self.wire = Some((wire, socket));
    }

    /// Runs a statement and interrupts it; whether it is done all the same.
    fn interrupted(&mut self, sql: &str) -> bool {
        let after = Duration::from_millis(self.numbers.below(SOON));
        let (mut wire, socket) = self.session();
        let kind = self.numbers.below(3);
        self.interrupted.0 += 1;
        if kind == 0 {
            let millis = after.as_millis() + 1;
            wire.run(&format!("SET statement_timeout = {millis}"));
        }
        wire.send(&q(sql));
        let frames = match kind {
            0 => wire.until_ready(),
            1 => {
                thread::sleep(after);
                let mut cancel = Wire::connect(self.proxy.place());
                cancel.send(&cancel_request(&wire.key));
                cancel.until_end();
                wire.until_ready()
            }
            _ => {
                thread::sleep(after);
                return self.vanish(&wire, &socket, sql);
            }
        };
        let is_done = reply(&frames) == "CZ";
        assert!(
            is_done || sqlstate(&frames) == "57014",
            "{sql}: {} {frames:?}",
            reply(&frames)
        );
        if kind == 0 {
            wire.run("SET statement_timeout = 0");
        }
        self.wire = Some((wire, socket));
        self.interrupted.1 += u32::from(is_done);
        is_done
    }

    /// Closes the connection; whether the statement was done is seen by what it says of itself afterwards.
    fn vanish(&mut self, wire: &Wire, socket: &TcpStream, sql: &str) -> bool {
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        let sql_of_process = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
            wire.pid()
        );
        let direct = &mut self.direct;
        eventually("the server process ends", || {
            direct.value(&sql_of_process) == "0"
        });
        let change = CHANGES.iter().find_map(|change| change.about(sql));
        let (change, forth) = change.unwrap_or_else(|| panic!("{sql} is none of the changes"));
        let is_there = direct.value(change.is_there) == "t";
        let is_done = change.back.is_some() && is_there == forth;
        self.interrupted.1 += u32::from(is_done);
        is_done
    }

    fn forth(&mut self, change: &Change) {
        self.run(change.forth, change.takes_back);
        assert_eq!(
            self.direct.value(change.is_there),
            "t",
            "after {}",
            change.forth
        );
    }

    fn back(&mut self, change: &Change) {
        if let Some(back) = change.back {
            self.run(back, change.takes_back);
        }
    }
}

/// The reply without what may stand in front of it.
fn reply(frames: &[Frame]) -> String {
    tags(frames).replace(['N', 'S'], "")
}

/// What the statements themselves leave, without lockkeeper and without load.
fn plain() -> std::collections::BTreeSet<String> {
    let database = database();
    let mut client = Client::connect(shared().port(), &database, "postgres");
    client.ok(GIVEN);
    for change in CHANGES {
        client.ok(change.forth);
    }
    schema(&mut client)
}

/// Each index holds each row, in order.
fn check_indexes(client: &mut Client) {
    client.ok("CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools");
    let checked = client.column(
        "SELECT c.relname || tools.bt_index_check(c.oid, true)::text
         FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
         WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relnamespace = 'public'::regnamespace",
    );
    assert!(checked.len() > 5, "{checked:?}");
    client.ok("DROP SCHEMA tools CASCADE");
}

/// What the constraints say is so, as a query sees it that uses none of them.
fn check_constraints(client: &mut Client) {
    client.ok(
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    );
    for (what, sql) in ledger::VIOLATIONS {
        assert_eq!(client.value(sql), "0", "{what}");
    }
}

#[test]
fn what_writers_know_is_there_whatever_happened_to_the_schema() {
    limited(|| {
        let number = |name: &str| {
            let text = std::env::var(name).ok().filter(|text| !text.is_empty());
            text.map(|text| text.parse::<u64>().unwrap())
        };
        let seed = number("LOCKKEEPER_TEST_SEED").unwrap_or(1);
        let until = Instant::now()
            + Duration::from_secs(number("LOCKKEEPER_TEST_SECONDS").unwrap_or_default());
        let database = database();
        let mut direct = Client::connect(shared().port(), &database, "postgres");
        direct.ok(GIVEN);
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.small_table = ByteSize(0);
        });
        let ends = AtomicBool::new(false);
        let (writers, (rounds, interrupted)) = thread::scope(|scope| {
            let writers: Vec<_> = (1..=WRITERS)
                .map(|number| {
                    let mut wire = if number % 2 == 0 {
                        proxy.session(&database)
                    } else {
                        Wire::session(&place(shared()), &database)
                    };
                    let ends = &ends;
                    scope.spawn(move || {
                        let mut writer = Writer::new(number, seed);
                        while !ends.load(Ordering::Acquire) {
                            writer.work(&mut wire);
                        }
                        writer
                    })
                })
                .collect();
            // However it ends, the writers end too.
            let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                change(&proxy, &database, seed, until)
            }));
            ends.store(true, Ordering::Release);
            let writers: Vec<Writer> = writers.into_iter().map(|one| one.join().unwrap()).collect();
            let changed = changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (writers, changed)
        });
        let written: usize = writers.iter().map(|writer| writer.done).sum();
        let failed: usize = writers.iter().map(|writer| writer.failed).sum();
        println!(
            "{rounds} rounds of {} changes, {} interrupted, {} of those done all the same; {written} transactions of \
             the writers, {failed} of those failed, seed {seed}",
            CHANGES.len(),
            interrupted.0,
            interrupted.1
        );
        for writer in &writers {
            writer.check(&mut direct);
        }
        check_indexes(&mut direct);
        let difference = schema_difference(&schema(&mut direct), &plain());
        assert_eq!(difference, None, "the schema isn't that of a plain run");
        check_constraints(&mut direct);
    });
}

/// Changes the schema forth and back, once and until it is time, then forth; rounds, and how many were interrupted.
fn change(proxy: &Proxy, database: &str, seed: u64, until: Instant) -> (u32, (u32, u32)) {
    let mut changer = Changer {
        proxy,
        database,
        direct: Client::connect(shared().port(), database, "postgres"),
        numbers: Numbers::new(seed, 0),
        wire: None,
        interrupted: (0, 0),
    };
    let mut rounds = 0;
    loop {
        let is_last = rounds > 0 && Instant::now() >= until;
        rounds += 1;
        for change in CHANGES {
            changer.forth(change);
        }
        if is_last {
            return (rounds, changer.interrupted);
        }
        for change in CHANGES.iter().rev() {
            changer.back(change);
        }
    }
}
