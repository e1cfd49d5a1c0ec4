//! What lockkeeper does with a statement, as text: the scripts of `tests/scripts`, in three suites.
//!
//! * *golden*: facts and SQL give the verdict and the plan that the script holds.
//! * *fixpoint*: every step of every plan, judged again after the steps before it, is left as it is.
//! * *failure at every step*: a plan run on a recording session, with each error at each command, leaves the session's
//!   settings as found, no transaction open, nothing half-built, and never sleeps less than ten times what it spent.

#[path = "common/facts.rs"]
mod facts;
#[path = "common/recording.rs"]
mod recording;
#[path = "common/scripts.rs"]
mod scripts;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use facts::World;
use lockkeeper::catalog::{
    Depth, FactRequest, Facts, ObjectClass, ObjectRequest, Relation, Volatility,
};
use lockkeeper::exec::runner::{self, Outcome, Setup};
use lockkeeper::exec::session::RunError;
use lockkeeper::plan::backfill::Pace;
use lockkeeper::plan::{Context, Limits, Plan, Step};
use lockkeeper::rules::{self, Judgement, Verdict};
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::name::Name;
use lockkeeper::sql::parse::{Parsed, parse};
use lockkeeper::sql::statement::Statement;
use recording::{Failure, Fault, Recording};
use scripts::Case;

/// Folders of judgements, each named after a file of `src/rules`.
const JUDGED: &[&str] = &[
    "create_index",
    "drop_index",
    "reindex",
    "add_column",
    "drop_column",
    "not_null",
    "alter_type",
    "check_constraint",
    "foreign_key",
    "unique_constraint",
    "table_rewrite",
    "partition",
    "alter_table",
    "rename",
    "create_table",
    "drop_object",
    "other",
];
/// Folders of runs.
const RUN: &[&str] = &["exec_failures"];

/// Budget and deadline of the runs.
const LIMITS: Limits = Limits::asking(Duration::from_millis(90), Duration::from_secs(20));

/// What the judge says, as the proxy would ask it.
struct Judged {
    parsed: Parsed,
    facts: Facts,
    judgement: Judgement,
}

fn world(case: &Case) -> World {
    World::parse(&case.facts).unwrap_or_else(|problem| panic!("{}: {problem}", case.place))
}

/// Judges a text; `None` when the proxy would let it pass without a look at the catalog.
fn judge(world: &World, sql: &str) -> Option<Judged> {
    let mut statements = parse(sql, LexicalMode::default()).ok()?;
    let parsed = statements.pop().filter(|_| statements.is_empty())?;
    if parsed.statement == Statement::Harmless {
        return None;
    }
    let facts = world.answer(&rules::facts_needed(&parsed.statement));
    let source = sql.get(parsed.span.clone())?.trim();
    let judgement = rules::judge(&parsed, source, &facts, &world.policy());
    Some(Judged {
        parsed,
        facts,
        judgement,
    })
}

#[test]
fn every_script_is_read_by_a_suite() {
    let folders: Vec<&str> = JUDGED.iter().chain(RUN).copied().collect();
    let orphans = scripts::orphans(&folders);
    assert!(orphans.is_empty(), "no suite reads {orphans:?}");
}

#[test]
fn judgements_are_those_of_the_scripts() {
    scripts::check(JUDGED, |case| match judge(&world(case), &case.sql) {
        Some(judged) => judged.judgement.to_string(),
        None => "ordinary traffic".to_owned(),
    });
}

/// Each rule is met by a script, with each of its verdicts that are ever given.
#[test]
fn every_rule_is_met() {
    let mut met: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for case in scripts::read(JUDGED)
        .iter()
        .flat_map(|script| &script.cases)
    {
        if let Some(judged) = judge(&world(case), &case.sql)
            && let Some(rule) = judged.judgement.rule()
        {
            met.entry(rule.name)
                .or_default()
                .push(judged.judgement.verdict.as_str());
        }
    }
    for rule in rules::RULES {
        assert!(met.contains_key(rule.name), "no script meets {}", rule.name);
    }
    for (rule, verdict) in [
        ("create-index-blocks-writes", "rewrite"),
        ("create-index-blocks-writes", "pass"),
        ("create-index-meets-invalid", "reject"),
        ("create-index-meets-invalid", "rewrite"),
        ("create-index-partitioned", "rewrite"),
        ("drop-index-blocks-reads", "pass"),
        ("drop-index-blocks-reads", "rewrite"),
        ("reindex-blocks-reads", "pass"),
        ("reindex-blocks-reads", "rewrite"),
    ] {
        assert!(
            met[rule].contains(&verdict),
            "no script has {rule} {verdict}"
        );
    }
}

