//! `||`, `concat` and `concat_ws`.

use basalt_types::{Datum, Result, SqlType};

use crate::Call;
use crate::builder::{Builder, call_scalars, raw_scalars, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, { "textcat" => |a: &str, b: &str| {
        let mut joined = String::with_capacity(a.len() + b.len());
        joined.push_str(a);
        joined.push_str(b);
        joined
    } });
    call_scalars!(builder, {
        "textanycat" => |call: &Call<'_>, a: &str, b: &Datum| a.to_owned() + &cast(call, b, 1),
        "anytextcat" => |call: &Call<'_>, a: &Datum, b: &str| cast(call, a, 0) + b,
    });
    raw_scalars!(builder, { "concat" => concat, "concat_ws" => concat_ws });
}

/// What `||` makes of an operand that is no text: its cast to text, boolean as `true` or `false`.
fn cast(call: &Call<'_>, value: &Datum, index: usize) -> String {
    match value {
        Datum::Bool(value) => value.to_string(),
        value => crate::io::output(call, value, call.arg_types[index]),
    }
}

/// What `concat` and `format` print of an argument: its output form, boolean as `t` or `f`.
pub fn print(call: &Call<'_>, args: &[Datum], index: usize) -> String {
    let sql_type = call.arg_types.get(index).copied().unwrap_or(SqlType::TEXT);
    crate::io::output(call, &args[index], sql_type)
}

/// NULL arguments are skipped.
fn concat(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let mut joined = String::new();
    for index in 0..args.len() {
        if !args[index].is_null() {
            joined.push_str(&print(call, args, index));
        }
    }
    Ok(Datum::text(joined))
}

/// NULL with a NULL separator; NULL arguments are skipped with their separator.
fn concat_ws(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Text(separator)) = args.first() else { return Ok(Datum::Null) };
    let parts: Vec<String> = (1..args.len())
        .filter(|index| !args[*index].is_null())
        .map(|index| print(call, args, index))
        .collect();
    Ok(Datum::text(parts.join(separator)))
}
