//! A client that speaks in raw frames: what is sent and what comes back is exact to the byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long an answer may take before a test fails instead of hanging.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);

/// The request for TLS.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The request for GSSAPI encryption.
pub(crate) const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Where a server or a proxy listens.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf, u16),
}

impl Place {
    pub(crate) fn host(&self) -> String {
        match self {
            Place::Tcp(address) => address.ip().to_string(),
            Place::Unix(directory, _) => directory.display().to_string(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Place::Tcp(address) => address.port(),
            Place::Unix(_, port) => *port,
        }
    }

    /// As libpq and tokio-postgres read it, for the superuser.
    pub(crate) fn conninfo(&self, database: &str) -> String {
        format!(
            "host={} port={} dbname={database} user=postgres",
            self.host(),
            self.port()
        )
    }
}

/// Any message.
pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    frame.extend(body);
    frame
}

fn with_nul(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

/// Query.
pub(crate) fn q(sql: &str) -> Vec<u8> {
    q_bytes(sql.as_bytes())
}

/// Query whose text needn't be UTF-8.
pub(crate) fn q_bytes(sql: &[u8]) -> Vec<u8> {
    frame(b'Q', &[sql, b"\0"].concat())
}

/// Parse.
pub(crate) fn p(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', &[with_nul(name), with_nul(sql), vec![0, 0]].concat())
}

/// Bind with text parameters.
pub(crate) fn b(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = [with_nul(portal), with_nul(statement), vec![0, 0]].concat();
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        body.extend(u32::try_from(parameter.len()).unwrap().to_be_bytes());
        body.extend(parameter.as_bytes());
    }
    body.extend([0, 0]);
    frame(b'B', &body)
}

/// Describe, of a statement (`S`) or a portal (`P`).
pub(crate) fn d(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[vec![kind], with_nul(name)].concat())
}

/// Execute, with a row limit or 0.
pub(crate) fn e(portal: &str, limit: u32) -> Vec<u8> {
    frame(
        b'E',
        &[with_nul(portal), limit.to_be_bytes().to_vec()].concat(),
    )
}

/// Close, of a statement (`S`) or a portal (`P`).
pub(crate) fn c(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[vec![kind], with_nul(name)].concat())
}

/// Parse, Bind and Execute of the unnamed statement.
pub(crate) fn pbe(sql: &str) -> Vec<u8> {
    [p("", sql), b("", "", &[]), e("", 0)].concat()
}

/// Sync.
pub(crate) fn s() -> Vec<u8> {
    frame(b'S', &[])
}

/// Flush.
pub(crate) fn h() -> Vec<u8> {
    frame(b'H', &[])
}

/// Terminate.
pub(crate) fn x() -> Vec<u8> {
    frame(b'X', &[])
}

/// CopyData.
pub(crate) fn copy_data(data: &[u8]) -> Vec<u8> {
    frame(b'd', data)
}

/// CopyDone.
pub(crate) fn copy_done() -> Vec<u8> {
    frame(b'c', &[])
}

/// CopyFail.
pub(crate) fn copy_fail(why: &str) -> Vec<u8> {
    frame(b'f', &with_nul(why))
}

/// FunctionCall with text arguments, for a result in text.
pub(crate) fn function_call(oid: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0, 0]);
    body.extend(u16::try_from(arguments.len()).unwrap().to_be_bytes());
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.as_bytes());
    }
    body.extend([0, 0]);
    frame(b'F', &body)
}

/// StartupMessage of version 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for (name, value) in parameters {
        body.extend(with_nul(name));
        body.extend(with_nul(value));
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [length.to_vec(), body].concat()
}

