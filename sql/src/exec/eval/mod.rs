//! Evaluation of scalar expressions over rows.
//!
//! An expression is compiled once per operator: columns become positions, columns of enclosing rows become constants.
//! Evaluation is synchronous. A subquery is lazy, as its surroundings (CASE, COALESCE, AND) demand: when evaluation
//! meets one without a value it stops with [`Interrupt::Subquery`]; the operator runs the subplan, gives the value, and
//! evaluates again. See [`evaluator::RowEvaluator`].

pub(crate) mod compile;
mod evaluate;
pub(crate) mod evaluator;
pub(crate) mod subquery;

use basalt_functions::EvalContext;
use basalt_planner::{ColumnId, Expr};
use basalt_types::{Datum, Result, SqlError};

pub use compile::Compiled;
use compile::compile_with;

use super::WaitingFunction;

/// Why evaluation stopped without a value.
#[derive(Debug)]
pub(crate) enum Interrupt {
    Error(SqlError),
    /// The value of this subquery (by position) is needed first.
    Subquery(usize),
    /// The value of this call of a function that may wait (by position) is needed first.
    Function(usize, WaitingFunction, Vec<Datum>),
}

impl From<SqlError> for Interrupt {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

/// Compiles an expression without subqueries over the columns `input`.
pub fn compile(expr: &Expr, input: &[ColumnId]) -> Result<Compiled> {
    let mut lazies = Vec::new();
    let find = |id: ColumnId| input.iter().position(|column| *column == id);
    let compiled = compile_with(expr, &find, &Default::default(), &mut lazies)?;
    if !lazies.is_empty() {
        return Err(SqlError::not_supported("subquery or function that waits in this place"));
    }
    Ok(compiled)
}

/// Evaluates an expression that has neither columns nor subqueries.
pub fn evaluate_constant(expr: &Expr, context: &EvalContext) -> Result<Datum> {
    compile(expr, &[])?.evaluate(context, &[])
}
