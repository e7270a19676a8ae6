//! Everything about a run that the seed decides before it starts.

use std::time::Duration;

use basalt_env::{Rng, sim::SimRng};

use crate::nemesis::NemesisKind;

/// Which workloads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Bank,
    Register,
    Both,
    /// Only rows that everybody writes; see [`crate::workload::Hot`].
    Hot,
}

#[derive(Clone, Debug)]
pub struct Parameters {
    /// Nodes of the cluster; one has no network.
    pub nodes: u64,
    /// Replicas wanted of each range.
    pub replicas: usize,
    pub clock_offset_max: Duration,
    /// Of a node, after which the others count it as down. It pings four times as often.
    pub silence_max: Duration,
    /// Whether leases and replicas move by themselves.
    pub balances: bool,
    /// Requests a second above which a range splits.
    pub split_requests: u64,
    /// Silence after which a node's replicas are replaced.
    pub dead_after: Duration,
    /// How long a lease lasts that is not extended.
    pub lease_duration: Duration,
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
    /// Without a sign of life for so long a transaction may be aborted by others.
    pub txn_expiry: Duration,
    /// How far behind the clock ranges are closed to writes: the closer, the more writers are pushed.
    pub closed_lag: Duration,
    /// Whether commits over several ranges are staged.
    pub staged_commits: bool,
    /// Ranges of a one-phase commit.
    pub together_ranges_max: usize,
    /// Workloads that go where the others rarely come: abandoned futures, waits that are refused, anchors without a write.
    pub corners: bool,
    pub log_segment_bytes: u64,
    pub log_bytes_max: u64,
    pub network: NetworkFaults,
    /// Of runs whose length was asked for.
    pub long: Option<Long>,
    /// Busy on few keys, with clocks that are far apart and leases that move: [`Parameters::on_leases`].
    pub leases_only: bool,
    /// The only faults that come; `None` for all that the seed draws.
    pub nemeses: Option<Vec<NemesisKind>>,
}

/// What only long runs of clusters go through. See [`crate::nemesis`].
#[derive(Clone, Debug)]
pub struct Long {
    pub weather_every: Duration,
    /// Nodes that join later.
    pub nodes_later: u64,
    pub join_every: Option<Duration>,
    pub outage_every: Duration,
    pub freeze_every: Duration,
    pub restart_every: Duration,
    pub loss_every: Duration,
    pub sync_error_every: Duration,
    /// Writes of the log that get lost or land elsewhere.
    pub misplace_every: Duration,
    /// No more ranges are made by splits from outside.
    pub ranges_max: usize,
    /// The run ends without a crash of everybody: what is left in memory counts.
    pub ends_running: bool,
}

/// What befalls the network of a cluster, and what only clusters do.
#[derive(Clone, Debug, Default)]
pub struct NetworkFaults {
    pub delay_max: Duration,
    pub slow_one_in: u64,
    pub slow_max: Duration,
    pub drop_one_in: u64,
    pub duplicate_one_in: u64,
    pub in_order: bool,
    /// Mean time between partitions of all kinds.
    pub partition_every: Option<Duration>,
    /// How long they last, at most.
    pub partition_for: Duration,
    /// How far each clock may be off.
    pub clock_offset: Duration,
    pub lease_transfer_every: Option<Duration>,
    /// Mean time between drains of a node, and between decommissionings that are taken back.
    pub drain_every: Option<Duration>,
    pub decommission_every: Option<Duration>,
    /// Mean time between clocks that are set wrong, far beyond the bound: what reads them must notice.
    pub clock_set_every: Option<Duration>,
}

