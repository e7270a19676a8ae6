//! Executable plans: a tree both executors understand.
//!
//! Every node lists its output columns in order. Expressions of a node refer to columns of its inputs by id
//! (inside a subplan or the right side of a lateral join, also to columns of the enclosing row).

use std::sync::Arc;

use basalt_functions::Function;
use basalt_types::SqlType;

use crate::{
    catalog::Table,
    expr::{AggregateCall, CallExpr, ColumnId, Expr},
};

/// A node with its output layout and estimates.
#[derive(Clone, Debug)]
pub struct Plan {
    pub node: PlanNode,
    pub columns: Vec<(ColumnId, SqlType)>,
    pub rows: f64,
    pub cost: f64,
}

#[derive(Clone, Debug)]
pub enum PlanNode {
    /// Constant rows; each expression may hold parameters or enclosing columns.
    Values {
        rows: Vec<Vec<Expr>>,
    },
    Scan(Box<Scan>),
    /// A virtual table; the session makes its rows. `filter` is applied above it by the executor.
    VirtualScan {
        table: Arc<Table>,
        columns: Vec<(ColumnId, usize)>,
        filter: Option<Expr>,
    },
    /// A set-returning function in FROM; `ordinality` adds a last bigint column.
    FunctionScan {
        call: Box<CallExpr>,
        ordinality: bool,
    },
    Filter {
        input: Box<Plan>,
        predicate: Expr,
    },
    /// Output columns are exactly `exprs` in order.
    Project {
        input: Box<Plan>,
        exprs: Vec<(ColumnId, Expr)>,
    },
    /// Set-returning functions of a select list: rows are repeated, shorter sets padded with NULL.
    /// Output: the input's columns, then one per call.
    ProjectSet {
        input: Box<Plan>,
        calls: Vec<(ColumnId, CallExpr)>,
    },
    /// Evaluates `right` per left row when `lateral`, else once (materialised).
    NestedLoop {
        kind: JoinKind,
        left: Box<Plan>,
        right: Box<Plan>,
        on: Option<Expr>,
        lateral: bool,
    },
    HashJoin {
        kind: JoinKind,
        left: Box<Plan>,
        right: Box<Plan>,
        keys: Vec<JoinKey>,
        residual: Option<Expr>,
    },
    /// For each left row, fetches rows of `scan`, whose access refers to left columns (batched by the executor).
    LookupJoin {
        kind: JoinKind,
        left: Box<Plan>,
        scan: Box<Scan>,
        residual: Option<Expr>,
    },
    Aggregate(Box<Aggregate>),
    /// Output: the input's columns, then one per call.
    Window {
        input: Box<Plan>,
        calls: Vec<(ColumnId, WindowCall)>,
    },
    /// `top` keeps only the first rows (LIMIT + OFFSET known at execution).
    Sort {
        input: Box<Plan>,
        keys: Vec<SortKey>,
        top: Option<Expr>,
    },
    Limit {
        input: Box<Plan>,
        limit: Option<Expr>,
        offset: Option<Expr>,
    },
    /// `on` empty: all columns. Otherwise DISTINCT ON over sorted input.
    Distinct {
        input: Box<Plan>,
        on: Vec<Expr>,
    },
    /// UNION ALL of inputs with equal layouts by position.
    Append {
        inputs: Vec<Plan>,
    },
    /// INTERSECT or EXCEPT, by position.
    SetOp {
        op: SetOp,
        all: bool,
        left: Box<Plan>,
        right: Box<Plan>,
    },
    /// Runs `definition` once (when first read, or always for data-modifying ones), then `body` may read it many times.
    With {
        cte: u32,
        definition: Box<Plan>,
        body: Box<Plan>,
    },
    /// Columns of the common table expression by position, under new ids.
    CteScan {
        cte: u32,
    },
    /// WITH RECURSIVE: `base`, then `step` (reads the working table by `CteScan`) until nothing new.
    RecursiveUnion {
        cte: u32,
        base: Box<Plan>,
        step: Box<Plan>,
        all: bool,
    },
    /// Locks the rows of the tables named (FOR UPDATE / FOR SHARE) while they pass.
    LockRows {
        input: Box<Plan>,
        locks: Vec<RowLock>,
    },
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
}

/// Rows of a stored table by one of its indexes.
#[derive(Clone, Debug)]
pub struct Scan {
    pub table: Arc<Table>,
    /// What the query calls the table, for EXPLAIN.
    pub alias: Arc<str>,
    /// Position in `table.indexes`.
    pub index: usize,
    /// Output: table column position behind each id.
    pub columns: Vec<(ColumnId, usize)>,
    pub access: Access,
    pub reverse: bool,
    /// Everything that `access` does not already guarantee; over this scan's columns.
    pub filter: Option<Expr>,
    /// Stop after this many rows that pass the filter (a pushed-down LIMIT + OFFSET).
    pub limit: Option<Expr>,
    /// Take row locks while reading: `true` exclusive (FOR UPDATE, UPDATE, DELETE), `false` shared.
    pub lock: Option<bool>,
}

