//! INSERT, UPDATE and DELETE.
//!
//! The source's reads see the statement's start, so its batches are written as they come; RETURNING rows come out in the
//! order of the source. A row that the statement has changed already is left as it is: see [`crate::exec::changes`].

use std::sync::Arc;

use basalt_env::BoxFuture;
use basalt_kv_api::LockStrength;
use basalt_planner::{
    ColumnId, Expr,
    plan::{CheckExpr, Delete, Insert, OnConflict, Update},
};
use basalt_txn::ReadOptions;
use basalt_types::{Datum, Result, Row, SqlError, SqlState, SqlType};

use super::{Stream, build};
use crate::{
    error::sql_error,
    exec::{
        RowStream,
        changes::gives_rows_once,
        eval::{compile::compile_with, evaluator::RowEvaluator},
        referential::{self, Consequence, Reference},
        scope::Scope,
        write::{Conflict, TableWriter},
    },
};

/// Which statement, with what it needs.
enum Kind {
    Insert { on_conflict: Option<ConflictAction> },
    Update { old: Vec<usize>, assignments: Vec<usize>, values: RowEvaluator },
    Delete { old: Vec<usize> },
}

struct ConflictAction {
    index: Option<usize>,
    update: Option<ConflictUpdate>,
}

struct ConflictUpdate {
    positions: Vec<usize>,
    values: RowEvaluator,
    filter: Option<RowEvaluator>,
}

struct Dml {
    source: Option<Stream>,
    kind: Kind,
    writer: TableWriter,
    /// Over the new row (the old one for DELETE), followed by the source's row.
    returning: Option<RowEvaluator>,
    affected: u64,
    /// The source may give a row again: rows changed are noted by their old keys.
    repeats: bool,
    /// Another part of the statement may come to the same row: rows changed or made are noted by all their keys.
    shared: bool,
    /// Foreign keys of the table, and those that refer to it.
    references: Vec<Arc<Reference>>,
    referring: Vec<Arc<Reference>>,
    /// What the changes so far mean for foreign keys; seen to at the end of the statement.
    consequences: Vec<Consequence>,
    scope: Scope,
}

impl Dml {
    fn new(
        source: Stream,
        kind: Kind,
        writer: TableWriter,
        repeats: bool,
        returning: Option<RowEvaluator>,
        scope: &Scope,
    ) -> Result<Self> {
        let tables = &scope.context.tables;
        let inserts_only = matches!(kind, Kind::Insert { on_conflict: None });
        let deletes = matches!(kind, Kind::Delete { .. });
        Ok(Self {
            references: if deletes { Vec::new() } else { tables.references(writer.table())? },
            referring: if inserts_only { Vec::new() } else { tables.referring(writer.table())? },
            source: Some(source),
            kind,
            returning,
            affected: 0,
            repeats,
            shared: scope.context.changes.is_shared(writer.table().id),
            writer,
            consequences: Vec::new(),
            scope: scope.clone(),
        })
    }
}

pub(super) async fn insert(insert: &Insert, scope: &Scope) -> Result<Stream> {
    let layout = table_layout(&insert.table.columns, &insert.new);
    let on_conflict =
        insert.on_conflict.as_ref().map(|action| conflict_action(action, insert, scope)).transpose()?;
    let writer = writer(&insert.table, &insert.checks, &insert.new, scope)?;
    let returning = returning(&insert.returning, &layout, scope)?;
    let source = build(&insert.source, scope).await?;
    let kind = Kind::Insert { on_conflict };
    Ok(Box::new(Dml::new(source, kind, writer, false, returning, scope)?))
}

fn conflict_action(action: &OnConflict, insert: &Insert, scope: &Scope) -> Result<ConflictAction> {
    // The existing row, then the row proposed for insertion.
    let mut layout = table_layout(&insert.table.columns, &action.existing);
    layout.extend(table_layout(&insert.table.columns, &insert.new));
    let update = match &action.update {
        None => None,
        Some(assignments) => Some(ConflictUpdate {
            positions: assignments.iter().map(|(position, _)| *position).collect(),
            values: RowEvaluator::new(assignments.iter().map(|(_, expr)| expr), &layout, scope)?,
            filter: action.filter.as_ref().map(|f| RowEvaluator::new([f], &layout, scope)).transpose()?,
        }),
    };
    Ok(ConflictAction { index: action.index, update })
}

pub(super) async fn update(update: &Update, scope: &Scope) -> Result<Stream> {
    let mut layout = table_layout(&update.table.columns, &update.new);
    layout.extend_from_slice(&update.source.columns);
    let values =
        RowEvaluator::new(update.assignments.iter().map(|(_, expr)| expr), &update.source.columns, scope)?;
    let kind = Kind::Update {
        old: positions(&update.old, &update.source.columns)?,
        assignments: update.assignments.iter().map(|(position, _)| *position).collect(),
        values,
    };
    let writer = writer(&update.table, &update.checks, &update.new, scope)?;
    let returning = returning(&update.returning, &layout, scope)?;
    let source = build(&update.source, scope).await?;
    let repeats = !gives_rows_once(&update.source);
    Ok(Box::new(Dml::new(source, kind, writer, repeats, returning, scope)?))
}

