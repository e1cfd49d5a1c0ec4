//! From accept to the first ReadyForQuery: encryption, the start-up message, a server session,
//! authentication as it is.
//!
//! Before TLS exactly as many bytes are read as belong to the request, so that nothing sent in the
//! clear can be taken for something sent under TLS (CVE-2021-23214 and kin).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::address::{Address, Peer, within};
use super::cancel::CancelToken;
use super::connect_log::Caller;
use super::console::{self, Entrance, Room};
use super::leg::{Leg, Raw, Stream};
use super::session::Session;
use super::setup::Setup;
use super::tls::{self, ALPN, ServerConnector};
use super::worker::{Place, SCRATCH_BYTES, Worker};
use crate::audit::event::Who;
use crate::config::{ClientTls, ServerTls, Upstream};
use crate::error;
use crate::sql::comment;
use crate::wire::backend::{self, ErrorFields};
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header};
use crate::wire::proxy_header::{self, BadProxyHeader};
use crate::wire::startup::{
    self, BadStartup, PREFIX_BYTES, SSL_REQUEST, StartupKind, StartupParameters,
};

/// The longest authentication message of a client, in bytes: its length field may be
/// `PG_MAX_AUTH_TOKEN_LENGTH` (`src/include/libpq/auth.h`).
const MAX_AUTH_BYTES: usize = 65_535 + 1;
/// What PostgreSQL reads of a socket at once, in bytes: `PQ_RECV_BUFFER_SIZE` of
/// `src/backend/libpq/pqcomm.c`.
const READ_AHEAD_BYTES: usize = 8192;
/// How AuthenticationSASLFinal begins; every other request is for an answer.
const SASL_FINAL: [u8; 4] = [0, 0, 0, 12];
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Why a start-up came to nothing.
#[derive(Debug, Error)]
pub enum StartupError {
    /// A socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a start-up packet.
    #[error(transparent)]
    Packet(#[from] BadStartup),
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// Not the header that a trusted proxy must send.
    #[error(transparent)]
    ProxyHeader(#[from] BadProxyHeader),
    /// The client was told.
    #[error("{0}")]
    Refused(String),
    /// The server refused it, and the client was told in the server's own words.
    #[error("the server: {0}")]
    ServerRefused(String),
    /// The client closed the connection.
    #[error("closed during start-up")]
    Closed,
}

impl StartupError {
    /// The client went away by itself: a probe, a password asked for first, a scan of ports.
    pub fn is_departure(&self) -> bool {
        match self {
            StartupError::Closed => true,
            StartupError::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::NotConnected
            ),
            _ => false,
        }
    }
}

/// A client that has sent its start-up message.
struct Client {
    stream: Stream,
    packet: Vec<u8>,
}

/// Takes a client to the point where its session begins; `None` when it wanted no session (a cancel
/// request, a probe). What is learned of it on the way is noted in `caller`, for the log.
///
/// # Errors
/// [`StartupError`]; the client has been told what can be told.
pub async fn start(
    mut raw: Raw,
    caller: &mut Caller,
    place: Option<Place>,
    worker: &Rc<Worker>,
) -> Result<Option<Session>, StartupError> {
    let setup = worker.setup();
    let config = &setup.config;
    if let Peer::Tcp(proxy) = caller.peer
        && config.listen.trusts_proxy(proxy.ip())
    {
        caller.peer = read_proxy_header(&mut raw, proxy).await?;
    }
    let Some(mut client) = negotiate(raw, worker, &setup).await? else {
        return Ok(None);
    };
    caller.client_tls = client.stream.tls_version();
    let parameters = startup::parameters(client.packet.get(PREFIX_BYTES..).unwrap_or_default());
    caller.parameters = Some(parameters.clone());
    if config.listen.tls == ClientTls::Require && matches!(client.stream, Stream::Raw(Raw::Tcp(_)))
    {
        return Err(refuse(&mut client.stream, error::tls_required()).await);
    }
    let (place, is_console) = take_place(&mut client, &parameters, place, worker).await?;
    if config.upstream.client_in_application_name
        && let Some(changed) = startup::with_client_in_name(&client.packet, &caller.peer.host())
    {
        client.packet = changed;
    }
    let server = greet_server(&mut client, &setup).await?;
    caller.server_tls = server.tls_version();
    if !startup::is_protocol_3(&client.packet) {
        return Err(relay_foreign(client, server).await);
    }
    let who = Who {
        user: parameters.user,
        database: parameters.database,
        application: parameters.application_name,
        client: caller.peer.to_string(),
        server_pid: 0,
        tls_subject: client.stream.peer_certificate().and_then(tls::subject),
    };
    // Without TLS of its own a client can't bind the channel, and libpq refuses a server that offers it.
    let hides_binding = matches!(
        (&client.stream, &server),
        (Stream::Raw(_), Stream::Connected(_))
    );
    let server_address = server.peer_address();
    let mut session = Session::new(
        Leg::new(client.stream),
        Leg::new(server),
        Rc::clone(worker),
        who,
        place,
    );
    session.replication = parameters.replication;
    session.is_console = is_console;
    // A parameter counts more than `options`, as in the server.
    let mode = parameters
        .mode
        .or_else(|| comment::mode_in_options(&parameters.options));
    if let Some(mode) = mode.filter(|_| !is_console) {
        session.start_mode(mode);
    }
    let state = Authentication {
        hides_binding,
        entrance: is_console.then(|| Entrance::new(client.packet)),
        ..Authentication::default()
    };
    session.cancel = Arc::new(CancelToken::of_session_at(server_address));
    authenticate(session, &caller.peer, state).await.map(Some)
}

/// The client's place among its like, and whether it is for the console: such a client is let in by
/// the server, and for that asks for a database that there is.
async fn take_place(
    client: &mut Client,
    parameters: &StartupParameters,
    place: Option<Place>,
    worker: &Worker,
) -> Result<(Place, bool), StartupError> {
    let setup = worker.setup();
    let config = &setup.config;
    let is_console = startup::is_protocol_3(&client.packet)
        && !parameters.replication
        && config.console.is_at(&parameters.database);
    let found = if is_console {
        drop(place); // it is for clients of the server
        console::place(worker).ok_or_else(console::no_place)
    } else {
        place.ok_or_else(|| error::too_many_connections(config.limits.connections))
    };
    let place = match found {
        Ok(place) => place,
        Err(fields) => return Err(refuse(&mut client.stream, fields).await),
    };
    if is_console {
        match startup::with_database(&client.packet, &config.console.login_database) {
            Some(packet) => client.packet = packet,
            None => {
                let fields = error::protocol_violation("the start-up message is too long");
                return Err(refuse(&mut client.stream, fields).await);
            }
        }
    }
    Ok((place, is_console))
}

/// Another major version of the protocol: the server's refusal isn't even made of frames.
async fn relay_foreign(mut client: Client, mut server: Stream) -> StartupError {
    match tokio::io::copy(&mut server, &mut client.stream).await {
        Ok(_) => StartupError::ServerRefused("another version of the protocol".to_owned()),
        Err(failure) => failure.into(),
    }
}

/// Who the client is, in the words of a proxy that is trusted.
async fn read_proxy_header(raw: &mut Raw, proxy: SocketAddr) -> Result<Peer, StartupError> {
    let mut header = Vec::new();
    loop {
        match proxy_header::missing(&header)? {
            0 => break,
            more => {
                let read = header.len();
                header.resize(read + more, 0);
                raw.read_exact(&mut header[read..]).await?;
            }
        }
    }
    Ok(match proxy_header::client(&header)? {
        Some(client) => Peer::Proxied { client, proxy },
        None => Peer::Proxy(proxy),
    })
}

/// A connection to the server that has sent the start-up message.
async fn greet_server(client: &mut Client, setup: &Setup) -> Result<Stream, StartupError> {
    let greeting = async {
        let mut server = connect_server(setup, None).await?;
        server.write_all(&client.packet).await?;
        server.flush().await?;
        io::Result::Ok(server)
    };
    match greeting.await {
        Ok(server) => Ok(server),
        Err(failure) => {
            tracing::warn!(upstream = %setup.upstream, error = %failure, "the server can't be reached");
            let fields = error::server_unreachable(&failure.to_string());
            Err(refuse(&mut client.stream, fields).await)
        }
    }
}

async fn refuse(stream: &mut Stream, fields: ErrorFields) -> StartupError {
    let why = fields.message.clone();
    let mut buffer = BytesMut::new();
    backend::put_error(&mut buffer, fields);
    // The client may be gone already; there is nobody else to tell.
    let _ = stream.write_all(&buffer).await;
    let _ = stream.shutdown().await;
    StartupError::Refused(why)
}

/// Reads up to the start-up message, answering requests for encryption on the way.
async fn negotiate(
    raw: Raw,
    worker: &Rc<Worker>,
    setup: &Setup,
) -> Result<Option<Client>, StartupError> {
    let mut stream = match direct_tls(raw, setup).await? {
        Some(stream) => stream,
        None => return Ok(None),
    };
    // Each request may be made once, in either order (`src/backend/tcop/backend_startup.c`).
    let (mut ssl_done, mut gss_done) = (false, false);
    loop {
        let mut prefix = [0; PREFIX_BYTES];
        match stream.read_exact(&mut prefix).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None), // a probe
            Err(error) => return Err(error.into()),
        }
        let kind = match startup::kind(prefix) {
            Ok(kind) => kind,
            Err(bad) => {
                read_ahead(&mut stream).await;
                return Err(bad.into());
            }
        };
        match kind {
            StartupKind::Ssl if !ssl_done => {
                let was_raw = matches!(stream, Stream::Raw(_));
                stream = answer_ssl_request(stream, setup).await?;
                ssl_done = true;
                gss_done |= was_raw && !matches!(stream, Stream::Raw(_));
            }
            StartupKind::GssEnc if !gss_done => {
                answer_no(&mut stream, "GSSAPI encryption").await?;
                gss_done = true;
            }
            StartupKind::Ssl | StartupKind::GssEnc => {
                return Err(refuse(&mut stream, error::encryption_asked_twice()).await);
            }
            StartupKind::Cancel { rest } => {
                let packet = read_packet(&mut stream, prefix, rest).await?;
                let server = worker.shared.cancels.cancel(&packet[PREFIX_BYTES..]);
                forward_cancel(setup, &packet, server).await;
                let _ = stream.shutdown().await; // only now: libpq takes EOF for "delivered"
                return Ok(None);
            }
            StartupKind::Startup { rest } => {
                let packet = read_packet(&mut stream, prefix, rest).await?;
                return Ok(Some(Client { stream, packet }));
            }
        }
    }
}

