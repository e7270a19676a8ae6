//! Which deliberate bug shows where, and after how many seeds.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use basalt_env::Bug;

use crate::{RunOptions, run};

/// Each deliberate bug must be found within so many seeds.
pub const PLANTED_SEEDS_MAX: u64 = 200;

/// The runs in which the bug is looked for, but for the seed.
pub fn options_for(bug: Bug) -> RunOptions {
    let (nodes, leases_only) = match bug {
        Bug::AckBeforeSync
        | Bug::ForgetClockBound
        | Bug::LoseLockOnSplit
        | Bug::LoseResolvedValue
        | Bug::RefreshBlindly
        | Bug::IgnoreLocks
        | Bug::TruncatePastFlushed
        | Bug::DivideTogether => (1, false),
        Bug::TakeLeaseEarly => (3, true),
        _ => (3, false),
    };
    RunOptions { nodes, leases_only, bug: Some(bug), ..RunOptions::default() }
}

/// What finds each of the deliberate bugs: the first seed, and what it says. Needs the feature `planted`.
pub fn find_all_planted(threads: usize) -> Vec<(Bug, Option<(u64, String)>)> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            let Some(&bug) = Bug::ALL.get(place) else { return };
            let outcome = find_planted(bug, PLANTED_SEEDS_MAX);
            found.lock().expect("no run panics").push((place, bug, outcome));
        }
    };
    thread::scope(|scope| {
        (0..threads.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    let mut found = found.into_inner().expect("no run panics");
    found.sort_unstable_by_key(|(place, ..)| *place);
    found.into_iter().map(|(_, bug, outcome)| (bug, outcome)).collect()
}

/// The first seed that finds the bug, and what it says. Needs the feature `planted`.
pub fn find_planted(bug: Bug, seeds_max: u64) -> Option<(u64, String)> {
    (1..=seeds_max).find_map(|seed| {
        let violation = run(&RunOptions { seed, ..options_for(bug) }).violations.into_iter().next()?;
        Some((seed, violation))
    })
}
