//! `count(*)` and `count(any)`.

use basalt_types::{Datum, Result, SqlType};

use crate::aggregate::{bigint, unexpected};
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn};

#[derive(Default)]
struct Count(i64);

impl Accumulator for Count {
    fn update(&mut self, _: &[Datum]) -> Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![Datum::Int8(self.0)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [count] = state else { return Err(unexpected(state)) };
        self.0 += bigint(count)?;
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        Ok(Datum::Int8(self.0))
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

pub fn register(builder: &mut Builder) {
    let row_count = |strict| AggregateFn {
        new: |_| Box::<Count>::default(),
        state_types: |_| vec![SqlType::INT8],
        strict,
    };
    builder.aggregate("count()", row_count(false));
    builder.aggregate("count(any)", row_count(true));
}
