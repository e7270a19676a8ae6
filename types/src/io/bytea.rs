//! bytea: hex and escape forms.

use bytes::Bytes;

use super::ByteaOutput;
use crate::{Result, SqlError};

/// Reads `\x…` hex or the escape form.
pub fn parse_bytea(_input: &str) -> Result<Bytes> {
    Err(SqlError::not_supported("bytea"))
}

pub fn format_bytea(_value: &[u8], _style: ByteaOutput, _out: &mut String) {}
