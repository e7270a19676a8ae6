//! Square root, exponential and logarithms.

use super::Numeric;
use crate::{Result, SqlError};

impl Numeric {
    pub fn sqrt(&self) -> Result<Self> {
        Err(SqlError::not_supported("sqrt(numeric)"))
    }

    pub fn exp(&self) -> Result<Self> {
        Err(SqlError::not_supported("exp(numeric)"))
    }

    pub fn ln(&self) -> Result<Self> {
        Err(SqlError::not_supported("ln(numeric)"))
    }

    /// Logarithm of `self` to `base`.
    pub fn log(&self, _base: &Self) -> Result<Self> {
        Err(SqlError::not_supported("log(numeric)"))
    }
}
