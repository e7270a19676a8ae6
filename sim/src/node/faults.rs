//! What befalls a node while it runs, and what its disk does.

#[cfg(test)]
use std::sync::atomic::AtomicBool;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use basalt_env::{
    Disk, OpenMode, Rng,
    sim::{DiskFault, InjectedFault, Operation},
};
use basalt_raft::proven_batches;
use basalt_storage::{Engine, memory::Fault};
use bytes::Bytes;

use super::{Claim, DISK_CAPACITY, Node};
use crate::workload::Context;

pub struct Damage {
    pub what: String,
    /// Where the log ends: and the store must find it.
    pub at_end: bool,
}

impl Node {
    /// It never comes back.
    pub fn give_up(&self) {
        self.state.lock().lost = true;
    }

    /// For a fault that turns the node off and on; `None` while there is another one, and of a lost node.
    pub fn claim(&self) -> Option<Claim> {
        if self.state.lock().lost {
            return None;
        }
        let taken = self.claimed.swap(true, Ordering::Relaxed);
        (!taken).then(|| Claim(self.claimed.clone()))
    }

    /// Neither runs nor receives, but does not know it.
    pub fn freeze(&self) {
        self.trace.line(|| format!("node {} stands still", self.number));
        self.network.freeze(self.number);
        self.executor.pause(self.state.lock().group);
    }

    pub fn thaw(&self) {
        self.trace.line(|| format!("node {} goes on", self.number));
        self.executor.resume(self.state.lock().group);
        self.network.thaw(self.number);
    }

    /// The next sync fails. The handle says whether one has.
    pub fn fail_sync(&self) -> InjectedFault {
        let mut state = self.state.lock();
        let fault = state.disk.inject(DiskFault::error(Operation::Sync).times(1));
        state.failing = Some(fault.clone());
        fault
    }

    /// Damages the log at rest: any segment but the last, or what the last one has that must not be lost. Says what it did,
    /// if there was anything.
    pub fn damage(&self, context: &Context) -> Option<Damage> {
        if context.coin() { self.damage_sealed(context) } else { self.damage_end(context) }
    }

    /// A byte of a batch that was synced, as the log knows; the later, the likelier. What is behind those may be torn.
    fn damage_end(&self, context: &Context) -> Option<Damage> {
        let mut state = self.state.lock();
        let path = state.disk.paths(|path| path.ends_with(".seg")).pop()?;
        let file = state.disk.open(&path, OpenMode::ReadWriteCreate).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        file.read_at(0, &mut bytes).ok()?;
        let mut batches = proven_batches(&Bytes::from(bytes));
        let behind = if context.coin() { 0 } else { context.rng.below(batches.len().max(1)) };
        let batch = batches.drain(..).rev().nth(behind)?;
        let place = batch.start + context.rng.below(batch.len());
        state.disk.corrupt(&path, place);
        state.damaged = true;
        Some(Damage {
            what: format!("{path}: a byte at {place}, {behind} batches before the end"),
            at_end: true,
        })
    }

    /// Anywhere in a segment that is not the last, also where nothing is that anybody needs.
    fn damage_sealed(&self, context: &Context) -> Option<Damage> {
        let mut state = self.state.lock();
        let segments = state.disk.paths(|path| path.ends_with(".seg"));
        let (_, sealed) = segments.split_last()?;
        let chosen = |path: &str| sealed.iter().any(|sealed| sealed == path);
        let (what, place) = if context.coin() {
            ("a bit flipped", state.disk.flip_bit(&context.rng, chosen)?)
        } else {
            ("cut off", state.disk.truncate(&context.rng, chosen)?)
        };
        state.damaged = true;
        Some(Damage { what: format!("{} {what} at {}", place.0, place.1), at_end: false })
    }

