//! Memory that a value holds beside its own size.

use basalt_types::Datum;

/// Heap bytes of a value; shared buffers count in full.
pub fn heap_bytes(value: &Datum) -> usize {
    let each = std::mem::size_of::<Datum>();
    match value {
        Datum::Text(text) => text.len() + 16,
        Datum::Bytea(bytes) => bytes.len(),
        Datum::Array(array) => {
            array.elements.iter().map(|item| each + heap_bytes(item)).sum::<usize>()
                + array.dimensions.len() * 16
        }
        Datum::Jsonb(value) => value.heap_bytes() + 16,
        Datum::Record(fields) => fields.iter().map(|field| each + heap_bytes(field)).sum(),
        _ => 0,
    }
}
