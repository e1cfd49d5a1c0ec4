//! Rows filled in batches, on real servers of every version: each row once, in order of any key, while others write,
//! from where another session stopped.

#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/bench.rs"]
mod bench;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "common/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "judged/judge.rs"]
mod judge;
#[path = "backfill/keys.rs"]
mod keys;
#[path = "common/session.rs"]
mod session;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bench::{Bench, benches, until};
use client::{Client, Protocol};
use judge::{block_on, judge};
use lockkeeper::catalog::Facts;
use lockkeeper::error::Interrupt;
use lockkeeper::exec::backfill::BackfillCursor;
use lockkeeper::exec::runner::{self, Outcome, Progress, Setup};
use lockkeeper::exec::session::{Command, Pressure, Reply, RunError, Session, Stage};
use lockkeeper::plan::backfill::Pace;
use lockkeeper::plan::{Limits, Plan};
use lockkeeper::rules::Verdict;
use session::PlanSession;

const LIMITS: Limits = Limits::asking(Duration::from_secs(5), Duration::from_secs(60));
/// Without rests.
const FAST: Pace = Pace {
    max_lag: Duration::from_secs(10),
    duty: 1.0,
};
/// More rows than a first batch has.
const MANY: u32 = 1300;

/// A session that does something after each batch that was written, and is interrupted after some.
struct Hooked<'a> {
    inner: PlanSession<'a>,
    written: usize,
    stop_after: Option<usize>,
    hook: &'a mut dyn FnMut(usize),
    lags: VecDeque<Option<Duration>>,
    /// What those who look from outside were told.
    stages: Vec<String>,
}

impl<'a> Hooked<'a> {
    fn over(client: &'a mut Client, hook: &'a mut dyn FnMut(usize)) -> Hooked<'a> {
        Hooked {
            inner: PlanSession::over(client),
            written: 0,
            stop_after: None,
            hook,
            lags: VecDeque::new(),
            stages: Vec::new(),
        }
    }
}

impl Session for Hooked<'_> {
    async fn run(&mut self, batch: &[Command]) -> Result<Vec<Reply>, RunError> {
        let replies = self.inner.run(batch).await?;
        if batch
            .iter()
            .any(|command| command.sql.starts_with("UPDATE ONLY "))
        {
            self.written += 1;
            (self.hook)(self.written);
        }
        Ok(replies)
    }

    async fn sleep(&mut self, duration: Duration) {
        // A pause for a standby is as good when it is short.
        self.inner
            .sleep(duration.min(Duration::from_millis(50)))
            .await;
    }

    fn forgive(&mut self) {
        self.stop_after = None;
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop_after = self.stop_after?;
        (self.written >= stop_after).then_some(Interrupt::Cancelled)
    }

    fn notice(&mut self, message: &str, detail: &str) {
        self.inner.notice(message, detail);
    }

    fn elapsed(&self) -> Duration {
        self.inner.elapsed()
    }

    fn stage(&mut self, stage: Stage) {
        if let Stage::Runs {
            step,
            of,
            title,
            progress,
        } = stage
        {
            self.stages.push(format!("{step}/{of} {title}: {progress}"));
        }
    }

    async fn pressure(&mut self) -> Option<Pressure> {
        let replication_lag = self.lags.pop_front()?;
        Some(Pressure {
            replication_lag,
            waiting_for_us: 0,
        })
    }
}

/// A session on each server, in a database of its own.
fn each(test: impl Fn(&Bench, &str, &mut Client)) {
    for bench in benches() {
        let database = bench.database();
        let mut client = bench.direct(&database);
        test(bench, &database, &mut client);
    }
}

fn plan(client: &mut Client, sql: &str) -> (Facts, Plan) {
    let judged = judge(client, sql).unwrap_or_else(|problem| panic!("{sql}: {problem}"));
    let judged = judged.unwrap_or_else(|| panic!("{sql} is no schema change"));
    match judged.judgement.verdict {
        Verdict::Rewrite(plan) => (judged.facts, plan),
        verdict => panic!("{sql}: {verdict:?}"),
    }
}