/// CancelRequest for a session's BackendKeyData.
pub(crate) fn cancel_request(key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + key.len()).unwrap().to_be_bytes();
    [&length[..], &80_877_102_u32.to_be_bytes()[..], key].concat()
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    /// A field of an ErrorResponse or NoticeResponse; empty when it is missing.
    pub(crate) fn field(&self, code: u8) -> String {
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find(|field| field.first() == Some(&code));
        found.map_or_else(String::new, |field| {
            String::from_utf8_lossy(&field[1..]).into_owned()
        })
    }

    /// Whether lockkeeper itself says this, not the server.
    pub(crate) fn is_lockkeepers_notice(&self) -> bool {
        self.tag == b'N' && self.field(b'M').starts_with("lockkeeper: ")
    }

    /// For people, and to be compared: the sender of a notification is left out, and the order of an error's fields.
    pub(crate) fn show(&self) -> String {
        let tag = char::from(self.tag);
        match self.tag {
            b'A' => format!("{tag} {}", self.body[4..].escape_ascii()),
            b'E' | b'N' => {
                let mut fields: Vec<_> = self.body.split(|byte| *byte == 0).collect();
                fields.sort();
                let fields = fields.into_iter().filter(|field| !field.is_empty());
                let fields: Vec<String> = fields.map(|f| f.escape_ascii().to_string()).collect();
                format!("{tag} {}", fields.join(" | "))
            }
            _ => format!("{tag} {}", self.body.escape_ascii()),
        }
    }
}

/// The first error among frames: its SQLSTATE; empty when there is none.
pub(crate) fn sqlstate(frames: &[Frame]) -> String {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error.map_or_else(String::new, |frame| frame.field(b'C'))
}

/// The tags of frames, as a word.
pub(crate) fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag)).collect()
}

/// What CommandComplete says, for each.
pub(crate) fn commands(frames: &[Frame]) -> Vec<String> {
    let complete = frames.iter().filter(|frame| frame.tag == b'C');
    complete
        .map(|frame| String::from_utf8_lossy(&frame.body[..frame.body.len() - 1]).into_owned())
        .collect()
}

/// The first column of each row; NULL is empty.
pub(crate) fn column(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    let first = |frame: &Frame| {
        let length = i32::from_be_bytes(frame.body[2..6].try_into().unwrap());
        let length = usize::try_from(length).unwrap_or(0);
        String::from_utf8_lossy(&frame.body[6..6 + length]).into_owned()
    };
    rows.map(first).collect()
}

trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

