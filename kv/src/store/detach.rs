//! Work that goes on when nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use basalt_env::{BoxFuture, Spawner};

/// Awaits like its task; if dropped before the end, hands the task to the spawner.
/// A proposal must run its course, with its latches, even if its request was cancelled.
pub struct Detach<T: Send + 'static> {
    task: Option<BoxFuture<'static, T>>,
    spawner: Arc<dyn Spawner>,
}

impl<T: Send + 'static> Detach<T> {
    pub fn new(spawner: &Arc<dyn Spawner>, task: BoxFuture<'static, T>) -> Self {
        Self { task: Some(task), spawner: Arc::clone(spawner) }
    }
}

impl<T: Send + 'static> Future for Detach<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("not polled after completion");
        let polled = task.as_mut().poll(context);
        if polled.is_ready() {
            self.task = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detach<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.spawner.spawn(
                "kv proposal",
                Box::pin(async move {
                    task.await;
                }),
            );
        }
    }
}
