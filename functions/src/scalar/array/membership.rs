//! Containment, overlap and positions.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};
use crate::scalar::array::element::same;

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "arraycontains" => contains,
        "arraycontained" => |a: &Array, b: &Array| contains(b, a),
        "arrayoverlap" => |a: &Array, b: &Array| {
            b.elements.iter().any(|item| !item.is_null() && holds(a, item))
        },
        "array_position(anycompatiblearray,anycompatible)" => |a: Option<&Array>, value: &Datum| position(a, value, None),
        "array_position(anycompatiblearray,anycompatible,int4)" => |a: Option<&Array>, value: &Datum, start: Option<i32>| {
            let start = start.ok_or_else(|| SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"))?;
            position(a, value, Some(start))
        },
        "array_positions" => positions,
    });
}

fn holds(array: &Array, value: &Datum) -> bool {
    array.elements.iter().any(|item| !item.is_null() && same(array.element_type, item, value))
}

/// A NULL element is never contained.
fn contains(a: &Array, b: &Array) -> bool {
    b.elements.iter().all(|item| !item.is_null() && holds(a, item))
}

fn one_dimension(array: &Array) -> Result<()> {
    if array.dimensions.len() > 1 {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "searching for elements in multidimensional arrays is not supported",
        ));
    }
    Ok(())
}

/// Subscripts of the elements equal to `value`, NULL included.
fn found<'a>(array: &'a Array, value: &'a Datum) -> impl Iterator<Item = i32> + 'a {
    let lower = array.dimensions.first().map_or(1, |(_, lower)| *lower);
    let equal = move |(index, item): (usize, &Datum)| {
        same(array.element_type, item, value).then(|| lower + index as i32)
    };
    array.elements.iter().enumerate().filter_map(equal)
}

fn position(array: Option<&Array>, value: &Datum, start: Option<i32>) -> Result<Option<i32>> {
    let Some(array) = array else { return Ok(None) };
    one_dimension(array)?;
    Ok(found(array, value).find(|subscript| start.is_none_or(|start| *subscript >= start)))
}

fn positions(array: Option<&Array>, value: &Datum) -> Result<Option<Array>> {
    let Some(array) = array else { return Ok(None) };
    one_dimension(array)?;
    Ok(Some(Array::from_elements(Oid::INT4, found(array, value).map(Datum::Int4).collect())))
}
