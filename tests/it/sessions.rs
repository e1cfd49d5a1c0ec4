//! What a session has set or prepared decides what a statement does: lockkeeper must not run what the server would
//! refuse, nor refuse what it would run, nor lose sight of a schema change behind a name or a setting.

use bytesize::ByteSize;

use crate::harness::{Proxy, database, limited, place, shared, until_asleep};
use crate::traps::{spring, trap};
use crate::wire::{Frame, Wire, b, c, e, p, pbe, q, q_bytes, s, tags};

const DDL: &str = "CREATE TABLE t(a int)";
const SEVERAL: &str = "CREATE TABLE done";
const HIDDEN: &str = r"SELECT 'a\' /* ' ; CREATE TABLE t(a int); -- */";

#[test]
fn a_name_that_the_server_no_longer_knows_runs_nothing() {
    limited(|| {
        spring(&[
            trap(
                "DEALLOCATE, EXECUTE",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    (q("DEALLOCATE n"), 1),
                    (q("EXECUTE n"), 1),
                ],
                &[],
            ),
            trap(
                "DEALLOCATE by Execute, EXECUTE by Execute",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    ([pbe("DEALLOCATE n"), s()].concat(), 1),
                    ([pbe("EXECUTE n"), s()].concat(), 1),
                ],
                &[],
            ),
            trap(
                "DEALLOCATE out of sight, EXECUTE by Execute",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    (q("DO $$ BEGIN EXECUTE 'DEALLOCATE n'; END $$"), 1),
                    ([pbe("EXECUTE n"), s()].concat(), 1),
                ],
                &[],
            ),
            trap(
                "Close, EXECUTE",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    ([c(b'S', "n"), s()].concat(), 1),
                    (q("EXECUTE n"), 1),
                ],
                &[],
            ),
        ]);
    });
}

