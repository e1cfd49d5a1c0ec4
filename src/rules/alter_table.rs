//! `ALTER TABLE`: each sub-command is judged by its family; where one of them needs steps of its own
//! the statement is taken apart, in the order in which PostgreSQL itself carries sub-commands out,
//! but with what destroys at the end.

use super::alter_effects::{Target, of_action};
use super::decide::{Case, Finding, Way, as_sent, is_costly, locks_of};
use super::known::Known;
use super::{
    Action as PolicyAction, Judgement, Rule, add_column, alter_type, check_constraint, drop_column,
    drop_object, foreign_key, names, not_null, other, partition, settled, steps, table_rewrite,
    unique_constraint,
};
use crate::catalog::{
    Constraint, ConstraintKind, Depth, FactRequest, ForeignKey, Relation, RelationKind,
};
use crate::lock::LockMode;
use crate::plan::effects::Effects;
use crate::plan::{Context, Step, StepLock, Undo};
use crate::sql::alter_table::{
    Action, ActionKind, AlterTable, AttributeChange, ColumnDefinition, ConstraintDefinition,
    ConstraintDefinitionKind, Expression,
};
use crate::sql::name::quote_identifier;
use crate::sql::statement::ObjectKind;

/// A weak lock's work under a strong lock.
pub const MIXES_LOCKS: Rule = Rule {
    name: "alter-table-mixes-locks",
    hazard: "One ALTER TABLE holds the strongest of its locks for all of its sub-commands: a validation, which alone \
             stops nobody, then stops every query until it is done.",
    remedy: "It is taken apart: what reads the table runs by itself, under its own weak lock.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: PolicyAction::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users VALIDATE CONSTRAINT users_email_check, ADD COLUMN nick text",
};

/// The table, every table that a sub-command names, every type and function.
pub(super) fn facts_needed(alter: &AlterTable) -> FactRequest {
    let mut request = FactRequest {
        relations: vec![alter.relation.clone()],
        depth: Depth::Structure,
        ..FactRequest::default()
    };
    for action in &alter.actions {
        ask(&action.kind, &alter.relation.name, &mut request);
    }
    request
}

fn ask(kind: &ActionKind, table: &str, request: &mut FactRequest) {
    let candidates = |column: &str, label: &str| steps::candidates(table, column, label);
    if let ActionKind::DropColumn { .. }
    | ActionKind::SetType { .. }
    | ActionKind::DropConstraint { .. } = kind
    {
        request.depth = Depth::Full; // what depends on the column or the constraint
    }
    match kind {
        ActionKind::AddColumn { column, .. } => ask_column(column, table, request),
        ActionKind::SetType { to, .. } => request.types.push(to.sql.clone()),
        ActionKind::AddConstraint(constraint) => ask_constraint(constraint, table, request),
        ActionKind::SetNotNull { column } => {
            request.candidates.extend(candidates(column, "not_null"));
        }
        ActionKind::AttachPartition { partition, .. } => {
            request.relations.push(partition.clone());
            request.candidates.extend(candidates("", "attach"));
        }
        ActionKind::DetachPartition { partition, .. }
        | ActionKind::FinalizeDetach { partition } => request.relations.push(partition.clone()),
        ActionKind::AttachIndex { index } => request.relations.push(index.clone()),
        ActionKind::Inherit { parent } | ActionKind::NoInherit { parent } => {
            request.relations.push(parent.clone());
        }
        ActionKind::DropColumn { .. }
        | ActionKind::SetDefault { .. }
        | ActionKind::DropNotNull { .. }
        | ActionKind::ColumnStatistics
        | ActionKind::ColumnStorage
        | ActionKind::Identity { .. }
        | ActionKind::SetExpression { .. }
        | ActionKind::DropExpression { .. }
        | ActionKind::DropConstraint { .. }
        | ActionKind::ValidateConstraint { .. }
        | ActionKind::AlterConstraint { .. }
        | ActionKind::SetLogged { .. }
        | ActionKind::SetTablespace { .. }
        | ActionKind::SetAccessMethod { .. }
        | ActionKind::SetOptions { .. }
        | ActionKind::ClusterMark
        | ActionKind::DropOids
        | ActionKind::OfType
        | ActionKind::ReplicaIdentity { .. }
        | ActionKind::RowSecurity { .. }
        | ActionKind::Trigger
        | ActionKind::Rule
        | ActionKind::OwnerTo
        | ActionKind::ForeignOptions
        | ActionKind::Attribute { .. }
        | ActionKind::Unknown => {}
    }
}

