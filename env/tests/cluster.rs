//! Five nodes that count each other's messages, under every kind of fault: the whole environment is a function of its
//! seed, and every fault bites.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_env::{
    Env, OpenMode, Rng,
    sim::{
        DiskFault, DiskFaultCounts, LinkFaults, NetworkCounts, Operation, SimDisk, SimExecutor, SimNetwork,
        SimNodeClock, Tear,
    },
};
use bytes::Bytes;
use parking_lot::Mutex;

const NODES: [u64; 5] = [1, 2, 3, 4, 5];
const TICK: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// Of the time, number and name of every step.
    hash: u64,
    network: NetworkCounts,
    disks: Vec<DiskFaultCounts>,
    offsets: Vec<i64>,
    received: Vec<u64>,
    deaths: u64,
}

struct Node {
    number: u64,
    /// The tasks of this incarnation.
    group: u64,
    disk: SimDisk,
    clock: SimNodeClock,
    received: Arc<AtomicU64>,
}

/// Ticks: writes, syncs, tells the others. A disk error ends the process.
async fn work(env: Env, node: u64, network: SimNetwork) -> std::io::Result<()> {
    let file = env.disk.open("log", OpenMode::ReadWriteCreate)?;
    env.disk.sync_dir("").await?;
    loop {
        let mut record = env.clock.wall_micros().to_be_bytes().to_vec();
        record.extend(env.clock.monotonic().as_micros().to_be_bytes());
        file.write_at(file.len()? % 4096, &record)?;
        file.sync().await?;
        file.read_at(0, &mut record)?;
        for other in NODES {
            network.send(node, other, (other % 2) as u8, Bytes::copy_from_slice(&record));
        }
        env.spawner.sleep(TICK).await;
    }
}

struct Cluster {
    executor: SimExecutor,
    network: SimNetwork,
    nodes: Vec<Node>,
    groups: u64,
    deaths: u64,
    /// Of tasks that ended.
    failed: Arc<Mutex<Vec<u64>>>,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let executor = SimExecutor::new(seed);
        let network = SimNetwork::new(&executor);
        network.set_link_faults(LinkFaults {
            slow_one_in: 50,
            slow_max: Duration::from_millis(200),
            drop_one_in: 100,
            duplicate_one_in: 100,
            in_order: false,
            ..LinkFaults::default()
        });
        let node = |number| Node {
            number,
            group: number,
            disk: SimDisk::new(),
            clock: SimNodeClock::new(&executor),
            received: Arc::default(),
        };
        let nodes: Vec<Node> = NODES.into_iter().map(node).collect();
        for node in &nodes {
            node.disk.inject(DiskFault::lost_write().one_in(20).seed(seed));
            node.disk.inject(DiskFault::misdirected_write().one_in(20).seed(seed));
            node.disk.inject(DiskFault::lying_sync().one_in(20).seed(seed));
            node.disk.inject(DiskFault::error(Operation::Sync).one_in(100).seed(seed));
            let sleeper = executor.clone();
            node.disk.delay_syncs(move || {
                let micros = sleeper.rng().next_u64() % 3000;
                sleeper.sleep(Duration::from_micros(micros))
            });
        }
        Self { executor, network, nodes, groups: 100, deaths: 0, failed: Arc::default() }
    }

    fn start(&self, place: usize) {
        let node = &self.nodes[place];
        let env = self.executor.env_with(node.group, node.disk.clone(), &node.clock);
        let received = node.received.clone();
        self.network.connect(
            node.number,
            Arc::new(move |_, _, body| {
                received.fetch_add(body.len() as u64, Ordering::Relaxed);
            }),
        );
        let (failed, group) = (self.failed.clone(), node.group);
        let task = work(env.clone(), node.number, self.network.clone());
        let task = async move {
            if task.await.is_err() {
                failed.lock().push(group);
            }
        };
        env.spawner.spawn("node", Box::pin(task));
    }

    fn replace(&mut self, place: usize, cut_power: bool) {
        let node = &mut self.nodes[place];
        self.executor.kill(node.group);
        self.network.disconnect(node.number);
        let rng = self.executor.rng();
        node.disk = if cut_power { node.disk.crash(Tear::Random(rng)) } else { node.disk.restart() };
        node.group = self.groups;
        self.groups += 1;
        self.deaths += 1;
        self.start(place);
    }

    async fn disturb(&mut self) {
        let executor = self.executor.clone();
        while executor.now() < MINUTE {
            let place = executor.rng().below(NODES.len());
            let (number, group) = (self.nodes[place].number, self.nodes[place].group);
            match executor.rng().below(8) {
                0 => self.replace(place, true),
                1 => self.network.majority_ring(&NODES),
                2 => self.network.partition(&[&NODES[..place], &NODES[place..]]),
                3 => self.network.isolate(number),
                4 => NODES.iter().for_each(|other| self.network.clog(number, *other)),
                5 => {
                    executor.pause(group);
                    self.network.freeze(number);
                }
                6 => self.nodes[place].clock.jump(executor.rng().below(1_000_000) as i64 - 500_000),
                _ => {
                    self.nodes[place].clock.set_drift_ppm(executor.rng().below(1000) as i64 - 500);
                    self.nodes[place].disk.flip_bit(executor.rng(), |_| true);
                }
            }
            executor.sleep(Duration::from_millis(executor.rng().below(1000) as u64)).await;
            self.network.heal();
            self.network.thaw(number);
            executor.resume(group);
            let failed = std::mem::take(&mut *self.failed.lock());
            for place in 0..NODES.len() {
                if failed.contains(&self.nodes[place].group) {
                    self.replace(place, false);
                }
            }
        }
    }
}

