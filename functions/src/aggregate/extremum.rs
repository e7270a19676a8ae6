//! `min` and `max` of every ordered type.

use std::cmp::Ordering;

use basalt_types::compare::compare_bpchar;
use basalt_types::{Datum, Oid, Result};

use crate::aggregate::{first_type, unexpected};
use crate::builder::Builder;
use crate::value_bytes::heap_bytes;
use crate::{Accumulator, AggregateFn, Call};

struct Extremum {
    best: Datum,
    /// How a better value compares to the best one so far.
    better: Ordering,
    blank_insensitive: bool,
}

impl Accumulator for Extremum {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [value] = args else { return Err(unexpected(args)) };
        let replaces = match (&self.best, value) {
            (Datum::Null, _) => true,
            (Datum::Text(best), Datum::Text(value)) if self.blank_insensitive => {
                compare_bpchar(value, best) == self.better
            }
            (best, value) => value.compare(best) == self.better,
        };
        if replaces {
            self.best = value.clone();
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.best.clone()]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        if matches!(state, [Datum::Null]) { Ok(()) } else { self.update(state) }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.best.clone())
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        heap_bytes(&self.best)
    }
}

fn extremum(call: &Call<'_>, better: Ordering) -> Box<dyn Accumulator> {
    let blank_insensitive = call.arg_types.first().is_some_and(|arg| arg.oid == Oid::BPCHAR);
    Box::new(Extremum { best: Datum::Null, better, blank_insensitive })
}

const TYPES: &[&str] = &[
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "bpchar",
    "oid",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "anyarray",
];

pub fn register(builder: &mut Builder) {
    for name in TYPES {
        builder.aggregate(
            &format!("min({name})"),
            AggregateFn { new: |call| extremum(call, Ordering::Less), state_types: first_type, strict: true },
        );
        builder.aggregate(
            &format!("max({name})"),
            AggregateFn {
                new: |call| extremum(call, Ordering::Greater),
                state_types: first_type,
                strict: true,
            },
        );
    }
}
