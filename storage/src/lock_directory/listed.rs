//! A cursor over locks whose keys are known.

use bytes::Bytes;

use crate::{EngineIterator, Family, Reader, Result};

/// Locks fetched one by one, which for a handful costs a fraction of what positioning a cursor of the engine does: that
/// looks into every level, deleted entries included.
pub(super) struct ListedLocks {
    /// In the order of keys.
    locks: Vec<(Box<[u8]>, Bytes)>,
    /// Where the cursor is; behind the last one if it is nowhere.
    position: usize,
}

impl ListedLocks {
    /// `keys`: in order. What is listed and not, or no longer, in the engine is left out.
    pub fn fetch(engine: &(impl Reader + ?Sized), keys: Vec<Box<[u8]>>) -> Result<Self> {
        let mut locks = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(value) = engine.get(Family::Lock, &key)? {
                locks.push((key, value));
            }
        }
        let position = locks.len();
        Ok(Self { locks, position })
    }
}

impl EngineIterator for ListedLocks {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.position = self.locks.partition_point(|(listed, _)| **listed < *key);
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        let behind = self.locks.partition_point(|(listed, _)| **listed <= *key);
        self.position = behind.checked_sub(1).unwrap_or(self.locks.len());
        Ok(())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.position = 0;
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.position = self.locks.len().saturating_sub(1);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.position += 1;
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.position = self.position.checked_sub(1).unwrap_or(self.locks.len());
        Ok(())
    }

    fn valid(&self) -> bool {
        self.position < self.locks.len()
    }

    fn key(&self) -> &[u8] {
        &self.locks[self.position].0
    }

    fn value(&self) -> &[u8] {
        &self.locks[self.position].1
    }
}
