//! What has hurt proxies and servers of this protocol before, one file for each area. Where there is a server to
//! compare with, what a client sees through the proxy is what it sees directly.

mod auth;
mod cancel;
mod classification;
mod copy;
mod extended;
mod framing;
mod pipeline;
mod startup;
mod streams;

use std::net::SocketAddr;
use std::sync::OnceLock;

use lockkeeper::pg::temporary::TemporaryServer;

use crate::harness::{Proxy, database, place, shared, start_server};
use crate::wire::{Frame, Place, Wire, column, q, s, x};

/// One message or one pipeline, and how many ReadyForQuery answer it.
pub(crate) type Step = (Vec<u8>, usize);

/// What a client sends, and the events that must come of it, in order.
pub(crate) struct Trap {
    name: &'static str,
    steps: Vec<Step>,
    events: &'static [&'static str],
}

pub(crate) fn trap(name: &'static str, steps: Vec<Step>, events: &'static [&'static str]) -> Trap {
    Trap {
        name,
        steps,
        events,
    }
}

/// A single Query.
pub(crate) fn query(sql: &'static str, events: &'static [&'static str]) -> Trap {
    trap(sql, vec![(q(sql), 1)], events)
}

/// What a client saw, and what there is afterwards.
fn play(wire: &mut Wire, admin: &mut Wire, steps: &[Step]) -> Vec<String> {
    let mut seen = Vec::new();
    for (bytes, readies) in steps {
        wire.send(bytes);
        for _ in 0..*readies {
            let frames = wire.until_ready();
            let frames = frames.iter().filter(|frame| !frame.is_lockkeepers_notice());
            seen.extend(frames.map(Frame::show));
        }
    }
    seen.push(remains(admin));
    seen
}

/// What every case starts from.
const BASE: &str = "CREATE TABLE base(a int); INSERT INTO base VALUES (1)";

/// What a case has left, which is then put back.
fn remains(admin: &mut Wire) -> String {
    let relations = admin.value(
        "SELECT string_agg(relname || ' ' || relkind::text, ', ' ORDER BY relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace",
    );
    let rows = column(&admin.query("SELECT a FROM base ORDER BY a")).join(" ");
    admin.run("DROP SCHEMA IF EXISTS public, s CASCADE; CREATE SCHEMA public");
    admin.run(BASE);
    format!("{relations}: {rows}")
}

/// Plays traps directly and through a proxy; reports all that differ.
pub(crate) fn spring(traps: &[Trap]) {
    let proxy = Proxy::shared();
    let database = database();
    let direct = place(shared());
    let mut admin = Wire::session(&direct, &database);
    admin.run(BASE);
    let mut wrong = Vec::new();
    for trap in traps {
        let mut wire = Wire::session(&direct, &database);
        let expected = play(&mut wire, &mut admin, &trap.steps);
        drop(wire);
        let before = proxy.event_words().len();
        let mut wire = proxy.session(&database);
        let found = play(&mut wire, &mut admin, &trap.steps);
        drop(wire);
        if found != expected {
            wrong.push(format!(
                "{}:\n  directly {expected:#?}\n  through lockkeeper {found:#?}",
                trap.name
            ));
        }
        let events = proxy.event_words().split_off(before);
        if events != trap.events {
            let name = trap.name;
            wrong.push(format!(
                "{name}: events {events:?}, expected {:?}",
                trap.events
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a place is, over TCP.
fn tcp(place: &Place) -> SocketAddr {
    match place {
        Place::Tcp(address) => *address,
        Place::Unix(..) => panic!("TCP"),
    }
}

/// The shared server, and one for each directory of `LOCKKEEPER_TEST_PG_BINS` (`make test PG_VERSIONS=…`).
fn servers() -> Vec<&'static TemporaryServer> {
    static OTHERS: OnceLock<Vec<TemporaryServer>> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let listed = std::env::var_os("LOCKKEEPER_TEST_PG_BINS").unwrap_or_default();
        let listed = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
        listed
            .map(|binaries| start_server(|options| options.binaries = binaries))
            .collect()
    });
    std::iter::once(shared()).chain(others).collect()
}

/// A case's name, and what a client sends before it syncs, asks once more and says goodbye.
type Case = (&'static str, Vec<u8>);

/// Plays each case directly and through a proxy, to the end of the connection; reports all that differ.
fn alike(cases: &[Case]) {
    let proxy = Proxy::shared();
    let database = database();
    let mut admin = Wire::session(&place(shared()), &database);
    admin.run(BASE);
    let mut wrong = Vec::new();
    for (name, sent) in cases {
        let mut play = |place: &Place| {
            let mut wire = Wire::session(place, &database);
            wire.send(&[sent.clone(), s(), q("SELECT 'the end'"), x()].concat());
            let frames = wire.until_end();
            let frames = frames.iter().filter(|frame| !frame.is_lockkeepers_notice());
            let mut seen: Vec<String> = frames.map(Frame::show).collect();
            seen.push(remains(&mut admin));
            seen
        };
        let (direct, proxied) = (play(&place(shared())), play(proxy.place()));
        if direct != proxied {
            wrong.push(format!(
                "{name}:\n  directly {direct:#?}\n  through lockkeeper {proxied:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
