//! Rows of the registry and how they are found.

use std::fmt;

use basalt_types::{Datum, Oid, Result, SqlType};

use crate::Call;

/// `pg_proc.provolatile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

pub type ScalarFn = fn(&Call<'_>, &[Datum]) -> Result<Datum>;
/// Rows of a set-returning function, made lazily; each row has one datum per output column.
pub type SetFn = fn(&Call<'_>, &[Datum]) -> Result<RowSource>;
pub type RowSource = Box<dyn Iterator<Item = Result<Vec<Datum>>> + Send>;
/// The value of a window function for row `row` of a partition.
pub type WindowFn = fn(&Call<'_>, &dyn WindowPartition, row: usize) -> Result<Datum>;

/// A sorted partition as a window function sees it.
pub trait WindowPartition {
    fn rows(&self) -> usize;
    /// The call's arguments evaluated on a row of the partition.
    fn args(&self, row: usize) -> &[Datum];
    /// First row of the peer group (equal ORDER BY keys) that holds `row`.
    fn peers_start(&self, row: usize) -> usize;
    /// One past the last row of the peer group that holds `row`.
    fn peers_end(&self, row: usize) -> usize;
    /// Ordinal of the peer group, from 0.
    fn peer_group(&self, row: usize) -> usize;
    /// The frame of `row` before exclusions: half-open row interval.
    fn frame(&self, row: usize) -> (usize, usize);
    /// The frame clause leaves `other` out of the frame of `row`.
    fn is_excluded(&self, _row: usize, _other: usize) -> bool {
        false
    }
    /// The frame clause leaves rows out at all.
    fn excludes(&self) -> bool {
        false
    }
}

/// The state of one aggregate over one group.
pub trait Accumulator: Send {
    /// Adds a row (strict aggregates are not called for rows with NULL arguments).
    fn update(&mut self, args: &[Datum]) -> Result<()>;
    /// The state, to be merged elsewhere.
    fn state(&self) -> Vec<Datum>;
    fn merge(&mut self, state: &[Datum]) -> Result<()>;
    fn finish(&self) -> Result<Datum>;
    /// Whether states of neighbouring parts, merged in any grouping, give what one pass over the rows gives, to the last
    /// digit. Moving frames are then put together from parts; sums in floating point are not.
    fn merges_exactly(&self) -> bool {
        false
    }
    /// Heap bytes held.
    fn bytes(&self) -> usize;
}

/// How an aggregate is computed.
pub struct AggregateFn {
    pub new: fn(&Call<'_>) -> Box<dyn Accumulator>,
    /// Types of [`Accumulator::state`], given the argument types.
    pub state_types: fn(&[SqlType]) -> Vec<SqlType>,
    /// Rows with a NULL argument are skipped.
    pub strict: bool,
}

pub enum FunctionKind {
    Scalar(ScalarFn),
    Aggregate(AggregateFn),
    Window(WindowFn),
    /// Output columns: name and type; a single unnamed column is named after the function.
    Set {
        rows: SetFn,
        columns: &'static [(&'static str, Oid)],
    },
}

/// A row of `pg_proc`.
pub struct Function {
    pub oid: Oid,
    pub name: &'static str,
    pub args: Vec<Oid>,
    /// The last argument may repeat; its element type.
    pub variadic: Option<Oid>,
    /// How many trailing arguments may be left out (they have defaults).
    pub defaults: usize,
    pub returns: Oid,
    /// Returns NULL at once when an argument is NULL (the executor does not call it).
    pub strict: bool,
    pub volatility: Volatility,
    pub kind: FunctionKind,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", self.name, self.args)
    }
}

/// A row of `pg_operator`.
#[derive(Debug)]
pub struct Operator {
    pub oid: Oid,
    pub name: &'static str,
    /// `None` for a prefix operator.
    pub left: Option<Oid>,
    pub right: Oid,
    pub result: Oid,
    pub function: &'static Function,
    /// `a < b` for `b > a`; same argument types swapped.
    pub commutator: Option<&'static str>,
    /// `a >= b` for `a < b`.
    pub negator: Option<&'static str>,
}

/// `pg_cast.castcontext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    Implicit,
    Assignment,
    Explicit,
}

/// How a cast is done.
#[derive(Clone, Copy, Debug)]
pub enum CastMethod {
    Function(&'static Function),
    /// Same representation.
    Binary,
    /// Output function, then input function.
    InOut,
}

/// A row of `pg_cast`.
#[derive(Debug)]
pub struct Cast {
    pub source: Oid,
    pub target: Oid,
    pub context: CastContext,
    pub method: CastMethod,
}
