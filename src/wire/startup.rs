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
    /// `lockkeeper.mode`.
    pub mode: Option<String>,
    /// `options`, empty when they aren't given.
    pub options: String,
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
            b"options" => parameters.options = value(),
            name if name.eq_ignore_ascii_case(b"lockkeeper.mode") => {
                parameters.mode = Some(value())
            }
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

/// Whether a start-up packet is one of protocol 3, whose parameters can be read.
pub fn is_protocol_3(packet: &[u8]) -> bool {
    packet.get(4..6) == Some(&[0, 3])
}

/// A start-up packet for another database; every other parameter is as it was. `None` when it is no
/// start-up message of protocol 3, or would become too long.
pub fn with_database(packet: &[u8], database: &str) -> Option<Vec<u8>> {
    let (prefix, body) = packet.split_at_checked(PREFIX_BYTES)?;
    if !is_protocol_3(prefix) || database.contains('\0') {
        return None;
    }
    let mut changed = prefix.to_vec();
    let mut rest = body;
    loop {
        let (name, after) = split_cstr(rest)?;
        if name.is_empty() {
            break;
        }
        let (_, next) = split_cstr(after)?;
        if name != b"database" {
            changed.extend_from_slice(rest.get(..rest.len() - next.len())?);
        }
        rest = next;
    }
    for text in ["database", database, ""] {
        changed.extend_from_slice(text.as_bytes());
        changed.push(0);
    }
    let length = u32::try_from(changed.len()).ok()?;
    changed.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    (changed.len() <= MAX_STARTUP_BYTES).then_some(changed)
}

/// The longest `application_name`, in bytes: `NAMEDATALEN - 1`. The server cuts longer ones.
const MAX_NAME_BYTES: usize = 63;

/// A start-up packet whose `application_name` ends with ` [client]`; every other byte is as it was.
/// A name that would be too long is cut, the suffix is not.
///
/// `None` when the packet stays as it is: it is no start-up message of protocol 3, it would become too long, it asks
/// for replication (`synchronous_standby_names` knows standbys by this name), or its name is given by `options` alone,
/// which a name added here would hide.
pub fn with_client_in_name(packet: &[u8], client: &str) -> Option<Vec<u8>> {
    let (prefix, body) = packet.split_at_checked(PREFIX_BYTES)?;
    if !is_protocol_3(prefix) || parameters(body).replication {
        return None;
    }
    let place = find_name(body)?;
    let suffix = format!(" [{client}]");
    let mut changed = Vec::with_capacity(packet.len() + suffix.len() + 20);
    changed.extend_from_slice(prefix);
    changed.extend_from_slice(body.get(..place.start)?);
    if place.is_missing {
        changed.extend_from_slice(b"application_name\0");
        changed.extend_from_slice(suffix.trim_start().as_bytes());
        changed.push(0);
    } else {
        let name = body.get(place.start..place.end)?;
        changed.extend_from_slice(cut(name, MAX_NAME_BYTES.saturating_sub(suffix.len())));
        changed.extend_from_slice(suffix.as_bytes());
    }
    changed.extend_from_slice(body.get(place.end..)?);
    let length = u32::try_from(changed.len()).ok()?;
    changed.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    (changed.len() <= MAX_STARTUP_BYTES).then_some(changed)
}

/// Where in a start-up message's parameters the name stands, or where it would be added.
struct NamePlace {
    start: usize,
    end: usize,
    is_missing: bool,
}

/// The last `application_name` counts, as in the server.
fn find_name(body: &[u8]) -> Option<NamePlace> {
    let (mut found, mut in_options, mut rest) = (None, false, body);
    let at = |rest: &[u8]| body.len() - rest.len();
    loop {
        let (name, after) = split_cstr(rest)?;
        if name.is_empty() {
            break;
        }
        let (value, next) = split_cstr(after)?;
        match name {
            b"application_name" => found = Some((at(after), at(after) + value.len())),
            b"options" => in_options |= memchr::memmem::find(value, b"application").is_some(),
            _ => {}
        }
        rest = next;
    }
    match found {
        Some((start, end)) => Some(NamePlace {
            start,
            end,
            is_missing: false,
        }),
        None if in_options => None,
        None => Some(NamePlace {
            start: at(rest),
            end: at(rest),
            is_missing: true,
        }),
    }
}

