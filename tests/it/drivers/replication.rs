//! Replication connections, and the programs that open them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::each_way;
use crate::harness::{
    Proxy, clean_command, limited, place, postgres_program, psql, run, shared, start_server,
};
use crate::wire::Wire;

#[test]
fn identify_system() {
    limited(|| {
        let proxy = Proxy::shared();
        let conninfo =
            |place: &crate::wire::Place| place.conninfo("postgres") + " replication=database";
        let ask = |conninfo: &str| psql(conninfo, &["-c", "IDENTIFY_SYSTEM"], "").ok();
        let proxied = ask(&conninfo(proxy.place()));
        let identifier = |text: &str| text.split('|').next().unwrap().to_owned();
        assert_eq!(
            identifier(&proxied),
            identifier(&ask(&conninfo(&place(shared()))))
        );
        let physical = proxy.place().conninfo("postgres") + " replication=true";
        assert_eq!(identifier(&ask(&physical)), identifier(&proxied));
    });
}

#[test]
fn statements_on_a_replication_connection() {
    limited(|| {
        let enforced = each_way(|target| {
            let conninfo = target.place.conninfo(&target.database);
            let script = "
                CREATE TABLE t(a int);
                INSERT INTO t SELECT generate_series(1, 100);
                CREATE INDEX ON t(a);
                SHOW wal_level;
                SELECT count(*), min(indexrelid::regclass::text) FROM t, pg_index WHERE indrelid = 't'::regclass;
                BEGIN; ALTER TABLE t ADD COLUMN b int; ROLLBACK;
                COPY (SELECT count(*) FROM t) TO STDOUT;
                SELECT 1/0;
                PREPARE p AS SELECT 1;
                EXECUTE p;
                TIMELINE_HISTORY 17;
                NOT_A_COMMAND;
                \\gdesc
            ";
            let database = psql(
                &(conninfo.clone() + " replication=database"),
                &["-v", "ON_ERROR_STOP=0"],
                script,
            );
            let physical = psql(
                &(conninfo + " replication=true"),
                &["-v", "ON_ERROR_STOP=0"],
                "SHOW wal_level;\nSELECT 1;\n",
            );
            [database.out, database.err, physical.out, physical.err].concat()
        });
        assert!(
            enforced
                .iter()
                .all(|words| words.ends_with(": a replication connection")),
            "{enforced:#?}"
        );
        assert_eq!(enforced.len(), 3, "{enforced:#?}");
    });
}

/// A program that connects through the proxy, in the proxy's directory.
fn program(proxy: &Proxy, name: &str, arguments: &str) -> String {
    let mut command = postgres_program(name);
    command
        .args([
            "-h",
            &proxy.place().host(),
            "-p",
            &proxy.place().port().to_string(),
        ])
        .args(["-U", "postgres"])
        .args(arguments.split_whitespace())
        .current_dir(proxy.directory());
    run(&mut command, "").ok()
}

#[test]
fn a_base_backup_starts() {
    limited(|| {
        let server = start_server(|_| {});
        let direct = place(&server);
        Wire::session(&direct, "postgres")
            .run("CREATE TABLE t AS SELECT generate_series(1, 100000) a");
        let proxy = Proxy::start(&server, |_, _| {});
        program(&proxy, "pg_basebackup", "-D backup -X stream -c fast -P -v");
        program(&proxy, "pg_basebackup", "-D tar -Ft -z -X fetch -c fast");
        assert!(proxy.directory().join("tar/base.tar.gz").exists());
        let backup = proxy.directory().join("backup");
        run(
            clean_command(server.binaries().join("pg_verifybackup")).arg(&backup),
            "",
        )
        .ok();
        // Its configuration includes a file that stands beside the server's directory.
        let included = "lockkeeper.conf";
        fs::copy(
            server.directory().join(included),
            proxy.directory().join(included),
        )
        .unwrap();
        // As the user of the server that was copied: PostgreSQL doesn't run as root.
        let owner = fs::metadata(server.directory()).unwrap();
        run(
            Command::new("chown")
                .arg("-R")
                .arg(format!("{}:{}", owner.uid(), owner.gid()))
                .arg(proxy.directory()),
            "",
        )
        .ok();
        let mut single = clean_command(server.binaries().join("postgres"));
        single.args(["--single", "-D"]).arg(&backup).arg("postgres");
        single
            .uid(owner.uid())
            .gid(owner.gid())
            .current_dir(&backup);
        let said = run(&mut single, "SELECT count(*), sum(a) FROM t\n");
        assert!(said.status.success(), "{}", said.err);
        assert!(
            said.out.contains("count = \"100000\""),
            "{}\n{}",
            said.out,
            said.err
        );
    });
}

#[test]
fn receives_the_log() {
    limited(|| {
        let server = start_server(|_| {});
        let direct = place(&server);
        let proxy = Proxy::start(&server, |_, _| {});
        program(&proxy, "pg_receivewal", "-D . --create-slot -S unused");
        let mut session = Wire::session(&direct, "postgres");
        session.run("SELECT pg_create_physical_replication_slot('physical', true)");
        session.run("CREATE TABLE t AS SELECT generate_series(1, 200000) a");
        let file = session.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
        session.run("SELECT pg_switch_wal()");
        let end = session.value("SELECT pg_current_wal_lsn()");
        session.run("INSERT INTO t VALUES (0)"); // there is something to come by that place
        program(
            &proxy,
            "pg_receivewal",
            &format!("-D . -S physical --no-loop --endpos {end}"),
        );
        let received = fs::read(proxy.directory().join(&file)).unwrap();
        let written = fs::read(server.directory().join("data/pg_wal").join(&file)).unwrap();
        assert!(received == written, "{file} differs");
        program(&proxy, "pg_receivewal", "--drop-slot -S physical");
    });
}

#[test]
fn decodes_the_log() {
    limited(|| {
        let server = start_server(|options| {
            options
                .settings
                .push(("wal_level".to_owned(), "logical".to_owned()));
        });
        let proxy = Proxy::start(&server, |_, _| {});
        program(
            &proxy,
            "pg_recvlogical",
            "-d postgres --create-slot -S logical -P test_decoding",
        );
        let mut session = proxy.session("postgres");
        session.run("CREATE TABLE t(a int PRIMARY KEY, b text)");
        session.run("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 1000) g");
        session.run("UPDATE t SET b = 'ä' WHERE a = 7");
        let end = session.value("SELECT pg_current_wal_lsn()");
        let read = format!("-d postgres --start -S logical --endpos {end} --no-loop -f -");
        let out = program(&proxy, "pg_recvlogical", &read);
        assert_eq!(
            out.matches("table public.t: INSERT: a[integer]:").count(),
            1000
        );
        assert!(
            out.contains("UPDATE: a[integer]:7 b[text]:'ä'"),
            "{out:.2000}"
        );
        program(
            &proxy,
            "pg_recvlogical",
            "-d postgres --drop-slot -S logical",
        );
    });
}
