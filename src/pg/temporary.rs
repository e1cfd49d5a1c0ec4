//! A real PostgreSQL server for as long as it is needed, and not a moment longer.
//!
//! [`TemporaryServer`] runs `initdb` and `postgres` in a directory of its own, on a free port of
//! the loopback interface. The demo and the integration tests use it.
//!
//! # How it is cleaned up, whatever happens
//!
//! The server is the child of a small shell script (`WATCHDOG`) that reads its commands from a
//! pipe whose other end only this process holds. When this process drops the server, returns,
//! panics or is killed with `SIGKILL`, the pipe comes to its end; the script then sends PostgreSQL
//! `SIGQUIT` and removes the directory. The script leads a process group of its own, so a Ctrl-C in
//! the terminal reaches neither it nor the server.
//!
//! # Running as root
//!
//! `initdb` and `postgres` refuse to run as root. As root, everything here runs as the user
//! `postgres`, or `nobody` where there is none.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How to get PostgreSQL's server programs, for a message to a person.
pub const HOW_TO_GET: &str =
    "PostgreSQL's server programs (initdb and postgres) were not found. To get them:
  Debian, Ubuntu   apt-get install postgresql
  Fedora, RHEL     dnf install postgresql-server
  Alpine           apk add postgresql
  macOS            brew install postgresql
or name the directory that holds them: LOCKKEEPER_PG_BIN=/path/to/postgresql/bin";

/// The environment variable that names the directory of PostgreSQL's programs.
const BINARIES_VARIABLE: &str = "LOCKKEEPER_PG_BIN";

/// How long a server may take to accept connections.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long one command to the watchdog may take (`initdb` on a slow disk is the longest).
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// How long the watchdog may take to stop the server and remove the directory.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often another port is tried when somebody else took the one that was free a moment ago.
const PORT_ATTEMPTS: u32 = 5;
/// How many of the server log's last lines an error carries.
const LOG_TAIL_LINES: usize = 30;
/// The longest path of a Unix socket that every system accepts (Linux: 107, macOS: 103).
const LONGEST_SOCKET_PATH: usize = 103;

/// The script that owns the server: `$1` is the directory, `$2` where PostgreSQL's programs are.
///
/// It takes one command a line and answers each with its exit status. `exited` appears when the
/// server is gone, however that came about; the server's process id is read from its own lock file
/// until then, so a reused id is never signalled.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM PIPE
dir=$1 bin=$2 started=

init() {
    "$bin/initdb" -D "$dir/data" --no-sync -A trust -U postgres -E UTF8 "$1" >>"$dir/log" 2>&1 </dev/null
}
start() {
    rm -f "$dir/exited"
    started=1
    (
        "$bin/postgres" -D "$dir/data" >>"$dir/log" 2>&1 </dev/null
        echo "$?" >"$dir/exited"
    ) >/dev/null 2>&1 &
}
stop() {
    tries=0
    while [ -n "$started" ] && [ ! -e "$dir/exited" ]; do
        signal=$1
        [ "$tries" -lt 750 ] || signal=KILL
        [ "$tries" -lt 800 ] || return 1
        pid=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)
        [ -z "$pid" ] || kill -s "$signal" "$pid" 2>/dev/null
        tries=$((tries + 1))
        sleep 0.02
    done
    [ -z "$started" ] || wait
    started=
}

while read -r command argument; do
    case $command in
        init) init --locale=C.UTF-8 || { rm -rf "$dir/data"; init --no-locale; } ;;
        copy) cp -a "$argument" "$dir/data" ;;
        sql) "$bin/postgres" --single -D "$dir/data" postgres >>"$dir/log" 2>&1 <"$dir/$argument" ;;
        start) start ;;
        stop) stop "$argument" ;;
    esac
    echo "$?"
done
stop QUIT
cd /
rm -rf -- "$dir"
"#;

/// Why a temporary server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum TemporaryServerError {
    /// Something the operating system was asked for failed.
    #[error("could not {doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// This is root, and there is no user to run the server as.
    #[error("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")]
    NoUser,
    /// The process that looks after the server is gone, or does not answer.
    #[error("the process that looks after the temporary server did not answer '{command}'")]
    Watchdog {
        /// What it was asked.
        command: String,
    },
    /// `initdb`, `cp` or `postgres --single` failed.
    #[error("preparing the server's data ('{command}') failed:\n{log}")]
    Prepare {
        /// Which step.
        command: String,
        /// The end of what was printed.
        log: String,
    },
    /// The server ended instead of accepting connections.
    #[error("PostgreSQL ended while it was starting; its log ends with:\n{log}")]
    Ended {
        /// The end of the server's log.
        log: String,
    },
    /// The server did not accept connections in time.
    #[error("PostgreSQL accepted no connection for {} s; its log ends with:\n{log}", READY_LIMIT.as_secs())]
    NotReady {
        /// The end of the server's log.
        log: String,
    },
}

