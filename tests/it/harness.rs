//! What every suite stands on: the shared PostgreSQL, a proxy in this process, and the programs that are its clients.

use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lockkeeper::config::Config;
use lockkeeper::exec::failpoint::Failpoints;
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use lockkeeper::server::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::wire::{Place, Wire};

/// How long a program or a condition may take.
const WAIT_LIMIT: Duration = Duration::from_secs(180);
/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What is searched for among an audit log's events, to know that those before it have been written.
const SENTINEL: &str = "lk_sentinel_";

/// Runs a test's body, and fails when it doesn't end.
#[track_caller]
pub(crate) fn limited(body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    match finished.recv_timeout(crate::TEST_LIMIT) {
        Ok(()) => thread.join().unwrap(),
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("not done after {:?}", crate::TEST_LIMIT),
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}

/// A number that nobody else in this process gets.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A server of one's own.
pub(crate) fn start_server(change: impl FnOnce(&mut Options)) -> TemporaryServer {
    let binaries = find_binaries().unwrap_or_else(|| panic!("{HOW_TO_GET}"));
    let mut options = Options::new(binaries);
    change(&mut options);
    TemporaryServer::start(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// The server that all tests share. It goes away with this process.
pub(crate) fn shared() -> &'static TemporaryServer {
    static SHARED: OnceLock<TemporaryServer> = OnceLock::new();
    SHARED.get_or_init(|| start_server(|_| {}))
}

/// Where a server listens.
pub(crate) fn place(server: &TemporaryServer) -> Place {
    Place::Tcp(SocketAddr::from(([127, 0, 0, 1], server.port())))
}

/// A new database on the shared server.
pub(crate) fn database() -> String {
    database_on(shared())
}

/// A new database on a server that trusts us.
pub(crate) fn database_on(server: &TemporaryServer) -> String {
    let name = format!("d{}", unique());
    let mut admin = Wire::session(&place(server), "postgres");
    admin.run(&format!("CREATE DATABASE {name}"));
    name
}

/// One value, asked for directly on the shared server.
pub(crate) fn value(database: &str, sql: &str) -> String {
    Wire::session(&place(shared()), database).value(sql)
}

/// Waits until the schema change of a session of the shared server waits in lockkeeper for its lock: the last that the
/// server heard of it is the question for its relations, or the end of a try.
pub(crate) fn until_it_waits_for_its_lock(pid: u32) {
    until_it_waits_for_its_lock_on(shared(), pid);
}

/// The same of a session of a server that trusts us.
pub(crate) fn until_it_waits_for_its_lock_on(server: &TemporaryServer, pid: u32) {
    let sql = format!("SELECT state || ' ' || query FROM pg_stat_activity WHERE pid = {pid}");
    let mut admin = Wire::session(&place(server), "postgres");
    eventually("it waits for its lock", || {
        let state = admin.value(&sql);
        state.starts_with("idle ROLLBACK")
            || ["RECURSIVE named (at, oid, recurses)", "/* lockkeeper waits"]
                .iter()
                .any(|words| state.contains(words))
    });
}

/// Waits until the schema change of a session of the shared server has waited in lockkeeper for a second: then it asks
/// whether its server is still there.
pub(crate) fn until_it_has_waited(pid: u32) {
    let sql = format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}");
    eventually("it has waited", || {
        value("postgres", &sql).contains("lockkeeper waits")
    });
}

/// Waits until a session of the shared server is in `pg_sleep`.
pub(crate) fn until_asleep(pid: u32) {
    until_asleep_on(shared(), pid);
}

/// Waits until a session of a server that trusts us is in `pg_sleep`.
pub(crate) fn until_asleep_on(server: &TemporaryServer, pid: u32) {
    let sql =
        format!("SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = {pid}");
    let mut admin = Wire::session(&place(server), "postgres");
    eventually("the statement sleeps", || admin.value(&sql) == "PgSleep");
}

/// The settings of a proxy on a free port, in front of a server on this machine.
pub(crate) fn settings(upstream: u16) -> Config {
    let mut config = Config::default();
    config.listen.address = vec!["127.0.0.1:0".to_owned()];
    config.upstream.address = format!("127.0.0.1:{upstream}");
    config.http.address = String::new();
    config.runtime.threads = 2;
    // Of several on one server each has a journal of its own: else they bring each other's plans to their ends.
    config.operator.database = format!("lockkeeper_{}", unique());
    config
}

/// A proxy in this process, on threads of its own; gone when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    place: Place,
    audit: PathBuf,
    directory: TempDir,
    failpoints: Failpoints,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// In front of the shared server, with default settings.
    pub(crate) fn shared() -> Proxy {
        Proxy::start(shared(), |_, _| {})
    }

    /// In front of a server. `change` gets the settings and a directory for files.
    pub(crate) fn start(
        server: &TemporaryServer,
        change: impl FnOnce(&mut Config, &Path),
    ) -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let audit = directory.path().join("audit.jsonl");
        let mut config = settings(server.port());
        config.audit.file = Some(audit.clone());
        change(&mut config, directory.path());
        let unix = config.listen.address[0]
            .starts_with('/')
            .then(|| Place::Unix(config.listen.address[0].clone().into(), 6432));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || serve(config, &tell, stopped));
        let (address, failpoints): (Option<SocketAddr>, Failpoints) =
            match told.recv_timeout(WAIT_LIMIT) {
                Ok(told) => told,
                Err(_) => resume_unwind(thread.join().unwrap_err()),
            };
        Proxy {
            place: unix.or(address.map(Place::Tcp)).unwrap(),
            audit,
            directory,
            failpoints,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Points at which its plans can be held.
    #[allow(dead_code, reason = "not every test holds plans")]
    pub(crate) fn failpoints(&self) -> &Failpoints {
        &self.failpoints
    }

    /// Tells it to end, without grace; doesn't wait.
    #[allow(dead_code, reason = "not every test ends it early")]
    pub(crate) fn end(&mut self) {
        drop(self.stop.take());
    }

    /// A directory that is removed with the proxy.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A session through the proxy.
    pub(crate) fn session(&self, database: &str) -> Wire {
        Wire::session(&self.place, database)
    }

    /// All events of the audit log up to now. The superuser must be trusted by the server.
    pub(crate) fn events(&self) -> Vec<Value> {
        let sentinel = format!("{SENTINEL}{}", unique());
        self.session("postgres")
            .run(&format!("CREATE TEMPORARY SEQUENCE {sentinel}"));
        let read = || std::fs::read_to_string(&self.audit).unwrap_or_default();
        eventually("the events are written", || {
            read()
                .rsplit_once('\n')
                .is_some_and(|(text, _)| text.contains(&sentinel))
        });
        let text = read();
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["event"].is_null())
            .filter(|event| !event["sql"].as_str().unwrap().contains(SENTINEL))
            .collect()
    }

    /// The events, each as `tag outcome` or `tag outcome: because`.
    pub(crate) fn event_words(&self) -> Vec<String> {
        self.events().iter().map(event_words).collect()
    }
}

