//! `unnest` and `generate_subscripts`.

use basalt_types::{Datum, Result};

use crate::builder::Builder;
use crate::set::{column, empty};
use crate::{Call, RowSource};

pub fn register(builder: &mut Builder) {
    builder.set("unnest(anyarray)", unnest);
    builder.set("generate_subscripts(anyarray,int4)", subscripts);
    builder.set("generate_subscripts(anyarray,int4,bool)", subscripts);
}

fn unnest(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let Some(Datum::Array(array)) = args.first() else { return Ok(empty()) };
    let array = array.clone();
    Ok(Box::new((0..array.elements.len()).map(move |index| Ok(vec![array.elements[index].clone()]))))
}

fn subscripts(_: &Call<'_>, args: &[Datum]) -> Result<RowSource> {
    let (array, dimension, reverse) = match args {
        [Datum::Array(array), Datum::Int4(dimension)] => (array, *dimension, false),
        [Datum::Array(array), Datum::Int4(dimension), Datum::Bool(reverse)] => (array, *dimension, *reverse),
        _ => return Ok(empty()),
    };
    let Some((length, lower)) = crate::scalar::dimension_of(array, dimension) else { return Ok(empty()) };
    let ascending = (0..length as i32).map(|index| Datum::Int4(lower + index));
    Ok(column(if reverse { ascending.rev().collect() } else { ascending.collect() }))
}