pub(super) async fn delete(delete: &Delete, scope: &Scope) -> Result<Stream> {
    let mut layout = table_layout(&delete.table.columns, &delete.old);
    layout.extend_from_slice(&delete.source.columns);
    let kind = Kind::Delete { old: positions(&delete.old, &delete.source.columns)? };
    let writer = writer(&delete.table, &[], &delete.old, scope)?;
    let returning = returning(&delete.returning, &layout, scope)?;
    let source = build(&delete.source, scope).await?;
    let repeats = !gives_rows_once(&delete.source);
    Ok(Box::new(Dml::new(source, kind, writer, repeats, returning, scope)?))
}

fn table_layout(columns: &[basalt_planner::Column], ids: &[ColumnId]) -> Vec<(ColumnId, SqlType)> {
    ids.iter().zip(columns).map(|(id, column)| (*id, column.ty)).collect()
}

fn positions(ids: &[ColumnId], layout: &[(ColumnId, SqlType)]) -> Result<Vec<usize>> {
    ids.iter()
        .map(|id| {
            let position = layout.iter().position(|(column, _)| column == id);
            position.ok_or_else(|| SqlError::internal("the source of a data change lacks a column"))
        })
        .collect()
}

fn writer(
    table: &std::sync::Arc<basalt_planner::Table>,
    checks: &[CheckExpr],
    new: &[ColumnId],
    scope: &Scope,
) -> Result<TableWriter> {
    let find = |id: ColumnId| new.iter().position(|column| *column == id);
    let compile = |check: &CheckExpr| {
        Ok((check.name.clone(), compile_with(&check.expr, &find, &scope.outer, &mut Vec::new())?))
    };
    let checks = checks.iter().map(compile).collect::<Result<_>>()?;
    TableWriter::new(table, checks, scope.context.clone())
}

fn returning(
    exprs: &[(ColumnId, Expr)],
    layout: &[(ColumnId, SqlType)],
    scope: &Scope,
) -> Result<Option<RowEvaluator>> {
    if exprs.is_empty() {
        return Ok(None);
    }
    RowEvaluator::new(exprs.iter().map(|(_, expr)| expr), layout, scope).map(Some)
}

impl Dml {
    /// Rows (new or deleted, then the source's) for RETURNING.
    async fn apply(&mut self, batch: Vec<Row>) -> Result<Vec<Row>> {
        match &mut self.kind {
            Kind::Insert { on_conflict: None } => {
                let mut rows = batch;
                for row in &mut rows {
                    self.writer.prepare_new(row)?;
                    if self.shared {
                        self.scope.context.changes.note(&self.writer.primary_key(row))?;
                    }
                    self.consequences.extend(self.references.iter().filter_map(|key| key.refers(row)));
                }
                let kept = if self.returning.is_some() { rows.clone() } else { Vec::new() };
                self.affected += self.writer.insert(rows).await?;
                Ok(kept)
            }
            Kind::Insert { on_conflict: Some(_) } => self.insert_or_resolve(batch).await,
            Kind::Update { old, assignments, values } => {
                let mut changes = Vec::with_capacity(batch.len());
                let mut sources = Vec::new();
                for row in batch {
                    let before: Row = old.iter().map(|&position| row[position].clone()).collect();
                    let mut after = before.clone();
                    let mut assigned = Vec::with_capacity(assignments.len());
                    values.evaluate_all(&self.scope, &row, &mut assigned).await?;
                    for (position, value) in assignments.iter().zip(assigned) {
                        after[*position] = value;
                    }
                    let noted = &self.scope.context.changes;
                    if (self.repeats || self.shared) && !noted.note(&self.writer.primary_key(&before))? {
                        self.writer.check_row(&after)?;
                        continue;
                    }
                    if self.shared {
                        noted.note(&self.writer.primary_key(&after))?;
                    }
                    changes.push((before, after));
                    if self.returning.is_some() {
                        sources.push(row);
                    }
                }
                self.writer.update(&changes).await?;
                for (before, after) in &changes {
                    note_update(&self.references, &self.referring, before, after, &mut self.consequences);
                }
                self.affected += changes.len() as u64;
                Ok(changes.into_iter().zip(sources).map(|((_, after), row)| [after, row].concat()).collect())
            }
            Kind::Delete { old } => {
                let mut deleted = Vec::with_capacity(batch.len());
                for row in batch {
                    let before: Row = old.iter().map(|&position| row[position].clone()).collect();
                    if (self.repeats || self.shared)
                        && !self.scope.context.changes.note(&self.writer.primary_key(&before))?
                    {
                        continue;
                    }
                    self.writer.delete(&before).await?;
                    self.consequences.extend(self.referring.iter().filter_map(|key| key.gone(&before, None)));
                    self.affected += 1;
                    if self.returning.is_some() {
                        deleted.push([before, row].concat());
                    }
                }
                self.scope.context.txn.flush_if_needed().await.map_err(sql_error)?;
                Ok(deleted)
            }
        }
    }

