//! Everything about a run that the seed decides before it starts.

use std::time::Duration;

use basalt_env::{Rng, sim::SimRng};

/// Which workloads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Bank,
    Register,
    Both,
}

#[derive(Clone, Debug)]
pub struct Parameters {
    pub mix: Mix,
    pub clients: usize,
    pub accounts: u64,
    pub registers: u64,
    /// How long clients and faults go on, in virtual time.
    pub duration: Duration,
    /// A client's pause between transactions, at most.
    pub think_max: Duration,
    pub splits_at_start: usize,
    /// Mean time between splits; `None` for no splits during the run.
    pub split_every: Option<Duration>,
    pub range_bytes_max: u64,
    /// Mean time between crashes.
    pub crash_every: Option<Duration>,
    /// Unsynced sectors survive a crash at random, instead of being lost together.
    pub tear: bool,
    pub sync_delay_max: Duration,
    /// A sync in so many stalls.
    pub stall_one_in: u64,
    pub stall: Duration,
    pub disk_full_every: Option<Duration>,
    pub clock_jump_every: Option<Duration>,
    /// Forced low limits of the coordinator.
    pub buffer_bytes_max: usize,
    pub batch_bytes_max: usize,
    pub footprint_keys_max: usize,
    /// Forced low limits of the store.
    pub timestamp_cache_entries: usize,
    pub txn_markers_max: usize,
    /// Ranges of a one-phase commit.
    pub together_ranges_max: usize,
    /// Workloads that go where the others rarely come: abandoned futures, waits that are refused, anchors without a write.
    pub corners: bool,
    pub log_segment_bytes: u64,
    pub log_bytes_max: u64,
}

impl Parameters {
    pub fn from_seed(seed: u64, mix: Option<Mix>, corners: Option<bool>) -> Self {
        // A stream of its own: adding a draw elsewhere must not change the parameters.
        let rng = SimRng::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        let pick = |choices: &[u64]| choices[rng.below(choices.len())];
        let between = |low: u64, high: u64| low + rng.next_u64() % (high - low + 1);
        let sometimes = |one_in: usize, low_ms: u64, high_ms: u64| {
            let every = Duration::from_millis(between(low_ms, high_ms));
            (rng.below(one_in) != 0).then_some(every)
        };
        let drawn_mix = [Mix::Bank, Mix::Register, Mix::Both][rng.below(3)];
        Self {
            mix: mix.unwrap_or(drawn_mix),
            clients: rng.below(7) + 2,
            accounts: between(3, 24),
            registers: between(1, 6),
            duration: Duration::from_millis(between(4_000, 15_000)),
            think_max: Duration::from_millis(pick(&[2, 10, 50])),
            splits_at_start: rng.below(24),
            split_every: sometimes(4, 100, 2_000),
            range_bytes_max: pick(&[1 << 20, 512 << 20]),
            crash_every: sometimes(5, 500, 5_000),
            tear: rng.coin(),
            sync_delay_max: Duration::from_micros(pick(&[200, 2_000, 5_000, 30_000])),
            stall_one_in: pick(&[20, 200, u64::MAX]),
            stall: Duration::from_millis(between(50, 6_000)),
            disk_full_every: sometimes(2, 1_000, 6_000),
            clock_jump_every: sometimes(3, 500, 5_000),
            buffer_bytes_max: usize::try_from(pick(&[1, 300, 32 << 20])).expect("fits"),
            batch_bytes_max: usize::try_from(pick(&[100, 1 << 20])).expect("fits"),
            footprint_keys_max: usize::try_from(pick(&[16, 10_000])).expect("fits"),
            timestamp_cache_entries: usize::try_from(pick(&[8, 200, 64 << 10])).expect("fits"),
            txn_markers_max: usize::try_from(pick(&[8, 64 << 10])).expect("fits"),
            log_segment_bytes: pick(&[16 << 10, 256 << 10]),
            log_bytes_max: pick(&[64 << 10, 1 << 20]),
            // Last, so that what older seeds drew stays as it was.
            together_ranges_max: usize::try_from(pick(&[1, 2, 16])).expect("fits"),
            corners: corners.unwrap_or(rng.coin()),
        }
    }
}
