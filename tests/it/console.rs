//! The console, as operators and their programs use it: over the wire, let in by the server.

use std::path::Path;

use lockkeeper::pg::temporary::TemporaryServer;
use serde_json::Value;

use crate::auth::{PASSWORD, demanding};
use crate::harness::{
    Proxy, Said, clean_command, database, event_words, eventually, installed, limited, place, psql,
    psycopg, run, shared, start_server, unique, value,
};
use crate::program::{PROGRAM, Program};
use crate::tls::write;
use crate::windows::queue;
use crate::wire::{
    Place, Wire, b, c, column, commands, d, e, function_call, h, p, pbe, q, s, sqlstate, startup,
    tags, x,
};

/// A proxy whose console `postgres` may use.
fn proxy() -> Proxy {
    Proxy::start(shared(), |config, _| {
        config.console.admins = vec!["postgres".to_owned()];
    })
}

/// Asks the console as somebody.
fn ask_as(place: &Place, user: &str, command: &str) -> Said {
    let (host, port) = (place.host(), place.port());
    let conninfo = format!("host={host} port={port} dbname=console user={user}");
    psql(&conninfo, &["-c", command], "")
}

/// What the superuser is told, each row a line of columns with bars between.
fn ask(place: &Place, command: &str) -> String {
    ask_as(place, "postgres", command).ok()
}

/// The rows that the superuser is shown, by column name.
fn rows(place: &Place, command: &str) -> Vec<Value> {
    let script = "
import json, psycopg, sys
with psycopg.connect(sys.argv[1], autocommit=True, row_factory=psycopg.rows.dict_row) as c:
    print(json.dumps(c.execute(sys.argv[2]).fetchall()))
";
    let python = installed("LOCKKEEPER_TEST_PYTHON", "target/venv/bin/python");
    let conninfo = place.conninfo("console");
    let said = run(
        clean_command(python).args(["-c", script, &conninfo, command]),
        "",
    );
    serde_json::from_str(&said.ok()).unwrap()
}

/// A role of the shared server's.
fn role() -> String {
    let name = format!("console_user_{}", unique());
    value("postgres", &format!("CREATE ROLE {name} LOGIN; SELECT 1"));
    name
}

/// A database with a table that somebody reads in an open transaction.
struct Busy {
    database: String,
    reader: Wire,
}

impl Busy {
    fn new() -> Busy {
        let database = database();
        let mut reader = Wire::session(&place(shared()), &database);
        reader.run("CREATE TABLE t AS SELECT 1 AS a");
        reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        reader.run("SELECT * FROM t");
        Busy { database, reader }
    }

    /// Sends a statement that will wait, and waits until the console shows it so.
    fn sends(&self, proxy: &Proxy, sql: &str, stage: &str) -> (Wire, Value) {
        let mut client = proxy.session(&self.database);
        client.send(&q(sql));
        let mut found = None;
        eventually("the plan is shown", || {
            let all = rows(proxy.place(), "SHOW PLANS");
            found = all.into_iter().find(|row| {
                row["database"] == self.database.as_str()
                    && row["statement"] == sql
                    && row["stage"] == stage
            });
            found.is_some()
        });
        (client, found.unwrap())
    }
}

