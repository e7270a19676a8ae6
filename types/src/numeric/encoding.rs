//! Bytes: the wire format, the stored form, and the order-preserving key form.

use bytes::{Buf, BufMut, BytesMut};

use super::decimal::{BASE, Decimal};
use super::{Class, MAX_SCALE, Numeric, Repr};
use crate::{Result, SqlError, SqlState};

const SIGN_NEGATIVE: u16 = 0x4000;
const SIGN_NAN: u16 = 0xC000;
const SIGN_POSITIVE_INFINITY: u16 = 0xD000;
const SIGN_NEGATIVE_INFINITY: u16 = 0xF000;

/// First byte of a stored numeric. Below `STORED_BIG` come the special values and the scale of a small one.
const STORED_BIG: u8 = 0xF0;
const STORED_NEGATIVE_INFINITY: u8 = 0xF1;
const STORED_POSITIVE_INFINITY: u8 = 0xF2;
const STORED_NAN: u8 = 0xF3;

/// First byte of a key, in SQL order.
const KEY_NEGATIVE_INFINITY: u8 = 1;
const KEY_NEGATIVE: u8 = 2;
const KEY_ZERO: u8 = 3;
const KEY_POSITIVE: u8 = 4;
const KEY_POSITIVE_INFINITY: u8 = 5;
const KEY_NAN: u8 = 6;

fn corrupted() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "malformed stored numeric")
}

impl Numeric {
    /// `numeric_send`: digit count, weight, sign, scale, digits.
    pub fn send(&self, out: &mut BytesMut) {
        let finite = self.with_digits(|view| {
            out.put_u16(view.digits.len() as u16);
            out.put_i16(view.weight as i16);
            out.put_u16(if view.negative { SIGN_NEGATIVE } else { 0 });
            out.put_u16(view.scale as u16);
            for &digit in view.digits {
                out.put_i16(digit);
            }
        });
        if finite.is_none() {
            // PostgreSQL sends a scale of 32 with the infinities (its in-memory flag bits); readers ignore it.
            let (sign, scale) = match self.class() {
                Class::PositiveInfinity => (SIGN_POSITIVE_INFINITY, 0x20),
                Class::NegativeInfinity => (SIGN_NEGATIVE_INFINITY, 0x20),
                _ => (SIGN_NAN, 0),
            };
            out.put_u32(0);
            out.put_u16(sign);
            out.put_u16(scale);
        }
    }

