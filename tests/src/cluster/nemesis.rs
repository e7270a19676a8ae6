//! What goes wrong in a run. Each fault shows that it has bitten: by processes that ended, bytes that did not arrive,
//! leases that moved. One that changed nothing has tested nothing, and is an error.

use std::{fs, io::Write, time::Duration};

use super::{
    links::Condition,
    member::within,
    real::RealCluster,
    status::{number, ranges, rows},
};
use crate::chaos::{Outcome, wait::until};

/// A node that has lost its disk ends with the first write that fails.
const END_PATIENCE: Duration = Duration::from_secs(60);
const WHOLE_PATIENCE: Duration = Duration::from_secs(90);
const MEASURE_PATIENCE: Duration = Duration::from_secs(15);
/// Well below the offset at which a node would have to stop.
const CLOCK_OFFSET_MICROS: i64 = 120_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nemesis {
    /// kill -9 of the node with most leases.
    KillOne,
    KillAll,
    /// SIGSTOP of the node with most leases.
    Freeze,
    /// A minority without most of the leases is cut off.
    Halves,
    /// Everybody sees a majority, and no two nodes the same one.
    Ring,
    /// The node with most leases is cut off.
    Isolated,
    /// What one node sends does not arrive.
    OneWay,
    SlowNetwork,
    Clock,
    DiskStall,
    DiskFull,
    /// A node loses its store, and comes back with an empty one.
    Wiped,
    RollingRestart,
    PowerCutOne,
    PowerCutAll,
}

impl Nemesis {
    pub const ALL: [Self; 15] = [
        Self::KillOne,
        Self::KillAll,
        Self::Freeze,
        Self::Halves,
        Self::Ring,
        Self::Isolated,
        Self::OneWay,
        Self::SlowNetwork,
        Self::Clock,
        Self::DiskStall,
        Self::DiskFull,
        Self::Wiped,
        Self::RollingRestart,
        Self::PowerCutOne,
        Self::PowerCutAll,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::KillOne => "kill-one",
            Self::KillAll => "kill-all",
            Self::Freeze => "freeze",
            Self::Halves => "halves",
            Self::Ring => "ring",
            Self::Isolated => "isolated",
            Self::OneWay => "one-way",
            Self::SlowNetwork => "slow-network",
            Self::Clock => "clock",
            Self::DiskStall => "disk-stall",
            Self::DiskFull => "disk-full",
            Self::Wiped => "wiped",
            Self::RollingRestart => "rolling-restart",
            Self::PowerCutOne => "power-cut-one",
            Self::PowerCutAll => "power-cut-all",
        }
    }

    pub fn named(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|nemesis| nemesis.name() == name);
        found.ok_or_else(|| format!("no nemesis {name}").into())
    }

    /// File systems of their own for the nodes, which takes root.
    pub fn needs_disks(self) -> bool {
        matches!(self, Self::DiskStall | Self::DiskFull | Self::PowerCutOne | Self::PowerCutAll)
    }

    /// Nothing fails in it, and each node is told before: clients that know several must see no error but those that ask
    /// for a retry.
    pub fn is_planned(self) -> bool {
        self == Self::RollingRestart
    }

    /// Does it to the node with most leases, or to whom else it concerns, for about `hold`; undoes it, and says how it
    /// showed.
    pub async fn inflict(self, cluster: &mut RealCluster, hold: Duration) -> Outcome<String> {
        let victim = cluster.busiest().await?;
        self.inflict_on(victim, cluster, hold).await
    }

    pub async fn inflict_on(
        self,
        victim: usize,
        cluster: &mut RealCluster,
        hold: Duration,
    ) -> Outcome<String> {
        match self {
            Self::KillOne => kill_one(cluster, victim, hold).await,
            Self::KillAll => kill_all(cluster).await,
            Self::Freeze => freeze(cluster, victim, hold).await,
            Self::Wiped => wipe(cluster).await,
            Self::RollingRestart => rolling_restart(cluster).await,
            Self::Clock => clock(cluster, victim, hold).await,
            Self::DiskStall => disk_stall(cluster, victim, hold).await,
            Self::DiskFull => disk_full(cluster, victim, hold).await,
            Self::PowerCutOne => power_cut(cluster, &[victim]).await,
            Self::PowerCutAll => power_cut(cluster, &(0..cluster.len()).collect::<Vec<_>>()).await,
            Self::Halves | Self::Ring | Self::Isolated | Self::OneWay | Self::SlowNetwork => {
                self.disturb(cluster, victim, hold).await
            }
        }
    }

    /// Faults of the network.
    async fn disturb(self, cluster: &RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
        let nodes = cluster.len();
        let before = cluster.switch.links.interference();
        let links = &cluster.switch.links;
        let what = match self {
            Self::Halves => {
                let first = (victim + 1) % nodes;
                let minority: Vec<usize> = (0..nodes / 2).map(|step| (first + step) % nodes).collect();
                links.cut(|from, to| minority.contains(&from) != minority.contains(&to));
                format!("nodes {minority:?} cut off")
            }
            Self::Ring if nodes < 5 => {
                let other = (victim + fastrand::usize(1..nodes)) % nodes;
                links.cut(|from, to| (from == victim && to == other) || (from == other && to == victim));
                format!("{victim} and {other} cut from each other")
            }
            Self::Ring => {
                links.cut(|from, to| {
                    !matches!((from + nodes - to) % nodes, 1) && (to + nodes - from) % nodes != 1
                });
                "each with its two neighbours".to_owned()
            }
            Self::OneWay if fastrand::bool() => {
                links.cut(|from, _| from == victim);
                format!("{victim} not heard")
            }
            Self::OneWay => {
                links.cut(|_, to| to == victim);
                format!("{victim} hears nothing")
            }
            Self::SlowNetwork => {
                let millis = |range: std::ops::Range<u64>| Duration::from_millis(fastrand::u64(range));
                let (delay, jitter) = (millis(10..60), millis(10..60));
                links.set_each(|_, _| Some(Condition { delay, jitter, loss: 0.03, cut: false }));
                format!("{delay:?} + {jitter:?}")
            }
            _ => {
                links.cut(|from, to| from == victim || to == victim);
                format!("{victim} isolated")
            }
        };
        tokio::time::sleep(hold).await;
        let moved = match self {
            Self::SlowNetwork => String::new(),
            _ => format!(", {}", leases_of(cluster, victim).await),
        };
        links.heal();
        let done = links.interference().since(before);
        if done == Default::default() {
            return Err("no byte was delayed or held".into());
        }
        Ok(format!(
            "{what}: {} held, {} delayed, {} lost{moved}",
            done.held + done.unanswered,
            done.delayed,
            done.lost
        ))
    }
}

