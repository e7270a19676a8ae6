//! Functions behind operator classes and protocols that people call by name: the larger of two values, three-way
//! comparison, hashes, and values as the binary protocol sends them.

use std::cmp::Ordering;

use basalt_types::compare::{compare_bpchar, strip_blanks};
use basalt_types::{Datum, Oid, Result, SqlType};
use bytes::BytesMut;

use crate::Call;
use crate::builder::{Builder, scalars};
use crate::scalar::comparison::compare_arrays;
use crate::scalar::hash::{hash_bytes, hash_bytes_extended, hash_number, hash_number_extended};
use crate::value::{Char, Time, Timestamp, Uuid};

pub fn register(builder: &mut Builder) {
    for prefix in ["int2", "int4", "int8", "float4", "float8", "oid"] {
        builder.scalar(&format!("{prefix}larger"), larger, None);
        builder.scalar(&format!("{prefix}smaller"), smaller, None);
    }
    let underscored =
        ["numeric", "text", "bpchar", "array", "date", "time", "timestamp", "timestamptz", "interval"];
    for prefix in underscored {
        builder.scalar(&format!("{prefix}_larger"), larger, None);
        builder.scalar(&format!("{prefix}_smaller"), smaller, None);
    }
    let three_way = [
        "btint4cmp",
        "btint8cmp",
        "btfloat4cmp",
        "btfloat8cmp",
        "btoidcmp",
        "btarraycmp",
        "btrecordcmp",
        "numeric_cmp",
        "date_cmp",
        "time_cmp",
        "timestamp_cmp",
        "timestamptz_cmp",
        "interval_cmp",
        "uuid_cmp",
    ];
    for name in three_way {
        builder.scalar(name, |_, args| Ok(Datum::Int4(order(args) as i32)), None);
    }
    let sent = [
        "boolsend",
        "int2send",
        "int4send",
        "int8send",
        "float4send",
        "float8send",
        "numeric_send",
        "textsend",
        "varcharsend",
        "bpcharsend",
        "namesend",
        "charsend",
        "byteasend",
        "date_send",
        "time_send",
        "timestamp_send",
        "timestamptz_send",
        "interval_send",
        "uuid_send",
        "json_send",
        "jsonb_send",
        "oidsend",
        "regclasssend",
        "regtypesend",
        "regprocsend",
        "regnamespacesend",
        "regrolesend",
        "array_send",
    ];
    for name in sent {
        builder.scalar(name, send, None);
    }
    hashes(builder);
}

/// The order of two values of one type.
fn order(args: &[Datum]) -> Ordering {
    match (&args[0], &args[1]) {
        (Datum::Array(a), Datum::Array(b)) => compare_arrays(a, b),
        (a, b) => a.compare(b),
    }
}

fn order_at(call: &Call<'_>, args: &[Datum]) -> Ordering {
    match (&args[0], &args[1]) {
        (Datum::Text(a), Datum::Text(b)) if call.return_type.oid == Oid::BPCHAR => compare_bpchar(a, b),
        _ => order(args),
    }
}

fn larger(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(args[usize::from(order_at(call, args).is_lt())].clone())
}

fn smaller(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(args[usize::from(order_at(call, args).is_gt())].clone())
}

fn send(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let sql_type = call.arg_types.first().copied().unwrap_or(SqlType::TEXT);
    let mut out = BytesMut::new();
    basalt_types::binary_out(&args[0], sql_type, &mut out);
    Ok(Datum::Bytea(out.freeze()))
}

/// The hash of a bigint equals that of the smaller integers of the same value.
fn folded(value: i64) -> u32 {
    let high = (value >> 32) as u32;
    value as u32 ^ if value >= 0 { high } else { !high }
}

fn float_bytes(value: f64) -> Option<[u8; 8]> {
    if value == 0.0 {
        None
    } else if value.is_nan() {
        Some(f64::NAN.to_le_bytes())
    } else {
        Some(value.to_le_bytes())
    }
}

fn hashes(builder: &mut Builder) {
    scalars!(builder, {
        "hashint2" => |a: i16| hash_number(i32::from(a) as u32),
        "hashint4" => |a: i32| hash_number(a as u32),
        "hashint8" => |a: i64| hash_number(folded(a)),
        "hashoid" => |a: Oid| hash_number(a.0),
        "hashchar" => |a: Char| hash_number(i32::from(a.0 as i8) as u32),
        "hashfloat4" => |a: f32| float_bytes(f64::from(a)).map_or(0, |bytes| hash_bytes(&bytes)),
        "hashfloat8" => |a: f64| float_bytes(a).map_or(0, |bytes| hash_bytes(&bytes)),
        "hashname" => |a: &str| hash_bytes(a.as_bytes()),
        "hashtext" => |a: &str| hash_bytes(a.as_bytes()),
        "hashbpchar" => |a: &str| hash_bytes(strip_blanks(a).as_bytes()),
        "time_hash" => |a: Time| hash_number(folded(a.0)),
        "timestamp_hash" => |a: Timestamp| hash_number(folded(a.0)),
        "uuid_hash" => |a: Uuid| hash_bytes(&a.0),
    });
    scalars!(builder, {
        "hashint2extended" => |a: i16, seed: i64| hash_number_extended(i32::from(a) as u32, seed),
        "hashint4extended" => |a: i32, seed: i64| hash_number_extended(a as u32, seed),
        "hashint8extended" => |a: i64, seed: i64| hash_number_extended(folded(a), seed),
        "hashoidextended" => |a: Oid, seed: i64| hash_number_extended(a.0, seed),
        "hashcharextended" => |a: Char, seed: i64| hash_number_extended(i32::from(a.0 as i8) as u32, seed),
        "hashfloat4extended" => |a: f32, seed: i64| float_bytes(f64::from(a)).map_or(seed, |bytes| hash_bytes_extended(&bytes, seed)),
        "hashfloat8extended" => |a: f64, seed: i64| float_bytes(a).map_or(seed, |bytes| hash_bytes_extended(&bytes, seed)),
        "hashnameextended" => |a: &str, seed: i64| hash_bytes_extended(a.as_bytes(), seed),
        "hashtextextended" => |a: &str, seed: i64| hash_bytes_extended(a.as_bytes(), seed),
        "hashbpcharextended" => |a: &str, seed: i64| hash_bytes_extended(strip_blanks(a).as_bytes(), seed),
    });
}
