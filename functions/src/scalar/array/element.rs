//! Adding, removing and replacing elements.

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState};

use crate::Call;
use crate::builder::{Builder, call_scalars, scalars};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "array_append" => append,
        "array_prepend" => prepend,
    });
    scalars!(builder, {
        "array_cat" => concatenate,
        "array_remove" => remove,
        "array_replace" => replace,
    });
}

fn element_type(call: &Call<'_>, array: usize, element: usize) -> Oid {
    let of_array = call.arg_types.get(array).and_then(|arg| arg.element()).map(|element| element.oid);
    of_array.or_else(|| call.arg_types.get(element).map(|arg| arg.oid)).unwrap_or(Oid::TEXT)
}

fn one_dimension(array: &Array) -> Result<()> {
    if array.dimensions.len() > 1 {
        return Err(SqlError::new(
            SqlState::DATA_EXCEPTION,
            "argument must be empty or one-dimensional array",
        ));
    }
    Ok(())
}

fn append(call: &Call<'_>, array: Option<&Array>, value: &Datum) -> Result<Array> {
    let Some(array) = array else {
        return Ok(Array::from_elements(element_type(call, 0, 1), vec![value.clone()]));
    };
    one_dimension(array)?;
    let lower = array.dimensions.first().map_or(1, |(_, lower)| *lower);
    let mut elements = array.elements.clone();
    elements.push(value.clone());
    Array::check_bounds(&[(elements.len(), lower)])?;
    Ok(Array { element_type: array.element_type, dimensions: vec![(elements.len(), lower)], elements })
}

fn prepend(call: &Call<'_>, value: &Datum, array: Option<&Array>) -> Result<Array> {
    let Some(array) = array else {
        return Ok(Array::from_elements(element_type(call, 1, 0), vec![value.clone()]));
    };
    one_dimension(array)?;
    let lower = array.dimensions.first().map_or(1, |(_, lower)| *lower);
    let elements: Vec<Datum> = std::iter::once(value.clone()).chain(array.elements.iter().cloned()).collect();
    Array::check_bounds(&[(elements.len(), lower)])?;
    Ok(Array { element_type: array.element_type, dimensions: vec![(elements.len(), lower)], elements })
}

fn incompatible(detail: &str) -> SqlError {
    SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot concatenate incompatible arrays")
        .with_detail(detail)
}

/// Arrays of the same dimensions, or one an element of the other.
fn concatenate(a: Option<&Array>, b: Option<&Array>) -> Result<Option<Array>> {
    let (a, b) = match (a, b) {
        (None, other) | (other, None) => return Ok(other.cloned()),
        (Some(a), Some(b)) => (a, b),
    };
    if a.dimensions.is_empty() {
        return Ok(Some(b.clone()));
    }
    if b.dimensions.is_empty() {
        return Ok(Some(a.clone()));
    }
    let lengths =
        |dimensions: &[(usize, i32)]| dimensions.iter().map(|(length, _)| *length).collect::<Vec<_>>();
    let (outer, added, inner_a, inner_b) = match a.dimensions.len() as i64 - b.dimensions.len() as i64 {
        0 => (&a.dimensions, b.dimensions[0].0, &a.dimensions[1..], &b.dimensions[1..]),
        1 => (&a.dimensions, 1, &a.dimensions[1..], &b.dimensions[..]),
        -1 => (&b.dimensions, 1, &b.dimensions[1..], &a.dimensions[..]),
        _ => {
            return Err(incompatible(&format!(
                "Arrays of {} and {} dimensions are not compatible for concatenation.",
                a.dimensions.len(),
                b.dimensions.len()
            )));
        }
    };
    if lengths(inner_a) != lengths(inner_b) {
        return Err(incompatible(if a.dimensions.len() == b.dimensions.len() {
            "Arrays with differing element dimensions are not compatible for concatenation."
        } else {
            "Arrays with differing dimensions are not compatible for concatenation."
        }));
    }
    let mut dimensions = outer.clone();
    dimensions[0].0 += added;
    Array::check_bounds(&dimensions)?;
    let elements = a.elements.iter().chain(&b.elements).cloned().collect();
    Ok(Some(Array { element_type: a.element_type, dimensions, elements }))
}

/// Equality in which NULL equals NULL.
pub fn same(element_type: Oid, a: &Datum, b: &Datum) -> bool {
    match (a, b) {
        (Datum::Text(a), Datum::Text(b)) if element_type == Oid::BPCHAR => {
            basalt_types::compare_bpchar(a, b).is_eq()
        }
        _ => a.key_eq(b),
    }
}

fn remove(array: Option<&Array>, value: &Datum) -> Result<Option<Array>> {
    let Some(array) = array else { return Ok(None) };
    if array.dimensions.len() > 1 {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "removing elements from multidimensional arrays is not supported",
        ));
    }
    let lower = array.dimensions.first().map_or(1, |(_, lower)| *lower);
    let kept = array.elements.iter().filter(|item| !same(array.element_type, item, value));
    let elements: Vec<Datum> = kept.cloned().collect();
    let dimensions = if elements.is_empty() { vec![] } else { vec![(elements.len(), lower)] };
    Ok(Some(Array { element_type: array.element_type, dimensions, elements }))
}

fn replace(array: Option<&Array>, old: &Datum, new: &Datum) -> Option<Array> {
    let array = array?;
    let substitute = |item: &Datum| if same(array.element_type, item, old) { new } else { item }.clone();
    Some(Array {
        element_type: array.element_type,
        dimensions: array.dimensions.clone(),
        elements: array.elements.iter().map(substitute).collect(),
    })
}
