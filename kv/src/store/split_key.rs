//! Where to split a range: at the user key in the middle of its bytes, never between versions of one key. What is still
//! provisional counts as what it will be.

use basalt_base::{Key, Span, keys};
use basalt_storage::{
    Family, IterOptions, Reader, Result,
    mvcc::{
        key::decode_key,
        lock::{decode_lock_key, provisional_bytes},
    },
};

/// A place to split, and what lies on either side of it.
pub struct SplitKey {
    pub key: Key,
    pub left_bytes: u64,
    pub right_bytes: u64,
}

/// Samples kept of a scan; when there are twice as many, every other one is dropped.
const SAMPLES: usize = 1_024;

/// The key to split at, if there is one, and the bytes of the whole span.
pub fn find(reader: &dyn Reader, span: &Span) -> Result<(Option<SplitKey>, u64)> {
    // The meta entries stay together.
    let lower = span.start.clone().max(Key::from_static(&[keys::SYSTEM_PREFIX]));
    let span = Span::new(lower.clone(), span.end.clone());
    let mut versions = reader.iter(Family::Data, IterOptions::within(&span))?;
    versions.seek(&lower)?;
    let mut provisional = reader.iter(Family::Lock, IterOptions::within(&span))?;
    provisional.seek(&lower)?;
    let mut samples = Samples::new(lower);
    loop {
        let version = if versions.valid() { Some(decode_key(versions.key())?.0) } else { None };
        let lock = if provisional.valid() { Some(decode_lock_key(provisional.key())?.0) } else { None };
        match (version, lock) {
            (None, None) => return Ok(samples.finish()),
            (Some(version), lock) if lock.is_none_or(|lock| version <= lock) => {
                let bytes = versions.key().len() + versions.value().len();
                samples.add(version, bytes as u64);
                versions.next()?;
            }
            (_, lock) => {
                let bytes = provisional_bytes(provisional.key(), provisional.value())?;
                samples.add(lock.unwrap_or_default(), u64::try_from(bytes).unwrap_or(0));
                provisional.next()?;
            }
        }
    }
}

/// User keys in order, each with the bytes before it, thinned out evenly.
struct Samples {
    lower: Key,
    kept: Vec<(Key, u64)>,
    total: u64,
    since_last: u64,
    step: u64,
    current: Vec<u8>,
}

impl Samples {
    fn new(lower: Key) -> Self {
        Self { lower, kept: Vec::new(), total: 0, since_last: 0, step: 1, current: Vec::new() }
    }

    fn add(&mut self, user_key: &[u8], bytes: u64) {
        if user_key != &self.current[..] {
            self.current.clear();
            self.current.extend_from_slice(user_key);
            if self.since_last >= self.step && *user_key > *self.lower {
                self.kept.push((Key::copy_from_slice(user_key), self.total));
                self.since_last = 0;
                if self.kept.len() >= 2 * SAMPLES {
                    self.thin_out();
                }
            }
        }
        self.total += bytes;
        self.since_last += bytes;
    }

    fn thin_out(&mut self) {
        let mut keep = false;
        self.kept.retain(|_| {
            keep = !keep;
            keep
        });
        self.step = (self.total / SAMPLES as u64).max(1);
    }

    fn finish(self) -> (Option<SplitKey>, u64) {
        let total = self.total;
        let middle = self.kept.into_iter().min_by_key(|(_, before)| before.abs_diff(total / 2));
        let key =
            middle.map(|(key, left_bytes)| SplitKey { key, left_bytes, right_bytes: total - left_bytes });
        (key, total)
    }
}