async fn read_packet(
    stream: &mut Stream,
    prefix: [u8; PREFIX_BYTES],
    rest: usize,
) -> io::Result<Vec<u8>> {
    let mut packet = prefix.to_vec();
    packet.resize(PREFIX_BYTES + rest, 0);
    stream.read_exact(&mut packet[PREFIX_BYTES..]).await?;
    Ok(packet)
}

/// Reads what a client has sent already, and throws it away: how many bytes. A socket that is closed
/// with bytes unread is reset, and its peer may lose what it was told last.
async fn read_ahead(stream: &mut Stream) -> usize {
    let mut bytes = vec![0; READ_AHEAD_BYTES];
    let mut buffer = ReadBuf::new(&mut bytes);
    std::future::poll_fn(|cx| {
        let _ = Pin::new(&mut *stream).poll_read(cx, &mut buffer); // the next write will meet the error
        Poll::Ready(buffer.filled().len())
    })
    .await
}

/// Answers a request for encryption with `N`. Nothing may have been sent behind it: a client waits
/// for the answer (CVE-2021-23214).
async fn answer_no(stream: &mut Stream, what: &str) -> Result<(), StartupError> {
    let bytes_behind = read_ahead(stream).await;
    stream.write_all(b"N").await?;
    stream.flush().await?;
    if bytes_behind > 0 {
        return Err(refuse(stream, error::unencrypted_data(what)).await);
    }
    Ok(())
}

