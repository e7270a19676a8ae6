//! Stored rows: a self-describing layout by column id.
//!
//! Columns are found by id, not by position, so ADD COLUMN and DROP COLUMN rewrite nothing: an id that is absent was
//! not there when the row was written (its stored default applies), and an id that no descriptor names is ignored.
//! An end offset per column makes one column readable without the others.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, `01` |
//! | 1 | flags: bit 0, wide |
//! | 2 | column count *n* |
//! | *n* × 1 (wide: 4) | column ids, strictly ascending |
//! | *n* × 2 (wide: 4) | where each column's bytes end, from the start of the data |
//! | ⌈*n* / 8⌉ | NULL bitmap: bit *i* % 8 of byte *i* / 8 is set when column *i* is NULL |
//! | rest | data, in column order, see `stored_value` |
//!
//! Integers are little-endian. A row is wide when an id exceeds 255 or the data exceeds 65,535 bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::corrupted;
use super::stored_value::{get_value, put_value, read_i32, read_i64, read_text};
use crate::{Datum, Result, SqlError, SqlType};

pub(super) const VERSION: u8 = 1;
pub(super) const FLAG_WIDE: u8 = 1;
pub(super) const HEADER: usize = 4;

/// Writes rows.
pub struct RowEncoder;

impl RowEncoder {
    /// Encodes columns, given in any order; ids are distinct and at most 65,535 columns are given.
    pub fn encode(columns: &[(u32, SqlType, &Datum)]) -> Bytes {
        if columns.is_sorted_by_key(|(id, ..)| *id) {
            return encode_sorted(columns);
        }
        let mut sorted = columns.to_vec();
        sorted.sort_by_key(|(id, ..)| *id);
        encode_sorted(&sorted)
    }
}

fn encode_sorted(columns: &[(u32, SqlType, &Datum)]) -> Bytes {
    let count = columns.len();
    debug_assert!(count <= usize::from(u16::MAX), "a table has at most 1600 columns");
    let narrow_header = HEADER + count * 3 + count.div_ceil(8);
    let mut out = BytesMut::with_capacity(narrow_header + count * 8);
    out.put_u8(VERSION);
    out.put_u8(0);
    out.put_u16_le(count as u16);
    out.extend(columns.iter().map(|(id, ..)| *id as u8));
    out.put_bytes(0, narrow_header - out.len());
    let mut wide = columns.last().is_some_and(|(id, ..)| *id > 255);
    let mut ends = wide.then(Vec::new);
    for (index, (_, _, value)) in columns.iter().enumerate() {
        if value.is_null() {
            out[HEADER + count * 3 + index / 8] |= 1 << (index % 8);
        } else {
            put_value(&mut out, value);
        }
        let end = out.len() - narrow_header;
        match (&mut ends, u16::try_from(end)) {
            (Some(ends), _) => ends.push(end as u32),
            (None, Ok(end)) => {
                let at = HEADER + count + index * 2;
                out[at..at + 2].copy_from_slice(&end.to_le_bytes());
            }
            // The data outgrew 16 bits here: carry the ends so far over.
            (None, Err(_)) => {
                wide = true;
                let so_far = out[HEADER + count..HEADER + count + index * 2].chunks_exact(2);
                let mut carried: Vec<u32> =
                    so_far.map(|end| u32::from(u16::from_le_bytes([end[0], end[1]]))).collect();
                carried.push(end as u32);
                ends = Some(carried);
            }
        }
    }
    match ends {
        Some(ends) if wide => widen(columns, &ends, &out[HEADER + count * 3..]),
        _ => out.freeze(),
    }
}

/// The wide form of a row whose bitmap and data are known.
fn widen(columns: &[(u32, SqlType, &Datum)], ends: &[u32], bitmap_and_data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + columns.len() * 8 + bitmap_and_data.len());
    out.put_u8(VERSION);
    out.put_u8(FLAG_WIDE);
    out.put_u16_le(columns.len() as u16);
    for (id, ..) in columns {
        out.put_u32_le(*id);
    }
    for end in ends {
        out.put_u32_le(*end);
    }
    out.put_slice(bitmap_and_data);
    out.freeze()
}

/// One stored column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawColumn<'a> {
    Null,
    Value(&'a [u8]),
}

