//! Accepting clients, and handing each to the relay thread that has the fewest.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;

use super::address::{Address, Peer, tune};
use super::connect_log::Caller;
use super::console;
use super::leg::Raw;
use super::startup;
use super::worker::{Place, Shared, Worker};

/// Stack of a relay thread, in bytes: the parser recurses.
const STACK_BYTES: usize = 16 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long handshakes that have begun may take to end when another lockkeeper takes over.
const SETTLE: Duration = Duration::from_millis(200);
/// Drops TCP segments that open a connection: SYN without ACK (`bpf(4)`, classic). Accepted sockets inherit it, and get
/// no such segments.
const DROP_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13), // A = flags, at offset 13 of the header
    SockFilter::new(0x54, 0, 0, 0x12), // A &= SYN | ACK
    SockFilter::new(0x15, 0, 1, 0x02), // is it SYN alone?
    SockFilter::new(0x06, 0, 0, 0),  // drop
    SockFilter::new(0x06, 0, 0, 0xffff_ffff), // keep
];

/// A socket that clients connect to; a Unix socket's file is removed when dropped, if it is still its
/// own.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Binds. With `reuse_port` another lockkeeper of the same user may be listening on the same address, or begin to.
    ///
    /// # Errors
    /// What the system says, and what to do when the address is taken.
    pub async fn bind(address: &Address, reuse_port: bool) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => Ok(Listener::Tcp(bind_tcp(address, reuse_port).await?)),
            Address::Unix(path) => {
                let listener = if reuse_port {
                    bind_over(path)
                } else {
                    bind_new(path).map_err(|error| explain_taken(error, reuse_port))
                }?;
                let file = SocketFile::of(path)?;
                Ok(Listener::Unix(listener, file))
            }
        }
    }

    /// The address, as bound.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "unknown".to_owned(), |address| address.to_string()),
            Listener::Unix(_, file) => file.path.display().to_string(),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                tune(&stream)?;
                Ok((Socket::Tcp(stream.into_std()?), Peer::Tcp(peer)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream.into_std()?), Peer::Unix))
            }
        }
    }

    /// Accepts clients until `end`; those that have connected by then are served too: closing a
    /// listener resets what waits in its queue.
    pub async fn serve(self, threads: Arc<Threads>, end: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = end => {}
            () = self.accept_all(&threads) => {}
        }
        let reuse_port = threads.shared.setup.borrow().config.listen.reuse_port;
        if reuse_port {
            match self.turn_away() {
                Ok(()) => {
                    let _ = tokio::time::timeout(SETTLE, self.accept_all(&threads)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "clients that connect at this moment may be reset");
                }
            }
        }
        if let Err(failure) = self.drain(&threads) {
            tracing::warn!(error = %failure, "clients that had just connected could not be accepted");
        }
    }

    /// Never ends.
    async fn accept_all(&self, threads: &Threads) {
        loop {
            match self.accept().await {
                Ok((socket, peer)) => threads.hand_out(socket, peer),
                Err(failure) if failure.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(failure) => {
                    tracing::warn!(error = %failure, "a client could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Has the system ignore who begins to connect from now on; they ask again after a second, and then find the
    /// lockkeeper that has taken over. Those that have begun go on.
    fn turn_away(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => SockRef::from(listener).attach_filter(&DROP_SYN),
            Listener::Unix(..) => Ok(()), // the path leads to the successor already
        }
    }

    /// Accepts what has connected, and closes the listener.
    fn drain(self, threads: &Threads) -> io::Result<()> {
        // By the system's own calls: the runtime may not have heard yet that somebody waits.
        match self {
            Listener::Tcp(listener) => {
                let listener = listener.into_std()?;
                while let Some((stream, peer)) = unless_empty(listener.accept())? {
                    stream.set_nonblocking(true)?;
                    tune(&stream)?;
                    threads.hand_out(Socket::Tcp(stream), Peer::Tcp(peer));
                }
            }
            Listener::Unix(listener, file) => {
                // First the path, so that nobody comes after the last.
                drop(file);
                let listener = listener.into_std()?;
                while let Some((stream, _)) = unless_empty(listener.accept())? {
                    stream.set_nonblocking(true)?;
                    threads.hand_out(Socket::Unix(stream), Peer::Unix);
                }
            }
        }
        Ok(())
    }
}

/// `None` when nobody waits to be accepted.
fn unless_empty<T>(accepted: io::Result<T>) -> io::Result<Option<T>> {
    match accepted {
        Ok(accepted) => Ok(Some(accepted)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Binds a TCP address, the first of a name's that can be bound.
///
/// # Errors
/// As [`Listener::bind`].
pub async fn bind_tcp(address: &str, reuse_port: bool) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in lookup_host(address).await? {
        match listen_on(address, reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = explain_taken(error, reuse_port),
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Says what to do about an address that is taken.
fn explain_taken(error: io::Error, reuse_port: bool) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    let remedy = if reuse_port {
        "whoever listens there runs without listen.reuse_port, or as another user: stop it first"
    } else {
        "stop whoever listens there, or choose another address; for two lockkeepers side by side during an upgrade, \
         set listen.reuse_port = true for both"
    };
    io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("the address is in use; {remedy}"),
    )
}

/// Binds a Unix socket where there is none, or one that was left behind.
fn bind_new(path: &Path) -> io::Result<UnixListener> {
    let is_stale = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err();
    if is_stale {
        std::fs::remove_file(path)?; // left by one that was killed
    }
    UnixListener::bind(path)
}

/// Binds a Unix socket in place of whatever socket is there: no moment is without one.
fn bind_over(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name which is no socket",
        ));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let listener = bind_new(&temporary)?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })?;
    Ok(listener)
}

/// The file of a Unix socket of ours; removed when dropped, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        let file = std::fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if is_ours {
            let _ = std::fs::remove_file(&self.path); // gone already is as good
        }
    }
}

