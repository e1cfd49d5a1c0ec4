//! node-postgres: its queries, cursors and COPY streams.

use super::{assert_guarded, each_way, printed, script};
use crate::harness::{clean_command, installed, limited};

#[test]
fn does_its_ordinary_work() {
    limited(|| {
        let modules = installed("LOCKKEEPER_TEST_NODE_MODULES", "target/node/node_modules");
        let enforced = each_way(|target| {
            let mut node = target.command(clean_command("node"));
            node.env("NODE_PATH", &modules);
            // Asking for a second query before the first is answered is deprecated, and done here.
            printed(node.arg("--no-deprecation").arg(script("node.js")))
        });
        let least = [
            ("CREATE INDEX", 4),
            ("DROP INDEX", 1),
            ("ALTER TABLE", 3),
            ("REINDEX", 1),
        ];
        assert_guarded(&enforced, &least);
    });
}