    /// `numeric_recv`.
    pub fn receive(mut input: &[u8]) -> Result<Self> {
        let invalid = |message: &str| SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message);
        let short = || SqlError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message");
        if input.len() < 8 {
            return Err(short());
        }
        let count = usize::from(input.get_u16());
        let weight = i32::from(input.get_i16());
        let sign = input.get_u16();
        let scale = input.get_u16();
        match sign {
            0 | SIGN_NEGATIVE => {}
            SIGN_NAN => return Ok(Self::NAN),
            SIGN_POSITIVE_INFINITY => return Ok(Self::INFINITY),
            SIGN_NEGATIVE_INFINITY => return Ok(Self::NEGATIVE_INFINITY),
            _ => return Err(invalid("invalid sign in external \"numeric\" value")),
        }
        if i32::from(scale) > MAX_SCALE {
            return Err(invalid("invalid scale in external \"numeric\" value"));
        }
        if input.len() < count * 2 {
            return Err(short());
        }
        let mut digits = Vec::with_capacity(count);
        for _ in 0..count {
            let digit = input.get_i16();
            if !(0..BASE as i16).contains(&digit) {
                return Err(invalid("invalid digit in external \"numeric\" value"));
            }
            digits.push(digit);
        }
        if !input.is_empty() {
            return Err(invalid("incorrect binary data format"));
        }
        let mut decimal =
            Decimal { negative: sign == SIGN_NEGATIVE, weight, scale: u32::from(scale), digits };
        decimal.normalize();
        // Digits hidden beyond the scale are dropped, as PostgreSQL does.
        decimal.truncate(i32::from(scale));
        Self::from_decimal(decimal)
    }

    /// The stored form: a small number is its scale and the fewest bytes of its coefficient.
    pub fn store(&self, out: &mut BytesMut) {
        match &self.0 {
            Repr::Small { coefficient, scale } => {
                out.put_u8(*scale as u8);
                let value = coefficient.get();
                let bytes = value.to_le_bytes();
                let sign_bits = if value < 0 { (!value).leading_zeros() } else { value.leading_zeros() };
                let length = if value == 0 { 0 } else { (129 - sign_bits).div_ceil(8) as usize };
                out.put_slice(&bytes[..length]);
            }
            Repr::Big(_) => {
                out.put_u8(STORED_BIG);
                self.send(out);
            }
            Repr::NegativeInfinity => out.put_u8(STORED_NEGATIVE_INFINITY),
            Repr::PositiveInfinity => out.put_u8(STORED_POSITIVE_INFINITY),
            Repr::NaN => out.put_u8(STORED_NAN),
        }
    }

    /// Reads what [`Numeric::store`] wrote; `input` is exactly that.
    pub fn load(input: &[u8]) -> Result<Self> {
        let (&tag, rest) = input.split_first().ok_or_else(corrupted)?;
        match tag {
            STORED_BIG => Self::receive(rest).map_err(|_| corrupted()),
            STORED_NEGATIVE_INFINITY if rest.is_empty() => Ok(Self::NEGATIVE_INFINITY),
            STORED_POSITIVE_INFINITY if rest.is_empty() => Ok(Self::INFINITY),
            STORED_NAN if rest.is_empty() => Ok(Self::NAN),
            scale if scale < STORED_BIG && rest.len() <= 16 => {
                let negative = rest.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut bytes = [if negative { 0xff } else { 0 }; 16];
                bytes[..rest.len()].copy_from_slice(rest);
                Self::small(i128::from_le_bytes(bytes), u32::from(scale)).ok_or_else(corrupted)
            }
            _ => Err(corrupted()),
        }
    }

    /// Order-preserving and self-delimiting; equal values have equal keys. Class byte, biased weight, digits plus one as
    /// two bytes each, and a zero pair; all but the class byte complemented for negative numbers.
    pub fn encode_key(&self, out: &mut BytesMut) {
        let finite = self.with_digits(|view| {
            if view.digits.is_empty() {
                out.put_u8(KEY_ZERO);
                return;
            }
            let mask = if view.negative { 0xffff } else { 0 };
            out.put_u8(if view.negative { KEY_NEGATIVE } else { KEY_POSITIVE });
            out.put_u16((view.weight + 0x8000) as u16 ^ mask);
            for &digit in view.digits {
                out.put_u16((digit as u16 + 1) ^ mask);
            }
            out.put_u16(mask);
        });
        if finite.is_none() {
            out.put_u8(match self.class() {
                Class::NegativeInfinity => KEY_NEGATIVE_INFINITY,
                Class::PositiveInfinity => KEY_POSITIVE_INFINITY,
                _ => KEY_NAN,
            });
        }
    }

    /// Reads a key; the scale is the smallest that shows the value.
    pub fn decode_key(input: &mut &[u8]) -> Result<Self> {
        let class = take_u8(input)?;
        let negative = match class {
            KEY_NEGATIVE => true,
            KEY_POSITIVE => false,
            KEY_ZERO => return Ok(Self::ZERO),
            KEY_NEGATIVE_INFINITY => return Ok(Self::NEGATIVE_INFINITY),
            KEY_POSITIVE_INFINITY => return Ok(Self::INFINITY),
            KEY_NAN => return Ok(Self::NAN),
            _ => return Err(corrupted()),
        };
        let mask = if negative { 0xffff } else { 0 };
        let weight = i32::from(take_u16(input)? ^ mask) - 0x8000;
        let mut digits = Vec::new();
        loop {
            let digit = take_u16(input)? ^ mask;
            match digit {
                0 => break,
                1..=10_000 => digits.push(digit as i16 - 1),
                _ => return Err(corrupted()),
            }
        }
        let mut decimal = Decimal { negative, weight, scale: 0, digits };
        decimal.normalize();
        let scale = super::decimal::min_scale(&super::DigitsView {
            negative,
            weight: decimal.weight,
            scale: 0,
            digits: &decimal.digits,
        });
        decimal.scale = scale as u32;
        Self::from_decimal(decimal)
    }
}

fn take_u8(input: &mut &[u8]) -> Result<u8> {
    let (&first, rest) = input.split_first().ok_or_else(corrupted)?;
    *input = rest;
    Ok(first)
}

fn take_u16(input: &mut &[u8]) -> Result<u16> {
    let (first, rest) = input.split_first_chunk::<2>().ok_or_else(corrupted)?;
    *input = rest;
    Ok(u16::from_be_bytes(*first))
}
