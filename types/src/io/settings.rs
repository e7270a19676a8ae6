//! What of a session's settings input and output depend on.

use crate::datetime::TimeZone;

/// `bytea_output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaOutput {
    #[default]
    Hex,
    Escape,
}

/// DateStyle is ISO with MDY input, IntervalStyle is postgres.
#[derive(Clone, Debug, PartialEq)]
pub struct IoSettings {
    pub time_zone: TimeZone,
    /// Above 0: shortest precise output.
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
    /// Start of the transaction, in microseconds since 2000-01-01 UTC, for `now`, `today` and the like; without it these
    /// inputs are refused.
    pub now_micros: Option<i64>,
}

impl Default for IoSettings {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::utc(),
            extra_float_digits: 1,
            bytea_output: ByteaOutput::Hex,
            now_micros: None,
        }
    }
}
