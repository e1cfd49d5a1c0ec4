//! `lockkeeper health`: asks `/live`, without any other program.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `lockkeeper health`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Address of /live, as http.address
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "LOCKKEEPER__HTTP__ADDRESS",
        default_value = "127.0.0.1:6433"
    )]
    http: String,
}

/// Exit 0 when it is alive, 1 when it isn't.
pub fn main(flags: &Flags) -> ExitCode {
    match ask(&flags.http) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lockkeeper: not alive at {}: {why}", flags.http);
            ExitCode::FAILURE
        }
    }
}

/// # Errors
/// Nobody answers, or not as a lockkeeper that lives.
pub(super) fn ask(address: &str) -> std::io::Result<()> {
    // An address that listens everywhere is asked on loopback.
    let address = address
        .replace("0.0.0.0:", "127.0.0.1:")
        .replace("[::]:", "[::1]:");
    let resolved = address
        .to_socket_addrs()?
        .next()
        .ok_or(std::io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&resolved, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /live HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b" 200") {
        return Ok(());
    }
    Err(std::io::Error::other(format!(
        "it answered {:?}",
        String::from_utf8_lossy(&answer)
    )))
}
