//! PostgreSQL's own regression suite, three times: directly, through lockkeeper in `observe`, and through lockkeeper in
//! `enforce`, each time on a fresh server with the same settings. What psql printed is compared byte by byte, file by
//! file.
//!
//! * In `observe` every file is the same.
//! * In `enforce` exactly those files differ that `docs/transparency.md` lists, and of those that it says differ by
//!   NOTICEs only, nothing but lockkeeper's own NOTICEs.
//!
//! `.ci/regress` prepares the suite; `make regress` runs this. What was printed is kept in `target/regress`.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lockkeeper::config::policy::RuleActions;
use lockkeeper::config::{Config, Mode};
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use lockkeeper::rules::{Action, RULES};
use lockkeeper::server::Server;
use tokio::sync::oneshot;

/// How long one run of the suite may take.
const RUN_LIMIT: Duration = Duration::from_secs(30 * 60);
/// So many files must be as PostgreSQL expects them in a direct run, or the comparison says little.
const FILES_OK: usize = 195;
/// Begins every line of a NOTICE of lockkeeper's.
const OWN_NOTICE: &[u8] = b"NOTICE:  lockkeeper: ";
/// Such NOTICEs, about a wait or something that takes long, may come anywhere: it depends on who does what meanwhile.
const WAITS: &[&[u8]] = &[b"waiting ", b"the build waits "];
const TAKES_LONG: &[u8] = b" so far\n";
/// Begin the lines that may follow a NOTICE and say who is in the way.
const WHO: &[&[u8]] = &[
    b"DETAIL:  ",
    b"process ",
    b"plan ",
    b"prepared transaction ",
    b"and ",
];
/// So many lines are shown of what isn't the same.
const SHOWN: usize = 20;

/// Files that differ between two direct runs, and why. They aren't compared.
const UNSTABLE: &[(&str, &str)] = &[];

/// What a run of the suite printed.
struct Results {
    /// Where the files are kept.
    directory: PathBuf,
    /// Each result file by name.
    files: BTreeMap<String, Vec<u8>>,
    /// How many tests ended as PostgreSQL expects.
    ok: usize,
}

#[test]
fn in_observe_every_file_is_that_of_a_direct_run() {
    let direct = direct();
    assert!(
        direct.ok >= FILES_OK,
        "only {} files are ok directly: {}",
        direct.ok,
        direct.directory.display()
    );
    judge_run("observe", Mode::Observe, |observed| {
        let none = BTreeSet::new();
        if differing(direct, observed) != none || observed.ok != direct.ok {
            return Err(compare(direct, observed, &none));
        }
        Ok(())
    });
}

#[test]
fn in_enforce_those_files_differ_that_are_explained() {
    let direct = direct();
    let documented = documented();
    let expected: BTreeSet<String> = documented.keys().cloned().collect();
    judge_run("enforce", Mode::Enforce, |enforced| {
        let hint = compare(direct, enforced, &expected);
        let differing = differing(direct, enforced);
        if let Some(same) = expected.difference(&differing).next() {
            return Err(format!("{same} doesn't differ; {hint}"));
        }
        if differing != expected {
            return Err(hint);
        }
        for (name, by_notices) in &documented {
            let left = without_notices(&enforced.files[name]);
            let same = left == direct.files[name];
            if same != *by_notices {
                let how = first_difference(&direct.files[name], &left);
                return Err(format!("{name} by NOTICEs only: {same}; {hint}\n{how}"));
            }
        }
        Ok(())
    });
}

/// Runs the suite and judges what it printed; again when that isn't as it shall be: up to twenty scripts run at the
/// same time, and see of each other what the machine's load decides.
fn judge_run(name: &str, mode: Mode, judge: impl Fn(&Results) -> Result<(), String>) {
    if let Err(first) = judge(&run(name, Some(mode))) {
        eprintln!("{name}, the first time: {first}");
        if let Err(second) = judge(&run(name, Some(mode))) {
            panic!("{name}, both times: {second}");
        }
    }
}