#[test]
fn a_plan_that_waits_for_a_lock_is_shown_and_cancelled() {
    limited(|| {
        let proxy = proxy();
        let busy = Busy::new();
        let sql = "ALTER TABLE t ADD COLUMN b int";
        let (mut client, plan) = busy.sends(&proxy, sql, "awaits lock");
        assert_eq!(plan["user"], "postgres");
        assert!(plan["client"].as_str().unwrap().contains("127.0.0.1"));
        let number = plan["number"].as_str().unwrap();
        let holder = format!("process {}", busy.reader.pid());
        eventually("the blocker is named", || {
            let blockers = rows(proxy.place(), "SHOW BLOCKERS");
            let lines: Vec<&Value> = blockers.iter().map(|row| &row["blocker"]).collect();
            lines
                .iter()
                .any(|line| line.as_str().is_some_and(|line| line.contains(&holder)))
        });
        assert_eq!(ask(proxy.place(), &format!("CANCEL {number}")), "");
        let frames = client.until_ready();
        assert_eq!(sqlstate(&frames), "57014");
        let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
        assert!(error.field(b'D').contains("by user \"postgres\""));
        assert_eq!(ask(proxy.place(), "SHOW PLANS"), "");
        // The session goes on, and what it asks for next is not cancelled.
        client.run("SELECT pg_sleep(0.1)");
        let events = proxy.events();
        let act = events.iter().find(|event| event["console"] == true);
        let act = act.expect("the act is recorded");
        assert_eq!(act["tag"], "CANCEL");
        assert_eq!(act["outcome"], "done");
        assert_eq!(act["plan"]["sql"], sql);
        assert_eq!(act["plan"]["database"], busy.database.as_str());
    });
}

/// Also of several statements in one Query, whether they wait or run.
#[test]
fn whoever_is_cancelled_learns_by_whom() {
    limited(|| {
        let proxy = proxy();
        let mut busy = Busy::new();
        for (sql, stage) in [
            ("ALTER TABLE t ADD COLUMN b int; SELECT 1", "awaits lock"),
            (
                "ALTER TABLE t ADD COLUMN b int; SELECT pg_sleep(600)",
                "runs",
            ),
        ] {
            let (mut client, plan) = busy.sends(&proxy, sql, stage);
            let number = plan["number"].as_str().unwrap();
            ask(proxy.place(), &format!("CANCEL {number}"));
            let frames = client.until_ready();
            assert_eq!(sqlstate(&frames), "57014");
            let error = frames.iter().find(|frame| frame.tag == b'E').unwrap();
            assert!(
                error.field(b'D').contains("by user \"postgres\""),
                "{error:?}"
            );
            busy.reader.run("ROLLBACK");
        }
    });
}

#[test]
fn what_the_server_works_on_is_cancelled_there() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.console.admins = vec!["postgres".to_owned()];
            config.guard.small_table = bytesize::ByteSize::b(0);
        });
        let busy = Busy::new();
        // It is built, and waits for the reader's snapshot.
        let (mut client, plan) = busy.sends(&proxy, "CREATE INDEX ON t(a)", "runs");
        assert!(plan["step"].as_str().unwrap().starts_with("1 of "));
        let number = plan["number"].as_str().unwrap();
        ask(proxy.place(), &format!("CANCEL {number}"));
        let database = busy.database.clone();
        let sql = format!(
            "SELECT query FROM pg_stat_activity WHERE pid = {}",
            client.pid()
        );
        eventually("what it has built so far is dropped", || {
            value(&database, &sql).starts_with("DROP INDEX")
        });
        drop(busy); // its lock is in the way of that
        assert_eq!(sqlstate(&client.until_ready()), "57014");
        let left = value(
            &database,
            "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
        );
        assert_eq!(left, "0");
        client.run("SELECT pg_sleep(0.1)");
    });
}

#[test]
fn the_queue_is_shown() {
    limited(|| {
        let proxy = proxy();
        let busy = Busy::new();
        let (first, ahead) = busy.sends(&proxy, "ALTER TABLE t ADD COLUMN b int", "awaits lock");
        let (second, behind) = busy.sends(&proxy, "ALTER TABLE t ADD COLUMN c int", "queued");
        let queue = rows(proxy.place(), "SHOW QUEUE");
        assert_eq!(queue.len(), 1, "{queue:?}");
        assert_eq!(queue[0]["number"], behind["number"]);
        let first_number = ahead["number"].as_str().unwrap();
        assert_eq!(queue[0]["waits_for"], format!("plan {first_number}"));
        drop(busy);
        for mut client in [first, second] {
            assert_eq!(commands(&client.until_ready()), ["ALTER TABLE"]);
        }
    });
}

