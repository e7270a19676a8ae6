//! What a jsonb keeps of its text, and how values compare. Expected results are PostgreSQL 15's.

use std::cmp::Ordering;

use super::{Json, RawJson, parse_json, unescape};

fn text_of(input: &str) -> String {
    parse_json(input).map_or_else(|error| error.sqlstate().to_string(), |value| value.to_string())
}

#[test]
fn text_becomes_canonical() {
    for (input, expected) in [
        ("null", "null"),
        (" [1 , 2.50,\t-0, 1e3 ] ", "[1, 2.50, 0, 1000]"),
        (r#"{"bb":1,"a":2,"a":3}"#, r#"{"a": 3, "bb": 1}"#),
        (r#"{"a":{},"b":[],"c":[[],{"x":null}]}"#, r#"{"a": {}, "b": [], "c": [[], {"x": null}]}"#),
        (r#""\u00e9\n\/\ud83d\ude00\u0001""#, "\"é\\n/😀\\u0001\""),
        (r#""\u0000""#, "22P05"),
        (r#""\ud800""#, "22P02"),
        (r#""\ude00x""#, "22P02"),
        (r#""\ud83d\ud83d""#, "22P02"),
        ("1e999999", "22003"),
        ("[1,]", "22P02"),
        ("", "22P02"),
    ] {
        assert_eq!(text_of(input), expected, "{input}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse_json(&nested(super::DEPTH_MAX)).is_ok());
    assert_eq!(text_of(&nested(super::DEPTH_MAX + 1)), "54001");
}

#[test]
fn values_are_ordered() {
    // Ascending.
    let sorted = [
        "[]",
        "null",
        "\"\"",
        "\"a\"",
        "-1",
        "1.5",
        "false",
        "true",
        "[null]",
        "[1]",
        "[[]]",
        "[{}]",
        "[1, 2]",
        "{}",
        r#"{"a": 1}"#,
        r#"{"b": 0}"#,
        r#"{"a": 0, "b": 0}"#,
    ];
    let values: Vec<Json> = sorted.iter().map(|text| parse_json(text).unwrap()).collect();
    for (left, a) in values.iter().enumerate() {
        for (right, b) in values.iter().enumerate() {
            assert_eq!(a.compare(b), left.cmp(&right), "{a} and {b}");
            let key_of = |value: &Json| {
                let mut key = bytes::BytesMut::new();
                value.push_order_key(&mut key);
                key
            };
            assert_eq!(key_of(a).cmp(&key_of(b)), left.cmp(&right), "keys of {a} and {b}");
        }
    }
    assert_eq!(parse_json("1.0").unwrap().compare(&parse_json("1.00").unwrap()), Ordering::Equal);
}

#[test]
fn raw_parts_are_as_written() {
    let RawJson::Object(pairs) =
        RawJson::of(r#" { "a\u0041" : [1, "]"] , "b":{"c" : 2}, "b":1.50 } "#).unwrap()
    else {
        panic!("an object");
    };
    let expected = [("aA", r#"[1, "]"]"#), ("b", r#"{"c" : 2}"#), ("b", "1.50")];
    assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(
        RawJson::of("[ [1,2] ,\"x,y\", null ]").unwrap(),
        RawJson::Array(vec!["[1,2]", "\"x,y\"", "null"])
    );
    assert_eq!(RawJson::of(" true").unwrap(), RawJson::Bool(true));
    assert_eq!(unescape(r#"a\"b"#).unwrap(), "a\"b");
}
