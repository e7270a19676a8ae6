//! Sizes as people write them: `268435456`, `256MiB`, `25%` of the memory.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, or a share of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Bytes(u64),
    Percent(u8),
}

impl Size {
    /// In bytes, on a machine with `memory` of them.
    pub fn of(self, memory: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => memory / 100 * u64::from(percent),
        }
    }
}

const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a size: write bytes, a unit such as 512MiB, or a share such as 25%");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let unit = text[digits..].trim_start();
        if unit == "%" {
            let percent = u8::try_from(number).ok().filter(|percent| (1..=90).contains(percent));
            return percent.map(Self::Percent).ok_or_else(|| format!("{text:?} is not between 1% and 90%"));
        }
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1;
        number.checked_mul(factor).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A number or a text.
impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, \"512MiB\" or \"25%\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                let bytes = u64::try_from(bytes).map_err(|_| E::custom("a size is not negative"))?;
                Ok(Size::Bytes(bytes))
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size::Bytes(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("0", Some(0)),
            ("1048576", Some(1 << 20)),
            ("64MiB", Some(64 << 20)),
            ("64 mib", Some(64 << 20)),
            ("2GB", Some(2_000_000_000)),
            ("25%", Some(250)),
            ("91%", None),
            ("0%", None),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1 furlong", None),
            ("99999999999999999999", None),
            ("18446744073709551615KiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.of(1_000)), expected, "{text}");
        }
    }
}
