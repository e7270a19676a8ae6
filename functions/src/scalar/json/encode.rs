//! Any value as json.

use std::sync::Arc;

use basalt_types::json::{Json, parse_json, push_json_string};
use basalt_types::record_shape::{RecordShape, record_shape};
use basalt_types::{Array, Category, Datum, Oid, Result, SqlError, SqlType, datetime};

use crate::{EvalContext, io};

/// How a type's values look in json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bool,
    Number,
    Date,
    Timestamp,
    TimestampTz,
    Json,
    Array,
    Record,
    Text,
}

impl Form {
    pub fn of(sql_type: SqlType) -> Self {
        match sql_type.oid {
            Oid::BOOL => Self::Bool,
            Oid::INT2 | Oid::INT4 | Oid::INT8 | Oid::FLOAT4 | Oid::FLOAT8 | Oid::NUMERIC => Self::Number,
            Oid::DATE => Self::Date,
            Oid::TIMESTAMP => Self::Timestamp,
            Oid::TIMESTAMPTZ => Self::TimestampTz,
            Oid::JSON | Oid::JSONB => Self::Json,
            Oid::RECORD => Self::Record,
            Oid::INT2VECTOR | Oid::OIDVECTOR => Self::Array,
            _ if sql_type.category() == Category::Array => Self::Array,
            _ => Self::Text,
        }
    }

    /// Written on a line of its own by aggregates.
    pub fn is_structured(self) -> bool {
        matches!(self, Self::Array | Self::Record)
    }
}

/// Names and types of a record's fields, where its type knows them.
fn shape_of(sql_type: SqlType) -> Option<Arc<RecordShape>> {
    (sql_type.oid == Oid::RECORD).then(|| record_shape(sql_type.typmod)).flatten()
}

/// Appends a value as json, on one line.
pub fn push_json(context: &EvalContext, value: &Datum, sql_type: SqlType, out: &mut String) -> Result<()> {
    push_in_lines(context, value, sql_type, ",", out)
}

/// Appends a value whose outermost elements or fields are parted by `separator`.
pub fn push_in_lines(
    context: &EvalContext,
    value: &Datum,
    sql_type: SqlType,
    separator: &str,
    out: &mut String,
) -> Result<()> {
    let quoted = |text: &str, out: &mut String| {
        out.push('"');
        out.push_str(text);
        out.push('"');
    };
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Array(array) => push_array(context, array, sql_type, separator, out)?,
        Datum::Record(fields) => push_record(context, fields, sql_type, separator, out)?,
        value => match Form::of(sql_type) {
            Form::Bool => out.push_str(if *value == Datum::Bool(true) { "true" } else { "false" }),
            Form::Number => {
                let text = io::output_in(context, value, sql_type);
                // NaN and the infinities are no numbers in json.
                if text.ends_with(|last: char| last.is_ascii_digit()) {
                    out.push_str(&text);
                } else {
                    quoted(&text, out);
                }
            }
            Form::Json => out.push_str(&io::output_in(context, value, sql_type)),
            Form::Date | Form::Timestamp | Form::TimestampTz => quoted(&iso_text(context, value), out),
            Form::Array | Form::Record | Form::Text => {
                push_json_string(&io::output_in(context, value, sql_type), out);
            }
        },
    }
    Ok(())
}

/// Dates and times as XML Schema writes them, whatever the session prefers.
fn iso_text(context: &EvalContext, value: &Datum) -> String {
    let mut text = String::new();
    match value {
        Datum::Date(days) => datetime::format_date(*days, &mut text),
        Datum::Timestamp(micros) => {
            datetime::format_timestamp(*micros, &mut text);
            text = text.replacen(' ', "T", 1);
        }
        Datum::TimestampTz(micros) => {
            datetime::format_timestamptz(*micros, &context.io.time_zone, &mut text);
            text = text.replacen(' ', "T", 1);
            if let Some(sign) = text.rfind(['+', '-']).filter(|_| !datetime::is_infinite_timestamp(*micros)) {
                let digits = text[sign + 1..].find(|c: char| !(c.is_ascii_digit() || c == ':'));
                let end = digits.map_or(text.len(), |digits| sign + 1 + digits);
                if end - sign == 3 {
                    text.insert_str(end, ":00");
                }
            }
        }
        _ => {}
    }
    text
}

fn push_array(
    context: &EvalContext,
    array: &Array,
    sql_type: SqlType,
    separator: &str,
    out: &mut String,
) -> Result<()> {
    let element = sql_type.element().unwrap_or(SqlType::new(array.element_type, -1));
    let lengths: Vec<usize> = array.dimensions.iter().map(|(length, _)| *length).collect();
    if lengths.is_empty() {
        out.push_str("[]");
        return Ok(());
    }
    push_dimension(context, &array.elements, element, &lengths, separator, out)
}

fn push_dimension(
    context: &EvalContext,
    elements: &[Datum],
    element: SqlType,
    lengths: &[usize],
    separator: &str,
    out: &mut String,
) -> Result<()> {
    out.push('[');
    let per_row = elements.len() / lengths[0].max(1);
    for (index, row) in elements.chunks(per_row.max(1)).enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        match &lengths[1..] {
            [] => push_json(context, &row[0], element, out)?,
            inner => push_dimension(context, row, element, inner, ",", out)?,
        }
    }
    out.push(']');
    Ok(())
}

fn push_record(
    context: &EvalContext,
    fields: &[Datum],
    sql_type: SqlType,
    separator: &str,
    out: &mut String,
) -> Result<()> {
    let shape = shape_of(sql_type)
        .filter(|shape| shape.fields.len() == fields.len())
        .ok_or_else(|| SqlError::not_supported("json of a record whose field names are not known here"))?;
    out.push('{');
    for (index, (field, (name, field_type))) in fields.iter().zip(&shape.fields).enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        push_json_string(name, out);
        out.push(':');
        push_json(context, field, *field_type, out)?;
    }
    out.push('}');
    Ok(())
}

/// A value as jsonb.
pub fn json_value(context: &EvalContext, value: &Datum, sql_type: SqlType) -> Result<Json> {
    match (value, Form::of(sql_type)) {
        (Datum::Null, _) => Ok(Json::Null),
        (Datum::Bool(value), Form::Bool) => Ok(Json::Bool(*value)),
        (Datum::Numeric(value), Form::Number) if value.is_finite() => Ok(Json::Number(value.clone())),
        (Datum::Jsonb(value), _) => Ok(Json::clone(value)),
        (Datum::Text(text), Form::Text) => Ok(Json::string(text)),
        _ => {
            let mut text = String::new();
            push_json(context, value, sql_type, &mut text)?;
            parse_json(&text)
        }
    }
}
