//! Nodes whose disk is lost, or can't be relied upon any more. They never come back; others join in their place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Nemesis, weather::Kind};
use crate::{check::survey::Survey, node::Node};

/// A misplaced write can be told from one that a crash has torn when so many syncs have come behind it: a later batch
/// says then that it was durable, and is durable itself.
const SYNCS_BEHIND: u64 = 4;
/// How long somebody may take to meet damage.
const MEET_MAX: Duration = Duration::from_secs(20);
/// How long a write is waited for.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// No other node is lost meanwhile.
pub struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Nemesis {
    /// For the loss of a node; `None` while the cluster could not do without what it has, or another one is lost.
    fn turn_to_lose(&self, node: &Node) -> Option<Turn> {
        if self.losing.swap(true, Ordering::Relaxed) {
            return None;
        }
        let turn = Turn(Arc::clone(&self.losing));
        self.can_lose(node).then_some(turn)
    }

    /// A node loses its disk, or damages it so that it must not start or go on. Another one joins in its place, and the lost one
    /// is taken from the directory when nobody needs it any more.
    pub(super) async fn lose(&self, every: Duration) {
        while self.due(Kind::Loss, every).await {
            let node = self.context.cluster.any();
            let Some(_claim) = node.claim() else { continue };
            let Some(_turn) = self.turn_to_lose(&node) else { continue };
            let way = self.context.below(3);
            if way == 0 && !self.is_state_damaged(&node).await {
                continue;
            }
            if way > 0 {
                node.crash(&self.context);
            }
            if way == 1 && !self.is_damaged(&node).await {
                continue;
            }
            self.replace(&node).await;
        }
    }

    /// A write of the log gets lost or lands elsewhere, and nobody is told. The node goes on with what it has cached; after
    /// its next crash it must find out, serve nothing, and never vote with less than it promised.
    pub(super) async fn misplace_writes(&self, every: Duration) {
        while self.due(Kind::Misplaced, every).await {
            let node = self.context.cluster.any();
            let Some(_claim) = node.claim() else { continue };
            let Some(_turn) = self.turn_to_lose(&node) else { continue };
            let fault = node.misplace_write(&self.context);
            let deadline = self.executor.now() + WRITE_MAX;
            while fault.bites() == 0 && self.executor.now() < deadline {
                self.executor.sleep(Duration::from_millis(10)).await;
            }
            fault.lift();
            if fault.bites() == 0 {
                node.trust_disk();
                continue;
            }
            self.context.reached.count("write misplaced");
            self.context.trace.line(|| format!("a write of node {} is misplaced", node.number()));
            let target = node.syncs() + SYNCS_BEHIND;
            while node.syncs() < target && !node.is_refused() {
                self.context.cluster.pause().await;
            }
            if !node.is_refused() {
                node.crash(&self.context);
                node.start();
                node.until_up_or_refused().await;
            }
            if node.is_refused() {
                self.context.reached.count("misplaced write found");
                self.replace(&node).await;
            } else {
                // Its segment was not needed any more.
                self.context.trace.line(|| format!("node {} does not miss it", node.number()));
                node.trust_disk();
            }
        }
    }

    async fn replace(&self, node: &Node) {
        self.context.cluster.lose(node);
        self.context.reached.count("disk lost");
        self.wait(Duration::from_secs(5)).await;
        self.context.cluster.grow().await;
        while !self.is_replaced(node) && self.rest(Duration::from_secs(2)).await {}
        if !self.is_stopped() {
            self.context.cluster.members().remove(node.number());
            self.context.reached.count("lost node replaced");
        }
    }

    /// Damages what the disk holds, and starts the node: it must find that out, and not start.
    async fn is_damaged(&self, node: &Node) -> bool {
        let Some(damage) = node.damage(&self.context) else {
            node.start();
            return false;
        };
        let what = damage.what;
        self.context.trace.line(|| format!("disk of node {} is damaged: {what}", node.number()));
        node.start();
        node.until_up_or_refused().await;
        let refused = node.is_refused();
        if refused {
            self.context.reached.count(if damage.at_end {
                "damage at the log's end found"
            } else {
                "damage found"
            });
        } else if damage.at_end {
            self.context.violations.report(format!("node {} serves a damaged log: {what}", node.number()));
        }
        refused
    }

    /// Damages the state of a node that runs. Once anybody has met it the node must leave, and not start again.
    async fn is_state_damaged(&self, node: &Node) -> bool {
        let Some(what) = node.damage_state(&self.context) else { return false };
        self.context.trace.line(|| format!("state of node {} is damaged: {what}", node.number()));
        let deadline = self.executor.now() + MEET_MAX;
        while !node.is_refused() {
            if (self.is_stopped() || self.executor.now() > deadline) && node.mend_state() {
                self.context.trace.line(|| format!("nobody has met the damage of node {}", node.number()));
                return false;
            }
            self.context.cluster.pause().await;
        }
        self.context.reached.count("state damage found");
        true
    }

    fn is_replaced(&self, node: &Node) -> bool {
        let survey = Survey::take(&self.context.cluster);
        survey.is_ok_and(|survey| {
            let named = |copy: &crate::check::survey::Copy| {
                let descriptor = copy.replica.descriptor();
                descriptor.replicas.iter().any(|place| place.node_id.0 == node.number())
            };
            survey.down.is_empty() && !survey.newest().any(named)
        })
    }
}
