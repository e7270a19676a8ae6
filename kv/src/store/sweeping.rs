//! Locks that nobody meets, of transactions that are gone.
//!
//! A coordinator that dies leaves locks. Those that a record lists the janitor resolves; of those without a record nobody knows but
//! who meets them: he pushes their transaction, finds that nothing was heard of it for long, and removes them. A lock that nobody
//! meets would stay for ever. So whoever leads a range looks at its old locks from time to time, which the directory of locks has
//! in memory, and does what a reader would. To push a transaction that lives changes nothing.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use basalt_base::{Key, Span, TxnId, keys};
use basalt_env::{Bug, planted};
use basalt_kv_api::{
    IgnoredSeqs, Observed, PushType, Request, ResolvedTxn, Response, Result, TxnMeta, TxnPriority, TxnStatus,
};
use basalt_storage::{
    Family, IterOptions,
    mvcc::lock::{LockRecord, decode_lock_key},
};

use super::Store;
use crate::{evaluate::storage_error, replica::Replica};

/// Locks of one range that are looked at in one round, and transactions that are pushed because of them.
const LOOKS_MAX: usize = 10_000;
const TXNS_MAX: usize = 64;
/// Locks resolved by one command.
const RESOLVE_KEYS_MAX: u64 = 2_000;
/// A lock is old after so many times what a transaction may be silent for.
const EXPIRIES: u32 = 2;

/// A transaction with old locks in a range.
struct Owner {
    txn: TxnMeta,
    first: Key,
    last: Key,
}

impl Store {
    /// Looks at the old locks of all ranges led here.
    pub(super) async fn sweep_locks(self: &Arc<Self>) {
        if planted(Bug::LeaveStrayLocks) {
            return;
        }
        for replica in self.states.ranges.all() {
            if !self.leads(&replica) {
                continue;
            }
            let owners = match self.owners_of_old_locks(&replica) {
                Ok(owners) => owners,
                Err(error) => {
                    tracing::warn!(range = %replica.range_id, %error, "its locks could not be read");
                    continue;
                }
            };
            for owner in owners.into_values() {
                let id = owner.txn.id;
                if let Err(error) = self.sweep_locks_of(owner).await {
                    tracing::debug!(range = %replica.range_id, %id, %error, "an old lock stays for now");
                }
            }
        }
    }

    fn owners_of_old_locks(&self, replica: &Replica) -> Result<BTreeMap<TxnId, Owner>> {
        let age = u64::try_from((self.config.txn_expiry * EXPIRIES).as_millis()).unwrap_or(u64::MAX);
        let now = self.now()?;
        let mut owners = BTreeMap::new();
        let span = replica.descriptor().span.clone();
        let mut iter =
            self.states.engine.iter(Family::Lock, IterOptions::within(&span)).map_err(storage_error)?;
        iter.seek(&span.start).map_err(storage_error)?;
        for _ in 0..LOOKS_MAX {
            if !iter.valid() {
                break;
            }
            let (key, strength, id) = decode_lock_key(iter.key()).map_err(storage_error)?;
            let lock = LockRecord::decode_header(id, strength, iter.value()).map_err(storage_error)?;
            if now.physical_ms().saturating_sub(lock.local_ts.physical_ms()) > age {
                let has_room = owners.len() < TXNS_MAX;
                match owners.entry(id) {
                    Entry::Occupied(mut owner) => {
                        let owner: &mut Owner = owner.get_mut();
                        owner.last = Key::copy_from_slice(key);
                    }
                    Entry::Vacant(place) if has_room => {
                        let key = Key::copy_from_slice(key);
                        place.insert(Owner { txn: owner_of(lock), first: key.clone(), last: key });
                    }
                    Entry::Vacant(_) => {}
                }
            }
            iter.next().map_err(storage_error)?;
        }
        Ok(owners)
    }

    /// Resolves the locks that were found if their transaction has ended, or nothing was heard of it for too long.
    async fn sweep_locks_of(self: &Arc<Self>, owner: Owner) -> Result<()> {
        let request = Request::PushTxn {
            pushee: owner.txn,
            push_type: PushType::Touch,
            push_to: Default::default(),
            force: false,
            dependents: Vec::new(),
        };
        let Response::PushTxn { record, .. } = self.ask(request).await? else { return Ok(()) };
        if !matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted) {
            return Ok(());
        }
        let txn = ResolvedTxn {
            id: record.id,
            epoch: record.epoch,
            status: record.status,
            timestamp: record.write_ts,
            ignored: record.ignored,
        };
        let span = Span::new(owner.first, keys::prefix_end(&owner.last));
        self.ask(Request::ResolveLockRange { span, txn, keys_max: RESOLVE_KEYS_MAX }).await.map(drop)
    }
}

/// What a push must know of the owner of a lock.
fn owner_of(lock: LockRecord) -> TxnMeta {
    TxnMeta {
        id: lock.txn_id,
        anchor: lock.anchor,
        epoch: lock.epoch,
        // A sign of life.
        read_ts: lock.local_ts,
        write_ts: lock.first_ts,
        min_ts: lock.min_ts,
        global_limit: lock.first_ts,
        priority: TxnPriority(lock.priority),
        read_seq: 0,
        ignored: IgnoredSeqs::default(),
        observed: Observed::default(),
    }
}
