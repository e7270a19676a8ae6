//! Comparisons with a shape of their own: IN, BETWEEN, LIKE, ANY, IS DISTINCT FROM.

use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, BinaryOperator, Spanned};

use super::{Binder, expr::operator_name, literal::is_unknown, lookup, resolve, scope::Env};
use crate::{Expr, expr::SubqueryKind};

fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}

impl Binder<'_> {
    pub(super) fn in_list(
        &mut self,
        input: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Expr> {
        if let ast::Expr::Tuple(_) = input {
            let mut alternatives = Vec::with_capacity(list.len());
            for item in list {
                alternatives.push(self.row_comparison(input, &BinaryOperator::Eq, item, env)?.ok_or_else(
                    || {
                        self.error_at(
                            SqlState::SYNTAX_ERROR,
                            "unequal number of entries in row expressions",
                            item.span(),
                        )
                    },
                )?);
            }
            return Ok(negate(Expr::Or(alternatives), negated));
        }
        let value = self.expr(input, env)?;
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            items.push((self.expr(item, env)?, item.span()));
        }
        if let [(item, span)] = items.as_slice() {
            let equal =
                self.binary(if negated { "<>" } else { "=" }, value, item.clone(), input.span(), *span)?;
            return Ok(equal);
        }
        let types: Vec<SqlType> =
            std::iter::once(value.ty()).chain(items.iter().map(|(item, _)| item.ty())).collect();
        let spans: Vec<_> =
            std::iter::once(input.span()).chain(items.iter().map(|(_, span)| *span)).collect();
        let common = self.common_type(&types, &spans, "IN");
        let resolved = common.and_then(|common| {
            self.resolve_binary("=", common, common, input.span()).map(|operator| (operator, common))
        });
        // Without one common type every item is compared by itself, and that decides on the error.
        let Ok((operator, common)) = resolved else {
            let mut alternatives = Vec::with_capacity(items.len());
            for (item, span) in items {
                alternatives.push(self.binary("=", value.clone(), item, input.span(), span)?);
            }
            return Ok(negate(Expr::Or(alternatives), negated));
        };
        let target = if lookup::is_polymorphic(operator.right) { common.oid } else { operator.right };
        let value = self.coerce_arg(value, target, input.span())?;
        let mut bound = Vec::with_capacity(items.len());
        for (item, span) in items {
            bound.push(self.coerce_arg(item, target, span)?);
        }
        Ok(Expr::InList { input: Box::new(value), list: bound, equal: operator.function, negated })
    }

    pub(super) fn in_subquery(
        &mut self,
        input: &ast::Expr,
        query: &ast::Query,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let found = self.quantified_subquery(input, "=", query, false, env)?;
        Ok(negate(found, negated))
    }

    pub(super) fn between(
        &mut self,
        input: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Expr> {
        if let ast::Expr::Function(function) = low
            && matches!(function.name.0.as_slice(), [ast::ObjectNamePart::Identifier(name)] if name.value == crate::parse::SYMMETRIC)
            && let ast::FunctionArguments::List(list) = &function.args
            && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(low))] = list.args.as_slice()
        {
            let forwards = self.between(input, negated, low, high, env)?;
            let backwards = self.between(input, negated, high, low, env)?;
            let both = vec![forwards, backwards];
            return Ok(if negated { Expr::And(both) } else { Expr::Or(both) });
        }
        let value = self.expr(input, env)?;
        let low_value = self.expr(low, env)?;
        let (first, second) = if negated { ("<", ">") } else { (">=", "<=") };
        let lower = self.binary(first, value.clone(), low_value, input.span(), low.span())?;
        let high_value = self.expr(high, env)?;
        let upper = self.binary(second, value, high_value, input.span(), high.span())?;
        Ok(if negated { Expr::Or(vec![lower, upper]) } else { Expr::And(vec![lower, upper]) })
    }

    pub(super) fn like(
        &mut self,
        operator: &str,
        input: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let value = self.expr(input, env)?;
        let mut pattern_value = self.expr(pattern, env)?;
        if let Some(escape) = escape {
            let escape_value = self.value(escape)?;
            pattern_value = self.call_function(
                "like_escape",
                vec![(pattern_value, pattern.span()), (escape_value, escape.span)],
                pattern.span(),
            )?;
        }
        self.binary(operator, value, pattern_value, input.span(), pattern.span())
    }

    pub(super) fn similar(
        &mut self,
        negated: bool,
        input: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let value = self.expr(input, env)?;
        let mut args = vec![(self.expr(pattern, env)?, pattern.span())];
        if let Some(escape) = escape {
            args.push((self.value(escape)?, escape.span));
        }
        let pattern_value = self.call_function("similar_to_escape", args, pattern.span())?;
        self.binary(if negated { "!~" } else { "~" }, value, pattern_value, input.span(), pattern.span())
    }

    pub(super) fn distinct_test(
        &mut self,
        left: &ast::Expr,
        right: &ast::Expr,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let (left_value, right_value) = (self.expr(left, env)?, self.expr(right, env)?);
        let (left, right, equal) = self.equality_of(left_value, right_value, left.span(), right.span())?;
        Ok(Expr::IsDistinct { left: Box::new(left), right: Box::new(right), equal, negated })
    }

    /// Both sides converted for the equality operator, and its function.
    pub(super) fn equality_of(
        &mut self,
        left: Expr,
        right: Expr,
        left_span: sqlparser::tokenizer::Span,
        right_span: sqlparser::tokenizer::Span,
    ) -> Result<(Expr, Expr, &'static basalt_functions::Function)> {
        match self.binary("=", left, right, left_span, right_span)? {
            Expr::Call(call) => {
                let function = call.function;
                let mut args = call.args.into_iter();
                match (args.next(), args.next()) {
                    (Some(left), Some(right)) => Ok((left, right, function)),
                    _ => Err(SqlError::internal("an equality without two operands")),
                }
            }
            _ => Err(SqlError::internal("an equality is not a call")),
        }
    }

    /// `left op ANY|ALL (right)`.
    pub(super) fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        all: bool,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let name = match op {
            BinaryOperator::PGLikeMatch => "~~".to_owned(),
            other => operator_name(other)?,
        };
        let mut inner = right;
        while let ast::Expr::Nested(nested) = inner {
            inner = nested;
        }
        if let ast::Expr::Subquery(query) = inner {
            return self.quantified_subquery(left, &name, query, all, env);
        }
        let value = self.expr(left, env)?;
        let array = self.expr(right, env)?;
        let array_type = array.ty();
        let element = if is_unknown(array_type) {
            SqlType::UNKNOWN
        } else {
            let element = lookup::element(array_type.oid).ok_or_else(|| {
                self.error_after(
                    SqlState::WRONG_OBJECT_TYPE,
                    "op ANY/ALL (array) requires array on right side",
                    left.span(),
                )
            })?;
            SqlType::new(element, -1)
        };
        let operator = self.resolve_binary(&name, value.ty(), element, left.span())?;
        if operator.result != Oid::BOOL {
            return Err(self.error_at(
                SqlState::WRONG_OBJECT_TYPE,
                "op ANY/ALL (array) requires operator to yield boolean",
                left.span(),
            ));
        }
        let signature = resolve::concrete(
            &[operator.left.unwrap_or(operator.right), operator.right],
            operator.result,
            &[value.ty(), element],
            |types| self.common_type(types, &[], "ARRAY"),
        )?;
        let value = self.coerce_arg(value, signature.args[0], left.span())?;
        let target = lookup::array_of(signature.args[1])
            .ok_or_else(|| SqlError::internal("an operand without array type"))?;
        let array = self.coerce_arg(array, target, right.span())?;
        Ok(Expr::ArrayOp { input: Box::new(value), operator: operator.function, array: Box::new(array), all })
    }

    fn quantified_subquery(
        &mut self,
        left: &ast::Expr,
        operator: &str,
        query: &ast::Query,
        all: bool,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let lefts: Vec<(Expr, _)> = match left {
            ast::Expr::Tuple(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push((self.expr(item, env)?, item.span()));
                }
                values
            }
            other => vec![(self.expr(other, env)?, other.span())],
        };
        let bound = self.subplan(query, env)?;
        let produced: Vec<_> = bound.plan.columns.clone();
        if produced.len() != lefts.len() {
            let message = if produced.len() > lefts.len() {
                "subquery has too many columns"
            } else {
                "subquery has too few columns"
            };
            return Err(self.error_after(SqlState::SYNTAX_ERROR, message, left.span()));
        }
        let mut comparisons = Vec::with_capacity(lefts.len());
        for ((value, span), (id, ty)) in lefts.into_iter().zip(&produced) {
            let column = Expr::Column { id: *id, ty: *ty };
            comparisons.push(self.binary(operator, value, column, span, span)?);
        }
        let comparison = match (comparisons.len(), operator) {
            (1, _) => comparisons.remove(0),
            (_, "=") => Expr::And(comparisons),
            (_, "<>") => Expr::Or(comparisons),
            _ => {
                return Err(SqlError::not_supported(format!("a row compared by {operator} with a subquery")));
            }
        };
        let columns = produced.iter().map(|(id, _)| *id).collect();
        let kind = SubqueryKind::Quantified { all, comparison: Box::new(comparison), columns };
        Ok(self.subquery_expr(kind, bound, SqlType::BOOL))
    }

    /// Reads `escape` of a LIKE-like construct as a literal.
    pub(super) fn text_literal(text: &str) -> Expr {
        Expr::literal(Datum::text(text), SqlType::TEXT)
    }
}
