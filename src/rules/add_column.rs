//! `ADD COLUMN` changes the catalog only, unless its default is volatile, it is generated and
//! stored, or its type is a domain with constraints: then every row and every index is written anew
//! under ACCESS EXCLUSIVE. Its CHECK reads every row, its UNIQUE builds an index.
//!
//! Recipe: the bare column with its default for new rows only; old rows in batches; then each
//! constraint by its own recipe. On 11 and later a default that isn't volatile needs none of this.
//! <https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES>

use super::alter_effects::Target;
use super::known::{family, leaves};
use super::{Action, Rule, check_constraint, foreign_key, not_null, steps, unique_constraint};
use crate::catalog::{Index, Member, Volatility};
use crate::plan::backfill::{Backfill, KeyColumn, KeyType, Order, Passes};
use crate::plan::{Check, Step, Undo};
use crate::sql::alter_table::{ColumnDefinition, ConstraintDefinition, ConstraintDefinitionKind};
use crate::sql::name::{Name, quote_identifier};

/// Every row and every index is written anew.
pub const REWRITES: Rule = Rule {
    name: "add-column-rewrite",
    hazard: "A column whose value differs from row to row is written into every row under ACCESS EXCLUSIVE, and every \
             index is built anew: every query waits until it is done.",
    remedy: "The column is added empty with its default for new rows, old rows are filled in batches, then \
             constrained.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid()",
};

/// The column comes with a constraint that reads or builds.
pub const CONSTRAINED: Rule = Rule {
    name: "add-column-constrained",
    hazard: "A CHECK, UNIQUE or PRIMARY KEY behind a new column reads the whole table under an ACCESS EXCLUSIVE lock.",
    remedy: "The column comes first, each constraint after it by its own safe way.",
    manual: "https://www.postgresql.org/docs/current/sql-altertable.html",
    action: Action::Rewrite,
    versions: "alike",
    example: "ALTER TABLE users ADD COLUMN age int CHECK (age >= 0)",
};

/// The first version in which a sequence is unlogged with its table.
const UNLOGGED_SEQUENCES: u32 = 150_000;

/// The steps in its place, or why there are none.
pub(super) fn recipe(column: &ColumnDefinition, target: &Target) -> Result<Vec<Step>, String> {
    check_possible(column, target)?;
    let mut all = Vec::new();
    let is_volatile = column
        .default
        .as_ref()
        .is_some_and(|default| target.known.volatility(default) == Volatility::Volatile);
    if column.identity.is_some() {
        identity(column, target, &mut all);
    } else if column.type_name.serial.is_some() {
        serial(column, target, &mut all);
    } else if is_volatile {
        all.push(add_with_default(
            column,
            &column.bare,
            default_of(column),
            target,
        ));
        backfill(column, target, &mut all);
    } else {
        all.push(add_plain(column, target));
    }
    let fills = column.identity.is_some() || column.type_name.serial.is_some() || is_volatile;
    if fills {
        check_updatable(target)?;
    }
    let is_primary = column.constraints.iter().any(|constraint| {
        matches!(
            constraint.kind,
            ConstraintDefinitionKind::Unique { primary: true, .. }
        )
    });
    let is_virtual = column.generated.is_some();
    let becomes_not_null = (column.not_null && (fills || is_virtual))
        || column.identity.is_some()
        || column.type_name.serial.is_some();
    if becomes_not_null && !is_primary && column.identity.is_none() {
        all.extend(not_null::recipe(
            &column.name,
            not_null_name(column, target),
            target,
        ));
    }
    if column.identity.is_some() {
        all.extend(not_null::recipe(
            &column.name,
            not_null_name(column, target),
            target,
        ));
        all.push(become_identity(column, target));
    }
    for constraint in &column.constraints {
        all.extend(constrain(constraint, target)?);
    }
    Ok(all)
}

