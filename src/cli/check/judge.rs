//! Judges the statements of scripts, one after the other.

use super::catalog::{Catalog, NoFacts};
use super::report::{Finding, Size, Word};
use super::script::{self, Piece};
use crate::catalog::Facts;
use crate::catalog::script::Script as Made;
use crate::plan::Context;
use crate::rules::{self, Action, Judgement, Override, Policy, RULES, Verdict};
use crate::sql::comment::{self, Remark};
use crate::sql::lexer::{self, LexicalMode};
use crate::sql::parse::{self, ParseError, Parsed, Sort};
use crate::sql::redact::redacted;
use crate::sql::statement::{InBody, Statement};

/// Judges scripts.
pub(super) struct Judge {
    pub(super) catalog: Catalog,
    policy: Policy,
    findings: Vec<Finding>,
    /// The open transaction.
    block: Option<Block>,
    file: String,
}

/// A transaction block of a script.
struct Block {
    /// The line of its BEGIN.
    line: usize,
    before: Made,
    savepoints: Vec<(String, Made)>,
}

/// What a statement does to the transaction.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Commit { chain: bool },
    Rollback { chain: bool },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
}

impl Judge {
    pub(super) fn new(catalog: Catalog, policy: Policy) -> Judge {
        Judge {
            catalog,
            policy,
            findings: Vec::new(),
            block: None,
            file: String::new(),
        }
    }

    /// What was found, in order.
    pub(super) fn findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Judges a script.
    ///
    /// # Errors
    /// Facts that can't be had.
    pub(super) async fn script(
        &mut self,
        file: &str,
        text: &str,
        in_transaction: bool,
    ) -> Result<(), String> {
        file.clone_into(&mut self.file);
        let count = self.findings.len();
        let script = script::take_apart(text);
        for (line, note) in script.notes {
            self.note(line, "", note);
        }
        if let Some(line) = script.open_comment {
            self.findings.push(Finding {
                remarks: vec!["unterminated /* comment".to_owned()],
                ..self.finding(line, "", Word::Error)
            });
        }
        if in_transaction {
            self.begin(1);
        }
        for piece in &script.pieces {
            self.piece(piece).await?;
        }
        if let Some(block) = self.block.take()
            && !in_transaction
        {
            self.note(
                block.line,
                "",
                "the transaction that begins here has no end: it would be rolled back".to_owned(),
            );
            self.catalog.go_back_to(block.before);
        }
        if let Some(own) = self.findings.get_mut(count..) {
            own.sort_by_key(|finding| finding.line);
        }
        self.catalog.script_ends();
        Ok(())
    }

    fn note(&mut self, line: usize, sql: &str, text: String) {
        self.findings.push(Finding {
            remarks: vec![text],
            ..self.finding(line, sql, Word::Note)
        });
    }

    fn finding(&self, line: usize, sql: &str, word: Word) -> Finding {
        Finding {
            file: self.file.clone(),
            line,
            sql: sql.to_owned(),
            word,
            judgement: Judgement::untouched(),
            sizes: Vec::new(),
            scan_rate: self.policy.scan_bytes_per_second,
            remarks: Vec::new(),
        }
    }

    async fn piece(&mut self, piece: &Piece) -> Result<(), String> {
        let mode = LexicalMode::default();
        let (text, has_variables) = match parse::parse(&piece.sql, mode) {
            Ok(statements) => return self.statements(piece, &piece.sql, &statements, false).await,
            Err(ParseError::Syntax(_)) => match script::without_variables(&piece.sql) {
                Some(text) => (text, true),
                None => (piece.sql.clone(), false),
            },
            Err(ParseError::TooDeep) => (piece.sql.clone(), false),
        };
        match parse::parse(&text, mode) {
            Ok(statements) => {
                self.statements(piece, &text, &statements, has_variables)
                    .await
            }
            Err(ParseError::Syntax(what)) => {
                self.findings.push(Finding {
                    remarks: vec![what.replace("Invalid statement: ", "")],
                    ..self.finding(piece.line, &piece.sql, Word::Error)
                });
                Ok(())
            }
            Err(ParseError::TooDeep) => {
                let first = lexer::statement_starts(text.as_bytes(), mode);
                let is_ddl = first
                    .first()
                    .is_some_and(|start| lexer::is_ddl_word(start.words.first().as_str()));
                if is_ddl {
                    let what = "it is nested too deeply to be judged".to_owned();
                    self.note(piece.line, &piece.sql, what);
                } else {
                    let passes = self.finding(piece.line, &piece.sql, Word::Pass);
                    self.findings.push(passes);
                }
                Ok(())
            }
        }
    }

