//! One leg of a session: a socket, what was read from it and not yet used, and what it has not yet
//! taken.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// A socket without TLS.
#[derive(Debug)]
pub enum Raw {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

/// A socket, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Raw(Raw),
    /// A client's, with TLS.
    Accepted(Box<tokio_rustls::server::TlsStream<Raw>>),
    /// The server's, with TLS.
    Connected(Box<tokio_rustls::client::TlsStream<Raw>>),
}

impl Stream {
    /// The other side's address, over TCP.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let raw = match self {
            Stream::Raw(raw) => raw,
            Stream::Accepted(stream) => stream.get_ref().0,
            Stream::Connected(stream) => stream.get_ref().0,
        };
        match raw {
            Raw::Tcp(stream) => stream.peer_addr().ok(),
            Raw::Unix(_) => None,
        }
    }

    /// The certificate that the other side has shown, if it has shown one. A client's is verified.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        let chain = match self {
            Stream::Raw(_) => return None,
            Stream::Accepted(stream) => stream.get_ref().1.peer_certificates(),
            Stream::Connected(stream) => stream.get_ref().1.peer_certificates(),
        };
        chain?.first()
    }

    /// The version of TLS as `pg_stat_ssl` has it, `none` without.
    pub fn tls_version(&self) -> &'static str {
        let version = match self {
            Stream::Raw(_) => return "none",
            Stream::Accepted(stream) => stream.get_ref().1.protocol_version(),
            Stream::Connected(stream) => stream.get_ref().1.protocol_version(),
        };
        match version {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "unknown",
        }
    }
}

macro_rules! on_each {
    ($self:ident, $stream:ident => $call:expr, $($variant:path),+) => {
        match $self.get_mut() {
            $($variant($stream) => $call,)+
        }
    };
}

impl AsyncRead for Raw {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_read(cx, buf), Raw::Tcp, Raw::Unix)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write(cx, buf), Raw::Tcp, Raw::Unix)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_flush(cx), Raw::Tcp, Raw::Unix)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_shutdown(cx), Raw::Tcp, Raw::Unix)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_read(cx, buf), Stream::Raw, Stream::Accepted, Stream::Connected)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write(cx, buf),
            Stream::Raw, Stream::Accepted, Stream::Connected)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_flush(cx), Stream::Raw, Stream::Accepted, Stream::Connected)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_shutdown(cx),
            Stream::Raw, Stream::Accepted, Stream::Connected)
    }
}

/// One leg of a session. Both buffers are empty, and free of memory, while nothing is pending.
#[derive(Debug)]
pub struct Leg {
    stream: Stream,
    /// Read from the socket, not yet used: part of a frame, or frames that are held.
    pub unread: BytesMut,
    unsent: BytesMut,
    /// TLS keeps bytes of its own until it is flushed.
    needs_flush: bool,
    /// The peer has closed its direction.
    pub eof: bool,
    /// Bytes read in all.
    pub received_bytes: u64,
}

impl Leg {
    /// A leg over a socket.
    pub fn new(stream: Stream) -> Leg {
        Leg {
            stream,
            unread: BytesMut::new(),
            unsent: BytesMut::new(),
            needs_flush: false,
            eof: false,
            received_bytes: 0,
        }
    }

    /// Reads into `scratch`; the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        self.eof |= count == 0;
        self.received_bytes += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Sends bytes: at once as far as the socket takes them, the rest is kept. The caller reads no
    /// more of the other leg before [`Leg::poll_drained`] is ready.
    ///
    /// # Errors
    /// What the socket says.
    pub fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while self.unsent.is_empty() && !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Pending => break,
            }
        }
        self.needs_flush |= !matches!(self.stream, Stream::Raw(_)) && !bytes.is_empty();
        self.unsent.extend_from_slice(rest);
        Ok(())
    }

    /// Keeps bytes to be sent with the next [`Leg::poll_drained`].
    pub fn queue(&mut self, bytes: &[u8]) {
        self.needs_flush |= !matches!(self.stream, Stream::Raw(_));
        self.unsent.extend_from_slice(bytes);
    }

    /// Bytes that wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Ready when everything has been given to the socket.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.unsent.advance(count),
            }
            if self.unsent.is_empty() {
                self.unsent = BytesMut::new(); // an idle session keeps no buffer
            }
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends everything that is kept.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn drain(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_drained(cx)).await
    }

    /// Sends what is kept and closes our direction.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drained(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads more into `unread`; the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_read(cx, scratch))?;
        self.unread
            .extend_from_slice(scratch.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    /// Takes bytes from the front of `unread`.
    pub fn consume(&mut self, bytes: usize) {
        self.unread.advance(bytes.min(self.unread.len()));
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}