/// The part of an index that is read: the union of `ranges` (disjointness is not promised; the executor deduplicates
/// equal spans). A key or bound that is NULL matches nothing, and a range holds no NULLs. Expressions hold constants, parameters and enclosing or left-side columns only.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Equality on the first index columns.
    pub prefix: Vec<KeyPart>,
    /// Bounds on the next column.
    pub lower: Option<(Expr, bool)>,
    /// `true`: inclusive.
    pub upper: Option<(Expr, bool)>,
}

#[derive(Clone, Debug)]
pub enum KeyPart {
    Equal(Expr),
    /// One of several values.
    In(Vec<Expr>),
    /// One of an array's elements (`= ANY($1)`).
    Any(Expr),
    IsNull,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Left rows with a match; output is the left columns.
    Semi,
    /// Left rows without a match.
    Anti,
}

/// One equality of a hash join; both sides have been cast to the types of `equal`.
#[derive(Clone, Debug)]
pub struct JoinKey {
    pub left: Expr,
    pub right: Expr,
    pub equal: &'static Function,
}

#[derive(Clone, Debug)]
pub struct Aggregate {
    pub input: Plan,
    /// Output first.
    pub groups: Vec<(ColumnId, Expr)>,
    /// For GROUPING SETS, ROLLUP and CUBE: each set lists positions in `groups`; absent ones are NULL.
    pub grouping_sets: Option<Vec<Vec<usize>>>,
    /// Output after the groups.
    pub aggregates: Vec<(ColumnId, AggregateCall)>,
    /// GROUPING(...) calls: output last, each the bit mask over these group positions.
    pub groupings: Vec<(ColumnId, Vec<usize>)>,
}

#[derive(Clone, Debug)]
pub struct WindowCall {
    /// An aggregate or a window function; `aggregate.function.kind` tells.
    pub aggregate: AggregateCall,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<SortKey>,
    pub frame: Frame,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub mode: FrameMode,
    pub start: FrameBound,
    pub end: FrameBound,
    pub exclude: FrameExclude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameMode {
    Rows,
    Range,
    Groups,
}

#[derive(Clone, Debug)]
pub enum FrameBound {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameExclude {
    NoOthers,
    CurrentRow,
    Group,
    Ties,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub expr: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOp {
    Intersect,
    Except,
}

#[derive(Clone, Debug)]
pub struct RowLock {
    pub table: Arc<Table>,
    /// The primary-key columns in the input.
    pub key: Vec<ColumnId>,
    pub exclusive: bool,
    pub nowait: bool,
    pub skip_locked: bool,
}

#[derive(Clone, Debug)]
pub struct Insert {
    pub table: Arc<Table>,
    /// Gives exactly `new`, one column per table column (hidden ones included, NULL row id = make one), cast and
    /// length-checked.
    pub source: Plan,
    pub new: Vec<ColumnId>,
    pub checks: Vec<CheckExpr>,
    pub on_conflict: Option<OnConflict>,
    /// Output of the node; over `new`.
    pub returning: Vec<(ColumnId, Expr)>,
}

#[derive(Clone, Debug)]
pub struct OnConflict {
    /// Position in `table.indexes`; `None`: any unique index (DO NOTHING only).
    pub index: Option<usize>,
    /// `None`: DO NOTHING. Assignments by table column position over `existing` and `new`.
    pub update: Option<Vec<(usize, Expr)>>,
    pub filter: Option<Expr>,
    /// The existing row, one id per table column.
    pub existing: Vec<ColumnId>,
}

#[derive(Clone, Debug)]
pub struct Update {
    pub table: Arc<Table>,
    /// Gives `old` and whatever `assignments` and `returning` need. A join may give a stored row several times:
    /// only its first appearance counts.
    pub source: Plan,
    /// The stored row, one id per table column.
    pub old: Vec<ColumnId>,
    /// By table column position; cast and length-checked.
    pub assignments: Vec<(usize, Expr)>,
    /// Ids under which `checks` and `returning` see the changed row.
    pub new: Vec<ColumnId>,
    pub checks: Vec<CheckExpr>,
    pub returning: Vec<(ColumnId, Expr)>,
}

#[derive(Clone, Debug)]
pub struct Delete {
    pub table: Arc<Table>,
    pub source: Plan,
    pub old: Vec<ColumnId>,
    pub returning: Vec<(ColumnId, Expr)>,
}

/// A CHECK constraint over the ids of the new row; violated when false (not when NULL).
#[derive(Clone, Debug)]
pub struct CheckExpr {
    pub name: String,
    pub expr: Expr,
}
