//! What the judge says.

use std::fmt;

use super::Rule;
use crate::plan::Plan;
use crate::plan::effects::Effects;

/// A verdict, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The rules that the statement meets, the decisive one first; empty for a statement that no
    /// rule is about.
    pub rules: Vec<&'static Rule>,
    /// What the statement as sent would do.
    pub effects: Effects,
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
    /// The statement itself under a lock timeout, in a window of time that the policy names.
    Queue(Plan),
    /// The catalog already says what it asks for: the server's NOTICE and tag, without a lock.
    NoOp(NoOp),
    /// It doesn't run.
    Reject(Refusal),
}

/// The answer to a statement that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoOp {
    /// The command tag.
    pub tag: &'static str,
    /// SQLSTATE and message of the server's own NOTICEs.
    pub notices: Vec<(&'static str, String)>,
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
    /// A verdict that rests on a rule.
    pub fn by(rule: &'static Rule, verdict: Verdict) -> Judgement {
        Judgement {
            rules: vec![rule],
            effects: Effects::none(),
            verdict,
        }
    }

    /// Nothing to do.
    pub fn untouched() -> Judgement {
        Judgement {
            rules: Vec::new(),
            effects: Effects::none(),
            verdict: Verdict::Untouched,
        }
    }

    /// The rule that the verdict rests on.
    pub fn rule(&self) -> Option<&'static Rule> {
        self.rules.first().copied()
    }
}

impl Verdict {
    /// The word used in the audit log and as a metric label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Untouched | Verdict::Pass(_) | Verdict::NoOp(_) => "pass",
            Verdict::Rewrite(_) => "rewrite",
            Verdict::Queue(_) => "queue",
            Verdict::Reject(_) => "reject",
        }
    }

    /// The plan, when there is one.
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Verdict::Pass(plan) | Verdict::Rewrite(plan) | Verdict::Queue(plan) => Some(plan),
            Verdict::Untouched | Verdict::NoOp(_) | Verdict::Reject(_) => None,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.rules.iter().map(|rule| rule.name).collect();
        let rule = if names.is_empty() {
            String::new()
        } else {
            format!(" ({})", names.join(", "))
        };
        match &self.verdict {
            Verdict::Untouched => writeln!(f, "Verdict: untouched{rule}"),
            Verdict::Pass(plan) if plan.notice.is_empty() => {
                write!(f, "Verdict: pass{rule}\n{plan}")
            }
            Verdict::Pass(plan) => {
                write!(f, "Verdict: pass{rule}\nNotice: {}\n{plan}", plan.notice)
            }
            Verdict::Rewrite(plan) => {
                write!(f, "Verdict: rewrite{rule}\nNotice: {}\n{plan}", plan.notice)
            }
            Verdict::Queue(plan) => {
                write!(f, "Verdict: queue{rule}\nNotice: {}\n{plan}", plan.notice)
            }
            Verdict::NoOp(no_op) => {
                writeln!(f, "Verdict: nothing to do{rule}\nTag: {}", no_op.tag)?;
                for (sqlstate, message) in &no_op.notices {
                    writeln!(f, "Server's notice {sqlstate}: {message}")?;
                }
                Ok(())
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
