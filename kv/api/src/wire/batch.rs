//! Whole messages.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Input, Wire, WireError};
use crate::{BatchRequest, BatchResponse, Error, Result};

const FORMAT: u8 = 4;
const ANSWERED: u8 = 1;
const FAILED: u8 = 2;

/// Programs of scans are left out.
pub fn encode_request(batch: &BatchRequest) -> Result<Bytes, WireError> {
    encode(batch)
}

pub fn decode_request(message: Bytes) -> Result<BatchRequest, WireError> {
    decode(message, "request")
}

/// Fails if it holds the output of a program.
pub fn encode_response(response: &BatchResponse) -> Result<Bytes, WireError> {
    encode(response)
}

pub fn decode_response(message: Bytes) -> Result<BatchResponse, WireError> {
    decode(message, "response")
}

pub fn encode_error(error: &Error) -> Bytes {
    encode(error).expect("every error has an encoding")
}

pub fn decode_error(message: Bytes) -> Result<Error, WireError> {
    decode(message, "error")
}

/// What a batch came to. A response that can't be sent becomes an error.
pub fn encode_result(result: &Result<BatchResponse>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(FORMAT);
    let unsent = match result {
        Ok(response) => {
            out.put_u8(ANSWERED);
            match response.put(&mut out) {
                Ok(()) => return out.freeze(),
                Err(error) => Error::Internal(error.to_string()),
            }
        }
        Err(error) => error.clone(),
    };
    out.truncate(1);
    out.put_u8(FAILED);
    unsent.put(&mut out).expect("every error has an encoding");
    out.freeze()
}

pub fn decode_result(message: Bytes) -> Result<Result<BatchResponse>, WireError> {
    let mut input = begin(message, "result")?;
    let result = match input.u8()? {
        ANSWERED => Ok(BatchResponse::take(&mut input)?),
        FAILED => Err(Error::take(&mut input)?),
        _ => return Err(input.error()),
    };
    input.end()?;
    Ok(result)
}

fn encode(value: &impl Wire) -> Result<Bytes, WireError> {
    let mut out = BytesMut::new();
    out.put_u8(FORMAT);
    value.put(&mut out)?;
    Ok(out.freeze())
}

fn decode<T: Wire>(message: Bytes, what: &'static str) -> Result<T, WireError> {
    let mut input = begin(message, what)?;
    let value = T::take(&mut input)?;
    input.end()?;
    Ok(value)
}

fn begin(message: Bytes, what: &'static str) -> Result<Input, WireError> {
    let mut input = Input::new(message, what);
    if input.u8()? == FORMAT { Ok(input) } else { Err(input.error()) }
}