/// An event as `tag outcome` or `tag outcome: because`.
pub(crate) fn event_words(event: &Value) -> String {
    let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    match event["because"].as_str() {
        Some(because) => format!("{} {}: {because}", word("tag"), word("outcome")),
        None => format!("{} {}", word("tag"), word("outcome")),
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !thread::panicking() {
                result.unwrap();
            }
        }
    }
}

fn serve(
    config: Config,
    tell: &mpsc::Sender<(Option<SocketAddr>, Failpoints)>,
    stopped: oneshot::Receiver<()>,
) {
    block_on(async {
        let server = Server::bind(config, None)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        tell.send((server.address(), server.failpoints())).unwrap();
        let drain = async { drop(stopped.await) };
        server.run(drain, async {}).await.unwrap();
    });
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its output, trimmed; it must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}", self.out, self.err);
        self.out.trim().to_owned()
    }
}

/// A child process that doesn't outlive its owner.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a process ends by itself.
pub(crate) fn wait(child: &mut Killed, what: &str) -> ExitStatus {
    let mut status = None;
    eventually(&format!("{what} ends"), || {
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// A program without PostgreSQL's variables of whoever runs the tests.
pub(crate) fn clean_command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PG") || name.starts_with("LOCKKEEPER__") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Said {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Killed(
        command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}; `make test` installs what is missing")),
    );
    let mut stdin = child.0.stdin.take().unwrap();
    let input = input.to_owned();
    thread::spawn(move || stdin.write_all(input.as_bytes()));
    let (out, err) = (child.0.stdout.take(), child.0.stderr.take());
    let (out, err) = (collect(out.unwrap()), collect(err.unwrap()));
    let status = wait(&mut child, &format!("{command:?}"));
    Said {
        status,
        out: out.join().unwrap(),
        err: err.join().unwrap(),
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program of the server's installation.
pub(crate) fn postgres_program(name: &str) -> Command {
    clean_command(shared().binaries().join(name))
}

/// Runs psql with a script, or with further arguments and none.
pub(crate) fn psql(conninfo: &str, arguments: &[&str], script: &str) -> Said {
    let mut command = postgres_program("psql");
    command
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo])
        .args(arguments)
        .env("PGCONNECT_TIMEOUT", "30");
    run(&mut command, script)
}

/// Runs a Python script with psycopg; `sys.argv[1]` is the connection.
pub(crate) fn psycopg(conninfo: &str, script: &str) -> String {
    let python = installed("LOCKKEEPER_TEST_PYTHON", "target/venv/bin/python");
    run(clean_command(python).args(["-c", script, conninfo]), "").ok()
}

/// Something that `.ci/install test` provides: where the variable says, or at its usual place in this directory.
pub(crate) fn installed(variable: &str, usual: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(usual));
    assert!(
        path.exists(),
        "{} is missing: `make test` installs it, and {variable} may name another",
        path.display()
    );
    path
}
