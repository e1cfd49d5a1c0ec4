//! COPY in, out and both: what a client sends before, during and after it, when it works and when it doesn't.

use super::{alike, spring, trap};
use crate::harness::{Proxy, database, eventually, limited, place, shared, value};
use crate::wire::{
    Place, Wire, b, c, copy_data, copy_done, copy_fail, d, e, frame, h, p, pbe, q, s, tags,
};

const COPY: &str = "COPY base FROM STDIN";

/// COPY as a client may begin it: by Query, by an unnamed statement, by a named one; and whether a Sync must follow.
fn beginnings(sql: &str) -> [(&'static str, Vec<u8>, bool); 3] {
    let prepared = [
        p("copy", sql),
        d(b'S', "copy"),
        s(),
        b("", "copy", &[]),
        e("", 0),
    ];
    [
        ("by Query", q(sql), false),
        ("unnamed", pbe(sql), true),
        ("prepared", prepared.concat(), true),
    ]
}

#[test]
fn in_every_way_and_with_every_end() {
    limited(|| {
        let good = || copy_data(b"7\n8\n");
        let bad = || copy_data(b"seven\n");
        let ends: [(&str, Vec<u8>); 9] = [
            ("success", [good(), copy_done()].concat()),
            ("nothing at all", copy_done()),
            (
                "an error before the end",
                [bad(), good(), good(), copy_done()].concat(),
            ),
            (
                "an error at the end",
                [good(), copy_data(b"9\nten"), copy_done()].concat(),
            ),
            ("CopyFail", [good(), copy_fail("enough")].concat()),
            (
                "Sync and Flush among the data",
                [s(), good(), h(), s(), good(), copy_done()].concat(),
            ),
            (
                "data behind the end",
                [good(), copy_done(), good(), copy_done()].concat(),
            ),
            (
                "a row over three messages",
                [
                    copy_data(b"7"),
                    copy_data(b"7"),
                    copy_data(b"\n"),
                    copy_done(),
                ]
                .concat(),
            ),
            (
                "another message",
                [good(), q("SELECT 'in the way'"), good(), copy_done()].concat(),
            ),
        ];
        let mut cases = Vec::new();
        for (_, begin, sync) in beginnings(COPY) {
            for (name, end) in &ends {
                let sync = if sync { s() } else { Vec::new() };
                cases.push((
                    *name,
                    [begin.clone(), end.clone(), sync, q("SELECT 2")].concat(),
                ));
            }
        }
        for (_, begin, sync) in beginnings("COPY missing FROM STDIN") {
            let sync = if sync { s() } else { Vec::new() };
            cases.push((
                "it can't begin",
                [begin, good(), copy_done(), sync, q("SELECT 2")].concat(),
            ));
        }
        for (_, begin, sync) in beginnings("COPY base TO STDOUT") {
            let sync = if sync { s() } else { Vec::new() };
            cases.push(("out", [begin, sync, q("SELECT 2")].concat()));
        }
        for (_, begin, sync) in
            beginnings("COPY (SELECT 1/(3 - g) FROM generate_series(1, 5) g) TO STDOUT")
        {
            let sync = if sync { s() } else { Vec::new() };
            cases.push((
                "out, and an error on the way",
                [begin, sync, q("SELECT 2")].concat(),
            ));
        }
        alike(&cases);
    });
}

#[test]
fn schema_changes_around_it() {
    limited(|| {
        const DDL: &str = "CREATE TABLE t(a int)";
        let rows = || [copy_data(b"7\n"), copy_done()].concat();
        let mut traps = vec![
            trap(
                "what looks like one within the data",
                vec![(
                    [q(COPY), copy_data(&q(DDL)), copy_done(), q(DDL)].concat(),
                    2,
                )],
                &["CREATE TABLE done"],
            ),
            trap(
                "behind COPY out",
                vec![([q("COPY base TO STDOUT"), q(DDL)].concat(), 2)],
                &["CREATE TABLE done"],
            ),
            trap(
                "between two of them in one text",
                vec![(
                    [
                        q("COPY base FROM STDIN; CREATE TABLE t(a int); COPY t FROM STDIN"),
                        rows(),
                        rows(),
                    ]
                    .concat(),
                    1,
                )],
                &["CREATE TABLE committed: several statements in one query"],
            ),
        ];
        for (name, begin, sync) in beginnings(COPY) {
            let sync = if sync { s() } else { Vec::new() };
            traps.push(trap(
                name,
                vec![
                    (
                        [
                            begin.clone(),
                            rows(),
                            sync.clone(),
                            c(b'S', "copy"),
                            q(DDL),
                            s(),
                        ]
                        .concat(),
                        if name == "prepared" { 4 } else { 3 },
                    ),
                    (q("DROP TABLE t"), 1),
                ],
                &["CREATE TABLE committed: in a pipeline", "DROP TABLE done"],
            ));
        }
        spring(&traps);
    });
}

#[test]
fn a_schema_change_where_data_should_be() {
    limited(|| {
        // The server has lost its place in the stream by that, and hangs up.
        let sent = [q(COPY), copy_data(b"7\n"), q("CREATE TABLE t(a int)")].concat();
        spring(&[trap(
            "a schema change where data should be",
            vec![(sent, 1)],
            &["CREATE TABLE unknown: in a pipeline"],
        )]);
    });
}

#[test]
fn a_client_that_leaves_in_the_middle() {
    limited(|| {
        let proxy = Proxy::shared();
        let database = database();
        let mut admin = Wire::session(&place(shared()), &database);
        admin.run("CREATE TABLE base(a int)");
        let mut copying_in = proxy.session(&database);
        copying_in.send(&[q(COPY), copy_data(b"7\n")].concat());
        assert_eq!(copying_in.next().unwrap().tag, b'G');
        let mut copying_out = proxy.session(&database);
        copying_out.send(&q(
            "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT",
        ));
        assert_eq!(copying_out.next().unwrap().tag, b'H');
        drop((copying_in, copying_out));
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> {}",
            admin.pid()
        );
        eventually("no session is left", || value("postgres", &count) == "0");
        assert_eq!(admin.value("SELECT count(*) FROM base"), "0");
    });
}