/// What must be known of a new column.
pub(super) fn ask_column(column: &ColumnDefinition, table: &str, request: &mut FactRequest) {
    if column.type_name.serial.is_none() {
        request.types.push(column.type_name.sql.clone());
    }
    if let Some(default) = &column.default {
        ask_functions(default, request);
    }
    for label in ["not_null", "seq", "backfill"] {
        request
            .candidates
            .extend(steps::candidates(table, &column.name, label));
    }
    for constraint in &column.constraints {
        ask_constraint(constraint, table, request);
    }
}

fn ask_functions(expression: &Expression, request: &mut FactRequest) {
    request
        .functions
        .extend(expression.functions.iter().cloned());
}

/// What must be known of a new constraint.
pub(super) fn ask_constraint(
    constraint: &ConstraintDefinition,
    table: &str,
    request: &mut FactRequest,
) {
    let mut names = |column: &str, label: &str| {
        request
            .candidates
            .extend(steps::candidates(table, column, label));
    };
    match &constraint.kind {
        ConstraintDefinitionKind::Check { expression, .. } => {
            let column = check_constraint::only_one(&expression.columns);
            names(column.unwrap_or_default(), "check");
        }
        ConstraintDefinitionKind::NotNull { column } => names(column, "not_null"),
        ConstraintDefinitionKind::Unique {
            primary,
            columns,
            include,
            ..
        } => {
            if *primary {
                names("", "pkey");
                columns.iter().for_each(|column| names(column, "not_null"));
            } else {
                names(&unique_constraint::joined(columns, include), "key");
            }
        }
        ConstraintDefinitionKind::ForeignKey {
            columns,
            referenced,
            ..
        } => {
            names(&columns.join("_"), "fkey");
            request.relations.push(referenced.clone());
        }
        ConstraintDefinitionKind::UsingIndex { .. } | ConstraintDefinitionKind::Exclude => {}
    }
}

/// Judges `ALTER TABLE`.
pub(super) fn judge(alter: &AlterTable, source: &str, known: Known) -> Judgement {
    // What isn't there, and what isn't ours, the server refuses before it takes a lock.
    let Some(relation) = known
        .relation(&alter.relation)
        .filter(|relation| relation.owned)
    else {
        return other::judge(alter.tag, alter.scope(), source);
    };
    if !known.has_all() {
        return other::judge(alter.tag, alter.scope(), source);
    }
    let target = Target {
        known,
        relation,
        only: alter.only,
    };
    let named = names::given(alter, &target);
    let alter = &named;
    let reduced = with_new_constraints(alter, without_dropped_checks(alter, relation));
    let after_drops = Target {
        relation: &reduced,
        ..target
    };
    let mut effects = Effects::none();
    let mut findings = Vec::new();
    // The server drops first.
    let is_refused = alter
        .actions
        .iter()
        .any(|action| drop_column::is_refused(&action.kind, relation));
    for action in &alter.actions {
        let own = match &action.kind {
            ActionKind::DropConstraint { .. } => of_action(&action.kind, &target),
            _ => of_action(&action.kind, &after_drops),
        };
        let nothing = match alter.object {
            ObjectKind::Table => settled::settled(&action.kind, &target),
            _ => None, // the server refuses an ALTER VIEW of a table
        };
        let is_doomed =
            is_refused || alter.actions.len() == 1 && settled::is_refused(&action.kind, &target);
        findings.push(match nothing {
            Some(nothing) => nothing,
            None if is_doomed => Finding::harmless(),
            None => find(action, &own, &target),
        });
        effects.add(own);
    }
    known.forget_own(&mut effects);
    if is_costly(&effects, known) {
        take_weak_ones_out(alter, &after_drops, &mut findings);
    }
    if relation.extension.is_some() {
        keep_off(relation, &mut findings);
    }
    if let Some(finding) = partition::pending(alter, relation)
        && let Some(first) = findings.first_mut()
    {
        *first = finding;
    }
    let step = step_as_sent(alter, source, &effects, &target);
    let case = Case {
        known,
        tag: alter.tag,
        note: what_cascades(alter, relation),
        effects,
        as_sent: step,
        findings,
    };
    case.decide(|findings| compose(alter, findings, &target))
}

