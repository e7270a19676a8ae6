//! The calls of a window over whole partitions.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions},
    compute::partition,
    datatypes::SchemaRef,
};
use basalt_functions::EvalContext;
use basalt_sql::{
    Cancel,
    exec::window::{Peers, RangeKeys, WindowColumn},
};
use basalt_types::{Datum, Result as SqlResult, Row, SqlType};
use datafusion::common::Result;

use crate::{builder::ColumnBuilder, error::to_datafusion, kind::Kind, reader::ColumnReader};

/// A column of the operator's input.
#[derive(Clone, Copy, Debug)]
pub struct InputColumn {
    pub position: usize,
    pub kind: Kind,
    pub ty: SqlType,
}

/// One call.
pub struct PlacedCall {
    pub column: WindowColumn,
    /// The arguments, then the filter if there is one.
    pub inputs: Vec<InputColumn>,
    pub output: Kind,
}

/// The values of the only ORDER BY column, for distances.
#[derive(Clone, Copy, Debug)]
pub struct RangeColumn {
    pub column: InputColumn,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The calls over one window.
pub struct WindowShape {
    /// Positions of key columns.
    pub partition_by: Vec<usize>,
    pub order_by: Vec<usize>,
    pub range: Option<RangeColumn>,
    pub calls: Vec<PlacedCall>,
    /// How many of the first input columns are output before the results.
    pub passed: usize,
    pub schema: SchemaRef,
    pub eval: Arc<EvalContext>,
    pub cancel: Arc<dyn Cancel>,
}

/// Ranks need no values.
#[derive(Clone, Copy)]
enum Ranking {
    RowNumber,
    Rank,
    DenseRank,
}

impl PlacedCall {
    fn ranking(&self) -> Option<Ranking> {
        if !self.column.is_window_function() {
            return None;
        }
        match self.column.name() {
            "row_number" => Some(Ranking::RowNumber),
            "rank" => Some(Ranking::Rank),
            "dense_rank" => Some(Ranking::DenseRank),
            _ => None,
        }
    }
}

/// The partitions of a batch, and where peers begin.
struct Split {
    partitions: Vec<Range<usize>>,
    starts_peers: Vec<bool>,
}

impl WindowShape {
    /// About how many bytes a row takes while it is computed.
    pub fn row_bytes(&self) -> usize {
        let widest = self.calls.iter().map(|call| call.inputs.len()).max().unwrap_or(0);
        (widest + 4) * size_of::<Datum>()
    }

    fn split(&self, rows: &RecordBatch) -> Result<Split> {
        let count = rows.num_rows();
        let mut keys: Vec<ArrayRef> =
            self.partition_by.iter().map(|&position| rows.column(position).clone()).collect();
        let partitions =
            if keys.is_empty() { std::iter::once(0..count).collect() } else { partition(&keys)?.ranges() };
        let mut starts_peers = vec![false; count];
        if self.order_by.is_empty() {
            partitions.iter().for_each(|range| starts_peers[range.start] = true);
        } else {
            keys.extend(self.order_by.iter().map(|&position| rows.column(position).clone()));
            partition(&keys)?.ranges().iter().for_each(|range| starts_peers[range.start] = true);
        }
        Ok(Split { partitions, starts_peers })
    }

    /// Whole partitions, in order, with the calls' results.
    pub fn compute(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let split = self.split(rows)?;
        let mut columns: Vec<ArrayRef> = rows.columns()[..self.passed].to_vec();
        let mut results: Vec<Option<ArrayRef>> = vec![None; self.calls.len()];
        let mut rest: Vec<(usize, Inputs<'_>, ColumnBuilder)> = Vec::new();
        for (index, call) in self.calls.iter().enumerate() {
            match call.ranking() {
                Some(ranking) => results[index] = Some(ranks(ranking, &split)),
                None => {
                    let inputs = Inputs::new(rows, &call.inputs)?;
                    rest.push((index, inputs, ColumnBuilder::new(call.output, rows.num_rows())));
                }
            }
        }
        if !rest.is_empty() {
            let range = self.range.map(|range| Inputs::new(rows, &[range.column])).transpose()?;
            for partition in &split.partitions {
                self.fill(partition, &split, range.as_ref(), &mut rest).map_err(to_datafusion)?;
            }
        }
        for (index, _, mut builder) in rest {
            results[index] = Some(builder.finish());
        }
        columns.extend(results.into_iter().flatten());
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    fn fill(
        &self,
        partition: &Range<usize>,
        split: &Split,
        range: Option<&Inputs<'_>>,
        calls: &mut [(usize, Inputs<'_>, ColumnBuilder)],
    ) -> SqlResult<()> {
        self.cancel.check()?;
        let peers = Peers::new(partition.len(), |row| !split.starts_peers[partition.start + row]);
        let mut key_values = Vec::new();
        let keys = match (range, self.range) {
            (Some(reader), Some(range)) => {
                for row in partition.clone() {
                    key_values.push(reader.columns[0].get(row)?);
                }
                let (descending, nulls_first) = (range.descending, range.nulls_first);
                Some(RangeKeys { keys: &key_values, descending, nulls_first })
            }
            _ => None,
        };
        for (index, inputs, builder) in calls {
            let rows = inputs.rows(partition)?;
            let column = &self.calls[*index].column;
            for value in column.compute(&rows, &peers, keys, &self.eval, &*self.cancel)? {
                builder.append(&value)?;
            }
        }
        Ok(())
    }
}

struct Inputs<'a> {
    columns: Vec<ColumnReader<'a>>,
}

impl<'a> Inputs<'a> {
    fn new(rows: &'a RecordBatch, columns: &[InputColumn]) -> Result<Self> {
        let reader =
            |column: &InputColumn| ColumnReader::new(rows.column(column.position), column.kind, column.ty);
        let columns = columns.iter().map(reader).collect::<SqlResult<Vec<_>>>().map_err(to_datafusion)?;
        Ok(Self { columns })
    }

    fn rows(&self, range: &Range<usize>) -> SqlResult<Vec<Row>> {
        let row = |row: usize| self.columns.iter().map(|column| column.get(row)).collect::<SqlResult<Row>>();
        range.clone().map(row).collect()
    }
}

fn ranks(ranking: Ranking, split: &Split) -> ArrayRef {
    let mut values = Vec::with_capacity(split.starts_peers.len());
    for partition in &split.partitions {
        let (mut rank, mut dense) = (0, 0);
        for (number, row) in (1..).zip(partition.clone()) {
            if split.starts_peers[row] {
                rank = number;
                dense += 1;
            }
            values.push(match ranking {
                Ranking::RowNumber => number,
                Ranking::Rank => rank,
                Ranking::DenseRank => dense,
            });
        }
    }
    Arc::new(Int64Array::from(values))
}