    /// INSERT … ON CONFLICT: row by row, because each sees what the one before did.
    async fn insert_or_resolve(&mut self, batch: Vec<Row>) -> Result<Vec<Row>> {
        let Kind::Insert { on_conflict: Some(action) } = &mut self.kind else {
            return Err(SqlError::internal("conflict without an action"));
        };
        let changes = &self.scope.context.changes;
        let note = action.update.is_some() || self.shared;
        let mut kept = Vec::new();
        for mut row in batch {
            self.scope.context.txn.flush_if_needed().await.map_err(sql_error)?;
            self.writer.prepare_new(&mut row)?;
            let Some(conflict) = conflict(&self.writer, action.index, &row).await? else {
                if note {
                    changes.note(&self.writer.primary_key(&row))?;
                }
                self.writer.put(&row)?;
                self.consequences.extend(self.references.iter().filter_map(|key| key.refers(&row)));
                self.affected += 1;
                kept.push(row);
                continue;
            };
            let Some(update) = &mut action.update else { continue };
            if changes.has(&conflict.existing) {
                return Err(SqlError::new(
                    SqlState::CARDINALITY_VIOLATION,
                    "ON CONFLICT DO UPDATE command cannot affect row a second time",
                )
                .with_hint(
                    "Ensure that no rows proposed for insertion within the same command have duplicate \
                     constrained values.",
                ));
            }
            let existing = existing_row(&self.writer, &self.scope, &conflict.existing).await?;
            let combined: Row = [existing.clone(), row].concat();
            if let Some(filter) = &mut update.filter {
                filter.next_row();
                if filter.evaluate(0, &self.scope, &combined).await? != Datum::Bool(true) {
                    continue;
                }
            }
            let mut values = Vec::new();
            update.values.evaluate_all(&self.scope, &combined, &mut values).await?;
            let mut after = existing.clone();
            for (position, value) in update.positions.iter().zip(values) {
                after[*position] = value;
            }
            note_update(&self.references, &self.referring, &existing, &after, &mut self.consequences);
            changes.note(&conflict.existing)?;
            changes.note(&self.writer.primary_key(&after))?;
            self.writer.update(&[(existing, after.clone())]).await?;
            // The next row is to find this one where it is now.
            self.writer.finish().await?;
            self.affected += 1;
            kept.push(after);
        }
        self.scope.context.txn.flush_if_needed().await.map_err(sql_error)?;
        Ok(kept)
    }
}

/// What is in the way of a row: in the index that decides (`arbiter`) or, without one, in any unique index. With a
/// free place in the arbiter, another index that is taken is an error.
async fn conflict(writer: &TableWriter, arbiter: Option<usize>, row: &Row) -> Result<Option<Conflict>> {
    let row = std::slice::from_ref(row);
    let Some(arbiter) = arbiter else { return writer.find_conflict(row).await };
    let found = writer.find_conflict_in(arbiter, row).await?;
    if found.is_none()
        && let Some(other) = writer.find_conflict(row).await?
    {
        return Err(writer.unique_violation(other.index, &row[0]));
    }
    Ok(found)
}

fn note_update(
    references: &[Arc<Reference>],
    referring: &[Arc<Reference>],
    before: &[Datum],
    after: &[Datum],
    consequences: &mut Vec<Consequence>,
) {
    let touched = references.iter().filter(|key| key.touched(before, after));
    consequences.extend(touched.filter_map(|key| key.refers(after)));
    consequences.extend(referring.iter().filter_map(|key| key.gone(before, Some(after))));
}

async fn existing_row(writer: &TableWriter, scope: &Scope, key: &basalt_base::Key) -> Result<Row> {
    let options = ReadOptions { lock: Some(LockStrength::Exclusive), latest: true, ..ReadOptions::default() };
    let value = scope.context.txn.get(key, options).await.map_err(sql_error)?;
    let value = value.ok_or_else(|| {
        SqlError::new(SqlState::INDEX_CORRUPTED, "index entry points to a row that does not exist")
    })?;
    let wanted: Vec<usize> = (0..writer.table().columns.len()).collect();
    let mut row = Row::new();
    writer.codec(0).decode_into(key, &value, &wanted, &mut row)?;
    Ok(row)
}

impl RowStream for Dml {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(source) = &mut self.source {
                self.scope.checkpoint().await?;
                let Some(batch) = source.next_batch().await? else {
                    self.source = None;
                    self.writer.finish().await?;
                    if !self.consequences.is_empty() {
                        let consequences = std::mem::take(&mut self.consequences);
                        let consequences = self.scope.context.changes.postpone(consequences);
                        referential::complete(&self.scope.context, consequences).await?;
                    }
                    break;
                };
                let rows = self.apply(batch).await?;
                let Some(returning) = &mut self.returning else { continue };
                let mut out = Vec::with_capacity(rows.len());
                for row in rows {
                    let mut projected = Row::new();
                    returning.evaluate_all(&self.scope, &row, &mut projected).await?;
                    out.push(projected);
                }
                if !out.is_empty() {
                    return Ok(Some(out));
                }
            }
            Ok(None)
        })
    }

    fn affected(&self) -> u64 {
        self.affected
    }
}
