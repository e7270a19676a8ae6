//! Tests of the registry against tables made by PostgreSQL 15.

mod aggregates;
mod lookups;
mod scalars;
mod session;
