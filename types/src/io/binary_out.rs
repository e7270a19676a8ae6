//! Binary output.

use bytes::{BufMut, BytesMut};

use super::record::natural_type;
use crate::{Datum, SqlType};

/// Appends the wire form of a non-NULL value, without the length word (nothing for NULL).
pub fn binary_out(value: &Datum, sql_type: SqlType, out: &mut BytesMut) {
    match value {
        Datum::Null => {}
        Datum::Bool(value) => out.put_u8(u8::from(*value)),
        Datum::Char(value) => out.put_u8(*value),
        Datum::Int2(value) => out.put_i16(*value),
        Datum::Int4(value) | Datum::Date(value) => out.put_i32(*value),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            out.put_i64(*value);
        }
        Datum::Float4(value) => out.put_f32(*value),
        Datum::Float8(value) => out.put_f64(*value),
        Datum::Numeric(value) => value.send(out),
        Datum::Text(value) => out.put_slice(value.as_bytes()),
        Datum::Bytea(value) => out.put_slice(value),
        Datum::Oid(value) => out.put_u32(value.0),
        Datum::Interval(value) => {
            out.put_i64(value.micros);
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        Datum::Uuid(value) => out.put_slice(value),
        Datum::Jsonb(value) => {
            // The version of the format, then text.
            out.put_u8(1);
            out.put_slice(value.to_string().as_bytes());
        }
        Datum::Array(array) => {
            let element = sql_type.element().unwrap_or(SqlType::new(array.element_type, -1));
            out.put_i32(array.dimensions.len() as i32);
            out.put_i32(i32::from(array.elements.iter().any(Datum::is_null)));
            out.put_u32(array.element_type.0);
            for (length, bound) in &array.dimensions {
                out.put_i32(*length as i32);
                out.put_i32(*bound);
            }
            for value in &array.elements {
                put_with_length(value, element, out);
            }
        }
        Datum::Record(fields) => {
            out.put_i32(fields.len() as i32);
            for field in fields.iter() {
                let field_type = natural_type(field);
                out.put_u32(field_type.oid.0);
                put_with_length(field, field_type, out);
            }
        }
    }
}

fn put_with_length(value: &Datum, sql_type: SqlType, out: &mut BytesMut) {
    if value.is_null() {
        out.put_i32(-1);
        return;
    }
    let at = out.len();
    out.put_i32(0);
    binary_out(value, sql_type, out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