/// PostgreSQL 17's direct TLS: the first byte is that of a handshake.
async fn direct_tls(raw: Raw, setup: &Setup) -> Result<Option<Stream>, StartupError> {
    let Raw::Tcp(tcp) = &raw else {
        return Ok(Some(Stream::Raw(raw)));
    };
    let mut first = [0];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    match &setup.acceptor {
        Some(client) if first[0] == TLS_HANDSHAKE => {
            let stream = client.acceptor.accept(raw).await?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(StartupError::Refused(
                    "direct TLS without ALPN \"postgresql\"".to_owned(),
                ));
            }
            Ok(Some(Stream::Accepted(Box::new(stream))))
        }
        _ => Ok(Some(Stream::Raw(raw))),
    }
}

async fn answer_ssl_request(stream: Stream, setup: &Setup) -> Result<Stream, StartupError> {
    match (stream, &setup.acceptor) {
        (Stream::Raw(mut raw @ Raw::Tcp(_)), Some(client)) => {
            raw.write_all(b"S").await?;
            Ok(Stream::Accepted(Box::new(
                client.acceptor.accept(raw).await?,
            )))
        }
        (mut stream, _) => {
            answer_no(&mut stream, "SSL").await?;
            Ok(stream)
        }
    }
}

/// A connection to the server, with TLS as configured; at one address of it, or at any.
///
/// # Errors
/// As [`connect_to`].
pub async fn connect_server(setup: &Setup, at: Option<SocketAddr>) -> io::Result<Stream> {
    let one = at.map(|address| Address::Tcp(address.to_string()));
    let address = one.as_ref().unwrap_or(&setup.upstream);
    connect_to(address, setup.connector.as_ref(), &setup.config.upstream).await
}

