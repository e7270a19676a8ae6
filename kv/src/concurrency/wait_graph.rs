//! Deadlocks among the transactions that wait on one store.
//!
//! An edge leads from a waiting transaction to each holder and each earlier claimant of the key it waits for. Edges
//! come into being only when a request begins to wait, so a depth-first walk at that moment finds every cycle at once;
//! the request that closes the cycle is the victim.

use std::collections::{BTreeMap, BTreeSet};

use basalt_base::{Key, TxnId};

use super::lock_table::{HolderInfo, State};

/// Transactions visited at most: the walk is done under the lock table's mutex.
const VISITED_MAX: usize = 10_000;

/// The transaction next to `start` in a cycle through `start`, if there is one.
pub(super) fn find_cycle(state: &State, start: TxnId) -> Option<TxnId> {
    let mut visited = BTreeSet::new();
    let mut stack: Vec<(TxnId, TxnId)> =
        blockers_of(state, start).into_iter().map(|txn| (txn, txn)).collect();
    while let Some((txn, first)) = stack.pop() {
        if txn == start {
            return Some(first);
        }
        if visited.len() >= VISITED_MAX || !visited.insert(txn) {
            continue;
        }
        stack.extend(blockers_of(state, txn).into_iter().map(|next| (next, first)));
    }
    None
}

/// The holders that the claims in the way of a waiter wait for, at whatever keys, directly or behind further claims.
///
/// A request that has waited for one key and waits for another keeps its place at the first. So a claim may wait for a
/// transaction that is known here by its lock only, because it waits for something on another store: nobody finds a cycle
/// through it unless those behind the claim push that transaction, too.
pub(super) fn holders_behind_claims(state: &State, key: &Key, order: u64) -> Vec<HolderInfo> {
    let claims_at = |key: &Key, order: u64| {
        state.keys.get(key).map_or_else(Default::default, |entry| entry.in_the_way(order))
    };
    let (_, mut stack) = claims_at(key, order);
    let (mut visited, mut found) = (BTreeSet::new(), BTreeMap::new());
    while let Some(txn) = stack.pop() {
        if visited.len() >= VISITED_MAX || !visited.insert(txn) {
            continue;
        }
        for (key, order) in state.waits_of.get(&txn).into_iter().flatten() {
            let (holders, claims) = claims_at(key, *order);
            found.extend(holders.into_iter().map(|holder| (holder.id, holder.clone())));
            stack.extend(claims);
        }
    }
    found.into_values().collect()
}

fn blockers_of(state: &State, txn: TxnId) -> Vec<TxnId> {
    let Some(waits) = state.waits_of.get(&txn) else { return Vec::new() };
    let entries = waits.iter().filter_map(|(key, order)| state.keys.get(key).map(|entry| (entry, *order)));
    entries.flat_map(|(entry, order)| entry.blockers(order)).collect()
}
