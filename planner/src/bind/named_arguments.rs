//! Arguments by name: `make_interval(days => 3)`.

use basalt_types::{Datum, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, FunctionArg, FunctionArgExpr, Spanned},
    tokenizer::Span,
};

use super::{Binder, lookup, names::fold, scope::Env};
use crate::Expr;

/// Parameters of the functions that are usually called by name, in order.
fn parameters(function: &str) -> Option<&'static [&'static str]> {
    Some(match function {
        "make_interval" => &["years", "months", "weeks", "days", "hours", "mins", "secs"],
        "make_date" => &["year", "month", "day"],
        "make_time" => &["hour", "min", "sec"],
        "make_timestamp" => &["year", "month", "mday", "hour", "min", "sec"],
        "make_timestamptz" => &["year", "month", "mday", "hour", "min", "sec", "timezone"],
        "parse_ident" => &["str", "strict"],
        "jsonb_set" => &["jsonb_in", "path", "replacement", "create_if_missing"],
        "jsonb_insert" => &["jsonb_in", "path", "replacement", "insert_after"],
        "json_strip_nulls" | "jsonb_strip_nulls" => &["target"],
        "regexp_replace" | "regexp_matches" | "regexp_match" => return None,
        _ => return None,
    })
}

impl Binder<'_> {
    /// Positional arguments followed by named ones, all in their places, defaults between them.
    pub(super) fn named_args(
        &mut self,
        args: &[FunctionArg],
        name: &str,
        span: Span,
        env: &Env<'_>,
    ) -> Result<Vec<(Expr, Span)>> {
        let mut placed: Vec<Option<(Expr, Span)>> = Vec::new();
        let mut named: Vec<(String, Expr, Span)> = Vec::new();
        for arg in args {
            let (label, expr) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if named.is_empty() => {
                    let bound = self.expr(expr, env)?;
                    placed.push(Some((bound, expr.span())));
                    continue;
                }
                FunctionArg::Unnamed(_) => {
                    return Err(self.error_at(
                        SqlState::SYNTAX_ERROR,
                        "positional argument cannot follow named argument",
                        span,
                    ));
                }
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => (fold(name), expr),
                FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name),
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } => (fold(name), expr),
                _ => return Err(self.at(SqlError::not_supported("this notation of an argument"), span)),
            };
            if named.iter().any(|(known, ..)| *known == label) {
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    format!("argument name \"{label}\" used more than once"),
                    span,
                ));
            }
            let bound = self.expr(expr, env)?;
            named.push((label, bound, expr.span()));
        }
        let shown = |named: &[(String, Expr, Span)], placed: &[Option<(Expr, Span)>]| {
            let mut parts: Vec<String> =
                placed.iter().flatten().map(|(expr, _)| super::type_name(expr.ty())).collect();
            parts.extend(
                named.iter().map(|(label, expr, _)| format!("{label} => {}", super::type_name(expr.ty()))),
            );
            format!("function {name}({}) does not exist", parts.join(", "))
        };
        let missing = |message: String| {
            self.at(
                SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                ),
                span,
            )
        };
        let Some(known) = parameters(name) else { return Err(missing(shown(&named, &placed))) };
        let defaults = lookup::functions(name)
            .find(|function| function.args.len() == known.len())
            .map(|function| (function.args.clone(), function.default_values()));
        let Some((types, defaults)) = defaults else { return Err(missing(shown(&named, &placed))) };
        if placed.len() > known.len() {
            return Err(missing(shown(&named, &placed)));
        }
        let positional = placed.len();
        placed.resize(known.len(), None);
        for (label, expr, place) in &named {
            let slot = known.iter().position(|known| known == label).filter(|slot| *slot >= positional);
            let Some(slot) = slot else { return Err(missing(shown(&named, &placed[..positional]))) };
            placed[slot] = Some((expr.clone(), *place));
        }
        let required = known.len() - defaults.len();
        let mut complete = Vec::with_capacity(known.len());
        for (slot, value) in placed.iter().enumerate() {
            complete.push(match value {
                Some(value) => value.clone(),
                None if slot >= required => {
                    let value: Datum = defaults[slot - required].clone();
                    (Expr::literal(value, SqlType::new(types[slot], -1)), span)
                }
                None => return Err(missing(shown(&named, &placed[..positional]))),
            });
        }
        Ok(complete)
    }
}
