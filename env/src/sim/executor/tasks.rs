//! The tasks, and which of them can run.
//!
//! A poll happens millions of times in a run, so nothing here looks for anything: a task sits in a slot that its waker
//! knows, and the tasks that can run are a vector from which the seed picks an index.

use std::{collections::BTreeMap, mem, task::Waker};

use crate::{BoxFuture, sim::SimRng};

pub(super) type Task = BoxFuture<'static, ()>;

/// Names a task for ever: slots are used again, numbers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskKey {
    slot: usize,
    pub(super) id: u64,
}

impl TaskKey {
    /// The future given to the run itself, which is no task of a node and is never removed.
    pub(super) const ROOT: Self = Self { slot: 0, id: 0 };
}

/// What a poll needs; taken from the slot for its duration.
pub(super) struct Body {
    pub(super) task: Task,
    pub(super) waker: Waker,
}

struct Slot {
    /// `None` in a slot that is free.
    id: Option<u64>,
    node: u64,
    name: &'static str,
    /// In `ready` or in `paused`.
    queued: bool,
    body: Option<Body>,
}

pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// In no order that means anything, but the same one in every run of a seed. May name tasks that are gone.
    ready: Vec<TaskKey>,
    /// Nodes that are paused, each with the tasks that could run.
    paused: BTreeMap<u64, Vec<TaskKey>>,
}

impl Default for Tasks {
    fn default() -> Self {
        let root = Slot { id: Some(TaskKey::ROOT.id), node: 0, name: "root", queued: false, body: None };
        Self { slots: vec![root], free: Vec::new(), ready: Vec::new(), paused: BTreeMap::new() }
    }
}

impl Tasks {
    /// Adds a task that can run. `waker` makes what wakes it.
    pub(super) fn insert(
        &mut self,
        id: u64,
        node: u64,
        name: &'static str,
        task: Task,
        waker: impl FnOnce(TaskKey) -> Waker,
    ) {
        let place = self.free.pop().unwrap_or(self.slots.len());
        let key = TaskKey { slot: place, id };
        let body = Some(Body { task, waker: waker(key) });
        let slot = Slot { id: Some(id), node, name, queued: true, body };
        match self.slots.get_mut(place) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        self.ready.push(key);
    }

    fn slot(&mut self, key: TaskKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.slot).filter(|slot| slot.id == Some(key.id))
    }

    /// Lets a task run, unless it is gone.
    pub(super) fn wake(&mut self, key: TaskKey) {
        if let Some(slot) = self.slot(key)
            && !mem::replace(&mut slot.queued, true)
        {
            self.ready.push(key);
        }
    }

    /// Takes one of the tasks that can run, as the seed says. The root comes without a body.
    pub(super) fn pick(&mut self, rng: &SimRng) -> Option<(TaskKey, &'static str, Option<Body>)> {
        while !self.ready.is_empty() {
            let chosen = if self.ready.len() == 1 { 0 } else { rng.below(self.ready.len()) };
            let key = self.ready.swap_remove(chosen);
            let Some(slot) = self.slots.get_mut(key.slot).filter(|slot| slot.id == Some(key.id)) else {
                continue;
            };
            if !self.paused.is_empty()
                && let Some(waiting) = self.paused.get_mut(&slot.node)
            {
                waiting.push(key);
                continue;
            }
            slot.queued = false;
            let body = slot.body.take();
            if body.is_some() || key == TaskKey::ROOT {
                return Some((key, slot.name, body));
            }
        }
        None
    }

    /// Returns what a poll has left unfinished; gives it back when the task was killed meanwhile.
    pub(super) fn put_back(&mut self, key: TaskKey, body: Body) -> Option<Body> {
        match self.slot(key) {
            Some(slot) => {
                slot.body = Some(body);
                None
            }
            None => Some(body),
        }
    }

    /// Ends a task. Its body must be dropped where no lock is held.
    pub(super) fn remove(&mut self, key: TaskKey) -> Option<Body> {
        let slot = self.slot(key)?;
        slot.id = None;
        let body = slot.body.take();
        self.free.push(key.slot);
        body
    }

    /// Ends all tasks of a node, paused or not; returns them in order of age.
    pub(super) fn kill(&mut self, node: u64) -> Vec<Body> {
        self.paused.remove(&node);
        self.remove_where(|slot| slot.node == node)
    }

    /// Ends all tasks; returns them in order of age.
    pub(super) fn clear(&mut self) -> Vec<Body> {
        self.paused.clear();
        self.ready.clear();
        // What says that the root is in `ready`.
        self.slots[TaskKey::ROOT.slot].queued = false;
        self.remove_where(|_| true)
    }

    fn remove_where(&mut self, doomed: impl Fn(&Slot) -> bool) -> Vec<Body> {
        let places = self.slots.iter().enumerate().skip(1);
        let mut keys: Vec<TaskKey> = places
            .filter(|(_, slot)| doomed(slot))
            .filter_map(|(place, slot)| Some(TaskKey { slot: place, id: slot.id? }))
            .collect();
        keys.sort_unstable_by_key(|key| key.id);
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Lets no task of the node run until `resume`. The world outside cannot be paused.
    pub(super) fn pause(&mut self, node: u64) {
        if node != 0 {
            self.paused.entry(node).or_default();
        }
    }

    pub(super) fn resume(&mut self, node: u64) {
        self.ready.extend(self.paused.remove(&node).unwrap_or_default());
    }

    pub(super) fn is_paused(&self, node: u64) -> bool {
        self.paused.contains_key(&node)
    }
}
