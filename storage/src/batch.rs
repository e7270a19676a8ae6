//! An atomic group of engine writes.

use basalt_base::{Key, Span};
use bytes::Bytes;

use crate::Family;

/// One engine write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Put {
        family: Family,
        key: Key,
        value: Bytes,
    },
    Delete {
        family: Family,
        key: Key,
    },
    /// Deletes every key in the span.
    DeleteRange {
        family: Family,
        span: Span,
    },
}

/// Writes that take effect together, in order (a later one wins).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    pub ops: Vec<Op>,
    /// What the batch adds to (takes from) the values of open transactions, as the functions of [`crate::mvcc`] that
    /// filled it say, counted by [`crate::mvcc::lock::provisional_bytes`]. Not stored.
    pub provisional_bytes: i64,
}

impl WriteBatch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&mut self, family: Family, key: impl Into<Key>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put { family, key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, family: Family, key: impl Into<Key>) {
        self.ops.push(Op::Delete { family, key: key.into() });
    }

    pub fn delete_range(&mut self, family: Family, span: Span) {
        self.ops.push(Op::DeleteRange { family, span });
    }

    pub fn append(&mut self, mut other: Self) {
        self.ops.append(&mut other.ops);
        self.provisional_bytes += other.provisional_bytes;
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Keys and values, without overhead.
    pub fn bytes(&self) -> usize {
        self.ops
            .iter()
            .map(|op| match op {
                Op::Put { key, value, .. } => key.len() + value.len(),
                Op::Delete { key, .. } => key.len(),
                Op::DeleteRange { span, .. } => span.start.len() + span.end.len(),
            })
            .sum()
    }
}
