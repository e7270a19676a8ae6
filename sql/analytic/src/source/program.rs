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
    codec::{row::RawColumn, row_slice::RowSlice},
};

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
        Box::new(DecodeSink {
            program: self.clone(),
            builders,
            count: 0,
            bytes: 0,
            rest: Vec::new(),
            rest_positions: Vec::new(),
            row: Row::new(),
        })
    }
}

struct DecodeSink {
    program: DecodeProgram,
    builders: Vec<ColumnBuilder>,
    count: usize,
    /// Bytes of values decoded so far.
    bytes: usize,
    /// Columns that the current row's value does not hold: positions in `wanted`, and in the table.
    rest: Vec<usize>,
    rest_positions: Vec<usize>,
    row: Row,
}

impl DecodeSink {
    fn decode(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.count += 1;
        if self.builders.is_empty() {
            return Ok(());
        }
        let view = RowSlice::new(value)?;
        self.rest.clear();
        for (slot, (column, builder)) in self.program.wanted.iter().zip(&mut self.builders).enumerate() {
            match view.get(column.id) {
                Some(RawColumn::Value(bytes)) => {
                    self.bytes += bytes.len();
                    builder.append_stored(bytes)?;
                }
                Some(RawColumn::Null) => builder.append_null(),
                None => self.rest.push(slot),
            }
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        self.rest_positions.clear();
        self.rest_positions.extend(self.rest.iter().map(|&slot| self.program.wanted[slot].position));
        let holds = |id| view.get(id).is_some();
        self.program.codec.decode_absent(key, &holds, &self.rest_positions, &mut self.row)?;
        for (&slot, datum) in self.rest.iter().zip(&self.row) {
            self.bytes += 16;
            self.builders[slot].append(datum)?;
        }
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
        self.bytes + self.count
    }

    fn finish(mut self: Box<Self>) -> std::result::Result<Box<dyn Any + Send>, Error> {
        let batch: RecordBatch =
            batch_of(&self.program.schema, &mut self.builders, self.count).map_err(program_error)?;
        Ok(Box::new(batch))
    }
}
