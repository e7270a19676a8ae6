//! Replaying the log when a store opens.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use basalt_env::{Disk, File, OpenMode};
use bytes::Bytes;

use super::{
    codec::Fields,
    frame::{
        ALIGNMENT, BATCH_HEADER, BatchHeader, FOLDER, SEGMENT_HEADER, SPARE_SUFFIX, Salt, SegmentHeader,
        padded, segment_number, segment_path,
    },
    record::Record,
    state::{LogState, SegmentFiles, damaged},
    store::Tail,
};
use crate::{Error, Result};

/// Rebuilds `state` from the segments on disk. `None` when there are none.
pub(super) fn replay(disk: &dyn Disk, state: &mut LogState, files: &SegmentFiles) -> Result<Option<Tail>> {
    let names = disk.list(FOLDER).map_err(|error| Error::io(FOLDER, &error))?;
    for spare in names.iter().filter(|name| name.ends_with(SPARE_SUFFIX)) {
        let path = format!("{FOLDER}/{spare}");
        disk.remove(&path).map_err(|error| Error::io(&path, &error))?;
    }
    let mut segments: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    remove_unused(disk, &mut segments)?;
    let mut tail: Option<Tail> = None;
    for (position, &segment) in segments.iter().enumerate() {
        let is_last = position + 1 == segments.len();
        let path = segment_path(segment);
        let (file, bytes) = open(disk, &path)?;
        let header = header_of(&bytes, segment).ok_or_else(|| damaged(segment, 0))?;
        if let Some(before) = &tail {
            if segment != before.segment + 1 {
                return Err(Error::Corruption(format!("{} is missing", segment_path(before.segment + 1))));
            }
            // The segment before was synced to its end before this one was made.
            if header.first_batch != before.number || header.chain != before.chain {
                return Err(damaged(before.segment, before.offset));
            }
        }
        state.segments.add(segment);
        let mut next = Tail {
            segment,
            capacity: bytes.len() as u64,
            file: file.clone(),
            offset: SEGMENT_HEADER,
            number: header.first_batch,
            chain: header.chain,
            salt: header.salt,
        };
        let unsynced = replay_batches(&bytes, &mut next, state)?;
        if is_last {
            check_tail(&bytes, &next)?;
            write_again(&*file, &path, &bytes, unsynced, next.offset)?;
        }
        files.files.write().insert(segment, file);
        tail = Some(next);
    }
    for (range_id, group) in &state.groups {
        let group = group.lock();
        if group.start != group.first_index() {
            return Err(Error::Corruption(format!(
                "the log of range {range_id} lacks entries {} to {}",
                group.first_index(),
                group.start - 1
            )));
        }
    }
    Ok(tail)
}

/// Removes a last segment that a crash left without its header, which is synced before its first batch is written. The one
/// before it is the last then, and may have a torn tail.
fn remove_unused(disk: &dyn Disk, segments: &mut Vec<u64>) -> Result<()> {
    let Some(&last) = segments.last() else { return Ok(()) };
    let path = segment_path(last);
    let (_, bytes) = open(disk, &path)?;
    if header_of(&bytes, last).is_some() {
        return Ok(());
    }
    // The file may be one that was used before, full of batches of another segment. Its own would have the salt of the one
    // before it; where none is before, it is new and has zeros only.
    let before = segments.len().checked_sub(2).map(|position| segments[position]);
    let is_used = match before {
        Some(before) => {
            let (_, before_bytes) = open(disk, &segment_path(before))?;
            let header = header_of(&before_bytes, before).ok_or_else(|| damaged(before, 0))?;
            find_batch(&bytes, last, header.salt, SEGMENT_HEADER, |_| true).is_some()
        }
        None => bytes.iter().skip(SEGMENT_HEADER as usize).any(|byte| *byte != 0),
    };
    if is_used {
        return Err(damaged(last, 0));
    }
    tracing::info!(file = %path, "removing a log segment that was never used");
    disk.remove(&path).map_err(|error| Error::io(&path, &error))?;
    segments.pop();
    Ok(())
}

fn header_of(bytes: &Bytes, segment: u64) -> Option<SegmentHeader> {
    SegmentHeader::decode(bytes).filter(|header| header.segment == segment)
}

fn open(disk: &dyn Disk, path: &str) -> Result<(Arc<dyn File>, Bytes)> {
    let io = |error| Error::io(path, &error);
    let file = disk.open(path, OpenMode::ReadWriteCreate).map_err(io)?;
    let length = usize::try_from(file.len().map_err(io)?).map_err(|_| Error::Corruption(path.to_owned()))?;
    let mut buffer = vec![0; length];
    let read = file.read_at(0, &mut buffer).map_err(io)?;
    buffer.truncate(read);
    Ok((file, buffer.into()))
}

/// Writes what nothing proves to have been synced once more, so that the sync that follows writes it. After a sync that
/// failed, the system takes what it has cached for clean, and the medium may lack it.
fn write_again(file: &dyn File, path: &str, bytes: &Bytes, from: u64, to: u64) -> Result<()> {
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let written = file.write_at(from, &bytes[place(from)..place(to)]);
    written.map_err(|error| Error::io(path, &error))
}

