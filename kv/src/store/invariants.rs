//! What a leaseholder makes sure of before it proposes, and how it ends when it finds that it can't.
//!
//! A broken invariant means that this process goes by wrong beliefs, and what it served next could be wrong, too. So it
//! serves nothing more: its clock gives no reading, without which no request is served under a lease that ends, and the
//! node ends with what was found. What was proposed before is decided by the log, as after any crash.

use basalt_base::{Timestamp, TxnId};
use basalt_kv_api::{Error, Result};
use basalt_storage::{Reader, WriteBatch};

use super::Store;
use crate::{evaluate::storage_error, replica::verify};

impl Store {
    /// No write may land at or below what was read under an earlier lease (or under this one).
    pub(super) fn check_writes(
        &self,
        base: &dyn Reader,
        batch: &WriteBatch,
        own: Option<TxnId>,
        lowest: Timestamp,
        low_water: Timestamp,
    ) -> Result<()> {
        if !lowest.is_zero() && lowest <= low_water {
            return Err(self.end_broken(&format!(
                "a write at {lowest} is not above {low_water}, up to where earlier leases were read"
            )));
        }
        if self.config.verify {
            let may_write = |key: &[u8], ts: Timestamp, owner: Option<TxnId>| {
                ts > low_water && self.reads.forward(key, ts, owner) == ts
            };
            let wrong = verify::written(base, batch, own, may_write).map_err(storage_error)?;
            if let Some(what) = wrong {
                return Err(self.end_broken(&what));
            }
        }
        Ok(())
    }

    /// Ends the store, and says what the request that found it is answered.
    pub(super) fn end_broken(&self, what: &str) -> Error {
        let cause = format!("broken invariant: {what}");
        self.fence(cause.clone());
        Error::Internal(cause)
    }

    /// A timestamp that no reading of the clock given out so far exceeds; the next process of the node begins above it.
    pub fn latest_reading(&self) -> Timestamp {
        self.clock.given_out()
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::fixture::{Client, with_store};

    use super::*;

    #[test]
    fn a_write_where_earlier_leases_were_read_ends_the_store() {
        with_store(1, async |_, client: Client| {
            client.put("a", "1").await.unwrap();
            let store = client.store.clone();
            let (low, high) = (Timestamp::from_parts(5, 0), Timestamp::from_parts(6, 0));
            let check = |lowest, low_water| {
                let engine: &dyn Reader = &*store.states.engine;
                store.check_writes(engine, &WriteBatch::new(), None, lowest, low_water)
            };
            check(high, low).unwrap();
            // One that writes no version.
            check(Timestamp::ZERO, low).unwrap();
            store.now().unwrap();
            for (lowest, low_water) in [(low, high), (low, low)] {
                assert!(matches!(check(lowest, low_water), Err(Error::Internal(_))));
            }
            assert!(client.put("a", "2").await.is_err() && client.get("a").await.is_err(), "it serves");
            let cause = store.until_failed().await;
            assert!(cause.starts_with("broken invariant: a write at"), "{cause}");
        });
    }
}
