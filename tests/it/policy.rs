//! What a client may say against the policy: comments that allow a rule, and `lockkeeper.mode`. Those who are listed
//! may, the others are told; both are recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Proxy, database, limited, psql, shared, start_server};
use crate::wire::{Frame, Wire, pbe, s, sqlstate};

/// A proxy that lets `listed` override, in front of the shared server; small tables are guarded too.
fn proxy(listed: &[&str]) -> Proxy {
    let listed: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
    Proxy::start(shared(), |config, _| {
        config.policy.may_override = listed;
        config.guard.small_table = bytesize::ByteSize::b(0);
    })
}

/// A database with a table `t (a, b)`.
fn with_table() -> String {
    let name = database();
    Wire::session(&crate::harness::place(shared()), &name)
        .run("CREATE TABLE t AS SELECT 1 AS a, 2 AS b");
    name
}

fn notices(frames: &[Frame]) -> Vec<String> {
    let ours = frames.iter().filter(|frame| frame.is_lockkeepers_notice());
    ours.map(|frame| frame.field(b'M')).collect()
}

/// Whether a schema change of this session is guarded, by each protocol.
fn is_guarded(wire: &mut Wire) -> bool {
    let simple = wire.query("CREATE INDEX ON t (a)");
    let extended = wire.ask(&[pbe("CREATE INDEX ON t (b)"), s()].concat());
    assert_eq!(
        (sqlstate(&simple), sqlstate(&extended)),
        (String::new(), String::new())
    );
    let guarded = |frames: &[Frame]| {
        notices(frames)
            .iter()
            .any(|text| text.contains("concurrently"))
    };
    assert_eq!(guarded(&simple), guarded(&extended));
    guarded(&simple)
}

/// What the audit log says of overriding.
fn overrides(proxy: &Proxy) -> Vec<Value> {
    let events = proxy.events();
    let said = events.iter().filter(|event| !event["override"].is_null());
    said.map(|event| event["override"].clone()).collect()
}

#[test]
fn comments_are_granted_to_those_who_are_listed() {
    limited(|| {
        let proxy = proxy(&["postgres"]);
        let mut wire = proxy.session(&with_table());
        let comment =
            "/* lockkeeper: allow(create-index-blocks-writes, lock-queue) because nobody writes */";
        for frames in [
            wire.query(&format!("{comment} CREATE INDEX ON t (a)")),
            wire.ask(&[pbe(&format!("CREATE INDEX {comment} ON t (a)")), s()].concat()),
        ] {
            assert_eq!(sqlstate(&frames), "");
            assert!(
                !notices(&frames)
                    .iter()
                    .any(|text| text.contains("no effect")),
                "{frames:?}"
            );
        }
        let entry = json!({
            "rules": ["create-index-blocks-writes", "lock-queue"], "reason": "nobody writes", "granted": true,
        });
        assert_eq!(overrides(&proxy), [entry.clone(), entry]);
    });
}

/// The budget is for the lock: what an allowed statement does under it takes as long as it takes.
#[test]
fn what_is_allowed_may_take_longer_than_the_budget() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.policy.may_override = vec!["postgres".to_owned()];
            config.guard.small_table = bytesize::ByteSize::b(0);
            config.locks.budget = std::time::Duration::from_millis(20);
            config.locks.deadline = std::time::Duration::from_secs(5);
        });
        let mut wire = proxy.session(&with_table());
        wire.run("INSERT INTO t SELECT n, n FROM generate_series(1, 200000) n");
        let comment = "/* lockkeeper: allow(create-index-blocks-writes) because nobody writes */";
        let frames = wire.query(&format!("{comment} CREATE INDEX ON t (a)"));
        assert_eq!(sqlstate(&frames), "", "{frames:?}");
        let events = proxy.events();
        assert_eq!(events.last().unwrap()["attempts"], 1);
    });
}

