//! The program itself as a process of its own: what it costs can be seen from outside, and what it logs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lockkeeper::pg::temporary::TemporaryServer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::harness::{Killed, Said, clean_command, eventually, run, start_server, wait};
use crate::wire::{Place, Wire, prepare};

/// Its path.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lockkeeper");

/// Runs it to its end.
pub(crate) fn lockkeeper(arguments: &[&str]) -> Said {
    run(clean_command(PROGRAM).args(arguments), "")
}

/// The program, serving; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) process: Killed,
    pub(crate) place: Place,
    pub(crate) http: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Program {
    /// In front of a server, with default settings.
    pub(crate) fn start(upstream: &TemporaryServer) -> Program {
        Program::start_with(upstream, &[])
    }

    /// With settings from the environment: `("RUNTIME__THREADS", "1")`.
    pub(crate) fn start_with(upstream: &TemporaryServer, settings: &[(&str, &str)]) -> Program {
        let mut command = clean_command(PROGRAM);
        command.arg("serve");
        Program::start_as(command, upstream, settings)
    }

    /// By a command that ends in `lockkeeper serve`.
    pub(crate) fn start_as(
        mut command: Command,
        upstream: &TemporaryServer,
        settings: &[(&str, &str)],
    ) -> Program {
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(["--upstream", &format!("127.0.0.1:{}", upstream.port())])
            .envs(
                settings
                    .iter()
                    .map(|(key, value)| (format!("LOCKKEEPER__{key}"), value)),
            );
        Program::launch(command)
    }

    /// At an address, in front of an address, with further arguments and variables.
    pub(crate) fn start_at(
        listen: &str,
        upstream: &str,
        change: impl FnOnce(&mut Command),
    ) -> Program {
        let mut command = clean_command(PROGRAM);
        command.args(["serve", "--listen", listen, "--upstream", upstream]);
        change(&mut command);
        Program::launch(command)
    }

    fn launch(mut command: Command) -> Program {
        command
            .args(["--http", "127.0.0.1:0"])
            .env("LOCKKEEPER__LOG__FORMAT", "json")
            .env("LOCKKEEPER__SHUTDOWN__GRACE", "10m")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut process = Killed(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let mut log: Vec<Value> = Vec::new();
        let (place, http) = loop {
            let line = lines.next();
            let line = line.unwrap_or_else(|| panic!("it didn't start: {log:?}"));
            let line = line.unwrap();
            let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
            let field = |name: &str| entry["fields"][name].as_str().map(str::to_owned);
            let bound = field("listen").zip(field("http"));
            log.push(entry);
            if let Some((listen, http)) = bound {
                break (place_of(&listen), http.parse().unwrap());
            }
        };
        let log = Arc::new(Mutex::new(log));
        let shared = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
                let mut log = shared.lock().unwrap_or_else(PoisonError::into_inner);
                log.push(entry);
            }
        });
        Program {
            process,
            place,
            http,
            log,
        }
    }

    /// All that it has logged so far.
    pub(crate) fn whole_log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = log.iter().map(ToString::to_string);
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The fields of what it has logged under a message so far.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = log.iter().map(|entry| &entry["fields"]);
        fields
            .filter(|fields| fields["message"] == message)
            .cloned()
            .collect()
    }

    /// The fields of everything that it has logged so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|entry| entry["fields"].clone()).collect()
    }

    /// Waits until something was logged under a message: the fields of the first that fits.
    #[track_caller]
    pub(crate) fn until_logged(&self, message: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(message, || {
            found = self.logged(message).into_iter().find(|fields| fits(fields));
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.process.0.id(), name);
    }

    /// A session of the superuser's.
    pub(crate) fn session(&self) -> Wire {
        Wire::session(&self.place, "postgres")
    }

    /// Status and body of a page.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        prepare(&stream);
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub(crate) fn ends_with(&mut self) -> Option<i32> {
        wait(&mut self.process, "lockkeeper").code()
    }

    /// Memory it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it has ever held, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kilobytes = line.unwrap().trim().trim_end_matches("kB").trim();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// Its open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.process.0.id());
        std::fs::read_dir(directory).unwrap().count()
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    run(
        Command::new("kill").args(["-s", name, &pid.to_string()]),
        "",
    )
    .ok();
}

/// This process may open as many files as it is allowed to.
pub(crate) fn raise_own_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let enough = limit.maximum.is_none_or(|maximum| maximum >= needed);
    assert!(
        enough,
        "this test opens {needed} files: raise the hard limit (ulimit -Hn)"
    );
}

/// What an idle connection may cost, in bytes.
const IDLE_BYTES: u64 = if cfg!(debug_assertions) {
    64 << 10
} else {
    32 << 10
};

/// Opens so many sessions, lets each answer before and after the others, and looks what they cost: bytes for each.
pub(crate) fn idle_connections_cost_little(count: u64) -> u64 {
    raise_own_limit(2 * count);
    let server = start_server(|options| {
        let setting = ("max_connections".to_owned(), (count + 100).to_string());
        options.settings.push(setting);
    });
    // A soft limit that is too low is raised by the program itself.
    let mut command = clean_command("sh");
    command.args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\"", PROGRAM, "serve"]);
    let program = Program::start_as(command, &server, &[]);
    for _ in 0..50 {
        program.session().run("SELECT 1");
    }
    let before = program.resident_bytes();
    let mut sessions: Vec<Wire> = (0..count).map(|_| program.session()).collect();
    for session in &mut sessions {
        assert_eq!(session.value("SELECT 'before'"), "before");
    }
    let each = program.resident_bytes().saturating_sub(before) / count;
    assert!(each <= IDLE_BYTES, "{each} bytes for each connection");
    for session in &mut sessions {
        assert_eq!(session.value("SELECT 'after'"), "after");
    }
    each
}

fn place_of(listen: &str) -> Place {
    match listen.rsplit_once("/.s.PGSQL.") {
        Some((directory, port)) => Place::Unix(directory.into(), port.parse().unwrap()),
        None => Place::Tcp(listen.parse().unwrap()),
    }
}
