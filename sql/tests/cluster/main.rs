//! Several nodes on one store: schema changes on one, statements on the others, and nodes that vanish.

mod changes;
mod databases;
#[path = "../queries/harness.rs"]
#[allow(dead_code, reason = "the queries use the rest")]
mod harness;
mod jobs;
mod local;
mod neighbours;
mod outcomes;
mod schemas;
mod sessions;
mod signals;
mod world;
