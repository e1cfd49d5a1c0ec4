//! One lockkeeper takes over from another, and no client notices.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use crate::harness::{clean_command, eventually, limited, run, shared};
use crate::program::{PROGRAM, Program, lockkeeper, raise_own_limit};
use crate::wire::{Place, SSL_REQUEST, Wire, sqlstate, x};

/// Clients that connect, ask and leave, again and again.
const CLIENTS: usize = 4;
/// How many times lockkeeper is replaced.
const ROUNDS: usize = 3;

/// Clients that connect while lockkeeper doesn't look: more than it accepts at a time, fewer than may wait.
const WAITING: usize = 600;

fn upstream() -> String {
    format!("127.0.0.1:{}", shared().port())
}

fn reusing(command: &mut Command) {
    command.env("LOCKKEEPER__LISTEN__REUSE_PORT", "true");
}

/// Clients under way; each panics when a session isn't to be had or doesn't answer.
struct Traffic {
    ends: Arc<AtomicBool>,
    sessions: Arc<AtomicU32>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    fn start(place: &Place) -> Traffic {
        let ends = Arc::new(AtomicBool::new(false));
        let sessions = Arc::new(AtomicU32::new(0));
        let client = |_| {
            let (ends, sessions, place) = (Arc::clone(&ends), Arc::clone(&sessions), place.clone());
            thread::spawn(move || {
                while !ends.load(Ordering::Acquire) {
                    let mut wire = Wire::session(&place, "postgres");
                    assert_eq!(wire.value("SELECT 'answered'"), "answered");
                    wire.send(&x());
                    sessions.fetch_add(1, Ordering::AcqRel);
                }
            })
        };
        Traffic {
            clients: (0..CLIENTS).map(client).collect(),
            ends,
            sessions,
        }
    }

    /// Waits until some more sessions have come and gone.
    fn go_on(&self) {
        let before = self.sessions.load(Ordering::Acquire);
        eventually("clients go on", || {
            let is_broken = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!is_broken, "a client has failed");
            self.sessions.load(Ordering::Acquire) >= before + 20
        });
    }

    fn end(self) {
        self.ends.store(true, Ordering::Release);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

/// Replaces lockkeeper again and again while clients come and go.
fn take_over(listen: &str) {
    let mut old = Program::start_at(listen, &upstream(), reusing);
    let place = old.place.clone();
    let listen = match &place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(..) => listen.to_owned(),
    };
    let traffic = Traffic::start(&place);
    traffic.go_on();
    for _ in 0..ROUNDS {
        let new = Program::start_at(&listen, &upstream(), reusing);
        traffic.go_on();
        assert!(!new.logged("lockkeeper serves").is_empty());
        old.signal("TERM");
        assert_eq!(old.ends_with(), Some(0));
        traffic.go_on();
        assert!(!new.logged("session begins").is_empty());
        old = new;
    }
    traffic.end();
}

#[test]
fn no_client_fails_while_one_takes_over_a_port() {
    limited(|| take_over("127.0.0.1:0"));
}

#[test]
fn no_client_fails_while_one_takes_over_a_unix_socket() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        take_over(&path);
        let left: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        // The last one is killed by the test; nothing else is there.
        assert_eq!(left, [".s.PGSQL.6432"]);
    });
}

#[test]
fn who_waits_to_be_accepted_is_served() {
    limited(|| {
        raise_own_limit(8 * WAITING as u64);
        let mut program = Program::start(shared());
        program.session().run("SELECT 1");
        program.signal("STOP");
        let connect = |_| {
            let mut wire = Wire::connect(&program.place);
            wire.send(&SSL_REQUEST);
            wire
        };
        let mut waiting: Vec<Wire> = (0..WAITING).map(connect).collect();
        // It learns of the clients and of its end at the same time.
        program.signal("TERM");
        program.signal("CONT");
        for wire in &mut waiting {
            assert_eq!(wire.byte(), Some(b'N'));
        }
        drop(waiting);
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn a_client_that_has_just_connected_may_say_what_it_came_for() {
    limited(|| {
        let mut program = Program::start(shared());
        let mut idle = program.session();
        idle.run("SELECT 1");
        let mut new = program.session();
        program.signal("TERM");
        assert_eq!(new.value("SELECT 'said'"), "said");
        assert_eq!(sqlstate(&idle.until_end()), "57P01");
        assert_eq!(sqlstate(&new.until_end()), "57P01");
        assert_eq!(program.ends_with(), Some(0));
    });
}

#[test]
fn an_address_that_is_taken_is_an_error_with_a_remedy() {
    limited(|| {
        let alone = Program::start(shared());
        let address = format!("127.0.0.1:{}", alone.place.port());
        let arguments = ["serve", "--http", "", "--listen", &address];
        let said = lockkeeper(&arguments);
        assert_eq!(said.status.code(), Some(2));
        assert!(said.err.contains("listen.reuse_port = true"), "{said:?}");
        assert!(said.err.contains(&address), "{said:?}");
        let mut command = clean_command(PROGRAM);
        reusing(command.args(arguments));
        let said = run(&mut command, "");
        assert_eq!(said.status.code(), Some(2));
        let needle = "without listen.reuse_port";
        assert!(said.err.contains(needle), "{said:?}");

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let mut alone = Program::start_at(&path, &upstream(), |_| {});
        let arguments = ["serve", "--http", "", "--listen", &path];
        let said = lockkeeper(&arguments);
        assert_eq!(said.status.code(), Some(2));
        assert!(said.err.contains("listen.reuse_port = true"), "{said:?}");
        alone.session().run("SELECT 1");
        alone.signal("TERM");
        assert_eq!(alone.ends_with(), Some(0));
        assert!(!Path::new(&path).join(".s.PGSQL.6432").exists());
    });
}
