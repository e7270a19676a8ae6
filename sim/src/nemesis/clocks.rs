//! Wall clocks that are off.

use std::{collections::BTreeMap, time::Duration};

use super::{Nemesis, weather::Kind};
use crate::node::Node;

/// Steps of a clock that is set wrong: so far that no other node, whatever its own clock shows, takes what this one says for
/// right. Nearer to the bound the process that follows could be believed by some, and reads be stale.
const STEP_MS_MIN: u64 = 600;
const STEP_MS_MAX: u64 = 8_000;
/// What crystals are off by; the clocks of two nodes come 60 ms further apart in ten minutes.
const WALL_DRIFT_PPM: u64 = 50;
const MONOTONIC_DRIFT_PPM: u64 = 500;

impl Nemesis {
    /// Sets the clock of one node wrong, and right again after a while. A leaseholder of before must serve nothing by it.
    pub(super) async fn set_clock(&self, every: Duration) {
        while self.due(Kind::Clock, every).await {
            let node = self.context.cluster.any();
            let ms = STEP_MS_MIN + self.context.below(STEP_MS_MAX - STEP_MS_MIN);
            let micros = i64::try_from(ms * 1_000).expect("short") * if self.context.coin() { 1 } else { -1 };
            self.context
                .trace
                .line(|| format!("clock of node {} is set wrong by {micros} us", node.number()));
            self.context.reached.count("clock set");
            node.clock().set_offset(micros);
            self.wait(every / 2).await;
            node.clock().set_offset(0);
            self.context.trace.line(|| format!("clock of node {} is right", node.number()));
        }
    }

    /// Drives the clocks of nodes to opposite ends of what they may differ by, in steps that each node puts up with, and
    /// keeps them there for long: between ends a node is mostly right about its leases.
    pub(super) async fn drive_clocks_apart(&self, every: Duration) {
        let end = self.context.parameters.network.clock_offset;
        let micros = |time: Duration| i64::try_from(time.as_micros()).expect("short");
        let (end, step) = (micros(end), micros(end * 2 / 3));
        let mut clocks: BTreeMap<u64, (i64, bool)> = BTreeMap::new();
        while self.due(Kind::Clock, every).await {
            let node = self.context.cluster.any();
            let drawn = self.context.coin();
            let (offset, is_ahead) = clocks.entry(node.number()).or_insert((0, drawn));
            if self.context.one_in(12) {
                *is_ahead = !*is_ahead;
            }
            *offset = (*offset + if *is_ahead { step } else { -step }).clamp(-end, end);
            let offset = *offset;
            self.context.trace.line(|| format!("clock of node {} is off by {offset} us", node.number()));
            node.clock().set_offset(offset);
        }
    }

    /// From here on both clocks of the node run at rates of their own: the monotonic one as far off as those of bad machines, the
    /// wall clock so little that the offsets which the run permits still hold at its end.
    fn let_drift(&self, node: &Node) {
        let parameters = &self.context.parameters;
        let wall = self.draw_ppm(WALL_DRIFT_PPM);
        let added = parameters.duration * u32::try_from(WALL_DRIFT_PPM).expect("small") / 1_000_000;
        if 2 * (parameters.network.clock_offset + added) <= parameters.clock_offset_max {
            node.clock().set_drift_ppm(wall);
        }
        let monotonic = self.draw_ppm(MONOTONIC_DRIFT_PPM);
        node.clock().set_monotonic_drift_ppm(monotonic);
        self.context.reached.count("clock drift");
        self.context
            .trace
            .line(|| format!("clocks of node {} drift by {wall} and {monotonic} ppm", node.number()));
    }

    fn draw_ppm(&self, most: u64) -> i64 {
        let drawn = self.context.below(2 * most + 1);
        i64::try_from(drawn).expect("small") - i64::try_from(most).expect("small")
    }

    pub(super) async fn jump_clock(&self, every: Duration) {
        let parameters = &self.context.parameters;
        while self.due(Kind::Clock, every).await {
            if parameters.nodes > 1 {
                // Within what clocks of different nodes may differ, unless the seed wants otherwise.
                let most = u64::try_from(parameters.network.clock_offset.as_micros()).expect("short");
                let micros = i64::try_from(self.context.below(2 * most + 1)).expect("short")
                    - i64::try_from(most).expect("short");
                let node = self.context.cluster.any();
                self.context.trace.line(|| format!("clock of node {} is off by {micros} us", node.number()));
                node.clock().set_offset(micros);
                let is_beyond = parameters.network.clock_offset >= parameters.clock_offset_max;
                self.context.reached.count(if is_beyond { "clock beyond the bound" } else { "clock jump" });
                if parameters.long.is_some() {
                    self.let_drift(&node);
                }
                continue;
            }
            // Backwards and forwards, beyond what the clock believes too.
            let micros = i64::try_from(self.context.below(20_000_000)).expect("small") - 8_000_000;
            self.context.trace.line(|| format!("wall clock jumps by {micros} us"));
            self.executor.jump_wall(micros);
        }
    }
}
