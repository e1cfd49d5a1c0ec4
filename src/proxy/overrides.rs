//! What a client may say against the policy: comments that allow a rule, and its own
//! `lockkeeper.mode`. Who may is listed in `policy.may_override`; the others are told, and both are
//! recorded.

use super::mode;
use crate::audit::event::{OverrideEntry, Who};
use crate::config::{Config, nearest};
use crate::rules::{Action, Override, RULES};
use crate::sql::classify::Text;
use crate::sql::comment::{self, Remark};
use crate::sql::lexer::LexicalMode;
use crate::sql::name::{clip, one_line};
use crate::sql::parse::Parsed;
use crate::sql::redact;

/// What a statement's comments ask for.
#[derive(Debug, Default)]
pub struct Asked {
    /// What is recorded; `None` when they ask for nothing.
    pub entry: Option<OverrideEntry>,
    /// Why they have no effect.
    pub notices: Vec<String>,
}

impl Asked {
    /// What the comments add to the policy.
    pub fn overrides(&self) -> impl Iterator<Item = Override> {
        let granted = self.entry.iter().filter(|entry| entry.granted);
        granted.flat_map(|entry| &entry.rules).map(|rule| Override {
            rule: Some(rule.clone()),
            table: None,
            action: Action::Allow,
        })
    }
}

/// Reads a statement's comments.
pub fn asked(
    text: &Text,
    parsed: &Parsed,
    lexical: LexicalMode,
    config: &Config,
    who: &Who,
) -> Asked {
    let (mut rules, mut reasons, mut notices) = (Vec::new(), Vec::new(), Vec::new());
    for remark in comment::remarks(&text.text, &parsed.span, lexical) {
        match remark {
            Remark::Unclear(what) => notices.push(format!("the comment has no effect: {what}")),
            Remark::Allow {
                rules: named,
                reason,
            } => {
                rules.extend(named);
                reasons.push(reason);
            }
        }
    }
    if rules.is_empty() {
        return Asked {
            entry: None,
            notices,
        };
    }
    let known = RULES.iter().map(|rule| rule.name);
    for rule in &rules {
        if !known.clone().any(|name| name == rule) {
            let near = nearest(rule, known.clone()).unwrap_or_default();
            notices.push(format!(
                "the comment has no effect: there is no rule \"{rule}\"; the nearest one is \"{near}\""
            ));
        }
    }
    let may = config.policy.may_override(&who.user);
    if !may {
        notices.push(format!(
            "the comment has no effect: user \"{}\" isn't listed in policy.may_override",
            who.user
        ));
    }
    let entry = OverrideEntry {
        rules,
        reason: reasons.join("; "),
        mode: None,
        granted: notices.is_empty(),
    };
    Asked {
        entry: Some(entry),
        notices,
    }
}

/// The value of `lockkeeper.mode` as it may be recorded and repeated: one that is no mode may be anything.
pub fn recorded_mode(value: &str) -> String {
    const LONGEST: usize = 64;
    if redact::shows_credentials(value) {
        "(withheld)".to_owned()
    } else {
        one_line(clip(value, LONGEST))
    }
}

/// A client sets `lockkeeper.mode`: what is recorded, and what the client is told when it has no
/// effect.
pub fn mode_asked(value: &str, config: &Config, who: &Who) -> (OverrideEntry, Option<String>) {
    let value = &recorded_mode(value);
    const MODES: [&str; 3] = ["enforce", "observe", "off"];
    let notice = if !config.policy.may_override(&who.user) {
        Some(format!(
            "lockkeeper.mode has no effect: user \"{}\" isn't listed in policy.may_override",
            who.user
        ))
    } else if mode::parse(value).is_none() {
        let near = nearest(value, MODES.into_iter()).unwrap_or_default();
        Some(format!(
            "lockkeeper.mode has no effect: it can be enforce, observe or off, not \"{value}\"; the nearest one is \
             \"{near}\""
        ))
    } else {
        None
    };
    let entry = OverrideEntry {
        rules: Vec::new(),
        reason: String::new(),
        mode: Some(value.to_owned()),
        granted: notice.is_none(),
    };
    (entry, notice)
}
