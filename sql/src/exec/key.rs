//! Keys of hash tables over rows: SQL equality, NULLs equal, the first spelling kept.
//!
//! Values that are equal may look different (1.0 and 1.00, a char(n) with other padding): a table keeps the key that
//! came first as it is. Looking a key up allocates nothing. Hashing has a fixed seed, so that a plan gives its rows in
//! the same order every time.

use std::{
    cmp::Ordering,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use basalt_types::{
    Datum, Oid, SqlType,
    compare::{compare_bpchar, strip_blanks},
};

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A multiplicative hasher, good enough for tables whose keys are compared anyway.
#[derive(Clone, Copy, Default)]
pub(crate) struct KeyHasher(u64);

impl KeyHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.add(u64::from_le_bytes(chunk.try_into().expect("chunks have eight bytes")));
        }
        let mut last = [0; 8];
        let rest = chunks.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.add(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
    }

    fn write_u8(&mut self, value: u8) {
        self.add(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER);
        mixed ^ (mixed >> 29)
    }
}

/// Hashes that are computed already.
#[derive(Clone, Copy, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How the values of a column compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Plain,
    /// char(n): trailing blanks do not count.
    Blank,
}

impl Comparison {
    pub fn of(ty: SqlType) -> Self {
        if ty.oid == Oid::BPCHAR { Self::Blank } else { Self::Plain }
    }

    /// NULL sorts last and equals NULL.
    pub fn compare(self, left: &Datum, right: &Datum) -> Ordering {
        match (self, left, right) {
            (Self::Blank, Datum::Text(left), Datum::Text(right)) => compare_bpchar(left, right),
            _ => left.compare(right),
        }
    }

    pub fn equal(self, left: &Datum, right: &Datum) -> bool {
        self.compare(left, right).is_eq()
    }

    fn hash(self, value: &Datum, hasher: &mut KeyHasher) {
        match (self, value) {
            (Self::Blank, Datum::Text(text)) => hasher.write(strip_blanks(text).as_bytes()),
            _ => value.hash_key(hasher),
        }
    }
}

/// Distinct keys, numbered from 0 in the order in which they came.
pub(crate) struct KeyTable {
    columns: Vec<Comparison>,
    /// One key after the other.
    keys: Vec<Datum>,
    /// The last key with a hash; `next` leads to the others.
    heads: HashMap<u64, u32, BuildHasherDefault<Ready>>,
    next: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl KeyTable {
    /// What an entry takes besides its key.
    pub const ENTRY_BYTES: usize = 24;

    pub fn new(columns: Vec<Comparison>) -> Self {
        Self { columns, keys: Vec::new(), heads: HashMap::default(), next: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.next.len()
    }

    pub fn key(&self, position: usize) -> &[Datum] {
        let width = self.columns.len();
        &self.keys[position * width..(position + 1) * width]
    }

    fn hash(&self, key: &[Datum]) -> u64 {
        let mut hasher = KeyHasher::default();
        for (column, value) in self.columns.iter().zip(key) {
            column.hash(value, &mut hasher);
        }
        hasher.finish()
    }

    fn find_hashed(&self, key: &[Datum], hash: u64) -> Option<usize> {
        let mut at = *self.heads.get(&hash)?;
        while at != NONE {
            let known = self.key(at as usize);
            if self.columns.iter().zip(known.iter().zip(key)).all(|(column, (a, b))| column.equal(a, b)) {
                return Some(at as usize);
            }
            at = self.next[at as usize];
        }
        None
    }

    pub fn find(&self, key: &[Datum]) -> Option<usize> {
        self.find_hashed(key, self.hash(key))
    }

    /// The number of the key, and whether it is new. A new key is taken out of `key`, which is empty afterwards.
    pub fn insert(&mut self, key: &mut Vec<Datum>) -> (usize, bool) {
        let hash = self.hash(key);
        if let Some(known) = self.find_hashed(key, hash) {
            return (known, false);
        }
        let position = self.next.len();
        let previous = self.heads.insert(hash, position as u32);
        self.next.push(previous.unwrap_or(NONE));
        self.keys.append(key);
        (position, true)
    }
}

/// Comparisons of a list of types.
pub(crate) fn comparisons(types: impl IntoIterator<Item = SqlType>) -> Vec<Comparison> {
    types.into_iter().map(Comparison::of).collect()
}
