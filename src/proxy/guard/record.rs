//! What is recorded of schema changes: those that are guarded, and those that go on as they came.

use std::sync::Arc;
use std::time::Duration;

use super::asked;
use crate::audit::event::{
    ErrorEntry, Event, MAX_SQL_BYTES, OverrideEntry, RelationEntry, WindowEntry, recorded_sql,
};
use crate::audit::log;
use crate::catalog::Facts;
use crate::config::Config;
use crate::exec::runner::Progress;
use crate::journal::record::{Backend, Outcome, Record, VERSION};
use crate::journal::store::{ClientEntry, Entry};
use crate::metrics;
use crate::plan::Step;
use crate::plan::course::Course;
use crate::proxy::fates::{Fate, Followed};
use crate::proxy::inspect::Passed;
use crate::proxy::overrides;
use crate::proxy::session::Session;
use crate::proxy::worker::Worker;
use crate::rules::{Judgement, Verdict};
use crate::sql::classify::Text;
use crate::sql::name::{clip, quote_literal};
use crate::sql::parse::Parsed;
use crate::sql::redact;
use crate::wire::backend::ErrorFields;

/// How a statement ended, for the record.
#[derive(Clone, Default)]
pub(super) struct Ended<'a> {
    pub(super) outcome: &'static str,
    pub(super) error: Option<&'a ErrorFields>,
    pub(super) progress: Option<&'a Progress>,
    pub(super) window: Option<WindowEntry>,
    pub(super) because: Option<&'static str>,
    /// The command tag, when it is done.
    pub(super) tag: Option<&'a str>,
    /// Whoever ended it spoke of nobody else's statement.
    pub(super) interrupted: bool,
    pub(super) elapsed: Duration,
}

pub(super) fn record(
    session: &Session,
    text: &Text,
    parsed: &Parsed,
    judgement: &Judgement,
    facts: Option<&Facts>,
    ended: &Ended<'_>,
    entry: Option<Entry>,
) {
    let mut event = event_of(session, text, parsed);
    let shown = |sql: &String| recorded_sql(sql, &parsed.statement);
    event.verdict = judgement.verdict.as_str().into();
    event.rule = judgement.rule().map(|rule| rule.name.into());
    event.outcome = ended.outcome.into();
    event.because = ended.because.map(Into::into);
    event.error = ended.error.map(|fields| ErrorEntry {
        sqlstate: fields.sqlstate.clone(),
        message: recorded_message(&fields.message, text),
    });
    if let (Verdict::Rewrite(plan), "observed") = (&judgement.verdict, ended.outcome) {
        let steps = plan.steps.iter();
        let statements = steps.flat_map(|step| std::iter::once(&step.sql).chain(&step.also));
        event.planned = statements.map(shown).collect();
    }
    let known = facts.map(known_relations).unwrap_or_default();
    if !known.is_empty() {
        event.relations = known;
    }
    if let Some(progress) = ended.progress {
        let executed = progress.executed.iter();
        event.executed = executed.map(shown).collect();
        event.undone.clone_from(&progress.undone);
        if ended.error.is_some() && !progress.last_sql.is_empty() {
            event.failed = Some(shown(&progress.last_sql));
        }
        event.attempts = progress.attempts;
        event.lock_wait_ms = milliseconds(progress.waited);
        event.lock_hold_ms = milliseconds(progress.held);
        event.blockers.clone_from(&progress.blockers);
    }
    event.elapsed_ms = milliseconds(ended.elapsed);
    if let Some(window) = &ended.window {
        event.elapsed_ms += window.waited_ms;
        event.window = Some(window.clone());
    }
    let audit = &session.worker.shared.audit;
    let Some(entry) = entry else {
        audit.record(event);
        return;
    };
    let outcome = Outcome {
        tag: ended.tag.map(str::to_owned),
        error: event.error.clone(),
        interrupted: ended.interrupted,
    };
    entry.end(&outcome, &event);
    audit.record_here(event);
}

/// What a comment asks for; its reason is withheld where it may repeat a secret.
fn recorded_override(entry: Option<OverrideEntry>, text: &Text) -> Option<OverrideEntry> {
    entry.map(|mut entry| {
        if !entry.reason.is_empty() {
            entry.reason = recorded_message(&entry.reason, text);
        }
        entry
    })
}

/// What the server said, or a comment; withheld where it may repeat a secret of the text, in which any
/// statement may have failed.
fn recorded_message(message: &str, text: &Text) -> String {
    let mut statements = text.statements.iter();
    let may_repeat = statements.any(|parsed| parsed.statement.may_hold_secret())
        || redact::shows_credentials(message)
        || redact::has_secret(clip(&text.text, MAX_SQL_BYTES));
    if may_repeat {
        "(withheld)".to_owned()
    } else {
        message.to_owned()
    }
}