fn run(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(seed);
    let executor = cluster.executor.clone();
    let hash = Arc::new(AtomicU64::new(0));
    let sum = hash.clone();
    executor.observe(move |now, id, name| {
        let mut hash = sum.load(Ordering::Relaxed);
        for value in [now.as_nanos() as u64, id, name.len() as u64] {
            hash = (hash ^ value).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        }
        sum.store(hash, Ordering::Relaxed);
    });
    (0..NODES.len()).for_each(|place| cluster.start(place));
    executor.run(cluster.disturb());
    let outcome = Outcome {
        hash: hash.load(Ordering::Relaxed),
        network: cluster.network.counts(),
        disks: cluster.nodes.iter().map(|node| node.disk.fault_counts()).collect(),
        offsets: cluster.nodes.iter().map(|node| node.clock.offset_micros()).collect(),
        received: cluster.nodes.iter().map(|node| node.received.load(Ordering::Relaxed)).collect(),
        deaths: cluster.deaths,
    };
    executor.clear();
    cluster.network.clear();
    outcome
}

#[test]
fn a_seed_fixes_everything_and_every_fault_bites() {
    let outcomes: Vec<Outcome> = (1..=3).map(run).collect();
    for (seed, outcome) in (1..).zip(&outcomes) {
        assert_eq!(*outcome, run(seed));
        let NetworkCounts {
            sent,
            delivered,
            dropped,
            duplicated,
            slow,
            reordered,
            cut,
            clogged,
            frozen,
            stale,
            overflowed,
            bytes,
        } = outcome.network.clone();
        assert!(sent > 10_000 && delivered > sent / 2, "{outcome:?}");
        assert!(
            [dropped, duplicated, slow, reordered, cut, clogged, frozen, stale]
                .iter()
                .all(|count| *count > 0)
        );
        assert_eq!((overflowed, bytes.len()), (0, 2));
        for counts in &outcome.disks {
            let DiskFaultCounts {
                errors,
                torn_writes: _,
                lost_writes,
                misdirected_writes,
                lying_syncs,
                flipped_bits: _,
                truncations: _,
                delayed_syncs,
                full,
            } = *counts;
            let bites = [errors, lost_writes, misdirected_writes, lying_syncs, delayed_syncs];
            assert!(bites.iter().all(|count| *count > 0) && full == 0, "{counts:?}");
        }
        assert!(outcome.disks.iter().any(|counts| counts.flipped_bits > 0));
        assert!(outcome.offsets.iter().any(|offset| *offset != 0));
        assert!(outcome.received.iter().all(|bytes| *bytes > 0) && outcome.deaths > 5);
    }
    assert_ne!(outcomes[0].hash, outcomes[1].hash);
    assert_ne!(outcomes[1].hash, outcomes[2].hash);
}