/// Where two outputs begin to differ, for people.
fn first_difference(one: &[u8], other: &[u8]) -> String {
    let lines = |output: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(output);
        text.lines().map(str::to_owned).collect()
    };
    let (one, other) = (lines(one), lines(other));
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[String]| {
        let shown = lines.iter().skip(same.saturating_sub(3)).take(SHOWN);
        shown.cloned().collect::<Vec<_>>().join("\n")
    };
    format!(
        "--- from line {same}\n{}\n+++\n{}",
        rest(&one),
        rest(&other)
    )
}

/// The suite without lockkeeper, run once.
fn direct() -> &'static Results {
    static DIRECT: OnceLock<Results> = OnceLock::new();
    DIRECT.get_or_init(|| run("direct", None))
}

/// The names of the files that aren't the same.
fn differing(one: &Results, other: &Results) -> BTreeSet<String> {
    let names: BTreeSet<&String> = one.files.keys().chain(other.files.keys()).collect();
    let is_unstable = |name: &str| UNSTABLE.iter().any(|(unstable, _)| *unstable == name);
    names
        .into_iter()
        .filter(|name| !is_unstable(name) && one.files.get(*name) != other.files.get(*name))
        .cloned()
        .collect()
}

/// How to look at the differences, and where those begin that aren't expected.
fn compare(one: &Results, other: &Results, expected: &BTreeSet<String>) -> String {
    let mut words = format!(
        "see: diff -r {} {}",
        one.directory.display(),
        other.directory.display()
    );
    for name in differing(one, other).difference(expected) {
        if let (Some(one), Some(other)) = (one.files.get(name), other.files.get(name)) {
            let _ = write!(words, "\n{name}: {}", first_difference(one, other));
        }
    }
    words
}

/// What is left of an output when lockkeeper's own NOTICEs are taken out.
fn without_notices(output: &[u8]) -> Vec<u8> {
    let lines = output.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.starts_with(OWN_NOTICE))
        .flatten()
        .copied()
        .collect()
}

/// What is left of an output when NOTICEs about waits are taken out, with their details.
fn without_waits(output: &[u8]) -> Vec<u8> {
    let begins = |line: &[u8], with: &[&[u8]]| with.iter().any(|front| line.starts_with(front));
    let mut left = Vec::new();
    let mut is_wait = false;
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        is_wait = match line.strip_prefix(OWN_NOTICE) {
            Some(words) => begins(words, WAITS) || words.ends_with(TAKES_LONG),
            None => is_wait && begins(line, WHO),
        };
        if !is_wait {
            left.extend_from_slice(line);
        }
    }
    left
}

/// The files that the documentation lists as differing in `enforce`: true for those that differ by NOTICEs only.
fn documented() -> BTreeMap<String, bool> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/transparency.md");
    let page = fs::read_to_string(page).unwrap();
    let mut files = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = cells[1].split(' ').filter_map(|name| {
            let name = name.trim_end_matches(',').strip_prefix('`')?;
            name.strip_suffix('`')
        });
        for name in names.filter(|name| name.ends_with(".out")) {
            let before = files.insert(name.to_owned(), cells[2] == "NOTICEs");
            assert_eq!(before, None, "{name} twice");
        }
    }
    assert!(!files.is_empty(), "docs/transparency.md lists no file");
    files
}

/// Runs the suite on a new server, through lockkeeper if a mode is given. One run at a time: they would disturb each
/// other.
fn run(name: &str, mode: Option<Mode>) -> Results {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    let suite = suite();
    let binaries = find_binaries().unwrap_or_else(|| panic!("{HOW_TO_GET}"));
    // Statistics that come at other moments choose other plans.
    let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    let options = Options {
        settings,
        ..Options::new(binaries)
    };
    let server = TemporaryServer::start(&options).unwrap();
    let proxy = mode.map(|mode| Proxy::start(server.port(), mode));
    let port = proxy.as_ref().map_or(server.port(), |proxy| proxy.port);

    // The server writes here too, as a user of its own where this is root.
    let output = server.directory().join("regress");
    fs::create_dir(&output).unwrap();
    fs::set_permissions(&output, fs::Permissions::from_mode(0o777)).unwrap();
    let command = pg_regress(&suite, server.binaries(), &output, port);
    let said = run_to_its_end(command, &output.join("said"));
    drop(proxy);

    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/regress")
        .join(name);
    let mut files = keep(&output.join("results"), &kept, &said);
    for printed in files.values_mut() {
        *printed = without_waits(printed);
    }
    let ok = said.lines().filter(|line| is_ok(line)).count();
    eprintln!(
        "{name}: {} files, {ok} as expected, in {} s",
        files.len(),
        began.elapsed().as_secs()
    );
    Results {
        directory: kept,
        files,
        ok,
    }
}

