//! What happens at which instant.
//!
//! Most timers are timeouts that never fire, so giving one up is cheap: it leaves an entry behind in the heap, which is
//! skipped when its time comes, and swept when such entries are the most.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::schedule::Shared;

/// Fewer entries than this are never worth a sweep.
const SWEEP_MIN: usize = 64;

/// What happens when a timer is due.
pub(super) enum Due {
    Wake(Waker),
    /// Runs on the executor itself, outside of any task.
    Call(&'static str, Box<dyn FnOnce() + Send>),
}

/// Names a timer for ever: slots are used again, numbers are not. Sorts by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimerKey {
    id: u64,
    slot: usize,
}

#[derive(Default)]
pub(super) struct Timers {
    /// The number of the timer in each slot, and what it does; `None` when the slot is free.
    slots: Vec<Option<(u64, Due)>>,
    free: Vec<usize>,
    /// By time, then in the order in which they were set. Some are given up.
    heap: BinaryHeap<Reverse<(Duration, TimerKey)>>,
    given_up: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Duration, id: u64, due: Due) -> TimerKey {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some((id, due)),
            None => self.slots.push(Some((id, due))),
        }
        let key = TimerKey { id, slot };
        self.heap.push(Reverse((at, key)));
        key
    }

    fn take(&mut self, key: TimerKey) -> Option<Due> {
        let slot = self.slots.get_mut(key.slot)?;
        let (_, due) = slot.take_if(|(id, _)| *id == key.id)?;
        self.free.push(key.slot);
        Some(due)
    }

    /// What a timer that has not fired yet does.
    fn due_mut(&mut self, key: TimerKey) -> Option<&mut Due> {
        let (id, due) = self.slots.get_mut(key.slot)?.as_mut()?;
        (*id == key.id).then_some(due)
    }

    /// Gives a timer up; what it would have done must be dropped where no lock is held.
    fn cancel(&mut self, key: TimerKey) -> Option<Due> {
        let due = self.take(key)?;
        self.given_up += 1;
        if self.given_up >= SWEEP_MIN && self.given_up * 2 > self.heap.len() {
            self.given_up = 0;
            let slots = &self.slots;
            self.heap.retain(|Reverse((_, key))| {
                slots.get(key.slot).and_then(Option::as_ref).is_some_and(|(id, _)| *id == key.id)
            });
        }
        Some(due)
    }

    /// Takes the timer that is due first.
    pub(super) fn pop(&mut self) -> Option<(Duration, u64, Due)> {
        while let Some(Reverse((at, key))) = self.heap.pop() {
            match self.take(key) {
                Some(due) => return Some((at, key.id, due)),
                None => self.given_up = self.given_up.saturating_sub(1),
            }
        }
        None
    }

    /// Whether a timer is due by `now`.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        while let Some(Reverse((at, key))) = self.heap.peek().copied()
            && at <= now
        {
            if self.due_mut(key).is_some() {
                return true;
            }
            self.heap.pop();
            self.given_up = self.given_up.saturating_sub(1);
        }
        false
    }

    /// Gives all timers up, in the order in which they were set.
    pub(super) fn clear(&mut self) -> Vec<Due> {
        let mut timers: Vec<(u64, Due)> = mem::take(self).slots.into_iter().flatten().collect();
        timers.sort_unstable_by_key(|(id, _)| *id);
        timers.into_iter().map(|(_, due)| due).collect()
    }
}

/// Ready at an instant.
pub(super) struct Sleep {
    shared: Arc<Shared>,
    until: Duration,
    timer: Option<TimerKey>,
}

impl Sleep {
    pub(super) fn new(shared: &Arc<Shared>, duration: Duration) -> Self {
        // Time ends with its counter.
        let until = shared.now().saturating_add(duration).min(Duration::from_nanos(u64::MAX));
        Self { shared: shared.clone(), until, timer: None }
    }

    /// All timers of an instant have fired before any task runs in it, so there is none to give up then.
    fn is_over(&self) -> bool {
        self.shared.now() >= self.until
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.get_mut();
        if sleep.is_over() {
            return Poll::Ready(());
        }
        let mut state = sleep.shared.lock();
        let Some(Due::Wake(waker)) = sleep.timer.and_then(|timer| state.timers.due_mut(timer)) else {
            let (id, due) = (state.next_id(), Due::Wake(context.waker().clone()));
            sleep.timer = Some(state.timers.set(sleep.until, id, due));
            return Poll::Pending;
        };
        if !waker.will_wake(context.waker()) {
            let earlier = mem::replace(waker, context.waker().clone());
            drop(state);
            drop(earlier);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer
            && !self.is_over()
        {
            let left = self.shared.lock().timers.cancel(timer);
            drop(left);
        }
    }
}
