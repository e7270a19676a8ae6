//! `./x bench`: comparisons with PostgreSQL in one run on one machine, and loads of large tables.

mod bulk;
mod memory_cap;
mod node_counts;
mod pgbench;
mod postgres;
mod psql;
mod report;

use std::ffi::OsString;

use crate::{build, process::Result};

pub fn bench(arguments: &[OsString]) -> Result<()> {
    let (name, flags) = arguments
        .split_first()
        .ok_or("usage: ./x bench pgbench [--scale N] [--seconds N] [--nodes N], or bulk [--rows N]")?;
    build()?;
    match name.to_string_lossy().as_ref() {
        "pgbench" => pgbench::compare(&pgbench::Options::parse(flags)?),
        "bulk" => bulk::load(&bulk::Options::parse(flags)?),
        other => Err(format!("unknown benchmark {other:?}; there are: pgbench, bulk")),
    }
}