    async fn statements(
        &mut self,
        piece: &Piece,
        text: &str,
        statements: &[Parsed],
        has_variables: bool,
    ) -> Result<(), String> {
        for parsed in statements {
            let source = text.get(parsed.span.clone()).unwrap_or(text).trim();
            let before = text.get(..parsed.span.start).unwrap_or_default();
            let line = piece.line + before.matches('\n').count();
            let count = self.findings.len();
            let lead = if before.is_empty() { &*piece.lead } else { "" };
            let at = parsed.span.start + lead.len()..parsed.span.end + lead.len();
            let asked = comment::remarks(&format!("{lead}{text}"), &at, LexicalMode::default());
            self.statement(parsed, asked, source, line).await?;
            if has_variables {
                for finding in self.findings.iter_mut().skip(count) {
                    finding.remarks.push(
                        "a psql variable in it stands for something that isn't known here"
                            .to_owned(),
                    );
                }
            }
        }
        Ok(())
    }

    async fn statement(
        &mut self,
        parsed: &Parsed,
        asked: Vec<Remark>,
        source: &str,
        line: usize,
    ) -> Result<(), String> {
        let (allowed, remarks) = allowed(asked);
        let mut finding = self.judged(parsed, allowed, source, line).await?;
        finding.remarks.splice(0..0, remarks);
        if let Statement::Dynamic {
            statements,
            dynamic_sql,
            ..
        } = &parsed.statement
        {
            if *dynamic_sql {
                finding.word = Word::Note;
                finding.remarks.push(
                    "what it runs by EXECUTE or CALL is decided when it runs, and can't be known from here".to_owned(),
                );
            }
            self.findings.push(finding);
            return self.body(statements, source, line).await;
        }
        self.findings.push(finding);
        if parsed.sort == Sort::Transaction
            && let Some(step) = transaction_step(source)
        {
            self.transaction(step, line);
        } else if parsed.sort == Sort::Settings {
            let is_lasting = |own: &parse::settings::Setting| !own.local || self.block.is_some();
            if let Some(setting) = parse::settings::setting(source).filter(is_lasting) {
                self.catalog.set(setting);
            }
        } else {
            self.catalog.look_at_made(&parsed.statement).await;
            self.catalog.apply(&parsed.statement);
        }
        Ok(())
    }

    /// The schema changes in the body of a DO, which runs as sent.
    async fn body(
        &mut self,
        statements: &[InBody],
        source: &str,
        line: usize,
    ) -> Result<(), String> {
        let mut from = 0;
        for inner in statements {
            let rest = source.get(from..).unwrap_or_default();
            from += rest.find(&inner.sql).unwrap_or_default();
            let before = source.get(..from).unwrap_or_default();
            let own_line = line + before.matches('\n').count();
            let parsed = Parsed {
                statement: inner.statement.clone(),
                span: 0..inner.sql.len(),
                sort: Sort::Ddl,
            };
            let mut finding = self
                .judged(&parsed, Vec::new(), &inner.sql, own_line)
                .await?;
            if finding.word > Word::Pass {
                finding.remarks.push(format!(
                    "it stands in the DO of line {line}, which runs as sent: nothing can take its place there"
                ));
            }
            self.findings.push(finding);
            self.catalog.apply(&parsed.statement);
        }
        Ok(())
    }

