//! Conditions of CHECK constraints, as the catalog prints them or as a user writes them: what they
//! prove, and whether two are the same.

use pg_query::protobuf::{self, AExprKind, BoolExprType, NullTestType, a_const};
use pg_query::{Node, NodeEnum, ParserOptions};
use serde_json::Value;

use super::super::alter_table::{ActionKind, ConstraintDefinition, ConstraintDefinitionKind};
use super::super::lexer::LexicalMode;
use super::super::statement::Statement;
use super::{inner, source, strings};

/// Whether a condition proves to the server that a column holds no NULL, so that SET NOT NULL scans
/// nothing (`ConstraintImpliedByRelConstraint` of `src/backend/commands/tablecmds.c`): `c IS NOT
/// NULL`, `NOT c IS NULL`, one of these `= true`, one of them `AND` anything, `OR false`. It says no
/// where it isn't sure. A column of a composite type is never proven by these; that is for the caller
/// to know. A whole definition (`CHECK (…)`) will do as well, unless it is NOT VALID.
pub fn implies_not_null(condition: &str, column: &str) -> bool {
    let condition = match check(condition) {
        Some(constraint) if constraint.not_valid || constraint.not_enforced => return false,
        Some(constraint) => condition_in(constraint),
        None => Some(condition.to_owned()),
    };
    condition
        .and_then(|condition| read(&condition))
        .is_some_and(|node| proves(&node, column))
}

/// Whether two conditions are the same, but for parentheses, casts of literals, which one of them may
/// leave out, qualification of columns, `IN` for `= ANY`, and the order of what is joined by AND.
pub fn same_condition(a: &str, b: &str) -> bool {
    let shape = |text: &str| {
        let mut shape = source::shape(&read(text)?)?;
        simplify(&mut shape);
        Some(shape)
    };
    match (shape(a), shape(b)) {
        (Some(a), Some(b)) => same(&a, &b),
        (None, _) | (_, None) => false,
    }
}

/// The condition of `CHECK (…) [NO INHERIT] [NOT VALID]`, without parentheses around it.
pub fn conditions_of(constraint_definition: &str) -> Option<String> {
    condition_in(check(constraint_definition)?)
}

fn check(definition: &str) -> Option<ConstraintDefinition> {
    let front = definition.trim_start().get(..5)?;
    if !front.eq_ignore_ascii_case("check") {
        return None;
    }
    let sql = format!("ALTER TABLE x ADD {definition}");
    let mut statements = super::parse(&sql, LexicalMode::default()).ok()?;
    let only = statements.pop().filter(|_| statements.is_empty())?;
    let Statement::AlterTable(mut alter) = only.statement else {
        return None;
    };
    match alter
        .actions
        .pop()
        .filter(|_| alter.actions.is_empty())?
        .kind
    {
        ActionKind::AddConstraint(constraint) => Some(constraint),
        _ => None,
    }
}

fn condition_in(constraint: ConstraintDefinition) -> Option<String> {
    match constraint.kind {
        ConstraintDefinitionKind::Check { expression, .. } => Some(expression.sql),
        _ => None,
    }
}

/// Reads a condition, and nothing but one.
fn read(condition: &str) -> Option<NodeEnum> {
    let sql = format!("SELECT ({condition}\n)");
    let mut parsed = pg_query::parse(&sql, ParserOptions::DEFAULT).ok()?.protobuf;
    let only = parsed.stmts.pop().filter(|_| parsed.stmts.is_empty())?;
    let Some(NodeEnum::SelectStmt(mut select)) = only.stmt?.node else {
        return None;
    };
    let targets = std::mem::take(&mut select.target_list);
    let plain = protobuf::SelectStmt {
        limit_option: select.limit_option,
        op: select.op,
        ..protobuf::SelectStmt::default()
    };
    let [
        Node {
            node: Some(NodeEnum::ResTarget(target)),
        },
    ] = targets.as_slice()
    else {
        return None;
    };
    let is_plain = *select == plain && target.name.is_empty() && target.indirection.is_empty();
    target.val.as_deref()?.node.clone().filter(|_| is_plain)
}

fn proves(node: &NodeEnum, column: &str) -> bool {
    let arm = |node: &Node| inner(Some(node)).is_some_and(|node| proves(node, column));
    match node {
        NodeEnum::NullTest(test) => {
            test.nulltesttype() == NullTestType::IsNotNull && is_column(test.arg.as_deref(), column)
        }
        NodeEnum::BoolExpr(expr) => match expr.boolop() {
            BoolExprType::AndExpr => expr.args.iter().any(arm),
            BoolExprType::OrExpr => {
                let mut left = expr.args.iter().filter(|arg| literal(arg) != Some(false));
                left.next().is_some_and(arm) && left.next().is_none()
            }
            BoolExprType::NotExpr => match expr.args.first().and_then(|arg| inner(Some(arg))) {
                Some(NodeEnum::NullTest(test)) => {
                    test.nulltesttype() == NullTestType::IsNull
                        && is_column(test.arg.as_deref(), column)
                }
                _ => false,
            },
            BoolExprType::Undefined => false,
        },
        NodeEnum::AExpr(expr) if expr.kind() == AExprKind::AexprOp => {
            let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
                return false;
            };
            let name = strings(&expr.name);
            let is_equal = matches!(
                name.iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .as_slice(),
                ["="] | ["pg_catalog", "="]
            );
            is_equal
                && (literal(right) == Some(true) && arm(left)
                    || literal(left) == Some(true) && arm(right))
        }
        _ => false,
    }
}

