//! Messages of a client: the fields that lockkeeper reads, and the messages that it sends for
//! itself.

use bytes::BytesMut;
use pgwire::messages::extendedquery::{Bind, Close, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;

use super::{put, split_cstr};

/// `Parse`: the statement's name and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseBody<'a> {
    /// Name of the prepared statement; empty for the unnamed one.
    pub name: &'a [u8],
    /// The query text.
    pub text: &'a [u8],
}

/// The text of a `Query`; `None` when the body isn't one text with one final NUL: the server
/// refuses such a message.
pub fn query_text(body: &[u8]) -> Option<&[u8]> {
    match split_cstr(body)? {
        (text, []) => Some(text),
        _ => None,
    }
}

/// Reads a `Parse` body; `None` when it isn't well formed.
pub fn parse_body(body: &[u8]) -> Option<ParseBody<'_>> {
    let (name, rest) = split_cstr(body)?;
    let (text, types) = split_cstr(rest)?;
    (types.len() >= 2).then_some(ParseBody { name, text })
}

/// What a `Describe` describes: `S` (statement) or `P` (portal), and its name.
pub fn describe_target(body: &[u8]) -> Option<(u8, &[u8])> {
    close_target(body) // of the same shape
}

/// Reads the names of portal and statement from the front of a `Bind` body.
pub fn bind_names(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (portal, rest) = split_cstr(body)?;
    let (statement, _) = split_cstr(rest)?;
    Some((portal, statement))
}

/// The portal of an `Execute`; `None` when the body isn't well formed: the server refuses it.
pub fn execute_portal(body: &[u8]) -> Option<&[u8]> {
    let (portal, limit) = split_cstr(body)?;
    (limit.len() == 4).then_some(portal)
}

/// What a `Close` closes: `S` (statement) or `P` (portal), and its name.
pub fn close_target(body: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = body.split_first()?;
    Some((*kind, split_cstr(rest)?.0))
}

/// Name of the prepared statement and portal in which lockkeeper runs its own commands: the
/// client's unnamed ones stay.
const OWN_NAME: &str = "__lockkeeper";

/// Appends the messages that run `sql` with text `parameters` under lockkeeper's own names, without
/// a Sync: Close, Parse, Bind, Execute, Close. The leading Close forgets what a failed command left
/// behind.
pub fn put_command(buffer: &mut BytesMut, sql: &str, parameters: &[&str]) {
    let name = || Some(OWN_NAME.to_owned());
    let values = parameters
        .iter()
        .map(|value| Some(bytes::Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    put(buffer, &Close::new(b'P', name()));
    put(buffer, &Close::new(b'S', name()));
    put(buffer, &Parse::new(name(), sql.to_owned(), Vec::new()));
    put(
        buffer,
        &Bind::new(name(), name(), Vec::new(), values, Vec::new()),
    );
    put(buffer, &Execute::new(name(), 0));
    put(buffer, &Close::new(b'P', name()));
    put(buffer, &Close::new(b'S', name()));
}

/// Appends a Flush: what was answered so far comes now, and not with the end of the batch.
pub fn put_flush(buffer: &mut BytesMut) {
    put(buffer, &Flush::new());
}

/// Appends what a Query does before anything else: it destroys the unnamed statement and portal.
pub fn put_forget_unnamed(buffer: &mut BytesMut) {
    put(buffer, &Close::new(b'P', None));
    put(buffer, &Close::new(b'S', None));
}

/// Appends a Query.
pub fn put_query(buffer: &mut BytesMut, sql: &str) {
    put(buffer, &Query::new(sql.to_owned()));
}

/// The message that ends a session.
pub const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

/// Appends a Sync.
pub fn put_sync(buffer: &mut BytesMut) {
    put(buffer, &Sync::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{HEADER_BYTES, Header};
    use proptest::prelude::*;

    #[test]
    fn a_query_with_bytes_after_its_nul_is_not_a_text() {
        assert_eq!(query_text(b"select 1\0"), Some(&b"select 1"[..]));
        assert_eq!(query_text(b"select 1\0Qx\0"), None);
        assert_eq!(query_text(b"select 1"), None);
    }

    #[test]
    fn a_command_is_a_row_of_well_formed_frames() {
        let mut buffer = BytesMut::new();
        put_command(&mut buffer, "select $1", &["a'b"]);
        put_sync(&mut buffer);
        let (mut tags, mut rest) = (String::new(), &buffer[..]);
        while let Some(header) = Header::parse(rest).unwrap() {
            tags.push(char::from(header.tag));
            if header.tag == b'P' {
                let body = &rest[HEADER_BYTES..header.frame_bytes()];
                assert_eq!(parse_body(body).unwrap().text, b"select $1");
            }
            rest = &rest[header.frame_bytes()..];
        }
        assert_eq!((tags.as_str(), rest.len()), ("CCPBECCS", 0));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = (query_text(&body), parse_body(&body), bind_names(&body));
            let _ = (execute_portal(&body), close_target(&body));
        }
    }
}
