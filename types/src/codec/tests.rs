use bytes::{Bytes, BytesMut};

use super::key::{
    decode_key_datum, encode_key_column, encode_key_datum, key_column_is_lossy, key_is_lossy, skip_key_datum,
};
use super::row::{RawColumn, RowEncoder, RowView};
use crate::{Array, Datum, Interval, Numeric, Oid, SqlType};

fn numeric(text: &str) -> Datum {
    Datum::Numeric(Numeric::parse(text).unwrap())
}

/// Values in SQL order, by type; neighbours may be equal.
fn ordered() -> Vec<(SqlType, Vec<Datum>)> {
    let interval = |months, days, micros| Datum::Interval(Interval { months, days, micros });
    let array =
        |elements: Vec<Datum>| Datum::Array(std::sync::Arc::new(Array::from_elements(Oid::INT4, elements)));
    vec![
        (SqlType::BOOL, vec![Datum::Bool(false), Datum::Bool(true)]),
        (SqlType::INT2, [i16::MIN, -1, 0, 1, i16::MAX].map(Datum::Int2).to_vec()),
        (SqlType::INT4, [i32::MIN, -1, 0, 1, i32::MAX].map(Datum::Int4).to_vec()),
        (SqlType::INT8, [i64::MIN, -256, -1, 0, 1, 255, i64::MAX].map(Datum::Int8).to_vec()),
        (
            SqlType::FLOAT8,
            [f64::NEG_INFINITY, -1.5, -f64::MIN_POSITIVE, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN]
                .map(Datum::Float8)
                .to_vec(),
        ),
        (SqlType::FLOAT4, [f32::NEG_INFINITY, -1.5, -0.0, 0.0, 2.0, f32::NAN].map(Datum::Float4).to_vec()),
        (
            SqlType::NUMERIC,
            [
                "-Infinity",
                "-1e100",
                "-10000.0001",
                "-10000",
                "-1.00",
                "-1",
                "-0.99999",
                "-1e-30",
                "0",
                "0.000",
                "1e-30",
                "0.0001",
                "0.00010001",
                "0.5",
                "1.0",
                "1",
                "1.00000001",
                "9999",
                "10000",
                "10000.5",
                "123456789012345678901234567890",
                "1e50",
                "Infinity",
                "NaN",
            ]
            .map(numeric)
            .to_vec(),
        ),
        (SqlType::TEXT, ["", "\0", "\0a", "a", "a\0", "a\0b", "aa", "b", "é"].map(Datum::text).to_vec()),
        (
            SqlType::BYTEA,
            [&b""[..], b"\0", b"\0\xff", b"\x01", b"\xff", b"\xff\xff"]
                .map(|b| Datum::Bytea(Bytes::from_static(b)))
                .to_vec(),
        ),
        (SqlType::DATE, [i32::MIN, -5, 0, 7, i32::MAX].map(Datum::Date).to_vec()),
        (SqlType::TIMESTAMP, [i64::MIN, -5, 0, 7, i64::MAX].map(Datum::Timestamp).to_vec()),
        (
            SqlType::INTERVAL,
            vec![
                interval(-1, 0, 0),
                interval(0, 0, -1),
                interval(0, 1, 0),
                interval(0, 0, 86_400_000_000),
                interval(1, 0, 0),
                interval(0, 30, 0),
                interval(i32::MAX, 0, 0),
            ],
        ),
        (SqlType::UUID, vec![Datum::Uuid([0; 16]), Datum::Uuid([9; 16]), Datum::Uuid([255; 16])]),
        (
            SqlType::INT4.array().unwrap(),
            vec![
                array(vec![]),
                array(vec![Datum::Int4(1)]),
                array(vec![Datum::Int4(1), Datum::Int4(2)]),
                array(vec![Datum::Int4(1), Datum::Null]),
                array(vec![Datum::Int4(2)]),
            ],
        ),
        (SqlType::OID, [0, 5, u32::MAX].map(|oid| Datum::Oid(Oid(oid))).to_vec()),
    ]
}

fn key(value: &Datum, descending: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_key_datum(&mut out, value, descending);
    out.to_vec()
}

#[test]
fn keys_sort_as_values_do_and_come_back() {
    for (sql_type, mut values) in ordered() {
        values.push(Datum::Null);
        for left in &values {
            for right in &values {
                let expected = left.compare(right);
                assert_eq!(key(left, false).cmp(&key(right, false)), expected, "{left:?} {right:?}");
                assert_eq!(
                    key(left, true).cmp(&key(right, true)),
                    expected.reverse(),
                    "{left:?} {right:?} desc"
                );
            }
            for descending in [false, true] {
                let mut bytes = key(left, descending);
                bytes.extend_from_slice(b"rest");
                let mut input = &bytes[..];
                let decoded = decode_key_datum(&mut input, sql_type, descending).unwrap();
                assert_eq!(input, b"rest", "{left:?}");
                assert!(decoded.key_eq(left), "{left:?} {decoded:?}");
                if !key_is_lossy(left) && *left == *left {
                    assert_eq!(decoded, *left);
                }
                let mut input = &bytes[..];
                skip_key_datum(&mut input, descending).unwrap();
                assert_eq!(input, b"rest", "{left:?}");
            }
        }
    }
}

