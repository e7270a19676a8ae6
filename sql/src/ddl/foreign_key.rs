//! FOREIGN KEY: definition and the check of rows that are there already.

use std::sync::Arc;

use basalt_functions::CastContext;
use basalt_planner::{
    Table, TableKind,
    catalog::{ForeignKey, ReferentialAction},
};
use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast;

use super::{backfill, names};
use crate::{Session, exec::referential::Reference};

/// A foreign key as written.
#[derive(Clone, Debug)]
pub(crate) struct NewForeignKey {
    pub name: Option<String>,
    pub columns: Vec<String>,
    pub table: ast::ObjectName,
    /// Empty: the primary key.
    pub referenced: Vec<String>,
    pub on_delete: ReferentialAction,
    pub on_update: ReferentialAction,
    pub match_full: bool,
    pub deferrable: bool,
    pub initially_deferred: bool,
    /// NOT VALID leaves the rows that are there unchecked.
    pub validate: bool,
}

pub(super) fn from_syntax(
    name: Option<String>,
    columns: Vec<String>,
    constraint: &ast::ForeignKeyConstraint,
) -> Result<NewForeignKey> {
    let action = |given: &Option<ast::ReferentialAction>| match given {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    };
    let match_full = match &constraint.match_kind {
        None | Some(ast::ConstraintReferenceMatchKind::Simple) => false,
        Some(ast::ConstraintReferenceMatchKind::Full) => true,
        Some(ast::ConstraintReferenceMatchKind::Partial) => {
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, "MATCH PARTIAL not yet implemented"));
        }
    };
    let characteristics = constraint.characteristics.as_ref();
    let initially_deferred = characteristics
        .is_some_and(|given| matches!(given.initially, Some(ast::DeferrableInitial::Deferred)));
    let deferrable = characteristics.and_then(|given| given.deferrable);
    if initially_deferred && deferrable == Some(false) {
        return Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            "constraint declared INITIALLY DEFERRED must be DEFERRABLE",
        ));
    }
    Ok(NewForeignKey {
        name,
        columns,
        table: constraint.foreign_table.clone(),
        referenced: constraint.referred_columns.iter().map(names::fold).collect(),
        on_delete: action(&constraint.on_delete),
        on_update: action(&constraint.on_update),
        match_full,
        deferrable: deferrable.unwrap_or(initially_deferred),
        initially_deferred,
        validate: true,
    })
}

