//! Running tasks and moving time.

use std::{
    collections::BTreeMap,
    future::Future,
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    tasks::{Body, Task, TaskKey, Tasks},
    timers::{Due, Sleep, Timers},
};
use crate::{
    BoxFuture, Clock, Env, Spawner,
    sim::{SimDisk, SimNodeClock, SimRng, clock::SharedClock},
};

/// A run that takes more polls (or calls) than this at one instant is taken for an endless loop.
const POLLS_PER_INSTANT_MAX: u64 = 10_000_000;

/// Told of every poll: the time, the task, its name.
type Observer = Box<dyn FnMut(Duration, u64, &'static str) + Send>;

/// What the executor, its tasks' wakers and its timers share.
#[derive(Default)]
pub(super) struct Shared {
    /// In nanoseconds; written by [`SimExecutor::advance`] only. Outside the lock, because everybody asks for it.
    now: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.now.load(Ordering::Relaxed))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[derive(Default)]
pub(super) struct State {
    /// Sum of the steps of the shared wall clock, in microseconds.
    wall_steps: i64,
    last_id: u64,
    polls: u64,
    /// Waiters for a number of polls.
    step_waiters: BTreeMap<(u64, u64), Waker>,
    tasks: Tasks,
    pub(super) timers: Timers,
}

impl State {
    /// A number for a task or a timer; the root has 0.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// Cloned handles share the executor.
#[derive(Clone)]
pub struct SimExecutor {
    shared: Arc<Shared>,
    rng: Arc<SimRng>,
    observer: Arc<Mutex<Option<Observer>>>,
}

/// The environment of nodes.
impl SimExecutor {
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::default(), rng: Arc::new(SimRng::new(seed)), observer: Arc::default() }
    }

    /// The environment of a node on the clock that all such nodes share. Its tasks can be killed together.
    pub fn env(&self, node: u64, disk: SimDisk) -> Env {
        self.env_on(node, disk, Arc::new(SharedClock(self.clone())))
    }

    /// The environment of a node with a clock of its own.
    pub fn env_with(&self, node: u64, disk: SimDisk, clock: &SimNodeClock) -> Env {
        self.env_on(node, disk, Arc::new(clock.clone()))
    }

    fn env_on(&self, node: u64, disk: SimDisk, clock: Arc<dyn Clock>) -> Env {
        Env { clock, rng: self.rng.clone(), disk: Arc::new(disk), spawner: self.spawner(node) }
    }

    /// Spawns tasks of a node. Node 0 is the world outside.
    pub fn spawner(&self, node: u64) -> Arc<dyn Spawner> {
        Arc::new(SimSpawner { shared: self.shared.clone(), node })
    }

    /// Steps the wall clock that nodes without a clock of their own share.
    pub fn jump_wall(&self, micros: i64) {
        self.shared.lock().wall_steps += micros;
    }

    /// The time, and the sum of all steps of the shared wall clock in microseconds.
    pub(in crate::sim) fn shared_time(&self) -> (Duration, i64) {
        (self.now(), self.shared.lock().wall_steps)
    }

    pub fn rng(&self) -> &SimRng {
        &self.rng
    }

    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Polls of tasks so far: a measure of what a run has cost.
    pub fn polls(&self) -> u64 {
        self.shared.lock().polls
    }

    /// Has `observer` told of every poll, so that two runs can be compared.
    pub fn observe(&self, observer: impl FnMut(Duration, u64, &'static str) + Send + 'static) {
        *self.observer.lock() = Some(Box::new(observer));
    }
}

/// What befalls tasks.
impl SimExecutor {
    /// Ends all tasks of a node at the await points where they are. A node that was paused is so no more.
    pub fn kill(&self, node: u64) {
        let doomed = self.shared.lock().tasks.kill(node);
        // Dropped outside the lock: a destructor may wake others.
        drop(doomed);
    }

    /// Lets no task of a node run until [`SimExecutor::resume`], as if the process was sent SIGSTOP: time passes and
    /// timers fire, but the tasks notice only afterwards.
    pub fn pause(&self, node: u64) {
        self.shared.lock().tasks.pause(node);
    }

    pub fn resume(&self, node: u64) {
        self.shared.lock().tasks.resume(node);
    }

    pub fn is_paused(&self, node: u64) -> bool {
        self.shared.lock().tasks.is_paused(node)
    }

    /// Drops all tasks and timers: tasks and the executor hold each other.
    pub fn clear(&self) {
        loop {
            let (tasks, timers, waiters) = {
                let mut state = self.shared.lock();
                let waiters = mem::take(&mut state.step_waiters);
                (state.tasks.clear(), state.timers.clear(), waiters)
            };
            if tasks.is_empty() && timers.is_empty() && waiters.is_empty() {
                return;
            }
            // Dropped outside the lock, in order of age; destructors may spawn more.
            drop((tasks, timers, waiters));
        }
    }
}

/// Time.
impl SimExecutor {
    /// Completes after `duration` of virtual time.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::new(&self.shared, duration))
    }

    /// Completes after so many polls of any tasks, which may be in the middle of anything; at the latest a tenth of a
    /// virtual second from now, if nothing runs.
    pub async fn steps(&self, count: u64) {
        let target = self.shared.lock().polls.saturating_add(count);
        let mut timeout = self.sleep(Duration::from_millis(100));
        std::future::poll_fn(|context| {
            let mut state = self.shared.lock();
            if state.polls >= target {
                return Poll::Ready(());
            }
            let id = state.next_id();
            state.step_waiters.insert((target, id), context.waker().clone());
            drop(state);
            timeout.as_mut().poll(context)
        })
        .await;
    }

    /// Calls `call` at `at`, or at once when that has passed. What is called must not wait; it may wake and send.
    pub(in crate::sim) fn call_at(
        &self,
        at: Duration,
        name: &'static str,
        call: impl FnOnce() + Send + 'static,
    ) {
        let mut state = self.shared.lock();
        let id = state.next_id();
        state.timers.set(at, id, Due::Call(name, Box::new(call)));
    }
}

