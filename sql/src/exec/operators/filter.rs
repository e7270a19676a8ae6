//! WHERE and HAVING.

use basalt_env::BoxFuture;
use basalt_planner::{Expr, Plan};
use basalt_types::{Datum, Result, Row};

use super::{Stream, build};
use crate::exec::{RowStream, eval::evaluator::RowEvaluator, scope::Scope};

struct Filter {
    input: Stream,
    predicate: RowEvaluator,
    scope: Scope,
}

pub(super) async fn open(input: &Plan, predicate: &Expr, scope: &Scope) -> Result<Stream> {
    let predicate = RowEvaluator::new([predicate], &input.columns, scope)?;
    Ok(Box::new(Filter { input: build(input, scope).await?, predicate, scope: scope.clone() }))
}

impl RowStream for Filter {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(batch) = self.input.next_batch().await? {
                self.scope.checkpoint().await?;
                let mut kept = Vec::with_capacity(batch.len());
                for row in batch {
                    self.predicate.next_row();
                    if self.predicate.evaluate(0, &self.scope, &row).await? == Datum::Bool(true) {
                        kept.push(row);
                    }
                }
                if !kept.is_empty() {
                    return Ok(Some(kept));
                }
            }
            Ok(None)
        })
    }
}