/// What `result` failed at, in words.
fn system<T>(
    result: io::Result<T>,
    doing: impl FnOnce() -> String,
) -> Result<T, TemporaryServerError> {
    result.map_err(|source| TemporaryServerError::System {
        doing: doing(),
        source,
    })
}

/// A certificate and its key for a server that speaks TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate (chain), PEM.
    pub certificate_pem: String,
    /// The private key, PEM.
    pub key_pem: String,
}

/// How a temporary server shall be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds `initdb` and `postgres`, see [`find_binaries`].
    pub binaries: PathBuf,
    /// Settings for `postgresql.conf`. They win over the defaults here, except for `port` and
    /// `unix_socket_directories`, which are this module's business.
    pub settings: Vec<(String, String)>,
    /// The whole `pg_hba.conf`; without it everybody local and on loopback is trusted.
    pub hba: Option<String>,
    /// The server's certificate; without it the server speaks no TLS.
    pub tls: Option<Tls>,
    /// The password of the user `postgres`; without it there is none.
    pub superuser_password: Option<String>,
}

impl Options {
    /// A server that trusts every local client, run by the programs in `binaries`.
    #[must_use]
    pub fn new(binaries: PathBuf) -> Self {
        Self {
            binaries,
            settings: Vec::new(),
            hba: None,
            tls: None,
            superuser_password: None,
        }
    }
}

/// Where `initdb` and `postgres` are: `LOCKKEEPER_PG_BIN` when it is set (and nowhere else then),
/// the newest of Debian's `/usr/lib/postgresql/*/bin`, or a directory on `PATH`.
#[must_use]
pub fn find_binaries() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(BINARIES_VARIABLE) {
        return Some(PathBuf::from(named)).filter(|directory| holds_binaries(directory));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest_packaged(Path::new("/usr/lib/postgresql"))
        .or_else(|| std::env::split_paths(&path).find(|directory| holds_binaries(directory)))
}

/// Whether both programs are in `directory`.
fn holds_binaries(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file())
}

/// The `bin` directory of the highest version below `root` that has the server programs.
fn newest_packaged(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let version: Option<Vec<u32>> = name.to_str()?.split('.').map(|n| n.parse().ok()).collect();
        let directory = entry.path().join("bin");
        holds_binaries(&directory).then_some((version?, directory))
    });
    versions.max().map(|(_, directory)| directory)
}

/// Who the server runs as when that is not who this process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
}

/// The user to run as: `None` for the user of this process, somebody else when that is root.
fn server_user() -> Result<Option<User>, TemporaryServerError> {
    if !is_root()? {
        return Ok(None);
    }
    let passwd = system(fs::read_to_string("/etc/passwd"), || {
        "read /etc/passwd".to_owned()
    })?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| user_in(&passwd, name))
        .map(Some)
        .ok_or(TemporaryServerError::NoUser)
}

/// Whether this process runs as root.
fn is_root() -> Result<bool, TemporaryServerError> {
    if let Ok(process) = fs::metadata("/proc/self") {
        return Ok(process.uid() == 0);
    }
    let output = system(Command::new("id").arg("-u").output(), || {
        "run id".to_owned()
    })?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// The ids of the user `name` in the text of `/etc/passwd`; never root's.
fn user_in(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(User { uid, gid })
    })
}

