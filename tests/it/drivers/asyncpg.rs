//! asyncpg: everything by the extended protocol but `execute` without arguments, and a cache of prepared statements.

use super::{assert_guarded, each_way, python};
use crate::harness::limited;

#[test]
fn does_its_ordinary_work() {
    limited(|| {
        let enforced = each_way(|target| python(target, "asyncpg.py"));
        let least = [("CREATE INDEX", 6), ("ALTER TABLE", 5), ("REINDEX", 1)];
        assert_guarded(&enforced, &least);
    });
}
