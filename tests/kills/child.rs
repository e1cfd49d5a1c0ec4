//! A lockkeeper in a process of its own, whose plans are held at their points until it is told to go on, or killed.
//!
//! It says on its standard output where it listens, and each point that a plan has come to; a line on its standard
//! input lets that plan go on. It ends when its standard input does, so when whoever started it is gone.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lockkeeper::exec::failpoint::Failpoints;
use lockkeeper::exec::session::{Moment, Point};
use lockkeeper::server::Server;
use rustix::process::{Pid, Signal, kill_process};

use crate::course::{Held, Sent};
use crate::harness::{Killed, block_on, clean_command, settings};
use crate::wire::{Place, Wire};

/// The variable that names the server, by its port, and the name of the test that is run.
const SERVER: &str = "LOCKKEEPER_TEST_KILLED_SERVER";
const TEST: &str = "a_lockkeeper_of_its_own";
/// What its lines begin with; the test program writes others.
const MARK: &str = "lockkeeper of its own: ";
/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

const MOMENTS: [Moment; 4] = [
    Moment::Before,
    Moment::During,
    Moment::After,
    Moment::Undoing,
];

/// Runs it until it is killed, where a server is named.
pub(crate) fn run() {
    let Ok(port) = std::env::var(SERVER) else {
        return;
    };
    let mut config = settings(port.parse().unwrap());
    crate::cell::configure(&mut config);
    block_on(async {
        let server = Server::bind(config, None).await.unwrap();
        let (address, failpoints) = (server.address().unwrap(), server.failpoints());
        hold(failpoints);
        println!("\n{MARK}listens {address}");
        server.run(std::future::pending(), async {}).await.unwrap();
    });
}

/// Holds every plan at every point until there is a line to read.
fn hold(failpoints: Failpoints) {
    let (line, lines) = channel();
    thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            line.send(()).unwrap();
        }
        std::process::exit(1); // nobody is there any more
    });
    let mut reached = failpoints.arm();
    thread::spawn(move || {
        while let Some(held) = reached.blocking_recv() {
            let Point { step, moment } = held.point;
            println!("\n{MARK}reached {step} {moment:?}");
            lines.recv().unwrap();
        }
    });
}

/// The same, for whoever starts it.
pub(crate) struct Child {
    process: Killed,
    stdin: Arc<Mutex<ChildStdin>>,
    place: Place,
    points: Option<Receiver<Point>>,
}

impl Child {
    /// Starts one in front of a server on this machine.
    pub(crate) fn start(server: u16) -> Child {
        let mut command = clean_command(std::env::current_exe().unwrap());
        command
            .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
            .env(SERVER, server.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Killed(command.spawn().unwrap());
        let stdin = process.0.stdin.take().unwrap();
        let (address, points) = listen(process.0.stdout.take().unwrap());
        let address = address.recv_timeout(START_LIMIT).expect("it listens");
        Child {
            process,
            stdin: Arc::new(Mutex::new(stdin)),
            place: Place::Tcp(address),
            points: Some(points),
        }
    }

    /// Where it listens.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends a statement over a session of its, once; its plan is held at each point.
    pub(crate) fn send(&mut self, session: (Wire, TcpStream), sql: &str) -> Sent {
        let points = self.points.take().expect("sent once");
        let stdin = Arc::clone(&self.stdin);
        let points = Box::new(move || {
            let point = points.try_recv().ok()?;
            Some(Held::new(point, GoesOn(Arc::clone(&stdin))))
        });
        Sent::new(&self.place, session, points, sql)
    }

    /// Stops it where it stands, or has it go on.
    pub(crate) fn stop(&self, stops: bool) {
        let pid = Pid::from_child(&self.process.0);
        let signal = if stops { Signal::STOP } else { Signal::CONT };
        kill_process(pid, signal).unwrap();
    }

    /// Kills it; whether it was there to be killed.
    pub(crate) fn kill(&mut self) -> bool {
        const SIGKILL: i32 = 9;
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap().signal() == Some(SIGKILL)
    }
}

/// Lets a plan go on when it is dropped.
struct GoesOn(Arc<Mutex<ChildStdin>>);

impl Drop for GoesOn {
    fn drop(&mut self) {
        let _ = self.0.lock().unwrap().write_all(b"\n"); // it was killed
    }
}

/// Reads what it says.
fn listen(stdout: ChildStdout) -> (Receiver<SocketAddr>, Receiver<Point>) {
    let (listens, address) = channel();
    let (reached, points) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Some(said) = line.strip_prefix(MARK) else {
                continue;
            };
            if let Some(address) = said.strip_prefix("listens ") {
                let _ = listens.send(address.parse().unwrap());
            } else {
                let _ = reached.send(point(said));
            }
        }
    });
    (address, points)
}

fn point(said: &str) -> Point {
    let words: Vec<&str> = said.split(' ').collect();
    let ["reached", step, moment] = words[..] else {
        panic!("said {said:?}");
    };
    let is_it = |one: &Moment| format!("{one:?}") == moment;
    Point {
        step: step.parse().unwrap(),
        moment: MOMENTS.into_iter().find(is_it).expect("a moment"),
    }
}