    /// Facts and judgement of one statement.
    async fn judged(
        &mut self,
        parsed: &Parsed,
        allowed: Vec<Override>,
        source: &str,
        line: usize,
    ) -> Result<Finding, String> {
        let request = rules::facts_needed(&parsed.statement);
        let mut remarks = Vec::new();
        let facts = match self.catalog.answer(&request, &parsed.statement).await {
            Ok(facts) => facts,
            Err(NoFacts::AtAll(why)) => return Err(why),
            Err(NoFacts::OfThis(why)) => {
                remarks.push(format!("{why}; the worst is assumed"));
                self.catalog.worst(&request, &parsed.statement)
            }
        };
        let mut policy = self.policy.clone();
        policy.overrides.extend(allowed);
        let judgement = if facts.relations.len() == request.relations.len() {
            as_sent_if_safe(rules::judge(parsed, source, &facts, &policy))
        } else {
            Judgement::untouched()
        };
        let mut finding = self.finding(line, &shown(parsed, source), Word::of(&judgement.verdict));
        finding.sizes = sizes(&facts);
        remarks.extend(self.in_block(&judgement));
        finding.remarks = remarks;
        let strongest = judgement.effects.strongest();
        if self.block.is_some() && strongest >= Some(crate::lock::LockMode::Share) {
            self.catalog.holds_locks();
        }
        finding.judgement = judgement;
        Ok(finding)
    }

    /// What the open transaction block means for a statement.
    fn in_block(&self, judgement: &Judgement) -> Vec<String> {
        let Some(block) = &self.block else {
            return Vec::new();
        };
        let place = format!(
            "mind that in this transaction block (begun in line {})",
            block.line
        );
        let mut remarks = Vec::new();
        let outside: Vec<&str> = judgement
            .verdict
            .plan()
            .into_iter()
            .flat_map(|plan| &plan.steps)
            .filter(|step| refuses_block(&step.context))
            .map(|step| step.sql.as_str())
            .collect();
        if !outside.is_empty() {
            remarks.push(match &judgement.verdict {
                Verdict::Rewrite(_) => format!(
                    "{place} the safe way can't run as it is: give the statement a script of its own, without \
                     BEGIN, for: {}",
                    outside.join("; ")
                ),
                Verdict::Untouched
                | Verdict::Pass(_)
                | Verdict::Queue(_)
                | Verdict::NoOp(_)
                | Verdict::Reject(_) => {
                    format!("{place} the server refuses it: it needs a script of its own, without BEGIN")
                }
            });
        }
        let blocks = judgement
            .effects
            .locks
            .values()
            .any(|mode| *mode >= crate::lock::LockMode::Share);
        if blocks {
            remarks.push(format!("{place} its locks are held until COMMIT"));
        }
        remarks
    }

    fn begin(&mut self, line: usize) {
        if self.block.is_none() {
            self.block = Some(Block {
                line,
                before: self.catalog.script(),
                savepoints: Vec::new(),
            });
        }
    }

    fn transaction(&mut self, step: Step, line: usize) {
        match step {
            Step::Begin => self.begin(line),
            Step::Commit { chain } => {
                self.block = None;
                self.catalog.commit();
                if chain {
                    self.begin(line);
                }
            }
            Step::Rollback { chain } => {
                if let Some(block) = self.block.take() {
                    self.catalog.go_back_to(block.before);
                }
                if chain {
                    self.begin(line);
                }
            }
            Step::Savepoint(name) => {
                let made = self.catalog.script();
                if let Some(block) = &mut self.block {
                    block.savepoints.push((name, made));
                }
            }
            Step::Release(name) => {
                if let Some(block) = &mut self.block
                    && let Some(at) = block.savepoints.iter().rposition(|(own, _)| *own == name)
                {
                    block.savepoints.truncate(at);
                }
            }
            Step::RollbackTo(name) => {
                if let Some(block) = &mut self.block
                    && let Some(at) = block.savepoints.iter().rposition(|(own, _)| *own == name)
                {
                    block.savepoints.truncate(at + 1);
                    let made = block.savepoints.get(at).map(|(_, made)| made.clone());
                    if let Some(made) = made {
                        self.catalog.go_back_to(made);
                    }
                }
            }
        }
    }
}

/// What the statement's comments allow. Whoever runs it must be in policy.may_override; who that
/// is isn't known here.
fn allowed(asked: Vec<Remark>) -> (Vec<Override>, Vec<String>) {
    let (mut allowed, mut remarks) = (Vec::new(), Vec::new());
    for remark in asked {
        match remark {
            Remark::Unclear(what) => {
                remarks.push(format!("the comment has no effect: {what}"));
            }
            Remark::Allow {
                rules: named,
                reason,
            } => {
                let unknown = |name: &&String| RULES.iter().all(|rule| rule.name != **name);
                if let Some(name) = named.iter().find(unknown) {
                    let known = RULES.iter().map(|rule| rule.name);
                    let near = crate::config::nearest(name, known).unwrap_or_default();
                    remarks.push(format!(
                            "the comment has no effect: there is no rule \"{name}\"; the nearest one is \"{near}\""
                        ));
                    continue;
                }
                remarks.push(format!(
                        "its comment allows {}, because {reason}; through lockkeeper that counts for users of \
                         policy.may_override",
                        named.join(", ")
                    ));
                allowed.extend(named.into_iter().map(|name| Override {
                    rule: Some(name),
                    table: None,
                    action: Action::Allow,
                }));
            }
        }
    }
    (allowed, remarks)
}

