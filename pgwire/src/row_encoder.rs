//! DataRow messages, written by hand: one pass from values to the output buffer, no allocation per row.

use basalt_types::{Datum, IoSettings, Oid, Result, SqlError, SqlState, SqlType, binary_out, text_out};
use bytes::{BufMut, BytesMut};

use crate::{Field, Format, decimal};

/// How one column is written.
#[derive(Clone, Copy, Debug)]
struct Column {
    ty: SqlType,
    format: Format,
}

/// The columns of the result being sent, and scratch space; lives as long as the connection.
#[derive(Debug, Default)]
pub(crate) struct RowEncoder {
    columns: Vec<Column>,
    /// For types whose text form is built by the types crate.
    scratch: String,
    pub settings: IoSettings,
}

/// Scratch space larger than this is given back after the row.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

impl RowEncoder {
    pub fn set_columns(&mut self, fields: &[Field], format: impl Fn(&Field) -> Format) {
        self.columns.clear();
        self.columns.extend(fields.iter().map(|field| Column { ty: field.ty, format: format(field) }));
    }

    /// Appends one message; after an error the buffer is as it was.
    pub fn encode(&mut self, row: &[Datum], buffer: &mut BytesMut) -> Result<()> {
        let start = buffer.len();
        let result = self.try_encode(row, buffer, start);
        if result.is_err() {
            buffer.truncate(start);
        }
        if self.scratch.capacity() > SCRATCH_BYTES_MAX {
            self.scratch = String::new();
        }
        result
    }

    fn try_encode(&mut self, row: &[Datum], buffer: &mut BytesMut, start: usize) -> Result<()> {
        let count = u16::try_from(row.len()).ok().filter(|_| row.len() == self.columns.len());
        let Some(count) = count else {
            let message = format!("row has {} values for {} columns", row.len(), self.columns.len());
            return Err(SqlError::internal(message));
        };
        // The header and eight bytes or so for each value.
        buffer.reserve(7 + row.len() * 12);
        buffer.put_u8(b'D');
        buffer.put_u32(0);
        buffer.put_u16(count);
        for (value, column) in row.iter().zip(&self.columns) {
            if value.is_null() {
                buffer.put_i32(-1);
                continue;
            }
            let at = buffer.len();
            buffer.put_u32(0);
            match column.format {
                Format::Text => text(value, column.ty, &self.settings, &mut self.scratch, buffer),
                Format::Binary => binary(value, column.ty, buffer),
            }
            set_length(buffer, at, buffer.len() - at - 4)?;
        }
        set_length(buffer, start + 1, buffer.len() - start - 1)
    }
}

fn set_length(buffer: &mut BytesMut, at: usize, length: usize) -> Result<()> {
    let length = i32::try_from(length)
        .map_err(|_| SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "result row is too large"))?;
    buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn text(value: &Datum, ty: SqlType, settings: &IoSettings, scratch: &mut String, buffer: &mut BytesMut) {
    match value {
        Datum::Int4(value) if ty.oid == Oid::INT4 => decimal::write(i64::from(*value), buffer),
        Datum::Int8(value) if ty.oid == Oid::INT8 => decimal::write(*value, buffer),
        Datum::Int2(value) if ty.oid == Oid::INT2 => decimal::write(i64::from(*value), buffer),
        Datum::Text(value) => buffer.put_slice(value.as_bytes()),
        Datum::Bool(value) => buffer.put_u8(if *value { b't' } else { b'f' }),
        other => {
            scratch.clear();
            text_out(other, ty, settings, scratch);
            buffer.put_slice(scratch.as_bytes());
        }
    }
}

fn binary(value: &Datum, ty: SqlType, buffer: &mut BytesMut) {
    match value {
        Datum::Int4(value) if ty.oid == Oid::INT4 => buffer.put_i32(*value),
        Datum::Int8(value) if ty.oid == Oid::INT8 => buffer.put_i64(*value),
        Datum::Int2(value) if ty.oid == Oid::INT2 => buffer.put_i16(*value),
        Datum::Text(value) => buffer.put_slice(value.as_bytes()),
        Datum::Bool(value) => buffer.put_u8(u8::from(*value)),
        other => binary_out(other, ty, buffer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(values: &[(Datum, SqlType)], format: Format) -> (Result<()>, BytesMut) {
        let fields: Vec<Field> = values.iter().map(|(_, ty)| Field::new("c", *ty)).collect();
        let row: Vec<Datum> = values.iter().map(|(value, _)| value.clone()).collect();
        let mut encoder = RowEncoder::default();
        encoder.set_columns(&fields, |_| format);
        let mut buffer = BytesMut::new();
        (encoder.encode(&row, &mut buffer), buffer)
    }

    #[test]
    fn every_value_has_its_length_and_bytes() {
        let cases: [(Datum, SqlType, &str, &[u8]); 7] = [
            (Datum::Int2(i16::MIN), SqlType::INT2, "-32768", &[0x80, 0]),
            (Datum::Int4(-7), SqlType::INT4, "-7", &[0xff, 0xff, 0xff, 0xf9]),
            (Datum::Int8(1 << 40), SqlType::INT8, "1099511627776", &[0, 0, 1, 0, 0, 0, 0, 0]),
            (Datum::Bool(true), SqlType::BOOL, "t", &[1]),
            (Datum::Bool(false), SqlType::BOOL, "f", &[0]),
            (Datum::text("zwölf"), SqlType::TEXT, "zwölf", "zwölf".as_bytes()),
            (Datum::text(""), SqlType::VARCHAR, "", b""),
        ];
        let values: Vec<(Datum, SqlType)> =
            cases.iter().map(|(value, ty, ..)| (value.clone(), *ty)).collect();
        for format in [Format::Text, Format::Binary] {
            let (result, buffer) = encode(&values, format);
            result.unwrap();
            let mut expected = BytesMut::new();
            for (_, _, text, binary) in &cases {
                let bytes = if format == Format::Text { text.as_bytes() } else { binary };
                expected.put_u32(bytes.len() as u32);
                expected.put_slice(bytes);
            }
            assert_eq!(buffer[0], b'D');
            assert_eq!(buffer[1..5], (buffer.len() as u32 - 1).to_be_bytes());
            assert_eq!(buffer[5..7], (values.len() as u16).to_be_bytes());
            assert_eq!(buffer[7..], expected[..], "{format:?}");
        }
    }

    #[test]
    fn null_has_no_bytes_and_a_wrong_row_leaves_none() {
        let (result, buffer) = encode(&[(Datum::Null, SqlType::INT4)], Format::Binary);
        result.unwrap();
        assert_eq!(buffer, &b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff"[..]);

        let mut encoder = RowEncoder::default();
        encoder.set_columns(&[Field::new("c", SqlType::INT4)], |_| Format::Text);
        let mut buffer = BytesMut::from("before");
        assert!(encoder.encode(&[], &mut buffer).is_err());
        assert_eq!(buffer, "before");
    }
}
