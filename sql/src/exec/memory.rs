//! Memory limits of statements.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use basalt_types::{Result, SqlError, SqlState};

/// Bytes that a statement may hold, within what the node grants all statements. Cheap to clone; clones share one account.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    statement: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    used: AtomicUsize,
    max: usize,
    node: Option<Arc<Account>>,
}

impl MemoryBudget {
    /// The node's pool.
    pub fn node(max: usize) -> Self {
        Self { statement: Arc::new(Account { used: AtomicUsize::new(0), max, node: None }) }
    }

    /// A statement's account within this pool.
    #[must_use]
    pub fn statement(&self, max: usize) -> Self {
        let node = Some(self.statement.clone());
        Self { statement: Arc::new(Account { used: AtomicUsize::new(0), max, node }) }
    }

    /// Takes bytes, or fails with `53200`.
    pub fn grow(&self, bytes: usize) -> Result<()> {
        self.statement.grow(bytes)
    }

    /// Gives bytes back.
    pub fn shrink(&self, bytes: usize) {
        self.statement.shrink(bytes);
    }

    pub fn used(&self) -> usize {
        self.statement.used.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.statement.max
    }
}

impl Account {
    fn grow(&self, bytes: usize) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.max {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes));
        }
        match &self.node {
            Some(node) => node.grow(bytes).inspect_err(|_| {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
            }),
            None => Ok(()),
        }
    }

    fn shrink(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(node) = &self.node {
            node.shrink(bytes);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(node) = &self.node {
            node.shrink(self.used.load(Ordering::Relaxed));
        }
    }
}

fn out_of_memory(bytes: usize) -> SqlError {
    SqlError::new(SqlState::OUT_OF_MEMORY, "out of memory")
        .with_detail(format!("Failed on request of size {bytes}: the statement's memory limit is reached."))
}