#[test]
fn a_plan_that_waits_for_an_approval_is_approved() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            queue(config, &[], "10m");
            config.console.admins = vec!["postgres".to_owned()];
        });
        let busy = Busy::new();
        let sql = "ALTER TABLE t ADD COLUMN b int";
        let (mut client, plan) = busy.sends(&proxy, sql, "awaits window");
        let number = plan["number"].as_str().unwrap();
        let queue = rows(proxy.place(), "SHOW QUEUE");
        assert_eq!(queue[0]["number"], number);
        assert!(queue[0]["waits_for"].as_str().unwrap().contains("approval"));
        drop(busy);
        assert_eq!(ask(proxy.place(), &format!("APPROVE {number}")), "");
        assert_eq!(commands(&client.until_ready()), ["ALTER TABLE"]);
        let events = proxy.events();
        let words: Vec<String> = events.iter().map(event_words).collect();
        assert_eq!(words, ["APPROVE done", "ALTER TABLE done"]);
        assert_eq!(events[1]["window"]["approved"], true);
        assert_eq!(events[0]["plan"]["sql"], sql);
    });
}

#[test]
fn who_may_see_and_who_may_act() {
    limited(|| {
        let (reader, other) = (role(), role());
        let readers = vec![reader.clone()];
        let proxy = Proxy::start(shared(), |config, _| {
            config.console.admins = vec!["postgres".to_owned()];
            config.console.readers = readers;
        });
        let place = proxy.place();
        let busy = Busy::new();
        let sql = "ALTER TABLE t ADD COLUMN b int";
        let (_client, plan) = busy.sends(&proxy, sql, "awaits lock");
        let number = plan["number"].as_str().unwrap();
        for command in ["SHOW PLANS", "SHOW BLOCKERS"] {
            assert!(ask_as(place, &reader, command).ok().contains(sql));
            assert_eq!(ask_as(place, &other, command).ok(), "");
        }
        assert!(
            ask_as(place, &reader, "SHOW CONFIG")
                .ok()
                .contains("locks.budget")
        );
        assert!(
            ask_as(place, &other, "SHOW RULES")
                .ok()
                .contains("lock-queue")
        );
        for (user, command) in [
            (&other, "SHOW CONFIG".to_owned()),
            (&other, format!("CANCEL {number}")),
            (&reader, format!("CANCEL {number}")),
            (&reader, format!("APPROVE {number}")),
            (&reader, "RELOAD".to_owned()),
        ] {
            let said = ask_as(place, user, &command);
            assert!(!said.status.success(), "{user} may {command}");
            assert!(said.err.contains("may not"), "{}", said.err);
            assert!(said.err.contains("console.admins"), "{}", said.err);
        }
        assert_eq!(ask(place, "SHOW PLANS").lines().count(), 1, "it goes on");
        // SET ROLE or a name in another case changes nothing: the session's user counts.
        let said = ask_as(place, &other, "SET ROLE postgres; SHOW CONFIG");
        assert!(said.err.contains("may not"), "{}", said.err);
        let refused = proxy.events();
        let refused: Vec<&Value> = refused
            .iter()
            .filter(|event| event["outcome"] == "refused" && event["console"] == true)
            .collect();
        assert_eq!(refused.len(), 4);
        assert_eq!(refused[0]["error"]["sqlstate"], "42501");
    });
}

