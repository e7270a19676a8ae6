//! `interval`: months, days and microseconds kept apart, as in PostgreSQL.

/// A span of time. Equality here is structural; SQL compares 1 month as 30 days and 1 day as 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}
