//! Flat binary encodings of what nodes say to each other.

mod input;

pub use input::{Input, WireError, put_bytes, put_span};
