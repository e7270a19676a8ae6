//! How far the clocks of two nodes may be apart, as people write it: `250ms`, `1s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// Half of it is the largest step of a clock that is put up with, which must be well above the 5 ms within which a step is
/// measured: a node would take its own scheduling for a wrong clock.
const MIN: Duration = Duration::from_millis(20);
/// Locks of transactions count as abandoned after two seconds without a sign of life: with clocks that far apart, those of
/// live ones would.
const MAX: Duration = Duration::from_secs(1);
const DEFAULT: Duration = Duration::from_millis(250);
/// A lease is not used in its last moments, as long as the offset is. So it lasts as many times longer.
const LEASE_SHARE: u32 = 8;
const LEASE_MIN: Duration = Duration::from_secs(2);

/// The maximum clock offset, between 20 ms and 1 s. All nodes of a cluster have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffsetMax(Duration);

impl ClockOffsetMax {
    pub fn get(self) -> Duration {
        self.0
    }

    /// How long a lease lasts that nobody extends.
    pub fn lease_duration(self) -> Duration {
        (self.0 * LEASE_SHARE).max(LEASE_MIN)
    }
}

impl Default for ClockOffsetMax {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl fmt::Display for ClockOffsetMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for ClockOffsetMax {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time: write milliseconds or seconds, such as 250ms or 1s");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let offset = match text[digits..].trim_start() {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => return Err(wrong()),
        };
        if !(MIN..=MAX).contains(&offset) {
            return Err(format!(
                "the maximum clock offset is {offset:?}; it must be between {MIN:?} and {MAX:?}"
            ));
        }
        Ok(Self(offset))
    }
}

impl<'de> Deserialize<'de> for ClockOffsetMax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_within_their_bounds() {
        let cases = [
            ("20ms", Some(20)),
            ("250ms", Some(250)),
            ("500 ms", Some(500)),
            ("1s", Some(1_000)),
            ("19ms", None),
            ("0s", None),
            ("1001ms", None),
            ("18446744073709551615s", None),
            ("250", None),
            ("ms", None),
            ("-1ms", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<ClockOffsetMax>();
            assert_eq!(read.ok().map(|offset| offset.get().as_millis()), expected, "{text}");
        }
        let error = "2s".parse::<ClockOffsetMax>().unwrap_err();
        assert!(error.contains("2s") && error.contains("20ms and 1s"), "{error}");
    }

    #[test]
    fn most_of_a_lease_can_be_used() {
        for (text, seconds) in [("20ms", 2), ("250ms", 2), ("500ms", 4), ("1s", 8)] {
            let offset: ClockOffsetMax = text.parse().unwrap();
            assert_eq!(offset.lease_duration(), Duration::from_secs(seconds), "{text}");
        }
    }
}
