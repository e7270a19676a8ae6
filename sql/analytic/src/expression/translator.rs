//! The translation of bound expressions.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use basalt_functions::{CastMethod, EvalContext};
use basalt_planner::{
    ColumnId, Expr, children_mut,
    expr::{CallExpr, Subquery, SubqueryKind},
};
use basalt_sql::exec::eval;
use basalt_types::{Datum, SqlError, SqlType};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    physical_expr::{
        PhysicalExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column as ColumnExpr, IsNotNullExpr, IsNullExpr, Literal,
            NotExpr, in_list,
        },
    },
};

use super::{
    decimal::NumericOperation,
    key::key_of,
    logic::LogicExpr,
    native::{IntegerArithmetic, is_comparison, operator_of},
    rowwise::RowwiseExpr,
};
use crate::{
    builder::ColumnBuilder,
    kind::{Column, Kind, column_name, schema_of},
    subquery::{MembershipExpr, OnceExpr},
    translate::subquery::{Subqueries, address, membership},
};

/// Why something has no vectorised form; the row executor runs it.
#[derive(Clone, Debug)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Self {
        Self(error.message().to_owned())
    }
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        Self(error.to_string())
    }
}

impl From<SqlType> for Refusal {
    fn from(sql_type: SqlType) -> Self {
        Self(format!("type {} has no column form", sql_type.oid))
    }
}

type Result<T> = std::result::Result<T, Refusal>;

/// An expression over an operator's input.
pub struct Translated {
    pub expr: Arc<dyn PhysicalExpr>,
    pub kind: Kind,
    pub ty: SqlType,
    /// Evaluation can raise an error.
    pub fallible: bool,
}

impl Translated {
    /// What to compare, group and sort by.
    pub fn key(&self) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(key_of(self.expr.clone(), self.kind, self.ty)?)
    }
}

/// Translates expressions over one input.
pub struct Translator {
    columns: Vec<Column>,
    schema: SchemaRef,
    eval: Arc<EvalContext>,
    subqueries: Subqueries,
}

impl Translator {
    pub fn new(columns: &[Column], eval: &Arc<EvalContext>, subqueries: &Subqueries) -> Self {
        Self {
            columns: columns.to_vec(),
            schema: schema_of(columns),
            eval: eval.clone(),
            subqueries: subqueries.clone(),
        }
    }

    pub fn translate(&self, expr: &Expr) -> Result<Translated> {
        match self.native(expr)? {
            Some(translated) => Ok(translated),
            None => self.rowwise(expr),
        }
    }

    /// A column of the input.
    pub fn column(&self, id: ColumnId) -> Result<Translated> {
        let position = self.columns.iter().position(|column| column.id == id);
        let position = position.ok_or_else(|| Refusal("a column of an enclosing query".to_owned()))?;
        let column = self.columns[position];
        let expr = Arc::new(ColumnExpr::new(&column_name(id), position));
        Ok(Translated { expr, kind: column.kind, ty: column.ty, fallible: false })
    }

    pub fn constant(&self, value: &Datum, ty: SqlType) -> Result<Translated> {
        let kind = Kind::of(ty).ok_or(ty)?;
        let mut builder = ColumnBuilder::new(kind, 1);
        builder.append(value)?;
        let scalar = ScalarValue::try_from_array(&builder.finish(), 0)?;
        Ok(Translated { expr: Arc::new(Literal::new(scalar)), kind, ty, fallible: false })
    }

    /// `None`: no native form.
    fn native(&self, expr: &Expr) -> Result<Option<Translated>> {
        Ok(match expr {
            Expr::Literal { value, ty } => Some(self.constant(value, *ty)?),
            Expr::Param { index, ty } => match self.eval.params.get(*index) {
                Some(value) => Some(self.constant(value, *ty)?),
                None => None,
            },
            Expr::Column { id, .. } => Some(self.column(*id)?),
            Expr::Call(call) => self.call(call)?,
            Expr::Cast { input, to, method, .. } => self.cast(input, *to, method)?,
            Expr::And(args) => Some(self.logic(true, args)?),
            Expr::Or(args) => Some(self.logic(false, args)?),
            Expr::Not(input) => {
                let input = self.translate(input)?;
                Some(boolean(Arc::new(NotExpr::new(input.expr)), input.fallible))
            }
            Expr::IsNull { input, negated } => {
                let input = self.translate(input)?;
                if input.kind == Kind::Stored {
                    return Ok(None);
                }
                let test: Arc<dyn PhysicalExpr> = if *negated {
                    Arc::new(IsNotNullExpr::new(input.expr))
                } else {
                    Arc::new(IsNullExpr::new(input.expr))
                };
                Some(boolean(test, input.fallible))
            }
            Expr::Subquery(subquery) => Some(self.subquery(subquery)?),
            Expr::Case { branches, otherwise, ty } => self.case(branches, otherwise.as_deref(), *ty)?,
            Expr::InList { input, list, equal, negated } => {
                let is_constant = |expr: &Expr| matches!(expr, Expr::Literal { .. } | Expr::Param { .. });
                if equal.args[0] != equal.args[1] || !list.iter().all(is_constant) {
                    return Ok(None);
                }
                let input = self.translate(input)?;
                let mut keys = Vec::with_capacity(list.len());
                for item in list {
                    let item = self.translate(item)?;
                    if item.kind != input.kind {
                        return Ok(None);
                    }
                    keys.push(item.key()?);
                }
                Some(boolean(in_list(input.key()?, keys, negated, &self.schema)?, input.fallible))
            }
            _ => None,
        })
    }

