//! The report as SARIF 2.1.0, which code scanning services read.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};

use super::report::{Finding, Word};
use crate::rules::{Action, RULES, Rule};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The whole report.
pub(super) fn report(findings: &[Finding], notes: &[String]) -> String {
    let results: Vec<Value> = findings
        .iter()
        .filter(|finding| finding.word != Word::Error && finding.is_worth_saying())
        .map(result)
        .collect();
    let errors = findings
        .iter()
        .filter(|finding| finding.word == Word::Error);
    let mut notifications: Vec<Value> = errors
        .map(|finding| {
            json!({
                "level": "error",
                "message": {"text": finding.message()},
                "locations": [location(finding)],
            })
        })
        .collect();
    let succeeded = notifications.is_empty();
    notifications.extend(
        notes
            .iter()
            .map(|note| json!({"level": "note", "message": {"text": note}})),
    );
    let rules: Vec<Value> = RULES.iter().map(|rule| descriptor(rule)).collect();
    let report = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "lockkeeper",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": succeeded,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    let text = serde_json::to_string_pretty(&report);
    format!("{}\n", text.unwrap_or_default()) // its keys are text
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "name": pascal(rule.name),
        "shortDescription": {"text": rule.hazard},
        "fullDescription": {"text": format!("{} {}", rule.hazard, rule.remedy)},
        "help": {"text": format!("{}\n\nSee `lockkeeper explain {}`.", rule.remedy, rule.name)},
        "helpUri": rule.manual,
        "defaultConfiguration": {"level": match rule.action {
            Action::Reject => "error",
            Action::Rewrite => "warning",
            Action::Allow | Action::Notice | Action::Queue => "note",
        }},
    })
}

/// `create-index-blocks-writes` as `CreateIndexBlocksWrites`.
fn pascal(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect()
}

fn result(finding: &Finding) -> Value {
    let mut result = json!({
        "level": match finding.word {
            Word::Reject | Word::Error => "error",
            Word::Rewrite => "warning",
            Word::Queue | Word::Note | Word::Pass => "note",
        },
        "message": {"text": finding.message()},
        "locations": [location(finding)],
    });
    if let (Some(rule), Value::Object(result)) = (finding.judgement.rule(), &mut result) {
        let index = RULES.iter().position(|other| other.name == rule.name);
        result.insert("ruleId".to_owned(), json!(rule.name));
        result.extend(index.map(|index| ("ruleIndex".to_owned(), json!(index))));
    }
    result
}

fn location(finding: &Finding) -> Value {
    let end = finding.line + finding.sql.lines().count().saturating_sub(1);
    let mut region = json!({"startLine": finding.line, "endLine": end});
    if let (false, Value::Object(region)) = (finding.sql.is_empty(), &mut region) {
        region.insert("snippet".to_owned(), json!({"text": finding.sql}));
    }
    json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(&finding.file)},
        "region": region,
    }})
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    if path.starts_with('/') {
        format!("file://{uri}")
    } else {
        uri
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("a b/ü.sql"), "a%20b/%C3%BC.sql");
        assert_eq!(uri("/tmp/x.sql"), "file:///tmp/x.sql");
        assert_eq!(pascal("lock-queue"), "LockQueue");
    }
}
