//! Columns and constraints of CREATE TABLE and ALTER TABLE, checked and named.

use basalt_planner::{
    Column, Index, IndexColumn, Table,
    bind::{bind_check, bind_column_default, bind_type},
    catalog::Check,
};
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, ColumnDef, ColumnOption, TableConstraint};

use super::names;
use crate::{Session, layout::entry::is_indexable, session::plan_settings};

/// Columns per table, as in PostgreSQL.
const COLUMNS_MAX: usize = 1_600;
/// The hidden key of a table without a primary key.
pub(crate) const ROW_ID_COLUMN: &str = "_basalt_rowid";

/// A key constraint waiting for its name and its index.
#[derive(Clone, Debug)]
pub(crate) struct KeyConstraint {
    pub name: Option<String>,
    pub primary: bool,
    pub columns: Vec<String>,
}

/// A CHECK waiting for its name.
#[derive(Clone, Debug)]
pub(crate) struct NewCheck {
    pub name: Option<String>,
    pub expr: ast::Expr,
    /// The column it was written at, for the automatic name.
    pub column: Option<String>,
}

/// One column with the constraints written at it.
pub(crate) struct ColumnParts {
    pub column: Column,
    pub keys: Vec<KeyConstraint>,
    pub checks: Vec<NewCheck>,
}

/// Checks a column definition. The column gets id `id`.
pub(crate) fn column(session: &Session, definition: &ColumnDef, id: u32) -> Result<ColumnParts> {
    let name = names::fold(&definition.name);
    let ty = bind_type(&definition.data_type)?;
    let mut parts = ColumnParts {
        column: Column {
            id,
            name: name.clone(),
            ty,
            not_null: false,
            default: None,
            missing_value: None,
            hidden: false,
            identity_always: None,
        },
        keys: Vec::new(),
        checks: Vec::new(),
    };
    for option in &definition.options {
        let constraint_name = option.name.as_ref().map(names::fold);
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => parts.column.not_null = true,
            ColumnOption::Default(expr) => {
                parts.column.default = default_text(session, expr, ty, &name)?;
            }
            ColumnOption::PrimaryKey(_) => {
                parts.column.not_null = true;
                let key = KeyConstraint { name: constraint_name, primary: true, columns: vec![name.clone()] };
                parts.keys.push(key);
            }
            ColumnOption::Unique(_) => {
                let key =
                    KeyConstraint { name: constraint_name, primary: false, columns: vec![name.clone()] };
                parts.keys.push(key);
            }
            ColumnOption::Check(check) => parts.checks.push(NewCheck {
                name: constraint_name.or_else(|| check.name.as_ref().map(names::fold)),
                expr: (*check.expr).clone(),
                column: Some(name.clone()),
            }),
            ColumnOption::Collation(collation) => check_collation(collation)?,
            ColumnOption::ForeignKey(_) => return Err(SqlError::not_supported("FOREIGN KEY")),
            ColumnOption::Generated { generation_expr: Some(_), .. } => {
                return Err(SqlError::not_supported("GENERATED column"));
            }
            ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                return Err(SqlError::not_supported("IDENTITY column"));
            }
            other => return Err(SqlError::not_supported(format!("column option {other}"))),
        }
    }
    Ok(parts)
}

/// Checks a DEFAULT against the column's type; `None` for NULL.
pub(crate) fn default_text(
    session: &Session,
    expr: &ast::Expr,
    ty: SqlType,
    column: &str,
) -> Result<Option<String>> {
    let eval = session.eval_context(std::sync::Arc::new([]));
    let text = expr.to_string();
    bind_column_default(&text, column, ty, &*session.catalog_view(), &plan_settings(&eval))?;
    Ok((!text.eq_ignore_ascii_case("null")).then_some(text))
}

fn check_collation(collation: &ast::ObjectName) -> Result<()> {
    match names::last_part(collation)?.as_str() {
        "default" | "c" | "C" | "posix" | "POSIX" | "ucs_basic" => Ok(()),
        other => Err(SqlError::not_supported(format!("collation \"{other}\""))),
    }
}

/// A table-level constraint: a key or a CHECK.
pub(crate) enum Constraint {
    Key(KeyConstraint),
    Check(Box<NewCheck>),
}

pub(crate) fn constraint(constraint: &TableConstraint) -> Result<Constraint> {
    let key = |name: &Option<ast::Ident>, columns: &[ast::IndexColumn], primary| -> Result<Constraint> {
        let columns = columns.iter().map(plain_column).collect::<Result<_>>()?;
        Ok(Constraint::Key(KeyConstraint { name: name.as_ref().map(names::fold), primary, columns }))
    };
    match constraint {
        TableConstraint::PrimaryKey(primary) => key(&primary.name, &primary.columns, true),
        TableConstraint::Unique(unique) => key(&unique.name, &unique.columns, false),
        TableConstraint::Check(check) => Ok(Constraint::Check(Box::new(NewCheck {
            name: check.name.as_ref().map(names::fold),
            expr: (*check.expr).clone(),
            column: None,
        }))),
        TableConstraint::ForeignKey(_) => Err(SqlError::not_supported("FOREIGN KEY")),
        other => Err(SqlError::not_supported(format!("constraint {other}"))),
    }
}

