//! What should move so that nodes have equal parts of the work: a pure function of what was measured.
//!
//! One scalar a node: the requests a second that its leases serve, and a little for each lease, so that idle ones are spread,
//! too. Only the node whose turn it is gives away, and only as long as that makes the loads more equal: every move lessens
//! the sum of their squares, and none takes the other node past the mean by more than half of what was moved. It begins only
//! when the node is well above the mean, or above it while another is far below. So the moves of a steady load come to an
//! end.

use std::{cmp::Reverse, collections::BTreeMap};

use basalt_base::{NodeId, RangeId};

/// In thousandths of requests a second: what a lease weighs that nobody uses.
pub const LEASE_WEIGHT: u64 = 100;
/// How far above the mean a node is before it gives anything away, in percent, beside one idle lease and what may be chance.
const SURPLUS_PERCENT: u64 = 10;
/// How far below the mean another node is before nodes give that are only a little above.
const DEFICIT_PERCENT: u64 = 15;
/// A move that gains less than this part of what is moved may be undone by the next measurement.
const GAIN_SHARE: u64 = 8;
/// Leases that a node gives away in one turn.
const MOVES_MAX: usize = 64;
/// How many more replicas one node has than another before one moves, beside a part of the mean, in percent.
const REPLICAS_APART: usize = 2;
const REPLICAS_PERCENT: usize = 5;

/// A lease here that could be elsewhere.
#[derive(Clone, Debug)]
pub struct Movable {
    pub range_id: RangeId,
    pub weight: u64,
    /// Nodes that could take it.
    pub takers: Vec<NodeId>,
}

/// Whether this node has so much more than its part that it is worth the trouble.
pub fn has_surplus(me: NodeId, loads: &BTreeMap<NodeId, u64>, chance: u64) -> bool {
    let Some(own) = loads.get(&me) else { return false };
    let mean = mean(loads);
    let percent = |part: u64| u64::try_from(u128::from(mean) * u128::from(part) / 100).unwrap_or(u64::MAX);
    let least = loads.values().copied().min().unwrap_or(0);
    *own > percent(100 + SURPLUS_PERCENT).saturating_add(LEASE_WEIGHT + chance)
        || *own > mean && least.saturating_add(chance) < percent(100 - DEFICIT_PERCENT)
}

/// Which leases of this node should go where. By `chance` a load that was measured may differ from what it is.
pub fn plan_leases(
    me: NodeId,
    mut loads: BTreeMap<NodeId, u64>,
    mut movable: Vec<Movable>,
    chance: u64,
) -> Vec<(RangeId, NodeId)> {
    let mut moves = Vec::new();
    if !has_surplus(me, &loads, chance) {
        return moves;
    }
    let mean = mean(&loads);
    // What is left is no better than what would come of more moves.
    while moves.len() < MOVES_MAX && has_surplus(me, &loads, chance) {
        let own = loads[&me];
        let gain = |movable: &Movable, taker: NodeId| {
            let (weight, theirs) = (movable.weight, *loads.get(&taker)?);
            let is_apart = theirs.saturating_add(weight / 2) <= mean;
            let rest = own.checked_sub(theirs.saturating_add(weight)).filter(|_| is_apart)?;
            (rest > weight / GAIN_SHARE).then(|| u128::from(weight) * u128::from(rest))
        };
        let best = movable
            .iter()
            .enumerate()
            .flat_map(|(index, movable)| {
                let gain = &gain;
                movable.takers.iter().filter_map(move |taker| Some((gain(movable, *taker)?, index, *taker)))
            })
            // The first of equals.
            .max_by_key(|(gain, index, taker)| (*gain, Reverse((*index, *taker))));
        let Some((_, index, taker)) = best else { break };
        let moved = movable.swap_remove(index);
        *loads.entry(me).or_default() -= moved.weight;
        *loads.entry(taker).or_default() += moved.weight;
        moves.push((moved.range_id, taker));
    }
    moves
}