/// A connection to an address, with TLS as configured.
///
/// # Errors
/// What the system or the handshake says; `PermissionDenied` when TLS is demanded and the server has none.
pub async fn connect_to(
    address: &Address,
    connector: Option<&ServerConnector>,
    upstream: &Upstream,
) -> io::Result<Stream> {
    let limit = upstream.connect_timeout;
    match (address.connect(limit).await?, connector) {
        (raw @ Raw::Tcp(_), Some(connector)) => {
            let encrypting = encrypt(raw, connector, upstream.tls);
            within(limit, "agreeing on TLS", encrypting).await
        }
        (raw, _) => Ok(Stream::Raw(raw)),
    }
}

/// Asks the server for TLS, and performs the handshake.
async fn encrypt(mut raw: Raw, connector: &ServerConnector, tls: ServerTls) -> io::Result<Stream> {
    raw.write_all(&SSL_REQUEST).await?;
    let mut answer = [0];
    raw.read_exact(&mut answer).await?; // one byte and no more: CVE-2021-23222
    match answer[0] {
        b'S' => connector.connect(raw).await,
        b'N' if tls == ServerTls::Prefer => Ok(Stream::Raw(raw)),
        b'N' => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the server offers no TLS, and upstream.tls demands it",
        )),
        // Never show what the server says before TLS: CVE-2024-10977.
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the server answered SSLRequest with neither S nor N",
        )),
    }
}

/// Forwards a cancel request and waits until the server has taken it. A session's own address is
/// asked where it is known: after a failover the name may lead to another server.
pub async fn forward_cancel(setup: &Setup, packet: &[u8], at: Option<SocketAddr>) {
    let forward = async {
        let mut server = connect_server(setup, at).await?;
        server.write_all(packet).await?;
        server.flush().await?;
        let mut rest = [0];
        server.read(&mut rest).await
    };
    let limit = std::time::Duration::from_secs(10); // libpq waits for us: psql must not hang
    match tokio::time::timeout(limit, forward).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a cancel request could not be forwarded"),
        Err(_) => tracing::debug!("a cancel request could not be forwarded in time"),
    }
}

/// Relays the authentication. From the client only authentication messages go on: a query sent
/// early waits until the session is ready to look at it.
async fn authenticate(
    mut session: Session,
    peer: &Peer,
    mut state: Authentication,
) -> Result<Session, StartupError> {
    let mut scratch = vec![0; SCRATCH_BYTES / 8];
    loop {
        while let Some(header) = Header::parse(&session.server.unread)? {
            if session.server.unread.len() < header.frame_bytes() {
                break;
            }
            let frame = session.server.unread.split_to(header.frame_bytes());
            if header.tag == b'E'
                && let Some(entrance) = &mut state.entrance
            {
                let fields = ErrorFields::parse(&frame[HEADER_BYTES..]);
                match entrance.make_room(&mut session, &fields).await {
                    Room::None => {}
                    Room::Again => continue,
                    Room::In => {
                        session.client.drain().await?;
                        return Ok(session);
                    }
                }
            }
            if state.received(header, &frame[HEADER_BYTES..], &mut session, peer)
                == Step::TrustRefused
            {
                return Err(tell_and_end(&mut session, error::trust_refused()).await);
            }
            if header.tag == b'Z' {
                session.begin();
            }
            let hidden = state.hides_binding && header.tag == b'R';
            match hidden
                .then(|| backend::without_channel_binding(&frame))
                .flatten()
            {
                Some(frame) => session.client.queue(&frame),
                None => session.client.queue(&frame),
            }
            if header.tag == b'Z' {
                session.client.drain().await?;
                return Ok(session);
            }
        }
        relay_passwords(&mut session, &mut state).await?;
        session.client.drain().await?;
        let _ = session.server.drain().await; // what it said last is still to be read
        let client_may_send = session.client.unread.len() < MAX_AUTH_BYTES;
        let read = std::future::poll_fn(|cx| {
            if let Poll::Ready(read) = session.server.poll_fill(cx, &mut scratch) {
                // A server that breaks the connection has closed it.
                return Poll::Ready(Ok((read.unwrap_or(0), false)));
            }
            if !client_may_send {
                return Poll::Pending;
            }
            session
                .client
                .poll_fill(cx, &mut scratch)
                .map(|read| read.map(|count| (count, true)))
        });
        match read.await? {
            (0, true) => return Err(StartupError::Closed),
            (0, false) => return Err(server_left(&mut session, state).await),
            _ => {}
        }
    }
}

