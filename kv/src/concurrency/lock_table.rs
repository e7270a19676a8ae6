//! Who holds which lock in memory, and who waits for it.
//!
//! Two sorts of holders: *unreplicated* locks, which exist only here, and *replicated* ones, which requests discovered
//! in the lock family and must wait for. The lock family stays the authority for the latter: an entry here only gives
//! the waiters a place to queue, and goes when the lock is resolved.
//!
//! Queues are first come, first served by the *order* that a request takes when it waits for the first time and keeps
//! until it ends. A released lock is thereby claimed by the head of its queue. A claim blocks only later orders, so
//! claims alone can't form a cycle; cycles through holders are found by a walk over the waits-for graph whenever a
//! request begins to wait ([`wait_graph`](super::wait_graph)).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use basalt_base::{Key, Span, Timestamp, TxnId};
use basalt_kv_api::{Error, LockStrength, Result, TxnMeta, TxnPriority};
use parking_lot::Mutex;

use super::{Signal, wait_graph};

/// What a waiter must know of a holder in order to push it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderInfo {
    pub id: TxnId,
    pub anchor: Key,
    pub epoch: u32,
    pub write_ts: Timestamp,
    pub min_ts: Timestamp,
    /// When the lock was taken: a sign of life.
    pub acquired: Timestamp,
    pub priority: TxnPriority,
}

impl HolderInfo {
    pub fn new(txn: &TxnMeta, key: &Key, acquired: Timestamp) -> Self {
        Self {
            id: txn.id,
            anchor: if txn.anchor.is_empty() { key.clone() } else { txn.anchor.clone() },
            epoch: txn.epoch,
            write_ts: txn.write_ts,
            min_ts: txn.min_ts,
            acquired,
            priority: txn.priority,
        }
    }
}

/// What a waiter wants to do with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A read without a lock: only replicated locks are in its way.
    Read,
    Lock(LockStrength),
}

impl Want {
    fn conflicts(self, strength: LockStrength, replicated: bool) -> bool {
        match self {
            Self::Read => replicated && strength == LockStrength::Exclusive,
            Self::Lock(LockStrength::Shared) => strength == LockStrength::Exclusive,
            Self::Lock(LockStrength::Exclusive) => true,
        }
    }
}

/// Why a key can't be locked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    Held(HolderInfo),
    /// Free, but requests that came earlier wait for it.
    Claimed,
}

pub(super) struct Holder {
    pub info: HolderInfo,
    pub strength: LockStrength,
    pub replicated: bool,
}

pub(super) struct Waiter {
    pub order: u64,
    pub txn: Option<TxnId>,
    pub want: Want,
    signal: Arc<Signal>,
}

#[derive(Default)]
pub(super) struct KeyLocks {
    pub holders: Vec<Holder>,
    /// Ascending by order.
    pub queue: VecDeque<Waiter>,
}

#[derive(Default)]
pub(super) struct State {
    pub keys: BTreeMap<Key, KeyLocks>,
    held_by: BTreeMap<TxnId, BTreeSet<Key>>,
    pub waits_of: BTreeMap<TxnId, Vec<(Key, u64)>>,
    last_order: u64,
}

/// See the module's documentation. One per store, keyed by user key, so that splits need nothing.
pub struct LockTable {
    state: Mutex<State>,
    /// Keys with an entry: lets requests on an idle table skip the mutex.
    keys: AtomicUsize,
    txn_locks_max: usize,
    queue_max: usize,
}

impl LockTable {
    pub fn new(txn_locks_max: usize, queue_max: usize) -> Self {
        Self { state: Mutex::default(), keys: AtomicUsize::new(0), txn_locks_max, queue_max }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.load(Ordering::SeqCst) == 0
    }

    /// Who or what keeps `txn` (`order`: its place, if it has one) from `want` on `key`.
    pub fn check(&self, key: &[u8], want: Want, txn: Option<TxnId>, order: Option<u64>) -> Option<Blocked> {
        if self.is_empty() {
            return None;
        }
        self.state.lock().keys.get(key)?.blocked(want, txn, order.unwrap_or(u64::MAX))
    }