/// How many leases a node has, in the eyes of the others.
async fn leases_of(cluster: &RealCluster, victim: usize) -> String {
    let id = cluster.known_ids().get(victim).copied().flatten();
    for other in (0..cluster.len()).filter(|node| *node != victim) {
        if let Ok(ranges) = within(Duration::from_secs(2), ranges(&cluster.members[other])).await {
            let left = ranges.iter().filter(|range| range.leaseholder == id).count();
            return format!("{left} of {} leases left", ranges.len());
        }
    }
    "nobody says who leads".to_owned()
}

async fn kill_one(cluster: &mut RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
    cluster.kill(victim)?;
    tokio::time::sleep(hold).await;
    let left = leases_of(cluster, victim).await;
    cluster.start_node(victim).await?;
    Ok(format!("{victim} killed, {left}"))
}

async fn kill_all(cluster: &mut RealCluster) -> Outcome<String> {
    for node in 0..cluster.len() {
        cluster.kill(node)?;
    }
    let begun = std::time::Instant::now();
    cluster.start_missing().await?;
    Ok(format!("all killed, all serve after {:.1} s", begun.elapsed().as_secs_f64()))
}

async fn freeze(cluster: &mut RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
    cluster.members[victim].signal(libc::SIGSTOP)?;
    tokio::time::sleep(hold).await;
    let state = cluster.members[victim].state();
    let left = leases_of(cluster, victim).await;
    cluster.members[victim].signal(libc::SIGCONT)?;
    if state != Some('T') {
        return Err(format!("the frozen process is in state {state:?}").into());
    }
    Ok(format!("{victim} frozen, {left}"))
}

