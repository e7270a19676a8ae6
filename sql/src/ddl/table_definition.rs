//! Columns and constraints of CREATE TABLE and ALTER TABLE, checked and named.

use basalt_planner::{
    Column, Index, IndexColumn, IndexState, Table,
    bind::{bind_check, bind_column_default, bind_type, is_serial},
    catalog::Check,
};
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{self, ColumnDef, ColumnOption, TableConstraint};

use super::{
    foreign_key::{self, NewForeignKey},
    names,
    sequence::{self, OwnedSequence},
};
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
    /// NOT VALID leaves the rows that are there unchecked.
    pub validate: bool,
}

/// One column with the constraints written at it.
pub(crate) struct ColumnParts {
    pub column: Column,
    pub keys: Vec<KeyConstraint>,
    pub checks: Vec<NewCheck>,
    pub foreign_keys: Vec<NewForeignKey>,
    /// Of a serial or identity column.
    pub sequence: Option<OwnedSequence>,
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
        foreign_keys: Vec::new(),
        sequence: is_serial(&definition.data_type).then(OwnedSequence::default),
    };
    for option in &definition.options {
        let constraint_name = option.name.as_ref().map(names::fold);
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => parts.column.not_null = true,
            ColumnOption::Default(expr) => {
                parts.column.default = default_text(session, expr, ty, &name)?;
            }
            ColumnOption::PrimaryKey(key) => {
                check_characteristics(key.characteristics.as_ref())?;
                parts.column.not_null = true;
                let key = KeyConstraint { name: constraint_name, primary: true, columns: vec![name.clone()] };
                parts.keys.push(key);
            }
            ColumnOption::Unique(key) => {
                check_characteristics(key.characteristics.as_ref())?;
                let key =
                    KeyConstraint { name: constraint_name, primary: false, columns: vec![name.clone()] };
                parts.keys.push(key);
            }
            ColumnOption::Check(check) => parts.checks.push(NewCheck {
                name: constraint_name.or_else(|| check.name.as_ref().map(names::fold)),
                expr: (*check.expr).clone(),
                column: Some(name.clone()),
                validate: true,
            }),
            ColumnOption::Collation(collation) => check_collation(collation)?,
            ColumnOption::ForeignKey(key) => {
                parts.foreign_keys.push(foreign_key::from_syntax(constraint_name, vec![name.clone()], key)?);
            }
            ColumnOption::Generated { generation_expr: Some(_), .. } => {
                return Err(SqlError::not_supported("GENERATED column"));
            }
            ColumnOption::Generated { generated_as, sequence_options, .. } => {
                let always = match generated_as {
                    ast::GeneratedAs::Always => true,
                    ast::GeneratedAs::ByDefault => false,
                    ast::GeneratedAs::ExpStored => {
                        return Err(SqlError::not_supported("GENERATED column"));
                    }
                };
                if parts.sequence.is_some() || parts.column.default.is_some() {
                    return Err(SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        format!("both default and identity specified for column \"{name}\""),
                    ));
                }
                if !matches!(ty.oid, Oid::INT2 | Oid::INT4 | Oid::INT8) {
                    return Err(SqlError::new(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "identity column type must be smallint, integer, or bigint",
                    ));
                }
                parts.column.identity_always = Some(always);
                parts.column.not_null = true;
                let given = sequence_options.as_deref().unwrap_or_default();
                parts.sequence = Some(OwnedSequence { options: sequence::identity_options(given)? });
            }
            ColumnOption::Identity(_) => return Err(SqlError::not_supported("IDENTITY column")),
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
    let mut text = default_words(session, expr, ty)?;
    let bound = bind_column_default(&text, column, ty, &*session.catalog_view(), &plan_settings(&eval))?;
    if text.starts_with('\'') {
        // A constant in the form of its own type.
        let mut value = &bound;
        while let basalt_planner::Expr::Coerce { input, .. } = value {
            value = input;
        }
        if let basalt_planner::Expr::Literal { value, ty } = value {
            text = basalt_planner::literal(value, ty.bare());
        }
    }
    Ok((!text.eq_ignore_ascii_case("null")).then_some(text))
}

/// A default as it is stored, in PostgreSQL's words: a string shows the column's type, a sequence is named by its oid.
fn default_words(session: &Session, expr: &ast::Expr, ty: SqlType) -> Result<String> {
    let string = |expr: &ast::Expr| match expr {
        ast::Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let quoted = |text: &str, ty: SqlType| {
        format!("'{}'::{}", text.replace('\'', "''"), basalt_functions::type_words(ty.oid))
    };
    if let Some(text) = string(expr)
        && !matches!(expr, ast::Expr::Value(value) if matches!(value.value, ast::Value::Number(..)))
    {
        return Ok(quoted(&text, ty));
    }
    match expr {
        ast::Expr::Cast { expr: inner, data_type, .. } => {
            if let Some(text) = string(inner)
                && let Ok(target) = bind_type(data_type)
                && target.typmod < 0
                && !matches!(inner.as_ref(), ast::Expr::Value(value) if matches!(value.value, ast::Value::Number(..)))
            {
                return Ok(quoted(&text, target));
            }
        }
        ast::Expr::Function(function) => {
            let name = names::last_part(&function.name)?;
            let ast::FunctionArguments::List(list) = &function.args else { return Ok(expr.to_string()) };
            if let ("nextval", [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg))]) =
                (name.as_str(), list.args.as_slice())
            {
                let literal = match arg {
                    ast::Expr::Cast { expr, .. } => string(expr),
                    arg => string(arg),
                };
                if let Some(text) = literal
                    && text.parse::<u32>().is_err()
                {
                    let view = session.catalog_view();
                    let id = crate::catalog_functions::resolve_reg(&view, Oid::REGCLASS, &text)?;
                    return Ok(format!("nextval('{id}'::regclass)"));
                }
            }
            if list.args.is_empty() && list.clauses.is_empty() && function.over.is_none() {
                return Ok(format!("{name}()"));
            }
        }
        ast::Expr::Nested(inner) => return default_words(session, inner, ty),
        _ => {}
    }
    Ok(expr.to_string())
}

