//! What of a session's settings input and output depend on.

use crate::datetime::TimeZone;

/// `bytea_output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaOutput {
    #[default]
    Hex,
    Escape,
}

/// How dates and timestamps are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateStyle {
    #[default]
    Iso,
    Sql,
    Postgres,
    German,
}

/// In which order day, month and year stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DateOrder {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// `IntervalStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IntervalStyle {
    #[default]
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

/// Settings that input and output read.
#[derive(Clone, Debug, PartialEq)]
pub struct IoSettings {
    pub time_zone: TimeZone,
    /// Above 0: shortest precise output.
    pub extra_float_digits: i32,
    pub bytea_output: ByteaOutput,
    pub date_style: DateStyle,
    pub date_order: DateOrder,
    pub interval_style: IntervalStyle,
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
            date_style: DateStyle::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            now_micros: None,
        }
    }
}
