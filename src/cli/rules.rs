//! `lockkeeper rules` and `lockkeeper explain`: what the judge knows, from its own table. The pages
//! of `docs/rules` are made by the same code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::unusable;
use crate::catalog::shadow::Shadow;
use crate::catalog::{DependentRelation, ObjectClass, ObjectRequest, RelationKind, SessionFacts};
use crate::rules::{self, Judgement, Policy, RULES, Rule};
use crate::sql::lexer::LexicalMode;
use crate::sql::name::Name;
use crate::sql::parse::{self, Parsed};

/// The size of the tables in the examples, in bytes.
const EXAMPLE_BYTES: u64 = 5_000_000_000;
/// The tables of the examples.
const EXAMPLE_TABLES: &str = include_str!("rules/example.sql");
/// The version of the examples' server; where that meets no hazard, the oldest one.
const EXAMPLE_VERSIONS: [u32; 2] = [170_000, 130_000];

/// Flags of `lockkeeper rules`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Write a page for each rule, and an index, into this directory
    #[arg(long, value_name = "DIR")]
    markdown: Option<PathBuf>,
}

/// Flags of `lockkeeper explain`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct ExplainFlags {
    /// The rule, as messages, the audit log and `lockkeeper rules` name it
    #[arg(value_name = "RULE")]
    rule: String,
}

/// Lists the rules, or writes their pages.
#[allow(clippy::print_stdout)]
pub fn main(flags: &Flags) -> ExitCode {
    match &flags.markdown {
        None => {
            print!("{}", table());
            ExitCode::SUCCESS
        }
        Some(directory) => match write_pages(directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => unusable(format!("{}: {error}", directory.display())),
        },
    }
}

/// Explains a rule: exit 2 when there is none of that name.
#[allow(clippy::print_stdout)]
pub fn explain(flags: &ExplainFlags) -> ExitCode {
    let named = flags.rule.trim().to_ascii_lowercase().replace('_', "-");
    match RULES.iter().find(|rule| rule.name == named) {
        Some(rule) => {
            print!("{}", explanation(rule));
            ExitCode::SUCCESS
        }
        None => unusable(format!(
            "there is no rule `{}`; the nearest ones are {}",
            flags.rule,
            nearest(&named).join(", ")
        )),
    }
}

/// The three names most like one, those that hold it first.
fn nearest(named: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_by_key(|name| {
        let holds = !named.is_empty() && name.contains(named);
        (!holds, strsim::damerau_levenshtein(named, name))
    });
    names.truncate(3);
    names
}

fn sorted() -> Vec<&'static Rule> {
    let mut rules = RULES.to_vec();
    rules.sort_by_key(|rule| rule.name);
    rules
}

/// Name, action, hazard; a line each.
fn table() -> String {
    let width = RULES.iter().map(|rule| rule.name.len()).max();
    let width = width.unwrap_or_default();
    let mut out = String::new();
    for rule in sorted() {
        let (name, action) = (rule.name, rule.action.as_str());
        let _ = writeln!(out, "{name:width$}  {action:7}  {}", rule.hazard);
    }
    out.push_str(
        "\n`lockkeeper explain RULE` has the recipe, an example, and how to change what is done.\n",
    );
    out
}

fn explanation(rule: &Rule) -> String {
    let mut out = String::new();
    let name = rule.name;
    let _ = writeln!(out, "{name} ({})\n", rule.action.as_str());
    for (title, text) in [
        ("hazard", rule.hazard),
        ("instead", rule.remedy),
        ("versions", rule.versions),
        ("manual", rule.manual),
    ] {
        let _ = writeln!(out, "  {title:9} {text}");
    }
    let _ = writeln!(out, "\nexample, on tables of {}:\n", example_size());
    let _ = writeln!(out, "  {}", rule.example.replace('\n', "\n  "));
    for line in judged(rule).to_string().lines() {
        let _ = writeln!(out, "  {line}");
    }
    out.push_str("\nto change what is done about it, in lockkeeper.toml:\n\n");
    out.push_str(&indented(&policy_lines(rule)));
    let _ = writeln!(
        out,
        "\nor in one statement, by a session user of policy.may_override:\n\n  {}",
        comment(rule)
    );
    out
}