/// Relays what the client says of itself, and nothing else.
async fn relay_passwords(
    session: &mut Session,
    state: &mut Authentication,
) -> Result<(), StartupError> {
    while let Some(header) = Header::parse(&session.client.unread)? {
        if header.tag != b'p' && state.awaits_password {
            let fields = error::password_expected(header.tag);
            return Err(tell_and_end(session, fields).await);
        }
        if header.tag == b'p' && header.frame_bytes() > MAX_AUTH_BYTES {
            let (tag, length) = (header.tag, header.length);
            let fields = error::protocol_violation(&BadFrame { tag, length }.to_string());
            return Err(tell_and_end(session, fields).await);
        }
        if header.tag != b'p' || session.client.unread.len() < header.frame_bytes() {
            break;
        }
        let frame = session.client.unread.split_to(header.frame_bytes());
        session.server.queue(&frame);
        state.awaits_password = false;
    }
    Ok(())
}

/// The server closed the connection before the session began.
async fn server_left(session: &mut Session, state: Authentication) -> StartupError {
    if let Some(refusal) = state.refusal {
        return StartupError::ServerRefused(refusal);
    }
    let fields = if state.has_spoken {
        error::server_gone()
    } else {
        // Something accepts connections where the server should be: libpq should try its next host.
        error::server_unreachable("it closed the connection without a word")
    };
    tell_and_end(session, fields).await
}

async fn tell_and_end(session: &mut Session, fields: ErrorFields) -> StartupError {
    let why = fields.message.clone();
    let mut buffer = BytesMut::new();
    backend::put_error(&mut buffer, fields);
    session.client.queue(&buffer);
    let _ = session.client.drain().await;
    StartupError::Refused(why)
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    GoesOn,
    TrustRefused,
}

#[derive(Debug, Default)]
struct Authentication {
    /// The server has asked for something.
    challenged: bool,
    /// It waits for the answer.
    awaits_password: bool,
    /// SCRAM-SHA-256-PLUS is taken out of what the server offers.
    hides_binding: bool,
    /// SQLSTATE and message of the error that the server has sent.
    refusal: Option<String>,
    /// The server has sent anything.
    has_spoken: bool,
    /// It is a client of the console.
    entrance: Option<Entrance>,
}

impl Authentication {
    fn received(
        &mut self,
        header: Header,
        body: &[u8],
        session: &mut Session,
        peer: &Peer,
    ) -> Step {
        self.has_spoken = true;
        match header.tag {
            b'R' if body.starts_with(&[0, 0, 0, 0]) => {
                if let Some(entrance) = &mut self.entrance {
                    entrance.is_known();
                }
                let allowed = peer.is_local() || session.worker.setup().config.auth.allow_trust;
                if !self.challenged && !allowed {
                    return Step::TrustRefused;
                }
            }
            b'R' => {
                if let Some(entrance) = &mut self.entrance {
                    entrance.is_asked();
                }
                self.challenged = true;
                self.awaits_password = !body.starts_with(&SASL_FINAL);
            }
            b'E' => {
                let fields = ErrorFields::parse(body);
                self.refusal = Some(format!("{}: {}", fields.sqlstate, fields.message));
            }
            b'K' => session.register(body),
            b'S' => session.inspector.parameter_status(body),
            b'Z' => session
                .inspector
                .received(b'Z', body, &session.worker.metrics),
            _ => {}
        }
        Step::GoesOn
    }
}
