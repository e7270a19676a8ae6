//! What an operator does to a cluster without faults, step by step.

mod balancing;
mod commits;
mod failing;
mod fixture;
mod hanging;
mod joining;
mod leaving;
mod past;
mod transfers;
mod uncertain;
