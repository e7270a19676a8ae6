//! The function registry: every scalar function, operator, cast, aggregate, window and set-returning function, written once.
//!
//! Rows of the registry are shaped like `pg_proc`, `pg_operator` and `pg_cast`, so that the binder resolves by
//! PostgreSQL's rules and the catalog lists what there is.

mod aggregate;
mod builder;
mod catalog;
pub mod context;
pub mod io;
pub mod lookup;
pub mod registry;
mod scalar;
mod set;
pub mod value;
mod value_bytes;
mod window;

#[cfg(test)]
mod tests;

pub use context::{Call, EvalContext, SessionInfo};
pub use lookup::{
    Registry, cast, comparison_type, equality, find_cast, function_by_oid, functions_named, is_hashable,
    less_than, operator_function, operators_named, registry, relabel, type_words,
};
pub use registry::{
    Accumulator, AggregateFn, Cast, CastContext, CastMethod, Function, FunctionKind, Operator, RowSource,
    ScalarFn, SetFn, Volatility, WindowFn, WindowPartition,
};
