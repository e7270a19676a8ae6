//! Aggregates: a value from many rows.
//!
//! An accumulator's state is a short list of datums, so that partial aggregates of other nodes, threads or spilled
//! partitions merge by the same code. Merging in the order of the input gives the result of one pass.

mod average;
mod bits;
mod boolean;
mod collect;
mod count;
mod extremum;
mod json;
mod ordered_set;
mod regression;
mod sum;
mod variance;

use basalt_types::{Datum, Result, SqlError, SqlType};

use crate::builder::Builder;

pub fn register(builder: &mut Builder) {
    count::register(builder);
    sum::register(builder);
    average::register(builder);
    extremum::register(builder);
    boolean::register(builder);
    bits::register(builder);
    variance::register(builder);
    regression::register(builder);
    collect::register(builder);
    ordered_set::register(builder);
    json::register(builder);
}

/// An accumulator met a value or a state that its declaration excludes.
#[cold]
pub fn unexpected(values: &[Datum]) -> SqlError {
    SqlError::internal(format!("an aggregate met the unexpected values {values:?}"))
}

/// The type of the first argument, for states that hold one value of it.
fn first_type(args: &[SqlType]) -> Vec<SqlType> {
    args.first().copied().into_iter().collect()
}

fn bigint(state: &Datum) -> Result<i64> {
    match state {
        Datum::Int8(value) => Ok(*value),
        other => Err(unexpected(std::slice::from_ref(other))),
    }
}
