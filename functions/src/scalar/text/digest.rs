//! `md5` and the SHA-2 family.

use crate::builder::{Builder, scalars};
use crate::scalar::text::encode_hex;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "md5(text)" => |a: &str| encode_hex(&md5(a.as_bytes())),
        "md5(bytea)" => |a: &[u8]| encode_hex(&md5(a)),
        "sha256" => |a: &[u8]| sha256(a, SHA256_START),
        "sha224" => |a: &[u8]| { let mut digest = sha256(a, SHA224_START); digest.truncate(28); digest },
        "sha512" => |a: &[u8]| sha512(a, SHA512_START),
        "sha384" => |a: &[u8]| { let mut digest = sha512(a, SHA384_START); digest.truncate(48); digest },
    });
}

/// The message, a one bit, zeros, and the length in bits at the end of a whole block.
fn padded(message: &[u8], block: usize, length_bytes: usize, little_endian: bool) -> Vec<u8> {
    let mut data = message.to_vec();
    data.push(0x80);
    while data.len() % block != block - length_bytes {
        data.push(0);
    }
    let bits = (message.len() as u128) * 8;
    if little_endian {
        data.extend_from_slice(&bits.to_le_bytes()[..length_bytes]);
    } else {
        data.extend_from_slice(&bits.to_be_bytes()[16 - length_bytes..]);
    }
    data
}

const MD5_SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// RFC 1321.
pub fn md5(message: &[u8]) -> [u8; 16] {
    // floor(2^32 × |sin(i + 1)|), by definition.
    let constants: [u32; 64] =
        std::array::from_fn(|i| ((i as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32);
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded(message, 64, 8, true).chunks_exact(64) {
        let words: [u32; 16] = std::array::from_fn(|i| {
            u32::from_le_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]])
        });
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (mix, word) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let sum = a.wrapping_add(mix).wrapping_add(constants[i]).wrapping_add(words[word]);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(MD5_SHIFTS[i / 16][i % 4]));
        }
        for (slot, value) in state.iter_mut().zip([a, b, c, d]) {
            *slot = slot.wrapping_add(value);
        }
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

const SHA224_START: [u32; 8] =
    [0xc105_9ed8, 0x367c_d507, 0x3070_dd17, 0xf70e_5939, 0xffc0_0b31, 0x6858_1511, 0x64f9_8fa7, 0xbefa_4fa4];
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const SHA384_START: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];
const SHA512_START: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The first 64 bits of the fractional parts of the cube roots of the first 80 primes (FIPS 180-4): integer cube roots of
/// `prime × 2^192`, which 256-bit arithmetic would need, found bit by bit on the fraction instead.
const SHA512_ROUNDS: [u64; 80] = sha512_rounds();

const fn sha512_rounds() -> [u64; 80] {
    let mut rounds = [0; 80];
    let mut found = 0;
    let mut candidate = 2u64;
    while found < 80 {
        let mut divisor = 2;
        let mut prime = true;
        while divisor * divisor <= candidate {
            if candidate.is_multiple_of(divisor) {
                prime = false;
            }
            divisor += 1;
        }
        if prime {
            rounds[found] = cube_root_fraction(candidate);
            found += 1;
        }
        candidate += 1;
    }
    rounds
}

/// 64 fraction bits of the cube root of a small number.
const fn cube_root_fraction(number: u64) -> u64 {
    let mut whole = 1u64;
    while (whole + 1) * (whole + 1) * (whole + 1) <= number {
        whole += 1;
    }
    // root = whole + fraction / 2^64, the largest with root³ ≤ number.
    let mut root = (whole as u128) << 64;
    let mut bit = 63;
    loop {
        let trial = root | 1 << bit;
        if cube_is_at_most(trial, number) {
            root = trial;
        }
        if bit == 0 {
            return root as u64;
        }
        bit -= 1;
    }
}

/// `value³ ≤ number × 2^192`, in 64-bit limbs; `value` is below 2^68.
const fn cube_is_at_most(value: u128, number: u64) -> bool {
    let limbs = [value as u64, (value >> 64) as u64, 0, 0];
    let square = multiply(limbs, limbs);
    let cube = multiply(square, limbs);
    // number × 2^192 has its only nonzero limb on top.
    if cube[3] != number {
        return cube[3] < number;
    }
    cube[0] == 0 && cube[1] == 0 && cube[2] == 0
}

/// The low 256 bits of a product.
const fn multiply(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut result = [0u64; 4];
    let mut i = 0;
    while i < 4 {
        let mut carry = 0u128;
        let mut j = 0;
        while i + j < 4 {
            let sum = result[i + j] as u128 + a[i] as u128 * b[j] as u128 + carry;
            result[i + j] = sum as u64;
            carry = sum >> 64;
            j += 1;
        }
        i += 1;
    }
    result
}

fn sha256(message: &[u8], start: [u32; 8]) -> Vec<u8> {
    let mut state = start;
    for block in padded(message, 64, 8, false).chunks_exact(64) {
        let mut words = [0u32; 64];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..64 {
            let (x, y) = (words[i - 15], words[i - 2]);
            let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            words[i] = words[i - 16].wrapping_add(s0).wrapping_add(words[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            // SHA-256's constants are the upper halves of SHA-512's.
            let round = (SHA512_ROUNDS[i] >> 32) as u32;
            let t1 = h
                .wrapping_add(s1)
                .wrapping_add((e & f) ^ (!e & g))
                .wrapping_add(round)
                .wrapping_add(words[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (slot, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *slot = slot.wrapping_add(value);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn sha512(message: &[u8], start: [u64; 8]) -> Vec<u8> {
    let mut state = start;
    for block in padded(message, 128, 16, false).chunks_exact(128) {
        let mut words = [0u64; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        for i in 16..80 {
            let (x, y) = (words[i - 15], words[i - 2]);
            let s0 = x.rotate_right(1) ^ x.rotate_right(8) ^ (x >> 7);
            let s1 = y.rotate_right(19) ^ y.rotate_right(61) ^ (y >> 6);
            words[i] = words[i - 16].wrapping_add(s0).wrapping_add(words[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for i in 0..80 {
            let s1 = e.rotate_right(14) ^ e.rotate_right(18) ^ e.rotate_right(41);
            let t1 = h
                .wrapping_add(s1)
                .wrapping_add((e & f) ^ (!e & g))
                .wrapping_add(SHA512_ROUNDS[i])
                .wrapping_add(words[i]);
            let s0 = a.rotate_right(28) ^ a.rotate_right(34) ^ a.rotate_right(39);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (slot, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *slot = slot.wrapping_add(value);
        }
    }
    state.iter().flat_map(|word| word.to_be_bytes()).collect()
}
