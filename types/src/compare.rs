//! SQL comparison, equality and hashing of values.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::{Array, Datum};

impl Datum {
    /// The order of two values of the same SQL type, by the type's default btree operator class. Text compares bytewise
    /// (collation C). For char(n) use [`compare_bpchar`]. NULL sorts after every value and equals NULL, as in sorts and
    /// GROUP BY; operators have handled NULL before.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int2(a), Self::Int2(b)) => a.cmp(b),
            (Self::Int4(a), Self::Int4(b)) => a.cmp(b),
            (Self::Int8(a), Self::Int8(b)) => a.cmp(b),
            (Self::Float4(a), Self::Float4(b)) => compare_floats(f64::from(*a), f64::from(*b)),
            (Self::Float8(a), Self::Float8(b)) => compare_floats(*a, *b),
            (Self::Numeric(a), Self::Numeric(b)) => a.compare(b),
            (Self::Text(a), Self::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Bytea(a), Self::Bytea(b)) => a.cmp(b),
            (Self::Char(a), Self::Char(b)) => a.cmp(b),
            (Self::Oid(a), Self::Oid(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::TimestampTz(a), Self::TimestampTz(b)) => a.cmp(b),
            (Self::Interval(a), Self::Interval(b)) => a.compare(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Jsonb(a), Self::Jsonb(b)) => a.compare(b),
            (Self::Array(a), Self::Array(b)) => compare_arrays(a, b),
            (Self::Record(a), Self::Record(b)) => compare_sequences(a, b),
            // Different types: the binder has made them equal, so this only has to be a total order.
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Equality under [`Datum::compare`].
    pub fn key_eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }

    /// Feeds a hasher consistently with [`Datum::key_eq`].
    pub fn hash_key(&self, state: &mut impl Hasher) {
        state.write_u8(self.rank());
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int2(value) => value.hash(state),
            Self::Int4(value) => value.hash(state),
            Self::Int8(value) => value.hash(state),
            Self::Float4(value) => canonical_bits(f64::from(*value)).hash(state),
            Self::Float8(value) => canonical_bits(*value).hash(state),
            Self::Numeric(value) => value.hash_value(state),
            Self::Text(value) => value.hash(state),
            Self::Bytea(value) => value.hash(state),
            Self::Char(value) => value.hash(state),
            Self::Oid(value) => value.hash(state),
            Self::Date(value) => value.hash(state),
            Self::Time(value) => value.hash(state),
            Self::Timestamp(value) => value.hash(state),
            Self::TimestampTz(value) => value.hash(state),
            Self::Interval(value) => value.hash_value(state),
            Self::Uuid(value) => value.hash(state),
            Self::Jsonb(value) => value.hash_value(state),
            Self::Array(array) => {
                array.dimensions.hash(state);
                for element in &array.elements {
                    element.hash_key(state);
                }
            }
            Self::Record(fields) => {
                for field in fields.iter() {
                    field.hash_key(state);
                }
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 255,
            Self::Bool(_) => 0,
            Self::Int2(_) => 1,
            Self::Int4(_) => 2,
            Self::Int8(_) => 3,
            Self::Float4(_) => 4,
            Self::Float8(_) => 5,
            Self::Numeric(_) => 6,
            Self::Text(_) => 7,
            Self::Bytea(_) => 8,
            Self::Char(_) => 9,
            Self::Oid(_) => 10,
            Self::Date(_) => 11,
            Self::Time(_) => 12,
            Self::Timestamp(_) => 13,
            Self::TimestampTz(_) => 14,
            Self::Interval(_) => 15,
            Self::Uuid(_) => 16,
            Self::Array(_) => 17,
            Self::Record(_) => 18,
            Self::Jsonb(_) => 19,
        }
    }
}

/// A value that compares and hashes by [`Datum::key_eq`], for keys of hash maps.
#[derive(Clone, Debug)]
pub struct HashedDatum(pub Datum);

impl PartialEq for HashedDatum {
    fn eq(&self, other: &Self) -> bool {
        self.0.key_eq(&other.0)
    }
}

impl Eq for HashedDatum {}

impl Hash for HashedDatum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash_key(state);
    }
}

/// NaN above everything and equal to itself; −0 equals 0.
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).expect("neither is NaN"),
    }
}

fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

/// char(n): trailing blanks do not count.
pub fn compare_bpchar(a: &str, b: &str) -> Ordering {
    strip_blanks(a).as_bytes().cmp(strip_blanks(b).as_bytes())
}

/// Without trailing blanks: what of a char(n) is significant.
pub fn strip_blanks(text: &str) -> &str {
    text.trim_end_matches(' ')
}

/// Element by element, then by length, dimensions and bounds.
fn compare_arrays(a: &Array, b: &Array) -> Ordering {
    let lengths = |array: &Array| array.dimensions.iter().map(|(length, _)| *length).collect::<Vec<_>>();
    let bounds = |array: &Array| array.dimensions.iter().map(|(_, bound)| *bound).collect::<Vec<_>>();
    compare_sequences(&a.elements, &b.elements)
        .then_with(|| a.dimensions.len().cmp(&b.dimensions.len()))
        .then_with(|| lengths(a).cmp(&lengths(b)))
        .then_with(|| bounds(a).cmp(&bounds(b)))
}

fn compare_sequences(a: &[Datum], b: &[Datum]) -> Ordering {
    a.iter()
        .zip(b)
        .map(|(left, right)| left.compare(right))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.len().cmp(&b.len()))
}