impl Parameters {
    pub fn from_seed(seed: u64, nodes: u64, mix: Option<Mix>, corners: Option<bool>) -> Self {
        // A stream of its own: adding a draw elsewhere must not change the parameters.
        let rng = SimRng::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        let pick = |choices: &[u64]| choices[rng.below(choices.len())];
        let between = |low: u64, high: u64| low + rng.next_u64() % (high - low + 1);
        let sometimes = |one_in: usize, low_ms: u64, high_ms: u64| {
            let every = Duration::from_millis(between(low_ms, high_ms));
            (rng.below(one_in) != 0).then_some(every)
        };
        let drawn_mix = [Mix::Bank, Mix::Register, Mix::Both][rng.below(3)];
        let mut parameters = Self {
            nodes,
            replicas: 3,
            balances: true,
            split_requests: 2_500,
            clock_offset_max: Duration::from_millis(250),
            silence_max: Duration::from_secs(2),
            dead_after: Duration::from_secs(30),
            lease_duration: basalt_kv::StoreConfig::default().lease_duration,
            network: NetworkFaults::default(),
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
            long: None,
            txn_expiry: Duration::from_secs(5),
            closed_lag: Duration::from_secs(3),
            staged_commits: true,
            leases_only: false,
            nemeses: None,
        };
        if nodes > 1 {
            parameters.draw_cluster(&rng);
            parameters.draw_commits(&SimRng::new(seed ^ 0x51a6_ed00_c0de_0001));
            parameters.split_requests = [5, 30, 2_500][SimRng::new(seed ^ 0x0b5e_55ed_10ad_0003).below(3)];
            let lag = SimRng::new(seed ^ 0xc105_ed00_7135_0002).below(3);
            parameters.closed_lag = Duration::from_millis([200, 1_000, 3_000][lag]);
        }
        parameters
    }

    /// Of a stream of its own, so that what older seeds drew stays as it was. Where owners are soon taken for dead,
    /// recoveries meet the living.
    fn draw_commits(&mut self, rng: &SimRng) {
        self.staged_commits = rng.below(5) != 0;
        self.txn_expiry = Duration::from_millis([300, 1_000, 5_000][rng.below(3)]);
        if rng.coin() {
            // Only what is not written through has anything to stage.
            (self.buffer_bytes_max, self.batch_bytes_max) = (32 << 20, 1 << 20);
        }
    }

    /// A run without faults and without low limits: for measurements.
    pub fn quiet(nodes: u64) -> Self {
        Self {
            splits_at_start: 0,
            split_every: None,
            range_bytes_max: 512 << 20,
            crash_every: None,
            sync_delay_max: Duration::ZERO,
            stall_one_in: u64::MAX,
            disk_full_every: None,
            clock_jump_every: None,
            buffer_bytes_max: 32 << 20,
            batch_bytes_max: 1 << 20,
            footprint_keys_max: 10_000,
            timestamp_cache_entries: 64 << 10,
            txn_markers_max: 64 << 10,
            together_ranges_max: 16,
            log_segment_bytes: 256 << 10,
            log_bytes_max: 1 << 20,
            balances: false,
            split_requests: 2_500,
            dead_after: Duration::from_secs(30),
            lease_duration: basalt_kv::StoreConfig::default().lease_duration,
            txn_expiry: basalt_kv::StoreConfig::default().txn_expiry,
            closed_lag: Duration::from_secs(3),
            staged_commits: true,
            network: NetworkFaults::default(),
            ..Self::from_seed(1, nodes, None, Some(false))
        }
    }

    /// The run is to have faults for so long. A cluster then goes through all kinds of them.
    #[must_use]
    pub fn lasting(mut self, seed: u64, length: Duration) -> Self {
        self.duration = length;
        if self.nodes == 1 {
            return self;
        }
        let rng = SimRng::new(seed ^ 0x517c_c1b7_2722_0a95);
        let pick = |choices: &[u64]| choices[rng.below(choices.len())];
        let between = |low: u64, high: u64| low + rng.next_u64() % (high - low + 1);
        let seconds = |low: u64, high: u64| Duration::from_millis(between(low * 1_000, high * 1_000));
        self.think_max = Duration::from_millis(pick(&[100, 400, 1_000]));
        self.splits_at_start = self.splits_at_start.min(12);
        self.split_every = Some(seconds(1, 6));
        self.crash_every = Some(seconds(2, 10));
        self.disk_full_every = Some(seconds(2, 10));
        self.clock_jump_every = Some(seconds(1, 5));
        self.network.partition_every = Some(seconds(2, 15));
        self.network.lease_transfer_every = Some(seconds(1, 5));
        // Beyond the bound, too: then reads may be stale, and nothing else.
        self.network.clock_offset = Duration::from_millis(pick(&[20, 90, 90, 90, 90, 120, 2_000]));
        let nodes_later = if rng.coin() { 0 } else { between(1, self.nodes - 1) };
        self.long = Some(Long {
            weather_every: seconds(15, 40),
            nodes_later,
            join_every: (nodes_later > 0).then(|| seconds(5, 40)),
            outage_every: seconds(5, 20),
            freeze_every: seconds(2, 10),
            restart_every: seconds(5, 20),
            loss_every: seconds(2, 10),
            sync_error_every: seconds(2, 10),
            ranges_max: usize::try_from(between(8, 48)).expect("small"),
            ends_running: rng.coin(),
            misplace_every: seconds(2, 10),
        });
        self
    }

