//! The judge: statement and facts in, verdict out. Pure.
//!
//! A rule is static data in one table ([`RULES`]) and, for a statement family, one pure function in
//! a file of its own.

pub mod add_column;
mod adopt;
mod alter_effects;
pub mod alter_table;
pub mod alter_type;
pub mod check_constraint;
pub mod create_index;
pub mod create_table;
mod decide;
pub mod drop_column;
pub mod drop_index;
pub mod drop_object;
pub mod foreign_key;
mod index_effects;
mod known;
mod names;
pub mod not_null;
pub mod other;
mod other_effects;
pub mod partition;
pub mod policy;
pub mod reindex;
pub mod rename;
mod settled;
mod steps;
pub mod table_rewrite;
pub mod unique_constraint;
pub mod verdict;

use crate::catalog::{Depth, FactRequest, Facts};
use crate::plan::effects::Effects;
use crate::plan::{Context, Plan, Step};
use crate::sql::parse::Parsed;
use crate::sql::statement::{Scope, Statement};

use self::decide::{Finding, Way};
use self::known::Known;

pub use policy::{Action, Override, Policy};
pub use verdict::{Judgement, NoOp, Refusal, Verdict};

/// One way in which a statement hurts running traffic, and what lockkeeper does about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, as in policies, metrics and messages.
    pub name: &'static str,
    /// What the statement would do, in plain words.
    pub hazard: &'static str,
    /// What is done instead.
    pub remedy: &'static str,
    /// PostgreSQL's manual on it.
    pub manual: &'static str,
    /// What is done by default.
    pub action: Action,
    /// Where the versions of PostgreSQL differ, from 13 to 18; "alike" otherwise.
    pub versions: &'static str,
    /// A statement that meets it, on tables that the example's facts describe.
    pub example: &'static str,
}

/// Every rule, by family.
pub const RULES: &[&Rule] = &[
    &create_index::BLOCKS_WRITES,
    &create_index::PARTITIONED,
    &create_index::INVALID,
    &drop_index::BLOCKS_READS,
    &reindex::BLOCKS_READS,
    &other::REINDEXES_MANY,
    &add_column::REWRITES,
    &add_column::CONSTRAINED,
    &drop_column::LOCKS_MUCH,
    &drop_column::BREAKS_CLIENTS,
    &not_null::SCANS,
    &alter_type::REWRITES,
    &alter_table::MIXES_LOCKS,
    &check_constraint::SCANS,
    &foreign_key::SCANS,
    &unique_constraint::BUILDS,
    &unique_constraint::USING_INDEX_SCANS,
    &unique_constraint::EXCLUDES,
    &table_rewrite::ENFORCES,
    &table_rewrite::REWRITES,
    &table_rewrite::REPACKS,
    &partition::ATTACH_SCANS,
    &partition::DETACH_BLOCKS,
    &partition::CREATE_BLOCKS,
    &partition::DETACH_PENDING,
    &rename::BREAKS_CLIENTS,
    &rename::INDEX_BY_TABLE,
    &create_table::REFERENCES,
    &drop_object::LOSES_DATA,
    &drop_object::LOCKS_OTHERS,
    &drop_object::CASCADES,
    &drop_object::BREAKS_CLIENTS,
    &drop_object::TAKES_MORE,
    &other::TRUNCATES,
    &other::REFRESHES,
    &other::REFRESH_NEEDS_INDEX,
    &other::DOMAIN_SCANS,
    &other::ENUM_RENAMES,
    &other::REPLACES_FUNCTION,
    &other::ROW_SECURITY,
    &other::PUBLISHES_ALL,
    &other::EVENT_TRIGGERS,
    &other::OWNED,
    &other::MOVES_ALL,
    &other::ALTERS_SYSTEM,
    &other::DROPS_DATABASE,
    &other::PREPARES,
    &other::LOCK_QUEUE,
];

