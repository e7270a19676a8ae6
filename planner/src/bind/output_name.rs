//! What PostgreSQL calls an output column that has no alias.

use sqlparser::ast::{self, Expr, ObjectNamePart, TrimWhereField};

use super::names::fold;

/// The name of `SELECT expr`.
pub(super) fn output_name(expr: &Expr) -> String {
    figure(expr).0.unwrap_or_else(|| "?column?".to_owned())
}

fn last_part(name: &ast::ObjectName) -> Option<String> {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => Some(fold(ident)),
        _ => None,
    }
}

/// The name and its strength: 2 for real names, 1 for those of a type or CASE, 0 for none.
fn figure(expr: &Expr) -> (Option<String>, u8) {
    let strong = |name: &str| (Some(name.to_owned()), 2);
    match expr {
        Expr::Identifier(ident) => {
            let name = fold(ident);
            let name = if name == "user" && ident.quote_style.is_none() { "user".to_owned() } else { name };
            (Some(name), 2)
        }
        Expr::CompoundIdentifier(parts) => (parts.last().map(fold), 2),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|step| match step {
                ast::AccessExpr::Dot(Expr::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            match field {
                Some(field) => (Some(field), 2),
                None => figure(root),
            }
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => (last_part(&function.name), 2),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => strong(if *shorthand { "substr" } else { "substring" }),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(TrimWhereField::Both) => "btrim",
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
        }),
        Expr::Cast { expr: inner, data_type, .. } => match figure(inner) {
            (name, 2) => (name, 2),
            (name, _) => type_label(data_type).map_or((name, 1), |label| (Some(label), 1)),
        },
        Expr::TypedString(typed) => (type_label(&typed.data_type), 1),
        Expr::Interval(_) => (Some("interval".to_owned()), 1),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(figure) {
            Some((name, 2)) => (name, 2),
            _ => (Some("case".to_owned()), 1),
        },
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => match query.body.as_ref() {
            ast::SetExpr::Select(select) => match select.projection.first() {
                Some(ast::SelectItem::UnnamedExpr(inner)) => figure(inner),
                Some(ast::SelectItem::ExprWithAlias { alias, .. }) => (Some(fold(alias)), 2),
                _ => (None, 0),
            },
            ast::SetExpr::Values(_) => strong("column1"),
            _ => (None, 0),
        },
        _ => (None, 0),
    }
}

/// The `pg_type` name of a written type.
fn type_label(data_type: &ast::DataType) -> Option<String> {
    let ty = super::bind_type(data_type).ok()?;
    let info = ty.info()?;
    // `int4[]` is labelled by its element.
    let info = match super::lookup::element(ty.oid) {
        Some(element) if matches!(data_type, ast::DataType::Array(_)) => {
            basalt_types::SqlType::new(element, -1).info()?
        }
        _ => info,
    };
    Some(info.name.to_owned())
}
