//! A relayed transaction allocates nothing. The relay runs in this process in front of a real server, and every
//! allocation of the process is counted; so there is just one test here, and its client allocates nothing either.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use lockkeeper::config::Config;
use lockkeeper::metrics;
use lockkeeper::pg::temporary::{HOW_TO_GET, Options, TemporaryServer, find_binaries};
use lockkeeper::server::Server;
use serde_json::Value;
use tokio::sync::oneshot;

#[allow(dead_code)]
#[path = "it/wire.rs"]
mod wire;

use self::wire::{b, d, e, p, prepare, q, s, startup};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Transactions of each kind.
const COUNT: usize = 1000;
/// How many come before those that count: buffers grow, texts are classified.
const WARM_UP: usize = 50;

/// A client that owns all its memory from the beginning.
struct Client {
    socket: TcpStream,
    answer: Box<[u8]>,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        prepare(&socket);
        let answer = vec![0; 64 << 10].into_boxed_slice();
        let mut client = Client { socket, answer };
        client.ask(&startup(&[("user", "postgres"), ("database", "postgres")]));
        client
    }

    /// Sends messages and reads up to ReadyForQuery, which is the last that comes.
    fn ask(&mut self, messages: &[u8]) {
        self.socket.write_all(messages).unwrap();
        let mut length = 0;
        loop {
            let count = self.socket.read(&mut self.answer[length..]).unwrap();
            assert_ne!(count, 0, "the session ended");
            length += count;
            if let Some((rest, [b'Z', 0, 0, 0, 5, _])) = self.answer[..length].split_last_chunk() {
                assert!(
                    rest.is_empty() || rest[0] != b'E',
                    "{}",
                    rest.escape_ascii()
                );
                return;
            }
        }
    }
}

/// A lockkeeper on a thread of this process, until the sender is dropped.
fn start_proxy(upstream: u16) -> (SocketAddr, oneshot::Sender<()>, thread::JoinHandle<()>) {
    let mut config = Config::default();
    config.listen.address = vec!["127.0.0.1:0".to_owned()];
    config.upstream.address = format!("127.0.0.1:{upstream}");
    config.http.address = String::new();
    // What the operator asks now and then isn't the sessions' cost.
    config.operator.url = Some(String::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server::bind(config, metrics::install()).await.unwrap();
            tell.send(server.address().unwrap()).unwrap();
            let drain = async { drop(stopped.await) };
            server.run(drain, async {}).await.unwrap();
        });
    });
    (told.recv().unwrap(), stop, thread)
}

/// How often this process allocates meanwhile; who did is written to a file.
fn allocations(file: &Path, meanwhile: impl FnOnce()) -> u64 {
    let profiler = dhat::Profiler::builder()
        .file_name(file)
        .trim_backtraces(Some(40))
        .build();
    let before = dhat::HeapStats::get().total_blocks;
    meanwhile();
    let blocks = dhat::HeapStats::get().total_blocks - before;
    drop(profiler);
    blocks
}

/// Who allocated, most first, from dhat's own file.
fn who_allocated(file: &Path) -> String {
    let profile: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let frames = profile["ftbl"].as_array().unwrap();
    let mut points: Vec<&Value> = profile["pps"].as_array().unwrap().iter().collect();
    points.sort_by_key(|point| std::cmp::Reverse(point["tbk"].as_u64()));
    let mut text = String::new();
    for point in points.iter().take(20) {
        text += &format!("\n{} blocks, {} bytes:\n", point["tbk"], point["tb"]);
        for frame in point["fs"].as_array().unwrap() {
            let at = usize::try_from(frame.as_u64().unwrap()).unwrap();
            text += &format!("    {}\n", frames[at].as_str().unwrap_or_default());
        }
    }
    text
}

#[test]
fn a_relayed_transaction_allocates_nothing() {
    let binaries = find_binaries().unwrap_or_else(|| panic!("{HOW_TO_GET}"));
    let server = TemporaryServer::start(&Options::new(binaries)).unwrap();
    let (address, stop, thread) = start_proxy(server.port());
    let mut client = Client::connect(address);
    client.ask(&[p("prepared", "SELECT $1::int + 1"), s()].concat());
    let one = ["1"];
    let run = |statement: &str| [b("", statement, &one), d(b'P', ""), e("", 0), s()].concat();
    let kinds = [
        ("a Query", vec![q("SELECT 1")]),
        (
            "Parse and all",
            vec![[p("", "SELECT $1::int"), run("")].concat()],
        ),
        (
            "a prepared statement",
            vec![[b("", "prepared", &one), e("", 0), s()].concat()],
        ),
        (
            "a block",
            vec![q("BEGIN"), q("SELECT 1"), run("prepared"), q("COMMIT")],
        ),
        ("a row of 30 kB", vec![q("SELECT repeat('x', 30000)")]),
    ];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.json");
    // Counting works: a session that begins allocates, on a thread of the relay's.
    let counted = allocations(&file, || drop(Client::connect(address)));
    assert!(counted > 0 && who_allocated(&file).contains("lockkeeper::proxy"));
    let mut found = String::new();
    for (kind, messages) in &kinds {
        let transaction = |client: &mut Client| messages.iter().for_each(|part| client.ask(part));
        (0..WARM_UP).for_each(|_| transaction(&mut client));
        let blocks = allocations(&file, || (0..COUNT).for_each(|_| transaction(&mut client)));
        println!("{kind}: {blocks} allocations in {COUNT} transactions");
        if blocks > 0 {
            found += &format!("{kind}: {blocks} allocations{}", who_allocated(&file));
        }
    }
    drop((client, stop));
    thread.join().unwrap();
    assert!(found.is_empty(), "in {COUNT} transactions each:\n{found}");
}
