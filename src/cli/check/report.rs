//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalog::{ASSUMED_BYTES, human_bytes};
use crate::lock::LockMode;
use crate::plan::Step;
use crate::rules::{Judgement, Verdict};
use crate::sql::name::Name;

/// A statement, and what the judge says of it.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) sql: String,
    pub(super) word: Word,
    pub(super) judgement: Judgement,
    pub(super) sizes: Vec<Size>,
    /// `guard.scan_rate`, bytes a second.
    pub(super) scan_rate: u64,
    /// What else is to be said.
    pub(super) remarks: Vec<String>,
}

/// A table's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) relation: Name,
    /// `None` where nobody was asked.
    pub(super) bytes: Option<u64>,
}

/// What comes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Pass,
    /// It passes, and there is something to be said.
    Note,
    Queue,
    Rewrite,
    Reject,
    /// It can't be read.
    Error,
}

impl Word {
    pub(super) fn of(verdict: &Verdict) -> Word {
        match verdict {
            Verdict::Untouched | Verdict::NoOp(_) => Word::Pass,
            Verdict::Pass(plan) if plan.notice.is_empty() => Word::Pass,
            Verdict::Pass(_) => Word::Note,
            Verdict::Queue(_) => Word::Queue,
            Verdict::Rewrite(_) => Word::Rewrite,
            Verdict::Reject(_) => Word::Reject,
        }
    }

    /// The verdict's name in the JSON report.
    fn verdict(self) -> &'static str {
        match self {
            Word::Pass | Word::Note => "pass",
            Word::Queue => "queue",
            Word::Rewrite => "rewrite",
            Word::Reject => "reject",
            Word::Error => "error",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Word::Error | Word::Reject => "\x1b[1;31m",
            Word::Rewrite | Word::Queue => "\x1b[1;33m",
            Word::Note | Word::Pass => "\x1b[1;36m",
        }
    }
}

impl Finding {
    /// It is a statement: a note about the script is none.
    fn is_statement(&self) -> bool {
        !self.sql.is_empty()
    }

    /// There is something that a reader should see.
    pub(super) fn is_worth_saying(&self) -> bool {
        self.word != Word::Pass || !self.remarks.is_empty()
    }

    /// The hazard and what is done about it, in a sentence or more.
    pub(super) fn message(&self) -> String {
        if self.word == Word::Error {
            return self.remarks.join("; "); // in the parser's own words
        }
        let mut parts: Vec<String> = Vec::new();
        match &self.judgement.verdict {
            Verdict::Reject(refusal) => {
                parts.push(sentence(&refusal.message));
                parts.push(sentence(&refusal.detail));
            }
            Verdict::Rewrite(_) | Verdict::Queue(_) => {
                if let Some(rule) = self.judgement.rule() {
                    parts.push(rule.hazard.to_owned());
                    parts.push(rule.remedy.to_owned());
                }
            }
            Verdict::Pass(plan) => parts.push(sentence(&plan.notice)),
            Verdict::Untouched | Verdict::NoOp(_) => {}
        }
        parts.extend(self.estimate());
        parts.extend(self.remarks.iter().map(|remark| sentence(remark)));
        parts.retain(|part| !part.is_empty());
        // What is only assumed of a table is no number to be told.
        let assumed = human_bytes(ASSUMED_BYTES);
        parts.join(" ").replace(&assumed, "size unknown")
    }

    /// How long its locks are held, as far as sizes are known.
    fn estimate(&self) -> Option<String> {
        let effects = &self.judgement.effects;
        let is_said = matches!(self.judgement.verdict, Verdict::Reject(_));
        if is_said || !effects.takes_long() {
            return None;
        }
        let touched = |size: &&Size| effects.scans.contains(&size.relation);
        let bytes: Option<u64> = self
            .sizes
            .iter()
            .filter(touched)
            .map(|size| size.bytes)
            .sum();
        let bytes = bytes.filter(|bytes| *bytes > 0)?;
        let seconds = bytes.div_ceil(self.scan_rate.max(1));
        Some(format!(
            "{} to be read: about {} at {} a second.",
            human_bytes(bytes),
            humantime::format_duration(std::time::Duration::from_secs(seconds)),
            human_bytes(self.scan_rate)
        ))
    }