/// The statement itself, as a step.
fn step_as_sent(alter: &AlterTable, source: &str, effects: &Effects, target: &Target<'_>) -> Step {
    let mut step = as_sent(alter.tag, source, effects);
    step.lock_first = order_of_locks(alter, target);
    if alter.scope() != crate::sql::statement::Scope::Concurrent {
        return step;
    }
    step.context = Context::Concurrent { clear: None };
    match alter.actions.as_slice() {
        [action] => match &action.kind {
            ActionKind::DetachPartition { partition, .. } => {
                partition::finished_if_half_done(step, partition, target)
            }
            _ => step,
        },
        _ => step,
    }
}

/// One ALTER TABLE holds the strongest of its locks for all of its sub-commands: what reads the
/// table under a lock that stops nobody gets a step of its own.
fn take_weak_ones_out(alter: &AlterTable, target: &Target, findings: &mut [Finding]) {
    for (action, finding) in alter.actions.iter().zip(findings) {
        let effects = of_action(&action.kind, target);
        let is_weak = effects.strongest() < Some(LockMode::Share);
        if effects.takes_long() && is_weak && matches!(finding.way, Way::AsSent) {
            let step = Step {
                context: Context::Long,
                locks: locks_of(&effects),
                ..steps::alter(target, &action.sql)
            };
            *finding = Finding::of(&MIXES_LOCKS, Way::Steps(vec![step]));
        }
    }
}

/// The table without the CHECKs that the statement drops: that comes first, so they prove nothing.
fn without_dropped_checks(alter: &AlterTable, relation: &Relation) -> Relation {
    let mut reduced = relation.clone();
    for action in &alter.actions {
        if let ActionKind::DropConstraint { name, .. } = &action.kind {
            let is_dropped =
                |one: &Constraint| one.kind == ConstraintKind::Check && one.name == *name;
            reduced.details.constraints.retain(|one| !is_dropped(one));
        }
    }
    reduced
}

/// The table with the constraints that the statement adds NOT VALID, which it may validate too.
fn with_new_constraints(alter: &AlterTable, mut relation: Relation) -> Relation {
    let validates = |name: &String| {
        let mut kinds = alter.actions.iter().map(|action| &action.kind);
        kinds
            .any(|kind| matches!(kind, ActionKind::ValidateConstraint { name: own } if own == name))
    };
    for action in &alter.actions {
        let ActionKind::AddConstraint(new) = &action.kind else {
            continue;
        };
        if let Some(name) = new.name.as_ref().filter(|name| validates(name)) {
            relation.details.constraints.push(Constraint {
                name: name.clone(),
                kind: ConstraintKind::Other,
                validated: false,
                columns: Vec::new(),
                definition: new.body.clone(),
                expression: None,
                index: None,
                references: None,
                inherited: false,
            });
        }
    }
    relation
}

/// Whether CASCADE takes foreign keys that rest on a constraint of a table that isn't small.
fn drops_keys_of_others(name: &str, target: &Target) -> bool {
    let details = &target.relation.details;
    let index = details.constraint(name).and_then(|own| own.index.as_ref());
    let rests = |key: &ForeignKey| key.index.is_some() && key.index.as_ref() == index;
    !target.known.is_small(target.relation) && details.referenced_by.iter().any(rests)
}