/// A client that sends a plan's own statements gets just those, without a NOTICE.
#[test]
fn steps_judged_again_stay_as_they_are() {
    let mut problems = Vec::new();
    for case in scripts::read(JUDGED)
        .iter()
        .flat_map(|script| &script.cases)
    {
        let mut world = world(case);
        if let Some(judged) = judge(&world, &case.sql)
            && let Some(plan) = judged.judgement.verdict.plan()
        {
            fixpoint(&mut world, &plan.steps, &case.place, &mut problems);
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn fixpoint(world: &mut World, steps: &[Step], place: &str, problems: &mut Vec<String>) {
    for (at, step) in steps.iter().enumerate() {
        fixpoint(&mut world.clone(), step.otherwise(), place, problems);
        if matches!(step.context, Context::Batches(_)) {
            continue; // ordinary traffic: some rows at a time
        }
        let Some(judged) = judge(world, &step.sql) else {
            problems.push(format!(
                "{place}: {} isn't read as a schema change",
                step.sql
            ));
            continue;
        };
        if let Some(problem) = changed(&judged, step, &steps[at..]) {
            problems.push(format!(
                "{place}: {}: {problem}\n{}",
                step.sql, judged.judgement
            ));
        }
        world.apply(&judged.parsed.statement);
    }
}

/// How the judgement of a step differs from the step. `rest` are the steps from it on: `REINDEX TABLE CONCURRENTLY`
/// stands for all of them, whoever sends it.
fn changed(judged: &Judged, step: &Step, rest: &[Step]) -> Option<&'static str> {
    let is_concurrent = match &judged.parsed.statement {
        Statement::CreateIndex(create) => create.concurrently,
        Statement::DropIndex(drop) => drop.concurrently,
        Statement::Reindex(reindex) => reindex.concurrently,
        _ => false,
    };
    let is_index = matches!(
        judged.parsed.statement,
        Statement::CreateIndex(_) | Statement::DropIndex(_) | Statement::Reindex(_)
    );
    match &judged.judgement.verdict {
        Verdict::Untouched | Verdict::NoOp(_) => None,
        Verdict::Reject(_) => Some("is refused"),
        Verdict::Pass(plan) | Verdict::Rewrite(plan) | Verdict::Queue(plan)
            if plan.steps.len() == 1 =>
        {
            let otherwise = plan.steps[0].otherwise();
            let same = plan.steps[0].sql == step.sql;
            match (same, plan.notice.is_empty()) {
                (false, _) => Some("its SQL changes"),
                (true, false) if is_index => Some("it has a NOTICE"),
                (true, true) if is_concurrent && !otherwise.is_empty() => {
                    Some("its context changes")
                }
                (true, _) => None,
            }
        }
        Verdict::Pass(plan) | Verdict::Rewrite(plan) | Verdict::Queue(plan) => {
            (plan.steps != rest).then_some("its steps change")
        }
    }
}

/// A plan of the failure scripts and how it is run.
struct Run {
    facts: Facts,
    plan: Plan,
    leftovers: Vec<String>,
}

/// What became of a run.
struct Ran {
    session: Recording,
    outcome: Outcome,
}

impl Run {
    fn of(case: &Case) -> Run {
        let judged = judge(&world(case), &case.sql).expect("a schema change");
        let plan = judged.judgement.verdict.plan().expect("a plan").clone();
        let is_build = matches!(
            judged.parsed.statement,
            Statement::CreateIndex(_) | Statement::Reindex(_)
        );
        let leftovers = if is_build {
            vec!["public.left_over".to_owned()]
        } else {
            Vec::new()
        };
        Run {
            facts: judged.facts,
            plan,
            leftovers,
        }
    }

    fn with(&self, failures: &[Failure]) -> Ran {
        let session = &self.facts.session;
        let mut recording = Recording::new(session, failures, &self.leftovers);
        let mut limits = LIMITS;
        if session.lock_timeout.by_client && session.lock_timeout.ms > 0 {
            limits.deadline = Duration::from_millis(session.lock_timeout.ms);
        }
        let relations: Vec<_> = self
            .plan
            .steps
            .iter()
            .flat_map(|step| &step.locks)
            .collect();
        let relations: Vec<_> = relations.iter().map(|lock| lock.relation.clone()).collect();
        let setup = Setup {
            settings: session,
            limits,
            relations: &relations,
            places: None,
            pace: Pace::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        let outcome = runtime.block_on(runner::run(&mut recording, &self.plan, setup));
        assert!(
            recording
                .sleeps
                .iter()
                .all(|(spent, slept)| *slept >= *spent * 10),
            "slept too little: {:?}\n{:#?}",
            recording.sleeps,
            recording.log
        );
        Ran {
            session: recording,
            outcome,
        }
    }
}

fn ending(ran: &Ran) -> String {
    match &ran.outcome.result {
        Ok(tag) => format!("done: {tag}"),
        Err(RunError::Gone) => "the server is gone".to_owned(),
        Err(RunError::Stale) => "stale".to_owned(),
        Err(RunError::Sql(fields)) => {
            let mut text = format!("failed: {} {}", fields.sqlstate, fields.message);
            for line in ran.outcome.progress.undone.iter().chain([&fields.detail]) {
                if !line.is_empty() {
                    let _ = write!(text, "\n        {line}");
                }
            }
            text
        }
    }
}

/// The log of a plan's run: undisturbed; then, for each command, what follows each error at it.
#[test]
fn runs_that_fail_are_those_of_the_scripts() {
    scripts::check(RUN, |case| {
        let run = Run::of(case);
        let smooth = run.with(&[]);
        let mut text = String::new();
        for (at, line) in smooth.session.log.iter().enumerate() {
            let _ = writeln!(text, "{:>2} {line}", at + 1);
        }
        let _ = writeln!(text, "   {}", ending(&smooth));
        for at in 1..=smooth.session.log.len() {
            let _ = writeln!(text, "at {at}: {}", smooth.session.log[at - 1]);
            for (follows, faults) in consequences(&run, at) {
                let _ = writeln!(text, "    {}: {follows}", faults.join(", "));
            }
        }
        text
    });
}

/// What follows an error at a command, and the errors that it follows.
fn consequences(run: &Run, at: usize) -> Vec<(String, Vec<&'static str>)> {
    let mut groups: Vec<(String, Vec<&'static str>)> = Vec::new();
    for fault in Fault::ALL {
        let ran = run.with(&[Failure {
            at,
            fault,
            always: false,
        }]);
        let follows = ran.session.log[at..].join(" · ");
        let follows = format!("{follows}\n        {}", ending(&ran));
        let follows = follows.replace(
            &format!("{0} told to fail with {0}", fault.sqlstate()),
            "with that error",
        );
        match groups.iter_mut().find(|(text, _)| *text == follows) {
            Some((_, faults)) => faults.push(fault.name()),
            None => groups.push((follows, vec![fault.name()])),
        }
    }
    groups
}

fn run_cases() -> Vec<Case> {
    let scripts = scripts::read(RUN);
    scripts
        .into_iter()
        .flat_map(|script| script.cases)
        .collect()
}

/// Whether a command puts a setting back: that can't be had when this very command is refused.
fn puts_back(run: &Run, command: &str) -> bool {
    let session = &run.facts.session;
    let own = |name: &str, ms: u64| command.starts_with(&format!("SET {name} = {ms} ")) && ms != 0;
    command.starts_with("RESET ")
        || own("lock_timeout", session.lock_timeout.ms)
        || own("statement_timeout", session.statement_timeout.ms)
}

/// After one error at any command, and after a second one at any command that follows, the session is as found; a
/// failed build's leftovers have been asked for.
#[test]
fn a_failure_leaves_the_session_as_it_was_found() {
    let mut problems = Vec::new();
    let cases = run_cases().into_iter().map(|case| (case, usize::MAX));
    for (case, near) in cases.chain([(fill_case(), NEAR)]) {
        let run = Run::of(&case);
        let commands = run.with(&[]).session.log.len();
        for (at, fault) in (1..=commands).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
            let first = Failure {
                at,
                fault,
                always: false,
            };
            let ran = run.with(&[first]);
            examine(&run, &ran, &case, &mut problems);
            let later = commands_in(&ran.session.log);
            for (second, fault) in (at + 1..=later)
                .take(near)
                .flat_map(|at| SECOND.map(|fault| (at, fault)))
            {
                let second = Failure {
                    at: second,
                    fault,
                    always: false,
                };
                examine(&run, &run.with(&[first, second]), &case, &mut problems);
            }
        }
    }
    problems.sort();
    problems.dedup();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// Rows that are filled in batches: the log of a run with each error at each command would be long.
fn fill_case() -> Case {
    let facts = [
        "version=16",
        "table users 5GB rows=900 columns=id:bigint:notnull constraints=users_pkey:p:id",
    ];
    Case {
        place: "a fill".to_owned(),
        facts: facts.map(str::to_owned).to_vec(),
        sql: "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid()".to_owned(),
        head: String::new(),
        expected: None,
    }
}

#[test]
fn rows_are_filled_a_range_at_a_time() {
    let ran = Run::of(&fill_case()).with(&[]);
    assert_eq!(ending(&ran), "done: UPDATE 0");
    let is_told = |line: &&String| {
        ["find ", "fill ", "survey ", "sleep "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let told: Vec<&str> = ran
        .session
        .log
        .iter()
        .filter(is_told)
        .map(String::as_str)
        .collect();
    let expected = [
        "survey the table",
        "find the last key",
        "find the next key",
        "fill keys up to one",
        "sleep 13 ms",
        "find the next key",
        "fill keys behind one up to another",
        "sleep 13 ms",
        "find the next key",
        "survey the table",
        "fill blocks",
        "sleep 7 ms",
        "fill blocks",
        "sleep 7 ms",
    ];
    assert_eq!(told, expected);
}

/// Of a long run: how far behind the first error a second one is tried. Cleaning up comes right behind it.
const NEAR: usize = 12;
/// The errors that meet a run which already failed once.
const SECOND: [Fault; 2] = [Fault::Cancelled, Fault::OutOfMemory];

fn commands_in(log: &[String]) -> usize {
    log.iter()
        .filter(|line| !line.starts_with("sleep "))
        .count()
}

fn examine(run: &Run, ran: &Ran, case: &Case, problems: &mut Vec<String>) {
    let log = &ran.session.log;
    let refused = |line: &String| line.contains(" !") && !line.contains("!57014");
    if log
        .iter()
        .any(|line| refused(line) && (puts_back(run, line) || line.starts_with("ROLLBACK")))
    {
        return;
    }
    let story = || log.join(" · ");
    for trace in ran.session.traces(&run.facts.session) {
        let known = |problem: &String| problem.starts_with(&format!("{}: {trace}: ", case.place));
        if !problems.iter().any(known) {
            problems.push(format!("{}: {trace}: {}", case.place, story()));
        }
    }
    let is_gone = matches!(ran.outcome.result, Err(RunError::Gone));
    let build = log.iter().position(|line| {
        let is_build = line.starts_with("CREATE ") || line.starts_with("REINDEX ");
        is_build && line.contains(" CONCURRENTLY ") && line.contains(" !")
    });
    if let Some(build) = build.filter(|_| !is_gone) {
        let asked = log[build..]
            .iter()
            .any(|line| line.starts_with("ask what was left"));
        let fault = log[build].split(" !").nth(1).unwrap_or_default();
        let said = ran
            .outcome
            .result
            .as_ref()
            .map_or_else(RunError::sqlstate, |_| "");
        if !fault.starts_with("40P01") && !fault.starts_with(said) {
            problems.push(format!(
                "{}: the client reads {said}, not {fault}",
                case.place
            ));
        }
        if !asked {
            problems.push(format!(
                "{}: leftovers weren't asked for: {}",
                case.place,
                story()
            ));
        }
    }
}

/// A lock that is never to be had: the deadline is kept, the client is told who holds the lock, nothing is changed.
#[test]
fn the_deadline_is_honoured() {
    for case in run_cases() {
        let run = Run::of(&case);
        let smooth = run.with(&[]);
        for (at, line) in smooth.session.log.iter().enumerate() {
            let waits = [
                "LOCK TABLE",
                "DROP INDEX ",
                "CREATE INDEX ",
                "REINDEX ",
                "ALTER ",
                "VACUUM ",
            ];
            let waits = waits.iter().any(|start| line.starts_with(start))
                && !line.contains(" CONCURRENTLY ");
            if !waits {
                continue;
            }
            for fault in [Fault::LockTimeout, Fault::Deadlock] {
                let ran = run.with(&[Failure {
                    at: at + 1,
                    fault,
                    always: true,
                }]);
                let place = format!("{} {line} {}", case.place, fault.name());
                let Err(RunError::Sql(fields)) = &ran.outcome.result else {
                    panic!("{place}: {:?}", ran.outcome.result);
                };
                let setting = &run.facts.session.lock_timeout;
                let deadline = if setting.by_client && setting.ms > 0 {
                    Duration::from_millis(setting.ms)
                } else {
                    LIMITS.deadline
                };
                let slept: Duration = ran.session.sleeps.iter().map(|(_, slept)| *slept).sum();
                assert!(
                    slept <= deadline,
                    "{place}: slept {slept:?} of {deadline:?}"
                );
                assert_eq!(fields.sqlstate, fault.sqlstate(), "{place}");
                assert!(
                    fields.message.contains("could not get the lock"),
                    "{place}: {}",
                    fields.message
                );
                assert!(
                    fields.detail.contains("process 42") || run.plan.steps[0].locks.is_empty(),
                    "{place}"
                );
                assert!(ran.session.traces(&run.facts.session).is_empty(), "{place}");
                let told = ran
                    .session
                    .notices
                    .iter()
                    .all(|notice| notice.contains("waiting for a lock"));
                let long = deadline > Duration::from_secs(10);
                assert!(
                    told && (!long || !ran.session.notices.is_empty()),
                    "{place}"
                );
            }
        }
    }
}

const LANGUAGE: [&str; 11] = [
    "version=18 timezone=UTC",
    "table orgs 8MB columns=id:bigint constraints=orgs_pkey:p:id",
    "type mood domain text constrained",
    "table users 5GB columns=id:bigint,org:bigint,code:varchar(20),\
     at:\"timestamp with time zone\":default=now(),m:mood \
     constraints=users_pkey:p:id,users_org:f:org>orgs(id):invalid,full:c:code:\"CHECK ((code <> ''::text))\" \
     indexes=u(code,-):unique:partial",
    "view names on users(code),orgs",
    "matview totals 1MB on names",
    "partitioned events key=\"RANGE (at)\" columns=id:int,at:date:notnull indexes=events_at(at)",
    "partition events_1 of events 2GB default",
    "partition events_2 of events 1GB bound=\"(at < '2025-01-01'::date)\" indexes=mine(at):of=events_at",
    "function f volatile",
    "dependents schema app = app.a 1GB, app.b 2GB",
];

/// The facts language of the scripts.
#[test]
fn the_language_says_what_a_server_would() {
    let world = World::parse(&LANGUAGE.map(str::to_owned)).expect("facts");
    let names = ["users", "orgs", "events", "events_2", "nothing"];
    let facts = world.answer(&FactRequest {
        relations: names.map(Name::unqualified).to_vec(),
        own_locks: false,
        candidates: vec!["full".to_owned(), "totals".to_owned(), "free".to_owned()],
        depth: Depth::Full,
        types: vec![
            "mood".to_owned(),
            "pg_catalog.int4".to_owned(),
            "none".to_owned(),
        ],
        functions: ["f", "now", "lower", "g"].map(Name::unqualified).to_vec(),
        objects: vec![ObjectRequest {
            kind: ObjectClass::Schema,
            name: Name::unqualified("app"),
        }],
    });
    let [Some(users), Some(orgs), Some(events), Some(second), None] = facts.relations.as_slice()
    else {
        panic!("{:?}", facts.relations);
    };
    let id = users.details.column("id").expect("a column");
    assert!(id.not_null && users.details.constraint("users_id_not_null").is_some());
    assert_eq!(users.details.columns[2].type_sql, "character varying(20)");
    assert_eq!(users.details.columns[3].default.as_deref(), Some("now()"));
    assert!(users.details.columns[4].of_type.constrained);
    let full = users.details.constraint("full").expect("a constraint");
    assert_eq!(full.expression.as_deref(), Some("(code <> ''::text)"));
    assert_eq!(users.indexes.len(), 2);
    let views: Vec<&str> = users
        .details
        .views
        .iter()
        .map(|view| view.name.as_str())
        .collect();
    assert_eq!(views, ["names", "totals"]);
    tree_is_as_said(orgs, events, second);
    assert_eq!(facts.taken.len(), 1);
    assert_eq!(facts.taken_constraints, ["full"]);
    let oids: Vec<Option<u32>> = facts
        .types
        .iter()
        .map(|found| found.as_ref().map(|found| found.oid))
        .collect();
    assert!(matches!(oids[..], [Some(_), Some(23), None]));
    use Volatility::{Immutable, Stable, Volatile};
    assert_eq!(
        facts.functions,
        [Some(Volatile), Some(Stable), Some(Immutable), None]
    );
    assert_eq!(facts.objects[0].len(), 2);
    assert!(facts.session.time_zone_is_utc);
}

fn tree_is_as_said(orgs: &Relation, events: &Relation, second: &Relation) {
    let key = &orgs.details.referenced_by[0];
    assert_eq!(
        (key.name.as_str(), key.index.as_deref()),
        ("users_org", Some("orgs_pkey"))
    );
    assert_eq!(key.referenced_columns, ["id"]);
    assert_eq!(events.bytes, 3_000_000_000);
    let below: Vec<&[String]> = events
        .details
        .descendants
        .iter()
        .map(|child| &child.indexes[..])
        .collect();
    assert_eq!(below, [["events_1_at_idx"], ["mine"]]);
    assert_eq!(
        second
            .details
            .parent_default
            .as_ref()
            .map(|own| own.name.as_str()),
        Some("events_1")
    );
}
