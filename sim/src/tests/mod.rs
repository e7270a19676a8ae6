//! What an operator does to a cluster without faults, step by step.

mod fixture;
mod leaving;
