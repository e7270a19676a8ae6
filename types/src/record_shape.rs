//! Field names and types of anonymous records.
//!
//! Every record has the type `record`; what its fields are called and of which types they are is remembered under a
//! number that its type carries as the modifier, as PostgreSQL does. A shape is kept once, however often it is met;
//! their number is bounded, beyond it records are without names.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::SqlType;

/// Shapes kept.
const SHAPES_MAX: usize = 100_000;

/// What the fields of a record are.
#[derive(Debug, PartialEq)]
pub struct RecordShape {
    pub fields: Vec<(String, SqlType)>,
}

type Key = Vec<(String, u32, i32)>;

#[derive(Default)]
struct Shapes {
    numbers: BTreeMap<Key, i32>,
    shapes: Vec<Arc<RecordShape>>,
}

static SHAPES: LazyLock<Mutex<Shapes>> = LazyLock::new(Mutex::default);

/// The type of records with these fields.
pub fn record_type(fields: Vec<(String, SqlType)>) -> SqlType {
    let key: Key =
        fields.iter().map(|(name, sql_type)| (name.clone(), sql_type.oid.0, sql_type.typmod)).collect();
    let mut shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = shapes.numbers.get(&key) {
        return SqlType { typmod: *number, ..SqlType::RECORD };
    }
    if shapes.shapes.len() >= SHAPES_MAX {
        return SqlType::RECORD;
    }
    let number = shapes.shapes.len() as i32;
    shapes.shapes.push(Arc::new(RecordShape { fields }));
    shapes.numbers.insert(key, number);
    SqlType { typmod: number, ..SqlType::RECORD }
}

/// The fields behind a record type's modifier.
pub fn record_shape(typmod: i32) -> Option<Arc<RecordShape>> {
    let shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(typmod).ok().and_then(|number| shapes.shapes.get(number).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_kept_once() {
        let fields = || vec![("a".to_owned(), SqlType::INT4), ("b".to_owned(), SqlType::TEXT)];
        let first = record_type(fields());
        assert_eq!(record_type(fields()), first);
        assert_ne!(record_type(vec![("a".to_owned(), SqlType::INT4)]), first);
        assert_eq!(record_shape(first.typmod).expect("it was kept").fields, fields());
        assert_eq!(record_shape(-1), None);
    }
}
