//! `bool_and`, `bool_or` and `every`.

use basalt_types::{Datum, Result, SqlType};

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::{Accumulator, AggregateFn};

/// `AND` when `ALL`, else `OR`; NULL without rows.
struct Fold<const ALL: bool>(Option<bool>);

impl<const ALL: bool> Accumulator for Fold<ALL> {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [Datum::Bool(value)] = args else { return Err(unexpected(args)) };
        self.0 = Some(match self.0 {
            None => *value,
            Some(so_far) if ALL => so_far && *value,
            Some(so_far) => so_far || *value,
        });
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.0.map_or(Datum::Null, Datum::Bool)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        if matches!(state, [Datum::Null]) { Ok(()) } else { self.update(state) }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.0.map_or(Datum::Null, Datum::Bool))
    }

    fn merges_exactly(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

pub fn register(builder: &mut Builder) {
    for declared in ["bool_and", "every"] {
        builder.aggregate(
            declared,
            AggregateFn {
                new: |_| Box::new(Fold::<true>(None)),
                state_types: |_| vec![SqlType::BOOL],
                strict: true,
            },
        );
    }
    builder.aggregate(
        "bool_or",
        AggregateFn {
            new: |_| Box::new(Fold::<false>(None)),
            state_types: |_| vec![SqlType::BOOL],
            strict: true,
        },
    );
}
