//! `variance`, `stddev` and their population and sample forms: exact for integers and numeric; for floats by the method of
//! Youngs and Cramer, which PostgreSQL uses and which does not lose the difference of two large sums.

use basalt_types::{Datum, Numeric, Result, SqlType};

use crate::aggregate::{bigint, unexpected};
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn};

#[derive(Clone, Copy)]
struct Measure {
    sample: bool,
    root: bool,
}

/// Sums of the values and of their squares.
struct Exact {
    count: i64,
    sum: Numeric,
    squares: Numeric,
    /// The same for smallint and integer, whose squares 128 bits always hold.
    small_sum: i128,
    small_squares: i128,
    measure: Measure,
}

impl Exact {
    fn totals(&self) -> Result<(Numeric, Numeric)> {
        Ok((
            self.sum.add(&Numeric::from_i128(self.small_sum))?,
            self.squares.add(&Numeric::from_i128(self.small_squares))?,
        ))
    }

    fn add_small(&mut self, value: i64) {
        self.small_sum += i128::from(value);
        self.small_squares += i128::from(value) * i128::from(value);
    }

    fn add_numeric(&mut self, value: &Numeric) -> Result<()> {
        self.sum = self.sum.add(value)?;
        self.squares = self.squares.add(&value.mul(value)?)?;
        Ok(())
    }
}

impl Accumulator for Exact {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        match args {
            [Datum::Int2(value)] => self.add_small(i64::from(*value)),
            [Datum::Int4(value)] => self.add_small(i64::from(*value)),
            [Datum::Int8(value)] => self.add_numeric(&Numeric::from_i64(*value))?,
            [Datum::Numeric(value)] => self.add_numeric(value)?,
            _ => return Err(unexpected(args)),
        }
        self.count += 1;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        let (sum, squares) = self.totals().unwrap_or((Numeric::NAN, Numeric::NAN));
        vec![Datum::Int8(self.count), Datum::Numeric(sum), Datum::Numeric(squares)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [count, Datum::Numeric(sum), Datum::Numeric(squares)] = state else {
            return Err(unexpected(state));
        };
        self.count += bigint(count)?;
        self.sum = self.sum.add(sum)?;
        self.squares = self.squares.add(squares)?;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.count < if self.measure.sample { 2 } else { 1 } {
            return Ok(Datum::Null);
        }
        let (sum, squares) = self.totals()?;
        if !sum.is_finite() || !squares.is_finite() {
            return Ok(Datum::Numeric(Numeric::NAN));
        }
        let count = Numeric::from_i64(self.count);
        let spread = count.mul(&squares)?.sub(&sum.mul(&sum)?)?;
        if spread.is_zero() || spread.is_negative() {
            return Ok(Datum::Numeric(Numeric::ZERO));
        }
        let divisor = if self.measure.sample { Numeric::from_i64(self.count - 1) } else { count.clone() };
        let variance = spread.div(&count.mul(&divisor)?)?;
        if !self.measure.root {
            return Ok(Datum::Numeric(variance));
        }
        // The root has the quotient's scale.
        let scale = variance.scale().unwrap_or(0);
        variance.sqrt_at_scale(scale).map(Datum::Numeric)
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// The count, the sum and the sum of squared deviations.
struct Floating {
    count: f64,
    sum: f64,
    deviations: f64,
    measure: Measure,
}

impl Accumulator for Floating {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let value = match args {
            [Datum::Float8(value)] => *value,
            [Datum::Float4(value)] => f64::from(*value),
            _ => return Err(unexpected(args)),
        };
        let before = self.count;
        let finite_before = self.sum.is_finite();
        self.count += 1.0;
        self.sum += value;
        if before > 0.0 {
            let deviation = value * self.count - self.sum;
            self.deviations += deviation * deviation / (self.count * before);
            if self.sum.is_infinite() || self.deviations.is_infinite() {
                if finite_before && value.is_finite() {
                    return Err(crate::scalar::overflow());
                }
                self.deviations = f64::NAN;
            }
        } else if !value.is_finite() {
            self.deviations = f64::NAN;
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![Datum::Float8(self.count), Datum::Float8(self.sum), Datum::Float8(self.deviations)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [Datum::Float8(count), Datum::Float8(sum), Datum::Float8(deviations)] = state else {
            return Err(unexpected(state));
        };
        if *count == 0.0 {
            return Ok(());
        }
        if self.count == 0.0 {
            (self.count, self.sum, self.deviations) = (*count, *sum, *deviations);
            return Ok(());
        }
        let total = self.count + count;
        let difference = self.sum / self.count - sum / count;
        self.deviations += deviations + self.count * count * difference * difference / total;
        self.sum += sum;
        self.count = total;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.count < if self.measure.sample { 2.0 } else { 1.0 } {
            return Ok(Datum::Null);
        }
        let divisor = if self.measure.sample { self.count - 1.0 } else { self.count };
        let variance = self.deviations / divisor;
        Ok(Datum::Float8(if self.measure.root { variance.sqrt() } else { variance }))
    }

    fn bytes(&self) -> usize {
        0
    }
}

fn exact(measure: Measure) -> Box<dyn Accumulator> {
    let (sum, squares) = (Numeric::ZERO, Numeric::ZERO);
    Box::new(Exact { count: 0, sum, squares, small_sum: 0, small_squares: 0, measure })
}

fn floating(measure: Measure) -> Box<dyn Accumulator> {
    Box::new(Floating { count: 0.0, sum: 0.0, deviations: 0.0, measure })
}

macro_rules! measures {
    ($builder:expr, $($name:literal: $sample:literal, $root:literal;)*) => {$({
        const MEASURE: Measure = Measure { sample: $sample, root: $root };
        for argument in ["int2", "int4", "int8", "numeric"] {
            $builder.aggregate(&format!("{}({argument})", $name), AggregateFn {
                new: |_| exact(MEASURE),
                state_types: |_| vec![SqlType::INT8, SqlType::NUMERIC, SqlType::NUMERIC],
                strict: true,
            });
        }
        for argument in ["float4", "float8"] {
            $builder.aggregate(&format!("{}({argument})", $name), AggregateFn {
                new: |_| floating(MEASURE),
                state_types: |_| vec![SqlType::FLOAT8; 3],
                strict: true,
            });
        }
    })*};
}

pub fn register(builder: &mut Builder) {
    measures!(builder,
        "var_pop": false, false;
        "var_samp": true, false;
        "variance": true, false;
        "stddev_pop": false, true;
        "stddev_samp": true, true;
        "stddev": true, true;
    );
}
