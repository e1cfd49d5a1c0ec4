//! A client that shows everything the server says: command tags, NOTICEs, each field of an error. It blocks, and it can
//! send without waiting for the answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use lockkeeper::wire::backend::ErrorFields;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a statement is sent.
#[allow(dead_code, reason = "not every test speaks each protocol")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Query.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync at once: libpq, JDBC.
    Extended,
    /// Parse, Describe, Sync; when that is answered Bind, Execute, Sync: tokio-postgres.
    Prepared,
}

/// What a statement was answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Command tags.
    pub(crate) tags: Vec<String>,
    /// Rows in text; NULL is empty.
    pub(crate) rows: Vec<Vec<String>>,
    /// The same, command by command.
    pub(crate) results: Vec<CommandResult>,
    /// The error.
    pub(crate) error: Option<ErrorFields>,
    /// Messages of NOTICEs and WARNINGs.
    pub(crate) notices: Vec<String>,
    /// The transaction status, `I`, `T` or `E`.
    pub(crate) status: u8,
}

impl Answer {
    /// The SQLSTATE, empty when there was no error.
    pub(crate) fn sqlstate(&self) -> &str {
        self.error.as_ref().map_or("", |error| &error.sqlstate)
    }
}

/// What one of several commands was answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct CommandResult {
    /// The command tag.
    pub(crate) tag: String,
    /// Rows in text.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    port: u16,
    key: Vec<u8>,
}

impl Client {
    /// Connects as the superuser or as another role.
    pub(crate) fn connect(port: u16, database: &str, user: &str) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        let mut client = Client {
            stream,
            port,
            key: Vec::new(),
        };
        let parameters = format!("user\0{user}\0database\0{database}\0\0");
        let mut packet = Vec::new();
        packet.extend((8 + parameters.len() as u32).to_be_bytes());
        packet.extend(196_608_u32.to_be_bytes());
        packet.extend(parameters.as_bytes());
        client.stream.write_all(&packet).expect("startup");
        let answer = client.answer();
        assert_eq!(answer.error, None, "startup");
        client
    }

    /// Runs a statement.
    pub(crate) fn run(&mut self, sql: &str, protocol: Protocol) -> Answer {
        match protocol {
            Protocol::Simple => self.send(sql),
            Protocol::Extended => {
                let batch = [parse(sql), bind(), describe(b'P'), execute(), sync()].concat();
                self.stream.write_all(&batch).expect("send");
            }
            Protocol::Prepared => {
                let batch = [parse(sql), describe(b'S'), sync()].concat();
                self.stream.write_all(&batch).expect("send");
                let answer = self.answer();
                if answer.error.is_some() {
                    return answer;
                }
                let batch = [bind(), execute(), sync()].concat();
                self.stream.write_all(&batch).expect("send");
            }
        }
        self.answer()
    }

    /// Runs a statement that must succeed.
    pub(crate) fn ok(&mut self, sql: &str) -> Answer {
        let answer = self.run(sql, Protocol::Simple);
        assert_eq!(answer.error, None, "{sql}");
        answer
    }

    /// The first column of a query's rows.
    pub(crate) fn column(&mut self, sql: &str) -> Vec<String> {
        let rows = self.ok(sql).rows;
        rows.into_iter()
            .filter_map(|row| row.into_iter().next())
            .collect()
    }

    /// The first value of a query; empty without rows.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        self.column(sql).into_iter().next().unwrap_or_default()
    }

    /// Sends a statement and doesn't wait.
    pub(crate) fn send(&mut self, sql: &str) {
        let message = message(b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.stream.write_all(&message).expect("send");
    }

    /// Sends messages as they are and waits for the answer.
    #[allow(dead_code, reason = "not every test runs plans by itself")]
    pub(crate) fn exchange(&mut self, messages: &[u8]) -> Answer {
        self.stream.write_all(messages).expect("send");
        self.answer()
    }

    /// Waits for the answer to what was sent.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        let mut rows: Vec<Vec<Option<String>>> = Vec::new();
        loop {
            let mut header = [0; 5];
            self.stream
                .read_exact(&mut header)
                .expect("an answer in time");
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            let mut body = vec![0; length - 4];
            self.stream.read_exact(&mut body).expect("a whole message");
            match header[0] {
                b'Z' => {
                    answer.status = body[0];
                    return answer;
                }
                b'C' => {
                    let tag = text(&body[..body.len() - 1]);
                    answer.tags.push(tag.clone());
                    let rows = std::mem::take(&mut rows);
                    answer.results.push(CommandResult { tag, rows });
                }
                b'D' => {
                    let row = row(&body);
                    let filled = row.iter().map(|value| value.clone().unwrap_or_default());
                    answer.rows.push(filled.collect());
                    rows.push(row);
                }
                b'E' => {
                    let error = ErrorFields::parse(&body);
                    assert_ne!(error.severity, "FATAL", "{error:?}");
                    answer.error = Some(error);
                }
                b'N' => answer.notices.push(ErrorFields::parse(&body).message),
                b'K' => self.key = body,
                _ => {}
            }
        }
    }

    /// Asks to cancel what runs.
    pub(crate) fn cancel(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect");
        let mut packet = Vec::new();
        packet.extend((8 + self.key.len() as u32).to_be_bytes());
        packet.extend(80_877_102_u32.to_be_bytes());
        packet.extend(&self.key);
        stream.write_all(&packet).expect("cancel");
        let _ = stream.read(&mut [0]); // until it is closed: then it is done
    }

    /// Breaks the connection.
    #[allow(dead_code, reason = "not every test breaks connections")]
    pub(crate) fn vanish(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend((4 + body.len() as u32).to_be_bytes());
    message.extend(body);
    message
}

fn parse(sql: &str) -> Vec<u8> {
    message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

fn bind() -> Vec<u8> {
    message(b'B', &[0; 8])
}

fn describe(what: u8) -> Vec<u8> {
    message(b'D', &[what, 0])
}

fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

fn sync() -> Vec<u8> {
    message(b'S', &[])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = &body[2..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        values.push(length.map(|length| text(&after[..length])));
        rest = &after[length.unwrap_or(0)..];
    }
    values
}