#[test]
fn a_user_sees_its_own_plans() {
    limited(|| {
        let owner = role();
        let proxy = proxy();
        let busy = Busy::new();
        let mut admin = Wire::session(&place(shared()), &busy.database);
        admin.run(&format!(
            "CREATE TABLE own(a int); ALTER TABLE own OWNER TO {owner}"
        ));
        admin.run("BEGIN; SELECT * FROM own");
        let mut client = Wire::connect(proxy.place());
        client.start(&[("user", &owner), ("database", &busy.database)]);
        client.send(&q("ALTER TABLE own ADD COLUMN b int"));
        let (_other, _) = busy.sends(&proxy, "ALTER TABLE t ADD COLUMN b int", "awaits lock");
        eventually("its own plan is shown", || {
            let shown = ask_as(proxy.place(), &owner, "SHOW PLANS").ok();
            assert!(!shown.contains("ALTER TABLE t "), "{shown}");
            shown.contains("ALTER TABLE own")
        });
        drop(admin);
        assert_eq!(commands(&client.until_ready()), ["ALTER TABLE"]);
    });
}

#[test]
fn the_audit_log_is_shown() {
    limited(|| {
        let (reader, owner) = (role(), role());
        let readers = vec![reader.clone()];
        let proxy = Proxy::start(shared(), |config, _| config.console.readers = readers);
        let busy = Busy::new();
        let mut admin = Wire::session(&place(shared()), &busy.database);
        admin.run(&format!(
            "CREATE TABLE own (a int); ALTER TABLE own OWNER TO {owner}"
        ));
        let mut client = Wire::connect(proxy.place());
        client.start(&[("user", &owner), ("database", &busy.database)]);
        client.run("ALTER TABLE own\n  ADD COLUMN b int");
        assert_eq!(
            sqlstate(&client.query("ALTER TABLE own ADD COLUMN b int")),
            "42701"
        );
        client.run(&format!(
            "ALTER TABLE own ADD COLUMN {} int",
            "é".repeat(31)
        ));
        let mut waiting = proxy.session(&busy.database);
        waiting.send(&q("ALTER TABLE t ADD COLUMN b int"));
        let as_user = |user: &str| ask_as(proxy.place(), user, "SHOW AUDIT");
        let shown = |user: &str| -> Vec<Vec<String>> {
            let said = as_user(user).ok();
            said.lines()
                .map(|line| line.split('|').map(str::to_owned).collect())
                .collect()
        };
        eventually("all are recorded", || {
            let rows = shown(&reader);
            rows.len() >= 4 && rows.iter().any(|row| row[4] == "running")
        });
        let rows = shown(&reader);
        assert!(rows.iter().all(|row| row.len() == 8), "{rows:?}");
        let own: Vec<&Vec<String>> = rows.iter().filter(|row| row[1] == owner).collect();
        assert_eq!(own.len(), 3, "{rows:?}");
        let sql = "ALTER TABLE own ADD COLUMN b int";
        let first = [
            &owner,
            &busy.database,
            "ALTER TABLE",
            "done",
            "public.own",
            sql,
            "",
        ];
        assert_eq!(own[0][1..], first);
        assert_eq!(own[1][4], "failed");
        assert!(own[1][7].starts_with("42701: "), "{own:?}");
        assert!(
            own[0][0] <= own[1][0] && own[0][0].ends_with('Z'),
            "oldest first: {own:?}"
        );
        let last = rows.last().unwrap();
        assert_eq!(
            (last[1].as_str(), last[4].as_str()),
            ("postgres", "running")
        );
        // Who may not read sees its own, and only that.
        let rows = shown(&owner);
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(rows.iter().all(|row| row[1] == owner));
        assert_eq!(shown(&role()), Vec::<Vec<String>>::new());
    });
}

#[test]
fn without_a_journal_there_is_no_audit_log_to_show() {
    limited(|| {
        let without = Proxy::start(shared(), |config, _| config.operator.database.clear());
        let said = ask_as(without.place(), "postgres", "SHOW AUDIT");
        assert!(said.err.contains("operator.database is empty"), "{said:?}");
        assert_eq!(
            sqlstate(&without.session("console").query("SHOW AUDIT")),
            "55000"
        );
        let broken = Proxy::start(shared(), |config, _| {
            let port = shared().port();
            config.operator.url = Some(format!("postgres://nobody_here@127.0.0.1:{port}/postgres"));
        });
        let said = ask_as(broken.place(), "postgres", "SHOW AUDIT");
        assert!(said.err.contains("nobody_here"), "{said:?}");
    });
}