/// A directory of its own with a [`WATCHDOG`] that removes it, and stops the server in it, when
/// this value or this process is gone.
#[derive(Debug)]
struct Guard {
    directory: PathBuf,
    user: Option<User>,
    child: Child,
    /// `None` once it is closed, which tells the watchdog to clean up.
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Guard {
    /// Makes the directory and starts its watchdog.
    fn new(binaries: &Path) -> Result<Self, TemporaryServerError> {
        let user = server_user()?;
        let directory = create_directory(user)?;
        Self::watch(directory.clone(), binaries, user).inspect_err(|_| {
            let _ = fs::remove_dir_all(&directory);
        })
    }

    fn watch(
        directory: PathBuf,
        binaries: &Path,
        user: Option<User>,
    ) -> Result<Self, TemporaryServerError> {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(WATCHDOG)
            .arg("lockkeeper-watchdog")
            .args([directory.as_path(), binaries])
            .current_dir(&directory)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let mut child = system(command.spawn(), || "start /bin/sh".to_owned())?;
        let commands = child.stdin.take();
        let (send, answers) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let mut lines = BufReader::new(output).lines().map_while(Result::ok);
                lines.all(|line| send.send(line).is_ok())
            });
        }
        Ok(Self {
            directory,
            user,
            child,
            commands,
            answers,
        })
    }

    /// Has the watchdog run `command` and waits for it.
    fn run(&mut self, command: &str) -> Result<(), TemporaryServerError> {
        let unanswered = || TemporaryServerError::Watchdog {
            command: command.to_owned(),
        };
        let pipe = self.commands.as_mut().ok_or_else(unanswered)?;
        writeln!(pipe, "{command}").map_err(|_| unanswered())?;
        let answer = self
            .answers
            .recv_timeout(COMMAND_LIMIT)
            .map_err(|_| unanswered())?;
        if answer == "0" {
            return Ok(());
        }
        Err(TemporaryServerError::Prepare {
            command: command.to_owned(),
            log: self.log_tail(),
        })
    }

    /// Writes a file only the server's user can read into the directory.
    fn write(&self, name: &str, text: &str) -> Result<(), TemporaryServerError> {
        let path = self.directory.join(name);
        let doing = || format!("write {}", path.display());
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = system(options.open(&path), doing)?;
        system(file.write_all(text.as_bytes()), doing)?;
        give(&path, self.user)
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.commands.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // The watchdog leads the group that the server is in too.
                let group = format!("kill -s KILL -- -{}", self.child.id());
                let _ = Command::new("/bin/sh").args(["-c", &group]).status();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Makes `path` the property of `user`.
fn give(path: &Path, user: Option<User>) -> Result<(), TemporaryServerError> {
    let Some(user) = user else { return Ok(()) };
    system(chown(path, Some(user.uid), Some(user.gid)), || {
        format!("give {} to user {}", path.display(), user.uid)
    })
}

/// Makes a directory that only the server's user can enter and nobody can foretell the name of.
fn create_directory(user: Option<User>) -> Result<PathBuf, TemporaryServerError> {
    let mut random = [0_u8; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    system(read, || "read /dev/urandom".to_owned())?;
    let name = format!("lockkeeper-pg-{:016x}", u64::from_ne_bytes(random));
    let directory = base_directory(&name, user.is_some()).join(name);
    let made = fs::DirBuilder::new().mode(0o700).create(&directory);
    system(made, || format!("make {}", directory.display()))?;
    give(&directory, user)?;
    Ok(directory)
}

/// The directory for temporary files, or another where that one cannot be used: because its name
/// is too long for a socket in it, or another user (when the server runs as one) cannot enter it.
fn base_directory(name: &str, other_user: bool) -> PathBuf {
    let usable = |base: &PathBuf| {
        let socket = base.join(name).join(".s.PGSQL.65535");
        let allows = |path: &Path, bits| fs::metadata(path).is_ok_and(|m| m.mode() & bits == bits);
        socket.as_os_str().len() <= LONGEST_SOCKET_PATH
            && (!other_user
                || (allows(base, 0o003) && base.ancestors().all(|path| allows(path, 0o001))))
    };
    let first = std::env::temp_dir();
    [first.clone(), "/tmp".into(), "/var/tmp".into()]
        .into_iter()
        .find(usable)
        .unwrap_or(first)
}

/// The data directory that `initdb` made for these programs, made once for the process and copied
/// for every server after that. Its watchdog removes it when the process ends.
fn template(binaries: &Path) -> Result<PathBuf, TemporaryServerError> {
    static TEMPLATES: OnceLock<Mutex<HashMap<PathBuf, Guard>>> = OnceLock::new();
    let mut templates = lock(TEMPLATES.get_or_init(Mutex::default));
    if let Some(template) = templates.get(binaries) {
        return Ok(template.directory.join("data"));
    }
    let mut guard = Guard::new(binaries)?;
    guard.run("init")?;
    let data = guard.directory.join("data");
    templates.insert(binaries.to_owned(), guard);
    Ok(data)
}

/// The value, also when another thread panicked while it held it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running PostgreSQL with the superuser `postgres`; dropping it stops it at once and removes
/// everything it wrote.
#[derive(Debug)]
pub struct TemporaryServer {
    guard: Mutex<Guard>,
    directory: PathBuf,
    binaries: PathBuf,
    port: u16,
    password: Option<String>,
}

impl TemporaryServer {
    /// Starts a server and returns when it accepts connections. This blocks, a second or two for
    /// the first server of a process and a fraction of that for the next.
    ///
    /// # Errors
    ///
    /// When the server cannot be prepared or started; the error then carries the end of its log.
    pub fn start(options: &Options) -> Result<Self, TemporaryServerError> {
        let mut guard = Guard::new(&options.binaries)?;
        let data = template(&options.binaries)?;
        guard.run(&format!("copy {}", data.display()))?;
        prepare(&guard, options)?;
        let mut attempt = 1;
        let port = loop {
            let port = free_port()?;
            guard.write("lockkeeper.conf", &configuration(&guard, options, port))?;
            if attempt == 1
                && let Some(password) = &options.superuser_password
            {
                set_password(&mut guard, password)?;
            }
            guard.run("start")?;
            match wait_until_ready(&guard, port) {
                Ok(()) => break port,
                Err(TemporaryServerError::Ended { log })
                    if log.contains("Address already in use") && attempt < PORT_ATTEMPTS =>
                {
                    attempt += 1;
                    guard.run("stop QUIT")?;
                    let _ = fs::remove_file(guard.log_file());
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self {
            directory: guard.directory.clone(),
            guard: Mutex::new(guard),
            binaries: options.binaries.clone(),
            port,
            password: options.superuser_password.clone(),
        })
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The directory that holds everything it writes; its data are in `data`, its log is `log`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of the programs it was started with.
    #[must_use]
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.directory.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// A connection URL for `database`, with the superuser and its password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let password = self.password.as_deref().map(percent_encoded);
        let password = password.map_or_else(String::new, |password| format!(":{password}"));
        let database = percent_encoded(database);
        format!(
            "postgresql://postgres{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Stops the server in the orderly way (sessions are ended, then a checkpoint), starts it again
    /// on the same port and returns when it accepts connections. Also starts a server that was
    /// stopped.
    ///
    /// # Errors
    ///
    /// When it does not stop or does not come back.
    pub fn restart(&self) -> Result<(), TemporaryServerError> {
        let mut guard = lock(&self.guard);
        guard.run("stop INT")?;
        guard.run("start")?;
        wait_until_ready(&guard, self.port)
    }

    /// Stops the server at once, as a crash would: every connection breaks, and the next start
    /// recovers from the log. [`TemporaryServer::restart`] starts it again.
    ///
    /// # Errors
    ///
    /// When it does not stop.
    pub fn stop_immediately(&self) -> Result<(), TemporaryServerError> {
        lock(&self.guard).run("stop QUIT")
    }
}

/// Writes the files that do not depend on the port.
fn prepare(guard: &Guard, options: &Options) -> Result<(), TemporaryServerError> {
    let main = guard.directory.join("data/postgresql.conf");
    let doing = || format!("write {}", main.display());
    let mut file = system(fs::OpenOptions::new().append(true).open(&main), doing)?;
    system(writeln!(file, "\ninclude '../lockkeeper.conf'"), doing)?;
    if let Some(hba) = &options.hba {
        guard.write("data/pg_hba.conf", hba)?;
    }
    if let Some(tls) = &options.tls {
        guard.write("server.crt", &tls.certificate_pem)?;
        guard.write("server.key", &tls.key_pem)?;
    }
    Ok(())
}

/// The text of the included configuration file; a later line wins over an earlier one.
fn configuration(guard: &Guard, options: &Options, port: u16) -> String {
    let directory = guard.directory.to_string_lossy();
    let port = port.to_string();
    let certificate = format!("{directory}/server.crt");
    let key = format!("{directory}/server.key");
    let mut lines = vec![
        ("listen_addresses", "127.0.0.1"),
        ("fsync", "off"),
        ("max_connections", "200"),
    ];
    if options.tls.is_some() {
        lines.extend([
            ("ssl", "on"),
            ("ssl_cert_file", &*certificate),
            ("ssl_key_file", &*key),
        ]);
    }
    let settings = &options.settings;
    lines.extend(settings.iter().map(|(name, value)| (&**name, &**value)));
    lines.extend([("unix_socket_directories", &*directory), ("port", &*port)]);
    let lines = lines.iter();
    lines
        .map(|(name, value)| format!("{name} = {}\n", quoted(value)))
        .collect()
}

/// A value as `postgresql.conf` reads it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Sets the superuser's password without a connection, so whatever `pg_hba.conf` says.
fn set_password(guard: &mut Guard, password: &str) -> Result<(), TemporaryServerError> {
    // In single-user mode a line is a statement, and ALTER takes no expression: E'' keeps a quote,
    // a backslash and a line break in the password on one line.
    let escaped = password.replace('\\', "\\\\").replace('\'', "''");
    let escaped = escaped.replace('\n', "\\n").replace('\r', "\\r");
    guard.write(
        "password.sql",
        &format!("ALTER ROLE postgres PASSWORD E'{escaped}'\n"),
    )?;
    guard.run("sql password.sql")?;
    let _ = fs::remove_file(guard.directory.join("password.sql"));
    Ok(())
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16, TemporaryServerError> {
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    system(port, || "find a free port".to_owned()).map(|address| address.port())
}

/// Waits until the server in this directory (and no other that may have the port) answers.
fn wait_until_ready(guard: &Guard, port: u16) -> Result<(), TemporaryServerError> {
    let socket = guard.directory.join(format!(".s.PGSQL.{port}"));
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        if guard.directory.join("exited").exists() {
            let log = guard.log_tail();
            return Err(TemporaryServerError::Ended { log });
        }
        if answers(&socket).unwrap_or(false) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = guard.log_tail();
            return Err(TemporaryServerError::NotReady { log });
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a server takes sessions on this socket. Refusing this one is an answer too, unless it
/// says that the server is still starting.
fn answers(socket: &Path) -> io::Result<bool> {
    const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    const TERMINATE: &[u8] = b"X\0\0\0\x04";
    const CANNOT_CONNECT_NOW: &[u8] = b"C57P03\0";
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(STARTUP)?;
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    let _ = stream.write_all(TERMINATE);
    let starting = answer
        .windows(CANNOT_CONNECT_NOW.len())
        .any(|bytes| bytes == CANNOT_CONNECT_NOW);
    Ok(matches!(answer.first(), Some(b'R' | b'E')) && !starting)
}

/// `text` as a part of a URL.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn users_are_read_from_passwd_but_never_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/:/bin/sh\nshort:x\n";
        assert_eq!(
            user_in(passwd, "postgres"),
            Some(User { uid: 101, gid: 104 })
        );
        assert_eq!(user_in(passwd, "root"), None);
        assert_eq!(user_in(passwd, "short"), None);
        assert_eq!(user_in(passwd, "nobody"), None);
    }

    #[test]
    fn text_is_escaped_for_where_it_goes() {
        assert_eq!(quoted(r"it's a \ b"), r"'it''s a \\ b'");
        assert_eq!(percent_encoded("p@ss/wörd"), "p%40ss%2Fw%C3%B6rd");
    }

    /// The name of the file that a process writes its server's directory and port to, in
    /// [`a_process_that_is_killed`].
    const HOLD: &str = "LOCKKEEPER_TEST_HOLD_SERVER";

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_process_that_is_killed() -> Outcome {
        let Some(path) = std::env::var_os(HOLD) else {
            return Ok(());
        };
        let server = TemporaryServer::start(&Options::new(find_binaries().ok_or(HOW_TO_GET)?))?;
        let template = template(server.binaries())?;
        let text = format!(
            "{}\n{}\n{}\n",
            server.directory().display(),
            template.display(),
            server.port()
        );
        let whole = PathBuf::from(&path).with_extension("new");
        fs::write(&whole, text)?;
        fs::rename(whole, path)?;
        thread::sleep(Duration::from_secs(60));
        Ok(())
    }

    #[test]
    fn a_killed_process_leaves_neither_server_nor_files() -> Outcome {
        if find_binaries().is_none() {
            return Ok(());
        }
        let note = std::env::temp_dir().join(format!("lockkeeper-test-{}", std::process::id()));
        let mut holder = Command::new(std::env::current_exe()?)
            .args(["--exact", "pg::temporary::tests::a_process_that_is_killed"])
            .env(HOLD, &note)
            .stdout(Stdio::null())
            .spawn()?;
        let exists = within(Duration::from_secs(60), || note.exists());
        let text = fs::read_to_string(&note).unwrap_or_default();
        holder.kill()?;
        holder.wait()?;
        let _ = fs::remove_file(&note);
        assert!(exists, "no server was started");
        let lines: Vec<&str> = text.lines().collect();
        let [directory, template, port] = lines[..] else {
            return Err(text.into());
        };
        let port: u16 = port.parse()?;
        let gone = within(Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
                && !Path::new(directory).exists()
                && !Path::new(template).exists()
        });
        assert!(gone, "{text} is still there");
        Ok(())
    }

    /// Whether it comes true in time.
    fn within(limit: Duration, mut is_true: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if is_true() {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