    /// Takes an unreplicated lock. Beyond the bound of locks per transaction it does nothing: serializable transactions
    /// are validated at commit anyway, and the lock only saves retries.
    pub fn acquire(
        &self,
        key: &Key,
        strength: LockStrength,
        txn: &TxnMeta,
        order: Option<u64>,
        now: Timestamp,
    ) -> Result<(), Blocked> {
        let mut state = self.state.lock();
        let entry = state.keys.get(key);
        if let Some(blocked) = entry
            .and_then(|entry| entry.blocked(Want::Lock(strength), Some(txn.id), order.unwrap_or(u64::MAX)))
        {
            return Err(blocked);
        }
        let state = &mut *state;
        let own = entry_position(state.keys.get(key), txn.id);
        if let Some(position) = own {
            let holder =
                &mut state.keys.get_mut(key).expect("the position comes from this entry").holders[position];
            holder.strength = holder.strength.max(strength);
            holder.info = HolderInfo::new(txn, key, now);
            return Ok(());
        }
        let held = state.held_by.entry(txn.id).or_default();
        if held.len() >= self.txn_locks_max {
            return Ok(());
        }
        held.insert(key.clone());
        let holder = Holder { info: HolderInfo::new(txn, key, now), strength, replicated: false };
        state.keys.entry(key.clone()).or_default().holders.push(holder);
        self.keys.store(state.keys.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Whether `txn` holds an unreplicated lock of at least `strength` on `key`.
    pub fn holds(&self, key: &[u8], txn: TxnId, strength: LockStrength) -> bool {
        let state = self.state.lock();
        state.keys.get(key).is_some_and(|entry| {
            entry.holders.iter().any(|holder| holder.info.id == txn && holder.strength >= strength)
        })
    }

    /// Notes a replicated lock found in the lock family. The finder's latches keep its resolution away meanwhile.
    pub fn add_discovered(&self, key: &Key, info: HolderInfo, strength: LockStrength) {
        let mut state = self.state.lock();
        let holders = &mut state.keys.entry(key.clone()).or_default().holders;
        match holders.iter_mut().find(|holder| holder.info.id == info.id && holder.replicated) {
            Some(holder) => {
                holder.strength = holder.strength.max(strength);
                holder.info = info;
            }
            None => holders.push(Holder { info, strength, replicated: true }),
        }
        self.keys.store(state.keys.len(), Ordering::SeqCst);
    }

    /// Queues a request behind what blocks it. Fails at once when that closes a cycle.
    pub fn enqueue(
        self: &Arc<Self>,
        key: &Key,
        want: Want,
        txn: Option<TxnId>,
        order: Option<u64>,
    ) -> Result<QueuePlace> {
        let mut state = self.state.lock();
        let order = order.unwrap_or_else(|| {
            state.last_order += 1;
            state.last_order
        });
        let entry = state.keys.entry(key.clone()).or_default();
        if entry.queue.len() >= self.queue_max {
            return Err(Error::LockNotAvailable {
                holder: entry.holders.first().map(|holder| holder.info.id),
            });
        }
        let position = entry.queue.partition_point(|waiter| waiter.order <= order);
        entry.queue.insert(position, Waiter { order, txn, want, signal: Arc::default() });
        self.keys.store(state.keys.len(), Ordering::SeqCst);
        // A reader pushes what it meets and goes on, so that it is never part of a deadlock.
        let locker = txn.filter(|_| want != Want::Read);
        if let Some(txn) = locker {
            state.waits_of.entry(txn).or_default().push((key.clone(), order));
        }
        let place = QueuePlace { table: Arc::clone(self), key: key.clone(), txn, order };
        let deadlock = locker.and_then(|txn| wait_graph::find_cycle(&state, txn));
        drop(state);
        match deadlock {
            Some(holder) => Err(Error::Deadlock { holder }),
            None => Ok(place),
        }
    }

    /// Releases everything that `txn` holds unreplicated.
    pub fn release_txn(&self, txn: TxnId) {
        if self.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for key in state.held_by.remove(&txn).unwrap_or_default() {
            state.remove_holders(&key, |holder| holder.info.id == txn && !holder.replicated);
        }
        self.keys.store(state.keys.len(), Ordering::SeqCst);
    }

    /// The transaction's lock on `key` was resolved, or has changed: waiters look again. When the transaction has
    /// `finished`, its unreplicated lock goes, too; true if there was one.
    pub fn resolved(&self, key: &Key, txn: TxnId, finished: bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut state = self.state.lock();
        let released = state.resolve(key, txn, finished);
        self.keys.store(state.keys.len(), Ordering::SeqCst);
        released
    }

    /// As [`LockTable::resolved`] for every key in `span`. The keys where an unreplicated lock went.
    pub fn resolved_span(&self, span: &Span, txn: TxnId, finished: bool) -> Vec<Key> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let held = state
            .keys
            .range(span.start.clone()..span.end.clone())
            .filter(|(_, entry)| entry.holders.iter().any(|holder| holder.info.id == txn));
        let mut keys: Vec<Key> = held.map(|(key, _)| key.clone()).collect();
        keys.retain(|key| state.resolve(key, txn, finished));
        self.keys.store(state.keys.len(), Ordering::SeqCst);
        keys
    }

    /// The lock family of `span` was emptied: nobody waits for what was in it any more. Locks that are only here stay.
    pub fn cleared_span(&self, span: &Span) {
        if self.is_empty() || span.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let found = state.keys.range(span.start.clone()..span.end.clone());
        let replicated = |entry: &KeyLocks| entry.holders.iter().any(|holder| holder.replicated);
        let keys: Vec<Key> =
            found.filter(|(_, entry)| replicated(entry)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            state.remove_holders(&key, |holder| holder.replicated);
        }
        self.keys.store(state.keys.len(), Ordering::SeqCst);
    }

    /// Somebody else has the range, or had it: what is known of its locks is worth nothing, and who waits looks again.
    pub fn forget_span(&self, span: &Span) {
        if self.is_empty() || span.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let keys: Vec<Key> =
            state.keys.range(span.start.clone()..span.end.clone()).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let holders = state.keys.get(&key).map_or_else(Vec::new, |entry| {
                entry
                    .holders
                    .iter()
                    .filter(|holder| !holder.replicated)
                    .map(|holder| holder.info.id)
                    .collect()
            });
            for txn in holders {
                if let Some(held) = state.held_by.get_mut(&txn) {
                    held.remove(&key);
                    if held.is_empty() {
                        state.held_by.remove(&txn);
                    }
                }
            }
            if let Some(entry) = state.keys.get(&key) {
                entry.queue.iter().for_each(|waiter| waiter.signal.fire());
            }
            state.remove_holders(&key, |_| true);
        }
        self.keys.store(state.keys.len(), Ordering::SeqCst);
    }