/// A row whose header was checked.
#[derive(Clone, Debug)]
pub struct RowView {
    bytes: Bytes,
    count: usize,
    wide: bool,
    /// Where the data begins.
    data: usize,
}

fn malformed() -> SqlError {
    corrupted("malformed stored row")
}

impl RowView {
    pub fn new(bytes: &Bytes) -> Result<Self> {
        let [version, flags, low, high, ..] = bytes[..] else { return Err(malformed()) };
        if version != VERSION {
            return Err(corrupted(&format!("stored row has unknown version {version}")));
        }
        if flags & !FLAG_WIDE != 0 {
            return Err(malformed());
        }
        let wide = flags & FLAG_WIDE != 0;
        let count = usize::from(u16::from_le_bytes([low, high]));
        let data = HEADER + count * if wide { 8 } else { 3 } + count.div_ceil(8);
        if bytes.len() < data {
            return Err(malformed());
        }
        let view = Self { bytes: bytes.clone(), count, wide, data };
        let ascending = (1..count).all(|index| view.id(index - 1) < view.id(index));
        let ends_ascending = (0..count).all(|index| view.start(index) <= view.end(index));
        let complete = view.start(count) == bytes.len();
        if !ascending || !ends_ascending || !complete {
            return Err(malformed());
        }
        Ok(view)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    fn id(&self, index: usize) -> u32 {
        if self.wide { self.word(HEADER + index * 4) } else { u32::from(self.bytes[HEADER + index]) }
    }

    fn end(&self, index: usize) -> usize {
        let relative = if self.wide {
            self.word(HEADER + self.count * 4 + index * 4) as usize
        } else {
            let at = HEADER + self.count + index * 2;
            usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
        };
        self.data + relative
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { self.data } else { self.end(index - 1) }
    }

    fn is_null(&self, index: usize) -> bool {
        self.bytes[self.data - self.count.div_ceil(8) + index / 8] & (1 << (index % 8)) != 0
    }

    fn find(&self, column_id: u32) -> Option<usize> {
        let narrow = (!self.wide).then(|| &self.bytes[HEADER..HEADER + self.count]);
        if let Some(ids) = narrow {
            let id = u8::try_from(column_id).ok()?;
            // Most tables number their columns from 1 without gaps.
            let guess = usize::from(id).wrapping_sub(1);
            return if ids.get(guess) == Some(&id) { Some(guess) } else { ids.binary_search(&id).ok() };
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.id(middle).cmp(&column_id) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The ids stored, in ascending order.
    pub fn column_ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count).map(|index| self.id(index))
    }

    /// `None` when the row was written before the column existed.
    pub fn get(&self, column_id: u32) -> Option<RawColumn<'_>> {
        let index = self.find(column_id)?;
        Some(if self.is_null(index) {
            RawColumn::Null
        } else {
            // A damaged offset yields an empty slice, which the typed readers refuse.
            RawColumn::Value(self.bytes.get(self.start(index)..self.end(index)).unwrap_or(&[]))
        })
    }

    /// The column's value, NULL included; `None` when the row was written before the column existed.
    pub fn decode(&self, column_id: u32, sql_type: SqlType) -> Result<Option<Datum>> {
        match self.get(column_id) {
            None => Ok(None),
            Some(RawColumn::Null) => Ok(Some(Datum::Null)),
            Some(RawColumn::Value(bytes)) => get_value(&self.bytes, bytes, sql_type, 0).map(Some),
        }
    }

    /// An int4 (or date) without building a [`Datum`]; `None` when NULL or absent.
    pub fn int4(&self, column_id: u32) -> Result<Option<i32>> {
        match self.get(column_id) {
            Some(RawColumn::Value(bytes)) => read_i32(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// An int8 (or time, timestamp); `None` when NULL or absent.
    pub fn int8(&self, column_id: u32) -> Result<Option<i64>> {
        match self.get(column_id) {
            Some(RawColumn::Value(bytes)) => read_i64(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// A text; `None` when NULL or absent.
    pub fn text(&self, column_id: u32) -> Result<Option<&str>> {
        match self.get(column_id) {
            Some(RawColumn::Value(bytes)) => read_text(bytes).map(Some),
            _ => Ok(None),
        }
    }
}
