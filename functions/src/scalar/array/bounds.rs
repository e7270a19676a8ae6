//! Dimensions, lengths and bounds.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "array_ndims" => |a: &Array| (!a.dimensions.is_empty()).then_some(a.dimensions.len() as i32),
        "array_dims" => dimensions_text,
        "array_length" => |a: &Array, dimension: i32| dimension_of(a, dimension).map(|(length, _)| length as i32),
        "array_lower" => |a: &Array, dimension: i32| dimension_of(a, dimension).map(|(_, lower)| lower),
        "array_upper" => |a: &Array, dimension: i32| dimension_of(a, dimension).map(|(length, lower)| lower + length as i32 - 1),
        "cardinality" => |a: &Array| a.elements.len() as i32,
        "trim_array" => trim,
        "width_bucket(anycompatible,anycompatiblearray)" => width_bucket,
    });
    call_scalars!(builder, {
        "array_fill(anyelement,_int4)" => |call: &Call<'_>, value: &Datum, lengths: Option<&Array>| fill(call, value, lengths, None),
        "array_fill(anyelement,_int4,_int4)" => |call: &Call<'_>, value: &Datum, lengths: Option<&Array>, bounds: Option<&Array>| {
            let bounds = bounds.ok_or_else(null_dimensions)?;
            fill(call, value, lengths, Some(bounds))
        },
    });
}

/// (length, lower bound) of a one-based dimension.
pub fn dimension_of(array: &Array, dimension: i32) -> Option<(usize, i32)> {
    let index = usize::try_from(dimension).ok()?.checked_sub(1)?;
    array.dimensions.get(index).copied()
}

/// `[1:3][1:2]`.
fn dimensions_text(array: &Array) -> Option<String> {
    if array.dimensions.is_empty() {
        return None;
    }
    let bounds =
        |(length, lower): &(usize, i32)| format!("[{lower}:{}]", i64::from(*lower) + *length as i64 - 1);
    Some(array.dimensions.iter().map(bounds).collect())
}

/// Without the last `count` elements of the first dimension.
fn trim(array: &Array, count: i32) -> Result<Array> {
    let length = array.dimensions.first().map_or(0, |(length, _)| *length);
    let count = usize::try_from(count).ok().filter(|count| *count <= length).ok_or_else(|| {
        SqlError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            format!("number of elements to trim must be between 0 and {length}"),
        )
    })?;
    let kept = length - count;
    if kept == 0 {
        return Ok(Array { element_type: array.element_type, dimensions: vec![], elements: vec![] });
    }
    let per_row = array.elements.len() / length;
    let mut dimensions = array.dimensions.clone();
    // A slice starts at 1, whatever the original bound was.
    dimensions.iter_mut().for_each(|(_, bound)| *bound = 1);
    dimensions[0].0 = kept;
    Ok(Array {
        element_type: array.element_type,
        dimensions,
        elements: array.elements[..kept * per_row].to_vec(),
    })
}

fn null_dimensions() -> SqlError {
    SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null")
}

/// Elements that one array may hold.
pub const ELEMENTS_MAX: usize = 0x07ff_ffff;

fn fill(call: &Call<'_>, value: &Datum, lengths: Option<&Array>, bounds: Option<&Array>) -> Result<Array> {
    let read = |array: &Array| -> Result<Vec<i32>> {
        array
            .elements
            .iter()
            .map(|item| match item {
                Datum::Int4(item) => Ok(*item),
                _ => Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null")),
            })
            .collect()
    };
    let lengths = lengths.ok_or_else(null_dimensions)?;
    for (name, array) in [("Dimension", Some(lengths)), ("Low bound", bounds)] {
        if array.is_some_and(|array| array.dimensions.len() > 1) {
            return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts")
                .with_detail(format!("{name} array must be one dimensional.")));
        }
    }
    let lengths = read(lengths)?;
    let bounds = match bounds {
        Some(bounds) => read(bounds)?,
        None => vec![1; lengths.len()],
    };
    let refuse = |message: &str| SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message);
    if lengths.len() != bounds.len() {
        return Err(refuse("wrong number of array subscripts")
            .with_detail("Low bound array has different size than dimensions array."));
    }
    const DIMENSIONS_MAX: usize = 6;
    if lengths.len() > DIMENSIONS_MAX {
        return Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!(
                "number of array dimensions ({}) exceeds the maximum allowed ({DIMENSIONS_MAX})",
                lengths.len()
            ),
        ));
    }
    let element_type = call.arg_types.first().map_or(Oid::TEXT, |arg| arg.oid);
    let total = lengths.iter().try_fold(1usize, |total, length| {
        usize::try_from(*length)
            .ok()
            .and_then(|length| total.checked_mul(length))
            .filter(|total| *total <= ELEMENTS_MAX)
    });
    let total = total.ok_or_else(|| {
        SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"),
        )
    })?;
    if total == 0 || lengths.is_empty() {
        return Ok(Array { element_type, dimensions: vec![], elements: vec![] });
    }
    let dimensions: Vec<(usize, i32)> = lengths.iter().map(|length| *length as usize).zip(bounds).collect();
    Array::check_bounds(&dimensions)?;
    Ok(Array { element_type, dimensions, elements: vec![value.clone(); total] })
}

/// How many of the sorted thresholds a value has reached.
fn width_bucket(value: &Datum, thresholds: &Array) -> Result<i32> {
    if thresholds.dimensions.len() > 1 {
        return Err(SqlError::new(
            SqlState::ARRAY_SUBSCRIPT_ERROR,
            "thresholds must be one-dimensional array",
        ));
    }
    if thresholds.elements.iter().any(Datum::is_null) {
        return Err(SqlError::new(
            SqlState::NULL_VALUE_NOT_ALLOWED,
            "thresholds array must not contain NULLs",
        ));
    }
    let reached = thresholds.elements.partition_point(|threshold| value.compare(threshold).is_ge());
    Ok(reached as i32)
}
