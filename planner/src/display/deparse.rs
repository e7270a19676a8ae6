//! Expressions as PostgreSQL prints them in plans.

use std::collections::BTreeMap;

use basalt_types::{Datum, IoSettings, Oid, SqlType, format_type, to_text};

use crate::{
    ColumnId, Expr,
    expr::{AggregateCall, SubqueryKind},
    plan::SortKey,
};

/// Names of columns by id.
pub(super) struct Names(pub BTreeMap<ColumnId, String>);

impl Names {
    pub fn column(&self, id: ColumnId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| format!("column{}", id.0))
    }

    pub fn list(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|expr| self.expr(expr)).collect::<Vec<_>>().join(", ")
    }

    pub fn sort_key(&self, key: &SortKey) -> String {
        let mut text = self.expr(&key.expr);
        if key.descending {
            text.push_str(" DESC");
        }
        if key.nulls_first != key.descending {
            text.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        }
        text
    }

    pub fn aggregate(&self, call: &AggregateCall) -> String {
        let mut args = if call.args.is_empty() { "*".to_owned() } else { self.list(&call.args) };
        if call.distinct {
            args.insert_str(0, "DISTINCT ");
        }
        if !call.order_by.is_empty() {
            let keys: Vec<String> = call.order_by.iter().map(|key| self.sort_key(key)).collect();
            args.push_str(&format!(" ORDER BY {}", keys.join(", ")));
        }
        let mut text = format!("{}({args})", call.function.name);
        if let Some(filter) = &call.filter {
            text.push_str(&format!(" FILTER (WHERE {})", self.expr(filter)));
        }
        text
    }

    /// In parentheses, as conditions are printed.
    pub fn condition(&self, expr: &Expr) -> String {
        let text = self.expr(expr);
        if text.starts_with('(') && text.ends_with(')') && encloses(&text) {
            text
        } else {
            format!("({text})")
        }
    }

    pub fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Literal { value, ty } => literal(value, *ty),
            Expr::Column { id, .. } => self.column(*id),
            Expr::Param { index, .. } => format!("${}", index + 1),
            Expr::Call(call) => match (call.operator, call.args.as_slice()) {
                (Some(operator), [one]) => format!("({operator} {})", self.expr(one)),
                (Some(operator), [left, right]) => {
                    format!("({} {operator} {})", self.expr(left), self.expr(right))
                }
                _ => format!("{}({})", call.function.name, self.list(&call.args)),
            },
            Expr::Cast { input, to, .. } | Expr::Coerce { input, to, .. } => {
                format!("({})::{}", self.expr(input), format_type(*to))
            }
            Expr::And(list) => self.joined(list, " AND "),
            Expr::Or(list) => self.joined(list, " OR "),
            Expr::Not(input) => format!("(NOT {})", self.expr(input)),
            Expr::IsNull { input, negated } => {
                format!("({} IS {}NULL)", self.expr(input), if *negated { "NOT " } else { "" })
            }
            Expr::BoolTest { input, value, negated } => {
                let word = match value {
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                    None => "UNKNOWN",
                };
                format!("({} IS {}{word})", self.expr(input), if *negated { "NOT " } else { "" })
            }
            Expr::IsDistinct { left, right, negated, .. } => format!(
                "({} IS {}DISTINCT FROM {})",
                self.expr(left),
                if *negated { "NOT " } else { "" },
                self.expr(right)
            ),
            Expr::Case { branches, otherwise, .. } => {
                let mut text = "CASE".to_owned();
                for (condition, result) in branches {
                    text.push_str(&format!(" WHEN {} THEN {}", self.expr(condition), self.expr(result)));
                }
                if let Some(otherwise) = otherwise {
                    text.push_str(&format!(" ELSE {}", self.expr(otherwise)));
                }
                text.push_str(" END");
                text
            }
            Expr::Coalesce { args, .. } => format!("COALESCE({})", self.list(args)),
            Expr::NullIf { left, right, .. } => format!("NULLIF({}, {})", self.expr(left), self.expr(right)),
            Expr::MinMax { greatest, args, .. } => {
                format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, self.list(args))
            }
            Expr::InList { input, list, negated, .. } => {
                let (operator, word) = if *negated { ("<>", "ALL") } else { ("=", "ANY") };
                format!("({} {operator} {word} (ARRAY[{}]))", self.expr(input), self.list(list))
            }
            Expr::ArrayOp { input, operator, array, all } => {
                let symbol = operator_symbol(operator.oid);
                let word = if *all { "ALL" } else { "ANY" };
                format!("({} {symbol} {word} ({}))", self.expr(input), self.expr(array))
            }
            Expr::Array { elements, .. } => format!("ARRAY[{}]", self.list(elements)),
            Expr::Subscript { array, indexes, .. } => {
                let indexes: String = indexes.iter().map(|index| format!("[{}]", self.expr(index))).collect();
                format!("({}){indexes}", self.expr(array))
            }
            Expr::Row { fields, .. } => format!("ROW({})", self.list(fields)),
            Expr::Subquery(subquery) => match &subquery.kind {
                SubqueryKind::Scalar => "(SubPlan)".to_owned(),
                SubqueryKind::Exists => "EXISTS(SubPlan)".to_owned(),
                SubqueryKind::Array => "ARRAY(SubPlan)".to_owned(),
                SubqueryKind::Quantified { all, .. } => {
                    if *all {
                        "(ALL SubPlan)".to_owned()
                    } else {
                        "(ANY SubPlan)".to_owned()
                    }
                }
            },
        }
    }

    fn joined(&self, list: &[Expr], word: &str) -> String {
        format!("({})", list.iter().map(|part| self.expr(part)).collect::<Vec<_>>().join(word))
    }
}

/// Whether the first parenthesis is closed by the last.
fn encloses(text: &str) -> bool {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1 == text.len();
                }
            }
            _ => {}
        }
    }
    false
}

fn operator_symbol(function: Oid) -> &'static str {
    let found =
        basalt_functions::registry().operators.iter().find(|operator| operator.function.oid == function);
    found.map_or("=", |operator| operator.name)
}

/// An expression over columns of the given names.
pub fn expression_text(expr: &Expr, columns: &[(ColumnId, String)]) -> String {
    Names(columns.iter().cloned().collect()).expr(expr)
}

/// A constant as PostgreSQL prints it.
pub fn literal(value: &Datum, ty: SqlType) -> String {
    match value {
        Datum::Null => format!("NULL::{}", format_type(ty)),
        Datum::Bool(value) => value.to_string(),
        Datum::Int4(value) if *value >= 0 => value.to_string(),
        Datum::Numeric(_) if !to_text(value, ty, &IoSettings::default()).starts_with('-') => {
            let text = to_text(value, ty, &IoSettings::default());
            if text.contains('.') { text } else { format!("'{text}'::numeric") }
        }
        other => {
            let text = to_text(other, ty, &IoSettings::default()).replace('\'', "''");
            format!("'{text}'::{}", format_type(ty))
        }
    }
}
