//! pg_dump and pg_restore, in parallel: what comes back is what was there.

use bytesize::ByteSize;

use super::{Target, assert_guarded, each_way, each_way_guarding, script};
use crate::harness::{limited, postgres_program, run, value};

fn program(target: &Target, name: &str, arguments: &str) -> (bool, String, String) {
    let mut command = target.command(postgres_program(name));
    let said = run(command.args(arguments.split_whitespace()), "");
    (said.status.success(), said.out, said.err)
}

#[track_caller]
fn succeed(target: &Target, name: &str, arguments: &str) -> String {
    let (success, out, err) = program(target, name, arguments);
    assert!(success, "{name} {arguments}: {err}");
    out
}

/// The dump as text, without a key that is random.
fn dumped(target: &Target, database: &str) -> String {
    let dump = succeed(target, "pg_dump", database);
    let is_steady =
        |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    dump.lines()
        .filter(is_steady)
        .map(|line| line.to_owned() + "\n")
        .collect()
}

fn fill(target: &Target) {
    let path = script("dump.sql");
    succeed(
        target,
        "psql",
        &format!("-qX -v ON_ERROR_STOP=1 -f {}", path.display()),
    );
}

#[track_caller]
fn assert_restored(target: &Target, database: &str, original: &str) {
    super::assert_same(original, &dumped(target, database), "restored");
}

#[test]
fn restores_what_it_dumped() {
    limited(|| {
        let client = |target: &Target| {
            fill(target);
            let source = &target.database;
            let original = dumped(target, source);
            succeed(target, "pg_dump", &format!("-Fd -j4 -f directory {source}"));
            succeed(target, "pg_dump", &format!("-Fc -f custom {source}"));
            for (copy, arguments) in [
                ("by_directory", "-j4 directory"),
                ("by_custom", "-j3 custom"),
                ("by_transaction", "-1 custom"),
            ] {
                let copy = format!("{source}_{copy}");
                succeed(target, "createdb", &copy);
                succeed(target, "pg_restore", &format!("-d {copy} {arguments}"));
                assert_restored(target, &copy, &original);
            }
            // The keys of partitions can't be dropped on their own, which pg_restore tries.
            let again = format!("-d {source}_by_custom --clean --if-exists custom");
            let (success, _, err) = program(target, "pg_restore", &again);
            assert_restored(target, &format!("{source}_by_custom"), &original);
            succeed(target, "dropdb", &format!("{source}_by_custom"));
            format!("{success}\n{err}{original}")
        };
        // The plain form is tried first: CREATE INDEX CONCURRENTLY twice on one table is a deadlock, which takes long.
        let enforced = each_way_guarding(ByteSize::mib(1), client);
        let least = [
            ("CREATE INDEX", 100),
            ("ALTER TABLE", 100),
            ("DROP INDEX", 10),
        ];
        assert_guarded(&enforced, &least);
    });
}

#[test]
fn restores_with_every_index_built_concurrently() {
    limited(|| {
        let enforced = each_way(|target| {
            fill(target);
            let source = &target.database;
            succeed(target, "pg_dump", &format!("-Fc -f custom {source}"));
            let copy = format!("{source}_copy");
            succeed(target, "createdb", &copy);
            succeed(target, "pg_restore", &format!("-d {copy} custom"));
            let original = dumped(target, source);
            assert_restored(target, &copy, &original);
            let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
            assert_eq!(value(&copy, invalid), "0");
            original
        });
        assert_guarded(&enforced, &[("CREATE INDEX", 90)]);
    });
}
