//! One thread that runs all tasks of all simulated nodes, in an order drawn from the seed, on virtual time.
//!
//! Time moves only when no task can run: to the next timer. So a simulated second costs nothing, and a run is a
//! function of its seed.

use std::{
    collections::BTreeMap,
    future::Future,
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    BoxFuture, Clock, Env, Spawner,
    sim::{SimDisk, SimNodeClock, SimRng, clock::SharedClock},
};

/// The task given to [`SimExecutor::run`].
const ROOT: u64 = 0;
/// A run that takes more polls than this at one instant is taken for an endless loop.
const POLLS_PER_INSTANT_MAX: u64 = 10_000_000;

type Task = BoxFuture<'static, ()>;
/// Told of every poll: the time, the task, its name.
type Observer = Box<dyn FnMut(Duration, u64, &'static str) + Send>;

/// What happens when a timer is due.
enum Due {
    Wake(Waker),
    /// Runs on the executor itself, outside of any task.
    Call(&'static str, Box<dyn FnOnce() + Send>),
}

struct Slot {
    node: u64,
    name: &'static str,
    /// Absent while it is polled.
    task: Option<Task>,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// Sum of the steps of the shared wall clock, in microseconds.
    wall_steps: i64,
    next_id: u64,
    polls: u64,
    /// Waiters for a number of polls.
    step_waiters: BTreeMap<(u64, u64), Waker>,
    tasks: BTreeMap<u64, Slot>,
    /// Sorted, so that a draw from the seed means the same task in every run.
    ready: std::collections::BTreeSet<u64>,
    timers: BTreeMap<(Duration, u64), Due>,
}

/// Cloned handles share the executor.
#[derive(Clone)]
pub struct SimExecutor {
    state: Arc<Mutex<State>>,
    rng: Arc<SimRng>,
    observer: Arc<Mutex<Option<Observer>>>,
}

impl SimExecutor {
    pub fn new(seed: u64) -> Self {
        let state = State { next_id: ROOT + 1, ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            rng: Arc::new(SimRng::new(seed)),
            observer: Arc::default(),
        }
    }

    /// Has `observer` told of every poll, so that two runs can be compared.
    pub fn observe(&self, observer: impl FnMut(Duration, u64, &'static str) + Send + 'static) {
        *self.observer.lock() = Some(Box::new(observer));
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
        Arc::new(SimSpawner { state: self.state.clone(), node })
    }

    /// Steps the wall clock that nodes without a clock of their own share.
    pub fn jump_wall(&self, micros: i64) {
        self.state.lock().wall_steps += micros;
    }

    /// The time, and the sum of all steps of the shared wall clock in microseconds.
    pub(super) fn shared_time(&self) -> (Duration, i64) {
        let state = self.state.lock();
        (state.now, state.wall_steps)
    }

    /// Completes after so many polls of any tasks, which may be in the middle of anything; at the latest a tenth of a
    /// virtual second from now, if nothing runs.
    pub async fn steps(&self, count: u64) {
        let target = self.state.lock().polls.saturating_add(count);
        let mut timeout = self.sleep(Duration::from_millis(100));
        std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if state.polls >= target {
                return Poll::Ready(());
            }
            let id = state.next_id;
            state.next_id += 1;
            state.step_waiters.insert((target, id), context.waker().clone());
            drop(state);
            timeout.as_mut().poll(context)
        })
        .await;
    }

    /// Drops all tasks and timers: tasks and the executor hold each other.
    pub fn clear(&self) {
        loop {
            let (tasks, timers, waiters) = {
                let mut state = self.state.lock();
                state.ready.clear();
                let waiters = mem::take(&mut state.step_waiters);
                (mem::take(&mut state.tasks), mem::take(&mut state.timers), waiters)
            };
            if tasks.is_empty() && timers.is_empty() && waiters.is_empty() {
                return;
            }
            // Dropped outside the lock, in order of age; destructors may spawn more.
            drop((tasks, timers, waiters));
        }
    }

    pub fn rng(&self) -> &SimRng {
        &self.rng
    }

    pub fn now(&self) -> Duration {
        self.state.lock().now
    }

    /// Ends all tasks of a node at the await points where they are.
    pub fn kill(&self, node: u64) {
        let mut state = self.state.lock();
        let doomed: Vec<_> =
            state.tasks.iter().filter(|(_, slot)| slot.node == node).map(|(id, _)| *id).collect();
        let tasks: Vec<_> = doomed.iter().map(|id| state.tasks.remove(id)).collect();
        drop(state);
        // Dropped outside the lock: a destructor may wake others.
        drop(tasks);
    }

    /// Completes after `duration` of virtual time.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        sleep(&self.state, duration)
    }

    /// Calls `call` at `at`, or at once when that has passed. What is called must not wait; it may wake and send.
    pub(crate) fn call_at(&self, at: Duration, name: &'static str, call: impl FnOnce() + Send + 'static) {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.timers.insert((at, id), Due::Call(name, Box::new(call)));
    }

    /// Runs everything until `root` completes.
    ///
    /// # Panics
    /// When nothing can run and no timer is set, so that `root` would wait for ever.
    pub fn run<T>(&self, root: impl Future<Output = T>) -> T {
        let mut root = pin!(root);
        self.state.lock().ready.insert(ROOT);
        let mut polls = 0_u64;
        loop {
            let Some(id) = self.pick() else {
                assert!(self.advance(), "the simulation is stuck: every task waits and no timer is set");
                polls = 0;
                continue;
            };
            polls += 1;
            assert!(polls < POLLS_PER_INSTANT_MAX, "the simulation loops without time passing");
            let waker = self.waker(id);
            let mut context = Context::from_waker(&waker);
            if id == ROOT {
                self.notify(ROOT, "root");
                if let Poll::Ready(value) = root.as_mut().poll(&mut context) {
                    return value;
                }
                continue;
            }
            let Some((name, mut task)) = self.take(id) else { continue };
            self.notify(id, name);
            let poll = task.as_mut().poll(&mut context);
            let mut state = self.state.lock();
            if poll.is_ready() {
                state.tasks.remove(&id);
            } else if let Some(slot) = state.tasks.get_mut(&id) {
                slot.task = Some(mem::replace(&mut task, Box::pin(async {})));
            }
            drop(state);
            drop(task);
        }
    }

    fn take(&self, id: u64) -> Option<(&'static str, Task)> {
        let mut state = self.state.lock();
        let slot = state.tasks.get_mut(&id)?;
        Some((slot.name, slot.task.take()?))
    }

    fn notify(&self, id: u64, name: &'static str) {
        let now = self.state.lock().now;
        if let Some(observer) = &mut *self.observer.lock() {
            observer(now, id, name);
        }
    }

    /// Wakes those who wait for this many polls.
    fn count_poll(&self) {
        let mut due = Vec::new();
        {
            let mut state = self.state.lock();
            state.polls += 1;
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

    fn pick(&self) -> Option<u64> {
        self.count_poll();
        let mut state = self.state.lock();
        if state.ready.is_empty() {
            return None;
        }
        let chosen = self.rng.below(state.ready.len());
        let id = *state.ready.iter().nth(chosen)?;
        state.ready.remove(&id);
        Some(id)
    }

    fn advance(&self) -> bool {
        let mut state = self.state.lock();
        let Some(((at, id), due)) = state.timers.pop_first() else { return false };
        state.now = state.now.max(at);
        drop(state);
        match due {
            Due::Wake(waker) => waker.wake(),
            Due::Call(name, call) => {
                self.notify(id, name);
                call();
            }
        }
        true
    }

    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { id, state: self.state.clone() }))
    }
}

