//! How many of the arguments are NULL.
//!
//! `VARIADIC "any"` arguments come one by one; `f(VARIADIC array)` of such a function is refused by the binder.

use basalt_types::{Datum, Result};

use crate::Call;
use crate::builder::{Builder, raw_scalars};

pub fn register(builder: &mut Builder) {
    raw_scalars!(builder, { "num_nulls" => num_nulls, "num_nonnulls" => num_nonnulls });
}

fn num_nulls(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(args.iter().filter(|value| value.is_null()).count() as i32))
}

fn num_nonnulls(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(args.iter().filter(|value| !value.is_null()).count() as i32))
}
