//! Messages of a session that lockkeeper answers itself: rows of texts, and the signs that a step
//! of the extended protocol is done.

use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{
    DataRow, FieldDescription, NoData, ParameterDescription, RowDescription,
};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::{put, split_cstr};

/// OID of the type `text`; its text and its binary format are the same bytes
/// (`src/include/catalog/pg_type.dat`).
const TEXT_OID: u32 = 25;

/// In which format columns are asked for: 0 text, 1 binary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Formats(Vec<i16>);

impl Formats {
    /// The format of a column: none given is text, one is for all.
    fn of(&self, column: usize) -> i16 {
        let one_for_all = (self.0.len() == 1).then_some(0);
        let at = one_for_all.unwrap_or(column);
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// What a Bind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindBody<'a> {
    /// The portal to make.
    pub portal: &'a [u8],
    /// The prepared statement.
    pub statement: &'a [u8],
    /// How many parameters it gives.
    pub parameters: u16,
    /// The formats of the columns.
    pub formats: Formats,
}

/// Reads a Bind; `None` when it isn't well formed.
pub fn bind_body(body: &[u8]) -> Option<BindBody<'_>> {
    let (portal, rest) = split_cstr(body)?;
    let (statement, rest) = split_cstr(rest)?;
    let (_, rest) = formats(rest)?;
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let parameters = u16::from_be_bytes(*count);
    for _ in 0..parameters {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0); // NULL is -1
        rest = after.get(length..)?;
    }
    let (formats, rest) = formats(rest)?;
    rest.is_empty().then_some(BindBody {
        portal,
        statement,
        parameters,
        formats,
    })
}

fn formats(bytes: &[u8]) -> Option<(Formats, &[u8])> {
    let (count, mut rest) = bytes.split_first_chunk::<2>()?;
    let mut formats = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (format, after) = rest.split_first_chunk::<2>()?;
        formats.push(i16::from_be_bytes(*format));
        rest = after;
    }
    Some((Formats(formats), rest))
}

/// The portal and the row limit of an Execute; zero is none. `None` when it isn't well formed.
pub fn execute_body(body: &[u8]) -> Option<(&[u8], u32)> {
    let (portal, limit) = split_cstr(body)?;
    Some((portal, u32::from_be_bytes(*limit.first_chunk()?)))
}

/// Appends a RowDescription of columns of type `text`.
pub fn put_columns(buffer: &mut BytesMut, names: &[String], formats: &Formats) {
    let columns = names.iter().enumerate();
    let fields = columns.map(|(at, name)| {
        FieldDescription::new(name.clone(), 0, 0, TEXT_OID, -1, -1, formats.of(at))
    });
    put(buffer, &RowDescription::new(fields.collect()));
}

/// Appends a DataRow; `None` is NULL.
pub fn put_row(buffer: &mut BytesMut, values: &[Option<String>]) {
    let mut data = BytesMut::new();
    for value in values {
        let value = value.as_deref();
        let length = value.map_or(Ok(-1), |value| i32::try_from(value.len()));
        data.put_i32(length.unwrap_or(-1)); // no value is as long
        data.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    let field_count = i16::try_from(values.len()).unwrap_or(i16::MAX);
    put(buffer, &DataRow::new(data, field_count));
}

/// Appends a ParseComplete.
pub fn put_parse_complete(buffer: &mut BytesMut) {
    put(buffer, &ParseComplete::new());
}

/// Appends a BindComplete.
pub fn put_bind_complete(buffer: &mut BytesMut) {
    put(buffer, &BindComplete::new());
}

/// Appends a CloseComplete.
pub fn put_close_complete(buffer: &mut BytesMut) {
    put(buffer, &CloseComplete::new());
}

/// Appends a ParameterDescription of no parameters.
pub fn put_no_parameters(buffer: &mut BytesMut) {
    put(buffer, &ParameterDescription::new(Vec::new()));
}

/// Appends a NoData.
pub fn put_no_data(buffer: &mut BytesMut) {
    put(buffer, &NoData::new());
}

/// Appends a PortalSuspended.
pub fn put_suspended(buffer: &mut BytesMut) {
    put(buffer, &PortalSuspended::new());
}

/// Appends an EmptyQueryResponse.
pub fn put_empty(buffer: &mut BytesMut) {
    put(buffer, &EmptyQueryResponse::new());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::backend::data_row;
    use crate::wire::frame::HEADER_BYTES;

    #[test]
    fn rows_are_read_as_written() {
        let row = [Some("é".to_owned()), None, Some(String::new())];
        let mut buffer = BytesMut::new();
        put_row(&mut buffer, &row);
        assert_eq!(data_row(&buffer[HEADER_BYTES..]), Some(row.to_vec()));
    }

    #[test]
    fn columns_are_texts_in_the_format_asked_for() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";
        let bind = bind_body(body).unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.parameters, 2);
        assert_eq!((bind.formats.of(0), bind.formats.of(7)), (1, 1));
        assert_eq!(Formats(vec![0, 1]).of(1), 1);
        assert_eq!(Formats::default().of(1), 0);
        let mut buffer = BytesMut::new();
        put_columns(&mut buffer, &["a".to_owned()], &bind.formats);
        assert!(buffer.ends_with(b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01"));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..48)) {
            let _ = (bind_body(&body), execute_body(&body));
        }
    }
}
