//! Rewrites of bound plans. Each turns a plan into an equal one.

mod same;
mod walk;

pub(crate) use same::{same, same_aggregate};
pub(crate) use walk::{
    any, children, children_mut, columns_of, exprs, exprs_mut, free_columns, has_subquery, has_volatile,
    inputs, inputs_mut, is_volatile, reads_cte, replace_cte,
};

use crate::{Plan, bind::PlanSettings};

/// Makes a bound plan fast.
pub(crate) fn optimize(plan: Plan, _settings: &PlanSettings<'_>) -> Plan {
    plan
}
