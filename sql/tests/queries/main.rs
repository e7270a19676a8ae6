//! SQL run end to end over a store in memory, compared with PostgreSQL 15's answers.

mod aggregates;
mod expressions;
mod harness;
mod joins;
mod memory;
mod sets;
mod windows;
