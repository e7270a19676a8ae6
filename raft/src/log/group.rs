//! One group's part of the log: where its entries are, and the newest of them in memory.

use std::collections::VecDeque;

use basalt_base::ReplicaId;
use raft::eraftpb::Entry;

use super::record::{Location, PendingSnapshot};
use crate::{LogIndex, Term};

/// What Raft must not forget besides entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HardState {
    pub term: Term,
    /// The replica voted for in `term`; zero for none.
    pub vote: u64,
    /// A hint only: it is written without a sync.
    pub commit: LogIndex,
}

/// Invariants, outside of replay: `entries[0]` is at `truncated_index + 1`; the cache is a suffix of the entries.
#[derive(Debug)]
pub(crate) struct GroupLog {
    pub replica_id: ReplicaId,
    pub hard_state: HardState,
    /// The log begins behind this entry.
    pub truncated_index: LogIndex,
    pub truncated_term: Term,
    /// Index of the first location. During replay it may be too high: the entries in between were in a segment that
    /// was removed, and a truncation that follows says so.
    pub(super) start: LogIndex,
    pub(super) locations: VecDeque<Location>,
    pub(super) cache: VecDeque<Entry>,
    pub pending_snapshot: Option<(PendingSnapshot, Location)>,
}

impl GroupLog {
    pub(super) fn new(replica_id: ReplicaId, index: LogIndex, term: Term, hard_state: HardState) -> Self {
        Self {
            replica_id,
            hard_state,
            truncated_index: index,
            truncated_term: term,
            start: index + 1,
            locations: VecDeque::new(),
            cache: VecDeque::new(),
            pending_snapshot: None,
        }
    }

    /// Whether the replica waits for its first state. It may have voted.
    pub fn is_blank(&self) -> bool {
        self.truncated_index == 0 && self.locations.is_empty() && self.pending_snapshot.is_none()
    }

    pub fn first_index(&self) -> LogIndex {
        self.truncated_index + 1
    }

    pub fn last_index(&self) -> LogIndex {
        self.start + self.locations.len() as u64 - 1
    }

    /// The term of an entry in the log, or of the one just before it.
    pub fn term(&self, index: LogIndex) -> Option<Term> {
        if index == self.truncated_index {
            return Some(self.truncated_term);
        }
        self.location_of(index).map(|location| location.term)
    }

    /// Where an entry of the log is.
    pub fn location_of(&self, index: LogIndex) -> Option<Location> {
        let position = index.checked_sub(self.start)?;
        self.locations.get(usize::try_from(position).ok()?).copied()
    }

    pub fn cached(&self, index: LogIndex) -> Option<&Entry> {
        let first = self.cache.front()?.index;
        self.cache.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Puts entries at `first` and drops what was there and beyond. `released` hears of each location dropped.
    /// A gap before `first` drops everything older.
    pub(super) fn append(
        &mut self,
        first: LogIndex,
        locations: &[Location],
        mut released: impl FnMut(&Location),
    ) {
        if first > self.last_index() + 1 || first < self.start {
            // Beyond the end: a hole, see `start`. Before the start: those kept are all overwritten.
            self.locations.drain(..).for_each(|location| released(&location));
            self.cache.clear();
            self.start = first;
        } else {
            let keep = (first - self.start) as usize;
            self.locations.drain(keep..).for_each(|location| released(&location));
            while self.cache.back().is_some_and(|entry| entry.index >= first) {
                self.cache.pop_back();
            }
        }
        self.locations.extend(locations);
        if self.start <= self.truncated_index {
            self.drop_front(self.truncated_index, released);
        }
    }

    /// Notes new places of entries that are still wanted. In replay the old places may be unknown, because their
    /// segment is gone: then the entries take their position before, or behind, those that are known.
    pub(super) fn relocate(
        &mut self,
        first: LogIndex,
        locations: &[Location],
        mut released: impl FnMut(&Location),
    ) {
        if first > self.last_index() + 1 {
            self.locations.drain(..).for_each(|location| released(&location));
            self.cache.clear();
            self.start = first;
        }
        let before =
            usize::try_from(self.start.saturating_sub(first)).unwrap_or(usize::MAX).min(locations.len());
        let (before, rest) = locations.split_at(before);
        for (location, index) in before.iter().rev().zip((first..first + before.len() as u64).rev()) {
            if index + 1 == self.start && index > self.truncated_index {
                self.locations.push_front(*location);
                self.start = index;
            } else {
                // Truncated meanwhile: the copy is dead on arrival.
                released(location);
            }
        }
        for (location, index) in rest.iter().zip(first + before.len() as u64..) {
            let position = usize::try_from(index - self.start).unwrap_or(usize::MAX);
            match self.locations.get_mut(position) {
                Some(slot) if slot.term == location.term => released(&std::mem::replace(slot, *location)),
                Some(_) => released(location),
                None => self.locations.push_back(*location),
            }
        }
    }

    pub(super) fn truncate(&mut self, index: LogIndex, term: Term, released: impl FnMut(&Location)) {
        if index > self.truncated_index {
            self.truncated_index = index;
            self.truncated_term = term;
        }
        self.drop_front(self.truncated_index, released);
    }

    fn drop_front(&mut self, through: LogIndex, mut released: impl FnMut(&Location)) {
        while self.start <= through {
            let Some(location) = self.locations.pop_front() else { break };
            released(&location);
            self.start += 1;
        }
        if self.locations.is_empty() {
            self.start = self.start.max(through + 1);
        }
        while self.cache.front().is_some_and(|entry| entry.index <= through) {
            self.cache.pop_front();
        }
    }

    /// Starts over behind a snapshot.
    pub(super) fn restart(&mut self, index: LogIndex, term: Term, mut released: impl FnMut(&Location)) {
        self.locations.drain(..).for_each(|location| released(&location));
        self.cache.clear();
        self.truncated_index = index;
        self.truncated_term = term;
        self.start = index + 1;
    }

    /// Gives up everything: the replica is gone.
    pub(super) fn release_all(&mut self, mut released: impl FnMut(&Location)) {
        self.locations.drain(..).for_each(|location| released(&location));
        self.cache.clear();
        if let Some((_, location)) = self.pending_snapshot.take() {
            released(&location);
        }
    }

    /// Forgets cached entries up to `through`; gives their size.
    pub(super) fn evict(&mut self, through: LogIndex) -> usize {
        let mut bytes = 0;
        while self.cache.front().is_some_and(|entry| entry.index <= through) {
            if let Some(entry) = self.cache.pop_front() {
                bytes += cached_bytes(&entry);
            }
        }
        bytes
    }
}

/// What an entry takes in the cache.
pub(super) fn cached_bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + size_of::<Entry>()
}
