//! Accepting clients, and handing each to the relay thread that has the fewest.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;

use super::address::{Address, Peer, tune};
use super::leg::Raw;
use super::startup::{self, StartupError};
use super::worker::{Place, Shared, Worker};

/// Stack of a relay thread, in bytes: the parser recurses.
const STACK_BYTES: usize = 16 << 20;
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A socket that clients connect to; a Unix socket is removed when dropped.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Address::Unix(path) => {
                let is_stale = std::fs::symlink_metadata(path)
                    .is_ok_and(|file| file.file_type().is_socket())
                    && std::os::unix::net::UnixStream::connect(path).is_err();
                if is_stale {
                    std::fs::remove_file(path)?; // left by one that was killed
                }
                Ok(Listener::Unix(UnixListener::bind(path)?, path.clone()))
            }
        }
    }

    /// The address, as bound.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "unknown".to_owned(), |address| address.to_string()),
            Listener::Unix(_, path) => path.display().to_string(),
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

    /// Accepts clients until dropped.
    pub async fn serve(self, threads: Arc<Threads>) {
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
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path); // gone already is as good
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
            let peer = arrival.peer.clone();
            serve_client(arrival, &worker)
                .await
                .unwrap_or_else(|failure| {
                    tracing::debug!(%peer, error = %failure, "session ended");
                });
            worker.metrics.ended.increment(1);
        });
    }
}

async fn serve_client(
    arrival: Arrival,
    worker: &std::rc::Rc<Worker>,
) -> Result<(), Box<dyn std::error::Error>> {
    let _load = arrival.load;
    let raw = arrival.socket.register()?;
    let limit = worker.setup().config.limits.startup_time;
    let peer = arrival.peer;
    let started = tokio::time::timeout(
        limit,
        startup::start(raw, peer.clone(), arrival.place, worker),
    )
    .await;
    let session = match started {
        Ok(Ok(Some(session))) => session,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(failure @ StartupError::Refused(_))) => {
            tracing::info!(%peer, "{failure}");
            return Ok(());
        }
        Ok(Err(failure)) => return Err(failure.into()),
        Err(_) => {
            tracing::info!(%peer, "start-up took longer than limits.startup_time");
            return Ok(());
        }
    };
    tracing::debug!(%peer, user = session.who.user, database = session.who.database, pid = session.who.server_pid,
        "session begins");
    Ok(session.serve().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

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
            let any = Address::Tcp("127.0.0.1:0".to_owned());
            let listener = Listener::bind(&any).await.unwrap();
            let address = Address::Tcp(listener.address());
            let (connected, accepted) = tokio::join!(address.connect(), listener.accept());
            let accepted = accepted.unwrap().0.register().unwrap();
            for (raw, leg) in [(connected.unwrap(), "server"), (accepted, "client")] {
                match &raw {
                    Raw::Tcp(stream) => assert_tuned(stream, leg),
                    Raw::Unix(_) => unreachable!("TCP was bound"),
                }
            }
        });
    }
}
