//! Faults, each as a task of its own until told to stop.
//!
//! In a short run every kind of fault that the seed has drawn comes and goes all the time. In a long one the weather
//! changes: of all kinds only some are about at any time, so that the cluster gets into trouble of every mixture, and out
//! of it.

mod choice;
mod clocks;
mod disks;
mod losses;
mod network;
mod nodes;
mod operator;
mod ranges;
mod weather;

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::{BoxFuture, sim::SimExecutor};

pub use choice::NemesisKind;
pub use ranges::{begin_split, split_somewhere};
use weather::{Kind, Weather};

use crate::{check::survey::Survey, node::Node, workload::Context};

/// Longer waits look in between whether it is time to stop.
const SLICE: Duration = Duration::from_secs(1);
/// A range with fewer voters than these would lose its majority with one of them.
const REPLICAS_MIN: usize = 3;

#[derive(Clone)]
pub struct Nemesis {
    context: Context,
    executor: SimExecutor,
    stopped: Arc<AtomicBool>,
    weather: Weather,
    /// A node is being lost and replaced.
    losing: Arc<AtomicBool>,
}

impl Nemesis {
    pub fn new(context: Context, executor: SimExecutor) -> Self {
        let weather = Weather::new(context.parameters.long.is_some());
        Self { context, executor, stopped: Arc::default(), weather, losing: Arc::default() }
    }

    /// All kinds of faults that the parameters ask for.
    pub fn tasks(&self) -> Vec<BoxFuture<'static, ()>> {
        let parameters = &self.context.parameters;
        let network = &parameters.network;
        let is_cluster = parameters.nodes > 1;
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        let wanted = |kind: NemesisKind, every: Option<Duration>| {
            every.filter(|_| parameters.nemeses.as_ref().is_none_or(|chosen| chosen.contains(&kind)))
        };
        let mut add = |every: Option<Duration>, task: fn(Self, Duration) -> BoxFuture<'static, ()>| {
            tasks.extend(every.map(|every| task(self.clone(), every)));
        };
        add(wanted(NemesisKind::Crash, parameters.crash_every), |nemesis, every| {
            Box::pin(async move { nemesis.crash(every).await })
        });
        add(wanted(NemesisKind::Split, parameters.split_every), |nemesis, every| {
            Box::pin(async move { nemesis.split(every).await })
        });
        add(wanted(NemesisKind::DiskFull, parameters.disk_full_every), |nemesis, every| {
            Box::pin(async move { nemesis.fill_disk(every).await })
        });
        if parameters.leases_only {
            add(wanted(NemesisKind::ClockJump, parameters.clock_jump_every), |nemesis, every| {
                Box::pin(async move { nemesis.drive_clocks_apart(every).await })
            });
            add(wanted(NemesisKind::LeaseTransfer, network.lease_transfer_every), |nemesis, every| {
                Box::pin(async move { nemesis.give_leases_away(every).await })
            });
        } else {
            add(wanted(NemesisKind::ClockJump, parameters.clock_jump_every), |nemesis, every| {
                Box::pin(async move { nemesis.jump_clock(every).await })
            });
        }
        if is_cluster {
            self.disturb_network();
            add(wanted(NemesisKind::Partition, network.partition_every), |nemesis, every| {
                Box::pin(async move { nemesis.partition(every).await })
            });
            add(wanted(NemesisKind::LeaseTransfer, network.lease_transfer_every), |nemesis, every| {
                Box::pin(async move { nemesis.transfer_leases(every).await })
            });
            add(wanted(NemesisKind::Drain, network.drain_every), |nemesis, every| {
                Box::pin(async move { nemesis.drain(every).await })
            });
            add(wanted(NemesisKind::ClockSet, network.clock_set_every), |nemesis, every| {
                Box::pin(async move { nemesis.set_clock(every).await })
            });
            add(wanted(NemesisKind::Decommission, network.decommission_every), |nemesis, every| {
                Box::pin(async move { nemesis.decommission(every).await })
            });
        }
        if let Some(long) = &parameters.long {
            // Not a fault of its own: it says which may come.
            add(Some(long.weather_every), |nemesis, every| {
                Box::pin(async move { nemesis.change_weather(every).await })
            });
            add(wanted(NemesisKind::Join, long.join_every), |nemesis, every| {
                Box::pin(async move { nemesis.grow(every).await })
            });
            add(wanted(NemesisKind::Outage, Some(long.outage_every)), |nemesis, every| {
                Box::pin(async move { nemesis.turn_off(every).await })
            });
            add(wanted(NemesisKind::Freeze, Some(long.freeze_every)), |nemesis, every| {
                Box::pin(async move { nemesis.freeze(every).await })
            });
            add(wanted(NemesisKind::RestartAll, Some(long.restart_every)), |nemesis, every| {
                Box::pin(async move { nemesis.restart_all(every).await })
            });
            add(wanted(NemesisKind::Loss, Some(long.loss_every)), |nemesis, every| {
                Box::pin(async move { nemesis.lose(every).await })
            });
            add(wanted(NemesisKind::SyncError, Some(long.sync_error_every)), |nemesis, every| {
                Box::pin(async move { nemesis.fail_syncs(every).await })
            });
            add(wanted(NemesisKind::MisplacedWrite, Some(long.misplace_every)), |nemesis, every| {
                Box::pin(async move { nemesis.misplace_writes(every).await })
            });
        }
        tasks
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Waits about `mean`; false when it is time to stop.
    async fn wait(&self, mean: Duration) -> bool {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX / 4);
        let micros = self.context.below(2 * micros) + 1;
        self.rest(Duration::from_micros(micros)).await
    }

    /// Waits so long; false when it is time to stop.
    async fn rest(&self, mut left: Duration) -> bool {
        while !left.is_zero() && !self.is_stopped() {
            let slice = left.min(SLICE);
            self.executor.sleep(slice).await;
            left -= slice;
        }
        !self.is_stopped()
    }

    /// Waits until a fault of the kind is due; false when it is time to stop.
    async fn due(&self, kind: Kind, mean: Duration) -> bool {
        loop {
            if !self.wait(mean).await {
                return false;
            }
            if self.weather.has(kind) {
                return true;
            }
        }
    }

    async fn change_weather(&self, every: Duration) {
        loop {
            let kinds = self.weather.change(&self.context);
            self.context.trace.line(|| format!("weather: {kinds:?}"));
            self.disturb_network();
            if !self.wait(every).await {
                return;
            }
        }
    }

    /// Whether what this node has may be lost for ever: every range has other copies to lose, and nothing else is lost
    /// or on its way. What a replica has promised and forgotten would otherwise be missing in a majority.
    fn can_lose(&self, node: &Node) -> bool {
        let nodes = self.context.cluster.nodes();
        let is_there = |id: NodeId| nodes.iter().any(|other| other.number() == id.0);
        is_there(NodeId(node.number()))
            && Survey::take(&self.context.cluster).is_ok_and(|survey| {
                survey.down.is_empty() && survey.short_of_replicas(REPLICAS_MIN, is_there).is_none()
            })
    }

    fn index(&self, count: usize) -> usize {
        usize::try_from(self.context.below(count as u64)).expect("small")
    }
}
