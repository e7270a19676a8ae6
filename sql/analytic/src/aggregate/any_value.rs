//! The first value that a group met: what a group whose key is not its value displays.

use arrow::array::{ArrayRef, BooleanArray};
use basalt_types::{Datum, SqlType};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::udaf::Factory;
use crate::{builder::ColumnBuilder, error::to_datafusion, kind::Kind, reader::ColumnReader};

#[derive(Clone, Copy)]
pub struct AnyValueFactory {
    pub kind: Kind,
    pub ty: SqlType,
}

impl Factory for AnyValueFactory {
    fn create(&self) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(AnyValue { of: *self, values: Vec::new() }))
    }

    fn state(&self) -> Result<Vec<Kind>> {
        Ok(vec![self.kind])
    }
}

struct AnyValue {
    of: AnyValueFactory,
    values: Vec<Datum>,
}

impl GroupsAccumulator for AnyValue {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        _: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.values.resize(total_num_groups, Datum::Null);
        let Some(array) = values.first() else { return Ok(()) };
        let reader = ColumnReader::new(array, self.of.kind, self.of.ty).map_err(to_datafusion)?;
        for (row, &group) in group_indices.iter().enumerate() {
            if self.values[group].is_null() {
                self.values[group] = reader.get(row).map_err(to_datafusion)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = emit_to.take_needed(&mut self.values);
        let mut builder = ColumnBuilder::new(self.of.kind, values.len());
        for value in &values {
            builder.append(value).map_err(to_datafusion)?;
        }
        Ok(builder.finish())
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
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        Ok(values.to_vec())
    }

    fn size(&self) -> usize {
        self.values.capacity() * (size_of::<Datum>() + 16)
    }
}
