//! Any aggregate of the registry, by its own accumulator, one per group.
//!
//! DISTINCT and ORDER BY keep a group's arguments until its end, then feed them in order.

use std::{cmp::Ordering, sync::Arc};

use arrow::array::{Array, ArrayRef, BooleanArray};
use basalt_functions::{Accumulator, AggregateFn, Call, EvalContext};
use basalt_types::{Datum, Oid, Result as SqlResult, Row, SqlError, SqlType, compare_bpchar};
use datafusion::{
    common::Result,
    logical_expr::{EmitTo, GroupsAccumulator},
};

use super::{count::passes, udaf::Factory};
use crate::{builder::ColumnBuilder, error::to_datafusion, kind::Kind, reader::ColumnReader};

/// How one argument column of [`RowwiseFactory::order`] sorts.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub descending: bool,
    pub nulls_first: bool,
}

pub struct RowwiseFactory {
    pub function: &'static AggregateFn,
    /// Types of the arguments, then of the ORDER BY keys.
    pub types: Vec<SqlType>,
    /// How many of `types` are arguments.
    pub args: usize,
    pub order: Vec<Order>,
    pub distinct: bool,
    pub return_type: SqlType,
    pub output: Kind,
    pub eval: Arc<EvalContext>,
}

impl RowwiseFactory {
    fn call(&self) -> Call<'_> {
        Call { context: &self.eval, arg_types: &self.types[..self.args], return_type: self.return_type }
    }

    fn collects(&self) -> bool {
        self.distinct || !self.order.is_empty()
    }

    fn state_types(&self) -> Vec<SqlType> {
        if self.collects() {
            vec![SqlType::RECORD]
        } else {
            (self.function.state_types)(&self.types[..self.args])
        }
    }
}

/// The factory shared with its accumulators.
pub struct Shared(pub Arc<RowwiseFactory>);

impl Factory for Shared {
    fn create(&self) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Rowwise { factory: self.0.clone(), groups: Vec::new(), heap: 0 }))
    }

    fn state(&self) -> Result<Vec<Kind>> {
        let kind = |ty: SqlType| {
            Kind::of(ty)
                .ok_or_else(|| to_datafusion(SqlError::internal("an aggregate's state has no column form")))
        };
        self.0.state_types().into_iter().map(kind).collect()
    }
}

enum Group {
    Running(Box<dyn Accumulator>),
    Collected(Vec<Row>),
}

struct Rowwise {
    factory: Arc<RowwiseFactory>,
    groups: Vec<Group>,
    heap: usize,
}

fn row_bytes(row: &[Datum]) -> usize {
    let heap = |datum: &Datum| match datum {
        Datum::Text(text) => text.len() + 16,
        Datum::Bytea(bytes) => bytes.len() + 32,
        Datum::Array(array) => 64 + array.elements.len() * size_of::<Datum>(),
        _ => 0,
    };
    size_of::<Row>() + row.iter().map(|datum| size_of::<Datum>() + heap(datum)).sum::<usize>()
}

fn compare(a: &Datum, b: &Datum, ty: SqlType) -> Ordering {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) if ty.oid == Oid::BPCHAR => compare_bpchar(a, b),
        _ => a.compare(b),
    }
}

impl Rowwise {
    fn grow(&mut self, count: usize) {
        while self.groups.len() < count {
            let group = if self.factory.collects() {
                Group::Collected(Vec::new())
            } else {
                Group::Running((self.factory.function.new)(&self.factory.call()))
            };
            self.groups.push(group);
        }
    }

    fn add(&mut self, group: usize, row: &[Datum]) -> SqlResult<()> {
        if self.factory.function.strict && row[..self.factory.args].iter().any(Datum::is_null) {
            return Ok(());
        }
        match &mut self.groups[group] {
            Group::Running(accumulator) => {
                let before = accumulator.bytes();
                accumulator.update(row)?;
                self.heap = (self.heap + accumulator.bytes()).saturating_sub(before);
            }
            Group::Collected(rows) => {
                self.heap += row_bytes(row);
                rows.push(row.to_vec());
            }
        }
        Ok(())
    }

