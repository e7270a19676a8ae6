use basalt_base::Span;

use super::*;
use crate::{Engine, MemoryEngine};

/// A small generator: the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn key(&mut self) -> Key {
        Key::from(vec![b'a' + self.below(8) as u8, b'a' + self.below(4) as u8])
    }
}

fn random_batch(random: &mut Random) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..random.below(8) {
        match random.below(5) {
            0 => batch.delete(Family::Lock, random.key()),
            1 => {
                let (a, b) = (random.key(), random.key());
                batch.delete_range(Family::Lock, Span::new(a.clone().min(b.clone()), a.max(b)));
            }
            _ => batch.put(Family::Lock, random.key(), vec![random.below(250) as u8]),
        }
    }
    batch
}

/// Everything the cursor says while it walks at random.
fn walk(reader: &dyn Reader, seed: u64) -> Vec<Option<(Vec<u8>, Vec<u8>)>> {
    let mut random = Random(seed);
    let mut options = IterOptions::default();
    if random.below(2) == 0 {
        options.lower = Some(random.key());
    }
    if random.below(2) == 0 {
        options.upper = Some(random.key());
    }
    let mut iter = reader.iter(Family::Lock, options).expect("memory does not fail");
    let mut seen = Vec::new();
    for _ in 0..40 {
        match random.below(if iter.valid() { 12 } else { 4 }) {
            0 => iter.seek(&random.key()),
            1 => iter.seek_for_prev(&random.key()),
            2 => iter.seek_to_first(),
            3 => iter.seek_to_last(),
            4..8 => iter.next(),
            _ => iter.prev(),
        }
        .expect("memory does not fail");
        seen.push(iter.valid().then(|| (iter.key().to_vec(), iter.value().to_vec())));
    }
    seen
}

#[test]
fn an_overlay_reads_as_the_engine_does_after_the_batch() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let base = MemoryEngine::new();
        for _ in 0..random.below(6) {
            base.write(random_batch(&mut random)).expect("no fault is set");
        }
        let written = base.crash(u64::MAX);
        let mut open = OpenBatch::new();
        for _ in 0..random.below(4) {
            let batch = random_batch(&mut random);
            open.append(batch.clone());
            written.write(batch).expect("no fault is set");
        }
        let overlay = open.over(&base);
        for step in 0..10 {
            assert_eq!(walk(&overlay, seed * 10 + step), walk(&written, seed * 10 + step), "seed {seed}");
        }
        for _ in 0..20 {
            let key = random.key();
            let expected = written.get(Family::Lock, &key).expect("memory does not fail");
            assert_eq!(
                overlay.get(Family::Lock, &key).expect("memory does not fail"),
                expected,
                "seed {seed}"
            );
        }
        base.write(open.take()).expect("no fault is set");
        assert_eq!(walk(&base, seed), walk(&written, seed), "seed {seed}");
    }
}
