//! LIMIT and OFFSET.

use basalt_env::BoxFuture;
use basalt_planner::{Expr, Plan};
use basalt_types::{Datum, Result, Row, SqlError, SqlState};

use super::{Stream, build};
use crate::exec::{RowStream, eval::evaluator::RowEvaluator, scope::Scope};

struct Limit {
    input: Option<Stream>,
    skip: u64,
    left: u64,
}

pub(super) async fn open(
    input: &Plan,
    limit: Option<&Expr>,
    offset: Option<&Expr>,
    scope: &Scope,
) -> Result<Stream> {
    let left = match limit {
        Some(limit) => row_count(limit, scope, "LIMIT").await?.unwrap_or(u64::MAX),
        None => u64::MAX,
    };
    let skip = match offset {
        Some(offset) => row_count(offset, scope, "OFFSET").await?.unwrap_or(0),
        None => 0,
    };
    let input = if left == 0 {
        None
    } else {
        let mut input = build(input, scope).await?;
        input.expect_at_most(left.saturating_add(skip));
        Some(input)
    };
    Ok(Box::new(Limit { input, skip, left }))
}

/// The value of a LIMIT or OFFSET expression; `None` for NULL.
pub(super) async fn row_count(expr: &Expr, scope: &Scope, clause: &str) -> Result<Option<u64>> {
    let mut evaluator = RowEvaluator::new([expr], &[], scope)?;
    let count = match evaluator.evaluate(0, scope, &[]).await? {
        Datum::Int8(count) => count,
        Datum::Int4(count) => i64::from(count),
        Datum::Int2(count) => i64::from(count),
        Datum::Null => return Ok(None),
        other => return Err(SqlError::internal(format!("{clause} is {other:?}"))),
    };
    let negative = |_| {
        let sqlstate = if clause == "LIMIT" {
            SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE
        } else {
            SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE
        };
        SqlError::new(sqlstate, format!("{clause} must not be negative"))
    };
    u64::try_from(count).map(Some).map_err(negative)
}

impl RowStream for Limit {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(input) = &mut self.input {
                let Some(mut batch) = input.next_batch().await? else {
                    self.input = None;
                    break;
                };
                let skipped = self.skip.min(batch.len() as u64);
                self.skip -= skipped;
                batch.drain(..skipped as usize);
                batch.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= batch.len() as u64;
                if self.left == 0 {
                    self.input = None;
                }
                if !batch.is_empty() {
                    return Ok(Some(batch));
                }
            }
            Ok(None)
        })
    }
}
