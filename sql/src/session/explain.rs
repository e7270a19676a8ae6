//! EXPLAIN.

use std::sync::Arc;

use basalt_planner::{Field, Planned, PlannedBody, explain_json, explain_text, statement::ExplainOptions};
use basalt_types::{Datum, Oid, Result, Row, SqlError, SqlType};

use super::Session;
use crate::exec::{RowStream, RowsStream};

/// One column, `QUERY PLAN`.
pub(crate) fn fields(options: ExplainOptions) -> Vec<Field> {
    let ty = if options.json { SqlType::JSON } else { SqlType::TEXT };
    vec![Field { name: "QUERY PLAN".to_owned(), ty, table: Oid(0), attnum: 0 }]
}

impl Session {
    /// Prints the plan, the executor that would run it and, for ANALYZE, what happened.
    pub(crate) async fn explain(
        &mut self,
        inner: &Planned,
        options: ExplainOptions,
        params: Arc<[Datum]>,
    ) -> Result<Box<dyn RowStream>> {
        let plan = match &inner.body {
            PlannedBody::Query(plan) | PlannedBody::Dml { plan, .. } => plan.clone(),
            PlannedBody::Explain { .. } | PlannedBody::Utility(_) | PlannedBody::Own(_) => {
                return Err(SqlError::not_supported("EXPLAIN of this statement"));
            }
        };
        let parts = match self.vectorized_for(&plan) {
            Some(vectorized) => {
                let context = self.exec_context(params.clone())?;
                vectorized.describe(&plan, context).await?
            }
            None => None,
        };
        let executor = if parts.is_some() { "vectorized" } else { "row" };
        let mut lines = Vec::new();
        let mut notes = vec![format!("Executor: {executor}")];
        if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
            notes.push(format!("Row Executor For: {}", parts.join(", ")));
        }
        if options.analyze {
            let clock = self.services.env.clock.clone();
            let started = clock.monotonic();
            let open =
                self.open.as_mut().ok_or_else(|| SqlError::internal("EXPLAIN outside a transaction"))?;
            open.used = true;
            open.txn.statement();
            let context = self.exec_context(params)?;
            let mut stream = self.open_plan(&plan, context).await?;
            let mut rows = 0_usize;
            while let Some(batch) = stream.next_batch().await? {
                rows += batch.len();
            }
            let elapsed = clock.monotonic().saturating_sub(started);
            notes.push(format!("Actual Rows: {}", (rows as u64).max(stream.affected())));
            notes.push(format!("Execution Time: {:.3} ms", elapsed.as_secs_f64() * 1_000.0));
        }
        if options.json {
            // The executor stands beside the plan.
            let executor = format!("{{\n    \"Executor\": \"{executor}\",");
            lines.push(explain_json(&plan, &options).replacen('{', &executor, 1));
        } else {
            lines.extend(explain_text(&plan, &options));
            lines.extend(notes);
        }
        let rows: Vec<Row> = lines.into_iter().map(|line| vec![Datum::text(line)]).collect();
        Ok(Box::new(RowsStream::new(rows)))
    }
}
