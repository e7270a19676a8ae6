//! The keys of hash joins.
//!
//! An equality may compare two types (`int4 = int8`, `date = timestamp`). Its values are brought to one type first, so
//! that values equal under the operator are equal keys.

use basalt_planner::{ColumnId, Expr, plan::JoinKey};
use basalt_types::{
    Datum, Oid, Result, Row, SqlType,
    datetime::{date_to_timestamp, timestamp_to_timestamptz},
};

use crate::exec::{eval::evaluator::RowEvaluator, key::Comparison, scope::Scope};

/// The end of a chain of rows.
pub(super) const NO_KEY: u32 = u32::MAX;

/// What a value becomes before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    None,
    Int8,
    Float8,
    Timestamp,
    TimestampTz,
}

impl Conversion {
    fn of(left: Oid, right: Oid) -> Self {
        let is = |oid: Oid| left == oid || right == oid;
        match left {
            _ if left == right => Self::None,
            Oid::INT2 | Oid::INT4 | Oid::INT8 => Self::Int8,
            Oid::FLOAT4 | Oid::FLOAT8 => Self::Float8,
            Oid::DATE | Oid::TIMESTAMP | Oid::TIMESTAMPTZ if is(Oid::TIMESTAMPTZ) => Self::TimestampTz,
            Oid::DATE | Oid::TIMESTAMP => Self::Timestamp,
            _ => Self::None,
        }
    }

    fn apply(self, value: Datum, scope: &Scope) -> Result<Datum> {
        Ok(match (self, value) {
            (Self::Int8, Datum::Int2(value)) => Datum::Int8(value.into()),
            (Self::Int8, Datum::Int4(value)) => Datum::Int8(value.into()),
            (Self::Float8, Datum::Float4(value)) => Datum::Float8(value.into()),
            (Self::Timestamp, Datum::Date(days)) => Datum::Timestamp(date_to_timestamp(days)?),
            (Self::TimestampTz, Datum::Date(days)) => {
                let local = date_to_timestamp(days)?;
                Datum::TimestampTz(timestamp_to_timestamptz(local, &scope.eval().io.time_zone)?)
            }
            (Self::TimestampTz, Datum::Timestamp(local)) => {
                Datum::TimestampTz(timestamp_to_timestamptz(local, &scope.eval().io.time_zone)?)
            }
            (_, value) => value,
        })
    }
}

/// The key expressions of one side.
pub(super) struct KeySide {
    exprs: RowEvaluator,
    conversions: Vec<Conversion>,
    comparisons: Vec<Comparison>,
}

impl KeySide {
    pub fn left(keys: &[JoinKey], layout: &[(ColumnId, SqlType)], scope: &Scope) -> Result<Self> {
        Self::new(keys, keys.iter().map(|key| &key.left), layout, scope)
    }

    pub fn right(keys: &[JoinKey], layout: &[(ColumnId, SqlType)], scope: &Scope) -> Result<Self> {
        Self::new(keys, keys.iter().map(|key| &key.right), layout, scope)
    }

    fn new<'a>(
        keys: &'a [JoinKey],
        exprs: impl Iterator<Item = &'a Expr>,
        layout: &[(ColumnId, SqlType)],
        scope: &Scope,
    ) -> Result<Self> {
        let types = |key: &JoinKey| match key.equal.args[..] {
            [left, right] => (left, right),
            _ => (Oid::UNKNOWN, Oid::UNKNOWN),
        };
        Ok(Self {
            exprs: RowEvaluator::new(exprs, layout, scope)?,
            conversions: keys.iter().map(types).map(|(left, right)| Conversion::of(left, right)).collect(),
            comparisons: keys
                .iter()
                .map(types)
                .map(|(left, _)| if left == Oid::BPCHAR { Comparison::Blank } else { Comparison::Plain })
                .collect(),
        })
    }

    pub fn comparisons(&self) -> Vec<Comparison> {
        self.comparisons.clone()
    }

    /// Computes the key of a row into `key`; false when a part is NULL.
    pub async fn key(&mut self, scope: &Scope, row: &[Datum], key: &mut Row) -> Result<bool> {
        key.clear();
        self.exprs.evaluate_all(scope, row, key).await?;
        for (value, conversion) in key.iter_mut().zip(&self.conversions) {
            if value.is_null() {
                return Ok(false);
            }
            if *conversion != Conversion::None {
                *value = conversion.apply(std::mem::take(value), scope)?;
            }
        }
        Ok(true)
    }
}
