//! The comparison with the linter squawk (PyPI `squawk-cli`), over the statements of `tests/statements` and, where they
//! were fetched, PostgreSQL's own regression files. Each is judged alone: every statement that squawk flags by a rule
//! about locks or clients is flagged by a rule of lockkeeper's that says the same, or `docs/peers.md` says why not.
//! The page lists every rule of squawk's, and nothing that the comparison doesn't show.

#![allow(clippy::unwrap_used)]

#[path = "common/corpus.rs"]
mod corpus;
#[path = "peers/page.rs"]
mod page;
#[path = "peers/pattern.rs"]
mod pattern;
#[path = "peers/squawk.rs"]
mod squawk;

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper::catalog::SessionFacts;
use lockkeeper::catalog::shadow::Shadow;
use lockkeeper::rules::{self, Action, Judgement, Policy, RULES, Verdict};
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::parse::{Parsed, parse};

use self::page::{Answer, Page};

/// The version that squawk assumes, and the one that lockkeeper judges for: it knows no 19, for which squawk has one
/// rule more.
const VERSIONS: [(&str, u32); 3] = [("15", 150_000), ("18", 180_000), ("19", 180_000)];
/// What it reports where it can't read a statement, which is no rule.
const NO_RULE: &str = "syntax-error";
/// What it doesn't take for the name of a rule.
const NO_NAMES: [&str; 2] = [NO_RULE, "unused-ignore"];
/// A statement that the parser reads.
struct Statement {
    sql: String,
    /// As the deparser writes it: keywords in capitals, no comments.
    written: String,
    parsed: Parsed,
}

/// What the comparison saw.
#[derive(Default)]
struct Seen {
    /// How many statements each rule of squawk's flags, and how many of them lockkeeper does.
    counts: BTreeMap<String, (usize, usize)>,
    /// The rules of lockkeeper's that said the same, by squawk's.
    answers: BTreeSet<(String, String)>,
    /// The statements that met an exception, by rule of squawk's and pattern.
    exceptions: BTreeMap<(String, String), BTreeSet<String>>,
    /// What nothing explains.
    problems: BTreeSet<String>,
}

#[test]
fn the_page_lists_rules_that_there_are() {
    let page = Page::read();
    assert_eq!(
        page.version,
        squawk::version(),
        "docs/peers.md speaks of another version"
    );
    let rules = page.rules();
    let count = rules.iter().filter(|rule| *rule != NO_RULE).count();
    assert_eq!(count, page.count, "rules that docs/peers.md lists");
    let names: Vec<&str> = rules
        .iter()
        .map(String::as_str)
        .filter(|rule| !NO_NAMES.contains(rule))
        .collect();
    assert_eq!(squawk::refuses(&names.join(",")), None);
    for exception in &page.exceptions {
        for rule in &exception.rules {
            assert!(
                page.answers.contains_key(rule),
                "{rule} has an exception, and no answer"
            );
        }
    }
    for (rule, answer) in &page.answers {
        if let Answer::Rules(own) = answer {
            assert!(!own.is_empty(), "{rule} has no answer");
            for name in own {
                assert!(
                    RULES.iter().any(|rule| rule.name == name),
                    "lockkeeper has no rule {name}"
                );
            }
        }
    }
}

#[test]
fn what_squawk_flags_is_flagged_or_explained() {
    let page = Page::read();
    let (statements, refused) = statements();
    assert!(
        statements.len() > 500,
        "only {} statements",
        statements.len()
    );
    let files = squawk::Statements::new(statements.iter().map(|statement| statement.sql.as_str()));
    let optional: Vec<String> = page
        .rules()
        .into_iter()
        .filter(|rule| !NO_NAMES.contains(&rule.as_str()))
        .collect();
    let mut seen = Seen::default();
    for (assumed, version) in VERSIONS {
        let flagged = files.flagged(&optional.join(","), assumed);
        for (statement, rules) in statements.iter().zip(flagged) {
            compare(statement, &rules, version, &page, &mut seen);
        }
    }
    report(&statements, refused, &seen);
    assert!(
        seen.problems.is_empty(),
        "{} statements are neither flagged nor explained:\n{}",
        seen.problems.len(),
        seen.problems.iter().cloned().collect::<Vec<_>>().join("\n")
    );
    if std::env::var_os("LOCKKEEPER_TEST_REGRESS").is_some() {
        assert_eq!(
            stale(&page, &seen),
            BTreeSet::new(),
            "nothing shows this any more"
        );
    }
}

/// The different statements that the parser reads as one statement, and how many it refuses.
fn statements() -> (Vec<Statement>, usize) {
    let files = corpus::files();
    let texts: BTreeSet<String> = files
        .iter()
        .flat_map(|path| corpus::statements(path))
        .collect();
    let texts: BTreeSet<&str> = texts.iter().map(|sql| sql.trim()).collect();
    let count = texts.len();
    let read = |sql: &str| {
        let [parsed] = <[Parsed; 1]>::try_from(parse(sql, LexicalMode::default()).ok()?).ok()?;
        let tree = pg_query::parse(sql, pg_query::ParserOptions::default()).ok()?;
        Some(Statement {
            sql: sql.to_owned(),
            written: tree.deparse(pg_query::DeparseOptions::default()).ok()?,
            parsed,
        })
    };
    let read: Vec<Statement> = texts.into_iter().filter_map(read).collect();
    let refused = count - read.len();
    (read, refused)
}

