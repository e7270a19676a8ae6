//! Wall clocks that are off.

use std::time::Duration;

use super::{Nemesis, weather::Kind};

/// Steps of a clock that is set wrong: so far that no other node, whatever its own clock shows, takes what this one says for
/// right. Nearer to the bound the process that follows could be believed by some, and reads be stale.
const STEP_MS_MIN: u64 = 600;
const STEP_MS_MAX: u64 = 8_000;

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
                if parameters.network.clock_offset >= parameters.clock_offset_max {
                    self.context.reached.count("clock beyond the bound");
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