/// A walsender's session up to its end: what it was sent, message by message.
fn stream_of_a_walsender(place: &Place, replication: &str) -> Vec<String> {
    let mut wire = Wire::connect(place);
    wire.start(&[
        ("user", "postgres"),
        ("database", "postgres"),
        ("replication", replication),
    ]);
    let identified = wire.query("IDENTIFY_SYSTEM");
    let row = identified.iter().find(|frame| frame.tag == b'D').unwrap();
    let fields = String::from_utf8_lossy(&row.body).into_owned();
    let mut words = fields.split(|c: char| !c.is_ascii_hexdigit() && c != '/');
    let position = words.rfind(|word| word.contains('/')).unwrap().to_owned();
    wire.send(&q(&format!("START_REPLICATION PHYSICAL {position}")));
    let mut seen = vec![tags(&identified)];
    let both = wire.next().unwrap();
    seen.push(both.show());
    // A status update that asks for an answer; the answer is a keepalive within CopyData.
    let mut update = vec![b'r'];
    update.extend([0; 32]);
    update.push(1);
    wire.send(&frame(b'd', &update));
    loop {
        let data = wire.next().unwrap();
        assert_eq!(data.tag, b'd', "{data:?}");
        if data.body[0] == b'k' {
            break;
        }
    }
    wire.send(&copy_done());
    let rest = wire.until_ready();
    seen.push(tags(&rest).replace('d', ""));
    if replication == "database" {
        seen.push(tags(&wire.query("SELECT 1")));
        seen.push(tags(&wire.query("COMMENT ON ROLE postgres IS NULL")));
    }
    seen.push(tags(&wire.ask(&[p("", "SELECT 1"), s()].concat())));
    seen
}

#[test]
fn both_ways_at_once() {
    limited(|| {
        let proxy = Proxy::shared();
        for replication in ["true", "database"] {
            let direct = stream_of_a_walsender(&place(shared()), replication);
            assert_eq!(stream_of_a_walsender(proxy.place(), replication), direct);
            assert!(direct[1].starts_with('W'), "{direct:?}");
        }
        assert_eq!(
            proxy.event_words(),
            ["COMMENT done: a replication connection"]
        );
    });
}