/// The name of its NOT NULL, on servers that keep one.
fn not_null_name<'a>(column: &'a ColumnDefinition, target: &Target) -> Option<&'a str> {
    let keeps = target.known.version() >= not_null::NAMED_VERSION;
    column.not_null_name.as_deref().filter(|_| keeps)
}

/// Refuses the columns that have no safe way.
fn check_possible(column: &ColumnDefinition, target: &Target) -> Result<(), String> {
    if column
        .generated
        .as_ref()
        .is_some_and(|generated| generated.stored)
    {
        return Err(format!(
            "A stored generated column has no safe way. Add a plain column, fill it by a trigger and in batches{}.",
            if target.known.version() >= 180_000 {
                ", or make it VIRTUAL, which is computed when it is read"
            } else {
                ""
            }
        ));
    }
    if column
        .identity
        .as_ref()
        .is_some_and(|identity| identity.options.is_none())
    {
        return Err(format!(
            "An identity column whose sequence has a name, an owner or a persistence of its own has no safe way. Leave \
             that out, and ALTER the sequence of {} afterwards.",
            column.name
        ));
    }
    if target.known.is_constrained(column) {
        return Err(format!(
            "A column of the domain {0} has no safe way. Add it with the type under {0}, and the domain's \
            conditions as \
             CHECK constraints, which are then added NOT VALID and validated.",
            column.type_name.sql
        ));
    }
    if target.known.has_calling_default(column) {
        return Err(format!(
            "The default of the domain {0} may differ from row to row, and would be written into every row. Give the \
             column a DEFAULT of its own: NULL, or a constant.",
            column.type_name.sql
        ));
    }
    let heirs = &target.relation.details.descendants;
    let fills = target.known.fills_rows(column) && !target.only;
    if let Some(heir) = heirs
        .iter()
        .find(|heir| fills && heir.columns.contains(&column.name))
    {
        return Err(format!(
            "{} inherits from {} and has a column {} of its own, which would be filled as well. Add the column to each \
             table ONLY.",
            heir.qualified(),
            target.relation.qualified(),
            column.name
        ));
    }
    if demands_values(column) {
        return Err(format!(
            "The rows that are there have no value for it, and the server would refuse at the first of them. Give it a \
             DEFAULT, or add it without NOT NULL, fill it in batches, and then SET NOT NULL: ALTER TABLE {} ADD COLUMN \
             {}.",
            target.relation.qualified(),
            column.bare
        ));
    }
    Ok(())
}

/// NOT NULL with nothing to fill the rows with.
fn demands_values(column: &ColumnDefinition) -> bool {
    let has_value = column
        .default
        .as_ref()
        .is_some_and(|default| !default.is_null);
    column.not_null
        && !has_value
        && column.generated.is_none()
        && column.identity.is_none()
        && column.type_name.serial.is_none()
}

/// A published table without a key refuses every UPDATE.
fn check_updatable(target: &Target) -> Result<(), String> {
    let relation = target.relation;
    let is_key = |index: &Index| index.primary && index.schema == relation.schema; // TOAST has one too
    if !relation.details.published || relation.indexes.iter().any(is_key) {
        return Ok(());
    }
    Err(format!(
        "{} is published and has no primary key: no UPDATE gets through to fill the column. Give it a key first.",
        relation.qualified()
    ))
}

/// A constraint of the new column by its own recipe.
fn constrain(constraint: &ConstraintDefinition, target: &Target) -> Result<Vec<Step>, String> {
    match &constraint.kind {
        ConstraintDefinitionKind::Check { .. } | ConstraintDefinitionKind::NotNull { .. } => {
            Ok(check_constraint::recipe(constraint, target))
        }
        ConstraintDefinitionKind::Unique { .. } => unique_constraint::recipe(constraint, target)
            .ok_or_else(|| "WITHOUT OVERLAPS has no safe way.".to_owned()),
        ConstraintDefinitionKind::ForeignKey { .. } => Ok(foreign_key::recipe(constraint, target)),
        ConstraintDefinitionKind::UsingIndex { .. } | ConstraintDefinitionKind::Exclude => {
            Ok(Vec::new())
        }
    }
}