/// Resolves a foreign key and adds it to the descriptor of the table that refers.
pub(super) async fn add(session: &mut Session, table: &mut Table, new: &NewForeignKey) -> Result<()> {
    let target_name = names::qualified(&new.table)?;
    // A table may refer to itself before it is stored.
    let is_self = target_name.name == table.name
        && target_name.schema.as_ref().is_none_or(|schema| *schema == table.schema);
    let target = if is_self { Arc::new(table.clone()) } else { session.table_named(&new.table)? };
    if target.kind != TableKind::Table {
        return Err(SqlError::new(
            SqlState::WRONG_OBJECT_TYPE,
            format!("referenced relation \"{}\" is not a table", target.name),
        ));
    }
    if !is_self {
        // Nobody may drop it, or the key that is referred to, meanwhile.
        session.lock_table(target.id, crate::locks::TableLockMode::Shared).await?;
    }
    let columns = new
        .columns
        .iter()
        .map(|name| {
            table.column_named(name).filter(|column| !column.hidden).map(|column| column.id).ok_or_else(
                || {
                    SqlError::new(
                        SqlState::UNDEFINED_COLUMN,
                        format!("column \"{name}\" referenced in foreign key constraint does not exist"),
                    )
                },
            )
        })
        .collect::<Result<Vec<u32>>>()?;
    let referenced_columns = referenced_columns(&target, &new.referenced)?;
    if columns.len() != referenced_columns.len() {
        return Err(SqlError::new(
            SqlState::INVALID_FOREIGN_KEY,
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    let name = match &new.name {
        Some(name) => {
            if is_taken(table, name) {
                return Err(SqlError::new(
                    SqlState::DUPLICATE_OBJECT,
                    format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
                ));
            }
            name.clone()
        }
        None => {
            let columns: Vec<&str> = new.columns.iter().map(String::as_str).collect();
            names::automatic(&table.name, &columns, "fkey", |name| is_taken(table, name))
        }
    };
    for (own, other) in columns.iter().zip(&referenced_columns) {
        let (own, other) =
            (table.column(*own).expect("resolved above"), target.column(*other).expect("resolved above"));
        let comparable = own.ty.oid == other.ty.oid
            || basalt_functions::operator_function("=", Some(other.ty.oid), own.ty.oid).is_some()
            || basalt_functions::find_cast(own.ty.oid, other.ty.oid, CastContext::Implicit).is_some();
        if !comparable {
            return Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("foreign key constraint \"{name}\" cannot be implemented"),
            )
            .with_detail(format!(
                "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
                own.name,
                other.name,
                basalt_types::format_type(own.ty.bare()),
                basalt_types::format_type(other.ty.bare())
            )));
        }
    }
    table.foreign_keys.push(ForeignKey {
        oid: session.services.catalog.allocate_oid().await?,
        name,
        columns,
        referenced: target.id,
        referenced_columns,
        on_delete: new.on_delete,
        on_update: new.on_update,
        match_full: new.match_full,
        deferrable: new.deferrable,
        initially_deferred: new.initially_deferred,
        validated: new.validate,
    });
    Ok(())
}

fn is_taken(table: &Table, name: &str) -> bool {
    table.foreign_keys.iter().any(|key| key.name == name)
        || table.checks.iter().any(|check| check.name == name)
        || table.indexes.iter().any(|index| index.name == name)
}

/// The columns referred to, which must be those of a unique key.
fn referenced_columns(target: &Table, names: &[String]) -> Result<Vec<u32>> {
    if names.is_empty() {
        let primary = target.indexes.iter().find(|index| index.primary).ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("there is no primary key for referenced table \"{}\"", target.name),
            )
        })?;
        return Ok(primary.columns.iter().map(|column| column.column).collect());
    }
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let column = target.column_named(name).filter(|column| !column.hidden).ok_or_else(|| {
            SqlError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" referenced in foreign key constraint does not exist"),
            )
        })?;
        columns.push(column.id);
    }
    if target.unique_index(&columns).is_none() {
        return Err(SqlError::new(
            SqlState::INVALID_FOREIGN_KEY,
            format!(
                "there is no unique constraint matching given keys for referenced table \"{}\"",
                target.name
            ),
        ));
    }
    Ok(columns)
}

/// Foreign keys of other tables (and this one) that refer to the table.
pub(crate) fn referring(session: &Session, table: &Table) -> Vec<(Arc<Table>, ForeignKey)> {
    let snapshot = session.catalog_snapshot();
    let mut found = Vec::new();
    for candidate in snapshot.referring(table.id) {
        let keys = candidate.foreign_keys.iter().filter(|key| key.referenced == table.id);
        found.extend(keys.map(|key| (candidate.clone(), key.clone())));
    }
    found
}

/// Takes foreign keys out of the tables that have them.
pub(super) async fn remove(session: &mut Session, keys: Vec<(Arc<Table>, ForeignKey)>) -> Result<()> {
    for (table, key) in keys {
        let table = session.lock_for_change(&table).await?;
        let mut changed = Table::clone(&table);
        changed.foreign_keys.retain(|known| known.oid != key.oid);
        session.write_table(changed)?;
    }
    Ok(())
}

/// Fails if a stored row refers to nothing.
pub(super) async fn check_rows(session: &Session, table: &Arc<Table>, key: &ForeignKey) -> Result<()> {
    let snapshot = session.catalog_snapshot();
    let target = snapshot
        .tables
        .get(&key.referenced)
        .cloned()
        .ok_or_else(|| SqlError::internal("a foreign key refers to no table"))?;
    let reference = Reference::new(table, &target, key)?;
    let context = session.exec_context(Arc::new([]))?;
    let mut rows = Vec::new();
    backfill::for_each_row(session, table, |_, row| {
        rows.push(reference.values(row));
        Ok(())
    })
    .await?;
    reference.check(&context, rows).await
}