/// However many there are, the newest are shown.
#[test]
fn no_more_of_the_audit_log_is_shown_than_is_asked_for() {
    limited(|| {
        let proxy = proxy();
        let mut client = proxy.session(&database());
        for number in 0..104 {
            client.run(&format!("CREATE TEMPORARY SEQUENCE s{number}"));
        }
        eventually("the newest is shown", || {
            ask(proxy.place(), "SHOW AUDIT").contains("SEQUENCE s103")
        });
        let shown = ask(proxy.place(), "SHOW AUDIT");
        assert_eq!(shown.lines().count(), 100);
        assert!(
            shown.lines().next().unwrap().contains("SEQUENCE s4|"),
            "{shown}"
        );
    });
}

#[test]
fn wrong_commands_are_named_with_the_nearest() {
    limited(|| {
        let proxy = proxy();
        let mut wire = proxy.session("console");
        for (sql, code, needle) in [
            ("SHOW PLAN", "42601", "SHOW PLANS"),
            ("SELECT * FROM pg_class", "42601", "HELP"),
            ("CANCEL", "42601", "CANCEL 3"),
            ("CANCEL 4711", "42704", "4711"),
            ("APPROVE 4711", "42704", "4711"),
            ("RELOAD", "F0000", "no settings"),
        ] {
            let frames = wire.query(sql);
            assert_eq!(
                (tags(&frames).as_str(), sqlstate(&frames).as_str()),
                ("EZ", code)
            );
            let said = format!("{}{}", frames[0].field(b'M'), frames[0].field(b'H'));
            assert!(said.contains(needle), "{sql}: {said}");
        }
        let frames = wire.query("SHOW HELP; SHOW PLANS; NONSENSE; RELOAD");
        assert!(tags(&frames).starts_with("TDD"), "{}", tags(&frames));
        assert!(tags(&frames).ends_with("CTCEZ"), "{}", tags(&frames));
        assert_eq!(tags(&wire.query(" ; ")), "IZ");
    });
}

#[test]
fn the_extended_protocol_and_what_breaks_it() {
    limited(|| {
        let proxy = proxy();
        let mut wire = proxy.session("console");
        assert_eq!(
            tags(&wire.ask(&[pbe("HELP"), s()].concat())),
            "12DDDDDDDDDDCZ"
        );
        let prepared = [p("s", "SHOW HELP"), d(b'S', "s"), h()].concat();
        wire.send(&prepared);
        let executed = [
            b("p", "s", &[]),
            d(b'P', "p"),
            e("p", 2),
            e("p", 0),
            c(b'S', "s"),
            s(),
        ];
        let frames = wire.ask(&executed.concat());
        assert_eq!(tags(&frames), "1tT2TDDsDDDDDDDDC3Z");
        // It was forgotten; after an error everything is thrown away up to the Sync.
        let gone = [b("", "s", &[]), e("", 0), p("", "HELP"), s()].concat();
        let frames = wire.ask(&gone);
        assert_eq!(
            (tags(&frames).as_str(), sqlstate(&frames).as_str()),
            ("EZ", "26000")
        );
        for (messages, code) in [
            ([p("", "NONSENSE"), s()].concat(), "42601"),
            ([p("", "HELP; HELP"), s()].concat(), "42601"),
            ([p("", "HELP"), b("", "", &["1"]), s()].concat(), "08P01"),
            ([e("nothing", 0), s()].concat(), "34000"),
            ([d(b'P', "nothing"), s()].concat(), "34000"),
            (function_call(1, &[]), "08P01"),
            ([crate::wire::frame(b'B', b"x"), s()].concat(), "08P01"),
            ([crate::wire::frame(b'p', b"x"), s()].concat(), "08P01"),
        ] {
            let frames = wire.ask(&messages);
            assert_eq!(sqlstate(&frames), code, "{}", messages.escape_ascii());
            assert_eq!(frames.last().unwrap().tag, b'Z');
        }
        let frames = wire.ask(&[p("", ""), d(b'S', ""), b("", "", &[]), e("", 0), s()].concat());
        assert_eq!(tags(&frames), "1tn2IZ");
        assert_eq!(
            column(&wire.query("SELECT current_database()")),
            ["console"]
        );
        assert_eq!(column(&wire.query("SELECT current_user")), ["postgres"]);
        wire.send(&x());
        assert_eq!(wire.until_end(), []);
        // A message that is too long ends it.
        let mut wire = proxy.session("console");
        wire.send(&q(&"x".repeat(100_000)));
        assert_eq!(sqlstate(&wire.until_end()), "08P01");
        // What is sent with the start-up message is answered in its turn.
        let mut wire = Wire::connect(proxy.place());
        let start = startup(&[("user", "postgres"), ("database", "console")]);
        wire.send(&[start, q("HELP")].concat());
        wire.until_ready();
        assert!(tags(&wire.until_ready()).starts_with("TD"));
    });
}