    fn subquery(&self, subquery: &Subquery) -> Result<Translated> {
        let Some(once) = self.subqueries.get(&address(subquery)) else {
            return Err(Refusal("a subquery that is run for each row".to_owned()));
        };
        let ty = subquery.ty;
        let kind = Kind::of(ty).ok_or(ty)?;
        let expr: Arc<dyn PhysicalExpr> = match membership(subquery) {
            Some(membership) => {
                let input = self.translate(membership.outer)?.key()?;
                Arc::new(MembershipExpr::new(input, once.clone(), membership.negated))
            }
            None => Arc::new(OnceExpr { subquery: once.clone(), kind }),
        };
        Ok(Translated { expr, kind, ty, fallible: true })
    }

    fn call(&self, call: &CallExpr) -> Result<Option<Translated>> {
        let (Some(operator), [left, right]) = (operator_of(call.function), &call.args[..]) else {
            return Ok(None);
        };
        let declared: Vec<Option<Kind>> =
            call.function.args.iter().map(|&oid| Kind::of(SqlType::new(oid, -1))).collect();
        let actual = [Kind::of(left.ty()), Kind::of(right.ty())];
        let ([Some(left_kind), Some(right_kind)], true) = (actual, declared == actual) else {
            return Ok(None);
        };
        let integers = left_kind.is_integer() && right_kind.is_integer();
        if left_kind == Kind::Numeric && right_kind == Kind::Numeric {
            let (left, right) = (self.translate(left)?, self.translate(right)?);
            let compares = is_comparison(operator);
            let fallible = !compares || left.fallible || right.fallible;
            let expr = Arc::new(NumericOperation { operator, left: left.expr, right: right.expr });
            let kind = if compares { Kind::Bool } else { Kind::Numeric };
            return Ok(Some(Translated { expr, kind, ty: call.ty, fallible }));
        }
        if is_comparison(operator) {
            let comparable = left_kind == right_kind && left_kind != Kind::Stored;
            if !integers && !comparable {
                return Ok(None);
            }
            let (left, right) = (self.translate(left)?, self.translate(right)?);
            let fallible = left.fallible || right.fallible;
            let (left, right) = if left_kind == right_kind {
                (left.key()?, right.key()?)
            } else {
                (widen(left, Kind::Int8), widen(right, Kind::Int8))
            };
            return Ok(Some(boolean(Arc::new(BinaryExpr::new(left, operator, right)), fallible)));
        }
        let Some(kind) = Kind::of(call.ty).filter(|kind| integers && kind.is_integer()) else {
            return Ok(None);
        };
        let left = widen(self.translate(left)?, kind);
        let right = widen(self.translate(right)?, kind);
        let expr = Arc::new(IntegerArithmetic { operator, kind, left, right });
        Ok(Some(Translated { expr, kind, ty: call.ty, fallible: true }))
    }

    fn cast(&self, input: &Expr, to: SqlType, method: &CastMethod) -> Result<Option<Translated>> {
        let (Some(from_kind), Some(to_kind)) = (Kind::of(input.ty()), Kind::of(to)) else { return Ok(None) };
        let widens =
            matches!((from_kind, to_kind), (Kind::Int2, Kind::Int4 | Kind::Int8) | (Kind::Int4, Kind::Int8));
        if widens {
            let input = self.translate(input)?;
            let fallible = input.fallible;
            return Ok(Some(Translated { expr: widen(input, to_kind), kind: to_kind, ty: to, fallible }));
        }
        if matches!(method, CastMethod::Binary) && from_kind == to_kind && from_kind != Kind::Stored {
            let input = self.translate(input)?;
            return Ok(Some(Translated { ty: to, ..input }));
        }
        Ok(None)
    }

    fn logic(&self, is_and: bool, args: &[Expr]) -> Result<Translated> {
        let mut exprs = Vec::with_capacity(args.len());
        let mut fallible = Vec::with_capacity(args.len());
        for arg in args {
            let arg = self.translate(arg)?;
            exprs.push(arg.expr);
            fallible.push(arg.fallible);
        }
        if exprs.is_empty() {
            return self.constant(&Datum::Bool(is_and), SqlType::BOOL);
        }
        let any = fallible.contains(&true);
        Ok(boolean(Arc::new(LogicExpr::new(is_and, exprs, fallible)), any))
    }

