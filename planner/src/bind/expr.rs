//! Scalar expressions.

use basalt_functions::CastContext;
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, AccessExpr, BinaryOperator, Spanned, Subscript, UnaryOperator},
    tokenizer::Span,
};

use super::{
    Binder,
    data_type::bind_type,
    literal::is_unknown,
    lookup,
    resolve::{self, Found},
    scope::Env,
};
use crate::{
    Expr,
    expr::{CallExpr, SubqueryKind},
};

impl Binder<'_> {
    /// Binds an expression; unknown literals stay unknown.
    pub(crate) fn expr(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Expr> {
        self.deeper(|binder| binder.expr_inner(expr, env))
    }

    /// Binds a condition.
    pub(crate) fn condition(&mut self, expr: &ast::Expr, construct: &str, env: &Env<'_>) -> Result<Expr> {
        let bound = self.expr(expr, env)?;
        self.coerce_boolean(bound, construct, expr.span())
    }

    fn expr_inner(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Expr> {
        use ast::Expr as E;
        match expr {
            E::Identifier(ident) => {
                if ident.quote_style.is_none()
                    && let Some(value) = self.keyword_value(&ident.value, None, ident.span)?
                {
                    return Ok(value);
                }
                self.column(ident, env)
            }
            E::CompoundIdentifier(parts) => Ok(self.qualified_column(parts, env)?.expr),
            E::Nested(inner) => self.expr(inner, env),
            E::Value(value) => self.value(value),
            E::TypedString(typed) => self.typed_string(typed),
            E::Interval(interval) => self.interval(interval, env),
            E::BinaryOp { left, op, right } => self.binary_op(left, op, right, env),
            E::UnaryOp { op, expr } => self.unary_op(*op, expr, env),
            E::IsNull(inner) => self.null_test(inner, false, env),
            E::IsNotNull(inner) => self.null_test(inner, true, env),
            E::IsTrue(inner) => self.bool_test(inner, Some(true), false, "IS TRUE", env),
            E::IsNotTrue(inner) => self.bool_test(inner, Some(true), true, "IS NOT TRUE", env),
            E::IsFalse(inner) => self.bool_test(inner, Some(false), false, "IS FALSE", env),
            E::IsNotFalse(inner) => self.bool_test(inner, Some(false), true, "IS NOT FALSE", env),
            E::IsUnknown(inner) => self.bool_test(inner, None, false, "IS UNKNOWN", env),
            E::IsNotUnknown(inner) => self.bool_test(inner, None, true, "IS NOT UNKNOWN", env),
            E::IsDistinctFrom(left, right) => self.distinct_test(left, right, false, env),
            E::IsNotDistinctFrom(left, right) => self.distinct_test(left, right, true, env),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated, env),
            E::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated, env),
            E::Between { expr, negated, low, high } => self.between(expr, *negated, low, high, env),
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~" } else { "~~" }, expr, pattern, escape_char.as_ref(), env)
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, expr, pattern, escape_char.as_ref(), env)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(*negated, expr, pattern, escape_char.as_ref(), env)
            }
            E::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false, env),
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true, env),
            E::Cast {
                kind: kind @ (ast::CastKind::Cast | ast::CastKind::DoubleColon),
                expr: inner,
                data_type,
                ..
            } => {
                // The name stands after `::` or `AS `.
                let before = if matches!(kind, ast::CastKind::Cast) { 3 } else { 2 };
                let target = bind_type(data_type).map_err(|error| {
                    let place = self.source.operator_after(inner.span().end);
                    error.at(place.map_or(1, |place| place + before))
                })?;
                self.cast_syntax(inner, target, env)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let args = vec![
                    (self.expr(time_zone, env)?, time_zone.span()),
                    (self.expr(timestamp, env)?, timestamp.span()),
                ];
                self.call_function("timezone", args, timestamp.span())
            }
            E::Extract { .. }
            | E::Ceil { .. }
            | E::Floor { .. }
            | E::Position { .. }
            | E::Substring { .. }
            | E::Trim { .. }
            | E::Overlay { .. } => self.special_call(expr, env),
            E::Collate { expr: inner, collation } => self.collate(inner, collation, env),
            E::Function(function) => self.function(function, env),
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), env)
            }
            E::Exists { subquery, negated } => {
                let exists = self.subquery(subquery, SubqueryKind::Exists, env)?;
                Ok(if *negated { Expr::Not(Box::new(exists)) } else { exists })
            }
            E::Subquery(query) => self.subquery(query, SubqueryKind::Scalar, env),
            E::Tuple(items) => self.row(items, env),
            E::Array(array) => self.array(&array.elem, expr.span(), env),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, env),
            E::Wildcard(_) | E::QualifiedWildcard(..) => {
                Err(self.error_at(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\"", expr.span()))
            }
            other => Err(self.at(SqlError::not_supported(format!("the expression {other}")), other.span())),
        }
    }

    fn cast_syntax(&mut self, inner: &ast::Expr, target: SqlType, env: &Env<'_>) -> Result<Expr> {
        // An array constructor takes its element type from the cast, so that ARRAY[]::int[] works.
        if let (ast::Expr::Array(array), Some(element)) = (inner, lookup::element(target.oid)) {
            let mut elements = Vec::with_capacity(array.elem.len());
            for item in &array.elem {
                let to = if matches!(item, ast::Expr::Array(_)) {
                    target
                } else {
                    SqlType::new(element, target.typmod)
                };
                elements.push(self.cast_syntax(item, to, env)?);
            }
            return Ok(Expr::Array { elements, ty: target });
        }
        let value = self.expr(inner, env)?;
        let (source, span) = (value.ty(), inner.span());
        if is_unknown(source) {
            return self.cast_explicit(value, target, span);
        }
        match self.coerce(value, target, CastContext::Explicit, span)? {
            Some(value) => Ok(value),
            None => {
                let (from, to) = (super::type_name(source), super::type_name(target));
                let error =
                    SqlError::new(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}"));
                Err(self.source.cast_of(span).map_or(error.clone(), |place| error.at(place)))
            }
        }
    }

    fn binary_op(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Expr> {
        match op {
            BinaryOperator::And | BinaryOperator::Or => return self.connective(left, op, right, env),
            _ => {}
        }
        // The left spine of a chain is walked without recursion.
        let mut chain = vec![(op, right)];
        let mut leftmost = left;
        while let ast::Expr::BinaryOp { left, op, right } = leftmost {
            if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
                break;
            }
            chain.push((op, right.as_ref()));
            leftmost = left;
        }
        let mut place = leftmost.span();
        if chain.len() == 1
            && let Some(compared) = self.row_comparison(leftmost, op, right, env)?
        {
            return Ok(compared);
        }
        if let (ast::Expr::Collate { collation: first, .. }, ast::Expr::Collate { collation: second, expr }) =
            (leftmost, right)
        {
            let (first, second) = (super::folded(first)?, super::folded(second)?);
            if first.last() != second.last() {
                let name = |parts: &[String]| parts.last().cloned().unwrap_or_default();
                let message = format!(
                    "collation mismatch between explicit collations \"{}\" and \"{}\"",
                    name(&first),
                    name(&second)
                );
                return Err(self.error_after(SqlState::COLLATION_MISMATCH, message, expr.span()));
            }
        }
        let mut result = self.expr(leftmost, env)?;
        for (op, right) in chain.into_iter().rev() {
            let name = operator_name(op)?;
            let operand = self.expr(right, env)?;
            result = self.binary(&name, result, operand, place, right.span())?;
            place = place.union(&right.span());
        }
        Ok(result)
    }

    /// AND and OR, flattened.
    fn connective(
        &mut self,
        left: &ast::Expr,
        op: &BinaryOperator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let is_and = *op == BinaryOperator::And;
        let mut operands = vec![right];
        let mut leftmost = left;
        while let ast::Expr::BinaryOp { left, op: inner, right } = leftmost {
            if inner != op {
                break;
            }
            operands.push(right);
            leftmost = left;
        }
        operands.push(leftmost);
        let mut bound = Vec::with_capacity(operands.len());
        for operand in operands.into_iter().rev() {
            match self.condition(operand, if is_and { "AND" } else { "OR" }, env)? {
                Expr::And(inner) if is_and => bound.extend(inner),
                Expr::Or(inner) if !is_and => bound.extend(inner),
                other => bound.push(other),
            }
        }
        Ok(if is_and { Expr::And(bound) } else { Expr::Or(bound) })
    }

    fn unary_op(&mut self, op: UnaryOperator, inner: &ast::Expr, env: &Env<'_>) -> Result<Expr> {
        let name = match op {
            UnaryOperator::Not => {
                let condition = self.condition(inner, "NOT", env)?;
                return Ok(Expr::Not(Box::new(condition)));
            }
            UnaryOperator::Minus => {
                if let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), span }) =
                    inner
                {
                    return self.number(&format!("-{text}"), *span);
                }
                "-"
            }
            UnaryOperator::Plus => "+",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            UnaryOperator::PGPrefixFactorial => "!!",
            other => return Err(SqlError::not_supported(format!("the operator {other}"))),
        };
        let operand = self.expr(inner, env)?;
        let source = operand.ty();
        let operator = match resolve::operator(name, None, source.oid) {
            Found::One(operator) => operator,
            found => {
                let error = missing_operator(name, None, source, matches!(found, Found::Ambiguous));
                return Err(match self.source.last_before(inner.span().start, name) {
                    Some(position) => error.at(position),
                    None => error,
                });
            }
        };
        self.apply_operator(operator, vec![(operand, inner.span())])
    }

    /// Resolves and applies a binary operator. `place` spans the left operand: the operator stands after it.
    pub(crate) fn binary(
        &mut self,
        name: &str,
        left: Expr,
        right: Expr,
        place: Span,
        right_span: Span,
    ) -> Result<Expr> {
        let (left_type, right_type) = (left.ty(), right.ty());
        let operator = self.resolve_binary(name, left_type, right_type, place)?;
        self.apply_operator(operator, vec![(left, place), (right, right_span)])
    }

    pub(crate) fn resolve_binary(
        &self,
        name: &str,
        left: SqlType,
        right: SqlType,
        place: Span,
    ) -> Result<&'static basalt_functions::Operator> {
        let ambiguous = match resolve::operator(name, Some(left.oid), right.oid) {
            Found::One(operator) => return Ok(operator),
            Found::None => false,
            Found::Ambiguous => true,
        };
        let error = missing_operator(name, Some(left), right, ambiguous);
        match self.source.operator_after(place.end) {
            Some(position) => Err(error.at(position)),
            None => Err(error),
        }
    }

    pub(crate) fn apply_operator(
        &mut self,
        operator: &'static basalt_functions::Operator,
        operands: Vec<(Expr, Span)>,
    ) -> Result<Expr> {
        let declared: Vec<Oid> = operator.left.into_iter().chain([operator.right]).collect();
        let actual: Vec<SqlType> = operands.iter().map(|(expr, _)| expr.ty()).collect();
        let signature = resolve::concrete(&declared, operator.result, &actual, |types| {
            self.common_type(types, &[], "ARRAY")
        })?;
        let mut args = Vec::with_capacity(operands.len());
        for ((expr, span), target) in operands.into_iter().zip(&signature.args) {
            args.push(self.coerce_arg(expr, *target, span)?);
        }
        Ok(Expr::Call(Box::new(CallExpr {
            function: operator.function,
            args,
            ty: SqlType::new(signature.returns, -1),
            operator: Some(operator.name),
        })))
    }

    /// An argument to the type its parameter has; resolution has made sure that it can be.
    pub(crate) fn coerce_arg(&mut self, expr: Expr, target: Oid, span: Span) -> Result<Expr> {
        let target = SqlType::new(target, -1);
        self.coerce_or(expr, target, CastContext::Implicit, span, |source| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("cannot use type {} as {}", super::type_name(source), super::type_name(target)),
            )
        })
    }

    fn null_test(&mut self, inner: &ast::Expr, negated: bool, env: &Env<'_>) -> Result<Expr> {
        let value = self.expr(inner, env)?;
        if let Expr::Row { fields, .. } = value {
            let tests =
                fields.into_iter().map(|field| Expr::IsNull { input: Box::new(field), negated }).collect();
            return Ok(Expr::And(tests));
        }
        Ok(Expr::IsNull { input: Box::new(value), negated })
    }

    fn bool_test(
        &mut self,
        inner: &ast::Expr,
        value: Option<bool>,
        negated: bool,
        construct: &str,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let input = self.condition(inner, construct, env)?;
        Ok(Expr::BoolTest { input: Box::new(input), value, negated })
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let operand = match operand {
            Some(operand) => {
                let bound = self.expr(operand, env)?;
                Some((self.settle_unknown(bound)?, operand.span()))
            }
            None => None,
        };
        let mut tests = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        // PostgreSQL lets the ELSE branch lead the choice of the type.
        if let Some(otherwise) = otherwise {
            results.push((self.expr(otherwise, env)?, otherwise.span()));
        }
        for branch in conditions {
            tests.push(match &operand {
                Some((operand, span)) => {
                    let value = self.expr(&branch.condition, env)?;
                    self.binary("=", operand.clone(), value, *span, branch.condition.span())?
                }
                None => self.condition(&branch.condition, "CASE/WHEN", env)?,
            });
            results.push((self.expr(&branch.result, env)?, branch.result.span()));
        }
        let (mut results, ty) = self.unify(results, "CASE")?;
        let otherwise = otherwise.is_some().then(|| Box::new(results.remove(0)));
        let branches = tests.into_iter().zip(results).collect();
        Ok(Expr::Case { branches, otherwise, ty })
    }

    pub(crate) fn array(&mut self, items: &[ast::Expr], span: Span, env: &Env<'_>) -> Result<Expr> {
        if items.is_empty() {
            return Err(self.at(
                SqlError::new(SqlState::INDETERMINATE_DATATYPE, "cannot determine type of empty array")
                    .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."),
                span,
            ));
        }
        let mut elements = Vec::with_capacity(items.len());
        for item in items {
            elements.push((self.expr(item, env)?, item.span()));
        }
        let (elements, element) = self.unify(elements, "ARRAY")?;
        if lookup::element(element.oid).is_some() {
            return Ok(Expr::Array { elements, ty: element });
        }
        let array = lookup::array_of(element.oid).ok_or_else(|| {
            self.error_at(
                SqlState::UNDEFINED_OBJECT,
                format!("could not find array type for data type {}", super::type_name(element)),
                span,
            )
        })?;
        Ok(Expr::Array { elements, ty: SqlType::new(array, element.typmod) })
    }

    fn access(&mut self, root: &ast::Expr, chain: &[AccessExpr], env: &Env<'_>) -> Result<Expr> {
        // `t.a[1]` comes as t, .a, [1].
        let root = match root {
            // `(t).a`
            ast::Expr::Nested(inner)
                if matches!(inner.as_ref(), ast::Expr::Identifier(_))
                    && matches!(chain.first(), Some(AccessExpr::Dot(_))) =>
            {
                inner.as_ref()
            }
            root => root,
        };
        let mut parts = match root {
            ast::Expr::Identifier(ident) => vec![ident.clone()],
            ast::Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => vec![],
        };
        let mut rest = chain;
        while let (false, [AccessExpr::Dot(ast::Expr::Identifier(ident)), tail @ ..]) =
            (parts.is_empty(), rest)
        {
            parts.push(ident.clone());
            rest = tail;
        }
        let array = match parts.as_slice() {
            [] => self.expr(root, env)?,
            [_] => self.expr(root, env)?,
            parts => self.qualified_column(parts, env)?.expr,
        };
        if rest.is_empty() {
            return Ok(array);
        }
        let ty = array.ty();
        let Some(element) = lookup::element(ty.oid) else {
            return Err(self.error_at(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "cannot subscript type {} because it does not support subscripting",
                    super::type_name(ty)
                ),
                root.span(),
            ));
        };
        if rest.iter().any(|step| matches!(step, AccessExpr::Subscript(Subscript::Slice { .. }))) {
            return self.slice(array, rest, root.span(), env);
        }
        let mut indexes = Vec::new();
        for step in rest {
            match step {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let bound = self.expr(index, env)?;
                    indexes.push(self.coerce_or(
                        bound,
                        SqlType::INT4,
                        CastContext::Assignment,
                        index.span(),
                        |_| {
                            SqlError::new(
                                SqlState::DATATYPE_MISMATCH,
                                "array subscript must have type integer",
                            )
                        },
                    )?);
                }
                AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return Err(SqlError::internal("a slice among subscripts"));
                }
                AccessExpr::Dot(field) => {
                    return Err(self
                        .at(SqlError::not_supported(format!("the field selection .{field}")), root.span()));
                }
            }
        }
        Ok(Expr::Subscript { array: Box::new(array), indexes, ty: SqlType::new(element, ty.typmod) })
    }

    /// `a[2:3]`; beside a slice, a lone subscript `n` means `1:n`.
    fn slice(&mut self, array: Expr, steps: &[AccessExpr], span: Span, env: &Env<'_>) -> Result<Expr> {
        let ty = array.ty();
        let mut bounds = [Vec::with_capacity(steps.len()), Vec::with_capacity(steps.len())];
        let constant = |value: i32| Expr::literal(basalt_types::Datum::Int4(value), SqlType::INT4);
        for step in steps {
            let (lower, upper) = match step {
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    (lower_bound.as_ref(), upper_bound.as_ref())
                }
                AccessExpr::Subscript(Subscript::Index { index }) => (None, Some(index)),
                _ => return Err(self.at(SqlError::not_supported("this subscript"), span)),
            };
            let is_index = matches!(step, AccessExpr::Subscript(Subscript::Index { .. }));
            for (out, (bound, open)) in
                bounds.iter_mut().zip([(lower, if is_index { 1 } else { i32::MIN }), (upper, i32::MAX)])
            {
                out.push(match bound {
                    None => constant(open),
                    Some(bound) => {
                        let value = self.expr(bound, env)?;
                        self.coerce_or(value, SqlType::INT4, CastContext::Assignment, bound.span(), |_| {
                            SqlError::new(
                                SqlState::DATATYPE_MISMATCH,
                                "array subscript must have type integer",
                            )
                        })?
                    }
                });
            }
        }
        let list = SqlType::new(Oid(1007), -1);
        let [lower, upper] = bounds.map(|elements| Expr::Array { elements, ty: list });
        let args = vec![(array, span), (lower, span), (upper, span)];
        match self.call_function("array_slice", args, span)? {
            Expr::Call(mut call) => {
                call.ty = ty;
                Ok(Expr::Call(call))
            }
            other => Ok(other),
        }
    }

    fn collate(&mut self, inner: &ast::Expr, collation: &ast::ObjectName, env: &Env<'_>) -> Result<Expr> {
        let value = self.expr(inner, env)?;
        let value = if is_unknown(value.ty()) { self.settle_unknown(value)? } else { value };
        if lookup::category(value.ty().oid) != basalt_types::Category::String {
            let message = format!("collations are not supported by type {}", super::type_name(value.ty()));
            return Err(self.error_after(SqlState::DATATYPE_MISMATCH, message, inner.span()));
        }
        let parts = super::folded(collation)?;
        // All of these order by bytes, as the database does.
        match parts.last().map(String::as_str) {
            Some("default" | "C" | "c" | "POSIX" | "posix" | "ucs_basic") => Ok(value),
            _ => {
                let message =
                    format!("collation \"{}\" for encoding \"UTF8\" does not exist", parts.join("."));
                Err(self.error_after(SqlState::UNDEFINED_OBJECT, message, inner.span()))
            }
        }
    }
}

