//! Every type through real drivers: byte for byte through tokio-postgres, as a program sees it through psycopg 3.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

use basalt_tests::{Node, binary};
use bytes::BytesMut;
use tokio_postgres::{
    SimpleQueryMessage,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

/// A value of any type in its binary form.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Type, text and binary form, as PostgreSQL 15 gives them.
const VALUES: &[(&str, &str, &str)] = &[
    ("bool", "t", "01"),
    ("bool", "f", "00"),
    ("int2", "-2", "fffe"),
    ("int4", "2147483647", "7fffffff"),
    ("int8", "-9223372036854775808", "8000000000000000"),
    ("float4", "-1.25", "bfa00000"),
    ("float4", "NaN", "7fc00000"),
    ("float4", "3.4028235e+38", "7f7fffff"),
    ("float8", "0.1", "3fb999999999999a"),
    ("float8", "-Infinity", "fff0000000000000"),
    ("float8", "5e-324", "0000000000000001"),
    ("numeric", "0", "0000000000000000"),
    ("numeric", "-12345.678", "0003000140000003000109291a7c"),
    ("numeric", "10000", "00010001000000000001"),
    ("numeric", "0.00001", "0001fffe0000000503e8"),
    ("numeric", "NaN", "00000000c0000000"),
    ("numeric", "123456789012345678901234567890.5", "0009000700000001000c0d801ed204d2162e23340d801ed21388"),
    ("numeric", "1.50", "000200000000000200011388"),
    ("numeric(12,2)", "7.00", "00010000000000020007"),
    ("text", "äß€", "c3a4c39fe282ac"),
    ("text", "", ""),
    ("varchar(9)", "nine char", "6e696e652063686172"),
    ("char(5)", "ab   ", "6162202020"),
    ("bytea", "\\x0001ff", "0001ff"),
    ("bytea", "\\x", ""),
    ("date", "1999-12-31", "ffffffff"),
    ("date", "infinity", "7fffffff"),
    ("date", "0044-03-15 BC", "fff49d7b"),
    ("date", "2026-11-22", "0000265e"),
    ("timestamp", "2000-01-01 00:00:00.000001", "0000000000000001"),
    ("timestamp", "-infinity", "8000000000000000"),
    ("timestamp", "1969-07-20 20:17:40", "fffc96188bae6100"),
    ("timestamptz", "2026-07-01 10:00:00+00", "0002f88885f3a800"),
    ("timestamptz", "infinity", "7fffffffffffffff"),
];

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[tokio::test]
async fn every_type_has_the_bytes_that_drivers_expect() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client.batch_execute("SET timezone = 'UTC'").await.unwrap();
    for (index, (name, text, binary)) in VALUES.iter().enumerate() {
        let (id, value) = (i32::try_from(index).unwrap(), Raw(bytes(binary)));
        let table = format!("t_{}", name.replace(['(', ')', ','], "_"));
        let create = format!("CREATE TABLE IF NOT EXISTS {table} (id int PRIMARY KEY, v {name})");
        client.batch_execute(&create).await.unwrap();
        // Binary in, binary out, and found again by it.
        client.execute(&format!("INSERT INTO {table} VALUES ($1, $2)"), &[&id, &value]).await.unwrap();
        let find = client.prepare(&format!("SELECT v FROM {table} WHERE v = $1 AND id = $2")).await.unwrap();
        let row = client.query_one(&find, &[&value, &id]).await.unwrap();
        assert_eq!(row.get::<_, Raw>(0), value, "{name} {text}");
        // Text in, both out.
        let literal = format!("SELECT '{text}'::{name}");
        assert_eq!(client.query_one(&literal, &[]).await.unwrap().get::<_, Raw>(0), value, "{literal}");
        for query in [literal, format!("SELECT v FROM {table} WHERE id = {id}")] {
            let answer = client.simple_query(&query).await.unwrap();
            let row = answer.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            assert_eq!(row, Some(*text), "{query}");
        }
        client
            .execute(&format!("INSERT INTO {table} VALUES ($1, $2)"), &[&(id + 1_000), &None::<Raw>])
            .await
            .unwrap();
        let row = client
            .query_one(&format!("SELECT v FROM {table} WHERE id = $1"), &[&(id + 1_000)])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Option<Raw>>(0), None, "{name}");
        // Half a value is refused, and the connection stays.
        if !matches!(*name, "text" | "varchar(9)" | "char(5)" | "bytea") {
            let half = Raw(value.0[1..].to_vec());
            let error = client.query_one(&find, &[&half, &id]).await.unwrap_err();
            let code = error.code().map(tokio_postgres::error::SqlState::code);
            assert!(matches!(code, Some("22P03" | "08P01")), "{name}: {error}");
        }
    }
}

/// The interpreter of the environment that `./x test` makes beside the folder of the programs.
fn python() -> PathBuf {
    let target = binary().parent().and_then(Path::parent).map(|target| target.join("python/bin/python3"));
    target.filter(|python| python.exists()).unwrap_or_else(|| "python3".into())
}

/// Checks that the script made when it was last extended.
const PSYCOPG_CHECKS_MIN: u32 = 900;

#[test]
fn psycopg_is_served() {
    let node = Node::start(&[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/psycopg_driver.py");
    let output =
        Command::new(python()).arg(script).arg(node.url()).output().expect("./x test installs Python");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let checks = said.lines().last().and_then(|line| line.split_once(" checks, 0 failures"));
    let checks: Option<u32> = checks.and_then(|(checks, _)| checks.parse().ok());
    assert!(output.status.success() && checks >= Some(PSYCOPG_CHECKS_MIN), "{said}{errors}");
}