/// Judges a statement with the worst of facts.
fn judge(statement: &Statement, version: u32) -> Judgement {
    let policy = Policy {
        small_table_bytes: 1 << 20,
        scan_bytes_per_second: 100 << 20,
        overrides: Vec::new(),
    };
    let shadow = Shadow::assuming(SessionFacts {
        version,
        client_min_messages: "notice".to_owned(),
        ..SessionFacts::default()
    });
    let request = rules::facts_needed(&statement.parsed.statement);
    let facts = shadow.answer_about(&request, &statement.parsed.statement);
    rules::judge(&statement.parsed, &statement.sql, &facts, &policy)
}

/// The rules by which lockkeeper flags a statement: they refuse it, change it, or tell the client. Of those that never
/// do more than guard its locks, that.
fn flags(judgement: &Judgement) -> Vec<&'static str> {
    let is_told = match &judgement.verdict {
        Verdict::Rewrite(_) | Verdict::Queue(_) | Verdict::Reject(_) => true,
        Verdict::Pass(plan) => !plan.notice.is_empty(),
        Verdict::Untouched | Verdict::NoOp(_) => false,
    };
    let rules = judgement.rules.iter();
    rules
        .filter(|rule| is_told || rule.action == Action::Allow)
        .map(|rule| rule.name)
        .collect()
}

/// Compares what both say about a statement.
fn compare(
    statement: &Statement,
    squawks: &BTreeSet<String>,
    version: u32,
    page: &Page,
    seen: &mut Seen,
) {
    let judgement = judge(statement, version);
    let flags = flags(&judgement);
    for rule in squawks {
        let count = seen.counts.entry(rule.clone()).or_default();
        count.0 += 1;
        if page.unanswered.contains(rule) || page.others.contains(rule) {
            continue;
        }
        let own: Vec<&str> = match page.answers.get(rule) {
            Some(Answer::AnyRule) => judgement.rules.iter().map(|rule| rule.name).collect(),
            Some(Answer::Rules(own)) => flags
                .iter()
                .copied()
                .filter(|flag| own.iter().any(|name| name == flag))
                .collect(),
            None => {
                seen.problems
                    .insert(format!("docs/peers.md doesn't list squawk's rule {rule}"));
                continue;
            }
        };
        if !own.is_empty() {
            count.1 += 1;
            seen.answers
                .extend(own.iter().map(|name| (rule.clone(), (*name).to_owned())));
            continue;
        }
        let exceptions = page
            .exceptions
            .iter()
            .filter(|exception| exception.rules.contains(rule));
        let mut patterns = exceptions.flat_map(|exception| &exception.patterns);
        match patterns.find(|pattern| pattern.is_met(&statement.written)) {
            Some(pattern) => {
                let key = (rule.clone(), pattern.text.clone());
                let met = seen.exceptions.entry(key).or_default();
                met.insert(statement.written.clone());
            }
            None => {
                let said: String = judgement.to_string().lines().take(1).collect();
                seen.problems
                    .insert(format!("{rule}: {}\n    {said}", statement.written));
            }
        }
    }
}

/// What the page says, and nothing shows.
fn stale(page: &Page, seen: &Seen) -> BTreeSet<(String, String)> {
    let mut stale = BTreeSet::new();
    for (rule, answer) in &page.answers {
        if let Answer::Rules(own) = answer {
            stale.extend(own.iter().map(|name| (rule.clone(), name.clone())));
        }
    }
    stale.retain(|pair| !seen.answers.contains(pair));
    let excepted = page.exceptions.iter().flat_map(|exception| {
        let rules = exception.rules.iter();
        rules.flat_map(|rule| {
            exception
                .patterns
                .iter()
                .map(move |pattern| (rule.as_str(), pattern))
        })
    });
    for (rule, pattern) in excepted {
        let key = (rule.to_owned(), pattern.text.clone());
        let Some(statements) = seen.exceptions.get(&key) else {
            stale.insert(key);
            continue;
        };
        let words = pattern.words().into_iter();
        let unmet = words.filter(|word| !statements.iter().any(|statement| word.is_met(statement)));
        stale.extend(unmet.map(|word| (rule.to_owned(), word.text)));
    }
    stale
}

/// Numbers, for whoever looks.
fn report(statements: &[Statement], refused: usize, seen: &Seen) {
    eprintln!(
        "{} different statements, for {} versions; {refused} more that the parser refuses",
        statements.len(),
        VERSIONS.len()
    );
    for (rule, (squawk, own)) in &seen.counts {
        eprintln!("{squawk:7} {own:7} {rule}");
    }
}
