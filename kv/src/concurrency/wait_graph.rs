//! Deadlocks among the transactions that wait on one store.
//!
//! An edge leads from a waiting transaction to each holder and each earlier claimant of the key it waits for. Edges
//! come into being only when a request begins to wait, so a depth-first walk at that moment finds every cycle at once;
//! the request that closes the cycle is the victim.

use std::collections::BTreeSet;

use basalt_base::TxnId;

use super::lock_table::State;

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

fn blockers_of(state: &State, txn: TxnId) -> Vec<TxnId> {
    let Some(waits) = state.waits_of.get(&txn) else { return Vec::new() };
    let entries = waits.iter().filter_map(|(key, order)| state.keys.get(key).map(|entry| (entry, *order)));
    entries.flat_map(|(entry, order)| entry.blockers(order)).collect()
}