fn setup<'a>(facts: &'a Facts, limits: Limits) -> Setup<'a> {
    Setup {
        settings: &facts.session,
        limits,
        relations: &[],
        places: None,
        pace: FAST,
    }
}

/// Runs a statement's plan; `hook` is called after each batch with its number.
fn run(client: &mut Client, sql: &str, limits: Limits, hook: &mut dyn FnMut(usize)) -> Outcome {
    let (facts, plan) = plan(client, sql);
    let mut session = Hooked::over(client, hook);
    block_on(runner::run(&mut session, &plan, setup(&facts, limits)))
}

/// The same; it must succeed.
#[track_caller]
fn ok(client: &mut Client, sql: &str, hook: &mut dyn FnMut(usize)) -> Outcome {
    let outcome = run(client, sql, LIMITS, hook);
    assert!(outcome.result.is_ok(), "{sql}: {:?}", outcome.result);
    outcome
}

/// Changes between two batches that a fill by key alone, or by blocks alone, would miss.
#[test]
fn rows_that_move_meanwhile_are_found() {
    each(|bench, database, client| {
        client.ok(&format!(
            "CREATE TABLE k (id int PRIMARY KEY, n int); CREATE TABLE b (id int, n int) WITH (fillfactor = 50);
             INSERT INTO k SELECT n, 0 FROM generate_series(1, {MANY}) n; INSERT INTO b SELECT * FROM k;
             CREATE TABLE p (id int, half int, PRIMARY KEY (id, half)) PARTITION BY LIST (half);
             CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2);
             INSERT INTO p SELECT n, 1 + n % 2 FROM generate_series(1, {MANY}) n"
        ));
        for (table, change) in [
            (
                "k",
                "UPDATE k SET id = -id WHERE id = 1300; UPDATE k SET id = 90000 WHERE id = 1299",
            ),
            (
                "b",
                "DELETE FROM b WHERE id < 100; VACUUM b; UPDATE b SET n = 1 WHERE id > 1200",
            ),
            (
                "p",
                "UPDATE p SET half = 1 WHERE half = 2 AND id > 1290; INSERT INTO p VALUES (-5, 2)",
            ),
        ] {
            let mut other = bench.direct(database);
            let mut moves = |batch: usize| {
                if batch == 1 {
                    for part in change.split("; ") {
                        other.ok(part);
                    }
                }
            };
            let sql =
                format!("ALTER TABLE {table} ADD COLUMN c uuid NOT NULL DEFAULT gen_random_uuid()");
            ok(client, &sql, &mut moves);
            let left = client.value(&format!("SELECT count(*) FROM {table} WHERE c IS NULL"));
            assert_eq!(left, "0", "{table}");
        }
    });
}

#[test]
fn others_write_meanwhile_and_nothing_is_lost() {
    const ROWS: u32 = 20_000;
    each(|bench, database, client| {
        client.ok(&format!(
            "CREATE TABLE k (id int PRIMARY KEY, n int NOT NULL); CREATE TABLE b (id int, n int NOT NULL);
             INSERT INTO k SELECT n, 0 FROM generate_series(1, {ROWS}) n; INSERT INTO b SELECT * FROM k;
             CREATE INDEX ON b (id)"
        ));
        for table in ["k", "b"] {
            let ended = Arc::new(AtomicBool::new(false));
            let writers: Vec<_> = (0..3)
                .map(|seed| {
                    let (ended, mut own) = (Arc::clone(&ended), bench.direct(database));
                    thread::spawn(move || write(&mut own, table, seed, ROWS, &ended))
                })
                .collect();
            let limits = Limits {
                budget: Duration::from_millis(60),
                ..LIMITS
            };
            let sql =
                format!("ALTER TABLE {table} ADD COLUMN c uuid NOT NULL DEFAULT gen_random_uuid()");
            let outcome = run(client, &sql, limits, &mut |_| {});
            ended.store(true, Ordering::Relaxed);
            let written = writers
                .into_iter()
                .map(|writer| writer.join().expect("a writer"));
            let written: u64 = written.sum();
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
            assert!(written > 0);
            let found = client.value(&format!(
                "SELECT sum(n) || ' ' || count(*) FILTER (WHERE c IS NULL) || ' ' || count(*) - count(DISTINCT c)
                 FROM {table}"
            ));
            assert_eq!(found, format!("{written} 0 0"), "{table}");
        }
    });
}

