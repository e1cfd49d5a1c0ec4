//! The header of the PROXY protocol, versions 1 and 2, in which a load balancer says who the client
//! is (`https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt`).
//!
//! Nothing marks its end but itself, and what follows may be TLS: [`missing`] says how many bytes may
//! be read next without reading beyond it.

use core::net::SocketAddr;

use ppp::{v1, v2};
use thiserror::Error;

/// The longest header of version 2 that is read, in bytes: addresses take at most 216, the rest is
/// extensions, which are skipped.
pub const MAX_HEADER_BYTES: usize = 4096;
/// The longest header of version 1, in bytes, its CR LF included.
const MAX_V1_BYTES: usize = 107;
/// Where the length of version 2 ends.
const V2_FIXED_BYTES: usize = 16;
/// What version 1 begins with.
const V1_PREFIX: &[u8] = b"PROXY ";
/// The shortest header of version 1: `PROXY UNKNOWN` and its CR LF.
const MIN_V1_BYTES: usize = 15;

/// Not a header of the PROXY protocol, or one that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadProxyHeader {
    /// Something else came first.
    #[error("it sent no PROXY protocol header, which listen.proxy_protocol_from demands of it")]
    Missing,
    /// It isn't well-formed.
    #[error("its PROXY protocol header is malformed")]
    Malformed,
    /// It is longer than [`MAX_HEADER_BYTES`].
    #[error("its PROXY protocol header is too long: {0} bytes")]
    TooLong(usize),
}

/// How many bytes of the header are still to be read, at least, when `read` is what was read so far;
/// 0 when it is complete.
///
/// # Errors
/// [`BadProxyHeader`].
pub fn missing(read: &[u8]) -> Result<usize, BadProxyHeader> {
    let v2_prefix = v2::PROTOCOL_PREFIX;
    let common = read.len().min(v2_prefix.len());
    if read[..common] == v2_prefix[..common] {
        let Some(fixed) = read.first_chunk::<V2_FIXED_BYTES>() else {
            // The first byte alone could be a short line of something else: read no further.
            return Ok(if read.is_empty() {
                1
            } else {
                V2_FIXED_BYTES - read.len()
            });
        };
        let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if length > MAX_HEADER_BYTES {
            return Err(BadProxyHeader::TooLong(length));
        }
        return Ok(length.saturating_sub(read.len()));
    }
    let common = read.len().min(V1_PREFIX.len());
    if read[..common] != V1_PREFIX[..common] {
        return Err(BadProxyHeader::Missing);
    }
    match read {
        [.., b'\r', b'\n'] => Ok(0),
        _ if read.len() >= MAX_V1_BYTES => Err(BadProxyHeader::Malformed),
        [.., b'\r'] => Ok(1),
        _ => Ok(MIN_V1_BYTES.saturating_sub(read.len()).max(1)),
    }
}

