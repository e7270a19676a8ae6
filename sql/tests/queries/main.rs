//! SQL run end to end over a store in memory, compared with PostgreSQL 15's answers.

mod aggregates;
mod changes;
mod commits;
mod constraints;
mod estimates;
mod expressions;
mod harness;
mod interrupts;
mod joins;
mod memory;
mod past;
mod portals;
mod prepared;
mod sets;
mod syntax;
mod windows;
