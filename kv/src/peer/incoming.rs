//! Calls of one incarnation of one peer, on the side that executes them: each at most once.
//!
//! Call ids ascend. An id is executed if it was not seen before and may still arrive: every id that is not below `floor`,
//! and the ids in `open` below it. A ping says which calls below a mark are still waited for; the mark becomes the
//! floor, what is not waited for is cancelled and forgotten, and what is waited for and never came stays open.
//! Answers are kept until the caller says that it has them, as far as there is room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use futures::future::AbortHandle;

use super::frame::{CallState, Ping};

/// Ended calls that are remembered; when there are more, the oldest ids are refused from then on.
const FINISHED_MAX: usize = 1 << 16;
/// Answers kept, in bytes, and the largest of them.
const KEPT_BYTES_MAX: usize = 8 << 20;
const KEPT_ANSWER_BYTES_MAX: usize = 2 << 20;

#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Execute,
    /// It is being executed, or was.
    Repeated,
    /// It may have been executed, nobody knows.
    Forgotten,
    /// As many calls as there may be run already.
    Full,
}

#[derive(Default)]
pub struct Incoming {
    running: BTreeMap<u64, AbortHandle>,
    /// With the answer, while it is kept.
    finished: BTreeMap<u64, Option<Bytes>>,
    open: BTreeSet<u64>,
    floor: u64,
    /// Ids below were dropped from `finished` for lack of room.
    evicted_below: u64,
    /// Ids with a kept answer, the oldest first; some have gone since.
    kept: VecDeque<u64>,
    kept_bytes: usize,
}

/// What to answer to a ping.
#[derive(Default)]
pub struct Settled {
    pub states: Vec<(u64, CallState)>,
    pub resend: Vec<Bytes>,
    pub cancelled: usize,
    /// Answers that arrived, to be freed without the lock.
    pub forgotten: Vec<Bytes>,
}

impl Incoming {
    pub fn admit(&self, id: u64, calls_max: usize) -> Admission {
        if self.running.contains_key(&id) || self.finished.contains_key(&id) {
            Admission::Repeated
        } else if id < self.evicted_below || (id < self.floor && !self.open.contains(&id)) {
            Admission::Forgotten
        } else if self.running.len() >= calls_max {
            Admission::Full
        } else {
            Admission::Execute
        }
    }

    pub fn running_count(&self) -> usize {
        self.running.len()
    }

    pub fn begin(&mut self, id: u64, handle: AbortHandle) {
        self.open.remove(&id);
        self.running.insert(id, handle);
    }

    /// A call has ended with this answer. False if it was cancelled: nobody wants it.
    pub fn finish(&mut self, id: u64, answer: Option<Bytes>) -> bool {
        let was_running = self.running.remove(&id).is_some();
        if was_running {
            self.remember(id, answer);
        }
        was_running
    }

    /// Ends a call, or prevents it if it has not come yet. True if it was running.
    pub fn cancel(&mut self, id: u64) -> bool {
        let handle = self.running.remove(&id);
        if let Some(handle) = &handle {
            handle.abort();
        }
        if !self.finished.contains_key(&id) {
            self.remember(id, None);
        }
        handle.is_some()
    }

    pub fn cancel_all(&mut self) -> usize {
        let running = std::mem::take(&mut self.running);
        let count = running.len();
        for (id, handle) in running {
            handle.abort();
            self.remember(id, None);
        }
        count
    }

    /// The call will not be executed, and this is what its caller is told.
    pub fn refuse(&mut self, id: u64, refusal: Bytes) {
        self.remember(id, Some(refusal));
    }

    /// Takes note of what the caller still waits for.
    pub fn settle(&mut self, ping: &Ping) -> Settled {
        let mut settled = Settled::default();
        let asked: BTreeSet<u64> = ping.asked.iter().copied().filter(|id| *id < ping.asked_below).collect();
        let given_up: Vec<u64> = self
            .running
            .range(..ping.asked_below)
            .map(|(id, _)| *id)
            .filter(|id| !asked.contains(id))
            .collect();
        for id in given_up {
            settled.cancelled += usize::from(self.cancel(id));
        }
        // An earlier ping may arrive late: what it waits for may be settled since, and must not be opened again.
        if ping.asked_below >= self.floor {
            let above = self.finished.split_off(&ping.asked_below);
            for (id, answer) in std::mem::replace(&mut self.finished, above) {
                if asked.contains(&id) {
                    self.finished.insert(id, answer);
                } else if let Some(answer) = answer {
                    self.kept_bytes -= answer.len();
                    settled.forgotten.push(answer);
                }
            }
            self.trim_kept();
            if ping.asked_below > self.floor {
                self.floor = ping.asked_below;
                let may_come = |id: &u64| {
                    *id >= self.evicted_below
                        && !self.running.contains_key(id)
                        && !self.finished.contains_key(id)
                };
                self.open = asked.iter().copied().filter(may_come).collect();
            } else {
                self.open.retain(|id| asked.contains(id));
            }
        }
        for id in asked {
            match self.finished.get(&id) {
                _ if self.running.contains_key(&id) => {}
                Some(Some(answer)) => settled.resend.push(answer.clone()),
                Some(None) => settled.states.push((id, CallState::Finished)),
                None => settled.states.push((id, CallState::Unknown)),
            }
        }
        settled
    }

    fn remember(&mut self, id: u64, answer: Option<Bytes>) {
        self.open.remove(&id);
        self.forget(id);
        let answer = answer.filter(|answer| answer.len() <= KEPT_ANSWER_BYTES_MAX);
        if let Some(answer) = &answer {
            self.kept.push_back(id);
            self.kept_bytes += answer.len();
        }
        self.finished.insert(id, answer);
        while self.kept_bytes > KEPT_BYTES_MAX || self.kept.len() > FINISHED_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            if let Some(answer) = self.finished.get_mut(&oldest).and_then(Option::take) {
                self.kept_bytes -= answer.len();
            }
        }
        while self.finished.len() > FINISHED_MAX
            && let Some((&lowest, _)) = self.finished.first_key_value()
        {
            self.forget(lowest);
            self.evicted_below = self.evicted_below.max(lowest.saturating_add(1));
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(Some(answer)) = self.finished.remove(&id) {
            self.kept_bytes -= answer.len();
        }
        self.trim_kept();
    }

    fn trim_kept(&mut self) {
        while self.kept.front().is_some_and(|id| !matches!(self.finished.get(id), Some(Some(_)))) {
            self.kept.pop_front();
        }
    }
}