#[test]
fn comments_of_others_and_unclear_ones_have_no_effect() {
    limited(|| {
        for (listed, comment, told) in [
            (
                "nobody",
                "/* lockkeeper: allow(lock-queue) because I say so */",
                "user \"postgres\" isn't listed in policy.may_override",
            ),
            (
                "postgres",
                "/* lockkeeper: allow(lock-que) because I say so */",
                "there is no rule \"lock-que\"; the nearest one is \"lock-queue\"",
            ),
            (
                "postgres",
                "/* lockkeeper: allow(lock-queue) */",
                "the reason is missing",
            ),
        ] {
            let proxy = proxy(&[listed]);
            let mut wire = proxy.session(&with_table());
            let frames = [
                wire.query(&format!("{comment} ALTER TABLE t ADD COLUMN c int")),
                wire.ask(
                    &[
                        pbe(&format!("{comment} ALTER TABLE t ADD COLUMN d int")),
                        s(),
                    ]
                    .concat(),
                ),
            ];
            for frames in frames {
                assert_eq!(sqlstate(&frames), "");
                let told_so = notices(&frames)
                    .iter()
                    .filter(|text| text.contains(told))
                    .count();
                assert_eq!(told_so, 1, "{frames:?}");
            }
            assert!(
                overrides(&proxy)
                    .iter()
                    .all(|entry| entry["granted"] == false)
            );
            let in_string =
                wire.query("COMMENT ON TABLE t IS '/* lockkeeper: allow(lock-queue) because x */'");
            assert!(notices(&in_string).is_empty());
        }
    });
}

#[test]
fn the_mode_is_that_of_the_client_who_may() {
    limited(|| {
        let proxy = proxy(&["postgres"]);
        let mut wire = proxy.session(&with_table());
        assert!(is_guarded(&mut wire));
        wire.run("SET lockkeeper.mode = 'off'");
        assert!(!is_guarded(&mut wire));
        assert_eq!(wire.value("SHOW lockkeeper.mode"), "off");
        wire.run("SET lockkeeper.mode TO observe");
        assert!(!is_guarded(&mut wire));
        wire.run("RESET lockkeeper.mode");
        assert!(is_guarded(&mut wire));
        wire.ask(&[pbe("SET lockkeeper.mode = 'off'"), s()].concat());
        assert!(!is_guarded(&mut wire));
        wire.run("DISCARD ALL");
        assert!(is_guarded(&mut wire));
        for (script, guarded) in [
            ("BEGIN; SET lockkeeper.mode = off; ROLLBACK", true),
            ("BEGIN; SET LOCAL lockkeeper.mode = off; COMMIT", true),
            ("BEGIN; SET lockkeeper.mode = off; COMMIT", false),
        ] {
            for statement in script.split(';') {
                wire.run(statement);
            }
            assert_eq!(is_guarded(&mut wire), guarded, "{script}");
        }
        let modes: Vec<Value> = overrides(&proxy)
            .iter()
            .map(|entry| entry["mode"].clone())
            .collect();
        assert_eq!(modes, ["off", "observe", "off", "off", "off", "off"]);
        assert!(
            overrides(&proxy)
                .iter()
                .all(|entry| entry["granted"] == true)
        );
        let events = proxy.events();
        assert!(
            events
                .iter()
                .any(|event| event["outcome"] == "observed" && event["mode"] == "observe")
        );
    });
}

#[test]
fn pipelined_changes_count_in_order() {
    limited(|| {
        let proxy = proxy(&["postgres"]);
        let mut wire = proxy.session(&with_table());
        let batch = [
            crate::wire::q("SELECT 1/0"),
            crate::wire::q("SET lockkeeper.mode = off"),
            crate::wire::q("CREATE INDEX one ON t (a)"),
            crate::wire::q("SET lockkeeper.mode = enforce"),
            crate::wire::q("CREATE INDEX two ON t (a)"),
        ];
        wire.send(&batch.concat());
        let answers: Vec<Vec<Frame>> = (0..5).map(|_| wire.until_ready()).collect();
        assert!(notices(&answers[2]).is_empty(), "{:?}", answers[2]);
        assert_eq!(notices(&answers[4]).len(), 1, "{:?}", answers[4]);
    });
}

