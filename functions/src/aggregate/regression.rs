//! Aggregates of two variables: correlation, covariance and least-squares regression. The first argument is Y.

use basalt_types::{Datum, Result, SqlType};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn};

#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

struct Regression {
    moments: Moments,
    /// `None` is SQL's NULL.
    result: fn(&Moments) -> Option<f64>,
}

impl Accumulator for Regression {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [Datum::Float8(y), Datum::Float8(x)] = args else { return Err(unexpected(args)) };
        let m = &mut self.moments;
        let before = *m;
        m.n += 1.0;
        m.sx += x;
        m.sy += y;
        if before.n > 0.0 {
            let (dx, dy) = (x * m.n - m.sx, y * m.n - m.sy);
            let scale = 1.0 / (m.n * before.n);
            m.sxx += dx * dx * scale;
            m.syy += dy * dy * scale;
            m.sxy += dx * dy * scale;
            let overflowed = [m.sx, m.sxx, m.sy, m.syy, m.sxy].iter().any(|value| value.is_infinite());
            if overflowed {
                if before.sx.is_finite() && before.sy.is_finite() && x.is_finite() && y.is_finite() {
                    return Err(crate::scalar::overflow());
                }
                for value in [&mut m.sxx, &mut m.syy, &mut m.sxy] {
                    if value.is_infinite() {
                        *value = f64::NAN;
                    }
                }
            }
        } else {
            if !x.is_finite() {
                (m.sxx, m.sxy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (m.syy, m.sxy) = (f64::NAN, f64::NAN);
            }
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        let m = &self.moments;
        [m.n, m.sx, m.sxx, m.sy, m.syy, m.sxy].map(Datum::Float8).to_vec()
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [
            Datum::Float8(n),
            Datum::Float8(sx),
            Datum::Float8(sxx),
            Datum::Float8(sy),
            Datum::Float8(syy),
            Datum::Float8(sxy),
        ] = state
        else {
            return Err(unexpected(state));
        };
        let other = Moments { n: *n, sx: *sx, sxx: *sxx, sy: *sy, syy: *syy, sxy: *sxy };
        let m = &mut self.moments;
        if other.n == 0.0 {
            return Ok(());
        }
        if m.n == 0.0 {
            *m = other;
            return Ok(());
        }
        let total = m.n + other.n;
        let dx = m.sx / m.n - other.sx / other.n;
        let dy = m.sy / m.n - other.sy / other.n;
        let weight = m.n * other.n;
        m.sxx += other.sxx + weight * dx * dx / total;
        m.syy += other.syy + weight * dy * dy / total;
        m.sxy += other.sxy + weight * dx * dy / total;
        m.sx += other.sx;
        m.sy += other.sy;
        m.n = total;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        let result = if self.moments.n < 1.0 { None } else { (self.result)(&self.moments) };
        Ok(result.map_or(Datum::Null, Datum::Float8))
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// `regr_count`.
#[derive(Default)]
struct PairCount(i64);

impl Accumulator for PairCount {
    fn update(&mut self, _: &[Datum]) -> Result<()> {
        self.0 += 1;
        Ok(())
    }
    fn state(&self) -> Vec<Datum> {
        vec![Datum::Int8(self.0)]
    }
    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [count] = state else { return Err(unexpected(state)) };
        self.0 += crate::aggregate::bigint(count)?;
        Ok(())
    }
    fn finish(&self) -> Result<Datum> {
        Ok(Datum::Int8(self.0))
    }
    fn bytes(&self) -> usize {
        0
    }
}

macro_rules! regressions {
    ($builder:expr, $($name:literal: $result:expr;)*) => {$(
        $builder.aggregate($name, AggregateFn {
            new: |_| Box::new(Regression { moments: Moments::default(), result: $result }),
            state_types: |_| vec![SqlType::FLOAT8; 6],
            strict: true,
        });
    )*};
}

pub fn register(builder: &mut Builder) {
    regressions!(builder,
        "regr_sxx": |m| Some(m.sxx);
        "regr_syy": |m| Some(m.syy);
        "regr_sxy": |m| Some(m.sxy);
        "regr_avgx": |m| Some(m.sx / m.n);
        "regr_avgy": |m| Some(m.sy / m.n);
        "covar_pop": |m| Some(m.sxy / m.n);
        "covar_samp": |m| (m.n >= 2.0).then(|| m.sxy / (m.n - 1.0));
        "corr": |m| (m.sxx != 0.0 && m.syy != 0.0).then(|| m.sxy / (m.sxx * m.syy).sqrt());
        "regr_r2": |m| match (m.sxx == 0.0, m.syy == 0.0) {
            (true, _) => None,
            (_, true) => Some(1.0),
            _ => Some((m.sxy * m.sxy) / (m.sxx * m.syy)),
        };
        "regr_slope": |m| (m.sxx != 0.0).then(|| m.sxy / m.sxx);
        "regr_intercept": |m| (m.sxx != 0.0).then(|| (m.sy - m.sx * m.sxy / m.sxx) / m.n);
    );
    builder.aggregate(
        "regr_count",
        AggregateFn {
            new: |_| Box::<PairCount>::default(),
            state_types: |_| vec![SqlType::INT8],
            strict: true,
        },
    );
}
