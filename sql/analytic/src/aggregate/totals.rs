//! `sum` and `avg` of integers and numeric: exact, so that any order of addition gives the same result.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    datatypes::{Int16Type, Int32Type, Int64Type},
};
use basalt_types::{Datum, Numeric, Result as SqlResult, SqlError};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{count::passes, udaf::Factory};
use crate::{builder::ColumnBuilder, error::to_datafusion, kind::Kind};

/// What becomes of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// `sum(int2)`, `sum(int4)`.
    Bigint,
    /// `sum(int8)`, `sum(numeric)`.
    Numeric,
    Average,
}

pub struct TotalsFactory {
    pub input: Kind,
    pub finish: Finish,
}

impl Factory for TotalsFactory {
    fn create(&self) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Totals { input: self.input, finish: self.finish, groups: Vec::new() }))
    }

    fn state(&self) -> Result<Vec<Kind>> {
        Ok(vec![Kind::Numeric, Kind::Int8])
    }
}

#[derive(Clone)]
struct Total {
    /// The whole of it while every term is an integer that fits.
    integer: i128,
    /// What does not: terms with a scale, big ones, NaN and infinities.
    numeric: Option<Numeric>,
    count: i64,
}

impl Total {
    const EMPTY: Self = Self { integer: 0, numeric: None, count: 0 };

    fn add_integer(&mut self, value: i64) {
        // 2^64 rows of 2^63 fit.
        self.integer += i128::from(value);
        self.count += 1;
    }

    fn add_numeric(&mut self, value: Numeric, count: i64) -> SqlResult<()> {
        self.numeric = Some(match &self.numeric {
            Some(total) => total.add(&value)?,
            None => value,
        });
        self.count += count;
        Ok(())
    }

    fn whole(&self) -> SqlResult<Numeric> {
        match &self.numeric {
            Some(numeric) if self.integer == 0 => Ok(numeric.clone()),
            Some(numeric) => numeric.add(&Numeric::from_i128(self.integer)),
            None => Ok(Numeric::from_i128(self.integer)),
        }
    }

    fn finish(&self, finish: Finish) -> SqlResult<Datum> {
        if self.count == 0 {
            return Ok(Datum::Null);
        }
        Ok(match finish {
            Finish::Bigint => {
                let value = self.whole()?.to_scaled(0).and_then(|total| i64::try_from(total).ok());
                Datum::Int8(value.ok_or_else(|| SqlError::out_of_range("bigint"))?)
            }
            Finish::Numeric => Datum::Numeric(self.whole()?),
            Finish::Average => Datum::Numeric(self.whole()?.div(&Numeric::from_i64(self.count))?),
        })
    }
}

struct Totals {
    input: Kind,
    finish: Finish,
    groups: Vec<Total>,
}

macro_rules! add_integers {
    ($self:ident, $values:ident, $type:ty, $groups:ident, $filter:ident) => {{
        let values = $values.as_primitive::<$type>();
        for (row, &group) in $groups.iter().enumerate() {
            if values.is_valid(row) && passes($filter, row) {
                $self.groups[group].add_integer(i64::from(values.value(row)));
            }
        }
    }};
}

impl Totals {
    fn emit(&mut self, emit_to: EmitTo) -> Vec<Total> {
        emit_to.take_needed(&mut self.groups)
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Total::EMPTY);
        let Some(values) = values.first() else { return Ok(()) };
        match self.input {
            Kind::Int2 => add_integers!(self, values, Int16Type, group_indices, opt_filter),
            Kind::Int4 => add_integers!(self, values, Int32Type, group_indices, opt_filter),
            Kind::Int8 => add_integers!(self, values, Int64Type, group_indices, opt_filter),
            _ => {
                let values = values.as_binary_view();
                for (row, &group) in group_indices.iter().enumerate() {
                    if values.is_valid(row) && passes(opt_filter, row) {
                        let value = Numeric::load(values.value(row)).map_err(to_datafusion)?;
                        self.groups[group].add_numeric(value, 1).map_err(to_datafusion)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let kind = if self.finish == Finish::Bigint { Kind::Int8 } else { Kind::Numeric };
        let groups = self.emit(emit_to);
        let mut builder = ColumnBuilder::new(kind, groups.len());
        for group in &groups {
            let value = group.finish(self.finish).map_err(to_datafusion)?;
            builder.append(&value).map_err(to_datafusion)?;
        }
        Ok(builder.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.emit(emit_to);
        let mut totals = ColumnBuilder::new(Kind::Numeric, groups.len());
        let mut counts = ColumnBuilder::new(Kind::Int8, groups.len());
        for group in &groups {
            let total = group.whole().map_err(to_datafusion)?;
            totals.append(&Datum::Numeric(total)).map_err(to_datafusion)?;
            counts.append(&Datum::Int8(group.count)).map_err(to_datafusion)?;
        }
        Ok(vec![totals.finish(), counts.finish()])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Total::EMPTY);
        let (totals, counts) = (values[0].as_binary_view(), values[1].as_primitive::<Int64Type>());
        for (row, &group) in group_indices.iter().enumerate() {
            // An empty group's zero must not lend its scale to the total.
            if counts.value(row) > 0 {
                let total = Numeric::load(totals.value(row)).map_err(to_datafusion)?;
                self.groups[group].add_numeric(total, counts.value(row)).map_err(to_datafusion)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut fresh = Self { input: self.input, finish: self.finish, groups: Vec::new() };
        let each: Vec<usize> = (0..rows).collect();
        fresh.update_batch(values, &each, opt_filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Total>()
    }
}
