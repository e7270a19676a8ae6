//! Three nodes as processes: what faults, operators and clients may do to them.

mod damage;
mod faults;
mod majority;
mod operator;
mod schema;
mod sessions;

const NODES: usize = 3;