/// What CASCADE takes with columns and constraints, in words.
fn what_cascades(alter: &AlterTable, relation: &Relation) -> String {
    let details = &relation.details;
    let mut goes = Vec::new();
    for action in &alter.actions {
        match &action.kind {
            ActionKind::DropColumn {
                column,
                cascade: true,
                ..
            } => goes.extend(drop_object::that_use(details, Some(column), None)),
            ActionKind::DropConstraint {
                name,
                cascade: true,
                ..
            } => {
                let index = details.constraint(name).and_then(|own| own.index.as_ref());
                let index = index.map_or("", String::as_str);
                goes.extend(drop_object::that_use(details, None, Some(index)));
            }
            _ => {}
        }
    }
    drop_object::in_words(goes)
}

/// What an extension manages is never taken apart.
fn keep_off(relation: &Relation, findings: &mut [Finding]) {
    for finding in findings {
        if matches!(finding.way, Way::Steps(_)) {
            finding.way = Way::Impossible(format!(
                "{} is managed by an extension: use that extension's own way.",
                relation.qualified()
            ));
        }
    }
}

/// Foreign keys are locked parent first; on their own, so that nothing stronger is asked for later.
fn order_of_locks(alter: &AlterTable, target: &Target) -> Vec<StepLock> {
    let [action] = alter.actions.as_slice() else {
        return Vec::new();
    };
    match &action.kind {
        ActionKind::AddConstraint(constraint) => match &constraint.kind {
            ConstraintDefinitionKind::ForeignKey { referenced, .. }
                if target.known.relation(referenced).is_some()
                    && target.relation.kind == RelationKind::Table =>
            {
                foreign_key::locks(referenced, target)
            }
            ConstraintDefinitionKind::ForeignKey { .. }
            | ConstraintDefinitionKind::Check { .. }
            | ConstraintDefinitionKind::NotNull { .. }
            | ConstraintDefinitionKind::Unique { .. }
            | ConstraintDefinitionKind::UsingIndex { .. }
            | ConstraintDefinitionKind::Exclude => Vec::new(),
        },
        ActionKind::DropConstraint { name, .. } => {
            let found = target.relation.details.constraint(name);
            let referenced = found.and_then(|found| found.references.as_ref());
            referenced.map_or_else(Vec::new, |referenced| {
                [referenced.qualified(), target.relation.qualified()]
                    .into_iter()
                    .map(|relation| StepLock {
                        relation,
                        mode: LockMode::AccessExclusive,
                    })
                    .collect()
            })
        }
        _ => Vec::new(),
    }
}

/// What a family says about one sub-command.
fn find(action: &Action, effects: &Effects, target: &Target) -> Finding {
    let costly = is_costly(effects, target.known);
    match &action.kind {
        ActionKind::AddColumn { column, .. } if costly => {
            let rule = if target.known.fills_rows(column) {
                &add_column::REWRITES
            } else {
                &add_column::CONSTRAINED
            };
            Finding::of(rule, way(add_column::recipe(column, target)))
        }
        ActionKind::DropColumn { column, .. } => drop_column::find(column, &action.sql, target),
        ActionKind::SetNotNull { column } if costly => {
            Finding::of(&not_null::SCANS, way(not_null::way(column, target)))
        }
        ActionKind::SetType { column, .. } if costly => Finding::of(
            &alter_type::REWRITES,
            Way::Impossible(alter_type::advice(column, &action.kind, target)),
        ),
        ActionKind::AddConstraint(constraint) => {
            constraint_finding(constraint, action, costly, target)
        }
        ActionKind::AttachPartition { partition, bound } if costly => {
            let recipe = partition::attach_recipe(partition, bound, &action.sql, target);
            Finding::of(&partition::ATTACH_SCANS, way(recipe))
        }
        ActionKind::DetachPartition {
            partition,
            concurrently: false,
        } => match partition::detach_recipe(partition, target) {
            Some(mut steps) if !target.known.is_small(target.relation) => {
                let bound = partition::drop_left_bound(partition, target);
                if let (Some(Undo::Finish(finish)), Some(bound)) =
                    (steps.last_mut().map(|step| &mut step.undo), &bound)
                {
                    finish.also.push(bound.sql.clone());
                }
                steps.extend(bound);
                Finding::of(&partition::DETACH_BLOCKS, Way::Steps(steps))
            }
            _ => Finding::harmless(),
        },
        ActionKind::Attribute { .. } if costly => Finding::of(
            &alter_type::REWRITES,
            Way::Impossible(alter_type::REWRITES.remedy.to_owned()),
        ),
        ActionKind::DropConstraint {
            name,
            cascade: true,
            ..
        } if drops_keys_of_others(name, target) => Finding::as_sent(&drop_object::TAKES_MORE),
        kind if costly => table_rewrite::finding(kind),
        ActionKind::RowSecurity { hides: true }
            if !target.known.is_small(target.relation) && !target.relation.details.has_policies =>
        {
            Finding::as_sent(&other::ROW_SECURITY)
        }
        ActionKind::Attribute {
            change: AttributeChange::Drop,
            ..
        } => Finding::as_sent(&drop_column::BREAKS_CLIENTS),
        _ => Finding::harmless(),
    }
}

