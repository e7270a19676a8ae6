//! Values of other rows of the partition or of the frame.

use basalt_types::{Datum, Result, SqlError, SqlState};

use crate::builder::Builder;
use crate::{Call, WindowPartition};

pub fn register(builder: &mut Builder) {
    for declared in ["lag(anyelement)", "lag(anyelement,int4)", "lag(anycompatible,int4,anycompatible)"] {
        builder.window(declared, |_, partition, row| shifted(partition, row, -1));
    }
    for declared in ["lead(anyelement)", "lead(anyelement,int4)", "lead(anycompatible,int4,anycompatible)"] {
        builder.window(declared, |_, partition, row| shifted(partition, row, 1));
    }
    builder.window("first_value", |_, partition, row| Ok(in_frame(partition, row, |start, _| start)));
    builder.window("last_value", |_, partition, row| Ok(in_frame(partition, row, |_, end| end - 1)));
    builder.window("nth_value", nth_value);
}

/// The value `offset` rows away in `direction`; the default (or NULL) beyond the partition.
fn shifted(partition: &dyn WindowPartition, row: usize, direction: i64) -> Result<Datum> {
    let args = partition.args(row);
    let offset = match args.get(1) {
        None => 1,
        Some(Datum::Int4(offset)) => i64::from(*offset),
        Some(_) => return Ok(Datum::Null),
    };
    let target = row as i64 + direction * offset;
    if (0..partition.rows() as i64).contains(&target) {
        return Ok(partition.args(target as usize)[0].clone());
    }
    Ok(args.get(2).cloned().unwrap_or(Datum::Null))
}

fn in_frame(partition: &dyn WindowPartition, row: usize, pick: fn(usize, usize) -> usize) -> Datum {
    let (start, end) = partition.frame(row);
    if start < end { partition.args(pick(start, end))[0].clone() } else { Datum::Null }
}

fn nth_value(_: &Call<'_>, partition: &dyn WindowPartition, row: usize) -> Result<Datum> {
    let nth = match partition.args(row).get(1) {
        Some(Datum::Int4(nth)) if *nth > 0 => *nth as usize,
        Some(Datum::Int4(_)) => {
            return Err(SqlError::new(
                SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE,
                "argument of nth_value must be greater than zero",
            ));
        }
        _ => return Ok(Datum::Null),
    };
    let (start, end) = partition.frame(row);
    let wanted = start + nth - 1;
    Ok(if wanted < end { partition.args(wanted)[0].clone() } else { Datum::Null })
}
