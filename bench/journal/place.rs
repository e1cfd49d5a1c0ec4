//! The server, and lockkeepers in front of it.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use tokio_postgres::{Client, Config, NoTls};

use crate::background::{Background, bound_command};

/// The program that is measured.
pub(crate) const LOCKKEEPER: &str = env!("CARGO_BIN_EXE_lockkeeper");
/// lockkeeper's own database.
pub(crate) const OWN: &str = "lockkeeper";

/// A server whose commits are on the disk when it says so.
pub(crate) struct Place {
    pub(crate) server: TemporaryServer,
    pub(crate) admin: Client,
}

/// What a lockkeeper has of its own on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// Nothing.
    Nothing,
    /// A login.
    Login,
    /// A login and a database, as by default.
    Database,
}

impl Place {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut options = Options::new(find_binaries().ok_or_else(|| anyhow!(HOW_TO_GET))?);
        let settings = [
            ("fsync", "on"),
            ("max_connections", "600"),
            ("shared_buffers", "256MB"),
            // A checkpoint in the midst of a run would be measured as well.
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "30min"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.settings.extend(settings);
        let server = TemporaryServer::start(&options)?;
        let admin = connect(server.port(), "postgres").await?;
        Ok(Self { server, admin })
    }

    /// What the data are on.
    pub(crate) fn disk(&self) -> String {
        let mut command = Command::new("df");
        command
            .arg("--output=source,fstype")
            .arg(self.server.directory());
        let output = command
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let words = output
            .lines()
            .nth(1)
            .unwrap_or("an unknown device")
            .split_whitespace();
        words.collect::<Vec<_>>().join(", ")
    }

    /// Makes a database and what is in it.
    pub(crate) async fn database(&self, name: &str, sql: &str) -> anyhow::Result<Client> {
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.admin.batch_execute(&create).await?;
        let client = connect(self.server.port(), name).await?;
        client
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())?;
        client.batch_execute("VACUUM (FREEZE, ANALYZE)").await?;
        self.admin.batch_execute("CHECKPOINT").await?;
        Ok(client)
    }

    /// Starts a lockkeeper with all other settings as they are by default, without an audit file.
    pub(crate) fn lockkeeper(&self, own: Own) -> anyhow::Result<Lockkeeper> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = bound_command(LOCKKEEPER.as_ref());
        command
            .arg("serve")
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--upstream=127.0.0.1:{}", self.server.port()))
            .arg("--http=");
        match own {
            Own::Nothing => command.arg("--operator-url="),
            Own::Login => command.env("LOCKKEEPER__OPERATOR__DATABASE", ""),
            Own::Database => command.env("LOCKKEEPER__OPERATOR__DATABASE", OWN),
        };
        let log = self
            .server
            .directory()
            .join(format!("lockkeeper-{port}.log"));
        let mut process = Background::start(command, log)?;
        process.until_it_listens("lockkeeper", port)?;
        Ok(Lockkeeper {
            port,
            _process: process,
        })
    }

    /// Whether the journal has an end of every plan; the number of events.
    pub(crate) async fn recorded(&self) -> anyhow::Result<i64> {
        let own = connect(self.server.port(), OWN).await?;
        let sql = "SELECT (SELECT count(*) FROM lockkeeper.plan WHERE ended IS NULL), \
                   (SELECT count(*) FROM lockkeeper.audit_log)";
        let row = own.query_one(sql, &[]).await?;
        let open: i64 = row.try_get(0)?;
        ensure!(open == 0, "{open} plans are left open in the journal");
        Ok(row.try_get(1)?)
    }
}

/// A lockkeeper in front of the server.
pub(crate) struct Lockkeeper {
    pub(crate) port: u16,
    _process: Background,
}

impl Lockkeeper {
    /// What it has logged as warnings or errors.
    pub(crate) fn complaints(&self, place: &Place) -> Vec<String> {
        let log = place
            .server
            .directory()
            .join(format!("lockkeeper-{}.log", self.port));
        let text = fs::read_to_string(log).unwrap_or_default();
        let is_complaint = |line: &&str| line.contains(" WARN ") || line.contains("ERROR");
        text.lines()
            .filter(is_complaint)
            .map(str::to_owned)
            .collect()
    }
}

/// Connects to a database on this machine.
pub(crate) async fn connect(port: u16, database: &str) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname(database)
        .connect_timeout(std::time::Duration::from_secs(20));
    let (client, connection) = config
        .connect(NoTls)
        .await
        .with_context(|| format!("connect to {database} on port {port}"))?;
    // An error of the connection is also the error of the query under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