    /// Everything that makes moments count in which two nodes could believe that they serve a range: requests at all
    /// times, on few keys, clocks as far apart as they may be, and leases that are lost and given away all the time.
    #[must_use]
    pub fn on_leases(mut self, seed: u64) -> Self {
        let rng = SimRng::new(seed ^ 0x6a09_e667_f3bc_c909);
        let pick = |choices: &[u64]| choices[rng.below(choices.len())];
        let millis = |low: u64, high: u64| Duration::from_millis(low + rng.next_u64() % (high - low + 1));
        self.leases_only = true;
        self.mix = Mix::Register;
        self.corners = false;
        self.registers = pick(&[1, 2]);
        self.clients = usize::try_from(3 * self.nodes).expect("few");
        self.duration = millis(10_000, 20_000);
        self.think_max = Duration::from_millis(pick(&[10, 20]));
        (self.splits_at_start, self.split_every, self.range_bytes_max) = (0, None, 512 << 20);
        (self.crash_every, self.disk_full_every) = (None, None);
        (self.sync_delay_max, self.stall_one_in) = (Duration::from_micros(200), u64::MAX);
        self.clock_jump_every = Some(millis(200, 1_000));
        self.network = NetworkFaults {
            delay_max: Duration::from_micros(pick(&[500, 2_000])),
            partition_every: Some(millis(500, 2_000)),
            partition_for: millis(3_000, 8_000),
            // Two that are off to opposite sides differ by three quarters of the bound: at four fifths a node ends itself.
            clock_offset: self.clock_offset_max * 3 / 8,
            lease_transfer_every: rng.coin().then(|| millis(100, 1_000)),
            ..NetworkFaults::default()
        };
        // As long as a lease, and whoever asks a node that is cut off hears so too late to see the end of its lease.
        self.silence_max = Duration::from_millis(pick(&[300, 300, 2_000]));
        self
    }

    /// Nodes that the cluster does not begin with.
    pub fn nodes_later(&self) -> u64 {
        self.long.as_ref().map_or(0, |long| long.nodes_later)
    }

    /// Whether all clocks are as close together as the nodes believe.
    pub fn clocks_hold(&self) -> bool {
        self.nodes == 1 || 2 * self.network.clock_offset <= self.clock_offset_max
    }

    /// Whether some clocks are set wrong, far beyond the bound, while the run goes on.
    pub fn clocks_are_set(&self) -> bool {
        self.network.clock_set_every.is_some()
    }

    /// What only several nodes have.
    fn draw_cluster(&mut self, rng: &SimRng) {
        let pick = |choices: &[u64]| choices[rng.below(choices.len())];
        let between = |low: u64, high: u64| low + rng.next_u64() % (high - low + 1);
        let sometimes = |one_in: usize, low_ms: u64, high_ms: u64| {
            let every = Duration::from_millis(between(low_ms, high_ms));
            (rng.below(one_in) != 0).then_some(every)
        };
        self.replicas = if self.nodes >= 5 && rng.below(4) == 0 { 5 } else { 3 };
        self.dead_after = Duration::from_secs(pick(&[5, 30]));
        self.duration = Duration::from_millis(between(20_000, 60_000));
        self.crash_every = self.crash_every.map(|every| every * 2);
        self.network = NetworkFaults {
            delay_max: Duration::from_micros(pick(&[500, 2_000, 20_000])),
            slow_one_in: pick(&[0, 100, 1_000]),
            slow_max: Duration::from_millis(between(20, 2_000)),
            drop_one_in: pick(&[0, 50, 1_000]),
            duplicate_one_in: pick(&[0, 20, 1_000]),
            in_order: rng.coin(),
            partition_every: sometimes(4, 1_000, 10_000),
            partition_for: Duration::from_millis(between(200, 8_000)),
            clock_offset: Duration::from_millis(pick(&[0, 20, 90])),
            lease_transfer_every: sometimes(4, 500, 5_000),
            drain_every: sometimes(2, 2_000, 20_000),
            decommission_every: sometimes(2, 2_000, 20_000),
            clock_set_every: sometimes(2, 3_000, 20_000),
        };
    }
}
