//! Changing stored rows: every index maintained, every constraint checked.
//!
//! Uniqueness is checked by a locking read of the key that is about to be written: the lock also covers absent keys, so
//! that two transactions can't both find it free. Writes are buffered by the transaction and sent at commit.

use std::sync::Arc;

use basalt_base::Key;
use basalt_kv_api::LockStrength;
use basalt_planner::{Index, Table};
use basalt_txn::ReadOptions;
use basalt_types::{Datum, IoSettings, Result, Row, SqlError, SqlState, text_out};

use super::{ExecContext, eval::Compiled};
use crate::{error::sql_error, layout::EntryCodec};

/// Rows whose keys are checked together.
const BATCH_ROWS: usize = 500;
/// After so many rows of one statement, keys are no longer read and locked before they are written: the store refuses
/// a write of a key that is there. The statement then ends with a flush instead of leaving its writes in the buffer,
/// which so much does not fit into a one-phase commit for.
const READ_ROWS_MAX: u64 = 4_000;

/// Inserts, updates and deletes rows of one table.
pub struct TableWriter {
    table: Arc<Table>,
    codecs: Vec<EntryCodec>,
    checks: Vec<(String, Compiled)>,
    context: ExecContext,
    hidden_row_id: Option<usize>,
    /// Rows inserted so far.
    inserted: u64,
    /// Some of them without a look at what is there.
    unread: bool,
}

/// What an insert found in its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Position of the row among those given.
    pub row: usize,
    /// Position in `table.indexes`.
    pub index: usize,
    /// Primary key of the row that is there.
    pub existing: Key,
}

impl TableWriter {
    /// `checks` are compiled over the table's columns.
    pub fn new(table: &Arc<Table>, checks: Vec<(String, Compiled)>, context: ExecContext) -> Result<Self> {
        let hidden = table.columns.iter().position(|column| column.hidden);
        let is_row_id = |position: &usize| table.primary().columns[0].column == table.columns[*position].id;
        Ok(Self {
            codecs: (0..table.indexes.len()).map(|index| EntryCodec::new(table, index)).collect(),
            table: table.clone(),
            checks,
            context,
            hidden_row_id: hidden.filter(is_row_id),
            inserted: 0,
            unread: false,
        })
    }

    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub fn codec(&self, index: usize) -> &EntryCodec {
        &self.codecs[index]
    }

    /// Inserts full rows (one datum per table column); `23505` on a conflict.
    pub async fn insert(&mut self, mut rows: Vec<Row>) -> Result<u64> {
        for row in &mut rows {
            self.prepare_new(row)?;
        }
        for chunk in rows.chunks(BATCH_ROWS) {
            if self.inserted >= READ_ROWS_MAX {
                self.insert_unread(chunk)?;
            } else {
                if let Some(conflict) = self.find_conflict(chunk).await? {
                    return Err(self.unique_violation(conflict.index, &chunk[conflict.row]));
                }
                for row in chunk {
                    self.put(row)?;
                }
            }
            self.inserted += chunk.len() as u64;
            self.context.txn.flush_if_needed().await.map_err(|error| self.write_error(error))?;
        }
        Ok(rows.len() as u64)
    }

