//! `sum`. Integers add up in 128 bits; what of it is out of range shows at the end, as PostgreSQL's exact sums do.

use basalt_types::{Datum, Interval, Numeric, Result, SqlError, SqlType};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn, Call};

/// `sum(int2)`, `sum(int4)` as bigint and `sum(int8)` as numeric; NULL without rows.
pub struct IntegerSum {
    total: i128,
    any: bool,
    as_bigint: bool,
}

impl Accumulator for IntegerSum {
    #[inline]
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        self.total += match args {
            [Datum::Int4(value)] => i128::from(*value),
            [Datum::Int8(value)] => i128::from(*value),
            [Datum::Int2(value)] => i128::from(*value),
            _ => return Err(unexpected(args)),
        };
        self.any = true;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![if self.any { Datum::Numeric(Numeric::from_i128(self.total)) } else { Datum::Null }]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        match state {
            [Datum::Null] => {}
            [Datum::Numeric(total)] => {
                self.total += total.to_scaled(0).ok_or_else(|| unexpected(state))?;
                self.any = true;
            }
            _ => return Err(unexpected(state)),
        }
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if !self.any {
            return Ok(Datum::Null);
        }
        if self.as_bigint {
            let total = i64::try_from(self.total).map_err(|_| SqlError::out_of_range("bigint"))?;
            return Ok(Datum::Int8(total));
        }
        Ok(Datum::Numeric(Numeric::from_i128(self.total)))
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// An addition by which values of one type sum up.
pub trait Addable: Sized + Clone + Send {
    /// Sums do not depend on how the additions are grouped.
    const EXACT: bool;
    fn read(datum: &Datum) -> Option<Self>;
    fn write(&self) -> Datum;
    fn add(&self, other: &Self) -> Result<Self>;
}

impl Addable for f32 {
    const EXACT: bool = false;
    fn read(datum: &Datum) -> Option<Self> {
        if let Datum::Float4(value) = datum { Some(*value) } else { None }
    }
    fn write(&self) -> Datum {
        Datum::Float4(*self)
    }
    fn add(&self, other: &Self) -> Result<Self> {
        let sum = self + other;
        if sum.is_infinite() && self.is_finite() && other.is_finite() {
            return Err(crate::scalar::overflow());
        }
        Ok(sum)
    }
}

impl Addable for f64 {
    const EXACT: bool = false;
    fn read(datum: &Datum) -> Option<Self> {
        if let Datum::Float8(value) = datum { Some(*value) } else { None }
    }
    fn write(&self) -> Datum {
        Datum::Float8(*self)
    }
    fn add(&self, other: &Self) -> Result<Self> {
        let sum = self + other;
        if sum.is_infinite() && self.is_finite() && other.is_finite() {
            return Err(crate::scalar::overflow());
        }
        Ok(sum)
    }
}

impl Addable for Numeric {
    const EXACT: bool = true;
    fn read(datum: &Datum) -> Option<Self> {
        if let Datum::Numeric(value) = datum { Some(value.clone()) } else { None }
    }
    fn write(&self) -> Datum {
        Datum::Numeric(self.clone())
    }
    fn add(&self, other: &Self) -> Result<Self> {
        Numeric::add(self, other)
    }
}

impl Addable for Interval {
    const EXACT: bool = true;
    fn read(datum: &Datum) -> Option<Self> {
        if let Datum::Interval(value) = datum { Some(*value) } else { None }
    }
    fn write(&self) -> Datum {
        Datum::Interval(*self)
    }
    fn add(&self, other: &Self) -> Result<Self> {
        self.checked_add(other)
    }
}

struct Sum<T>(Option<T>);

impl<T: Addable> Accumulator for Sum<T> {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [arg] = args else { return Err(unexpected(args)) };
        let value = T::read(arg).ok_or_else(|| unexpected(args))?;
        self.0 = Some(match &self.0 {
            Some(total) => total.add(&value)?,
            None => value,
        });
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.0.as_ref().map_or(Datum::Null, T::write)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        if matches!(state, [Datum::Null]) { Ok(()) } else { self.update(state) }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.0.as_ref().map_or(Datum::Null, T::write))
    }

    fn merges_exactly(&self) -> bool {
        T::EXACT
    }

    fn bytes(&self) -> usize {
        0
    }
}

fn integer_sum<const AS_BIGINT: bool>(_: &Call<'_>) -> Box<dyn Accumulator> {
    Box::new(IntegerSum { total: 0, any: false, as_bigint: AS_BIGINT })
}

fn sum_of<T: Addable + 'static>(_: &Call<'_>) -> Box<dyn Accumulator> {
    Box::new(Sum::<T>(None))
}

pub fn register(builder: &mut Builder) {
    let mut add = |declared: &str, new, state_types| {
        builder.aggregate(declared, AggregateFn { new, state_types, strict: true });
    };
    add("sum(int2)", integer_sum::<true>, |_| vec![SqlType::NUMERIC]);
    add("sum(int4)", integer_sum::<true>, |_| vec![SqlType::NUMERIC]);
    add("sum(int8)", integer_sum::<false>, |_| vec![SqlType::NUMERIC]);
    add("sum(float4)", sum_of::<f32>, |_| vec![SqlType::FLOAT4]);
    add("sum(float8)", sum_of::<f64>, |_| vec![SqlType::FLOAT8]);
    add("sum(numeric)", sum_of::<Numeric>, |_| vec![SqlType::NUMERIC]);
    add("sum(interval)", sum_of::<Interval>, |_| vec![SqlType::INTERVAL]);
}
