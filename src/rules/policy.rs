//! What the settings, and a statement's own comment, say of rules.

use serde::{Deserialize, Serialize};

use super::Rule;
use crate::sql::name::Name;

/// What the policy does about a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The statement runs as sent, under a lock timeout if it takes a strong lock.
    Allow,
    /// The same, and the client is told.
    Notice,
    /// The plan runs in its place; where there is none, it is refused.
    Rewrite,
    /// It runs as sent, but only in a window of time.
    Queue,
    /// It is refused.
    Reject,
}

impl Action {
    /// All actions, mildest first.
    pub const ALL: [Action; 5] = [
        Action::Allow,
        Action::Notice,
        Action::Rewrite,
        Action::Queue,
        Action::Reject,
    ];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Notice => "notice",
            Action::Rewrite => "rewrite",
            Action::Queue => "queue",
            Action::Reject => "reject",
        }
    }
}

/// The policy for one session: what the rules read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `guard.small_table`, in bytes.
    pub small_table_bytes: u64,
    /// `guard.scan_rate`: bytes a second that a scan, a build or a rewrite gets through; for
    /// estimates in messages only.
    pub scan_bytes_per_second: u64,
    /// What the settings, or the statement's own comment, say of rules; the last that fits counts.
    pub overrides: Vec<Override>,
}

/// What a setting says of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The rule's name; `None` for all.
    pub rule: Option<String>,
    /// Only for statements all of whose tables fit: `schema.name`, with `*` for any characters.
    pub table: Option<String>,
    /// What is done.
    pub action: Action,
}

impl Policy {
    /// What is done about a rule that a statement on these tables meets: the rule's own action,
    /// unless an override fits; the last that fits counts. One that names tables fits only when
    /// there are tables, and all of them fit.
    pub fn action(&self, rule: &Rule, tables: &[Name]) -> Action {
        let last = self.overrides.iter().rev();
        last.into_iter()
            .find(|one| one.fits(rule, tables))
            .map_or(rule.action, |one| one.action)
    }
}

impl Override {
    fn fits(&self, rule: &Rule, tables: &[Name]) -> bool {
        let is_rule = self.rule.as_ref().is_none_or(|name| name == rule.name);
        is_rule
            && self.table.as_ref().is_none_or(|pattern| {
                !tables.is_empty() && tables.iter().all(|table| table_fits(pattern, table))
            })
    }
}

/// Whether a table is one of those that a pattern names. A pattern without a schema stands for that
/// name in any schema; a table whose schema isn't known is taken for one of `public`.
fn table_fits(pattern: &str, table: &Name) -> bool {
    let schema = table.schema.as_deref().unwrap_or("public");
    match pattern.split_once('.') {
        Some((of_schema, of_name)) => fits(of_schema, schema) && fits(of_name, &table.name),
        None => fits(pattern, &table.name),
    }
}

/// Whether a text is one of those that a pattern stands for; `*` is any characters, or none.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::other::LOCK_QUEUE;
    use crate::rules::{create_index, drop_index};

    fn policy(overrides: &[(Option<&str>, Option<&str>, Action)]) -> Policy {
        let overrides = overrides.iter().map(|(rule, table, action)| Override {
            rule: rule.map(str::to_owned),
            table: table.map(str::to_owned),
            action: *action,
        });
        Policy {
            small_table_bytes: 0,
            scan_bytes_per_second: 1,
            overrides: overrides.collect(),
        }
    }

    #[test]
    fn the_last_override_that_fits_counts() {
        let users = [Name::qualified("public", "users")];
        let rule = &create_index::BLOCKS_WRITES;
        assert_eq!(policy(&[]).action(rule, &users), Action::Rewrite);
        let all = (None, None, Action::Notice);
        let this = (Some(rule.name), None, Action::Reject);
        let other = (Some(drop_index::BLOCKS_READS.name), None, Action::Queue);
        assert_eq!(
            policy(&[all, this, other]).action(rule, &users),
            Action::Reject
        );
        assert_eq!(policy(&[this, all]).action(rule, &users), Action::Notice);
        assert_eq!(policy(&[other]).action(rule, &users), Action::Rewrite);
        assert_eq!(policy(&[other]).action(&LOCK_QUEUE, &[]), Action::Allow);
    }

    #[test]
    fn tables_must_all_fit() {
        let rule = &create_index::BLOCKS_WRITES;
        let of = |pattern: &'static str, tables: &[Name]| {
            policy(&[(None, Some(pattern), Action::Allow)]).action(rule, tables) == Action::Allow
        };
        let users = Name::qualified("public", "users");
        let staged = Name::qualified("staging", "users_2026");
        let unresolved = Name {
            schema: None,
            name: "users".to_owned(),
        };
        for (pattern, tables, expected) in [
            ("public.users", vec![users.clone()], true),
            ("users", vec![users.clone()], true),
            ("users*", vec![users.clone(), staged.clone()], true),
            ("staging.*", vec![users.clone(), staged.clone()], false),
            ("staging.*", vec![staged.clone()], true),
            ("*.users_*", vec![staged], true),
            ("public.users", vec![unresolved.clone()], true),
            ("staging.users", vec![unresolved], false),
            ("*", vec![], false),
            ("Users", vec![users], false),
        ] {
            assert_eq!(of(pattern, &tables), expected, "{pattern} {tables:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*bc", "abc", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_made_of_pieces_of_the_text_fits(pieces in proptest::collection::vec("[ab]{0,3}", 1..5)) {
            prop_assert!(fits(&pieces.join("*"), &pieces.concat()));
        }
    }
}
