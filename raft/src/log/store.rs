//! Writing the log.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
};

use basalt_base::{RangeId, ReplicaId, Timestamp};
use basalt_env::{Bug, Disk, DiskLock, File, OpenMode, Rng, planted};
use parking_lot::Mutex;

use super::{
    LogBatch,
    codec::length_u32,
    frame::{BATCH_HEADER, BatchHeader, FOLDER, SEGMENT_HEADER, Salt, SegmentHeader, padded, segment_path},
    group::{GroupLog, HardState, cached_bytes},
    record::{Location, Record},
    recovery,
    state::{LogState, SegmentFiles},
};
use crate::{Error, LogIndex, Options, Result, StoreIdent, Term, counts::Counters};

/// Room kept in a segment for records that must be written even when commands are refused for lack of space:
/// votes, clock bounds, truncations.
const INTERNAL_RESERVE_MAX: u64 = 1 << 20;
/// Runs of cached entries below which nobody asks whether they are still cached.
const RUNS_MIN: usize = 4096;

/// Where the next batch goes.
pub(super) struct Tail {
    pub segment: u64,
    pub file: Arc<dyn File>,
    pub offset: u64,
    /// Allocated size of the file.
    pub capacity: u64,
    /// The number of the next batch.
    pub number: u64,
    /// The checksum of the last batch's header.
    pub chain: u32,
    /// The store's.
    pub salt: Salt,
}

/// The log of a store. One owner writes; groups are read through [`GroupLog`] and [`SegmentFiles`].
pub(crate) struct LogStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) counters: Arc<Counters>,
    pub(super) state: LogState,
    pub(super) files: Arc<SegmentFiles>,
    pub(super) tail: Tail,
    segment_bytes: u64,
    internal_reserve: u64,
    /// The last batch that was synced.
    synced: u64,
    /// The last batch that says only that; see [`LogStore::mark`].
    marked: u64,
    poisoned: Option<Error>,
    cache_bytes: usize,
    cache_bytes_max: usize,
    /// Segment files without live content, to be used again: their blocks are allocated and written, so that a sync
    /// has no file-system metadata to write.
    pub(super) spares: Vec<Spare>,
    /// Runs of cached entries, oldest first. Those of entries that have left the cache stay until a recount.
    cache_order: VecDeque<(RangeId, LogIndex)>,
    /// As many runs call for a recount: twice those that the last one left, so that each run pays for it a few times.
    recount_at: usize,
    _lock: Box<dyn DiskLock>,
}