fn default_of(column: &ColumnDefinition) -> String {
    column
        .default
        .as_ref()
        .map_or_else(String::new, |default| default.sql.clone())
}

/// The column with everything that costs nothing.
fn add_plain(column: &ColumnDefinition, target: &Target) -> Step {
    let mut sql = format!("ADD COLUMN {}", column.bare);
    if let Some(default) = &column.default {
        sql = format!("{sql} DEFAULT {}", default.sql);
        if column.not_null {
            sql.push_str(" NOT NULL");
        }
    }
    if let Some(generated) = &column.generated {
        sql = format!(
            "{sql} GENERATED ALWAYS AS ({}) VIRTUAL",
            generated.expression.sql
        );
    }
    added(column, &sql, target)
}

fn added(column: &ColumnDefinition, actions: &str, target: &Target) -> Step {
    let quoted = quote_identifier(&column.name);
    Step {
        title: format!("add column {}", column.name),
        ..steps::alter(target, actions)
    }
    .undone_by(steps::alter_sql(target, &format!("DROP COLUMN {quoted}")))
    .checked_by(Check::ColumnExists {
        table: target.relation.qualified(),
        column: column.name.clone(),
    })
}

/// The column empty, with its default for new rows: in one statement no row is written.
fn add_with_default(
    column: &ColumnDefinition,
    bare: &str,
    default: String,
    target: &Target,
) -> Step {
    let quoted = quote_identifier(&column.name);
    // A domain's own default would be written first.
    let of_type = target.known.type_of(&column.type_name.sql);
    let none = if of_type.is_some_and(|of_type| of_type.base.is_some()) {
        " DEFAULT NULL"
    } else {
        ""
    };
    let actions = format!("ADD COLUMN {bare}{none}, ALTER COLUMN {quoted} SET DEFAULT {default}");
    added(column, &actions, target)
}

/// Old rows get the default, some at a time, leaf by leaf; then what others moved meanwhile to where
/// the filling had been.
fn backfill(column: &ColumnDefinition, target: &Target, all: &mut Vec<Step>) {
    let members = family(target.relation, target.only);
    let quoted = quote_identifier(&column.name);
    let filling = |leaf: &Member, order: Order, passes: Passes| Backfill {
        table: leaf.qualified(),
        order,
        set: format!("{quoted} = DEFAULT"),
        unfilled: format!("{quoted} IS NULL"),
        passes,
    };
    for leaf in leaves(&members) {
        all.push(Step::filling(
            format!("fill {} of {}", column.name, leaf.qualified()),
            filling(leaf, order(leaf, target), Passes::Once),
        ));
    }
    for leaf in leaves(&members) {
        all.push(Step::filling(
            format!("fill rows of {} that moved meanwhile", leaf.qualified()),
            filling(leaf, Order::Blocks, Passes::UntilNoneIsLeft),
        ));
    }
}

/// By the leaf's key, if its values can be found again by their text. Its columns have the types
/// that the table's have.
fn order(leaf: &Member, target: &Target) -> Order {
    let column = |name: &String| {
        let of_type = &target.relation.details.column(name)?.of_type;
        let oid = of_type.base.as_ref().map_or(of_type.oid, |base| base.oid);
        Some(KeyColumn {
            name: name.clone(),
            of_type: KeyType::of(oid)?,
        })
    };
    let columns: Option<Vec<KeyColumn>> = leaf.key.iter().map(column).collect();
    match columns {
        Some(columns) if !columns.is_empty() => Order::Key(columns),
        Some(_) | None => Order::Blocks,
    }
}

/// The sequence that a plan makes for a column.
fn sequence_name(column: &ColumnDefinition, target: &Target) -> Name {
    let name = steps::free_name(target, &column.name, "seq");
    Name::qualified(&target.relation.schema, name)
}

