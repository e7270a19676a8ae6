//! `count(*)` and `count(any)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::Int64Type;
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::udaf::Factory;
use crate::kind::Kind;

pub struct CountFactory {
    /// Rows whose argument is NULL do not count.
    pub of_argument: bool,
}

impl Factory for CountFactory {
    fn create(&self) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Count { counts: Vec::new(), of_argument: self.of_argument }))
    }

    fn state(&self) -> Result<Vec<Kind>> {
        Ok(vec![Kind::Int8])
    }
}

struct Count {
    counts: Vec<i64>,
    of_argument: bool,
}

/// Whether a FILTER lets a row pass.
pub fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

impl GroupsAccumulator for Count {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        let nulls = values.first().filter(|_| self.of_argument).and_then(|array| array.logical_nulls());
        for (row, &group) in group_indices.iter().enumerate() {
            let counts = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) && passes(opt_filter, row);
            self.counts[group] += i64::from(counts);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(emit_to.take_needed(&mut self.counts))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        let partial = values[0].as_primitive::<Int64Type>();
        for (row, &group) in group_indices.iter().enumerate() {
            self.counts[group] += partial.value(row);
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut fresh = Self { counts: Vec::new(), of_argument: self.of_argument };
        let each: Vec<usize> = (0..rows).collect();
        fresh.update_batch(values, &each, opt_filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
