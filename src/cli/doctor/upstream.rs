//! The server, as far as it shows itself to somebody without a login.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Report, local};
use crate::config::{ClientTls, Config, ServerTls};
use crate::proxy::address::{Address, within};
use crate::proxy::leg::Stream;
use crate::proxy::setup::DEFAULT_UPSTREAM_PORT;
use crate::proxy::startup;
use crate::proxy::tls::{BothLegs, ServerConnector};
use crate::wire::backend::ErrorFields;
use crate::wire::frame::{HEADER_BYTES, Header};
use crate::wire::startup::SSL_REQUEST;

/// A user that no server has.
const NOBODY: &str = "lockkeeper_doctor_nobody";
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A server that accepts connections.
pub(super) struct Server {
    address: Address,
    connector: Option<ServerConnector>,
}

impl Server {
    /// A connection, with TLS as configured.
    pub(super) async fn connect(&self, config: &Config) -> io::Result<Stream> {
        startup::connect_to(&self.address, self.connector.as_ref(), &config.upstream).await
    }
}

/// Resolves and connects; `None` when no address can be reached.
pub(super) async fn reach(report: &mut Report, config: &Config) -> Option<Server> {
    let address = Address::parse(&config.upstream.address, DEFAULT_UPSTREAM_PORT);
    let connector = match ServerConnector::new(&config.upstream, address.host()) {
        Ok(connector) => connector,
        Err(error) => {
            report.fail("upstream.tls", error, "see upstream.tls and upstream.ca");
            return None;
        }
    };
    let remedy = "see upstream.address; does PostgreSQL run there, and may this machine reach it?";
    let each = match &address {
        Address::Unix(_) => vec![address.clone()],
        Address::Tcp(name) => {
            let limit = config.upstream.connect_timeout;
            let resolving = within(limit, "resolving its name", tokio::net::lookup_host(name));
            match resolving.await {
                Ok(found) => found.map(|found| Address::Tcp(found.to_string())).collect(),
                Err(error) => {
                    report.fail("upstream", format!("{name}: {error}"), remedy);
                    return None;
                }
            }
        }
    };
    let mut reached = 0;
    for one in &each {
        match one.connect(config.upstream.connect_timeout).await {
            Ok(_) => reached += 1,
            Err(error) if each.len() == 1 => {
                report.fail(
                    "upstream",
                    format!("{address} can't be reached: {error}"),
                    remedy,
                );
            }
            Err(error) => {
                let message = format!("{one}, an address of {address}, can't be reached: {error}");
                report.warn(
                    "upstream",
                    message,
                    "the others are tried; see the name server",
                );
            }
        }
    }
    if reached == 0 {
        if each.len() != 1 {
            report.fail(
                "upstream",
                format!("{address}: no address can be reached"),
                remedy,
            );
        }
        return None;
    }
    let count = each.len();
    report.ok(
        "upstream",
        format!("{address}: {reached} of {count} addresses reached"),
    );
    Some(Server { address, connector })
}

/// TLS as the server offers it, against `upstream.tls`; and what that means for SCRAM.
pub(super) async fn encryption(report: &mut Report, config: &Config, server: &Server) {
    let Address::Tcp(name) = &server.address else {
        report.ok("upstream.tls", "a Unix socket needs none");
        return scram(report, config, None);
    };
    let is_offered = match is_tls_offered(server, config).await {
        Ok(is_offered) => is_offered,
        Err(error) => {
            let message = format!("{name} doesn't answer as PostgreSQL does: {error}");
            return report.fail("upstream", message, "see upstream.address");
        }
    };
    match (config.upstream.tls, is_offered) {
        (ServerTls::Disable, true) if !is_near(name).await => report.warn(
            "upstream.tls",
            "disable: the server offers TLS, and what goes to it passes the network in the clear",
            "set upstream.tls = \"verify-full\", or keep it to a private network",
        ),
        (ServerTls::Disable, _) => report.ok("upstream.tls", "disable: no TLS to the server"),
        (ServerTls::Prefer, false) => report.warn(
            "upstream.tls",
            "prefer: the server offers no TLS, so there is none",
            "set ssl = on in postgresql.conf, or upstream.tls = \"disable\"",
        ),
        (tls, false) => report.fail(
            "upstream.tls",
            format!("{} is demanded, and the server offers no TLS", word(tls)),
            "set ssl = on in postgresql.conf, or another upstream.tls",
        ),
        (_, true) => return handshake(report, config, server).await,
    }
    scram(report, config, None);
}

/// The setting as it is written.
fn word(tls: ServerTls) -> String {
    let written = serde_json::to_value(tls).unwrap_or_default();
    written.as_str().unwrap_or_default().to_owned()
}

async fn is_near(name: &str) -> bool {
    let found = tokio::net::lookup_host(name).await;
    found.is_ok_and(|mut found| found.all(|address| address.ip().is_loopback()))
}

async fn is_tls_offered(server: &Server, config: &Config) -> io::Result<bool> {
    let limit = config.upstream.connect_timeout;
    let mut raw = server.address.connect(limit).await?;
    let asking = async {
        raw.write_all(&SSL_REQUEST).await?;
        let mut answer = [0];
        raw.read_exact(&mut answer).await?;
        Ok(answer[0])
    };
    match within(limit, "answering SSLRequest", asking).await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::other(
            "it answered SSLRequest with neither S nor N",
        )),
    }
}

