//! Writes that have not been sent yet.
//!
//! A key keeps every revision that somebody may still ask for: a reader of an earlier statement (sequence numbers up to
//! its own), or ROLLBACK TO. A revision that no statement and no savepoint separates from its successor is replaced.

use std::collections::BTreeMap;

use basalt_base::{Key, Span};
use basalt_kv_api::{Request, SeqNum};
use bytes::Bytes;

/// What a write costs beside its key and value: map entry, revision, request.
const OVERHEAD_BYTES: usize = 96;

#[derive(Debug)]
struct Revision {
    seq: SeqNum,
    /// `None` deletes.
    value: Option<Bytes>,
    /// The store refuses it if there is a value already.
    if_absent: bool,
}

#[derive(Debug)]
struct Revisions {
    newest: Revision,
    /// Ascending.
    older: Vec<Revision>,
}

impl Revisions {
    fn ascending(&self) -> impl DoubleEndedIterator<Item = &Revision> {
        self.older.iter().chain(std::iter::once(&self.newest))
    }

    fn at(&self, seq: SeqNum) -> Option<&Revision> {
        self.ascending().rev().find(|revision| revision.seq <= seq)
    }
}

#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    keys: BTreeMap<Key, Revisions>,
    bytes: usize,
    /// No buffered revision is older.
    seq_min: SeqNum,
}

/// Writes to send: requests in key order, and where to go on.
pub(crate) struct WriteChunk {
    pub(crate) requests: Vec<Request>,
    pub(crate) last_key: Key,
}

