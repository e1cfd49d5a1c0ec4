//! The temporary PostgreSQL that the other suites build on: it starts, restarts, crashes and leaves nothing behind.

use std::error::Error;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use lockkeeper::pg::temporary::{
    HOW_TO_GET, Options, TemporaryServer, TemporaryServerError, find_binaries,
};

type Outcome = Result<(), Box<dyn Error>>;

fn options() -> Options {
    Options::new(find_binaries().unwrap_or_else(|| panic!("{HOW_TO_GET}")))
}

fn accepts(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// What psql prints for a query, or its complaint.
fn psql(server: &TemporaryServer, url: &str, query: &str) -> Result<String, String> {
    let output = Command::new(server.binaries().join("psql"))
        .args(["-XAtw", "-c", query, url])
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn it_starts_restarts_crashes_and_vanishes() -> Outcome {
    let options = options();
    let server = TemporaryServer::start(&options)?;
    let (port, directory) = (server.port(), server.directory().to_owned());
    let mode = fs::metadata(&directory)?.mode();
    assert_eq!(mode & 0o777, 0o700);
    let url = server.url("postgres");
    psql(&server, &url, "CREATE TABLE t AS SELECT 7 AS n")?;
    server.restart()?;
    assert_eq!(psql(&server, &url, "SELECT n FROM t")?, "7");
    server.stop_immediately()?;
    assert!(!accepts(port));
    server.restart()?;
    assert_eq!(psql(&server, &url, "SELECT n FROM t")?, "7");
    drop(server);
    assert!(!accepts(port));
    assert!(!directory.exists());
    Ok(())
}

#[test]
fn settings_access_rules_and_password_are_as_asked() -> Outcome {
    let mut options = options();
    let password = r"it's \ p@ss";
    options.superuser_password = Some(password.to_owned());
    options.hba = Some("host all all 127.0.0.1/32 md5\n".to_owned());
    for (name, value) in [
        ("password_encryption", "md5"),
        ("max_connections", "17"),
        ("port", "1"),
        ("cluster_name", r"it's \ mine"),
    ] {
        let setting = (name.to_owned(), value.to_owned());
        options.settings.push(setting);
    }
    let server = TemporaryServer::start(&options)?;
    let ask = |query| psql(&server, &server.url("postgres"), query);
    assert_eq!(ask("SHOW max_connections")?, "17");
    assert_eq!(ask("SHOW cluster_name")?, r"it's \ mine");
    assert_eq!(ask("SHOW server_encoding")?, "UTF8");
    assert!(
        ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")?.starts_with("md5")
    );
    let without = format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port());
    let refused = psql(&server, &without, "SELECT 1")
        .err()
        .unwrap_or_default();
    assert!(refused.contains("password"), "{refused}");
    Ok(())
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let mut options = options();
    options
        .settings
        .push(("max_connections".to_owned(), "many".to_owned()));
    let error = TemporaryServer::start(&options).err();
    assert!(
        matches!(&error, Some(TemporaryServerError::Ended { .. })),
        "{error:?}"
    );
    let message = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("max_connections"), "{message}");
}
