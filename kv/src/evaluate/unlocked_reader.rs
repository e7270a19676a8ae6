//! A view of the engine without any locks: committed versions only, for routing lookups.

use basalt_storage::{EmptyIterator, EngineIterator, Family, IterOptions, Reader, Result};
use bytes::Bytes;

pub struct UnlockedReader<'a>(pub &'a dyn Reader);

impl Reader for UnlockedReader<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>> {
        if family == Family::Lock { Ok(None) } else { self.0.get(family, key) }
    }

    fn iter<'b>(&'b self, family: Family, options: IterOptions) -> Result<Box<dyn EngineIterator + 'b>> {
        if family == Family::Lock { Ok(Box::new(EmptyIterator)) } else { self.0.iter(family, options) }
    }
}