fn next_of(sequence: &Name) -> String {
    let literal = crate::sql::name::quote_literal(&sequence.to_string());
    format!("nextval({literal}::regclass)")
}

/// `kind` is `SEQUENCE`, and what may stand in front of it.
fn create_sequence(kind: &str, sequence: &Name, of_type: &str, options: &str) -> Step {
    let sql = format!("CREATE {kind} {sequence} AS {of_type} {options}");
    Step::brief(format!("create sequence {sequence}"), sql.trim_end())
        .undone_by(format!("DROP SEQUENCE IF EXISTS {sequence}"))
        .checked_by(Check::RelationExists {
            name: sequence.clone(),
        })
}

fn serial(column: &ColumnDefinition, target: &Target, all: &mut Vec<Step>) {
    let of_type = column.type_name.serial.unwrap_or("bigint");
    let sequence = sequence_name(column, target);
    let is_unlogged =
        target.relation.details.unlogged && target.known.version() >= UNLOGGED_SEQUENCES;
    let kind = if is_unlogged {
        "UNLOGGED SEQUENCE"
    } else {
        "SEQUENCE"
    };
    let mut create = create_sequence(kind, &sequence, of_type, "");
    if let Some(owner) = &target.relation.owner {
        let owner = quote_identifier(owner);
        create
            .also
            .push(format!("ALTER SEQUENCE {sequence} OWNER TO {owner}"));
    }
    all.push(create);
    let quoted = quote_identifier(&column.name);
    let bare = format!("{quoted} {of_type}");
    let mut add = add_with_default(column, &bare, next_of(&sequence), target);
    add.also.push(format!(
        "ALTER SEQUENCE {sequence} OWNED BY {}.{quoted}",
        target.relation.qualified()
    ));
    all.push(add);
    backfill(column, target, all);
}

fn identity(column: &ColumnDefinition, target: &Target, all: &mut Vec<Step>) {
    let sequence = backfill_sequence(column, target);
    let options = column
        .identity
        .as_ref()
        .and_then(|identity| identity.options.as_deref());
    let of_type = &column.type_name.sql;
    let mut create = create_sequence("SEQUENCE", &sequence, of_type, options.unwrap_or_default());
    // Whoever inserts meanwhile needs no right on the sequence of an identity column.
    create
        .also
        .push(format!("GRANT USAGE ON SEQUENCE {sequence} TO PUBLIC"));
    all.push(create);
    all.push(add_with_default(
        column,
        &column.bare,
        next_of(&sequence),
        target,
    ));
    backfill(column, target, all);
}

fn backfill_sequence(column: &ColumnDefinition, target: &Target) -> Name {
    let name = steps::free_name(target, &column.name, "backfill");
    Name::qualified(&target.relation.schema, name)
}

/// The filled column becomes an identity column, and goes on where the filling ended: in one
/// transaction.
fn become_identity(column: &ColumnDefinition, target: &Target) -> Step {
    let quoted = quote_identifier(&column.name);
    let sequence = backfill_sequence(column, target);
    let identity = column
        .identity
        .as_ref()
        .map_or_else(String::new, |identity| identity.sql.clone());
    let actions =
        format!("ALTER COLUMN {quoted} DROP DEFAULT, ALTER COLUMN {quoted} ADD {identity}");
    let table = target.relation.qualified();
    let literal = crate::sql::name::quote_literal;
    let mut step = steps::alter(target, &actions);
    step.title = format!("make {} an identity column", column.name);
    step.also.push(format!(
        "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence({}, {}), s.last_value, s.is_called) \
         FROM {sequence} s",
        literal(&table.to_string()),
        literal(&column.name),
    ));
    step.also.push(format!("DROP SEQUENCE {sequence}"));
    step.undo = Undo::Irreversible {
        why: "it is the column's last step".to_owned(),
    };
    step.check = Check::RelationIsGone { name: sequence };
    step
}
