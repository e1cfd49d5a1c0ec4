//! Addresses of listeners and servers: `host:port`, or a directory with a Unix socket in it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

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

    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub async fn connect(&self) -> io::Result<Raw> {
        match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                tune(&stream)?;
                Ok(Raw::Tcp(stream))
            }
            Address::Unix(path) => Ok(Raw::Unix(UnixStream::connect(path).await?)),
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

/// Sets what every TCP connection of a proxy needs: no delay, and dead peers are noticed.
///
/// # Errors
/// What the system says.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
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
}

impl Peer {
    /// It runs on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix => true,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
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
}
