//! Evaluation of an operator's expressions, subqueries included.

use basalt_planner::Expr;
use basalt_types::{Datum, Result, SqlError};

use super::{
    Interrupt,
    compile::{Compiled, Lazy, compile_with},
    subquery::SubqueryRunner,
};
use crate::exec::scope::{Layout, Scope};

/// The expressions of one operator over its input rows.
pub(crate) struct RowEvaluator {
    exprs: Vec<Compiled>,
    /// By position; `None` for calls of functions that may wait.
    subqueries: Vec<Option<SubqueryRunner>>,
    /// Values known for the current row.
    values: Vec<Option<Datum>>,
}

impl RowEvaluator {
    pub fn new<'a>(
        exprs: impl IntoIterator<Item = &'a Expr>,
        layout: Layout<'_>,
        scope: &Scope,
    ) -> Result<Self> {
        let find = |id| layout.iter().position(|(column, _)| *column == id);
        let mut lazies = Vec::new();
        let exprs = exprs.into_iter().map(|expr| compile_with(expr, &find, &scope.outer, &mut lazies));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let runners = lazies.into_iter().map(|lazy| match lazy {
            Lazy::Subquery(subquery) => SubqueryRunner::new(subquery, layout, scope).map(Some),
            Lazy::Function => Ok(None),
        });
        let subqueries = runners.collect::<Result<Vec<_>>>()?;
        let values = vec![None; subqueries.len()];
        Ok(Self { exprs, subqueries, values })
    }

    pub fn has_subqueries(&self) -> bool {
        !self.subqueries.is_empty()
    }

    pub fn exprs(&self) -> &[Compiled] {
        &self.exprs
    }

    /// Evaluates expression `index` without subqueries.
    pub fn evaluate_now(&self, index: usize, scope: &Scope, row: &[Datum]) -> Result<Datum> {
        self.exprs[index].evaluate(scope.eval(), row)
    }

    /// Evaluates expression `index`, running subqueries as they are met. Call [`Self::next_row`] between rows.
    pub async fn evaluate(&mut self, index: usize, scope: &Scope, row: &[Datum]) -> Result<Datum> {
        loop {
            match self.exprs[index].evaluate_with(scope.eval(), row, &self.values) {
                Ok(value) => return Ok(value),
                Err(Interrupt::Error(error)) => return Err(error),
                Err(Interrupt::Subquery(position)) => {
                    let runner = self.subqueries.get_mut(position).and_then(Option::as_mut);
                    let runner = runner.ok_or_else(|| SqlError::internal("subquery out of range"))?;
                    self.values[position] = Some(runner.value(scope, row).await?);
                }
                Err(Interrupt::Function(position, function, args)) => {
                    self.values[position] = Some(scope.context.tables.call(function, &args).await?);
                }
            }
        }
    }

    /// Forgets what belonged to the last row.
    pub fn next_row(&mut self) {
        self.values.fill(None);
    }

    /// Evaluates all expressions over one row into `out`.
    pub async fn evaluate_all(&mut self, scope: &Scope, row: &[Datum], out: &mut Vec<Datum>) -> Result<()> {
        if self.subqueries.is_empty() {
            for expr in &self.exprs {
                out.push(expr.evaluate(scope.eval(), row)?);
            }
            return Ok(());
        }
        self.next_row();
        for index in 0..self.exprs.len() {
            let value = self.evaluate(index, scope, row).await?;
            out.push(value);
        }
        Ok(())
    }
}
