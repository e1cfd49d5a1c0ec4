//! pgbench in its modes: many clients, reconnecting ones, pipelines.

use super::{Target, assert_guarded, each_way, script};
use crate::harness::{limited, postgres_program, run, value};

/// What doesn't depend on how fast anything was.
const STEADY: [&str; 4] = [
    "query mode",
    "number of clients",
    "number of transactions actually processed",
    "number of failed transactions",
];

fn pgbench(target: &Target, arguments: &str) -> String {
    let mut command = target.command(postgres_program("pgbench"));
    let out = run(command.args(arguments.split_whitespace()), "").ok();
    let steady = |line: &&str| STEADY.iter().any(|start| line.starts_with(start));
    let kept: Vec<&str> = out.lines().filter(steady).collect();
    format!("{arguments}\n{}\n", kept.join("\n"))
}

#[test]
fn runs_in_all_modes() {
    limited(|| {
        let (pipeline, reads) = (script("pgbench_pipeline.sql"), script("pgbench_reads.sql"));
        let enforced = each_way(|target| {
            let mut said = pgbench(target, "-i -q -I dtgvpf");
            for mode in ["simple", "extended", "prepared"] {
                said += &pgbench(target, &format!("-n -M {mode} -c 4 -j 2 -t 50"));
                said += &pgbench(target, &format!("-n -M {mode} -c 2 -C -t 10 -S"));
                let custom = format!("-n -M {mode} -c 3 -t 20 -D bid=1 -f {}", reads.display());
                said += &pgbench(target, &custom);
                if mode != "simple" {
                    let custom = format!("-n -M {mode} -c 3 -t 20 -f {}", pipeline.display());
                    said += &pgbench(target, &custom);
                }
            }
            said += &pgbench(target, "-i -q -I dtGvpf --partitions=3 --unlogged-tables");
            said += &pgbench(target, "-n -M prepared -N -c 4 -t 25 -r");
            let sums =
                "SELECT ROW(count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts))
                FROM pgbench_history";
            said.replace(script("").to_str().unwrap(), "") + &value(&target.database, sums)
        });
        // Primary and foreign keys, twice.
        assert_guarded(&enforced, &[("ALTER TABLE", 16), ("DROP TABLE", 2)]);
    });
}