    /// Keys that `txn` holds unreplicated, for the timestamp bump at commit.
    pub fn keys_held_by(&self, txn: TxnId) -> Vec<Key> {
        if self.is_empty() {
            return Vec::new();
        }
        self.state.lock().held_by.get(&txn).map_or_else(Vec::new, |keys| keys.iter().cloned().collect())
    }

    fn leave(&self, key: &Key, txn: Option<TxnId>, order: u64) {
        let mut state = self.state.lock();
        if let Some(txn) = txn
            && let Some(waits) = state.waits_of.get_mut(&txn)
        {
            if let Some(position) = waits.iter().position(|(k, o)| k == key && *o == order) {
                waits.swap_remove(position);
            }
            if waits.is_empty() {
                state.waits_of.remove(&txn);
            }
        }
        if let Some(entry) = state.keys.get_mut(key) {
            if let Some(position) = entry.queue.iter().position(|waiter| waiter.order == order) {
                entry.queue.remove(position);
            }
            state.wake(key);
        }
        self.keys.store(state.keys.len(), Ordering::SeqCst);
    }
}

fn entry_position(entry: Option<&KeyLocks>, txn: TxnId) -> Option<usize> {
    entry?.holders.iter().position(|holder| holder.info.id == txn && !holder.replicated)
}

impl KeyLocks {
    fn blocked(&self, want: Want, txn: Option<TxnId>, order: u64) -> Option<Blocked> {
        let own = |id: TxnId| txn == Some(id);
        let in_the_way = self
            .holders
            .iter()
            .find(|holder| !own(holder.info.id) && want.conflicts(holder.strength, holder.replicated));
        if let Some(holder) = in_the_way {
            return Some(Blocked::Held(holder.info.clone()));
        }
        // Who holds the key already does not queue for it again.
        if want == Want::Read || self.holders.iter().any(|holder| own(holder.info.id)) {
            return None;
        }
        self.earlier_claims(want, txn, order).next().map(|_| Blocked::Claimed)
    }

    /// Waiters before `order` that `want` may not overtake.
    pub(super) fn earlier_claims(
        &self,
        want: Want,
        txn: Option<TxnId>,
        order: u64,
    ) -> impl Iterator<Item = &Waiter> {
        self.queue.iter().take_while(move |waiter| waiter.order < order).filter(move |waiter| {
            let Want::Lock(strength) = waiter.want else { return false };
            want.conflicts(strength, false) && (txn.is_none() || waiter.txn != txn)
        })
    }