/// The front of a name that the server shows in so many bytes; never part of a character where it is UTF-8. From
/// version 16 on it shows a byte outside printable ASCII as four (`pg_clean_ascii`).
fn cut(name: &[u8], room: usize) -> &[u8] {
    let (mut shown, mut end) = (0, 0);
    for (at, byte) in name.iter().enumerate() {
        shown += if matches!(byte, b' '..=b'~') { 1 } else { 4 };
        if shown > room {
            break;
        }
        let ends_here = name.get(at + 1).is_none_or(|next| next & 0xc0 != 0x80);
        if ends_here {
            end = at + 1;
        }
    }
    name.get(..end).unwrap_or_default()
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

    fn packet(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&prefix(length, 196_608)[..], body].concat()
    }

    #[test]
    fn the_clients_address_is_added_to_the_name_and_nothing_else_changes() {
        let long = "n".repeat(80);
        let cut = format!(
            "user\0u\0application_name\0{} [10.0.0.7]\0\0",
            "n".repeat(52)
        );
        for (body, expected) in [
            (
                "user\0u\0application_name\0psql\0x\0y\0\0",
                "user\0u\0application_name\0psql [10.0.0.7]\0x\0y\0\0",
            ),
            (
                "application_name\0a\0application_name\0b\0\0",
                "application_name\0a\0application_name\0b [10.0.0.7]\0\0",
            ),
            ("user\0u\0\0", "user\0u\0application_name\0[10.0.0.7]\0\0"),
            (
                "application_name\0\0\0",
                "application_name\0 [10.0.0.7]\0\0",
            ),
            (&format!("user\0u\0application_name\0{long}\0\0"), &cut),
        ] {
            let changed = with_client_in_name(&packet(body.as_bytes()), "10.0.0.7").unwrap();
            assert_eq!(
                changed,
                packet(expected.as_bytes()),
                "{}",
                changed.escape_ascii()
            );
        }
        for body in [
            "user\0u\0replication\0true\0application_name\0standby\0\0",
            "options\0-c application_name=x\0\0",
            "user\0u",
            "",
        ] {
            assert_eq!(
                with_client_in_name(&packet(body.as_bytes()), "c"),
                None,
                "{body}"
            );
        }
        let full = packet(format!("user\0{}\0\0", "u".repeat(9_980)).as_bytes());
        assert_eq!(with_client_in_name(&full, "10.0.0.7"), None);
        assert_eq!(with_client_in_name(&SSL_REQUEST, "10.0.0.7"), None);
    }

    #[test]
    fn the_database_is_another_and_nothing_else_changes() {
        for (body, expected) in [
            (
                "user\0u\0database\0console\0x\0y\0\0",
                "user\0u\0x\0y\0database\0postgres\0\0",
            ),
            ("user\0console\0\0", "user\0console\0database\0postgres\0\0"),
            (
                "database\0a\0database\0b\0user\0u\0\0",
                "user\0u\0database\0postgres\0\0",
            ),
        ] {
            let changed = with_database(&packet(body.as_bytes()), "postgres").unwrap();
            assert_eq!(
                changed,
                packet(expected.as_bytes()),
                "{}",
                changed.escape_ascii()
            );
        }
        assert_eq!(with_database(&packet(b"user\0u"), "postgres"), None);
        assert_eq!(with_database(&SSL_REQUEST, "postgres"), None);
        let full = packet(format!("user\0{}\0\0", "u".repeat(9_980)).as_bytes());
        assert_eq!(with_database(&full, "postgres"), None);
    }

    proptest! {
        #[test]
        fn the_name_stays_short_and_whole(name in "[^\0]{0,90}", client in "[0-9a-f.:]{0,39}") {
            let body = format!("application_name\0{name}\0user\0u\0\0");
            let changed = with_client_in_name(&packet(body.as_bytes()), &client).unwrap();
            let read = parameters(&changed[8..]);
            prop_assert!(read.application_name.len() <= MAX_NAME_BYTES);
            let is_whole = |text: &str| !text.contains(char::REPLACEMENT_CHARACTER);
            prop_assert!(is_whole(&read.application_name) || !is_whole(&name));
            let suffix = format!(" [{client}]");
            let kept = read.application_name.strip_suffix(&suffix).unwrap();
            prop_assert!(name.starts_with(kept));
            prop_assert_eq!(read.user, "u");
            let rest = changed.len() - 8;
            prop_assert_eq!(kind(*changed.first_chunk().unwrap()), Ok(StartupKind::Startup { rest }));
        }

        #[test]
        fn no_bytes_change_into_a_packet_that_ends_elsewhere(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(changed) = with_client_in_name(&packet(&body), "::1") {
                prop_assert_eq!(parameters(&changed[8..]).user, parameters(&body).user);
            }
        }

        #[test]
        fn no_bytes_change_into_another_user(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(changed) = with_database(&packet(&body), "d") {
                prop_assert_eq!(parameters(&changed[8..]).user, parameters(&body).user);
                prop_assert_eq!(parameters(&changed[8..]).database, "d");
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), prefix in any::<[u8; 8]>()) {
            let _ = parameters(&bytes);
            let _ = kind(prefix);
        }
    }
}
