//! CREATE VIEW. The query is kept as text and bound anew wherever the view is used.

use std::sync::Arc;

use basalt_planner::{
    Column, Planned, Table, TableKind,
    parse::{ParsedBody, ParsedStatement, Source},
};
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::ast::{CreateTableOptions, CreateView, Query, SqlOption, Statement};

use super::{create_table, names, new_relation, table_definition};
use crate::{
    Session,
    catalog::{CatalogSnapshot, CatalogView, Descriptor},
    session::plan_settings,
};

/// How the rewriter notes WITH NO DATA.
pub(super) use basalt_planner::parse::NO_DATA;

pub(super) async fn create(session: &mut Session, create: &CreateView) -> Result<String> {
    let tag = "CREATE VIEW".to_owned();
    let mut table = new_relation::begin(session, &names::qualified(&create.name)?, create.temporary).await?;
    let existing = session.catalog_view().snapshot.table_named(table.schema_id, &table.name).cloned();
    if !(create.or_replace && existing.is_some()) && new_relation::is_taken(session, &table, false)? {
        return Ok(tag);
    }
    let (parsed, planned) = plan(session, &create.query)?;
    table.columns = columns(session, create, &planned)?;
    table.next_column_id = table.columns.len() as u32 + 1;
    table.kind = TableKind::View { query: parsed.text.to_string() };
    match existing {
        Some(existing) => replace(session, &existing, table).await?,
        None => {
            create_table::store_new(session, table).await?;
        }
    }
    Ok(tag)
}

/// CREATE OR REPLACE VIEW: columns may be added, not changed.
async fn replace(session: &mut Session, existing: &Arc<Table>, new: Table) -> Result<()> {
    if !matches!(existing.kind, TableKind::View { .. }) {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a view", existing.name),
        ));
    }
    let existing = session.lock_for_change(existing).await?;
    if new.columns.len() < existing.columns.len() {
        return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, "cannot drop columns from view"));
    }
    for (old, new) in existing.columns.iter().zip(&new.columns) {
        if old.name != new.name {
            return Err(SqlError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name),
            )
            .with_hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead."));
        }
        if old.ty != new.ty {
            return Err(SqlError::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!(
                    "cannot change data type of view column \"{}\" from {} to {}",
                    old.name,
                    basalt_types::format_type(old.ty),
                    basalt_types::format_type(new.ty)
                ),
            ));
        }
    }
    let mut changed = Table::clone(&existing);
    changed.kind = new.kind;
    changed.columns = new.columns;
    changed.next_column_id = new.next_column_id;
    session.write_table(changed)?;
    Ok(())
}

/// Whether an option stands in the view's list of them.
pub(super) fn has_option(create: &CreateView, name: &str) -> bool {
    let options = match &create.options {
        CreateTableOptions::With(options)
        | CreateTableOptions::Plain(options)
        | CreateTableOptions::Options(options) => options,
        _ => return false,
    };
    options.iter().any(|option| match option {
        SqlOption::KeyValue { key, .. } => key.value == name,
        SqlOption::Ident(key) => key.value == name,
        _ => false,
    })
}

/// The query of a view, planned.
pub(super) fn plan(session: &Session, query: &Query) -> Result<(ParsedStatement, Arc<Planned>)> {
    let text: Arc<str> = query.to_string().into();
    let parsed = ParsedStatement {
        body: ParsedBody::Sql(Box::new(Statement::Query(Box::new(query.clone())))),
        source: Source::new(&text),
        text,
        as_of: None,
        concurrently: false,
    };
    let planned = session.plan_query(&parsed, &[])?;
    Ok((parsed, planned))
}

/// The columns of a view under the names given.
pub(super) fn columns(_: &Session, create: &CreateView, planned: &Planned) -> Result<Vec<Column>> {
    if create.columns.len() > planned.fields.len() {
        return Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            "CREATE VIEW specifies more column names than columns",
        ));
    }
    let mut columns = Vec::new();
    for (position, field) in planned.fields.iter().enumerate() {
        let name = create.columns.get(position).map_or_else(|| field.name.clone(), |c| names::fold(&c.name));
        let ty = if field.ty.oid == Oid::UNKNOWN { SqlType::TEXT } else { field.ty };
        columns.push(Column {
            id: position as u32 + 1,
            name,
            ty,
            not_null: false,
            default: None,
            missing_value: None,
            hidden: false,
            identity_always: None,
        });
    }
    table_definition::check_columns(&columns)?;
    Ok(columns)
}

/// Views of the same database whose query reads `table`.
pub(super) fn dependents(session: &Session, table: &Table) -> Result<Vec<Arc<Table>>> {
    let snapshot = session.catalog_snapshot();
    let mut dependents = Vec::new();
    for candidate in snapshot.tables.values() {
        let (TableKind::View { query } | TableKind::Materialized { query, .. }) = &candidate.kind else {
            continue;
        };
        if candidate.database != table.database || candidate.id == table.id {
            continue;
        }
        let statements = basalt_planner::parse::parse(query)?;
        let reads = statements.iter().any(|statement| {
            session.plan_query(statement, &[]).is_ok_and(|planned| {
                planned.dependencies.iter().any(|dependency| dependency.table == table.id)
            })
        });
        if reads {
            dependents.push(candidate.clone());
        }
    }
    Ok(dependents)
}

/// Views that read a column of the table: those that can no longer be bound without it.
pub(super) fn dependents_of_column(
    session: &Session,
    table: &Table,
    column: &str,
) -> Result<Vec<Arc<Table>>> {
    let mut without = Table::clone(table);
    without.columns.retain(|known| known.name != column);
    let without = Arc::new(without);
    let mut found = Vec::new();
    for view in dependents(session, table)? {
        let (TableKind::View { query } | TableKind::Materialized { query, .. }) = &view.kind else {
            continue;
        };
        let statements = basalt_planner::parse::parse(query)?;
        if statements.iter().any(|statement| !session.plans_with(statement, &without)) {
            found.push(view);
        }
    }
    Ok(found)
}

impl Session {
    /// Whether a statement could be planned if a table were another.
    fn plans_with(&self, statement: &ParsedStatement, table: &Arc<Table>) -> bool {
        let mut view = CatalogView::clone(&self.catalog_view());
        let mut snapshot = CatalogSnapshot::clone(&view.snapshot);
        snapshot.put(Descriptor::Table(table.clone()));
        view.snapshot = Arc::new(snapshot);
        let eval = self.eval_context(Arc::new([]));
        basalt_planner::analyze_and_plan(statement, &view, &plan_settings(&eval)).is_ok()
    }
}