/// A raw connection.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    tcp: Option<TcpStream>,
    unread: Vec<u8>,
    /// Everything that came, as it came.
    pub(crate) received: Vec<u8>,
    /// BackendKeyData's body.
    pub(crate) key: Vec<u8>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects, and says nothing.
    pub(crate) fn connect(place: &Place) -> Wire {
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                Wire::over_tcp(stream)
            }
            Place::Unix(directory, port) => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
                stream.set_write_timeout(Some(ANSWER_LIMIT)).unwrap();
                Wire::over(stream)
            }
        }
    }

    /// Over a TCP connection.
    pub(crate) fn over_tcp(stream: TcpStream) -> Wire {
        prepare(&stream);
        let tcp = stream.try_clone().unwrap();
        Wire {
            tcp: Some(tcp),
            ..Wire::over(stream)
        }
    }

    /// Over anything; whoever made it has set its time limits.
    pub(crate) fn over(socket: impl Read + Write + Send + 'static) -> Wire {
        Wire {
            socket: Box::new(socket),
            tcp: None,
            unread: Vec::new(),
            received: Vec::new(),
            key: Vec::new(),
        }
    }

    /// A session of the superuser's, which nobody asks for a password.
    pub(crate) fn session(place: &Place, database: &str) -> Wire {
        let mut wire = Wire::connect(place);
        let frames = wire.start(&[("user", "postgres"), ("database", database)]);
        assert_eq!(tags(&frames).chars().last(), Some('Z'), "{frames:?}");
        wire
    }

    /// Sends a StartupMessage and reads up to ReadyForQuery or the end.
    pub(crate) fn start(&mut self, parameters: &[(&str, &str)]) -> Vec<Frame> {
        let frames = self.ask(&startup(parameters));
        if let Some(key) = frames.iter().find(|frame| frame.tag == b'K') {
            self.key.clone_from(&key.body);
        }
        frames
    }

    /// The server process.
    pub(crate) fn pid(&self) -> u32 {
        u32::from_be_bytes(self.key[..4].try_into().unwrap())
    }

    /// Sends bytes; what the other side no longer takes is lost.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self
            .socket
            .write_all(bytes)
            .and_then(|()| self.socket.flush())
        {
            Ok(()) => {}
            Err(error) if is_gone(error.kind()) => {}
            Err(error) => panic!("sending: {error}"),
        }
    }

    /// Closes the direction to the other side.
    pub(crate) fn close_write(&mut self) {
        let tcp = self.tcp.as_ref().unwrap();
        tcp.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Breaks the connection: what is on its way is lost.
    pub(crate) fn reset(self) {
        let tcp = self.tcp.as_ref().unwrap();
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(tcp).set_linger(linger).unwrap();
    }

    fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend(&buffer[..count]);
                true
            }
            Err(error) if is_gone(error.kind()) => false,
            Err(error) => panic!("no answer: {error}; unread: {}", self.unread.escape_ascii()),
        }
    }

    /// One byte, as the answer to SSLRequest is; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        while self.unread.is_empty() {
            if !self.fill() {
                return None;
            }
        }
        Some(self.unread.remove(0))
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(header) = self.unread.first_chunk::<5>() {
                let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize + 1;
                if self.unread.len() >= length {
                    let rest = self.unread.split_off(length);
                    let bytes = std::mem::replace(&mut self.unread, rest);
                    self.received.extend(&bytes);
                    return Some(Frame {
                        tag: bytes[0],
                        body: bytes[5..].to_vec(),
                    });
                }
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Waits until lockkeeper says that a schema change waits for its lock.
    #[track_caller]
    pub(crate) fn until_told_that_it_waits(&mut self) {
        self.until_told("waiting for a lock");
    }

    /// Waits for a NOTICE with such words; gives it.
    #[track_caller]
    pub(crate) fn until_told(&mut self, words: &str) -> Frame {
        let frames = self.until_told_all(words);
        frames.into_iter().next_back().unwrap()
    }

    /// Waits for a NOTICE with such words; gives all frames up to it.
    #[track_caller]
    pub(crate) fn until_told_all(&mut self, words: &str) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            let is_last = matches!(frame.tag, b'E' | b'Z');
            let is_it = frame.tag == b'N' && frame.field(b'M').contains(words);
            assert!(!is_last, "not told {words:?}: {frame:?}");
            frames.push(frame);
            if is_it {
                return frames;
            }
        }
        panic!("not told {words:?}: the session ended");
    }

    /// Frames up to ReadyForQuery or the end.
    pub(crate) fn until_ready(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next() {
            let is_last = frame.tag == b'Z';
            frames.push(frame);
            if is_last {
                break;
            }
        }
        frames
    }

    /// Frames up to the end of the stream.
    pub(crate) fn until_end(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Sends, then reads up to ReadyForQuery.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.send(bytes);
        self.until_ready()
    }

    /// Sends a Query and reads its answer.
    pub(crate) fn query(&mut self, sql: &str) -> Vec<Frame> {
        self.ask(&q(sql))
    }

    /// The first column of a query's first row.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        let frames = self.query(sql);
        let column = column(&frames);
        assert!(!column.is_empty(), "{sql}: {frames:?}");
        column[0].clone()
    }

    /// A statement that must not fail.
    pub(crate) fn run(&mut self, sql: &str) {
        let frames = self.query(sql);
        assert_eq!(sqlstate(&frames), "", "{sql}: {frames:?}");
        assert_eq!(frames.last().map(|frame| frame.tag), Some(b'Z'), "{sql}");
    }
}

/// Time limits, and no delay.
pub(crate) fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
    stream.set_write_timeout(Some(ANSWER_LIMIT)).unwrap();
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
    )
}
