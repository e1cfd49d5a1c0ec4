//! Addresses of listeners and servers: `host:port`, or a directory with a Unix socket in it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::leg::Raw;

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`; names are resolved at each connect.
    Tcp(String),
    /// The socket's own path.
    Unix(PathBuf),
}

/// How long a TCP peer may be silent before it is probed, between probes, and how often (then it is
/// given up).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;
/// How long sent bytes may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

impl Address {
    /// Reads an address; `default_port` names the Unix socket of a bare directory, and a host
    /// without a port.
    pub fn parse(text: &str, default_port: u16) -> Address {
        if !text.starts_with('/') {
            let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
                port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
            });
            let is_bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
            return Address::Tcp(match (has_port, is_bare_v6) {
                (true, _) => text.to_owned(),
                (false, true) => format!("[{text}]:{default_port}"),
                (false, false) => format!("{text}:{default_port}"),
            });
        }
        let (directory, port) = match text.rsplit_once(':') {
            Some((directory, port)) if port.parse::<u16>().is_ok() => (directory, port.to_owned()),
            _ => (text, default_port.to_string()),
        };
        Address::Unix(Path::new(directory).join(format!(".s.PGSQL.{port}")))
    }

    /// Connects. A name is resolved each time, and its addresses tried in turn; `limit` is for
    /// resolving, and for each address.
    ///
    /// # Errors
    /// What the system says of the last address; `TimedOut` when it doesn't say anything in time.
    pub async fn connect(&self, limit: Duration) -> io::Result<Raw> {
        match self {
            Address::Tcp(name) => {
                let addresses = within(limit, "resolving its name", lookup_host(name)).await?;
                Ok(Raw::Tcp(connect_first(addresses, limit).await?))
            }
            Address::Unix(path) => {
                let connecting = UnixStream::connect(path);
                Ok(Raw::Unix(within(limit, "connecting", connecting).await?))
            }
        }
    }

    /// The host's name, for TLS.
    pub fn host(&self) -> Option<&str> {
        match self {
            Address::Tcp(address) => Some(
                address
                    .rsplit_once(':')?
                    .0
                    .trim_start_matches('[')
                    .trim_end_matches(']'),
            ),
            Address::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => path.display().fmt(f),
        }
    }
}

async fn connect_first(
    addresses: impl Iterator<Item = SocketAddr>,
    limit: Duration,
) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match within(limit, "connecting", TcpStream::connect(address)).await {
            Ok(stream) => {
                tune(&stream)?;
                return Ok(stream);
            }
            Err(failure) => {
                tracing::debug!(%address, error = %failure, "an address of the server can't be reached");
                last = failure;
            }
        }
    }
    Err(last)
}

/// # Errors
/// The future's own; `TimedOut` when it takes longer than `limit`.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, future).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{what} took longer than {limit} (upstream.connect_timeout)"),
        ))
    })
}

/// Sets what every TCP connection of a proxy needs: no delay, and dead peers are noticed.
///
/// # Errors
/// What the system says.
pub fn tune(stream: &impl AsFd) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Where a client comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a Unix socket.
    Unix,
    /// Through a trusted proxy, which says who the client is.
    Proxied {
        /// The client.
        client: SocketAddr,
        /// The proxy.
        proxy: SocketAddr,
    },
    /// A trusted proxy for itself, or for a client that it says nothing about.
    Proxy(SocketAddr),
}

impl Peer {
    /// It runs on this machine. An address of loopback that a proxy names is the proxy's own machine's.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        match self {
            Peer::Tcp(address) => is_loopback(address),
            Peer::Unix => true,
            Peer::Proxied { client, proxy } => is_loopback(client) && is_loopback(proxy),
            Peer::Proxy(_) => false,
        }
    }

    /// Its address without the port; `unix` for a Unix socket.
    pub fn host(&self) -> String {
        match self {
            Peer::Tcp(address) | Peer::Proxy(address) => address.ip().to_canonical().to_string(),
            Peer::Proxied { client, .. } => client.ip().to_canonical().to_string(),
            Peer::Unix => "unix".to_owned(),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) | Peer::Proxy(address) => address.fmt(f),
            Peer::Proxied { client, .. } => client.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("db:5433", Address::Tcp("db:5433".into())),
            ("db", Address::Tcp("db:5432".into())),
            ("[::1]:7", Address::Tcp("[::1]:7".into())),
            ("::1", Address::Tcp("[::1]:5432".into())),
            ("/run/pg", Address::Unix("/run/pg/.s.PGSQL.5432".into())),
            (
                "/run/pg:6000",
                Address::Unix("/run/pg/.s.PGSQL.6000".into()),
            ),
        ] {
            assert_eq!(Address::parse(text, 5432), expected, "{text}");
        }
        assert_eq!(Address::parse("[::1]:7", 1).host(), Some("::1"));
    }

    #[test]
    fn a_proxied_client_is_local_only_on_the_proxys_machine_and_this() {
        let [here, there]: [SocketAddr; 2] =
            ["127.0.0.1:1", "10.0.0.7:2"].map(|text| text.parse().unwrap());
        let proxied = |client, proxy| Peer::Proxied { client, proxy };
        assert!(Peer::Tcp(here).is_local() && Peer::Unix.is_local());
        assert!(proxied(here, here).is_local());
        for peer in [
            Peer::Tcp(there),
            proxied(there, here),
            proxied(here, there),
            Peer::Proxy(here),
        ] {
            assert!(!peer.is_local(), "{peer:?}");
        }
        assert_eq!(proxied(there, here).to_string(), "10.0.0.7:2");
        let mapped: SocketAddr = "[::ffff:10.0.0.7]:2".parse().unwrap();
        assert_eq!(Peer::Tcp(mapped).host(), "10.0.0.7");
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn the_next_address_is_tried() {
        block_on(async {
            let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let addresses = [free.local_addr().unwrap(), taken.local_addr().unwrap()];
            drop(free);
            let limit = Duration::from_secs(30);
            let stream = connect_first(addresses.into_iter(), limit).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
            let refused = connect_first(addresses[..1].iter().copied(), limit).await;
            assert_eq!(
                refused.unwrap_err().kind(),
                io::ErrorKind::ConnectionRefused
            );
            let nothing = connect_first([].into_iter(), limit).await;
            assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::NotFound);
            let never = within(
                Duration::from_millis(1),
                "it",
                std::future::pending::<io::Result<()>>(),
            );
            let why = never.await.unwrap_err().to_string();
            assert!(why.contains("1ms (upstream.connect_timeout)"), "{why}");
        });
    }
}
