//! Seeds that every change must survive, and deliberate bugs that must not survive theirs.

use std::{collections::BTreeMap, time::Duration};

use basalt_sim::{Mix, Reached, RunOptions, run};

fn hash_of(seed: u64) -> u64 {
    hash_with(RunOptions { seed, ..RunOptions::default() })
}

fn hash_with(options: RunOptions) -> u64 {
    let seed = options.seed;
    let report = run(&options);
    assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    assert!(report.commits > 0, "seed {seed} did nothing");
    report.hash
}

/// Each has found a bug once, before there were workloads for corners.
const REGRESSIONS: [u64; 12] = [8, 15, 18, 21, 31, 39, 50, 96, 159, 169, 180, 1762];

#[test]
fn seeds_that_found_bugs_stay_clean() {
    REGRESSIONS.into_iter().for_each(|seed| {
        hash_with(RunOptions { seed, corners: Some(false), ..RunOptions::default() });
    });
}

#[test]
fn every_corner_is_reached() {
    let mut reached = BTreeMap::new();
    for seed in 2_000..2_010 {
        let report = run(&RunOptions { seed, corners: Some(true), ..RunOptions::default() });
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
        for (what, count) in report.reached {
            *reached.entry(what).or_insert(0) += count;
        }
    }
    let missed: Vec<_> = Reached::of_one_node().filter(|what| !reached.contains_key(what)).collect();
    assert!(missed.is_empty(), "{missed:?} of {reached:?}");
}

#[test]
fn fresh_seeds_are_clean() {
    (1_000..1_030).for_each(|seed| {
        hash_of(seed);
    });
}

#[test]
fn a_seed_fixes_the_run() {
    let hashes: Vec<u64> = (1..6).map(hash_of).collect();
    assert_eq!(hashes, (1..6).map(hash_of).collect::<Vec<_>>());
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Each has found a bug of clusters once.
const CLUSTER_REGRESSIONS: [u64; 22] =
    [301, 1, 3, 9, 15, 27, 31, 39, 41, 43, 44, 46, 57, 59, 63, 69, 78, 79, 81, 84, 85, 99];

fn of_cluster(nodes: u64, seed: u64) -> RunOptions {
    RunOptions { seed, nodes, ..RunOptions::default() }
}

#[test]
fn seeds_that_found_bugs_of_clusters_stay_clean() {
    CLUSTER_REGRESSIONS.into_iter().for_each(|seed| {
        hash_with(RunOptions { corners: Some(false), ..of_cluster(3, seed) });
    });
}

/// Of five nodes: a node whose clock had been far ahead did not wait for its bound.
#[test]
fn seeds_that_found_bugs_of_five_nodes_stay_clean() {
    hash_with(of_cluster(5, 35));
}

/// Waits that went round through a claim to a key, which nobody saw.
#[test]
fn hot_rows_keep_nobody_waiting_for_ever() {
    for seed in [37, 45, 54] {
        hash_with(RunOptions { mix: Some(Mix::Hot), ..of_cluster(3, seed) });
    }
}

/// Each has found a bug in ten virtual minutes of faults: a segment of the log without a durable name; a late write laid over
/// a newer one; a lost write that passed for a torn tail; a route to nodes that were all gone.
const LONG_REGRESSIONS: [(u64, u64); 4] = [(5, 62), (5, 7_057), (5, 7_036), (5, 7_142)];

#[test]
fn long_runs_that_found_bugs_stay_clean() {
    for (nodes, seed) in LONG_REGRESSIONS {
        hash_with(RunOptions { length: Some(Duration::from_secs(600)), ..of_cluster(nodes, seed) });
    }
}

/// And come to everything that clusters are tested for.
#[test]
fn clusters_survive_their_seeds() {
    let mut reached = BTreeMap::new();
    let three = (3_000..3_030).map(|seed| of_cluster(3, seed));
    let five = (3_005..3_035).map(|seed| of_cluster(5, seed));
    for options in three.chain(five) {
        let report = run(&options);
        assert!(report.violations.is_empty(), "{options:?}: {:#?}", report.violations);
        assert!(report.commits > 0, "{options:?} did nothing");
        for (what, count) in report.reached {
            *reached.entry(what).or_insert(0) += count;
        }
    }
    let missed: Vec<_> = Reached::of_clusters().filter(|what| !reached.contains_key(what)).collect();
    assert!(missed.is_empty(), "{missed:?} of {reached:?}");
}

/// Clocks at opposite ends of what they may differ by, leases that are given away and cut off meanwhile.
#[test]
fn clusters_survive_leases_that_move_all_the_time() {
    let three = (5_000..5_015).map(|seed| of_cluster(3, seed));
    let five = (5_015..5_020).map(|seed| of_cluster(5, seed));
    for options in three.chain(five) {
        hash_with(RunOptions { leases_only: true, ..options });
    }
}

#[test]
fn a_seed_fixes_the_run_of_a_cluster() {
    let hashes =
        || (0..10).map(|seed| hash_with(of_cluster(if seed % 2 == 0 { 3 } else { 5 }, 4_000 + seed)));
    assert_eq!(hashes().collect::<Vec<_>>(), hashes().collect::<Vec<_>>());
}

#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    use basalt_sim::{PLANTED_SEEDS_MAX, find_all_planted};
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for (bug, found) in find_all_planted(threads) {
        assert!(found.is_some(), "{} is not found within {PLANTED_SEEDS_MAX} seeds", bug.name());
    }
}