#[test]
fn drivers_can_run_its_commands() {
    limited(|| {
        let proxy = proxy();
        let script = "
import psycopg, sys
with psycopg.connect(sys.argv[1]) as c:
    print(c.execute('SHOW HELP').fetchone()[0], c.info.transaction_status.name)
    print(c.execute('SHOW HELP', prepare=True).fetchone()[0])
    print(c.execute('SHOW HELP', binary=True).fetchone()[0])
    c.commit()
    print(c.info.transaction_status.name)
    try:
        c.execute('CANCEL 4711')
    except psycopg.errors.UndefinedObject as error:
        print('no plan')
    c.rollback()
    with c.cursor() as cursor:
        cursor.execute('SHOW CONFIG')
        print([column.name for column in cursor.description])
";
        let said = psycopg(&proxy.place().conninfo("console"), script);
        let expected = [
            "SHOW PLANS INTRANS",
            "SHOW PLANS",
            "SHOW PLANS",
            "IDLE",
            "no plan",
            "['key', 'value', 'default']",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        let script = "
import asyncio, asyncpg, sys
async def main():
    host, port = sys.argv[1:]
    login = dict(host=host, port=int(port), user='postgres', database='console')
    async with asyncpg.create_pool(min_size=1, max_size=1, **login) as pool:
        for _ in range(2):
            async with pool.acquire() as c:
                print((await c.fetch('SHOW HELP'))[0]['command'])
                print(await c.execute('SHOW RULES'))
                print(await c.fetchval('SELECT version()'))
asyncio.run(main())
";
        let python = installed("LOCKKEEPER_TEST_PYTHON", "target/venv/bin/python");
        let (host, port) = (proxy.place().host(), proxy.place().port().to_string());
        let said = run(clean_command(python).args(["-c", script, &host, &port]), "").ok();
        let once = format!("SHOW PLANS\nSHOW\nlockkeeper {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(said, format!("{once}\n{once}"));
    });
}

#[test]
fn the_server_lets_people_in() {
    limited(|| {
        let proxy = Proxy::start(demanding(), |config, _| {
            config.console.admins = vec!["postgres".to_owned()];
        });
        let (host, port) = (proxy.place().host(), proxy.place().port());
        let conninfo = |user: &str, password: &str| {
            let password = password.replace('\'', "\\'");
            format!("host={host} port={port} dbname=console user={user} password='{password}'")
        };
        let command = ["-c", "SHOW HELP"];
        for (user, password) in [("postgres", PASSWORD), ("hashed", "secret")] {
            let said = psql(&conninfo(user, password), &command, "").ok();
            assert!(said.contains("CANCEL n"), "{said}");
        }
        for (user, password) in [("postgres", "wrong"), ("refused", ""), ("nobody", "x")] {
            let said = psql(&conninfo(user, password), &command, "");
            assert_eq!(said.status.code(), Some(2), "{said:?}");
            assert!(!said.err.contains("lockkeeper"), "{}", said.err);
        }
        // Nothing of the console before that.
        let mut wire = Wire::connect(proxy.place());
        let start = startup(&[("user", "postgres"), ("database", "console")]);
        wire.send(&[start, q("SHOW CONFIG")].concat());
        assert!(!tags(&wire.until_end()).contains('T'));
    });
}

#[test]
fn a_database_of_that_name_is_shadowed_and_the_console_can_be_elsewhere_or_off() {
    limited(|| {
        let real = database();
        let named = real.clone();
        let proxy = Proxy::start(shared(), |config, _| config.console.database = named);
        assert!(tags(&proxy.session(&real).query("HELP")).starts_with("TD"));
        let mut missing = Wire::connect(proxy.place());
        let frames = missing.start(&[("user", "postgres"), ("database", "console")]);
        assert_eq!(sqlstate(&frames), "3D000");
        let proxy = Proxy::start(shared(), |config, _| config.console.database.clear());
        assert_eq!(
            proxy.session(&real).value("SELECT current_database()"),
            real
        );
        let mut missing = Wire::connect(proxy.place());
        let frames = missing.start(&[("user", "postgres"), ("database", "console")]);
        assert_eq!(sqlstate(&frames), "3D000");
    });
}

#[test]
fn it_can_be_reached_when_all_clients_places_are_taken() {
    limited(|| {
        let proxy = Proxy::start(shared(), |config, _| {
            config.limits.connections = 1;
            config.console.admins = vec!["postgres".to_owned()];
        });
        let mut only = proxy.session("postgres");
        let mut refused = Wire::connect(proxy.place());
        let frames = refused.start(&[("user", "postgres")]);
        assert_eq!(sqlstate(&frames), "53300");
        let mut consoles: Vec<Wire> = (0..16).map(|_| proxy.session("console")).collect();
        let mut refused = Wire::connect(proxy.place());
        let frames = refused.start(&[("user", "postgres"), ("database", "console")]);
        assert_eq!(sqlstate(&frames), "53300");
        assert!(frames[0].field(b'M').contains("console"));
        only.run("SELECT 1");
        assert_eq!(sqlstate(&consoles[0].query("SHOW PLANS")), "");
        // The server has none of them.
        consoles.pop();
        eventually("the place is free again", || {
            let mut wire = Wire::connect(proxy.place());
            let frames = wire.start(&[("user", "postgres"), ("database", "console")]);
            sqlstate(&frames).is_empty()
        });
    });
}

/// Sessions of a role's, as many as the server has places for.
fn fill(server: &TemporaryServer, user: &str) -> Vec<Wire> {
    let mut sessions = Vec::new();
    loop {
        let mut wire = Wire::connect(&place(server));
        let frames = wire.start(&[("user", user), ("database", "postgres")]);
        match sqlstate(&frames).as_str() {
            "" => sessions.push(wire),
            refused => {
                assert_eq!(refused, "53300");
                return sessions;
            }
        }
    }
}

/// A server with few places, and a proxy that has one of them in reserve; a session that looks.
fn small_server() -> (TemporaryServer, Proxy, Wire) {
    let server = start_server(|options| {
        let setting = ("max_connections".to_owned(), "10".to_owned());
        options.settings.push(setting);
    });
    let proxy = Proxy::start(&server, |config, _| {
        config.console.admins = vec!["dba".to_owned(), "postgres".to_owned()];
    });
    let mut admin = Wire::session(&place(&server), "postgres");
    until_reserved(&mut admin);
    (server, proxy, admin)
}

fn until_reserved(admin: &mut Wire) {
    const SQL: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockkeeper reserve'";
    eventually("a connection is in reserve", || admin.value(SQL) == "1");
}

#[test]
fn it_can_be_reached_when_the_server_is_full() {
    limited(|| {
        let (server, proxy, mut admin) = small_server();
        let taken = fill(&server, "postgres");
        let said = ask_as(proxy.place(), "postgres", "SHOW HELP").ok();
        assert!(said.contains("CANCEL n"), "{said}");
        drop(taken);
        until_reserved(&mut admin);
    });
}

#[test]
fn whom_the_server_knows_needs_no_place() {
    limited(|| {
        let (server, proxy, mut admin) = small_server();
        admin.run("CREATE ROLE dba LOGIN; CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN");
        admin.run("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
        admin.run("GRANT CONNECT ON DATABASE postgres TO dba, app");
        let _taken = fill(&server, "app");
        let said = ask_as(proxy.place(), "dba", "CANCEL 4711");
        assert!(said.err.contains("no plan 4711"), "{}", said.err);
        let said = ask_as(proxy.place(), "stranger", "SHOW HELP");
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        until_reserved(&mut admin);
    });
}

#[test]
fn it_costs_no_server_connection() {
    limited(|| {
        let proxy = proxy();
        let name = format!("console_{}", unique());
        let mut wire = Wire::connect(proxy.place());
        wire.start(&[
            ("user", "postgres"),
            ("database", "console"),
            ("application_name", &name),
        ]);
        let sql =
            format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
        eventually("the server's session ends", || {
            value("postgres", &sql) == "0"
        });
        assert_eq!(sqlstate(&wire.query("SHOW PLANS")), "");
    });
}

#[test]
fn an_open_console_holds_nothing_up() {
    limited(|| {
        let mut lockkeeper = Program::start_with(shared(), &[("SHUTDOWN__GRACE", "10m")]);
        let mut console = Wire::session(&lockkeeper.place, "console");
        let mut client = lockkeeper.session();
        client.run("BEGIN");
        lockkeeper.signal("TERM");
        // While others end their transactions it still answers.
        assert_eq!(sqlstate(&console.query("SHOW PLANS")), "");
        client.send(&q("COMMIT"));
        assert_eq!(sqlstate(&console.until_end()), "57P01");
        assert_eq!(lockkeeper.ends_with(), Some(0));
    });
}

#[test]
fn settings_are_read_again() {
    limited(|| {
        let directory = tempfile::tempdir().unwrap();
        let settings = |text: &str| {
            let all = format!("[console]\nadmins = 'postgres'\n{text}");
            write(directory.path(), "lockkeeper.toml", &all)
        };
        let file = settings("");
        let mut command = clean_command(PROGRAM);
        command.args(["serve", "--config"]).arg(Path::new(&file));
        let lockkeeper = Program::start_as(command, shared(), &[]);
        assert_eq!(ask(&lockkeeper.place, "RELOAD"), "");
        settings("[locks]\nbudget = '50ms'\n[runtime]\nthreads = 3");
        let said = ask(&lockkeeper.place, "RELOAD");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], r#"locks.budget|"100ms"|"50ms"|now"#);
        assert_eq!(lines[1], "runtime.threads|0|3|with a restart");
        let shown = || ask(&lockkeeper.place, "SHOW CONFIG");
        eventually("they are in force", || {
            shown().contains("locks.budget|50ms|100ms")
        });
        settings("[locks]\nbudget = '2h'");
        let said = ask_as(&lockkeeper.place, "postgres", "RELOAD");
        assert!(said.err.contains("locks.budget"), "{}", said.err);
        assert!(shown().contains("locks.budget|50ms|100ms"));
        let page = lockkeeper.get("/metrics").1;
        let refused = r#"lockkeeper_reloads_total{outcome="refused"} 1"#;
        assert!(page.contains(refused), "{page}");
    });
}
