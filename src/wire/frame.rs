//! The frame that carries every message after start-up: one type byte and a length that counts
//! itself.

use thiserror::Error;

/// Bytes of a frame header: the type byte and the four length bytes.
pub const HEADER_BYTES: usize = 5;

/// The longest frame that PostgreSQL accepts from a client: `PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize
/// - 1` (`src/include/libpq/libpq.h`). The length field of such a frame, in bytes.
pub const MAX_FRAME_LENGTH: u32 = 0x3fff_fffe;

/// Type byte and length of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type byte.
    pub tag: u8,
    /// The length field, in bytes: counts itself (4) and the body, not the type byte.
    pub length: u32,
}

/// A frame that no PostgreSQL would accept; the stream can't be followed past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid message length {length} in a message of type '{}'", .tag.escape_ascii())]
pub struct BadFrame {
    /// The message's type byte.
    pub tag: u8,
    /// The length field as sent.
    pub length: u32,
}

impl Header {
    /// Reads a header from the front of `bytes`; `Ok(None)` when fewer than [`HEADER_BYTES`] are
    /// there.
    ///
    /// # Errors
    /// [`BadFrame`] when the length is below 4 or above [`MAX_FRAME_LENGTH`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, BadFrame> {
        let Some([tag, a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>().copied() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(4..=MAX_FRAME_LENGTH).contains(&length) {
            return Err(BadFrame { tag, length });
        }
        Ok(Some(Header { tag, length }))
    }

    /// Bytes of the whole frame, the type byte included.
    pub fn frame_bytes(self) -> usize {
        self.length as usize + 1
    }

    /// Bytes of the body.
    pub fn body_bytes(self) -> usize {
        self.length as usize - 4
    }
}

/// The body of the frame at the front of `bytes` when the whole frame is there.
pub fn whole_body(bytes: &[u8], header: Header) -> Option<&[u8]> {
    bytes.get(HEADER_BYTES..header.frame_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_outside_the_servers_limits_are_refused() {
        for length in [0u32, 3, MAX_FRAME_LENGTH + 1, u32::MAX] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(Header::parse(&bytes), Err(BadFrame { tag: b'Q', length }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Ok(Some(header)) = Header::parse(&bytes) {
                prop_assert_eq!(header.frame_bytes(), header.body_bytes() + HEADER_BYTES);
                if let Some(body) = whole_body(&bytes, header) {
                    prop_assert_eq!(body.len(), header.body_bytes());
                }
            }
        }
    }
}
