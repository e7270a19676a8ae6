//! Window calls and window definitions.

use basalt_functions::FunctionKind;
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, NamedWindowExpr, Spanned, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType},
    tokenizer::Span,
};

use super::{Binder, Clause, names::fold, scope::Env};
use crate::{
    Expr,
    plan::{Frame, FrameBound, FrameExclude, FrameMode, SortKey, WindowCall},
};

/// A window as named in WINDOW or written after OVER.
#[derive(Clone)]
pub(crate) struct Definition {
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    frame: Option<Frame>,
}

pub(super) fn default_frame() -> Frame {
    Frame {
        mode: FrameMode::Range,
        start: FrameBound::UnboundedPreceding,
        end: FrameBound::CurrentRow,
        exclude: FrameExclude::NoOthers,
    }
}

impl Binder<'_> {
    /// Binds the WINDOW clause; later definitions may refer to earlier ones.
    pub(super) fn named_windows(
        &mut self,
        definitions: &[ast::NamedWindowDefinition],
        env: &Env<'_>,
    ) -> Result<()> {
        for ast::NamedWindowDefinition(name, definition) in definitions {
            let key = fold(name);
            if self.collected.named_windows.iter().any(|(known, _)| *known == key) {
                return Err(self.error_at(
                    SqlState::WINDOWING_ERROR,
                    format!("window \"{key}\" is already defined"),
                    name.span,
                ));
            }
            let bound = match definition {
                NamedWindowExpr::NamedWindow(base) => self.named_window(base)?,
                NamedWindowExpr::WindowSpec(spec) => self.window_definition(spec, name.span, env)?,
            };
            self.collected.named_windows.push((key, bound));
        }
        Ok(())
    }

    fn named_window(&self, name: &ast::Ident) -> Result<Definition> {
        let key = fold(name);
        let found = self.collected.named_windows.iter().find(|(known, _)| *known == key);
        found.map(|(_, definition)| definition.clone()).ok_or_else(|| {
            self.error_at(SqlState::UNDEFINED_OBJECT, format!("window \"{key}\" does not exist"), name.span)
        })
    }

    pub(super) fn window_call(
        &mut self,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let span = function.name.span();
        if self.collected.in_window || self.collected.in_aggregate {
            let (state, message) = if self.collected.in_window {
                (SqlState::WINDOWING_ERROR, "window function calls cannot be nested")
            } else {
                (SqlState::GROUPING_ERROR, "aggregate function calls cannot contain window function calls")
            };
            return Err(self.error_at(state, message, span));
        }
        if !matches!(self.collected.clause, Clause::Select | Clause::OrderBy | Clause::DistinctOn) {
            let place = self.collected.clause.name();
            return Err(self.error_at(
                SqlState::WINDOWING_ERROR,
                format!("window functions are not allowed in {place}"),
                span,
            ));
        }
        if function.null_treatment.is_some() {
            return Err(self.at(SqlError::not_supported("RESPECT NULLS or IGNORE NULLS"), span));
        }
        self.collected.in_window = true;
        let bound = self.bind_window(name, function, list, env);
        self.collected.in_window = false;
        let call = bound?;
        let ty = call.aggregate.ty;
        let id = self.new_id();
        self.collected.windows.push((id, call));
        Ok(Expr::Column { id, ty })
    }

    fn bind_window(
        &mut self,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
        env: &Env<'_>,
    ) -> Result<WindowCall> {
        let span = function.name.span();
        let aggregate = self.bind_aggregate(name, function, list, env)?;
        if !matches!(aggregate.function.kind, FunctionKind::Aggregate(_) | FunctionKind::Window(_)) {
            return Err(self.error_at(
                SqlState::WRONG_OBJECT_TYPE,
                format!("OVER specified, but {name} is not a window function nor an aggregate function"),
                span,
            ));
        }
        if aggregate.distinct {
            return Err(self.error_at(
                SqlState::FEATURE_NOT_SUPPORTED,
                "DISTINCT is not implemented for window functions",
                span,
            ));
        }
        if !aggregate.order_by.is_empty() {
            return Err(self.error_at(
                SqlState::FEATURE_NOT_SUPPORTED,
                "aggregate ORDER BY is not implemented for window functions",
                span,
            ));
        }
        let definition = match &function.over {
            Some(WindowType::NamedWindow(name)) => self.named_window(name)?,
            Some(WindowType::WindowSpec(spec)) => self.window_definition(spec, span, env)?,
            None => return Err(SqlError::internal("a window call without OVER")),
        };
        Ok(WindowCall {
            aggregate,
            partition_by: definition.partition_by,
            order_by: definition.order_by,
            frame: definition.frame.unwrap_or_else(default_frame),
        })
    }

    fn window_definition(&mut self, spec: &WindowSpec, span: Span, env: &Env<'_>) -> Result<Definition> {
        let (exclude, base_name) = exclusion(spec.window_name.as_ref());
        let base = base_name.as_ref().map(|name| self.named_window(name)).transpose()?;
        if let (Some(_), Some(name)) = (&base, &base_name) {
            let shown = fold(name);
            if !spec.partition_by.is_empty() {
                return Err(self.error_at(
                    SqlState::WINDOWING_ERROR,
                    format!("cannot override PARTITION BY clause of window \"{shown}\""),
                    name.span,
                ));
            }
            if base.as_ref().is_some_and(|base| !base.order_by.is_empty()) && !spec.order_by.is_empty() {
                return Err(self.error_at(
                    SqlState::WINDOWING_ERROR,
                    format!("cannot override ORDER BY clause of window \"{shown}\""),
                    name.span,
                ));
            }
        }
        let base = base.unwrap_or(Definition { partition_by: vec![], order_by: vec![], frame: None });
        let mut partition_by = base.partition_by;
        let mut order_by = base.order_by;
        self.in_clause(Clause::WindowDefinition, |binder| {
            for expr in &spec.partition_by {
                let bound = binder.expr(expr, env)?;
                partition_by.push(binder.settle_unknown(bound)?);
            }
            for key in &spec.order_by {
                let bound = binder.expr(&key.expr, env)?;
                let bound = binder.settle_unknown(bound)?;
                order_by.push(binder.sort_key(bound, &key.options, key.expr.span())?);
            }
            Ok(())
        })?;
        let frame = match &spec.window_frame {
            Some(frame) => Some(Frame { exclude, ..self.frame(frame, &order_by, span, env)? }),
            None => None,
        };
        Ok(Definition { partition_by, order_by, frame })
    }

    fn frame(
        &mut self,
        frame: &ast::WindowFrame,
        order_by: &[SortKey],
        span: Span,
        env: &Env<'_>,
    ) -> Result<Frame> {
        let mode = match frame.units {
            WindowFrameUnits::Rows => FrameMode::Rows,
            WindowFrameUnits::Range => FrameMode::Range,
            WindowFrameUnits::Groups => FrameMode::Groups,
        };
        let windowing = |message: &str| SqlError::new(SqlState::WINDOWING_ERROR, message);
        if mode == FrameMode::Groups && order_by.is_empty() {
            return Err(self.at(windowing("GROUPS mode requires an ORDER BY clause"), span));
        }
        let offset_type = match (mode, order_by) {
            (FrameMode::Range, [key]) => Some(range_offset_type(key.expr.ty().oid)),
            (FrameMode::Range, _) => None,
            _ => Some(Some(SqlType::INT8)),
        };
        let bound = |bound: &WindowFrameBound, binder: &mut Self| -> Result<FrameBound> {
            let (offset, preceding) = match bound {
                WindowFrameBound::CurrentRow => return Ok(FrameBound::CurrentRow),
                WindowFrameBound::Preceding(None) => return Ok(FrameBound::UnboundedPreceding),
                WindowFrameBound::Following(None) => return Ok(FrameBound::UnboundedFollowing),
                WindowFrameBound::Preceding(Some(offset)) => (offset, true),
                WindowFrameBound::Following(Some(offset)) => (offset, false),
            };
            let Some(target) = offset_type else {
                return Err(binder.at(
                    windowing("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"),
                    offset.span(),
                ));
            };
            let Some(target) = target else {
                return Err(binder.at(
                    SqlError::not_supported("RANGE with an offset for this column type"),
                    offset.span(),
                ));
            };
            let value = binder.expr(offset, env)?;
            let value = binder.coerce_or(
                value,
                target,
                basalt_functions::CastContext::Implicit,
                offset.span(),
                |source| {
                    SqlError::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!(
                            "argument of {} must be type {}, not type {}",
                            if mode == FrameMode::Rows {
                                "ROWS"
                            } else if mode == FrameMode::Groups {
                                "GROUPS"
                            } else {
                                "RANGE"
                            },
                            super::type_name(target),
                            super::type_name(source)
                        ),
                    )
                },
            )?;
            Ok(if preceding { FrameBound::Preceding(value) } else { FrameBound::Following(value) })
        };
        let start = bound(&frame.start_bound, self)?;
        let end = match &frame.end_bound {
            Some(end) => bound(end, self)?,
            None => FrameBound::CurrentRow,
        };
        let refuse = |message| Err(self.at(windowing(message), span));
        match (&start, &end) {
            (FrameBound::UnboundedFollowing, _) => {
                return refuse("frame start cannot be UNBOUNDED FOLLOWING");
            }
            (_, FrameBound::UnboundedPreceding) => return refuse("frame end cannot be UNBOUNDED PRECEDING"),
            (FrameBound::CurrentRow, FrameBound::Preceding(_)) => {
                return refuse("frame starting from current row cannot have preceding rows");
            }
            (FrameBound::Following(_), FrameBound::Preceding(_) | FrameBound::CurrentRow) => {
                return refuse("frame starting from following row cannot have preceding rows");
            }
            _ => {}
        }
        Ok(Frame { mode, start, end, exclude: FrameExclude::NoOthers })
    }
}

