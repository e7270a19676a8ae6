//! The select list.

use basalt_env::BoxFuture;
use basalt_planner::{ColumnId, Expr, Plan};
use basalt_types::{Result, Row};

use super::{Stream, build};
use crate::exec::{RowStream, eval::evaluator::RowEvaluator, scope::Scope};

struct Project {
    input: Stream,
    exprs: RowEvaluator,
    scope: Scope,
}

pub(super) async fn open(input: &Plan, exprs: &[(ColumnId, Expr)], scope: &Scope) -> Result<Stream> {
    let evaluator = RowEvaluator::new(exprs.iter().map(|(_, expr)| expr), &input.columns, scope)?;
    Ok(Box::new(Project { input: build(input, scope).await?, exprs: evaluator, scope: scope.clone() }))
}

impl RowStream for Project {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            let Some(batch) = self.input.next_batch().await? else { return Ok(None) };
            self.scope.checkpoint().await?;
            let mut out = Vec::with_capacity(batch.len());
            for row in batch {
                let mut projected = Row::with_capacity(self.exprs.exprs().len());
                self.exprs.evaluate_all(&self.scope, &row, &mut projected).await?;
                out.push(projected);
            }
            Ok(Some(out))
        })
    }

    fn expect_at_most(&mut self, rows: u64) {
        self.input.expect_at_most(rows);
    }

    fn affected(&self) -> u64 {
        self.input.affected()
    }
}
