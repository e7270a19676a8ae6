//! `percentile_cont`, `percentile_disc` and `mode`: aggregates of a sorted input.
//!
//! Arguments are the direct ones, then the sorted value, as `pg_proc` lists them. The executor feeds the rows in the
//! order of WITHIN GROUP; states merge in that order too. NULL values are skipped, NULL fractions give NULL.

use std::sync::Arc;

use basalt_types::{Array, Datum, Interval, Oid, Result, SqlError, SqlState, SqlType};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::value_bytes::heap_bytes;
use crate::{Accumulator, AggregateFn, Call, Function};

impl Function {
    /// Called with WITHIN GROUP (ORDER BY …).
    pub fn is_ordered_set(&self) -> bool {
        self.aggregate().is_some() && matches!(self.name, "percentile_cont" | "percentile_disc" | "mode")
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Continuous,
    Discrete,
    Mode,
}

struct Sorted {
    kind: Kind,
    /// The fraction or array of fractions; the same in every row.
    direct: Datum,
    values: Vec<Datum>,
    element_type: Oid,
    heap: usize,
}

impl Accumulator for Sorted {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let value = match (self.kind, args) {
            (Kind::Mode, [value]) => value,
            (_, [direct, value]) => {
                if self.values.is_empty() {
                    self.direct = direct.clone();
                }
                value
            }
            _ => return Err(unexpected(args)),
        };
        if !value.is_null() {
            self.heap += heap_bytes(value);
            self.values.push(value.clone());
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        let array = Array::from_elements(self.element_type, self.values.clone());
        vec![self.direct.clone(), Datum::Array(Arc::new(array))]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [direct, Datum::Array(array)] = state else { return Err(unexpected(state)) };
        if self.direct.is_null() {
            self.direct = direct.clone();
        }
        self.values.extend(array.elements.iter().cloned());
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        match (self.kind, &self.direct) {
            (Kind::Mode, _) => Ok(self.most_frequent()),
            (_, Datum::Null) => Ok(Datum::Null),
            (_, Datum::Array(fractions)) => {
                let elements = fractions
                    .elements
                    .iter()
                    .map(|fraction| self.percentile(fraction))
                    .collect::<Result<_>>()?;
                Ok(Datum::Array(Arc::new(Array {
                    element_type: self.element_type,
                    dimensions: fractions.dimensions.clone(),
                    elements,
                })))
            }
            (_, fraction) => self.percentile(fraction),
        }
    }

    fn bytes(&self) -> usize {
        self.heap + self.values.capacity() * std::mem::size_of::<Datum>()
    }
}

impl Sorted {
    fn percentile(&self, fraction: &Datum) -> Result<Datum> {
        let fraction = match fraction {
            Datum::Null => return Ok(Datum::Null),
            Datum::Float8(fraction) => *fraction,
            other => return Err(unexpected(std::slice::from_ref(other))),
        };
        if !(0.0..=1.0).contains(&fraction) {
            return Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("percentile value {fraction} is not between 0 and 1"),
            ));
        }
        let count = self.values.len();
        if matches!(self.kind, Kind::Discrete) {
            let row = (fraction * count as f64).ceil().max(1.0) as usize;
            return Ok(self.values[row - 1].clone());
        }
        let position = fraction * (count - 1) as f64;
        let (first, second) = (position.floor() as usize, position.ceil() as usize);
        let (low, high) = (&self.values[first], &self.values[second]);
        if first == second {
            return Ok(low.clone());
        }
        let share = position - first as f64;
        match (low, high) {
            (Datum::Float8(low), Datum::Float8(high)) => Ok(Datum::Float8(low + share * (high - low))),
            (Datum::Interval(low), Datum::Interval(high)) => between(low, high, share).map(Datum::Interval),
            _ => Err(unexpected(&[low.clone(), high.clone()])),
        }
    }

    /// The first of the most frequent values.
    fn most_frequent(&self) -> Datum {
        let mut best = (0, 0);
        let mut start = 0;
        for end in 1..=self.values.len() {
            if end == self.values.len() || !self.values[end].key_eq(&self.values[start]) {
                if end - start > best.1 {
                    best = (start, end - start);
                }
                start = end;
            }
        }
        self.values[best.0].clone()
    }
}

fn between(low: &Interval, high: &Interval, share: f64) -> Result<Interval> {
    low.checked_add(&high.checked_sub(low)?.checked_mul_f64(share)?)
}

fn sorted(call: &Call<'_>, kind: Kind) -> Box<dyn Accumulator> {
    let element_type = call.arg_types.last().map_or(Oid::TEXT, |arg| arg.oid);
    Box::new(Sorted { kind, direct: Datum::Null, values: Vec::new(), element_type, heap: 0 })
}

fn state_types(args: &[SqlType]) -> Vec<SqlType> {
    let direct = if args.len() > 1 { args[0] } else { SqlType::INT4 };
    let values = args.last().and_then(|arg| arg.array()).unwrap_or(SqlType::TEXT);
    vec![direct, values]
}

pub fn register(builder: &mut Builder) {
    for declared in [
        "percentile_cont(float8,float8)",
        "percentile_cont(float8,interval)",
        "percentile_cont(_float8,float8)",
        "percentile_cont(_float8,interval)",
    ] {
        builder.aggregate(
            declared,
            AggregateFn { new: |call| sorted(call, Kind::Continuous), state_types, strict: false },
        );
    }
    for declared in ["percentile_disc(float8,anyelement)", "percentile_disc(_float8,anyelement)"] {
        builder.aggregate(
            declared,
            AggregateFn { new: |call| sorted(call, Kind::Discrete), state_types, strict: false },
        );
    }
    builder
        .aggregate("mode", AggregateFn { new: |call| sorted(call, Kind::Mode), state_types, strict: false });
}
