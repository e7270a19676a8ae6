//! DataFusion's memory pool within the statement's budget.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use basalt_sql::exec::memory::MemoryBudget;
use datafusion::{
    common::{DataFusionError, Result},
    execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation},
};

/// Gives what the budget gives; an operator that can spill does so when it is refused.
#[derive(Debug)]
pub struct BudgetPool {
    budget: MemoryBudget,
    reserved: AtomicUsize,
    /// Grown without asking (DataFusion accounts for some memory after the fact) and not covered by the budget.
    overdraft: AtomicUsize,
}

impl BudgetPool {
    pub fn new(budget: MemoryBudget) -> Self {
        Self { budget, reserved: AtomicUsize::new(0), overdraft: AtomicUsize::new(0) }
    }
}

impl fmt::Display for BudgetPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget of {} bytes", self.budget.max())
    }
}

impl MemoryPool for BudgetPool {
    fn name(&self) -> &str {
        "budget"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.reserved.fetch_add(additional, Ordering::Relaxed);
        if self.budget.grow(additional).is_err() {
            self.overdraft.fetch_add(additional, Ordering::Relaxed);
        }
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.reserved.fetch_sub(shrink, Ordering::Relaxed);
        let taken = self.overdraft.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |overdraft| {
            Some(overdraft.saturating_sub(shrink))
        });
        let covered = shrink - taken.unwrap_or(0).min(shrink);
        self.budget.shrink(covered);
    }

    fn try_grow(&self, _: &MemoryReservation, additional: usize) -> Result<()> {
        let refused = |error: basalt_types::SqlError| {
            DataFusionError::ResourcesExhausted(error.fields().detail.clone().unwrap_or_default())
        };
        self.budget.grow(additional).map_err(refused)?;
        self.reserved.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.budget.max())
    }
}
