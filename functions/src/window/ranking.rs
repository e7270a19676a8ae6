//! Row numbers, ranks and distributions.

use basalt_types::{Datum, Result, SqlError, SqlState};

use crate::builder::Builder;
use crate::{Call, WindowPartition};

pub fn register(builder: &mut Builder) {
    builder.window("row_number()", |_, _, row| Ok(Datum::Int8(row as i64 + 1)));
    builder.window("rank()", |_, partition, row| Ok(Datum::Int8(partition.peers_start(row) as i64 + 1)));
    builder.window("dense_rank()", |_, partition, row| Ok(Datum::Int8(partition.peer_group(row) as i64 + 1)));
    builder.window("percent_rank()", percent_rank);
    builder.window("cume_dist()", |_, partition, row| {
        Ok(Datum::Float8(partition.peers_end(row) as f64 / partition.rows() as f64))
    });
    builder.window("ntile", ntile);
}

fn percent_rank(_: &Call<'_>, partition: &dyn WindowPartition, row: usize) -> Result<Datum> {
    let rows = partition.rows();
    let share = if rows <= 1 { 0.0 } else { partition.peers_start(row) as f64 / (rows - 1) as f64 };
    Ok(Datum::Float8(share))
}

/// The bucket count is that of the partition's first row, as in PostgreSQL.
fn ntile(_: &Call<'_>, partition: &dyn WindowPartition, row: usize) -> Result<Datum> {
    let buckets = match partition.args(0) {
        [Datum::Null] => return Ok(Datum::Null),
        [Datum::Int4(buckets)] if *buckets > 0 => *buckets as usize,
        _ => {
            return Err(SqlError::new(
                SqlState::INVALID_ARGUMENT_FOR_NTILE,
                "argument of ntile must be greater than zero",
            ));
        }
    };
    let rows = partition.rows();
    let (size, larger) = (rows / buckets, rows % buckets);
    // The first `larger` buckets have one row more.
    let in_larger = larger * (size + 1);
    let bucket = if row < in_larger { row / (size + 1) } else { larger + (row - in_larger) / size };
    Ok(Datum::Int4(bucket as i32 + 1))
}