async fn handshake(report: &mut Report, config: &Config, server: &Server) {
    let tls = word(config.upstream.tls);
    let stream = match server.connect(config).await {
        Ok(stream) => stream,
        Err(error) => {
            return report.fail(
                "upstream.tls",
                format!("{tls}: the handshake fails: {error}"),
                "upstream.ca must hold the authority that signed the server's certificate, and for verify-full the \
                 certificate must hold the name in upstream.address",
            );
        }
    };
    report.ok("upstream.tls", format!("{tls}: {}", stream.tls_version()));
    let certificate = match &stream {
        Stream::Connected(stream) => stream.get_ref().1.peer_certificates(),
        Stream::Raw(_) | Stream::Accepted(_) => None,
    };
    let certificate = certificate
        .and_then(|chain| chain.first())
        .map(|der| der.to_vec());
    if let Some(der) = &certificate {
        local::validity(report, "upstream.tls", "the server's certificate", der);
    }
    scram(report, config, certificate);
}

/// What clients that use SCRAM meet; `certificate` is the server's, when TLS is used to it.
fn scram(report: &mut Report, config: &Config, certificate: Option<Vec<u8>>) {
    let has_tls = (
        config.listen.tls != ClientTls::Disable,
        certificate.is_some(),
    );
    let Some(both) = BothLegs::of(has_tls.0, has_tls.1) else {
        return;
    };
    if both != BothLegs::Tls {
        return report.ok("scram", both);
    }
    let own = local::own_chain(&config.listen).into_iter().next();
    if own.is_some() && own == certificate {
        let message =
            "listen.certificate is the server's own: SCRAM works, channel binding included";
        return report.ok("scram", message);
    }
    report.fail(
        "scram",
        both,
        "listen.certificate isn't the server's: give lockkeeper the server's certificate and key, or set \
         upstream.tls = \"disable\" (Unix socket, private network)",
    );
}

/// What a server says first to a user.
enum Answer {
    /// Come in.
    LetIn,
    /// A question.
    Asked,
    /// No.
    Refused(Box<ErrorFields>),
}

/// Whether the server lets lockkeeper's address in without a question.
pub(super) async fn trust(report: &mut Report, config: &Config, server: &Server) {
    let mut is_asked = true;
    for user in ["postgres", NOBODY] {
        match first_answer(config, server, user).await {
            Ok(Answer::Asked) => {}
            Ok(Answer::LetIn) => {
                is_asked = false;
                say_trusted(report, config, user);
                break; // the same line of pg_hba.conf, or a worse one
            }
            // It doesn't know the user, or has no line for it: nobody is let in.
            Ok(Answer::Refused(fields)) if user == NOBODY && fields.sqlstate == "28000" => {}
            Ok(Answer::Refused(fields)) => {
                is_asked = false;
                report.warn(
                    "auth",
                    format!(
                        "the server refuses the user {user:?} from here: {} ({})",
                        fields.message, fields.sqlstate
                    ),
                    "pg_hba.conf must let clients in from lockkeeper's address, by password",
                );
            }
            Err(error) => {
                is_asked = false;
                let message = format!("the server breaks off: {error}");
                report.fail("auth", message, "see the server's log");
            }
        }
    }
    if is_asked {
        report.ok(
            "auth",
            "the server asks whoever comes from here for a password",
        );
    }
}

fn say_trusted(report: &mut Report, config: &Config, user: &str) {
    let message =
        format!("the server lets {user:?} in from here without a password (trust or peer)");
    if config.auth.allow_trust {
        report.fail(
            "auth",
            format!("{message}, and auth.allow_trust lends that to the whole network"),
            "demand a password in pg_hba.conf for lockkeeper's address, or set auth.allow_trust = false",
        );
    } else {
        report.warn(
            "auth",
            format!("{message}: clients of this machine get in, others are refused with 28000"),
            "demand a password in pg_hba.conf for lockkeeper's address",
        );
    }
}

async fn first_answer(config: &Config, server: &Server, user: &str) -> io::Result<Answer> {
    let mut stream = server.connect(config).await?;
    let body = format!("user\0{user}\0database\0postgres\0application_name\0lockkeeper doctor\0\0");
    let length = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    let packet = [&length.to_be_bytes()[..], &[0, 3, 0, 0], body.as_bytes()].concat();
    let limit = config.upstream.connect_timeout;
    let asking = async {
        stream.write_all(&packet).await?;
        stream.flush().await?;
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let bad = || io::Error::other("it answered with something else than PostgreSQL");
        let parsed = Header::parse(&header).map_err(|_| bad())?.ok_or_else(bad)?;
        if parsed.body_bytes() > MAX_ANSWER_BYTES {
            return Err(bad());
        }
        let mut body = vec![0; parsed.body_bytes()];
        stream.read_exact(&mut body).await?;
        match parsed.tag {
            b'R' if body.starts_with(&[0, 0, 0, 0]) => Ok(Answer::LetIn),
            b'R' => Ok(Answer::Asked),
            b'E' => Ok(Answer::Refused(Box::new(ErrorFields::parse(&body)))),
            _ => Err(bad()),
        }
    };
    within(limit, "answering", asking).await
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
