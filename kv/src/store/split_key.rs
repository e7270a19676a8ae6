//! Where to split a range: at the user key in the middle of its bytes, never between versions of one key.

use basalt_base::{Key, Span, keys};
use basalt_storage::{Family, IterOptions, Reader, Result, mvcc::key::decode_key};

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
    let options = IterOptions { lower: Some(lower.clone()), upper: Some(span.end.clone()), one_key: false };
    let mut iter = reader.iter(Family::Data, options)?;
    iter.seek(&lower)?;
    // Each sample: a user key and the bytes before it.
    let mut samples: Vec<(Key, u64)> = Vec::new();
    let (mut total, mut since_sample, mut step) = (0_u64, 0_u64, 1_u64);
    let mut current: Vec<u8> = Vec::new();
    while iter.valid() {
        let (user_key, _) = decode_key(iter.key())?;
        if user_key != &current[..] {
            current.clear();
            current.extend_from_slice(user_key);
            if since_sample >= step && *user_key > *lower {
                samples.push((Key::copy_from_slice(user_key), total));
                since_sample = 0;
                if samples.len() >= 2 * SAMPLES {
                    let mut keep = false;
                    samples.retain(|_| {
                        keep = !keep;
                        keep
                    });
                    step = (total / SAMPLES as u64).max(1);
                }
            }
        }
        let bytes = (iter.key().len() + iter.value().len()) as u64;
        total += bytes;
        since_sample += bytes;
        iter.next()?;
    }
    let middle = samples.into_iter().min_by_key(|(_, before)| before.abs_diff(total / 2));
    let key = middle.map(|(key, left_bytes)| SplitKey { key, left_bytes, right_bytes: total - left_bytes });
    Ok((key, total))
}
