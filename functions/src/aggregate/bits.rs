//! `bit_and`, `bit_or` and `bit_xor` of integers.

use basalt_types::{Datum, Result};

use crate::aggregate::{first_type, unexpected};
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn};

struct Bits {
    value: Datum,
    operation: fn(i64, i64) -> i64,
}

impl Accumulator for Bits {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let fold = |a: i64, b: i64| (self.operation)(a, b);
        // The result of a narrow width stays within it: the high bits of both operands are sign extensions.
        self.value = match (&self.value, args) {
            (Datum::Null, [value]) => value.clone(),
            (Datum::Int2(a), [Datum::Int2(b)]) => Datum::Int2(fold(i64::from(*a), i64::from(*b)) as i16),
            (Datum::Int4(a), [Datum::Int4(b)]) => Datum::Int4(fold(i64::from(*a), i64::from(*b)) as i32),
            (Datum::Int8(a), [Datum::Int8(b)]) => Datum::Int8(fold(*a, *b)),
            _ => return Err(unexpected(args)),
        };
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.value.clone()]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        if matches!(state, [Datum::Null]) { Ok(()) } else { self.update(state) }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.value.clone())
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

pub fn register(builder: &mut Builder) {
    for width in ["int2", "int4", "int8"] {
        let mut add = |name: &str, new| {
            builder.aggregate(
                &format!("{name}({width})"),
                AggregateFn { new, state_types: first_type, strict: true },
            );
        };
        add("bit_and", |_| Box::new(Bits { value: Datum::Null, operation: |a, b| a & b }));
        add("bit_or", |_| Box::new(Bits { value: Datum::Null, operation: |a, b| a | b }));
        add("bit_xor", |_| Box::new(Bits { value: Datum::Null, operation: |a, b| a ^ b }));
    }
}
