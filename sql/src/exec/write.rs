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
use bytes::Bytes;

use super::{ExecContext, eval::Compiled, memory::Reservation, scope::row_bytes};
use crate::{
    error::sql_error,
    layout::{EntryCodec, RowEntry},
};

/// Rows whose keys are checked together.
const BATCH_ROWS: usize = 500;
/// Bytes of rows that are written before the buffer gets a chance to be sent (one row more may come).
const BATCH_BYTES: usize = 1 << 20;
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
    /// Entries of updated rows whose places were taken by rows that the statement may still move away.
    waiting: Vec<Waiting>,
    waiting_memory: Reservation,
}

struct Waiting {
    index: usize,
    entry: RowEntry,
    row: Row,
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
            waiting: Vec::new(),
            waiting_memory: Reservation::new(&context.memory),
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

    /// The key of the row itself.
    pub fn primary_key(&self, row: &[Datum]) -> Key {
        self.codecs[0].key_of_row(row)
    }

    /// Inserts full rows (one datum per table column); `23505` on a conflict.
    pub async fn insert(&mut self, mut rows: Vec<Row>) -> Result<u64> {
        for row in &mut rows {
            self.prepare_new(row)?;
        }
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let chunk;
            (chunk, rest) = rest.split_at(batch_len(rest, |row| row_bytes(row)));
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
        if !self.waiting.is_empty() {
            self.put_waiting().await?;
        }
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
            if descriptor.unique
                && let Some(conflict) = self.find_conflict_in(index, rows).await?
            {
                return Ok(Some(conflict));
            }
        }
        Ok(None)
    }

    /// The first row whose key of a unique index is taken.
    pub async fn find_conflict_in(&self, index: usize, rows: &[Row]) -> Result<Option<Conflict>> {
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
            return Ok(None);
        }
        for (key, row, value) in self.stored(keys).await? {
            let Some(value) = value else { continue };
            let existing =
                if index == 0 { key } else { codec.primary_key_of(&key, &value, &self.codecs[0])? };
            return Ok(Some(Conflict { row, index, existing }));
        }
        Ok(None)
    }

    /// Locks keys and says what is there.
    async fn stored(&self, keys: Vec<(Key, usize)>) -> Result<Vec<(Key, usize, Option<Bytes>)>> {
        let options =
            ReadOptions { lock: Some(LockStrength::Exclusive), latest: true, ..ReadOptions::default() };
        let (keys, positions): (Vec<Key>, Vec<usize>) = keys.into_iter().unzip();
        let txn = &self.context.txn;
        let found = match &keys[..] {
            [] => return Ok(Vec::new()),
            [key] => vec![txn.get(key, options).await.map_err(sql_error)?],
            keys => txn.get_many(keys, options).await.map_err(sql_error)?,
        };
        Ok(keys.into_iter().zip(positions).zip(found).map(|((key, row), value)| (key, row, value)).collect())
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
    pub async fn delete(&self, row: &[Datum]) -> Result<()> {
        for (index, codec) in self.codecs.iter().enumerate() {
            let entry = codec.encode(row)?;
            if !self.is_of_another(index, &entry.key, row).await? {
                self.context.txn.delete(entry.key).map_err(sql_error)?;
            }
        }
        Ok(())
    }

    /// Whether the entry under `key`, which is where `row` would have its own, is that of another row. That can only be in
    /// a unique index that is being built: it need not have the row's entry yet, and so let another row take the key.
    async fn is_of_another(&self, index: usize, key: &Key, row: &[Datum]) -> Result<bool> {
        let descriptor = &self.table.indexes[index];
        if descriptor.is_public() || !descriptor.unique {
            return Ok(false);
        }
        let found = self.stored(vec![(key.clone(), 0)]).await?;
        let Some((_, _, Some(value))) = found.into_iter().next() else { return Ok(false) };
        let holder = self.codecs[index].primary_key_of(key, &value, &self.codecs[0])?;
        Ok(holder != self.primary_key(row))
    }

    /// Replaces stored rows. Keys are unique at the end of the statement, as the standard has it (PostgreSQL checks row
    /// by row unless the constraint is deferrable): a key that another row of the same statement gives up is free, and
    /// [`Self::finish`] says which were not.
    pub async fn update(&mut self, changes: &[(Row, Row)]) -> Result<()> {
        let mut rest = changes;
        while !rest.is_empty() {
            let chunk;
            (chunk, rest) = rest.split_at(batch_len(rest, |(old, new)| row_bytes(old) + row_bytes(new)));
            for (_, new) in chunk {
                self.check_row(new)?;
            }
            self.update_entries(chunk).await?;
            self.context.txn.flush_if_needed().await.map_err(|error| self.write_error(error))?;
        }
        Ok(())
    }

    async fn update_entries(&mut self, changes: &[(Row, Row)]) -> Result<()> {
        let txn = &self.context.txn;
        for (index, codec) in self.codecs.iter().enumerate() {
            let mut moved: Vec<(Key, usize)> = Vec::new();
            let mut puts = Vec::with_capacity(changes.len());
            for (position, (old, new)) in changes.iter().enumerate() {
                let (old_entry, new_entry) = (codec.encode(old)?, codec.encode(new)?);
                if old_entry == new_entry {
                    continue;
                }
                if old_entry.key == new_entry.key {
                    if self.is_of_another(index, &new_entry.key, old).await? {
                        return Err(self.unique_violation(index, new));
                    }
                } else {
                    if !self.is_of_another(index, &old_entry.key, old).await? {
                        txn.delete(old_entry.key).map_err(sql_error)?;
                    }
                    let has_null = codec.key_positions().any(|column| new[column].is_null());
                    if self.table.indexes[index].unique && !has_null {
                        moved.push((new_entry.key.clone(), position));
                    }
                }
                puts.push((new_entry, position));
            }
            if let Some((row, _)) = first_duplicate(&moved) {
                return Err(self.unique_violation(index, &changes[row].1));
            }
            // In the order of the keys of `moved`, as is `puts`.
            let stored = self.stored(moved).await?;
            let mut taken = stored.into_iter().filter(|(.., value)| value.is_some()).peekable();
            for (entry, position) in puts {
                if taken.next_if(|(_, row, _)| *row == position).is_none() {
                    txn.put(entry.key, entry.value).map_err(sql_error)?;
                    continue;
                }
                let row = changes[position].1.clone();
                self.waiting_memory.grow(row_bytes(&row) + entry.key.len() + entry.value.len())?;
                self.waiting.push(Waiting { index, entry, row });
            }
        }
        Ok(())
    }

    /// Writes the entries that waited for their places.
    async fn put_waiting(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let keys: Vec<(Key, usize)> = waiting.iter().map(|w| w.entry.key.clone()).zip(0..).collect();
        if let Some((position, _)) = first_duplicate(&keys) {
            return Err(self.unique_violation(waiting[position].index, &waiting[position].row));
        }
        drop(keys);
        while !waiting.is_empty() {
            let first = waiting.len().saturating_sub(BATCH_ROWS);
            let chunk = waiting.split_off(first);
            let keys = chunk.iter().map(|waiting| waiting.entry.key.clone()).zip(0..).collect();
            let stored = self.stored(keys).await?;
            if let Some((_, position, _)) = stored.into_iter().find(|(.., value)| value.is_some()) {
                return Err(self.unique_violation(chunk[position].index, &chunk[position].row));
            }
            for Waiting { entry, .. } in chunk {
                self.context.txn.put(entry.key, entry.value).map_err(sql_error)?;
            }
            self.context.txn.flush_if_needed().await.map_err(|error| self.write_error(error))?;
        }
        self.waiting_memory.clear();
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

/// How many rows are written together.
fn batch_len<T>(rows: &[T], bytes: impl Fn(&T) -> usize) -> usize {
    let mut before = 0;
    let fits = |row: &&T| {
        let fits = before < BATCH_BYTES;
        before += bytes(row);
        fits
    };
    rows.iter().take(BATCH_ROWS).take_while(fits).count()
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