/// A socket between two runtimes.
#[derive(Debug)]
enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    fn register(self) -> io::Result<Raw> {
        Ok(match self {
            Socket::Tcp(stream) => Raw::Tcp(TcpStream::from_std(stream)?),
            Socket::Unix(stream) => Raw::Unix(UnixStream::from_std(stream)?),
        })
    }
}

struct Arrival {
    socket: Socket,
    peer: Peer,
    place: Option<Place>,
    load: Load,
}

/// Counts a session among its thread's until dropped.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The relay threads.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<(UnboundedSender<Arrival>, Arc<AtomicUsize>)>,
    shared: Shared,
}

impl Threads {
    /// Starts so many threads.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(shared: &Shared, count: usize) -> io::Result<Threads> {
        let mut threads = Vec::new();
        for number in 0..count {
            let (sender, receiver) = unbounded_channel(); // bounded by limits.connections
            let shared = shared.clone();
            let (started, has_started) = std::sync::mpsc::sync_channel(1);
            thread::Builder::new()
                .name(format!("relay-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build_local(LocalOptions::default());
                    let runtime = match runtime {
                        Ok(runtime) => runtime,
                        Err(error) => return drop(started.send(Err(error))),
                    };
                    drop(started.send(Ok(())));
                    let worker = Worker::new(shared, count);
                    runtime.block_on(serve_arrivals(receiver, worker));
                })?;
            has_started.recv().map_err(io::Error::other)??;
            threads.push((sender, Arc::new(AtomicUsize::new(0))));
        }
        Ok(Threads {
            threads,
            shared: shared.clone(),
        })
    }

    fn hand_out(&self, socket: Socket, peer: Peer) {
        let Some((sender, load)) = self
            .threads
            .iter()
            .min_by_key(|(_, load)| load.load(Ordering::Acquire))
        else {
            return;
        };
        load.fetch_add(1, Ordering::AcqRel);
        let limit = self.shared.setup.borrow().config.limits.connections;
        let place = Place::take(&self.shared.clients, limit);
        let arrival = Arrival {
            socket,
            peer,
            place,
            load: Load(Arc::clone(load)),
        };
        if sender.send(arrival).is_err() {
            tracing::error!("a relay thread has ended");
        }
    }
}