    /// The holders that keep the given waiter waiting, and the transactions whose claims do.
    pub(super) fn in_the_way(&self, order: u64) -> (Vec<&HolderInfo>, Vec<TxnId>) {
        let Some(waiter) = self.queue.iter().find(|waiter| waiter.order == order) else {
            return Default::default();
        };
        let own = |id: TxnId| waiter.txn == Some(id);
        let conflicts = |holder: &&Holder| {
            !own(holder.info.id) && waiter.want.conflicts(holder.strength, holder.replicated)
        };
        let holders = self.holders.iter().filter(conflicts).map(|holder| &holder.info).collect();
        // Who holds the key already does not queue for it again.
        let claims = if self.holders.iter().any(|holder| own(holder.info.id)) {
            Vec::new()
        } else {
            self.earlier_claims(waiter.want, waiter.txn, order).filter_map(|claim| claim.txn).collect()
        };
        (holders, claims)
    }

    /// The transactions that keep the given waiter waiting.
    pub(super) fn blockers(&self, order: u64) -> Vec<TxnId> {
        let (holders, claims) = self.in_the_way(order);
        holders.into_iter().map(|holder| holder.id).chain(claims).collect()
    }
}

impl State {
    /// True if an unreplicated lock went.
    fn resolve(&mut self, key: &Key, txn: TxnId, finished: bool) -> bool {
        let mut released = false;
        if finished && let Some(held) = self.held_by.get_mut(&txn) {
            released = held.remove(key);
            if held.is_empty() {
                self.held_by.remove(&txn);
            }
        }
        self.remove_holders(key, |holder| holder.info.id == txn && (holder.replicated || finished));
        released
    }

    fn remove_holders(&mut self, key: &Key, gone: impl Fn(&Holder) -> bool) {
        if let Some(entry) = self.keys.get_mut(key) {
            entry.holders.retain(|holder| !gone(holder));
            self.wake(key);
        }
    }

    /// Wakes the waiters of `key` that nothing blocks any more, and drops an entry that nobody needs.
    fn wake(&mut self, key: &Key) {
        let Some(entry) = self.keys.get(key) else { return };
        if entry.holders.is_empty() && entry.queue.is_empty() {
            self.keys.remove(key);
            return;
        }
        for waiter in &entry.queue {
            if !waiter.signal.is_fired() && entry.blocked(waiter.want, waiter.txn, waiter.order).is_none() {
                waiter.signal.fire();
            }
        }
    }
}

/// A request's place in a queue; given up on drop.
pub struct QueuePlace {
    table: Arc<LockTable>,
    key: Key,
    txn: Option<TxnId>,
    order: u64,
}

impl QueuePlace {
    pub fn order(&self) -> u64 {
        self.order
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A signal that fires when the place's turn has come; already fired if it has.
    pub fn signal(&self) -> Arc<Signal> {
        let mut state = self.table.state.lock();
        let signal = Arc::new(Signal::default());
        let Some(entry) = state.keys.get_mut(&self.key) else {
            signal.fire();
            return signal;
        };
        let Some(position) = entry.queue.iter().position(|waiter| waiter.order == self.order) else {
            signal.fire();
            return signal;
        };
        let (want, txn) = (entry.queue[position].want, entry.queue[position].txn);
        if entry.blocked(want, txn, self.order).is_none() {
            signal.fire();
        }
        entry.queue[position].signal = Arc::clone(&signal);
        signal
    }

    /// Who blocks the place now.
    pub fn blocked(&self) -> Option<Blocked> {
        let state = self.table.state.lock();
        let entry = state.keys.get(&self.key)?;
        let waiter = entry.queue.iter().find(|waiter| waiter.order == self.order)?;
        entry.blocked(waiter.want, waiter.txn, self.order)
    }

    /// The holders that those wait for whose claims block the place, directly or behind other claims. Whoever waits for a
    /// claim waits for them.
    pub fn holders_behind_claims(&self) -> Vec<HolderInfo> {
        let state = self.table.state.lock();
        wait_graph::holders_behind_claims(&state, &self.key, self.order)
    }

    /// A cycle of waits through this place's transaction, if there is one now.
    pub fn find_deadlock(&self) -> Option<TxnId> {
        wait_graph::find_cycle(&self.table.state.lock(), self.txn?)
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.table.leave(&self.key, self.txn, self.order);
    }
}