fn way(recipe: Result<Vec<Step>, String>) -> Way {
    match recipe {
        Ok(steps) => Way::Steps(steps),
        Err(advice) => Way::Impossible(advice),
    }
}

fn constraint_finding(
    constraint: &ConstraintDefinition,
    action: &Action,
    costly: bool,
    target: &Target,
) -> Finding {
    if !costly {
        return Finding::harmless();
    }
    match &constraint.kind {
        ConstraintDefinitionKind::Check { .. } => Finding::of(
            &check_constraint::SCANS,
            Way::Steps(check_constraint::recipe(constraint, target)),
        ),
        ConstraintDefinitionKind::NotNull { column } => Finding::of(
            &not_null::SCANS,
            Way::Steps(not_null::recipe_of(
                column,
                constraint.name.as_deref(),
                if constraint.body.ends_with(" NO INHERIT") {
                    " NO INHERIT"
                } else {
                    ""
                },
                target,
            )),
        ),
        ConstraintDefinitionKind::Unique { .. } => Finding::of(
            &unique_constraint::BUILDS,
            unique_constraint::recipe(constraint, target).map_or_else(
                || {
                    Way::Impossible(
                        "WITHOUT OVERLAPS rests on a GiST index, which no constraint can take over: do it in a window."
                            .to_owned(),
                    )
                },
                Way::Steps,
            ),
        ),
        ConstraintDefinitionKind::UsingIndex { .. } => Finding::of(
            &unique_constraint::USING_INDEX_SCANS,
            Way::Steps(unique_constraint::using_index_recipe(
                constraint,
                &action.sql,
                target,
            )),
        ),
        ConstraintDefinitionKind::Exclude => Finding::of(
            &unique_constraint::EXCLUDES,
            Way::Impossible(unique_constraint::EXCLUDES.remedy.to_owned()),
        ),
        ConstraintDefinitionKind::ForeignKey { .. } => Finding::of(
            &foreign_key::SCANS,
            Way::Steps(foreign_key::recipe(constraint, target)),
        ),
    }
}

/// PostgreSQL's own order of sub-commands (`AlterTablePass` of `src/backend/commands/tablecmds.c`),
/// but what destroys comes last.
fn pass(kind: &ActionKind) -> u8 {
    match kind {
        ActionKind::SetType { .. } => 0,
        ActionKind::AddColumn { .. } => 1,
        ActionKind::SetExpression { .. } | ActionKind::DropNotNull { .. } => 2,
        ActionKind::SetDefault { .. }
        | ActionKind::SetNotNull { .. }
        | ActionKind::ColumnStatistics
        | ActionKind::ColumnStorage
        | ActionKind::Identity { .. } => 3,
        ActionKind::AddConstraint(_) => 4,
        ActionKind::ValidateConstraint { .. } => 6,
        ActionKind::DropColumn { .. }
        | ActionKind::DropConstraint { .. }
        | ActionKind::DropExpression { .. } => 7,
        _ => 5,
    }
}

