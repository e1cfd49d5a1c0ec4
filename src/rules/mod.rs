//! The judge: statement and facts in, verdict out. Pure.
//!
//! A rule is static data in one table ([`RULES`]) and, for a statement family, one pure function in
//! a file of its own.

pub mod create_index;
pub mod drop_index;
pub mod other;
pub mod reindex;
pub mod verdict;

use crate::catalog::{FactRequest, Facts};
use crate::sql::parse::Parsed;
use crate::sql::statement::Statement;

pub use verdict::{Judgement, Refusal, Verdict};

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
}

/// Every rule.
pub const RULES: &[&Rule] = &[
    &create_index::BLOCKS_WRITES,
    &create_index::PARTITIONED,
    &create_index::INVALID,
    &drop_index::BLOCKS_READS,
    &reindex::BLOCKS_READS,
    &other::LOCK_QUEUE,
];

/// Limits of the policy that the rules read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `guard.small_table`, in bytes.
    pub small_table_bytes: u64,
}

/// What the rules must know to judge a statement.
pub fn facts_needed(statement: &Statement) -> FactRequest {
    match statement {
        Statement::CreateIndex(create) => create_index::facts_needed(create),
        Statement::DropIndex(drop) => FactRequest {
            relations: drop.indexes.clone(),
            candidates: Vec::new(),
        },
        Statement::Reindex(reindex) => FactRequest {
            relations: vec![reindex.name.clone()],
            candidates: Vec::new(),
        },
        Statement::Other(_)
        | Statement::Unreadable { .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => FactRequest::default(),
    }
}

/// Judges a statement. `source` is its own text.
pub fn judge(parsed: &Parsed, source: &str, facts: &Facts, policy: Policy) -> Judgement {
    match &parsed.statement {
        Statement::CreateIndex(create) => create_index::judge(create, source, facts, policy),
        Statement::DropIndex(drop) => drop_index::judge(drop, source, facts),
        Statement::Reindex(reindex) => reindex::judge(reindex, source, facts, policy),
        Statement::Other(other) => other::judge(other, source),
        Statement::Unreadable { words } => other::judge_unreadable(words, source),
        Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => Judgement::untouched(),
    }
}

/// The rule that a statement is judged by when no facts can be had: said, not done.
pub fn assumed(statement: &Statement) -> Judgement {
    let rule = match statement {
        Statement::CreateIndex(_) => Some(&create_index::BLOCKS_WRITES),
        Statement::DropIndex(_) => Some(&drop_index::BLOCKS_READS),
        Statement::Reindex(_) => Some(&reindex::BLOCKS_READS),
        Statement::Other(_) | Statement::Unreadable { .. } => Some(&other::LOCK_QUEUE),
        Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => None,
    };
    Judgement {
        rule,
        verdict: Verdict::Untouched,
    }
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