fn check_collation(collation: &ast::ObjectName) -> Result<()> {
    match names::last_part(collation)?.as_str() {
        "default" | "c" | "C" | "posix" | "POSIX" | "ucs_basic" => Ok(()),
        other => Err(SqlError::not_supported(format!("collation \"{other}\""))),
    }
}

/// A table-level constraint.
pub(crate) enum Constraint {
    Key(KeyConstraint),
    Check(Box<NewCheck>),
    Foreign(Box<NewForeignKey>),
}

pub(crate) fn constraint(constraint: &TableConstraint) -> Result<Constraint> {
    let key = |name: &Option<ast::Ident>, columns: &[ast::IndexColumn], primary| -> Result<Constraint> {
        let columns = columns.iter().map(plain_column).collect::<Result<_>>()?;
        Ok(Constraint::Key(KeyConstraint { name: name.as_ref().map(names::fold), primary, columns }))
    };
    match constraint {
        TableConstraint::PrimaryKey(primary) => {
            check_characteristics(primary.characteristics.as_ref())?;
            key(&primary.name, &primary.columns, true)
        }
        TableConstraint::Unique(unique) => {
            check_characteristics(unique.characteristics.as_ref())?;
            key(&unique.name, &unique.columns, false)
        }
        TableConstraint::Check(check) => Ok(Constraint::Check(Box::new(NewCheck {
            name: check.name.as_ref().map(names::fold),
            expr: (*check.expr).clone(),
            column: None,
            validate: true,
        }))),
        TableConstraint::ForeignKey(key) => {
            let columns = key.columns.iter().map(names::fold).collect();
            let name = key.name.as_ref().map(names::fold);
            Ok(Constraint::Foreign(Box::new(foreign_key::from_syntax(name, columns, key)?)))
        }
        other => Err(SqlError::not_supported(format!("constraint {other}"))),
    }
}

/// Keys are checked when their statement ends, never later.
fn check_characteristics(given: Option<&ast::ConstraintCharacteristics>) -> Result<()> {
    let Some(given) = given else { return Ok(()) };
    let deferred = matches!(given.initially, Some(ast::DeferrableInitial::Deferred));
    match given.deferrable {
        Some(false) if deferred => Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            "constraint declared INITIALLY DEFERRED must be DEFERRABLE",
        )),
        Some(true) => Err(SqlError::not_supported("DEFERRABLE unique constraint")),
        None if deferred => Err(SqlError::not_supported("DEFERRABLE unique constraint")),
        _ => Ok(()),
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
        state: IndexState::Public,
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
        state: IndexState::Public,
    };
    table.next_index_id += 1;
    table.indexes.insert(0, index);
}

/// Checks and names a CHECK of a complete table.
pub(crate) fn add_check(session: &Session, table: &mut Table, check: &NewCheck) -> Result<()> {
    let eval = session.eval_context(std::sync::Arc::new([]));
    let text = check.expr.to_string();
    let probe = std::sync::Arc::new(table.clone());
    let (view, settings) = (session.catalog_view(), plan_settings(&eval));
    let names = |bound: &basalt_planner::bind::BoundCheck| {
        let names = table.columns.iter().map(|column| crate::catalog_functions::quote(&column.name));
        bound.columns.iter().copied().zip(names).collect::<Vec<_>>()
    };
    let bound = bind_check(&text, &probe, &*view, &settings)?;
    let shown = basalt_planner::expression_text(&bound.expr, &names(&bound));
    // PostgreSQL's form, where reading it again gives the same.
    let expression = match bind_check(&shown, &probe, &*view, &settings) {
        Ok(again) if basalt_planner::expression_text(&again.expr, &names(&again)) == shown => shown,
        _ => text,
    };
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
            let named = check.column.clone().or_else(|| only_column(&check.expr, table));
            let columns: Vec<&str> = named.as_deref().into_iter().collect();
            names::automatic(&table.name, &columns, "check", is_taken)
        }
    };
    table.checks.push(Check { name, expression, validated: check.validate });
    Ok(())
}

/// The column that an expression reads, if it is one only: it gives a CHECK its name.
fn only_column(expr: &ast::Expr, table: &Table) -> Option<String> {
    let mut found = std::collections::BTreeSet::new();
    let _ = ast::visit_expressions(expr, |part| {
        let ident = match part {
            ast::Expr::Identifier(ident) => Some(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if let Some(name) = ident.map(names::fold).filter(|name| table.column_named(name).is_some()) {
            found.insert(name);
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    if found.len() == 1 { found.pop_first() } else { None }
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
