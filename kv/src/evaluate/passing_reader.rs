//! A view of the engine without the locks of some transactions.
//!
//! A read that has pushed a transaction above its own timestamp need not wait until each of its locks says so: the
//! transaction can only commit later. This holds for the one request that pushed.

use basalt_storage::{EngineIterator, Family, IterOptions, Reader, Result};
use bytes::Bytes;

use super::context::PassedTxns;

pub struct PassingReader<'a> {
    pub base: &'a dyn Reader,
    pub passed: &'a PassedTxns,
}

impl Reader for PassingReader<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        if family == Family::Lock && is_passed(self.passed, key) {
            return Ok(None);
        }
        self.base.get(family, key)
    }

    fn iter<'b>(&'b self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'b>> {
        let base = self.base.iter(family, options)?;
        if family != Family::Lock || self.passed.is_empty() {
            return Ok(base);
        }
        Ok(Box::new(PassingIterator { base, passed: self.passed }))
    }
}

/// Keys of the lock family end with the transaction's id.
fn is_passed(passed: &PassedTxns, key: &[u8]) -> bool {
    key.last_chunk::<16>().is_some_and(|id| passed.contains(&basalt_base::TxnId::from_bytes(*id)))
}

struct PassingIterator<'a> {
    base: Box<dyn EngineIterator + 'a>,
    passed: &'a PassedTxns,
}

impl PassingIterator<'_> {
    fn skip(&mut self, forward: bool) -> Result<()> {
        while self.base.valid() && is_passed(self.passed, self.base.key()) {
            if forward {
                self.base.next()?;
            } else {
                self.base.prev()?;
            }
        }
        Ok(())
    }
}

impl EngineIterator for PassingIterator<'_> {
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.base.seek(key)?;
        self.skip(true)
    }

    fn seek_for_prev(&mut self, key: &[u8]) -> Result<()> {
        self.base.seek_for_prev(key)?;
        self.skip(false)
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.base.seek_to_first()?;
        self.skip(true)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.base.seek_to_last()?;
        self.skip(false)
    }

    fn next(&mut self) -> Result<()> {
        self.base.next()?;
        self.skip(true)
    }

    fn prev(&mut self) -> Result<()> {
        self.base.prev()?;
        self.skip(false)
    }

    fn valid(&self) -> bool {
        self.base.valid()
    }

    fn gave_up(&self) -> bool {
        self.base.gave_up()
    }

    fn key(&self) -> &[u8] {
        self.base.key()
    }

    fn value(&self) -> &[u8] {
        self.base.value()
    }
}