/// 42883 or 42725 with PostgreSQL's hint.
fn missing_operator(name: &str, left: Option<SqlType>, right: SqlType, ambiguous: bool) -> SqlError {
    let left = left.map_or(String::new(), |left| format!("{} ", super::type_name(left)));
    let right = super::type_name(right);
    if ambiguous {
        return SqlError::new(
            SqlState::AMBIGUOUS_FUNCTION,
            format!("operator is not unique: {left}{name} {right}"),
        )
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.");
    }
    let hint = if left.is_empty() {
        "No operator matches the given name and argument type. You might need to add an explicit type cast."
    } else {
        "No operator matches the given name and argument types. You might need to add explicit type casts."
    };
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {left}{name} {right}"))
        .with_hint(hint)
}

/// The operator's name in `pg_operator`.
pub(crate) fn operator_name(op: &BinaryOperator) -> Result<String> {
    Ok(match op {
        BinaryOperator::NotEq => "<>".to_owned(),
        BinaryOperator::PGBitwiseXor => "#".to_owned(),
        BinaryOperator::PGExp => "^".to_owned(),
        BinaryOperator::BitwiseXor => "^".to_owned(),
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        BinaryOperator::Custom(name) => name.clone(),
        BinaryOperator::Overlaps | BinaryOperator::Match | BinaryOperator::Regexp | BinaryOperator::Xor => {
            return Err(SqlError::not_supported(format!("the operator {op}")));
        }
        other => other.to_string(),
    })
}
