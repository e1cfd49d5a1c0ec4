//! Every shape.

use super::super::alter_table::{ActionKind, AlterTable, ColumnDefinition};
use super::super::create_table::CreateTable;
use super::*;

fn statement(sql: &str) -> Statement {
    let parsed =
        parse(sql, LexicalMode::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let [only] = parsed.as_slice() else {
        panic!("{sql}: {} statements", parsed.len());
    };
    only.statement.clone()
}

fn alter(sql: &str) -> AlterTable {
    match statement(sql) {
        Statement::AlterTable(alter) => alter,
        other => panic!("{sql}: {other:?}"),
    }
}

fn create(sql: &str) -> CreateTable {
    match statement(sql) {
        Statement::CreateTable(create) => create,
        other => panic!("{sql}: {other:?}"),
    }
}

fn column(definition: &str) -> ColumnDefinition {
    let mut alter = alter(&format!("alter table t add column {definition}"));
    match alter.actions.pop().map(|action| action.kind) {
        Some(ActionKind::AddColumn { column, .. }) => column,
        other => panic!("{definition}: {other:?}"),
    }
}

#[test]
fn sub_commands_keep_their_own_text() {
    for (behind, pieces) in [
        (
            "t add a int default f(1, 2), drop b -- gone\n, /* , */ alter c set default $$,$$;",
            vec![
                "add a int default f(1, 2)",
                "drop b",
                "alter c set default $$,$$",
            ],
        ),
        (
            "only \"S, x\" . t add a numeric(1, 2), drop b",
            vec!["add a numeric(1, 2)", "drop b"],
        ),
        ("only (s.t) drop b", vec!["drop b"]),
        ("if exists t * drop b", vec!["drop b"]),
        ("U&\"t\" uescape '!' drop b cascade", vec!["DROP b CASCADE"]),
    ] {
        let alter = alter(&format!(" select 1; alter table {behind}").split_off(11));
        let texts: Vec<&str> = alter
            .actions
            .iter()
            .map(|action| action.sql.as_str())
            .collect();
        assert_eq!(texts, pieces, "{behind}");
    }
    let second = parse(
        "select 1; alter table t drop a, drop b",
        LexicalMode::default(),
    )
    .unwrap();
    let Statement::AlterTable(alter) = &second[1].statement else {
        panic!("{second:?}");
    };
    assert_eq!(alter.actions[1].sql, "drop b");
}

#[test]
fn columns_are_taken_apart() {
    let check = column("c int not null default 1+2 constraint k check (c > 0) no inherit");
    assert_eq!((check.bare.as_str(), check.not_null), ("c integer", true));
    assert_eq!(
        check.default.map(|default| default.sql).as_deref(),
        Some("1 + 2")
    );
    assert_eq!(check.constraints[0].body, "CHECK (c > 0) NO INHERIT");
    assert_eq!(check.constraints[0].name.as_deref(), Some("k"));
    let key = column("d serial8 references s.p(id) on delete cascade initially deferred unique");
    assert_eq!(key.type_name.serial, Some("bigint"));
    assert_eq!(key.bare, "d bigint");
    let bodies: Vec<&str> = key
        .constraints
        .iter()
        .map(|one| one.body.as_str())
        .collect();
    assert_eq!(
        bodies,
        [
            "FOREIGN KEY (d) REFERENCES s.p(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
            "UNIQUE (d)"
        ]
    );
    let identity = column("i int generated always as identity (start 5) primary key");
    assert!(
        identity
            .identity
            .unwrap()
            .sql
            .starts_with("GENERATED ALWAYS AS IDENTITY (START 5")
    );
    for (definition, bare) in [
        (
            "c varchar(20)[] collate \"C\"",
            "c varchar(20)[] COLLATE \"C\"",
        ),
        ("c interval day to second(2)", "c interval day to second(2)"),
        (
            "c timestamptz(3) compression lz4",
            "c timestamptz(3) COMPRESSION lz4",
        ),
        ("\"C\" s.\"T\"(1)", "\"C\" s.\"T\"(1)"),
    ] {
        assert_eq!(column(definition).bare, bare);
    }
}

#[test]
fn partitions_are_taken_apart() {
    let table = create(
        "create table p partition of t (a not null, primary key (a)) \
         for values from (1, minvalue) to (2, 'x') partition by list (b) tablespace x",
    );
    let partition = table.partition_of.unwrap();
    assert_eq!(
        partition.bound.sql,
        "FOR VALUES from (1, minvalue) to (2, 'x')"
    );
    assert_eq!(partition.rest, "partition by list (b) tablespace x");
    assert!(table.columns[0].not_null && table.columns[0].type_name.sql.is_empty());
    assert_eq!(table.constraints[0].body, "PRIMARY KEY (a)");
}

/// `shapes.txt`: statements, and behind each, indented, what it is read as; of ALTER TABLE the first
/// sub-command. Names stand there as `"schema"."name"`.
#[test]
fn every_kind_of_statement_has_its_shape() {
    let mut lines = include_str!("shapes.txt").lines().peekable();
    while let Some(sql) = lines.next() {
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            expected += line.trim_start();
            expected.push(' ');
        }
        let shape = match statement(sql) {
            Statement::AlterTable(alter) if sql.starts_with("alter table t ") => {
                format!("{:?}", alter.actions[0].kind)
            }
            other => format!("{other:?}"),
        };
        assert_eq!(with_short_names(&shape), expected.trim_end(), "{sql}");
    }
}

/// Shortens what Debug makes of a name.
fn with_short_names(shape: &str) -> String {
    let mut short = String::new();
    let mut rest = shape;
    while let Some((front, behind)) = rest.split_once("Name { schema: ") {
        short.push_str(front);
        let (schema, behind) = behind.split_once(", name: ").unwrap();
        if let Some(schema) = schema.strip_prefix("Some(") {
            short.push_str(schema.trim_end_matches(')'));
            short.push('.');
        }
        let (name, behind) = behind.split_once(" }").unwrap();
        short.push_str(name);
        rest = behind;
    }
    short + rest
}