fn is_column(node: Option<&Node>, column: &str) -> bool {
    match inner(node) {
        Some(NodeEnum::ColumnRef(reference)) => {
            let parts = strings(&reference.fields);
            parts.len() == reference.fields.len() && parts.last().is_some_and(|name| name == column)
        }
        _ => false,
    }
}

/// `true` or `false`.
fn literal(node: &Node) -> Option<bool> {
    match inner(Some(node))? {
        NodeEnum::AConst(constant) if !constant.isnull => match constant.val.as_ref()? {
            a_const::Val::Boolval(boolean) => Some(boolean.boolval),
            a_const::Val::Ival(_)
            | a_const::Val::Fval(_)
            | a_const::Val::Sval(_)
            | a_const::Val::Bsval(_) => None,
        },
        _ => None,
    }
}

/// Brings what may be written in several ways into one, everywhere in a tree.
fn simplify(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                simplify(value);
                match key.as_str() {
                    "ColumnRef" => keep_last(value, "fields"),
                    "TypeName" | "type_name" => drop_catalog(value, "names"),
                    "AExpr" => {
                        drop_catalog(value, "name");
                        any_for_in(value);
                    }
                    "BoolExpr" => flatten(value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn list<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    value.get_mut(key)?.as_array_mut()
}

fn keep_last(value: &mut Value, key: &str) {
    if let Some(items) = list(value, key) {
        let all_but_last = items.len().saturating_sub(1);
        items.drain(..all_but_last);
    }
}

fn drop_catalog(value: &mut Value, key: &str) {
    if let Some(items) = list(value, key)
        && items.len() == 2
        && text(items.first()) == Some("pg_catalog")
    {
        items.remove(0);
    }
}

/// The text of a String node.
fn text(node: Option<&Value>) -> Option<&str> {
    node?.get("node")?.get("String")?.get("sval")?.as_str()
}

/// `a IN (…)` is `a = ANY (ARRAY[…])`, `a NOT IN (…)` is `a <> ALL (ARRAY[…])`.
fn any_for_in(value: &mut Value) {
    let number = |kind: AExprKind| Value::from(i32::from(kind));
    if value.get("kind") != Some(&number(AExprKind::AexprIn)) {
        return;
    }
    let operator = value.get("name").and_then(|name| name.get(0));
    let kind = match text(operator) {
        Some("=") => AExprKind::AexprOpAny,
        Some("<>") => AExprKind::AexprOpAll,
        _ => return,
    };
    let items = value
        .pointer("/rexpr/node/List/items")
        .and_then(Value::as_array);
    let Some(items) = items.cloned() else {
        return;
    };
    let array = source::shape(&NodeEnum::AArrayExpr(protobuf::AArrayExpr::default()));
    if let (Some(mut array), Some(fields)) = (array, value.as_object_mut()) {
        if let Some(elements) = array.pointer_mut("/AArrayExpr/elements") {
            *elements = Value::Array(items);
        }
        fields.insert("kind".to_owned(), number(kind));
        fields.insert("rexpr".to_owned(), serde_json::json!({ "node": array }));
    }
}

/// Takes ANDs within an AND out of it; an OR likewise.
fn flatten(value: &mut Value) {
    let operator = value.get("boolop").cloned();
    let Some(args) = list(value, "args") else {
        return;
    };
    let mut flat = Vec::new();
    for arg in args.drain(..) {
        let same_operator = arg.pointer("/node/BoolExpr/boolop") == operator.as_ref();
        let nested = arg.pointer("/node/BoolExpr/args").and_then(Value::as_array);
        match nested {
            Some(nested) if same_operator && nested.len() > 1 => flat.extend(nested.clone()),
            _ => flat.push(arg),
        }
    }
    *args = flat;
}

/// Compares simplified trees.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            match (cast_literal(a), cast_literal(b)) {
                (Some(literal), None) => return same(literal, b),
                (None, Some(literal)) => return same(a, literal),
                (Some(_), Some(_)) | (None, None) => {}
            }
            if let (Some(left), Some(right)) = (and_arms(a), and_arms(b)) {
                return same_arms(left, right);
            }
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}

