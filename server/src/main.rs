//! The `basalt` binary.

use std::process::ExitCode;

/// One allocator for Rust and for RocksDB's C++.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    basalt_server::run()
}
