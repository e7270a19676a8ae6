//! The order of jsonb: null, string, number, boolean, array, object; arrays and objects by their size first.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use basalt_base::codec::encode_bytes;
use bytes::{BufMut, BytesMut};

use super::Json;

impl Json {
    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::String(_) => 1,
            Self::Number(_) => 2,
            Self::Bool(_) => 3,
            Self::Array(_) => 4,
            Self::Object(_) => 5,
        }
    }

    /// The order of whole values. A scalar that stands alone counts as an array of one element, which puts it before
    /// arrays of its size and, oddly, behind the empty array; PostgreSQL's indexes depend on it.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Array(items), scalar) if scalar.is_scalar() => {
                if items.is_empty() {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (scalar, Self::Array(items)) if scalar.is_scalar() => {
                if items.is_empty() {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (a, b) => a.compare_within(b),
        }
    }

    fn compare_within(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.compare(b),
            (Self::String(a), Self::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Array(a), Self::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
                let orders = a.iter().zip(b).map(|(left, right)| left.compare_within(right));
                orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }),
            (Self::Object(a), Self::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
                let orders = a.iter().zip(b.iter()).map(|((own, left), (key, right))| {
                    own.as_bytes().cmp(key.as_bytes()).then_with(|| left.compare_within(right))
                });
                orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Feeds a hasher consistently with [`Json::compare`].
    pub fn hash_value(&self, state: &mut impl Hasher) {
        state.write_u8(self.rank());
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Number(value) => value.hash_value(state),
            Self::String(value) => value.hash(state),
            Self::Array(items) => {
                state.write_usize(items.len());
                items.iter().for_each(|item| item.hash_value(state));
            }
            Self::Object(object) => {
                state.write_usize(object.len());
                for (key, value) in object.iter() {
                    key.hash(state);
                    value.hash_value(state);
                }
            }
        }
    }

    /// Bytes that are equal and ordered as [`Json::compare`] says.
    pub fn push_order_key(&self, out: &mut BytesMut) {
        if matches!(self, Self::Array(items) if items.is_empty()) {
            out.put_u8(0);
        } else {
            self.push_order_key_within(out);
        }
    }

    fn push_order_key_within(&self, out: &mut BytesMut) {
        out.put_u8(self.rank() + 1);
        match self {
            Self::Null => {}
            Self::Bool(value) => out.put_u8(u8::from(*value)),
            Self::Number(value) => value.encode_key(out),
            Self::String(text) => encode_bytes(out, text.as_bytes()),
            Self::Array(items) => {
                out.put_u64(items.len() as u64);
                items.iter().for_each(|item| item.push_order_key_within(out));
            }
            Self::Object(object) => {
                out.put_u64(object.len() as u64);
                for (key, value) in object.iter() {
                    encode_bytes(out, key.as_bytes());
                    value.push_order_key_within(out);
                }
            }
        }
    }
}