#[test]
fn the_mode_of_others_and_of_nonsense_has_no_effect() {
    limited(|| {
        for (listed, value, told) in [
            ("nobody", "off", "isn't listed in policy.may_override"),
            ("postgres", "of", "nearest one is \"off\""),
        ] {
            let proxy = proxy(&[listed]);
            let mut wire = proxy.session(&with_table());
            for frames in [
                wire.query(&format!("SET lockkeeper.mode = '{value}'")),
                wire.ask(&[pbe(&format!("SET lockkeeper.mode = '{value}'")), s()].concat()),
            ] {
                assert!(
                    notices(&frames).iter().any(|text| text.contains(told)),
                    "{frames:?}"
                );
            }
            assert!(is_guarded(&mut wire));
            let entry = json!({"mode": value, "granted": false});
            assert_eq!(overrides(&proxy), [entry.clone(), entry]);
        }
    });
}

#[test]
fn the_mode_may_come_with_the_start_up_message() {
    limited(|| {
        let proxy = proxy(&["postgres"]);
        let name = with_table();
        for parameters in [
            ("options", "-c lockkeeper.mode=off"),
            ("lockkeeper.mode", "off"),
        ] {
            let mut wire = Wire::connect(proxy.place());
            wire.start(&[("user", "postgres"), ("database", &name), parameters]);
            assert!(!is_guarded(&mut wire));
            wire.run("SET lockkeeper.mode = enforce");
            assert!(is_guarded(&mut wire));
            wire.run("RESET ALL");
            assert!(!is_guarded(&mut wire));
        }
        let other = self::proxy(&[]);
        let mut wire = Wire::connect(other.place());
        let frames = wire.start(&[
            ("user", "postgres"),
            ("database", &name),
            ("options", "-c lockkeeper.mode=off"),
        ]);
        assert!(notices(&frames)[0].contains("no effect"), "{frames:?}");
        assert!(is_guarded(&mut wire));
        // libpq takes it, too.
        let conninfo = format!(
            "{} options='-c lockkeeper.mode=off'",
            proxy.place().conninfo(&name)
        );
        assert_eq!(psql(&conninfo, &[], "CREATE INDEX ON t (a)").ok(), "");
        assert_eq!(overrides(&other).len(), 1);
    });
}

/// Statements one after the other, and whether `ci` is guarded after each.
const STORED_MODES: &[(&str, bool)] = &[
    ("ALTER ROLE ALL SET lockkeeper.mode = 'off'", false),
    (
        "ALTER DATABASE postgres SET lockkeeper.mode = 'enforce'",
        true,
    ),
    ("ALTER ROLE ci SET lockkeeper.mode = 'observe'", false),
    (
        "ALTER ROLE ci IN DATABASE postgres SET lockkeeper.mode = 'enforce'",
        true,
    ),
    (
        "ALTER ROLE ci IN DATABASE postgres SET lockkeeper.mode = 'of'",
        true,
    ),
    (
        "ALTER ROLE ci IN DATABASE postgres SET lockkeeper.mode = 'off'",
        false,
    ),
];

