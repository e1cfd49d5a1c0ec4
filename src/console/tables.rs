//! The tables that the console shows.

use std::time::{Duration, SystemTime};

use super::command::{HELP, Show};
use crate::config::{Config, PolicySettings, keys};
use crate::exec::registry::PlanView;
use crate::exec::session::Stage;
use crate::rules::{Action, RULES, Rule};
use crate::sql::name::{clip, one_line};

/// The most that is shown of a statement, in bytes.
pub(super) const MAX_SQL_BYTES: usize = 300;

/// A row: `None` is NULL.
pub(super) type Row = Vec<Option<String>>;

/// The columns of a table.
pub(super) fn columns(show: Show) -> &'static [&'static str] {
    match show {
        Show::Plans => &[
            "number",
            "database",
            "user",
            "application",
            "client",
            "statement",
            "stage",
            "step",
            "progress",
            "since",
            "waits_for",
        ],
        Show::Queue => &[
            "number",
            "database",
            "user",
            "statement",
            "stage",
            "since",
            "waits_for",
        ],
        Show::Blockers => &[
            "number",
            "database",
            "user",
            "statement",
            "since",
            "blocker",
        ],
        Show::Audit => &[
            "time",
            "user",
            "database",
            "tag",
            "outcome",
            "relations",
            "sql",
            "error",
        ],
        Show::Rules => &["rule", "action", "default", "exceptions", "hazard"],
        Show::Config => &["key", "value", "default"],
        Show::Help => &["command", "meaning"],
    }
}

/// The rows of SHOW PLANS.
pub(super) fn plans(plans: &[PlanView]) -> Vec<Row> {
    let row = |plan: &PlanView| {
        let (step, progress) = match &plan.stage {
            Stage::Runs {
                step,
                of,
                title,
                progress,
            } => (format!("{step} of {of}: {title}"), progress.clone()),
            Stage::Judging
            | Stage::Queued { .. }
            | Stage::AwaitsWindow { .. }
            | Stage::AwaitsLock { .. }
            | Stage::TakesBack
            | Stage::AwaitsSession { .. } => (String::new(), String::new()),
        };
        vec![
            Some(plan.number.to_string()),
            Some(plan.info.who.database.clone()),
            Some(plan.info.who.user.clone()),
            Some(plan.info.who.application.clone()),
            Some(plan.info.who.client.clone()),
            Some(statement(plan)),
            Some(stage_word(&plan.stage).to_owned()),
            filled(step),
            filled(progress),
            Some(time(plan.since)),
            filled(waits_for(&plan.stage).join("; ")),
        ]
    };
    plans.iter().map(row).collect()
}

/// The rows of SHOW QUEUE.
pub(super) fn queue(plans: &[PlanView]) -> Vec<Row> {
    let waits = |plan: &&PlanView| match plan.stage {
        Stage::Queued { .. } | Stage::AwaitsWindow { .. } => true,
        Stage::Judging
        | Stage::AwaitsLock { .. }
        | Stage::Runs { .. }
        | Stage::TakesBack
        | Stage::AwaitsSession { .. } => false,
    };
    let row = |plan: &PlanView| {
        let mut row = front(plan);
        row.push(Some(stage_word(&plan.stage).to_owned()));
        row.push(Some(time(stage_since(plan))));
        row.push(filled(waits_for(&plan.stage).join("; ")));
        row
    };
    plans.iter().filter(waits).map(row).collect()
}

/// The rows of SHOW AUDIT, of what the journal's database answers.
pub(super) fn audit(found: Vec<Row>) -> Vec<Row> {
    let mut rows = found;
    for cell in rows.iter_mut().flatten().flatten() {
        *cell = one_line(clip(cell, MAX_SQL_BYTES));
    }
    rows
}

/// The rows of SHOW BLOCKERS: one for each blocker, and one for a plan whose blockers aren't known.
pub(super) fn blockers(plans: &[PlanView]) -> Vec<Row> {
    let mut rows = Vec::new();
    for plan in plans {
        let Stage::AwaitsLock { blockers } = &plan.stage else {
            continue;
        };
        let mut add = |blocker: Option<String>| {
            let mut row = front(plan);
            row.push(Some(time(stage_since(plan))));
            row.push(blocker);
            rows.push(row);
        };
        if blockers.is_empty() {
            add(None);
        }
        for blocker in blockers {
            add(Some(blocker.clone()));
        }
    }
    rows
}

