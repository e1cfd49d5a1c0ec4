//! The judge: statement and facts in, verdict out. Pure.
//!
//! A rule is static data in one table ([`RULES`]) and, for a statement family, one pure function in
//! a file of its own.

pub mod create_index;
pub mod drop_index;
pub mod other;
pub mod policy;
pub mod reindex;
pub mod verdict;

use crate::catalog::{FactRequest, Facts};
use crate::sql::parse::Parsed;
use crate::sql::statement::{OtherKind, Scope, Statement};

pub use policy::{Action, Override, Policy};
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
    /// What is done by default.
    pub action: Action,
    /// Where the versions of PostgreSQL differ, from 13 to 18; "alike" otherwise.
    pub versions: &'static str,
    /// A statement that meets it, on tables that the example's facts describe.
    pub example: &'static str,
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

/// What the rules must know to judge a statement.
pub fn facts_needed(statement: &Statement) -> FactRequest {
    match statement {
        Statement::CreateIndex(create) => create_index::facts_needed(create),
        Statement::DropIndex(drop) => FactRequest {
            relations: drop.indexes.clone(),
            ..FactRequest::default()
        },
        Statement::Reindex(reindex) => FactRequest {
            relations: vec![reindex.name.clone()],
            ..FactRequest::default()
        },
        Statement::AlterTable(_)
        | Statement::CreateTable(_)
        | Statement::Drop(_)
        | Statement::Rename(_)
        | Statement::Other(_)
        | Statement::Unreadable { .. }
        | Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate { .. }
        | Statement::Dynamic { .. }
        | Statement::Harmless => FactRequest::default(),
    }
}

/// Judges a statement. `source` is its own text.
pub fn judge(parsed: &Parsed, source: &str, facts: &Facts, policy: &Policy) -> Judgement {
    match &parsed.statement {
        Statement::CreateIndex(create) => create_index::judge(create, source, facts, policy),
        Statement::DropIndex(drop) => drop_index::judge(drop, source, facts),
        Statement::Reindex(reindex) => reindex::judge(reindex, source, facts, policy),
        Statement::Other(other) if matches!(other.kind, OtherKind::LockTable { .. }) => {
            Judgement::untouched() // it says itself how it locks, and means nothing outside a block
        }
        Statement::Other(other) => other::judge(other.tag, other.scope, source),
        Statement::AlterTable(alter) => other::judge(alter.tag, alter.scope(), source),
        Statement::CreateTable(_)
        | Statement::Drop(_)
        | Statement::Rename(_)
        | Statement::Unreadable { .. } => {
            other::judge(parsed.statement.tag(), Scope::Transactional, source)
        }
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
