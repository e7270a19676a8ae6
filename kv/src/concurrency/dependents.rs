//! Deadlocks among transactions that wait on different stores.
//!
//! Each waiter pushes the holder from time to time, at the range of the holder's record. So that range knows who waits for
//! the holder, and it is told with the push who waits for the waiter, directly or not. A waiter asks at the range of its
//! own record who waits for it. If the one that it waits for itself is among them, the waits go round.
//!
//! Some wait for a claim: a place in a queue, of somebody who may have no record and waits on the same store. Those push the
//! holders that the claim waits for, as if they waited for them themselves.
//!
//! Of every cycle at least one edge leads from a smaller transaction id to a greater one: whoever waits along such an edge
//! gives way. Nobody else does, so of two that wait for each other exactly one ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use basalt_base::TxnId;
use parking_lot::Mutex;

/// A waiter that has not pushed again for so long waits no more. Longer than the longest pause between two pushes
/// and the way of one over a network that loses its messages; no longer, since somebody may give way to an edge that is gone.
const EXPIRY: Duration = Duration::from_secs(2);
/// Transactions told with one push.
pub const DEPENDENTS_MAX: usize = 64;
/// Holders that are waited for; what more there is goes unnoticed until some of these have ended.
const HOLDERS_MAX: usize = 4_096;

#[derive(Default)]
struct Waiting {
    /// By waiter: until when this is believed, and who waits for the waiter.
    waiters: BTreeMap<TxnId, (Duration, Vec<TxnId>)>,
}

/// Who waits for the transactions whose records are here.
#[derive(Default)]
pub struct Dependents {
    holders: Mutex<BTreeMap<TxnId, Waiting>>,
}

impl Dependents {
    /// `waiter` waits for `holder`, and `behind` wait for `waiter`.
    pub fn add(&self, holder: TxnId, waiter: TxnId, behind: &[TxnId], now: Duration) {
        let mut holders = self.holders.lock();
        if holders.len() >= HOLDERS_MAX {
            holders.retain(|_, waiting| {
                waiting.waiters.retain(|_, (until, _)| *until > now);
                !waiting.waiters.is_empty()
            });
        }
        if holders.len() < HOLDERS_MAX || holders.contains_key(&holder) {
            let behind = behind.iter().copied().take(DEPENDENTS_MAX).collect();
            holders.entry(holder).or_default().waiters.insert(waiter, (now + EXPIRY, behind));
        }
    }

    /// Who waits for `holder`, directly or not, as far as is known.
    pub fn of(&self, holder: TxnId, now: Duration) -> Vec<TxnId> {
        let mut holders = self.holders.lock();
        let Some(waiting) = holders.get_mut(&holder) else { return Vec::new() };
        waiting.waiters.retain(|_, (until, _)| *until > now);
        let mut all = BTreeSet::new();
        for (waiter, (_, behind)) in &waiting.waiters {
            all.insert(*waiter);
            all.extend(behind);
        }
        if waiting.waiters.is_empty() {
            holders.remove(&holder);
        }
        all.into_iter().take(DEPENDENTS_MAX).collect()
    }
}

/// Whether `waiter`, whom `behind` wait for, must give way to `holder`.
pub fn must_give_way(waiter: TxnId, holder: TxnId, behind: &[TxnId]) -> bool {
    behind.contains(&holder) && waiter < holder
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    /// Runs rounds of pushes along `edges` (waiter, holder), and says who gives way.
    fn victims(edges: &[(u128, u128)]) -> Vec<u128> {
        let dependents = Dependents::default();
        let mut victims = BTreeSet::new();
        for _ in 0..edges.len() + 1 {
            for (waiter, holder) in edges.iter().map(|(waiter, holder)| (TxnId(*waiter), TxnId(*holder))) {
                let behind = dependents.of(waiter, NOW);
                if must_give_way(waiter, holder, &behind) {
                    victims.insert(waiter.0);
                }
                dependents.add(holder, waiter, &behind, NOW);
            }
        }
        victims.into_iter().collect()
    }

    #[test]
    fn every_cycle_loses_somebody_and_chains_nobody() {
        assert_eq!(victims(&[(1, 2), (2, 1)]), [1]);
        assert_eq!(victims(&[(1, 2), (2, 3), (3, 1)]), [1, 2]);
        assert_eq!(victims(&[(3, 2), (2, 1), (1, 3)]), [1]);
        assert!(victims(&[(1, 2), (2, 3), (3, 4)]).is_empty());
        // One that waits for a cycle is not part of it.
        assert_eq!(victims(&[(0, 1), (1, 2), (2, 1)]), [1]);
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let dependents = Dependents::default();
        dependents.add(TxnId(1), TxnId(2), &[TxnId(3)], NOW);
        assert_eq!(dependents.of(TxnId(1), NOW), [TxnId(2), TxnId(3)]);
        assert!(dependents.of(TxnId(1), NOW + EXPIRY).is_empty());
    }
}