/// From which node to which a replica should move: the most unequal pair first, of such the one that leads to where the
/// most room is.
pub fn plan_replica(
    replicas: &BTreeMap<NodeId, usize>,
    available_bytes: impl Fn(NodeId) -> u64,
) -> Vec<(NodeId, NodeId)> {
    let mean = replicas.values().sum::<usize>() / replicas.len().max(1);
    let apart = REPLICAS_APART + mean * REPLICAS_PERCENT / 100;
    let mut pairs = Vec::new();
    for (from, many) in replicas {
        for (to, few) in replicas {
            if *many >= few + apart {
                pairs.push((many - few, *from, *to));
            }
        }
    }
    pairs.sort_unstable_by_key(|(difference, from, to)| {
        (Reverse(*difference), Reverse(available_bytes(*to)), *from, *to)
    });
    pairs.into_iter().map(|(_, from, to)| (from, to)).collect()
}

fn mean(loads: &BTreeMap<NodeId, u64>) -> u64 {
    loads.values().sum::<u64>() / (loads.len() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use basalt_env::sim::SimRng;

    use super::*;

    /// Has nodes take turns until nothing moves any more; gives the loads and how many moves there were.
    fn settle(leases: &mut BTreeMap<u64, (u64, u64)>, nodes: u64) -> (Vec<u64>, usize) {
        let (mut count, mut quiet) = (0, 0);
        for turn in 0.. {
            assert!(turn < 1_000, "no end of moves");
            let me = NodeId(1 + turn % nodes);
            let mut loads: BTreeMap<NodeId, u64> = (1..=nodes).map(|node| (NodeId(node), 0)).collect();
            for (node, weight) in leases.values() {
                *loads.get_mut(&NodeId(*node)).unwrap() += weight;
            }
            let mine = leases.iter().filter(|(_, (node, _))| *node == me.0);
            let movable = mine.map(|(range, (_, weight))| Movable {
                range_id: RangeId(*range),
                weight: *weight,
                takers: (1..=nodes).map(NodeId).filter(|node| *node != me).collect(),
            });
            let moves = plan_leases(me, loads.clone(), movable.collect(), 0);
            quiet = if moves.is_empty() { quiet + 1 } else { 0 };
            if quiet == nodes {
                return (loads.into_values().collect(), count);
            }
            count += moves.len();
            for (range, to) in moves {
                leases.get_mut(&range.0).unwrap().0 = to.0;
            }
        }
        unreachable!("the loop ends by a return")
    }

    #[test]
    fn every_load_settles_and_even_ones_are_even() {
        for seed in 0..200 {
            let rng = SimRng::new(seed);
            let nodes = 2 + rng.below(6) as u64;
            let (count, heavy) = (10 + rng.below(300) as u64, rng.coin());
            let weight = |range: u64| {
                let requests =
                    if heavy && range.is_multiple_of(7) { rng.below(500_000) } else { rng.below(5_000) };
                LEASE_WEIGHT + requests as u64
            };
            let mut leases: BTreeMap<u64, (u64, u64)> =
                (0..count).map(|range| (range, (1 + rng.below(2) as u64, weight(range)))).collect();
            let (loads, moves) = settle(&mut leases, nodes);
            let largest = leases.values().map(|(_, weight)| *weight).max().unwrap();
            let mean = loads.iter().sum::<u64>() / nodes;
            let most = *loads.iter().max().unwrap();
            assert!(most <= mean * 11 / 10 + LEASE_WEIGHT + largest, "seed {seed}: {loads:?}, mean {mean}");
            assert!(moves as u64 <= 2 * count, "seed {seed}: {moves} moves of {count} leases");
        }
        // A uniform load over a few dozen ranges, all on one node.
        let mut leases: BTreeMap<u64, (u64, u64)> =
            (0..30).map(|range| (range, (1, 100_000 + 500 * (range % 5)))).collect();
        let (loads, _) = settle(&mut leases, 3);
        let mean = loads.iter().sum::<u64>() / 3;
        assert!(loads.iter().all(|load| load.abs_diff(mean) * 100 < 25 * mean), "{loads:?}");
        // All but one are a little above the mean, and that one is far below.
        let mut leases: BTreeMap<u64, (u64, u64)> =
            (0..200).map(|range| (range, (if range < 24 { 5 } else { 1 + range % 4 }, 10_000))).collect();
        let (loads, _) = settle(&mut leases, 5);
        assert!(loads.iter().all(|load| load.abs_diff(400_000) * 100 < 25 * 400_000), "{loads:?}");
    }

    #[test]
    fn load_counts_and_not_leases_alone() {
        // Three busy ranges among many idle ones, all on one node.
        let weight = |range: u64| LEASE_WEIGHT + if range.is_multiple_of(10) { 500_000 } else { 0 };
        let mut leases: BTreeMap<u64, (u64, u64)> =
            (0..30).map(|range| (range, (1, weight(range)))).collect();
        settle(&mut leases, 3);
        let busy: std::collections::BTreeSet<u64> =
            leases.iter().filter(|(range, _)| range.is_multiple_of(10)).map(|(_, (node, _))| *node).collect();
        assert_eq!(busy.len(), 3, "{leases:?}");
    }

    #[test]
    fn a_load_that_wavers_moves_little() {
        let rng = SimRng::new(5);
        let mut owners: BTreeMap<u64, u64> = (0..36).map(|range| (range, 1)).collect();
        let (mut before, mut after) = (0, 0);
        for turn in 0..600_u64 {
            let me = NodeId(1 + turn % 3);
            // Each is a tenth off, either way.
            let weights: BTreeMap<u64, u64> =
                owners.keys().map(|range| (*range, LEASE_WEIGHT + 9_000 + rng.below(2_000) as u64)).collect();
            let mut loads: BTreeMap<NodeId, u64> = (1..=3).map(|node| (NodeId(node), 0)).collect();
            for (range, owner) in &owners {
                *loads.get_mut(&NodeId(*owner)).unwrap() += weights[range];
            }
            let mine = owners.iter().filter(|(_, owner)| **owner == me.0);
            let movable = mine.map(|(range, _)| Movable {
                range_id: RangeId(*range),
                weight: weights[range],
                takers: (1..=3).map(NodeId).filter(|node| *node != me).collect(),
            });
            let moves = plan_leases(me, loads.clone(), movable.collect(), 0);
            *(if turn < 30 { &mut before } else { &mut after }) += moves.len();
            for (range, to) in moves {
                owners.insert(range.0, to.0);
            }
        }
        assert!((16..30).contains(&before) && after <= 3, "{before} moves, then {after}");
    }

    #[test]
    fn small_differences_move_nothing() {
        let movable = || {
            vec![Movable { range_id: RangeId(1), weight: LEASE_WEIGHT, takers: vec![NodeId(2), NodeId(3)] }]
        };
        for (own, two, three, moves) in
            [(2, 1, 0, 1), (1, 1, 0, 0), (10, 9, 9, 0), (36, 32, 32, 0), (40, 30, 30, 1)]
        {
            let loads = BTreeMap::from([
                (NodeId(1), own * LEASE_WEIGHT),
                (NodeId(2), two * LEASE_WEIGHT),
                (NodeId(3), three * LEASE_WEIGHT),
            ]);
            assert_eq!(plan_leases(NodeId(1), loads, movable(), 0).len(), moves, "{own} {two} {three}");
        }
    }

    #[test]
    fn replicas_move_from_many_to_few() {
        let counts = |counts: &[usize]| (1..).map(NodeId).zip(counts.iter().copied()).collect();
        assert_eq!(plan_replica(&counts(&[3, 3, 3, 2]), |_| 0), []);
        assert_eq!(
            plan_replica(&counts(&[5, 4, 4, 0]), |_| 0),
            [(NodeId(1), NodeId(4)), (NodeId(2), NodeId(4)), (NodeId(3), NodeId(4))]
        );
        // Of two that have as few, the one with more room is first.
        let room = |node: NodeId| 10 * node.0;
        assert_eq!(plan_replica(&counts(&[9, 2, 2]), room), [(NodeId(1), NodeId(3)), (NodeId(1), NodeId(2))]);
        assert_eq!(
            plan_replica(&counts(&[103, 101, 100, 98]), |_| 0),
            [],
            "five percent of many are nothing"
        );
    }
}
