//! `a[2:3]`, which the binder turns into a call: the bounds come as two arrays, one element per dimension, with the
//! smallest and the largest integer for those left out.

use std::sync::Arc;

use basalt_types::{Array, Datum, Oid, Result, SqlError};

use crate::builder::{Builder, Extension};
use crate::{Call, FunctionKind, Volatility};

/// Its object id; PostgreSQL has no such function.
const SLICE: Oid = Oid(9_001);

pub fn register(builder: &mut Builder) {
    builder.extension(Extension {
        oid: SLICE,
        name: "array_slice",
        args: vec![Oid::ANYARRAY, Oid(1007), Oid(1007)],
        returns: Oid::ANYARRAY,
        strict: true,
        volatility: Volatility::Immutable,
        kind: FunctionKind::Scalar(call),
    });
}

fn call(_: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let [Datum::Array(array), Datum::Array(lower), Datum::Array(upper)] = args else {
        return Err(SqlError::internal("a slice without bounds"));
    };
    let bounds = |bounds: &Array| -> Option<Vec<i64>> {
        let each = bounds.elements.iter().map(|bound| match bound {
            Datum::Int4(bound) => Some(i64::from(*bound)),
            _ => None,
        });
        each.collect()
    };
    // A bound that is NULL makes the slice NULL.
    let (Some(lower), Some(upper)) = (bounds(lower), bounds(upper)) else { return Ok(Datum::Null) };
    Ok(Datum::Array(Arc::new(slice(array, &lower, &upper))))
}

/// The part within the bounds, numbered from 1. Dimensions without bounds are whole.
fn slice(array: &Array, lower: &[i64], upper: &[i64]) -> Array {
    let empty = Array { element_type: array.element_type, dimensions: vec![], elements: vec![] };
    if lower.len() > array.dimensions.len() || array.elements.is_empty() {
        return empty;
    }
    let mut ranges = Vec::with_capacity(array.dimensions.len());
    for (index, (length, first)) in array.dimensions.iter().enumerate() {
        let (first, last) = (i64::from(*first), i64::from(*first) + *length as i64 - 1);
        let from = lower.get(index).map_or(first, |bound| (*bound).max(first));
        let to = upper.get(index).map_or(last, |bound| (*bound).min(last));
        if from > to {
            return empty;
        }
        let range = usize::try_from(from - first)
            .and_then(|from_at| usize::try_from(to - first).map(|to_at| from_at..to_at + 1));
        let Ok(range) = range else { return empty };
        ranges.push(range);
    }
    let mut offsets = vec![0];
    for ((length, _), range) in array.dimensions.iter().zip(&ranges) {
        offsets = offsets
            .into_iter()
            .flat_map(|offset| range.clone().map(move |index| offset * length + index))
            .collect();
    }
    Array {
        element_type: array.element_type,
        dimensions: ranges.iter().map(|range| (range.len(), 1)).collect(),
        elements: offsets.into_iter().map(|offset| array.elements[offset].clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dimensions: Vec<(usize, i32)>) -> Array {
        let count = dimensions.iter().map(|(length, _)| length).product::<usize>();
        let elements = (1..=count).map(|number| Datum::Int4(number as i32)).collect();
        Array { element_type: Oid::INT4, dimensions, elements }
    }

    #[test]
    fn slices_are_cut_in_every_dimension() {
        let numbers = |array: &Array| -> Vec<i32> {
            let number = |datum: &Datum| match datum {
                Datum::Int4(number) => *number,
                other => panic!("{other:?}"),
            };
            array.elements.iter().map(number).collect()
        };
        let line = array(vec![(4, 1)]);
        assert_eq!(numbers(&slice(&line, &[2], &[3])), [2, 3]);
        assert_eq!(numbers(&slice(&line, &[-5], &[99])), [1, 2, 3, 4]);
        assert_eq!(numbers(&slice(&line, &[3], &[2])), [0; 0]);
        assert_eq!(numbers(&slice(&line, &[1, 1], &[1, 1])), [0; 0]);
        let shifted = array(vec![(3, -1)]);
        assert_eq!(numbers(&slice(&shifted, &[0], &[1])), [2, 3]);
        let square = array(vec![(2, 1), (3, 1)]);
        let cut = slice(&square, &[2], &[2]);
        assert_eq!((numbers(&cut), cut.dimensions), (vec![4, 5, 6], vec![(1, 1), (3, 1)]));
        assert_eq!(numbers(&slice(&square, &[1, 2], &[2, 3])), [2, 3, 5, 6]);
    }
}
