//! A stored row read where it lies: for scans that decode many rows and few columns of each.
//!
//! Unlike [`RowView`](super::row::RowView) it checks only what it touches, so a damaged row may show its undamaged
//! columns; nothing is read beyond the row.

use super::{
    corrupted,
    row::{FLAG_WIDE, HEADER, RawColumn, VERSION},
};
use crate::Result;

#[derive(Clone, Copy, Debug)]
pub struct RowSlice<'a> {
    bytes: &'a [u8],
    count: usize,
    wide: bool,
    /// Where the data begins.
    data: usize,
}

impl<'a> RowSlice<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let malformed = || corrupted("malformed stored row");
        let [version, flags, low, high, ..] = *bytes else { return Err(malformed()) };
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
        Ok(Self { bytes, count, wide, data })
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    fn find(&self, column_id: u32) -> Option<usize> {
        if self.wide {
            return (0..self.count).find(|index| self.word(HEADER + index * 4) == column_id);
        }
        let id = u8::try_from(column_id).ok()?;
        let ids = &self.bytes[HEADER..HEADER + self.count];
        // Ids ascend, and most tables number their columns from 1 without gaps.
        let guess = usize::from(id).min(self.count).wrapping_sub(1);
        if ids.get(guess) == Some(&id) { Some(guess) } else { ids.iter().position(|&other| other == id) }
    }

    /// Where the data of the first `count` columns ends, from the start of the row.
    fn end(&self, count: usize) -> usize {
        let Some(index) = count.checked_sub(1) else { return self.data };
        let relative = if self.wide {
            self.word(HEADER + self.count * 4 + index * 4) as usize
        } else {
            let at = HEADER + self.count + index * 2;
            usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
        };
        self.data + relative
    }

    /// `None` when the row was written before the column existed, or the column lies in the key.
    pub fn get(&self, column_id: u32) -> Option<RawColumn<'a>> {
        let index = self.find(column_id)?;
        let bitmap = self.data - self.count.div_ceil(8);
        Some(if self.bytes[bitmap + index / 8] & (1 << (index % 8)) != 0 {
            RawColumn::Null
        } else {
            // A damaged offset yields an empty slice, which the typed readers refuse.
            RawColumn::Value(self.bytes.get(self.end(index)..self.end(index + 1)).unwrap_or(&[]))
        })
    }
}
