//! Messages of the server: the fields that lockkeeper reads, and the messages that it says in the
//! server's place.

use bytes::BytesMut;
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery};
use pgwire::messages::startup::ParameterStatus;

use super::frame::HEADER_BYTES;
use super::pipeline::TransactionStatus;
use super::{put, split_cstr};

/// The fields of an ErrorResponse or NoticeResponse that lockkeeper reads; every one may be
/// missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorFields {
    /// `V`, else `S`: `ERROR`, `FATAL`, `NOTICE` …
    pub severity: String,
    /// `C`: the SQLSTATE.
    pub sqlstate: String,
    /// `M`: the primary message.
    pub message: String,
    /// `D`: the detail.
    pub detail: String,
    /// `H`: the hint.
    pub hint: String,
    /// The fields that lockkeeper passes on without reading them: schema, table, column,
    /// constraint, where …
    pub others: Vec<(u8, String)>,
}

impl ErrorFields {
    /// Makes the position in a statement that in a text in which so many characters stand before it.
    pub fn shift_position(&mut self, offset: usize) {
        for (code, value) in &mut self.others {
            if let (b'P', Ok(position)) = (*code, value.parse::<usize>()) {
                *value = position.saturating_add(offset).to_string();
            }
        }
    }

    /// Reads the body of an ErrorResponse or NoticeResponse.
    pub fn parse(body: &[u8]) -> ErrorFields {
        let mut fields = ErrorFields::default();
        let mut rest = body;
        while let Some((&code, after)) = rest.split_first() {
            if code == 0 {
                break;
            }
            let Some((value, after)) = split_cstr(after) else {
                break;
            };
            let value = String::from_utf8_lossy(value).into_owned();
            match code {
                b'V' => fields.severity = value,
                b'S' if fields.severity.is_empty() => fields.severity = value,
                b'S' => {}
                b'C' => fields.sqlstate = value,
                b'M' => fields.message = value,
                b'D' => fields.detail = value,
                b'H' => fields.hint = value,
                other => fields.others.push((other, value)),
            }
            rest = after;
        }
        fields
    }

    fn into_list(self) -> Vec<(u8, String)> {
        let mut list = vec![
            (b'S', self.severity.clone()),
            (b'V', self.severity),
            (b'C', self.sqlstate),
            (b'M', self.message),
            (b'D', self.detail),
            (b'H', self.hint),
        ];
        list.extend(self.others);
        list.retain(|(_, value)| !value.is_empty());
        list
    }
}

/// Name and value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = split_cstr(body)?;
    Some((name, split_cstr(rest)?.0))
}

/// A whole AuthenticationSASL frame without SCRAM-SHA-256-PLUS among its mechanisms; `None` when the
/// frame is another one or has no such mechanism, or no other.
pub fn without_channel_binding(frame: &[u8]) -> Option<Vec<u8>> {
    const SASL: [u8; 4] = [0, 0, 0, 10];
    let mut rest = frame.get(HEADER_BYTES..)?.strip_prefix(&SASL)?;
    let (mut kept, mut found) = (SASL.to_vec(), false);
    while let Some((mechanism, after)) = split_cstr(rest) {
        if mechanism.ends_with(b"-PLUS") {
            found = true;
        } else {
            kept.extend_from_slice(rest.get(..=mechanism.len())?);
        }
        rest = after;
    }
    let has_others = kept.len() > SASL.len() + 1; // the list ends with an empty name
    if !found || !has_others {
        return None;
    }
    let length = u32::try_from(kept.len() + 4).ok()?;
    Some([&b"R"[..], &length.to_be_bytes()[..], &kept[..]].concat())
}

/// The tag of a CommandComplete.
pub fn command_tag(body: &[u8]) -> &[u8] {
    split_cstr(body).map_or(body, |(tag, _)| tag)
}

/// The columns of a DataRow in text format; a NULL is `None`. `None` when the body isn't well
/// formed.
pub fn data_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            columns.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length)?;
        columns.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(columns)
}

