//! jsonb values, and what json text is made of.
//!
//! A json is its text, kept as written; a jsonb is the value that the text means. So that equal jsonb values print alike,
//! an object keeps one pair per key (the last one written), sorted by the key's length and then its bytes, and numbers
//! are numerics. Depth is bounded, because values are walked recursively.

mod compare;
mod parse;
mod raw;
#[cfg(test)]
mod tests;
mod text;

use crate::Numeric;

pub use parse::{DEPTH_MAX, parse_json, unescape};
pub use raw::{RawJson, raw_kind};
pub use text::{push_json_string, push_json_text, push_json_text_pretty};

/// A jsonb value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// Finite.
    Number(Numeric),
    String(Box<str>),
    Array(Vec<Json>),
    Object(JsonObject),
}

/// The pairs of an object in their one order, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonObject {
    pairs: Vec<(Box<str>, Json)>,
}

/// Shorter keys first, then by bytes.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

impl JsonObject {
    /// Of several pairs with one key the last stays.
    pub fn from_pairs(mut pairs: Vec<(Box<str>, Json)>) -> Self {
        pairs.sort_by(|(a, _), (b, _)| key_order(a, b));
        let mut unique: Vec<(Box<str>, Json)> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match unique.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => unique.push(pair),
            }
        }
        Self { pairs: unique }
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(own, _)| key_order(own, key))
    }

    pub fn get(&self, key: &str) -> Option<&Json> {
        self.position(key).ok().map(|position| &self.pairs[position].1)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        self.position(key).ok().map(|position| &mut self.pairs[position].1)
    }

    pub fn insert(&mut self, key: &str, value: Json) {
        match self.position(key) {
            Ok(position) => self.pairs[position].1 = value,
            Err(position) => self.pairs.insert(position, (key.into(), value)),
        }
    }

    pub fn remove(&mut self, key: &str) {
        if let Ok(position) = self.position(key) {
            self.pairs.remove(position);
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&str, &Json) -> bool) {
        self.pairs.retain(|(key, value)| keep(key, value));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> {
        self.pairs.iter().map(|(key, value)| (&**key, value))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Json> {
        self.pairs.iter_mut().map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

impl Json {
    pub fn string(text: &str) -> Self {
        Self::String(text.into())
    }

    /// Neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Heap bytes held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let each = std::mem::size_of::<Self>();
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.len(),
            Self::Array(items) => items.iter().map(|item| each + item.heap_bytes()).sum(),
            Self::Object(object) => {
                object.iter().map(|(key, value)| 16 + key.len() + each + value.heap_bytes()).sum()
            }
        }
    }
}