#[test]
fn damaged_keys_are_errors() {
    for (sql_type, values) in ordered() {
        for value in values {
            let bytes = key(&value, false);
            for length in 0..bytes.len() {
                assert!(decode_key_datum(&mut &bytes[..length], sql_type, false).is_err());
                assert!(skip_key_datum(&mut &bytes[..length], false).is_err());
            }
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..12)
            .map(|_| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let byte = (random >> 56) as u8;
                if byte < 128 { byte % 40 } else { byte }
            })
            .collect();
        for (sql_type, _) in ordered() {
            let _ = decode_key_datum(&mut &bytes[..], sql_type, false);
            let _ = decode_key_datum(&mut &bytes[..], sql_type, true);
        }
        let _ = skip_key_datum(&mut &bytes[..], false);
    }
}

#[test]
fn golden_keys() {
    for (value, expected) in [
        (Datum::Null, "7e"),
        (Datum::Bool(true), "0101"),
        (Datum::Int2(-1), "027fff"),
        (Datum::Int4(1), "0480000001"),
        (Datum::Int8(-1), "087fffffffffffffff"),
        (Datum::Float8(1.0), "08bff0000000000000"),
        (Datum::Float8(-0.0), "088000000000000000"),
        (Datum::text("a\0b"), "206100ff620001"),
        (numeric("1.50"), "210480000002138900 00"),
        (numeric("-1"), "21027ffffffdffff"),
        (numeric("0.000"), "2103"),
        (numeric("NaN"), "2106"),
    ] {
        let hex: String = key(&value, false).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""), "{value:?}");
    }
}

#[test]
fn char_columns_drop_blanks_and_get_them_back() {
    let sql_type = SqlType::new(Oid::BPCHAR, 9);
    let mut padded = BytesMut::new();
    encode_key_column(&mut padded, &Datum::text("ab   "), sql_type, true);
    let mut bare = BytesMut::new();
    encode_key_column(&mut bare, &Datum::text("ab"), sql_type, true);
    assert_eq!(padded, bare);
    assert_eq!(decode_key_datum(&mut &padded[..], sql_type, true).unwrap(), Datum::text("ab   "));
    assert!(!key_column_is_lossy(&Datum::text("ab   "), sql_type));
    assert!(key_column_is_lossy(&Datum::text("ab   "), SqlType::BPCHAR));
    assert!(key_is_lossy(&numeric("1.00")));
    assert!(!key_column_is_lossy(&numeric("1.00"), SqlType::new(Oid::NUMERIC, ((5 << 16) | 2) + 4)));
}

#[test]
fn rows_come_back_by_column_id() {
    let all: Vec<(SqlType, Datum)> = ordered()
        .into_iter()
        .flat_map(|(sql_type, values)| values.into_iter().map(move |value| (sql_type, value)))
        .chain([
            (SqlType::TEXT, Datum::Null),
            (SqlType::RECORD, Datum::Record(vec![Datum::Int4(1), Datum::Null, Datum::text("x")].into())),
        ])
        .collect();
    for first_id in [1u32, 100, 300] {
        let mut columns: Vec<(u32, SqlType, &Datum)> = all
            .iter()
            .enumerate()
            .map(|(index, (sql_type, value))| (first_id + index as u32, *sql_type, value))
            .collect();
        columns.reverse();
        let row = RowView::new(&RowEncoder::encode(&columns)).unwrap();
        for (id, sql_type, value) in columns {
            let decoded = row.decode(id, sql_type).unwrap().unwrap();
            assert!(format!("{decoded:?}") == format!("{value:?}"), "{decoded:?} {value:?}");
        }
        assert_eq!(row.get(0), None);
        assert_eq!(row.decode(10_000, SqlType::INT4).unwrap(), None);
    }
}

#[test]
fn a_long_value_makes_the_row_wide() {
    let (id, long) = (Datum::Int4(7), Datum::text("x".repeat(70_000)));
    let row = RowEncoder::encode(&[
        (1, SqlType::INT4, &id),
        (2, SqlType::TEXT, &long),
        (3, SqlType::INT4, &Datum::Null),
    ]);
    assert_eq!(row[1], 1);
    let view = RowView::new(&row).unwrap();
    assert_eq!(view.int4(1).unwrap(), Some(7));
    assert_eq!(view.text(2).unwrap().map(str::len), Some(70_000));
    assert_eq!(view.get(3), Some(RawColumn::Null));
}

#[test]
fn golden_row() {
    let values = [Datum::Int4(1), Datum::Null, Datum::text("ab"), numeric("1.50")];
    let row = RowEncoder::encode(&[
        (1, SqlType::INT4, &values[0]),
        (2, SqlType::INT8, &values[1]),
        (3, SqlType::TEXT, &values[2]),
        (9, SqlType::NUMERIC, &values[3]),
    ]);
    let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "01000400010203090400040006000900020100000061620296 00".replace(' ', ""));
}

#[test]
fn damaged_rows_are_errors() {
    let values = [Datum::Int4(1), Datum::text("ab"), numeric("1.50")];
    let row = RowEncoder::encode(&[
        (1, SqlType::INT4, &values[0]),
        (3, SqlType::TEXT, &values[1]),
        (9, SqlType::NUMERIC, &values[2]),
    ]);
    for length in 0..row.len() {
        assert!(RowView::new(&row.slice(..length)).is_err(), "{length}");
    }
    for index in 0..row.len() {
        for byte in 0..=255u8 {
            let mut damaged = row.to_vec();
            damaged[index] = byte;
            if let Ok(view) = RowView::new(&Bytes::from(damaged)) {
                for sql_type in [
                    SqlType::INT4,
                    SqlType::TEXT,
                    SqlType::NUMERIC,
                    SqlType::INT4.array().unwrap(),
                    SqlType::RECORD,
                ] {
                    for id in [1, 3, 9] {
                        let _ = view.decode(id, sql_type);
                    }
                }
            }
        }
    }
}