/// The client's address in a complete header; `None` when the header doesn't tell: the proxy speaks
/// for itself (a health check), or for a client of a kind without an IP address.
///
/// # Errors
/// [`BadProxyHeader::Malformed`].
pub fn client(header: &[u8]) -> Result<Option<SocketAddr>, BadProxyHeader> {
    if header.starts_with(V1_PREFIX) {
        let read = v1::Header::try_from(header).map_err(|_| BadProxyHeader::Malformed)?;
        return Ok(match read.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        });
    }
    let read = v2::Header::try_from(header).map_err(|_| BadProxyHeader::Malformed)?;
    Ok(match (read.command, read.addresses) {
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::Unix(_) | v2::Addresses::Unspecified) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a header from the front of `bytes` as a socket would be read; what is left of them.
    fn read(bytes: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), BadProxyHeader> {
        let mut at = 0;
        loop {
            match missing(&bytes[..at])? {
                0 => return Ok((client(&bytes[..at])?, &bytes[at..])),
                more => {
                    at += more;
                    if at > bytes.len() {
                        return Err(BadProxyHeader::Malformed); // the end came first
                    }
                }
            }
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [
            v2::PROTOCOL_PREFIX,
            &[0x20 | command, family],
            &length,
            body,
        ]
        .concat()
    }

    #[test]
    fn headers() {
        let four = [10, 0, 0, 7, 10, 0, 0, 1, 0x30, 0x39, 0x15, 0x38];
        let with_extension = [&four[..], &[4, 0, 1, 42]].concat();
        let six = [&[0; 15][..], &[1], &[0; 16], &[0, 7, 0, 8]].concat();
        for (header, client) in [
            (
                b"PROXY TCP4 10.0.0.7 10.0.0.1 12345 5432\r\n".to_vec(),
                Some("10.0.0.7:12345"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 9 5432\r\n".to_vec(),
                Some("[2001:db8::7]:9"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN a b c d\r\n".to_vec(), None),
            (v2(1, 0x11, &four), Some("10.0.0.7:12345")),
            (v2(1, 0x11, &with_extension), Some("10.0.0.7:12345")),
            (v2(1, 0x21, &six), Some("[::1]:7")),
            (v2(0, 0x00, &[]), None),
            (v2(0, 0x11, &four), None),
            (v2(1, 0x00, &[1, 2, 3]), None),
            (v2(1, 0x31, &[b'a'; 216]), None),
        ] {
            let stream = [&header[..], b"rest"].concat();
            let client = client.map(|address| address.parse().unwrap());
            assert_eq!(
                read(&stream),
                Ok((client, &b"rest"[..])),
                "{}",
                header.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_no_header() {
        use BadProxyHeader::{Malformed, Missing, TooLong};
        let mut long = v2(1, 0x11, &[0; 12]);
        long[14..16].copy_from_slice(&[0xff, 0xff]);
        for (bytes, error) in [
            (vec![0, 0, 0, 8, 4, 210, 22, 47], Missing),
            (b"\x16\x03\x01".to_vec(), Missing),
            (b"PROXX TCP4 192.0.2.1 ".to_vec(), Missing),
            (
                b"PROXY TCP4 10.0.0.7 10.0.0.1 123456 5432\r\n".to_vec(),
                Malformed,
            ),
            (b"PROXY TCP4 10.0.0.7\r\n".to_vec(), Malformed),
            (b"PROXY TCP4 \xff\xff 10.0.0.1 1 2\r\n".to_vec(), Malformed),
            (
                [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
                Malformed,
            ),
            (v2(1, 0x11, &[0; 11]), Malformed),
            (v2(7, 0x11, &[0; 12]), Malformed),
            (long, TooLong(65_551)),
        ] {
            assert_eq!(read(&bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_nothing_beyond_is_read(
            start in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(v2::PROTOCOL_PREFIX)],
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let stream = [start, &bytes].concat();
            let _ = client(&stream);
            if let Ok((_, rest)) = read(&stream) {
                let used = stream.len() - rest.len();
                prop_assert!(used <= MAX_HEADER_BYTES);
                prop_assert_eq!(missing(&stream[..used]), Ok(0));
            }
        }

        #[test]
        fn a_header_is_read_as_it_was_written(
            source in any::<SocketAddr>(), to in any::<SocketAddr>(), extension in 0_usize..64,
        ) {
            let (source, to) = match (source, to) {
                (SocketAddr::V6(mut source), SocketAddr::V6(mut to)) => {
                    // The protocol carries neither.
                    for address in [&mut source, &mut to] {
                        address.set_flowinfo(0);
                        address.set_scope_id(0);
                    }
                    (SocketAddr::V6(source), SocketAddr::V6(to))
                }
                (source @ SocketAddr::V4(_), to @ SocketAddr::V4(_)) => (source, to),
                _ => return Ok(()),
            };
            let line = v1::Addresses::from((source, to)).to_string();
            let packet = v2::Builder::with_addresses(0x21, v2::Protocol::Stream, (source, to))
                .write_tlv(v2::Type::NoOp, vec![0; extension].as_slice()).unwrap()
                .build().unwrap();
            for header in [line.into_bytes(), packet] {
                let stream = [&header[..], &[22, 3, 1]].concat();
                prop_assert_eq!(read(&stream), Ok((Some(source), &[22, 3, 1][..])));
            }
        }
    }
}
