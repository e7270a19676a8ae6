use bytes::BytesMut;

use super::{ByteaOutput, IoSettings, LengthRule, apply_typmod, binary_in, binary_out, text_in, to_text};
use crate::type_name::{bpchar_typmod, numeric_typmod, type_by_sql_name, varchar_typmod};
use crate::{Datum, Numeric, Oid, SqlType, format_type};

fn unescape(text: &str) -> String {
    text.replace("~n", "\n").replace("~t", "\t")
}

/// Every line of the table is what PostgreSQL 15 answered.
#[test]
fn input_and_output_agree_with_postgresql() {
    let settings = IoSettings::default();
    let mut failures = Vec::new();
    let mut count = 0;
    for line in include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#')) {
        count += 1;
        let fields: Vec<&str> = line.split('\t').collect();
        let sql_type = type_by_sql_name(fields[0]).unwrap();
        let input = unescape(fields[1]);
        let expected = unescape(&fields[2..].join("\t"));
        let got = match text_in(sql_type, &input, &settings) {
            Ok(value) => {
                let mut binary = BytesMut::new();
                binary_out(&value, sql_type, &mut binary);
                let hex: String = binary.iter().map(|byte| format!("{byte:02x}")).collect();
                let text = to_text(&value, sql_type, &settings);
                match binary_in(sql_type, &binary) {
                    Ok(back) if to_text(&back, sql_type, &settings) == text => {}
                    other => failures.push(format!("{line}\n    came back as {other:?}")),
                }
                format!("ok\t{text}\t{hex}")
            }
            Err(error) => format!("{}\t{}", error.sqlstate(), error.message()),
        };
        if got != expected {
            failures
                .push(format!("{} {input:?}\n    expected {expected:?}\n    got      {got:?}", fields[0]));
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 350, "{count}");
}

#[test]
fn binary_input_survives_damage() {
    let settings = IoSettings::default();
    for line in include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields[2] != "ok" {
            continue;
        }
        let sql_type = type_by_sql_name(fields[0]).unwrap();
        let hex = fields.get(4).copied().unwrap_or_default();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap())
            .collect();
        for length in 0..bytes.len() {
            let _ = binary_in(sql_type, &bytes[..length]);
        }
        for index in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[index] = byte;
                if let Ok(value) = binary_in(sql_type, &damaged) {
                    let _ = to_text(&value, sql_type, &settings);
                }
            }
        }
    }
    assert_eq!(binary_in(SqlType::INT4, &[0, 0]).unwrap_err().sqlstate().as_str(), "08P01");
    assert_eq!(binary_in(SqlType::INT4, &[0; 5]).unwrap_err().sqlstate().as_str(), "22P03");
    let error = binary_in(SqlType::TEXT, b"a\xff").unwrap_err();
    assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xff");
    assert_eq!(error.sqlstate().as_str(), "22021");
    assert!(binary_in(SqlType::TEXT, b"a\0").is_err());
}

