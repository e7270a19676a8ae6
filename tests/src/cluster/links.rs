//! What the network does to the bytes that one node sends to another.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// Of one direction between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// Nothing arrives; what was sent waits, as it does for the retransmissions of TCP.
    pub cut: bool,
    pub delay: Duration,
    /// Added to the delay at random, up to this.
    pub jitter: Duration,
    /// The share of segments that have to be sent again, once more for each further loss.
    pub loss: f64,
}

/// What was done to traffic so far: how a fault is shown to bite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interference {
    /// Pieces of a stream that waited for the end of a cut.
    pub held: u64,
    /// Connections that were asked for during a cut.
    pub unanswered: u64,
    pub delayed: u64,
    pub lost: u64,
}

impl Interference {
    pub fn since(self, before: Self) -> Self {
        Self {
            held: self.held - before.held,
            unanswered: self.unanswered - before.unanswered,
            delayed: self.delayed - before.delayed,
            lost: self.lost - before.lost,
        }
    }
}

/// The state of all directed links. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    nodes: usize,
    conditions: Arc<watch::Sender<Vec<Condition>>>,
    counters: Arc<[AtomicU64; 4]>,
}

/// Which of the counters.
#[derive(Clone, Copy)]
pub enum Effect {
    Held,
    Unanswered,
    Delayed,
    Lost,
}

impl Links {
    pub fn new(nodes: usize) -> Self {
        let conditions = watch::Sender::new(vec![Condition::default(); nodes * nodes]);
        Self { nodes, conditions: Arc::new(conditions), counters: Arc::default() }
    }

    pub fn set(&self, from: usize, to: usize, condition: Condition) {
        self.conditions.send_modify(|conditions| conditions[from * self.nodes + to] = condition);
    }

    /// Sets every link for which `choose` has a condition.
    pub fn set_each(&self, choose: impl Fn(usize, usize) -> Option<Condition>) {
        self.conditions.send_modify(|conditions| {
            for (index, condition) in conditions.iter_mut().enumerate() {
                let (from, to) = (index / self.nodes, index % self.nodes);
                if from != to
                    && let Some(chosen) = choose(from, to)
                {
                    *condition = chosen;
                }
            }
        });
    }

    /// Cuts every link that `severs`.
    pub fn cut(&self, severs: impl Fn(usize, usize) -> bool) {
        let cut = Condition { cut: true, ..Condition::default() };
        self.set_each(|from, to| severs(from, to).then_some(cut));
    }

    pub fn heal(&self) {
        self.set_each(|_, _| Some(Condition::default()));
    }

    pub fn get(&self, from: usize, to: usize) -> Condition {
        self.conditions.borrow()[from * self.nodes + to]
    }

    /// Completes when bytes pass from `from` to `to`.
    pub async fn passes(&self, from: usize, to: usize) {
        let link = from * self.nodes + to;
        let mut changes = self.conditions.subscribe();
        // The sender is a field of this.
        let _open = changes.wait_for(|conditions| !conditions[link].cut).await;
    }

    pub(super) fn note(&self, effect: Effect) {
        self.counters[effect as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn interference(&self) -> Interference {
        let count = |effect: Effect| self.counters[effect as usize].load(Ordering::Relaxed);
        Interference {
            held: count(Effect::Held),
            unanswered: count(Effect::Unanswered),
            delayed: count(Effect::Delayed),
            lost: count(Effect::Lost),
        }
    }
}