impl LogStore {
    /// Replays the log, or starts a new one.
    pub async fn open(
        disk: Arc<dyn Disk>,
        rng: &dyn Rng,
        options: &Options,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        disk.create_dir_all(FOLDER).map_err(|error| Error::io(FOLDER, &error))?;
        let lock = disk.lock(&format!("{FOLDER}/LOCK")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked,
            _ => Error::io(FOLDER, &error),
        })?;
        let files = Arc::new(SegmentFiles::default());
        let mut state = LogState::default();
        let tail = match recovery::replay(&*disk, &mut state, &files)? {
            Some(tail) => tail,
            None => {
                let header = SegmentHeader { segment: 1, first_batch: 1, chain: 0, salt: Salt::new(rng) };
                let tail = create_segment(&*disk, header, options.segment_bytes, None).await?;
                files.files.write().insert(tail.segment, tail.file.clone());
                state.segments.add(tail.segment);
                tail
            }
        };
        let mut store = Self {
            disk,
            counters,
            state,
            files,
            synced: tail.number - 1,
            marked: 0,
            tail,
            segment_bytes: options.segment_bytes,
            internal_reserve: INTERNAL_RESERVE_MAX.min(options.segment_bytes / 8),
            poisoned: None,
            cache_bytes: 0,
            cache_bytes_max: options.cache_bytes_max,
            spares: Vec::new(),
            cache_order: VecDeque::new(),
            recount_at: RUNS_MIN,
            _lock: lock,
        };
        // What was replayed may have been written but not synced, and the file may have its name in the system's cache
        // only; from here on both are relied upon.
        store.sync_tail().await?;
        store.disk.sync_dir(FOLDER).await.map_err(|error| Error::io(FOLDER, &error))?;
        // A new store has none, or a crash took it.
        store.write_checkpoint()?;
        Ok(store)
    }

    pub fn ident(&self) -> Option<StoreIdent> {
        self.state.ident
    }

    pub fn incarnation(&self) -> u64 {
        self.state.incarnation
    }

    pub fn clock_bound(&self) -> Timestamp {
        self.state.clock_bound
    }

    pub fn group(&self, range_id: RangeId) -> Option<Arc<Mutex<GroupLog>>> {
        self.state.groups.get(&range_id).cloned()
    }

    /// No replica of the range with a lower id may exist here.
    pub fn tombstone(&self, range_id: RangeId) -> ReplicaId {
        if planted(Bug::IgnoreTombstone) {
            return ReplicaId::default();
        }
        self.state.tombstones.get(&range_id).copied().unwrap_or_default()
    }

    /// Adds a group, in the place of an older replica's: its record goes into `batch`, which must be the next one
    /// appended.
    pub fn create_group(
        &mut self,
        batch: &mut LogBatch,
        range_id: RangeId,
        replica_id: ReplicaId,
        index: LogIndex,
        term: Term,
        state: HardState,
    ) -> Arc<Mutex<GroupLog>> {
        batch.create_group(range_id, replica_id, index, term, state);
        // At once, because the replica reads its log before the batch is written. Writing it changes nothing more.
        self.state.create_group(range_id, replica_id, index, term, state)
    }

    pub fn range_ids(&self) -> Vec<RangeId> {
        self.state.groups.keys().copied().collect()
    }

    pub fn files(&self) -> Arc<SegmentFiles> {
        self.files.clone()
    }

    pub fn live_bytes(&self) -> u64 {
        self.state.live_bytes()
    }

    pub fn live_entries(&self) -> u64 {
        self.state.live_entries()
    }

    /// Makes sure that `bytes` of commands fit, beside the internal reserve. [`Error::DiskFull`] leaves all as it was.
    pub async fn reserve(&mut self, bytes: u64) -> Result<()> {
        self.check()?;
        self.write_checkpoint()?;
        let wanted = padded(bytes) + self.internal_reserve;
        if self.tail.offset + wanted > self.tail.capacity { self.roll_over(wanted).await } else { Ok(()) }
    }

    /// Appends a batch; not durable before [`LogStore::sync`]. [`Error::DiskFull`] leaves all as it was, and the batch
    /// may be appended later. Any other error poisons the store.
    pub async fn append(&mut self, batch: &mut LogBatch) -> Result<()> {
        self.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        self.write_checkpoint()?;
        let length = padded(batch.bytes.len() as u64);
        if self.tail.offset + length > self.tail.capacity {
            self.roll_over(length).await?;
        }
        self.write(batch)
    }

    /// Writes what every segment begins with, unless it is there.
    fn write_checkpoint(&mut self) -> Result<()> {
        if self.tail.offset > SEGMENT_HEADER {
            return Ok(());
        }
        let mut checkpoint = self.checkpoint();
        self.write(&mut checkpoint)
    }

    fn write(&mut self, batch: &mut LogBatch) -> Result<()> {
        let payload_len = length_u32(batch.bytes.len() - BATCH_HEADER);
        let header = BatchHeader {
            segment: self.tail.segment,
            number: self.tail.number,
            synced: self.synced,
            payload_len,
            payload_crc: crc32fast::hash(&batch.bytes[BATCH_HEADER..]),
            chain: self.tail.chain,
        };
        let (header, chain) = header.encode(self.tail.salt);
        batch.bytes[..BATCH_HEADER].copy_from_slice(&header);
        if let Err(error) = self.tail.file.write_at(self.tail.offset, &batch.bytes) {
            let error = Error::io(&segment_path(self.tail.segment), &error);
            // Without room nothing counts as written: the next batch overwrites whatever arrived.
            return Err(if error == Error::DiskFull { error } else { self.poison(error) });
        }
        let start = self.tail.offset;
        self.tail.offset += padded(batch.bytes.len() as u64);
        self.tail.number += 1;
        self.tail.chain = chain;
        Counters::add(&self.counters.log_bytes, batch.bytes.len() as u64);

        let batch = std::mem::take(batch);
        for mut record in batch.records {
            self.place(&mut record, start);
            if let Err(error) = self.state.apply(record) {
                return Err(self.poison(error));
            }
        }
        for (range_id, entries) in batch.entries {
            Counters::add(&self.counters.entries, entries.len() as u64);
            self.cache(range_id, entries);
        }
        Ok(())
    }

    /// Makes the locations of a record absolute.
    fn place(&self, record: &mut Record, start: u64) {
        let start = u32::try_from(start).expect("a segment is shorter than 4 GiB");
        let segment = self.tail.segment;
        let absolute = |location: &mut Location| {
            location.segment = segment;
            location.offset += start;
        };
        match record {
            Record::Entries { locations, .. } | Record::Moved { locations, .. } => {
                locations.iter_mut().for_each(absolute);
            }
            Record::SnapshotPending { location, .. } => absolute(location),
            _ => {}
        }
    }

    fn cache(&mut self, range_id: RangeId, entries: Vec<raft::eraftpb::Entry>) {
        let Some(group) = self.state.groups.get(&range_id) else { return };
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        self.cache_bytes += entries.iter().map(cached_bytes).sum::<usize>();
        group.lock().cache.extend(entries);
        self.cache_order.push_back((range_id, last));
        while self.cache_bytes > self.cache_bytes_max {
            let Some((range_id, through)) = self.cache_order.pop_front() else {
                self.recount_cache();
                break;
            };
            self.evict(range_id, through);
        }
    }

    /// Forgets cached entries that nobody will ask for soon. Sizes are counted when entries enter and leave here;
    /// entries that an overwrite or a truncation dropped leave the count at the next [`LogStore::recount_cache`].
    pub fn evict(&mut self, range_id: RangeId, through: LogIndex) {
        if let Some(group) = self.state.groups.get(&range_id) {
            let bytes = group.lock().evict(through);
            self.cache_bytes = self.cache_bytes.saturating_sub(bytes);
        }
        if self.cache_order.len() >= self.recount_at {
            self.recount_cache();
        }
    }

    /// Rebuilds the bookkeeping of the cache from the cache itself.
    fn recount_cache(&mut self) {
        self.cache_bytes = 0;
        for group in self.state.groups.values() {
            self.cache_bytes += group.lock().cache.iter().map(cached_bytes).sum::<usize>();
        }
        let groups = &self.state.groups;
        self.cache_order.retain(|(range_id, through)| {
            let first = groups.get(range_id).and_then(|group| Some(group.lock().cache.front()?.index));
            first.is_some_and(|first| first <= *through)
        });
        self.recount_at = RUNS_MIN.max(2 * self.cache_order.len());
        self.counters.cache_recounts.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes everything appended durable. An error poisons the store: a second attempt might falsely succeed.
    pub async fn sync(&mut self) -> Result<()> {
        self.check()?;
        let newest = self.tail.number - 1;
        // Nobody relies on a mark.
        let promised = if newest == self.marked { newest.saturating_sub(1) } else { newest };
        if self.synced >= promised { Ok(()) } else { self.sync_all().await }
    }

    /// A mark, too.
    async fn sync_all(&mut self) -> Result<()> {
        self.check()?;
        let newest = self.tail.number - 1;
        if self.synced == newest || planted(Bug::AckBeforeSync) {
            return Ok(());
        }
        self.sync_tail().await?;
        self.synced = newest;
        Ok(())
    }

    /// Whether the last batch was synced, nothing in the log says so yet, and there is room to say it.
    pub fn is_unmarked(&self) -> bool {
        let newest = self.tail.number - 1;
        let has_room = self.tail.offset + padded(BATCH_HEADER as u64) <= self.tail.capacity;
        let has_batch = self.tail.offset > SEGMENT_HEADER;
        self.synced == newest && self.marked < newest && has_batch && has_room && self.poisoned.is_none()
    }

    /// Writes an empty batch behind the last one, which was synced: its header says so, as that of every later batch
    /// would. From when it is on disk, damage to the last batch does not look like a torn tail. It is not synced itself,
    /// because nothing depends on it: the system writes it when it writes what it has cached.
    pub fn mark(&mut self) -> Result<()> {
        if !self.is_unmarked() {
            return Ok(());
        }
        match self.write(&mut LogBatch::default()) {
            Ok(()) => self.marked = self.tail.number - 1,
            Err(Error::DiskFull) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn sync_tail(&mut self) -> Result<()> {
        let synced = self.tail.file.sync().await;
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        synced.map_err(|error| {
            let error = Error::io(&segment_path(self.tail.segment), &error);
            // Even a full disk: what was written is in doubt.
            self.poison(error)
        })
    }

    /// Continues in a new segment with room for `bytes` beside the checkpoint.
    async fn roll_over(&mut self, bytes: u64) -> Result<()> {
        let header = SegmentHeader {
            segment: self.tail.segment + 1,
            first_batch: self.tail.number,
            chain: self.tail.chain,
            salt: self.tail.salt,
        };
        let checkpoint_bytes = padded(self.checkpoint().bytes.len() as u64);
        let wanted = SEGMENT_HEADER + checkpoint_bytes + bytes + self.internal_reserve;
        // Only the last segment may have a torn tail.
        self.sync_all().await?;
        let fits = |spare: &Spare| spare.capacity >= wanted;
        let spare = self.spares.iter().position(fits).map(|position| self.spares.swap_remove(position));
        match create_segment(&*self.disk, header, wanted.max(self.segment_bytes), spare).await {
            Ok(tail) => {
                Counters::add(&self.counters.fsyncs, 1);
                self.files.files.write().insert(tail.segment, tail.file.clone());
                self.state.segments.add(tail.segment);
                self.tail = tail;
            }
            Err(Error::DiskFull) => return Err(Error::DiskFull),
            Err(error) => return Err(self.poison(error)),
        }
        // If it finds no room, the next batch begins with it.
        self.write_checkpoint()
    }

    pub(super) fn check(&self) -> Result<()> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    fn poison(&mut self, error: Error) -> Error {
        tracing::error!(%error, "the log failed; the store stops");
        self.poisoned = Some(Error::Poisoned(error.to_string()));
        error
    }
}

/// A file that was a segment.
pub(super) struct Spare {
    pub path: String,
    pub capacity: u64,
}

/// Allocates a segment, or takes a spare for it, and makes its header and its name durable.
/// What a spare held does not matter: its batches name another segment.
async fn create_segment(
    disk: &dyn Disk,
    header: SegmentHeader,
    wanted: u64,
    spare: Option<Spare>,
) -> Result<Tail> {
    let path = segment_path(header.segment);
    let created = || {
        if let Some(spare) = &spare {
            disk.rename(&spare.path, &path)?;
        }
        let file = disk.open(&path, OpenMode::ReadWriteCreate)?;
        if spare.is_none() {
            file.allocate(wanted)?;
        }
        file.write_at(0, &header.encode())?;
        io::Result::Ok(file)
    };
    let file = match created() {
        Ok(file) => file,
        Err(error) => {
            // Whatever part was allocated is given back; replay removes the file if this fails too.
            let _ = disk.remove(&path);
            return Err(Error::io(&path, &error));
        }
    };
    let durable = async {
        file.sync().await?;
        disk.sync_dir(FOLDER).await
    };
    // A failed sync is not a full disk, whatever its code says: the state of the file is unknown.
    durable.await.map_err(|error| Error::Io(format!("{path}: {error}")))?;
    Ok(Tail {
        segment: header.segment,
        file,
        offset: SEGMENT_HEADER,
        capacity: spare.map_or(wanted, |spare| spare.capacity),
        number: header.first_batch,
        chain: header.chain,
        salt: header.salt,
    })
}
