//! What a function may know besides its arguments.

use std::{fmt, sync::Arc};

use basalt_types::{Datum, Oid, Result, SqlType};

/// What functions ask of the session and its catalog. Implemented above; never does I/O by itself
/// (the session loads what it needs before).
pub trait SessionInfo: Send + Sync {
    /// `current_setting`; `None` for an unknown parameter.
    fn setting(&self, name: &str) -> Option<String>;
    /// `set_config`; returns the new value.
    fn set_setting(&self, name: &str, value: &str, local: bool) -> Result<String>;
    fn current_user(&self) -> String;
    fn session_user(&self) -> String;
    fn current_database(&self) -> String;
    /// Schemas in effect, in order; `implicit` adds pg_catalog.
    fn current_schemas(&self, implicit: bool) -> Vec<String>;
    fn backend_pid(&self) -> i32;
    fn random_u64(&self) -> u64;
    /// Microseconds since 2000-01-01 UTC, now (`clock_timestamp`).
    fn clock_micros(&self) -> i64;
    /// Fails when the running statement should stop.
    fn check_interrupts(&self) -> Result<()>;
    /// Answers a catalog function that needs descriptors, by `pg_proc` name: `pg_get_indexdef`, `pg_get_expr`,
    /// `pg_table_is_visible`, `obj_description`, `to_regclass`, `pg_relation_size`, …
    /// `None` when the name is not one of them.
    fn catalog_function(&self, name: &str, args: &[Datum]) -> Option<Result<Datum>>;
    /// Resolves the text of a reg* literal (`'public.t'::regclass`).
    fn resolve_reg(&self, reg_type: Oid, text: &str) -> Result<Oid>;
    /// Names an object for output of a reg* value; `None` prints the number.
    fn reg_name(&self, reg_type: Oid, oid: Oid) -> Option<String>;
    /// `nextval`, `currval`, `setval` are served by the executor, which may wait; here only `lastval`.
    fn last_value(&self) -> Option<i64>;
}

/// Fixed for one statement.
pub struct EvalContext {
    /// `now()`: microseconds since 2000-01-01 UTC at the transaction's start.
    pub transaction_micros: i64,
    /// `statement_timestamp()`.
    pub statement_micros: i64,
    pub io: basalt_types::IoSettings,
    pub session: Arc<dyn SessionInfo>,
    /// Bind values of the statement.
    pub params: Arc<[Datum]>,
}

/// Steps of a function between two looks at whether its statement should stop.
const STEPS_PER_CHECK: usize = 4_096;

impl EvalContext {
    /// For functions that take long for some arguments, which nothing else could stop: fails when the statement should,
    /// to be asked at each of many small steps.
    #[inline]
    pub fn check_at(&self, step: usize) -> Result<()> {
        if step % STEPS_PER_CHECK == STEPS_PER_CHECK - 1 { self.check() } else { Ok(()) }
    }

    /// As [`Self::check_at`], at a large step.
    pub fn check(&self) -> Result<()> {
        self.session.check_interrupts()
    }
}

impl fmt::Debug for EvalContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EvalContext")
    }
}

/// One call site: polymorphic functions read the actual types here.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub context: &'a EvalContext,
    pub arg_types: &'a [SqlType],
    pub return_type: SqlType,
}