/// A plan that says nothing is the statement itself, which is safe as it is.
fn as_sent_if_safe(judgement: Judgement) -> Judgement {
    match judgement.verdict {
        Verdict::Rewrite(plan) if plan.notice.is_empty() => Judgement {
            verdict: Verdict::Pass(plan),
            ..judgement
        },
        _ => judgement,
    }
}

fn refuses_block(context: &Context) -> bool {
    match context {
        Context::Transaction | Context::Brief { .. } => false,
        Context::Long | Context::Batches(_) | Context::Autocommit | Context::Concurrent { .. } => {
            true
        }
    }
}

/// The statement's text as a report may repeat it.
fn shown(parsed: &Parsed, source: &str) -> String {
    match &parsed.statement {
        Statement::Other(other) => redacted(source, other.may_hold_secret).into_owned(),
        _ => redacted(source, false).into_owned(),
    }
}

/// The tables, or an index's table, and how large they are.
fn sizes(facts: &Facts) -> Vec<Size> {
    let mut sizes: Vec<Size> = Vec::new();
    for relation in facts.relations.iter().flatten() {
        let (name, bytes) = match &relation.table {
            Some(table) => (table.qualified(), table.bytes),
            None => (relation.qualified(), relation.bytes),
        };
        let is_known = !facts.assumed && !relation.assumed;
        if sizes.iter().all(|size| size.relation != name) {
            sizes.push(Size {
                relation: name,
                bytes: is_known.then_some(bytes),
            });
        }
    }
    sizes
}

/// Reads `BEGIN`, `COMMIT`, `ROLLBACK TO x` and kin.
fn transaction_step(source: &str) -> Option<Step> {
    let words: Vec<String> = source
        .split(|letter: char| letter.is_whitespace() || letter == ';')
        .filter(|word| !word.is_empty())
        .map(|word| word.trim_matches('"').to_lowercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let named = |rest: &[&str]| {
        let mut rest = rest.iter().filter(|word| **word != "savepoint");
        rest.next().map(|name| (*name).to_owned())
    };
    let rest = words.get(1..)?;
    let chain = rest.ends_with(&["and", "chain"]) && !rest.ends_with(&["and", "no", "chain"]);
    match words.first().copied()? {
        "begin" | "start" => Some(Step::Begin),
        "commit" | "end" => Some(Step::Commit { chain }),
        "prepare" if rest.first() == Some(&"transaction") => Some(Step::Commit { chain: false }),
        "savepoint" => named(rest).map(Step::Savepoint),
        "release" => named(rest).map(Step::Release),
        "rollback" | "abort" => match rest.iter().position(|word| *word == "to") {
            Some(at) => named(rest.get(at + 1..)?).map(Step::RollbackTo),
            None => Some(Step::Rollback { chain }),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_read() {
        for (sql, expected) in [
            ("begin isolation level serializable", Some(Step::Begin)),
            ("START TRANSACTION", Some(Step::Begin)),
            ("commit", Some(Step::Commit { chain: false })),
            ("COMMIT AND CHAIN", Some(Step::Commit { chain: true })),
            ("end and no chain", Some(Step::Commit { chain: false })),
            ("rollback work", Some(Step::Rollback { chain: false })),
            ("savepoint \"A\"", Some(Step::Savepoint("a".to_owned()))),
            ("release savepoint a", Some(Step::Release("a".to_owned()))),
            (
                "rollback transaction to savepoint a",
                Some(Step::RollbackTo("a".to_owned())),
            ),
            (
                "prepare transaction 'x'",
                Some(Step::Commit { chain: false }),
            ),
            ("prepare x as select 1", None),
        ] {
            assert_eq!(transaction_step(sql), expected, "{sql}");
        }
    }
}
