//! `array_to_string`.

use basalt_types::{Array, Datum, Result, SqlType};

use crate::Call;
use crate::builder::{Builder, call_scalars};
use crate::scalar::text::{TEXT_BYTES_MAX, too_long};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "array_to_string(anyarray,text)" => |call: &Call<'_>, a: &Array, delimiter: &str| join(call, a, delimiter, None),
        "array_to_string(anyarray,text,text)" => |call: &Call<'_>, a: Option<&Array>, delimiter: Option<&str>, null_text: Option<&str>| {
            a.zip(delimiter).map(|(a, delimiter)| join(call, a, delimiter, null_text)).transpose()
        },
    });
}

/// NULL elements are skipped or print as `null_text`.
fn join(call: &Call<'_>, array: &Array, delimiter: &str, null_text: Option<&str>) -> Result<String> {
    let element_type = SqlType::new(array.element_type, -1);
    let mut joined = String::new();
    let mut first = true;
    for (index, item) in array.elements.iter().enumerate() {
        call.context.check_at(index)?;
        if item.is_null() && null_text.is_none() {
            continue;
        }
        if !std::mem::take(&mut first) {
            joined.push_str(delimiter);
        }
        match (item, null_text) {
            (Datum::Null, null_text) => joined.push_str(null_text.unwrap_or_default()),
            (Datum::Text(text), _) => joined.push_str(text),
            (item, _) => joined.push_str(&crate::io::output(call, item, element_type)),
        }
        if joined.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
    }
    Ok(joined)
}
