//! Functions of character strings. Positions and lengths count characters, not bytes.

mod bytes;
mod case;
mod concat;
mod digest;
mod encode;
mod encoding;
mod format;
mod pad;
mod quote;
mod slice;

use crate::builder::Builder;

pub use basalt_types::TEXT_BYTES_MAX;

pub use concat::print;
pub use encode::hex as encode_hex;
pub use quote::{quote_ident, quote_literal};
pub use slice::split_fields;

pub fn register(builder: &mut Builder) {
    slice::register(builder);
    case::register(builder);
    pad::register(builder);
    concat::register(builder);
    quote::register(builder);
    format::register(builder);
    encode::register(builder);
    encoding::register(builder);
    digest::register(builder);
    bytes::register(builder);
}

pub fn too_long() -> basalt_types::SqlError {
    basalt_types::SqlError::new(basalt_types::SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// Characters of a string.
pub fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The byte offset of a character position, at most the end.
pub fn offset(text: &str, characters: usize) -> usize {
    if text.is_ascii() {
        return characters.min(text.len());
    }
    text.char_indices().nth(characters).map_or(text.len(), |(index, _)| index)
}
