//! Bound scalar expressions, used from the binder to the executors.
//!
//! Columns are named by [`ColumnId`], unique in the whole statement, so that rewrites need not renumber.
//! An executor maps ids to positions of its input when it compiles an expression.

use std::sync::Arc;

use basalt_functions::{CastMethod, Function};
use basalt_types::{Datum, SqlType};

use crate::{Plan, plan::SortKey};

/// A column produced by some node of the statement's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

/// A typed scalar expression.
#[derive(Clone, Debug)]
pub enum Expr {
    Literal {
        value: Datum,
        ty: SqlType,
    },
    /// A column of the node's input or, inside a subplan, of an enclosing query.
    Column {
        id: ColumnId,
        ty: SqlType,
    },
    /// `$1` has index 0.
    Param {
        index: usize,
        ty: SqlType,
    },
    Call(Box<CallExpr>),
    Cast {
        input: Box<Expr>,
        to: SqlType,
        method: CastMethod,
        explicit: bool,
    },
    /// Applies a type modifier (length, precision) to a value that already has the type.
    Coerce {
        input: Box<Expr>,
        to: SqlType,
        explicit: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        input: Box<Expr>,
        negated: bool,
    },
    /// IS [NOT] TRUE / FALSE (`value: Some`) or UNKNOWN (`None`).
    BoolTest {
        input: Box<Expr>,
        value: Option<bool>,
        negated: bool,
    },
    /// `IS [NOT] DISTINCT FROM`.
    IsDistinct {
        left: Box<Expr>,
        right: Box<Expr>,
        equal: &'static Function,
        negated: bool,
    },
    /// Searched CASE; the simple form is bound to comparisons.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
        ty: SqlType,
    },
    Coalesce {
        args: Vec<Expr>,
        ty: SqlType,
    },
    NullIf {
        left: Box<Expr>,
        right: Box<Expr>,
        equal: &'static Function,
        ty: SqlType,
    },
    /// GREATEST or LEAST; ignores NULLs.
    MinMax {
        greatest: bool,
        args: Vec<Expr>,
        less: &'static Function,
        ty: SqlType,
    },
    /// `input [NOT] IN (list)`, all of one type.
    InList {
        input: Box<Expr>,
        list: Vec<Expr>,
        equal: &'static Function,
        negated: bool,
    },
    /// `input op ANY|ALL (array)`.
    ArrayOp {
        input: Box<Expr>,
        operator: &'static Function,
        array: Box<Expr>,
        all: bool,
    },
    Array {
        elements: Vec<Expr>,
        ty: SqlType,
    },
    Subscript {
        array: Box<Expr>,
        indexes: Vec<Expr>,
        ty: SqlType,
    },
    /// ROW(...) as a value of type record.
    Row {
        fields: Vec<Expr>,
        ty: SqlType,
    },
    Subquery(Box<Subquery>),
}

/// A call of a scalar function or operator.
#[derive(Clone, Debug)]
pub struct CallExpr {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub ty: SqlType,
    /// How the call was written, for EXPLAIN: an operator name such as `+`, or `None`.
    pub operator: Option<&'static str>,
}

/// A subquery inside an expression. Uncorrelated ones run once per statement; correlated ones once per outer row.
#[derive(Clone, Debug)]
pub struct Subquery {
    pub kind: SubqueryKind,
    pub plan: Arc<Plan>,
    /// Columns of enclosing queries that the plan reads, with their types.
    pub outer: Vec<(ColumnId, SqlType)>,
    pub ty: SqlType,
}

#[derive(Clone, Debug)]
pub enum SubqueryKind {
    /// The single value, NULL without rows, error 21000 with several.
    Scalar,
    Exists,
    /// `left op ANY|ALL (subquery)`; `column` of the plan takes the place of the right operand in `comparison`.
    Quantified {
        all: bool,
        comparison: Box<Expr>,
        columns: Vec<ColumnId>,
    },
    /// ARRAY(subquery).
    Array,
}

/// An aggregate call in an [`crate::PlanNode::Aggregate`] or over a window.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub distinct: bool,
    pub order_by: Vec<SortKey>,
    pub filter: Option<Expr>,
    pub ty: SqlType,
}

impl Expr {
    pub fn literal(value: Datum, ty: SqlType) -> Self {
        Self::Literal { value, ty }
    }

    /// The type of the value.
    pub fn ty(&self) -> SqlType {
        match self {
            Self::Literal { ty, .. }
            | Self::Column { ty, .. }
            | Self::Param { ty, .. }
            | Self::Case { ty, .. }
            | Self::Coalesce { ty, .. }
            | Self::NullIf { ty, .. }
            | Self::MinMax { ty, .. }
            | Self::Array { ty, .. }
            | Self::Subscript { ty, .. }
            | Self::Row { ty, .. } => *ty,
            Self::Call(call) => call.ty,
            Self::Cast { to, .. } | Self::Coerce { to, .. } => *to,
            Self::Subquery(subquery) => subquery.ty,
            Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::IsNull { .. }
            | Self::BoolTest { .. }
            | Self::IsDistinct { .. }
            | Self::InList { .. }
            | Self::ArrayOp { .. } => SqlType::BOOL,
        }
    }
}
