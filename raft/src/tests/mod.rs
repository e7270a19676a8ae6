//! Stores on the simulated environment.

mod chaos;
mod cluster;
mod crash;
mod lone_voter;
mod members;
mod network;
mod removal;
mod sleep;
mod snapshots;
mod space;
mod together;
mod toy;