impl WriteBuffer {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.keys()
    }

    pub(crate) fn first_and_last(&self) -> Option<(&Key, &Key)> {
        Some((self.keys.first_key_value()?.0, self.keys.last_key_value()?.0))
    }

    /// `boundary`: the newest sequence number that a statement or savepoint may come back to.
    pub(crate) fn write(&mut self, key: Key, seq: SeqNum, value: Option<Bytes>, boundary: SeqNum) {
        self.add(key, Revision { seq, value, if_absent: false }, boundary);
    }

    /// A row that must not be there yet; false if the buffer has one, as of the newest revision. What is stored is for
    /// the store to say when the write is sent.
    pub(crate) fn insert(&mut self, key: Key, seq: SeqNum, value: Bytes, boundary: SeqNum) -> bool {
        let buffered = self.keys.get(&key).map(|revisions| revisions.newest.value.is_some());
        if buffered == Some(true) {
            return false;
        }
        // What the transaction has deleted is absent, whatever is stored.
        let if_absent = buffered.is_none();
        self.add(key, Revision { seq, value: Some(value), if_absent }, boundary);
        true
    }

    fn add(&mut self, key: Key, mut revision: Revision, boundary: SeqNum) {
        let seq = revision.seq;
        if self.keys.is_empty() {
            self.seq_min = seq;
        }
        let value_bytes = revision.value.as_ref().map_or(0, Bytes::len);
        match self.keys.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                self.bytes += entry.key().len() + value_bytes + OVERHEAD_BYTES;
                entry.insert(Revisions { newest: revision, older: Vec::new() });
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let revisions = entry.get_mut();
                // Whatever replaces an insert is sent in its place.
                revision.if_absent |= revision.value.is_some() && revisions.newest.if_absent;
                let previous = std::mem::replace(&mut revisions.newest, revision);
                self.bytes += value_bytes;
                if previous.seq > boundary {
                    self.bytes -= previous.value.map_or(0, |value| value.len());
                } else {
                    self.bytes += OVERHEAD_BYTES;
                    revisions.older.push(previous);
                }
            }
        }
    }

    /// The newest revision up to `seq`: `Some(None)` is a deletion.
    pub(crate) fn get(&self, key: &[u8], seq: SeqNum) -> Option<Option<Bytes>> {
        if self.keys.is_empty() || self.seq_min > seq {
            return None;
        }
        self.keys.get(key)?.at(seq).map(|revision| revision.value.clone())
    }

    /// Visible revisions in the span, ascending.
    pub(crate) fn overlay<'a>(
        &'a self,
        span: &Span,
        seq: SeqNum,
    ) -> impl DoubleEndedIterator<Item = (&'a Key, Option<&'a Bytes>)> + use<'a> {
        let range = (!span.is_empty() && self.seq_min <= seq)
            .then(|| self.keys.range(span.start.clone()..span.end.clone()));
        range.into_iter().flatten().filter_map(move |(key, revisions)| {
            revisions.at(seq).map(|revision| (key, revision.value.as_ref()))
        })
    }

    /// Whether a reader at `seq` sees any buffered write in the span.
    pub(crate) fn overlaps(&self, span: &Span, seq: SeqNum) -> bool {
        !self.keys.is_empty() && self.overlay(span, seq).next().is_some()
    }

    /// Forgets revisions above `seq` (ROLLBACK TO).
    pub(crate) fn truncate(&mut self, seq: SeqNum) {
        self.retain(|revision| revision <= seq);
    }

    /// Forgets revisions up to `seq` (they were sent).
    pub(crate) fn forget_sent(&mut self, seq: SeqNum) {
        if self.keys.values().all(|revisions| revisions.newest.seq <= seq) {
            self.clear();
        } else {
            self.retain(|revision| revision > seq);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.bytes = 0;
    }

    fn retain(&mut self, keep: impl Fn(SeqNum) -> bool) {
        let mut bytes = 0;
        self.keys.retain(|key, revisions| {
            revisions.older.retain(|revision| keep(revision.seq));
            if !keep(revisions.newest.seq) {
                match revisions.older.pop() {
                    Some(older) => revisions.newest = older,
                    None => return false,
                }
            }
            bytes += key.len();
            for revision in revisions.ascending() {
                bytes += revision.value.as_ref().map_or(0, Bytes::len) + OVERHEAD_BYTES;
            }
            true
        });
        self.bytes = bytes;
    }

    /// Writes behind the key `after`, up to `seq`, until `bytes_max` is reached. All revisions of a key stay together.
    /// With `last_only`, a key's newest revision stands for all of them: nothing can be rolled back any more.
    pub(crate) fn chunk(
        &self,
        after: Option<&Key>,
        seq: SeqNum,
        bytes_max: usize,
        last_only: bool,
    ) -> Option<WriteChunk> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        let mut requests = Vec::new();
        let mut last_key = None;
        let mut bytes = 0;
        for (key, revisions) in self.keys.range((from, Bound::Unbounded)) {
            let newest = revisions.at(seq);
            let (older, newest) = if last_only { (&[][..], newest) } else { (&revisions.older[..], None) };
            let all = older.iter().chain((!last_only).then_some(&revisions.newest)).chain(newest);
            for revision in all.filter(|revision| revision.seq <= seq) {
                bytes += key.len() + OVERHEAD_BYTES + revision.value.as_ref().map_or(0, Bytes::len);
                requests.push(match &revision.value {
                    Some(value) => Request::Put {
                        key: key.clone(),
                        value: value.clone(),
                        seq: revision.seq,
                        if_absent: revision.if_absent,
                    },
                    None => Request::Delete { key: key.clone(), seq: revision.seq },
                });
            }
            last_key = Some(key);
            if bytes >= bytes_max {
                break;
            }
        }
        Some(WriteChunk { requests, last_key: last_key?.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str) -> Key {
        Key::from_static(name.as_bytes())
    }

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_reader_sees_the_newest_revision_of_its_sequence() {
        let mut buffer = WriteBuffer::default();
        buffer.write(key("a"), 3, value("x"), 0);
        buffer.write(key("a"), 5, value("y"), 4);
        buffer.write(key("a"), 6, None, 5);
        assert_eq!(buffer.get(b"a", 2), None);
        assert_eq!(buffer.get(b"a", 4), Some(value("x")));
        assert_eq!(buffer.get(b"a", 5), Some(value("y")));
        assert_eq!(buffer.get(b"a", 9), Some(None));
        assert_eq!(buffer.get(b"b", 9), None);
    }

    #[test]
    fn revisions_that_nothing_separates_are_replaced_and_bytes_do_not_grow() {
        let mut buffer = WriteBuffer::default();
        buffer.write(key("a"), 3, value("x"), 2);
        let bytes = buffer.bytes();
        for seq in 4..100 {
            buffer.write(key("a"), seq, value("z"), 2);
        }
        assert_eq!(buffer.bytes(), bytes);
        assert_eq!(buffer.chunk(None, 200, 1000, false).unwrap().requests.len(), 1);
    }

    #[test]
    fn rolling_back_restores_the_older_revision_and_the_size() {
        let mut buffer = WriteBuffer::default();
        buffer.write(key("a"), 1, value("x"), 0);
        let bytes = buffer.bytes();
        buffer.write(key("a"), 2, value("y"), 1);
        buffer.write(key("b"), 3, value("y"), 1);
        buffer.truncate(1);
        assert_eq!(buffer.bytes(), bytes);
        assert_eq!(buffer.get(b"a", 9), Some(value("x")));
        assert_eq!(buffer.get(b"b", 9), None);
    }

    #[test]
    fn an_insert_finds_buffered_rows_and_leaves_stored_ones_to_the_store() {
        let mut buffer = WriteBuffer::default();
        let text = Bytes::from_static(b"x");
        assert!(buffer.insert(key("a"), 1, text.clone(), 0));
        assert!(!buffer.insert(key("a"), 2, text.clone(), 1));
        buffer.write(key("b"), 3, None, 2);
        assert!(buffer.insert(key("b"), 4, text, 3));
        buffer.write(key("a"), 5, value("z"), 0);
        let sent: Vec<(u32, bool)> = buffer
            .chunk(None, 9, 1_000, true)
            .unwrap()
            .requests
            .iter()
            .map(|request| {
                let Request::Put { seq, if_absent, .. } = request else { panic!("{request:?}") };
                (*seq, *if_absent)
            })
            .collect();
        assert_eq!(sent, [(5, true), (4, false)]);
    }

    #[test]
    fn chunks_send_every_revision_or_the_last_one() {
        let mut buffer = WriteBuffer::default();
        buffer.write(key("a"), 1, value("x"), 0);
        buffer.write(key("a"), 2, value("y"), 1);
        buffer.write(key("b"), 3, None, 2);
        let first = buffer.chunk(None, 9, 1, false).unwrap();
        assert_eq!((first.requests.len(), &first.last_key), (2, &key("a")));
        let second = buffer.chunk(Some(&first.last_key), 9, 1, false).unwrap();
        assert_eq!(second.requests.len(), 1);
        assert!(buffer.chunk(Some(&second.last_key), 9, 1, false).is_none());
        let last = buffer.chunk(None, 9, 1 << 20, true).unwrap();
        assert!(matches!(&last.requests[..], [Request::Put { seq: 2, .. }, Request::Delete { seq: 3, .. }]));
        // Revisions written while a flush is under way wait for the next one.
        buffer.forget_sent(2);
        assert_eq!(buffer.get(b"a", 9), None);
        assert_eq!(buffer.get(b"b", 9), Some(None));
    }
}
