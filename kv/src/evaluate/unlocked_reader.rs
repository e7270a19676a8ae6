//! A view of the engine without any locks: committed versions only, for routing lookups.

use basalt_storage::{EngineIterator, Family, IterOptions, Reader, Result};
use bytes::Bytes;

pub struct UnlockedReader<'a>(pub &'a dyn Reader);

impl Reader for UnlockedReader<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        if family == Family::Lock { Ok(None) } else { self.0.get(family, key) }
    }

    fn iter<'b>(&'b self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'b>> {
        if family == Family::Lock { Ok(Box::new(Nothing)) } else { self.0.iter(family, options) }
    }
}

struct Nothing;

impl EngineIterator for Nothing {
    fn seek(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn seek_for_prev(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn seek_to_first(&mut self) -> Result<()> {
        Ok(())
    }
    fn seek_to_last(&mut self) -> Result<()> {
        Ok(())
    }
    fn next(&mut self) -> Result<()> {
        Ok(())
    }
    fn prev(&mut self) -> Result<()> {
        Ok(())
    }
    fn valid(&self) -> bool {
        false
    }
    fn key(&self) -> &[u8] {
        &[]
    }
    fn value(&self) -> &[u8] {
        &[]
    }
}
