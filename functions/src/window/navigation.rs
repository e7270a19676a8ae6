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
    builder.window("first_value", |_, partition, row| Ok(from_start(partition, row, 1)));
    builder.window("last_value", |_, partition, row| Ok(last(partition, row)));
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

/// The value of the `nth` row of the frame, from 1.
fn from_start(partition: &dyn WindowPartition, row: usize, nth: usize) -> Datum {
    let (start, end) = partition.frame(row);
    let found = if partition.excludes() {
        (start..end).filter(|&other| !partition.is_excluded(row, other)).nth(nth - 1)
    } else {
        start.checked_add(nth - 1).filter(|&other| other < end)
    };
    found.map_or(Datum::Null, |other| partition.args(other)[0].clone())
}

fn last(partition: &dyn WindowPartition, row: usize) -> Datum {
    let (start, end) = partition.frame(row);
    let found = (start..end).rev().find(|&other| !partition.is_excluded(row, other));
    found.map_or(Datum::Null, |other| partition.args(other)[0].clone())
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
    Ok(from_start(partition, row, nth))
}