/// What PostgreSQL applies at log-in, by its order.
#[test]
fn the_mode_may_be_that_of_the_role_or_the_database() {
    limited(|| {
        let server = start_server(|_| {});
        let mut admin = Wire::session(&crate::harness::place(&server), "postgres");
        admin.run("CREATE ROLE ci SUPERUSER LOGIN");
        admin.run("CREATE ROLE other SUPERUSER LOGIN");
        admin.run("CREATE TABLE t AS SELECT 1 AS a, 2 AS b");
        let proxy = Proxy::start(&server, |config, _| {
            config.policy.may_override = vec!["ci".to_owned()];
            config.guard.small_table = bytesize::ByteSize::b(0);
        });
        let session = |user: &str, options: &str| {
            let mut wire = Wire::connect(proxy.place());
            let parameters = [
                ("user", user),
                ("database", "postgres"),
                ("options", options),
            ];
            wire.start(&parameters);
            wire
        };
        for (sql, guarded) in STORED_MODES.iter().copied() {
            admin.run(sql);
            assert_eq!(is_guarded(&mut session("ci", "")), guarded, "{sql}");
            assert!(is_guarded(&mut session("other", "")), "{sql}");
        }
        // What the client says itself counts more, and what was is what RESET goes back to.
        let mut wire = session("ci", "-c lockkeeper.mode=enforce");
        assert!(is_guarded(&mut wire));
        let mut wire = session("ci", "");
        wire.run("SET lockkeeper.mode = enforce");
        assert!(is_guarded(&mut wire));
        wire.run("RESET lockkeeper.mode");
        assert!(!is_guarded(&mut wire));
        // The role counts that has logged in.
        let mut wire = session("other", "");
        wire.run("SET ROLE ci");
        assert!(is_guarded(&mut wire));
        // By the extended protocol it is learned, too, and everything runs once.
        let mut wire = session("ci", "");
        let frames = wire.ask(&[pbe("CREATE TABLE made (a int)"), s()].concat());
        assert_eq!(sqlstate(&frames), "");
        let frames = wire.ask(&[pbe("CREATE INDEX i ON t (a)"), s()].concat());
        assert!(notices(&frames).is_empty(), "{frames:?}");
        admin.run("ALTER ROLE ci IN DATABASE postgres SET lockkeeper.mode = 'observe'");
        let mut wire = session("ci", "");
        let frames = wire.ask(&[pbe("DROP INDEX i"), s()].concat());
        assert_eq!(
            (sqlstate(&frames), notices(&frames).len()),
            (String::new(), 0)
        );
        let last = proxy.events().pop().unwrap();
        assert_eq!(
            (&last["tag"], &last["outcome"]),
            (&json!("DROP INDEX"), &json!("observed"))
        );
        let said = overrides(&proxy);
        assert!(
            said.iter()
                .all(|entry| entry["granted"] == (entry["mode"] != "of")),
            "{said:?}"
        );
    });
}

#[test]
fn a_role_that_is_set_is_not_the_session_user() {
    limited(|| {
        let server = start_server(|_| {});
        let mut admin = Wire::session(&crate::harness::place(&server), "postgres");
        admin.run("CREATE ROLE boss SUPERUSER");
        admin.run("CREATE TABLE t AS SELECT 1 AS a, 2 AS b");
        let proxy = Proxy::start(&server, |config, _| {
            config.policy.may_override = vec!["boss".to_owned()];
            config.guard.small_table = bytesize::ByteSize::b(0);
        });
        let mut wire = proxy.session("postgres");
        wire.run("SET ROLE boss");
        wire.run("SET lockkeeper.mode = off");
        assert!(is_guarded(&mut wire));
    });
}

