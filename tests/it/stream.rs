//! Messages too big to be held: they are written and read piece by piece.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::wire::{Place, b, copy_done, e, p, prepare, q, s, startup};

/// What is written at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// A session that holds no message.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    reader: BufReader<TcpStream>,
    /// The server process.
    pub(crate) pid: u32,
}

/// What an answer held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The tags of its frames; of several of one kind in a row just one.
    pub(crate) tags: String,
    /// Bytes of its DataRows and CopyDatas, without their headers.
    pub(crate) data_bytes: u64,
    /// Sum of those bytes' values.
    pub(crate) sum: u64,
    /// The bodies of all other frames.
    pub(crate) rest: Vec<u8>,
}

impl Answer {
    /// Whether a text is among what isn't data.
    pub(crate) fn says(&self, text: &str) -> bool {
        let mut windows = self.rest.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    }
}

impl Stream {
    /// A session of the superuser's.
    pub(crate) fn session(place: &Place, database: &str) -> Stream {
        let Place::Tcp(address) = place else {
            panic!("TCP only")
        };
        let socket = TcpStream::connect(address).unwrap();
        prepare(&socket);
        let reader = BufReader::with_capacity(PIECE_BYTES, socket.try_clone().unwrap());
        let mut stream = Stream {
            socket,
            reader,
            pid: 0,
        };
        stream.send(&startup(&[("user", "postgres"), ("database", database)]));
        loop {
            let (tag, body) = stream.frame();
            match tag {
                b'K' => stream.pid = u32::from_be_bytes(*body.first_chunk().unwrap()),
                b'Z' => return stream,
                b'E' => panic!("{}", body.escape_ascii()),
                _ => {}
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends a message whose body is a front, so many bytes of filling, and an end.
    pub(crate) fn send_big(
        &mut self,
        tag: u8,
        front: &[u8],
        filling: u8,
        count: usize,
        end: &[u8],
    ) {
        let length = u32::try_from(4 + front.len() + count + end.len()).unwrap();
        self.send(&[&[tag], &length.to_be_bytes()[..], front].concat());
        let piece = vec![filling; PIECE_BYTES];
        for from in (0..count).step_by(PIECE_BYTES) {
            self.send(&piece[..PIECE_BYTES.min(count - from)]);
        }
        self.send(end);
    }

    fn header(&mut self) -> (u8, usize) {
        let mut header = [0; 5];
        self.reader.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(*header[1..].first_chunk().unwrap());
        (header[0], length as usize - 4)
    }

    fn frame(&mut self) -> (u8, Vec<u8>) {
        let (tag, length) = self.header();
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        (tag, body)
    }

    /// Reads up to the next frame of a kind, such as ReadyForQuery.
    pub(crate) fn answer_until(&mut self, last: u8) -> Answer {
        let mut answer = Answer::default();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let (tag, length) = self.header();
            if !answer.tags.ends_with(char::from(tag)) {
                answer.tags.push(char::from(tag));
            }
            let mut rest = length;
            while rest > 0 {
                let count = rest.min(PIECE_BYTES);
                self.reader.read_exact(&mut piece[..count]).unwrap();
                if matches!(tag, b'D' | b'd') {
                    answer.data_bytes += count as u64;
                    answer.sum += sum(&piece[..count]);
                } else {
                    answer.rest.extend(&piece[..count.min(1024)]);
                }
                rest -= count;
            }
            if tag == last {
                return answer;
            }
        }
    }

    /// Reads up to ReadyForQuery.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_until(b'Z')
    }

    /// Sends a Query and reads its answer.
    pub(crate) fn query(&mut self, sql: &str) -> Answer {
        self.send(&q(sql));
        self.answer()
    }
}

/// The sum of bytes: fast without optimisation too, where they are all the same.
fn sum(bytes: &[u8]) -> u64 {
    match bytes {
        [first, rest @ ..] if *rest == bytes[..bytes.len() - 1] => {
            u64::from(*first) * bytes.len() as u64
        }
        _ => bytes.iter().map(|byte| u64::from(*byte)).sum(),
    }
}

/// Sends a message of each kind whose size a client or a server chooses.
pub(crate) fn big_messages_pass(client: &mut Stream, size: usize, held: &dyn Fn(&str)) {
    let said = size.to_string();

    client.send_big(b'Q', b"/*", b'x', size, b"*/ SELECT 1\0");
    let answer = client.answer();
    assert_eq!(
        (answer.tags.as_str(), answer.says("SELECT 1")),
        ("TDCZ", true)
    );
    held("a Query");

    client.send_big(b'P', b"\0/*", b'x', size, b"*/ SELECT 1\0\0\0");
    client.send(&[b("", "", &[]), e("", 0), s()].concat());
    let answer = client.answer();
    assert_eq!(
        (answer.tags.as_str(), answer.says("SELECT 1")),
        ("12DCZ", true)
    );
    held("a Parse");

    let length = u32::try_from(size).unwrap().to_be_bytes();
    client.send(&p("", "SELECT length($1)"));
    client.send_big(
        b'B',
        &[b"\0\0\0\0\0\x01", &length[..]].concat(),
        b'x',
        size,
        b"\0\0",
    );
    client.send(&[e("", 0), s()].concat());
    let answer = client.answer();
    assert_eq!(
        (answer.tags.as_str(), answer.says("SELECT 1")),
        ("12DCZ", true)
    );
    held("a Bind");

    let text_length = 1317_u32.to_be_bytes(); // pg_proc.oid of length(text)
    let front = [&text_length[..], b"\0\0\0\x01", &length[..]].concat();
    client.send_big(b'F', &front, b'x', size, b"\0\0");
    let answer = client.answer();
    assert_eq!((answer.tags.as_str(), answer.says(&said)), ("VZ", true));
    held("a FunctionCall");

    client.query("CREATE TEMPORARY TABLE big(a text)");
    client.send(&q("COPY big FROM STDIN WHERE length(a) = 0"));
    assert_eq!(client.answer_until(b'G').tags, "G");
    client.send_big(b'd', b"", b'x', size, b"\n");
    client.send(&copy_done());
    assert!(client.answer().says("COPY 0"));
    held("a CopyData of the client's");

    let answer = client.query(&format!("SELECT repeat('x', {size})"));
    assert_eq!(
        (answer.tags.as_str(), answer.says("SELECT 1")),
        ("TDCZ", true)
    );
    assert_eq!(answer.data_bytes, 6 + size as u64);
    held("a DataRow");

    let answer = client.query(&format!("COPY (SELECT repeat('x', {size})) TO STDOUT"));
    assert_eq!(
        (answer.tags.as_str(), answer.says("COPY 1")),
        ("HdcCZ", true)
    );
    assert_eq!(answer.data_bytes, 1 + size as u64);
    held("a CopyData of the server's");
}