fn example_size() -> String {
    crate::catalog::human_bytes(EXAMPLE_BYTES)
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}\n"));
    lines.collect()
}

/// An action other than the rule's own, to show how it is set.
fn other_action(rule: &Rule) -> &'static str {
    if rule.action == rules::Action::Allow {
        "notice"
    } else {
        "allow"
    }
}

fn policy_lines(rule: &Rule) -> String {
    let (name, action) = (rule.name, other_action(rule));
    let actions: Vec<&str> = rules::Action::ALL
        .iter()
        .map(|action| action.as_str())
        .collect();
    format!(
        "[policy]\n# one of {}\nrules = {{ {name} = \"{action}\" }}\n# or for some databases, users and tables only\n\
         overrides = [{{ role = \"etl\", table = \"staging.*\", rules = {{ {name} = \"{action}\" }} }}]\n",
        actions.join(", ")
    )
}

fn comment(rule: &Rule) -> String {
    format!("/* lockkeeper: allow({}) because … */", rule.name)
}

/// A world in which examples are judged.
#[derive(Debug, Clone, Copy)]
struct World {
    version: u32,
    /// Earlier work was left half done: an INVALID index, a CHECK that isn't valid, a partition that is
    /// half detached, a transaction that holds locks.
    is_half_done: bool,
    /// The examples' own tables; without them the worst is assumed.
    has_tables: bool,
}

impl World {
    /// In the order in which they are tried.
    fn all() -> impl Iterator<Item = World> {
        EXAMPLE_VERSIONS.into_iter().flat_map(|version| {
            [(false, true), (true, true), (false, false)].map(|(is_half_done, has_tables)| World {
                version,
                is_half_done,
                has_tables,
            })
        })
    }

    fn catalog(self) -> Shadow {
        let mut shadow = Shadow::assuming(SessionFacts {
            version: self.version,
            client_min_messages: "notice".to_owned(),
            ..SessionFacts::default()
        });
        if !self.has_tables {
            return shadow;
        }
        let half_done = "CREATE INDEX users_email_idx ON users (email); ALTER TABLE users ADD CONSTRAINT \
                         users_email_check CHECK (email <> '') NOT VALID";
        let more = if self.is_half_done {
            shadow.set_own_locks(true);
            let keeps = ObjectRequest {
                kind: ObjectClass::Stored,
                name: Name::unqualified("norm"),
            };
            let users = DependentRelation {
                schema: "public".to_owned(),
                name: "users".to_owned(),
                kind: RelationKind::Table,
                bytes: EXAMPLE_BYTES,
                indexes: Vec::new(),
            };
            shadow.add_dependents(keeps, vec![users]);
            half_done
        } else {
            ""
        };
        for parsed in parsed(&format!("{EXAMPLE_TABLES}{more}")) {
            shadow.apply(&parsed.statement);
        }
        if self.is_half_done {
            shadow.half_detach(&Name::unqualified("events_2023"));
        }
        let names: Vec<Name> = shadow
            .relations()
            .map(|relation| relation.qualified())
            .collect();
        for name in names {
            if let Some(relation) = shadow.relation_mut(&name) {
                relation.created_here = false;
                relation.bytes = EXAMPLE_BYTES;
                relation.rows = 50_000_000;
                for index in &mut relation.indexes {
                    index.valid &= index.name != "users_email_idx";
                }
            }
        }
        shadow
    }

    fn judge(self, rule: &Rule) -> Option<Judgement> {
        let parsed = parsed(rule.example).pop()?;
        let request = rules::facts_needed(&parsed.statement);
        let facts = self.catalog().answer_about(&request, &parsed.statement);
        let policy = Policy {
            small_table_bytes: 1 << 20,
            scan_bytes_per_second: 100 << 20,
            overrides: Vec::new(),
        };
        Some(rules::judge(&parsed, rule.example, &facts, &policy))
    }
}

fn parsed(sql: &str) -> Vec<Parsed> {
    parse::parse(sql, LexicalMode::default()).unwrap_or_default()
}