    /// The next write of the log is lost on its way to the medium, or lands elsewhere; the disk says that all is well. From
    /// now on the store may find that out.
    pub fn misplace_write(&self, context: &Context) -> InjectedFault {
        let fault = if context.coin() { DiskFault::lost_write() } else { DiskFault::misdirected_write() };
        let fault = fault.on(|path| path.ends_with(".seg")).times(1).seed(context.rng.next_u64());
        let mut state = self.state.lock();
        state.damaged = true;
        state.disk.inject(fault)
    }

    /// The medium damages a key of the state. Says which, if there is any.
    pub fn damage_state(&self, context: &Context) -> Option<String> {
        let mut state = self.state.lock();
        let what = state.engine.damage_some(&mut |count| context.below(count))?;
        state.damaged = true;
        Some(what)
    }

    /// Takes the damage of the state back. False if it was met before.
    pub fn mend_state(&self) -> bool {
        let mut state = self.state.lock();
        if state.engine.damage().is_some() || !state.disk.paths(|path| path == "DAMAGED").is_empty() {
            return false;
        }
        state.engine.mend();
        state.damaged = false;
        true
    }

    /// Whether what it has was damaged.
    pub fn is_damaged(&self) -> bool {
        self.state.lock().damaged
    }

    /// Nothing of what the disk holds is damaged.
    pub fn trust_disk(&self) {
        self.state.lock().damaged = false;
    }

    /// Completed syncs of the disk.
    pub fn syncs(&self) -> u64 {
        self.state.lock().disk.syncs()
    }

    /// Whether the store has said that what it has is damaged.
    pub fn is_refused(&self) -> bool {
        self.state.lock().refused
    }

    pub async fn until_up_or_refused(&self) {
        while !self.is_refused() && self.state.lock().running.is_none() {
            self.pause().await;
        }
    }

    pub fn set_disk_full(&self, full: bool) {
        {
            let mut state = self.state.lock();
            state.disk_full = full;
            state.was_full |= full;
        }
        self.apply_disk_full();
    }

    pub(super) fn apply_disk_full(&self) {
        let state = self.state.lock();
        let used = state.disk.used();
        state.disk.set_capacity(if state.disk_full { used } else { DISK_CAPACITY });
        state.engine.set_fault(state.disk_full.then_some(Fault::DiskFull));
    }

    pub(super) fn slow_disk(&self) {
        if self.state.lock().healed {
            return;
        }
        let (executor, parameters) = (self.executor.clone(), self.parameters.clone());
        let stalls = Arc::clone(&self.stalls);
        self.state.lock().disk.delay_syncs(move || {
            let rng = executor.rng();
            let most = u64::try_from(parameters.sync_delay_max.as_micros()).unwrap_or(0);
            let mut delay = Duration::from_micros(rng.next_u64() % (most + 1));
            if rng.next_u64() % parameters.stall_one_in == 0 {
                delay = parameters.stall;
                stalls.fetch_add(1, Ordering::Relaxed);
            }
            executor.sleep(delay)
        });
    }

    /// What is synced is not done before the flag is lowered.
    #[cfg(test)]
    pub fn hang_disk(&self) -> Arc<AtomicBool> {
        let hangs = Arc::new(AtomicBool::new(true));
        let (executor, lowered) = (self.executor.clone(), Arc::clone(&hangs));
        self.state.lock().disk.delay_syncs(move || {
            let (executor, hangs) = (executor.clone(), Arc::clone(&lowered));
            Box::pin(async move {
                while hangs.load(Ordering::Relaxed) {
                    executor.sleep(Duration::from_millis(10)).await;
                }
            })
        });
        hangs
    }

    /// Lifts all faults of the disk.
    pub fn heal(&self) {
        self.set_disk_full(false);
        {
            let mut state = self.state.lock();
            state.healed = true;
            state.disk.lift_faults();
            state.disk.delay_syncs(|| Box::pin(async {}));
        }
        let (down, group) = {
            let state = self.state.lock();
            (state.running.is_none(), state.group)
        };
        self.trace.line(|| format!("node {} healed; down {down}, incarnation {group}", self.number));
    }
}