/// What a frame excludes and the window's own base name, which the rewriter has joined.
fn exclusion(name: Option<&ast::Ident>) -> (FrameExclude, Option<ast::Ident>) {
    let Some(name) = name else { return (FrameExclude::NoOthers, None) };
    let Some((what, base)) =
        name.value.strip_prefix(crate::parse::EXCLUDE).and_then(|rest| rest.split_once('\u{1}'))
    else {
        return (FrameExclude::NoOthers, Some(name.clone()));
    };
    let exclude = match what {
        "current row" => FrameExclude::CurrentRow,
        "group" => FrameExclude::Group,
        "ties" => FrameExclude::Ties,
        _ => FrameExclude::NoOthers,
    };
    let base = (!base.is_empty()).then(|| ast::Ident {
        value: base.to_owned(),
        quote_style: Some('"'),
        span: name.span,
    });
    (exclude, base)
}

/// The type of a RANGE offset for an ordering column.
fn range_offset_type(oid: Oid) -> Option<SqlType> {
    match oid {
        Oid::INT2 | Oid::INT4 | Oid::INT8 | Oid::NUMERIC | Oid::FLOAT4 | Oid::FLOAT8 => {
            Some(SqlType::new(oid, -1))
        }
        Oid::DATE | Oid::TIME | Oid::TIMESTAMP | Oid::TIMESTAMPTZ | Oid::INTERVAL => Some(SqlType::INTERVAL),
        _ => None,
    }
}
