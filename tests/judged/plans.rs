//! Plans on real servers: each ends as the statement itself does, and what failed half-way is taken back.

use std::time::Duration;

use lockkeeper::catalog::Facts;
use lockkeeper::exec::check;
use lockkeeper::exec::runner::{self, Outcome, Setup};
use lockkeeper::exec::session::{Session, says_true};
use lockkeeper::lock::LockMode;
use lockkeeper::plan::backfill::Pace;
use lockkeeper::plan::{Check, Context, Limits, Plan, Step, Undo};
use lockkeeper::rules::Verdict;

use crate::client::Client;
use crate::judge::{block_on, judge};
use crate::session::PlanSession;
use crate::snapshot::{Snapshot, schema, schema_difference};

const LIMITS: Limits = Limits::asking(Duration::from_secs(5), Duration::from_secs(20));

/// Which steps of a plan run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The steps themselves.
    Straight,
    /// In place of a step that may take the budget only, those that run when that was too short.
    Long,
}

/// The ways in which a plan may go.
pub(crate) fn ways(plan: &Plan) -> Vec<Way> {
    if plan.steps.iter().all(|step| step.otherwise().is_empty()) {
        vec![Way::Straight]
    } else {
        vec![Way::Straight, Way::Long]
    }
}

/// Judges a statement and runs its plan on a database like that on which the statement itself ran, and says what is
/// wrong with it.
pub(crate) fn trial(client: &mut Client, sql: &str, way: Way, plain: &Snapshot) -> Vec<String> {
    let mut problems = Vec::new();
    let judged = match judge(client, sql) {
        Ok(Some(judged)) => judged,
        Ok(None) => return vec!["isn't judged again".to_owned()],
        Err(problem) => return vec![problem],
    };
    let (facts, Verdict::Rewrite(mut plan)) = (&judged.facts, judged.judgement.verdict) else {
        return vec!["is judged differently on another database".to_owned()];
    };
    if way == Way::Long {
        let long = |step: &Step| match step.otherwise() {
            [] => vec![step.clone()],
            otherwise => otherwise.to_vec(),
        };
        plan.steps = plan.steps.iter().flat_map(long).collect();
    }
    if let Some(problem) = take_back(client, sql, facts, &plan.steps) {
        return vec![problem]; // the database isn't what it was
    }
    for step in &plan.steps {
        problems.extend(again(client, step));
        if !repeats(step) && is_done(client, &step.check) {
            problems.push(format!("{}: its check is true before it ran", step.sql));
        }
        let outcome = run(client, facts, std::slice::from_ref(step));
        if let Err(error) = outcome.result {
            problems.push(format!("{} fails: {error}", step.sql));
            return problems;
        }
    }
    let difference = Snapshot::take(client, |table| plain.holds(table)).difference(plain, sql);
    problems.extend(difference.map(|difference| format!("ends differently: {difference}\n{plan}")));
    problems
}

/// After how many of its steps a plan is taken back: after each number when all is tried, else after one, on each
/// version another.
fn taken_back_after(sql: &str, facts: &Facts, steps: usize) -> Vec<usize> {
    let all: Vec<usize> = (1..steps).collect();
    if crate::corpus::is_all() {
        return all;
    }
    let number = crate::corpus::number(sql) + facts.session.version / 10_000;
    let at = usize::try_from(number).expect("a number") % all.len().max(1);
    all.get(at).copied().into_iter().collect()
}

/// Has the plan fail before its last step: what was done is undone, unless it says that it can't be.
fn take_back(client: &mut Client, sql: &str, facts: &Facts, steps: &[Step]) -> Option<String> {
    let before = schema(client);
    for count in taken_back_after(sql, facts, steps.len()) {
        let mut some = steps[..count].to_vec();
        if some
            .iter()
            .any(|step| matches!(step.undo, Undo::Irreversible { .. } | Undo::Finish(_)))
        {
            break;
        }
        some.push(failing());
        let outcome = run(client, facts, &some);
        let failed_so = outcome
            .result
            .as_ref()
            .err()
            .map(|error| error.sqlstate().to_owned());
        if failed_so.as_deref() != Some("22012") {
            return Some(format!(
                "the first {count} steps fail: {:?}",
                outcome.result
            ));
        }
        if let Some(difference) = schema_difference(&schema(client), &before) {
            let undone = outcome.progress.undone.join(" ");
            return Some(format!(
                "after {count} steps, taken back ({undone}): {difference}"
            ));
        }
    }
    None
}

/// A step that fails.
fn failing() -> Step {
    Step::brief("fail", "SELECT 1 / 0")
}

fn run(client: &mut Client, facts: &Facts, steps: &[Step]) -> Outcome {
    let plan = Plan {
        notice: String::new(),
        steps: steps.to_vec(),
    };
    let setup = Setup {
        settings: &facts.session,
        limits: LIMITS,
        relations: &[],
        places: None,
        pace: Pace::default(),
    };
    block_on(runner::run(&mut PlanSession::over(client), &plan, setup))
}

/// It makes anew what is there: whether that is done can't be seen.
fn repeats(step: &Step) -> bool {
    step.sql.starts_with("REINDEX")
}

fn is_done(client: &mut Client, check: &Check) -> bool {
    let Some((command, _)) = check::question(check) else {
        return false;
    };
    let replies = block_on(PlanSession::over(client).run(&[command]));
    says_true(&replies.expect("an answer"))
}

/// A client that sends a step gets that step, nothing else.
fn again(client: &mut Client, step: &Step) -> Option<String> {
    let judged = match judge(client, &step.sql) {
        Ok(judged) => judged?,
        Err(problem) => return Some(format!("{}, judged again, {problem}", step.sql)),
    };
    let effects = &judged.judgement.effects;
    // REFRESH … CONCURRENTLY stops nobody but another one.
    let is_brief = step.context == Context::Transaction && !step.sql.starts_with("REFRESH");
    if is_brief && effects.takes_long() && effects.strongest() >= Some(LockMode::Share) {
        return Some(format!("{} takes long under its lock", step.sql));
    }
    let plan = match &judged.judgement.verdict {
        Verdict::Untouched | Verdict::NoOp(_) => return None,
        Verdict::Pass(plan) | Verdict::Queue(plan) | Verdict::Rewrite(plan) => plan,
        Verdict::Reject(refusal) => {
            return Some(format!(
                "{}, judged again, is refused: {}",
                step.sql, refusal.message
            ));
        }
    };
    let same = plan.steps.len() == 1 && plan.steps[0].sql == step.sql;
    (!same).then(|| format!("{}, judged again, is another plan:\n{plan}", step.sql))
}
