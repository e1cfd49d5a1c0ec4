use super::*;
use crate::catalog::{Relation, assumed};
use crate::sql::alter_table::{
    Action, ActionKind, AlterTable, ConstraintDefinition, ConstraintDefinitionKind, Expression,
};
use crate::sql::classify::{Classified, LexicalSettings, classify};

fn full(name: &str) -> FactRequest {
    FactRequest {
        relations: vec![Name::unqualified(name)],
        depth: Depth::Full,
        ..FactRequest::default()
    }
}

fn look(shadow: &Shadow, name: &str) -> Option<Relation> {
    shadow.answer(&full(name)).relations.pop().flatten()
}

fn run(shadow: &mut Shadow, sql: &str) {
    if let Classified::Interesting(text) = classify(sql.as_bytes(), LexicalSettings::default())
        && let Some(parsed) = text.only_statement()
    {
        shadow.apply(&parsed.statement);
    }
}

fn alter(shadow: &mut Shadow, table: &str, kinds: Vec<ActionKind>) {
    let action = |kind| Action {
        kind,
        sql: String::new(),
    };
    shadow.apply(&Statement::AlterTable(AlterTable {
        tag: "ALTER TABLE",
        object: ObjectKind::Table,
        relation: Name::unqualified(table),
        only: false,
        if_exists: false,
        actions: kinds.into_iter().map(action).collect(),
    }));
}

fn constraint(kind: ConstraintDefinitionKind, body: &str, not_valid: bool) -> ActionKind {
    ActionKind::AddConstraint(ConstraintDefinition {
        name: None,
        kind,
        not_valid,
        not_enforced: false,
        body: body.to_owned(),
    })
}

fn check(column: &str, not_valid: bool) -> ActionKind {
    let expression = Expression {
        sql: format!("{column} IS NOT NULL"),
        columns: vec![column.to_owned()],
        ..Expression::default()
    };
    let kind = ConstraintDefinitionKind::Check {
        expression,
        no_inherit: false,
    };
    constraint(kind, &format!("CHECK ({column} IS NOT NULL)"), not_valid)
}

#[test]
fn what_is_unknown_is_taken_for_the_worst() {
    let mut shadow = Shadow::assuming(SessionFacts::default());
    let found = look(&shadow, "users");
    assert_eq!(found, Some(assumed(&Name::unqualified("users"))));
    run(&mut shadow, "CREATE INDEX users_a ON users (a)");
    let found = look(&shadow, "users").filter(|users| users.assumed && users.indexes.len() == 1);
    assert!(found.is_some());
    let drop = Statement::DropIndex(crate::sql::statement::DropIndex {
        concurrently: false,
        if_exists: false,
        cascade: false,
        indexes: vec![Name::unqualified("other")],
    });
    let request = FactRequest {
        relations: vec![Name::unqualified("other")],
        ..FactRequest::default()
    };
    let about = |shadow: &Shadow| {
        shadow
            .answer_about(&request, &drop)
            .relations
            .pop()
            .flatten()
    };
    assert_eq!(
        about(&shadow).map(|index| index.kind),
        Some(RelationKind::Index)
    );
    shadow.apply(&drop);
    assert_eq!(about(&shadow), None);
}

#[test]
fn constraints_come_go_and_are_validated() {
    let version = 180_000;
    let mut shadow = Shadow::new(SessionFacts {
        version,
        ..SessionFacts::default()
    });
    let name = Name::qualified("public", "t");
    let oid = shadow.add(Relation {
        assumed: false,
        ..assumed(&name)
    });
    alter(&mut shadow, "t", vec![check("c", true), check("c", false)]);
    let details = look(&shadow, "t").unwrap_or_else(|| assumed(&name)).details;
    let names: Vec<_> = details
        .constraints
        .iter()
        .map(|own| (own.name.as_str(), own.validated))
        .collect();
    assert_eq!(names, [("t_c_check", false), ("t_c_check1", true)]);
    assert_eq!(
        details.constraints[0].definition,
        "CHECK (c IS NOT NULL) NOT VALID"
    );
    let validate = ActionKind::ValidateConstraint {
        name: "t_c_check".to_owned(),
    };
    alter(&mut shadow, "t", vec![validate]);
    let key = ConstraintDefinitionKind::Unique {
        primary: true,
        columns: vec!["id".to_owned()],
        include: Vec::new(),
        index_tail: "(id)".to_owned(),
        deferrable: String::new(),
        without_overlaps: false,
    };
    alter(
        &mut shadow,
        "t",
        vec![constraint(key, "PRIMARY KEY (id)", false)],
    );
    let table = look(&shadow, "t").unwrap_or_else(|| assumed(&name));
    assert_eq!(table.oid, oid);
    let names: Vec<_> = table
        .details
        .constraints
        .iter()
        .map(|own| (own.name.as_str(), own.validated))
        .collect();
    let expected = ["t_c_check", "t_c_check1", "t_id_not_null", "t_pkey"].map(|name| (name, true));
    assert_eq!(names, expected);
    assert!(
        table
            .indexes
            .iter()
            .any(|index| index.primary && index.name == "t_pkey")
    );
    let drop = ActionKind::DropConstraint {
        name: "t_pkey".to_owned(),
        if_exists: false,
        cascade: false,
    };
    alter(&mut shadow, "t", vec![drop]);
    assert!(look(&shadow, "t").is_some_and(|table| table.indexes.is_empty()));
}
