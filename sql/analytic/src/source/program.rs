//! The program that decodes stored rows into columns beside the data.
//!
//! A row's bytes become Arrow values without a [`basalt_types::Datum`] between them. Columns that the value does not
//! hold (those of the key, and those added after the row was written) take the row codec's path.

use std::{any::Any, fmt, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use basalt_kv_api::{Error, RowAction, ScanProgram, ScanSink};
use basalt_sql::layout::EntryCodec;
use basalt_types::{
    Result, Row, SqlError,
    codec::row::{RawColumn, RowView},
};
use bytes::Bytes;

use super::row_leaf::batch_of;
use crate::{builder::ColumnBuilder, kind::Kind};

/// One column to decode.
#[derive(Clone, Debug)]
pub struct WantedColumn {
    /// Position in the table.
    pub position: usize,
    /// Column id in stored rows.
    pub id: u32,
    pub kind: Kind,
}

#[derive(Clone)]
pub struct DecodeProgram {
    pub codec: EntryCodec,
    pub wanted: Arc<[WantedColumn]>,
    pub schema: SchemaRef,
    /// Rows after which a page ends.
    pub rows_max: usize,
}

impl fmt::Debug for DecodeProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeProgram({:?})", self.wanted)
    }
}

impl ScanProgram for DecodeProgram {
    fn start(&self) -> Box<dyn ScanSink> {
        let builders = self.wanted.iter().map(|column| ColumnBuilder::new(column.kind, 1_024)).collect();
        Box::new(DecodeSink { program: self.clone(), builders, count: 0, rest: Vec::new(), row: Row::new() })
    }
}

struct DecodeSink {
    program: DecodeProgram,
    builders: Vec<ColumnBuilder>,
    count: usize,
    /// Positions in `wanted` that the current row's value does not hold, and their table positions.
    rest: Vec<(usize, usize)>,
    row: Row,
}

impl DecodeSink {
    fn decode(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let value = Bytes::copy_from_slice(value);
        let view = RowView::new(&value)?;
        self.rest.clear();
        for (slot, (column, builder)) in self.program.wanted.iter().zip(&mut self.builders).enumerate() {
            match view.get(column.id) {
                Some(RawColumn::Value(bytes)) => builder.append_stored(bytes)?,
                Some(RawColumn::Null) => builder.append_null(),
                None => self.rest.push((slot, column.position)),
            }
        }
        if !self.rest.is_empty() {
            let positions: Vec<usize> = self.rest.iter().map(|(_, position)| *position).collect();
            self.program.codec.decode_into(key, &value, &positions, &mut self.row)?;
            for ((slot, _), datum) in self.rest.iter().zip(&self.row) {
                self.builders[*slot].append(datum)?;
            }
        }
        self.count += 1;
        Ok(())
    }
}

fn program_error(error: SqlError) -> Error {
    Error::Program(Arc::new(error))
}

impl ScanSink for DecodeSink {
    fn row(&mut self, key: &[u8], value: &[u8]) -> std::result::Result<RowAction, Error> {
        self.decode(key, value).map_err(program_error)?;
        Ok(if self.count >= self.program.rows_max {
            RowAction::Stop
        } else {
            RowAction::Continue { counted: true }
        })
    }

    fn bytes(&self) -> usize {
        // Asked after every row: a rough figure must do.
        self.builders.iter().map(ColumnBuilder::bytes).sum()
    }

    fn finish(mut self: Box<Self>) -> std::result::Result<Box<dyn Any + Send>, Error> {
        let batch: RecordBatch =
            batch_of(&self.program.schema, &mut self.builders, self.count).map_err(program_error)?;
        Ok(Box::new(batch))
    }
}
