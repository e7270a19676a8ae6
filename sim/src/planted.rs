//! Which deliberate bug shows where, and after how many seeds.

use basalt_env::Bug;

use crate::{RunOptions, run};

/// Each deliberate bug must be found within so many seeds.
pub const PLANTED_SEEDS_MAX: u64 = 200;

/// Nodes of the cluster in which the bug is looked for.
pub fn nodes_for(bug: Bug) -> u64 {
    match bug {
        Bug::AckBeforeSync
        | Bug::ForgetClockBound
        | Bug::ForgetReadsOnSplit
        | Bug::LoseLockOnSplit
        | Bug::LoseResolvedValue
        | Bug::RefreshBlindly
        | Bug::IgnoreLocks
        | Bug::TruncatePastFlushed
        | Bug::DivideTogether => 1,
        _ => 3,
    }
}

/// The first seed that finds the bug, and what it says. Needs the feature `planted`.
pub fn find_planted(bug: Bug, seeds_max: u64) -> Option<(u64, String)> {
    (1..=seeds_max).find_map(|seed| {
        let options = RunOptions { seed, nodes: nodes_for(bug), bug: Some(bug), ..RunOptions::default() };
        let violation = run(&options).violations.into_iter().next()?;
        Some((seed, violation))
    })
}
