//! What a node without peers sees to before another one joins it.
//!
//! Whoever has peers writes nothing that is further ahead of the wall clock than clocks may differ: a transaction that begins
//! elsewhere after a write was acknowledged must find it below its uncertainty limit. A node without peers need not care. After
//! a restart it goes on at the durable bound of its clock, three seconds ahead, without a pause; after its wall clock was
//! set back it stays as far ahead as that was. So before anybody joins, the wall clock must have caught up with what was
//! read, and from then on the clock is held to what peers rely on, whether or not the joiner has been heard of.
//!
//! Should the node crash before it has noted who its peers are, the id that it gave out tells the next process that there
//! may be one.

use basalt_base::keys;
use basalt_env::{Bug, planted};
use basalt_kv_api::{Error, Result};
use basalt_storage::{Family, IterOptions, Reader};

use super::Store;
use crate::evaluate::storage_error;

impl Store {
    /// Whether another node may join now.
    pub fn admit(&self) -> Result<()> {
        if self.has_peers() || planted(Bug::SkipClockWait) {
            return Ok(());
        }
        self.check_lead()?;
        self.limit_lag();
        self.watch_steps();
        // The wall clock was taken at its word just now.
        self.check_lead()
    }

    fn check_lead(&self) -> Result<()> {
        let lead = self.clock.lead();
        if lead.is_zero() {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "the clock of the only node is {lead:?} ahead; it must be caught up with first"
        )))
    }

    /// Whether a node has got an id here.
    pub(super) fn has_admitted(&self) -> Result<bool> {
        let reader: &dyn Reader = &*self.states.engine;
        let span = keys::joiners_span();
        let mut iter = reader.iter(Family::Data, IterOptions::within(&span)).map_err(storage_error)?;
        iter.seek(&span.start).map_err(storage_error)?;
        Ok(iter.valid())
    }
}