/// A CommandComplete tag that only a schema change has (`src/include/tcop/cmdtaglist.h`): used to
/// notice a schema change that the classifier didn't see.
pub fn is_ddl_tag(tag: &[u8]) -> bool {
    let word = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(
        word,
        b"ALTER" | b"CREATE" | b"DROP" | b"TRUNCATE" | b"REINDEX" | b"CLUSTER" | b"REFRESH"
    ) || matches!(
        word,
        b"COMMENT" | b"GRANT" | b"REVOKE" | b"SECURITY" | b"IMPORT" | b"REASSIGN"
    )
}

/// Appends an ErrorResponse.
pub fn put_error(buffer: &mut BytesMut, fields: ErrorFields) {
    put(buffer, &ErrorResponse::new(fields.into_list()));
}

/// Appends a NoticeResponse.
pub fn put_notice(buffer: &mut BytesMut, fields: ErrorFields) {
    put(buffer, &NoticeResponse::new(fields.into_list()));
}

/// Appends a ParameterStatus.
pub fn put_parameter_status(buffer: &mut BytesMut, name: &str, value: &str) {
    put(
        buffer,
        &ParameterStatus::new(name.to_owned(), value.to_owned()),
    );
}

/// Appends a CommandComplete.
pub fn put_command_complete(buffer: &mut BytesMut, tag: &str) {
    put(buffer, &CommandComplete::new(tag.to_owned()));
}

/// Appends a ReadyForQuery.
pub fn put_ready_for_query(buffer: &mut BytesMut, status: TransactionStatus) {
    use pgwire::messages::response::TransactionStatus as Status;
    let status = match status {
        TransactionStatus::Idle => Status::Idle,
        TransactionStatus::InTransaction => Status::Transaction,
        TransactionStatus::Failed => Status::Error,
    };
    put(buffer, &ReadyForQuery::new(status));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Header;
    use proptest::prelude::*;

    #[test]
    fn an_error_survives_a_round_trip() {
        let fields = ErrorFields {
            severity: "ERROR".into(),
            sqlstate: "55P03".into(),
            message: "canceling statement due to lock timeout".into(),
            detail: String::new(),
            hint: "wait".into(),
            others: vec![(b't', "users".into())],
        };
        let mut buffer = BytesMut::new();
        put_error(&mut buffer, fields.clone());
        let header = Header::parse(&buffer).unwrap().unwrap();
        assert_eq!((header.tag, header.frame_bytes()), (b'E', buffer.len()));
        assert_eq!(ErrorFields::parse(&buffer[HEADER_BYTES..]), fields);
    }

    #[test]
    fn rows_and_their_nulls() {
        assert_eq!(
            data_row(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"),
            Some(vec![Some("a".into()), None])
        );
        assert_eq!(data_row(b"\0\x01\0\0\0\x05a"), None);
    }

    #[test]
    fn tags_of_schema_changes() {
        for tag in ["CREATE INDEX", "ALTER TABLE", "TRUNCATE TABLE", "COMMENT"] {
            assert!(is_ddl_tag(tag.as_bytes()), "{tag}");
        }
        for tag in [
            "SELECT 1",
            "INSERT 0 1",
            "COMMIT",
            "SET",
            "VACUUM",
            "COPY 3",
            "DO",
            "CALL",
        ] {
            assert!(!is_ddl_tag(tag.as_bytes()), "{tag}");
        }
    }

    #[test]
    fn channel_binding_is_taken_out_and_nothing_else() {
        let sasl = |mechanisms: &[u8]| {
            let length = u8::try_from(8 + mechanisms.len()).unwrap();
            [&[b'R', 0, 0, 0, length, 0, 0, 0, 10], mechanisms].concat()
        };
        let plain = sasl(b"SCRAM-SHA-256\0\0");
        for offered in [
            &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..],
            b"SCRAM-SHA-256\0SCRAM-SHA-256-PLUS\0\0",
        ] {
            assert_eq!(without_channel_binding(&sasl(offered)), Some(plain.clone()));
        }
        for other in [
            plain.clone(),
            sasl(b"SCRAM-SHA-256-PLUS\0\0"),
            sasl(b"OAUTHBEARER\0\0"),
            b"R\0\0\0\x08\0\0\0\0".to_vec(),
            b"R\0\0".to_vec(),
        ] {
            assert_eq!(without_channel_binding(&other), None);
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = without_channel_binding(&body);
            let _ = (ErrorFields::parse(&body), parameter_status(&body), data_row(&body));
            let _ = is_ddl_tag(command_tag(&body));
        }
    }
}