/// The steps of all sub-commands; those that need none of their own stay together.
fn compose(alter: &AlterTable, findings: &[Finding], target: &Target) -> Result<Vec<Step>, String> {
    if alter.actions.len() != findings.len() {
        return Err("The statement can't be taken apart: send its parts one by one.".to_owned());
    }
    if replaces(alter) {
        return Err(
            "It drops something and adds something of the same name: send its parts one by one."
                .to_owned(),
        );
    }
    let mut parts: Vec<(&Action, &Finding)> = alter.actions.iter().zip(findings).collect();
    parts.sort_by_key(|(action, _)| pass(&action.kind));
    let mut all: Vec<Step> = Vec::new();
    let mut together: Vec<&Action> = Vec::new();
    for (action, finding) in parts {
        match &finding.way {
            Way::Nothing(_) => {}
            Way::Impossible(advice) => return Err(advice.clone()),
            Way::AsSent if matches!(action.kind, ActionKind::ValidateConstraint { .. }) => {
                flush(&mut together, &mut all, target);
                all.push(Step {
                    context: Context::Long,
                    locks: locks_of(&of_action(&action.kind, target)),
                    ..steps::alter(target, &action.sql)
                });
            }
            Way::AsSent => {
                if together
                    .iter()
                    .any(|other| is_last(&other.kind) != is_last(&action.kind))
                {
                    flush(&mut together, &mut all, target);
                }
                together.push(action);
            }
            Way::Steps(steps) => {
                flush(&mut together, &mut all, target);
                all.extend(steps.iter().cloned());
            }
        }
    }
    flush(&mut together, &mut all, target);
    Ok(all)
}

fn is_last(kind: &ActionKind) -> bool {
    pass(kind) == 7
}

/// Sub-commands that stay together become one step.
fn flush(together: &mut Vec<&Action>, all: &mut Vec<Step>, target: &Target) {
    if together.is_empty() {
        return;
    }
    let actions: Vec<&str> = together.iter().map(|action| action.sql.as_str()).collect();
    let undo: Option<Vec<String>> = together
        .iter()
        .rev()
        .map(|action| undo_of(&action.kind, target))
        .collect();
    let mut effects = Effects::none();
    for action in together.iter() {
        effects.add(of_action(&action.kind, target));
    }
    let mut step = Step {
        locks: locks_of(&effects),
        takes_long: effects.takes_long(),
        ..steps::alter(target, &actions.join(", "))
    };
    step.undo = match undo {
        Some(undo) => Undo::Sql(steps::alter_sql(target, &undo.join(", "))),
        None => Undo::Irreversible {
            why: "what it changes isn't kept".to_owned(),
        },
    };
    all.push(step);
    together.clear();
}

/// The sub-command that takes one back; `None` where that would read, build or lose something.
fn undo_of(kind: &ActionKind, target: &Target) -> Option<String> {
    match kind {
        ActionKind::AddColumn { column, .. } => {
            Some(format!("DROP COLUMN {}", quote_identifier(&column.name)))
        }
        ActionKind::AddConstraint(constraint) => {
            let name = constraint.name.as_ref()?;
            Some(format!("DROP CONSTRAINT {}", quote_identifier(name)))
        }
        ActionKind::SetDefault { column, .. } => {
            let quoted = quote_identifier(column);
            let default = &target.relation.details.column(column)?.default;
            Some(match default {
                Some(default) => format!("ALTER COLUMN {quoted} SET DEFAULT {default}"),
                None => format!("ALTER COLUMN {quoted} DROP DEFAULT"),
            })
        }
        ActionKind::SetNotNull { column } => Some(format!(
            "ALTER COLUMN {} DROP NOT NULL",
            quote_identifier(column)
        )),
        _ => None,
    }
}

/// Whether a name is dropped and added in one statement.
fn replaces(alter: &AlterTable) -> bool {
    let added = |kind: &ActionKind| match kind {
        ActionKind::AddColumn { column, .. } => Some(column.name.clone()),
        ActionKind::AddConstraint(constraint) => constraint.name.clone(),
        _ => None,
    };
    let dropped = |kind: &ActionKind| match kind {
        ActionKind::DropColumn { column, .. } => Some(column.clone()),
        ActionKind::DropConstraint { name, .. } => Some(name.clone()),
        _ => None,
    };
    let kinds = || alter.actions.iter().map(|action| &action.kind);
    let new: Vec<String> = kinds().filter_map(added).collect();
    kinds().filter_map(dropped).any(|name| new.contains(&name))
}
