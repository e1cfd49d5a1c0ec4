//! psycopg 3: pipeline mode, COPY, server-side cursors, and its asynchronous side.

use super::{assert_guarded, each_way, python};
use crate::harness::limited;

#[test]
fn does_its_ordinary_work() {
    limited(|| {
        let enforced = each_way(|target| python(target, "psycopg.py"));
        let least = [
            ("CREATE INDEX", 4),
            ("DROP INDEX", 1),
            ("ALTER TABLE", 7),
            ("REINDEX", 1),
        ];
        assert_guarded(&enforced, &least);
        let in_pipeline = "CREATE INDEX committed: in a pipeline".to_owned();
        assert!(enforced.contains(&in_pipeline), "{enforced:#?}");
    });
}
