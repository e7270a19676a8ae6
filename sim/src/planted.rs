//! Which deliberate bug shows where, and after how many seeds.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
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
        Bug::TakeLeaseEarly
        | Bug::IgnoreStasis
        | Bug::UseGivenLease
        | Bug::TrustEveryClock
        | Bug::ObserveMovedLease
        | Bug::ForgetToldReads => (3, true),
        Bug::SkipPrevention => (5, false),
        _ => (3, false),
    };
    // A process that starts waits for three seconds at most, until its clock has passed what the one before may have given
    // out. Leases must outlast that, or there is none left to use again.
    let lease_duration = (bug == Bug::ReuseLease).then_some(Duration::from_secs(8));
    // Who recovers a commit must come between its parts, and does so only when its coordinator seems to be gone.
    let txn_expiry = (bug == Bug::SkipPrevention).then_some(Duration::from_millis(50));
    RunOptions { nodes, leases_only, lease_duration, txn_expiry, bug: Some(bug), ..RunOptions::default() }
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
        let options = RunOptions { seed, ..options_for(bug) };
        let violation = run(&options).violations.into_iter().next()?;
        // What the seed finds without the bug, too, says nothing about it.
        let is_clean = run(&RunOptions { bug: None, ..options }).violations.is_empty();
        is_clean.then_some((seed, violation))
    })
}
