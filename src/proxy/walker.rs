//! Follows what the server sends: where each message begins, and what the fronts of some say. No I/O.

use super::inspect::Inspector;
use crate::metrics::Metrics;
use crate::wire::backend::ErrorFields;
use crate::wire::frame::{BadFrame, HEADER_BYTES, Header};

/// The longest body of a server's message that is looked at, in bytes; of longer ones only the
/// front.
const MAX_PEEK_BYTES: usize = 4096;

/// Follows the server's frames; everything goes on, only fronts of some bodies are looked at.
#[derive(Debug, Default)]
pub struct ServerWalker {
    /// Bytes of the current body that are still to come.
    rest: usize,
    /// An unfinished header.
    header: Vec<u8>,
    /// The current frame's type while its body is being gathered.
    gathering: Option<u8>,
    /// Its body so far.
    body: Vec<u8>,
    /// The SQLSTATE of the server's last message, if that was a FATAL error.
    pub(super) fatal: Option<String>,
}

impl ServerWalker {
    /// The last frame has ended, and none has begun.
    pub fn is_between_frames(&self) -> bool {
        self.rest == 0 && self.header.is_empty()
    }

    /// Follows bytes, which may begin and end anywhere.
    ///
    /// # Errors
    /// [`BadFrame`] when the stream can't be followed any further.
    pub fn walk(
        &mut self,
        mut bytes: &[u8],
        inspector: &mut Inspector,
        metrics: &Metrics,
    ) -> Result<(), BadFrame> {
        let mut messages = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                bytes = self.go_on(bytes, inspector, metrics);
                continue;
            }
            let header = match self.next_header(&mut bytes)? {
                Some(header) => header,
                None => break,
            };
            messages += 1;
            let body_bytes = header.body_bytes();
            if let Some(body) = bytes.get(..body_bytes) {
                self.note(header.tag, body);
                inspector.received(header.tag, &body[..body.len().min(MAX_PEEK_BYTES)], metrics);
                bytes = &bytes[body_bytes..];
                continue;
            }
            self.rest = body_bytes;
            match header.tag {
                b'Z' | b'S' | b'C' | b'E' => self.gathering = Some(header.tag),
                tag => inspector.received(tag, &[], metrics),
            }
        }
        metrics.server_messages.increment(messages);
        Ok(())
    }

    fn next_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, BadFrame> {
        if self.header.is_empty()
            && let Some(header) = Header::parse(bytes)?
        {
            *bytes = &bytes[HEADER_BYTES..];
            return Ok(Some(header));
        }
        let missing = (HEADER_BYTES - self.header.len()).min(bytes.len());
        self.header.extend_from_slice(&bytes[..missing]);
        *bytes = &bytes[missing..];
        let header = Header::parse(&self.header)?;
        if header.is_some() {
            self.header.clear();
        }
        Ok(header)
    }

    fn go_on<'a>(
        &mut self,
        bytes: &'a [u8],
        inspector: &mut Inspector,
        metrics: &Metrics,
    ) -> &'a [u8] {
        let count = self.rest.min(bytes.len());
        let (front, after) = bytes.split_at(count);
        self.rest -= count;
        if let Some(tag) = self.gathering {
            let room = MAX_PEEK_BYTES.saturating_sub(self.body.len());
            self.body.extend_from_slice(&front[..front.len().min(room)]);
            if self.rest == 0 {
                let body = std::mem::take(&mut self.body);
                self.gathering = None;
                self.note(tag, &body);
                inspector.received(tag, &body, metrics);
            }
        }
        after
    }

    /// A frame's type and body.
    pub fn note(&mut self, tag: u8, body: &[u8]) {
        match tag {
            b'E' => {
                let fields = ErrorFields::parse(body);
                self.fatal = matches!(fields.severity.as_str(), "FATAL" | "PANIC")
                    .then_some(fields.sqlstate);
            }
            b'N' | b'S' | b'A' => {}
            _ => self.fatal = None,
        }
    }
}
