//! Encoding and decoding of index entries.

use std::sync::Arc;

use basalt_base::Key;
use basalt_planner::{Index, Table};
use basalt_types::{
    Datum, Oid, Result, Row, SqlError, SqlState, SqlType,
    codec::key::{decode_key_datum, encode_key_column, key_column_is_lossy, skip_key_datum},
    codec::row::{RowEncoder, RowView},
};
use bytes::{Bytes, BytesMut};

use super::keys::index_prefix;

/// Length of `10 ‖ table ‖ index`.
pub const PREFIX_BYTES: usize = 9;

/// A stored key and value.
#[derive(Clone, Debug, PartialEq)]
pub struct RowEntry {
    pub key: Key,
    pub value: Bytes,
}

#[derive(Clone, Debug)]
struct KeyColumn {
    /// Position in the table's columns.
    position: usize,
    id: u32,
    ty: SqlType,
    descending: bool,
}

/// Encodes and decodes the entries of one index of one version of a table.
#[derive(Clone, Debug)]
pub struct EntryCodec {
    table: Arc<Table>,
    prefix: Bytes,
    is_primary: bool,
    unique: bool,
    key: Vec<KeyColumn>,
    /// Primary-key columns that a secondary index does not have among its own.
    primary_key: Vec<KeyColumn>,
    /// Table positions that the value holds always.
    value: Vec<usize>,
}