/// The column an index or key names; expressions are not supported.
pub(crate) fn plain_column(column: &ast::IndexColumn) -> Result<String> {
    match &column.column.expr {
        ast::Expr::Identifier(ident) => Ok(names::fold(ident)),
        _ => Err(SqlError::not_supported("expression index")),
    }
}

/// Adds a key's index to the table under construction; the primary key becomes `indexes[0]`.
pub(crate) fn add_key(table: &mut Table, key: &KeyConstraint, oid: Oid, name: String) -> Result<()> {
    if key.primary && table.indexes.iter().any(|index| index.primary) {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("multiple primary keys for table \"{}\" are not allowed", table.name),
        ));
    }
    let mut columns = Vec::new();
    for name in &key.columns {
        let column = table.columns.iter_mut().find(|column| column.name == *name && !column.hidden);
        let column = column.ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" named in key does not exist"),
            )
        })?;
        check_indexable(column)?;
        column.not_null |= key.primary;
        let index_column = IndexColumn { column: column.id, descending: false };
        if columns.contains(&index_column) {
            let kind = if key.primary { "primary key" } else { "unique" };
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" appears twice in {kind} constraint"),
            ));
        }
        columns.push(index_column);
    }
    let index = Index {
        id: table.next_index_id,
        oid,
        name,
        unique: true,
        primary: key.primary,
        constraint: true,
        columns,
        stored: Vec::new(),
    };
    table.next_index_id += 1;
    if key.primary {
        table.indexes.insert(0, index)
    } else {
        table.indexes.push(index)
    }
    Ok(())
}

/// `0A000` for types without an order in the key space.
pub(crate) fn check_indexable(column: &Column) -> Result<()> {
    if is_indexable(column.ty.oid) {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::UNDEFINED_OBJECT,
        format!(
            "data type {} has no default operator class for access method \"btree\"",
            basalt_types::format_type(column.ty.bare())
        ),
    ))
}

/// Gives a table without a primary key its hidden row id.
pub(crate) fn add_row_id(table: &mut Table) {
    let id = table.next_column_id;
    table.next_column_id += 1;
    table.columns.push(Column {
        id,
        name: ROW_ID_COLUMN.to_owned(),
        ty: SqlType::INT8,
        not_null: true,
        default: None,
        missing_value: None,
        hidden: true,
        identity_always: None,
    });
    let index = Index {
        id: table.next_index_id,
        oid: Oid(0),
        name: String::new(),
        unique: true,
        primary: false,
        constraint: false,
        columns: vec![IndexColumn { column: id, descending: false }],
        stored: Vec::new(),
    };
    table.next_index_id += 1;
    table.indexes.insert(0, index);
}

/// Checks and names a CHECK of a complete table.
pub(crate) fn add_check(session: &Session, table: &mut Table, check: &NewCheck) -> Result<()> {
    let eval = session.eval_context(std::sync::Arc::new([]));
    let text = check.expr.to_string();
    let probe = std::sync::Arc::new(table.clone());
    bind_check(&text, &probe, &*session.catalog_view(), &plan_settings(&eval))?;
    let is_taken = |name: &str| table.checks.iter().any(|known| known.name == name);
    let name = match &check.name {
        Some(name) if is_taken(name) => {
            return Err(SqlError::new(
                SqlState::DUPLICATE_OBJECT,
                format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
            ));
        }
        Some(name) => name.clone(),
        None => {
            let columns: Vec<&str> = check.column.as_deref().into_iter().collect();
            names::automatic(&table.name, &columns, "check", is_taken)
        }
    };
    table.checks.push(Check { name, expression: check.expr.to_string() });
    Ok(())
}

/// Limits and duplicate names.
pub(crate) fn check_columns(columns: &[Column]) -> Result<()> {
    if columns.len() > COLUMNS_MAX {
        return Err(SqlError::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("tables can have at most {COLUMNS_MAX} columns"),
        ));
    }
    for (position, column) in columns.iter().enumerate() {
        if columns[..position].iter().any(|other| other.name == column.name) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", column.name),
            ));
        }
        let system = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];
        if system.contains(&column.name.as_str()) {
            return Err(SqlError::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column name \"{}\" conflicts with a system column name", column.name),
            ));
        }
    }
    Ok(())
}
