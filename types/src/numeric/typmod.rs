//! `numeric(precision, scale)`.

use super::Numeric;
use crate::{Result, SqlError, SqlState};

/// (precision, scale) of a numeric type modifier; `None` when unconstrained. The scale may be negative.
pub fn numeric_precision_scale(typmod: i32) -> Option<(i32, i32)> {
    if typmod < 4 {
        return None;
    }
    let packed = typmod - 4;
    let scale = packed & 0x7ff;
    // Eleven bits, two's complement.
    Some(((packed >> 16) & 0xffff, (scale ^ 1024) - 1024))
}

impl Numeric {
    /// Rounds to the declared scale and refuses what exceeds the declared precision.
    pub fn apply_typmod(&self, typmod: i32) -> Result<Self> {
        let Some((precision, scale)) = numeric_precision_scale(typmod) else {
            return Ok(self.clone());
        };
        let refuse = |detail: String| {
            SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(detail)
        };
        if self.is_nan() {
            return Ok(self.clone());
        }
        if self.is_infinite() {
            return Err(refuse(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            )));
        }
        let rounded = self.round(scale)?;
        let limit = precision - scale;
        let digits_before_point = rounded.with_digits(|view| match view.digits.first() {
            None => i32::MIN,
            Some(&first) => view.weight * 4 + 1 + first.ilog10() as i32,
        });
        if digits_before_point.is_some_and(|digits| digits > limit) {
            let bound = if limit != 0 { format!("10^{limit}") } else { "1".into() };
            return Err(refuse(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
            )));
        }
        Ok(rounded)
    }
}