/// Applies batches as long as they continue the chain, and moves `tail` behind them. Returns where those begin of which
/// no later one says that they were synced: with the segment's header, if that is so of the first.
fn replay_batches(bytes: &Bytes, tail: &mut Tail, state: &mut LogState) -> Result<u64> {
    let (mut unsynced, mut later) = (0, VecDeque::new());
    let place = |tail: &Tail| Place {
        segment: tail.segment,
        offset: tail.offset,
        number: tail.number,
        chain: tail.chain,
        salt: tail.salt,
    };
    while let Some((payload, chain, synced)) = batch_at(bytes, place(tail)) {
        later.push_back((tail.number, tail.offset));
        while let Some((number, _)) = later.front().copied()
            && number <= synced
        {
            later.pop_front();
            unsynced = later.front().map_or(tail.offset, |(_, offset)| *offset);
        }
        let base = tail.offset + BATCH_HEADER as u64;
        let next = place(tail).behind(payload.len(), chain);
        let mut fields = Fields::new(payload);
        while !fields.is_empty() {
            // The checksum was right, so that this is another program's format, or a bug.
            let record = Record::decode(&mut fields, tail.segment, base)
                .map_err(|_| damaged(tail.segment, tail.offset))?;
            state.apply(record)?;
        }
        (tail.offset, tail.number, tail.chain) = (next.offset, next.number, next.chain);
    }
    Ok(unsynced)
}

/// Where a batch must begin, and how it continues the chain.
#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
    number: u64,
    chain: u32,
    salt: Salt,
}

impl Place {
    /// That of the next batch, behind one with such a payload and the checksum of such a header.
    fn behind(self, payload_len: usize, chain: u32) -> Self {
        let offset = self.offset + padded(BATCH_HEADER as u64 + payload_len as u64);
        Self { offset, number: self.number + 1, chain, ..self }
    }
}

/// The batch at a place, if it is whole and continues the chain; the checksum of its header, and up to where the log
/// was synced before it.
fn batch_at(bytes: &Bytes, place: Place) -> Option<(Bytes, u32, u64)> {
    let start = usize::try_from(place.offset).ok()?;
    let (header, chain) = BatchHeader::decode(bytes.get(start..)?, place.segment, place.salt)?;
    if header.number != place.number || header.chain != place.chain {
        return None;
    }
    let payload_start = start + BATCH_HEADER;
    let payload_end = payload_start.checked_add(usize::try_from(header.payload_len).ok()?)?;
    let payload = (payload_end <= bytes.len()).then(|| bytes.slice(payload_start..payload_end))?;
    (crc32fast::hash(&payload) == header.payload_crc).then_some((payload, chain, header.synced))
}

/// Where the batches of a segment are that a later one in it says were synced. A store whose log has damage there must not
/// open; what is behind them may be a torn tail.
pub fn proven_batches(segment: &Bytes) -> Vec<Range<usize>> {
    let Some(header) = SegmentHeader::decode(segment) else { return Vec::new() };
    let mut place = Place {
        segment: header.segment,
        offset: SEGMENT_HEADER,
        number: header.first_batch,
        chain: header.chain,
        salt: header.salt,
    };
    let (mut batches, mut newest) = (Vec::new(), 0);
    while let Some((payload, chain, synced)) = batch_at(segment, place) {
        let start = usize::try_from(place.offset).expect("inside the bytes");
        let end = start + BATCH_HEADER + payload.len();
        batches.push((place.number, start..end));
        newest = newest.max(synced);
        place = place.behind(payload.len(), chain);
    }
    batches.into_iter().filter(|(number, _)| *number <= newest).map(|(_, range)| range).collect()
}

/// Tells a torn tail from damage: a later batch may say that the unreadable one was synced.
fn check_tail(bytes: &Bytes, tail: &Tail) -> Result<()> {
    let proof =
        find_batch(bytes, tail.segment, tail.salt, tail.offset, |header| header.synced >= tail.number);
    if proof.is_some() {
        return Err(damaged(tail.segment, tail.offset));
    }
    let start = usize::try_from(tail.offset).unwrap_or(usize::MAX).min(bytes.len());
    if BatchHeader::decode(&bytes[start..], tail.segment, tail.salt).is_some() {
        tracing::warn!(
            file = %segment_path(tail.segment),
            offset = tail.offset,
            "dropping the end of the log, which was written but never synced"
        );
    }
    Ok(())
}

/// The offset of a batch header at or after `from` that satisfies `wanted`.
fn find_batch(
    bytes: &Bytes,
    segment: u64,
    salt: Salt,
    from: u64,
    wanted: impl Fn(&BatchHeader) -> bool,
) -> Option<usize> {
    let from = usize::try_from(from).ok()?;
    (from..bytes.len()).step_by(ALIGNMENT as usize).find(|&at| {
        BatchHeader::decode(&bytes[at..], segment, salt).is_some_and(|(header, _)| wanted(&header))
    })
}
