//! One direction between two nodes.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use crate::{Rng, sim::SimRng};

/// What befalls the messages of a link. "One in N" with N = 0 is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFaults {
    pub delay_min: Duration,
    pub delay_max: Duration,
    /// One message in so many takes up to `slow_max` longer.
    pub slow_one_in: u64,
    pub slow_max: Duration,
    pub drop_one_in: u64,
    /// The copy is delayed on its own.
    pub duplicate_one_in: u64,
    /// Messages of one class do not overtake each other, as on a stream.
    pub in_order: bool,
    /// What the link carries, one message after the other; 0 is without limit.
    pub bytes_per_second: u64,
}

impl Default for LinkFaults {
    /// A healthy local network.
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(500),
            slow_one_in: 0,
            slow_max: Duration::ZERO,
            drop_one_in: 0,
            duplicate_one_in: 0,
            in_order: true,
            bytes_per_second: 0,
        }
    }
}

#[derive(Clone)]
pub(super) struct Message {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) class: u8,
    /// The connection of the receiver that it is for.
    pub(super) connection: u64,
    /// Among those of its network; copies share it.
    pub(super) number: u64,
    pub(super) body: Bytes,
}

/// Whether messages pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gate {
    #[default]
    Open,
    /// They are lost.
    Blocked,
    /// They wait.
    Clogged,
}

#[derive(Default)]
pub(super) struct Link {
    /// Instead of those of the whole network.
    pub(super) faults: Option<LinkFaults>,
    pub(super) gate: Gate,
    /// Messages that wait for the link to be unclogged, in the order in which they arrived.
    pub(super) waiting: Vec<Message>,
    /// When the last byte accepted so far has left the sender.
    sent_until: Duration,
    /// The newest message that was delivered.
    pub(super) newest: u64,
    /// When the last message of a class arrives.
    arrived: BTreeMap<u8, Duration>,
}

impl Link {
    /// When a message of so many bytes that is sent now arrives, and whether it is one of the slow ones.
    pub(super) fn arrival(
        &mut self,
        now: Duration,
        class: u8,
        bytes: usize,
        faults: &LinkFaults,
        rng: &SimRng,
    ) -> (Duration, bool) {
        let mut leaves = now;
        if let Some(micros) = (bytes as u64).saturating_mul(1_000_000).checked_div(faults.bytes_per_second) {
            leaves = self.sent_until.max(now).saturating_add(Duration::from_micros(micros));
            self.sent_until = leaves;
        }
        let mut delay = between(rng, faults.delay_min, faults.delay_max);
        let slow = one_in(rng, faults.slow_one_in);
        if slow {
            delay = delay.saturating_add(between(rng, faults.delay_max, faults.slow_max));
        }
        let mut arrives = leaves.saturating_add(delay);
        if faults.in_order {
            let last = self.arrived.entry(class).or_default();
            // Timers of one instant fire in the order in which they were set.
            arrives = arrives.max(*last);
            *last = arrives;
        }
        (arrives, slow)
    }
}

/// True once in `n` draws; never, and without a draw, when `n` is 0.
pub(super) fn one_in(rng: &SimRng, n: u64) -> bool {
    n > 0 && rng.next_u64().is_multiple_of(n)
}

/// A duration from `least` to `most`; `least` when there is nothing between.
fn between(rng: &SimRng, least: Duration, most: Duration) -> Duration {
    let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX - 1);
    least + Duration::from_micros(rng.next_u64() % (span + 1))
}
