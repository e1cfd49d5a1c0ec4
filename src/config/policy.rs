//! `policy`: what is done about each rule, for whom, and who may say otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::window::Windows;
use super::{ConfigError, nearest, one_or_many};
use crate::rules::policy::fits;
use crate::rules::{Action, Override, RULES};

/// The name that stands for all rules.
const ALL: &str = "*";

/// `policy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PolicySettings {
    /// What is done about rules.
    pub rules: RuleActions,
    /// The same for some databases, roles and tables; the last that fits counts.
    pub overrides: Vec<PolicyOverride>,
    /// Session users who may allow a rule by a comment, or SET lockkeeper.mode.
    #[serde(deserialize_with = "one_or_many")]
    pub may_override: Vec<String>,
    /// When statements may run whose rules are set to `queue`.
    pub windows: Windows,
}

/// An entry of `policy.overrides`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverride {
    /// Only in databases of such a name; `*` stands for any characters, here and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Only for session users of such a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Only for statements all of whose tables fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What is done about rules.
    pub rules: RuleActions,
}

/// Actions by rule; `*` for all rules that aren't named beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RuleActions(BTreeMap<String, Action>);

impl<'de> Deserialize<'de> for RuleActions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = BTreeMap::<String, Action>::deserialize(deserializer)?;
        let mut actions = BTreeMap::new();
        for (name, action) in raw {
            let name = rule_name(&name).map_err(serde::de::Error::custom)?;
            actions.insert(name.to_owned(), action);
        }
        Ok(RuleActions(actions))
    }
}

/// A rule's name as the settings write it; the names of environment variables have no hyphens.
fn rule_name(written: &str) -> Result<&'static str, String> {
    let name = written.replace('_', "-");
    if name == ALL {
        return Ok(ALL);
    }
    let known = RULES.iter().map(|rule| rule.name);
    known.clone().find(|known| *known == name).ok_or_else(|| {
        let near = nearest(&name, known).unwrap_or_default();
        format!("there is no rule `{written}`; the nearest valid one is `{near}`")
    })
}

impl RuleActions {
    /// What they say of a rule.
    pub fn of(&self, rule: &str) -> Option<Action> {
        let found = self.0.get(rule).or_else(|| self.0.get(ALL));
        found.copied()
    }

    /// `*` first: what names a rule comes after it, and counts.
    fn overrides(&self, table: Option<&String>) -> impl Iterator<Item = Override> {
        let (all, named): (Vec<_>, Vec<_>) = self.0.iter().partition(|(name, _)| *name == ALL);
        all.into_iter()
            .chain(named)
            .map(move |(name, action)| Override {
                rule: (name != ALL).then(|| name.clone()),
                table: table.cloned(),
                action: *action,
            })
    }
}

impl PolicySettings {
    /// What these settings say of rules in a session, in the order in which it counts.
    pub fn overrides(&self, database: &str, role: &str) -> Vec<Override> {
        let is_for = |pattern: &Option<String>, name: &str| {
            pattern.as_ref().is_none_or(|pattern| fits(pattern, name))
        };
        let fitting = self
            .overrides
            .iter()
            .filter(|one| is_for(&one.database, database) && is_for(&one.role, role));
        let special = fitting.flat_map(|one| one.rules.overrides(one.table.as_ref()));
        self.rules.overrides(None).chain(special).collect()
    }

    /// Whether a session user may allow rules by a comment, or SET lockkeeper.mode.
    pub fn may_override(&self, user: &str) -> bool {
        self.may_override.iter().any(|listed| listed == user)
    }

    /// Refuses what can never fit.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bad = |text: String| Err(ConfigError::BadValue(text));
        for (at, one) in self.overrides.iter().enumerate() {
            if one.rules.0.is_empty() {
                return bad(format!("`policy.overrides[{at}].rules` names no rule"));
            }
            for (key, pattern) in [
                ("database", &one.database),
                ("role", &one.role),
                ("table", &one.table),
            ] {
                if pattern.as_ref().is_some_and(String::is_empty) {
                    return bad(format!(
                        "`policy.overrides[{at}].{key}` is empty: write a name, `*` for any characters, or leave it out"
                    ));
                }
            }
        }
        if self.may_override.iter().any(|user| user.contains('*')) {
            return bad(
                "`policy.may_override` lists session users by their full names; `*` stands for nothing here"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
