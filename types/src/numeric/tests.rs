use std::cmp::Ordering;
use std::hash::Hasher;

use bytes::BytesMut;

use super::Numeric;
use crate::Result;

fn parse(text: &str) -> Numeric {
    Numeric::parse(text).unwrap()
}

fn apply(operation: &str, a: &Numeric, b: &Numeric) -> Result<Numeric> {
    match operation {
        "+" => a.add(b),
        "-" => a.sub(b),
        "*" => a.mul(b),
        "/" => a.div(b),
        "%" => a.rem(b),
        "div" => a.div_trunc(b),
        "cmp" => Ok(Numeric::from_i64(match a.compare(b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        })),
        "round" => a.round(b.to_i32()?),
        "trunc" => a.trunc(b.to_i32()?),
        "ceil" => a.ceil(),
        "floor" => a.floor(),
        "sqrt" => a.sqrt(),
        "exp" => a.exp(),
        "ln" => a.ln(),
        "log" => b.log(a),
        "power" => a.power(b),
        other => panic!("{other}"),
    }
}

/// Every line of the table is what PostgreSQL 15 answered.
#[test]
fn arithmetic_agrees_with_postgresql() {
    let mut failures = Vec::new();
    let mut count = 0;
    for line in include_str!("golden.tsv").lines().filter(|line| !line.starts_with('#')) {
        count += 1;
        let fields: Vec<&str> = line.split('\t').collect();
        let got = match apply(fields[0], &parse(fields[1]), &parse(fields[2])) {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("{} {}", error.sqlstate(), error.message()),
        };
        if got != fields[3] {
            failures.push(format!(
                "{} {} {}\n    expected {}\n    got      {got}",
                fields[0], fields[1], fields[2], fields[3]
            ));
        }
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 1000, "{count}");
}

fn operands() -> Vec<Numeric> {
    let mut texts: Vec<&str> = include_str!("golden.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').nth(1).unwrap())
        .collect();
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(parse).collect()
}

#[test]
fn every_encoding_comes_back() {
    for value in operands() {
        assert_eq!(parse(&value.to_string()), value);
        let mut wire = BytesMut::new();
        value.send(&mut wire);
        assert_eq!(Numeric::receive(&wire).unwrap(), value);
        let mut stored = BytesMut::new();
        value.store(&mut stored);
        assert_eq!(Numeric::load(&stored).unwrap(), value);
        let mut key = BytesMut::new();
        value.encode_key(&mut key);
        let mut input = &key[..];
        assert_eq!(Numeric::decode_key(&mut input).unwrap().compare(&value), Ordering::Equal, "{value}");
        assert!(input.is_empty());
    }
}

#[test]
fn keys_and_hashes_follow_comparison() {
    let mut values = operands();
    values.extend(
        ["1.0", "1.00000000000000000000000000000000000000000000000000", "1", "100", "1e2"].map(parse),
    );
    let key = |value: &Numeric| {
        let mut key = BytesMut::new();
        value.encode_key(&mut key);
        key
    };
    let hash = |value: &Numeric| {
        let mut hasher = std::hash::DefaultHasher::new();
        value.hash_value(&mut hasher);
        hasher.finish()
    };
    let step = (values.len() / 150).max(1);
    for left in values.iter().step_by(step) {
        for right in &values {
            let order = left.compare(right);
            assert_eq!(key(left).cmp(&key(right)), order, "{left} {right}");
            if order.is_eq() {
                assert_eq!(hash(left), hash(right), "{left} {right}");
            }
        }
    }
    assert_eq!(hash(&parse("1")), hash(&parse("1.00000000000000000000000000000000000000000000000000")));
}

#[test]
fn conversions() {
    for (value, expected) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1.0 / 3.0, "0.333333333333333"),
        (1.5e-5, "0.000015"),
        (123456789.12345679, "123456789.123457"),
        (-2.5e-310, "-0."),
    ] {
        let text = Numeric::from_f64(value).to_string();
        assert!(
            text == expected || (expected.ends_with('.') && text.starts_with(expected)),
            "{value} {text}"
        );
    }
    assert_eq!(Numeric::from_f32(0.1).to_string(), "0.1");
    assert_eq!(Numeric::from_f32(16_777_216.0).to_string(), "16777200");
    assert_eq!(parse("2.5").to_i32().unwrap(), 3);
    assert_eq!(parse("-2.5").to_i32().unwrap(), -3);
    assert_eq!(parse("32767.49").to_i16().unwrap(), 32767);
    assert_eq!(parse("32767.5").to_i16().unwrap_err().message(), "smallint out of range");
    assert_eq!(parse("1e30").to_i64().unwrap_err().message(), "bigint out of range");
    assert_eq!(parse("NaN").to_i32().unwrap_err().message(), "cannot convert NaN to integer");
    assert_eq!(parse("-Infinity").to_i64().unwrap_err().message(), "cannot convert infinity to bigint");
    assert_eq!(parse("0.1").to_f64().unwrap(), 0.1);
    assert_eq!(parse("1e400").to_f64().unwrap_err().sqlstate().as_str(), "22003");
    assert_eq!(parse("12.30").to_scaled(2), Some(1230));
    assert_eq!(parse("12.30").to_scaled(1), Some(123));
    assert_eq!(parse("12.35").to_scaled(1), None);
    assert_eq!(parse("1.2300").trim_scale().to_string(), "1.23");
    assert_eq!(parse("1.2300").scale(), Some(4));
    assert_eq!(parse("1.2300").min_scale(), Some(2));
    assert_eq!(std::mem::size_of::<Numeric>(), 24);
}
