//! Set-returning functions of a select list: run in lock-step, the shorter ones padded with NULL.

use basalt_env::BoxFuture;
use basalt_functions::{Call, FunctionKind, RowSource, SetFn};
use basalt_planner::{ColumnId, Plan, expr::CallExpr};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};

use super::{Stream, build};
use crate::exec::{BATCH_ROWS, RowStream, eval::evaluator::RowEvaluator, scope::Scope};

/// A set-returning function and its types.
pub(super) struct SetCall {
    function: SetFn,
    strict: bool,
    arg_types: Vec<SqlType>,
    return_type: SqlType,
}

impl SetCall {
    pub fn new(call: &CallExpr) -> Result<Self> {
        let FunctionKind::Set { rows, .. } = &call.function.kind else {
            return Err(SqlError::internal(format!("{} does not return a set", call.function.name)));
        };
        Ok(Self {
            function: *rows,
            strict: call.function.strict,
            arg_types: call.args.iter().map(basalt_planner::Expr::ty).collect(),
            return_type: call.ty,
        })
    }

    pub fn start(&self, scope: &Scope, args: &[Datum]) -> Result<RowSource> {
        if self.strict && args.iter().any(Datum::is_null) {
            return Ok(Box::new(std::iter::empty()));
        }
        let site = Call { context: scope.eval(), arg_types: &self.arg_types, return_type: self.return_type };
        (self.function)(&site, args)
    }
}

struct ProjectSet {
    input: Stream,
    batch: std::vec::IntoIter<Row>,
    calls: Vec<SetCall>,
    /// The arguments of all calls, one after the other.
    args: RowEvaluator,
    /// The row being repeated, and its sets; `None` for one that has ended.
    current: Option<(Row, Vec<Option<RowSource>>)>,
    scope: Scope,
}

pub(super) async fn open(input: &Plan, calls: &[(ColumnId, CallExpr)], scope: &Scope) -> Result<Stream> {
    let args = RowEvaluator::new(calls.iter().flat_map(|(_, call)| &call.args), &input.columns, scope)?;
    Ok(Box::new(ProjectSet {
        input: build(input, scope).await?,
        batch: Vec::new().into_iter(),
        calls: calls.iter().map(|(_, call)| SetCall::new(call)).collect::<Result<_>>()?,
        args,
        current: None,
        scope: scope.clone(),
    }))
}

impl ProjectSet {
    async fn start(&mut self, row: Row) -> Result<()> {
        let mut args = Row::new();
        self.args.evaluate_all(&self.scope, &row, &mut args).await?;
        let mut sources = Vec::with_capacity(self.calls.len());
        let mut rest = &args[..];
        for call in &self.calls {
            let (own, others) = rest.split_at(call.arg_types.len());
            rest = others;
            sources.push(Some(call.start(&self.scope, own)?));
        }
        self.current = Some((row, sources));
        Ok(())
    }

    /// Repeats the current row up to a full batch.
    fn repeat(&mut self, out: &mut Vec<Row>) -> Result<()> {
        let Some((row, sources)) = &mut self.current else { return Ok(()) };
        while out.len() < BATCH_ROWS {
            let mut any = false;
            let mut next = Row::with_capacity(row.len() + sources.len());
            next.extend_from_slice(row);
            for slot in sources.iter_mut() {
                let value = match slot.as_mut().and_then(Iterator::next) {
                    Some(values) => {
                        any = true;
                        let mut values = values?;
                        if values.len() == 1 { values.swap_remove(0) } else { Datum::Record(values.into()) }
                    }
                    None => {
                        *slot = None;
                        Datum::Null
                    }
                };
                next.push(value);
            }
            if !any {
                self.current = None;
                return Ok(());
            }
            out.push(next);
        }
        Ok(())
    }
}

impl RowStream for ProjectSet {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            let mut out = Vec::new();
            loop {
                self.scope.checkpoint().await?;
                self.repeat(&mut out)?;
                if out.len() >= BATCH_ROWS {
                    return Ok(Some(out));
                }
                match self.batch.next() {
                    Some(row) => self.start(row).await?,
                    None => match self.input.next_batch().await? {
                        Some(batch) => self.batch = batch.into_iter(),
                        None => return Ok((!out.is_empty()).then_some(out)),
                    },
                }
            }
        })
    }
}