fn front(plan: &PlanView) -> Row {
    vec![
        Some(plan.number.to_string()),
        Some(plan.info.who.database.clone()),
        Some(plan.info.who.user.clone()),
        Some(statement(plan)),
    ]
}

/// In one line: what it says is what matters here, not how it is laid out.
fn statement(plan: &PlanView) -> String {
    let line = one_line(&plan.info.sql);
    if line.len() <= MAX_SQL_BYTES {
        return line;
    }
    format!("{} …", clip(&line, MAX_SQL_BYTES))
}

fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Judging => "judging",
        Stage::Queued { .. } => "queued",
        Stage::AwaitsWindow { .. } => "awaits window",
        Stage::AwaitsLock { .. } => "awaits lock",
        Stage::Runs { .. } => "runs",
        Stage::TakesBack => "takes back",
        Stage::AwaitsSession { .. } => "awaits session",
    }
}

fn waits_for(stage: &Stage) -> Vec<String> {
    match stage {
        Stage::Judging | Stage::Runs { .. } | Stage::TakesBack => Vec::new(),
        Stage::Queued { behind } => behind
            .iter()
            .map(|number| match number {
                0 => "a plan of another lockkeeper".to_owned(),
                number => format!("plan {number}"),
            })
            .collect(),
        Stage::AwaitsWindow { until } => vec![until.clone()],
        Stage::AwaitsSession { why } => vec![why.clone()],
        Stage::AwaitsLock { blockers } => blockers.clone(),
    }
}

fn stage_since(plan: &PlanView) -> SystemTime {
    let age = plan.age.saturating_sub(plan.stage_age);
    plan.since.checked_add(age).unwrap_or(plan.since)
}

fn time(time: SystemTime) -> String {
    let whole = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(Duration::ZERO, |since| Duration::from_secs(since.as_secs()));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + whole).to_string()
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The rows of SHOW RULES. The action is the one for databases, users and tables of which
/// `policy.overrides` says nothing; what it says stands beside it.
pub(super) fn rules(config: &Config) -> Vec<Row> {
    let policy = config.policy_for("", "");
    let row = |rule: &&Rule| {
        vec![
            Some(rule.name.to_owned()),
            Some(policy.action(rule, &[]).as_str().to_owned()),
            Some(rule.action.as_str().to_owned()),
            filled(exceptions(&config.policy, rule).join("; ")),
            Some(rule.hazard.to_owned()),
        ]
    };
    RULES.iter().map(row).collect()
}

fn exceptions(policy: &PolicySettings, rule: &Rule) -> Vec<String> {
    let mut found = Vec::new();
    for one in &policy.overrides {
        let Some(action) = one.rules.of(rule.name) else {
            continue;
        };
        let places: Vec<String> = [
            ("in database", &one.database),
            ("for user", &one.role),
            ("on", &one.table),
        ]
        .iter()
        .filter_map(|(word, pattern)| Some(format!("{word} {}", pattern.as_ref()?)))
        .collect();
        if !places.is_empty() {
            found.push(format!("{} {}", Action::as_str(action), places.join(" ")));
        }
    }
    found
}

/// The rows of SHOW CONFIG. What is secret is withheld where settings are written out.
pub(super) fn config(config: &Config) -> Vec<Row> {
    let (now, default) = (config.entries(), Config::default().entries());
    let find = |entries: &[(&str, String)], key: &str| {
        let entry = entries.iter().find(|(name, _)| *name == key);
        entry.map(|(_, value)| plain(value))
    };
    let row = |key: &&str| {
        vec![
            Some((*key).to_owned()),
            find(&now, key),
            find(&default, key),
        ]
    };
    keys().iter().map(row).collect()
}

/// A text without its quotes; anything else as it is.
fn plain(json: &str) -> String {
    serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())
}

