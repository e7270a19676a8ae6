//! Decimal digits of integers, two at a time.

use bytes::{BufMut, BytesMut};

const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[number * 2] = b'0' + (number / 10) as u8;
        pairs[number * 2 + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

/// Appends `value`.
pub(crate) fn write(value: i64, buffer: &mut BytesMut) {
    // A sign and nineteen digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    buffer.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut values = vec![0, i64::MIN, i64::MAX];
        for power in 0..19 {
            let ten = 10_i64.pow(power);
            values.extend([ten - 1, ten, ten + 1, -ten, 1 - ten, ten.wrapping_mul(7)]);
        }
        for value in values {
            let mut buffer = BytesMut::new();
            write(value, &mut buffer);
            assert_eq!(buffer, value.to_string().as_bytes());
        }
    }
}