async fn wipe(cluster: &mut RealCluster) -> Outcome<String> {
    let victim = fastrand::usize(0..cluster.len());
    let before = cluster.ids().await?;
    cluster.kill(victim)?;
    fs::remove_dir_all(&cluster.members[victim].site.store)?;
    cluster.start_node(victim).await?;
    let after = cluster.ids().await?;
    if before[victim] == after[victim] {
        return Err(format!("a node without its store is still node {}", after[victim]).into());
    }
    let took = cluster.whole(3, WHOLE_PATIENCE).await?;
    let (was, is) = (before[victim], after[victim]);
    Ok(format!("node {was} comes back as {is}, whole after {:.1} s", took.as_secs_f64()))
}

async fn rolling_restart(cluster: &mut RealCluster) -> Outcome<String> {
    let mut longest = Duration::ZERO;
    for node in 0..cluster.len() {
        let begun = std::time::Instant::now();
        cluster.stop(node).await?;
        longest = longest.max(begun.elapsed());
        cluster.start_node(node).await?;
        cluster.whole(3, WHOLE_PATIENCE).await?;
    }
    Ok(format!("all restarted in turn, slowest stop {:.1} s", longest.as_secs_f64()))
}

async fn clock(cluster: &mut RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
    let sign = if fastrand::bool() { 1 } else { -1 };
    let seen_by = &cluster.members[(victim + 1) % cluster.len()];
    let id = cluster.ids().await?[victim];
    // Forth and back again and again, each jump is one backwards for somebody; and it ends forth.
    let jumps = (hold.as_millis() / 1_000).max(2) | 1;
    for jump in 0..jumps {
        let offset = if jump % 2 == 0 { sign * CLOCK_OFFSET_MICROS } else { 0 };
        cluster.members[victim].set_clock(offset, 0)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // The others believe the quickest of several answers, which may be one of before.
    let (client, mut seen) = (seen_by.connect().await?, 0);
    let query = format!("select clock_offset_us from basalt_nodes where node_id = {id}");
    let measured = until("the others measure the offset", MEASURE_PATIENCE, async || {
        let measured = rows(&client, &query).await?;
        seen = measured.first().and_then(|row| number(row[0].as_ref())).unwrap_or_default();
        Ok(seen.abs() > CLOCK_OFFSET_MICROS / 2)
    });
    measured.await?;
    cluster.members[victim].set_clock(0, 0)?;
    Ok(format!("{victim}: {jumps} jumps by {CLOCK_OFFSET_MICROS} us, {seen} us measured"))
}

async fn disk_stall(cluster: &mut RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
    cluster.disks[victim].freeze()?;
    tokio::time::sleep(hold).await;
    let waiting = cluster.members[victim].threads_on_disk();
    let left = leases_of(cluster, victim).await;
    cluster.disks[victim].thaw()?;
    if waiting == 0 && cluster.members[victim].is_running() {
        return Err("no thread waited for the frozen disk".into());
    }
    let lived = cluster.members[victim].is_running();
    cluster.start_missing().await?;
    Ok(format!("{victim}: {waiting} threads waited for the disk, {left}, lived: {lived}"))
}

async fn disk_full(cluster: &mut RealCluster, victim: usize, hold: Duration) -> Outcome<String> {
    let ballast = cluster.disks[victim].path().join("ballast");
    let mut file = fs::File::create(&ballast)?;
    let piece = vec![0xa5; 1 << 20];
    // Until the system refuses; what the node frees meanwhile is taken too.
    let deadline = std::time::Instant::now() + hold;
    while std::time::Instant::now() < deadline {
        if file.write_all(&piece).is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let free = cluster.disks[victim].free_bytes()?;
    let left = leases_of(cluster, victim).await;
    let lived = cluster.members[victim].is_running();
    drop(file);
    fs::remove_file(&ballast)?;
    cluster.start_missing().await?;
    if free > 1 << 20 {
        return Err(format!("{free} bytes are free on the full disk").into());
    }
    Ok(format!("{victim}: {free} bytes free, {left}, lived: {lived}"))
}

async fn power_cut(cluster: &mut RealCluster, victims: &[usize]) -> Outcome<String> {
    for victim in victims {
        cluster.disks[*victim].cut_power()?;
    }
    for victim in victims {
        let member = &mut cluster.members[*victim];
        let ended =
            until("a node ends without its disk", END_PATIENCE, async || Ok(!member.is_running())).await;
        cluster.kill(*victim)?;
        ended?;
        cluster.disks[*victim].remount()?;
    }
    cluster.start_missing().await?;
    Ok(format!("power of {victims:?} cut, all serve again"))
}