struct TaskWaker {
    id: u64,
    state: Arc<Mutex<State>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.lock();
        if self.id == ROOT || state.tasks.contains_key(&self.id) {
            state.ready.insert(self.id);
        }
    }
}

fn sleep(state: &Arc<Mutex<State>>, duration: Duration) -> BoxFuture<'static, ()> {
    let state = state.clone();
    let until = state.lock().now.saturating_add(duration);
    let mut timer: Option<(Duration, u64)> = None;
    Box::pin(std::future::poll_fn(move |context| {
        let mut state = state.lock();
        if let Some(key) = timer.take() {
            state.timers.remove(&key);
        }
        if state.now >= until {
            return Poll::Ready(());
        }
        let key = (until, state.next_id);
        state.next_id += 1;
        state.timers.insert(key, Due::Wake(context.waker().clone()));
        timer = Some(key);
        Poll::Pending
    }))
}

struct SimSpawner {
    state: Arc<Mutex<State>>,
    node: u64,
}

impl Spawner for SimSpawner {
    fn spawn(&self, name: &'static str, task: Task) {
        let mut state = self.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.tasks.insert(id, Slot { node: self.node, name, task: Some(task) });
        state.ready.insert(id);
    }

    fn spawn_blocking_loop(&self, name: &'static str, task: Task) {
        self.spawn(name, task);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        sleep(&self.state, duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_jumps_to_the_next_timer_and_the_seed_fixes_the_order() {
        let trace = |seed| {
            let executor = SimExecutor::new(seed);
            let env = executor.env(1, SimDisk::new());
            let log = Arc::new(Mutex::new(Vec::new()));
            for name in 0..8 {
                let (log, spawner) = (log.clone(), env.spawner.clone());
                env.spawner.spawn(
                    "test",
                    Box::pin(async move {
                        log.lock().push(name);
                        spawner.sleep(Duration::from_secs(3600)).await;
                        log.lock().push(name);
                    }),
                );
            }
            executor.run(executor.sleep(Duration::from_secs(7200)));
            assert_eq!(executor.now(), Duration::from_secs(7200));
            let log = log.lock().clone();
            assert_eq!(log.len(), 16);
            log
        };
        assert_eq!(trace(1), trace(1));
        assert_ne!(trace(1), trace(2));
    }

    #[test]
    fn killed_tasks_run_no_more() {
        let executor = SimExecutor::new(1);
        let env = executor.env(1, SimDisk::new());
        let ran = Arc::new(Mutex::new(false));
        let (flag, spawner) = (ran.clone(), env.spawner.clone());
        env.spawner.spawn(
            "test",
            Box::pin(async move {
                spawner.sleep(Duration::from_secs(1)).await;
                *flag.lock() = true;
            }),
        );
        executor.run(executor.sleep(Duration::from_millis(1)));
        executor.kill(1);
        executor.run(executor.sleep(Duration::from_secs(2)));
        assert!(!*ran.lock());
    }
}
