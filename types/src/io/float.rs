//! Floats.

use crate::{Result, SqlError};

pub fn parse_float8(input: &str) -> Result<f64> {
    Err(SqlError::invalid_text("double precision", input))
}

pub fn parse_float4(input: &str) -> Result<f32> {
    Err(SqlError::invalid_text("real", input))
}

pub fn format_float8(_value: f64, _extra_float_digits: i32, _out: &mut String) {}

pub fn format_float4(_value: f32, _extra_float_digits: i32, _out: &mut String) {}