/// A poll that is to happen.
struct Turn {
    key: TaskKey,
    name: &'static str,
    /// Absent for the root.
    body: Option<Body>,
}

/// The loop.
impl SimExecutor {
    /// Runs everything until `root` completes.
    ///
    /// # Panics
    /// When nothing can run and no timer is set, so that `root` would wait for ever.
    pub fn run<T>(&self, root: impl Future<Output = T>) -> T {
        let mut root = pin!(root);
        let root_waker = waker(&self.shared, TaskKey::ROOT);
        self.shared.lock().tasks.wake(TaskKey::ROOT);
        let mut events = 0_u64;
        let mut unfinished = None;
        loop {
            let Some(turn) = self.next_turn(unfinished.take()) else {
                let before = self.now();
                let fired = self.advance();
                assert!(fired > 0, "the simulation is stuck: every task waits and no timer is set");
                events = fired + if self.now() > before { 0 } else { events };
                assert!(events < POLLS_PER_INSTANT_MAX, "the simulation loops without time passing");
                continue;
            };
            events += 1;
            assert!(events < POLLS_PER_INSTANT_MAX, "the simulation loops without time passing");
            self.notify(turn.key.id, turn.name);
            let Some(mut body) = turn.body else {
                if let Poll::Ready(value) = root.as_mut().poll(&mut Context::from_waker(&root_waker)) {
                    return value;
                }
                continue;
            };
            if body.task.as_mut().poll(&mut Context::from_waker(&body.waker)).is_pending() {
                unfinished = Some((turn.key, body));
                continue;
            }
            // The body is dropped outside the lock: a destructor may wake others.
            self.shared.lock().tasks.remove(turn.key);
        }
    }

    /// Returns the body of the last turn to its task, counts a poll, wakes those who have waited for it, and picks the
    /// task to be polled.
    fn next_turn(&self, unfinished: Option<(TaskKey, Body)>) -> Option<Turn> {
        let mut state = self.shared.lock();
        if let Some((key, body)) = unfinished
            && let Some(killed) = state.tasks.put_back(key, body)
        {
            // It was killed while it ran. Dropped outside the lock: a destructor may wake others.
            drop(state);
            drop(killed);
            state = self.shared.lock();
        }
        if !state.step_waiters.is_empty() {
            drop(state);
            self.wake_step_waiters();
            state = self.shared.lock();
        }
        let (key, name, body) = state.tasks.pick(&self.rng)?;
        state.polls += 1;
        Some(Turn { key, name, body })
    }

    fn wake_step_waiters(&self) {
        let mut due = Vec::new();
        {
            let mut state = self.shared.lock();
            let polls = state.polls;
            while let Some(entry) = state.step_waiters.first_entry() {
                if entry.key().0 > polls {
                    break;
                }
                due.push(entry.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
    }

    /// Moves time to the next timer and fires all that are due then. Returns their number.
    fn advance(&self) -> u64 {
        let mut fired = 0;
        loop {
            let mut state = self.shared.lock();
            // What was due may be so no more after a call.
            if fired > 0 && !state.timers.is_due(self.now()) {
                return fired;
            }
            let Some((at, id, due)) = state.timers.pop() else { return fired };
            let now = at.max(self.now());
            self.shared.now.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let is_last = !state.timers.is_due(now);
            drop(state);
            match due {
                Due::Wake(waker) => waker.wake(),
                Due::Call(name, call) => {
                    self.notify(id, name);
                    call();
                }
            }
            fired += 1;
            // A call may set a timer for this instant, and so without end.
            if is_last || fired >= POLLS_PER_INSTANT_MAX {
                return fired;
            }
        }
    }

    fn notify(&self, id: u64, name: &'static str) {
        if let Some(observer) = &mut *self.observer.lock() {
            observer(self.now(), id, name);
        }
    }
}

struct TaskWaker {
    key: TaskKey,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.lock().tasks.wake(self.key);
    }
}

fn waker(shared: &Arc<Shared>, key: TaskKey) -> Waker {
    Waker::from(Arc::new(TaskWaker { key, shared: shared.clone() }))
}

struct SimSpawner {
    shared: Arc<Shared>,
    node: u64,
}

impl Spawner for SimSpawner {
    fn spawn(&self, name: &'static str, task: Task) {
        let mut state = self.shared.lock();
        let id = state.next_id();
        state.tasks.insert(id, self.node, name, task, |key| waker(&self.shared, key));
    }

    fn spawn_blocking_loop(&self, name: &'static str, task: Task) {
        self.spawn(name, task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::new(&self.shared, duration))
    }
}
