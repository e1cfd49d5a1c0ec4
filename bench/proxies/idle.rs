//! The memory of idle connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::contender::{Bench, Contender};
use crate::process::Memory;

/// A start-up message for the user and the database `postgres`.
const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const QUERY: &[u8] = b"Q\0\0\0\x0dSELECT 1\0";
/// How long an answer may take, and memory to come to rest.
const LIMIT: Duration = Duration::from_secs(60);
/// Memory has come to rest when it stays as it is for this long.
const REST: Duration = Duration::from_secs(2);

/// What connections made a contender's memory grow by.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) name: String,
    pub(crate) before: Memory,
    /// When each has run a query, one after the other.
    pub(crate) after: Memory,
    /// When all have run another at the same time.
    pub(crate) after_burst: Memory,
}

/// Opens this many sessions of each contender, one contender after the other. Each session runs a
/// query, then all run one at once, then they stay.
pub(crate) fn measure(
    bench: &Bench,
    contenders: &[Contender],
    connections: u32,
) -> anyhow::Result<Vec<Growth>> {
    let tls = bench.tls.as_ref().map(|tls| client(&tls.certificate_pem));
    let tls = tls.transpose()?;
    let mut all = Vec::new();
    for contender in contenders {
        let running = bench.run(contender)?;
        let process = running.id().context("no process to look at")?;
        let before = at_rest(process)?;
        let mut sessions = Vec::new();
        for _ in 0..connections {
            let session = open(running.port, tls.clone());
            sessions.push(session.with_context(|| contender.name.clone())?);
        }
        let after = at_rest(process)?;
        for session in &mut sessions {
            session.write_all(QUERY)?;
        }
        for session in &mut sessions {
            until_ready(&mut **session)?;
        }
        all.push(Growth {
            name: contender.name.clone(),
            before,
            after,
            after_burst: at_rest(process)?,
        });
    }
    Ok(all)
}

/// The memory when it doesn't change any more.
fn at_rest(process: u32) -> anyhow::Result<Memory> {
    let deadline = Instant::now() + LIMIT;
    let mut memory = Memory::of(process)?;
    let mut since = Instant::now();
    while since.elapsed() < REST {
        ensure!(Instant::now() < deadline, "memory doesn't come to rest");
        thread::sleep(Duration::from_millis(100));
        let now = Memory::of(process)?;
        if now.rss != memory.rss {
            memory = now;
            since = Instant::now();
        }
    }
    Ok(memory)
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A session that has run a query.
fn open(port: u16, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Box<dyn Stream>> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(socket),
        Some(config) => {
            socket.write_all(SSL_REQUEST)?;
            let mut answer = [0];
            socket.read_exact(&mut answer)?;
            ensure!(answer == *b"S", "no TLS");
            let name = ServerName::try_from("localhost")?;
            Box::new(StreamOwned::new(
                ClientConnection::new(config, name)?,
                socket,
            ))
        }
    };
    stream.write_all(STARTUP)?;
    until_ready(&mut *stream)?;
    stream.write_all(QUERY)?;
    until_ready(&mut *stream)?;
    Ok(stream)
}

/// Reads messages up to ReadyForQuery.
fn until_ready(stream: &mut dyn Stream) -> anyhow::Result<()> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = u32::from_be_bytes(length).checked_sub(4);
        let length = length.ok_or_else(|| anyhow!("a length below 4"))?;
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        match tag {
            b'Z' => return Ok(()),
            b'E' => return Err(anyhow!("{}", String::from_utf8_lossy(&body))),
            _ => {}
        }
    }
}

/// A client of TLS that trusts this certificate.
fn client(certificate: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}
