//! Faults, each as a task of its own until told to stop.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use basalt_env::{BoxFuture, sim::SimExecutor};
use basalt_kv_api::{BatchHeader, BatchRequest, Request};
use tokio::sync::oneshot;

use crate::{
    node::Node,
    workload::{Context, row_key},
};

/// Scheduling steps between the moment a crash is due and the crash: so it hits any await point.
const CRASH_STEPS_MAX: u64 = 400;
const DOWN_MAX: Duration = Duration::from_millis(800);

#[derive(Clone)]
pub struct Nemesis {
    context: Context,
    executor: SimExecutor,
    stopped: Arc<AtomicBool>,
}

impl Nemesis {
    pub fn new(context: Context, executor: SimExecutor) -> Self {
        Self { context, executor, stopped: Arc::default() }
    }

    /// All kinds of faults that the parameters ask for.
    pub fn tasks(&self) -> Vec<BoxFuture<'static, ()>> {
        let parameters = &self.context.parameters;
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        if let Some(every) = parameters.crash_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.crash(every).await }));
        }
        if let Some(every) = parameters.split_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.split(every).await }));
        }
        if let Some(every) = parameters.disk_full_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.fill_disk(every).await }));
        }
        if let Some(every) = parameters.clock_jump_every {
            let nemesis = self.clone();
            tasks.push(Box::pin(async move { nemesis.jump_clock(every).await }));
        }
        tasks
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Waits about `mean`; false when it is time to stop.
    async fn wait(&self, mean: Duration) -> bool {
        let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX / 4);
        let micros = self.context.below(2 * micros) + 1;
        self.executor.sleep(Duration::from_micros(micros)).await;
        !self.is_stopped()
    }

    async fn crash(&self, every: Duration) {
        let node = &self.context.node;
        while self.wait(every).await {
            self.executor.steps(self.context.below(CRASH_STEPS_MAX)).await;
            if self.is_stopped() {
                return;
            }
            if self.context.one_in(6) {
                node.shut_down().await;
            }
            node.crash(&self.context);
            self.wait(DOWN_MAX / 2).await;
            node.start();
        }
    }

    async fn split(&self, every: Duration) {
        while self.wait(every).await {
            split_somewhere(&self.context).await;
        }
    }

    async fn fill_disk(&self, every: Duration) {
        while self.wait(every).await {
            self.context.trace.line(|| "disk is full".to_owned());
            self.context.node.set_disk_full(true);
            self.wait(Duration::from_millis(400)).await;
            self.context.trace.line(|| "disk has room".to_owned());
            self.context.node.set_disk_full(false);
        }
    }

    async fn jump_clock(&self, every: Duration) {
        while self.wait(every).await {
            // Backwards and forwards, beyond what the clock believes too.
            let micros = i64::try_from(self.context.below(20_000_000)).expect("small") - 8_000_000;
            self.context.trace.line(|| format!("wall clock jumps by {micros} us"));
            self.executor.jump_wall(micros);
        }
    }
}

/// Splits a range at a random row, as an operator would.
pub async fn split_somewhere(context: &Context) {
    let tables = [b'a', b'r', b'x', b'f', b's', b'c', b'i', b'l', b'q', b'w'];
    let count = if context.parameters.corners { tables.len() } else { 5 };
    let table = tables[usize::try_from(context.below(count as u64)).expect("small")];
    let row = match table {
        b'a' => context.below(context.parameters.accounts),
        b'r' => context.below(context.events.load(Ordering::Relaxed) + 1),
        b'x' => context.below(context.parameters.registers),
        b's' | b'w' => 500,
        _ => context.below(30),
    };
    let key = row_key(table, row);
    if let Some(session) = begin_split(context, &context.node, key) {
        // The node may crash meanwhile.
        let _ = session.await;
    }
}

/// Splits at `key`, beside whatever else happens.
pub fn begin_split(context: &Context, node: &Node, key: basalt_base::Key) -> Option<oneshot::Receiver<()>> {
    let trace = context.trace.clone();
    node.session(move |client| {
        Box::pin(async move {
            let requests = vec![Request::AdminSplit { key: key.clone() }];
            let batch = BatchRequest { header: BatchHeader::default(), requests };
            let outcome = client.sender().send(batch).await.map(drop);
            trace.line(|| format!("split at {key:?}: {outcome:?}"));
        })
    })
}
