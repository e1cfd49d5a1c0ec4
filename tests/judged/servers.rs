//! A server of each version at hand with the tables of the statements in a template database.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use lockkeeper::pg::temporary::{self, Options, TemporaryServer};

use crate::client::{Client, Protocol};

const FIXTURE: &str = include_str!("fixture.sql");

/// Settings of the servers: nothing else may run or scan, and plans are the same every time.
const SETTINGS: &[(&str, &str)] = &[
    ("autovacuum", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "logical"),
    ("max_prepared_transactions", "4"),
    ("max_parallel_maintenance_workers", "0"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("TimeZone", "Europe/Berlin"),
];

/// A server.
#[derive(Debug)]
pub(crate) struct TestServer {
    server: TemporaryServer,
    /// Its major version.
    pub(crate) version: u32,
    copies: AtomicU32,
}

/// Runs something on a server of each version, all at once; empty without any server program.
pub(crate) fn on_each<T: Send>(run: impl Fn(&TestServer) -> T + Sync) -> Vec<T> {
    let listed = std::env::var_os("LOCKKEEPER_TEST_PG_BINS").unwrap_or_default();
    let listed = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
    let mut binaries: Vec<PathBuf> = temporary::find_binaries()
        .into_iter()
        .chain(listed)
        .collect();
    binaries.sort();
    binaries.dedup();
    if binaries.is_empty() {
        eprintln!("skipped: {}", temporary::HOW_TO_GET);
    }
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> = binaries
            .into_iter()
            .map(|path| scope.spawn(move || run(&TestServer::start(path))))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a version's thread"))
            .collect()
    })
}

impl TestServer {
    fn start(binaries: PathBuf) -> TestServer {
        let mut options = Options::new(binaries);
        let settings = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        options.settings.extend(settings);
        let server = TemporaryServer::start(&options).expect("a server");
        let mut client = Client::connect(server.port(), "postgres", "postgres");
        let number: u32 = client
            .value("SHOW server_version_num")
            .parse()
            .expect("a number");
        for sql in [
            "CREATE ROLE somebody",
            "CREATE ROLE spare",
            "SET allow_in_place_tablespaces = on",
            "CREATE TABLESPACE space LOCATION ''",
            "CREATE DATABASE fixture",
        ] {
            client.ok(sql);
        }
        let mut fixture = Client::connect(server.port(), "fixture", "postgres");
        fixture.ok(FIXTURE);
        fixture.ok("VACUUM ANALYZE");
        TestServer {
            server,
            version: number / 10_000,
            copies: AtomicU32::new(0),
        }
    }

    /// A new database with the tables.
    pub(crate) fn copy(&self) -> String {
        let name = format!("d{}", self.copies.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres")
            .ok(&format!("CREATE DATABASE {name} TEMPLATE fixture"));
        name
    }

    /// Drops a database; one with a subscription stays.
    pub(crate) fn drop(&self, database: &str) {
        let sql = format!("DROP DATABASE {database} WITH (FORCE)");
        self.connect("postgres").run(&sql, Protocol::Simple);
    }

    /// A session.
    pub(crate) fn connect(&self, database: &str) -> Client {
        Client::connect(self.server.port(), database, "postgres")
    }
}
