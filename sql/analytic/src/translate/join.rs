//! Joins. The smaller side is built into memory, the larger streams past it.

use std::sync::Arc;

use basalt_planner::{
    Expr, Plan,
    plan::{JoinKey, JoinKind},
};
use datafusion::{
    common::{JoinSide, JoinType, NullEquality},
    physical_expr::PhysicalExpr,
    physical_plan::joins::{
        CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
        utils::{ColumnIndex, JoinFilter},
    },
};

use super::{
    Failure, PlanBuilder,
    builder::{Operator, refused},
    layout::arrange,
};
use crate::{
    expression::{
        Translated, Translator,
        translator::{used_columns, widen},
    },
    kind::{Column, Kind, columns_of, schema_of},
    relation::checkpoint::CheckpointExec,
};

/// A join whose first input is the built one.
struct Sides {
    swapped: bool,
    join_type: JoinType,
    left: Vec<Column>,
    right: Vec<Column>,
}

impl Sides {
    fn new(kind: JoinKind, left: &Plan, right: &Plan) -> Result<Self, Failure> {
        let swapped = right.rows < left.rows;
        let join_type = match (kind, swapped) {
            (JoinKind::Inner, _) => JoinType::Inner,
            (JoinKind::Full, _) => JoinType::Full,
            (JoinKind::Left, false) | (JoinKind::Right, true) => JoinType::Left,
            (JoinKind::Left, true) | (JoinKind::Right, false) => JoinType::Right,
            (JoinKind::Semi, false) => JoinType::LeftSemi,
            (JoinKind::Semi, true) => JoinType::RightSemi,
            (JoinKind::Anti, false) => JoinType::LeftAnti,
            (JoinKind::Anti, true) => JoinType::RightAnti,
        };
        Ok(Self { swapped, join_type, left: columns_of(&left.columns)?, right: columns_of(&right.columns)? })
    }

    /// What the operator gives.
    fn output(&self) -> Vec<Column> {
        let both = |first: &[Column], second: &[Column]| [first, second].concat();
        match self.join_type {
            JoinType::LeftSemi | JoinType::RightSemi | JoinType::LeftAnti | JoinType::RightAnti => {
                self.left.clone()
            }
            _ if self.swapped => both(&self.right, &self.left),
            _ => both(&self.left, &self.right),
        }
    }

    fn order<T>(&self, left: T, right: T) -> (T, T) {
        if self.swapped { (right, left) } else { (left, right) }
    }

    fn filter(&self, builder: &PlanBuilder, condition: &Expr) -> Result<JoinFilter, Failure> {
        let used = used_columns(condition);
        let (left_side, right_side) = self.order(JoinSide::Left, JoinSide::Right);
        let mut columns = Vec::new();
        let mut indices = Vec::new();
        for (side, inputs) in [(left_side, &self.left), (right_side, &self.right)] {
            for (index, column) in inputs.iter().enumerate().filter(|(_, column)| used.contains(&column.id)) {
                columns.push(*column);
                indices.push(ColumnIndex { index, side });
            }
        }
        let condition = builder.translator(&columns).translate(condition)?;
        Ok(JoinFilter::new(condition.expr, indices, schema_of(&columns)))
    }
}

/// Both sides of an equality as columns of one type that are equal exactly when the values are.
fn keys_of(
    left: Translated,
    right: Translated,
) -> Result<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>), Failure> {
    if left.kind == right.kind && left.kind != Kind::Stored {
        return Ok((left.key()?, right.key()?));
    }
    if left.kind.is_integer() && right.kind.is_integer() {
        return Ok((widen(left, Kind::Int8), widen(right, Kind::Int8)));
    }
    refused("a join of different types")
}

impl PlanBuilder {
    pub(super) async fn hash_join(
        &mut self,
        kind: JoinKind,
        left: &Plan,
        right: &Plan,
        keys: &[JoinKey],
        residual: Option<&Expr>,
        columns: &[Column],
    ) -> Result<Operator, Failure> {
        let sides = Sides::new(kind, left, right)?;
        let of_left: Translator = self.translator(&sides.left);
        let of_right = self.translator(&sides.right);
        let mut on = Vec::with_capacity(keys.len());
        for key in keys {
            let (left, right) = keys_of(of_left.translate(&key.left)?, of_right.translate(&key.right)?)?;
            on.push(sides.order(left, right));
        }
        let filter = residual.map(|residual| sides.filter(self, residual)).transpose()?;
        let (built, probing) = sides.order(left, right);
        let first = self.build(built).await?;
        let second = self.build_split(probing).await?;
        let join = HashJoinExec::try_new(
            first,
            second,
            on,
            filter,
            &sides.join_type,
            None,
            PartitionMode::CollectLeft,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        self.joined(Arc::new(join), &sides, columns)
    }

    pub(super) async fn nested_loop(
        &mut self,
        kind: JoinKind,
        left: &Plan,
        right: &Plan,
        on: Option<&Expr>,
        columns: &[Column],
    ) -> Result<Operator, Failure> {
        let sides = Sides::new(kind, left, right)?;
        let filter = on.map(|on| sides.filter(self, on)).transpose()?;
        let left = self.build(left).await?;
        let right = self.build(right).await?;
        let (first, second) = sides.order(left, right);
        let join: Operator = if kind == JoinKind::Inner && filter.is_none() {
            Arc::new(CrossJoinExec::new(first, second))
        } else {
            Arc::new(NestedLoopJoinExec::try_new(first, second, filter, &sides.join_type, None)?)
        };
        self.joined(join, &sides, columns)
    }

    /// A join gives many batches for one of its inputs: each counts as work.
    fn joined(&self, join: Operator, sides: &Sides, columns: &[Column]) -> Result<Operator, Failure> {
        arrange(Arc::new(CheckpointExec::new(join, &self.context)), &sides.output(), columns)
    }
}
