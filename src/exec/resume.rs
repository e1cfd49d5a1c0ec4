//! Goes on with a plan that nobody works on any more: its lockkeeper has been killed, or its session
//! has gone. What can be taken back is taken back; what can't is finished.

use super::check;
use super::runner::{Outcome, Progress, Setup, run_own, run_steps};
use super::session::{RunError, Session, Stage, says_true};
use super::undo::{clean_up, finish, is_half_done, take_back};
use crate::plan::course::{Course, Fate, Rest};
use crate::plan::{Context, Step};

/// Brings a plan to its end, by how far it was and what became of the transaction that was under way.
/// The plan's result is an error when it was taken back.
pub async fn resume<S: Session>(
    session: &mut S,
    steps: &[Step],
    (course, fate): (Course, Fate),
    setup: Setup<'_>,
) -> Outcome {
    let mut progress = Progress::default();
    let result = go_on(session, steps, (course, fate), setup, &mut progress).await;
    Outcome { result, progress }
}

async fn go_on<S: Session>(
    session: &mut S,
    steps: &[Step],
    (course, fate): (Course, Fate),
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<String, RunError> {
    let rest = match Rest::of(steps, course, fate) {
        Rest::Look(number) => look_at(session, steps, number, setup, progress).await?,
        rest => rest,
    };
    let done = match rest {
        Rest::Done => steps.len(),
        Rest::Forward(from) => from.saturating_sub(1),
        Rest::Back(count) => count,
        Rest::Look(_) | Rest::Unknown => {
            return Err(RunError::Sql(Box::new(crate::error::nobody_knows())));
        }
    };
    let (done, others) = steps.split_at(done.min(steps.len()));
    let sql = done.iter().map(|step| step.sql.clone());
    match rest {
        Rest::Back(_) => {
            take_back(session, done, 0, setup, progress).await?;
            Err(RunError::Sql(Box::new(crate::error::orphaned())))
        }
        Rest::Done | Rest::Forward(_) | Rest::Look(_) | Rest::Unknown => {
            progress.executed.extend(sql);
            progress.steps = done.len();
            run_steps(session, others, setup, progress).await
        }
    }
}

/// What is to be done, by what a step that is no transaction has left in the catalog.
async fn look_at<S: Session>(
    session: &mut S,
    steps: &[Step],
    number: usize,
    setup: Setup<'_>,
    progress: &mut Progress,
) -> Result<Rest, RunError> {
    let Some(step) = number.checked_sub(1).and_then(|at| steps.get(at)) else {
        return Ok(Rest::Back(0));
    };
    progress.course = Course::Step {
        step: number,
        xid: None,
    };
    if let Context::Batches(_) = &step.context {
        return Ok(Rest::after(steps, number - 1));
    }
    let Some((question, _)) = check::question(&step.check) else {
        return Ok(Rest::Unknown);
    };
    if says_true(&run_own(session, &[question]).await?) {
        return Ok(Rest::after(steps, number));
    }
    session.stage(Stage::TakesBack);
    let error = RunError::Sql(Box::new(crate::error::orphaned()));
    if is_half_done(session, &step.check, &error, progress).await? {
        finish(session, step, setup, progress, error).await?;
        return Ok(Rest::after(steps, number));
    }
    clean_up(session, step, setup, progress).await?;
    Ok(Rest::after(steps, number - 1))
}