    fn finish(&self, group: Group) -> SqlResult<Datum> {
        let factory = &*self.factory;
        let mut rows = match group {
            Group::Running(accumulator) => return accumulator.finish(),
            Group::Collected(rows) => rows,
        };
        rows.sort_by(|a, b| factory.compare_rows(a, b));
        if factory.distinct {
            rows.dedup_by(|later, earlier| factory.compare_args(later, earlier).is_eq());
        }
        let mut accumulator = (factory.function.new)(&factory.call());
        for row in &rows {
            accumulator.update(&row[..factory.args])?;
        }
        accumulator.finish()
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<Group> {
        let groups = emit_to.take_needed(&mut self.groups);
        if self.groups.is_empty() {
            self.heap = 0;
        }
        groups
    }
}

impl RowwiseFactory {
    fn compare_rows(&self, a: &[Datum], b: &[Datum]) -> Ordering {
        for (index, order) in self.order.iter().enumerate() {
            let position = self.args + index;
            let (a, b) = (&a[position], &b[position]);
            let ordering = match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) if order.nulls_first => Ordering::Less,
                (true, false) => Ordering::Greater,
                (false, true) if order.nulls_first => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) if order.descending => compare(b, a, self.types[position]),
                (false, false) => compare(a, b, self.types[position]),
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        if self.distinct { self.compare_args(a, b) } else { Ordering::Equal }
    }

    fn compare_args(&self, a: &[Datum], b: &[Datum]) -> Ordering {
        (0..self.args)
            .map(|position| compare(&a[position], &b[position], self.types[position]))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl GroupsAccumulator for Rowwise {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        if group_indices.is_empty() {
            return Ok(());
        }
        let types = self.factory.types.clone();
        let readers = values
            .iter()
            .zip(&types)
            .map(|(array, &ty)| {
                let kind =
                    Kind::of(ty).ok_or_else(|| SqlError::internal("an argument has no column form"))?;
                ColumnReader::new(array, kind, ty)
            })
            .collect::<SqlResult<Vec<_>>>()
            .map_err(to_datafusion)?;
        let mut row = vec![Datum::Null; readers.len()];
        for (index, &group) in group_indices.iter().enumerate() {
            if !passes(opt_filter, index) {
                continue;
            }
            for (slot, reader) in row.iter_mut().zip(&readers) {
                *slot = reader.get(index).map_err(to_datafusion)?;
            }
            self.add(group, &row).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.emit(emit_to);
        let mut builder = ColumnBuilder::new(self.factory.output, groups.len());
        for group in groups {
            let value = self.finish(group).map_err(to_datafusion)?;
            builder.append(&value).map_err(to_datafusion)?;
        }
        Ok(builder.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.emit(emit_to);
        let kinds = Shared(self.factory.clone()).state()?;
        let mut builders: Vec<ColumnBuilder> =
            kinds.into_iter().map(|kind| ColumnBuilder::new(kind, groups.len())).collect();
        for group in groups {
            let state = match group {
                Group::Running(accumulator) => accumulator.state(),
                Group::Collected(rows) => {
                    let rows: Vec<Datum> = rows.into_iter().map(|row| Datum::Record(row.into())).collect();
                    vec![Datum::Record(rows.into())]
                }
            };
            for (builder, value) in builders.iter_mut().zip(&state) {
                builder.append(value).map_err(to_datafusion)?;
            }
        }
        Ok(builders.iter_mut().map(ColumnBuilder::finish).collect())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let types = self.factory.state_types();
        let kinds = Shared(self.factory.clone()).state()?;
        let readers = values
            .iter()
            .zip(types.iter().zip(kinds))
            .map(|(array, (&ty, kind))| ColumnReader::new(array, kind, ty))
            .collect::<SqlResult<Vec<_>>>()
            .map_err(to_datafusion)?;
        for (index, &group) in group_indices.iter().enumerate() {
            let state = readers.iter().map(|reader| reader.get(index)).collect::<SqlResult<Row>>();
            let state = state.map_err(to_datafusion)?;
            match &mut self.groups[group] {
                Group::Running(accumulator) => {
                    let before = accumulator.bytes();
                    accumulator.merge(&state).map_err(to_datafusion)?;
                    self.heap = (self.heap + accumulator.bytes()).saturating_sub(before);
                }
                Group::Collected(rows) => {
                    let [Datum::Record(more)] = &state[..] else { continue };
                    for row in more.iter() {
                        if let Datum::Record(row) = row {
                            self.heap += row_bytes(row);
                            rows.push(row.to_vec());
                        }
                    }
                }
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
        let mut fresh = Self { factory: self.factory.clone(), groups: Vec::new(), heap: 0 };
        let each: Vec<usize> = (0..rows).collect();
        fresh.update_batch(values, &each, opt_filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * (size_of::<Group>() + 32) + self.heap
    }
}
