//! The aggregate of a query without GROUP BY: one group.

use std::fmt;

use arrow::array::ArrayRef;
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
};
use parking_lot::Mutex;

pub struct SingleGroup {
    /// The lock is never contended: it makes the accumulator `Sync`.
    groups: Mutex<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
}

impl SingleGroup {
    pub fn new(groups: Box<dyn GroupsAccumulator>) -> Self {
        Self { groups: Mutex::new(groups), indices: Vec::new() }
    }

    /// Group 0 for each of `count` rows.
    fn indices(&mut self, count: usize) -> &[usize] {
        if self.indices.len() < count {
            self.indices.resize(count, 0);
        }
        &self.indices[..count]
    }
}

impl fmt::Debug for SingleGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleGroup")
    }
}

impl Accumulator for SingleGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let count = values.first().map_or(0, |array| array.len());
        self.indices(count);
        self.groups.get_mut().update_batch(values, &self.indices[..count], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.touch()?;
        let array = self.groups.get_mut().evaluate(EmitTo::All)?;
        ScalarValue::try_from_array(&array, 0)
    }

    fn size(&self) -> usize {
        self.groups.lock().size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.touch()?;
        let arrays = self.groups.get_mut().state(EmitTo::All)?;
        arrays.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let count = states.first().map_or(0, |array| array.len());
        self.indices(count);
        self.groups.get_mut().merge_batch(states, &self.indices[..count], 1)
    }
}

impl SingleGroup {
    /// Makes the group exist though no row came.
    fn touch(&mut self) -> Result<()> {
        self.groups.get_mut().update_batch(&[], &[], None, 1)
    }
}