/// Adds 1 to rows here and there until told to end, deletes and inserts others that hold nothing; what was added.
fn write(client: &mut Client, table: &str, seed: u32, rows: u32, ended: &AtomicBool) -> u64 {
    let (mut added, mut at) = (0, seed * 7919 + 1);
    while !ended.load(Ordering::Relaxed) {
        at = (at * 31 + 17) % rows;
        let ids = format!("{at}, {}, {}", rows - at, (at + rows / 2) % rows);
        let sql = format!("BEGIN; UPDATE {table} SET n = n + 1 WHERE id IN ({ids})");
        let answer = client.run(&sql, Protocol::Simple);
        let updated = answer
            .tags
            .last()
            .and_then(|tag| tag.rsplit_once(' ')?.1.parse::<u64>().ok());
        if at % 5 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        let new = rows * (seed + 2) + at;
        let rest = format!(
            "DELETE FROM {table} WHERE id = {new}; INSERT INTO {table} (id, n) VALUES ({new}, 0);
             DELETE FROM {table} WHERE id = {at} + 1 AND n = 0; COMMIT"
        );
        let ended = client.run(&rest, Protocol::Simple);
        match (answer.error.or(ended.error), updated) {
            (None, Some(updated)) => added += updated,
            (Some(error), _) => {
                assert_eq!(error.sqlstate, "40P01", "{error:?}"); // writers meet each other
                client.run("ROLLBACK", Protocol::Simple);
            }
            (None, None) => panic!("no tag"),
        }
    }
    added
}

#[test]
fn a_default_that_gives_null() {
    each(|_, _, client| {
        for key in ["id int PRIMARY KEY", "id int"] {
            client.ok(&format!(
                "DROP TABLE IF EXISTS t; DROP SEQUENCE IF EXISTS s; CREATE SEQUENCE s; CREATE TABLE t ({key});
                 INSERT INTO t SELECT generate_series(1, {MANY})"
            ));
            let some = "nullif(nextval('s') % 3, 0)";
            ok(
                client,
                &format!("ALTER TABLE t ADD COLUMN c bigint DEFAULT {some}"),
                &mut |_| {},
            );
            let found = client
                .value("SELECT count(*) - count(c) || ' ' || (SELECT last_value FROM s) FROM t");
            assert_eq!(
                found,
                format!("{} {MANY}", MANY / 3),
                "{key}: each once, as the statement itself would"
            );
            let outcome = run(
                client,
                &format!("ALTER TABLE t ADD COLUMN d bigint NOT NULL DEFAULT {some}"),
                LIMITS,
                &mut |_| {},
            );
            let error = outcome.result.expect_err("NULLs where there must be none");
            assert!(["23502", "23514"].contains(&error.sqlstate()), "{error:?}");
            let columns = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";
            assert_eq!(
                client.value(columns),
                "id c",
                "{:?}",
                outcome.progress.undone
            );
            let never = "CASE WHEN random() < 2 THEN NULL ELSE 1 END";
            ok(
                client,
                &format!("ALTER TABLE t ADD COLUMN d bigint DEFAULT {never}"),
                &mut |_| {},
            );
        }
    });
}

