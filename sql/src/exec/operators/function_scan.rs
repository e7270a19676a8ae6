//! A function in FROM.

use basalt_env::BoxFuture;
use basalt_functions::{FunctionKind, RowSource};
use basalt_planner::{Expr, expr::CallExpr};
use basalt_types::{Datum, Result, Row};

use super::{Stream, project_set::SetCall};
use crate::exec::{BATCH_ROWS, RowStream, RowsStream, eval::evaluator::RowEvaluator, scope::Scope};

struct FunctionScan {
    rows: RowSource,
    /// The number of the next row, with WITH ORDINALITY.
    ordinal: Option<i64>,
    scope: Scope,
}

pub(super) async fn open(call: &CallExpr, ordinality: bool, scope: &Scope) -> Result<Stream> {
    let mut row = Row::new();
    if !matches!(call.function.kind, FunctionKind::Set { .. }) {
        // Any other function gives one row.
        let expr = Expr::Call(Box::new(call.clone()));
        RowEvaluator::new([&expr], &[], scope)?.evaluate_all(scope, &[], &mut row).await?;
        if ordinality {
            row.push(Datum::Int8(1));
        }
        return Ok(Box::new(RowsStream::new(vec![row])));
    }
    RowEvaluator::new(&call.args, &[], scope)?.evaluate_all(scope, &[], &mut row).await?;
    let rows = SetCall::new(call)?.start(scope, &row)?;
    Ok(Box::new(FunctionScan { rows, ordinal: ordinality.then_some(1), scope: scope.clone() }))
}

impl FunctionScan {
    async fn batch(&mut self) -> Result<Option<Vec<Row>>> {
        self.scope.checkpoint().await?;
        let mut out = Vec::new();
        for row in self.rows.by_ref().take(BATCH_ROWS) {
            let mut row = row?;
            if let Some(ordinal) = &mut self.ordinal {
                row.push(Datum::Int8(*ordinal));
                *ordinal += 1;
            }
            out.push(row);
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

impl RowStream for FunctionScan {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(self.batch())
    }
}
