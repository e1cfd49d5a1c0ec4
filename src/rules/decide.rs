//! From what the families find to a verdict: the policy decides for each rule, the strictest counts.

use super::known::Known;
use super::policy::Action;
use super::{Judgement, NoOp, Refusal, Rule, Verdict, other};
use crate::catalog::{ASSUMED_BYTES, human_bytes};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Context, Plan, Step, StepLock};
use crate::sql::name::Name;

/// What a family has to say about a statement, or about a part of it.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// The rule that it meets.
    pub(super) rule: Option<&'static Rule>,
    /// What can be done.
    pub(super) way: Way,
}

/// What can be done about a statement or a part of it.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// It changes nothing; what the server would say about that.
    Nothing(Vec<(&'static str, String)>),
    /// It runs as sent, under a lock timeout.
    AsSent,
    /// Steps in its place.
    Steps(Vec<Step>),
    /// There is no safe way: what people can do.
    Impossible(String),
}

impl Finding {
    /// Nothing to say against it.
    pub(super) fn harmless() -> Finding {
        Finding {
            rule: None,
            way: Way::AsSent,
        }
    }

    /// A finding of a rule.
    pub(super) fn of(rule: &'static Rule, way: Way) -> Finding {
        Finding {
            rule: Some(rule),
            way,
        }
    }

    /// It runs as sent, and the rule's action says whether that is told, allowed at all …
    pub(super) fn as_sent(rule: &'static Rule) -> Finding {
        Finding::of(rule, Way::AsSent)
    }
}

/// A statement and all that was found about it.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) known: Known<'a>,
    /// Its command tag.
    pub(super) tag: &'static str,
    /// What is to be said besides the rules' hazards, where the client is told of them; may be empty.
    pub(super) note: String,
    /// What it does as sent.
    pub(super) effects: Effects,
    /// The statement itself as a step.
    pub(super) as_sent: Step,
    /// The findings.
    pub(super) findings: Vec<Finding>,
}

/// Whether what a statement does takes long under a lock that stops ordinary traffic: more than a
/// small table is read, written or built.
pub(super) fn is_costly(effects: &Effects, known: Known) -> bool {
    effects.takes_long()
        && effects.strongest() >= Some(LockMode::Share)
        && bytes(effects, known) > known.policy.small_table_bytes
}

/// Bytes that are read, written or built from.
pub(super) fn bytes(effects: &Effects, known: Known) -> u64 {
    let mut tables: Vec<&Name> = effects.scans.iter().collect();
    tables.extend(&effects.rewrites);
    tables.extend(&effects.builds);
    tables.sort();
    tables.dedup();
    let sizes = tables.into_iter().map(|table| known.bytes(table));
    sizes.fold(0, u64::saturating_add)
}

/// The statement itself as a step, in the context that its effects ask for.
pub(super) fn as_sent(title: &str, source: &str, effects: &Effects) -> Step {
    let is_weak = effects.strongest() < Some(LockMode::Share);
    Step {
        locks: locks_of(effects),
        context: if effects.takes_long() && is_weak {
            Context::Long
        } else {
            Context::Transaction
        },
        takes_long: effects.takes_long(),
        ..Step::brief(title.to_ascii_lowercase(), source)
    }
}

/// The locks that are worth telling.
pub(super) fn locks_of(effects: &Effects) -> Vec<StepLock> {
    let locks = effects.locks.iter().map(|(relation, mode)| StepLock {
        relation: relation.clone(),
        mode: *mode,
    });
    locks
        .filter(|lock| lock.mode > LockMode::RowShare)
        .collect()
}

