//! Containment, overlap and positions.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};
use crate::scalar::array::element::same;

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "arraycontains" => contains,
        "arraycontained" => |call: &Call<'_>, a: &Array, b: &Array| contains(call, b, a),
        "arrayoverlap" => overlap,
    });
    scalars!(builder, {
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
fn contains(call: &Call<'_>, a: &Array, b: &Array) -> Result<bool> {
    let mut steps = Steps::default();
    for item in &b.elements {
        steps.pass(call, a)?;
        if item.is_null() || !holds(a, item) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn overlap(call: &Call<'_>, a: &Array, b: &Array) -> Result<bool> {
    let mut steps = Steps::default();
    for item in &b.elements {
        steps.pass(call, a)?;
        if !item.is_null() && holds(a, item) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Comparisons of every element of one array with those of another.
#[derive(Default)]
struct Steps(usize);

impl Steps {
    /// Before the elements of `array` are looked through.
    fn pass(&mut self, call: &Call<'_>, array: &Array) -> Result<()> {
        self.0 += array.elements.len();
        if self.0 < COMPARISONS_PER_CHECK {
            return Ok(());
        }
        self.0 = 0;
        call.context.check()
    }
}

const COMPARISONS_PER_CHECK: usize = 1 << 16;

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