    fn case(
        &self,
        branches: &[(Expr, Expr)],
        otherwise: Option<&Expr>,
        ty: SqlType,
    ) -> Result<Option<Translated>> {
        let kind = Kind::of(ty).ok_or(ty)?;
        let mut pairs = Vec::with_capacity(branches.len());
        for (when, then) in branches {
            let (when, then) = (self.translate(when)?, self.translate(then)?);
            if then.kind != kind {
                return Ok(None);
            }
            pairs.push((when.expr, then.expr));
        }
        let otherwise = match otherwise {
            Some(expr) => self.translate(expr)?,
            None => self.constant(&Datum::Null, ty)?,
        };
        if otherwise.kind != kind {
            return Ok(None);
        }
        let expr = Arc::new(CaseExpr::try_new(None, pairs, Some(otherwise.expr))?);
        Ok(Some(Translated { expr, kind, ty, fallible: true }))
    }

    fn replace_subqueries(&self, expr: &mut Expr, values: &mut Vec<(ColumnId, Translated)>) -> Result<()> {
        if let Expr::Subquery(subquery) = expr {
            let (id, ty) = (ColumnId(u32::MAX - values.len() as u32), subquery.ty);
            values.push((id, self.subquery(subquery)?));
            *expr = Expr::Column { id, ty };
            return Ok(());
        }
        let mut result = Ok(());
        children_mut(expr, &mut |child| {
            if result.is_ok() {
                result = self.replace_subqueries(child, values);
            }
        });
        result
    }

    fn rowwise(&self, expr: &Expr) -> Result<Translated> {
        let ty = expr.ty();
        let kind = Kind::of(ty).ok_or(ty)?;
        // The values of subqueries are columns to it.
        let mut expr = expr.clone();
        let mut values = Vec::new();
        self.replace_subqueries(&mut expr, &mut values)?;
        let used = used_columns(&expr);
        let mut columns = Vec::with_capacity(used.len());
        let mut args = Vec::with_capacity(used.len());
        for id in &used {
            let value = values.iter().position(|(column, _)| column == id);
            let translated = match value {
                Some(position) => values.swap_remove(position).1,
                None => self.column(*id)?,
            };
            columns.push(Column { id: *id, ty: translated.ty, kind: translated.kind });
            args.push(translated.expr);
        }
        let compiled = eval::compile(&expr, &used)?;
        let expr = Arc::new(RowwiseExpr::new(compiled, columns, args, kind, self.eval.clone()));
        Ok(Translated { expr, kind, ty, fallible: true })
    }
}

fn boolean(expr: Arc<dyn PhysicalExpr>, fallible: bool) -> Translated {
    Translated { expr, kind: Kind::Bool, ty: SqlType::BOOL, fallible }
}

/// An integer as a wider one.
pub fn widen(input: Translated, kind: Kind) -> Arc<dyn PhysicalExpr> {
    if input.kind == kind {
        return input.expr;
    }
    Arc::new(CastExpr::new(input.expr, kind.data_type(), None))
}

/// The columns that an expression reads, each once; those of subqueries' plans are not among them.
pub fn used_columns(expr: &Expr) -> Vec<ColumnId> {
    let mut used = Vec::new();
    collect(expr, &mut used);
    used
}

fn collect(expr: &Expr, used: &mut Vec<ColumnId>) {
    match expr {
        Expr::Column { id, .. } => {
            if !used.contains(id) {
                used.push(*id);
            }
        }
        Expr::Literal { .. } | Expr::Param { .. } => {}
        Expr::Subquery(subquery) => {
            if let SubqueryKind::Quantified { comparison, .. } = &subquery.kind {
                collect(comparison, used);
            }
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| collect(arg, used)),
        Expr::Cast { input, .. }
        | Expr::Coerce { input, .. }
        | Expr::Not(input)
        | Expr::IsNull { input, .. }
        | Expr::BoolTest { input, .. } => collect(input, used),
        Expr::And(args)
        | Expr::Or(args)
        | Expr::Coalesce { args, .. }
        | Expr::MinMax { args, .. }
        | Expr::Array { elements: args, .. }
        | Expr::Row { fields: args, .. } => args.iter().for_each(|arg| collect(arg, used)),
        Expr::IsDistinct { left, right, .. } | Expr::NullIf { left, right, .. } => {
            collect(left, used);
            collect(right, used);
        }
        Expr::Case { branches, otherwise, .. } => {
            for (when, then) in branches {
                collect(when, used);
                collect(then, used);
            }
            if let Some(otherwise) = otherwise {
                collect(otherwise, used);
            }
        }
        Expr::InList { input, list, .. } => {
            collect(input, used);
            list.iter().for_each(|item| collect(item, used));
        }
        Expr::ArrayOp { input, array, .. } => {
            collect(input, used);
            collect(array, used);
        }
        Expr::Subscript { array, indexes, .. } => {
            collect(array, used);
            indexes.iter().for_each(|index| collect(index, used));
        }
    }
}
