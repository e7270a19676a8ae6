//! `avg`: exact for integers, numeric and interval.

use basalt_types::{Datum, Interval, Numeric, Result, SqlType};

use crate::aggregate::sum::Addable;
use crate::aggregate::{bigint, unexpected};
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn, Call};

/// Over integers.
#[derive(Default)]
struct IntegerAverage {
    total: i128,
    count: i64,
}

impl Accumulator for IntegerAverage {
    #[inline]
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        self.total += match args {
            [Datum::Int4(value)] => i128::from(*value),
            [Datum::Int8(value)] => i128::from(*value),
            [Datum::Int2(value)] => i128::from(*value),
            _ => return Err(unexpected(args)),
        };
        self.count += 1;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![Datum::Numeric(Numeric::from_i128(self.total)), Datum::Int8(self.count)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [Datum::Numeric(total), count] = state else { return Err(unexpected(state)) };
        self.total += total.to_scaled(0).ok_or_else(|| unexpected(state))?;
        self.count += bigint(count)?;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.count == 0 {
            return Ok(Datum::Null);
        }
        Numeric::from_i128(self.total).div(&Numeric::from_i64(self.count)).map(Datum::Numeric)
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// A sum that a count divides.
trait Divisible: Addable {
    const ZERO: Self;
    fn divide(&self, count: i64) -> Result<Datum>;
}

impl Divisible for Numeric {
    const ZERO: Self = Self::ZERO;
    fn divide(&self, count: i64) -> Result<Datum> {
        self.div(&Self::from_i64(count)).map(Datum::Numeric)
    }
}

impl Divisible for f64 {
    const ZERO: Self = 0.0;
    fn divide(&self, count: i64) -> Result<Datum> {
        Ok(Datum::Float8(self / count as f64))
    }
}

impl Divisible for Interval {
    const ZERO: Self = Self { months: 0, days: 0, micros: 0 };
    fn divide(&self, count: i64) -> Result<Datum> {
        self.checked_div_f64(count as f64).map(Datum::Interval)
    }
}

struct Average<T> {
    total: T,
    count: i64,
}

impl<T: Divisible> Accumulator for Average<T> {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let value = match args {
            // A real is summed in double precision.
            [Datum::Float4(value)] => T::read(&Datum::Float8(f64::from(*value))),
            [value] => T::read(value),
            _ => None,
        };
        self.total = self.total.add(&value.ok_or_else(|| unexpected(args))?)?;
        self.count += 1;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.total.write(), Datum::Int8(self.count)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [total, count] = state else { return Err(unexpected(state)) };
        self.total = self.total.add(&T::read(total).ok_or_else(|| unexpected(state))?)?;
        self.count += bigint(count)?;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.count == 0 { Ok(Datum::Null) } else { self.total.divide(self.count) }
    }

    fn merges_exactly(&self) -> bool {
        T::EXACT
    }

    fn bytes(&self) -> usize {
        0
    }
}

fn integer_average(_: &Call<'_>) -> Box<dyn Accumulator> {
    Box::<IntegerAverage>::default()
}

fn average_of<T: Divisible + 'static>(_: &Call<'_>) -> Box<dyn Accumulator> {
    Box::new(Average::<T> { total: T::ZERO, count: 0 })
}

pub fn register(builder: &mut Builder) {
    let mut add = |declared: &str, new, state_types| {
        builder.aggregate(declared, AggregateFn { new, state_types, strict: true });
    };
    for declared in ["avg(int2)", "avg(int4)", "avg(int8)"] {
        add(declared, integer_average, |_| vec![SqlType::NUMERIC, SqlType::INT8]);
    }
    add("avg(float4)", average_of::<f64>, |_| vec![SqlType::FLOAT8, SqlType::INT8]);
    add("avg(float8)", average_of::<f64>, |_| vec![SqlType::FLOAT8, SqlType::INT8]);
    add("avg(numeric)", average_of::<Numeric>, |_| vec![SqlType::NUMERIC, SqlType::INT8]);
    add("avg(interval)", average_of::<Interval>, |_| vec![SqlType::INTERVAL, SqlType::INT8]);
}
