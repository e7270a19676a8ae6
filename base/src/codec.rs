//! Order-preserving, self-delimiting encodings: comparing encoded bytes compares the values.
//!
//! Integers are big-endian with the sign bit flipped. Floats invert all bits when negative and the sign bit when not.
//! Byte strings escape `00` as `00 FF` and end with `00 01`. A descending column is the bitwise complement.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const TERMINATOR: u8 = 0x01;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed key encoding: {0}")]
pub struct CodecError(pub &'static str);

pub fn encode_bytes(out: &mut BytesMut, value: &[u8]) {
    out.reserve(value.len() + 2);
    for &byte in value {
        out.put_u8(byte);
        if byte == ESCAPE {
            out.put_u8(ESCAPED_ZERO);
        }
    }
    out.put_u8(ESCAPE);
    out.put_u8(TERMINATOR);
}

/// Decodes a byte string and advances `input` past it.
pub fn decode_bytes(input: &mut &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut value = Vec::new();
    let mut index = 0;
    loop {
        let byte = *input.get(index).ok_or(CodecError("unterminated bytes"))?;
        index += 1;
        if byte != ESCAPE {
            value.push(byte);
            continue;
        }
        match input.get(index) {
            Some(&ESCAPED_ZERO) => value.push(ESCAPE),
            Some(&TERMINATOR) => {
                *input = &input[index + 1..];
                return Ok(value);
            }
            _ => return Err(CodecError("bad escape in bytes")),
        }
        index += 1;
    }
}

pub fn encode_u64(out: &mut BytesMut, value: u64) {
    out.put_u64(value);
}

pub fn decode_u64(input: &mut &[u8]) -> Result<u64, CodecError> {
    Ok(u64::from_be_bytes(take(input)?))
}

pub fn encode_u32(out: &mut BytesMut, value: u32) {
    out.put_u32(value);
}

pub fn decode_u32(input: &mut &[u8]) -> Result<u32, CodecError> {
    Ok(u32::from_be_bytes(take(input)?))
}

pub fn encode_i64(out: &mut BytesMut, value: i64) {
    out.put_u64(value as u64 ^ (1 << 63));
}

pub fn decode_i64(input: &mut &[u8]) -> Result<i64, CodecError> {
    Ok((decode_u64(input)? ^ (1 << 63)) as i64)
}

pub fn encode_i32(out: &mut BytesMut, value: i32) {
    out.put_u32(value as u32 ^ (1 << 31));
}

pub fn decode_i32(input: &mut &[u8]) -> Result<i32, CodecError> {
    Ok((decode_u32(input)? ^ (1 << 31)) as i32)
}

/// NaN sorts above everything, -0 equals 0, as in PostgreSQL.
pub fn encode_f64(out: &mut BytesMut, value: f64) {
    let canonical = if value.is_nan() {
        f64::NAN
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = canonical.to_bits();
    out.put_u64(if bits >> 63 == 1 { !bits } else { bits | (1 << 63) });
}

pub fn decode_f64(input: &mut &[u8]) -> Result<f64, CodecError> {
    let bits = decode_u64(input)?;
    Ok(f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits }))
}

/// Complements `out[from..]`, which turns an ascending encoding into a descending one.
pub fn complement(out: &mut [u8], from: usize) {
    for byte in &mut out[from..] {
        *byte = !*byte;
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(CodecError("truncated number"))?;
    *input = rest;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<T>(value: T, encode: fn(&mut BytesMut, T)) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(&mut out, value);
        out.to_vec()
    }

    #[test]
    fn order_of_encodings_is_order_of_values() {
        let integers = [i64::MIN, -256, -1, 0, 1, 255, i64::MAX];
        assert!(integers.map(|v| encoded(v, encode_i64)).is_sorted());
        let floats = [f64::NEG_INFINITY, -1.5, -f64::MIN_POSITIVE, 0.0, 1.0, f64::INFINITY, f64::NAN];
        assert!(floats.map(|v| encoded(v, encode_f64)).is_sorted());
        assert_eq!(encoded(-0.0, encode_f64), encoded(0.0, encode_f64));
        let strings: [&[u8]; 6] = [b"", b"\x00", b"\x00\x00", b"\x00a", b"a", b"a\x00"];
        let out = strings.map(|v| {
            let mut out = BytesMut::new();
            encode_bytes(&mut out, v);
            out.to_vec()
        });
        assert!(out.is_sorted());
    }

    #[test]
    fn random_byte_strings_round_trip_in_order_and_prefix_free() {
        let mut state = 7_u64;
        let mut values: Vec<Vec<u8>> = Vec::new();
        for _ in 0..500 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = (state >> 33) as usize % 5;
            // Few distinct byte values, so that escapes and prefixes are common.
            values.push((0..length).map(|i| [0, 1, 0xff][((state >> (40 + 3 * i)) % 3) as usize]).collect());
        }
        for a in &values {
            for b in &values {
                let (mut ea, mut eb) = (BytesMut::new(), BytesMut::new());
                encode_bytes(&mut ea, a);
                encode_bytes(&mut eb, b);
                assert_eq!(a.cmp(b), ea.cmp(&eb));
                assert!(a == b || !eb.starts_with(&ea));
                let mut input = &ea[..];
                assert_eq!(decode_bytes(&mut input).as_ref(), Ok(a));
                assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn damaged_input_is_an_error() {
        assert!(decode_bytes(&mut &b"abc"[..]).is_err());
        assert!(decode_bytes(&mut &b"a\x00\x07"[..]).is_err());
        assert!(decode_u64(&mut &b"abc"[..]).is_err());
    }
}
