//! What the judge says of a statement, asked as the proxy asks it: with facts from the statement's own session.

use std::time::Duration;

use lockkeeper::catalog::Facts;
use lockkeeper::pg::introspect;
use lockkeeper::plan::effects::Effects;
use lockkeeper::rules::{self, Judgement, Policy};
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::name::Name;
use lockkeeper::sql::parse::{Parsed, Sort, parse};
use lockkeeper::sql::statement::{InBody, Statement};

use crate::client::Client;
use crate::session::PlanSession;

/// How long the facts query may wait for locks.
const BUDGET: Duration = Duration::from_secs(5);

/// Every table counts as large.
fn policy() -> Policy {
    Policy {
        small_table_bytes: 0,
        scan_bytes_per_second: 100 << 20,
        overrides: Vec::new(),
    }
}

/// A judgement and what it rests on.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) facts: Facts,
    pub(crate) judgement: Judgement,
}

/// Runs a future that never waits for anything but the session.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// Judges a statement; `None` for ordinary traffic.
pub(crate) fn judge(client: &mut Client, sql: &str) -> Result<Option<Judged>, String> {
    let parsed = parse(sql, LexicalMode::default());
    let Ok([parsed]) = parsed.as_deref() else {
        return Err("isn't read as one statement".to_owned());
    };
    let source = sql.get(parsed.span.clone()).unwrap_or(sql).trim();
    match &parsed.statement {
        Statement::Harmless => Ok(None),
        Statement::Dynamic { statements, .. } => body(client, statements),
        _ => statement(client, parsed, source).map(Some),
    }
}

fn statement(client: &mut Client, parsed: &Parsed, source: &str) -> Result<Judged, String> {
    let request = rules::facts_needed(&parsed.statement);
    let mut session = PlanSession::over(client);
    let facts = block_on(introspect::facts(&mut session, &request, BUDGET));
    let facts = facts.map_err(|error| format!("no facts: {error}"))?;
    let judgement = rules::judge(parsed, source, &facts, &policy());
    Ok(Judged { facts, judgement })
}

/// What stands in a DO does all that its statements do, as `lockkeeper check` tells of each.
fn body(client: &mut Client, statements: &[InBody]) -> Result<Option<Judged>, String> {
    let mut all = Judged {
        facts: Facts::default(),
        judgement: Judgement::untouched(),
    };
    for inner in statements {
        let parsed = Parsed {
            statement: inner.statement.clone(),
            span: 0..inner.sql.len(),
            sort: Sort::Ddl,
        };
        let judged = statement(client, &parsed, &inner.sql)?;
        all.judgement.effects.add(judged.judgement.effects);
    }
    Ok(Some(all))
}

/// With the schema of every name.
pub(crate) fn qualified(effects: &Effects) -> Effects {
    let full = |name: &Name| match name.schema {
        Some(_) => name.clone(),
        None => Name::qualified("public", &name.name),
    };
    let mut all = Effects::none();
    for (name, mode) in &effects.locks {
        all.add_lock(full(name), *mode);
    }
    all.rewrites = effects.rewrites.iter().map(full).collect();
    all.scans = effects.scans.iter().map(full).collect();
    all.builds = effects.builds.iter().map(full).collect();
    all
}