pub(super) fn known_relations(facts: &Facts) -> Vec<RelationEntry> {
    let entry = |relation: &crate::catalog::Relation| RelationEntry {
        name: relation.qualified().to_string(),
        bytes: Some(relation.bytes),
    };
    facts.relations.iter().flatten().map(entry).collect()
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn event_of(session: &Session, text: &Text, parsed: &Parsed) -> Event {
    let tag = parsed.statement.tag().to_owned();
    let named = parsed.statement.relations();
    let setup = session.worker.setup();
    let mut sql = recorded_sql(text.source(parsed), &parsed.statement);
    if !text.exact {
        sql = redact::redacted(&sql, true).into_owned(); // the server may read it in another way
    }
    Event {
        time: log::now(),
        who: session.who.clone(),
        sql,
        tag,
        verdict: "pass".into(),
        mode: session.mode(&setup.config).as_str().into(),
        relations: named
            .iter()
            .map(|name| RelationEntry {
                name: name.to_string(),
                bytes: None,
            })
            .collect(),
        outcome: "passed".into(),
        overriding: recorded_override(asked(session, text, parsed, &setup.config).entry, text),
        ..Event::default()
    }
}

/// Records that a client sets `lockkeeper.mode`; what it is told when that has no effect.
pub fn record_mode(session: &Session, value: &str, config: &Config) -> Option<String> {
    record_mode_of(session, value, config, None)
}

/// Records that the session's role or database has set it.
pub(super) fn record_mode_of_role(
    session: &Session,
    value: &str,
    config: &Config,
) -> Option<String> {
    record_mode_of(
        session,
        value,
        config,
        Some("set for the role or the database"),
    )
}

fn record_mode_of(
    session: &Session,
    value: &str,
    config: &Config,
    because: Option<&'static str>,
) -> Option<String> {
    let (entry, notice) = overrides::mode_asked(value, config, &session.who);
    session.worker.shared.audit.record(Event {
        time: log::now(),
        who: session.who.clone(),
        tag: "SET".to_owned(),
        sql: format!(
            "SET lockkeeper.mode = {}",
            quote_literal(&overrides::recorded_mode(value))
        ),
        verdict: "pass".into(),
        mode: session.mode(config).as_str().into(),
        outcome: "passed".into(),
        because: because.map(Into::into),
        overriding: Some(entry),
        ..Event::default()
    });
    notice
}

/// A schema change that went on as it came, until it is known what became of it.
#[derive(Debug)]
pub struct Following {
    event: Event,
    text: Arc<Text>,
    entry: Option<ClientEntry>,
}

/// Records schema changes that went on as they came: those that aren't followed at once.
pub fn record_passed(session: &Session, passed: &Passed) -> Vec<(u64, Following)> {
    let mut following = Vec::new();
    for (at, number) in &passed.followed {
        let Some(parsed) = passed.text.statements.get(*at) else {
            continue;
        };
        metrics::verdict("none", "pass");
        let event = Event {
            because: Some(passed.because.into()),
            ..event_of(session, &passed.text, parsed)
        };
        let shared = &session.worker.shared;
        let Some(number) = number else {
            shared.audit.record(event);
            continue;
        };
        let entry = shared.journal.follow_client(client_record(&event), &event);
        let text = Arc::clone(&passed.text);
        following.push((*number, Following { event, text, entry }));
    }
    following
}

/// A schema change that has its place in a client's transaction, with which it stands or falls.
pub(super) struct Placed<'a> {
    pub(super) judgement: &'a Judgement,
    pub(super) facts: &'a Facts,
    pub(super) place: &'static str,
    pub(super) steps: &'a [Step],
}

/// Records it when it is known what becomes of the transaction.
pub(super) fn follow(
    session: &mut Session,
    text: &Arc<Text>,
    parsed: &Parsed,
    placed: &Placed<'_>,
) {
    let shown = |sql: &String| recorded_sql(sql, &parsed.statement);
    let steps = placed.steps.iter();
    let statements = steps.flat_map(|step| std::iter::once(&step.sql).chain(&step.also));
    let mut event = Event {
        verdict: placed.judgement.verdict.as_str().into(),
        rule: placed.judgement.rule().map(|rule| rule.name.into()),
        place: Some(placed.place.into()),
        executed: statements.map(shown).collect(),
        ..event_of(session, text, parsed)
    };
    let known = known_relations(placed.facts);
    if !known.is_empty() {
        event.relations = known;
    }
    let Some(number) = session.inspector.follow() else {
        session.worker.shared.audit.record(event);
        return;
    };
    let journal = &session.worker.shared.journal;
    let entry = journal.follow_client(client_record(&event), &event);
    let text = Arc::clone(text);
    session.follow(number, Following { event, text, entry });
}

/// What is written down of a schema change in a client's own transaction.
fn client_record(event: &Event) -> Record {
    Record {
        version: VERSION,
        system: String::new(),
        database: 0,
        role: event.who.user.clone(),
        search_path: String::new(),
        who: event.who.clone(),
        tag: event.tag.clone(),
        sql: event.sql.clone(),
        what: String::new(),
        twin: None,
        online: false,
        backend: Backend {
            pid: event.who.server_pid,
            start: String::new(),
        },
        steps: Vec::new(),
        course: Course::Client { xid: None },
        outcome: None,
    }
}

/// Records what became of a schema change that went on as it came. Where that can't be told from here, whoever takes
/// it over asks the server.
pub fn record_fate(worker: &Worker, following: Following, settled: Followed) {
    let Following {
        mut event,
        text,
        entry,
    } = following;
    event.time = log::now();
    event.outcome = settled.fate.as_str().into();
    event.error = settled.error.map(|(sqlstate, message)| ErrorEntry {
        sqlstate,
        message: recorded_message(&message, &text),
    });
    match entry {
        Some(entry) if settled.fate == Fate::Unknown => drop(entry),
        Some(entry) => {
            entry.end(&event);
            worker.shared.audit.record_here(event);
        }
        None => worker.shared.audit.record(event),
    }
}