/// The rows of HELP.
pub(super) fn help() -> Vec<Row> {
    let row = |(command, meaning): &(&str, &str)| {
        vec![Some((*command).to_owned()), Some((*meaning).to_owned())]
    };
    HELP.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::exec::registry::{PlanHandle, PlanInfo, Registry};

    fn plan(registry: &Registry, sql: &str, stage: Stage) -> PlanHandle {
        let info = PlanInfo {
            sql: sql.to_owned(),
            ..PlanInfo::default()
        };
        let handle = registry.begin(info, Arc::new(|| {}));
        handle.set_stage(stage);
        handle
    }

    fn cell<'a>(rows: &'a [Row], columns: &[&str], row: usize, column: &str) -> Option<&'a str> {
        assert!(rows.iter().all(|row| row.len() == columns.len()));
        let at = columns.iter().position(|name| *name == column).unwrap();
        rows[row][at].as_deref()
    }

    #[test]
    fn each_stage_is_shown_where_it_belongs() {
        let registry = Registry::default();
        let window = "Sunday".to_owned();
        let holder = |name: &str| format!("process {name}");
        let runs = Stage::Runs {
            step: 1,
            of: 2,
            title: "build".to_owned(),
            progress: "10 %".to_owned(),
        };
        let _handles = [
            plan(&registry, "ALTER\n\tTABLE  t", Stage::Judging),
            plan(&registry, "b", Stage::Queued { behind: vec![1, 7] }),
            plan(&registry, "c", Stage::AwaitsWindow { until: window }),
            plan(
                &registry,
                "d",
                Stage::AwaitsLock {
                    blockers: vec![holder("1"), holder("2")],
                },
            ),
            plan(&registry, "e", Stage::AwaitsLock { blockers: vec![] }),
            plan(&registry, &"é".repeat(400), runs),
        ];
        let all = registry.list();
        let of_plans = columns(Show::Plans);
        let rows = plans(&all);
        let shown = |row, column| cell(&rows, of_plans, row, column);
        assert_eq!(shown(0, "statement"), Some("ALTER TABLE t"));
        assert_eq!(shown(0, "waits_for"), None);
        assert_eq!(shown(1, "waits_for"), Some("plan 1; plan 7"));
        assert_eq!(shown(3, "waits_for"), Some("process 1; process 2"));
        assert_eq!(shown(5, "step"), Some("1 of 2: build"));
        assert_eq!(shown(5, "progress"), Some("10 %"));
        assert!(shown(5, "statement").unwrap().len() < 310);
        let rows = queue(&all);
        let numbers: Vec<_> = (0..rows.len())
            .map(|row| cell(&rows, columns(Show::Queue), row, "number"))
            .collect();
        assert_eq!(numbers, [Some("2"), Some("3")]);
        let rows = blockers(&all);
        let names: Vec<_> = (0..rows.len())
            .map(|row| cell(&rows, columns(Show::Blockers), row, "blocker"))
            .collect();
        assert_eq!(names, [Some("process 1"), Some("process 2"), None]);
    }

    #[test]
    fn settings_and_rules_are_all_there_and_secrets_are_not() {
        let mut config = Config::default();
        config.operator.url = Some("postgres://op:hunter2@db/postgres?password=hunter2".to_owned());
        config.policy = toml_policy();
        let rows = super::config(&config);
        assert_eq!(rows.len(), keys().len());
        let of_config = columns(Show::Config);
        let at = |key: &str| keys().iter().position(|one| *one == key).unwrap();
        let shown = |key, column| cell(&rows, of_config, at(key), column);
        assert_eq!(shown("locks.budget", "value"), Some("100ms"));
        assert_eq!(shown("audit.file", "value"), None);
        assert!(!format!("{rows:?}").contains("hunter2"));
        let rows = rules(&config);
        assert_eq!(rows.len(), RULES.len());
        let of_rules = columns(Show::Rules);
        let at = RULES.iter().position(|rule| rule.name == "lock-queue");
        let shown = |column| cell(&rows, of_rules, at.unwrap(), column);
        assert_eq!(shown("action"), Some("reject"));
        assert_eq!(shown("default"), Some("allow"));
        assert_eq!(
            shown("exceptions"),
            Some("queue in database shop* on staging.*")
        );
    }

    fn toml_policy() -> PolicySettings {
        let text = serde_json::json!({
            "rules": { "lock-queue": "reject" },
            "overrides": [
                { "database": "shop*", "table": "staging.*", "rules": { "*": "queue" } },
                { "role": "etl", "rules": { "create-index-blocks-writes": "allow" } },
            ],
        });
        serde_json::from_value(text).unwrap()
    }
}
