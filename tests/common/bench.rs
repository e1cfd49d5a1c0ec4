//! A real PostgreSQL of each version at hand, with two lockkeepers in front: one that takes every table for a large
//! one, one that takes every table for a small one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use lockkeeper::config::Config;
use lockkeeper::pg::temporary::{self, Options, TemporaryServer};
use lockkeeper::server::Server;

use crate::client::Client;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server and its proxies.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The server.
    pub(crate) server: TemporaryServer,
    /// Its major version.
    pub(crate) version: u32,
    /// The port of the proxy to which every table is large.
    pub(crate) large: u16,
    /// The port of the proxy to which every table is small.
    pub(crate) small: u16,
}

/// One for the installed server, one for each directory of `LOCKKEEPER_TEST_PG_BINS`; empty without any.
pub(crate) fn benches() -> &'static [Bench] {
    static BENCHES: OnceLock<Vec<Bench>> = OnceLock::new();
    BENCHES.get_or_init(|| {
        let listed = std::env::var_os("LOCKKEEPER_TEST_PG_BINS").unwrap_or_default();
        let listed = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty());
        let mut binaries: Vec<PathBuf> = temporary::find_binaries()
            .into_iter()
            .chain(listed)
            .collect();
        binaries.dedup();
        if binaries.is_empty() {
            eprintln!("skipped: {}", temporary::HOW_TO_GET);
        }
        binaries.into_iter().map(Bench::start).collect()
    })
}

impl Bench {
    fn start(binaries: PathBuf) -> Bench {
        let mut options = Options::new(binaries);
        for (name, value) in [
            ("autovacuum", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("deadlock_timeout", "1s"),
        ] {
            options.settings.push((name.to_owned(), value.to_owned()));
        }
        let server = TemporaryServer::start(&options).expect("a server");
        let mut client = Client::connect(server.port(), "postgres", "postgres");
        let number: u32 = client
            .value("SHOW server_version_num")
            .parse()
            .expect("a number");
        Bench {
            version: number / 10_000,
            large: proxy(server.port(), ByteSize::b(0)),
            small: proxy(server.port(), ByteSize::gib(1)),
            server,
        }
    }

    /// A new database with the tables of the tests.
    pub(crate) fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("d{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut client = Client::connect(self.server.port(), "postgres", "postgres");
        client.ok(&format!("CREATE DATABASE {name}"));
        self.direct(&name).ok(FIXTURE);
        name
    }

    /// A session without a proxy.
    pub(crate) fn direct(&self, database: &str) -> Client {
        Client::connect(self.server.port(), database, "postgres")
    }

    /// A session through the proxy to which every table is large.
    pub(crate) fn guarded(&self, database: &str) -> Client {
        Client::connect(self.large, database, "postgres")
    }
}

/// The tables. `users.same` holds duplicates, `bad` is INVALID.
pub(crate) const FIXTURE: &str = "
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public;
CREATE TABLE users (id int PRIMARY KEY, email text, same int, day date, tags text[], doc jsonb, a int, b int);
INSERT INTO users SELECT n, 'u' || n, n % 3, '2024-01-01'::date + n, ARRAY['x'], '{\"a\": 1}', n, n
  FROM generate_series(1, 200) n;
CREATE INDEX users_a ON users (a);
CREATE INDEX bad ON users (b);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bad'::regclass;
CREATE UNIQUE INDEX users_referenced ON users (a, b);
CREATE TABLE orders (id int, a int, b int, FOREIGN KEY (a, b) REFERENCES users (a, b));
CREATE TABLE \"Odd \"\"One\"\"\" (\"Column\" int, \"user\" int);
CREATE INDEX \"Odd Index\" ON \"Odd \"\"One\"\"\" (\"Column\");
CREATE TABLE rooms (id int, span int4range, EXCLUDE USING gist (span WITH &&));
CREATE TABLE events (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES (1, '2024-05-05'), (2, '2025-05-05');
CREATE INDEX events_id ON events (id);
CREATE MATERIALIZED VIEW totals AS SELECT same, count(*) AS n FROM users GROUP BY same;
CREATE INDEX totals_n ON totals (n);
CREATE VIEW report AS SELECT * FROM users;";

fn proxy(upstream: u16, small_table: ByteSize) -> u16 {
    let mut config = Config::default();
    config.listen.address = vec!["127.0.0.1:0".to_owned()];
    config.upstream.address = SocketAddr::from(([127, 0, 0, 1], upstream)).to_string();
    config.http.address = String::new();
    config.guard.small_table = small_table;
    // A build ends with its client here: tests/it/journal.rs looks at those that go on.
    config.plan.orphan_ttl = Duration::ZERO;
    config.runtime.threads = 1;
    let (sender, port) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::bind(config, None).await.expect("a proxy");
            let _ = sender.send(server.address().expect("an address").port());
            let ended = server
                .run(std::future::pending(), std::future::pending())
                .await;
            ended.expect("a proxy that runs");
        });
    });
    port.recv().expect("the proxy's port")
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