    /// The safe way as SQL: of a rewrite its plan, of a refusal its hint.
    fn safe_way(&self) -> String {
        match &self.judgement.verdict {
            Verdict::Rewrite(plan) => {
                let steps = plan.steps.iter().map(|step| {
                    let comment = match &step.context {
                        crate::plan::Context::Transaction
                        | crate::plan::Context::Brief { .. } => {
                            "-- in a transaction of its own, under a short lock_timeout, again until it succeeds\n"
                                .to_owned()
                        }
                        crate::plan::Context::Batches(backfill) => {
                            format!("-- {}\n", backfill.places())
                        }
                        crate::plan::Context::Long
                        | crate::plan::Context::Autocommit
                        | crate::plan::Context::Concurrent { .. } => String::new(),
                    };
                    format!("{comment}{};", in_one(step).trim_end_matches(';'))
                });
                steps.collect::<Vec<_>>().join("\n")
            }
            Verdict::Reject(refusal) => refusal.hint.clone(),
            Verdict::Untouched | Verdict::Pass(_) | Verdict::Queue(_) | Verdict::NoOp(_) => {
                String::new()
            }
        }
    }

    pub(super) fn rule_names(&self) -> Vec<&'static str> {
        let rules = self.judgement.rules.iter();
        rules.map(|rule| rule.name).collect()
    }

    fn row(&self) -> Row<'_> {
        let effects = &self.judgement.effects;
        let locks = effects.locks.iter().map(|(relation, mode)| LockRow {
            relation: relation.to_string(),
            mode: mode.as_pg(),
        });
        let plan = match &self.judgement.verdict {
            Verdict::Rewrite(plan) | Verdict::Queue(plan) => plan
                .steps
                .iter()
                .map(|step| StepRow {
                    sql: in_one(step),
                    lock: step
                        .locks
                        .iter()
                        .map(|lock| lock.mode)
                        .max()
                        .map(LockMode::as_pg),
                    context: step.context_name(),
                })
                .collect(),
            Verdict::Untouched | Verdict::Pass(_) | Verdict::NoOp(_) | Verdict::Reject(_) => {
                Vec::new()
            }
        };
        Row {
            file: &self.file,
            line: self.line,
            sql: &self.sql,
            verdict: self.word.verdict(),
            rules: self.rule_names(),
            locks: locks.collect(),
            table_rewrite: !effects.rewrites.is_empty(),
            table_scan: !effects.scans.is_empty(),
            index_build: !effects.builds.is_empty(),
            plan,
            message: self.message(),
        }
    }
}

/// A statement in the JSON report.
#[derive(Debug, Serialize)]
struct Row<'a> {
    file: &'a str,
    line: usize,
    sql: &'a str,
    verdict: &'static str,
    rules: Vec<&'static str>,
    /// Of the statement as sent, as are the next three.
    locks: Vec<LockRow>,
    table_rewrite: bool,
    table_scan: bool,
    index_build: bool,
    plan: Vec<StepRow>,
    message: String,
}

#[derive(Debug, Serialize)]
struct LockRow {
    relation: String,
    mode: &'static str,
}

#[derive(Debug, Serialize)]
struct StepRow {
    sql: String,
    lock: Option<&'static str>,
    context: &'static str,
}

