//! What classifying a text costs: at a glance, from the cache, by the parser; and judging a schema
//! change.

use std::hint::black_box;

use std::process::Command;

use criterion::{Criterion, criterion_group, criterion_main};
use lockkeeper::catalog::shadow::Shadow;
use lockkeeper::catalog::{Facts, SessionFacts};
use lockkeeper::rules::{self, Policy};
use lockkeeper::sql::cache::ClassCache;
use lockkeeper::sql::classify::{Classified, LexicalSettings, classify};
use lockkeeper::sql::lexer::LexicalMode;
use lockkeeper::sql::parse::parse;

const POINT_READ: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;";
const TWO_STATEMENTS: &str = "UPDATE t SET a = 1 WHERE id = 2; SELECT a FROM t WHERE id = 2";
const SCHEMA_CHANGE: &str =
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (lower(a)) WHERE a <> ''";

fn classification(criterion: &mut Criterion) {
    let settings = LexicalSettings::default();
    let insert = format!(
        "INSERT INTO t VALUES {}(1, 'a;b')",
        "(1, 'a;b'), ".repeat(3000)
    );
    criterion.bench_function("glance, 55 bytes", |bencher| {
        bencher.iter(|| classify(black_box(POINT_READ.as_bytes()), settings));
    });
    criterion.bench_function("parser, 61 bytes", |bencher| {
        bencher.iter(|| classify(black_box(TWO_STATEMENTS.as_bytes()), settings));
    });
    criterion.bench_function("parser, 36 kB of rows", |bencher| {
        bencher.iter(|| classify(black_box(insert.as_bytes()), settings));
    });
    criterion.bench_function("parser, schema change", |bencher| {
        bencher.iter(|| classify(black_box(SCHEMA_CHANGE.as_bytes()), settings));
    });
    let mut cache = ClassCache::new(1 << 20);
    criterion.bench_function("cache, 61 bytes", |bencher| {
        bencher.iter(|| cache.classify(black_box(TWO_STATEMENTS.as_bytes()), settings));
    });
}

fn judging(criterion: &mut Criterion) {
    let Classified::Interesting(text) = classify(
        b"ALTER TABLE t ADD COLUMN c int",
        LexicalSettings::default(),
    ) else {
        return;
    };
    let policy = Policy {
        small_table_bytes: 1 << 20,
        scan_bytes_per_second: 100 << 20,
        overrides: Vec::new(),
    };
    let facts = Facts::default();
    criterion.bench_function("judge, ALTER TABLE", |bencher| {
        bencher.iter(|| rules::judge(black_box(&text.statements[0]), &text.text, &facts, &policy));
    });
}

/// Facts, judgement and plan of one schema change of each kind, on a catalog in memory.
fn judging_each_kind(criterion: &mut Criterion) {
    let shadow = Shadow::assuming(SessionFacts {
        version: 170_000,
        ..SessionFacts::default()
    });
    let policy = Policy {
        small_table_bytes: 1 << 20,
        scan_bytes_per_second: 100 << 20,
        overrides: Vec::new(),
    };
    for sql in [
        "CREATE INDEX users_email_idx ON users (email)",
        "ALTER TABLE users ADD COLUMN note text",
        "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
        "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users",
        "DROP TABLE users",
    ] {
        let Ok(parsed) = parse(sql, LexicalMode::default()) else {
            return;
        };
        let Some(parsed) = parsed.first() else {
            return;
        };
        criterion.bench_function(&format!("facts and judge, {sql}"), |bencher| {
            bencher.iter(|| {
                let request = rules::facts_needed(&parsed.statement);
                let facts = shadow.answer_about(&request, &parsed.statement);
                rules::judge(black_box(parsed), sql, &facts, &policy)
            });
        });
    }
}

/// The program as a whole over a script of 10,000 statements.
fn checking(criterion: &mut Criterion) {
    let file = std::env::temp_dir().join(format!("lockkeeper-bench-{}.sql", std::process::id()));
    let one = |n: usize| match n % 4 {
        0 => format!("CREATE TABLE t{n} (id bigint PRIMARY KEY, a text);\n"),
        1 => format!("CREATE INDEX ON users (c{n});\n"),
        2 => format!("ALTER TABLE orders ADD COLUMN c{n} int;\n"),
        _ => format!("INSERT INTO users VALUES ({n}, 'a;b');\n"),
    };
    let script: String = (0..10_000).map(one).collect();
    if std::fs::write(&file, script).is_err() {
        return;
    }
    let mut group = criterion.benchmark_group("check");
    group.sample_size(10);
    group.bench_function("10,000 statements", |bencher| {
        bencher.iter(|| {
            let program = env!("CARGO_BIN_EXE_lockkeeper");
            let mut command = Command::new(program);
            command.args(["check", "--format", "json"]).arg(&file);
            black_box(command.output())
        });
    });
    group.finish();
    let _ = std::fs::remove_file(&file); // the system's own cleaning finds it
}

#[allow(missing_docs)]
mod groups {
    use super::{checking, classification, criterion_group, judging, judging_each_kind};
    criterion_group!(
        benches,
        classification,
        judging,
        judging_each_kind,
        checking
    );
}
use groups::benches;

criterion_main!(benches);
