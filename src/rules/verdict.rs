//! What the judge says.

use std::fmt;

use super::Rule;
use crate::plan::Plan;

/// A verdict, and the rule that it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The rule; `None` for a statement that no rule is about.
    pub rule: Option<&'static Rule>,
    /// What is to be done.
    pub verdict: Verdict,
}

/// What is to be done with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the server as it came: it harms nobody, or the server refuses it anyway.
    Untouched,
    /// The statement itself, under a lock timeout.
    Pass(Plan),
    /// A plan in its place.
    Rewrite(Plan),
    /// It doesn't run.
    Reject(Refusal),
}

/// Why a statement doesn't run, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub sqlstate: &'static str,
    /// The hazard in plain words: lock, table, size.
    pub message: String,
    /// Numbers.
    pub detail: String,
    /// The safe way.
    pub hint: String,
}

impl Judgement {
    /// Nothing to do.
    pub fn untouched() -> Judgement {
        Judgement {
            rule: None,
            verdict: Verdict::Untouched,
        }
    }
}

impl Verdict {
    /// The word used in the audit log and as a metric label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Untouched | Verdict::Pass(_) => "pass",
            Verdict::Rewrite(_) => "rewrite",
            Verdict::Reject(_) => "reject",
        }
    }

    /// The plan, when there is one.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Verdict::Pass(plan) | Verdict::Rewrite(plan) => Some(plan),
            Verdict::Untouched | Verdict::Reject(_) => None,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self
            .rule
            .map_or(String::new(), |rule| format!(" ({})", rule.name));
        match &self.verdict {
            Verdict::Untouched => writeln!(f, "Verdict: untouched{rule}"),
            Verdict::Pass(plan) => write!(f, "Verdict: pass{rule}\n{plan}"),
            Verdict::Rewrite(plan) => {
                write!(f, "Verdict: rewrite{rule}\nNotice: {}\n{plan}", plan.notice)
            }
            Verdict::Reject(refusal) => {
                writeln!(
                    f,
                    "Verdict: reject{rule}\nError {}: {}",
                    refusal.sqlstate, refusal.message
                )?;
                writeln!(f, "Detail: {}", refusal.detail)?;
                writeln!(f, "Hint: {}", refusal.hint.replace('\n', "\n      "))
            }
        }
    }
}
