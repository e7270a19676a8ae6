//! Batches of writes to keys that were never written: bulk loads and new indexes.
//!
//! A write looks for locks and versions of its key, with a cursor over each family. Making cursors costs more than all
//! the rest of a small write. When nothing at all lies between the first and the last key of a batch, one look at
//! each family answers for all of its keys: the batch holds their latches, so the answer stays true until it ends.

use basalt_base::{Span, keys::prefix_end};
use basalt_kv_api::Request;
use basalt_storage::{EmptyIterator, EngineIterator, Family, IterOptions, Reader, Result};
use bytes::Bytes;

/// Fewer writes are not worth the look.
const WRITES_MIN: usize = 8;

/// Whether the batch writes much, and nothing is there yet.
pub fn writes_fresh_keys(base: &dyn Reader, requests: &[Request]) -> Result<bool> {
    if requests.len() < WRITES_MIN {
        return Ok(false);
    }
    let keys = || {
        requests.iter().filter_map(|request| match request {
            Request::Put { key, .. } | Request::Delete { key, .. } => Some(key),
            _ => None,
        })
    };
    let (Some(first), Some(last)) = (keys().min(), keys().max()) else { return Ok(false) };
    if keys().count() < WRITES_MIN {
        return Ok(false);
    }
    let span = Span::new(first.clone(), prefix_end(last));
    // Versions first: where there are none, there are hardly any traces of past locks to step over.
    Ok(is_empty(base, Family::Data, &span)? && is_empty(base, Family::Lock, &span)?)
}

fn is_empty(base: &dyn Reader, family: Family, span: &Span) -> Result<bool> {
    let options = IterOptions::within(span);
    let mut iter = base.iter(family, options)?;
    iter.seek(&span.start)?;
    Ok(!iter.valid())
}

/// What such a batch finds.
pub struct Nothing;

impl Reader for Nothing {
    fn get(&self, _family: Family, _key: &[u8]) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn iter<'a>(&'a self, _family: Family, _options: IterOptions) -> Result<Box<dyn EngineIterator + 'a>> {
        Ok(Box::new(EmptyIterator))
    }
}

#[cfg(test)]
mod tests {
    use basalt_base::Key;
    use basalt_storage::{Engine, MemoryEngine, WriteBatch};

    use super::*;

    fn key(number: usize) -> Key {
        Key::from(format!("k{number:03}").into_bytes())
    }

    fn puts(numbers: impl Iterator<Item = usize>) -> Vec<Request> {
        numbers
            .map(|number| Request::Put { key: key(number), value: Bytes::new(), seq: 1, if_absent: false })
            .collect()
    }

    #[test]
    fn one_entry_between_the_keys_is_enough_to_look_at_each() {
        let cases = [
            (None, 8, true),
            (None, WRITES_MIN - 1, false),
            (Some((Family::Data, key(14))), 8, false),
            (Some((Family::Lock, key(17))), 8, false),
            (Some((Family::Lock, key(10))), 8, false),
            (Some((Family::Data, key(9))), 8, true),
            (Some((Family::Lock, key(18))), 8, true),
        ];
        for (entry, writes, fresh) in cases {
            let engine = MemoryEngine::new();
            if let Some((family, user_key)) = entry.clone() {
                let stored = [&user_key[..], b"suffix"].concat();
                let mut batch = WriteBatch::new();
                batch.put(family, Key::from(stored), Bytes::new());
                engine.write(batch).unwrap();
            }
            let requests = puts((10..10 + writes).rev());
            assert_eq!(writes_fresh_keys(&engine, &requests).unwrap(), fresh, "{entry:?} {writes}");
        }
    }
}