#[test]
fn a_name_that_the_server_still_knows_is_still_guarded() {
    limited(|| {
        spring(&[
            trap(
                "a Close that the server threw away",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    ([pbe("SELECT 1/0"), c(b'S', "n"), s()].concat(), 1),
                    (q("EXECUTE n"), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "a DEALLOCATE that failed",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    (q("SELECT 1/0; DEALLOCATE ALL"), 1),
                    (q("EXECUTE n"), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "EXECUTE by Execute",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    ([pbe("EXECUTE n"), s()].concat(), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "a name in other letters",
                vec![([p("n", DDL), s()].concat(), 1), (q("EXECUTE N"), 1)],
                &["CREATE TABLE done"],
            ),
            trap(
                "a name in quotes",
                vec![
                    ([p("N \"n", DDL), s()].concat(), 1),
                    (q("EXECUTE \"N \"\"n\""), 1),
                ],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn an_execute_that_the_server_would_not_run_runs_nothing() {
    limited(|| {
        spring(&[
            trap(
                "EXECUTE with arguments that the server ignores",
                vec![([p("n", DDL), s()].concat(), 1), (q("EXECUTE n(1)"), 1)],
                &["CREATE TABLE done"],
            ),
            trap(
                "EXPLAIN ANALYZE EXECUTE of what has no plan",
                vec![
                    ([p("n", DDL), s()].concat(), 1),
                    (
                        q("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) EXECUTE n"),
                        1,
                    ),
                ],
                &[],
            ),
            trap(
                "a read-only session",
                vec![
                    (q("SET default_transaction_read_only = on"), 1),
                    (q(DDL), 1),
                    ([pbe(DDL), s()].concat(), 1),
                ],
                &["CREATE TABLE failed", "CREATE TABLE failed"],
            ),
            trap(
                "another role",
                vec![
                    (q("SET ROLE pg_monitor"), 1),
                    (q("ALTER TABLE base ADD COLUMN b int"), 1),
                    (q("CREATE INDEX ON base(a)"), 1),
                    (q("REINDEX TABLE base"), 1),
                ],
                &[
                    "ALTER TABLE failed",
                    "CREATE INDEX passed",
                    "REINDEX passed",
                ],
            ),
        ]);
    });
}

#[test]
fn names_mean_what_the_session_says() {
    limited(|| {
        spring(&[
            trap(
                "temporary tables",
                vec![
                    (q("CREATE TEMPORARY TABLE base(a int)"), 1),
                    (q("CREATE INDEX i ON base(a)"), 1),
                    (q("DROP INDEX i"), 1),
                    (q("DROP TABLE base"), 1),
                    (q("SELECT count(*) FROM base"), 1),
                ],
                &[
                    "CREATE TABLE done",
                    "CREATE INDEX done",
                    "DROP INDEX done",
                    "DROP TABLE done",
                ],
            ),
            trap(
                "a search_path that leads elsewhere",
                vec![
                    (q("CREATE SCHEMA s CREATE TABLE base(b int)"), 1),
                    (q("SET search_path = s, public"), 1),
                    (q("CREATE INDEX i ON base(b)"), 1),
                    (
                        q("SELECT schemaname FROM pg_indexes WHERE indexname = 'i'"),
                        1,
                    ),
                    (q("SHOW search_path"), 1),
                ],
                &["CREATE SCHEMA done", "CREATE INDEX done"],
            ),
        ]);
    });
}

#[test]
fn settings_that_are_changed_behind_a_name() {
    limited(|| {
        let change = "SELECT set_config('standard_conforming_strings', 'off', false)";
        spring(&[
            trap(
                "set_config by a prepared statement in the same segment",
                vec![
                    ([p("n", change), s()].concat(), 1),
                    ([b("", "n", &[]), e("", 0), s(), q(HIDDEN)].concat(), 2),
                ],
                &[SEVERAL],
            ),
            trap(
                "set_config by EXECUTE in the same segment",
                vec![
                    (q(&format!("PREPARE n AS {change}")), 1),
                    ([q("EXECUTE n"), q(HIDDEN)].concat(), 2),
                ],
                &[SEVERAL],
            ),
        ]);
    });
}

#[test]
fn escapes_by_parse_are_read_as_set_and_warned_of_once() {
    limited(|| {
        let escaped = || [pbe(r"CREATE TABLE t(a text DEFAULT 'a\'b')"), s()].concat();
        spring(&[
            trap(
                "without warnings",
                vec![
                    (q("SET standard_conforming_strings = off"), 1),
                    (q("SET escape_string_warning = off"), 1),
                    (escaped(), 1),
                ],
                &["CREATE TABLE done"],
            ),
            trap(
                "with warnings",
                vec![
                    (q("SET standard_conforming_strings = off"), 1),
                    (escaped(), 1),
                ],
                &["CREATE TABLE done"],
            ),
        ]);
    });
}

#[test]
fn an_encoding_set_at_start_up() {
    limited(|| {
        let database = database();
        let proxy = Proxy::shared();
        let mut wire = Wire::connect(proxy.place());
        wire.start(&[
            ("user", "postgres"),
            ("database", &database),
            ("client_encoding", "SJIS"),
        ]);
        let frames = wire.ask(&q_bytes(b"SELECT E'\x95\x5c' ; CREATE TABLE t(a int) --'"));
        assert_eq!(tags(&frames), "TDCCZ", "{frames:?}");
        assert_eq!(
            proxy.event_words(),
            ["CREATE TABLE committed: several statements in one query"]
        );
    });
}

#[test]
fn long_texts_are_read_as_the_server_reads_them() {
    limited(|| {
        let database = database();
        let proxy = Proxy::start(shared(), |config, _| {
            config.guard.max_text = ByteSize::kib(1)
        });
        let mut admin = Wire::session(&place(shared()), &database);
        let mut unseen = Vec::new();
        let long = |text: &[u8]| q_bytes(&[text, b" -- ", &[b'x'; 200 << 10]].concat());
        let sjis = b"SELECT E'\x95\x5c' ; CREATE TABLE t(a int) --'".to_vec();
        let off = q("SET standard_conforming_strings = off");
        for (name, before, text) in [
            ("plain", Vec::new(), DDL.as_bytes().to_vec()),
            ("off", off.clone(), HIDDEN.as_bytes().to_vec()),
            ("SJIS", q("SET client_encoding = 'SJIS'"), sjis),
        ] {
            for in_one_segment in [false, true] {
                let events = proxy.events().len();
                let mut wire = proxy.session(&database);
                if before.is_empty() || in_one_segment {
                    wire.send(&before);
                } else {
                    wire.ask(&before);
                }
                wire.send(&long(&text));
                let readies = 1 + usize::from(in_one_segment && !before.is_empty());
                let frames: Vec<Frame> = (0..readies).flat_map(|_| wire.until_ready()).collect();
                assert!(!tags(&frames).contains('E'), "{name}: {frames:?}");
                admin.run("DROP TABLE t");
                let found = proxy.event_words().split_off(events);
                let because = "CREATE TABLE done: the text is longer than guard.max_text";
                if found != [because] {
                    unseen.push((name, in_one_segment, found));
                }
            }
        }
        assert!(unseen.is_empty(), "{unseen:?}");
    });
}

#[test]
fn a_client_that_never_starts_is_put_out() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.limits.startup_time = std::time::Duration::from_millis(200);
        });
        let mut bystander = proxy.session("postgres");
        let mut silent = Wire::connect(proxy.place());
        let mut half = Wire::connect(proxy.place());
        half.send(b"\0\0\0\x30\0\x03");
        for wire in [&mut silent, &mut half] {
            let frames = wire.until_end();
            assert!(matches!(tags(&frames).as_str(), "" | "E"), "{frames:?}");
        }
        bystander.run("SELECT 1");
    });
}

#[test]
fn a_cancel_request_needs_no_place_among_the_clients() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| config.limits.connections = 1);
        let mut wire = proxy.session("postgres");
        wire.send(&q("SELECT 'begun'; SELECT pg_sleep(600)"));
        until_asleep(wire.pid());
        let mut cancel = Wire::connect(proxy.place());
        cancel.send(&crate::wire::cancel_request(&wire.key));
        assert_eq!(cancel.until_end(), []);
        assert_eq!(crate::wire::sqlstate(&wire.until_ready()), "57014");
    });
}
