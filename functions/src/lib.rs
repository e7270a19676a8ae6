//! The function registry: every scalar function, operator, cast, aggregate, window and set-returning function, written once.
//!
//! Rows of the registry are shaped like `pg_proc`, `pg_operator` and `pg_cast`, so that the binder resolves by
//! PostgreSQL's rules and the catalog lists what there is.

pub mod context;
pub mod registry;

pub use context::{Call, EvalContext, SessionInfo};
pub use registry::{
    Accumulator, AggregateFn, Cast, CastContext, CastMethod, Function, FunctionKind, Operator, Registry, RowSource,
    ScalarFn, SetFn, Volatility, WindowFn, WindowPartition,
};