impl Case<'_> {
    /// The verdict. `compose` makes the steps of all findings; by default there is one finding with
    /// steps.
    pub(super) fn decide(
        self,
        compose: impl FnOnce(&[Finding]) -> Result<Vec<Step>, String>,
    ) -> Judgement {
        let tables: Vec<Name> = self.effects.locks.keys().cloned().collect();
        let action = |rule: Option<&'static Rule>| {
            rule.map_or(Action::Allow, |rule| {
                self.known.policy.action(rule, &tables)
            })
        };
        let mut rules: Vec<&'static Rule> = Vec::new();
        let mut strictest = Action::Allow;
        let mut findings = self.findings.clone();
        for finding in &mut findings {
            let decided = action(finding.rule);
            if decided < Action::Rewrite && !matches!(finding.way, Way::Nothing(_)) {
                finding.way = Way::AsSent;
            }
            if decided > strictest {
                rules.splice(0..0, finding.rule);
                strictest = decided;
            } else {
                rules.extend(finding.rule);
            }
        }
        let mut seen: Vec<&'static Rule> = Vec::new();
        for rule in rules {
            if !seen.contains(&rule) {
                seen.push(rule);
            }
        }
        let nothing = |finding: &Finding| match &finding.way {
            Way::Nothing(notices) => Some(notices.clone()),
            Way::AsSent | Way::Steps(_) | Way::Impossible(_) => None,
        };
        let all_nothing: Option<Vec<_>> = findings.iter().map(nothing).collect();
        let verdict = match all_nothing {
            Some(notices) if !findings.is_empty() => Verdict::NoOp(NoOp {
                tag: self.tag,
                notices: notices.concat(),
            }),
            _ => self.verdict(strictest, &findings, &seen, compose),
        };
        let verdict = if seen.is_empty() && needs_queue_rule(&self.effects, &verdict) {
            seen.push(&other::LOCK_QUEUE);
            match action(Some(&other::LOCK_QUEUE)) {
                Action::Allow | Action::Rewrite => verdict,
                decided => self.verdict(decided, &findings, &seen, |_| Ok(Vec::new())),
            }
        } else {
            verdict
        };
        Judgement {
            rules: seen,
            effects: self.effects,
            verdict,
        }
    }

    fn verdict(
        &self,
        strictest: Action,
        findings: &[Finding],
        rules: &[&'static Rule],
        compose: impl FnOnce(&[Finding]) -> Result<Vec<Step>, String>,
    ) -> Verdict {
        let as_sent = |notice: String| Plan {
            notice,
            steps: vec![self.as_sent.clone()],
        };
        match strictest {
            Action::Allow => Verdict::Pass(as_sent(String::new())),
            Action::Notice => Verdict::Pass(as_sent(self.noted(notice_of(rules)))),
            Action::Queue => Verdict::Queue(as_sent(self.noted(notice_of(rules)))),
            Action::Reject => Verdict::Reject(self.refusal(rules, &advice_of(findings, rules))),
            Action::Rewrite => {
                let is_as_sent =
                    |finding: &Finding| matches!(finding.way, Way::AsSent | Way::Nothing(_));
                if findings.iter().any(|finding| self.lacks_plan(finding)) {
                    return Verdict::Reject(self.refusal(rules, &advice_of(findings, rules)));
                }
                if findings.iter().all(is_as_sent) {
                    return Verdict::Pass(as_sent(String::new()));
                }
                match compose(findings) {
                    Ok(steps) => Verdict::Rewrite(Plan {
                        notice: self.noted(self.summary(&steps)),
                        steps,
                    }),
                    Err(advice) => Verdict::Reject(self.refusal(rules, &advice)),
                }
            }
        }
    }

    /// The policy wants a plan for it, and there is none.
    fn lacks_plan(&self, finding: &Finding) -> bool {
        let tables: Vec<Name> = self.effects.locks.keys().cloned().collect();
        let action = finding
            .rule
            .map(|rule| self.known.policy.action(rule, &tables));
        matches!(finding.way, Way::AsSent) && action == Some(Action::Rewrite)
    }

    fn noted(&self, text: String) -> String {
        if self.note.is_empty() {
            return text;
        }
        format!("{text} {}", self.note)
    }

    /// What the client is told when a plan begins.
    fn summary(&self, steps: &[Step]) -> String {
        let plural = if steps.len() == 1 { "step" } else { "steps" };
        format!(
            "{} runs in {} {plural}: reads and writes go on",
            self.tag,
            steps.len()
        )
    }

    /// Hazard, lock, table, size, estimate, and the safe way.
    fn refusal(&self, rules: &[&'static Rule], advice: &str) -> Refusal {
        let mut refusal = refusal(self.tag, &self.effects, self.known, rules, advice);
        refusal.detail = self.noted(refusal.detail);
        refusal
    }
}

/// Why a statement is refused: what it would do, to which table, for how long.
pub(super) fn refusal(
    tag: &str,
    effects: &Effects,
    known: Known,
    rules: &[&'static Rule],
    advice: &str,
) -> Refusal {
    let does = if !effects.rewrites.is_empty() {
        Some(("write anew", &effects.rewrites))
    } else if !effects.builds.is_empty() {
        Some(("build an index on", &effects.builds))
    } else if !effects.scans.is_empty() {
        Some(("read all of", &effects.scans))
    } else {
        None
    };
    let lock = effects.strongest().unwrap_or(LockMode::AccessExclusive);
    let named = |names: Vec<&Name>| {
        let shown: Vec<String> = names
            .iter()
            .take(3)
            .map(|name| known.with_size(name))
            .collect();
        match names.len().saturating_sub(shown.len()) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    };
    let message = match does {
        Some((what, tables)) => format!(
            "{tag} would {what} {} under a lock that {}",
            named(tables.iter().collect()),
            lock.stops()
        ),
        None => match rules.first() {
            Some(rule) => rule.hazard.trim_end_matches('.').to_owned(),
            None => format!("{tag} is refused"),
        },
    };
    let locks: Vec<String> = effects
        .locks
        .iter()
        .filter(|(_, mode)| **mode > LockMode::RowShare)
        .map(|(relation, mode)| format!("{mode} on {relation}"))
        .collect();
    const SHOWN: usize = 6;
    let mut detail = match (locks.len(), locks.len().saturating_sub(SHOWN)) {
        (0, _) => format!("Statement: {tag}."),
        (_, 0) => format!("It takes {}.", locks.join(", ")),
        (_, more) => {
            let shown = locks.get(..SHOWN).unwrap_or_default();
            format!("It takes {} and {more} more.", shown.join(", "))
        }
    };
    if does.is_some() {
        detail.push_str(&estimate(effects, known));
    }
    Refusal {
        sqlstate: other::REFUSED,
        message,
        detail,
        hint: advice.to_owned(),
    }
}

/// How long that takes, as far as bytes can tell.
fn estimate(effects: &Effects, known: Known) -> String {
    let bytes = bytes(effects, known);
    if bytes >= ASSUMED_BYTES {
        return " How long that takes depends on the table's size, which isn't known here."
            .to_owned();
    }
    let rate = known.policy.scan_bytes_per_second.max(1);
    format!(
        " {} at {} a second: about {} s (an estimate).",
        human_bytes(bytes),
        human_bytes(rate),
        bytes.div_ceil(rate)
    )
}

fn notice_of(rules: &[&'static Rule]) -> String {
    rules
        .first()
        .map_or_else(String::new, |rule| rule.hazard.to_owned())
}

/// The ways of people, then the rule's own remedy.
fn advice_of(findings: &[Finding], rules: &[&'static Rule]) -> String {
    let advice = findings.iter().find_map(|finding| match &finding.way {
        Way::Impossible(advice) => Some(advice.clone()),
        Way::Steps(steps) => Some(as_text(steps)),
        Way::Nothing(_) | Way::AsSent => None,
    });
    let remedy = rules
        .first()
        .map_or_else(String::new, |rule| rule.remedy.to_owned());
    advice.unwrap_or(remedy)
}

/// A plan as the SQL that people can run.
pub(super) fn as_text(steps: &[Step]) -> String {
    let mut lines = vec!["Run these, each by itself, outside a transaction block:".to_owned()];
    for step in steps {
        if let Context::Batches(backfill) = &step.context {
            lines.push(format!("  -- {}", backfill.places()));
        }
        let statements = step.statements();
        if statements.len() == 1 {
            lines.push(format!("  {};", step.sql));
        } else {
            lines.push("  BEGIN;".to_owned());
            lines.extend(statements.iter().map(|statement| format!("  {statement};")));
            lines.push("  COMMIT;".to_owned());
        }
    }
    lines.join("\n")
}

/// A statement that takes a strong lock, and that no other rule is about, is about the lock queue.
fn needs_queue_rule(effects: &Effects, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass(_)) && effects.strongest() > Some(LockMode::RowExclusive)
}