#[test]
fn triggers_generated_columns_and_big_rows() {
    each(|_, _, client| {
        client.ok(
            "CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int, touched int DEFAULT 0, big text,
                 twice int GENERATED ALWAYS AS (n * 2) STORED);
             ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
             INSERT INTO t (n, big) SELECT n, repeat('x', 40000) FROM generate_series(1, 700) n;
             CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
                 IF NEW.n = 13 THEN RETURN NULL; END IF;
                 NEW.touched := NEW.touched + 1; RAISE NOTICE 'touched'; RETURN NEW; END$$;
             CREATE TRIGGER touched BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
        );
        ok(
            client,
            "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()",
            &mut |_| {},
        );
        let found = client.value(
            "SELECT count(DISTINCT c) || ' ' || min(n) FILTER (WHERE c IS NULL) || ' ' || sum(touched) || ' ' ||
             bool_and(twice = n * 2) || ' ' || min(length(big)) FROM t",
        );
        assert_eq!(
            found, "699 13 699 true 40000",
            "the row that its trigger keeps stays as it is"
        );
    });
}

#[test]
fn another_session_goes_on_where_one_stopped() {
    each(|bench, database, client| {
        for (key, rows) in [
            ("id uuid PRIMARY KEY DEFAULT gen_random_uuid()", 20_000),
            ("id int", 200_000),
        ] {
            client.ok(&format!(
                "DROP TABLE IF EXISTS t; DROP SEQUENCE IF EXISTS s; CREATE SEQUENCE s; CREATE TABLE t ({key}, n int);
                 INSERT INTO t (n) SELECT generate_series(1, {rows})"
            ));
            let (facts, mut plan) = plan(
                client,
                "ALTER TABLE t ADD COLUMN c bigint DEFAULT nextval('s')",
            );
            let rest = plan.steps.split_off(1);
            let hook = &mut |_| {};
            let mut first = Hooked::over(client, hook);
            let outcome = block_on(runner::run(&mut first, &plan, setup(&facts, LIMITS)));
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
            plan.steps = rest;
            let mut stops = Hooked::over(client, hook);
            stops.stop_after = Some(2);
            let outcome = block_on(runner::run(&mut stops, &plan, setup(&facts, LIMITS)));
            let error = outcome.result.expect_err("stopped");
            assert_eq!(error.sqlstate(), "57014");
            let done: u64 = client
                .value("SELECT count(c) FROM t")
                .parse()
                .expect("a number");
            let cursor = outcome.progress.cursor;
            assert!(
                done > 0 && done < rows && cursor.filled_in_all == done,
                "{done} {cursor:?}"
            );
            let stored = serde_json::to_string(&cursor).expect("JSON");
            let cursor: BackfillCursor = serde_json::from_str(&stored).expect("a cursor");
            let mut other = bench.direct(database);
            // What comes later has the default already.
            other.ok("INSERT INTO t (n) SELECT generate_series(1, 10)");
            let seen = cursor.seen;
            let mut second = Hooked::over(&mut other, hook);
            let progress = Progress {
                cursor,
                ..Progress::default()
            };
            let outcome = block_on(runner::go_on(
                &mut second,
                &plan,
                setup(&facts, LIMITS),
                progress,
            ));
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
            let told = second.stages[1]
                .rsplit_once(": ")
                .expect("a step and how far it is")
                .1;
            let told = told.split(' ').next().expect("a number").replace(',', "");
            assert!(
                told.parse::<u64>().expect("a number") > seen,
                "{told} after {seen}"
            );
            assert_eq!(outcome.progress.cursor, BackfillCursor::default());
            let found = client
                .value("SELECT count(DISTINCT c) || ' ' || (SELECT last_value FROM s) FROM t");
            assert_eq!(found, format!("{0} {0}", rows + 10), "each row once");
        }
    });
}

