//! Operators with an Arrow kernel that agrees with PostgreSQL.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use arrow::{
    array::RecordBatch,
    compute::kernels::numeric,
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use basalt_functions::{Function, operators_named};
use basalt_types::{Oid, SqlError};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, Operator},
    physical_expr::PhysicalExpr,
};

use crate::{error::to_datafusion, kind::Kind};

/// Operator by the function behind it.
static OPERATORS: LazyLock<HashMap<Oid, Operator>> = LazyLock::new(|| {
    let names = [
        ("=", Operator::Eq),
        ("<>", Operator::NotEq),
        ("<", Operator::Lt),
        ("<=", Operator::LtEq),
        (">", Operator::Gt),
        (">=", Operator::GtEq),
        ("+", Operator::Plus),
        ("-", Operator::Minus),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
    ];
    let mut operators = HashMap::new();
    for (name, operator) in names {
        for row in operators_named(name).iter().filter(|row| row.left.is_some()) {
            operators.insert(row.function.oid, operator);
        }
    }
    operators
});

/// The binary operator that a function implements, if it is one of comparison or basic arithmetic.
pub fn operator_of(function: &Function) -> Option<Operator> {
    (function.args.len() == 2).then(|| OPERATORS.get(&function.oid).copied()).flatten()
}

pub fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Arithmetic of two columns of one integer type, with PostgreSQL's errors.
#[derive(Debug, Eq)]
pub struct IntegerArithmetic {
    pub operator: Operator,
    pub kind: Kind,
    pub left: Arc<dyn PhysicalExpr>,
    pub right: Arc<dyn PhysicalExpr>,
}

impl PartialEq for IntegerArithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator
            && self.kind == other.kind
            && self.left.eq(&other.left)
            && self.right.eq(&other.right)
    }
}

impl Hash for IntegerArithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
        self.kind.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl IntegerArithmetic {
    fn error(&self, error: ArrowError) -> datafusion::common::DataFusionError {
        match error {
            ArrowError::DivideByZero => to_datafusion(SqlError::division_by_zero()),
            ArrowError::ArithmeticOverflow(_) => to_datafusion(SqlError::out_of_range(match self.kind {
                Kind::Int2 => "smallint",
                Kind::Int4 => "integer",
                _ => "bigint",
            })),
            other => other.into(),
        }
    }
}

impl fmt::Display for IntegerArithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, self.operator, self.right)
    }
}

impl PhysicalExpr for IntegerArithmetic {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.kind.data_type())
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = self.left.evaluate(batch)?.into_array(batch.num_rows())?;
        let right = self.right.evaluate(batch)?.into_array(batch.num_rows())?;
        let result = match self.operator {
            Operator::Plus => numeric::add(&left, &right),
            Operator::Minus => numeric::sub(&left, &right),
            Operator::Multiply => numeric::mul(&left, &right),
            _ => numeric::div(&left, &right),
        };
        result.map(ColumnarValue::Array).map_err(|error| self.error(error))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let right = children.swap_remove(1);
        let left = children.swap_remove(0);
        Ok(Arc::new(Self { operator: self.operator, kind: self.kind, left, right }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
