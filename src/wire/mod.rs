//! The PostgreSQL wire protocol, version 3, as bytes: frames in, frames out, no SQL and no I/O.
//!
//! Relayed bytes are never decoded and encoded again; this module only says where a frame begins
//! and ends, reads the few fields that the proxy must know, and builds the few messages that the
//! proxy says itself (with `pgwire`). Source of every layout: PostgreSQL manual, chapter "Message
//! Formats".

pub mod answer;
pub mod backend;
pub mod frame;
pub mod frontend;
pub mod pipeline;
pub mod proxy_header;
pub mod startup;

use bytes::BytesMut;
use pgwire::messages::Message;

/// Reads a NUL-terminated string from the front of `bytes`: the string without its NUL, and what
/// follows it. `None` when there is no NUL.
pub(crate) fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Appends one message; the messages built here are far below every length limit, so encoding can't
/// fail.
pub(crate) fn put(buffer: &mut BytesMut, message: &impl Message) {
    let before = buffer.len();
    if message.encode(buffer).is_err() {
        buffer.truncate(before);
    }
}
