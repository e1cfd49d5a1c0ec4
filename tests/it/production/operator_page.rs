//! docs/operator.md: what it says is to be pasted does what it says.

use super::doctor::doctor;
use crate::harness::{eventually, limited, place, start_server};
use crate::program::Program;
use crate::wire::{Wire, column};

/// The statements of each of the page's SQL blocks, without comments.
fn blocks() -> Vec<Vec<String>> {
    let page = include_str!("../../../docs/operator.md");
    let blocks = page.split("```sql\n").skip(1);
    let blocks = blocks.map(|rest| rest.split_once("```").unwrap().0);
    let statements = |block: &str| {
        let lines: Vec<&str> = block
            .lines()
            .map(|line| line.split("--").next().unwrap())
            .collect();
        let text = lines.join("\n");
        let all = text.split(';').map(|one| one.trim().to_owned());
        all.filter(|one| !one.is_empty()).collect()
    };
    blocks.map(statements).collect()
}

#[test]
fn the_statements_of_the_page() {
    limited(|| {
        let blocks = blocks();
        let [set_up, grants, look, leave, get_rid] = blocks.as_slice() else {
            panic!("{blocks:#?}");
        };
        let server = start_server(|_| {});
        let mut admin = Wire::session(&place(&server), "postgres");
        admin.run("CREATE ROLE app_owner LOGIN");
        admin.run("CREATE TABLE orders (a int); ALTER TABLE orders OWNER TO app_owner");
        for statement in set_up {
            admin.run(statement);
        }
        // From version 16 on the first, before that the other.
        let has_set =
            admin.value("SELECT current_setting('server_version_num')::int >= 160000") == "t";
        admin.run(&grants[usize::from(!has_set)]);
        let upstream = format!("127.0.0.1:{}", server.port());
        let url = format!("postgres://lockkeeper@{upstream}/postgres");
        let settings = [
            ("upstream.address", upstream.as_str()),
            ("locks.cancel_blockers", "readers"),
        ];
        let (findings, _) = doctor(&settings, &["--operator-url", &url]);
        for check in ["operator", "journal", "recovery"] {
            let mut about = findings
                .iter()
                .filter(|finding| finding["check"] == check)
                .peekable();
            assert!(about.peek().is_some(), "{check}: {findings:#?}");
            assert!(
                about.all(|finding| finding["level"] == "ok"),
                "{findings:#?}"
            );
        }

        let program = Program::start_with(&server, &[("OPERATOR__URL", &url)]);
        let mut client = Wire::connect(&program.place);
        client.start(&[("user", "app_owner"), ("database", "postgres")]);
        client.run("ALTER TABLE orders ADD COLUMN b int");
        client.run("BEGIN");
        client.run("ALTER TABLE orders ADD COLUMN c int");
        let mut operator = Wire::connect(&place(&server));
        operator.start(&[("user", "lockkeeper"), ("database", "lockkeeper")]);
        eventually("what is under way is seen", || {
            column(&operator.query(&look[0])).len() == 1
        });
        let id = operator.value(&look[0]);
        eventually("what has ended is seen", || {
            !column(&operator.query(&look[1])).is_empty()
        });
        assert!(!column(&operator.query(&look[2])).is_empty());
        operator.run(&leave[0].replace('…', &id));
        assert!(column(&operator.query(&look[0])).is_empty());
        let outcome = "SELECT outcome FROM lockkeeper.audit_log ORDER BY id DESC LIMIT 1";
        assert_eq!(operator.value(outcome), "unknown");
        client.run("COMMIT");

        drop((program, operator));
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'lockkeeper'";
        eventually("nobody is there", || admin.value(sessions) == "0");
        for statement in get_rid {
            admin.run(statement);
        }
    });
}
