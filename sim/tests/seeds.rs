//! Seeds that every change must survive, and deliberate bugs that must not survive theirs.

use std::collections::BTreeMap;

use basalt_sim::{Reached, RunOptions, run};

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
    let missed: Vec<_> = Reached::ALL.into_iter().filter(|what| !reached.contains_key(what)).collect();
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

#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    use basalt_env::Bug;
    for bug in Bug::ALL {
        let found = (1..=150).find(|seed| {
            let options = RunOptions { seed: *seed, bug: Some(bug), ..RunOptions::default() };
            !run(&options).violations.is_empty()
        });
        assert!(found.is_some(), "{} is not found within 150 seeds", bug.name());
    }
}
