//! Giving space back: checkpoints, moving the last entries of old segments, removing segments.

use super::{
    LogBatch, LogStore,
    frame::{FOLDER, segment_path, spare_path},
    record::Record,
    store::Spare,
};
use crate::{Error, Result, counts::Counters};

/// The oldest segment is emptied by moving its entries when they take no more than this part of it.
const MOVE_FRACTION: u64 = 4;
/// Files kept for use as new segments.
const SPARES_MAX: usize = 2;

impl LogStore {
    /// All small state, so that a segment which begins with it needs none before it but for entries.
    pub(super) fn checkpoint(&self) -> LogBatch {
        let mut batch = LogBatch::default();
        if let Some(ident) = self.state.ident {
            batch.ident(ident);
        }
        batch.incarnation(self.state.incarnation);
        batch.clock_bound(self.state.clock_bound, self.state.clock_exact);
        for (range_id, next_replica_id) in &self.state.tombstones {
            batch.tombstone(*range_id, *next_replica_id);
        }
        for (range_id, group) in &self.state.groups {
            let group = group.lock();
            batch.push(Record::Group {
                range_id: *range_id,
                replica_id: group.replica_id,
                index: group.truncated_index,
                term: group.truncated_term,
                state: group.hard_state,
            });
        }
        batch
    }

    /// Whether old segments hold too little to be worth their space.
    pub fn has_reclaimable(&self) -> bool {
        self.state.segments.oldest().is_some_and(|(segment, live)| {
            segment != self.tail.segment && live.bytes <= self.move_bytes_max()
        })
    }

    /// Removes segments that hold nothing live, oldest first. Everything appended must be synced: a truncation that
    /// was lost would want its entries back. Entries of idle groups that keep a nearly dead segment alive are
    /// appended again first.
    pub async fn reclaim(&mut self) -> Result<()> {
        if !self.has_reclaimable() {
            return Ok(());
        }
        self.move_oldest().await?;
        self.sync().await?;
        while let Some((segment, live)) = self.state.segments.oldest() {
            if segment == self.tail.segment || live.records > 0 {
                break;
            }
            self.retire(segment)?;
            self.state.segments.remove(segment);
            Counters::add(&self.counters.segments_removed, 1);
            // One at a time: a crash must not bring back an older segment without the newer one.
            self.disk.sync_dir(FOLDER).await.map_err(|error| Error::io(FOLDER, &error))?;
        }
        Ok(())
    }

    /// Sets a dead segment's file aside, or removes it when enough are.
    fn retire(&mut self, segment: u64) -> Result<()> {
        let path = segment_path(segment);
        let io = |error| Error::io(&path, &error);
        let file = self.files.files.write().remove(&segment);
        let capacity = file.map_or(Ok(0), |file| file.len()).map_err(io)?;
        // Larger ones were made for a large batch.
        if self.spares.len() < SPARES_MAX && capacity <= 2 * self.tail.capacity {
            let spare = Spare { path: spare_path(segment), capacity };
            self.disk.rename(&path, &spare.path).map_err(io)?;
            self.spares.push(spare);
            return Ok(());
        }
        self.disk.remove(&path).map_err(io)
    }

    fn move_bytes_max(&self) -> u64 {
        self.tail.capacity / MOVE_FRACTION
    }

    async fn move_oldest(&mut self) -> Result<()> {
        let Some((oldest, live)) = self.state.segments.oldest() else { return Ok(()) };
        if live.records == 0 {
            return Ok(());
        }
        let mut batch = LogBatch::default();
        for (range_id, group) in &self.state.groups {
            let (first, locations) = {
                let group = group.lock();
                let old = group.locations.iter().take_while(|location| location.segment == oldest);
                (group.start, old.copied().collect::<Vec<_>>())
            };
            if !locations.is_empty() {
                batch.move_entries(*range_id, &self.files.read(first, &locations)?);
            }
        }
        // Without room for the copy the segment simply stays.
        match self.append(&mut batch).await {
            Err(Error::DiskFull) => Ok(()),
            other => other,
        }
    }
}
