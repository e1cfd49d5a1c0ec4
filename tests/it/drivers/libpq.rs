//! libpq's environment and connection strings, seen through psql.

use std::fs;

use super::{Target, each_way};
use crate::harness::{limited, postgres_program, run};

/// What is asked in each session.
const SHOW: &str = "SELECT current_setting('application_name'), current_setting('search_path'),
    current_setting('work_mem'), current_setting('client_encoding'), current_setting('TimeZone'),
    current_setting('DateStyle'), current_setting('standard_conforming_strings'),
    current_setting('my.own', true), current_user, convert_to(U&'\\00e4', 'UTF8') = E'\\\\xc3a4'";

/// A connection: variables, and psql's arguments in front of the statements.
type Case = (&'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    (&[("PGAPPNAME", "名前 ä ' \\")], ""),
    (
        &[(
            "PGOPTIONS",
            "-c search_path=pg_catalog -cwork_mem=5MB --my.own=1",
        )],
        "",
    ),
    (
        &[("PGOPTIONS", "-c search_path=a\\ b -c my.own=it\\'s\\\\")],
        "",
    ),
    (&[("PGOPTIONS", "-c standard_conforming_strings=off")], ""),
    (&[("PGOPTIONS", "-c nonsense=1")], ""),
    (&[("PGOPTIONS", "-c work_mem=nonsense")], ""),
    (&[("PGOPTIONS", "nonsense")], ""),
    (&[], "options='-c my.own=x' application_name=x"),
    (&[], "options='-c role=nobody_of_that_name'"),
    (&[("PGCLIENTENCODING", "LATIN1")], ""),
    (&[("PGCLIENTENCODING", "SJIS")], ""),
    (&[("PGCLIENTENCODING", "nonsense")], ""),
    (
        &[
            ("PGTZ", "Asia/Tokyo"),
            ("PGDATESTYLE", "German"),
            ("PGGEQO", "off"),
        ],
        "",
    ),
    (&[("PGSSLMODE", "require")], ""),
    (&[("PGSSLMODE", "disable"), ("PGGSSENCMODE", "disable")], ""),
    (&[("PGCHANNELBINDING", "require")], ""),
    (&[("PGSERVICEFILE", "services"), ("PGSERVICE", "named")], ""),
    (&[("PGTARGETSESSIONATTRS", "read-write")], ""),
    (&[("PGTARGETSESSIONATTRS", "primary")], ""),
    (&[("PGTARGETSESSIONATTRS", "standby")], ""),
    (&[("PGTARGETSESSIONATTRS", "prefer-standby")], ""),
    (&[("PGTARGETSESSIONATTRS", "read-only")], ""),
    (
        &[
            ("PGOPTIONS", "-c default_transaction_read_only=on"),
            ("PGTARGETSESSIONATTRS", "read-only"),
        ],
        "",
    ),
    (
        &[
            ("PGOPTIONS", "-c default_transaction_read_only=on"),
            ("PGTARGETSESSIONATTRS", "read-write"),
        ],
        "",
    ),
    (
        &[],
        "host=127.0.0.1,127.0.0.1,localhost port=1,PORT,PORT target_session_attrs=read-write",
    ),
    (
        &[],
        "host=127.0.0.1,127.0.0.1 port=PORT,PORT target_session_attrs=standby",
    ),
    (&[], "hostaddr=127.0.0.1 host=a.name.for.certificates"),
    (&[], "dbname=no_such_database"),
    (&[], "user=no_such_user"),
    (&[], "user=postgres password=unneeded"),
    (&[], "replication=false"),
    (&[], "replication=nonsense"),
    (
        &[],
        "keepalives=0 tcp_user_timeout=30000 client_encoding=auto fallback_application_name=y",
    ),
    (
        &[],
        "postgresql://postgres@127.0.0.1:PORT/?application_name=uri&options=-c%20my.own%3Du",
    ),
];

fn said(target: &Target, (variables, conninfo): &Case) -> String {
    let port = target.place.port().to_string();
    let mut psql = target.command(postgres_program("psql"));
    psql.envs(variables.iter().copied());
    let conninfo = conninfo.replace("PORT", &port);
    let conninfo = match conninfo.strip_prefix("postgresql://") {
        Some(_) => conninfo.replace("/?", &format!("/{}?", target.database)),
        None => conninfo,
    };
    let schema_change =
        "CREATE TABLE IF NOT EXISTS t(a int); SELECT '\\'; DROP TABLE IF EXISTS t; --'";
    let arguments = [
        "-XAtq",
        "-c",
        SHOW,
        "-c",
        schema_change,
        "-c",
        "DROP TABLE IF EXISTS t",
    ];
    psql.args(arguments);
    if !conninfo.is_empty() {
        psql.args(["-d", &conninfo]);
    }
    let said = run(&mut psql, "");
    let text = format!("{variables:?} {conninfo}\n{}{}", said.out, said.err);
    let text = text.replace(&port, "PORT");
    format!(
        "{:?} {}",
        said.status.code(),
        text.replace(&target.database, "DATABASE")
    )
}

#[test]
fn connects_in_all_its_ways() {
    limited(|| {
        each_way(|target| {
            let service = format!(
                "[named]\noptions=-c my.own=service\nport={}\n",
                target.place.port()
            );
            fs::write(target.files.path().join("services"), service).unwrap();
            let said = CASES.iter().map(|case| said(target, case));
            let isready = run(&mut target.command(postgres_program("pg_isready")), "").ok();
            let isready = isready.replace(&target.place.port().to_string(), "PORT");
            said.collect::<Vec<_>>().concat() + &isready
        });
    });
}
