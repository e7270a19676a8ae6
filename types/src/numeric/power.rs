//! Powers.

use super::Numeric;
use crate::{Result, SqlError};

impl Numeric {
    pub fn power(&self, _exponent: &Self) -> Result<Self> {
        Err(SqlError::not_supported("power(numeric)"))
    }
}
