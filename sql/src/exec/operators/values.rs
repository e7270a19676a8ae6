//! Constant rows.

use basalt_planner::Expr;
use basalt_types::{Result, Row};

use super::Stream;
use crate::exec::{RowsStream, eval::evaluator::RowEvaluator, scope::Scope};

pub(super) async fn open(rows: &[Vec<Expr>], scope: &Scope) -> Result<Stream> {
    let mut out = Vec::with_capacity(rows.len());
    for exprs in rows {
        let mut evaluator = RowEvaluator::new(exprs, &[], scope)?;
        let mut row = Row::with_capacity(exprs.len());
        evaluator.evaluate_all(scope, &[], &mut row).await?;
        out.push(row);
    }
    Ok(Box::new(RowsStream::new(out)))
}