/// A step's statements, as one transaction where they are more than one.
fn in_one(step: &Step) -> String {
    let statements = step.statements();
    match statements.as_slice() {
        [_] => step.sql.clone(),
        _ => format!("BEGIN; {}; COMMIT", statements.join("; ")),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let end = if text.ends_with(['.', '!', '?', ':']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

/// How a statement's locks on what exists are shown: the strong ones.
fn locks(finding: &Finding) -> Vec<String> {
    let locks = finding.judgement.effects.locks.iter();
    locks
        .filter(|(_, mode)| **mode >= LockMode::ShareUpdateExclusive)
        .map(|(relation, mode)| format!("{relation}: {mode}, {}", mode.stops()))
        .collect()
}

/// The report for people: a block for each finding, and a line that sums up.
pub(super) fn text(findings: &[Finding], notes: &[String], color: bool) -> String {
    let mut out = String::new();
    for finding in findings.iter().filter(|finding| finding.is_worth_saying()) {
        block(&mut out, finding, color);
    }
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    out.push_str(&summary(findings));
    out.push('\n');
    out
}

/// One finding. Writing to a text can't fail.
fn block(out: &mut String, finding: &Finding, color: bool) {
    let (on, off) = if color {
        (finding.word.color(), "\x1b[0m")
    } else {
        ("", "")
    };
    let word = match finding.word {
        Word::Pass | Word::Note => "note",
        Word::Queue | Word::Rewrite | Word::Reject | Word::Error => finding.word.verdict(),
    };
    let rules = finding.rule_names().join(", ");
    let (file, line) = (&finding.file, finding.line);
    let rules = if rules.is_empty() {
        rules
    } else {
        format!(" {rules}")
    };
    let _ = writeln!(out, "{file}:{line}: {on}{word}{off}{rules}");
    if !finding.sql.is_empty() {
        let _ = writeln!(out, "{}", indented(&front(&finding.sql), "    "));
    }
    let message = finding.message();
    if !message.is_empty() {
        let _ = writeln!(out, "  {message}");
    }
    for lock in locks(finding) {
        let _ = writeln!(out, "  lock  {lock}");
    }
    for size in &finding.sizes {
        if let Some(bytes) = size.bytes {
            let _ = writeln!(out, "  size  {}: {}", size.relation, human_bytes(bytes));
        }
    }
    let safe_way = finding.safe_way();
    if !safe_way.is_empty() {
        let _ = writeln!(out, "  safe way\n{}", indented(&safe_way, "    "));
    }
    out.push('\n');
}

/// The first lines of a statement.
fn front(sql: &str) -> String {
    const MOST: usize = 12;
    let mut lines: Vec<&str> = sql.lines().take(MOST).collect();
    if sql.lines().count() > MOST {
        lines.push("…");
    }
    lines.join("\n")
}

fn indented(text: &str, indent: &str) -> String {
    let lines = text.lines().map(|line| format!("{indent}{line}"));
    let lines = lines.map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// How many statements, and what comes of them.
pub(super) fn summary(findings: &[Finding]) -> String {
    let statements = findings.iter().filter(|finding| finding.is_statement());
    let mut files: Vec<&str> = statements.clone().map(|one| one.file.as_str()).collect();
    files.dedup();
    let count = |word: &str| {
        let of = statements.clone().filter(|one| one.word.verdict() == word);
        of.count()
    };
    let words = ["reject", "rewrite", "queue", "error", "pass"];
    let counts: Vec<String> = words
        .into_iter()
        .map(|word| (word, count(word)))
        .filter(|(word, count)| *count > 0 || *word == "pass")
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let (statements, files) = (statements.count(), files.len());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!(
        "{statements} statement{} in {files} file{}: {}",
        plural(statements),
        plural(files),
        counts.join(", ")
    )
}

/// An array, one object a statement.
pub(super) fn json(findings: &[Finding]) -> String {
    let statements = findings.iter().filter(|finding| finding.is_statement());
    let all: Vec<Row<'_>> = statements.map(Finding::row).collect();
    let text = serde_json::to_string_pretty(&all);
    format!("{}\n", text.unwrap_or_default()) // its keys are text
}

/// Annotations of GitHub Actions.
pub(super) fn github(findings: &[Finding], notes: &[String]) -> String {
    let mut out = String::new();
    for finding in findings.iter().filter(|finding| finding.is_worth_saying()) {
        let level = match finding.word {
            Word::Error | Word::Reject => "error",
            Word::Rewrite => "warning",
            Word::Pass | Word::Note | Word::Queue => "notice",
        };
        let rules = finding.rule_names().join(", ");
        let title = if rules.is_empty() {
            "lockkeeper".to_owned()
        } else {
            format!("lockkeeper: {rules}")
        };
        let safe_way = finding.safe_way();
        let mut message = finding.message();
        if !safe_way.is_empty() {
            message = format!("{message}\nSafe way:\n{safe_way}");
        }
        let _ = writeln!(
            out,
            "::{level} file={},line={},title={}::{}",
            property(&finding.file),
            finding.line,
            property(&title),
            data(&message)
        );
    }
    for note in notes {
        let _ = writeln!(out, "::notice title=lockkeeper::{}", data(note));
    }
    let _ = writeln!(out, "{}", summary(findings));
    out
}

/// The escapes of a workflow command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The escapes of a workflow command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflow_commands_are_escaped() {
        assert_eq!(data("100%\r\nof a: b, c"), "100%25%0D%0Aof a: b, c");
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
    }
}