/// The literal in a node that is a cast of one.
fn cast_literal(node: &Value) -> Option<&Value> {
    let arg = node.pointer("/node/TypeCast/arg")?;
    arg.pointer("/node/AConst").map(|_| arg)
}

fn and_arms(node: &Value) -> Option<&Vec<Value>> {
    let expr = node.get("BoolExpr")?;
    let is_and = expr.get("boolop") == Some(&Value::from(i32::from(BoolExprType::AndExpr)));
    expr.get("args")?.as_array().filter(|_| is_and)
}

fn same_arms(left: &[Value], right: &[Value]) -> bool {
    let mut right: Vec<&Value> = right.iter().collect();
    left.len() == right.len()
        && left.iter().all(|arm| {
            let found = right.iter().position(|other| same(arm, other));
            found.map(|at| right.swap_remove(at)).is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_that_a_column_is_not_null() {
        for condition in [
            "c IS NOT NULL",
            "(c IS NOT NULL)",
            "CHECK ((c IS NOT NULL))",
            "CHECK ((c IS NOT NULL)) NO INHERIT",
            "NOT (c IS NULL)",
            "NOT c IS NULL",
            "(c IS NOT NULL) = true",
            "((t.c IS NOT NULL) = true)",
            "true = (c IS NOT NULL)",
            "((c IS NOT NULL) AND (c > 0))",
            "a > 0 AND (b > 0 AND NOT c IS NULL)",
            "(c IS NOT NULL) OR false",
            "false or c is not null or false",
        ] {
            assert!(implies_not_null(condition, "c"), "{condition}");
        }
        assert!(implies_not_null("\"C d\" is not null", "C d"));
        for condition in [
            "c > 0",
            "coalesce(c, 0) <> 0",
            "c IS NOT NULL OR d IS NOT NULL",
            "c IS NULL",
            "NOT (c IS NOT NULL)",
            "NOT (c IS NULL AND d IS NULL)",
            "(c IS NOT NULL) = false",
            "(c IS NOT NULL) <> true",
            "(c IS NOT NULL) OR true",
            "(c IS NOT NULL) OR NULL",
            "(c IS NOT NULL) IS NOT FALSE",
            "d IS NOT NULL",
            "(c).d IS NOT NULL",
            "lower(c) IS NOT NULL",
            "c.* IS NOT NULL",
            "CHECK ((c IS NOT NULL)) NOT VALID",
            "CHECK ((c IS NOT NULL)) NOT ENFORCED",
            "CASE WHEN true THEN c IS NOT NULL END",
            "c IS NOT NULL) FROM (SELECT 1",
            "c IS NOT NULL), (true",
            "false OR false",
            "",
            "c IS NOT NULL -- \n, true",
            "not sql at all",
        ] {
            assert!(!implies_not_null(condition, "c"), "{condition}");
        }
        assert!(!implies_not_null("\"C\" is not null", "c"));
    }

    #[test]
    fn what_is_the_same_condition() {
        for (a, b) in [
            ("c > 0", "((c) > (0))"),
            ("c = 'x'", "(t.c = 'x'::text)"),
            (
                "a > 1 and b > 2 and c > 3",
                "((c > 3) AND (b > 2)) AND (a > 1)",
            ),
            ("a in (1, 2)", "(a = ANY (ARRAY[1, 2]))"),
            (
                "a not in ('x', 'y')",
                "(a <> ALL (ARRAY['x'::text, 'y'::text]))",
            ),
            ("a = '1'::int", "a = '1'::pg_catalog.int4"),
            ("a > 1 or b > 1 or c", "(a > 1 or b > 1) or c"),
        ] {
            assert!(same_condition(a, b), "{a} {b}");
            assert!(same_condition(b, a), "{b} {a}");
        }
        for (a, b) in [
            ("c > 0", "c >= 0"),
            ("c = 'x'::text", "c = 'x'::name"),
            ("a and b and b", "a and a and b"),
            ("a or b", "b or a"),
            ("a - (b - c) > 0", "a - b - c > 0"),
            ("a in (1, 2)", "a not in (1, 2)"),
            ("c::text = 'x'", "c = 'x'"),
            ("a", "b"),
            ("", ""),
        ] {
            assert!(!same_condition(a, b), "{a} {b}");
        }
    }

    #[test]
    fn conditions_are_taken_out_of_definitions() {
        for (definition, condition) in [
            ("CHECK ((a > 0))", Some("a > 0")),
            ("CHECK ((a > 0)) NOT VALID", Some("a > 0")),
            ("check (a > 0) no inherit not valid", Some("a > 0")),
            ("CHECK ((f(')') IS NULL))", Some("f(')') IS NULL")),
            ("UNIQUE (a)", None),
            ("CHECK (a), DROP COLUMN b", None),
            ("CHECK (a); DROP TABLE b", None),
            ("é", None),
        ] {
            assert_eq!(
                conditions_of(definition).as_deref(),
                condition,
                "{definition}"
            );
        }
    }
}
