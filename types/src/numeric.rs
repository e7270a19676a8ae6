//! `numeric`: arbitrary precision in base 10,000, with display scale, NaN and infinities.

/// A decimal number of any precision (PostgreSQL's limits: 131,072 digits before, 16,383 after the point).
/// Equality here is structural (1.0 differs from 1.00); SQL order is `compare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric {
    _private: (),
}
