//! Polls a second of the simulated executor: `cargo run --release -p basalt-env --example polls`.
//!
//! Four loads: idle tasks that wake now and then, as in a cluster at rest; tasks that wake each other, as in a cluster
//! under load; a crowd that can always run; a network of nodes
//! that do nothing but send.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use basalt_env::sim::{LinkFaults, SimDisk, SimExecutor, SimNetwork};
use bytes::Bytes;
use parking_lot::Mutex;

/// Counted by the observer, so that the same program measures every version.
fn measure(name: &str, virtual_time: Duration, prepare: impl FnOnce(&SimExecutor)) {
    let executor = SimExecutor::new(1);
    let polls = Arc::new(AtomicU64::new(0));
    let counter = polls.clone();
    executor.observe(move |_, _, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    prepare(&executor);
    let start = Instant::now();
    executor.run(executor.sleep(virtual_time));
    let seconds = start.elapsed().as_secs_f64();
    executor.clear();
    let polls = polls.load(Ordering::Relaxed) as f64;
    println!(
        "{name:24} {:10.0} polls in {seconds:6.2} s: {:8.2} million a second",
        polls,
        polls / seconds / 1e6
    );
}

/// Wakes and pends once.
async fn turn() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A turn that two tasks hand to each other.
#[derive(Default)]
struct Baton {
    at: u8,
    waiting: [Option<Waker>; 2],
}

async fn pass(baton: &Mutex<Baton>, me: u8) {
    std::future::poll_fn(|context| {
        let mut baton = baton.lock();
        if baton.at != me {
            baton.waiting[usize::from(me)] = Some(context.waker().clone());
            return Poll::Pending;
        }
        baton.at = 1 - me;
        if let Some(waker) = baton.waiting[usize::from(1 - me)].take() {
            waker.wake();
        }
        Poll::Ready(())
    })
    .await;
}

fn main() {
    measure("timers of 1000 tasks", Duration::from_secs(20), |executor| {
        let spawner = executor.env(1, SimDisk::new()).spawner;
        for task in 0..1000 {
            let own = spawner.clone();
            let body = async move {
                loop {
                    own.sleep(Duration::from_micros(10_000 + task)).await;
                }
            };
            spawner.spawn("sleeper", Box::pin(body));
        }
    });
    measure("100 pairs", Duration::from_secs(1), |executor| {
        let spawner = executor.env(1, SimDisk::new()).spawner;
        for task in 0..100 {
            let baton = Arc::new(Mutex::new(Baton::default()));
            for me in 0..2 {
                let (own, baton) = (spawner.clone(), baton.clone());
                let body = async move {
                    loop {
                        for _ in 0..100 {
                            pass(&baton, me).await;
                        }
                        own.sleep(Duration::from_micros(10_000 + task)).await;
                    }
                };
                spawner.spawn("pair", Box::pin(body));
            }
        }
    });
    measure("crowd of 5000", Duration::from_millis(100), |executor| {
        let spawner = executor.env(1, SimDisk::new()).spawner;
        for _ in 0..5000 {
            let body = async {
                for _ in 0..100 {
                    turn().await;
                }
            };
            spawner.spawn("crowd", Box::pin(body));
        }
    });
    measure("network of 5", Duration::from_secs(20), |executor| {
        let network = SimNetwork::new(executor);
        network.set_link_faults(LinkFaults {
            drop_one_in: 1000,
            duplicate_one_in: 1000,
            ..LinkFaults::default()
        });
        for node in 1..=5 {
            network.connect(node, Arc::new(|_, _, _| {}));
            let (own, network) = (executor.spawner(node), network.clone());
            let body = async move {
                loop {
                    for to in 1..=5 {
                        network.send(node, to, 0, Bytes::from_static(b"message"));
                    }
                    own.sleep(Duration::from_micros(1000)).await;
                }
            };
            executor.spawner(node).spawn("node", Box::pin(body));
        }
    });
}