/// What the rules must know to judge a statement.
pub fn facts_needed(statement: &Statement) -> FactRequest {
    match statement {
        Statement::CreateIndex(create) => create_index::facts_needed(create),
        Statement::DropIndex(drop) => FactRequest {
            relations: drop.indexes.clone(),
            depth: Depth::Structure, // of a partitioned index: its partitions
            ..FactRequest::default()
        },
        Statement::Reindex(reindex) => FactRequest {
            relations: vec![reindex.name.clone()],
            depth: Depth::Structure, // of a partitioned relation: its partitions
            ..FactRequest::default()
        },
        Statement::AlterTable(alter) => alter_table::facts_needed(alter),
        Statement::CreateTable(create) => create_table::facts_needed(create),
        Statement::Drop(drop) => drop_object::facts_needed(drop),
        Statement::Rename(rename) => rename::facts_needed(rename),
        Statement::Other(other) => other::facts_needed(other),
        Statement::Unreadable { .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => FactRequest::default(),
    }
}

/// Judges a statement. `source` is its own text; the facts answer [`facts_needed`].
pub fn judge(parsed: &Parsed, source: &str, facts: &Facts, policy: &Policy) -> Judgement {
    let request = facts_needed(&parsed.statement);
    let known = Known::new(&request, facts, policy);
    match &parsed.statement {
        Statement::CreateIndex(create) => {
            let judgement = create_index::judge(create, source, facts, policy);
            by_policy(
                judgement,
                index_effects::create(create, known),
                source,
                known,
            )
        }
        Statement::DropIndex(drop) => {
            let judgement = drop_index::judge(drop, source, facts);
            by_policy(judgement, index_effects::drop(drop, known), source, known)
        }
        Statement::Reindex(reindex) => {
            let judgement = reindex::judge(reindex, source, facts, policy);
            by_policy(
                judgement,
                index_effects::reindex(reindex, known),
                source,
                known,
            )
        }
        Statement::AlterTable(alter) => alter_table::judge(alter, source, known),
        Statement::CreateTable(create) => create_table::judge(create, source, known),
        Statement::Drop(drop) => drop_object::judge(drop, source, known),
        Statement::Rename(rename) => rename::judge(rename, source, known),
        Statement::Other(other) => other::judge_kind(other, source, known),
        Statement::Unreadable { words } => other::judge(words, Scope::Transactional, source),
        Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => Judgement::untouched(),
    }
}

/// The steps of the only finding.
fn only_steps(findings: &[Finding]) -> Result<Vec<Step>, String> {
    match findings {
        [
            Finding {
                way: Way::Steps(steps),
                ..
            },
        ] => Ok(steps.clone()),
        [
            Finding {
                way: Way::Impossible(advice),
                ..
            },
        ] => Err(advice.clone()),
        _ => Err("Send its parts one by one.".to_owned()),
    }
}

/// What the policy makes of a judgement of the index family.
fn by_policy(judgement: Judgement, mut effects: Effects, source: &str, known: Known) -> Judgement {
    known.forget_own(&mut effects);
    let Judgement { rules, verdict, .. } = judgement;
    let tables: Vec<_> = effects.locks.keys().cloned().collect();
    // A build that is CONCURRENTLY as sent has no hazard.
    let is_weak = effects.strongest() < Some(crate::lock::LockMode::Share);
    let rule = rules.first().filter(|_| !is_weak);
    let action = rule.map(|rule| known.policy.action(rule, &tables));
    let is_rewrite = matches!(verdict, Verdict::Rewrite(_) | Verdict::Reject(_));
    let as_sent = |notice: &str| Plan {
        notice: notice.to_owned(),
        steps: vec![decide::as_sent("as sent", source, &effects)],
    };
    let hazard = rules.first().map_or("", |rule| rule.hazard);
    let verdict = match action {
        Some(Action::Allow) if is_rewrite => Verdict::Pass(as_sent("")),
        Some(Action::Notice) if is_rewrite => Verdict::Pass(as_sent(hazard)),
        Some(Action::Queue) if is_rewrite => Verdict::Queue(as_sent(hazard)),
        Some(Action::Reject) if is_rewrite => {
            let steps = verdict.plan().map(|plan| decide::as_text(&plan.steps));
            let advice = steps.unwrap_or_default();
            Verdict::Reject(decide::refusal(
                "This statement",
                &effects,
                known,
                &rules,
                &advice,
            ))
        }
        Some(Action::Allow | Action::Notice | Action::Rewrite | Action::Queue | Action::Reject)
        | None => verdict,
    };
    Judgement {
        rules,
        effects,
        verdict,
    }
}

/// A judgement as it can be carried out: where the catalog can't be read, what a plan of several steps
/// does can't be checked. It is refused with its text when the statement as sent would read, build or
/// write much; what only changes the catalog runs as sent, under a lock timeout.
pub fn as_carried_out(
    judgement: Judgement,
    parsed: &Parsed,
    source: &str,
    facts: &Facts,
    policy: &Policy,
) -> Judgement {
    let plan = match &judgement.verdict {
        Verdict::Rewrite(plan) => plan,
        Verdict::Untouched
        | Verdict::Pass(_)
        | Verdict::Queue(_)
        | Verdict::NoOp(_)
        | Verdict::Reject(_) => return judgement,
    };
    let is_plain = |step: &Step| step.context == Context::Transaction;
    if !facts.assumed || (plan.steps.len() == 1 && plan.steps.iter().all(is_plain)) {
        return judgement;
    }
    let verdict = if judgement.effects.takes_long() {
        let request = facts_needed(&parsed.statement);
        let known = Known::new(&request, facts, policy);
        let advice = decide::as_text(&plan.steps);
        let tag = parsed.statement.tag();
        Verdict::Reject(decide::refusal(
            tag,
            &judgement.effects,
            known,
            &judgement.rules,
            &advice,
        ))
    } else {
        let step = decide::as_sent(parsed.statement.tag(), source, &judgement.effects);
        Verdict::Pass(Plan::as_sent(step))
    };
    Judgement {
        verdict,
        ..judgement
    }
}

/// The rule that a statement is judged by when no facts can be had: said, not done.
pub fn assumed(statement: &Statement) -> Judgement {
    let rule = match statement {
        Statement::CreateIndex(_) => &create_index::BLOCKS_WRITES,
        Statement::DropIndex(_) => &drop_index::BLOCKS_READS,
        Statement::Reindex(_) => &reindex::BLOCKS_READS,
        Statement::AlterTable(_)
        | Statement::CreateTable(_)
        | Statement::Drop(_)
        | Statement::Rename(_)
        | Statement::Other(_)
        | Statement::Unreadable { .. } => &other::LOCK_QUEUE,
        Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => return Judgement::untouched(),
    };
    Judgement::by(rule, Verdict::Untouched)
}

#[cfg(test)]
mod tests {
    use super::RULES;

    #[test]
    fn rule_names_are_unique_and_speak_plainly() {
        for (at, rule) in RULES.iter().enumerate() {
            assert!(
                RULES[..at].iter().all(|other| other.name != rule.name),
                "{} twice",
                rule.name
            );
            assert!(
                rule.name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                rule.name
            );
            assert!(
                rule.hazard.ends_with('.') && rule.remedy.ends_with('.'),
                "{}",
                rule.name
            );
            assert!(
                rule.manual
                    .starts_with("https://www.postgresql.org/docs/current/"),
                "{}",
                rule.name
            );
        }
    }
}
