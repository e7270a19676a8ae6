//! Flat binary encodings of what nodes say to each other: batches, their responses, errors.
//!
//! A message begins with a format byte. Everything behind it is in a fixed order: integers big-endian, bytes and lists
//! after their length, a variant after its tag. Tags are never given to something else; a change that an older node would
//! misread gets a new format byte. What can be decoded encodes to the same bytes again.
//!
//! Rules for decoding, because the bytes may be anything: it never panics; what it allocates is a small multiple of the
//! bytes that there are, whatever lengths they claim; types do not nest, so neither does it. Whoever receives a message
//! bounds its size. Short byte strings are copied: a key that is kept in some table must not keep the message.
//!
//! Left out: scan programs, which are code. A request is sent without its program, and its answer has the rows; the
//! router that sent it applies the program to them.

mod batch;
mod error;
mod input;
mod request;
mod response;
mod txn;
mod value;

#[cfg(test)]
mod tests;

pub use batch::{
    decode_error, decode_request, decode_response, decode_result, encode_error, encode_request,
    encode_response, encode_result,
};
pub use input::{Input, WireError, put_bytes, put_span};
pub use value::Wire;