/// The directory that `.ci/regress` has prepared.
fn suite() -> PathBuf {
    let named = std::env::var_os("LOCKKEEPER_TEST_REGRESS");
    let suite =
        PathBuf::from(named.expect("LOCKKEEPER_TEST_REGRESS is not set: run `make regress`"));
    assert!(
        suite.join("pg_regress").is_file(),
        "no suite in {}: run `make regress`",
        suite.display()
    );
    suite
}

/// As `make installcheck-parallel` runs it, in an environment without surprises.
fn pg_regress(suite: &Path, binaries: &Path, output: &Path, port: u16) -> Command {
    let mut command = Command::new("/bin/sh");
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    command
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .arg(suite.join("pg_regress"))
        .arg(option("inputdir", suite))
        .arg(option("outputdir", output))
        .arg(option("bindir", binaries))
        .arg(option("dlpath", &suite.join("lib")))
        .arg(option("schedule", &suite.join("parallel_schedule")))
        .args([
            "--max-concurrent-tests=20",
            "--host=127.0.0.1",
            "--user=postgres",
        ])
        .arg(format!("--port={port}"))
        .current_dir(suite)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C");
    command
}

/// Whether a line of pg_regress says that a test ended as expected; since 16 it speaks TAP.
fn is_ok(line: &str) -> bool {
    line.starts_with("ok ") || line.contains("... ok ")
}

/// Runs pg_regress, which fails when a file isn't as expected: that is compared here.
fn run_to_its_end(mut command: Command, log: &Path) -> String {
    let file = fs::File::create(log).unwrap();
    command
        .stdin(Stdio::null())
        .stderr(file.try_clone().unwrap())
        .stdout(file);
    let mut child = Killed(command.spawn().unwrap());
    let deadline = Instant::now() + RUN_LIMIT;
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "not done after {RUN_LIMIT:?}");
        thread::sleep(Duration::from_millis(100));
    };
    let said = fs::read_to_string(log).unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}\n{said}");
    said
}

/// Copies a run's files to where they stay.
fn keep(results: &Path, kept: &Path, said: &str) -> BTreeMap<String, Vec<u8>> {
    let _ = fs::remove_dir_all(kept);
    fs::create_dir_all(kept).unwrap();
    fs::write(kept.with_extension("log"), said).unwrap();
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(results).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        fs::write(kept.join(&name), &bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

/// A process that doesn't outlive this one's interest in it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// lockkeeper with its default settings but for the mode, on a thread of its own; gone when dropped.
struct Proxy {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What would be refused runs, and plans are made for indexes only: otherwise one refusal would change all that comes
/// after it.
fn nothing_refused() -> RuleActions {
    let as_sent = RULES.iter().filter(|rule| {
        rule.action >= Action::Rewrite && !rule.name.contains("index-")
            || rule.name == "reindex-many"
    });
    let allowed: BTreeMap<&str, &str> = as_sent.map(|rule| (rule.name, "allow")).collect();
    serde_json::from_value(serde_json::to_value(allowed).unwrap()).unwrap()
}

impl Proxy {
    fn start(upstream: u16, mode: Mode) -> Proxy {
        let mut config = Config::default();
        config.listen.address = vec!["127.0.0.1:0".to_owned()];
        config.upstream.address = format!("127.0.0.1:{upstream}");
        config.http.address = String::new();
        config.guard.mode = mode;
        // Some of its files look at all databases, and at every lock.
        config.operator.database = String::new();
        config.policy.rules = nothing_refused();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || serve(config, &tell, stopped));
        Proxy {
            port: told.recv().expect("the proxy starts"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

fn serve(config: Config, tell: &mpsc::Sender<u16>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let server = Server::bind(config, None).await.unwrap();
        tell.send(server.address().unwrap().port()).unwrap();
        let drain = async { drop(stopped.await) };
        server.run(drain, async {}).await.unwrap();
    });
}
