//! pgjdbc in its four query modes, large objects by FunctionCall among the rest.

use super::{assert_guarded, each_way, printed, script};
use crate::harness::{clean_command, installed, limited};

#[test]
fn does_its_ordinary_work() {
    limited(|| {
        let jar = installed("LOCKKEEPER_TEST_JDBC", "/usr/share/java/postgresql.jar");
        let classes = tempfile::tempdir().unwrap();
        let mut javac = clean_command("javac");
        javac.arg("-cp").arg(&jar).arg("-d").arg(classes.path());
        printed(javac.arg(script("Driver.java")));
        let path = std::env::join_paths([classes.path(), &jar]).unwrap();
        let enforced = each_way(|target| {
            let (host, port) = (target.place.host(), target.place.port());
            let url = format!("jdbc:postgresql://{host}:{port}/{}", target.database);
            let mut java = target.command(clean_command("java"));
            java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"])
                .arg(&path)
                .args(["Driver", &url]);
            printed(&mut java)
        });
        let least = [
            ("CREATE INDEX", 40),
            ("DROP INDEX", 4),
            ("ALTER TABLE", 40),
            ("REINDEX", 4),
        ];
        assert_guarded(&enforced, &least);
    });
}
