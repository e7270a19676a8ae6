//! Text and binary formats of parameters and result columns.

use basalt_types::{Result, SqlError, SqlState};

/// How one value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    #[default]
    Text,
    Binary,
}

impl Format {
    /// The protocol's code.
    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }

    fn from_code(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("unsupported format code: {other}"),
            )),
        }
    }
}

/// The format codes of a Bind message: none (all text), one for all, or one for each value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FormatCodes {
    #[default]
    AllText,
    All(Format),
    Each(Vec<Format>),
}

impl FormatCodes {
    /// From the codes as sent; an unknown code is `22023`.
    pub fn from_codes(codes: &[i16]) -> Result<Self> {
        match codes {
            [] => Ok(Self::AllText),
            [code] => Ok(Self::All(Format::from_code(*code)?)),
            codes => {
                Ok(Self::Each(codes.iter().map(|code| Format::from_code(*code)).collect::<Result<_>>()?))
            }
        }
    }

    /// The format of value `index`; text when the codes are too few, which [`Self::resolve`] refuses.
    pub fn get(&self, index: usize) -> Format {
        match self {
            Self::AllText => Format::Text,
            Self::All(format) => *format,
            Self::Each(formats) => formats.get(index).copied().unwrap_or_default(),
        }
    }

    /// How many codes were given when there is one for each value.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::AllText | Self::All(_) => None,
            Self::Each(formats) => Some(formats.len()),
        }
    }

    /// One format for each of a result's `columns`; `08P01` when the numbers disagree.
    pub fn resolve(&self, columns: usize) -> Result<Vec<Format>> {
        self.check_result(columns)?;
        Ok((0..columns).map(|index| self.get(index)).collect())
    }

    /// The check of [`Self::resolve`] alone.
    pub fn check_result(&self, columns: usize) -> Result<()> {
        match self.count() {
            Some(count) if count != columns => Err(SqlError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("bind message has {count} result formats but query has {columns} columns"),
            )),
            _ => Ok(()),
        }
    }
}