    /// The statement has no more rows: whatever of them can fail fails now.
    pub async fn finish(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.unread) {
            return Ok(());
        }
        self.context.txn.flush_all().await.map_err(|error| self.write_error(error))
    }

    /// Writes rows whose unique keys the store is to check.
    fn insert_unread(&mut self, rows: &[Row]) -> Result<()> {
        self.unread = true;
        for row in rows {
            for (index, codec) in self.codecs.iter().enumerate() {
                let entry = codec.encode(row)?;
                let is_checked = self.table.indexes[index].unique
                    && !(index == 0 && self.hidden_row_id.is_some())
                    && codec.key_positions().all(|column| !row[column].is_null());
                if !is_checked {
                    self.context.txn.put(entry.key, entry.value).map_err(sql_error)?;
                } else if !self.context.txn.insert(entry.key, entry.value).map_err(sql_error)? {
                    return Err(self.unique_violation(index, row));
                }
            }
        }
        Ok(())
    }

    /// What a failed write means for the table.
    fn write_error(&self, error: basalt_txn::Error) -> SqlError {
        let basalt_txn::Error::Store(basalt_kv_api::Error::KeyExists { key }) = &error else {
            return sql_error(error);
        };
        let index = self.codecs.iter().position(|codec| key.starts_with(codec.prefix()));
        match index.map(|index| (index, self.codecs[index].key_row(key))) {
            Some((index, Ok(row))) => self.unique_violation(index, &row),
            _ => sql_error(error),
        }
    }

    /// Gives a row its hidden id and checks its constraints.
    pub fn prepare_new(&self, row: &mut Row) -> Result<()> {
        if let Some(position) = self.hidden_row_id
            && row[position].is_null()
        {
            row[position] = Datum::Int8(self.context.row_ids.next());
        }
        self.check_row(row)
    }

    /// NOT NULL and CHECK.
    pub fn check_row(&self, row: &[Datum]) -> Result<()> {
        for (column, value) in self.table.columns.iter().zip(row) {
            if column.not_null && value.is_null() {
                return Err(SqlError::new(
                    SqlState::NOT_NULL_VIOLATION,
                    format!(
                        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                        column.name, self.table.name
                    ),
                )
                .with_detail(format!("Failing row contains {}.", self.print_row(row)))
                .with_table(&self.table.schema, &self.table.name)
                .with_column(&column.name));
            }
        }
        for (name, check) in &self.checks {
            if check.evaluate(&self.context.eval, row)? == Datum::Bool(false) {
                return Err(SqlError::new(
                    SqlState::CHECK_VIOLATION,
                    format!(
                        "new row for relation \"{}\" violates check constraint \"{name}\"",
                        self.table.name
                    ),
                )
                .with_detail(format!("Failing row contains {}.", self.print_row(row)))
                .with_table(&self.table.schema, &self.table.name)
                .with_constraint(name));
            }
        }
        Ok(())
    }

    /// The first row (and index) whose unique key is taken: by a stored row or by an earlier one of `rows`.
    pub async fn find_conflict(&self, rows: &[Row]) -> Result<Option<Conflict>> {
        for (index, descriptor) in self.table.indexes.iter().enumerate() {
            if !descriptor.unique {
                continue;
            }
            let codec = &self.codecs[index];
            let mut keys: Vec<(Key, usize)> = Vec::with_capacity(rows.len());
            for (position, row) in rows.iter().enumerate() {
                if codec.key_positions().all(|column| !row[column].is_null()) {
                    keys.push((codec.encode(row)?.key, position));
                }
            }
            if let Some((row, key)) = first_duplicate(&keys) {
                return Ok(Some(Conflict { row, index, existing: key }));
            }
            // The hidden row id is fresh: looking for it would cost a read per row.
            if index == 0 && self.hidden_row_id.is_some() {
                continue;
            }
            if let Some(conflict) = self.stored_conflict(index, keys).await? {
                return Ok(Some(conflict));
            }
        }
        Ok(None)
    }

    async fn stored_conflict(&self, index: usize, keys: Vec<(Key, usize)>) -> Result<Option<Conflict>> {
        let options =
            ReadOptions { lock: Some(LockStrength::Exclusive), latest: true, ..ReadOptions::default() };
        let (keys, positions): (Vec<Key>, Vec<usize>) = keys.into_iter().unzip();
        let txn = &self.context.txn;
        let found = match &keys[..] {
            [] => return Ok(None),
            [key] => vec![txn.get(key, options).await.map_err(sql_error)?],
            keys => txn.get_many(keys, options).await.map_err(sql_error)?,
        };
        for ((key, value), row) in keys.into_iter().zip(found).zip(positions) {
            if let Some(value) = value {
                let existing = if index == 0 {
                    key
                } else {
                    self.codecs[index].primary_key_of(&key, &value, &self.codecs[0])?
                };
                return Ok(Some(Conflict { row, index, existing }));
            }
        }
        Ok(None)
    }

    /// Writes all entries of a new row.
    pub fn put(&self, row: &[Datum]) -> Result<()> {
        for codec in &self.codecs {
            let entry = codec.encode(row)?;
            self.context.txn.put(entry.key, entry.value).map_err(sql_error)?;
        }
        Ok(())
    }

    /// Removes all entries of a stored row.
    pub fn delete(&self, row: &[Datum]) -> Result<()> {
        for codec in &self.codecs {
            let entry = codec.encode(row)?;
            self.context.txn.delete(entry.key).map_err(sql_error)?;
        }
        Ok(())
    }

    /// Replaces stored rows. Uniqueness is checked after all old keys are gone, as PostgreSQL would at the end of the
    /// statement for a set that moves keys around only if the constraint were deferrable: a key that another row of the
    /// same statement gives up is free here.
    pub async fn update(&self, changes: &[(Row, Row)]) -> Result<()> {
        for chunk in changes.chunks(BATCH_ROWS) {
            for (_, new) in chunk {
                self.check_row(new)?;
            }
            self.update_entries(chunk).await?;
            self.context.txn.flush_if_needed().await.map_err(sql_error)?;
        }
        Ok(())
    }

    async fn update_entries(&self, changes: &[(Row, Row)]) -> Result<()> {
        let txn = &self.context.txn;
        for (index, codec) in self.codecs.iter().enumerate() {
            let mut moved: Vec<(Key, usize)> = Vec::new();
            let mut puts = Vec::with_capacity(changes.len());
            for (position, (old, new)) in changes.iter().enumerate() {
                let (old_entry, new_entry) = (codec.encode(old)?, codec.encode(new)?);
                if old_entry == new_entry {
                    continue;
                }
                if old_entry.key != new_entry.key {
                    txn.delete(old_entry.key).map_err(sql_error)?;
                    let has_null = codec.key_positions().any(|column| new[column].is_null());
                    if self.table.indexes[index].unique && !has_null {
                        moved.push((new_entry.key.clone(), position));
                    }
                }
                puts.push(new_entry);
            }
            if let Some((row, _)) = first_duplicate(&moved) {
                return Err(self.unique_violation(index, &changes[row].1));
            }
            if let Some(conflict) = self.stored_conflict(index, moved).await? {
                return Err(self.unique_violation(index, &changes[conflict.row].1));
            }
            for entry in puts {
                txn.put(entry.key, entry.value).map_err(sql_error)?;
            }
        }
        Ok(())
    }

    /// `23505`, worded as PostgreSQL's.
    pub fn unique_violation(&self, index: usize, row: &[Datum]) -> SqlError {
        let descriptor: &Index = &self.table.indexes[index];
        let positions: Vec<usize> = self.codecs[index].key_positions().collect();
        let names: Vec<&str> =
            positions.iter().map(|&position| &self.table.columns[position].name[..]).collect();
        let values: Vec<String> =
            positions.iter().map(|&position| self.print(position, &row[position])).collect();
        SqlError::new(
            SqlState::UNIQUE_VIOLATION,
            format!("duplicate key value violates unique constraint \"{}\"", descriptor.name),
        )
        .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
        .with_table(&self.table.schema, &self.table.name)
        .with_constraint(&descriptor.name)
    }

    fn print(&self, position: usize, value: &Datum) -> String {
        if value.is_null() {
            return "null".to_owned();
        }
        let io: &IoSettings = &self.context.eval.io;
        let mut text = String::new();
        text_out(value, self.table.columns[position].ty, io, &mut text);
        text
    }

    fn print_row(&self, row: &[Datum]) -> String {
        let visible = (0..row.len()).filter(|&position| !self.table.columns[position].hidden);
        let values: Vec<String> = visible.map(|position| self.print(position, &row[position])).collect();
        format!("({})", values.join(", "))
    }
}

/// The first row whose key an earlier row has too.
fn first_duplicate(keys: &[(Key, usize)]) -> Option<(usize, Key)> {
    if keys.len() < 2 {
        return None;
    }
    let mut sorted: Vec<&(Key, usize)> = keys.iter().collect();
    sorted.sort();
    sorted.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| (pair[1].1, pair[1].0.clone()))
}
