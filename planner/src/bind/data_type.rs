//! Type names as written to types.

use basalt_types::{
    Oid, Result, SqlError, SqlState, SqlType, sql_type,
    type_name::{bpchar_typmod, interval_typmod, numeric_typmod, timestamp_typmod, varchar_typmod},
};
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo,
};

use super::lookup;
use super::names::folded;

/// The type that `data_type` names: `42704` when there is none.
pub fn bind_type(data_type: &DataType) -> Result<SqlType> {
    Ok(match data_type {
        DataType::Bool | DataType::Boolean => SqlType::BOOL,
        DataType::SmallInt(None) | DataType::Int2(None) => SqlType::INT2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => SqlType::INT4,
        DataType::BigInt(None) | DataType::Int8(None) => SqlType::INT8,
        DataType::Real | DataType::Float4 => SqlType::FLOAT4,
        DataType::DoublePrecision | DataType::Float8 => SqlType::FLOAT8,
        DataType::Float(ExactNumberInfo::None) => SqlType::FLOAT8,
        DataType::Float(ExactNumberInfo::Precision(precision)) => match precision {
            1..=24 => SqlType::FLOAT4,
            25..=53 => SqlType::FLOAT8,
            0 => return Err(invalid("precision for type float must be at least 1 bit")),
            _ => return Err(invalid("precision for type float must be less than 54 bits")),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => match info {
            ExactNumberInfo::None => SqlType::NUMERIC,
            ExactNumberInfo::Precision(precision) => {
                SqlType::new(Oid::NUMERIC, numeric_typmod(clamp(*precision), 0)?)
            }
            ExactNumberInfo::PrecisionAndScale(precision, scale) => {
                SqlType::new(Oid::NUMERIC, numeric_typmod(clamp(*precision), *scale)?)
            }
        },
        DataType::Text => SqlType::TEXT,
        DataType::Varchar(length)
        | DataType::CharacterVarying(length)
        | DataType::CharVarying(length)
        | DataType::Nvarchar(length) => match length {
            None => SqlType::VARCHAR,
            Some(length) => SqlType::new(Oid::VARCHAR, varchar_typmod(character_length(length)?)?),
        },
        DataType::Char(length) | DataType::Character(length) => {
            let length = length.as_ref().map_or(Ok(1), character_length)?;
            SqlType::new(Oid::BPCHAR, bpchar_typmod(length)?)
        }
        DataType::Bytea => SqlType::BYTEA,
        DataType::Date => SqlType::DATE,
        DataType::Uuid => SqlType::UUID,
        DataType::JSON => SqlType::JSON,
        DataType::JSONB => SqlType::JSONB,
        DataType::Regclass => SqlType::REGCLASS,
        DataType::Trigger => SqlType::TRIGGER,
        DataType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            with_precision(Oid::TIME, "TIME", *precision)?
        }
        DataType::Timestamp(precision, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => {
                with_precision(Oid::TIMESTAMP, "TIMESTAMP", *precision)?
            }
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => {
                with_precision(Oid::TIMESTAMPTZ, "TIMESTAMP", *precision)?
            }
        },
        DataType::Interval { fields: None, precision } => match precision {
            None => SqlType::INTERVAL,
            Some(precision) => SqlType::new(Oid::INTERVAL, interval_typmod(clamp(*precision))?),
        },
        DataType::Interval { .. } => return Err(SqlError::not_supported("an interval type with fields")),
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => {
            let element = bind_type(element)?;
            // Arrays have no dimensions in their type: int[][] is int[].
            if lookup::element(element.oid).is_some() {
                return Ok(element);
            }
            let array = lookup::array_of(element.oid).ok_or_else(|| missing(&data_type.to_string()))?;
            SqlType::new(array, element.typmod)
        }
        DataType::Custom(name, modifiers) => return named(name, modifiers),
        other => return Err(missing(&other.to_string().to_lowercase())),
    })
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn missing(name: &str) -> SqlError {
    if [
        "jsonb",
        "timetz",
        "time with time zone",
        "money",
        "inet",
        "cidr",
        "macaddr",
        "xml",
        "bit",
        "varbit",
        "point",
    ]
    .contains(&name)
    {
        return SqlError::not_supported(format!("type {name}"));
    }
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

fn character_length(length: &CharacterLength) -> Result<i64> {
    match length {
        CharacterLength::IntegerLength { length, .. } => Ok(clamp(*length)),
        CharacterLength::Max => Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"max\"")),
    }
}

fn with_precision(oid: Oid, name: &str, precision: Option<u64>) -> Result<SqlType> {
    match precision {
        None => Ok(SqlType::new(oid, -1)),
        Some(precision) => Ok(SqlType::new(oid, timestamp_typmod(name, clamp(precision))?)),
    }
}

/// A type by its `pg_type` name; also the pseudo-types of column definitions.
fn named(name: &ObjectName, modifiers: &[String]) -> Result<SqlType> {
    let parts = folded(name)?;
    let (schema, base) = match parts.as_slice() {
        [base] => (None, base.as_str()),
        [schema, base] => (Some(schema.as_str()), base.as_str()),
        _ => return Err(missing(&parts.join("."))),
    };
    let shown = || schema.map_or_else(|| base.to_owned(), |schema| format!("{schema}.{base}"));
    if schema.is_some_and(|schema| schema != "pg_catalog") {
        return Err(missing(&shown()));
    }
    let quoted_char = base == "char";
    let base = match base {
        "decimal" => "numeric",
        "int" | "integer" if schema.is_none() => "int4",
        "serial" | "serial4" => "int4",
        "bigserial" | "serial8" => "int8",
        "smallserial" | "serial2" => "int2",
        other => other,
    };
    let info = sql_type::type_by_name(base).ok_or_else(|| missing(&shown()))?;
    let modifier = |index: usize| -> Result<i64> {
        modifiers[index].parse().map_err(|_| invalid("invalid type modifier"))
    };
    let typmod = match (info.oid, modifiers.len()) {
        (_, 0) => -1,
        (Oid::VARCHAR, 1) => varchar_typmod(modifier(0)?)?,
        (Oid::BPCHAR, 1) if !quoted_char => bpchar_typmod(modifier(0)?)?,
        (Oid::NUMERIC, 1) => numeric_typmod(modifier(0)?, 0)?,
        (Oid::NUMERIC, 2) => numeric_typmod(modifier(0)?, modifier(1)?)?,
        (Oid::TIME, 1) => timestamp_typmod("TIME", modifier(0)?)?,
        (Oid::TIMESTAMP | Oid::TIMESTAMPTZ, 1) => timestamp_typmod("TIMESTAMP", modifier(0)?)?,
        _ => {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                format!("type modifier is not allowed for type \"{}\"", info.sql_name),
            ));
        }
    };
    Ok(SqlType::new(info.oid, typmod))
}

/// `serial` and its kin, which make a sequence besides a type.
pub fn is_serial(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Custom(name, _) if matches!(
        name.to_string().to_lowercase().as_str(),
        "serial" | "serial4" | "bigserial" | "serial8" | "smallserial" | "serial2"
    ))
}
