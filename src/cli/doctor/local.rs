//! This machine: addresses, descriptors, files.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};
use x509_parser::parse_x509_certificate;

use super::Report;
use crate::cli::{health, serve};
use crate::config::{ClientTls, Config, Listen};
use crate::proxy::address::Address;
use crate::proxy::tls;
use crate::server::DEFAULT_LISTEN_PORT;

/// Certificates that end earlier are warned of.
const SOON_DAYS: i64 = 30;
const SECONDS_PER_DAY: i64 = 86_400;

/// `listen.address` and `http.address` can be bound, or a lockkeeper that runs has them.
pub(super) async fn addresses(report: &mut Report, config: &Config) {
    let http = config.http.address.as_str();
    let is_running = !http.is_empty() && health::ask(http).is_ok();
    for text in &config.listen.address {
        let result = match Address::parse(text, DEFAULT_LISTEN_PORT) {
            Address::Tcp(name) => try_bind(&name, config.listen.reuse_port).await,
            Address::Unix(path) => try_socket_file(&path),
        };
        say_bound(report, "listen", text, result, is_running);
    }
    if http.is_empty() {
        report.ok(
            "http",
            "off: no metrics, and `lockkeeper health` has nobody to ask",
        );
        return;
    }
    let result = try_bind(http, config.listen.reuse_port).await;
    say_bound(report, "http", http, result, is_running);
    let resolved = tokio::net::lookup_host(http).await;
    if resolved.is_ok_and(|mut addresses| addresses.any(|address| !address.ip().is_loopback())) {
        report.warn(
            "http",
            format!("{http} isn't loopback, and whoever reaches it can read the metrics"),
            "keep it on loopback or a private network",
        );
    }
}

fn say_bound(
    report: &mut Report,
    check: &'static str,
    address: &str,
    result: io::Result<()>,
    is_running: bool,
) {
    match result {
        Ok(()) => report.ok(check, format!("{address} can be bound")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_running => report.ok(
            check,
            format!("{address} is in use, and a lockkeeper is running here"),
        ),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => report.fail(
            check,
            format!("{address} is in use by something else"),
            "stop it (`ss -ltnp` names it), or choose another address",
        ),
        Err(error) => report.fail(
            check,
            format!("{address} can't be bound: {error}"),
            "name an address of this machine; ports below 1024 need privileges",
        ),
    }
}

/// Binds without listening, so that no client can meet the test.
async fn try_bind(name: &str, reuse_port: bool) -> io::Result<()> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in tokio::net::lookup_host(name).await? {
        match try_bind_one(address, reuse_port) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_bind_one(address: SocketAddr, reuse_port: bool) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())
}

fn try_socket_file(path: &Path) -> io::Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    try_directory_of(path)
}

/// Whether files can be made beside this one.
fn try_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let probe = directory.join(format!(".lockkeeper-doctor.{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}

/// Two descriptors for each client.
pub(super) fn descriptors(report: &mut Report, config: &Config) {
    let needed = serve::descriptors_needed(config.limits.connections);
    match getrlimit(Resource::Nofile).maximum {
        Some(hard) if hard < needed => report.warn(
            "limits",
            format!(
                "{hard} open files are allowed here, and limits.connections = {} needs {needed}",
                config.limits.connections
            ),
            "raise it for the service (LimitNOFILE of the systemd unit, ulimit -Hn), or lower limits.connections",
        ),
        Some(hard) => report.ok(
            "limits",
            format!("{hard} open files are allowed, {needed} needed"),
        ),
        None => report.ok("limits", "any number of open files is allowed"),
    }
}

/// `listen.certificate` and `listen.key` fit, and are valid now.
pub(super) fn certificate(report: &mut Report, listen: &Listen) {
    if listen.tls == ClientTls::Disable {
        report.ok("listen.tls", "disable: clients speak without TLS");
        return;
    }
    if let Err(error) = tls::acceptor(listen) {
        report.fail(
            "listen.tls",
            error,
            "listen.certificate and listen.key must be PEM files that lockkeeper can read, of the same pair",
        );
        return;
    }
    for der in own_chain(listen) {
        validity(report, "listen.tls", "listen.certificate", &der);
    }
}

/// The certificates of `listen.certificate`, DER; none when they can't be read.
pub(super) fn own_chain(listen: &Listen) -> Vec<Vec<u8>> {
    let chain = listen.certificate.as_deref().map(tls::certificates);
    let chain = chain.and_then(Result::ok).unwrap_or_default();
    chain.iter().map(|der| der.to_vec()).collect()
}

/// Whether a certificate is valid now, and for how long.
pub(super) fn validity(report: &mut Report, check: &'static str, whose: &str, der: &[u8]) {
    let Ok((_, certificate)) = parse_x509_certificate(der) else {
        let remedy = "make a new one";
        return report.fail(check, format!("{whose} can't be read as X.509"), remedy);
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let (from, to) = (
        certificate.validity().not_before,
        certificate.validity().not_after,
    );
    let subject = certificate.subject();
    let days = (to.timestamp() - now).div_euclid(SECONDS_PER_DAY);
    if now < from.timestamp() {
        let message = format!("{whose} ({subject}) isn't valid before {from}");
        report.fail(check, message, "look at the clock, or make a new one");
    } else if now > to.timestamp() {
        let message = format!("{whose} ({subject}) ended on {to}");
        report.fail(check, message, "renew it");
    } else if days < SOON_DAYS {
        let message = format!("{whose} ({subject}) ends in {days} days, on {to}");
        report.warn(check, message, "renew it");
    } else {
        report.ok(
            check,
            format!("{whose} ({subject}) is valid for {days} days"),
        );
    }
}

/// `audit.file` can be written.
pub(super) fn audit(report: &mut Report, config: &Config) {
    let Some(path) = &config.audit.file else {
        let message = "audit.file isn't set: schema changes are recorded in the log only";
        return report.ok("audit", message);
    };
    let result = if path.exists() {
        std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map(drop)
    } else {
        try_directory_of(path)
    };
    match result {
        Ok(()) => report.ok("audit", format!("{} can be written", path.display())),
        Err(error) => report.fail(
            "audit",
            format!("{} can't be written: {error}", path.display()),
            "give lockkeeper's user the right to write it, and ask as that user",
        ),
    }
}