/// The example's judgement, in the first world in which it rests on the rule.
fn judged(rule: &Rule) -> Judgement {
    let judgements: Vec<Judgement> = World::all().filter_map(|world| world.judge(rule)).collect();
    let rests = |judgement: &&Judgement| judgement.rule().is_some_and(|own| own.name == rule.name);
    let meets = |judgement: &&Judgement| judgement.rules.iter().any(|own| own.name == rule.name);
    let found = judgements.iter().find(rests);
    let found = found.or_else(|| judgements.iter().find(meets));
    found
        .or(judgements.first())
        .cloned()
        .unwrap_or_else(Judgement::untouched)
}

/// What stands at the top of each page.
const MADE: &str =
    "<!-- Made by `lockkeeper rules --markdown docs/rules` from the rules' table: change that. -->";

fn page(rule: &Rule) -> String {
    format!(
        "{MADE}\n\n# {}\n\n{}\n\n**What lockkeeper does** (`{}` by default): {}\n\n\
         **PostgreSQL 13 to 18:** {}\n\n[PostgreSQL's manual]({})\n\n## Example\n\nOn tables of {}:\n\n\
         ```sql\n{};\n```\n\n```text\n{}```\n\n## Policy\n\n```toml\n{}```\n\n\
         In one statement, by a session user of `policy.may_override`: `{}`.\n\n[All rules](README.md)\n",
        rule.name,
        rule.hazard,
        rule.action.as_str(),
        rule.remedy,
        rule.versions,
        rule.manual,
        example_size(),
        rule.example,
        judged(rule),
        policy_lines(rule),
        comment(rule),
    )
}

fn index() -> String {
    let mut out = format!(
        "{MADE}\n\n# Rules\n\nOne way each in which a schema change hurts running traffic, and what is done about \
         it by default. `lockkeeper explain RULE` says the same; \
         [config/lockkeeper.toml](../../config/lockkeeper.toml) tells how to change it (`policy.rules`, \
         `policy.overrides`).\n\n| rule | by default | hazard |\n| --- | --- | --- |\n"
    );
    for rule in sorted() {
        let (name, action) = (rule.name, rule.action.as_str());
        let _ = writeln!(
            out,
            "| [{name}]({name}.md) | `{action}` | {} |",
            rule.hazard
        );
    }
    out
}

/// All pages, by file name.
fn pages() -> BTreeMap<String, String> {
    let rules = RULES.iter();
    let mut pages: BTreeMap<String, String> = rules
        .map(|rule| (format!("{}.md", rule.name), page(rule)))
        .collect();
    pages.insert("README.md".to_owned(), index());
    pages
}

/// Writes all pages, and removes those of rules that are no more.
fn write_pages(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let pages = pages();
    for (name, text) in &pages {
        std::fs::write(directory.join(name), text)?;
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = || std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(MADE));
        if !pages.contains_key(&*name) && is_ours() {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_meets_its_rule() {
        let mut strangers = Vec::new();
        for rule in RULES {
            let judgement = judged(rule);
            if judgement.rules.iter().all(|own| own.name != rule.name) {
                strangers.push(format!("{}: {}\n{judgement}", rule.name, rule.example));
            }
        }
        assert!(strangers.is_empty(), "{}", strangers.join("\n"));
    }

    #[test]
    fn the_nearest_rules_are_named() {
        assert_eq!(nearest("lock-que")[0], "lock-queue");
        assert!(nearest("reindex")[0].starts_with("reindex-"));
        assert_eq!(nearest("").len(), 3);
    }

    #[test]
    fn the_policy_that_is_shown_is_valid() {
        for rule in RULES {
            let config: serde_json::Value = config::Config::builder()
                .add_source(config::File::from_str(
                    &policy_lines(rule),
                    config::FileFormat::Toml,
                ))
                .build()
                .unwrap()
                .try_deserialize()
                .unwrap();
            let policy: crate::config::PolicySettings =
                serde_json::from_value(config["policy"].clone()).unwrap();
            assert_eq!(policy.overrides("db", "etl").len(), 2, "{}", rule.name);
        }
    }
}