#[test]
fn a_row_that_somebody_holds_is_waited_for() {
    each(|bench, database, client| {
        for key in ["id int PRIMARY KEY", "id int"] {
            client.ok(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t ({key}, n int, pad char(200) DEFAULT '');
                 INSERT INTO t SELECT n, 0 FROM generate_series(1, {MANY}) n"
            ));
            let holder = Arc::new(Mutex::new(bench.direct(database)));
            let mut hold = |batch: usize| {
                if batch == 1 {
                    let mut holder = holder.lock().expect("a client");
                    holder.ok("BEGIN; UPDATE t SET n = 7 WHERE id = 1250");
                }
            };
            let sql = "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()";
            let limits = Limits {
                budget: Duration::from_millis(40),
                ..LIMITS
            };
            let hasty = Limits {
                deadline: Duration::from_secs(1),
                undo_deadline: Duration::from_secs(1), // the holder is in the way of that, too
                ..limits
            };
            let outcome = run(client, sql, hasty, &mut hold);
            let error = outcome.result.expect_err("the row is held");
            assert_eq!(error.sqlstate(), "55P03", "{error:?}");
            assert!(outcome.progress.attempts > 1);
            holder.lock().expect("a client").ok("ROLLBACK");
            client.ok("ALTER TABLE t DROP COLUMN c");
            let (mut watcher, releasing) = (bench.direct(database), Arc::clone(&holder));
            let releases = thread::spawn(move || {
                let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
                until("the fill waits for the row", || watcher.value(waits) != "0");
                releasing.lock().expect("a client").ok("COMMIT");
            });
            let outcome = run(client, sql, limits, &mut hold);
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
            releases.join().expect("released");
            let found = client.value(
                "SELECT count(c) || ' ' || (SELECT n FROM t WHERE id = 1250) || ' ' ||
                 (SELECT count(*) FROM pg_locks WHERE NOT granted) FROM t",
            );
            assert_eq!(found, format!("{MANY} 7 0"), "{key}");
        }
    });
}

#[test]
fn it_pauses_while_a_standby_is_behind_and_says_so() {
    each(|_, _, client| {
        client.ok(&format!(
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, {MANY}); ANALYZE t"
        ));
        let (facts, plan) = plan(
            client,
            "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()",
        );
        let hook = &mut |_| {};
        let mut session = Hooked::over(client, hook);
        let behind = Some(Duration::from_secs(25));
        session.lags = VecDeque::from([None, behind, behind, Some(Duration::from_secs(9))]);
        let outcome = block_on(runner::run(&mut session, &plan, setup(&facts, LIMITS)));
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        let pauses: Vec<&String> = session
            .stages
            .iter()
            .filter(|told| told.contains("standby"))
            .collect();
        assert_eq!(pauses.len(), 2, "{:#?}", session.stages);
        let start = "2/3 fill c of public.t: 500 of about 1,300 rows (38 %), 500 filled, ";
        let end = "waits for a standby that is 25 s behind (backfill.max_lag is 10 s)";
        assert!(
            pauses[0].starts_with(start) && pauses[0].ends_with(end),
            "{}",
            pauses[0]
        );
    });
}

/// A policy that binds the owner too would leave rows unfilled without a word.
#[test]
fn hidden_rows_are_not_forgotten() {
    each(|bench, database, client| {
        client.ok(
            "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, n % 2 FROM generate_series(1, 10) n;
             DO $$BEGIN CREATE ROLE keeper LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$;
             GRANT ALL ON SCHEMA public TO keeper; ALTER TABLE t OWNER TO keeper;
             ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
             CREATE POLICY odd ON t USING (n = 1)",
        );
        let mut keeper = Client::connect(bench.server.port(), database, "keeper");
        let sql = "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()";
        let error = run(&mut keeper, sql, LIMITS, &mut |_| {})
            .result
            .expect_err("refused");
        assert_eq!(error.sqlstate(), "42501", "{error:?}");
        client.ok("ALTER TABLE t NO FORCE ROW LEVEL SECURITY");
        ok(&mut keeper, sql, &mut |_| {});
        assert_eq!(client.value("SELECT count(c) FROM t"), "10");
    });
}

