//! A lockkeeper in a process of its own, which is killed while a tool works through it. The tool fails; then another
//! one is started, and the tool is run again.
//!
//! The process says on its standard output where it listens. It ends when its standard input does, so when whoever
//! started it is gone.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use lockkeeper::config::Config;
use lockkeeper::server::Server;

use crate::disturbed::{PHASE, Prepared, is_wanted, kills, moment, remembers, until_at_work};
use crate::harness::{Killed, Proxy, block_on, clean_command, settings};
use crate::side::{Running, guarded_server};
use crate::wire::Place;

/// The variables that name the server, by its port, and lockkeeper's database.
const SERVER: &str = "LOCKKEEPER_TEST_KILLED_SERVER";
const JOURNAL: &str = "LOCKKEEPER_TEST_KILLED_JOURNAL";
/// The name of the test that is run.
const TEST: &str = "a_lockkeeper_of_its_own";
/// What its line begins with; the test program writes others.
const MARK: &str = "lockkeeper of its own: listens ";
/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Runs it until it is killed, where a server is named.
pub(crate) fn run() {
    let Ok(port) = std::env::var(SERVER) else {
        return;
    };
    let mut config = settings(port.parse().unwrap());
    configure(&mut config, &std::env::var(JOURNAL).unwrap());
    thread::spawn(|| {
        let _ = std::io::stdin().lines().count();
        std::process::exit(1); // nobody is there any more
    });
    block_on(async {
        let server = Server::bind(config, None).await.unwrap();
        println!("\n{MARK}{}", server.address().unwrap());
        server.run(std::future::pending(), async {}).await.unwrap();
    });
}

/// The settings of the one that is killed and of the one that comes after it.
fn configure(config: &mut Config, journal: &str) {
    crate::side::configure(config);
    journal.clone_into(&mut config.operator.database);
    config.journal.takeover = Duration::from_secs(1);
}

/// The same, for whoever starts it.
pub(crate) struct Child {
    process: Killed,
    place: Place,
}

impl Child {
    /// Starts one in front of the server.
    pub(crate) fn start(journal: &str) -> Child {
        let mut command = clean_command(std::env::current_exe().unwrap());
        command
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(SERVER, guarded_server().port().to_string())
            .env(JOURNAL, journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Killed(command.spawn().unwrap());
        let stdout = process.0.stdout.take().unwrap();
        let (tell, told) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix(MARK) {
                    let _ = tell.send(address.parse().unwrap());
                }
            }
        });
        let address = told.recv_timeout(START_LIMIT).expect("it listens");
        Child {
            process,
            place: Place::Tcp(address),
        }
    }
}

/// lockkeeper is killed while a tool works through it; then the tool is run again through another one.
pub(crate) fn killed(tool: &'static str) {
    if !is_wanted(tool) || !remembers(tool) {
        return;
    }
    let prepared = Prepared::new(tool, "own");
    let journal = format!("lockkeeper_of_{tool}");
    for _ in 0..kills() {
        let mut child = Child::start(&journal);
        let mut side = prepared.side(child.place.clone());
        let mut running = Running::start(side.phase(tool, PHASE));
        let after = until_at_work(&side, &mut running).map(|()| moment(prepared.undisturbed.took));
        thread::sleep(after.unwrap_or_default());
        child.process.0.kill().unwrap();
        child.process.0.wait().unwrap();
        let succeeded = running.wait("the tool without its lockkeeper");
        println!("{tool}, its lockkeeper killed {after:?} after it began: {succeeded}");
        let proxy = Proxy::start(guarded_server(), |config, _| configure(config, &journal));
        side.place = proxy.place().clone();
        prepared.run_again(&side, "its lockkeeper killed");
    }
}
