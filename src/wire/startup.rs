//! What a client says before the first frame: requests for encryption, cancel requests, the
//! start-up message.

use thiserror::Error;

use super::split_cstr;

/// Bytes that tell the kind of a start-up packet: its length and its request code.
pub const PREFIX_BYTES: usize = 8;
/// The longest start-up packet, in bytes: `MAX_STARTUP_PACKET_LENGTH` of
/// `src/include/libpq/pqcomm.h`, which doesn't count the length word.
pub const MAX_STARTUP_BYTES: usize = 4 + 10_000;
/// The longest cancel key, in bytes: `MAX_CANCEL_KEY_LENGTH`, protocol 3.2.
pub const MAX_CANCEL_KEY_BYTES: usize = 256;
/// The SSLRequest packet.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSSENC_CODE: u32 = 80_877_104;

/// The kind of a start-up packet, as its first eight bytes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupKind {
    /// `SSLRequest`: nothing follows.
    Ssl,
    /// `GSSENCRequest`: nothing follows.
    GssEnc,
    /// `CancelRequest`: `rest` bytes of process id and key follow.
    Cancel {
        /// Bytes still to read.
        rest: usize,
    },
    /// `StartupMessage` of any protocol version: `rest` bytes of parameters follow.
    Startup {
        /// Bytes still to read.
        rest: usize,
    },
}

/// A start-up packet that PostgreSQL would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("invalid length of start-up packet: {length} bytes")]
pub struct BadStartup {
    /// The length field as sent.
    pub length: u32,
}

/// Tells the kind of a start-up packet from its first eight bytes.
///
/// # Errors
/// [`BadStartup`] when the length doesn't fit the kind.
pub fn kind(prefix: [u8; PREFIX_BYTES]) -> Result<StartupKind, BadStartup> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let length = u32::from_be_bytes([a, b, c, d]);
    let bad = BadStartup { length };
    let rest = (length as usize).checked_sub(PREFIX_BYTES).ok_or(bad)?;
    match u32::from_be_bytes([e, f, g, h]) {
        SSL_CODE if rest == 0 => Ok(StartupKind::Ssl),
        GSSENC_CODE if rest == 0 => Ok(StartupKind::GssEnc),
        SSL_CODE | GSSENC_CODE => Err(bad),
        CANCEL_CODE if (4 + 1..=4 + MAX_CANCEL_KEY_BYTES).contains(&rest) => {
            Ok(StartupKind::Cancel { rest })
        }
        CANCEL_CODE => Err(bad),
        _ if length as usize <= MAX_STARTUP_BYTES => Ok(StartupKind::Startup { rest }),
        _ => Err(bad),
    }
}

/// A CancelRequest for the session whose BackendKeyData had this body.
pub fn cancel_request(key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(PREFIX_BYTES + key.len()).unwrap_or(u32::MAX);
    [
        &length.to_be_bytes()[..],
        &CANCEL_CODE.to_be_bytes()[..],
        key,
    ]
    .concat()
}

/// What lockkeeper reads of a start-up message; the packet itself is forwarded as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartupParameters {
    /// `user`; the last one counts, as in the server.
    pub user: String,
    /// `database`; the user's name when it isn't given.
    pub database: String,
    /// `application_name`, empty when it isn't given.
    pub application_name: String,
    /// `replication` was asked for.
    pub replication: bool,
}

/// Reads the parameters of a start-up message: `body` is what follows the protocol version.
pub fn parameters(body: &[u8]) -> StartupParameters {
    let mut parameters = StartupParameters::default();
    let mut rest = body;
    while let Some((name, after)) = split_cstr(rest) {
        if name.is_empty() {
            break;
        }
        let Some((value, after)) = split_cstr(after) else {
            break;
        };
        let value = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"user" => parameters.user = value(),
            b"database" => parameters.database = value(),
            b"application_name" => parameters.application_name = value(),
            b"replication" => {
                parameters.replication = !matches!(value().as_str(), "false" | "off" | "no" | "0")
            }
            _ => {}
        }
        rest = after;
    }
    if parameters.database.is_empty() {
        parameters.database.clone_from(&parameters.user);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(length: u32, code: u32) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..].copy_from_slice(&code.to_be_bytes());
        bytes
    }

    #[test]
    fn kinds() {
        assert_eq!(kind(SSL_REQUEST), Ok(StartupKind::Ssl));
        assert_eq!(kind(prefix(8, GSSENC_CODE)), Ok(StartupKind::GssEnc));
        assert_eq!(
            kind(prefix(16, CANCEL_CODE)),
            Ok(StartupKind::Cancel { rest: 8 })
        );
        assert_eq!(
            kind(prefix(44, CANCEL_CODE)),
            Ok(StartupKind::Cancel { rest: 36 })
        );
        assert_eq!(
            kind(prefix(9, 196_608)),
            Ok(StartupKind::Startup { rest: 1 })
        );
        assert_eq!(
            kind(prefix(10_004, 196_608)),
            Ok(StartupKind::Startup { rest: 9_996 })
        );
        for (length, code) in [
            (7, 196_608),
            (0, SSL_CODE),
            (9, SSL_CODE),
            (12, CANCEL_CODE),
            (10_005, 196_608),
        ] {
            assert_eq!(kind(prefix(length, code)), Err(BadStartup { length }));
        }
    }

    #[test]
    fn a_cancel_request_is_read_as_one() {
        let packet = cancel_request(&[7; 8]);
        let prefix = *packet.first_chunk().unwrap();
        assert_eq!(kind(prefix), Ok(StartupKind::Cancel { rest: 8 }));
        assert_eq!(packet.len(), 16);
    }

    #[test]
    fn the_last_user_counts_and_is_the_default_database() {
        let read = parameters(b"user\0a\0user\0b\0application_name\0psql\0\0");
        assert_eq!((read.user.as_str(), read.database.as_str()), ("b", "b"));
        assert_eq!(read.application_name, "psql");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), prefix in any::<[u8; 8]>()) {
            let _ = parameters(&bytes);
            let _ = kind(prefix);
        }
    }
}
