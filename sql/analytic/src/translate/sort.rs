//! ORDER BY.

use std::sync::Arc;

use arrow::compute::SortOptions;
use basalt_planner::{Expr, Plan, plan::SortKey};
use datafusion::{
    physical_expr::{LexOrdering, PhysicalSortExpr},
    physical_plan::sorts::sort::SortExec,
};

use super::{
    Failure, PlanBuilder,
    builder::{Operator, refused},
};
use crate::kind::{Kind, columns_of};

/// First rows above which a full sort, which can spill, takes the place of a heap.
const TOP_MAX: usize = 100_000;

impl PlanBuilder {
    pub(super) async fn sort(
        &mut self,
        input: &Plan,
        keys: &[SortKey],
        top: Option<&Expr>,
    ) -> Result<Operator, Failure> {
        let translator = self.translator(&columns_of(&input.columns)?);
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let translated = translator.translate(&key.expr)?;
            if translated.kind == Kind::Stored {
                return refused("a sort of arrays or records");
            }
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            order.push(PhysicalSortExpr::new(translated.key()?, options));
        }
        let fetch = self.row_count(top, "LIMIT")?.filter(|&rows| rows <= TOP_MAX).map(|rows| rows.max(1));
        let input = self.build(input).await?;
        let Some(order) = LexOrdering::new(order) else { return Ok(input) };
        Ok(Arc::new(SortExec::new(order, input).with_fetch(fetch)))
    }
}
