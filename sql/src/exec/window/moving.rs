//! Aggregates over frames that leave rows behind, put together from parts.
//!
//! A row that leaves cannot be taken back from every aggregate: who knows the second largest value? So the frame is kept in
//! two parts: of the older one, the states of all its suffixes; of the newer one, one accumulator. A frame's value is
//! that of a suffix merged with the newer part. When the frame has left the older part, its rows become that part anew.
//! Each row is added at most twice and merged once, however long the frames are.

use basalt_functions::Accumulator;
use basalt_types::{Datum, Result};

/// Additions per row that a single accumulator for each frame may take before parts are cheaper.
const ADDITIONS_PER_ROW: usize = 8;

/// Whether the frames move forwards only, and overlap so much that parts save work.
pub(super) fn pays(frames: &[(usize, usize)]) -> bool {
    let mut additions = 0_usize;
    let mut last = (0, 0);
    for &frame in frames {
        let (start, end) = frame;
        if start < last.0 || end < last.1 {
            return false;
        }
        additions = additions.saturating_add(end - if start == last.0 { last.1 } else { start });
        last = frame;
    }
    additions > frames.len().saturating_mul(ADDITIONS_PER_ROW)
}

/// The values of an aggregate over frames that move forwards, whose accumulators are made by `new` and get rows by `add`.
pub(super) fn values(
    frames: &[(usize, usize)],
    new: &dyn Fn() -> Box<dyn Accumulator>,
    add: &mut dyn FnMut(&mut Box<dyn Accumulator>, usize) -> Result<()>,
) -> Result<Vec<Datum>> {
    let mut values: Vec<Datum> = Vec::with_capacity(frames.len());
    // States of the rows before `split`: the last is of the longest suffix.
    let mut suffixes: Vec<Vec<Datum>> = Vec::new();
    let mut split = 0;
    let mut newer = new();
    let mut covered = 0;
    for (row, &(start, end)) in frames.iter().enumerate() {
        if row > 0 && frames[row - 1] == (start, end) {
            let same = values[row - 1].clone();
            values.push(same);
            continue;
        }
        if start >= split {
            suffixes.clear();
            for older in (start..end).rev() {
                let mut suffix = new();
                add(&mut suffix, older)?;
                if let Some(shorter) = suffixes.last() {
                    suffix.merge(shorter)?;
                }
                suffixes.push(suffix.state());
            }
            (split, covered) = (end, end);
            newer = new();
        }
        for arriving in covered..end {
            add(&mut newer, arriving)?;
        }
        covered = end;
        if start == split {
            values.push(newer.finish()?);
            continue;
        }
        suffixes.truncate(split - start);
        let mut whole = new();
        whole.merge(&suffixes[split - start - 1])?;
        whole.merge(&newer.state())?;
        values.push(whole.finish()?);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of rows: what is merged, and in which order, shows.
    #[derive(Default)]
    struct Rows(Vec<Datum>);

    impl Accumulator for Rows {
        fn update(&mut self, args: &[Datum]) -> Result<()> {
            self.0.extend_from_slice(args);
            Ok(())
        }

        fn state(&self) -> Vec<Datum> {
            self.0.clone()
        }

        fn merge(&mut self, state: &[Datum]) -> Result<()> {
            self.update(state)
        }

        fn finish(&self) -> Result<Datum> {
            Ok(Datum::text(format!("{:?}", self.0)))
        }

        fn bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn every_frame_holds_its_rows_in_order() {
        let mut random = 7_u64;
        let mut below = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for rows in 1..60 {
            let (mut start, mut end) = (0, 0);
            let mut frames = Vec::new();
            for _ in 0..rows {
                start = (start + below(4)).min(rows);
                end = (end + below(5)).min(rows).max(start);
                frames.push((start, end));
            }
            let mut additions = 0;
            let mut add = |accumulator: &mut Box<dyn Accumulator>, row: usize| {
                additions += 1;
                accumulator.update(&[Datum::Int8(row as i64)])
            };
            let found = values(&frames, &|| Box::<Rows>::default(), &mut add).unwrap();
            let expected = frames.iter().map(|&(start, end)| {
                let rows: Vec<Datum> = (start..end).map(|row| Datum::Int8(row as i64)).collect();
                Datum::text(format!("{rows:?}"))
            });
            assert_eq!(found, expected.collect::<Vec<_>>(), "{frames:?}");
            assert!(additions <= 2 * rows, "{additions} additions for {frames:?}");
        }
    }

    #[test]
    fn parts_are_for_long_frames_that_move() {
        let moving: Vec<_> =
            (0..100).map(|row: usize| (row.saturating_sub(20), (row + 20).min(100))).collect();
        let growing: Vec<_> = (0..100).map(|row| (0, row + 1)).collect();
        let short: Vec<_> = (0..100).map(|row| (row, (row + 2).min(100))).collect();
        let backwards: Vec<_> = moving.iter().rev().copied().collect();
        for (frames, expected) in [(moving, true), (growing, false), (short, false), (backwards, false)] {
            assert_eq!(pays(&frames), expected, "{frames:?}");
        }
    }
}
