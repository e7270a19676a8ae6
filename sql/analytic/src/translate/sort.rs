//! ORDER BY.

use std::sync::Arc;

use arrow::compute::SortOptions;
use basalt_planner::{Expr, Plan, plan::SortKey};
use datafusion::{
    physical_expr::{LexOrdering, PhysicalSortExpr},
    physical_plan::{
        ExecutionPlanProperties,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
    },
};

use super::{
    Failure, PlanBuilder,
    builder::{Operator, refused},
};
use crate::{
    kind::{Kind, columns_of},
    relation::gather::gathered,
};

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
        let input = self.build_split(input).await?;
        let Some(order) = LexOrdering::new(order) else { return Ok(gathered(input, &self.context.env)) };
        Ok(sorted(order, input, fetch))
    }
}

/// One partition in order; the input's are sorted on their own first.
pub(super) fn sorted(order: LexOrdering, input: Operator, fetch: Option<usize>) -> Operator {
    let partitions = input.output_partitioning().partition_count();
    let sort = SortExec::new(order.clone(), input).with_fetch(fetch);
    if partitions == 1 {
        return Arc::new(sort);
    }
    let sort = Arc::new(sort.with_preserve_partitioning(true));
    let merge = SortPreservingMergeExec::new(order, sort).with_fetch(fetch);
    Arc::new(merge.with_round_robin_repartition(false))
}
