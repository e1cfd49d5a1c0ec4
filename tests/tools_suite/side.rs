//! One of two sides: a database and the way to it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use bytesize::ByteSize;
use lockkeeper::config::{Config, Mode};
use lockkeeper::pg::temporary::TemporaryServer;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::harness::{
    Killed, Proxy, Said, clean_command, installed, postgres_program, run, shared, start_server,
    wait,
};
use crate::variable;
use crate::wire::{Place, Wire};

/// The phases that must fail, on both sides.
const FAILING: [&str; 2] = ["fail", "duplicates"];

/// Where the tools' projects are.
pub(crate) fn projects() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools")
}

/// How many rows the tables are filled with.
pub(crate) fn rows() -> u32 {
    variable("LOCKKEEPER_TEST_ROWS").map_or(200, |rows| rows.parse().unwrap())
}

/// The server that is reached directly.
pub(crate) fn direct_server() -> &'static TemporaryServer {
    shared()
}

/// The server that is reached through lockkeeper. Another one, so that the databases of both sides have the same names.
/// It goes away with this process.
pub(crate) fn guarded_server() -> &'static TemporaryServer {
    static SERVER: OnceLock<TemporaryServer> = OnceLock::new();
    SERVER.get_or_init(|| start_server(|_| {}))
}

/// The settings of every lockkeeper here: there are no small tables. The one thing that the projects do for which there
/// is no safe way yet is allowed.
pub(crate) fn configure(config: &mut Config) {
    config.guard.mode = Mode::Enforce;
    config.guard.small_table = ByteSize::b(0);
    let rules = serde_json::json!({ "alter-type-rewrite": "allow" });
    config.policy.rules = serde_json::from_value(rules).unwrap();
}

/// A proxy in front of its server.
pub(crate) fn proxy() -> Proxy {
    Proxy::start(guarded_server(), |config, _| configure(config))
}

/// A database, and how it is reached.
pub(crate) struct Side {
    /// For people.
    pub(crate) name: &'static str,
    /// Its server.
    pub(crate) server: &'static TemporaryServer,
    /// Where the tool finds it.
    pub(crate) place: Place,
    /// Its name.
    pub(crate) database: String,
    /// The tool's folder.
    pub(crate) work: TempDir,
}

impl Side {
    /// A new database on a server, empty or a copy of another.
    pub(crate) fn new(
        name: &'static str,
        server: &'static TemporaryServer,
        place: Place,
        database: &str,
        template: Option<&str>,
    ) -> Side {
        let template = template.unwrap_or("template1");
        let mut admin = Wire::session(&crate::harness::place(server), "postgres");
        admin.run(&format!("CREATE DATABASE {database} TEMPLATE {template}"));
        Side {
            name,
            server,
            place,
            database: database.to_owned(),
            work: tempfile::tempdir().unwrap(),
        }
    }

    /// A session of the superuser's that goes around lockkeeper.
    pub(crate) fn admin(&self) -> Wire {
        Wire::session(&crate::harness::place(self.server), &self.database)
    }

    /// A program that finds the database as the tool does.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = clean_command(program);
        command
            .env("PGHOST", self.place.host())
            .env("PGPORT", self.place.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", "unasked")
            .env("PGDATABASE", &self.database);
        command
    }

    /// What runs a tool's phase.
    pub(crate) fn phase(&self, tool: &str, phase: &str) -> Command {
        let mut command = self.command("bash");
        command
            .arg(projects().join(tool).join("run.sh"))
            .arg(phase)
            .env("WORK", self.work.path())
            .env(
                "LOCKKEEPER_TEST_PYTHON",
                installed("LOCKKEEPER_TEST_PYTHON", "target/venv/bin/python"),
            )
            .env(
                "LOCKKEEPER_TEST_NODE_MODULES",
                installed("LOCKKEEPER_TEST_NODE_MODULES", "target/node/node_modules"),
            )
            .env("LC_ALL", "C.UTF-8");
        if tool == "sqlx" {
            command.env("LOCKKEEPER_TEST_SQLX", sqlx());
        }
        command
    }

    /// Runs a tool's phase, which must end as it has to.
    pub(crate) fn ok(&self, tool: &str, phase: &str) {
        let said = run(&mut self.phase(tool, phase), "");
        self.check(tool, phase, &said);
    }

    /// Fails when a phase hasn't ended as it has to.
    pub(crate) fn check(&self, tool: &str, phase: &str, said: &Said) {
        assert_eq!(
            said.status.success(),
            !FAILING.contains(&phase),
            "{tool}, {phase}, {}: {}\n{}{}",
            self.name,
            said.status,
            said.out,
            said.err
        );
    }

    /// Fills the tables, around lockkeeper.
    pub(crate) fn fill(&self) {
        let mut command = postgres_program("psql");
        let place = crate::harness::place(self.server);
        command
            .args(["-X", "-v", &format!("rows={}", rows())])
            .arg("-f")
            .arg(projects().join("fill.sql"))
            .args(["-d", &place.conninfo(&self.database)]);
        run(&mut command, "").ok();
    }
}

/// The phases of a tool.
pub(crate) fn phases(tool: &str) -> Vec<String> {
    let mut command = clean_command("bash");
    command
        .arg(projects().join(tool).join("run.sh"))
        .arg("phases");
    let said = run(&mut command, "").ok();
    said.lines().map(str::to_owned).collect()
}

/// The program of the project `sqlx`, built when it is first asked for.
fn sqlx() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(named) = variable("LOCKKEEPER_TEST_SQLX") {
            return PathBuf::from(named);
        }
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sqlx");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(projects().join("sqlx/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target);
        let status = cargo.status().unwrap();
        assert!(status.success(), "{cargo:?}: {status}");
        target.join("debug/sqlx-migrations")
    })
}

/// A tool that runs, and all processes that it started; none of them outlives this.
pub(crate) struct Running {
    leader: Killed,
    group: Pid,
}

impl Running {
    /// Starts one. What it prints goes nowhere.
    pub(crate) fn start(mut command: Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let leader = Killed(command.spawn().unwrap());
        let group = Pid::from_child(&leader.0);
        Running { leader, group }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.leader.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end; whether it succeeded.
    pub(crate) fn wait(mut self, what: &str) -> bool {
        wait(&mut self.leader, what).success()
    }

    /// Kills all of it; whether it was there to be killed.
    pub(crate) fn kill(mut self) -> bool {
        let had_ended = self.has_ended();
        let _ = kill_process_group(self.group, Signal::KILL); // some of it may be there without its leader
        self.leader.0.wait().unwrap();
        !had_ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only while the leader hasn't been waited for is the number its group's for certain.
        if !self.has_ended() {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}
