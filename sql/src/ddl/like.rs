//! CREATE TABLE … (LIKE other INCLUDING …).

use basalt_planner::{Table, TableKind, parse::LIKE};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{ColumnDef, DataType, ObjectName};

use super::table_definition::{KeyConstraint, NewCheck};
use crate::Session;

/// A LIKE clause: what it copies besides names, types and NOT NULL.
pub(super) struct Like {
    pub table: ObjectName,
    defaults: bool,
    constraints: bool,
    indexes: bool,
    comments: bool,
}

/// The clause behind a column that the rewriter made of it.
pub(super) fn clause(column: &ColumnDef) -> Option<Like> {
    let options = column.name.value.strip_prefix(LIKE)?;
    let DataType::Custom(table, _) = &column.data_type else { return None };
    let mut like =
        Like { table: table.clone(), defaults: false, constraints: false, indexes: false, comments: false };
    for option in options.split_whitespace() {
        let (including, name) = option.split_at(1);
        let value = including == "+";
        if matches!(name, "defaults" | "all") {
            like.defaults = value;
        }
        if matches!(name, "constraints" | "all") {
            like.constraints = value;
        }
        if matches!(name, "indexes" | "all") {
            like.indexes = value;
        }
        if matches!(name, "comments" | "all") {
            like.comments = value;
        }
    }
    Some(like)
}

pub(super) fn copy(
    session: &Session,
    source: &Table,
    like: &Like,
    table: &mut Table,
    keys: &mut Vec<KeyConstraint>,
    checks: &mut Vec<NewCheck>,
) -> Result<()> {
    if matches!(source.kind, TableKind::Sequence(_)) {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("relation \"{}\" is invalid in LIKE clause", source.name),
        ));
    }
    let _ = session;
    for column in source.columns.iter().filter(|column| !column.hidden) {
        let mut copied = column.clone();
        copied.id = table.next_column_id;
        table.next_column_id += 1;
        copied.missing_value = None;
        copied.identity_always = None;
        if !like.defaults || column.identity_always.is_some() {
            copied.default = None;
        }
        if like.comments
            && let Some(comment) = source.comments.get(&column.id)
        {
            table.comments.insert(copied.id, comment.clone());
        }
        table.columns.push(copied);
    }
    if like.indexes {
        for index in source.indexes.iter().filter(|index| index.constraint) {
            let columns = index.columns.iter().filter_map(|part| source.column(part.column));
            let columns = columns.map(|column| column.name.clone()).collect();
            keys.push(KeyConstraint { name: None, primary: index.primary, columns });
        }
    }
    if like.constraints {
        for check in &source.checks {
            let (expr, _) = basalt_planner::parse::parse_expression(&check.expression)?;
            let name = Some(check.name.clone());
            checks.push(NewCheck { name, expr, column: None, validate: true });
        }
    }
    Ok(())
}
