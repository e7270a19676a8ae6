//! Text forms of values, for functions that read or print them. The reg* types need the session's catalog.

use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};

use crate::{Call, EvalContext};

fn is_registry_type(oid: Oid) -> bool {
    matches!(oid, Oid::REGPROC | Oid::REGCLASS | Oid::REGTYPE | Oid::REGROLE | Oid::REGNAMESPACE)
}

/// A value as its type's output function prints it.
pub fn output(call: &Call<'_>, value: &Datum, sql_type: SqlType) -> String {
    output_in(call.context, value, sql_type)
}

pub fn output_in(context: &EvalContext, value: &Datum, sql_type: SqlType) -> String {
    if let Datum::Oid(oid) = value
        && is_registry_type(sql_type.oid)
    {
        if *oid == Oid(0) {
            return "-".into();
        }
        return context.session.reg_name(sql_type.oid, *oid).unwrap_or_else(|| oid.to_string());
    }
    if let Datum::Array(array) = value
        && is_registry_type(array.element_type)
    {
        let names = array
            .elements
            .iter()
            .map(|item| match item {
                Datum::Null => Datum::Null,
                item => Datum::text(output_in(context, item, SqlType::new(array.element_type, -1))),
            })
            .collect();
        let as_text = basalt_types::Array {
            element_type: Oid::TEXT,
            dimensions: array.dimensions.clone(),
            elements: names,
        };
        let text_array = SqlType::TEXT.array().unwrap_or(SqlType::TEXT);
        return basalt_types::to_text(&Datum::Array(as_text.into()), text_array, &context.io);
    }
    basalt_types::to_text(value, sql_type, &context.io)
}

/// A value as its type's input function reads it.
pub fn input(call: &Call<'_>, sql_type: SqlType, text: &str) -> Result<Datum> {
    input_in(call.context, sql_type, text)
}

pub fn input_in(context: &EvalContext, sql_type: SqlType, text: &str) -> Result<Datum> {
    if !is_registry_type(sql_type.oid) {
        return basalt_types::text_in(sql_type, text, &context.io);
    }
    let trimmed = text.trim();
    if trimmed == "-" {
        return Ok(Datum::Oid(Oid(0)));
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        return trimmed.parse().map(|oid| Datum::Oid(Oid(oid))).map_err(|_| {
            SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value \"{trimmed}\" is out of range for type oid"),
            )
        });
    }
    context.session.resolve_reg(sql_type.oid, trimmed).map(Datum::Oid)
}
