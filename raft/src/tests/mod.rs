//! Stores on the simulated environment.

mod cluster;
mod crash;
mod lone_voter;
mod members;
mod space;
mod together;
mod toy;
