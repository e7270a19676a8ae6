//! What waits for one peer in one class, bounded in number and in bytes until it is written to the socket.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    message::Record,
    options::{BATCH_BYTES, BATCH_MESSAGES, PIECE_BYTES, QueueLimits},
};

/// What an empty message costs.
const MESSAGE_OVERHEAD: usize = 64;

pub(crate) struct Outbox {
    limits: QueueLimits,
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Bytes>,
    /// News of nodes, replaced by newer ones: they need no room of their own.
    records: Vec<Record>,
    /// Messages that wait or are being written.
    count: usize,
    bytes: usize,
}

/// Messages on their way out. They count until this is dropped.
pub(crate) struct Load<'a> {
    outbox: &'a Outbox,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) records: Vec<Record>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default(), ready: Notify::new() }
    }

    /// False if there is no room.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let cost = cost(&message);
        {
            let mut state = self.state.lock();
            let fits = state.bytes + cost <= self.limits.bytes || state.count == 0;
            if !fits || state.count >= self.limits.messages || message.len() > self.limits.message_bytes {
                return false;
            }
            state.count += 1;
            state.bytes += cost;
            state.waiting.push_back(message);
        }
        self.ready.notify_one();
        true
    }

    pub(crate) fn put_records(&self, records: Vec<Record>) {
        {
            let mut state = self.state.lock();
            // The longer list holds the shorter one's node as well.
            if records.len() >= state.records.len() {
                state.records = records;
            }
        }
        self.ready.notify_one();
    }

    /// Waits until there is something to send, and leaves it where it is.
    pub(crate) async fn wait(&self) {
        loop {
            if !self.state.lock().is_empty() {
                return;
            }
            self.ready.notified().await;
        }
    }

    /// Waits for the next messages: one that must be cut up, or several that travel together.
    pub(crate) async fn take(&self) -> Load<'_> {
        loop {
            if let Some(load) = self.try_take() {
                return load;
            }
            self.ready.notified().await;
        }
    }

    fn try_take(&self) -> Option<Load<'_>> {
        let mut state = self.state.lock();
        if state.is_empty() {
            return None;
        }
        let mut load = Load {
            outbox: self,
            messages: Vec::new(),
            records: std::mem::take(&mut state.records),
            bytes: 0,
        };
        while let Some(next) = state.waiting.front() {
            let is_first = load.messages.is_empty();
            let is_alone = next.len() > PIECE_BYTES;
            if !is_first
                && (is_alone
                    || load.bytes + cost(next) > BATCH_BYTES
                    || load.messages.len() >= BATCH_MESSAGES)
            {
                break;
            }
            load.bytes += cost(next);
            load.messages.extend(state.waiting.pop_front());
            if is_alone {
                break;
            }
        }
        Some(load)
    }

    /// Drops what waits: nobody is there to take it. Returns how many messages that were.
    pub(crate) fn clear(&self) -> usize {
        let mut state = self.state.lock();
        let dropped = std::mem::take(&mut state.waiting);
        state.count -= dropped.len();
        state.bytes -= dropped.iter().map(cost).sum::<usize>();
        state.records = Vec::new();
        dropped.len()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.records.is_empty()
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        state.count -= self.messages.len();
        state.bytes -= self.bytes;
    }
}

fn cost(message: &Bytes) -> usize {
    message.len() + MESSAGE_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(QueueLimits { messages: 4, bytes: 1000, message_bytes: 1 << 20 })
    }

    #[tokio::test]
    async fn bounds_hold_until_messages_are_written() {
        let outbox = outbox();
        for _ in 0..4 {
            assert!(outbox.push(Bytes::from_static(b"a")));
        }
        assert!(!outbox.push(Bytes::new()), "by number");
        let load = outbox.take().await;
        assert_eq!(load.messages.len(), 4);
        assert!(!outbox.push(Bytes::new()), "still being written");
        drop(load);
        assert_eq!(outbox.bytes(), 0);
        assert!(outbox.push(vec![0; 900].into()));
        assert!(!outbox.push(vec![0; 100].into()), "by bytes");
        outbox.clear();
        assert_eq!(outbox.bytes(), 0);
        assert!(outbox.push(vec![0; 5000].into()), "a large one goes alone");
        assert!(!outbox.push(Bytes::new()));
        outbox.clear();
        assert!(!outbox.push(vec![0; (1 << 20) + 1].into()), "too large for its class");
    }

    #[tokio::test]
    async fn what_is_cut_up_travels_alone_and_in_its_place() {
        let outbox = Outbox::new(QueueLimits { messages: 99, bytes: 10 << 20, message_bytes: 10 << 20 });
        for length in [1, 2, PIECE_BYTES + 1, 3, PIECE_BYTES, 4] {
            assert!(outbox.push(vec![0; length].into()));
        }
        let mut loads = Vec::new();
        for _ in 0..5 {
            loads.push(outbox.take().await.messages.iter().map(Bytes::len).collect::<Vec<_>>());
        }
        assert_eq!(loads, [vec![1, 2], vec![PIECE_BYTES + 1], vec![3], vec![PIECE_BYTES], vec![4]]);
    }
}