impl EntryCodec {
    /// `index` is a position in `table.indexes`.
    pub fn new(table: &Arc<Table>, index: usize) -> Self {
        let is_primary = index == 0;
        let key = key_columns(table, &table.indexes[index]);
        let in_key = |position: usize| key.iter().any(|column| column.position == position);
        let primary_key: Vec<KeyColumn> = if is_primary {
            Vec::new()
        } else {
            let primary = key_columns(table, table.primary());
            primary.into_iter().filter(|column| !in_key(column.position)).collect()
        };
        let value = if is_primary {
            (0..table.columns.len()).filter(|&position| !in_key(position)).collect()
        } else {
            let stored = &table.indexes[index].stored;
            stored.iter().filter_map(|&id| table.position(id)).filter(|&position| !in_key(position)).collect()
        };
        Self {
            table: table.clone(),
            prefix: index_prefix(table.id, table.indexes[index].id).freeze(),
            is_primary,
            unique: table.indexes[index].unique,
            key,
            primary_key,
            value,
        }
    }

    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The entry for a full row (one datum per table column).
    pub fn encode(&self, row: &[Datum]) -> Result<RowEntry> {
        let mut key = BytesMut::with_capacity(self.prefix.len() + 16 * self.key.len());
        key.extend_from_slice(&self.prefix);
        let mut has_null = false;
        let mut value_columns: Vec<usize> = self.value.clone();
        for column in &self.key {
            let datum = &row[column.position];
            has_null |= datum.is_null();
            encode_key_column(&mut key, datum, column.ty, column.descending);
            if key_column_is_lossy(datum, column.ty) {
                value_columns.push(column.position);
            }
        }
        if !self.is_primary {
            let primary_in_key = !self.unique || has_null;
            for column in &self.primary_key {
                let datum = &row[column.position];
                if primary_in_key {
                    encode_key_column(&mut key, datum, column.ty, column.descending);
                }
                if !primary_in_key || key_column_is_lossy(datum, column.ty) {
                    value_columns.push(column.position);
                }
            }
        }
        if key.len() > basalt_base::limits::KEY_BYTES_MAX {
            return Err(key_too_long(key.len()));
        }
        let value = self.encode_value(value_columns, row);
        if value.len() > basalt_base::limits::VALUE_BYTES_MAX {
            return Err(SqlError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "row is too big: size {}, maximum size {}",
                    value.len(),
                    basalt_base::limits::VALUE_BYTES_MAX
                ),
            ));
        }
        Ok(RowEntry { key: key.freeze(), value })
    }

    fn encode_value(&self, mut positions: Vec<usize>, row: &[Datum]) -> Bytes {
        positions.sort_by_key(|&position| self.table.columns[position].id);
        positions.dedup();
        let columns: Vec<(u32, SqlType, &Datum)> = positions
            .iter()
            .map(|&position| {
                let column = &self.table.columns[position];
                (column.id, column.ty, &row[position])
            })
            .collect();
        RowEncoder::encode(&columns)
    }

    /// The key of the unique entry with these index-column values (none NULL), in index order.
    /// For an index that is not unique it is the prefix of the matching entries.
    pub fn key_of(&self, values: &[Datum]) -> Key {
        let mut key = BytesMut::with_capacity(self.prefix.len() + 16 * values.len());
        key.extend_from_slice(&self.prefix);
        for (column, value) in self.key.iter().zip(values) {
            encode_key_column(&mut key, value, column.ty, column.descending);
        }
        key.freeze()
    }

    /// The key of the unique entry of a full row whose index columns are not NULL.
    pub fn key_of_row(&self, row: &[Datum]) -> Key {
        let mut key = BytesMut::with_capacity(self.prefix.len() + 16 * self.key.len());
        key.extend_from_slice(&self.prefix);
        for column in &self.key {
            encode_key_column(&mut key, &row[column.position], column.ty, column.descending);
        }
        key.freeze()
    }

    /// A row that has only the index columns, from the key of an entry whose index columns are not NULL.
    pub fn key_row(&self, key: &[u8]) -> Result<Row> {
        let mut row = vec![Datum::Null; self.table.columns.len()];
        let mut rest = key.get(PREFIX_BYTES..).ok_or_else(|| damaged("key is too short"))?;
        for column in &self.key {
            row[column.position] = decode_key_datum(&mut rest, column.ty, column.descending)?;
        }
        Ok(row)
    }

    /// Types and directions of the index columns, in order.
    pub fn key_types(&self) -> impl Iterator<Item = (SqlType, bool)> + '_ {
        self.key.iter().map(|column| (column.ty, column.descending))
    }

    /// Whether the entry holds the table column at `position`, so that it can be decoded without the primary entry.
    pub fn covers(&self, position: usize) -> bool {
        self.is_primary
            || self.value.contains(&position)
            || self.key.iter().chain(&self.primary_key).any(|column| column.position == position)
    }

    /// Decodes the wanted table positions into `out` (same order as `wanted`), which is cleared first.
    pub fn decode_into(&self, key: &[u8], value: &Bytes, wanted: &[usize], out: &mut Row) -> Result<()> {
        out.clear();
        out.resize(wanted.len(), Datum::Null);
        let view = RowView::new(value)?;
        let mut missing = 0;
        for (slot, &position) in wanted.iter().enumerate() {
            let column = &self.table.columns[position];
            match view.decode(column.id, column.ty)? {
                Some(datum) => out[slot] = datum,
                None => missing += 1,
            }
        }
        if missing == 0 {
            return Ok(());
        }
        self.fill_missing(key, &|id| view.get(id).is_some(), wanted, out)
    }

    /// Decodes wanted table positions that the entry's value does not hold into `out`, which is cleared first; `holds`
    /// says which column ids it does.
    pub fn decode_absent(
        &self,
        key: &[u8],
        holds: &dyn Fn(u32) -> bool,
        wanted: &[usize],
        out: &mut Row,
    ) -> Result<()> {
        out.clear();
        out.resize(wanted.len(), Datum::Null);
        self.fill_missing(key, holds, wanted, out)
    }

    /// Fills what the value does not hold: from the key, else from the column's stored default.
    fn fill_missing(
        &self,
        key: &[u8],
        holds: &dyn Fn(u32) -> bool,
        wanted: &[usize],
        out: &mut Row,
    ) -> Result<()> {
        let mut rest = key.get(PREFIX_BYTES..).ok_or_else(|| damaged("key is too short"))?;
        let mut from_key = 0_u128;
        for column in self.key.iter().chain(&self.primary_key) {
            if rest.is_empty() {
                break;
            }
            let slot = wanted.iter().position(|&position| position == column.position);
            match slot {
                Some(slot) if !holds(column.id) => {
                    let datum = decode_key_datum(&mut rest, column.ty, column.descending)?;
                    for (other, &position) in wanted.iter().enumerate().skip(slot) {
                        if position == column.position {
                            out[other] = datum.clone();
                            from_key |= 1 << other.min(127);
                        }
                    }
                }
                _ => skip_key_datum(&mut rest, column.descending)?,
            }
        }
        for (slot, &position) in wanted.iter().enumerate() {
            let column = &self.table.columns[position];
            let is_from_key = slot < 127 && from_key & (1 << slot) != 0;
            let is_key_column = self.key.iter().chain(&self.primary_key).any(|key| key.position == position);
            if !is_from_key && !is_key_column && !holds(column.id) {
                out[slot] = column.missing_value.clone().unwrap_or(Datum::Null);
            }
        }
        Ok(())
    }

    /// The primary key of the row behind a secondary entry.
    pub fn primary_key_of(&self, key: &[u8], value: &Bytes, primary: &Self) -> Result<Key> {
        let wanted: Vec<usize> = primary.key.iter().map(|column| column.position).collect();
        let mut values = Row::new();
        self.decode_into(key, value, &wanted, &mut values)?;
        Ok(primary.key_of(&values))
    }

    /// Table positions of the index columns.
    pub fn key_positions(&self) -> impl Iterator<Item = usize> + '_ {
        self.key.iter().map(|column| column.position)
    }
}

fn key_columns(table: &Table, index: &Index) -> Vec<KeyColumn> {
    index
        .columns
        .iter()
        .map(|column| {
            let position = table.position(column.column).expect("an index names columns of its table");
            let ty = table.columns[position].ty;
            KeyColumn { position, id: column.column, ty, descending: column.descending }
        })
        .collect()
}

fn key_too_long(bytes: usize) -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("index row size {bytes} exceeds maximum {}", basalt_base::limits::KEY_BYTES_MAX),
    )
}

fn damaged(what: &str) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, format!("stored index entry is damaged: {what}"))
}

/// The type with oid `oid` orders equal to how its key encoding orders.
pub fn is_indexable(oid: Oid) -> bool {
    !matches!(oid, Oid::JSON | Oid::JSONB | Oid::RECORD | Oid::UNKNOWN | Oid::VOID | Oid::PG_NODE_TREE)
}
