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

/// Bytes that one operator holds; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    used: usize,
    granted: usize,
}

/// Reservations take from their budget in steps, so that most rows cost no shared counter.
const GRANT_BYTES: usize = 16 << 10;

impl Reservation {
    pub fn new(budget: &MemoryBudget) -> Self {
        Self { budget: budget.clone(), used: 0, granted: 0 }
    }

    /// Counts bytes, or fails with `53200`.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        let used = self.used + bytes;
        if used > self.granted {
            let wanted = used - self.granted;
            let step = wanted.max(GRANT_BYTES);
            // Near the limit only what is needed is taken.
            let taken = if self.budget.grow(step).is_ok() {
                step
            } else {
                self.budget.grow(wanted)?;
                wanted
            };
            self.granted += taken;
        }
        self.used = used;
        Ok(())
    }

    /// Gives bytes back.
    pub fn shrink(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        if self.granted > self.used + 2 * GRANT_BYTES {
            let excess = self.granted - self.used - GRANT_BYTES;
            self.budget.shrink(excess);
            self.granted -= excess;
        }
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        self.budget.shrink(self.granted);
        (self.used, self.granted) = (0, 0);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
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