/// What may not be read is taken for the worst: it isn't run unguarded.
#[test]
fn a_catalog_that_cannot_be_read_is_no_way_around() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |_, _| {});
        let mut direct = Wire::session(&crate::harness::place(&server), "postgres");
        for sql in [
            "CREATE ROLE owner LOGIN",
            "CREATE SCHEMA hidden; CREATE TABLE hidden.t (a int)",
            "CREATE SCHEMA app AUTHORIZATION owner; CREATE TABLE app.t (a int); ALTER TABLE app.t OWNER TO owner",
            "REVOKE SELECT ON pg_catalog.pg_inherits, pg_catalog.pg_index FROM PUBLIC",
        ] {
            direct.run(sql);
        }
        let mut wire = Wire::connect(proxy.place());
        wire.start(&[("user", "owner"), ("database", "postgres")]);
        for sql in [
            "CREATE INDEX ON app.t (a)",
            "ALTER TABLE app.t ALTER COLUMN a TYPE bigint",
        ] {
            assert_eq!(sqlstate(&wire.query(sql)), "LK001", "{sql}");
        }
        assert_eq!(
            sqlstate(&wire.query("ALTER TABLE app.t ADD COLUMN b int")),
            ""
        );
        // The server's own reason is the server's to give.
        assert_eq!(
            sqlstate(&wire.query("CREATE INDEX ON hidden.t (a)")),
            "42501"
        );
    });
}

/// Facts are asked for while the catalog changes: what is refused stays refused.
#[test]
fn a_catalog_that_changes_is_no_way_around() {
    const ROUNDS: usize = 40;
    limited(|| {
        let proxy = proxy(&[]);
        let name = with_table();
        let place = crate::harness::place(shared());
        Wire::session(&place, &name)
            .run("INSERT INTO t SELECT i, i FROM generate_series(1, 1000) i");
        let ended = Arc::new(AtomicBool::new(false));
        let other = {
            let (ended, name) = (Arc::clone(&ended), name.clone());
            std::thread::spawn(move || {
                let mut direct = Wire::session(&place, &name);
                while !ended.load(Ordering::Relaxed) {
                    direct.query("CREATE INDEX changing ON t (a)");
                    direct.query("CREATE TABLE heir () INHERITS (t)");
                    direct.query("DROP TABLE heir");
                    direct.query("DROP INDEX changing");
                }
            })
        };
        let mut wire = proxy.session(&name);
        let ends: Vec<String> = (0..ROUNDS)
            .map(|_| sqlstate(&wire.query("ALTER TABLE t ALTER COLUMN b TYPE bigint")))
            .collect();
        ended.store(true, Ordering::Relaxed);
        other.join().unwrap();
        let refused = |end: &String| ["LK001", "55P03", "40001"].contains(&end.as_str());
        assert!(ends.iter().all(refused), "{ends:?}");
    });
}

/// Other roles' builds, of which this one sees nothing but NULLs, make nobody blind.
#[test]
fn a_build_of_another_role_is_no_way_around() {
    limited(|| {
        let server = start_server(|_| {});
        let proxy = Proxy::start(&server, |config, _| {
            config.guard.small_table = bytesize::ByteSize::b(0);
        });
        let place = crate::harness::place(&server);
        let mut direct = Wire::session(&place, "postgres");
        for sql in [
            "CREATE ROLE owner LOGIN; CREATE TABLE other (a int)",
            "CREATE SCHEMA app AUTHORIZATION owner; CREATE TABLE app.t AS SELECT 1 AS a",
            "CREATE INDEX t_a ON app.t (a); ALTER TABLE app.t OWNER TO owner",
        ] {
            direct.run(sql);
        }
        let mut blocker = Wire::session(&place, "postgres");
        blocker.query("BEGIN; INSERT INTO other VALUES (1)");
        let build = std::thread::spawn(move || {
            sqlstate(
                &Wire::session(&place, "postgres").query("CREATE INDEX CONCURRENTLY ON other (a)"),
            )
        });
        crate::harness::eventually("the build waits", || {
            let building = direct.query("SELECT FROM pg_stat_progress_create_index");
            building.iter().any(|frame| frame.tag == b'D')
        });
        let mut wire = Wire::connect(proxy.place());
        wire.start(&[("user", "owner"), ("database", "postgres")]);
        let frames = wire.query("ALTER TABLE app.t ALTER COLUMN a TYPE bigint");
        assert_eq!(sqlstate(&frames), "LK001");
        blocker.query("COMMIT");
        assert_eq!(build.join().unwrap(), "");
    });
}