/// Operators and functions of the same names, found first.
#[test]
fn a_search_path_changes_nothing() {
    each(|_, _, client| {
        client.ok(&format!(
            "CREATE SCHEMA trap; CREATE FUNCTION trap.no(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS $$BEGIN
                 RAISE EXCEPTION 'trapped'; END$$;
             CREATE OPERATOR trap.> (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = trap.no);
             CREATE OPERATOR trap.<= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = trap.no);
             CREATE FUNCTION trap.no(tid, tid) RETURNS bool LANGUAGE plpgsql AS $$BEGIN
                 RAISE EXCEPTION 'trapped'; END$$;
             CREATE OPERATOR trap.>= (LEFTARG = tid, RIGHTARG = tid, FUNCTION = trap.no);
             CREATE OPERATOR trap.< (LEFTARG = tid, RIGHTARG = tid, FUNCTION = trap.no);
             CREATE FUNCTION trap.encode(bytea, text) RETURNS text LANGUAGE sql AS $$SELECT 'trapped'$$;
             CREATE TABLE t (id uuid, name text, PRIMARY KEY (id, name));
             INSERT INTO t SELECT gen_random_uuid(), n FROM generate_series(1, {MANY}) n;
             SET search_path = trap, pg_catalog, public"
        ));
        ok(
            client,
            "ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()",
            &mut |_| {},
        );
        assert_eq!(client.value("SELECT count(c) FROM t"), MANY.to_string());
    });
}

#[test]
fn through_the_proxy_in_each_protocol() {
    each(|bench, database, client| {
        client.ok("CREATE TABLE t (id int, n int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 3000) n");
        for (column, protocol) in [
            ("a", Protocol::Simple),
            ("b", Protocol::Extended),
            ("c", Protocol::Prepared),
        ] {
            let mut guarded = bench.guarded(database);
            let sql = format!("ALTER TABLE t ADD COLUMN {column} bigserial");
            let answer = guarded.run(&sql, protocol);
            assert_eq!(answer.error, None, "{sql}");
            assert_eq!(answer.tags, ["ALTER TABLE"]);
            let found = client.value(&format!(
                "SELECT count(DISTINCT {column}) || ' ' || max({column}) FROM t"
            ));
            assert_eq!(found, "3000 3000");
        }
    });
}

/// A fill that takes minutes, some seconds after it began.
fn slow_fill(bench: &Bench, database: &str, client: &mut Client) -> Client {
    client.ok("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 40000) n;
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
             PERFORM pg_sleep(0.002); RETURN NEW; END$$;
         CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION slow()");
    let mut guarded = bench.guarded(database);
    guarded.send("ALTER TABLE t ADD COLUMN c uuid NOT NULL DEFAULT gen_random_uuid()");
    until("some rows are filled", || {
        let answer = client.run("SELECT count(c) > 1100 FROM t", Protocol::Simple);
        answer.rows.first().is_some_and(|row| row[0] == "t")
    });
    guarded
}

const COLUMNS: &str = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped";

#[test]
fn a_cancelled_fill_leaves_no_column_and_says_how_far_it_was() {
    each(|bench, database, client| {
        let mut guarded = slow_fill(bench, database, client);
        guarded.cancel();
        let answer = guarded.answer();
        assert_eq!(answer.sqlstate(), "57014", "{answer:?}");
        let told = answer
            .notices
            .iter()
            .find(|notice| notice.contains("fill c of public.t: "));
        assert!(
            told.is_some_and(|told| told.contains(" rows/s")),
            "{:?}",
            answer.notices
        );
        assert_eq!(client.value(COLUMNS), "id n");
        // The session goes on as it was.
        assert_eq!(
            guarded.value("SHOW statement_timeout") + &guarded.value("SHOW enable_seqscan"),
            "0on"
        );
    });
}
