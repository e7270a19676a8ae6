//! HLC timestamps: milliseconds since 2024-01-01 UTC in the upper 42 bits, a logical counter in the lower 22.
//!
//! The layout is hlc-gen's, so that its values are used as they are.
//! Arithmetic is ours: `next` carries from the counter into the milliseconds.

use std::fmt;

/// Bits of the logical counter.
pub const LOGICAL_BITS: u32 = 22;
/// The last value of the logical counter.
pub const LOGICAL_MAX: u32 = (1 << LOGICAL_BITS) - 1;
/// 2024-01-01T00:00:00Z in milliseconds since the Unix epoch.
pub const EPOCH_UNIX_MS: i64 = 1_704_067_200_000;

/// A point of the hybrid logical clock; totally ordered.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every real timestamp.
    pub const ZERO: Self = Self(0);
    /// After every real timestamp.
    pub const MAX: Self = Self(u64::MAX);

    /// `physical_ms` counts from the 2024 epoch.
    pub const fn from_parts(physical_ms: u64, logical: u32) -> Self {
        Self((physical_ms << LOGICAL_BITS) | logical as u64)
    }

    /// The first timestamp of a Unix millisecond; `ZERO` for times before 2024.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        let since_epoch = unix_ms.saturating_sub(EPOCH_UNIX_MS);
        Self::from_parts(u64::try_from(since_epoch).unwrap_or(0), 0)
    }

    /// Milliseconds since the 2024 epoch.
    pub const fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    pub const fn logical(self) -> u32 {
        (self.0 & LOGICAL_MAX as u64) as u32
    }

    pub const fn to_unix_ms(self) -> i64 {
        self.physical_ms() as i64 + EPOCH_UNIX_MS
    }

    /// The smallest greater timestamp.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The greatest smaller timestamp.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    #[must_use]
    pub const fn add_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms << LOGICAL_BITS))
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.write_str("max");
        }
        write!(f, "{}.{}", self.physical_ms(), self.logical())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_carries_from_the_counter_into_the_milliseconds() {
        let last = Timestamp::from_parts(7, (1 << LOGICAL_BITS) - 1);
        assert_eq!(last.next(), Timestamp::from_parts(8, 0));
        assert_eq!(last.next().prev(), last);
    }

    #[test]
    fn times_before_the_epoch_become_zero() {
        assert_eq!(Timestamp::from_unix_ms(0), Timestamp::ZERO);
        assert_eq!(Timestamp::from_unix_ms(EPOCH_UNIX_MS + 5).to_unix_ms(), EPOCH_UNIX_MS + 5);
    }
}