#[test]
fn lengths_are_enforced() {
    let varchar3 = SqlType::new(Oid::VARCHAR, varchar_typmod(3).unwrap());
    let char3 = SqlType::new(Oid::BPCHAR, bpchar_typmod(3).unwrap());
    let cases = [
        (varchar3, "ab", LengthRule::Assignment, Ok("ab")),
        (varchar3, "äöü", LengthRule::Assignment, Ok("äöü")),
        (varchar3, "abc  ", LengthRule::Assignment, Ok("abc")),
        (varchar3, "abcd", LengthRule::Assignment, Err("value too long for type character varying(3)")),
        (varchar3, "abcd", LengthRule::ExplicitCast, Ok("abc")),
        (char3, "a", LengthRule::Assignment, Ok("a  ")),
        (char3, "ä", LengthRule::Assignment, Ok("ä  ")),
        (char3, "abc   ", LengthRule::Assignment, Ok("abc")),
        (char3, "abcd", LengthRule::Assignment, Err("value too long for type character(3)")),
        (char3, "abcd", LengthRule::ExplicitCast, Ok("abc")),
    ];
    for (sql_type, input, rule, expected) in cases {
        let got = apply_typmod(Datum::text(input), sql_type, rule);
        match (got, expected) {
            (Ok(value), Ok(text)) => assert_eq!(value, Datum::text(text), "{input}"),
            (Err(error), Err(message)) => {
                assert_eq!(error.message(), message);
                assert_eq!(error.sqlstate().as_str(), "22001");
            }
            (got, expected) => panic!("{input}: {got:?} {expected:?}"),
        }
    }
    let numeric = SqlType::new(Oid::NUMERIC, numeric_typmod(5, 2).unwrap());
    let error = text_in(numeric, "1234.5", &IoSettings::default()).unwrap_err();
    assert_eq!(error.message(), "numeric field overflow");
    assert_eq!(
        error.fields().detail.as_deref(),
        Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
    );
    assert_eq!(
        text_in(numeric, "1.005", &IoSettings::default()).unwrap(),
        Datum::Numeric(Numeric::parse("1.01").unwrap())
    );
    let coarse = SqlType::new(Oid::NUMERIC, numeric_typmod(3, -2).unwrap());
    assert_eq!(
        to_text(&text_in(coarse, "12345", &IoSettings::default()).unwrap(), coarse, &IoSettings::default()),
        "12300"
    );
}

#[test]
fn types_have_their_names() {
    for (oid, typmod, name) in [
        (Oid::INT4, -1, "integer"),
        (Oid::VARCHAR, 14, "character varying(10)"),
        (Oid::BPCHAR, 5, "character(1)"),
        (Oid::BPCHAR, -1, "bpchar"),
        (Oid::NUMERIC, ((5 << 16) | 2) + 4, "numeric(5,2)"),
        (Oid::NUMERIC, ((3 << 16) | 2046) + 4, "numeric(3,-2)"),
        (Oid::TIMESTAMP, 3, "timestamp(3) without time zone"),
        (Oid::TIMESTAMPTZ, -1, "timestamp with time zone"),
        (Oid(1007), -1, "integer[]"),
        (Oid(1015), 14, "character varying(10)[]"),
        (Oid::INTERVAL, (6 << 16) | 0xffff, "interval year to month"),
        (Oid::INTERVAL, (0x7fff << 16) | 3, "interval(3)"),
        (Oid::CHAR, -1, "\"char\""),
        (Oid(0), -1, "-"),
        (Oid(999_999), -1, "???"),
    ] {
        assert_eq!(format_type(SqlType::new(oid, typmod)), name);
    }
}

#[test]
fn settings_change_output() {
    let mut settings =
        IoSettings { extra_float_digits: 0, bytea_output: ByteaOutput::Escape, ..IoSettings::default() };
    for (value, expected) in [
        (0.1, "0.1"),
        (1.0 / 3.0, "0.333333333333333"),
        (1e20, "1e+20"),
        (123456.0, "123456"),
        (1e-7, "1e-07"),
    ] {
        assert_eq!(to_text(&Datum::Float8(value), SqlType::FLOAT8, &settings), expected);
    }
    assert_eq!(to_text(&Datum::Float4(0.1), SqlType::FLOAT4, &settings), "0.1");
    assert_eq!(to_text(&Datum::Bytea(b"a\\\x01".as_slice().into()), SqlType::BYTEA, &settings), "a\\\\\\001");
    settings.time_zone = crate::TimeZone::parse("Europe/Berlin").unwrap();
    assert_eq!(to_text(&Datum::TimestampTz(0), SqlType::TIMESTAMPTZ, &settings), "2000-01-01 01:00:00+01");
    let record = Datum::Record(
        vec![Datum::Int4(1), Datum::text("a b"), Datum::Null, Datum::text(""), Datum::text("q\"")].into(),
    );
    assert_eq!(to_text(&record, SqlType::RECORD, &settings), "(1,\"a b\",,\"\",\"q\"\"\")");
}
