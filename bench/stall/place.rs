//! The server, its databases, and lockkeeper in front of it.

use std::fs;
use std::net::TcpListener;

use anyhow::{Context, anyhow};
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use tokio_postgres::Client;

use crate::background::{Background, bound_command};
use crate::family::{Family, TABLE};
use crate::traffic::connect;

/// The program that is measured.
pub(crate) const LOCKKEEPER: &str = env!("CARGO_BIN_EXE_lockkeeper");
/// The setting that names lockkeeper's own login on the server.
const OPERATOR_URL: &str = "LOCKKEEPER__OPERATOR__URL";

/// The database with the usual form of the table.
const BASE: &str = "base";
/// The database with the form that a family needs.
const PREPARED: &str = "prepared";
/// The database that a run works in: a copy of one of the two.
pub(crate) const FRESH: &str = "fresh";

/// Makes autovacuum begin anew as soon as it has ended, and take seconds each time.
pub(crate) const VACUUMED: &str = "
    DO $$
    DECLARE busy regclass;
    BEGIN
        FOR busy IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname LIKE 'busy%' LOOP
            EXECUTE format(
                'ALTER TABLE %s SET (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
                 autovacuum_vacuum_cost_delay = 20, autovacuum_vacuum_cost_limit = 50,
                 vacuum_index_cleanup = on)', busy);
        END LOOP;
    END $$";

/// Since this version databases are copied through the log unless told otherwise.
const COPIES_BY_LOG: i32 = 150_000;

/// A server with the tables, gone when this is dropped.
pub(crate) struct Place {
    pub(crate) server: TemporaryServer,
    pub(crate) rows: u64,
    admin: Client,
    /// What follows `CREATE DATABASE … TEMPLATE …`.
    copying: &'static str,
}

impl Place {
    /// Starts a server, and fills the table.
    pub(crate) async fn start(rows: u64) -> anyhow::Result<Self> {
        let mut options = Options::new(find_binaries().ok_or_else(|| anyhow!(HOW_TO_GET))?);
        let settings = [
            ("shared_buffers", "512MB"),
            ("maintenance_work_mem", "128MB"),
            ("autovacuum_naptime", "1s"),
            // What is measured is waiting for locks. A checkpoint in the midst of one of the runs, or
            // workers that take the processors from the traffic, would be measured as well.
            ("max_wal_size", "16GB"),
            ("checkpoint_timeout", "30min"),
            ("max_parallel_workers_per_gather", "0"),
            ("max_parallel_maintenance_workers", "0"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.settings.extend(settings);
        let server = TemporaryServer::start(&options)?;
        let admin = connect(server.port(), "postgres", "stall: preparation").await?;
        let version: String = admin
            .query_one(
                "SELECT pg_catalog.current_setting('server_version_num')",
                &[],
            )
            .await?
            .try_get(0)?;
        let by_log = version.parse::<i32>()? >= COPIES_BY_LOG;
        let place = Self {
            server,
            rows,
            admin,
            copying: if by_log { "STRATEGY file_copy" } else { "" },
        };
        place.copy("template0", BASE).await?;
        place.run_in(BASE, TABLE).await?;
        Ok(place)
    }

    /// Makes the form of the table that a family needs; the name of its database.
    pub(crate) async fn prepare(&self, family: &Family) -> anyhow::Result<&'static str> {
        if family.prepare.is_empty() {
            return Ok(BASE);
        }
        self.copy(BASE, PREPARED).await?;
        self.run_in(PREPARED, family.prepare).await?;
        Ok(PREPARED)
    }

    /// Makes the database of a run, in the state that `template` is in.
    pub(crate) async fn refresh(&self, template: &str) -> anyhow::Result<()> {
        self.copy(template, FRESH).await?;
        // All that a run should not have to do for those before it.
        self.admin.batch_execute("CHECKPOINT").await?;
        Ok(())
    }

    /// A connection to the database of a run.
    pub(crate) async fn connect(&self, port: u16) -> anyhow::Result<Client> {
        connect(port, FRESH, "stall: schema change").await
    }

    /// Text with the numbers of rows in it.
    pub(crate) fn filled_in(&self, sql: &str) -> String {
        sql.replace("{rows}", &self.rows.to_string())
            .replace("{half}", &(self.rows / 2).to_string())
    }

    async fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let drop = format!("DROP DATABASE IF EXISTS {to} WITH (FORCE)");
        self.admin.batch_execute(&drop).await?;
        let create = format!("CREATE DATABASE {to} TEMPLATE {from} {}", self.copying);
        self.admin.batch_execute(&create).await?;
        Ok(())
    }

    /// Runs statements in a database, and brings its statistics up to date.
    pub(crate) async fn run_in(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let client = connect(self.server.port(), database, "stall: preparation").await?;
        let sql = self.filled_in(sql);
        client
            .batch_execute(&sql)
            .await
            .with_context(|| sql.clone())?;
        client.batch_execute("VACUUM (FREEZE, ANALYZE)").await?;
        Ok(())
    }
}

/// lockkeeper in front of the server, and what it records.
pub(crate) struct Guard {
    pub(crate) port: u16,
    audit: std::path::PathBuf,
    _process: Background,
}

impl Guard {
    /// Starts it with all settings as they are by default, and a login of its own unless that
    /// isn't wanted. Its files are in the server's directory, which goes with the server.
    pub(crate) fn start(place: &Place, with_operator: bool) -> anyhow::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let directory = place.server.directory();
        let audit = directory.join("audit.jsonl");
        if audit.exists() {
            fs::remove_file(&audit)?;
        }
        let mut command = bound_command(LOCKKEEPER.as_ref());
        command
            .arg("serve")
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--upstream=127.0.0.1:{}", place.server.port()))
            .arg("--http=")
            .env("LOCKKEEPER__AUDIT__FILE", &audit);
        if with_operator {
            command.env(OPERATOR_URL, place.server.url("postgres"));
        } else {
            command.env(OPERATOR_URL, "");
        }
        let mut process = Background::start(command, directory.join("lockkeeper.log"))?;
        process.until_it_listens("lockkeeper", port)?;
        Ok(Self {
            port,
            audit,
            _process: process,
        })
    }

    /// How often it has tried to take locks for the schema change.
    pub(crate) fn attempts(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.audit).ok()?;
        let event: serde_json::Value = serde_json::from_str(text.lines().last()?).ok()?;
        event.get("attempts")?.as_u64()
    }
}