async fn serve_arrivals(mut arrivals: UnboundedReceiver<Arrival>, worker: std::rc::Rc<Worker>) {
    spawn_local(std::rc::Rc::clone(&worker).follow_setup());
    while let Some(arrival) = arrivals.recv().await {
        let worker = std::rc::Rc::clone(&worker);
        spawn_local(async move {
            worker.metrics.accepted.increment(1);
            if let Err(failure) = serve_client(arrival, &worker).await {
                tracing::warn!(error = %failure, "a client's socket could not be used");
            }
            worker.metrics.ended.increment(1);
        });
    }
}

/// # Errors
/// What the system says when the socket can't be used at all.
async fn serve_client(arrival: Arrival, worker: &std::rc::Rc<Worker>) -> io::Result<()> {
    let _load = arrival.load;
    let raw = arrival.socket.register()?;
    let (limit, is_logged) = {
        let config = &worker.setup().config;
        (config.limits.startup_time, config.log.connections)
    };
    let mut caller = Caller::new(arrival.peer, is_logged);
    let starting = startup::start(raw, &mut caller, arrival.place, worker);
    let mut session = match tokio::time::timeout(limit, starting).await {
        Ok(Ok(Some(session))) => session,
        Ok(Ok(None)) => {
            caller.left("it wanted no session");
            return Ok(());
        }
        Ok(Err(failure)) if failure.is_departure() => {
            caller.left(&failure.to_string());
            return Ok(());
        }
        Ok(Err(failure)) => {
            caller.refused(&failure.to_string());
            return Ok(());
        }
        Err(_) => {
            caller.refused("start-up took longer than limits.startup_time");
            return Ok(());
        }
    };
    caller.session_begins(&session);
    if session.is_console {
        console::serve(session, &caller).await;
        return Ok(());
    }
    let result = session.serve().await;
    caller.session_ends(&session, &result);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn assert_tuned(stream: &TcpStream, leg: &str) {
        let socket = SockRef::from(stream);
        let seconds = |read: io::Result<Duration>| read.unwrap().as_secs();
        assert!(socket.keepalive().unwrap(), "{leg}");
        assert!(socket.tcp_nodelay().unwrap(), "{leg}");
        assert_eq!(seconds(socket.tcp_keepalive_time()), 60, "{leg}");
        assert_eq!(seconds(socket.tcp_keepalive_interval()), 10, "{leg}");
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 6, "{leg}");
        let user_timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(
            user_timeout.map(|limit| limit.as_secs()),
            Some(120),
            "{leg}"
        );
    }

    #[test]
    fn dead_peers_are_noticed_on_both_legs() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let limit = Duration::from_secs(30);
            let any = Address::Tcp("127.0.0.1:0".to_owned());
            let listener = Listener::bind(&any, false).await.unwrap();
            let address = Address::Tcp(listener.address());
            let (connected, accepted) = tokio::join!(address.connect(limit), listener.accept());
            let accepted = accepted.unwrap().0.register().unwrap();
            for (raw, leg) in [(connected.unwrap(), "server"), (accepted, "client")] {
                match &raw {
                    Raw::Tcp(stream) => assert_tuned(stream, leg),
                    Raw::Unix(_) => unreachable!("TCP was bound"),
                }
            }
        });
    }

    #[test]
    fn who_connects_at_the_last_moment_reaches_the_successor() {
        const CLIENTS: usize = 16;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let any = Address::Tcp("127.0.0.1:0".to_owned());
            let old = Listener::bind(&any, true).await.unwrap();
            let address = old.address();
            let same = Address::Tcp(address.clone());
            let new = Listener::bind(&same, true).await.unwrap();
            old.turn_away().unwrap();
            let client = |_| {
                let address = address.clone();
                tokio::spawn(async move { TcpStream::connect(address).await?.read_u8().await })
            };
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            tokio::task::yield_now().await; // all of them have asked now, about half of them the old one
            drop(old);
            let mut served = Vec::new();
            for _ in 0..CLIENTS {
                let accepting = tokio::time::timeout(Duration::from_secs(30), new.accept());
                let accepted = accepting.await.expect("a client in time").unwrap();
                let mut raw = accepted.0.register().unwrap();
                raw.write_u8(1).await.unwrap();
                served.push(raw);
            }
            for client in clients {
                assert_eq!(client.await.unwrap().unwrap(), 1);
            }
        });
    }
}
