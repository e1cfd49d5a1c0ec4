//! What classifying a text costs: at a glance, from the cache, by the parser; and judging a schema
//! change.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use lockkeeper::catalog::Facts;
use lockkeeper::rules::{self, Policy};
use lockkeeper::sql::cache::ClassCache;
use lockkeeper::sql::classify::{Classified, LexicalSettings, classify};

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

#[allow(missing_docs)]
mod groups {
    use super::{classification, criterion_group, judging};
    criterion_group!(benches, classification, judging);
}
use groups::benches;

criterion_main!(benches);
