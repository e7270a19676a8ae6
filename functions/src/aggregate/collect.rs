//! `array_agg` and `string_agg`: everything, in input order.

use std::sync::Arc;

use basalt_types::{Array, Datum, Oid, Result, SqlError, SqlState, SqlType};
use bytes::Bytes;

use crate::aggregate::unexpected;
use crate::builder::Builder;
use crate::value_bytes::heap_bytes;
use crate::{Accumulator, AggregateFn};

/// `array_agg(anynonarray)`; NULLs are kept.
struct Elements {
    element_type: Oid,
    elements: Vec<Datum>,
    heap: usize,
}

impl Accumulator for Elements {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [value] = args else { return Err(unexpected(args)) };
        self.heap += heap_bytes(value);
        self.elements.push(value.clone());
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.value()]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        match state {
            [Datum::Null] => Ok(()),
            [Datum::Array(array)] => {
                self.heap += array.elements.iter().map(heap_bytes).sum::<usize>();
                self.elements.extend(array.elements.iter().cloned());
                Ok(())
            }
            _ => Err(unexpected(state)),
        }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.value())
    }

    fn bytes(&self) -> usize {
        self.heap + self.elements.capacity() * std::mem::size_of::<Datum>()
    }
}

impl Elements {
    fn value(&self) -> Datum {
        if self.elements.is_empty() {
            return Datum::Null;
        }
        Datum::Array(Arc::new(Array::from_elements(self.element_type, self.elements.clone())))
    }
}

/// `array_agg(anyarray)`: arrays of equal dimensions become the rows of one with a dimension more.
#[derive(Default)]
struct Rows {
    element_type: Option<Oid>,
    rows: usize,
    dimensions: Vec<(usize, i32)>,
    elements: Vec<Datum>,
}

impl Rows {
    fn append(&mut self, rows: usize, dimensions: &[(usize, i32)], array: &Array) -> Result<()> {
        let refuse = |message: &str| Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
        if dimensions.is_empty() {
            return refuse("cannot accumulate empty arrays");
        }
        if self.rows == 0 {
            self.dimensions = dimensions.to_vec();
            self.element_type = Some(array.element_type);
        } else if self.dimensions.len() != dimensions.len()
            || self.dimensions.iter().zip(dimensions).any(|(a, b)| a.0 != b.0)
        {
            return refuse("cannot accumulate arrays of different dimensionality");
        }
        self.rows += rows;
        self.elements.extend(array.elements.iter().cloned());
        Ok(())
    }

    fn value(&self) -> Datum {
        let Some(element_type) = self.element_type else { return Datum::Null };
        let mut dimensions = vec![(self.rows, 1)];
        dimensions.extend(&self.dimensions);
        Datum::Array(Arc::new(Array { element_type, dimensions, elements: self.elements.clone() }))
    }
}

impl Accumulator for Rows {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        match args {
            [Datum::Array(array)] => self.append(1, &array.dimensions, array),
            [Datum::Null] => {
                Err(SqlError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays"))
            }
            _ => Err(unexpected(args)),
        }
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.value()]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        match state {
            [Datum::Null] => Ok(()),
            [Datum::Array(array)] => match array.dimensions.split_first() {
                Some(((rows, _), inner)) => self.append(*rows, inner, array),
                None => Err(unexpected(state)),
            },
            _ => Err(unexpected(state)),
        }
    }

    fn finish(&self) -> Result<Datum> {
        Ok(self.value())
    }

    fn bytes(&self) -> usize {
        self.elements.iter().map(|item| std::mem::size_of::<Datum>() + heap_bytes(item)).sum()
    }
}

/// `string_agg` of text or bytea. Every value is kept with the delimiter before it, the first too, since that one
/// joins this state to an earlier one.
struct Joined {
    bytes: Vec<u8>,
    first_delimiter: usize,
    any: bool,
    text: bool,
}

impl Joined {
    fn make(&self, bytes: &[u8]) -> Result<Datum> {
        if !self.text {
            return Ok(Datum::Bytea(Bytes::copy_from_slice(bytes)));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| SqlError::internal("string_agg lost its encoding"))?;
        Ok(Datum::text(text))
    }
}

fn bytes_of(datum: &Datum) -> Result<&[u8]> {
    match datum {
        Datum::Null => Ok(&[]),
        Datum::Text(text) => Ok(text.as_bytes()),
        Datum::Bytea(bytes) => Ok(bytes),
        other => Err(unexpected(std::slice::from_ref(other))),
    }
}

/// The largest value that PostgreSQL would build.
const VALUE_BYTES_MAX: usize = 0x3fff_ffff;

impl Accumulator for Joined {
    fn update(&mut self, args: &[Datum]) -> Result<()> {
        let [value, delimiter] = args else { return Err(unexpected(args)) };
        if value.is_null() {
            return Ok(());
        }
        let (value, delimiter) = (bytes_of(value)?, bytes_of(delimiter)?);
        if self.bytes.len() + value.len() + delimiter.len() > VALUE_BYTES_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "out of memory")
                .with_detail("Cannot enlarge string buffer beyond 1073741823 bytes."));
        }
        if !self.any {
            self.first_delimiter = delimiter.len();
            self.any = true;
        }
        self.bytes.extend_from_slice(delimiter);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        if !self.any {
            return vec![Datum::Null, Datum::Int4(0)];
        }
        let joined = self.make(&self.bytes).unwrap_or(Datum::Null);
        vec![joined, Datum::Int4(self.first_delimiter as i32)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<()> {
        let [joined, Datum::Int4(first_delimiter)] = state else { return Err(unexpected(state)) };
        if joined.is_null() {
            return Ok(());
        }
        if !self.any {
            self.first_delimiter = *first_delimiter as usize;
            self.any = true;
        }
        self.bytes.extend_from_slice(bytes_of(joined)?);
        Ok(())
    }

    fn finish(&self) -> Result<Datum> {
        if self.any { self.make(&self.bytes[self.first_delimiter..]) } else { Ok(Datum::Null) }
    }

    fn bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

fn joined(text: bool) -> Box<dyn Accumulator> {
    Box::new(Joined { bytes: Vec::new(), first_delimiter: 0, any: false, text })
}

pub fn register(builder: &mut Builder) {
    builder.aggregate(
        "array_agg(anynonarray)",
        AggregateFn {
            new: |call| {
                let element_type = call.arg_types.first().map_or(Oid::TEXT, |arg| arg.oid);
                Box::new(Elements { element_type, elements: Vec::new(), heap: 0 })
            },
            state_types: |args| args.first().and_then(|arg| arg.array()).into_iter().collect(),
            strict: false,
        },
    );
    builder.aggregate(
        "array_agg(anyarray)",
        AggregateFn {
            new: |_| Box::<Rows>::default(),
            state_types: |args| args.first().copied().into_iter().collect(),
            strict: false,
        },
    );
    builder.aggregate(
        "string_agg(text,text)",
        AggregateFn {
            new: |_| joined(true),
            state_types: |_| vec![SqlType::TEXT, SqlType::INT4],
            strict: false,
        },
    );
    builder.aggregate(
        "string_agg(bytea,bytea)",
        AggregateFn {
            new: |_| joined(false),
            state_types: |_| vec![SqlType::BYTEA, SqlType::INT4],
            strict: false,
        },
    );
}
