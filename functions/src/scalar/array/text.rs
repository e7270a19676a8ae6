//! `array_to_string`.

use basalt_types::{Array, SqlType};

use crate::Call;
use crate::builder::{Builder, call_scalars};

pub fn register(builder: &mut Builder) {
    call_scalars!(builder, {
        "array_to_string(anyarray,text)" => |call: &Call<'_>, a: &Array, delimiter: &str| join(call, a, delimiter, None),
        "array_to_string(anyarray,text,text)" => |call: &Call<'_>, a: Option<&Array>, delimiter: Option<&str>, null_text: Option<&str>| {
            Some(join(call, a?, delimiter?, null_text))
        },
    });
}

/// NULL elements are skipped or print as `null_text`.
fn join(call: &Call<'_>, array: &Array, delimiter: &str, null_text: Option<&str>) -> String {
    let element_type = SqlType::new(array.element_type, -1);
    let parts: Vec<String> = array
        .elements
        .iter()
        .filter_map(|item| {
            if item.is_null() {
                null_text.map(str::to_owned)
            } else {
                Some(crate::io::output(call, item, element_type))
            }
        })
        .collect();
    parts.join(delimiter)
}
